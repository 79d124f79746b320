"""The contract with `train`: what a folder of shards looks like, and how to read it.

A folder of shards holds tars, such as `train-000000.tar` and `held_out-000000.tar`, and
`index.json`. The index is the truth: a tar that it does not list is not part of the data. Which
numbers there are is of no meaning. But what may be trained on is said
by each sample's own record: one that says anything but `train: allow` is given to nobody. Whether
the verdicts still stand in the dataset is asked of `formats.verdicts`. Each tar is in WebDataset
form, three members a sample, one after the other, sorted by name:

    KEY.jpg | KEY.png | KEY.webp   the image, sRGB, metadata stripped
    KEY.json                       a `Record` as JSON: all captions, size, rights, hashes, credits
    KEY.txt                        the first caption, UTF-8

Only the standard library is used here, so that a trainer can read shards with nothing of
`curate` but this file, `errors` and `files`.
"""

import hashlib
import json
import shlex
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple, TypedDict

from curate.errors import InputError

SHARDS_VERSION = "fubuki-shards/4"
UNSPLIT_VERSION = "fubuki-shards/3"  # lacked the split and the licences of each shard, and weights
OLDER_VERSION = "fubuki-shards/2"  # lacked copies, their credits and the digest of verdicts, too.
# Before it, words were runs of letters, so that 3D and 1girl were none; is not read
READABLE_VERSIONS = (SHARDS_VERSION, UNSPLIT_VERSION, OLDER_VERSION)
HELD_OUT = "held_out"  # split of the shards that nobody trains on
INDEX_NAME = "index.json"
CACHE = ".cache"  # folder beside the tars for what is worked out from them
ALLOW = "allow"  # the one decision on which an image is packed, and read
IMAGE_FORMATS = ("jpg", "png", "webp")  # also the file name extensions


class CaptionRecord(TypedDict):
    """One description of the image."""

    text: str
    origin: str  # "text" (given with the image), "title", "tags", "file-name", …


class VerdictRecord(TypedDict):
    """What the policy says about one use of the image."""

    decision: str  # "allow", "hold" or "deny"
    reasons: list[str]


class CreditRecord(TypedDict):
    """Who made an image, or what was found as a copy of it, and what they ask for."""

    key: str  # of the row that says so
    title: str | None  # or the name of its file
    author: str | None
    author_url: str | None
    page_url: str | None
    license: str | None  # SPDX id or LicenseRef-…
    license_text: str | None  # as stated
    license_url: str | None


def credit_of(sample: Any) -> CreditRecord:
    """What a row says of its author and licence; `sample` is a `curate.dataset.sample.Sample`."""
    return {
        "key": sample.key,
        "title": sample.title or sample.file_name,
        "author": sample.author,
        "author_url": sample.author_url,
        "page_url": sample.page_url,
        "license": sample.license,
        "license_text": sample.license_text,
        "license_url": sample.license_url,
    }


class Record(TypedDict):
    """`KEY.json`: one sample as packed. Sizes are in pixels."""

    key: str
    captions: list[CaptionRecord]  # at least one; the first is also KEY.txt
    width: int  # of the image as packed
    height: int
    original_width: int  # of the image as received, after EXIF orientation
    original_height: int
    modified: list[str]  # what packing changed, e.g. ["resized", "re-encoded"]; never empty
    sha256: str  # of the bytes as received
    pixel_sha256: str | None  # of the pixels as received; None where no other image looks alike
    source: str
    page_url: str | None
    image_url: str | None
    author: str | None
    author_url: str | None
    title: str | None
    license: str | None  # SPDX id or LicenseRef-…
    license_text: str | None  # as stated
    license_url: str | None
    policy: str | None  # SHA-256 of the policy that gave the verdicts
    train: VerdictRecord | None
    share_dataset: VerdictRecord | None
    share_model: VerdictRecord | None
    group: str | None  # smallest key of its group of copies; None: it has none
    weight: float  # 1 / packed images of its group, over all shards; absent before version 4
    credits: list[CreditRecord]  # its own, then those of its copies by key; absent in version 2


@dataclass(frozen=True)
class Shard:
    """One tar as the index lists it."""

    name: str  # file name
    sha256: str  # of the whole file
    samples: int
    bytes: int  # size of the file
    split: str = "train"  # the index's own, or HELD_OUT
    licences: Mapping[str, int] = field(default_factory=dict, hash=False)  # licence id -> images
    # of it here, not those of copies; empty before version 4


