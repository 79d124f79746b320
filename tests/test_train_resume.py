# ruff: noqa: F401, F811 fixtures
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from curate.errors import CurateError, InputError
from curate.formats.model import MODEL_FILE, STATE_FILE
from tests.recorded_progress import Killed, KillingProgress, RecordedProgress
from tests.training import command, encoder, entries, losses, quick, settings_file, shards, trained
from train.checkpoints import checkpoint
from train.cli import main
from train.config import RENAMED_SETTINGS
from train.training import run as training_run
from train.training.run import Recipe


def test_the_same_command_again_changes_nothing(trained, shards, quick):
    before, progress = (trained / MODEL_FILE).read_bytes(), RecordedProgress()
    training_run.finetune(Recipe(shards, quick), trained, device="cpu", progress=progress)
    assert (trained / MODEL_FILE).read_bytes() == before
    assert "already trained" in progress.said[0]


def test_killed_again_and_again_equals_uninterrupted(tmp_path, trained, shards, quick):
    moments = random.Random(4)
    config = replace(quick, save_every=8, gradient_accumulation=2, crop=8)
    config = replace(config, ema_sigma_rel=(0.05, 0.2))
    where, file = tmp_path / "run", settings_file(tmp_path, config)
    whole = tmp_path / "whole"
    training_run.finetune(Recipe(shards, config), whole, device="cpu")
    kills = 0
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    for _ in range(5):
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
        if (where / MODEL_FILE).exists():
            assert (where / MODEL_FILE).read_bytes() == (whole / MODEL_FILE).read_bytes()
            shutil.rmtree(where)  # it got through before the kill: begin a fresh run
    done = subprocess.run(
        command(shards, where, file), env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert kills >= 3
    assert (where / MODEL_FILE).read_bytes() == (whole / MODEL_FILE).read_bytes()
    assert losses(where) == losses(whole)
    assert sorted(p.name for p in where.iterdir() if ".part" in p.name) == []


def wait_for_any(process: subprocess.Popen, where: Path, moments: random.Random) -> None:
    """Until training is under way, then a random moment longer."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if (where / "settings.json").exists():
            time.sleep(moments.uniform(0, 1.5))
            return
        time.sleep(0.01)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seed": 1}, "holds another run (other seed)"),
        ({"images": (40, 32)}, "a run that is finished with --images 48,32, not 40,32"),
    ],
)
def test_a_folder_holds_one_run(trained, shards, quick, change, message):
    with pytest.raises(InputError) as error:
        training_run.finetune(Recipe(shards, replace(quick, **change)), trained, device="cpu")
    assert message in str(error.value) and "--out" in str(error.value)


def test_a_run_whose_settings_had_other_names_is_told_apart(trained, tmp_path, shards, quick):
    folder = shutil.copytree(trained, tmp_path / "run")
    facts = json.loads((folder / "settings.json").read_text())
    names = {new: old for old, new in RENAMED_SETTINGS.items()}
    facts["settings"] = {names.get(k, k): v for k, v in facts["settings"].items()}
    (folder / "settings.json").write_text(json.dumps(facts, sort_keys=True))
    with pytest.raises(InputError) as error:
        training_run.finetune(Recipe(shards, quick), folder, device="cpu")
    listed = ", ".join(sorted(RENAMED_SETTINGS))
    assert str(error.value) == (
        f"{folder}: holds a run of another version, with other settings ({listed})\n"
        "  fix: name a new folder with --out, or remove this one"
    )


def test_a_longer_run_goes_on_from_the_finished_one(tmp_path, trained, shards, quick, capsys):
    run = shutil.copytree(trained, tmp_path / "my run")
    file = settings_file(tmp_path, quick)
    typed = command(shards, run, file, "--images", "64,32")[3:]
    for _ in range(2):
        with pytest.raises(SystemExit) as stop:
            main(typed)
        assert stop.value.code == 3
    problem, fix = capsys.readouterr().err.splitlines()[-2:]
    assert problem.endswith("holds a run that is finished with --images 48,32, not 64,32")
    words = shlex.split(fix.partition("fix: ")[2])
    assert words[words.index("--images") + 1] == "16,0"
    assert words[words.index("--out") + 1] == str(tmp_path / "my run2")
    with pytest.raises(SystemExit) as stop:
        main([*words[1:], "--device", "cpu"])
    assert stop.value.code == 0
    longer = checkpoint.load(tmp_path / "my run2")
    assert [stage.images_seen for stage in longer.stages] == [64, 32]
    assert longer.facts.init == checkpoint.load(run).digest


def test_a_run_under_way_is_finished_first(tmp_path, shards, quick):
    killed_at(shards, tmp_path / "run", quick, (1, 16))
    longer = Recipe(shards, replace(quick, images=(48, 64)))
    with pytest.raises(InputError) as error:
        training_run.finetune(longer, tmp_path / "run", device="cpu")
    assert "a run that is under way with --images 48,32, not 48,64" in error.value.problem
    finish, further = map(shlex.split, error.value.fixes)
    assert finish[-2:] == ["--images", "48,32"] and str(tmp_path / "run") in finish
    assert further[-2:] == ["--images", "0,32"] and str(tmp_path / "run2") in further
    shorter = Recipe(shards, replace(quick, images=(48, 16)))
    with pytest.raises(InputError, match="or name a new folder"):
        training_run.finetune(shorter, tmp_path / "run", device="cpu")


def test_what_is_saved_is_said_when_a_run_is_stopped(tmp_path, shards, quick):
    class Stopping(RecordedProgress):
        def __init__(self, at):
            super().__init__()
            self.at = at

        def count(self, what, done, total, **shown):
            if (what, done) == self.at:
                raise KeyboardInterrupt

    said = []
    for at in (("8 px", 8), ("16 px", 24)):
        progress = Stopping(at)
        with pytest.raises(KeyboardInterrupt):
            training_run.finetune(
                Recipe(shards, quick), tmp_path / "run", device="cpu", progress=progress
            )
        said.append(progress.said[-1])
    assert said == [
        f"{tmp_path / 'run'}: nothing of the training is saved yet; it begins anew",
        f"{tmp_path / 'run'}: saved are 16 of 32 images of stage 16",
    ]


@pytest.mark.parametrize("there", [False, True])
def test_a_run_that_cannot_begin_leaves_nothing_behind(tmp_path, shards, quick, there):
    folder = tmp_path / "runs" / "run"
    if there:
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("mine")
    impossible = [Recipe(shards, replace(quick, stages=(32, 64))), Recipe(tmp_path, quick)]
    for recipe in impossible:
        with pytest.raises(InputError):
            training_run.finetune(recipe, folder, device="cpu")
        left = [p.name for p in folder.iterdir()] if folder.exists() else None
        assert left == (["notes.txt"] if there else None)
        assert (tmp_path / "runs").exists() == there


def killed_at(shards, run, config, where):
    """A run that dies when it gets to this (stage, images)."""

    stage, images = where
    progress = KillingProgress(f"{config.stages[stage]} px", images)
    with pytest.raises(Killed):
        training_run.finetune(Recipe(shards, config), run, device="cpu", progress=progress)


def test_a_loss_that_is_no_number_stops_the_run_and_a_lower_rate_goes_on(tmp_path, shards, quick):
    killed_at(shards, tmp_path, quick, (0, 24))
    saved = (tmp_path / STATE_FILE).read_bytes()
    with pytest.raises(InputError) as error:
        training_run.finetune(
            Recipe(shards, replace(quick, learning_rate=1e30)), tmp_path, device="cpu"
        )
    told = str(error.value)
    assert "the loss of stage 8 is no longer a number after 24 images" in told
    assert "learning_rate = 5e+29 in --config FILE (it was 1e+30)" in told
    assert f"it goes on from {tmp_path / STATE_FILE}, 16 images of stage 8" in told
    assert (tmp_path / STATE_FILE).read_bytes() == saved

    progress = RecordedProgress()
    lower = replace(quick, learning_rate=1e-4)
    model = training_run.finetune(Recipe(shards, lower), tmp_path, device="cpu", progress=progress)
    assert progress.said[-1].endswith(
        "goes on from 16 images of stage 8 with learning_rate = 0.0001 (it was 1e+30)"
    )
    assert [c["settings"] for c in model.facts.changed] == [
        {"learning_rate": [0.002, 1e30]},
        {"learning_rate": [1e30, 1e-4]},
    ]
    assert [images for _, images, _ in losses(tmp_path)] == [16, 32, 48, 16, 32]


def test_a_broken_run_is_never_saved(tmp_path, shards, quick):
    config = replace(quick, learning_rate=1e30, warmup=0, save_every=8)
    with pytest.raises(InputError, match="it begins again, for nothing was saved yet"):
        training_run.finetune(Recipe(shards, config), tmp_path, device="cpu")
    assert not (tmp_path / STATE_FILE).exists()


def test_other_settings_may_not_change_under_way(tmp_path, shards, quick):
    killed_at(shards, tmp_path, quick, (0, 24))
    for change in ({"batch_size": 4}, {"ema_sigma_rel": (0.1,)}, {"precision": "fp32"}):
        with pytest.raises(InputError, match=f"other {next(iter(change))}"):
            training_run.finetune(Recipe(shards, replace(quick, **change)), tmp_path, device="cpu")


def test_a_full_disk_is_a_sentence_and_keeps_the_old_state(tmp_path, trained, shards, quick):
    run = tmp_path / "run"
    killed_at(shards, run, quick, (0, 24))
    before = (run / STATE_FILE).read_bytes()
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) // 2}, {len(before) // 2}));"
        "from train.cli import main; main(sys.argv[1:])"
    )
    words = command(shards, run, settings_file(tmp_path, quick))[3:]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 3 and "cannot be written" in done.stderr, done.stderr
    assert "free some space" in done.stderr
    assert (run / STATE_FILE).read_bytes() == before
    assert [p.name for p in run.iterdir() if p.suffix == ".part"] == []
    training_run.finetune(Recipe(shards, quick), run, device="cpu")
    assert (run / MODEL_FILE).read_bytes() == (trained / MODEL_FILE).read_bytes()


def test_finished_stages_are_written_once_and_gone_in_the_end(tmp_path, trained, shards, quick):
    killed_at(shards, tmp_path, quick, (1, 24))
    finished = tmp_path / "finished-0.safetensors"
    assert (tmp_path / STATE_FILE).exists() and finished.exists()
    training_run.finetune(Recipe(shards, quick), tmp_path, device="cpu")
    assert (tmp_path / MODEL_FILE).read_bytes() == (trained / MODEL_FILE).read_bytes()
    assert list(tmp_path.glob("*.safetensors")) == [tmp_path / MODEL_FILE]


def test_saves_lie_some_seconds_apart_and_change_nothing(tmp_path, trained, shards, quick):
    seldom = replace(quick, save_seconds=3600.0)
    killed_at(shards, tmp_path, seldom, (0, 40))
    with checkpoint.open_tensors(tmp_path / STATE_FILE) as (_, described):
        assert described["seen"] == 16  # the first one is not put off
    training_run.finetune(Recipe(shards, seldom), tmp_path, device="cpu")
    one, two = (checkpoint.load(p) for p in (tmp_path, trained))
    for a, b in zip(one.stages, two.stages, strict=True):
        for x, y in zip(a.network.parameters(), b.network.parameters(), strict=True):
            assert torch.equal(x, y)


def test_a_log_cut_short_before_the_first_save_is_mended(tmp_path, shards, quick):
    lines = '{"stage": 0, "images": 16, "loss": 9.0, "rate": 1.0}\n{"stage": 0, "ima'
    (tmp_path / "log.jsonl").write_text(lines)
    training_run.finetune(Recipe(shards, quick), tmp_path, device="cpu")
    assert [images for _, images, _ in losses(tmp_path)] == [16, 32, 48, 16, 32]
    assert all(loss < 9 for _, _, loss in losses(tmp_path))


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor", "muon"])
def test_stopped_between_two_log_lines_goes_on_bit_for_bit(tmp_path, shards, quick, optimizer):
    config = replace(quick, save_every=24, optimizer=optimizer, gradient_accumulation=3)
    config = replace(config, ema_sigma_rel=(0.1, 0.2))
    killed_at(shards, tmp_path / "killed", config, (0, 32))
    for name in ("killed", "whole"):
        training_run.finetune(Recipe(shards, config), tmp_path / name, device="cpu")
    one, two = tmp_path / "killed", tmp_path / "whole"
    assert losses(one) == losses(two)
    assert (one / MODEL_FILE).read_bytes() == (two / MODEL_FILE).read_bytes()


def test_two_runs_do_not_share_a_folder(tmp_path, shards, quick):
    from curate.system.files import lock_folder

    with lock_folder(tmp_path), pytest.raises(CurateError, match="another command is writing here"):
        training_run.finetune(Recipe(shards, quick), tmp_path, device="cpu")


def test_a_state_of_another_version_is_refused(tmp_path, shards, quick):
    checkpoint.write_tensors(tmp_path / STATE_FILE, {}, {"version": "fubuki-state/1"})
    with pytest.raises(InputError, match="written as fubuki-state/1, this reads fubuki-state/4"):
        training_run.finetune(Recipe(shards, quick), tmp_path, device="cpu")
