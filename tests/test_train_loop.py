# ruff: noqa: F401, F811 fixtures
import io
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from curate.errors import InputError, UsageError
from curate.formats.model import STATE_FILE
from curate.system import terminal
from tests import tiny_encoder
from tests.drawings import drawing, shapes, write_shards
from tests.recorded_progress import RecordedProgress
from tests.training import (
    QUICK,
    command,
    encoder,
    entries,
    losses,
    quick,
    settings_file,
    shards,
    trained,
)  # fmt: skip
from train.checkpoints import checkpoint
from train.sampling import sampler as sampling
from train.training import loop, timing
from train.training import run as training_run
from train.training.run import Recipe

GOLDEN = [1.249413, 1.084138, 0.998523, 1.060739, 0.975273]  # losses of `quick` in float32


def test_a_run_leaves_a_model_its_log_and_what_it_answers_for(trained, shards):
    model = checkpoint.load(trained)
    assert [s.size for s in model.stages] == [(8, 8), (16, 16)]
    assert [s.images_seen for s in model.stages] == [48, 32]
    assert model.facts.words["red"] == 3 and model.facts.licences == {"CC0-1.0": 6}
    measured = model.facts.convergence["16"]
    assert {"psnr", "bicubic", "converged"} <= measured.keys()
    assert measured["pictures"] == 6 and not measured["held_out"]
    stages = [entry["stage"] for entry in entries(trained)]
    assert stages == [0, 0, 0, 1, 1]
    assert not (trained / STATE_FILE).exists()


def test_training_learns(tmp_path, shards, quick):
    longer = replace(quick, images=(1200, 0), log_every=300, precision="fp32")
    training_run.finetune(Recipe(shards, longer), tmp_path, device="cpu")
    curve = [loss for _, _, loss in losses(tmp_path)]
    assert curve[3] < curve[0] / 2


def test_the_loss_curve_is_the_golden_one(tmp_path, shards, quick):
    """A change that claims to alter nothing leaves these as they are; the tolerance is a CPU's."""
    training_run.finetune(Recipe(shards, replace(quick, precision="fp32")), tmp_path, device="cpu")
    found = losses(tmp_path)
    assert [loss for _, _, loss in found] == pytest.approx(GOLDEN, rel=1e-3)


def test_fine_tuning_starts_from_the_checkpoint_and_adds_its_words(
    tmp_path, trained, shards, quick
):
    new = write_shards(tmp_path / "new", shapes("blue"))
    model = training_run.finetune(
        Recipe(new, quick, init=trained, replay=shards), tmp_path / "run", device="cpu"
    )
    assert model.facts.words["blue"] == 3 and model.facts.words["red"] == 3
    assert model.facts.licences == {"CC0-1.0": 9}
    assert model.stages[0].images_seen == 96
    start = checkpoint.load(trained)
    moved = model.stages[0].network.stem.weight - start.stages[0].network.stem.weight
    assert 0 < moved.abs().max() < 0.1


def test_the_rate_rises_holds_and_falls():
    config = replace(QUICK, batch_size=10, warmup=100, decay=0.5, learning_rate=1.0)
    rates = [
        loop.learning_rate(config, seen, 1000, finetuning=False) for seen in (0, 90, 400, 750, 990)
    ]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.02])
    assert loop.learning_rate(config, 400, 1000, finetuning=True) == pytest.approx(0.3)


def test_samples_depend_on_prompt_and_seed_alone(trained):
    sampler = sampling.load_sampler(trained, device="cpu")
    prompts = ["a red circle", "a green square", "a red circle"]
    stages = sampler.generate_stages(prompts, [1, 2, 3])
    assert [s.shape for s in stages] == [(3, 8, 8, 3), (3, 16, 16, 3)]
    alone = sampler.generate(["a green square"], [2])
    assert np.abs(alone[0].astype(int) - stages[1][1]).max() <= 8  # bf16 rounds by batch
    assert (stages[1][0] != stages[1][2]).any()


