"""The images behind captions, by key: where each one's bytes lie, its rights, and its pixels."""

import hashlib
import json
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curate.corpora.corpus import Corpus
from curate.corpora.notes import ReadNotes
from curate.corpora.records import ImageRecord
from curate.corpora.shards import listed_shards
from curate.dataset.folder import Dataset, Store
from curate.errors import InputError
from curate.formats.shards import find_shards, read_index, shard_error
from curate.images.decode import UndecodableError, decode_image, flatten
from curate.system import sandbox

_RIGHTS = ("license", "source", "page_url", "author")
_NO_IMAGE = "no image was stored"
_NOT_AT_HAND = "images not at hand"
_NOT_HERE = "the image itself is not here"
Locations = Iterable[tuple[str, "ImageLocation"]]
CaptionsByKey = Mapping[str, Sequence[str]]  # key -> what is said of the image


@dataclass(frozen=True, slots=True)
class ImageLocation:
    """An image whose bytes are not looked at yet."""

    file: Path | None = None  # it is this file, or a part of it
    sha256: str | None = None  # or what has this hash in the store at `file`
    offset: int = 0  # of the first byte in the file
    size: int | None = None  # bytes; None: to the end of the file
    license: str | None = None
    source: str | None = None
    page_url: str | None = None
    author: str | None = None
    reason: str | None = None  # why there is none of these

    def as_job(self) -> dict[str, Any]:
        """What a worker is told, as plain values."""
        if self.sha256 is not None:
            return {"file": str(self.file), "sha256": self.sha256}
        return {"file": str(self.file), "offset": self.offset, "size": self.size}


class Spool:
    """A file for images that lie inside of tables or compressed tars, while they are looked at."""

    def __init__(self, path: Path) -> None:
        """Write into this file; whoever made it removes it."""
        self.path = path

    def place(self, record: ImageRecord) -> tuple[Path, int, int | None] | None:
        """File, offset and size of an image's bytes; None where they are not at hand."""
        if record.data is None:
            return (record.file, record.offset, record.size) if record.file else None
        with self.path.open("ab") as file:
            start = file.tell()
            file.write(record.data)
        return self.path, start, len(record.data)


def locate_images(corpus: Corpus, keys: Collection[str], spool: Spool) -> dict[str, ImageLocation]:
    """The places of `keys`; of a key that several members hold, in the first with an image.

    What cannot be read holds no images: the report itself tells of it.
    """
    finders: dict[str, Callable[[Path, Collection[str]], Locations]] = {
        "dataset": _in_dataset,
        "manifest": _in_manifest,
        "shards": _in_shards,
    }
    found: dict[str, ImageLocation] = {}
    for member in corpus.members or (corpus,):
        left = {key for key in keys if key not in found or found[key].reason}
        finder = finders.get(member.kind)
        try:
            places = finder(member.path, left) if finder else _in_records(member, left, spool)
            for key, place in places:
                if key not in found or not place.reason:
                    found[key] = place
        except (InputError, OSError):
            continue
    return found


def _in_dataset(folder: Path, keys: Collection[str]) -> Locations:
    dataset = Dataset(folder)
    known = dict(_in_manifest(dataset.manifest, keys)) if dataset.manifest.exists() else {}
    for sample in dataset.read_journal():
        if sample.key in keys and (sample.key not in known or known[sample.key].reason):
            facts = {name: getattr(sample, name) for name in ("sha256", *_RIGHTS)}
            known[sample.key] = _stored_location(facts, folder / "store")
    return known.items()


def _in_manifest(path: Path, keys: Collection[str]) -> Locations:
    import pyarrow as pa
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    wanted = pa.array(sorted(keys), pa.string())
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["key", "sha256", *_RIGHTS]):
                chosen = batch.filter(compute.is_in(batch.column("key"), value_set=wanted))
                for row in chosen.to_pylist():
                    yield row.pop("key"), _stored_location(row, path.parent / "store")
    except (pa.ArrowException, KeyError) as error:
        raise InputError(path, f"not a readable manifest ({error})", fix="fetch again") from None


