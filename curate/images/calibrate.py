"""The score from which two images are taken for copies, learnt from the set itself.

Among photographs different pictures hardly ever look alike; among tiles or icons they often do. So
the scores of random pairs of the set are measured. A set may hold many true copies, and many
siblings: what is linked already is left out, and the tail is extrapolated from the bulk.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from curate.images.propose import LEAST_DETAIL, Candidates
from curate.images.score import score_pairs
from curate.images.sketch import SYMMETRIES, VIEWS, Sketches, turn_hashes
from curate.system.progress import SILENT, Progress

SAMPLE = 20_000  # random pairs
FEWEST = 1_000  # random pairs below which a set says nothing of its own
LEAST, MOST = 0.55, 0.95  # what a threshold may be; the least is what photographs ask for
LINKED = 0.75  # score of pairs that are copies in any set
_BULK = (0.9, 0.999)  # shares of the random pairs between which the tail is read off


def find_threshold(
    sketches: Sketches,
    false_match_rate: float,
    *,
    linked: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None,
    progress: Progress = SILENT,
) -> float:
    """The score that a share `false_match_rate` of the pairs of different images reaches.

    The same for the same images in any order. A set of so few that nothing can be learnt from it
    is taken to be of photographs.

    Args:
        sketches: the set.
        false_match_rate: 0 to 1.
        linked: pairs known to be copies; what they connect is not taken to be different.
        progress: told how far it is.
    """
    scores = np.sort(random_scores(sketches, linked=linked, progress=progress))
    if len(scores) < FEWEST:
        return LEAST
    return float(np.clip(tail_score(scores, false_match_rate), LEAST, MOST))


def tail_score(scores: NDArray[np.float32], rate: float) -> float:
    """The score that a share `rate` reaches, extrapolated from the bulk of sorted scores.

    Fisher's z of a correlation is about normal (Fisher, "On the probable error of a coefficient of
    correlation", Metron 1, 1921); a line through two quantiles of it is drawn on.
    """
    z = np.arctanh(np.quantile(scores, _BULK).clip(0, 0.999))
    normal = [NormalDist().inv_cdf(share) for share in (*_BULK, 1 - rate)]
    slope = (z[1] - z[0]) / (normal[1] - normal[0])
    return float(np.tanh(z[1] + slope * (normal[2] - normal[1])))


def random_scores(
    sketches: Sketches,
    *,
    linked: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None,
    progress: Progress = SILENT,
) -> NDArray[np.float32]:
    """Scores of random pairs of images that nothing links, each laid as its hashes fit best.

    None where there are fewer than `FEWEST` pairs.
    """
    heads = sketches.heads
    digests, order = np.unique(heads["digest"], return_index=True)
    order = order[heads["detail"][order] >= LEAST_DETAIL]
    total = len(order) * (len(order) - 1) // 2
    if total < FEWEST:
        return np.empty(0, dtype=np.float32)
    if total <= SAMPLE:
        i, j = np.triu_indices(len(order), 1)
    else:
        rng = np.random.default_rng(int(digests[0]))
        i = rng.integers(0, len(order), SAMPLE)
        j = (i + rng.integers(1, len(order), SAMPLE)) % len(order)
    i, j = order[np.minimum(i, j)], order[np.maximum(i, j)]
    if linked is not None:
        group = _connected(len(sketches), *linked)
        apart = group[i] != group[j]
        i, j = i[apart], j[apart]
    return score_pairs(sketches, best_laid(sketches, i, j), progress=progress).score


def _connected(count: int, i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each of `count` the smallest number that pairs (i, j) connect it with."""
    above = np.arange(count)
    while len(i):
        low, high = np.minimum(above[i], above[j]), np.maximum(above[i], above[j])
        apart = low != high
        i, j = i[apart], j[apart]
        np.minimum.at(above, high[apart], low[apart])
        while (up := above[above]).tobytes() != above.tobytes():
            above = up
    return above


def best_laid(sketches: Sketches, i: NDArray[np.intp], j: NDArray[np.intp]) -> Candidates:
    """Pairs, each with the symmetry and the view whose hashes are nearest."""
    views = sketches.heads["views"]
    columns = [np.empty(0, dtype=np.intp)]
    for start in range(0, len(i), 1024):
        rows = slice(start, start + 1024)
        apart = []
        for whole, other in ((i[rows], j[rows]), (j[rows], i[rows])):
            turned = turn_hashes(np.ascontiguousarray(views[whole, 0]))
            differing = turned[:, :, None] ^ views[other][:, None, :]
            apart.append(np.bitwise_count(differing).reshape(len(whole), -1))
        columns.append(np.concatenate(apart, axis=1).argmin(axis=1))
    best = np.concatenate(columns)
    within, how = np.divmod(best, SYMMETRIES * len(VIEWS))
    symmetry, view = np.divmod(how, len(VIEWS))
    return Candidates(i, j, within.astype(bool), symmetry.astype(np.uint8), view.astype(np.uint8))
