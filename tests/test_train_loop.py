import io
import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import CurateError, InputError
from tests import tiny_encoder
from tests.drawings import drawing, shapes, write_shards
from train import batches, cascade, checkpoint, data, loop, sampling
from train.config import TrainConfig
from train.size import Size
from train.text import EncodedText

QUICK = TrainConfig(
    stages=(8, 16),
    images=(48, 32),
    size="tiny",
    batch=8,
    warmup=16,
    log_every=16,
    save_every=16,
)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    return tiny_encoder.build(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def quick(encoder):
    return replace(QUICK, encoder=encoder)


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shapes"), shapes("red", "green"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory, shards, quick):
    folder = tmp_path_factory.mktemp("trained")
    cascade.finetune(shards, folder, quick, device="cpu")
    return folder


def command(shards: Path, run: Path, settings_file: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "train.cli",
        "finetune",
        "--shards",
        str(shards),
        "--out",
        str(run),
        "--config",
        str(settings_file),
        "--device",
        "cpu",
        *more,
    ]


def settings_file(folder: Path, config: TrainConfig) -> Path:
    path = folder / "quick.toml"
    lines = [
        f"{k} = {json.dumps(list(v) if isinstance(v, tuple) else v)}"
        for k, v in vars(config).items()
    ]
    path.write_text("\n".join(lines))
    return path


def test_a_run_leaves_a_model_its_log_and_what_it_answers_for(trained, shards):
    model = checkpoint.load(trained)
    assert [s.size for s in model.stages] == [(8, 8), (16, 16)]
    assert [s.images_seen for s in model.stages] == [48, 32]
    assert model.facts["words"]["red"] == 3 and model.facts["licences"] == {"CC0-1.0": 6}
    measured = model.facts["convergence"]["16"]
    assert measured.keys() == {"psnr", "bicubic", "pictures", "converged", "held_out"}
    assert measured["pictures"] == 6 and not measured["held_out"]
    stages = [
        json.loads(line)["stage"] for line in (trained / "log.jsonl").read_text().splitlines()
    ]
    assert stages == [0, 0, 0, 1, 1]
    assert not (trained / checkpoint.STATE).exists()


def test_the_same_command_again_changes_nothing(trained, shards, quick):
    before, said = (trained / checkpoint.MODEL).read_bytes(), []
    cascade.finetune(shards, trained, quick, device="cpu", say=said.append)
    assert (trained / checkpoint.MODEL).read_bytes() == before and "already trained" in said[0]


def test_training_learns(tmp_path, shards, quick):
    longer = replace(quick, images=(1600, 16), log_every=400, precision="fp32")
    cascade.finetune(shards, tmp_path, longer, device="cpu")
    curve = [loss for _, _, loss in losses(tmp_path)]
    assert curve[3] < curve[0] / 2


def test_killed_ten_times_equals_uninterrupted(tmp_path, trained, shards, quick):
    moments = random.Random(4)
    where, file = tmp_path / "run", settings_file(tmp_path, replace(quick, save_every=8))
    whole = tmp_path / "whole"
    cascade.finetune(shards, whole, replace(quick, save_every=8), device="cpu")
    kills = 0
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    for _ in range(10):
        process = subprocess.Popen(
            command(shards, where, file),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_any(process, where, moments)
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
        if (where / checkpoint.MODEL).exists():
            assert (where / checkpoint.MODEL).read_bytes() == (
                whole / checkpoint.MODEL
            ).read_bytes()
            shutil.rmtree(where)  # it got through before the kill: begin a fresh run
    done = subprocess.run(
        command(shards, where, file), env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert kills >= 5
    assert (where / checkpoint.MODEL).read_bytes() == (whole / checkpoint.MODEL).read_bytes()
    assert losses(where) == losses(whole)
    assert sorted(p.name for p in where.iterdir() if ".part" in p.name) == []


def losses(run: Path) -> list[tuple[int, int, float]]:
    entries = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [(e["stage"], e["images"], e["loss"]) for e in entries]


def wait_for_any(process: subprocess.Popen, where: Path, moments: random.Random) -> None:
    """Until training is under way, then a random moment longer."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if (where / "settings.json").exists():
            time.sleep(moments.uniform(0, 1.5))
            return
        time.sleep(0.01)


def test_two_processes_equal_one(tmp_path, shards, quick):
    exact = replace(quick, precision="fp32", images=(32, 16), encoder=quick.encoder)
    file = settings_file(tmp_path, exact)
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    one = command(shards, tmp_path / "one", file)
    assert subprocess.run(one, capture_output=True, env=alone).returncode == 0
    words = command(shards, tmp_path / "two", file)
    launched = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "0",
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        "127.0.0.1:0",
        *words[1:],
    ]
    done = subprocess.run(launched, capture_output=True, text=True, timeout=300, env=alone)
    assert done.returncode == 0, done.stderr[-2000:]
    for a, b in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert a == pytest.approx(b, abs=1e-5)
    # Adam divides by the size of a gradient, so where it vanishes rounding becomes a small step
    one, two = (checkpoint.load(tmp_path / name) for name in ("one", "two"))
    for a, b in zip(one.stages, two.stages, strict=True):
        for name, value in a.network.state_dict().items():
            assert torch.allclose(value, b.network.state_dict()[name], atol=5e-5), name


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


def test_batches_mix_new_and_old_in_the_stated_shares(tmp_path, shards, quick):
    new = data.load(write_shards(tmp_path / "new", shapes("blue")), Size(16, 16))
    old = data.load(shards, Size(16, 16))
    captions = data.distinct_captions([new, old])
    text = EncodedText(torch.ones(len(captions), 1, 4).half(), torch.ones(len(captions)).long())
    rows = {c: n for n, c in enumerate(captions)}
    corpus = batches.Corpus([new, old], [0.25, 0.75], rows, text)
    counts = [corpus._drawn(0, 8 * n) for n in range(5)]
    assert counts == [0, 2, 4, 6, 8]
    batch = corpus.batch(replace(quick, caption_dropout=0.0), 1, 0, 8)
    assert batch.clean_BCHW.shape == (8, 3, 16, 16) and batch.low is not None
    again = corpus.batch(replace(quick, caption_dropout=0.0), 1, 0, 8)
    assert torch.equal(batch.noise_BCHW, again.noise_BCHW)
    blue = (batch.clean_BCHW[:, 2] > batch.clean_BCHW[:, 0] + 0.5).flatten(1).any(1)
    assert blue.sum() == 2


@given(st.integers(1, 50), st.integers(0, 400), st.integers(0, 120))
@settings(max_examples=50, deadline=None)
def test_drawing_in_parts_equals_drawing_at_once(count, start, number):
    whole = data.draw(count, start=start, number=number, seed=1, stream=0)
    cut = number // 3
    parts = [
        data.draw(count, start=start, number=cut, seed=1, stream=0),
        data.draw(count, start=start + cut, number=number - cut, seed=1, stream=0),
    ]
    assert torch.equal(whole, torch.cat(parts))
    every = data.draw(count, start=count * 2, number=count, seed=1, stream=0)
    assert sorted(every.tolist()) == list(range(count))


def test_the_average_weighs_the_last_tenth_of_the_run():
    kept, weights = 1.0, []
    for step in range(1000, 0, -1):
        own = 1 - loop.ema_weight(step, 6.94)
        weights.append(kept * own)
        kept *= loop.ema_weight(step, 6.94)
    ages = np.arange(1000)
    mean = (np.array(weights) * ages).sum()
    spread = np.sqrt((np.array(weights) * (ages - mean) ** 2).sum())
    assert sum(weights) == pytest.approx(1) and spread / 1000 == pytest.approx(0.1, abs=0.005)


def test_the_rate_rises_holds_and_falls():
    config = replace(QUICK, batch=10, warmup=100, decay=0.5, learning_rate=1.0)
    rates = [
        loop.learning_rate(config, seen, 1000, tuning=False) for seen in (0, 90, 400, 750, 990)
    ]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.02])
    assert loop.learning_rate(config, 400, 1000, tuning=True) == pytest.approx(0.3)


def test_small_and_broken_pictures_are_left_out_by_name(tmp_path):
    items = [
        ("small", drawing("red", "circle", 8), ["a red circle"]),
        ("broken", b"\x89PNG nonsense", ["a red square"]),
        ("silent", drawing("red", "circle", 32), []),
        ("good", drawing("blue", "circle", 32), ["a blue circle"]),
    ]
    pictures = data.load(write_shards(tmp_path, items), Size(16, 16))
    assert pictures.keys == ["good"]
    assert pictures.skipped["small"] == "8 x 8 px, smaller than 16"
    assert pictures.skipped["broken"].startswith("cannot be decoded")
    assert pictures.skipped["silent"] == "no caption"
    assert np.array_equal(data.load(tmp_path, Size(16, 16)).pixels_NHWC, pictures.pixels_NHWC)


def test_held_out_pictures_are_chosen_by_key_alone(tmp_path):
    many = data.load(
        write_shards(tmp_path / "a", shapes("red", "green", "blue", copies=12)), Size(16, 16)
    )
    rest, held = data.split(many, 0.2)
    assert len(rest) + len(held) == len(many) == 108 and 5 < len(held) < 40
    reordered = many.select(list(reversed(range(len(many)))))
    assert set(data.split(reordered, 0.2)[1].keys) == set(held.keys)
    assert len(data.split(many.select(range(50)), 0.2)[1]) == 0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seed": 1}, "holds another run (other seed)"),
        ({"images": (64, 32)}, "holds another run (other images)"),
    ],
)
def test_a_folder_holds_one_run(trained, shards, quick, change, message):
    with pytest.raises(InputError) as error:
        cascade.finetune(shards, trained, replace(quick, **change), device="cpu")
    assert message in str(error.value) and "--out" in str(error.value)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path, trained, shards, quick):
    with pytest.raises(InputError, match=r"stages 8,16, asked for 16,32"):
        cascade.finetune(
            shards, tmp_path, replace(quick, stages=(16, 32)), init=trained, device="cpu"
        )
    tensors, described = checkpoint.read_tensors(trained / checkpoint.MODEL)
    described["stages"][0]["unet"]["widths"] = [16, 64]
    checkpoint.write_tensors(tmp_path / "bent.safetensors", tensors, described)
    with pytest.raises(InputError, match="weights do not fit their description"):
        checkpoint.load(tmp_path / "bent.safetensors")


def test_other_files_are_no_checkpoints(tmp_path, trained):
    with pytest.raises(InputError, match="no checkpoint here"):
        checkpoint.load(tmp_path)
    (tmp_path / "x.safetensors").write_bytes(b"hello")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        checkpoint.load(tmp_path / "x.safetensors")
    checkpoint.write_tensors(tmp_path / "y.safetensors", {}, {"version": "fubuki-model/9"})
    with pytest.raises(InputError, match="fubuki-model/9"):
        checkpoint.load(tmp_path / "y.safetensors")


def test_a_loss_that_is_no_number_stops_the_run(tmp_path, shards, quick):
    with pytest.raises(InputError, match="no longer a number"):
        cascade.finetune(
            shards, tmp_path, replace(quick, learning_rate=1e30, warmup=0), device="cpu"
        )


def test_a_full_disk_is_a_sentence_and_keeps_the_old_state(tmp_path, shards, quick):
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000));"
        "from train.cli import main; main(sys.argv[1:])"
    )
    words = command(shards, tmp_path / "run", settings_file(tmp_path, quick))[3:]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 3 and "cannot be written" in done.stderr, done.stderr
    assert [p.name for p in (tmp_path / "run").iterdir() if p.suffix == ".part"] == []


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


def test_unknown_settings_name_the_nearest(tmp_path):
    from train import config

    (tmp_path / "a.toml").write_text("learning_rat = 1.0")
    with pytest.raises(CurateError, match="did you mean learning_rate"):
        config.load(tmp_path / "a.toml", {})
    (tmp_path / "b.toml").write_text("batch = 'many'")
    with pytest.raises(CurateError, match="'many' is not int"):
        config.load(tmp_path / "b.toml", {})
    (tmp_path / "c.toml").write_text("stages = [16, 64]\nlearning_rate = 1")
    assert config.load(tmp_path / "c.toml", {"seed": 3}).stages == ((16, 16), (64, 64))


def test_a_log_cut_short_before_the_first_save_is_mended(tmp_path, shards, quick):
    lines = '{"stage": 8, "images": 16, "loss": 9.0, "rate": 1.0}\n{"stage": 8, "ima'
    (tmp_path / "log.jsonl").write_text(lines)
    cascade.finetune(shards, tmp_path, quick, device="cpu")
    assert [images for _, images, _ in losses(tmp_path)] == [16, 32, 48, 16, 32]
    assert all(loss < 9 for _, _, loss in losses(tmp_path))


def test_resuming_between_two_log_lines_gives_the_same_line(tmp_path, trained, shards, quick):
    class Killed(Exception):
        pass

    def kill(stage, seen, loss):
        if (stage, seen) == (0, 32):
            raise Killed

    often = replace(quick, save_every=24)
    with pytest.raises(Killed):
        cascade.finetune(shards, tmp_path, often, device="cpu", progress=kill)
    cascade.finetune(shards, tmp_path, often, device="cpu")
    assert losses(tmp_path) == losses(trained)


def test_training_again_on_the_same_pictures_counts_their_words_once(
    tmp_path, trained, shards, quick
):
    model = cascade.finetune(shards, tmp_path, quick, init=trained, device="cpu")
    assert model.facts["words"]["red"] == 3 and model.facts["licences"] == {"CC0-1.0": 6}


def test_another_encoder_than_the_checkpoints_is_refused(tmp_path, shards, quick):
    own, other = tmp_path / "own", tmp_path / "other"
    config = replace(quick, images=(8, 8), encoder=tiny_encoder.build(own))
    cascade.finetune(shards, tmp_path / "run", config, device="cpu")
    with pytest.raises(InputError, match="was taught with the text encoder"):
        cascade.finetune(
            shards,
            tmp_path / "next",
            replace(config, encoder=tiny_encoder.build(other)),
            init=tmp_path / "run",
            device="cpu",
        )
    tiny_encoder.build(own, seed=1)
    with pytest.raises(InputError, match="not those the model was taught with"):
        sampling.load(tmp_path / "run", device="cpu").generate(["a red circle"], [0])


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


def test_two_runs_do_not_share_a_folder(tmp_path, shards, quick):
    from curate.files import locked

    with locked(tmp_path), pytest.raises(CurateError, match="another command is writing here"):
        cascade.finetune(shards, tmp_path, quick, device="cpu")


@pytest.mark.parametrize(
    "setting, problem",
    [
        ({"save_every": 0}, "save_every in --config: 0 is below 1"),
        ({"learning_rate": 0.0}, "0.0 is not above 0"),
        ({"low_noise": -1.0}, "-1.0 is below 0"),
        ({"held_out": 1.0}, r"1.0 is not in \[0, 1\)"),
        ({"stages": (16, 24)}, "2 or 4 times"),
        ({"precision": "fp8"}, "no precision 'fp8'"),
        ({"stages": (32, 128), "crop": 60}, "60 does not fit"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, problem):
    from train import config

    with pytest.raises(CurateError, match=problem):
        config.load(None, setting)


def test_stages_come_from_the_checkpoint(trained, shards, tmp_path, quick, capsys):
    from train import config

    taken = cascade.taken_over(trained, {}, {"images": (5, 5), "size": None})
    assert config.load(None, taken).stages == ((8, 8), (16, 16))
    with pytest.raises(CurateError, match="network is that of --init"):
        cascade.taken_over(trained, {}, {"size": "small"})


def test_train_sample_draws_as_the_library_does():
    import inspect

    from train import cli

    typed = inspect.signature(cli.sample).parameters
    own = sampling.SamplingConfig()
    assert (typed["guidance"].default, typed["steps"].default) == (own.guidance, own.steps)
