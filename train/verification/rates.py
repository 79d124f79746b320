"""Shares of samples that show a word, as an imperfect scorer sees them, and what they prove.

A scorer says yes to some pictures that show the word (its sensitivity s) and to some that do not
(its false-positive rate f). Of drawn samples it says yes to a share q = p s + (1 - p) f, so the
share that shows the word is p = (q - f) / (s - f), cut to 0 to 1 (W. J. Rogan and B. Gladen,
"Estimating prevalence from the results of a screening test", American Journal of Epidemiology 107
(1978), 71-76). All three are known from finitely many pictures. The 95 % interval holds every p
for which q - (1 - p) f - p s may be zero, by the interval of that sum which G. Y. Zou, W. Huang
and X. Zhang, "A note on confidence interval estimation for a linear function of binomial
proportions", Computational Statistics & Data Analysis 53 (2009), 1080-1085, recover from those of
its terms: Wilson's for q with its effective number of samples, mid-P for s and f. Asking which
p may be (Fieller's way) rather than dividing keeps the answer right where s - f may be zero: then
the interval grows to [0, 1]. What the interval cannot know: whether drawn pictures are as easily
told as the real ones that s and f were measured on.

`benchmarks/simulate_verdicts.py` measures how often the intervals hold the truth.

Letters in names: X any leading axes, N samples. Every function of `Ends` takes arrays.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from train.verification.intervals import (
    Array,
    Share,
    effective_samples,
    mid_p,
    paired_interval,
    score_interval,
    student_95,
)


class Ends(NamedTuple):
    """Estimates with the two ends of their 95 % intervals; arrays of one shape."""

    value: Array
    low: Array
    high: Array

    @property
    def below(self) -> Array:
        """From the lower end to the value."""
        return self.value - self.low

    @property
    def above(self) -> Array:
        """From the value to the higher end."""
        return self.high - self.value

    def complement(self) -> "Ends":
        """Of the share that is left."""
        return Ends(1 - self.value, 1 - self.high, 1 - self.low)


@dataclass(frozen=True)
class Rates:
    """How often a scorer says yes to real pictures that it has not seen, as counts.

    What a model draws in place of a word is an unknown mixture of things that are near it and
    things that are not. So a lower bound takes the higher false-positive rate, an upper bound the
    lower. Kinds without a picture are left out. Counts may be fractions (see `scaled`).
    """

    hits_shown: float
    shown: float  # pictures that show the word
    hits_absent: float
    absent: float  # pictures of anything else
    hits_near: float = 0
    near: float = 0  # pictures of what is most easily taken for it

    @property
    def sensitivity(self) -> Share:
        """Share of the pictures with the word that it says yes to."""
        return _share_of_counts(self.hits_shown, self.shown)

    @property
    def false_positive(self) -> Share:
        """Share of the pictures of anything else that it says yes to."""
        return _share_of_counts(self.hits_absent, self.absent)

    @property
    def false_positive_near(self) -> Share | None:
        """Share of the neighbours' pictures that it says yes to; None without one."""
        return _share_of_counts(self.hits_near, self.near) if self.near else None

    @property
    def youden(self) -> Share:
        """Sensitivity less the higher false-positive rate: 1 never errs, 0 tells nothing.

        Source: W. J. Youden, "Index for rating diagnostic tests", Cancer 3 (1950), 32-35; interval
        as the module says.
        """
        pictures = int(self.shown + self.absent + self.near)
        parts = list(self.parts())
        if not parts:
            return Share(float("nan"), -1.0, 1.0, pictures)
        value, low, high = min(map(_youden, *zip(*parts, strict=True)), key=lambda one: one.value)
        return Share(float(value), float(low), float(high), pictures)

    def parts(self) -> Iterator[tuple[Ends, Ends]]:
        """Sensitivity and false-positive rate, once for each kind of pictures without the word."""
        for hits, count in ((self.hits_absent, self.absent), (self.hits_near, self.near)):
            if count and self.shown:
                yield _ends(self.hits_shown, self.shown), _ends(hits, count)

    def scaled(self, shown: float, absent: float, near: float) -> "Rates":
        """The same rates from so many times the pictures of each kind."""
        return Rates(
            *(shown * self.hits_shown, shown * self.shown),
            *(absent * self.hits_absent, absent * self.absent),
            *(near * self.hits_near, near * self.near),
        )


