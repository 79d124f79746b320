# ruff: noqa: F401, F811 fixtures
import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from curate.errors import CurateError, InputError
from tests.training import command, encoder, entries, losses, quick, settings_file, shards, trained
from train import cascade, checkpoint


def test_the_same_command_again_changes_nothing(trained, shards, quick):
    before, said = (trained / checkpoint.MODEL).read_bytes(), []
    cascade.finetune(shards, trained, quick, device="cpu", say=said.append)
    assert (trained / checkpoint.MODEL).read_bytes() == before and "already trained" in said[0]


def test_killed_again_and_again_equals_uninterrupted(tmp_path, trained, shards, quick):
    moments = random.Random(4)
    where, file = tmp_path / "run", settings_file(tmp_path, replace(quick, save_every=8))
    whole = tmp_path / "whole"
    cascade.finetune(shards, whole, replace(quick, save_every=8), device="cpu")
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
        if (where / checkpoint.MODEL).exists():
            assert (where / checkpoint.MODEL).read_bytes() == (
                whole / checkpoint.MODEL
            ).read_bytes()
            shutil.rmtree(where)  # it got through before the kill: begin a fresh run
    done = subprocess.run(
        command(shards, where, file), env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert kills >= 3
    assert (where / checkpoint.MODEL).read_bytes() == (whole / checkpoint.MODEL).read_bytes()
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
        ({"images": (64, 32)}, "holds another run (other images)"),
    ],
)
def test_a_folder_holds_one_run(trained, shards, quick, change, message):
    with pytest.raises(InputError) as error:
        cascade.finetune(shards, trained, replace(quick, **change), device="cpu")
    assert message in str(error.value) and "--out" in str(error.value)


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


def test_two_runs_do_not_share_a_folder(tmp_path, shards, quick):
    from curate.files import locked

    with locked(tmp_path), pytest.raises(CurateError, match="another command is writing here"):
        cascade.finetune(shards, tmp_path, quick, device="cpu")