def test_errors_of_the_command_line(tmp_path, shards, capsys):
    from train.cli import main

    cases = [
        (["finetune", "--shards", str(tmp_path / "none")], 3, "no such file or folder"),
        (["finetune", "--shards", str(shards), "--model-size", "huge"], 2, "no model size 'huge'"),
        (["finetune", "--shards", str(shards), "--stages", "32;64"], 2, "not sizes"),
        (["finetune", "--shards", str(shards), "--images", "5"], 2, "1 numbers for 2 stages"),
        (
            ["finetune", "--shards", str(shards), "--images", "0,0"],
            2,
            "0, 0 is no number of images",
        ),
        (["finetune", "--shards", str(shards), "--images", "-5,3"], 2, "-5, 3 is no number"),
        (["finetune", "--shards", str(shards), "--device", "abacus"], 2, "no device 'abacus'"),
        (
            ["finetune", "--shards", str(shards), "--config", str(tmp_path / "no.toml")],
            3,
            "no such file",
        ),
        (["sample", str(tmp_path), "a cat"], 3, "no checkpoint here"),
    ]
    for words, code, sentence in cases:
        with pytest.raises(SystemExit) as stop:
            main([*words, "--out", str(tmp_path / "run")] if words[0] == "finetune" else words)
        assert stop.value.code == code, words
        said = capsys.readouterr().err
        assert sentence in said and "fix:" in said
        assert not (tmp_path / "run").exists()


def test_a_run_whose_output_is_piped_says_how_far_it_is(tmp_path, quick, monkeypatch, capsys):
    from train.cli import main

    monkeypatch.setattr(terminal, "FIRST_LINE_SECONDS", 0.0)
    monkeypatch.setattr(terminal, "MOST_LINE_SECONDS", 0.0)
    shards = write_shards(tmp_path / "shards", shapes("red"))
    file = settings_file(tmp_path, replace(quick, images=(16, 8)))
    with pytest.raises(SystemExit) as stop:
        main(command(shards, tmp_path / "run", file)[3:])
    assert stop.value.code == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"model\t{tmp_path / 'run'}") and (tmp_path / "run/loss.png").exists()
    assert re.search(r"^detail 16 px\thigh frequencies \d\.\d\d times those of real", out, re.M)
    counts = [line for line in err.splitlines() if " of " in line and "/s" in line]
    names = list(dict.fromkeys(line.partition(":")[0] for line in counts))
    assert names == ["decoding images", "encoding captions", "reading credits", "8 px", "16 px"]
    assert re.search(r"^8 px: 8 of 16, [\d.]+/s, loss \d\.\d{3}, 0:00:\d\d left$", err, re.M)
    assert re.search(r"^16 px: 8 of 8, [\d.]+/s, loss \d\.\d{3}, took 0:00:\d\d$", err, re.M)


def test_long_captions_are_said_to_be_cut(tmp_path, quick):
    items = [("long", drawing("red", "circle"), ["red " * 90]), *shapes("green")]
    progress = RecordedProgress()
    shards = write_shards(tmp_path / "shards", items)
    tiny = replace(quick, images=(8, 8))
    training_run.finetune(Recipe(shards, tiny), tmp_path / "run", device="cpu", progress=progress)
    assert "1 of 4 captions have more than 64 tokens; the rest of each is not read" in progress.said


def test_one_picture_of_one_colour_trains(tmp_path, quick):
    from PIL import Image

    white = io.BytesIO()
    Image.new("RGB", (32, 32), "white").save(white, "PNG")
    shards = write_shards(tmp_path / "one", [("white", white.getvalue(), ["a square"])])
    model = training_run.finetune(Recipe(shards, quick), tmp_path / "run", device="cpu")
    assert all(torch.isfinite(p).all() for s in model.stages for p in s.network.parameters())


