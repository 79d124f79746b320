"""Whether captions show another thing of the same name: the animal asked for, baseball bats shown.

A hint beside the verdict. Each sense of a word in the shipped table has clues: words that stand
near it. A text votes for the sense that its clues speak for; where the prompts and the captions
do not clearly vote for one sense each, nothing is said.
"""

import gzip
from collections import Counter
from collections.abc import Iterable, Sequence
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
    """The senses of a word; () for one that is not in the table."""
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
    asked = _SenseVotes(unit, senses, prompts)
    shown = _SenseVotes(unit, senses, captions[:MAX_CAPTIONS])
    if len(asked.voters) != 1 or not shown.voters:
        return None
    (meant,) = asked.voters
    seen, voters = shown.voters.most_common(1)[0]
    voted = shown.voters.total()
    clear = voted >= MIN_VOTING_SHARE * shown.texts and voters >= MIN_SHOWN_SHARE * voted
    if not clear or seen == meant or shown.voters[meant] > MAX_ASKED_SHARE * voted:
        return None
    return SenseRisk(
        asked=senses[meant].meaning,
        shown=senses[seen].meaning,
        asked_by=asked.words(meant),
        shown_by=shown.words(seen),
        share=round(voters / shown.texts, 3),
    )


class _SenseVotes:
    """What texts say about the sense of a word."""

    def __init__(self, unit: str, senses: Sequence[Sense], texts: Iterable[str]) -> None:
        self.texts = 0
        self.voters: Counter[int] = Counter()  # sense -> texts
        self._words: dict[int, Counter[str]] = {n: Counter() for n in range(len(senses))}
        for text in texts:
            self.texts += 1
            lemmas = _lemmas_in(text) - lemmas_of(unit)
            said = [{w: s.clues[w] for w in lemmas & s.clues.keys()} for s in senses]
            best, *rest = sorted((sum(one.values()), n) for n, one in enumerate(said))[::-1]
            if best[0] >= MIN_VOTE and best[0] >= MIN_LEAD * max((x for x, _ in rest), default=0):
                self.voters[best[1]] += 1
                self._words[best[1]].update(said[best[1]])

    def words(self, sense: int) -> tuple[str, ...]:
        """The words that told most often."""
        counts = self._words[sense]
        return tuple(sorted(counts, key=lambda w: (-counts[w], w))[:MAX_TELLING_WORDS])


def _lemmas_in(text: str) -> frozenset[str]:
    forms = (form for surface in tokens.surfaces(text) for form in tokens.forms(surface))
    return frozenset(lemma for form in forms for lemma in lemmas_of(form))


@cache
def _read_senses() -> dict[str, tuple[Sense, ...]]:
    packed = resources.files("curate.text").joinpath("senses.tsv.gz").read_bytes()
    found: dict[str, tuple[Sense, ...]] = {}
    _, *lines = gzip.decompress(packed).decode().splitlines()  # the first says where from
    for line in lines:
        word, meaning, clues, weaker = line.split("\t")
        weights = dict.fromkeys(weaker.split(), WEAK_CLUE_WEIGHT) | dict.fromkeys(
            clues.split(), CLUE_WEIGHT
        )
        found[word] = (*found.get(word, ()), Sense(meaning, weights))
    return found