def _stored_location(row: Mapping[str, Any], store: Path) -> ImageLocation:
    return ImageLocation(store, **row) if row["sha256"] else ImageLocation(reason=_NO_IMAGE, **row)


def _in_shards(path: Path, keys: Collection[str]) -> Locations:
    """Images in the tars that the index lists; each tar is read once, and skipped if broken."""
    root, left = find_shards(path), set(keys)
    for shard in listed_shards(path):
        if left:
            found = dict(_in_tar(root / Path(shard.name).name, left))
            yield from found.items()
            left -= found.keys()


def _in_tar(file: Path, keys: Collection[str]) -> Locations:
    images: dict[str, tuple[int, int]] = {}
    records: dict[str, Any] = {}
    broken = suppress(OSError, tarfile.TarError, ValueError)  # what came before it is shown
    with broken, tarfile.open(file, "r:") as tar:
        for member in tar:
            key, _, kind = member.name.partition(".")
            if key in keys and kind == "json" and (stream := tar.extractfile(member)):
                records[key] = json.loads(stream.read())
            elif key in keys and kind != "txt":
                images[key] = (member.offset_data, member.size)
    for key, (offset, size) in images.items():
        record = records.get(key)
        told = _rights(record if isinstance(record, dict) else {})
        yield key, ImageLocation(file, offset=offset, size=size, **told)


def _in_records(corpus: Corpus, keys: Collection[str], spool: Spool) -> Locations:
    """Images of what others wrote; an address elsewhere is never followed."""
    for key, record in _records(corpus, ReadNotes(), keys):
        facts = record.facts
        told = _rights(
            {
                "license": facts.get("license_text") or facts.get("license_url"),
                "author": facts.get("author"),
                "page_url": facts.get("page_url"),
            }
        )
        if place := spool.place(record):
            yield key, ImageLocation(place[0], offset=place[1], size=place[2], **told)
        else:
            yield key, ImageLocation(reason=_NOT_HERE, **told)


def _records(
    corpus: Corpus, notes: ReadNotes, keys: Collection[str] | None = None
) -> Iterator[tuple[str, ImageRecord]]:
    """The images of what others wrote, by their keys in the index."""
    prefix = corpus.prefix
    wanted = None if keys is None else {key.removeprefix(prefix) for key in keys}
    for record in corpus.reader.records(notes, wanted) if corpus.reader else ():
        yield prefix + record.key, record


