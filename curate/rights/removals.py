"""Tombstones of pictures that were taken out, so that none of them returns under another name."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from curate.dataset.folder import write_json
from curate.dataset.sample import DUPLICATE, Sample, drop_samples
from curate.errors import InputError

FILE_NAME = "removals.json"  # in the dataset folder
REMOVED = "removed"  # reason of a drop; its detail is what the user said
MAX_DISTANCE = 4  # bits by which the hash of a removed picture's copy may differ


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is kept of a removed picture: enough to know it again, not enough to see it."""

    key: str
    reason: str  # in the user's words
    time: str  # UTC, ISO 8601, seconds
    sha256: str | None = None  # of the bytes received
    pixel_sha256: str | None = None  # of size and decoded pixels
    phash: str | None = None  # perceptual hash; None: only the same bytes or pixels are known again
    mirror_phash: str | None = None  # the same of its mirror image
    views: str | None = None  # hashes of its sketch, in hexadecimal digits: of it and of its parts
    spared: tuple[str, ...] = ()  # SHA-256 of images that look like it and are others, as told


def read(root: Path) -> list[Tombstone]:
    """The tombstones of the dataset folder `root`; none where nothing was ever removed.

    Raises:
        InputError: its file cannot be read or is none of ours.
    """
    path = root / FILE_NAME
    fix = "put back a copy of it: without it removed images would return"
    try:
        records = json.loads(path.read_bytes())["removed"]
        return [_from_record(record) for record in records]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", fix=fix) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(path, "not a list of removals of ours", fix=fix) from None


def write(root: Path, tombstones: Iterable[Tombstone]) -> None:
    """Replace the tombstones of the dataset folder `root`."""
    records = [asdict(stone) for stone in sorted(tombstones, key=lambda t: (t.key, t.time))]
    write_json(root / FILE_NAME, {"removed": records})


def find(tombstones: Iterable[Tombstone], *hashes: str) -> str | None:
    """Why an image with one of these hashes, of its bytes or pixels, was removed; None if none."""
    return next((t.reason for t in tombstones if {t.sha256, t.pixel_sha256} & {*hashes}), None)


def find_like(
    tombstones: Sequence[Tombstone],
    samples: Sequence[Sample],
    *,
    max_distance: int = MAX_DISTANCE,
) -> dict[str, Tombstone]:
    """By the key of each sample that is, or looks like, a removed picture: its tombstone.

    Equal bytes and equal pixels count before likeness, the nearest hash before others, then the
    earlier tombstone. A mirror image is a likeness, too.

    Args:
        tombstones: in the order of `read`.
        samples: rows, measured or not.
        max_distance: hash bits up to which two pictures are alike.
    """
    named: dict[str, Tombstone] = {}
    for stone in reversed(tombstones):
        named |= {name: stone for name in (stone.sha256, stone.pixel_sha256) if name}
    found = {}
    for sample in samples:
        names = [name for name in (sample.sha256, sample.pixel_sha256) if name]
        if same := next((named[name] for name in names if name in named), None):
            found[sample.key] = same
    others = [s for s in samples if s.key not in found and s.phash]
    return found | _alike([t for t in tombstones if t.phash], others, max_distance)


def mark_removed(samples: Sequence[Sample], tombstones: Sequence[Tombstone]) -> list[Sample]:
    """The samples, those in use and copies that are or look like a removed picture dropped."""
    tombstones = or_of_rows(tombstones, samples)
    if not tombstones:
        return list(samples)
    open_to = [s for s in samples if s.dropped is None or s.drop_reason == DUPLICATE]
    found = find_like(tombstones, open_to)
    return drop_samples(samples, {key: drop_reason_of(stone) for key, stone in found.items()})


def or_of_rows(tombstones: Sequence[Tombstone], samples: Iterable[Sample]) -> Sequence[Tombstone]:
    """The tombstones, or what removed rows still say where the list of them is lost."""
    gone = (s for s in samples if s.drop_reason == REMOVED)
    return tombstones or [make_tombstone(s, s.drop_detail, s.retrieved or "") for s in gone]


def drop_reason_of(stone: Tombstone) -> str:
    """What `dropped` says of a row that this tombstone keeps out."""
    return f"{REMOVED}:{stone.reason}"


def make_tombstone(sample: Sample, reason: str, time: str, views: str | None = None) -> Tombstone:
    """The tombstone of an image; `views` are the hashes of its sketch."""
    hashes = sample.phash, sample.mirror_phash, views
    return Tombstone(sample.key, reason, time, sample.sha256, sample.pixel_sha256, *hashes)


def spare(stone: Tombstone, sha256: str) -> Tombstone:
    """The tombstone after the user said that the image with these bytes is another one."""
    return replace(stone, spared=tuple(sorted({*stone.spared, sha256})))


def _alike(
    tombstones: Sequence[Tombstone], samples: Sequence[Sample], max_distance: int
) -> dict[str, Tombstone]:
    import numpy as np

    if not tombstones or not samples:
        return {}
    seen = [[t.phash, t.mirror_phash or t.phash] for t in tombstones]
    stones = np.array([[int(str(h), 16) for h in pair] for pair in seen], dtype=np.uint64)
    found = {}
    for sample in samples:
        bits = np.bitwise_count(stones ^ np.uint64(int(str(sample.phash), 16))).min(axis=1)
        near = [int(n) for n in np.flatnonzero(bits <= max_distance)]
        near = [n for n in near if sample.sha256 not in tombstones[n].spared]
        if near:
            found[sample.key] = tombstones[min(near, key=lambda n: (bits[n], n))]
    return found


def _from_record(record: Mapping[str, Any]) -> Tombstone:
    said: dict[str, Any] = {f.name: record.get(f.name) for f in fields(Tombstone)}
    said["spared"] = tuple(said["spared"] or ())
    texts = [said["key"], said["reason"], said["time"], *said["spared"]]
    hashes = [said[n] for n in ("sha256", "pixel_sha256", "phash", "mirror_phash", "views")]
    if not all(isinstance(v, str) for v in [*texts, *filter(None, hashes)]):
        raise TypeError(record)
    for name in ("phash", "mirror_phash", "views"):
        int(said[name] or "0", 16)
    return Tombstone(**said)
