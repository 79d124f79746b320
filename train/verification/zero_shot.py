"""A model of images and texts asked which of many captions fits an image best; nothing is learnt.

Letters in names: N images, L labels, W words, D width of a vector.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from curate.text import tokens
from curate.text.lemmas import is_function_word
from curate.vision import clip
from curate.vision.encoders import encode_pixels
from curate.vision.search import NEUTRAL_TEXTS
from train.verification.pixels import split_chunks
from train.verification.question import Question
from train.verification.scorers import Reference, contains, holds

CLASS_IMAGES = 2  # true images a label, on average, from which labels are classes to choose from
RIVALS = 60  # frequent words that a word is held against
TEMPLATES = ("a photo of a {}", "a picture of something {}", "{}")
USAGE = (
    "--scorer open_clip:ARCHITECTURE:TAG_OR_FILE, such as "
    "open_clip:ViT-B-32:laion2b_s34b_b79k; or else --scorer contrastive"
)


class ZeroShot:
    """A contrastive image-text model of open_clip (CLIP, SigLIP); needs the extra `fubuki[clip]`.

    A whole prompt is shown if of all the reference's labels, and the prompt, it fits best. So is
    a word, if the best label holds it; but where every image has a caption of its own, the best
    one says little of a single word. There a word is held against the most frequent of the words
    that no caption says together with it (those may be true as well), and against texts that
    say nothing in particular.

    Source: Radford et al., arXiv:2103.00020, section 3.1.
    """

    def __init__(self, reference: Reference, spec: str, *, device: str = "cpu") -> None:
        """Load the model.

        Args:
            reference: the true images, whose labels are chosen from.
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
        self._rivals: dict[str, list[str]] = {}
        self._held: dict[str, np.ndarray] = {}

    def cannot(self, question: Question) -> str | None:
        """A word needs something that it can be told from."""
        if question.whole:
            alone = self._reference.find(question.text) is not None
            return "there is no other caption" if alone and len(self._labels) == 1 else None
        held = self._holds(question.text)
        if self._classes and not held.any():
            return "no true caption says it, and it is told by captions"
        return "all true captions say it, so there is none to tell it from" if held.all() else None

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
        fit_NL = images_ND @ self._labels_LD.T
        return [
            np.array([self._shows(image, fit, question) for question in asked], bool)
            for image, fit, asked in zip(images_ND, fit_NL, asked_N, strict=True)
        ]

    def _shows(self, image_D: np.ndarray, fit_L: np.ndarray, question: Question) -> bool:
        if question.whole:
            label = self._reference.find(question.text)
            if label is not None:
                return bool(fit_L.argmax() == label)
            return bool(self._fits(image_D, [(question.text,)])[0] > fit_L.max())
        if self._classes:
            return bool(self._holds(question.text)[fit_L.argmax()])
        texts = [_ways(question.text), *map(_ways, self._rivals_of(question.text))]
        fit_W = self._fits(image_D, [*texts, *((text,) for text in NEUTRAL_TEXTS)])
        return bool(fit_W.argmax() == 0)

    def _fits(self, image_D: np.ndarray, said: Sequence[Sequence[str]]) -> np.ndarray:
        fits: np.ndarray = self._model.encode_texts(said) @ image_D
        return fits

    @property
    def _labels(self) -> list[tuple[str, ...]]:
        return self._reference.labels

    @cached_property
    def _labels_LD(self) -> np.ndarray:
        return self._model.encode_texts(self._labels)

    def _holds(self, word: str) -> np.ndarray:
        """Bool (L,): the labels that hold the word."""
        if word not in self._held:
            self._held[word] = np.array([holds(label, word) for label in self._labels], bool)
        return self._held[word]

    @cached_property
    def _frequent(self) -> list[str]:
        counts = Counter(w for label in self._labels for w in set(tokens.words(label[0])))
        content = (w for w in counts if w.isalpha() and not is_function_word(w))
        return sorted(content, key=lambda w: (-counts[w], w))[:RIVALS]

    def _rivals_of(self, word: str) -> list[str]:
        if word not in self._rivals:
            said = [
                label for label, held in zip(self._labels, self._holds(word), strict=True) if held
            ]
            self._rivals[word] = [
                rival
                for rival in self._frequent
                if not contains(rival, word) and not any(holds(label, rival) for label in said)
            ]
        return self._rivals[word]


def _ways(word: str) -> list[str]:
    return [template.format(word) for template in TEMPLATES]
