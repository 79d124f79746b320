"""What the counts mean: a verdict for every unit of the prompts."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from math import log2
from typing import TYPE_CHECKING

from curate.coverage.known import Known, union, without
from curate.coverage.verdicts import (
    RARE,
    RELATIONS,
    Item,
    Levels,
    Mention,
    NotCounted,
    Targets,
    Via,
    worst_first,
)
from curate.index.index import Evidence
from curate.prompts import queries
from curate.prompts.aliases import NONE, Aliases
from curate.prompts.reader import CONTROL, NEGATED, Prompt
from curate.prompts.units import TYPO, Place, Units
from curate.text import senses, spelling
from curate.text.analysis import FUNCTION, QUALITY_TAG, is_entry, spellings, word
from curate.vision.search import Found

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int32]

MENTIONED = 0.39  # share of pictures of a thing in which one caption names it; see docs/coverage.md
EVIDENCE = 6  # captions an item shows
_READ_FOR_SENSE = 50  # captions


@dataclass
class Judge:
    """Judges units by the images of an index.

    Args of the class: the index, how many images a word needs, options added to each command that
    fetches, what the user declared about words, the prompts, what to search for.
    """

    index: Known
    wanted: Targets
    options: tuple[str, ...] = ()
    agreed: Aliases = NONE
    lines: Mapping[int, str] = field(default_factory=dict)  # of the prompts, by their numbers
    searched: Mapping[str, str] = field(default_factory=dict)  # word -> query, where not itself

    def items(self, asked: Units) -> list[Item]:
        """A verdict for everything asked, worst first."""
        self._expect(unit for unit, role in asked.words if role != CONTROL)
        found = [self.word(*unit, places) for unit, places in asked.words.items()]
        found += [self.phrase(unit, places) for unit, places in asked.phrases.items()]
        known = {item.unit: self._union(self._names(item.unit)) for item in found if item.images}
        listed = [
            {both: at for both, at in places.items() if both[0] in known and both[1] in known}
            for places in (asked.attribute_bindings, asked.pairs)
        ]
        found += self.attribute_bindings(listed[0], known)
        told = set(map(frozenset, listed[0]))
        rest = {both: at for both, at in listed[1].items() if frozenset(both) not in told}
        found += self.pairs(rest, known)
        return sorted(found, key=worst_first)

    def _expect(self, units: Iterable[str]) -> None:
        """Make ready for the evidence of many words."""
        first = [f(unit)[:EVIDENCE] for unit in units for f in (self.index.exact, self.index.shown)]
        self.index.expect(_concatenate(first))

    def word(self, unit: str, role: str, places: Sequence[Place]) -> Item:
        """A word, or a control token."""
        mentions = self._mentions(places)
        if role == CONTROL:
            return Item(unit, "token", "control-token", mentions)
        shown, exact = self.index.shown(unit), self.index.exact(unit)
        other = without(self._union(self._other_names(unit)), shown)
        levels = Levels(len(exact), len(shown) - len(exact), len(other))
        if role in (FUNCTION, QUALITY_TAG, TYPO):
            return Item(unit, "word", role, mentions, levels)
        if role == NEGATED or levels.images >= self.wanted.target:
            return self._enough(unit, role, mentions, levels, (exact, shown, other))
        return self._short(unit, mentions, levels, (exact, shown, other))

    def _enough(
        self,
        unit: str,
        role: str,
        mentions: tuple[Mention, ...],
        levels: Levels,
        images: tuple["Numbers", ...],
    ) -> Item:
        """A word with enough images, or one that must not be in the picture."""
        evidence = self._evidence(images, self._names(unit))
        if role == NEGATED:
            return Item(unit, "word", NEGATED, mentions, levels, evidence=evidence)
        enough = levels.exact + levels.inflection >= self.wanted.target
        verdict = "covered" if enough else "covered-by-variant"
        risk = self._sense(unit, mentions, images[1])
        if risk:
            return Item(
                unit, "word", "sense-risk", mentions, levels, evidence=evidence, senses=risk,
                fetch=self._fetch(unit), need=self.wanted.target,
            )  # fmt: skip
        return Item(unit, "word", verdict, mentions, levels, evidence=evidence)

    def _short(
        self,
        unit: str,
        mentions: tuple[Mention, ...],
        levels: Levels,
        images: tuple["Numbers", ...],
    ) -> Item:
        """A word with fewer images than it should have."""
        counted, left = self._related(unit)
        found: dict[str, Via] = {}
        via: list[Numbers] = []
        seen = union([*images])
        for relation in RELATIONS:
            units = counted.get(relation, {})
            more = without(union(units.values()), seen)
            order = sorted(units, key=lambda one: (-len(units[one]), one))
            found[relation] = Via(len(more), tuple(one for one in order if len(units[one])))
            seen = union([seen, more])
            via.append(more)
        levels = Levels(levels.exact, levels.inflection, levels.variant, found)
        verdict = self._verdict(unit, levels)
        names = [unit, *self._other_names(unit), *(u for v in found.values() for u in v.units)]
        evidence = self._evidence([*images, *via], names)
        if verdict == "not-visual":
            return Item(unit, "word", verdict, mentions, levels, evidence=evidence)
        words, known = self.index.vocabulary, word(unit).is_known
        bare = levels.images == 0
        return Item(
            unit, "word", verdict, mentions, levels,
            not_counted=left,
            upper_bound=_most_unnamed(levels.images, self.index.images),
            evidence=evidence,
            nearest=tuple(words.nearest(unit)) if bare else (),
            did_you_mean=self._corrections(unit) if bare and not known else (),
            senses=self._sense(unit, mentions, images[1]),
            fetch=self._fetch(unit) if known else (),
            need=self.wanted.target - levels.images,
        )  # fmt: skip

    def _verdict(self, unit: str, levels: Levels) -> str:
        """Of a word with fewer images than the target; more images never make it worse."""
        if unit in self.agreed.abstract or not word(unit).is_visual:
            return "not-visual"
        count = levels.images
        if count >= self.wanted.warn:
            return "low"
        for relation in RELATIONS:
            count += levels.related[relation].images
            if count >= self.wanted.warn and levels.related[relation].images:
                return f"covered-by-{relation}"
        if levels.images:
            return "thin"
        return "missing" if word(unit).is_known else "unknown-word"

    def look_again(self, item: Item, found: Found | None, said: Mapping[str, str]) -> Item:
        """The item, or what it becomes when enough pictures show it that no caption names.

        Args:
            item: of any kind.
            found: what a search of the pictures found for it.
            said: the caption of each picture, by key.
        """
        if found is None or item.kind != "word" or item.severity != "error":
            return item
        if item.images + found.likely < self.wanted.warn:
            return item
        evidence = *item.evidence, *(Evidence(key, said.get(key, "")) for key in found.best)
        return replace(item, verdict="uncaptioned", fetch=(), evidence=evidence[:EVIDENCE])

    def phrase(self, unit: str, places: Sequence[Place]) -> Item:
        """Words that mean something together."""
        shown, exact = self.index.shown(unit), self.index.exact(unit)
        others = {*spellings(unit)} - {unit}
        other = without(self._union(sorted(others)), shown)
        levels = Levels(len(exact), len(shown) - len(exact), len(other))
        enough = levels.images >= self.wanted.warn
        verdict = "phrase-thin" if levels.images else "phrase-missing"
        return Item(
            unit, "phrase", "phrase-covered" if enough else verdict, self._mentions(places), levels,
            upper_bound=None if enough else _most_unnamed(levels.images, self.index.images),
            evidence=self._evidence((exact, shown, other), [unit, *sorted(others)]),
            fetch=() if enough else self._fetch(unit),
            need=0 if enough else self.wanted.target - levels.images,
        )  # fmt: skip

    def attribute_bindings(
        self, asked: Mapping[tuple[str, str], Sequence[Place]], known: Mapping[str, "Numbers"]
    ) -> Iterator[Item]:
        """Adjectives at their nouns, each in every spelling."""
        for (adjective, noun), places in asked.items():
            names = product(self._names(adjective), self._names(noun))
            images = union([self.index.bound(a, b) for a, b in names])
            yield self._combination("bind", (adjective, noun), places, known, images)

    def pairs(
        self, asked: Mapping[tuple[str, str], Sequence[Place]], known: Mapping[str, "Numbers"]
    ) -> Iterator[Item]:
        """Two words of one prompt."""
        import numpy as np

        partners: dict[str, list[tuple[str, str]]] = {}
        for both in asked:
            commoner = max(both, key=lambda unit: len(known[unit]))
            partners.setdefault(commoner, []).append(both)
        marked = np.zeros(self.index.images, dtype=bool)  # by number of the image
        shown: dict[tuple[str, str], Numbers] = {}
        for commoner, found in partners.items():
            marked[known[commoner]] = True
            for both in found:
                rarer = known[both[both[0] == commoner]]
                shown[both] = rarer[marked[rarer]]
            marked[known[commoner]] = False
        self.index.expect(_concatenate(images for images in shown.values() if len(images) < RARE))
        for both, images in shown.items():
            yield self._combination("pair", both, asked[both], known, images)

    def _combination(
        self,
        kind: str,
        both: tuple[str, str],
        places: Sequence[Place],
        known: Mapping[str, "Numbers"],
        images: "Numbers",
    ) -> Item:
        """A pair or a binding; fewer than RARE images are a warning."""
        count = len(images)
        name = {"bind": "binding", "pair": "pair"}[kind]
        verdict = f"{('unseen', 'rare', 'seen')[(count > 0) + (count >= RARE)]}-{name}"
        expected = len(known[both[0]]) * len(known[both[1]]) / self.index.images
        short = max(0, RARE - count)
        few = images.tolist() if short else []
        return Item(
            " + ".join(both), kind, verdict, self._mentions(places), Levels(exact=count),
            expected=round(expected, 2),
            pmi=round(log2((count + 0.5) / (expected + 0.5)), 2) + 0.0,  # never -0.0
            evidence=self.index.evidence(few, both, EVIDENCE) if few else (),
            fetch=self._fetch(" ".join(both)) if short else (),
            need=short,
        )  # fmt: skip

    def _names(self, unit: str) -> list[str]:
        """A word in every spelling, and its aliases."""
        return [unit, *self._other_names(unit)]

    def _other_names(self, unit: str) -> list[str]:
        """Other spellings of a word, and its aliases."""
        found = word(unit).variants | set(self.agreed.alias.get(unit, ()))
        return sorted(found - {unit})

    def _related(self, unit: str) -> tuple[dict[str, dict[str, "Numbers"]], tuple[NotCounted, ...]]:
        """Images of related words by relation, and the words that are too far to count."""
        counted: dict[str, dict[str, Numbers]] = {}
        left: list[NotCounted] = []
        for one in word(unit).related():
            images = self._images_named(one.unit)
            if one.is_close:
                counted.setdefault(one.relation, {})[one.unit] = images
            elif len(images):
                left.append(NotCounted(one, len(images)))
        left.sort(key=lambda one: (-one.related.similarity, one.related.unit))
        return counted, tuple(left[:EVIDENCE])

    def _corrections(self, unit: str) -> tuple[spelling.Near, ...]:
        """What may have been meant by a word that no dictionary has, and its images."""
        compound = word(unit).compound()
        if compound:
            return (spelling.Near(compound, len(self.index.shown(compound))),)
        if word(unit).is_part():
            return ()
        found = spelling.did_you_mean(unit, is_entry, self.index.vocabulary)
        return tuple(found)

    def _images_named(self, related: str) -> "Numbers":
        """Images whose captions name a related word, and not only a word that it comes from.

        *Greens* are vegetables, what is *green* is none; *papers* are documents, *paper* is not.
        """
        if " " in related or word(related).lemmas == {related}:
            return self.index.shown(related)
        return union([self.index.exact(related), self.index.exact(f"{related}s")])

    def _sense(
        self, unit: str, mentions: Sequence[Mention], images: "Numbers"
    ) -> senses.SenseRisk | None:
        """Whether captions clearly show another sense than the prompts ask for."""
        if not len(images) or not senses.senses_of(unit):
            return None
        read = self.index.evidence(images[:_READ_FOR_SENSE].tolist(), [unit], _READ_FOR_SENSE)
        prompts = [self.lines[line] for line in sorted({m.line for m in mentions})]
        return senses.risk(unit, prompts, [one.caption for one in read])

    def _union(self, units: Iterable[str]) -> "Numbers":
        return union([self.index.shown(unit) for unit in units])

    def _evidence(self, images: Iterable["Numbers"], units: Sequence[str]) -> tuple[Evidence, ...]:
        """Captions of the first few images, those of the best level first."""
        chosen: dict[int, None] = {}
        for numbers in images:
            chosen |= dict.fromkeys(numbers[:EVIDENCE].tolist())
        return self.index.evidence(list(chosen)[:EVIDENCE], units, EVIDENCE)

    def _fetch(self, query: str) -> tuple[str, ...]:
        if not queries.is_searchable(query):
            return ()
        query = self.searched.get(query, query)
        return (shlex.join(["curate", "fetch", "openverse", "--query", query, *self.options]),)

    def _mentions(self, places: Iterable[Place]) -> tuple[Mention, ...]:
        """The stretches from one word to another of the same line, in the order of the file."""
        found = []
        for a, b in places:
            text = self.lines[a.line][a.start : b.end]
            found.append(Mention(a.line, a.start, b.end, text))
        return tuple(sorted(found, key=lambda m: (m.line, m.start)) if len(found) > 1 else found)


def lines_of(prompts: Iterable[Prompt]) -> dict[int, str]:
    """The text of each prompt by its line."""
    return {prompt.line: prompt.text for prompt in prompts}


def _concatenate(sets: Iterable["Numbers"]) -> "Numbers":
    """The numbers of very many sets, repeated ones too."""
    import numpy as np

    return np.concatenate([np.empty(0, dtype=np.int32), *sets])


@cache
def _most_unnamed(images: int, among: int) -> int:
    """How many images may show a thing whose name stands at `images` of them, of `among` in all.

    The largest number k for which at most `images` captions that name it are likely with at least
    5 %, when each of k pictures is named with probability MENTIONED. For none named this is
    ln 0.05 / ln(1 - r).
    """
    k = images
    while k < among and _at_most(images, k + 1, MENTIONED) >= 0.05:
        k += 1
    return k


def _at_most(hits: int, trials: int, chance: float) -> float:
    """Probability of at most so many hits (binomial)."""
    term = total = (1 - chance) ** trials
    for k in range(1, hits + 1):
        term *= (trials - k + 1) / k * chance / (1 - chance)
        total += term
    return total