def test_crops_of_large_stages_train(tmp_path, shards, quick):
    config = replace(quick, stages=(8, 16, 32), images=(8, 8, 16), crop=16)
    model = training_run.finetune(Recipe(shards, config), tmp_path, device="cpu")
    assert [s.images_seen for s in model.stages] == [8, 8, 16]


def test_train_sample_draws_as_the_library_does():
    import inspect

    from train import cli

    typed = inspect.signature(cli.sample).parameters
    own = sampling.SamplingConfig()
    assert (typed["guidance"].default, typed["steps"].default) == (own.guidance, own.steps)


def test_a_batch_in_microbatches_has_the_gradient_of_the_whole(trained, shards, quick):
    from train.data.batches import Mixture
    from train.data.dataset import distinct_captions, load_images
    from train.text_encoder.embeddings import EncodedText

    pictures = load_images(shards, quick.stages[-1])
    captions = distinct_captions([pictures])
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(len(captions), 2, 32, generator=generator)
    text = tiny_encoder.of_padded(states, torch.full((len(captions),), 2))
    corpus = Mixture([pictures], [1.0], {c: n for n, c in enumerate(captions)}, text)
    stage, found = checkpoint.load(trained).stages[1], []
    stage.network.requires_grad_(True)
    for count in (1, 2, 3, 50):
        config = replace(quick, gradient_accumulation=count, precision="fp32")
        batch = corpus.batch(config, 1, 0, 7)
        stage.network.zero_grad()
        losses_B = loop._accumulate(stage.network, batch, stage.sigma_data, config, 7)
        assert losses_B.shape == (7,)
        found.append([p.grad.clone() for p in stage.network.parameters()])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def large(tmp_path_factory, quick):
    """A run on images enough to hold some out, with all there is to log."""
    folder = tmp_path_factory.mktemp("large")
    new = write_shards(folder / "new", shapes("red", "green", "blue", copies=12))
    items = [*shapes("black"), ("small", drawing("black", "circle", 8), ["a black circle"])]
    old = write_shards(folder / "old", items)
    drawn = write_shards(folder / "drawn", shapes("yellow", copies=12))
    settings = replace(
        quick,
        images=(32, 16),
        gradient_accumulation=2,
        sample_every=16,
        ema_sigma_rel=(0.05, 0.1, 0.2),
        regularization=0.5,
    )
    run = folder / "run"
    model = training_run.finetune(
        Recipe(new, settings, replay=old, regularization=drawn), run, device="cpu"
    )
    return run, model


def test_the_log_tells_each_sets_loss_the_held_out_loss_and_what_was_left_out(large):
    first, *others = entries(large[0])
    assert first["set"] == "replay" and first["left_out"] == {"smaller than 16": 1}
    assert first["skipped"]["small"].startswith("8 x 8 px")
    assert [(e["stage"], e["images"]) for e in others] == [(0, 16), (0, 32), (1, 16)]
    for entry in others:
        assert entry["losses"].keys() == {"new", "replay", "regularization"}
        assert min(entry["losses"].values()) < entry["loss"] < max(entry["losses"].values())
        assert entry["gradient_norm"] > 0 and entry["learning_rate"] > 0
    last = others[-1]
    assert last["held_out"] == min(last["held_out_ema"].values())
    assert last["held_out_ema"].keys() == {"0.05", "0.1", "0.2"}


def test_the_average_with_the_lowest_held_out_loss_becomes_the_model(large):
    for stage in checkpoint.load(large[0]).stages:
        losses = stage.facts["held_out_ema"]
        assert stage.facts["ema_sigma_rel"] == float(min(losses, key=losses.get))
        assert stage.facts["held_out"] == losses[f"{stage.facts['ema_sigma_rel']:g}"]


def test_held_out_pictures_take_no_more_room_than_those_that_are_learnt(
    large, tmp_path, quick, monkeypatch
):
    together, batch_loss = [], loop.batch_loss

    def watched(network, batch, *rest):
        together.append(len(batch.clean_BCHW))
        return batch_loss(network, batch, *rest)

    monkeypatch.setattr(loop, "batch_loss", watched)
    settings = replace(quick, images=(8, 0), gradient_accumulation=4, ema_sigma_rel=(0.1,))
    training_run.finetune(Recipe(large[0].parent / "new", settings), tmp_path, device="cpu")
    assert len(together) > 4 + 4  # those of the one step, and the held-out ones
    assert max(together) == 2