@dataclass(frozen=True)
class ShardIndex:
    """What a folder of shards holds."""

    size: int  # pixels; the shorter side of a packed image is at most this
    format: str  # one of IMAGE_FORMATS
    split: str  # of all shards that are not held out; first part of their names
    samples: int
    shards: tuple[Shard, ...]
    words: Mapping[str, int]  # word as `text.tokens` cuts it -> images with a caption of it
    licences: Mapping[str, int]  # licence id -> images
    settings: Mapping[str, Any]  # how they were packed
    policy: str | None = None  # SHA-256 of the policy that gave the verdicts; None: no single one
    verdicts: str | None = None  # `formats.verdicts.digest` of the samples; None in version 2
    version: str = SHARDS_VERSION
    root: Path = field(default=Path(), compare=False)  # folder it was read from

    def to_json(self) -> bytes:
        """The bytes of `index.json`; equal indexes give equal bytes."""
        values = {k: v for k, v in asdict(self).items() if k != "root"}
        return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def hash_share(name: str) -> float:
    """Where a name falls in [0, 1): what is below a share is chosen, whatever else there is."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32


def shard_name(split: str, number: int) -> str:
    """File name of the shard with this number: `train-000000.tar`."""
    return f"{split}-{number:06d}.tar"


def member_names(key: str, format: str) -> tuple[str, str, str]:
    """The names of a sample's image, record and caption inside a tar."""
    return f"{key}.{format}", f"{key}.json", f"{key}.txt"


def find_shards(path: Path) -> Path:
    """The folder of shards meant by `path`: itself, or `shards` within a dataset folder.

    Raises:
        InputError: neither holds an index.
    """
    for folder in (path, path / "shards"):
        if (folder / INDEX_NAME).is_file():
            return folder
    problem = "no shards here" if path.is_dir() else "no such folder"
    if any(map(list_tars, (path, path / "shards"))):
        problem = f"{problem}, only tars without an {INDEX_NAME}"
    raise shard_error(path, problem, folder=path)


def list_tars(folder: Path) -> list[Path]:
    """The tars in a folder that are named as shards are, by name, whether an index lists them."""
    return sorted(folder.glob("*-[0-9][0-9][0-9][0-9][0-9][0-9].tar"))


def shard_error(file: Path, problem: str, *, folder: Path | None = None) -> InputError:
    """What is wrong with a file of `folder`, by default its own; the fix writes all there anew."""
    return InputError(file, problem, fix=pack_command(folder or file.parent))


def dataset_of(folder: Path) -> Path:
    """The dataset folder of a folder of shards."""
    return folder.parent if folder.name == "shards" else folder


def pack_command(folder: Path, **changed: object) -> str:
    """What writes the shards in a folder anew, as a user types it.

    It repeats the settings that the index names, where that can be read, but for those `changed`.
    """
    words = ["curate", "pack", "--data", str(dataset_of(folder))]
    with suppress(OSError, ValueError, LookupError, TypeError):
        settings = json.loads((folder / INDEX_NAME).read_bytes())["settings"] | changed
        for option, value in options_of(settings).items():
            if option in _ALWAYS_NAMED or value != PACK_OPTIONS[option]:
                words += [option, str(value)]
    return shlex.join(words)


PACK_OPTIONS: Mapping[str, object] = {  # of `curate pack`, with what each is when it is not typed
    "--size": 512,
    "--format": "jpg",
    "--background": "white",
    "--shard-size": 256.0,
    "--held-out": 0.0,
    "--split": "train",
}
_ALWAYS_NAMED = ("--size", "--format", "--background")
_OPTIONS = {option.removeprefix("--"): option for option in _ALWAYS_NAMED} | {
    "shard_megabytes": "--shard-size",
    HELD_OUT: "--held-out",
    "split": "--split",
}