@dataclass(frozen=True)
class Observed:
    """Yeses of a scorer to samples, or the change of them: what a corrected share rests on."""

    rises: float  # share of samples with a yes; for a change, of those that gained one
    falls: float | None  # for a change, share of samples that lost their yes
    n: float  # samples
    clusters: float  # prompts, or training runs, that they come from
    effective: float  # independent samples that would tell as much

    @property
    def ends(self) -> Ends:
        """The scorer's own share, or change of it, with its interval."""
        rises, n = np.array(self.rises), np.array(self.effective)
        if self.falls is None:
            return Ends(rises, *score_interval(rises, n))
        return Ends(rises - self.falls, *paired_interval(rises, np.array(self.falls), n))

    def scaled(self, times: float) -> "Observed":
        """The same shares from `times` as many clusters of the same kind."""
        clusters, effective = times * self.clusters, times * self.effective
        if self.clusters > 1:
            effective *= (student_95(self.clusters - 1) / student_95(clusters - 1)) ** 2
        return replace(self, n=times * self.n, clusters=clusters, effective=effective)


@dataclass(frozen=True)
class Corrected:
    """A share of samples, or a change of it, corrected for the errors of who judged it."""

    raw: Share  # as the scorer says, over prompts and samples
    share: Share  # corrected, over prompts and samples: of these training runs
    over_runs: Share | None  # corrected, over training runs of the recipe: on these prompts
    rates: Rates | None  # None: the scorer never errs
    observed: tuple[Observed, ...]  # of `share`, and of `over_runs` if there is one

    @property
    def widest(self) -> Share:
        """From the lowest end of the intervals to the highest: what a verdict rests on."""
        both = [self.share, *([self.over_runs] if self.over_runs else [])]
        low, high = min(one.low for one in both), max(one.high for one in both)
        return replace(self.share, low=low, high=high)


def corrected_share(
    answers_N: Sequence[bool] | np.ndarray,
    groups_N: Sequence[int] | np.ndarray,
    rates: Rates | None,
    *,
    runs_N: Sequence[int] | np.ndarray | None = None,
) -> Corrected:
    """The share of samples that show what a scorer was asked for.

    Args:
        answers_N: its yeses.
        groups_N: the prompt of each sample. With one prompt the interval is of that prompt alone.
        rates: how often it errs; None for a scorer that never does.
        runs_N: the training run of each sample; every run draws the same prompts and seeds.
    """
    values_N = np.asarray(answers_N, dtype=np.float64)
    return _correct_values(values_N, groups_N, rates, runs_N, paired=False)


def corrected_difference(
    after_N: Sequence[bool] | np.ndarray,
    before_N: Sequence[bool] | np.ndarray,
    groups_N: Sequence[int] | np.ndarray,
    rates: Rates | None,
    *,
    runs_N: Sequence[int] | np.ndarray | None = None,
) -> Corrected:
    """After minus before, on the same prompts and seeds: (q1 - q0) / (s - f), in -1 to 1.

    Arguments are those of `corrected_share`.
    """
    values_N = np.asarray(after_N, dtype=np.float64) - np.asarray(before_N, dtype=np.float64)
    return _correct_values(values_N, groups_N, rates, runs_N, paired=True)


def _correct_values(
    values_N: Array,
    groups_N: Sequence[int] | np.ndarray,
    rates: Rates | None,
    runs_N: Sequence[int] | np.ndarray | None,
    *,
    paired: bool,
) -> Corrected:
    if len(values_N) == 0:
        nothing = _unknown(0, paired=paired)
        return Corrected(nothing, nothing, None, rates, ())
    clusters = [np.asarray(groups_N)]
    if runs_N is not None and len(np.unique(np.asarray(runs_N))) > 1:
        clusters.append(np.asarray(runs_N))
    rises, falls = float((values_N > 0).mean()), float((values_N < 0).mean())
    observed = tuple(
        Observed(
            rises,
            falls if paired else None,
            len(values_N),
            len(np.unique(one)),
            float(effective_samples(values_N, one)),
        )
        for one in clusters
    )
    shares = [correct(one, rates) for one in observed]
    raw = correct(observed[0], None)
    return Corrected(raw, shares[0], shares[1] if len(shares) > 1 else None, rates, observed)


def correct(observed: Observed, rates: Rates | None) -> Share:
    """What was observed, corrected for the scorer's errors, with its 95 % interval."""
    n, paired = int(observed.n), observed.falls is not None
    found = observed.ends
    if rates is not None:
        parts = list(rates.parts())
        if not parts:
            return _unknown(n, paired=paired)
        found = solve_mixture(solve_difference if paired else solve_share, found, parts)
    return Share(float(found.value), float(found.low), float(found.high), n)


