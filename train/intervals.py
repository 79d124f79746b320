"""Intervals for shares of samples that come in groups: several seeds of each prompt.

Letters in names: N samples, G groups, R resamplings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLINGS = 2000
Z_95 = 1.959963984540054  # 97.5 % point of the standard normal distribution


@dataclass(frozen=True)
class Share:
    """A share of samples, or a difference of two, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int  # samples


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927), 209-212.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = hits / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return (
        0.0 if hits == 0 else float(max(0.0, centre - half)),
        1.0 if hits == n else float(min(1.0, centre + half)),
    )


def share(hits_N: Sequence[bool] | np.ndarray, groups_N: Sequence[int], *, seed: int) -> Share:
    """Share of hits with a 95 % interval that knows of the groups.

    Two-stage percentile bootstrap: groups (prompts) are drawn with replacement, then samples
    (seeds) within each (Davison and Hinkley, "Bootstrap Methods and their Application", 1997,
    section 3.8). Where every sample agrees, any bootstrap has width zero, which claims too much:
    there Wilson's interval is given instead. It takes the samples as independent, so with few
    prompts it is the narrower side of the truth (our choice; the count of prompts is reported).
    """
    values = np.asarray(hits_N, dtype=np.float64)
    if len(values) == 0:
        return Share(float("nan"), 0.0, 1.0, 0)
    mean, hits = float(values.mean()), int(values.sum())
    if hits in (0, len(values)):
        return Share(mean, *wilson(hits, len(values)), len(values))
    low, high = _bootstrap(values, np.asarray(groups_N), seed)
    return Share(mean, min(low, mean), max(high, mean), len(values))


def difference(
    after_N: Sequence[bool] | np.ndarray,
    before_N: Sequence[bool] | np.ndarray,
    groups_N: Sequence[int],
    *,
    seed: int,
) -> Share:
    """After minus before on the same prompts and seeds, with a 95 % interval of the pairs.

    As `share`, on the paired differences (each -1, 0 or 1). Where all are equal, the share of
    pairs that could still differ is bounded by Wilson's interval for 0 of n (our choice).
    """
    values = np.asarray(after_N, dtype=np.float64) - np.asarray(before_N, dtype=np.float64)
    if len(values) == 0:
        return Share(float("nan"), -1.0, 1.0, 0)
    mean, rest = float(values.mean()), wilson(0, len(values))[1]
    if np.all(values == values[0]):
        return Share(mean, max(-1.0, mean - rest), min(1.0, mean + rest), len(values))
    low, high = _bootstrap(values, np.asarray(groups_N), seed)
    return Share(mean, min(low, mean), max(high, mean), len(values))


def _bootstrap(values_N: np.ndarray, groups_N: np.ndarray, seed: int) -> tuple[float, float]:
    """Percentiles of the mean; values are -1, 0 or 1, so a group's redrawn sum is multinomial."""
    rng = np.random.default_rng(seed)
    _, group_N = np.unique(groups_N, return_inverse=True)
    sizes_G = np.bincount(group_N)
    rise_G = np.bincount(group_N, values_N > 0) / sizes_G
    fall_G = np.bincount(group_N, values_N < 0) / sizes_G
    drawn_RG = rng.integers(len(sizes_G), size=(RESAMPLINGS, len(sizes_G)))
    count_RG = sizes_G[drawn_RG]
    rises_RG = rng.binomial(count_RG, rise_G[drawn_RG])
    rest_G = np.where(rise_G < 1, fall_G / np.maximum(1 - rise_G, 1e-12), 0.0)
    falls_RG = rng.binomial(count_RG - rises_RG, np.minimum(rest_G, 1.0)[drawn_RG])
    means_R = (rises_RG - falls_RG).sum(1) / count_RG.sum(1)
    low, high = np.quantile(means_R, [0.025, 0.975])
    return float(low), float(high)
