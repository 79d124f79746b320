"""Judges that ask the nearest of the true images what they show.

Letters in names: N images learnt from, M images asked about, D width of the features, W words
(or any other yes-or-no targets), J neighbours, nearest first, T numbers of neighbours.
"""

from dataclasses import dataclass

import numpy as np
import torch

from train.verification.cross_fitting import deal_folds
from train.verification.pixels import split_chunks

COUNTS = (1, 3, 5, 9, 15, 25)  # neighbours that may be asked


@dataclass(frozen=True, eq=False)
class NeighbourJudge:
    """Asks the nearest images by cosine, two judges a target: each chose k without one half."""

    features_ND: np.ndarray  # of length 1
    targets_NW: np.ndarray
    group_N: np.ndarray
    half_N: np.ndarray  # 0 or 1, by groups
    k_2W: np.ndarray  # neighbours asked, by the half of the image that is asked about
    device: str

    def unseen(self, rows_M: np.ndarray, features_MD: np.ndarray | None = None) -> np.ndarray:
        """See `Judge`; an image's own group has no vote."""
        asked_MD = self.features_ND[rows_M] if features_MD is None else _unit(features_MD)
        found_MJ = self._nearest(asked_MD, self.group_N[rows_M])
        return self._vote(found_MJ, self.k_2W[self.half_N[rows_M]])

    def answers(self, features_MD: np.ndarray, position_M: np.ndarray) -> np.ndarray:
        """See `Judge`: position modulo 2."""
        nowhere = np.full(len(features_MD), -1)
        return self._vote(self._nearest(_unit(features_MD), nowhere), self.k_2W[position_M % 2])

    def _nearest(self, asked_MD: np.ndarray, group_M: np.ndarray) -> np.ndarray:
        return _nearest(asked_MD, group_M, self.features_ND, self.group_N, self.device)

    def _vote(self, found_MJ: np.ndarray, k_MW: np.ndarray) -> np.ndarray:
        lead_MJW = _lead(self.targets_NW, found_MJ)
        k_MW = np.minimum(k_MW, lead_MJW.shape[1])
        shown: np.ndarray = np.take_along_axis(lead_MJW, k_MW[:, None] - 1, 1)[:, 0] > 0
        return shown


def fit_neighbours(
    features_ND: np.ndarray, targets_NW: np.ndarray, group_N: np.ndarray, *, device: str = "cpu"
) -> NeighbourJudge:
    """The nearest images vote, those that show the word and those that do not by their shares.

    Three votes of fifty that show it outweigh twenty of a thousand that do not. How many are
    asked is chosen for each half of the images within the other half, by the mean of both rates.

    Args:
        features_ND: float.
        targets_NW: bool; of each some either way.
        group_N: int64; images that are copies of each other share a number.
        device: torch device.
    """
    unit_ND = _unit(features_ND)
    half_N = deal_folds(np.zeros(len(group_N), bool), group_N, 2)
    k_2W = np.ones((2, targets_NW.shape[1]), np.int64)
    for half in (0, 1):
        rows = np.flatnonzero(half_N != half)
        features, targets, group = unit_ND[rows], targets_NW[rows], group_N[rows]
        found_MJ = _nearest(features, group, features, group, device)
        lead_MJW = _lead(targets, found_MJ)
        counts = [k for k in COUNTS if k <= lead_MJW.shape[1]]
        right_TW = np.stack([_balanced_accuracy(lead_MJW[:, k - 1] > 0, targets) for k in counts])
        k_2W[half] = np.array(counts)[right_TW.argmax(0)]
    return NeighbourJudge(unit_ND, targets_NW, group_N, half_N, k_2W, device)


def _unit(features_ND: np.ndarray) -> np.ndarray:
    features_ND = np.asarray(features_ND, np.float32)
    length_N1 = np.linalg.norm(features_ND, axis=1, keepdims=True)
    unit: np.ndarray = features_ND / np.maximum(length_N1, 1e-12)
    return unit


def _nearest(
    asked_MD: np.ndarray,
    group_M: np.ndarray,
    known_ND: np.ndarray,
    group_N: np.ndarray,
    device: str,
) -> np.ndarray:
    """int64 (M, J): the nearest known images of another group, nearest first; -1: none."""
    known, groups = torch.from_numpy(known_ND).to(device), torch.from_numpy(group_N).to(device)
    parts = [np.zeros((0, min(COUNTS[-1], len(known_ND))), np.int64)]
    for rows in split_chunks(np.arange(len(asked_MD))):
        near = torch.from_numpy(asked_MD[rows]).to(device) @ known.T
        own = torch.from_numpy(group_M[rows]).to(device)[:, None] == groups
        best = near.masked_fill(own, -torch.inf).topk(parts[0].shape[1], dim=1)
        parts.append(best.indices.where(best.values > -torch.inf, -1).cpu().numpy())
    return np.concatenate(parts)


def _lead(targets_NW: np.ndarray, found_MJ: np.ndarray) -> np.ndarray:
    """(M, J, W): by how much the first 1 to J found are rather those with the word."""
    shown_W = targets_NW.sum(0)
    share_NW = np.where(  # float32 is plenty
        targets_NW, 1 / np.maximum(shown_W, 1), -1 / np.maximum(len(targets_NW) - shown_W, 1)
    )
    lead: np.ndarray = (share_NW[found_MJ] * (found_MJ >= 0)[:, :, None]).cumsum(1)
    return lead


def _balanced_accuracy(said_NW: np.ndarray, targets_NW: np.ndarray) -> np.ndarray:
    shown_W = np.maximum(targets_NW.sum(0), 1)
    others_W = np.maximum((~targets_NW).sum(0), 1)
    mean: np.ndarray = (said_NW & targets_NW).sum(0) / shown_W
    mean = mean + (~said_NW & ~targets_NW).sum(0) / others_W
    return mean / 2
