"""What an interval says of a limit, and what would help where it says nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from math import ceil, isfinite

from train.verification.intervals import Share
from train.verification.rates import Corrected, Observed, Rates, correct

MOST = 100  # times as many pictures as there are: more is no advice
ENDLESS = 1e6  # times as many: known without error


class Verdict(StrEnum):
    """What an interval says of a limit."""

    WORKS = "works"
    FAILS = "does not work"
    UNDECIDED = "cannot tell"


def judge_at_least(share: Share, limit: float) -> Verdict:
    """Whether a share is at least `limit`: only the whole interval on one side of it decides.

    A loss of at most 2 % is a change of at least -0.02.
    """
    if share.low >= limit:
        return Verdict.WORKS
    return Verdict.FAILS if share.high < limit else Verdict.UNDECIDED


def judge_at_most(share: Share, limit: float) -> Verdict:
    """Whether a share is at most `limit`, as `judge_at_least`."""
    if share.high <= limit:
        return Verdict.WORKS
    return Verdict.FAILS if share.low > limit else Verdict.UNDECIDED


@dataclass(frozen=True)
class Help:
    """What would decide, all else as it is; None where that alone would not, 0 where it need not.

    Numbers are in addition to what is there, of the same kinds and in the same proportions.
    """

    samples: int | None  # of further prompts like these
    runs: int | None  # training runs
    pictures: int | None  # real ones: of the word and without it
    width: dict[str, float]  # parts of the interval's width, owed to samples, shown and absent

    def __str__(self) -> str:
        """As a sentence without its full stop."""
        drawn = [(self.samples, "samples"), (self.runs, "training runs")]
        ways = [" and ".join(f"{count} more {what}" for count, what in drawn if count)]
        if self.samples is None or self.runs is None:
            ways = []
        if self.pictures:
            ways.append(f"{self.pictures} more real pictures")
        if any(ways):
            return f"{' or '.join(ways)} would decide, should the shares stay as they are"
        if ways:
            return "nothing is lacking"
        if not self.width:
            return "another scorer is needed: this one tells nothing"
        lacking = {
            "samples": "more samples than could be asked for: the share is too close to the limit",
            "shown": "a better scorer, or many more real pictures of the word",
            "absent": "a better scorer, or many more real pictures without the word",
        }
        return f"what is lacking is {lacking[max(self.width, key=lambda part: self.width[part])]}"


def what_helps(found: Corrected, limit: float) -> Help:
    """What would bring the intervals of `found` to one side of `limit`, were there more of it.

    More samples, more runs and more real pictures are each tried up to `MOST` times what there is.
    """
    rates, observed = found.rates, found.observed
    if not observed or not isfinite(found.share.value):
        return Help(None, None, None, {})
    samples = _further(_least(limit, partial(_more_drawn, observed[:1], rates)), observed[0].n)
    runs, pictures = 0 if len(observed) == 1 else None, None
    if runs is None:
        times = _least(limit, partial(_more_drawn, observed[1:], rates))
        runs = _further(times, observed[1].clusters)
    if rates is not None:
        real = rates.shown + rates.absent + rates.near
        pictures = _further(_least(limit, partial(_more_real, observed, rates)), real)
    return Help(samples, runs, pictures, _parts_of_width(observed[0], rates))


def _least(limit: float, shares: Callable[[float], Sequence[Share]]) -> float | None:
    """Fewest times as many that leave none of the shares undecided; None for above `MOST`."""

    def decided(times: float) -> bool:
        return not any(share.low < limit <= share.high for share in shares(times))

    if decided(1.0):
        return 1.0
    if not decided(MOST):
        return None
    few, many = 1.0, float(MOST)
    while many / few > 1.001:
        middle = (few * many) ** 0.5
        few, many = (few, middle) if decided(middle) else (middle, many)
    return many


def _further(times: float | None, count: float) -> int | None:
    return None if times is None else ceil((times - 1) * count)


def _more_drawn(observed: Sequence[Observed], rates: Rates | None, times: float) -> list[Share]:
    return [correct(one.scaled(times), rates) for one in observed]


def _more_real(observed: Sequence[Observed], rates: Rates, times: float) -> list[Share]:
    return [correct(one, rates.scaled(times, times, times)) for one in observed]


def _parts_of_width(observed: Observed, rates: Rates | None) -> dict[str, float]:
    """How much narrower the interval were, if one thing were known without error; sums to 1."""
    if rates is None:
        return {"samples": 1.0}
    known = {
        "samples": (observed.scaled(ENDLESS), rates),
        "shown": (observed, rates.scaled(ENDLESS, 1, 1)),
        "absent": (observed, rates.scaled(1, ENDLESS, ENDLESS)),
    }
    now = correct(observed, rates)
    narrower = {name: correct(*both) for name, both in known.items()}
    saved = {
        name: max(0.0, (now.high - now.low) - (then.high - then.low))
        for name, then in narrower.items()
    }
    total = sum(saved.values())
    return {name: part / total for name, part in saved.items()} if total else {}
