"""Does an image show a word that its captions do not say? An image-text model looks.

Captions are silent about much that is in an image. So for words that captions lack, images are
compared with "a photo of a WORD" and with other words; how far the model is to be trusted is
measured on the words that captions do say.

Letters in names: N images, W words, C contrast words, D width of an embedding.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.corpora.pixels import CaptionedImage
from curate.text import tokens
from curate.text.lemmas import is_function_word, lemmas_of, unit_of
from curate.vision.clip import ClipEmbedder

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # the least: likelier than all else together
MAX_CHANCE = 0.01  # share of images that may be found although no caption says the word
CHANCE_QUANTILE = 0.9  # of the words are found by chance in no larger share than is reckoned with
CONTRAST_WORDS = 60  # words that a word is held against
MIN_NAMED = 8  # images that must show a word, and lack it, to measure the model on it
MIN_MEASURED = 3  # words at least that the model is measured on
MARGIN = 0.1  # by which it must find more where captions say the word than where they do not
MAX_BEST = 6  # images named of each word
ROWS_A_STEP = 4096  # images compared at a time
USAGE = "--images ARCHITECTURE:FILE, such as --images ViT-B-32:weights/vit_b_32.safetensors"
NEUTRAL_TEXTS = ("a photo", "a picture", "a pattern", "a blurred photo")  # of nothing in particular


@dataclass(frozen=True)
class ModelTrust:
    """How right the model is on this data, measured on words that captions do say."""

    words: int  # it was measured on
    threshold: float = THRESHOLDS[-1]  # probability from which an image counts as showing a word
    recall: float = 0.0  # share of images found among those whose captions say the word; mean
    chance: float = 1.0  # share found among the others, in all but a tenth of the words
    usable: bool = False  # whether it finds clearly more of the first than of the second

    def sentence(self) -> str:
        """What a reader should know before believing a count."""
        if self.words < MIN_MEASURED:
            return (
                f"image search is not used: captions say only {self.words} words often enough to "
                f"measure the model on ({MIN_MEASURED} are needed, in {MIN_NAMED} images each)"
            )
        found = (
            f"on {self.words} words that captions say it finds {self.recall:.0%} of their images,"
            f" and up to {self.chance:.1%} of the others"
        )
        if self.usable:
            return f"image search: {found} (probability {self.threshold} or more)"
        return f"image search is not used, for on this data it is no better than chance: {found}"


@dataclass(frozen=True)
class WordImages:
    """The images that show a word which their captions do not say."""

    images: int  # found
    likely: int  # of these, more than chance explains (two standard deviations above it)
    best: tuple[str, ...]  # keys of the likeliest, best first


@dataclass(frozen=True)
class SearchFindings:
    """What a search found, and how far to believe it."""

    trust: ModelTrust
    found: dict[str, WordImages]  # by unit; empty where the model is not to be used
    images: int  # distinct ones that were looked at
    unread: int  # that could not be

    def sentences(self) -> list[str]:
        """What a reader should know of the search."""
        unread = f"image search: {self.unread:,} images could not be read"
        return [self.trust.sentence(), *([unread] if self.unread else [])]


def search_images(
    embedder: ClipEmbedder, words: Sequence[str], images: Sequence[CaptionedImage]
) -> SearchFindings:
    """For each word, the images that show it although their captions do not say it.

    An image shows a word if "a photo of a WORD" is likelier, by the threshold, than the words
    most frequent in all captions and some texts that say nothing. Words that the image's own
    captions say are not held against it: they may be true as well. The threshold is the least
    of THRESHOLDS that finds at most MAX_CHANCE of the images whose captions do not say a
    word; since some of those do show it, chance is overstated rather than understated.

    Args:
        embedder: the model.
        words: units, any part of speech.
        images: distinct ones.
    """
    asked = list(dict.fromkeys(words))
    images = sorted(images, key=lambda image: image.key)
    contrast = frequent_words(images, CONTRAST_WORDS)
    if not contrast:
        return SearchFindings(ModelTrust(0), {}, len(images), 0)
    images_ND = embedder.encode_images(images)
    read_N = np.abs(images_ND).sum(1) > 0
    seen = [image for image, good in zip(images, read_N, strict=True) if good]
    units = [*contrast, *(word for word in asked if word not in set(contrast))]
    tally = _Tally(units, len(contrast), [image.key for image in seen])
    texts_WD = embedder.encode_texts([word_prompts(unit) for unit in units])
    nothing_D = embedder.encode_texts([[text] for text in NEUTRAL_TEXTS])
    images_ND = images_ND[read_N]
    for start in range(0, len(seen), ROWS_A_STEP):
        some = slice(start, start + ROWS_A_STEP)
        logits = embedder.scale * images_ND[some] @ np.vstack([texts_WD, nothing_D]).T
        tally.add(start, logits.astype(np.float64), _says_word(seen[some], units))
    trust = tally.trust()
    found = {word: tally.found(word, trust) for word in asked} if trust.usable else {}
    return SearchFindings(trust, found, len(seen), len(images) - len(seen))


def frequent_words(images: Sequence[CaptionedImage], most: int) -> list[str]:
    """The content words that the captions of most images say, most frequent first.

    Adjectives are among them: that a thing is red is told by holding it against other colours.
    """
    counts: Counter[str] = Counter()
    for image in images:
        content = {f for f in _image_forms(image) if not is_function_word(f) and f.isalpha()}
        counts.update({unit_of(form) for form in content})
    return sorted(counts, key=lambda unit: (-counts[unit], unit))[:most]


def _image_forms(image: CaptionedImage) -> set[str]:
    surfaces = {surface for caption in image.captions for surface in tokens.surfaces(caption)}
    return {form for surface in surfaces for form in tokens.forms(surface)}


def word_prompts(unit: str) -> list[str]:
    """Ways of saying that an image shows it.

    Source: Radford et al., arXiv:2103.00020, section 3.1.4 (prompts, and ensembles of them).
    """
    article = "an" if unit[:1] in set("aeiou") else "a"
    return [f"a photo of {article} {unit}", f"a picture of something {unit}", unit]


def _says_word(images: Sequence[CaptionedImage], units: Sequence[str]) -> NDArray[np.bool_]:
    """Bool (N, W): whether a caption of the image says the unit in any inflection."""
    columns: dict[str, set[int]] = defaultdict(set)
    for column, unit in enumerate(units):
        for lemma in lemmas_of(unit) | {unit}:
            columns[lemma].add(column)
    result = np.zeros((len(images), len(units)), dtype=bool)
    for row, image in enumerate(images):
        forms = _image_forms(image)
        lemmas = {lemma for form in forms for lemma in lemmas_of(form)} | forms
        shown = {column for lemma in lemmas for column in columns.get(lemma, ())}
        result[row, list(shown)] = True
    return result


class _Tally:
    """Counts, a word and a threshold, of images found; filled some images at a time."""

    def __init__(self, units: Sequence[str], contrast: int, keys: Sequence[str]) -> None:
        self._units, self._contrast, self._keys = list(units), contrast, keys
        shape = (len(units), len(THRESHOLDS))
        self._right_WT = np.zeros(shape, dtype=np.int64)  # found, and captions say it
        self._other_WT = np.zeros(shape, dtype=np.int64)  # found, and captions do not
        self._said_W = np.zeros(len(units), dtype=np.int64)  # images whose captions say it
        self._best: list[list[tuple[float, str]]] = [[] for _ in units]
        same = [lemmas_of(unit) | {unit} for unit in units]
        both = [bool(a & b) for a in same[:contrast] for b in same]
        self._same_CW = np.array(both, dtype=float).reshape(contrast, len(units))

    def add(self, start: int, logits: NDArray[np.float64], said_NW: NDArray[np.bool_]) -> None:
        """Count some images.

        Args:
            start: number of the first.
            logits: (N, W + texts that say nothing).
            said_NW: whether captions say the unit.
        """
        likely = np.exp(logits - logits.max(1, keepdims=True))
        words_NW, nothing_N = likely[:, : len(self._units)], likely[:, len(self._units) :].sum(1)
        against_NC = words_NW[:, : self._contrast] * ~said_NW[:, : self._contrast]
        rest_NW = (against_NC.sum(1) + nothing_N)[:, None] - against_NC @ self._same_CW
        p_NW = words_NW / (words_NW + np.maximum(rest_NW, 0))
        for number, threshold in enumerate(THRESHOLDS):
            found_NW = p_NW >= threshold
            self._right_WT[:, number] += (found_NW & said_NW).sum(0)
            self._other_WT[:, number] += (found_NW & ~said_NW).sum(0)
        self._said_W += said_NW.sum(0)
        p_NW[said_NW] = -1
        for column in range(len(self._units)):
            rows = np.flatnonzero(p_NW[:, column] >= THRESHOLDS[0])
            better = [(-float(p_NW[row, column]), self._keys[start + int(row)]) for row in rows]
            self._best[column] = sorted([*self._best[column], *better])[:MAX_BEST]

    def trust(self) -> ModelTrust:
        """Choose the threshold, and measure the model on the contrast words at it."""
        total = len(self._keys)
        said_W = self._said_W[: self._contrast]
        rows = np.flatnonzero((said_W >= MIN_NAMED) & (total - said_W >= MIN_NAMED))
        if len(rows) < MIN_MEASURED:
            return ModelTrust(len(rows))
        recall_WT = self._right_WT[rows] / said_W[rows, None]
        chance_WT = self._other_WT[rows] / (total - said_W[rows, None])
        chance_T = np.quantile(chance_WT, CHANCE_QUANTILE, axis=0, method="higher")
        number = next((n for n, c in enumerate(chance_T) if c <= MAX_CHANCE), len(THRESHOLDS) - 1)
        gain_W = recall_WT[:, number] - chance_WT[:, number]
        error = float(gain_W.std(ddof=1)) / len(rows) ** 0.5
        never = 3 / float((total - said_W[rows]).sum())  # rule of three: at most so many, at 95 %
        return ModelTrust(
            words=len(rows),
            threshold=THRESHOLDS[number],
            recall=float(recall_WT[:, number].mean()),
            chance=max(float(chance_T[number]), never),
            usable=bool(gain_W.mean() - 2 * error > MARGIN),
        )

    def found(self, unit: str, trust: ModelTrust) -> WordImages:
        """What was found of one word at the threshold that was chosen."""
        column = self._units.index(unit)
        number = THRESHOLDS.index(trust.threshold)
        images = int(self._other_WT[column, number])
        expected = trust.chance * (len(self._keys) - int(self._said_W[column]))
        by_chance = int(-(-(expected + 2 * expected**0.5) // 1))
        best = [key for p, key in self._best[column] if -p >= trust.threshold]
        return WordImages(images, max(0, images - by_chance), tuple(best))
