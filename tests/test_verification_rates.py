"""Shares corrected for a scorer's errors: by hand, by law, by published formulas, by simulation."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import bdtr
from scipy.stats import binom

from train.verification.decisions import (
    Help,
    Verdict,
    judge_at_least,
    judge_at_most,
    what_helps,
)
from train.verification.intervals import Share, effective_samples, mid_p, student_95, wilson
from train.verification.rates import Rates, correct, corrected_difference, corrected_share

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import simulate_verdicts
from simulate_verdicts import LIMIT, OVER_RUNS, Cell, simulate

FORTY = np.repeat(range(40), 5)  # prompts of 200 samples
GOOD = Rates(95, 100, 4, 200)


def answers(hits: int, n: int = 200) -> np.ndarray:
    """So many yeses, spread evenly over the prompts."""
    return (np.arange(n) * 77 % n) < hits


counts = st.integers(1, 60).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.just(n), st.integers(0, n), st.just(n))
)
samples = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 5)), min_size=1)


def test_a_share_is_corrected_as_rogan_and_gladen_do():
    found = corrected_share(answers(154), FORTY, Rates(85, 100, 20, 200))

    assert found.raw.value == 0.77
    assert found.share.value == pytest.approx((0.77 - 0.10) / (0.85 - 0.10))
    assert found.share.low < found.share.value < found.share.high
    assert found.share.high - found.share.low > found.raw.high - found.raw.low


def test_the_interval_is_near_that_of_lang_and_reiczigel():
    """Equations 6 to 17 of Preventive Veterinary Medicine 113 (2014), 13-22: another way."""
    z, n, q, s, f, real = 1.96, 200, 0.6, 0.9, 0.1, 400
    q_, n_ = (n * q + z * z / 2) / (n + z * z), n + z * z
    s_, f_, real_ = (real * s + 1) / (real + 2), (real * f + 1) / (real + 2), real + 2
    p_ = (q_ - f_) / (s_ - f_)
    shift = 2 * z * z * (p_ * s_ * (1 - s_) - (1 - p_) * f_ * (1 - f_)) / real_
    spread = q_ * (1 - q_) / n_ + (p_**2 * s_ * (1 - s_) + (1 - p_) ** 2 * f_ * (1 - f_)) / real_
    half = z * spread**0.5 / (s_ - f_)

    found = corrected_share(answers(120), range(200), Rates(360, 400, 40, 400)).share

    assert (found.low, found.high) == pytest.approx(
        (p_ + shift - half, p_ + shift + half), abs=0.004
    )


def test_youden_is_near_newcombes_example():
    """56 of 70 less 48 of 80: 0.0524 to 0.3339 by Wilson's (Statistics in Medicine 17, 873-890)."""
    found = Rates(56, 70, 48, 80).youden
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=0.004)


def test_youden_takes_the_neighbours_where_they_are_mistaken_more():
    assert Rates(90, 100, 2, 100, 40, 100).youden.value == pytest.approx(0.5)
    assert Rates(90, 100, 40, 100, 2, 100).youden.value == pytest.approx(0.5)
    nothing = Rates(0, 0, 0, 0).youden
    assert (nothing.low, nothing.high) == (-1, 1) and np.isnan(nothing.value)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_mid_p_leaves_a_chance_of_two_and_a_half_percent_on_each_side(counted):
    hits, n = counted
    low, high = mid_p(hits, n)
    assert low == 0 if hits == 0 else above(hits, n, low) == pytest.approx(0.025)
    assert high == 1 if hits == n else 1 - above(hits, n, high) == pytest.approx(0.025)


def above(hits: int, n: int, share: float) -> float:
    """The chance of more hits, and half of that of as many."""
    return float(binom.sf(hits, n, share) + binom.pmf(hits, n, share) / 2)


def test_rates_have_intervals_of_their_counts():
    assert (GOOD.sensitivity.low, GOOD.sensitivity.high) == mid_p(95, 100)
    assert (GOOD.false_positive.low, GOOD.false_positive.high) == mid_p(4, 200)
    assert GOOD.false_positive_near is None
    near = Rates(95, 100, 4, 200, 9, 30).false_positive_near
    assert near == Share(0.3, *mid_p(9, 30), 30)


