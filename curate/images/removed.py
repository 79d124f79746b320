"""Removed pictures known again by the hashes of their sketches, whose pixels are gone.

A tombstone keeps the hashes of a whole image and of its parts. What comes later is compared as a
whole with all of them, in the eight ways it may lie and as its own negative, and its parts with the
whole that was removed.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from curate.dataset.sample import DUPLICATE, Sample, drop_samples
from curate.images.sketch import VIEWS, SketchStore, turn_hashes
from curate.rights.removals import Tombstone, drop_reason_of

NEAREST = 5  # bits of 63 within which a view is known again; docs/rights.md has what that finds
BYTES = len(VIEWS) * 8
_EVERY = ~np.uint64(1)  # all bits but that of the mean, which a negative turns

Codes = NDArray[np.uint64]


def lie_otherwise(codes: Codes) -> Codes:
    """Hashes of pictures in the eight ways they may lie, then of their negatives: n -> n x 16."""
    turned = turn_hashes(np.ascontiguousarray(codes))
    return np.concatenate([turned, turned ^ _EVERY], axis=1)


def view_hashes(sketches: SketchStore, sha256s: Iterable[str]) -> dict[str, str]:
    """By the SHA-256 of an image's bytes the hashes of its sketch, as a tombstone keeps them."""
    known = sorted(sketches.known() & set(sha256s))
    heads = sketches.load(known).heads
    return {name: head["views"].tobytes().hex() for name, head in zip(known, heads, strict=True)}


def find_views(
    stones: Sequence[Tombstone],
    samples: Sequence[Sample],
    sketches: SketchStore,
    *,
    nearest: int = NEAREST,
) -> dict[str, Tombstone]:
    """By key of each row that looks like a removed picture, or a part of one: its tombstone.

    Args:
        stones: in the order of `removals.read`; those without hashes of views find nothing.
        samples: rows; those without a sketch, and those of one colour, are left out.
        sketches: of the images.
        nearest: bits of 63 up to which two hashes are those of one picture.
    """
    kept = [stone for stone in stones if stone.views and len(stone.views) == 2 * BYTES]
    known = sketches.known()
    asked = [s for s in samples if s.sha256 in known and not s.flat]
    if not kept or not asked:
        return {}
    names = sorted({str(s.sha256) for s in asked})
    views: Codes = np.ascontiguousarray(sketches.load(names).heads["views"])  # n x VIEWS
    near: dict[str, tuple[int, int]] = {}
    for number, stone in enumerate(kept):
        own = np.frombuffer(bytes.fromhex(str(stone.views)), dtype="<u8")
        bits = count_bits(own, views)
        for row in np.flatnonzero(bits <= nearest).tolist():
            if names[row] not in stone.spared:
                found = int(bits[row]), number
                near[names[row]] = min(near.get(names[row], found), found)
    return {s.key: kept[near[str(s.sha256)][1]] for s in asked if s.sha256 in near}


def count_bits(own: Codes, views: Codes) -> NDArray[np.int64]:
    """Of each image, the bits between its nearest view and one of a removed picture."""
    least = np.full(len(views), 64, dtype=np.int64)
    for way in lie_otherwise(own).ravel():  # the whole of what came is a part of what was removed
        least = np.minimum(least, np.bitwise_count(views[:, 0] ^ way))
    for way in lie_otherwise(own[:1]).ravel():  # or a part of what came is what was removed
        least = np.minimum(least, np.bitwise_count(views ^ way).min(axis=1))
    return least


def mark_views(
    samples: Sequence[Sample], stones: Sequence[Tombstone], sketches: SketchStore
) -> list[Sample]:
    """The samples, those in use and copies that look like a removed picture dropped as removed."""
    open_to = [s for s in samples if s.dropped is None or s.drop_reason == DUPLICATE]
    found = find_views(stones, open_to, sketches)
    return drop_samples(samples, {key: drop_reason_of(stone) for key, stone in found.items()})
