"""Which words a trained model was shown, as its own file states.

`train finetune` writes, in the header of `model.safetensors`, how many images of its shards have
a caption with each word. Nothing but the header is read here: no weights, no torch.

What the numbers mean. A word is counted by the images, told apart by their keys, that have it in a
caption, as `text.tokens` cuts words; a hyphenated one is counted whole, and its parts are found in
it here. Images held out of training are among them. Trainings add up: each folder of shards is
counted once, however often it was trained on. Where folders share images, and for inflections, for
one image may have a caption with "dog" and one with "dogs", the count given here is the least
number of images that the file's numbers allow.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from curate.formats.model import ModelRecord
from curate.index.index import Evidence
from curate.index.segment import Numbers
from curate.text import tokens
from curate.text.lemmas import is_shown_by, lemmas_of
from curate.text.spelling import Vocabulary


class CheckpointIndex:
    """Answers for words like an index of captions, as far as a checkpoint can.

    It knows no captions: nothing can be said of phrases, pairs and bindings, and there is no
    evidence to show. `why_unknown` says so before anybody guesses.
    """

    captions = 0  # a checkpoint keeps none
    left_out: Mapping[str, int] = {}
    named: Mapping[str, Sequence[str]] = {}
    remarks: Sequence[str] = ()

    def __init__(self, checkpoint: ModelRecord) -> None:
        """Answer for this checkpoint."""
        self.checkpoint = checkpoint
        self.images = checkpoint.facts.images
        shared = checkpoint.facts.shared_images
        unread = f"{checkpoint.path}: no word was counted in its training captions"
        self.incomplete = () if checkpoint.facts.words else (unread,)
        self.notes = [  # what a reader must know of the numbers
            "Phrases, pairs and bindings are not judged: a checkpoint counts single words only",
            "Images held out of training are counted, too",
        ]
        if shared > 0:
            sets = f"{len(checkpoint.facts.sets)} sets of shards"
            self.notes.append(
                f"It was trained on {sets}, which share {shared:,} images; of images with a word, "
                "the least number that can be is given"
            )

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Every word that was counted, with its images."""
        return Vocabulary({form: self._min_images([form]) for form in self._words_by_form})

    def why_unknown(self, unit: str) -> str | None:
        """Why nothing can be said of a unit; None where `count` can be believed."""
        return "a checkpoint counts single words only" if " " in unit else None

    def images_with(self, unit: str) -> Numbers:
        """As many numbers as there are images at least that show the unit in any inflection.

        They are ranks, not images: joined, they are as many as the greatest of their counts, and
        that is the least number of images which the counts allow.
        """
        return np.arange(sum(self.count(unit)), dtype=np.int32)

    def images_with_form(self, unit: str) -> Numbers:
        """Likewise for the images that show it as written."""
        return np.arange(self.count(unit)[0], dtype=np.int32)

    def cooccurrence(self, words: str, *, cohesion: float) -> int:
        """For one word its count, for more nothing: what stands side by side is not known."""
        return len(self.images_with(words))

    def bound_images(self, adjective: str, noun: str) -> Numbers:
        """Nothing: which adjective stands at which noun is not known."""
        return np.empty(0, dtype=np.int32)

    def prefetch(self, sets: Iterable[Numbers]) -> None:
        """Nothing to make ready."""

    def evidence(
        self, numbers: Sequence[int], units: Sequence[str] = (), limit: int = 6
    ) -> tuple[Evidence, ...]:
        """Nothing: a checkpoint keeps no captions."""
        return ()

    def count(self, unit: str) -> tuple[int, int]:
        """Images that show the unit as written, and further ones that show it inflected.

        Both are lower bounds. 0 where `why_unknown` has a reason: ask that first.
        """
        if self.why_unknown(unit):
            return 0, 0
        exact = self._min_images([unit])
        alike = {f for lemma in lemmas_of(unit) for f in self._by_lemma.get(lemma, ())}
        shown = [form for form in alike if is_shown_by(unit, form)]
        return exact, max(exact, self._min_images(shown)) - exact

    def _min_images(self, forms: Any) -> int:
        """The fewest images that show any of the forms: as many as the commonest one's."""
        said = {word for form in forms for word in self._words_with(form)}
        return max((self.checkpoint.facts.words[word] for word in said), default=0)

    def _words_with(self, form: str) -> list[str]:
        """Words of captions that show a form: of East Asian characters, all that hold the run."""
        first, *others = tokens.terms(form) or [form]
        if others and "-" not in form:
            return [word for word in self._words_by_form.get(first, ()) if form in word]
        return self._words_by_form.get(form, [])

    @cached_property
    def _words_by_form(self) -> dict[str, list[str]]:
        """Form -> words of captions that show it: itself, and those of which it is a term."""
        found: dict[str, list[str]] = defaultdict(list)
        for word in self.checkpoint.facts.words:
            for form in {*tokens.forms(word), *tokens.terms(word)}:
                found[form].append(word)
        return dict(found)

    @cached_property
    def _by_lemma(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for form in self._words_by_form:
            for lemma in lemmas_of(form):
                found[lemma].append(form)
        return dict(found)
