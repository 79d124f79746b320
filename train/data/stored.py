"""Images to train on, where they lie: shards of ours, or what others wrote, left as it is.

Whoever trains or verifies asks these for images, captions and what is stated of them, and knows of
no format. What others wrote is read by `curate.corpora`; nothing is written beside it.
"""

import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from curate.corpora.corpus import open_reader
from curate.corpora.notes import ReadNotes
from curate.corpora.records import ImageRecord, Reader
from curate.errors import InputError
from curate.formats.shards import HELD_OUT, ShardIndex, iterate_samples, read_index
from curate.formats.verdicts import DECISIONS, refuse_stale
from curate.rights import licences
from curate.system.files import printable_path
from curate.system.progress import SILENT, Progress, track
from train.data import tars
from train.data.ownership import is_ours, nothing_here_error, refuse_part_of_dataset
from train.data.tars import Place, image_side

OPT_OUT = "images of which an opt-out is stated"
COPY = "copies of images that are not to be trained on"
_HELD_OUT_TAR = re.compile(rf"(^|/){HELD_OUT}(_sharealike)?-\d{{6}}\.tar/")
STATED = ("title", "author", "author_url", "page_url", "license_text", "license_url")


class StoredImage(NamedTuple):
    """One image of a set, as it is read."""

    key: str  # tells it apart, in other sets, too
    name: str  # what its set calls it
    data: bytes
    captions: list[str]
    place: Place
    identity: str  # equal where bytes and captions are, wherever they lie; of shards, the key
    problem: str | None = None  # why there are no bytes
    group: str = ""  # the same of related images; "": it has no such
    split: str = ""  # of its shard, as the index names it; "": nothing does


