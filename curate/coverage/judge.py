"""What the counts mean: a verdict for every unit of the prompts."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from math import log2
from typing import TYPE_CHECKING

from curate.coverage.known import WordIndex, difference, union
from curate.coverage.verdicts import (
    RARE_IMAGES,
    RELATIONS,
    Item,
    Levels,
    Mention,
    RelatedImages,
    Targets,
    UncountedWord,
    worst_first,
)
from curate.index.index import Evidence
from curate.prompts import queries
from curate.prompts.aliases import NO_ALIASES, Aliases
from curate.prompts.reader import CONTROL, NEGATED, Prompt
from curate.prompts.units import TYPO, TokenRange, Units
from curate.text import senses, spelling
from curate.text.analysis import (
    FUNCTION_WORD,
    QUALITY_TAG,
    is_dictionary_entry,
    phrase_spellings,
    word,
)
from curate.vision.search import WordImages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int32]

MENTION_RATE = (
    0.39  # share of images of a thing in which one caption names it; see docs/coverage.md
)
EVIDENCE = 6  # captions an item shows
_SENSE_CAPTIONS = 50  # captions


@dataclass
class Judge:
    """Judges units by the images of an index.

    Args of the class: the index, how many images a word needs, options added to each command that
    fetches, what the user declared about words, the prompts, what to search for.
    """

    index: WordIndex
    targets: Targets
    options: tuple[str, ...] = ()
    aliases: Aliases = NO_ALIASES
    prompt_lines: Mapping[int, str] = field(default_factory=dict)  # by their numbers
    query_by_unit: Mapping[str, str] = field(default_factory=dict)  # where it is not itself

    def judge_units(self, asked: Units) -> list[Item]:
        """A verdict for everything asked, worst first."""
        self._prefetch_evidence(unit for unit, role in asked.words if role != CONTROL)
        found = [self.judge_word(*unit, places) for unit, places in asked.words.items()]
        found += [self.judge_phrase(unit, places) for unit, places in asked.phrases.items()]
        known = {
            item.unit: self._images_with_any(self._all_spellings(item.unit))
            for item in found
            if item.images
        }
        combinations = [
            {both: at for both, at in places.items() if both[0] in known and both[1] in known}
            for places in (asked.attribute_bindings, asked.pairs)
        ]
        found += self.attribute_bindings(combinations[0], known)
        bound_pairs = set(map(frozenset, combinations[0]))
        rest = {
            both: at for both, at in combinations[1].items() if frozenset(both) not in bound_pairs
        }
        found += self.judge_pairs(rest, known)
        return sorted(found, key=worst_first)

    def _prefetch_evidence(self, units: Iterable[str]) -> None:
        """Make ready for the evidence of many words."""
        first = [
            f(unit)[:EVIDENCE]
            for unit in units
            for f in (self.index.images_with_form, self.index.images_with)
        ]
        self.index.prefetch(_concatenate(first))

    def judge_word(self, unit: str, role: str, places: Sequence[TokenRange]) -> Item:
        """A word, or a control token."""
        mentions = self._mentions(places)
        if role == CONTROL:
            return Item(unit, "token", "control-token", mentions)
        shown, exact = self.index.images_with(unit), self.index.images_with_form(unit)
        other = difference(self._images_with_any(self._other_spellings(unit)), shown)
        levels = Levels(len(exact), len(shown) - len(exact), len(other))
        if role in (FUNCTION_WORD, QUALITY_TAG, TYPO):
            return Item(unit, "word", role, mentions, levels)
        if role == NEGATED or levels.images >= self.targets.target:
            return self._item_with_enough(unit, role, mentions, levels, (exact, shown, other))
        return self._item_with_few(unit, mentions, levels, (exact, shown, other))

    def _item_with_enough(
        self,
        unit: str,
        role: str,
        mentions: tuple[Mention, ...],
        levels: Levels,
        images: tuple["Numbers", ...],
    ) -> Item:
        """A word with enough images, or one that must not be in the image."""
        evidence = self._evidence(images, self._all_spellings(unit))
        if role == NEGATED:
            return Item(unit, "word", NEGATED, mentions, levels, evidence=evidence)
        enough = levels.exact + levels.inflection >= self.targets.target
        verdict = "covered" if enough else "covered-by-variant"
        risk = self._sense_risk(unit, mentions, images[1])
        if risk:
            return Item(
                unit, "word", "sense-risk", mentions, levels, evidence=evidence, senses=risk,
                fetch=self._fetch_commands(unit), need=self.targets.target,
            )  # fmt: skip
        return Item(unit, "word", verdict, mentions, levels, evidence=evidence)

    def _item_with_few(
        self,
        unit: str,
        mentions: tuple[Mention, ...],
        levels: Levels,
        images: tuple["Numbers", ...],
    ) -> Item:
        """A word with fewer images than it should have."""
        counted, left = self._related(unit)
        found: dict[str, RelatedImages] = {}
        via: list[Numbers] = []
        seen = union([*images])
        for relation in RELATIONS:
            units = counted.get(relation, {})
            more = difference(union(units.values()), seen)
            order = sorted(units, key=lambda one: (-len(units[one]), one))
            found[relation] = RelatedImages(
                len(more), tuple(one for one in order if len(units[one]))
            )
            seen = union([seen, more])
            via.append(more)
        levels = Levels(levels.exact, levels.inflection, levels.variant, found)
        verdict = self._verdict(unit, levels)
        names = [unit, *self._other_spellings(unit), *(u for v in found.values() for u in v.units)]
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
            senses=self._sense_risk(unit, mentions, images[1]),
            fetch=self._fetch_commands(unit) if known else (),
            need=self.targets.target - levels.images,
        )  # fmt: skip

    def _verdict(self, unit: str, levels: Levels) -> str:
        """Of a word with fewer images than the target; more images never make it worse."""
        if unit in self.aliases.abstract or not word(unit).is_visual:
            return "not-visual"
        count = levels.images
        if count >= self.targets.warn:
            return "low"
        for relation in RELATIONS:
            count += levels.related[relation].images
            if count >= self.targets.warn and levels.related[relation].images:
                return f"covered-by-{relation}"
        if levels.images:
            return "thin"
        return "missing" if word(unit).is_known else "unknown-word"

    def look_again(self, item: Item, found: WordImages | None, said: Mapping[str, str]) -> Item:
        """The item, or what it becomes when enough images show it that no caption names.

        Args:
            item: of any kind.
            found: what a search of the images found for it.
            said: the caption of each image, by key.
        """
        if found is None or item.kind != "word" or item.severity != "error":
            return item
        if item.images + found.likely < self.targets.warn:
            return item
        evidence = *item.evidence, *(Evidence(key, said.get(key, "")) for key in found.best)
        return replace(item, verdict="uncaptioned", fetch=(), evidence=evidence[:EVIDENCE])

    def judge_phrase(self, unit: str, places: Sequence[TokenRange]) -> Item:
        """Words that mean something together."""
        shown, exact = self.index.images_with(unit), self.index.images_with_form(unit)
        others = {*phrase_spellings(unit)} - {unit}
        other = difference(self._images_with_any(sorted(others)), shown)
        levels = Levels(len(exact), len(shown) - len(exact), len(other))
        enough = levels.images >= self.targets.warn
        verdict = "phrase-thin" if levels.images else "phrase-missing"
        return Item(
            unit, "phrase", "phrase-covered" if enough else verdict, self._mentions(places), levels,
            upper_bound=None if enough else _most_unnamed(levels.images, self.index.images),
            evidence=self._evidence((exact, shown, other), [unit, *sorted(others)]),
            fetch=() if enough else self._fetch_commands(unit),
            need=0 if enough else self.targets.target - levels.images,
        )  # fmt: skip

    def attribute_bindings(
        self, asked: Mapping[tuple[str, str], Sequence[TokenRange]], known: Mapping[str, "Numbers"]
    ) -> Iterator[Item]:
        """Adjectives at their nouns, each in every spelling."""
        for (adjective, noun), places in asked.items():
            names = product(self._all_spellings(adjective), self._all_spellings(noun))
            images = union([self.index.bound_images(a, b) for a, b in names])
            yield self._combination("bind", (adjective, noun), places, known, images)

    def judge_pairs(
        self, asked: Mapping[tuple[str, str], Sequence[TokenRange]], known: Mapping[str, "Numbers"]
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
        self.index.prefetch(
            _concatenate(images for images in shown.values() if len(images) < RARE_IMAGES)
        )
        for both, images in shown.items():
            yield self._combination("pair", both, asked[both], known, images)

    def _combination(
        self,
        kind: str,
        both: tuple[str, str],
        places: Sequence[TokenRange],
        known: Mapping[str, "Numbers"],
        images: "Numbers",
    ) -> Item:
        """A pair or a binding; fewer than RARE_IMAGES are a warning."""
        count = len(images)
        name = {"bind": "binding", "pair": "pair"}[kind]
        verdict = f"{('unseen', 'rare', 'seen')[(count > 0) + (count >= RARE_IMAGES)]}-{name}"
        expected = len(known[both[0]]) * len(known[both[1]]) / self.index.images
        short = max(0, RARE_IMAGES - count)
        few = images.tolist() if short else []
        return Item(
            " + ".join(both), kind, verdict, self._mentions(places), Levels(exact=count),
            expected=round(expected, 2),
            pmi=round(log2((count + 0.5) / (expected + 0.5)), 2) + 0.0,  # never -0.0
            evidence=self.index.evidence(few, both, EVIDENCE) if few else (),
            fetch=self._fetch_commands(" ".join(both)) if short else (),
            need=short,
        )  # fmt: skip

    def _all_spellings(self, unit: str) -> list[str]:
        """A word in every spelling, and its aliases."""
        return [unit, *self._other_spellings(unit)]

    def _other_spellings(self, unit: str) -> list[str]:
        """Other spellings of a word, and its aliases."""
        found = word(unit).variants | set(self.aliases.alias.get(unit, ()))
        return sorted(found - {unit})

    def _related(
        self, unit: str
    ) -> tuple[dict[str, dict[str, "Numbers"]], tuple[UncountedWord, ...]]:
        """Images of related words by relation, and the words that are too far to count."""
        counted: dict[str, dict[str, Numbers]] = {}
        left: list[UncountedWord] = []
        for one in word(unit).related():
            images = self._images_named(one.unit)
            if one.is_close:
                counted.setdefault(one.relation, {})[one.unit] = images
            elif len(images):
                left.append(UncountedWord(one, len(images)))
        left.sort(key=lambda one: (-one.related.similarity, one.related.unit))
        return counted, tuple(left[:EVIDENCE])

    def _corrections(self, unit: str) -> tuple[spelling.NearWord, ...]:
        """What may have been meant by a word that no dictionary has, and its images."""
        compound = word(unit).compound()
        if compound:
            return (spelling.NearWord(compound, len(self.index.images_with(compound))),)
        if word(unit).is_part():
            return ()
        found = spelling.did_you_mean(unit, is_dictionary_entry, self.index.vocabulary)
        return tuple(found)

    def _images_named(self, related: str) -> "Numbers":
        """Images whose captions name a related word, and not only a word that it comes from.

        *Greens* are vegetables, what is *green* is none; *papers* are documents, *paper* is not.
        """
        if " " in related or word(related).lemmas == {related}:
            return self.index.images_with(related)
        return union(
            [self.index.images_with_form(related), self.index.images_with_form(f"{related}s")]
        )

    def _sense_risk(
        self, unit: str, mentions: Sequence[Mention], images: "Numbers"
    ) -> senses.SenseRisk | None:
        """Whether captions clearly show another sense than the prompts ask for."""
        if not len(images) or not senses.senses_of(unit):
            return None
        read = self.index.evidence(images[:_SENSE_CAPTIONS].tolist(), [unit], _SENSE_CAPTIONS)
        prompts = [self.prompt_lines[line] for line in sorted({m.line for m in mentions})]
        return senses.sense_risk(unit, prompts, [one.caption for one in read])

    def _images_with_any(self, units: Iterable[str]) -> "Numbers":
        return union([self.index.images_with(unit) for unit in units])

    def _evidence(self, images: Iterable["Numbers"], units: Sequence[str]) -> tuple[Evidence, ...]:
        """Captions of the first few images, those of the best level first."""
        chosen: dict[int, None] = {}
        for numbers in images:
            chosen |= dict.fromkeys(numbers[:EVIDENCE].tolist())
        return self.index.evidence(list(chosen)[:EVIDENCE], units, EVIDENCE)

    def _fetch_commands(self, query: str) -> tuple[str, ...]:
        if not queries.is_searchable(query):
            return ()
        query = self.query_by_unit.get(query, query)
        return (shlex.join(["curate", "fetch", "openverse", "--query", query, *self.options]),)

    def _mentions(self, places: Iterable[TokenRange]) -> tuple[Mention, ...]:
        """The stretches from one word to another of the same line, in the order of the file."""
        found = []
        for a, b in places:
            text = self.prompt_lines[a.line][a.start : b.end]
            found.append(Mention(a.line, a.start, b.end, text))
        return tuple(sorted(found, key=lambda m: (m.line, m.start)) if len(found) > 1 else found)


def lines_by_number(prompts: Iterable[Prompt]) -> dict[int, str]:
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
    5 %, when each of k images is named with probability MENTION_RATE. For none named this is
    ln 0.05 / ln(1 - r).
    """
    k = images
    while k < among and _binomial_cdf(images, k + 1, MENTION_RATE) >= 0.05:
        k += 1
    return k


def _binomial_cdf(hits: int, trials: int, chance: float) -> float:
    """Probability of at most so many hits (binomial)."""
    term = total = (1 - chance) ** trials
    for k in range(1, hits + 1):
        term *= (trials - k + 1) / k * chance / (1 - chance)
        total += term
    return total