def test_clusters_count_for_as_many_samples_as_they_tell():
    mixed = np.tile([1.0, 0, 0, 0, 1], 40)
    z = 1.959964
    assert effective_samples(mixed, np.arange(200)) == pytest.approx(
        200 * 199 / 200 * (z / student_95(199)) ** 2
    )
    # Within a prompt all agree, so a prompt tells as much as one sample.
    alike = np.repeat([1.0, 0, 0, 0, 1, 0, 1, 1], 25)
    assert effective_samples(alike, np.repeat(range(8), 25)) == pytest.approx(
        7 * (z / student_95(7)) ** 2, rel=1e-6
    )
    assert effective_samples(np.ones(200), np.repeat(range(8), 25)) == pytest.approx(
        200 * (z / student_95(7)) ** 2
    )
    assert effective_samples(mixed, np.zeros(200)) == 200  # one prompt speaks of itself alone


def test_prompts_that_agree_too_well_do_not_shrink_the_interval_to_a_point():
    found = corrected_share(np.tile([1, 1, 1, 0], 50), np.repeat(range(4), 50), None).share
    assert found.high - found.low > 0.01


@given(samples, counts)
def test_an_interval_holds_its_value_and_keeps_its_range(drawn, real):
    after, before, groups = zip(*drawn, strict=True)
    rates = Rates(*real)
    for lowest, found in (
        (0, corrected_share(after, groups, rates)),
        (-1, corrected_difference(after, before, groups, rates)),
    ):
        tells = real[0] > real[2]
        assert lowest <= found.share.low <= found.share.high <= 1
        assert found.share.low <= found.share.value <= found.share.high or not tells
        assert np.isnan(found.share.value) != tells
        if not tells:
            assert (found.share.low, found.share.high) == (lowest, 1)
        assert found.raw.low <= found.raw.value <= found.raw.high
        assert found.raw.low < found.raw.high


@given(samples, counts)
def test_what_does_not_show_is_the_complement(drawn, real):
    """Yes for no: the scorer of the opposite errs as often, the other way round."""
    after, before, groups = map(np.array, zip(*drawn, strict=True))
    hits_shown, shown, hits_absent, absent = real
    rates = Rates(*real)
    opposite = Rates(absent - hits_absent, absent, shown - hits_shown, shown)
    if hits_shown <= hits_absent:
        return
    found = corrected_share(after, groups, rates).share
    other = corrected_share(~after, groups, opposite).share
    assert (found.low, found.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)
    change = corrected_difference(after, before, groups, rates).share
    back = corrected_difference(before, after, groups, rates).share
    assert (change.low, change.high) == pytest.approx((-back.high, -back.low), abs=1e-9)


@given(samples, counts, st.integers(2, 20))
def test_fewer_real_pictures_widen_the_interval(drawn, real, times):
    """As long as the scorer's yeses lie between its two rates; for a change always."""
    after, before, groups = zip(*drawn, strict=True)
    many = Rates(*(times * count for count in real))
    if real[0] <= real[2]:
        return
    if real[2] <= np.mean(after) * real[1] <= real[0]:
        few, more = (corrected_share(after, groups, rates).share for rates in (Rates(*real), many))
        assert few.low <= more.low + 1e-9 and more.high <= few.high + 1e-9
    few, more = (
        corrected_difference(after, before, groups, rates).share for rates in (Rates(*real), many)
    )
    assert few.low <= more.low + 1e-9 and more.high <= few.high + 1e-9


@given(samples)
def test_a_scorer_that_never_errs_has_the_plain_interval(drawn):
    after, before, groups = zip(*drawn, strict=True)
    sure = Rates(10**7, 10**7, 0, 10**7)
    for plain, corrected in (
        (corrected_share(after, groups, None), corrected_share(after, groups, sure)),
        (
            corrected_difference(after, before, groups, None),
            corrected_difference(after, before, groups, sure),
        ),
    ):
        assert plain.share == plain.raw == corrected.raw
        assert corrected.share.value == pytest.approx(plain.share.value)
        ends = plain.share.low, plain.share.high
        assert (corrected.share.low, corrected.share.high) == pytest.approx(ends, abs=1e-3)


