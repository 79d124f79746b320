"""What the counts mean: a verdict for every unit of the prompts."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, reduce
from itertools import product
from math import exp, log, log1p, log2

import numpy as np

from curate.coverage.checkpoint import CheckpointIndex, LoraIndex
from curate.coverage.verdicts import (
    RARE_IMAGES,
    RELATIONS,
    Item,
    Levels,
    Mention,
    RelatedImages,
    Targets,
    worst_first,
)
from curate.index.index import CaptionIndex, Evidence
from curate.index.segment import Numbers
from curate.prompts.aliases import NO_ALIASES, Aliases
from curate.prompts.reader import CONTROL, NEGATED
from curate.prompts.units import TYPO, TokenRange, Units, is_searchable
from curate.text import senses, spelling
from curate.text.analysis import (
    FUNCTION_WORD,
    QUALITY_TAG,
    is_dictionary_entry,
    phrase_spellings,
    word,
)
from curate.text.lemmas import lemmas_of
from curate.text.wordnet import RelatedWord
from curate.vision.search import WordImages

# share of images of a thing in which one caption names it; see docs/coverage.md
MENTION_RATE = 0.39
EVIDENCE = 6  # captions an item shows
_SENSE_CAPTIONS = 50  # captions
WordIndex = CaptionIndex | CheckpointIndex | LoraIndex  # what is known of some images
Combinations = Mapping[tuple[str, str], Sequence[TokenRange]]  # two units, and where they stand
ImagesByUnit = Mapping[str, Numbers]


@dataclass
class Judge:
    """Judges units by the images of an index."""

    index: WordIndex
    targets: Targets  # images that a word needs
    options: tuple[str, ...] = ()  # of each command that fetches
    aliases: Aliases = NO_ALIASES  # what the user declared about words
    prompt_lines: Mapping[int, str] = field(default_factory=dict)  # by their numbers
    query_by_unit: Mapping[str, str] = field(default_factory=dict)  # where it is not itself

    def judge_units(self, asked: Units) -> list[Item]:
        """A verdict for everything asked, worst first."""
        self.index.prefetch(
            find(unit)[:EVIDENCE]
            for unit, role in asked.words
            for find in (self.index.images_with_form, self.index.images_with)
            if role != CONTROL
        )
        found = [self.judge_word(*unit, places) for unit, places in asked.words.items()]
        found += [self.judge_phrase(unit, places) for unit, places in asked.phrases.items()]
        known = {
            item.unit: self._images_with_any(self._all_spellings(item.unit))
            for item in found
            if item.images
        }
        bindings, pairs = (
            {both: at for both, at in places.items() if known.keys() >= {*both}}
            for places in (asked.attribute_bindings, asked.pairs)
        )
        found += self.attribute_bindings(bindings, known)
        bound = set(map(frozenset, bindings))
        rest = {both: at for both, at in pairs.items() if frozenset(both) not in bound}
        found += self.judge_pairs(rest, known)
        return sorted(found, key=worst_first)

    def judge_word(self, unit: str, role: str, places: Sequence[TokenRange]) -> Item:
        """A word, or a control token."""
        item = Item(unit, "token", "control-token", self._mentions(places))
        if role == CONTROL:
            return item
        levels, images = self._own_images(unit, self._other_spellings(unit))
        item = replace(item, kind="word", verdict=role, levels=levels)
        if role in (FUNCTION_WORD, QUALITY_TAG, TYPO):
            return item
        if role == NEGATED or levels.images >= self.targets.target:
            return self._item_with_enough(item, images)
        return self._item_with_few(item, images)

    def _own_images(
        self, unit: str, spellings: Iterable[str]
    ) -> tuple[Levels, tuple[Numbers, ...]]:
        """Images that show a unit itself: as written, in any inflection, spelt otherwise."""
        shown, exact = self.index.images_with(unit), self.index.images_with_form(unit)
        other = difference(self._images_with_any(spellings), shown)
        return Levels(len(exact), len(shown) - len(exact), len(other)), (exact, shown, other)

    def _item_with_enough(self, item: Item, images: tuple[Numbers, ...]) -> Item:
        item = replace(item, evidence=self._evidence(images, self._all_spellings(item.unit)))
        if item.verdict == NEGATED:
            return item
        if risk := self._sense_risk(item, images[1]):
            fetch = self._fetch_commands(item.unit)
            need = self.targets.target
            return replace(item, verdict="sense-risk", senses=risk, fetch=fetch, need=need)
        enough = item.levels.exact + item.levels.inflection >= self.targets.target
        return replace(item, verdict="covered" if enough else "covered-by-variant")

    def _item_with_few(self, item: Item, images: tuple[Numbers, ...]) -> Item:
        unit = item.unit
        counted, left = self._related(unit)
        found: dict[str, RelatedImages] = {}
        via: list[Numbers] = []
        seen = union(images)
        for relation in RELATIONS:
            units = {one: own for one, own in counted.get(relation, {}).items() if len(own)}
            more = difference(union(units.values()), seen)
            order = sorted(units, key=lambda one: (-len(units[one]), one))
            found[relation] = RelatedImages(len(more), tuple(order))
            seen = union([seen, more])
            via.append(more)
        levels = replace(item.levels, related=found)
        names = [*self._all_spellings(unit), *(u for v in found.values() for u in v.units)]
        evidence = self._evidence([*images, *via], names)
        item = replace(item, verdict=self._verdict(unit, levels), levels=levels, evidence=evidence)
        if item.verdict == "not-visual":
            return item
        known, bare = word(unit).is_known, item.images == 0
        return replace(
            item,
            not_counted=left,
            upper_bound=_most_unnamed(item.images, self.index.images),
            nearest=tuple(self.index.vocabulary.nearest(unit)) if bare else (),
            did_you_mean=self._corrections(unit) if bare and not known else (),
            senses=self._sense_risk(item, images[1]),
            fetch=self._fetch_commands(unit) if known else (),
            need=self.targets.target - item.images,
        )

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
        others = sorted({*phrase_spellings(unit)} - {unit})
        levels, images = self._own_images(unit, others)
        evidence = self._evidence(images, [unit, *others])
        item = Item(unit, "phrase", "phrase-covered", self._mentions(places), levels)
        item = replace(item, evidence=evidence)
        if item.images >= self.targets.warn:
            return item
        return replace(
            item,
            verdict="phrase-thin" if item.images else "phrase-missing",
            upper_bound=_most_unnamed(item.images, self.index.images),
            fetch=self._fetch_commands(unit),
            need=self.targets.target - item.images,
        )

    def attribute_bindings(self, asked: Combinations, known: ImagesByUnit) -> Iterator[Item]:
        """Adjectives at their nouns, each in every spelling."""
        for (adjective, noun), places in asked.items():
            names = product(self._all_spellings(adjective), self._all_spellings(noun))
            images = union([self.index.bound_images(a, b) for a, b in names])
            yield self._combination("bind", (adjective, noun), places, known, images)

    def judge_pairs(self, asked: Combinations, known: ImagesByUnit) -> Iterator[Item]:
        """Two words of one prompt."""
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
        self.index.prefetch(images for images in shown.values() if len(images) < RARE_IMAGES)
        for both, images in shown.items():
            yield self._combination("pair", both, asked[both], known, images)

    def _combination(
        self,
        kind: str,
        both: tuple[str, str],
        places: Sequence[TokenRange],
        known: ImagesByUnit,
        images: Numbers,
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
            evidence=self.index.evidence(few, both) if few else (),
            fetch=self._fetch_commands(" ".join(both)) if short else (),
            need=short,
        )  # fmt: skip

    def _all_spellings(self, unit: str) -> list[str]:
        return [unit, *self._other_spellings(unit)]

    def _other_spellings(self, unit: str) -> list[str]:
        return sorted({*word(unit).variants, *self.aliases.alias.get(unit, ())} - {unit})

    def _related(
        self, unit: str
    ) -> tuple[dict[str, dict[str, Numbers]], tuple[tuple[RelatedWord, int], ...]]:
        """Images of related words by relation, and the words that are too far to count."""
        counted: dict[str, dict[str, Numbers]] = {}
        left: list[tuple[RelatedWord, int]] = []
        for one in word(unit).related():
            images = self._images_named(one.unit)
            if one.is_close:
                counted.setdefault(one.relation, {})[one.unit] = images
            elif len(images):
                left.append((one, len(images)))
        left.sort(key=lambda pair: (-pair[0].similarity, pair[0].unit))
        return counted, tuple(left[:EVIDENCE])

    def _corrections(self, unit: str) -> tuple[spelling.NearWord, ...]:
        """What may have been meant by a word that no dictionary has, and its images."""
        if compound := word(unit).compound():
            return (spelling.NearWord(compound, len(self.index.images_with(compound))),)
        if word(unit).is_part():
            return ()
        return tuple(spelling.did_you_mean(unit, is_dictionary_entry, self.index.vocabulary))

    def _images_named(self, related: str) -> Numbers:
        """Images whose captions name a related word, and not only a word that it comes from.

        *Greens* are vegetables, what is *green* is none; *papers* are documents, *paper* is not.
        """
        if " " in related or lemmas_of(related) == {related}:
            return self.index.images_with(related)
        return union(
            [self.index.images_with_form(related), self.index.images_with_form(f"{related}s")]
        )

    def _sense_risk(self, item: Item, images: Numbers) -> senses.SenseRisk | None:
        if not len(images) or not senses.senses_of(item.unit):
            return None
        read = self.index.evidence(images[:_SENSE_CAPTIONS].tolist(), [item.unit], _SENSE_CAPTIONS)
        prompts = [self.prompt_lines[line] for line in sorted({m.line for m in item.mentions})]
        return senses.sense_risk(item.unit, prompts, [one.caption for one in read])

    def _images_with_any(self, units: Iterable[str]) -> Numbers:
        return union([self.index.images_with(unit) for unit in units])

    def _evidence(self, images: Iterable[Numbers], units: Sequence[str]) -> tuple[Evidence, ...]:
        chosen = dict.fromkeys(n for numbers in images for n in numbers[:EVIDENCE].tolist())
        return self.index.evidence(list(chosen)[:EVIDENCE], units)

    def _fetch_commands(self, query: str) -> tuple[str, ...]:
        if not is_searchable(query):
            return ()
        query = self.query_by_unit.get(query, query)
        return (shlex.join(["curate", "fetch", "openverse", "--query", query, *self.options]),)

    def _mentions(self, places: Iterable[TokenRange]) -> tuple[Mention, ...]:
        """The stretches from one word to another of the same line, in the order of the file."""
        found = (
            Mention(a.line, a.start, b.end, self.prompt_lines[a.line][a.start : b.end])
            for a, b in places
        )
        return tuple(sorted(found, key=lambda m: (m.line, m.start)))


def union(sets: Iterable[Numbers]) -> Numbers:
    """The numbers that are in any of the sets, ascending."""
    filled = [one for one in sets if len(one)]
    return reduce(np.union1d, filled) if filled else np.empty(0, dtype=np.int32)


def difference(numbers: Numbers, others: Numbers) -> Numbers:
    """The numbers that are not among the others."""
    return np.setdiff1d(numbers, others, assume_unique=True) if len(numbers) else numbers


@cache
def _most_unnamed(images: int, among: int) -> int:
    """How many images may show a thing whose name stands at `images` of them, of `among` in all.

    The largest number k for which at most `images` captions that name it are likely with at least
    5 %, when each of k images is named with probability MENTION_RATE. For none named this is
    ln 0.05 / ln(1 - r). It is found by one more image at a time: loading SciPy for its inverse of
    the binomial distribution would take a sixth of a run over data that is indexed.
    """
    known, likely = images, 1.0  # of so many images at most `images` are named, so likely
    exactly = images * log(MENTION_RATE)  # logarithm of the chance that just so many are
    while known < among:
        likely -= MENTION_RATE * exp(exactly)
        if likely < 0.05:
            break
        known += 1
        exactly += log(known / (known - images)) + log1p(-MENTION_RATE)
    return known
