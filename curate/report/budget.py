"""Which gaps a budget of images goes to.

The images are split so that the most is gained: what a word gains from images grows with the
logarithm of their number (Udandarao et al., arXiv:2404.04125), and a word that several prompts ask
for counts as often.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from curate.text.lemmas import unit_of

MAX_RESULTS = 240  # results of a query that the source shows without an account
RESULTS_A_REQUEST = 20  # of them in one request
REQUESTS_A_DAY = 200  # requests
RESERVED_REQUESTS = 10  # requests of a day that are kept back, for images that are refused
URGENT = ("error", "warning")  # severities that are worth a fetch
FETCHABLE = ("phrase", "bind", "pair", "word")  # kinds; compounds serve their words


@dataclass(frozen=True)
class Gap:
    """What more images would teach."""

    query: str
    unit: str
    kind: str
    verdict: str
    severity: str
    lines: frozenset[int]  # of the prompts that ask for it
    images: int  # that show it now
    need: int  # images short of the target

    @property
    def is_compound(self) -> bool:
        """Whether its images show more than one word."""
        return " " in self.query

    @property
    def order_key(self) -> tuple[int, int, str]:
        """Worst first, whatever the order of the report."""
        return URGENT.index(self.severity), -FETCHABLE.index(self.kind), self.query


@dataclass(frozen=True)
class PlannedFetch:
    """One line of the script."""

    gap: Gap
    images: int
    served: int = 0  # images that fetches of its phrases and pairs bring already


def split_budget(gaps: Sequence[tuple[float, int, int]], budget: int) -> list[int]:
    """How many images each gap gets, so that the most is gained.

    Maximises the sum of weight x (log(1 + have + x) - log(1 + have)) over whole numbers
    0 <= x <= need with the sum of x at most `budget`. Each gain is concave, so that taking the
    images that add most is exact.

    Args:
        gaps: (weight, images there are, images needed); equals are served in this order.
        budget: images.
    """
    gains = (
        (-weight * math.log1p(1 / (1 + have + more)), n)
        for n, (weight, have, need) in enumerate(gaps)
        for more in range(min(need, budget) if weight > 0 else 0)
    )
    shares = Counter(n for _, n in heapq.nsmallest(budget, gains))
    return [shares[n] for n in range(len(gaps))]


def plan_fetches(gaps: Sequence[Gap], budget: int) -> list[PlannedFetch]:
    """Split a budget over gaps: among errors by what they gain, then among the rest.

    A fetch for several words together also brings each of them: what a word still needs is lowered
    by the images that are fetched for what it is part of. Where there are more gaps than
    a day's requests, errors come first, then those that gain most.

    Args:
        gaps: in any order.
        budget: images.
    """
    gaps = sorted(gaps, key=lambda gap: gap.order_key)
    chosen = _within_a_day(gaps, budget)
    compounds = [f for f in _share_budget(chosen, budget) if f.gap.is_compound]
    words = [gap for gap in chosen if not gap.is_compound]
    left = budget - sum(f.images for f in compounds)
    found = compounds + _share_budget(words, left, images_served(compounds, chosen))
    return sorted(
        found, key=lambda f: (URGENT.index(f.gap.severity), -_total_gain(f), f.gap.order_key)
    )


def _share_budget(
    gaps: Sequence[Gap], budget: int, brought: Mapping[Gap, int] | None = None
) -> list[PlannedFetch]:
    """Split a budget over errors; what they leave, over the rest."""
    found: list[PlannedFetch] = []
    for errors in (True, False):
        some = [gap for gap in gaps if (gap.severity == "error") == errors]
        given = [(brought or {}).get(gap, 0) for gap in some]
        amounts = [
            (float(len(gap.lines)), gap.images + more, min(MAX_RESULTS, gap.need - more))
            for gap, more in zip(some, given, strict=True)
        ]
        shares = split_budget(amounts, budget - sum(fetch.images for fetch in found))
        both = zip(some, shares, given, strict=True)
        found += [PlannedFetch(gap, share, more) for gap, share, more in both if share]
    return found


def _within_a_day(gaps: Sequence[Gap], budget: int) -> list[Gap]:
    """The gaps whose requests one day allows: errors before warnings, then by what they gain.

    Every query costs a request, and one more for each further page of results.
    """
    most = max(RESULTS_A_REQUEST, REQUESTS_A_DAY - RESERVED_REQUESTS - budget // RESULTS_A_REQUEST)
    if len(gaps) <= most:
        return list(gaps)
    gain = {f.gap: _total_gain(f) for f in _share_budget(gaps, budget)}
    ranked = sorted(gaps, key=lambda g: (URGENT.index(g.severity), -gain.get(g, 0.0), g.order_key))
    return sorted(ranked[:most], key=lambda gap: gap.order_key)


def _total_gain(fetch: PlannedFetch) -> float:
    have = fetch.gap.images + fetch.served
    return len(fetch.gap.lines) * (math.log1p(have + fetch.images) - math.log1p(have))


def images_served(fetches: Iterable[PlannedFetch], gaps: Iterable[Gap]) -> dict[Gap, int]:
    """Images that the fetches of several words together bring for each single word's gap."""
    brought: Counter[str] = Counter()
    for fetch in fetches:
        if fetch.gap.is_compound:
            words = fetch.gap.query.split()
            brought.update(dict.fromkeys([*words, *map(unit_of, words)], fetch.images))
    single = [gap for gap in gaps if not gap.is_compound and gap.query in brought]
    return {gap: min(gap.need, brought[gap.query]) for gap in single}
