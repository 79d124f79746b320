"""Who says what an image shows: scorers answer questions about images.

A scorer may err. How often it does is measured on real images that it has not seen
(`train.verification.calibrate`), and what it says of drawn ones is corrected for that.
Letters in names: N images, H and W pixels, C candidate captions.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from curate.text import lemmas, tokens
from train.data import dataset
from train.data.stored import StoredImages
from train.size import Size
from train.verification.pixels import (
    distances,
    fit_within,
    flatten,
    group_copies,
    resize,
    split_chunks,
    to_shape,
)
from train.verification.question import Question

Label = tuple[str, ...]  # ways of saying the same thing, the usual one first

NEAREST_SIDE = 64  # pixels; images are compared at this size or their own, whichever is smaller
SHARP = 32  # pixels of the longer side that a base stage draws without blur


class Scorer(Protocol):
    """Answers questions about images. `choose_scorers` also takes one of your own.

    One that chooses among the reference's candidates may have `best(images_NHWC)`, int64 (N): what
    it takes each image for, from which its answers follow.
    """

    @property
    def name(self) -> str:
        """As typed after `--scorer`."""
        ...

    @property
    def unseen_N(self) -> np.ndarray:
        """Bool, one a true image: it can be judged without having been learnt from."""
        ...

    def cannot(self, question: Question) -> str | None:
        """Why it cannot answer, in words; None if it can."""
        ...

    def shows(
        self,
        images_NHWC: np.ndarray,
        asked_N: Sequence[Sequence[Question]],
        rows_N: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        """Of each image, a bool for each question that is asked of it.

        Args:
            images_NHWC: uint8.
            asked_N: questions of each image, none that it `cannot` answer.
            rows_N: the images are these of the reference, unseen ones: nothing that was learnt
                from them, or from copies of them, may take part in the answer.
        """
        ...


def contains(text: str, word: str) -> bool:
    """Whether the text shows the word, or words in a row, as `curate vocab-gaps` counts them.

    Inflections count, and so do the parts of a hyphenated word: `two medium-dark mages` holds
    `mage` and `dark`.
    """
    return lemmas.shows(text, lemmas.unit_of(" ".join(tokens.words(word))))


def holds(label: Iterable[str], word: str) -> bool:
    """Whether a way of saying it shows the word."""
    return any(contains(text, word) for text in label)


@dataclass(frozen=True)
class Reference:
    """Every true image with what it shows: what generated images are compared with.

    Images that share their first caption show the same; their other captions are other ways of
    saying it.
    """

    pixels_NHWC: np.ndarray  # uint8, of one size, perhaps mapped from a file
    keys: list[str]
    labels: list[Label]  # distinct; the first caption first
    label_N: np.ndarray  # int64, into labels
    group_N: np.ndarray  # int64; copies of each other share theirs
    left_out: dict[str, str] = field(default_factory=dict)  # key -> why it is not among them
    prompts: tuple[str, ...] = ()  # asked for, and the caption of no true image

    @staticmethod
    def load(shards: Path | StoredImages, size: Size, *, cache: Path | None = None) -> "Reference":
        """The images of a set at this size.

        Decoded images are kept beside the shards, or in `cache` where that is not allowed.

        Raises:
            InputError: no shards, or no usable image in them.
        """
        found = dataset.load_images(shards, size, cache=cache)
        made = Reference.of(found.pixels_NHWC, found.keys, found.captions)
        return replace(made, left_out=found.skipped)

    @staticmethod
    def of(
        pixels_NHWC: np.ndarray, keys: Sequence[str], captions: Sequence[Sequence[str]]
    ) -> "Reference":
        """Group images by their first caption, and copies with each other."""
        said: dict[str, dict[str, None]] = {}
        for texts in captions:
            said.setdefault(texts[0], {}).update(dict.fromkeys(texts))
        rows = {first: row for row, first in enumerate(said)}
        label_N = np.array([rows[texts[0]] for texts in captions], dtype=np.int64)
        labels, group_N = [tuple(s) for s in said.values()], group_copies(pixels_NHWC, label_N)
        return Reference(pixels_NHWC, list(keys), labels, label_N, group_N)

    def with_prompts(self, prompts: Iterable[str]) -> "Reference":
        """The same images, and prompts that may be none of their captions."""
        other = [prompt for prompt in dict.fromkeys(prompts) if self.find(prompt) is None]
        return replace(self, prompts=tuple(other))

    @cached_property
    def candidates(self) -> list[Label]:
        """What an image can be taken for: the labels, then the prompts that are none of them."""
        return [*self.labels, *((prompt,) for prompt in self.prompts)]

    def find(self, prompt: str) -> int | None:
        """The candidate that a prompt names; None if there is none, or more than one."""
        return self._by_text.get(normalize_text(prompt))

    def own_word(self, text: str) -> str | None:
        """The word of a caption that the fewest labels hold, the longest of several; None if no
        label holds any.

        For one of many people who differ in role, sex and tone, this is the role.
        """
        known = [word for word in set(tokens.words(text)) if self._counts[word]]
        content = [word for word in known if not lemmas.is_function_word(word)] or known
        return min(content, key=lambda w: (self._counts[w], -len(w), w), default=None)

    def shows_word(self, word: str) -> np.ndarray:
        """Bool, one a candidate: whether it holds the word."""
        if word not in self._shown:
            shown = self._shown[word] = np.zeros(len(self.candidates), bool)
            for first in lemmas.unit_terms(lemmas.unit_of(" ".join(tokens.words(word))))[:1]:
                keys = {first.term, first.of_body, *lemmas.lemmas_of(first.term)}
                for row in {row for key in keys for row in self._by_lemma.get(key, ())}:
                    shown[row] = holds(self.candidates[row], word)
        return self._shown[word]

    def image_shows_word(self, word: str) -> np.ndarray:
        """Bool, one an image."""
        shown: np.ndarray = self.shows_word(word)[self.label_N]
        return shown

    def answers(
        self, best_N: np.ndarray, asked_N: Sequence[Sequence[Question]]
    ) -> list[np.ndarray]:
        """What follows of images being taken for these candidates."""
        return [
            np.array([self._follows(int(best), one) for one in asked], bool)
            for best, asked in zip(best_N, asked_N, strict=True)
        ]

    def _follows(self, best: int, asked: Question) -> bool:
        return (
            best == self.find(asked.text)
            if asked.whole
            else bool(self.shows_word(asked.text)[best])
        )

    @cached_property
    def _shown(self) -> dict[str, np.ndarray]:
        return {}

    @cached_property
    def _by_lemma(self) -> dict[str, set[int]]:
        """Candidates by the terms they hold, and by the lemmas of these."""
        found: dict[str, set[int]] = {}
        for row, said in enumerate(self.candidates):
            clauses = [clause for text in said for clause in tokens.terms_by_clause(text)]
            for term in {term for clause in clauses for term in clause}:
                for key in {term, *lemmas.lemmas_of(term)}:
                    found.setdefault(key, set()).add(row)
        return found

    @cached_property
    def _by_text(self) -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        for row, said in enumerate(self.candidates):
            for text in said:
                key = normalize_text(text)
                found[key] = row if found.get(key, row) == row else None
        return found

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter(w for said in self.labels for w in set(tokens.words(said[0])))


class Nearest:
    """The caption of the nearest true image, by the distance of their pixels.

    A true image is compared with all others that are no copies of it. A caption of which there is
    no image cannot win.
    """

    name = "nearest"
    closed_world = True  # captions of one image each may be judged among exactly those images

    def __init__(self, reference: Reference) -> None:
        """Compare at `NEAREST_SIDE`, or at the images' own size if smaller."""
        self._reference = reference
        self._true_ND = flatten(reference.pixels_NHWC, NEAREST_SIDE)
        self.unseen_N = np.ones(len(reference.keys), bool)

    def cannot(self, question: Question) -> str | None:
        """Without a true image of it, it could only ever be wrong."""
        labels = self._reference.labels
        if question.whole:
            found = self._reference.find(question.text)
            good = found is not None and found < len(labels)
            return None if good else "no true image has this caption, or not alone"
        shown = self._reference.shows_word(question.text)[: len(labels)].any()
        return None if shown else f"no true image shows {question.text!r}"

    def shows(
        self,
        images_NHWC: np.ndarray,
        asked_N: Sequence[Sequence[Question]],
        rows_N: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        """As its nearest image's caption says."""
        return self._reference.answers(self.best(images_NHWC, rows_N), asked_N)

    def best(self, images_NHWC: np.ndarray, rows_N: np.ndarray | None = None) -> np.ndarray:
        """Int64 (N): the candidate that each image is taken for; `rows_N` as for `shows`."""
        reference, parts = self._reference, []
        for part in split_chunks(np.arange(len(images_NHWC))):
            apart = distances(flatten(images_NHWC[part], NEAREST_SIDE), self._true_ND)
            if rows_N is not None:
                same = reference.group_N[rows_N[part]][:, None] == reference.group_N
                apart = apart.masked_fill(torch.from_numpy(same), torch.inf)
            parts.append(reference.label_N[apart.argmin(1).numpy()])
        return np.concatenate([np.zeros(0, np.int64), *parts])


def degrade(images_NHWC: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Blurred, then noise of 10 grey levels: about what a small cascade makes.

    Blurred by half the size and back, but not from below `SHARP` pixels: so much a base stage draws
    itself, and of smaller images half would leave too little to tell them apart.
    """
    height, width = images_NHWC.shape[1:3]
    halved = resize(images_NHWC, fit_within((height, width), max(SHARP, max(height, width) // 2)))
    enlarged = torch.nn.functional.interpolate(halved, size=(height, width), mode="bilinear")
    noise = random.normal(0, 10, images_NHWC.shape)
    blurred = (enlarged.permute(0, 2, 3, 1).numpy() + 0.5) * 255
    return np.clip(blurred + noise, 0, 255).astype(np.uint8)


def normalize_text(text: str) -> str:
    """A caption without differences in case and spacing."""
    return " ".join(text.casefold().split())


def hash_order(text: str, seed: int = 0) -> bytes:
    """What a choice by chance sorts by: the same whatever else is there."""
    return hashlib.sha256(f"{seed}:{text}".encode()).digest()


def join_small(parts: Sequence[Reference], side: int = SHARP) -> Reference:
    """The images of several references as one, at this many pixels on the longer side at most."""
    small, keys, captions = [], [], []
    for number, part in enumerate(parts):
        shape = fit_within(part.pixels_NHWC.shape[1:3], side)
        small.append(to_shape(part.pixels_NHWC, shape))
        keys += [f"{number}/{key}" for key in part.keys]
        captions += [part.labels[label] for label in part.label_N]
    return Reference.of(np.concatenate(small), keys, captions)
