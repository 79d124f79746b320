"""Which words a trained model or a LoRA was shown, as its own file states.

`train finetune` writes, in the header of `model.safetensors`, how many images of its shards have
a caption with each word. Nothing but the header is read here: no weights, no torch.

What the numbers mean. A word is counted by the images, told apart by their keys, that have it in a
caption, as `text.tokens` cuts words; a hyphenated one is counted whole, and its parts are found in
it here. Images held out of training are among them. Trainings add up: each folder of shards is
counted once, however often it was trained on. Where folders share images, and for inflections, for
one image may have a caption with "dog" and one with "dogs", the count given here is the least
number of images that the file's numbers allow.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from curate.formats.lora import LoraRecord, TagFolder, read_lora
from curate.formats.model import METADATA, ModelRecord, find_model, read_model, read_texts
from curate.index.index import CaptionIndex, Evidence
from curate.index.segment import Numbers, Segment, clean_line, write_segment
from curate.prompts.reader import WANTED
from curate.prompts.units import Units
from curate.text import tokens
from curate.text.lemmas import is_shown_by, lemmas_of
from curate.text.spelling import Vocabulary

MOST_NAMED = 5  # folders that are named


def open_checkpoint(path: Path) -> "CheckpointIndex | LoraIndex":
    """What a run, a model's file or the file of a LoRA says of the captions it was shown.

    Raises:
        InputError: there is none, or it says nothing of captions that can be understood.
    """
    file = find_model(path)
    is_ours = METADATA in read_texts(file)
    return CheckpointIndex(read_model(file)) if is_ours else LoraIndex(read_lora(file))


class _WordCounts:
    """What an index of captions answers, where counts of words are known and no caption."""

    captions = 0  # none is kept
    left_out: Mapping[str, int] = {}
    named: Mapping[str, Sequence[str]] = {}
    remarks: Sequence[str] = ()

    def bound_images(self, adjective: str, noun: str) -> Numbers:
        """Nothing: which adjective stands at which noun is not known."""
        return np.empty(0, dtype=np.int32)

    def prefetch(self, sets: Iterable[Numbers]) -> None:
        """Nothing to make ready."""

    def evidence(
        self, numbers: Sequence[int], units: Sequence[str] = (), limit: int = 6
    ) -> tuple[Evidence, ...]:
        """Nothing: no image and no caption is kept."""
        return ()


class CheckpointIndex(_WordCounts):
    """Answers for words like an index of captions, as far as a checkpoint can.

    It knows no captions: nothing can be said of phrases, pairs and bindings, and there is no
    evidence to show. `why_unknown` says so before anybody guesses.
    """

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

    def judged(self, asked: Units) -> Units:
        """What of the units can be judged: single words."""
        return asked.only_words()

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


class LoraIndex(_WordCounts):
    """Answers for words and phrases like an index of captions, as far as the tags of a LoRA can.

    What stands between two commas of a caption is a tag, so a phrase stands in one or in none. How
    many images show what several tags say is not known: at most as many as have one of them each,
    and no more than their folder holds. Which tags stand at the same image is not known either.
    """

    def __init__(self, record: LoraRecord) -> None:
        """Answer for this file; its tags are indexed in memory, by folder."""
        self.record = record
        self.images = record.images
        self.incomplete = ()
        self._indexes = [(folder, _index_tags(folder)) for folder in record.folders]
        self.notes = list(self._explain())

    def _explain(self) -> Iterable[str]:
        record = self.record
        for folder in record.folders[:MOST_NAMED]:
            told = [f"{folder.images:,} images"] if folder.images is not None else []
            told += [f"repeats {folder.repeats}"] if folder.repeats else []
            told += ["regularization images"] if folder.regularizes else []
            tags = f"{len(folder.tags):,} tags"
            yield f"{folder.name}: {', '.join([*told, tags])}"
        if (more := len(record.folders) - MOST_NAMED) > 0:
            yield f"and {more:,} more folders"
        yield (
            "Counted by tag, as stands between commas in captions, each image once whatever its "
            "repeats; folders are added up. Of a word in several tags the number is the most that "
            "it can be. Pairs and adjectives apart from their nouns are not judged"
        )
        for what, rate in record.dropouts.items():
            yield f"In training, {what} were left out at a rate of {rate:g}"
        if not record.is_complete:
            yield (
                "Its file names tags of more than half of all captions alone, as SimpleTuner "
                "writes it: no other word is judged"
            )

    def judged(self, asked: Units) -> Units:
        """What of the units can be judged: words and phrases, if tags are left out named ones."""
        if self.record.is_complete:
            return asked.without_combinations()
        return asked.without_combinations(
            lambda unit, role: role != WANTED or len(self.images_with(unit)) > 0
        )

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Every word in the tags, with its images at most."""
        forms = {form for _, index in self._indexes for form in index.vocabulary.forms}
        return Vocabulary({form: len(self.images_with_form(form)) for form in forms})

    def images_with(self, unit: str) -> Numbers:
        """As many numbers as there are images at most that show the unit in any inflection.

        They are ranks, not images: joined, they are as many as the greatest of their counts.
        """
        return self._ranks([index.images_with(unit) for _, index in self._indexes])

    def images_with_form(self, unit: str) -> Numbers:
        """Likewise for the images that show it as written."""
        return self._ranks([index.images_with_form(unit) for _, index in self._indexes])

    def cooccurrence(self, words: str, *, cohesion: float) -> int:
        """How many images at most show words side by side; `cohesion` is not known."""
        return len(self.images_with(words))

    def _ranks(self, found: Sequence[Numbers]) -> Numbers:
        total = 0
        for (folder, _), numbers in zip(self._indexes, found, strict=True):
            counts = list(folder.tags.values())
            said = [counts[number] for number in numbers.tolist()]
            known = max(said, default=0) if folder.images is None else folder.images
            total += min(sum(said), known)
        return np.arange(total, dtype=np.int32)


def _index_tags(folder: TagFolder) -> CaptionIndex:
    """An index with an "image" for each tag, numbered in the order of the tags."""
    sql = sqlite3.connect(":memory:")
    tags = {f"{number:09}": clean_line(tag) for number, tag in enumerate(folder.tags)}
    write_segment(sql, tags, {})
    return CaptionIndex([Segment(sql)])
