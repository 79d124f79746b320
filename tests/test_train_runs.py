# ruff: noqa: F401, F811 fixtures
"""Several models by one recipe, which differ in their seeds alone."""

import json
import shutil
from dataclasses import replace

import pytest

from curate.errors import InputError, UsageError
from curate.formats.model import MODEL_FILE, read_model
from tests.recorded_progress import Killed, KillingProgress, RecordedProgress
from tests.training import command, encoder, losses, quick, settings_file, shards, torchrun, trained
from train.cli import main
from train.config import LARGEST_SEED
from train.training.run import Recipe, finetune, finetune_runs


@pytest.fixture(scope="module")
def tiny(quick):
    return replace(quick, images=(16, 8), log_every=8)


def test_runs_are_those_of_their_seeds_and_what_is_missing_is_made(tmp_path, shards, tiny):
    recipe = Recipe(shards, replace(tiny, seed=4))
    killed = KillingProgress("seed-5, 8 px", 8)
    with pytest.raises(Killed):
        finetune_runs(recipe, tmp_path, 2, device="cpu", progress=killed)
    first = (tmp_path / "seed-4" / MODEL_FILE).stat().st_mtime_ns

    progress = RecordedProgress()
    made = finetune_runs(recipe, tmp_path, 3, device="cpu", progress=progress)
    assert made == [tmp_path / f"seed-{n}" for n in (4, 5, 6)]
    assert (made[0] / MODEL_FILE).stat().st_mtime_ns == first
    assert f"seed-4: {made[0]}: already trained; nothing to do" in progress.said
    named = {what.partition(",")[0] for what, _, _ in progress.counts}
    assert named == {"seed-5", "seed-6"}
    alone = finetune(Recipe(shards, replace(tiny, seed=5)), tmp_path / "alone", device="cpu")
    assert alone.digest == read_digest(made[1])
    assert len({read_digest(run) for run in made}) == 3


def read_digest(run):
    from curate.system.files import file_sha256

    return file_sha256(run / MODEL_FILE)


def test_another_recipe_in_the_same_place_is_refused(tmp_path, trained, shards, tiny):
    recipe = Recipe(shards, tiny)
    finetune_runs(recipe, tmp_path, 1, device="cpu")
    other = Recipe(shards, replace(tiny, batch_size=4))
    with pytest.raises(InputError, match="seed-0: holds another run \\(other batch_size\\)"):
        finetune_runs(other, tmp_path, 2, device="cpu")
    assert not (tmp_path / "seed-1").exists()
    with pytest.raises(InputError, match="holds a run itself"):
        finetune_runs(recipe, trained, 2, device="cpu")
    last = Recipe(shards, replace(tiny, seed=LARGEST_SEED))
    with pytest.raises(UsageError, match="is too large"):
        finetune_runs(last, tmp_path / "large", 2, device="cpu")


def test_the_command_lists_all_runs(tmp_path, shards, tiny, capsys):
    words = command(shards, tmp_path / "out", settings_file(tmp_path, tiny), "--runs", "2")[3:]
    runs = [tmp_path / "out" / f"seed-{n}" for n in (0, 1)]
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as stop:
            main([*words, *more])
        assert stop.value.code == 0
        out, err = capsys.readouterr()
        if more:
            found = json.loads(out)
            assert [run["seed"] for run in found] == [0, 1]
            assert [run["model"] for run in found] == [str(run / MODEL_FILE) for run in runs]
        else:
            lines = [line.split("\t") for line in out.splitlines()]
            for run, line in zip(runs, lines, strict=True):
                last = {stage: f"{loss:.4f}" for stage, _, loss in losses(run)}
                assert line[:3] == [str(run / MODEL_FILE), last[0], last[1]]
                assert line[3].endswith(" dB") and (run / "loss.png").exists()
                assert f"{run}: the 16 px stage has not converged" in err


def test_two_processes_make_the_runs_of_one(tmp_path, shards, tiny):
    exact = replace(tiny, precision="fp32")
    one, two = tmp_path / "one", tmp_path / "two"
    finetune_runs(Recipe(shards, exact), one, 3, device="cpu")
    shutil.copytree(one / "seed-0", two / "seed-0")  # finished before
    words = command(shards, two, settings_file(tmp_path, exact), "--runs", "3")
    done = torchrun(2, words)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 3
    for seed in range(3):
        both = [losses(folder / f"seed-{seed}") for folder in (one, two)]
        for a, b in zip(*both, strict=True):
            assert a == pytest.approx(b, abs=1e-5)
        assert read_model(two / f"seed-{seed}").facts.settings["seed"] == seed
