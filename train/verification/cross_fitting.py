"""Judges that learn by turns: each true image is answered by one that has not seen it.

What a judge says of a true image is worth something only if it has learnt neither from that image
nor from a copy of it. So there are several, each learnt without some of the images. An image that
was learnt from is answered by a judge that has not seen it, and other images are dealt out to
the same judges. Their error rates on true images are therefore those of the judges that judge.

Here is the kind that weighs features: cross-fitted logistic regression. The other one asks the
nearest images, in `train.verification.neighbours`.

Letters in names: N images learnt from, M images asked about, D width of the features, W words
(or any other yes-or-no targets), K folds, P pairs of folds, C columns that are fitted at once.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

FOLDS = 5
MIN_EXAMPLES = FOLDS  # different images with the word, and without it, that it takes to learn it
STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)  # of the L2 penalty; from each the next is begun
STEPS = 100  # of L-BFGS, at most
FLAT = 1e-4  # of its spread in all images: a feature that varies less in a fold is not used there


class Judge(Protocol):
    """Judges of W targets that learnt from N images by turns."""

    def unseen(self, rows_M: np.ndarray, features_MD: np.ndarray | None = None) -> np.ndarray:
        """Bool (M, W): of rows they learnt from, each answered by one that has not seen it.

        Args:
            rows_M: rows of the features they learnt from.
            features_MD: those of the images altered; their own by default.
        """
        ...

    def answers(self, features_MD: np.ndarray, position_M: np.ndarray) -> np.ndarray:
        """Bool (M, W): of other images; which judge answers is decided by the position."""
        ...


def count_examples(target_N: np.ndarray, group_N: np.ndarray) -> tuple[int, int]:
    """How many different images show it, and how many do not; copies count once.

    Where copies of an image disagree, it shows it.
    """
    shown = np.unique(group_N[target_N])
    return len(shown), len(np.unique(group_N)) - len(shown)


def deal_folds(target_N: np.ndarray, group_N: np.ndarray, folds: int) -> np.ndarray:
    """The fold of each image, int64 (N,): copies in one, examples spread evenly over all.

    The same images in the same order are always dealt the same way.
    """
    names, group_N, size_G = np.unique(group_N, return_inverse=True, return_counts=True)
    shown_G = np.bincount(group_N, weights=target_N) > 0
    order = np.random.default_rng(0).permutation(len(names))
    order = order[np.argsort(-size_G[order], kind="stable")]  # large groups first
    fold_G = np.zeros(len(names), np.int64)
    for shown in (True, False):
        filled = np.zeros(folds)
        for group in order[shown_G[order] == shown]:
            fold_G[group] = filled.argmin()
            filled[fold_G[group]] += size_G[group]
    return fold_G[group_N]


@dataclass(frozen=True, eq=False)
class LogisticJudge:
    """Of each target K linear judges, the k-th learnt without fold k."""

    features_ND: np.ndarray
    fold_NW: np.ndarray
    weights_KDW: np.ndarray
    bias_KW: np.ndarray
    strength_KW: np.ndarray  # of the penalty, as chosen within the images each learnt from

    def unseen(self, rows_M: np.ndarray, features_MD: np.ndarray | None = None) -> np.ndarray:
        """See `Judge`."""
        return self.unseen_logits(rows_M, features_MD) > 0

    def unseen_logits(
        self, rows_M: np.ndarray, features_MD: np.ndarray | None = None
    ) -> np.ndarray:
        """Float (M, W): how sure it is; 0 where yes and no are as likely to be wrong."""
        features_MD = self.features_ND[rows_M] if features_MD is None else features_MD
        return self._logits(features_MD, self.fold_NW[rows_M])

    def answers(self, features_MD: np.ndarray, position_M: np.ndarray) -> np.ndarray:
        """See `Judge`: position modulo K."""
        words = self.bias_KW.shape[1]
        return self._logits(features_MD, np.tile(position_M[:, None] % FOLDS, (1, words))) > 0

    def _logits(self, features_MD: np.ndarray, judge_MW: np.ndarray) -> np.ndarray:
        all_KMW = features_MD @ self.weights_KDW + self.bias_KW[:, None]
        found: np.ndarray = np.take_along_axis(all_KMW, judge_MW[None], 0)[0]
        return found


def fit_logistic(
    features_ND: np.ndarray, targets_NW: np.ndarray, group_N: np.ndarray, *, device: str = "cpu"
) -> LogisticJudge:
    """Cross-fitted logistic regressions on standardised features, with an L2 penalty.

    Both answers weigh the same, however many images have each, so errors are about as frequent
    either way. Mean, spread and strength of the penalty are those of the images each judge
    learns from; the strength is the one with the least loss in a cross-validation of its own.

    Args:
        features_ND: float.
        targets_NW: bool; of each at least `MIN_EXAMPLES` by `count_examples`, either way.
        group_N: int64; images that are copies of each other share a number.
        device: torch device.

    Source: nested cross-validation, Varma and Simon, BMC Bioinformatics 7:91 (2006).
    """
    fold_NW = np.stack([deal_folds(target, group_N, FOLDS) for target in targets_NW.T], 1)
    few = [count_examples(target, group_N) for target in targets_NW.T]
    assert min(map(min, few)) >= MIN_EXAMPLES, few
    raw_ND = torch.from_numpy(np.asarray(features_ND, np.float32)).to(device)
    centre_D, spread_D = raw_ND.mean(0), raw_ND.std(0)
    spread_D = torch.where(spread_D > 0, spread_D, torch.ones_like(spread_D))
    x_ND = (raw_ND - centre_D) / spread_D  # for its digits only: each fit standardises anew
    y_NW, fold = torch.from_numpy(targets_NW).to(device), torch.from_numpy(fold_NW).to(device)
    strength_KW, threshold_KW = _choose_rule(x_ND, y_NW, fold)
    masks = torch.cat([fold != k for k in range(FOLDS)], 1)
    fitted = _LogisticFit(x_ND, y_NW.repeat(1, FOLDS), masks)
    fitted.minimise(strength_KW.flatten())
    weights_DC, bias_C = fitted.solution()
    weights_DC = weights_DC / spread_D[:, None]
    bias_C = bias_C - centre_D @ weights_DC - threshold_KW.flatten()
    words = y_NW.shape[1]
    weights_KDW = weights_DC.reshape(-1, FOLDS, words).transpose(0, 1)
    return LogisticJudge(
        np.asarray(features_ND, np.float32),
        fold_NW,
        weights_KDW.cpu().numpy(),
        bias_C.reshape(FOLDS, words).cpu().numpy(),
        strength_KW.cpu().numpy(),
    )


def _choose_rule(x_ND: Tensor, y_NW: Tensor, fold_NW: Tensor) -> tuple[Tensor, Tensor]:
    """Strength and threshold (K, W) of the judge without fold k, from cross-validating the rest.

    What is learnt without folds i and j is tried on i for the judge without j, and on j for the
    judge without i: one fit for both.
    """
    pairs = list(combinations(range(FOLDS), 2))
    masks = torch.cat([(fold_NW != i) & (fold_NW != j) for i, j in pairs], 1)
    fitted = _LogisticFit(x_ND, y_NW.repeat(1, len(pairs)), masks)
    least_KW = torch.full((FOLDS, y_NW.shape[1]), torch.inf, device=x_ND.device)
    strength_KW, tried_KNW = (
        torch.zeros_like(least_KW),
        torch.zeros(FOLDS, *y_NW.shape, device=x_ND.device),
    )
    for strength in STRENGTHS:
        fitted.minimise(torch.full((masks.shape[1],), strength, device=x_ND.device))
        weights_DC, bias_C = fitted.solution()
        logits_PNW = (x_ND @ weights_DC + bias_C).reshape(len(x_ND), len(pairs), -1).transpose(0, 1)
        now_KNW = torch.zeros(FOLDS, *y_NW.shape, device=x_ND.device)
        for logits_NW, (i, j) in zip(logits_PNW, pairs, strict=True):
            now_KNW[i] = torch.where(fold_NW == j, logits_NW, now_KNW[i])
            now_KNW[j] = torch.where(fold_NW == i, logits_NW, now_KNW[j])
        for k in range(FOLDS):
            loss_W = _balanced_loss(now_KNW[k], y_NW, fold_NW != k)
            better = loss_W < least_KW[k]
            strength_KW[k, better], least_KW[k, better] = strength, loss_W[better]
            tried_KNW[k][:, better] = now_KNW[k][:, better]
    thresholds = [_equal_error_threshold(tried_KNW[k], y_NW, fold_NW != k) for k in range(FOLDS)]
    return strength_KW, torch.stack(thresholds)


def _equal_error_threshold(logits_NC: Tensor, y_NC: Tensor, mask_NC: Tensor) -> Tensor:
    """(C,): above it are as many of those with, in share, as there are of those without below."""
    found = []
    for logits_N, y_N, mask_N in zip(logits_NC.T, y_NC.T, mask_NC.T, strict=True):
        order = logits_N[mask_N].argsort()
        sorted_N, y = logits_N[mask_N][order], y_N[mask_N][order]
        missed_N, rejected_N = y.cumsum(0) / y.sum(), (~y).cumsum(0) / (~y).sum()
        at = int((rejected_N >= 1 - missed_N).nonzero()[0, 0])
        found.append(sorted_N[at : at + 2].mean())
    return torch.stack(found)


def _balanced_loss(logits_NC: Tensor, y_NC: Tensor, mask_NC: Tensor) -> Tensor:
    """(C,): cross-entropy, the mean over those with and the mean over those without, averaged."""
    yes, no = (y_NC & mask_NC).float(), (~y_NC & mask_NC).float()
    weight_NC = yes / yes.sum(0) + no / no.sum(0)
    return (weight_NC * softplus(torch.where(y_NC, -logits_NC, logits_NC))).sum(0) / 2


class _LogisticFit:
    """C logistic regressions, each on the rows of its mask; solved together, warm from the last."""

    def __init__(self, x_ND: Tensor, y_NC: Tensor, mask_NC: Tensor) -> None:
        self._x_ND, self._y_NC, self._mask_NC = x_ND, y_NC, mask_NC
        share_NC = mask_NC.float() / mask_NC.sum(0)
        self._mean_DC = x_ND.T @ share_NC
        spread_DC = ((x_ND**2).T @ share_NC - self._mean_DC**2).clamp(min=0).sqrt()
        self._scale_DC = torch.where(spread_DC > FLAT, 1 / spread_DC, 0)
        self._v_DC = torch.zeros_like(self._mean_DC, requires_grad=True)
        self._bias_C = torch.zeros_like(self._mean_DC[0], requires_grad=True)

    def minimise(self, strength_C: Tensor) -> None:
        """Balanced loss plus half the strength times the squared weights of standardised x."""
        parameters = [self._v_DC, self._bias_C]
        optimizer = torch.optim.LBFGS(
            parameters, max_iter=STEPS, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
        )

        def loss() -> float:
            optimizer.zero_grad()
            weights_DC, bias_C = self._unscaled()
            logits_NC = self._x_ND @ weights_DC + bias_C
            each_C = _balanced_loss(logits_NC, self._y_NC, self._mask_NC)
            total = (each_C + strength_C / 2 * (self._v_DC**2).sum(0)).sum()
            total.backward()  # type: ignore[no-untyped-call]
            return float(total.detach())

        optimizer.step(loss)  # type: ignore[no-untyped-call]

    def solution(self) -> tuple[Tensor, Tensor]:
        """Weights (D, C) and bias (C,) for x as it was given."""
        with torch.no_grad():
            return self._unscaled()

    def _unscaled(self) -> tuple[Tensor, Tensor]:
        weights_DC = self._v_DC * self._scale_DC
        return weights_DC, self._bias_C - (self._mean_DC * weights_DC).sum(0)
