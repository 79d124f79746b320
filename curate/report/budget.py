"""Which gaps a budget of pictures goes to.

The pictures are split so that the most is gained: what a word gains from pictures grows with the
logarithm of their number (Udandarao et al., arXiv:2404.04125), and a word that several prompts ask
for counts as often.
"""

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from curate.text.lemmas import unit_of

MOST = 240  # results of a query that the source shows without an account
PAGE = 20  # of them in one request
A_DAY = 200  # requests
SPARE = 10  # requests of a day that are kept back, for pictures that are refused
URGENT = ("error", "warning")  # severities that are worth a fetch
FETCHABLE = ("phrase", "bind", "pair", "word")  # kinds; compounds serve their words


@dataclass(frozen=True)
class Gap:
    """What more pictures would teach."""

    query: str
    unit: str
    kind: str
    verdict: str
    severity: str
    lines: frozenset[int]  # of the prompts that ask for it
    images: int  # that show it now
    need: int  # images short of the target

    @property
    def compound(self) -> bool:
        """Whether its pictures show more than one word."""
        return " " in self.query

    @property
    def place(self) -> tuple[int, int, str]:
        """Worst first, whatever the order of the report."""
        return URGENT.index(self.severity), -FETCHABLE.index(self.kind), self.query


@dataclass(frozen=True)
class Fetch:
    """One line of the script."""

    gap: Gap
    pictures: int
    served: int = 0  # pictures that fetches of its phrases and pairs bring already


def split(gaps: Sequence[tuple[float, int, int]], budget: int) -> list[int]:
    """How many pictures each gap gets, so that the most is gained.

    Maximises the sum of weight x (log(1 + have + x) - log(1 + have)) over whole numbers
    0 <= x <= need with the sum of x at most `budget`. Each gain is concave, so that taking the
    best next picture again and again is exact.

    Args:
        gaps: (weight, images there are, images needed); equals are served in this order.
        budget: pictures.
    """
    shares = [0] * len(gaps)
    left = budget
    heap = [(-_gain(w, have), n) for n, (w, have, need) in enumerate(gaps) if need > 0 and w > 0]
    heapq.heapify(heap)
    while heap and left > 0:
        _, n = heapq.heappop(heap)
        weight, have, need = gaps[n]
        shares[n] += 1
        left -= 1
        if shares[n] < need:
            heapq.heappush(heap, (-_gain(weight, have + shares[n]), n))
    return shares


def _gain(weight: float, have: int) -> float:
    """What one more picture adds."""
    return weight * math.log1p(1 / (1 + have))


def fetches(gaps: Sequence[Gap], budget: int) -> list[Fetch]:
    """Split a budget over gaps: among errors by what they gain, then among the rest.

    A fetch for several words together also brings each of them: what a word still needs is lowered
    by the pictures that are fetched for what it is part of. Where there are more gaps than
    a day's requests, errors come first, then those that gain most.

    Args:
        gaps: in any order.
        budget: pictures.
    """
    gaps = sorted(gaps, key=lambda gap: gap.place)
    chosen = _within_a_day(gaps, budget)
    first = _share(chosen, budget)
    compounds = [f for f in first if f.gap.compound]
    brought = served(compounds, chosen)
    words = [gap for gap in chosen if not gap.compound]
    left = budget - sum(f.pictures for f in compounds)
    found = compounds + _share(words, left, brought)
    return sorted(found, key=lambda f: (URGENT.index(f.gap.severity), -_gained(f), f.gap.place))


def _share(
    gaps: Sequence[Gap], budget: int, brought: Mapping[Gap, int] | None = None
) -> list[Fetch]:
    """Split a budget over errors; what they leave, over the rest."""
    found: list[Fetch] = []
    for errors in (True, False):
        some = [gap for gap in gaps if (gap.severity == "error") == errors]
        given = [(brought or {}).get(gap, 0) for gap in some]
        amounts = [
            (float(len(gap.lines)), gap.images + more, min(MOST, gap.need - more))
            for gap, more in zip(some, given, strict=True)
        ]
        shares = split(amounts, budget - sum(fetch.pictures for fetch in found))
        both = zip(some, shares, given, strict=True)
        found += [Fetch(gap, share, more) for gap, share, more in both if share]
    return found


def _within_a_day(gaps: Sequence[Gap], budget: int) -> list[Gap]:
    """The gaps whose requests one day allows: errors before warnings, then by what they gain.

    Every query costs a request, and one more for each further page of results.
    """
    most = max(PAGE, A_DAY - SPARE - budget // PAGE)
    if len(gaps) <= most:
        return list(gaps)
    gain = {f.gap: _gained(f) for f in _share(gaps, budget)}
    ranked = sorted(gaps, key=lambda g: (URGENT.index(g.severity), -gain.get(g, 0.0), g.place))
    return sorted(ranked[:most], key=lambda gap: gap.place)


def _gained(fetch: Fetch) -> float:
    have = fetch.gap.images + fetch.served
    return len(fetch.gap.lines) * (math.log1p(have + fetch.pictures) - math.log1p(have))


def served(fetches: Iterable[Fetch], gaps: Iterable[Gap]) -> dict[Gap, int]:
    """Pictures that the fetches of several words together bring for each single word's gap."""
    brought: dict[str, int] = {}
    for fetch in fetches:
        if fetch.gap.compound:
            words = fetch.gap.query.split()
            for word in {*words, *map(unit_of, words)}:
                brought[word] = brought.get(word, 0) + fetch.pictures
    single = [gap for gap in gaps if not gap.compound and gap.query in brought]
    return {gap: min(gap.need, brought[gap.query]) for gap in single}
