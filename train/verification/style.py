"""Does the new word keep the style it is asked for in?

Where the new images differ in style from the old ones, photographs among drawings, a model may
learn the style with the word, and answer "a drawing of a sunflower" with a photograph. What the
captions of most old images say and those of the new ones do not ("drawing", "pixel") names the old
style. Whether an image has it is told by a classifier between the two sets, which sees colours,
contrasts at several scales and flat areas, but no shapes: it is to tell how, not what, an image
shows. It is measured on real images, and on captions of the old set, that it has not seen.

Letters in names: N images, H and W pixels, D features.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from curate.text import lemmas, tokens
from train.verification.cross_fitting import MIN_EXAMPLES, fit_logistic
from train.verification.looks import style_features
from train.verification.metrics import Selected, Trials
from train.verification.rates import Rates
from train.verification.scorers import Reference, contains
from train.verification.verdict import ASKING, OLD_STYLE, STYLE, Figure, Judge

COMMON = 0.5  # least share of old images, and
RARE = 0.05  # largest share of new ones, whose captions hold a word of the old style


def split_sets(sets: Sequence[Reference], word: str) -> tuple[list[Reference], list[Reference]]:
    """Sets in which no image shows the word, and those in which some do."""
    shown = [bool(part.image_shows_word(word).any()) for part in sets]
    old = [part for part, has in zip(sets, shown, strict=True) if not has]
    return old, [part for part, has in zip(sets, shown, strict=True) if has]


def style_words(sets: Sequence[Reference], word: str) -> list[str]:
    """Content words that most captions of the old images hold and next to none of the new ones."""
    old, new = (_count_words(part) for part in split_sets(sets, word))
    if not old[1] or not new[1]:
        return []
    return sorted(
        w
        for w, count in old[0].items()
        if count >= COMMON * old[1]
        and new[0][w] <= RARE * new[1]
        and not lemmas.is_function_word(w)
    )


def _count_words(sets: Sequence[Reference]) -> tuple[Counter[str], int]:
    counts = Counter(
        word
        for part in sets
        for label in part.label_N
        for word in {w for text in part.labels[label] for w in tokens.words(text)}
    )
    return counts, sum(len(part.keys) for part in sets)


def split_by_style(
    groups: Mapping[str, Sequence[str]], sets: Sequence[Reference], word: str
) -> tuple[dict[str, list[str]], list[str]]:
    """Groups of prompts, those that ask for the word in an old style as a group of their own.

    Returns:
        The groups, and notes on what is not checked.
    """
    found: dict[str, list[str]] = {group: list(prompts) for group, prompts in groups.items()}
    words = style_words(sets, word)
    if not words:
        return found, []
    named = {
        group: [p for p in found[group] if any(contains(p, w) for w in words)]
        for group in ASKING
        if group in found
    }
    said = " ".join(words)
    if not any(named.values()):
        return found, [
            f"no prompt asks for the word in the style of the old images ({said!r}): whether it "
            f"takes the new images' style along was not checked; such as --prompts with "
            f'"{said} of a {word}"'
        ]
    rest = {group: [p for p in found[group] if p not in named[group]] for group in named}
    if not any(rest.values()):
        return found, [
            f"every prompt with the word names the old style ({said!r}): whether it takes the new "
            "images' style along was not checked"
        ]
    found |= rest
    found[STYLE] = [prompt for prompts in named.values() for prompt in prompts]
    return {group: prompts for group, prompts in found.items() if prompts}, []


class StyleScorer:
    """Tells images of the old sets' style from those of the new sets'."""

    name = "style"

    def __init__(self, old: Sequence[Reference], new: Sequence[Reference]) -> None:
        """Learn from the sets' images, by turns.

        Copies are kept together, and in the old sets all images of a caption, where there are
        captions enough: what was learnt of one must hold for another.
        """
        groups, start, features = [], 0, []
        for number, part in enumerate((*old, *new)):
            by_label = number < len(old) and len(part.labels) >= 2 * MIN_EXAMPLES
            groups.append((part.label_N if by_label else part.group_N) + start)
            features.append(style_features(part.pixels_NHWC))
            start += len(part.keys)
        count = sum(len(part.keys) for part in old)
        self._old_N = np.arange(start) < count
        group_N = np.concatenate(groups)
        few = min(len(np.unique(group_N[self._old_N])), len(np.unique(group_N[~self._old_N])))
        self.cannot = None
        if few < MIN_EXAMPLES:
            need = f"it takes {MIN_EXAMPLES} different ones to learn a style"
            self.cannot = f"style is not judged: {few} images of a set are too few, {need}"
        self._judges = None
        if not self.cannot:
            self._judges = fit_logistic(np.concatenate(features), self._old_N[:, None], group_N)

    @cached_property
    def judge(self) -> Judge:
        """How often it sees the old style on real images that it has not seen."""
        if self._judges is None:
            return Judge(self.name, {OLD_STYLE: Rates(0, 0, 0, 0, 0, 0)})
        seen_N = self._judges.unseen(np.arange(len(self._old_N)))[:, 0]
        old, new = seen_N[self._old_N], seen_N[~self._old_N]
        return Judge(
            self.name, {OLD_STYLE: Rates(int(old.sum()), len(old), int(new.sum()), len(new), 0, 0)}
        )

    def shows_old(self, images_NHWC: np.ndarray, start: int) -> np.ndarray:
        """Bool (N): of the samples from `start` on, whether they have the old style."""
        if self._judges is None:
            return np.zeros(len(images_NHWC), bool)
        places = np.arange(start, start + len(images_NHWC))
        found: np.ndarray = self._judges.answers(style_features(images_NHWC), places)[:, 0]
        return found

    def figures(
        self, trials: Trials, after_N: np.ndarray, before_N: np.ndarray | None
    ) -> Iterator[Figure]:
        """The share of the samples asked for in the old style that have it.

        Args:
            trials: what was asked for.
            after_N: bool; of several checkpoints one after the other.
            before_N: bool; None if there is no earlier checkpoint.
        """
        rates = self.judge.rates[OLD_STYLE]
        yield Selected.of(trials, trials.group_N == STYLE, len(after_N)).figure(
            (self.name, STYLE, OLD_STYLE),
            after_N,
            before_N,
            rates,
            real=rates.sensitivity,
            counts=self.judge.has_say(OLD_STYLE),
        )
