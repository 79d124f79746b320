"""Who says what an image shows: scorers that pick the best of many captions.

A scorer is believed only as far as it is right on real images, so each carries its `Accuracy`.
Letters in names: N images, H and W pixels, C candidate captions, D width.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image

from curate.text import lemmas, tokens
from curate.vision import clip
from train.data import dataset
from train.size import Size

Label = tuple[str, ...]  # ways of saying the same thing, the usual one first

NEAREST_SIDE = 64  # pixels; images are compared at this size or their own, whichever is smaller
MAX_SIDE = 256  # pixels of the longer side that true images are read at; no scorer needs more
CHUNK = 128  # images scored at a time
SHARP = 32  # pixels of the longer side that a base stage draws without blur
CHECK_IMAGES = 400  # real images that a scorer without a held-out set is checked on
SCORERS = ("nearest", "contrastive", "open_clip")
OPEN_CLIP = "ViT-B-32:laion2b_s34b_b79k"
USAGE = (
    f"--scorer open_clip:ARCHITECTURE:TAG_OR_FILE, such as open_clip:{OPEN_CLIP}; or else "
    "--scorer contrastive"
)


@dataclass(frozen=True)
class Accuracy:
    """How often a scorer is right on real images, among all captions of the reference."""

    entirely: float  # the best caption is the image's own
    own_word: float  # the best caption holds the rarest word of the image's own
    n: int  # images
    on: str  # which images


class Scorer(Protocol):
    """Compares images with captions. `choose_scorers` also takes one of your own."""

    @property
    def name(self) -> str:
        """As typed after `--scorer`."""
        ...

    @property
    def accuracy(self) -> Accuracy:
        """How often it is right on real images."""
        ...

    def scores(self, images_NHWC: np.ndarray, candidates: Sequence[Label]) -> np.ndarray:
        """Float (N, C), higher where image and caption fit better; no NaN."""
        ...

    def cannot(self, prompt: str) -> str | None:
        """Why it cannot judge images of this prompt, in words; None if it can."""
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
    left_out: dict[str, str] = field(default_factory=dict)  # key -> why it is not among them

    @staticmethod
    def load(shards: Path, size: Size, *, cache: Path | None = None) -> "Reference":
        """The shards' images at this size, or in proportion at `MAX_SIDE` if that is smaller.

        Decoded images are kept beside the shards, or in `cache` where that is not allowed.

        Raises:
            InputError: no shards, or no usable image in them.
        """
        height, width = fit_within((size.height, size.width), MAX_SIDE)
        found = dataset.load_images(shards, Size(width, height), cache=cache)
        made = Reference.of(found.pixels_NHWC, found.keys, found.captions)
        return replace(made, left_out=found.skipped)

    @staticmethod
    def of(
        pixels_NHWC: np.ndarray, keys: Sequence[str], captions: Sequence[Sequence[str]]
    ) -> "Reference":
        """Group images by their first caption."""
        said: dict[str, dict[str, None]] = {}
        for texts in captions:
            said.setdefault(texts[0], {}).update(dict.fromkeys(texts))
        rows = {first: row for row, first in enumerate(said)}
        label_N = np.array([rows[texts[0]] for texts in captions], dtype=np.int64)
        return Reference(pixels_NHWC, list(keys), [tuple(s) for s in said.values()], label_N)

    def find(self, prompt: str) -> int | None:
        """The label that a prompt names; None if there is none, or more than one."""
        return self._by_text.get(normalize_text(prompt))

    def own_words(self, text: str) -> list[str]:
        """The words of a caption that the fewest labels hold; several if equally rare.

        For one of many people who differ in role, sex and tone, this is the role.
        """
        words = sorted(set(tokens.words(text)))
        fewest = min((self._counts[w] for w in words), default=0)
        return [w for w in words if self._counts[w] == fewest]

    def holds_own_words(self, label: Label, text: str) -> bool:
        """Whether a label shows every word of `own_words(text)`."""
        return all(holds(label, word) for word in self.own_words(text))

    @cached_property
    def _by_text(self) -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        for row, said in enumerate(self.labels):
            for text in said:
                key = normalize_text(text)
                found[key] = row if found.get(key, row) == row else None
        return found

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter(w for said in self.labels for w in set(tokens.words(said[0])))


def measure_accuracy(
    scorer: Scorer,
    reference: Reference,
    on: str,
    *,
    rows: np.ndarray | None = None,
    alter: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> Accuracy:
    """How often a scorer is right on the reference images `rows`, each altered before.

    None for `CHECK_IMAGES` of them, evenly spread.
    """
    rows = spread(len(reference.keys), CHECK_IMAGES) if rows is None else rows
    if len(rows) == 0:
        return Accuracy(0.0, 0.0, 0, on)
    images = (alter(reference.pixels_NHWC[part]) for part in split_chunks(rows))
    best = np.concatenate([scorer.scores(part, reference.labels).argmax(1) for part in images])
    truth, labels = reference.label_N[rows], reference.labels
    own = [
        reference.holds_own_words(labels[b], labels[t][0]) for b, t in zip(best, truth, strict=True)
    ]
    return Accuracy(float(np.mean(best == truth)), float(np.mean(own)), len(own), on)


class Nearest:
    """The caption of the nearest true image, by the distance of their pixels.

    Exact where the reference holds every image that could have been meant; a caption of which
    it has no image cannot win.
    """

    name = "nearest"

    def __init__(self, reference: Reference) -> None:
        """Compare at `NEAREST_SIDE`, or at the images' own size if smaller."""
        self._reference = reference
        self._rows = {said[0]: row for row, said in enumerate(reference.labels)}
        self._shape = fit_within(reference.pixels_NHWC.shape[1:3], NEAREST_SIDE)
        self.side = max(self._shape)
        self._true = self._flatten(reference.pixels_NHWC)
        self._squares = self._true.square().sum(1)
        on = f"real images, blurred and noised, at {self.side} px"
        blur = partial(degrade, random=np.random.default_rng(0))
        self.accuracy = measure_accuracy(self, reference, on, alter=blur)

    def cannot(self, prompt: str) -> str | None:
        """Without a true image of it, it could only ever be wrong."""
        if self._reference.find(prompt) is not None:
            return None
        return "no true image has this caption, or not alone"

    def scores(self, images_NHWC: np.ndarray, candidates: Sequence[Label]) -> np.ndarray:
        """Minus the root mean square distance, in [0, 1] grey levels, to the nearest image."""
        labels = torch.from_numpy(self._reference.label_N)
        parts = []
        for part in split_chunks(images_NHWC):
            images = self._flatten(part)
            squares = self._squares - 2 * images @ self._true.T + images.square().sum(1)[:, None]
            nearest = torch.full((len(images), len(self._reference.labels)), torch.inf)
            nearest.scatter_reduce_(1, labels.expand(len(images), -1), squares, "amin")
            parts.append(-(nearest.clamp(min=0) / self._true.shape[1]).sqrt())
        by_label = torch.nn.functional.pad(torch.cat(parts), (0, 1), value=-torch.inf)
        columns = [self._rows.get(said[0], -1) for said in candidates]
        found: np.ndarray = by_label[:, columns].numpy()
        return found

    def _flatten(self, images_NHWC: np.ndarray) -> torch.Tensor:
        chunks = split_chunks(images_NHWC)
        return torch.cat([resize(part, self._shape).flatten(1) for part in chunks])