def _unknown(n: int, *, paired: bool) -> Share:
    return Share(float("nan"), -1.0 if paired else 0.0, 1.0, n)


def solve_mixture(
    solve: Callable[[Ends, Ends, Ends], Ends], q: Ends, parts: Sequence[tuple[Ends, Ends]]
) -> Ends:
    """`solve` for each pair of rates: the ends are the outermost, the value is their mean."""
    values, lows, highs = zip(*(solve(q, s, f) for s, f in parts), strict=True)
    return Ends(np.mean(values, 0), np.min(lows, 0), np.max(highs, 0))


def solve_share(q: Ends, s: Ends, f: Ends) -> Ends:
    """Share that shows the word, from the share of yeses and the scorer's two rates.

    Where s <= f the value is NaN and the interval [0, 1]: the scorer tells nothing.
    """
    tells = s.value > f.value
    value = np.clip((q.value - f.value) / np.where(tells, s.value - f.value, 1.0), 0.0, 1.0)
    low = np.fmin(_lowest_share(q, s, f), value)  # of NaN and a number, the number
    other = _lowest_share(q.complement(), f.complement(), s.complement())
    high = np.fmax(1 - other, value)
    return Ends(
        np.where(tells, value, np.nan), np.where(tells, low, 0.0), np.where(tells, high, 1.0)
    )


def _lowest_share(q: Ends, s: Ends, f: Ends) -> Array:
    """Lowest p in 0 to 1 where the lower end of q - (1 - p) f - p s is not above zero.

    Where q is above all of s's interval, what was drawn is more easily told than the real
    pictures were. Then s is taken to be q, so that the interval keeps at least q's width.
    """
    easier = q.value > s.high
    apart = np.where(easier, q.value, s.value) - f.value
    above, excess = np.where(easier, 0.0, s.above), q.value - f.value
    low, _ = _where_not_positive(
        apart**2 - f.above**2 - above**2,
        -2 * excess * apart + 2 * f.above**2,
        excess**2 - q.below**2 - f.above**2,
    )
    return low


def solve_difference(change: Ends, s: Ends, f: Ends) -> Ends:
    """Change of the share that shows the word; where s <= f NaN and [-1, 1]."""
    youden = _youden(s, f)
    tells = youden.value > 0
    value = np.clip(change.value / np.where(tells, youden.value, 1.0), -1.0, 1.0)
    low = np.fmin(_lowest_difference(change, youden), value)
    mirrored = Ends(-change.value, -change.high, -change.low)
    high = np.fmax(-_lowest_difference(mirrored, youden), value)
    return Ends(
        np.where(tells, value, np.nan), np.where(tells, low, -1.0), np.where(tells, high, 1.0)
    )


def _lowest_difference(change: Ends, youden: Ends) -> Array:
    """Lowest d in -1 to 1 where the lower end of change - d youden is not above zero."""
    left, cross = change.value**2 - change.below**2, 2 * change.value * youden.value
    rise, _ = _where_not_positive(youden.value**2 - youden.above**2, -cross, left)
    _, fall = _where_not_positive(youden.value**2 - youden.below**2, cross, left)
    return np.where(
        change.low > 0, np.where(np.isnan(rise), 1.0, rise), -np.where(np.isnan(fall), 0.0, fall)
    )


def _youden(s: Ends, f: Ends) -> Ends:
    value = s.value - f.value
    return Ends(value, value - np.hypot(s.below, f.above), value + np.hypot(s.above, f.below))


def _where_not_positive(a: Array, b: Array, c: Array) -> tuple[Array, Array]:
    """Lowest and highest x in 0 to 1 with a x^2 + b x + c <= 0; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        # The form that loses no digits where b^2 is far above 4 a c.
        half = -(b + np.copysign(np.sqrt(b * b - 4 * a * c), b)) / 2
        roots = np.stack([half / a, c / half])
    whole = np.stack([np.where(c <= 0, 0.0, np.nan), np.where(a + b + c <= 0, 1.0, np.nan)])
    found = np.concatenate([np.where((roots >= 0) & (roots <= 1), roots, np.nan), whole])
    none = np.isnan(found).all(0)
    low = np.where(np.isnan(found), np.inf, found).min(0)
    high = np.where(np.isnan(found), -np.inf, found).max(0)
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def _ends(hits: float, count: float) -> Ends:
    low, high = mid_p(hits, count)
    return Ends(np.array(hits / count), np.array(low), np.array(high))


def _share_of_counts(hits: float, count: float) -> Share:
    return Share(hits / count if count else float("nan"), *mid_p(hits, count), int(count))
