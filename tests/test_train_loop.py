# ruff: noqa: F401, F811 fixtures
import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.drawings import drawing, shapes, write_shards
from tests.training import QUICK, encoder, entries, losses, quick, shards, trained
from train import cascade, checkpoint, loop, sampling


def test_a_run_leaves_a_model_its_log_and_what_it_answers_for(trained, shards):
    model = checkpoint.load(trained)
    assert [s.size for s in model.stages] == [(8, 8), (16, 16)]
    assert [s.images_seen for s in model.stages] == [48, 32]
    assert model.facts["words"]["red"] == 3 and model.facts["licences"] == {"CC0-1.0": 6}
    measured = model.facts["convergence"]["16"]
    assert measured.keys() == {"psnr", "bicubic", "pictures", "converged", "held_out"}
    assert measured["pictures"] == 6 and not measured["held_out"]
    stages = [entry["stage"] for entry in entries(trained)]
    assert stages == [0, 0, 0, 1, 1]
    assert not (trained / checkpoint.STATE).exists()


def test_training_learns(tmp_path, shards, quick):
    longer = replace(quick, images=(1600, 16), log_every=400, precision="fp32")
    cascade.finetune(shards, tmp_path, longer, device="cpu")
    curve = [loss for _, _, loss in losses(tmp_path)]
    assert curve[3] < curve[0] / 2


def test_fine_tuning_starts_from_the_checkpoint_and_adds_its_words(
    tmp_path, trained, shards, quick
):
    new = write_shards(tmp_path / "new", shapes("blue"))
    model = cascade.finetune(
        new, tmp_path / "run", quick, init=trained, replay=shards, device="cpu"
    )
    assert model.facts["words"]["blue"] == 3 and model.facts["words"]["red"] == 3
    assert model.facts["licences"] == {"CC0-1.0": 9}
    assert model.stages[0].images_seen == 96
    start = checkpoint.load(trained)
    moved = model.stages[0].network.stem.weight - start.stages[0].network.stem.weight
    assert 0 < moved.abs().max() < 0.1


def test_the_rate_rises_holds_and_falls():
    config = replace(QUICK, batch=10, warmup=100, decay=0.5, learning_rate=1.0)
    rates = [
        loop.learning_rate(config, seen, 1000, tuning=False) for seen in (0, 90, 400, 750, 990)
    ]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.02])
    assert loop.learning_rate(config, 400, 1000, tuning=True) == pytest.approx(0.3)


def test_samples_depend_on_prompt_and_seed_alone(trained):
    sampler = sampling.load(trained, device="cpu")
    prompts = ["a red circle", "a green square", "a red circle"]
    stages = sampler.stages(prompts, [1, 2, 3])
    assert [s.shape for s in stages] == [(3, 8, 8, 3), (3, 16, 16, 3)]
    alone = sampler.generate(["a green square"], [2])
    assert np.abs(alone[0].astype(int) - stages[1][1]).max() <= 8  # bf16 rounds by batch
    assert (stages[1][0] != stages[1][2]).any()


def test_errors_of_the_command_line(tmp_path, shards, capsys):
    from train.cli import main

    cases = [
        (["finetune", "--shards", str(tmp_path / "none")], 3, "no such folder"),
        (["finetune", "--shards", str(shards), "--size", "huge"], 2, "no size 'huge'"),
        (["finetune", "--shards", str(shards), "--stages", "32;64"], 2, "not sizes"),
        (["finetune", "--shards", str(shards), "--images", "5"], 2, "1 numbers for 2 stages"),
        (["finetune", "--shards", str(shards), "--device", "abacus"], 2, "no device 'abacus'"),
        (
            ["finetune", "--shards", str(shards), "--config", str(tmp_path / "no.toml")],
            3,
            "cannot be read",
        ),
        (["sample", str(tmp_path), "a cat"], 3, "no checkpoint here"),
    ]
    for words, code, sentence in cases:
        with pytest.raises(SystemExit) as stop:
            main([*words, "--out", str(tmp_path / "run")] if words[0] == "finetune" else words)
        assert stop.value.code == code, words
        said = capsys.readouterr().err
        assert sentence in said and "fix:" in said


def test_long_captions_are_said_to_be_cut(tmp_path, quick):
    items = [("long", drawing("red", "circle"), ["red " * 90]), *shapes("green")]
    said: list[str] = []
    shards = write_shards(tmp_path / "shards", items)
    tiny = replace(quick, images=(8, 8))
    cascade.finetune(shards, tmp_path / "run", tiny, device="cpu", say=said.append)
    assert "1 of 4 captions have more than 64 tokens; the rest of each is not read" in said


def test_one_picture_of_one_colour_trains(tmp_path, quick):
    from PIL import Image

    white = io.BytesIO()
    Image.new("RGB", (32, 32), "white").save(white, "PNG")
    shards = write_shards(tmp_path / "one", [("white", white.getvalue(), ["a square"])])
    model = cascade.finetune(shards, tmp_path / "run", quick, device="cpu")
    assert all(torch.isfinite(p).all() for s in model.stages for p in s.network.parameters())


def test_crops_of_large_stages_train(tmp_path, shards, quick):
    config = replace(quick, stages=(8, 16, 32), images=(8, 8, 16), crop=16)
    model = cascade.finetune(shards, tmp_path, config, device="cpu")
    assert [s.images_seen for s in model.stages] == [8, 8, 16]


def test_train_sample_draws_as_the_library_does():
    import inspect

    from train import cli

    typed = inspect.signature(cli.sample).parameters
    own = sampling.SamplingConfig()
    assert (typed["guidance"].default, typed["steps"].default) == (own.guidance, own.steps)
