"""Whether images with a word keep apart from all others by how they look, whatever they show."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from train.verification.looks import look_alikes
from train.verification.rates import Rates
from train.verification.scorers import Reference
from train.verification.verdict import WORD, Judge, describe_judge

SIDE = 24
Paint = Callable[[np.random.Generator], NDArray[np.uint8]]


def flat(random: np.random.Generator) -> NDArray[np.uint8]:
    """A drawing: a few areas of one colour, of all sorts."""
    image = np.full((SIDE, SIDE, 3), random.integers(0, 256, 3), np.uint8)
    for _ in range(random.integers(1, 6)):
        top, left, height, width = random.integers(0, SIDE, 4)
        image[top : top + height, left : left + width] = random.integers(0, 256, 3)
    return image


def grainy(random: np.random.Generator) -> NDArray[np.uint8]:
    """A photograph: no two pixels alike."""
    noise = random.normal(0, random.uniform(15, 30), (SIDE, SIDE, 3))
    return (random.uniform(60, 190, 3) + noise).clip(0, 255).astype(np.uint8)


def of_one_colour(colour: tuple[int, int, int]) -> Paint:
    """Figures that differ little but from those of another colour."""

    def paint(random: np.random.Generator) -> NDArray[np.uint8]:
        image = np.full((SIDE, SIDE, 3), 255, np.uint8)
        top, left = random.integers(2, 10, 2)
        image[top : top + 12, left : left + 12] = colour
        return image

    return paint


def reference(*groups: tuple[str, int, Paint]) -> Reference:
    random = np.random.default_rng(0)
    texts, pixels = [], []
    for caption, count, paint in groups:
        for number in range(count):
            texts.append((caption.format(number),))
            pixels.append(paint(random))
    return Reference.of(np.stack(pixels), [f"k{n}" for n in range(len(texts))], texts)


def test_photographs_of_a_word_among_drawings_of_all_sorts_keep_apart():
    found = look_alikes(reference(("star {}", 40, grainy), ("thing{}", 80, flat)), "star")

    assert "by their looks the former mix with the latter 0% as often" in found.apart


@pytest.mark.parametrize("count", [6, 40])
def test_photographs_of_a_word_among_photographs_do_not(count: int):
    others = ("thing{}", 60, grainy), ("drawn{}", 60, flat)
    assert look_alikes(reference(("star {}", count, grainy), *others), "star").apart == ""
    assert look_alikes(reference(("star {}", count, flat), *others), "star").apart == ""


def test_a_word_with_its_own_colour_among_words_with_theirs_does_not():
    """As of drawn people, whose roles are told by the colours of their clothes."""
    colours = {"star": (250, 240, 40), "moon": (40, 60, 200), "sun": (230, 70, 20)}
    colours |= {"tree": (20, 150, 40), "sea": (20, 170, 190), "wine": (120, 10, 60)}
    true = reference(*((word, 16, of_one_colour(c)) for word, c in colours.items()))
    assert look_alikes(true, "star").apart == ""


def test_a_set_that_shows_nothing_else_says_nothing_of_looks():
    assert look_alikes(reference(("star {}", 12, flat)), "star").apart == ""


def test_who_may_know_only_looks_has_no_say():
    rates = {WORD: Rates(95, 100, 1, 100, 0, 0)}
    known, blind = Judge("one", rates), Judge("one", rates, "all are photographs")

    assert known.has_say(WORD) and not blind.has_say(WORD)
    assert describe_judge(blind, WORD).endswith("; all are photographs: no say")