def test_one_loss_of_200_does_not_rule_out_a_loss_of_2_percent():
    """Of 200 pairs a loss of 2 % shows once or never in one case of eleven."""
    before = np.ones(200, bool)
    once = corrected_difference(np.arange(200) > 0, before, range(200), None).share
    assert once.low < -0.02 < once.value < 0 < once.high
    never = corrected_difference(before, before, range(200), None).share
    assert never.low == pytest.approx(-0.019, abs=1e-3) and never.high == -never.low


def test_neighbours_lower_the_lower_end_and_leave_the_higher():
    without = corrected_share(answers(120), FORTY, Rates(90, 100, 2, 100)).share
    near = corrected_share(answers(120), FORTY, Rates(90, 100, 2, 100, 40, 100)).share
    alone = corrected_share(answers(120), FORTY, Rates(90, 100, 40, 100)).share

    assert (near.low, near.high) == (alone.low, without.high)
    assert near.low < near.value < near.high
    same = corrected_share(answers(120), FORTY, Rates(90, 100, 2, 100, 2, 100)).share
    assert same == without
    only_near = corrected_share(answers(120), FORTY, Rates(90, 100, 0, 0, 40, 100)).share
    assert only_near == alone


def test_few_real_pictures_make_it_wide_and_not_wrong():
    of_three = corrected_share(answers(150), FORTY, Rates(3, 3, 0, 3)).share
    assert of_three.low < 0.6 and of_three.high == 1


def test_pictures_easier_than_the_real_ones_keep_the_width_of_their_samples():
    """All samples show it, to a scorer that finds 85 % of real ones: an end, but no point."""
    found = corrected_share(answers(200), FORTY, Rates(340, 400, 4, 400)).share
    assert found.value == 1 and found.high == 1
    assert 0.97 < found.low < 0.99


def test_nothing_to_go_by_is_said():
    nothing = corrected_share([], [], GOOD)
    assert nothing.share.n == 0 and np.isnan(nothing.share.value)
    assert (nothing.share.low, nothing.share.high) == (0, 1)
    assert corrected_difference([], [], [], GOOD).share.low == -1
    assert corrected_share([True], [0], GOOD).share.low < 0.25
    blind = corrected_share(answers(120), FORTY, Rates(0, 0, 3, 9)).share
    assert np.isnan(blind.value) and (blind.low, blind.high) == (0, 1)


def test_runs_that_differ_widen_the_interval_over_runs_alone():
    runs = np.repeat(range(3), 200)
    alike = np.concatenate([answers(190)] * 3)
    apart = np.concatenate([answers(200), answers(190), answers(180)])

    one, other = (
        corrected_share(each, np.tile(FORTY, 3), GOOD, runs_N=runs) for each in (alike, apart)
    )
    assert one.over_runs is not None and other.over_runs is not None
    assert other.over_runs.low < one.over_runs.low - 0.1
    assert other.share.low == pytest.approx(one.share.low, abs=0.02)
    assert other.widest.low == other.over_runs.low and other.widest.value == other.share.value
    single = corrected_share(alike[:200], FORTY, GOOD, runs_N=np.zeros(200))
    assert single.over_runs is None and single.widest == single.share


def test_only_a_whole_interval_decides():
    share = Share(0.93, 0.9, 0.96, 100)
    assert judge_at_least(share, 0.9) == Verdict.WORKS
    assert judge_at_least(share, 0.91) == Verdict.UNDECIDED
    assert judge_at_least(share, 0.97) == Verdict.FAILS
    assert judge_at_most(share, 0.96) == Verdict.WORKS
    assert judge_at_most(share, 0.95) == Verdict.UNDECIDED
    assert judge_at_most(share, 0.89) == Verdict.FAILS


def test_the_samples_it_asks_for_would_decide():
    found = corrected_share(answers(160), FORTY, GOOD)
    assert judge_at_least(found.share, 0.9) == Verdict.UNDECIDED
    needed = what_helps(found, 0.9)
    assert needed.samples and needed.pictures

    for more, verdict in ((needed.samples, Verdict.FAILS), (0.9 * needed.samples, None)):
        then = correct(found.observed[0].scaled(1 + more / 200), GOOD)
        assert (judge_at_least(then, 0.9) == Verdict.FAILS) == (verdict is not None)
    times = 1 + needed.pictures / 300
    then = correct(found.observed[0], GOOD.scaled(times, times, times))
    assert judge_at_least(then, 0.9) == Verdict.FAILS
    assert str(needed) == (
        f"{needed.samples} more samples or {needed.pictures} more real pictures would decide, "
        "should the shares stay as they are"
    )


