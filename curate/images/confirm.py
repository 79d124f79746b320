"""Which images are copies of one another, and in what they differ."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.images.align import warp
from curate.images.calibrate import LINKED, find_threshold
from curate.images.propose import LEAST_DETAIL, Candidates, propose_pairs
from curate.images.score import Scores, laid, score_pairs, take, track_chunks
from curate.images.sketch import SIDE, SYMMETRIES, Sketches, grey
from curate.system.progress import SILENT, Progress

KINDS = (
    *("same", "recompressed", "recoloured", "cropped"),
    *("bordered", "turned", "mirrored", "edited"),
)
SLIGHT_CROP = 0.85  # share of the area that is left of a picture that is still the same one
CROPPED = 0.96  # and of one that is called cropped
LEAST_SAME = 0.9  # score of what is one picture
BORDERED = 0.03  # share of the area by which two borders differ

MOST_TURN = 0.02  # radians, about, by which one picture may lie askew in the other

# Two pictures laid over each other, 16 x 16, levels of 255, are one if no colour drifts further
MAX_SHIFT = 4.0  # than this on average, and if no cell differs by more than
SMALL_DIFFERENCE = 8.0  # or the cells differ by no more than
MAX_SPREAD = 3.4  # times (what three quarters of them stay within + 1), which is at most
MAX_NOISE = 10.0
MAX_PART = 12.0  # and no part of an eighth of the sides may drift further than this on average
# If one is moved in the other, parts are not looked at, nor the outermost cells, and the factor is
MOVED_SPREAD = 5.0
# Recompression disturbs all of an image a little; another face, tool or tone disturbs one part.


@dataclass(frozen=True)
class Likenesses:
    """Pairs of images that are copies of one another or made of one another, in arrays."""

    i: NDArray[np.intp]  # number of one, the smaller
    j: NDArray[np.intp]  # number of the other
    score: NDArray[np.float32]  # 0 to 1
    kind: NDArray[np.str_]  # one of KINDS
    same: NDArray[np.bool_]  # one picture, of which one may be dropped; else they are only related
    threshold: float = 0.0  # the score from which on a pair was taken
    left_out: int = 0  # meetings that were not looked at, where too many look alike

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.i)


def find_likenesses(
    sketches: Sketches, *, false_match_rate: float = 1e-5, progress: Progress = SILENT
) -> Likenesses:
    """All pairs of copies among the sketches, sorted by (i, j).

    Of images whose sketches are equal, all are paired with the first, and that one alone with
    others. If an image has so little detail that it looks like everything (of one colour, a plain
    gradient), it cannot be told whose copy it is: it is paired with equal sketches only, as
    not to be dropped before the pixels themselves are compared.

    Args:
        sketches: of distinct files.
        false_match_rate: share of the pairs of different pictures that may be taken for copies.
        progress: told how far it is, and of what was left out.
    """
    pairs = propose_pairs(sketches, progress=progress)
    if pairs.left_out:
        said = "pairs were not compared, since too many images look alike"
        progress.say(f"{pairs.left_out} {said}")
    found = score_pairs(sketches, pairs, progress=progress)
    sure = found.score >= LINKED
    linked = pairs.i[sure], pairs.j[sure]
    threshold = find_threshold(sketches, false_match_rate, linked=linked, progress=progress)
    near = found.score >= threshold
    pairs, found = take(pairs, near), Scores(found.score[near], found.maps[near])
    kind, same = describe(sketches, pairs, found, progress=progress)
    first, second = _equal(sketches)
    detailed = sketches.heads["detail"][second] >= LEAST_DETAIL
    i, j = np.concatenate([pairs.i, first]), np.concatenate([pairs.j, second])
    order = np.lexsort((j, i))
    score = np.concatenate([found.score, np.ones(len(first), dtype=np.float32)])
    kind = np.concatenate([kind, np.full(len(first), "same")])
    same = np.concatenate([same, detailed])
    columns = (i[order], j[order], score[order], kind[order], same[order])
    return Likenesses(*columns, threshold, pairs.left_out)


def _equal(sketches: Sketches) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of sketches with equal pixels: the first of them, and each other one."""
    _, first, which = np.unique(sketches.heads["digest"], return_index=True, return_inverse=True)
    numbers = np.arange(len(sketches))
    others = numbers[first[which] != numbers]
    return first[which][others], others


