"""Intervals for shares of samples that come in groups: several seeds of each prompt.

Prompts differ, and so do the seeds of one prompt: `effective_samples` counts how many independent
ones would tell as much. `rates` corrects shares for a scorer's errors.

Letters in names: X any leading axes, N samples, C clusters, G groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Z_95 = 1.959963984540054  # 97.5 % point of the standard normal distribution
FEW_GROUPS = 8  # prompts below which little is known of others


@dataclass(frozen=True)
class Share:
    """A share of samples, or a difference of two, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int  # samples


def format_share(
    share: Share | None, *, signed: bool = False, factor: int = 100, digits: int = 1
) -> tuple[str, str] | None:
    """The value and "[low, high]", in percent if not told otherwise; None for none."""
    if share is None or not isfinite(share.value):
        return None
    style = f"{'+' if signed else ''}.{digits}f"
    value, low, high = (f"{factor * n:{style}}" for n in (share.value, share.low, share.high))
    return value, f"[{low}, {high}]"


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927), 209-212.
    """
    if n == 0:
        return 0.0, 1.0
    low, high = score_interval(np.array(hits / n), np.array(float(n)))
    return float(low), float(high)


def score_interval(share_X: Array, n_X: Array) -> tuple[Array, Array]:
    """Wilson's 95 % interval of shares of `n_X` > 0 samples, which need not be whole."""
    z2 = Z_95**2
    centre_X = (share_X + z2 / (2 * n_X)) / (1 + z2 / n_X)
    half_X = Z_95 / (1 + z2 / n_X) * np.sqrt(share_X * (1 - share_X) / n_X + z2 / (4 * n_X * n_X))
    return (
        np.where(share_X <= 0, 0.0, np.maximum(0.0, centre_X - half_X)),
        np.where(share_X >= 1, 1.0, np.minimum(1.0, centre_X + half_X)),
    )


def mid_p(hits: float, n: float) -> tuple[float, float]:
    """The 95 % mid-P interval of a share; counts need not be whole.

    Its ends are the shares that would give as many hits or more, and as many or fewer, with a
    chance of 2.5 %, where that of exactly as many counts half. With few samples and a share near
    0 or 1 it holds the truth more often than Wilson's, and is narrower than the exact interval.

    Source: G. Berry and P. Armitage, "Mid-P confidence intervals: a brief review", The
    Statistician 44 (1995), 417-423.
    """
    if n == 0:
        return 0.0, 1.0
    return _mid_p_low(hits, n), 1 - _mid_p_low(n - hits, n)


def _mid_p_low(hits: float, n: float) -> float:
    """By bisection: the chance of `hits` or more grows with the share."""
    from scipy.special import betainc

    low, high = 0.0, hits / n
    for _ in range(32 if hits else 0):
        share = (low + high) / 2
        or_more = betainc(hits, n - hits + 1, share)
        more = betainc(hits + 1, n - hits, share) if hits < n else 0.0
        low, high = (share, high) if or_more + more < 0.05 else (low, share)
    return low


def effective_samples(values_XN: Array, clusters_N: Sequence[int] | np.ndarray) -> Array:
    """How many independent samples tell as much about the mean as these, which come in clusters.

    The samples over the design effect (the variance of the mean as the clusters show it, over
    that of independent samples), times (z / t)^2 with t of one degree of freedom less than there
    are clusters. Where all values agree the design effect is 1. It may be under 1, since few
    clusters by chance agree more than they should, and t allows for that; but a design effect that
    independent samples go under one time in twenty is raised to that (our choice), so no
    interval shrinks to a point. One cluster tells nothing of others: its samples are taken as
    independent, and the interval is of that cluster alone.

    Args:
        values_XN: hits (0 or 1), or paired differences of them; N at least 1.
        clusters_N: the cluster of each sample: its prompt, or the training run it comes from.

    Source: E. L. Korn and B. I. Graubard, "Confidence intervals for proportions with small
    expected number of positive counts estimated from survey data", Survey Methodology 24 (1998),
    193-201.
    """
    from scipy.special import chdtri

    n, alone_X = values_XN.shape[-1], values_XN.var(-1)
    order_N = np.argsort(np.asarray(clusters_N), kind="stable")
    _, first_C = np.unique(np.asarray(clusters_N)[order_N], return_index=True)
    freedom = len(first_C) - 1
    if freedom == 0:
        return np.full(alone_X.shape, float(n))
    apart_XN = (values_XN - values_XN.mean(-1, keepdims=True))[..., order_N]
    sums_XC = np.add.reduceat(apart_XN, first_C, axis=-1)
    shown_X = (sums_XC**2).sum(-1) * (1 + 1 / freedom) / n
    effect_X = np.where(alone_X > 0, shown_X / np.where(alone_X > 0, alone_X, 1), 1.0)
    least = chdtri(freedom, 0.95) / freedom
    return np.asarray(n / np.maximum(effect_X, least) * (Z_95 / student_95(freedom)) ** 2)


def paired_interval(rises_X: Array, falls_X: Array, n_X: Array) -> tuple[Array, Array]:
    """The 95 % interval of a change: the share of pairs that rise less that of those that fall.

    Recovered from Wilson's intervals of the two, which correlate as shares of the same pairs do.
    Where hardly a pair changes it holds the truth more often than the Wald interval of A. Agresti
    and Y. Min, Statistics in Medicine 24 (2005), 729-740, which has no width to speak of there.

    Source: G. Y. Zou and A. Donner, "Construction of confidence limits about effect measures: a
    general approach", Statistics in Medicine 27 (2008), 1693-1702, section 2.
    """
    (rise_low, rise_high), (fall_low, fall_high) = (
        score_interval(share_X, n_X) for share_X in (rises_X, falls_X)
    )
    left_X = (1 - rises_X) * (1 - falls_X)
    correlation_X = np.sqrt(rises_X * falls_X / np.where(left_X > 0, left_X, 1.0))

    def apart(one_X: Array, other_X: Array) -> Array:
        squared_X = one_X**2 + other_X**2 + 2 * correlation_X * one_X * other_X
        return np.asarray(np.sqrt(squared_X))

    change_X = rises_X - falls_X
    return (
        np.maximum(-1.0, change_X - apart(rises_X - rise_low, fall_high - falls_X)),
        np.minimum(1.0, change_X + apart(rise_high - rises_X, falls_X - fall_low)),
    )


def student_95(freedom: float) -> float:
    """97.5 % point of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))