def test_it_says_what_is_lacking_where_no_number_helps():
    few = corrected_share(answers(150), FORTY, Rates(4, 5, 0, 50))
    needed = what_helps(few, 0.9)
    assert needed.samples is None and needed.width["shown"] > 0.5
    assert sum(needed.width.values()) == pytest.approx(1)
    close = what_helps(corrected_share(answers(180), FORTY, None), 0.9)
    assert (close.samples, close.pictures) == (None, None)
    assert str(close).endswith("the share is too close to the limit")
    assert "more real pictures of the word" in str(replace(needed, pictures=None))
    blind = what_helps(corrected_share(answers(150), FORTY, Rates(2, 5, 3, 5)), 0.9)
    assert str(blind) == "another scorer is needed: this one tells nothing"
    assert str(Help(0, 0, 0, {"samples": 1.0})) == "nothing is lacking"


def test_it_asks_for_runs_where_runs_differ():
    apart = np.concatenate([answers(200), answers(190), answers(192)])
    found = corrected_share(apart, np.tile(FORTY, 3), None, runs_N=np.repeat(range(3), 200))
    needed = what_helps(found, 0.9)
    assert needed.samples == 0 and needed.runs and needed.pictures is None
    assert str(needed).startswith(f"{needed.runs} more training runs would decide")


def test_a_plain_share_of_independent_samples_is_wilsons():
    found = corrected_share(answers(160), range(200), None).share
    assert (found.low, found.high) == pytest.approx(wilson(160, 200), abs=1e-3)


SIMULATED = [
    Cell(0.5, (1.0, 0.0), None, 4, 0.05),
    Cell(0.9, (1.0, 0.0), None, 40, 0.0),
    Cell(0.5, (0.95, 0.02), (400, 400), 10, 0.05),
    Cell(0.9, (0.85, 0.1), (100, 200), 40, 0.05),
    Cell(0.9, (0.85, 0.1), (20, 100), 10, 0.0),
    Cell(0.5, (0.7, 0.2), (20, 100), 4, 0.05),
    Cell(0.9, (0.95, 0.02), (5, 50), 40, 0.05),
    Cell(0.0, (0.85, 0.1), (20, 100), 4, 0.0),
    Cell(1.0, (0.7, 0.2), (100, 200), 40, 0.0),
    Cell(0.9, (0.95, 0.02), (100, 200), 10, 0.05, 3, 0.01),
]


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """300 of each: fewer held than one time in ten thousand were, at a coverage of 93 %."""
    found = [
        (outcome, outcome.coverage) for cell in SIMULATED for outcome in simulate(cell, 300, 1)
    ]
    low = [(str(o.cell), o.kind, held) for o, held in found if bdtr(300 * held, 300, 0.93) < 1e-4]
    assert low == []
    # Nor wider than is needed: with enough real pictures a share in the middle is not always held.
    held = [c for o, c in found if o.kind != simulate_verdicts.WIDEST and o.cell in SIMULATED[:4]]
    assert 0.93 < np.mean(held) < 0.975


def test_runs_left_out_of_account_would_make_it_too_sure():
    """An interval over prompts does not speak of other runs, that over runs does."""
    cell = Cell(0.5, (0.95, 0.02), (400, 400), 40, 0.0, 3, 0.05)
    prompts, runs, _ = simulate(cell, 300, 2)
    held = (prompts.ends.low <= 0.5) & (prompts.ends.high >= 0.5)
    assert held.mean() < 0.75 < 0.9 < runs.coverage
    assert runs.kind == OVER_RUNS


def test_verdicts_of_a_poor_scorer_are_undecided_and_not_wrong():
    for share, wrong in ((0.8, Verdict.WORKS), (0.85, Verdict.WORKS), (0.95, Verdict.FAILS)):
        (outcome,) = simulate(Cell(share, (0.85, 0.1), (20, 100), 40, 0.05), 300, 3)
        ends = zip(outcome.ends.low, outcome.ends.high, strict=True)
        said = [judge_at_least(Share(0.0, low, high, 0), LIMIT) for low, high in ends]
        assert said.count(wrong) <= 0.05 * 300
        assert said.count(Verdict.UNDECIDED) > 0.5 * 300