def options_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The `settings` of an index as options of `curate pack`, as far as it has them."""
    return {option: settings[name] for name, option in _OPTIONS.items() if name in settings}


def read_index(path: Path) -> ShardIndex:
    """The index of the shards that `find_shards` finds, each listed tar present in its full size.

    Raises:
        InputError: no shards, another version, or a tar that is missing or of another size.
    """
    root = find_shards(path)
    index = parse_index(root / INDEX_NAME)
    for shard in index.shards:
        file = root / shard.name
        if not file.is_file():
            raise shard_error(file, "shard is missing")
        if (size := file.stat().st_size) != shard.bytes:
            raise shard_error(file, f"shard has {size} bytes, its index says {shard.bytes}")
    return index


def parse_index(path: Path) -> ShardIndex:
    """What an index says, whether the tars that it lists are there or not.

    Raises:
        InputError: it cannot be read, or is of another version.
    """
    try:
        values = json.loads(path.read_bytes())
        version = values.get("version")
    except (OSError, ValueError, AttributeError) as error:
        raise shard_error(path, f"not a readable index ({error})") from None
    if version not in READABLE_VERSIONS:
        was = f"shards of version {version!r}"
        raise shard_error(path, f"{was}, this reads {SHARDS_VERSION!r}: pack them again")
    names = {f.name for f in fields(ShardIndex)} - {"root"}
    if version == OLDER_VERSION:
        values = {"policy": None, "verdicts": None} | values
    try:
        lacking = {} if version == SHARDS_VERSION else {"split": values["split"]}
        shards = tuple(Shard(**s | lacking) for s in values["shards"])
        return ShardIndex(**{n: values[n] for n in names} | {"shards": shards, "root": path.parent})
    except (KeyError, TypeError) as error:
        raise shard_error(path, f"not an index of ours ({error})") from None


def iterate_samples(path: Path, *, split: str | None = None) -> Iterator[tuple[str, bytes, Record]]:
    """Yield (key, bytes of the image, record) of every sample, in the order they are stored.

    Each shard is checked against its SHA-256 before its first sample is given out.

    Args:
        path: as `find_shards` takes it.
        split: only shards of this split; None: all.

    Raises:
        InputError: as `read_index`; a shard is not what its index says; or the record of a sample
            says anything but `train: allow`.
    """
    index = read_index(path)
    for shard in (s for s in index.shards if split in (None, s.split)):
        file = index.root / shard.name
        try:
            with file.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != shard.sha256:
                    raise ValueError("its SHA-256 is not the one in the index")
                stream.seek(0)
                for key, data, stored, *_ in read_tar(stream, index.format):
                    record = json.loads(stored)
                    if said := why_untrainable(record):
                        problem = f"the record of {key} says {said}, so it is not read"
                        raise shard_error(file, problem)
                    yield key, data, record
        except (OSError, tarfile.TarError, ValueError, LookupError) as error:
            raise shard_error(file, f"broken shard ({error or type(error).__name__})") from None


def why_untrainable(record: object) -> str | None:
    """What a sample's record, whatever JSON it is, says instead of `train: allow`; else None."""
    verdict = record.get("train") if isinstance(record, Mapping) else None
    decision = verdict.get("decision") if isinstance(verdict, Mapping) else None
    if decision == ALLOW:
        return None
    return f"train: {decision}" if isinstance(decision, str) else "no verdict on training"


def carries_verdict(record: Mapping[str, Any]) -> bool:
    """Whether the JSON of an image speaks of what may be done with it, as a `Record` does.

    Whoever reads tars without an index judges such an image by its record (`why_untrainable`), and
    leaves all others to what is known of their rights elsewhere.
    """
    verdict = record.get("train")
    said = isinstance(verdict, Mapping) and "decision" in verdict
    return said or "share_dataset" in record or "share_model" in record


def iterate_records(file: Path) -> Iterator[tuple[str, Any]]:
    """Yield (key, record as JSON gives it) of every sample in a tar; images are not read.

    Nothing is checked, no index needed: what says what a tar holds, not what may be used of it.

    Raises:
        InputError: it is no tar with records.
    """
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                if kind == "json":
                    yield key, json.loads(_read_member(tar, member))
    except (OSError, tarfile.TarError, ValueError) as error:
        raise shard_error(file, f"broken shard ({error or type(error).__name__})") from None


class StoredSample(NamedTuple):
    """The three members of a sample in a tar, as they are."""

    key: str
    image: bytes
    record: bytes
    caption: bytes
    offset: int  # of the image, bytes from the start of the tar


def read_tar(stream: IO[bytes], format: str) -> Iterator[StoredSample]:
    """Every sample of an open tar whose images have this format.

    Raises:
        ValueError, LookupError, tarfile.TarError: it does not hold three members of each.
    """
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        every = iter(tar)
        for first in every:
            members = {m.name: m for m in (first, *islice(every, 2))}
            key = first.name.partition(".")[0]
            names = member_names(key, format)
            for name in reversed(names):
                if name not in members:
                    raise ValueError(f"no {name} beside {first.name}")
            image, record, caption = (_read_member(tar, members[name]) for name in names)
            yield StoredSample(key, image, record, caption, members[names[0]].offset_data)


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    if stream is None:
        raise ValueError(f"member {member.name!r} is not a file")
    return stream.read()
