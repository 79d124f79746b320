"""A tiny vision-language model, taught to tell colours, is asked whether it sees them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from curate.errors import InputError, UsageError
from tests.tiny_vision import COLOURS, build_encoder, build_vlm, paint
from train.verification.question import Question
from train.verification.scorers import Reference
from train.verification.vision_language import VisionLanguage

CPU = torch.device("cpu")


def truth() -> Reference:
    names = [name for name in COLOURS for _ in range(4)]
    pixels = np.stack([paint(name, seed) for seed, name in enumerate(names)])
    return Reference.of(pixels, [f"k{n}" for n in range(len(names))], [[n] for n in names])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_vlm(tmp_path_factory.mktemp("vlm"))


@pytest.fixture(scope="module")
def model(folder: str) -> VisionLanguage:
    return VisionLanguage(truth(), folder, device=CPU)


def test_it_says_yes_where_the_colour_is_and_no_where_it_is_not(model: VisionLanguage, folder: str):
    shown = list(COLOURS) * 6
    images = np.stack([paint(name, 50 + n) for n, name in enumerate(shown)])
    asked = [[Question(name, n % 2 == 0) for name in COLOURS] for n in range(len(shown))]
    found = model.shows(images, asked)

    assert [a.tolist() for a in found] == [[name == s for name in COLOURS] for s in shown]
    assert (model.name, model.unseen_N.all(), model.cannot(asked[0][0])) == (
        f"vlm:{folder}",
        True,
        None,
    )
    sure = np.concatenate(model.probabilities(images, asked))
    assert sure.sum(1).min() > 0.5 and sure.max() <= 1 + 1e-6


def test_each_image_is_asked_its_own_questions(model: VisionLanguage):
    images = np.stack([paint("red", 1), paint("blue", 2), paint("green", 3)])
    asked = [[], [Question("red", False), Question("blue", True)], [Question("green", False)]]
    assert [a.tolist() for a in model.shows(images, asked)] == [[], [False, True], [True]]
    assert model.shows(images[:0], []) == []


def test_questions_of_different_lengths_do_not_disturb_each_other(model: VisionLanguage):
    image = paint("blue", 9)[None]
    several = model.probabilities(
        image, [[Question("a b c d e red", True), Question("blue", False)]]
    )
    alone = model.probabilities(image, [[Question("blue", False)]])
    assert several[0][1] == pytest.approx(alone[0][0], abs=0.02)


def test_without_a_chat_template_it_is_asked_plainly(folder: str, tmp_path: Path):
    for path in Path(folder).iterdir():
        if path.suffix != ".jinja":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    plain = VisionLanguage(truth(), str(tmp_path), device=CPU)
    assert plain._prompt("red?") == "<image>Question: red? Answer:"
    (answer,) = plain.shows(paint("red", 1)[None], [[Question("red", False)]])
    assert answer.dtype == bool and answer.shape == (1,)


def test_the_digest_is_of_the_weights(model: VisionLanguage, tmp_path: Path):
    other = VisionLanguage(truth(), build_vlm(tmp_path, steps=50), device=CPU)
    assert len(model.digest) == 64 and other.digest != model.digest


def test_one_that_answers_neither_yes_nor_no_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"answers neither yes nor no: .* 0% goes to them"):
        VisionLanguage(truth(), build_vlm(tmp_path, ("up", "down")), device=CPU)


def test_what_is_no_such_model_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="names no model"):
        VisionLanguage(truth(), "", device=CPU)
    with pytest.raises(InputError, match=r"vlm:.*cannot be loaded"):
        VisionLanguage(truth(), str(tmp_path / "nowhere"), device=CPU)
    with pytest.raises(InputError, match=r"vlm:.*cannot be loaded"):
        VisionLanguage(truth(), build_encoder(tmp_path, "vit"), device=CPU)
