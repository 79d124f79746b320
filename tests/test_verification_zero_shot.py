"""A tiny open_clip model that knows colours chooses among captions."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.tiny_vision import COLOURS, build_open_clip, paint
from train.verification.question import Question
from train.verification.scorers import Reference
from train.verification.zero_shot import ZeroShot


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_open_clip(tmp_path_factory.mktemp("colours"))


def truth(captions: Sequence[str]) -> Reference:
    """An image for each caption, of the colour it names."""
    names = [next(c for c in COLOURS if c in text) for text in captions]
    pixels = np.stack([paint(name, seed) for seed, name in enumerate(names)])
    return Reference.of(pixels, [f"k{n}" for n in range(len(names))], [[t] for t in captions])


@pytest.fixture(scope="module")
def classes(spec: str) -> ZeroShot:
    return ZeroShot(truth([f"a {name} wall" for name in COLOURS] * 3), spec)


@pytest.fixture(scope="module")
def single(spec: str) -> ZeroShot:
    """Each image has a caption of its own, and all of them name a wall."""
    places = ("near a house", "of a garden", "in a room", "by the road")
    return ZeroShot(truth([f"a {name} wall {place}" for name in COLOURS for place in places]), spec)


def ask(scorer: ZeroShot, questions: Sequence[Question]) -> list[list[bool]]:
    """The answers to each image, in the order of the colours."""
    images = np.stack([paint(name, 50) for name in COLOURS])
    return [a.tolist() for a in scorer.shows(images, [questions] * len(images))]


ALL = [[c == d for d in COLOURS] for c in COLOURS]


def test_a_word_is_shown_if_the_best_caption_holds_it(classes: ZeroShot, spec: str):
    assert ask(classes, [Question(name, False) for name in COLOURS]) == ALL
    assert classes.name == f"open_clip:{spec}" and classes.unseen_N.all() and classes.digest


def test_a_prompt_is_shown_if_it_is_the_best_caption(classes: ZeroShot):
    assert ask(classes, [Question(f"A {name}  wall", True) for name in COLOURS]) == ALL
    asked = classes._reference.with_prompts(["a photo of a blue", "A green wall"])
    with_prompts = ZeroShot(asked, classes.name.partition(":")[2])
    blue = Question("a photo of a blue", True)  # no true caption, but it fits, and better or not
    found = ask(with_prompts, [blue, Question("blue", False)])
    assert [answers[1] for answers in found] == [False, False, True]
    assert not any(answers[0] for answers in found[:2])
    assert "neither a true caption nor a prompt" in (classes.cannot(blue) or "")
    assert with_prompts.cannot(blue) is None


def test_where_captions_are_single_a_word_is_held_against_other_words(single: ZeroShot):
    assert not single._classes
    assert ask(single, [Question(name, False) for name in COLOURS]) == ALL
    rivals = single.rivals("red")
    assert {"green", "blue"} <= set(rivals)
    assert not {"red", "wall", "a", "garden"} & set(rivals)  # may all be true of a red wall


def test_what_it_cannot_judge_it_says(classes: ZeroShot, single: ZeroShot, spec: str):
    assert "no true caption says it" in (classes.cannot(Question("castle", False)) or "")
    assert "all true captions say it" in (classes.cannot(Question("wall", False)) or "")
    assert classes.cannot(Question("red", False)) is None
    assert single.cannot(Question("castle", False)) is None
    assert single.cannot(Question("a blue wall in a room", True)) is None
    alone = ZeroShot(truth(["a red wall"] * 2), spec)
    assert "nothing to tell it from" in (alone.cannot(Question("a red wall", True)) or "")


def test_no_images_give_no_answers(classes: ZeroShot):
    assert classes.shows(np.zeros((0, 16, 16, 3), np.uint8), []) == []