class OpenClip:
    """A contrastive image-text model of open_clip; needs the extra `fubuki[clip]` and weights."""

    name = "open_clip"

    def __init__(self, reference: Reference, spec: str, *, device: str = "cpu") -> None:
        """Load the model.

        Args:
            reference: what its accuracy is measured on.
            spec: MODEL:WEIGHTS, an architecture as open_clip names it with a tag or a file.
            device: torch device.

        Raises:
            UsageError: open_clip is missing, or knows no such architecture.
            InputError: the weights cannot be had or read.
        """
        self._model = clip.OpenClip(spec, usage=USAGE, device=device, download=True)
        on = f"real images ({self._model.model}, {self._model.weights})"
        self.accuracy = measure_accuracy(self, reference, on)

    def cannot(self, prompt: str) -> None:
        """It reads any prompt."""

    def scores(self, images_NHWC: np.ndarray, candidates: Sequence[Label]) -> np.ndarray:
        """Cosine; several ways of saying the same are averaged."""
        images = [_pad_to_square(Image.fromarray(image)) for image in images_NHWC]
        texts = self._model.encode_texts(candidates)
        scores: np.ndarray = self._model.encode_images(images) @ texts.T
        return scores


def _pad_to_square(image: Image.Image) -> Image.Image:
    """An oblong image in the middle of a square of its first pixel's colour: nothing is cut."""
    side = max(image.size)
    square = image.resize((1, 1), box=(0, 0, 1, 1)).resize((side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def resize(images_NHWC: np.ndarray, shape: tuple[int, int]) -> torch.Tensor:
    """Float (N, 3, height, width) in [-1/2, 1/2]; `shape` is (height, width).

    Smaller by averaging, larger by bilinear filter.
    """
    images = torch.from_numpy(np.array(images_NHWC)).permute(0, 3, 1, 2).float() / 255 - 0.5
    if images.shape[-2:] == shape:
        return images
    return torch.nn.functional.interpolate(
        images, size=shape, mode="bilinear", antialias=True, align_corners=False
    )


def fit_within(shape: Sequence[int], side: int) -> tuple[int, int]:
    """(height, width) with the longer side at most `side`, in the same proportion."""
    height, width = shape
    factor = min(1.0, side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def spread(count: int, most: int) -> np.ndarray:
    """At most `most` of the numbers below `count`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def split_chunks(rows: np.ndarray) -> list[np.ndarray]:
    """At most `CHUNK` of the rows (or images) each, so that no more are in memory at a time."""
    return np.array_split(rows, range(CHUNK, len(rows), CHUNK))


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
