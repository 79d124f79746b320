"""A model of images and texts asked which of many captions fits an image best; nothing is learnt.

Letters in names: N images, L labels, C candidates (labels, then prompts), W words, D width of a
vector.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from curate.text import tokens
from curate.text.lemmas import is_function_word
from curate.vision import clip
from curate.vision.encoders import encode_pixels
from curate.vision.search import CONTRAST_WORDS, NEUTRAL_TEXTS, word_prompts
from train.verification.pixels import split_chunks
from train.verification.question import Question
from train.verification.scorers import Reference, contains

CLASS_IMAGES = 2  # true images a label, on average, from which labels are classes to choose from
USAGE = (
    "--scorer open_clip:ARCHITECTURE:TAG_OR_FILE, such as "
    "open_clip:ViT-B-32:laion2b_s34b_b79k; or else --scorer contrastive"
)


class ZeroShot:
    """A contrastive image-text model of open_clip (CLIP, SigLIP); needs the extra `fubuki[clip]`.

    A whole prompt is shown if it fits best of all true captions and all prompts. A word is shown
    if the best true caption holds it; but where every image has a caption of its own, the best
    one says little of a single word. There a word is held against the most frequent of the words
    that no caption says together with it (those may be true as well), and against texts that
    say nothing in particular.

    Source: Radford et al., arXiv:2103.00020, section 3.1.
    """

    def __init__(self, reference: Reference, spec: str, *, device: str = "cpu") -> None:
        """Load the model.

        Args:
            reference: the true images, whose captions are chosen from.
            spec: ARCHITECTURE:WEIGHTS, as open_clip names it, with a tag or a file.
            device: torch device.

        Raises:
            UsageError: open_clip is missing, or knows no such architecture.
            InputError: the weights cannot be had or read.
        """
        self.name = f"open_clip:{spec}"
        self._model = clip.OpenClip(spec, usage=USAGE, device=device, download=True)
        self.digest = self._model.digest
        self.unseen_N = np.ones(len(reference.keys), bool)
        self._reference = reference
        self._classes = len(reference.keys) >= CLASS_IMAGES * len(reference.labels)

    def cannot(self, question: Question) -> str | None:
        """What is asked for needs something that it can be told from."""
        reference = self._reference
        if question.whole:
            if reference.find(question.text) is None:
                return "it is neither a true caption nor a prompt, or two that differ"
            return None if len(reference.candidates) > 1 else "there is nothing to tell it from"
        held_L = self._labels_with(question.text)
        if self._classes and not held_L.any():
            return "no true caption says it, and it is told by captions"
        return (
            "all true captions say it, so there is none to tell it from" if held_L.all() else None
        )

    def shows(
        self,
        images_NHWC: np.ndarray,
        asked_N: Sequence[Sequence[Question]],
        rows_N: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        """See `train.verification.scorers.Scorer`; it has learnt from no image of the reference."""
        if not len(images_NHWC):
            return []
        parts = split_chunks(images_NHWC)
        images_ND = np.concatenate([encode_pixels(self._model, np.array(p)) for p in parts])
        fit_NC = images_ND @ self._model.encode_texts(self._reference.candidates).T
        return [
            np.array([self._shows(image, fit, question) for question in asked], bool)
            for image, fit, asked in zip(images_ND, fit_NC, asked_N, strict=True)
        ]

    def _shows(self, image_D: np.ndarray, fit_C: np.ndarray, question: Question) -> bool:
        if question.whole:
            return bool(fit_C.argmax() == self._reference.find(question.text))
        held_L = self._labels_with(question.text)
        if self._classes:
            return bool(held_L[fit_C[: len(held_L)].argmax()])
        texts = [word_prompts(word) for word in (question.text, *self.rivals(question.text))]
        fit_W = self._model.encode_texts([*texts, *([text] for text in NEUTRAL_TEXTS)]) @ image_D
        return bool(fit_W.argmax() == 0)

    def rivals(self, word: str) -> list[str]:
        """Frequent words that no true caption says together with this one."""
        if word not in self._rivals:
            held_L = self._labels_with(word)
            self._rivals[word] = [
                rival
                for rival in self._frequent
                if not contains(rival, word) and not (self._labels_with(rival) & held_L).any()
            ]
        return self._rivals[word]

    def _labels_with(self, word: str) -> np.ndarray:
        """Bool (L,): the true captions that hold the word."""
        held_L: np.ndarray = self._reference.shows_word(word)[: len(self._reference.labels)]
        return held_L

    @cached_property
    def _rivals(self) -> dict[str, list[str]]:
        return {}

    @cached_property
    def _frequent(self) -> list[str]:
        labels = self._reference.labels
        counts = Counter(w for label in labels for w in set(tokens.words(label[0])))
        content = (w for w in counts if w.isalpha() and not is_function_word(w))
        return sorted(content, key=lambda w: (-counts[w], w))[:CONTRAST_WORDS]
