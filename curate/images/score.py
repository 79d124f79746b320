"""How like two sketches are: one is laid over the other, and their local contrasts compared."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.images import align
from curate.images.propose import Candidates
from curate.images.sketch import SPANS, SYMMETRIES, VIEWS, Sketches, grey, turn_hashes, turn_pixels
from curate.system.progress import SILENT, Progress

_CHUNK = 2048  # pairs compared at a time
_TRIED = 5  # views a pair is laid in, coarsely; the best two are refined
COARSE = 0.15  # correlation below which a view is not refined at all
FAIR = 0.3  # and, once refined coarsely, not any further
FRAME = 6  # pixels; what is inside must be alike, too: a page may frame any picture
SURE = 0.7  # from which on the second view is not tried

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scores:
    """How like the pairs are, and how one lies in the other."""

    score: Floats  # 0 to 1: correlation of local contrasts, of all and of the middle the lower
    maps: Floats  # n x 2 x 3: places of what is seen whole to places of the other, 0 to 1


def score_pairs(sketches: Sketches, pairs: Candidates, *, progress: Progress = SILENT) -> Scores:
    """The scores of pairs; what is seen whole in them is laid over the other."""
    scores = np.zeros(len(pairs), dtype=np.float32)
    maps = np.zeros((len(pairs), 2, 3), dtype=np.float32)
    for rows in track_chunks(len(pairs), "pairs compared", progress):
        scores[rows], maps[rows] = _score(sketches, take(pairs, rows))
    return Scores(scores, maps)


def track_chunks(count: int, what: str, progress: Progress) -> Iterator[slice]:
    """Slices that together make up `count` pairs, each counted."""
    for start in range(0, count, _CHUNK):
        progress.count(what, start, count)
        yield slice(start, start + _CHUNK)
    progress.count(what, count, count)


def take(pairs: Candidates, rows: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Candidates:
    """Some of the pairs."""
    return Candidates(
        pairs.i[rows],
        pairs.j[rows],
        pairs.within[rows],
        pairs.symmetry[rows],
        pairs.view[rows],
        pairs.left_out,
    )


def _score(sketches: Sketches, pairs: Candidates) -> tuple[Floats, Floats]:
    targets, others = (grey(pixels) for pixels in laid(sketches, pairs))
    contrasts = align.local_contrast(targets), align.local_contrast(others)
    coarse = align.halve(contrasts[0]), align.halve(contrasts[1])
    views = _likely_views(sketches, pairs)
    fits = np.stack(
        [align.correlate(coarse[0], align.warp(coarse[1], view_maps(v))) for v in views.T], axis=1
    )
    order = np.argsort(-fits, axis=1, kind="stable")
    views = np.take_along_axis(views, order, axis=1)
    fits = np.take_along_axis(fits, order, axis=1)
    scores = np.zeros(len(pairs), dtype=np.float32)
    maps = view_maps(pairs.view)
    for rank in range(2):
        rows = np.flatnonzero((fits[:, rank] >= COARSE) & (scores < SURE))
        found = align.refine(coarse[0][rows], coarse[1][rows], view_maps(views[rows, rank]), 5)
        fit = align.correlate(coarse[0][rows], align.warp(coarse[1][rows], found))
        rows, found = rows[fit >= FAIR], found[fit >= FAIR]
        found = align.refine(contrasts[0][rows], contrasts[1][rows], found, 2)
        seen = align.local_contrast(align.warp(others[rows], found))
        target = contrasts[0][rows]
        whole = align.correlate(target, seen)
        middle = align.correlate(*(v[:, FRAME:-FRAME, FRAME:-FRAME] for v in (target, seen)))
        score = np.minimum(whole, middle)
        better = score > scores[rows]
        scores[rows[better]], maps[rows[better]] = score[better], found[better]
    return scores.clip(0, 1), maps


def laid(sketches: Sketches, pairs: Candidates) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels of what is seen whole, turned to lie as in the other; pixels of the other."""
    targets = sketches.pixels(np.where(pairs.within, pairs.j, pairs.i))
    for symmetry in range(1, SYMMETRIES):
        mine = pairs.symmetry == symmetry
        targets[mine] = turn_pixels(targets[mine], symmetry)
    return targets, sketches.pixels(np.where(pairs.within, pairs.i, pairs.j))


def view_maps(views: NDArray[np.integer]) -> Floats:
    """For each numbered view the map that shows it."""
    down, across = (np.array(SPANS, dtype=np.float32)[n] for n in np.array(VIEWS)[views].T)
    maps = np.zeros((len(views), 2, 3), dtype=np.float32)
    for axis, span in enumerate((across, down)):
        maps[:, axis, axis], maps[:, axis, 2] = span[:, 1] - span[:, 0], span[:, 0]
    return maps


def _likely_views(sketches: Sketches, pairs: Candidates) -> NDArray[np.intp]:
    """For each pair the views whose hashes are nearest, that which proposed it among them."""
    heads = sketches.heads
    whole = np.where(pairs.within, pairs.j, pairs.i)
    other = np.where(pairs.within, pairs.i, pairs.j)
    hashes = turn_hashes(np.ascontiguousarray(heads["views"][whole, 0]))
    own = hashes[np.arange(len(pairs)), pairs.symmetry]
    differing = np.bitwise_count(own[:, None] ^ heads["views"][other]).astype(np.int16)
    differing[np.arange(len(pairs)), pairs.view] = -1
    return np.argsort(differing, axis=1, kind="stable")[:, :_TRIED]