def describe(
    sketches: Sketches, pairs: Candidates, found: Scores, *, progress: Progress = SILENT
) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
    """The kind of each pair of copies, and whether the two are one picture."""
    kind = np.full(len(pairs), "recompressed", dtype="<U12")
    same = np.zeros(len(pairs), dtype=bool)
    for rows in track_chunks(len(pairs), "copies described", progress):
        kind[rows], same[rows] = _describe(sketches, take(pairs, rows), found.maps[rows])
    same &= found.score >= LEAST_SAME
    return kind, same


def _describe(
    sketches: Sketches, pairs: Candidates, maps: NDArray[np.float32]
) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
    targets, others = laid(sketches, pairs)
    difference = warp(others.astype(np.float32), maps) - targets
    area = np.abs(np.linalg.det(maps[:, :, :2]))
    borders = 1 - np.prod(sketches.boxes()[:, 2:] - sketches.boxes()[:, :2], axis=1)
    bordered = np.abs(borders[pairs.i] - borders[pairs.j]) > BORDERED
    flips = np.array([bin(n).count("1") % 2 for n in range(SYMMETRIES)], dtype=bool)
    mirrored = flips[pairs.symmetry]
    turned = ~mirrored & (pairs.symmetry > 0)
    moved = bordered | (np.abs(area - 1) > 1 - CROPPED)
    equal = is_one_picture(targets, others, difference, moved)
    grown = np.abs(grey(difference)).max(axis=(1, 2)) <= 2
    middle = np.median(difference[..., :3].reshape(len(pairs), SIDE**2, 3), axis=1)
    shifted = np.abs(middle).max(axis=1) > MAX_SHIFT
    said = [mirrored, turned, area < CROPPED, bordered, equal & grown, equal, shifted]
    names = ["mirrored", "turned", "cropped", "bordered", "same", "recompressed", "recoloured"]
    kind = np.select(said, names, "edited")
    askew = np.abs(maps[:, (0, 1), (1, 0)]).max(axis=1) > MOST_TURN
    # a border round a picture leaves it the same one; a large and a small sign on white are two
    placed = bordered & (np.minimum(borders[pairs.i], borders[pairs.j]) > BORDERED)
    return kind, equal & (pairs.symmetry == 0) & (area >= SLIGHT_CROP) & ~askew & ~placed


def is_one_picture(
    targets: NDArray[np.uint8],
    others: NDArray[np.uint8],
    difference: NDArray[np.float32],
    moved: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Whether pictures laid over each other are one, up to recompression and scaling.

    The rule is ours; its limits stand at the top of this module.

    Args:
        targets: n x SIDE x SIDE x 4.
        others: the same.
        difference: between the two, laid over each other.
        moved: whether one is a part of the other, so that it hardly lies quite exactly.
    """
    difference = difference.copy()
    opaque = (targets[..., 3].min(axis=(1, 2)) == 255) | (others[..., 3].min(axis=(1, 2)) == 255)
    difference[opaque, ..., 3] = 0  # one of them may be the other, laid on white
    count, side = difference.shape[:2]
    cells = difference.reshape(count, side // 2, 2, side // 2, 2, 4).mean(axis=(2, 4))
    shift = np.abs(cells.mean(axis=(1, 2))).max(axis=1)
    away = np.abs(cells).max(axis=3)
    inner = np.pad(away[:, 1:-1, 1:-1], ((0, 0), (1, 1), (1, 1)), mode="edge")
    away = np.where(moved[:, None, None], inner, away).reshape(count, (side // 2) ** 2)
    away.sort(axis=1)
    worst, most = away[:, -1], away[:, away.shape[1] * 3 // 4 - 1]
    limit = np.where(moved, MOVED_SPREAD, MAX_SPREAD) * (most + 1)
    spread = (worst <= limit) & (most <= MAX_NOISE)
    eighth = side // 8
    parts = difference.reshape(count, 8, eighth, 8, eighth, 4).mean(axis=(2, 4))
    spread &= moved | (np.abs(parts).max(axis=(1, 2, 3)) <= MAX_PART)
    result: NDArray[np.bool_] = (shift <= MAX_SHIFT) & ((worst <= SMALL_DIFFERENCE) | spread)
    return result