class StoredImages(Protocol):
    """A set of images to train on."""

    @property
    def path(self) -> Path:
        """What was named."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256: other images or captions have another."""
        ...

    @property
    def cache_facts(self) -> list[str]:
        """What decides which images there are, in which order, at which places."""
        ...

    @property
    def samples(self) -> int:
        """How many images there are at most."""
        ...

    @property
    def side(self) -> int:
        """Pixels that the shorter side of images has; some may have fewer."""
        ...

    @property
    def files(self) -> list[Path]:
        """What places point into."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Sentences: what is not used, and how what is used was understood."""
        ...

    def images(self) -> Iterator[StoredImage]:
        """Every image, in the order in which they are stored.

        Raises:
            InputError: they cannot be read, may not be trained on, or are not those of before.
        """
        ...

    def records(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Key of each image, and what `curate.formats.shards.Record` names, as far as stated.

        The record of an image that no policy judged holds `unjudged`.
        """
        ...

    def refuse_stale(self, keys: Collection[str] | None) -> None:
        """Be sure that these images, all there are, may still be trained on; None: unknown yet."""
        ...

    def cache_folder(self, otherwise: Path | None) -> Path:
        """Where what is worked out from the images may be kept."""
        ...


def open_images(
    path: Path, *, without: Path | None = None, progress: Progress = SILENT
) -> StoredImages:
    """The images that a path means, whoever wrote them.

    Args:
        path: shards of ours, a dataset folder that holds them, or what `open_reader` reads.
        without: a folder in it that is not entered, such as the run's own.
        progress: counts what is read.

    Raises:
        InputError: nothing to train on there, or a part of a dataset of ours.
    """
    if is_ours(path):
        return OwnShards(path, read_index(path))
    refuse_part_of_dataset(path)
    found = ForeignImages.scan(open_reader(path, without=without), progress)
    if not found.samples:
        raise nothing_here_error(path, found.notes)
    return found


@dataclass(frozen=True)
class OwnShards:
    """Shards as `curate pack` writes them, with their index."""

    path: Path
    index: ShardIndex
    notes: Sequence[str] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over the hashes of its shards."""
        return _sha256(json.dumps(self.cache_facts).encode())

    @property
    def cache_facts(self) -> list[str]:
        """The hashes of its shards."""
        return [shard.sha256 for shard in self.index.shards]

    @property
    def samples(self) -> int:
        """As the index counts them."""
        return self.index.samples

    @property
    def side(self) -> int:
        """As they were packed."""
        return self.index.size

    @property
    def files(self) -> list[Path]:
        """The tars."""
        return [self.index.root / shard.name for shard in self.index.shards]

    def images(self) -> Iterator[StoredImage]:
        """Every sample; see `train.data.tars.iterate_places`."""
        for key, data, record, place in tars.iterate_places(self.path):
            texts = [c["text"] for c in record["captions"] if c["text"].strip()]
            split, group = self.index.shards[place.shard].split, record.get("group") or ""
            yield StoredImage(key, key, data, texts, place, key, group=group, split=split)

    def records(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The record of every sample."""
        return ((key, record) for key, _, record in iterate_samples(self.path))

    def refuse_stale(self, keys: Collection[str] | None) -> None:
        """As the manifest beside them says."""
        refuse_stale(self.path, keys)

    def cache_folder(self, otherwise: Path | None) -> Path:
        """Beside the shards; `otherwise` where a disk, or an owner, does not let us write there."""
        return tars.cache_beside(self.index.root, otherwise)


class _Scanned(NamedTuple):
    """What a first reading leaves of an image."""

    key: str
    name: str
    captions: list[str]
    file: int  # number of its file; -1: none, its bytes are made when they are read
    offset: int
    identity: str  # "" with a problem
    record: Mapping[str, Any]
    problem: str | None


@dataclass(frozen=True)
class ForeignImages:
    """Images with captions that others wrote, read where they lie.

    A sample that carries a verdict of ours is judged by it; the others nobody has judged. What is
    trained on, and in which order, follows from bytes and captions alone, not from the format.
    """

    reader: Reader
    scanned: list[_Scanned]
    files: list[Path]
    notes: Sequence[str]

    @staticmethod
    def scan(reader: Reader, progress: Progress = SILENT) -> "ForeignImages":
        """Read every image once, so that its content is known."""
        notes, files, found = ReadNotes(), dict[Path, int](), []
        refused: set[str] = set()  # SHA-256 of images
        read = track(_read_all(reader, notes, refused), None, "reading images", progress)
        hashes = []
        for record, captions, data, problem in read:
            hashes.append("" if problem else _sha256(data))
            name = printable_path(record.key)
            identity = "" if problem else _identity(hashes[-1], captions)
            file = -1
            if record.data is None and record.file is not None:
                file = files.setdefault(record.file, len(files))
            key = f"{name}@{identity[:12]}" if identity else name
            stated = _state(record)
            found.append(
                _Scanned(key, name, captions, file, record.offset, identity, stated, problem)
            )
        for place, (one, sha256) in enumerate(zip(found, hashes, strict=True)):
            if sha256 in refused:
                found[place] = one._replace(key=one.name, identity="", problem=COPY)
        said = [*reader.missing, *notes.sentences(), *notes.silent]
        return ForeignImages(reader, found, list(files), said)

    @property
    def path(self) -> Path:
        """What was named."""
        return self.reader.path

    @cached_property
    def digest(self) -> str:
        """SHA-256 over bytes and captions: the same for the same data, wherever it lies."""
        every = sorted(one.identity for one in self.scanned if one.identity)
        return _sha256("\n".join(["images", *every]).encode())

    @cached_property
    def cache_facts(self) -> list[str]:
        """What was read, in its order, with its places in its files."""
        facts = [(*one[:6], one.problem) for one in self.scanned]
        return [self.digest, _sha256(json.dumps(facts).encode())]

    @property
    def samples(self) -> int:
        """All of them, those without captions, too."""
        return len(self.scanned)

    @cached_property
    def side(self) -> int:
        """So many pixels or more have the shorter sides of nine images in ten: our choice."""
        sides = [side for one in self.images() if (side := image_side(one.data))]
        return int(np.percentile(sides, 10)) if sides else 1

    def images(self) -> Iterator[StoredImage]:
        """Every image, as it was when it was first read."""
        again = _read_all(self.reader, ReadNotes())
        for one in self.scanned:
            read = next(again, None)
            if read is None or (
                one.identity and _identity(_sha256(read[2]), read[1]) != one.identity
            ):
                fix = "type the same command again once nothing is written there"
                raise InputError(self.path, "was changed while it was being read", fix=fix)
            data = read[2] if one.identity else b""
            place = Place(one.file, one.offset, len(data), zlib.crc32(data))
            facts = one.key, one.name, data, one.captions, place, one.identity, one.problem
            yield StoredImage(*facts, group=one.record.get("group", ""), split=_split_of(one))

    def records(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What is stated of every image that has captions."""
        for one in self.scanned:
            if one.identity:
                captions = [{"text": text, "origin": "text"} for text in one.captions]
                yield one.key, {**one.record, "captions": captions}

    def refuse_stale(self, keys: Collection[str] | None) -> None:
        """Nothing stands beside them that could have taken a verdict back."""

    def cache_folder(self, otherwise: Path | None) -> Path:
        """Always `otherwise`: nothing is written beside what others wrote."""
        assert otherwise is not None, "whoever reads what others wrote has a folder of their own"
        return otherwise


def _read_all(
    reader: Reader, notes: ReadNotes, refused: set[str] | None = None
) -> Iterator[tuple[ImageRecord, list[str], bytes, str | None]]:
    """Every image that nothing stated forbids: its captions, its bytes, or why there are none.

    The SHA-256 of those that one forbids are added to `refused`.
    """
    for record in reader.records(notes):
        opt_outs = record.facts.get("opt_outs")
        if opt_outs and not record.denied:
            notes.leave_out(OPT_OUT, f"{printable_path(record.key)} ({', '.join(opt_outs)})")
        if opt_outs or record.denied:  # which its reader says
            with suppress(OSError, ValueError):
                if refused is not None:
                    refused.add(_sha256(record.read()))
            continue
        captions = [_text(text) for text in record.captions if text.strip()]
        problem, data = record.reason or (None if captions else "no caption"), b""
        if problem is None:
            try:
                data = record.read()
            except (OSError, ValueError) as error:
                problem = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        yield record, captions, data, problem


def _split_of(one: _Scanned) -> str:
    """HELD_OUT, if it comes from a tar of ours of that name; else "", for nothing says it."""
    judged = not one.record.get("unjudged")
    return HELD_OUT if judged and _HELD_OUT_TAR.search(one.name) else ""


def _identity(sha256: str, captions: Sequence[str]) -> str:
    return _sha256((sha256 + json.dumps(captions)).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _state(record: ImageRecord) -> dict[str, Any]:
    """What is stated of an image, by the names of `curate.formats.shards.Record`."""
    ours = record.facts.get("record")
    said = {name: _text(record.facts.get(name)) for name in STATED}
    found: dict[str, Any] = dict(said)
    if not isinstance(ours, Mapping):
        licence = licences.identify(said["license_text"], said["license_url"])
        return found | {"license": licence.id, "share_model": None, "unjudged": True}
    verdict, credits = ours.get("share_model"), ours.get("credits")
    decision = verdict.get("decision") if isinstance(verdict, Mapping) else None
    held = decision if decision in DECISIONS else "hold"  # what it does not say, it does not allow
    every = [c for c in credits if isinstance(c, Mapping)] if isinstance(credits, list) else []
    found |= {"license": _text(ours.get("license")) or None, "credits": every}
    return found | {"share_model": {"decision": held}, "group": _text(ours.get("group"))}


def with_subject(path: Path, sentence: str) -> str:
    """A sentence on the set at a path, which it names unless it begins with a file of it."""
    return sentence if sentence.startswith(str(path)) else f"{path}: {sentence}"


def describe_rights(records: Sequence[Mapping[str, Any]]) -> str | None:
    """Whose rights are unknown, as a sentence part; None where a policy judged every image."""
    unjudged = Counter(r["license"] for r in records if r.get("unjudged"))
    if not unjudged:
        return None
    unknown, parts = unjudged.pop(None, 0), []
    if unknown:
        parts.append(f"{unknown:,} images whose rights are unknown")
    if unjudged:
        listed = ", ".join(f"{id} {count:,}" for id, count in sorted(unjudged.items()))
        parts.append(
            f"{sum(unjudged.values()):,} images with a licence that their files state and no "
            f"policy checked ({listed})"
        )
    return f"{'; '.join(parts)}; the model card will say so"


def _text(value: object) -> str:
    """A value as one text that can be written down; "" for what is none."""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(_text, value)))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value).encode("utf-8", "replace").decode()
