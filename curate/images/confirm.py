"""Whether two sketches are of copies of one picture, how like they are, and in what they differ."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.images.propose import propose_pairs
from curate.images.sketch import Sketches, grey
from curate.system.progress import SILENT, Progress

KINDS = (
    *("same", "recompressed", "recoloured", "cropped"),
    *("bordered", "turned", "mirrored", "edited"),
)


@dataclass(frozen=True)
class Likenesses:
    """Pairs of images that are copies of one another or made of one another, in arrays."""

    i: NDArray[np.intp]  # number of one, the smaller
    j: NDArray[np.intp]  # number of the other
    score: NDArray[np.float32]  # 0 to 1
    kind: NDArray[np.str_]  # one of KINDS
    same: NDArray[np.bool_]  # one picture, of which one may be dropped; else they are only related

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.i)


def find_likenesses(
    sketches: Sketches, *, false_match_rate: float = 1e-5, progress: Progress = SILENT
) -> Likenesses:
    """All pairs of copies among the sketches, sorted by (i, j).

    Args:
        sketches: of distinct files.
        false_match_rate: share of the pairs of different pictures that may be taken for copies.
        progress: told how far it is.
    """
    i, j = propose_pairs(sketches)
    one, other = (grey(sketches.pixels(n)).reshape(len(n), -1) for n in (i, j))
    one, other = (v - v.mean(axis=1, keepdims=True) for v in (one, other))
    spread = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    score = (one * other).sum(axis=1) / np.maximum(spread, 1e-6)
    away = np.abs(sketches.pixels(i).astype(int) - sketches.pixels(j)).max(axis=(1, 2, 3))
    same = (score > 0.98) & (away < 40)
    kind = np.where(same, "recompressed", "edited")
    near = score > 0.9
    return Likenesses(i[near], j[near], score[near].astype(np.float32), kind[near], same[near])
