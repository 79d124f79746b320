"""Intervals for shares of samples that come in groups: several seeds of each prompt.

Prompts differ, and so do the seeds of one prompt. An interval is the wider, at each end, of two:
one that draws prompts anew, and one that takes every sample as independent, since few prompts by
chance agree more than they should. Simulated with 200 samples of a share of 0.8 that differs from
prompt to prompt (beta, correlation 0.05), it holds the truth in 92 to 96 % of the cases with 4 to
200 prompts; with two prompts only in two thirds: nothing tells how others would differ.

Letters in names: N samples, G groups, R resamplings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import NormalDist

import numpy as np

RESAMPLINGS = 2000
Z_95 = 1.959963984540054  # 97.5 % point of the standard normal distribution
FEW_GROUPS = 8  # groups below which the intervals are too narrow for groups other than these


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
    share, z2 = hits / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return (
        0.0 if hits == 0 else float(max(0.0, centre - half)),
        1.0 if hits == n else float(min(1.0, centre + half)),
    )


def agresti_min(rises: int, falls: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a difference of two shares of the same samples.

    Half a sample is added to each of the four cells of the table (both, neither, rise, fall).

    Source: A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched
    proportions", Statistics in Medicine 24 (2005), 729-740, the Wald interval with + 2.
    """
    if n == 0:
        return -1.0, 1.0
    change = (rises - falls) / (n + 2)
    half = Z_95 * sqrt(rises + falls + 1 - (rises - falls) ** 2 / (n + 2)) / (n + 2)
    return max(-1.0, change - half), min(1.0, change + half)


def share(hits_N: Sequence[bool] | np.ndarray, groups_N: Sequence[int], *, seed: int) -> Share:
    """Share of hits with a 95 % interval that knows of the groups.

    The wider of the bootstrap over groups and Wilson's interval, so a width is never zero and one
    miss more never raises the lower end above that of none.
    """
    values = np.asarray(hits_N, dtype=np.float64)
    return _widen(wilson(int(values.sum()), len(values)), values, groups_N, seed)


def difference(
    after_N: Sequence[bool] | np.ndarray,
    before_N: Sequence[bool] | np.ndarray,
    groups_N: Sequence[int],
    *,
    seed: int,
) -> Share:
    """After minus before on the same prompts and seeds, with a 95 % interval of the pairs.

    As `share`, on the paired differences (each -1, 0 or 1), with `agresti_min` for Wilson's.
    """
    values = np.asarray(after_N, dtype=np.float64) - np.asarray(before_N, dtype=np.float64)
    alone = agresti_min(int((values > 0).sum()), int((values < 0).sum()), len(values))
    return _widen(alone, values, groups_N, seed)


def _widen(
    alone: tuple[float, float], values_N: np.ndarray, groups_N: Sequence[int], seed: int
) -> Share:
    """The wider of the interval `alone` and of percentiles of the mean of groups drawn anew.

    Whole groups are drawn with replacement.
    Samples within a group are kept, which comes closer to the spread of such data than drawing
    them anew as well: A. C. Davison and D. V. Hinkley, "Bootstrap Methods and their Application",
    1997, section 3.8. The percentiles are moved outwards for few groups: T. C. Hesterberg, "What
    teachers should know about the bootstrap", The American Statistician 69 (2015), 371-386,
    expanded percentile interval.
    """
    if len(values_N) == 0:
        return Share(float("nan"), *alone, 0)
    _, group_N = np.unique(np.asarray(groups_N), return_inverse=True)
    sizes_G, sums_G = np.bincount(group_N), np.bincount(group_N, values_N)
    groups, mean = len(sizes_G), float(values_N.mean())
    ends = [*alone, mean]
    if groups > 1:
        drawn_RG = np.random.default_rng(seed).integers(groups, size=(RESAMPLINGS, groups))
        means_R = sums_G[drawn_RG].sum(1) / sizes_G[drawn_RG].sum(1)
        tail = NormalDist().cdf(-sqrt(groups / (groups - 1)) * student_95(groups - 1))
        ends += np.quantile(means_R, [tail, 1 - tail]).tolist()
    return Share(mean, min(ends), max(ends), len(values_N))


def student_95(freedom: int) -> float:
    """97.5 % point of Student's t distribution, within 0.3 % from three degrees of freedom.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5; one and two
    degrees of freedom have closed forms.
    """
    if freedom < 3:
        return (12.706204736, 4.302652730)[freedom - 1]
    z, v = Z_95, freedom
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / v + second / v**2 + third / v**3 + fourth / v**4