def _rights(told: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of an image's rights; only texts, and none that is empty."""
    found = {name: told.get(name) for name in _RIGHTS}
    return {name: text for name, text in found.items() if isinstance(text, str) and text}


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """An image that can be read, and what is said of it."""

    key: str
    captions: tuple[str, ...]
    file: Path
    sha256: str  # of its bytes
    offset: int = 0  # of its bytes in the file
    size: int | None = None  # bytes; None: to the end of the file


def captioned_images(corpus: Corpus, spool: Spool, notes: ReadNotes) -> list[CaptionedImage]:
    """The images whose captions are counted, by key; equal bytes are one, with all captions.

    Args:
        corpus: where the captions came from.
        spool: for images without a file, or a part of one, of their own.
        notes: hears of images that are not at hand: those of a list that lie elsewhere, and
            stored ones that are gone.

    Raises:
        InputError: unreadable data.
    """
    found: dict[str, CaptionedImage] = {}
    for member in corpus.members or (corpus,):
        if member.reader:
            every = _images_of_records(member, spool, notes)
        else:
            find = _tar_images if member.kind == "shards" else _stored_images
            every = find(member, _captions_by_key(member), notes)
        for one in every:
            first, other = sorted([found.get(one.sha256, one), one], key=lambda image: image.key)
            captions = tuple(dict.fromkeys(first.captions + other.captions))
            found[one.sha256] = replace(first, captions=captions)
    return sorted(found.values(), key=lambda image: image.key)


def read_pixels(
    wanted: Sequence[CaptionedImage], side: int
) -> Iterator[tuple[int, int, bytes] | str]:
    """For each image width, height and RGB bytes, or why it cannot be shown.

    It is scaled down until its shorter side has `side` pixels, as image models are shown it.
    """
    jobs = (
        {"file": str(p.file), "offset": p.offset, "size": p.size, "sha256": p.sha256, "side": side}
        for p in wanted
    )
    if not wanted:
        return
    for answer in sandbox.run_jobs(f"{__name__}:_shrink_job", jobs):
        if isinstance(answer, sandbox.WorkerFailure):
            yield answer.reason
        else:
            told, pixels = answer
            yield told.get("refused") or (told["width"], told["height"], pixels)


def _captions_by_key(corpus: Corpus) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for part in corpus.partitions:
        for key, captions in part.read(ReadNotes()):
            said.setdefault(key, []).extend(captions)
    return said


def _images_of_records(corpus: Corpus, spool: Spool, notes: ReadNotes) -> Iterator[CaptionedImage]:
    met: dict[str, tuple[Path, int, int | None]] = {}
    for key, record in _records(corpus, ReadNotes()):
        if not record.captions:
            continue
        try:
            sha256 = hashlib.sha256(record.read()).hexdigest()
        except OSError:  # not ours to read
            notes.leave_out(_NOT_AT_HAND, key)
            continue
        place = met.get(sha256) or spool.place(record)
        if place is None:
            notes.leave_out(_NOT_AT_HAND, key)
        else:
            met[sha256] = place
            yield CaptionedImage(key, record.captions, place[0], sha256, place[1], place[2])


def _stored_images(
    corpus: Corpus, said: CaptionsByKey, notes: ReadNotes
) -> Iterator[CaptionedImage]:
    """Images in the store of a dataset."""
    finder = _in_dataset if corpus.kind == "dataset" else _in_manifest
    for key, place in finder(corpus.path, said.keys()):
        file = Store(place.file).path_of(place.sha256) if place.sha256 and place.file else None
        if place.sha256 and file and file.is_file():
            yield CaptionedImage(key, tuple(said[key]), file, place.sha256)
        else:
            notes.leave_out(_NOT_AT_HAND, key)


def _tar_images(corpus: Corpus, said: CaptionsByKey, notes: ReadNotes) -> Iterator[CaptionedImage]:
    index = read_index(corpus.path)
    for shard in index.shards:
        file = index.root / shard.name
        try:
            with tarfile.open(file, "r:") as tar:
                for member in tar:
                    key, _, ending = member.name.partition(".")
                    if ending == index.format and key in said:
                        stream = tar.extractfile(member)
                        data = stream.read() if stream else b""
                        sha256 = hashlib.sha256(data).hexdigest()
                        place = (member.offset_data, member.size)
                        yield CaptionedImage(key, tuple(said[key]), file, sha256, *place)
        except (OSError, tarfile.TarError) as error:
            raise shard_error(file, f"broken shard ({error})") from None


def refusal(error: Exception) -> sandbox.JobResult:
    """What a worker answers for an image that cannot be shown, by what reading it raised."""
    if isinstance(error, OSError):
        return {"refused": f"cannot be read ({error.strerror})"}, b""
    return {"refused": error.problem if isinstance(error, InputError) else str(error)}, b""


def _shrink_job(
    file: str, offset: int, size: int | None, sha256: str, side: int
) -> sandbox.JobResult:
    """An image's pixels on white, its shorter side at most `side`; for `sandbox.run_jobs`."""
    from PIL import Image

    try:
        with Path(file).open("rb") as stream:
            stream.seek(offset)
            data = stream.read(-1 if size is None else size)
        if hashlib.sha256(data).hexdigest() != sha256:
            return {"refused": "changed while it was read"}, b""
        image = flatten(decode_image(data), "white")
    except (UndecodableError, OSError) as error:
        return refusal(error)
    scale = side / min(image.size)
    if scale < 1:
        width, height = (max(side, round(length * scale)) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return {"width": image.width, "height": image.height}, image.tobytes()