def test_without_held_out_pictures_the_average_named_last_becomes_the_model(trained):
    assert [s.facts for s in checkpoint.load(trained).stages] == [{"ema_sigma_rel": 0.1}] * 2


def test_pictures_are_drawn_meanwhile(large, tmp_path, shards, quick):
    from PIL import Image

    names = sorted(p.name for p in (large[0] / "samples").iterdir())
    assert names == ["16-16.png", "8-16.png", "8-32.png"]
    with Image.open(large[0] / "samples" / "16-16.png") as image:
        assert len(image.text["prompt"].splitlines()) == 8
    asked = replace(quick, images=(8, 8), sample_every=8, sample_prompts=("a red triangle",))
    training_run.finetune(Recipe(shards, asked), tmp_path, device="cpu")
    with Image.open(tmp_path / "samples" / "8-8.png") as image:
        assert image.text["prompt"] == "a red triangle"
    never = replace(asked, sample_every=0)
    training_run.finetune(Recipe(shards, never), tmp_path / "never", device="cpu")
    assert not (tmp_path / "never" / "samples").exists()
    one, other = (checkpoint.load(p) for p in (tmp_path, tmp_path / "never"))
    for a, b in zip(one.stages, other.stages, strict=True):
        for x, y in zip(a.network.parameters(), b.network.parameters(), strict=True):
            assert torch.equal(x, y)  # drawing changes nothing


def test_the_model_answers_for_every_set(large):
    run, model = large
    assert model.facts.settings["gradient_accumulation"] == 2 and model.facts.changed == []
    assert model.facts.words["yellow"] == 36 and model.facts.licences == {"CC0-1.0": 147}
    assert len(model.facts.sets) == 3
    assert model.digest == checkpoint.load(run).digest != ""


@pytest.mark.parametrize("optimizer", ["adafactor", "muon"])
def test_other_optimisers_learn(tmp_path, shards, quick, optimizer):
    rate = {"adafactor": 0.05, "muon": 2e-3}[optimizer]  # adafactor's is a share of each weight
    config = replace(quick, images=(480, 0), log_every=160, precision="fp32")
    config = replace(config, optimizer=optimizer, learning_rate=rate)
    training_run.finetune(Recipe(shards, config), tmp_path, device="cpu")
    curve = [loss for _, _, loss in losses(tmp_path)]
    assert curve[-1] < 0.9 * curve[0]


def test_computing_again_what_was_forgotten_changes_nothing(tmp_path, trained, shards, quick):
    training_run.finetune(
        Recipe(shards, replace(quick, gradient_checkpointing=True)), tmp_path, device="cpu"
    )
    one, two = (checkpoint.load(p) for p in (tmp_path, trained))
    for a, b in zip(one.stages, two.stages, strict=True):
        assert a.network.config == b.network.config
        for x, y in zip(a.network.parameters(), b.network.parameters(), strict=True):
            assert torch.allclose(x, y, atol=1e-6)


def test_what_cannot_fit_is_refused_before_it_begins(tmp_path, shards, quick):
    batch = timing.free_memory(torch.device("cpu")) // 700_000  # each takes about 1.1 MB
    huge = replace(quick, batch_size=batch, images=(batch, batch))
    with pytest.raises(UsageError, match="training needs about"):
        training_run.finetune(Recipe(shards, huge), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_tensorboard_is_asked_for_at_once(tmp_path, shards, quick, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if not installed
    with pytest.raises(InputError, match="pip install tensorboard"):
        training_run.finetune(
            Recipe(shards, replace(quick, tensorboard=True)), tmp_path / "run", device="cpu"
        )
    assert not (tmp_path / "run").exists()
