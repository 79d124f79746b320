"""Which pairs of sketches may be copies: near-linear, by tables of parts of their hashes.

The whole of one image is looked up among the views of all others, so that a crop is found. A table
sees some bits of the hashes only, and the weakest of them either way: in a copy, a bit changes
whose term is small. What two hashes have in common by chance is sorted out by the strong bits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.images.sketch import SYMMETRIES, TERMS, VIEWS, Sketches, turn_hashes
from curate.system.progress import SILENT, Progress

MANY_IMAGES = 20_000  # from which on fewer tables are made
TABLES, FEWER_TABLES = 8, 4
MEETINGS = 2_000_000  # by chance, in a table, about: all pairs of a small set
LEAST_MEETINGS, MOST_MEETINGS = 32, 16_384  # of an image in a table, by chance
WEAK_BITS = 4  # bits of a table's that may differ
LEAST_DETAIL = 1.5  # levels of 255; what has less looks like everything
MOST_IN_BUCKET = 1024  # entries of one key; what is beyond is left out, and counted
MOST_BUCKET_BITS = 26  # of the buckets of a table
_HALF = np.uint64(32)
MOST_DISTANCE = 40  # of hashes, their strong bits counted more often
_STRONGEST = (48, 32, 16)  # how many bits count twice, four times, eight times
_Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """Pairs (i, j), i < j, sorted, and how one may lie in the other."""

    i: NDArray[np.intp]
    j: NDArray[np.intp]
    within: NDArray[np.bool_]  # whether all of j is seen in i; else all of i in j
    symmetry: NDArray[np.uint8]  # of what is seen whole, to lie as in the other
    view: NDArray[np.uint8]  # number in VIEWS, of the other
    left_out: int = 0  # meetings in overfull buckets that were not looked at

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.i)


def propose_pairs(sketches: Sketches, *, progress: Progress = SILENT) -> Candidates:
    """Pairs that may be copies: of equal sketches only the first, none of hardly any detail.

    The order of the sketches changes nothing, as long as no bucket is overfull.
    """
    heads = sketches.heads
    _, numbers = np.unique(heads["digest"], return_index=True)  # of equal ones the first
    numbers = numbers[heads["detail"][numbers] >= LEAST_DETAIL]
    order = np.lexsort((heads["digest"][numbers], heads["views"][numbers, 0]))
    index = _Index(heads, numbers[order])
    found = np.empty((0, 2), dtype=np.int64)
    tables = index.tables if len(numbers) > 1 else 0
    for table in range(tables):
        progress.count("tables of hashes compared", table, tables)
        found = _best(np.concatenate([found, *index.meet(table)]))
    progress.count("tables of hashes compared", tables, tables)
    return index.candidates(found)


def _best(found: _Numbers) -> _Numbers:
    """The nearest meeting of each pair; rows are (pair, distance and how)."""
    if not len(found):
        return found
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    first: _Numbers = found[np.append(True, found[1:, 0] != found[:-1, 0])]
    return first


class _Index:
    """The hashes of the numbered sketches, ready to be compared."""

    def __init__(self, heads: NDArray[np.void], numbers: NDArray[np.intp]) -> None:
        self.numbers = numbers
        self.count = len(numbers)
        self.views = np.ascontiguousarray(heads["views"][numbers])
        self.wholes = turn_hashes(np.ascontiguousarray(self.views[:, 0]))
        as_they_lie = heads["strength"][numbers].reshape(-1, TERMS, TERMS)
        sides = (as_they_lie, as_they_lie.swapaxes(1, 2))
        self.strength = [np.ascontiguousarray(s).reshape(-1, TERMS**2) for s in sides]
        self.strong = np.stack([_strongest(s) for s in self.strength], axis=1)
        self.left_out = 0
        self.tables = TABLES if self.count <= MANY_IMAGES else FEWER_TABLES
        each = MEETINGS / max(self.count, 1)
        self.by_chance = min(max(each, LEAST_MEETINGS), MOST_MEETINGS)

    def meet(self, table: int) -> Iterator[_Numbers]:
        """Who meets in a table and is near by the strong bits, too."""
        down, across = np.divmod(np.arange(TERMS**2), TERMS)
        usable = np.flatnonzero((down + across <= TERMS) & (down + across > 0))
        meetings = self.count * len(VIEWS) * SYMMETRIES / self.by_chance
        width = min(int(np.ceil(np.log2(max(meetings, 2)))) + WEAK_BITS, len(usable))
        bits = np.random.default_rng(table).permutation(usable)[:width]
        mask = np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64))
        flips = [self._flips(strength, bits) for strength in self.strength]
        entries = self._entries(mask, flips)
        keys = entries >> _HALF
        buckets = min(max(len(entries).bit_length(), 1), MOST_BUCKET_BITS)
        down_to = np.uint64(32 - buckets)
        counts = np.bincount((keys >> down_to).astype(np.int64), minlength=1 << buckets)
        starts = np.zeros(len(counts) + 1, dtype=np.int32)
        np.cumsum(counts, out=starts[1:])
        for first in range(0, self.count, 4096):
            wanted = _mixed(self.views[first : first + 4096].ravel(), mask)
            bucket = (wanted >> down_to).astype(np.int64)
            many = starts[bucket + 1] - starts[bucket]
            here = np.flatnonzero(many)
            begin, many = starts[bucket[here]], many[here]
            yield from self._join(entries, wanted, here, begin, many, first * len(VIEWS))

    def _flips(self, strength: NDArray[np.uint8], bits: NDArray[np.intp]) -> NDArray[np.uint64]:
        """For each image the ways to change its weakest bits among `bits`."""
        weakest = np.argsort(strength[:, bits], axis=1, kind="stable")[:, :WEAK_BITS]
        weak = np.uint64(1) << bits[weakest].astype(np.uint64)
        flips = np.zeros((len(strength), 1), dtype=np.uint64)
        for n in range(weak.shape[1]):
            flips = np.concatenate([flips, flips ^ weak[:, n, None]], axis=1)
        return flips

    def _entries(self, mask: np.uint64, flips: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
        """Whole hashes, sorted: 32 bits of key, and below image * SYMMETRIES + symmetry."""
        found = []
        for symmetry in range(SYMMETRIES):
            keys = _mixed(self.wholes[:, symmetry, None] ^ flips[symmetry & 1], mask)
            names = np.arange(self.count, dtype=np.uint64) * np.uint64(SYMMETRIES)
            names += np.uint64(symmetry)
            found.append((keys << _HALF | names[:, None]).ravel())
        entries: NDArray[np.uint64] = np.concatenate(found)
        entries.sort()
        return entries

    def _join(
        self,
        entries: NDArray[np.uint64],
        wanted: NDArray[np.uint64],
        here: _Numbers,
        begin: NDArray[np.int32],
        many: NDArray[np.int32],
        offset: int,
    ) -> Iterator[_Numbers]:
        """The views `here` (of those from `offset` on) with the `many` entries from `begin` on.

        As far as their keys are those wanted, and they are near.
        """
        capped = np.minimum(many, MOST_IN_BUCKET)
        self.left_out += int((many - capped).sum())
        for first, last in _chunks(np.cumsum(capped, dtype=np.int64), 1 << 20):
            count = capped[first:last]
            ends = np.cumsum(count)
            at = np.arange(int(ends[-1])) + np.repeat(begin[first:last] - ends + count, count)
            view = np.repeat(here[first:last], count)
            entry = entries[at]
            met = entry >> _HALF == wanted[view]
            names = (entry[met] & np.uint64((1 << 32) - 1)).astype(np.int64)
            yield self._near(names, view[met] + offset)

    def _near(self, entries: _Numbers, views: _Numbers) -> _Numbers:
        """Of entries that met, those that are near: (pair, distance and how)."""
        whole, symmetry = np.divmod(entries, SYMMETRIES)
        other, view = np.divmod(views, len(VIEWS))
        differing = self.wholes.ravel()[entries] ^ self.views.ravel()[views]
        strong = self.strong[whole, symmetry & 1]
        distance = np.bitwise_count(differing).astype(np.int64)
        for n in range(len(_STRONGEST)):
            distance += np.bitwise_count(differing & strong[:, n]).astype(np.int64) << n
        near = (distance <= MOST_DISTANCE) & (whole != other)
        whole, symmetry, other, view, distance = (
            v[near] for v in (whole, symmetry, other, view, distance)
        )
        pair = np.minimum(whole, other) * self.count + np.maximum(whole, other)
        how = ((distance << 12 | symmetry << 9) | view << 1) | (whole > other)
        return np.stack([pair, how], axis=1)

    def candidates(self, found: _Numbers) -> Candidates:
        """What was found, by the numbers of the sketches."""
        first, second = np.divmod(found[:, 0], max(self.count, 1))
        how = found[:, 1]
        i, j = self.numbers[first], self.numbers[second]
        turned = i > j
        within = (how & 1).astype(bool) ^ turned
        i, j = np.where(turned, j, i), np.where(turned, i, j)
        order = np.lexsort((j, i))
        symmetry, view = (how >> 9 & 7).astype(np.uint8), (how >> 1 & 255).astype(np.uint8)
        return Candidates(
            i[order], j[order], within[order], symmetry[order], view[order], self.left_out
        )


def _mixed(hashes: NDArray[np.uint64], mask: np.uint64) -> NDArray[np.uint64]:
    """What a mask shows of hashes, as numbers of 32 bits (Fibonacci hashing)."""
    return (hashes & mask) * np.uint64(0x9E3779B97F4A7C15) >> _HALF


def _strongest(strength: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """For each image the bits of its strongest terms, as masks: n x len(_STRONGEST)."""
    order = np.argsort(strength[:, 1:].astype(np.int16) * -1, axis=1, kind="stable") + 1
    bits = np.uint64(1) << order.astype(np.uint64)
    return np.stack([np.bitwise_or.reduce(bits[:, :n], axis=1) for n in _STRONGEST], axis=1)


def _chunks(ends: NDArray[np.intp], size: int) -> Iterator[tuple[int, int]]:
    """Cut a list of counts, given as running sums, into runs of about `size`."""
    first = 0
    while first < len(ends):
        base = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, base + size, side="right")), first + 1)
        yield first, last
        first = last
