"""Whether captions show another thing of the same name: the animal asked for, baseball bats shown.

A hint beside the verdict. Each sense of a word in the shipped table has clues: words that stand
near it. A text votes for the sense that its clues speak for; where the prompts and the captions
do not clearly vote for one sense each, nothing is said.
"""

import gzip
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from curate.text import tokens
from curate.text.lemmas import lemmas_of

CLUE_WEIGHT, WEAK_CLUE_WEIGHT = 2, 1  # what a word says for a sense
MIN_VOTE = 2  # least sum for a vote
MIN_LEAD = 2  # how many times the next sense's sum
MAX_CAPTIONS = 50  # captions read at most
MIN_VOTING_SHARE = 1 / 3  # least share of the captions that vote at all
# of the votes: least for the sense shown, most for the sense asked for
MIN_SHOWN_SHARE, MAX_ASKED_SHARE = 0.8, 0.1
MAX_TELLING_WORDS = 6  # words shown


@dataclass(frozen=True, slots=True)
class SenseRisk:
    """Prompts ask for one sense of a word, captions show another."""

    asked: str  # what the prompts mean
    shown: str  # what the captions mean
    asked_by: tuple[str, ...]  # words of the prompts that tell
    shown_by: tuple[str, ...]  # words of the captions that tell, the commonest first
    share: float  # of the captions that show the other sense


@dataclass(frozen=True, slots=True)
class Sense:
    """One sense of a word."""

    meaning: str
    clues: dict[str, int]  # lemma -> what it says


def senses_of(unit: str) -> tuple[Sense, ...]:
    """The senses of a word, two or more; () for one that is not in the table."""
    return _read_senses().get(unit, ())


def sense_risk(unit: str, prompts: Sequence[str], captions: Sequence[str]) -> SenseRisk | None:
    """Whether captions show another sense of `unit` than the prompts ask for; None if unsure.

    Args:
        unit: a lemma.
        prompts: those that ask for it.
        captions: those that show it, or up to 50 of them.
    """
    senses = senses_of(unit)
    if not senses:
        return None
    asked = _votes(unit, senses, prompts)
    shown = _votes(unit, senses, captions[:MAX_CAPTIONS])
    if len({sense for sense, _ in asked}) != 1 or not shown:
        return None
    meant = asked[0][0]
    voters = Counter(sense for sense, _ in shown)
    seen, most = voters.most_common(1)[0]
    n_read, voted = min(len(captions), MAX_CAPTIONS), len(shown)
    clear = voted >= MIN_VOTING_SHARE * n_read and most >= MIN_SHOWN_SHARE * voted
    if not clear or seen == meant or voters[meant] > MAX_ASKED_SHARE * voted:
        return None
    return SenseRisk(
        asked=senses[meant].meaning,
        shown=senses[seen].meaning,
        asked_by=_telling_words(asked, meant),
        shown_by=_telling_words(shown, seen),
        share=round(most / n_read, 3),
    )


def _votes(
    unit: str, senses: Sequence[Sense], texts: Sequence[str]
) -> list[tuple[int, dict[str, int]]]:
    """The sense that each text votes for, if it does, and its clues that tell."""
    found = []
    for text in texts:
        forms = (form for surface in tokens.surfaces(text) for form in tokens.forms(surface))
        lemmas = {lemma for form in forms for lemma in lemmas_of(form)} - lemmas_of(unit)
        said = [{w: one.clues[w] for w in lemmas & one.clues.keys()} for one in senses]
        sums = sorted(((sum(one.values()), n) for n, one in enumerate(said)), reverse=True)
        (most, sense), (next_most, _) = sums[:2]
        if most >= MIN_VOTE and most >= MIN_LEAD * next_most:
            found.append((sense, said[sense]))
    return found


def _telling_words(votes: Sequence[tuple[int, dict[str, int]]], sense: int) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for voted, clues in votes:
        counts.update(clues if voted == sense else {})
    return tuple(sorted(counts, key=lambda w: (-counts[w], w))[:MAX_TELLING_WORDS])


@cache
def _read_senses() -> dict[str, tuple[Sense, ...]]:
    packed = resources.files("curate.text").joinpath("senses.tsv.gz").read_bytes()
    found: dict[str, tuple[Sense, ...]] = {}
    _, *lines = gzip.decompress(packed).decode().splitlines()  # the first says where from
    for line in lines:
        word, meaning, clues, weaker = line.split("\t")
        weights = dict.fromkeys(weaker.split(), WEAK_CLUE_WEIGHT)
        weights |= dict.fromkeys(clues.split(), CLUE_WEIGHT)
        found[word] = (*found.get(word, ()), Sense(meaning, weights))
    return found
