"""Runs small enough for tests: settings, shards, an encoder, a trained cascade, and the command."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_encoder
from tests.drawings import shapes, write_shards
from train.config import TrainConfig, to_json
from train.training import run as training_run
from train.training.run import Recipe

QUICK = TrainConfig(
    stages=(8, 16),
    images=(48, 32),
    model_size="tiny",
    batch_size=8,
    warmup=16,
    log_every=16,
    save_every=16,
    save_seconds=0.0,
)
ALONE = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    return tiny_encoder.build(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def quick(encoder):
    return replace(QUICK, text_encoder=encoder)


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shapes"), shapes("red", "green"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory, shards, quick):
    folder = tmp_path_factory.mktemp("trained")
    training_run.finetune(Recipe(shards, quick), folder, device="cpu")
    return folder


def command(shards: Path, run: Path, settings_file: Path, *more: str) -> list[str]:
    """`train finetune` as a user types it."""
    words = ["--shards", str(shards), "--out", str(run), "--config", str(settings_file)]
    python = [sys.executable, "-m", "train.cli", "finetune"]
    return [*python, *words, "--device", "cpu", *more]


def settings_file(folder: Path, config: TrainConfig) -> Path:
    """The settings as TOML."""
    path = folder / "quick.toml"
    path.write_text("".join(f"{k} = {_toml(v)}\n" for k, v in to_json(config).items()))
    return path


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


def losses(run: Path) -> list[tuple[int, int, float]]:
    """Stage, images and loss of each line of the log that has a loss."""
    return [(e["stage"], e["images"], e["loss"]) for e in entries(run) if "loss" in e]


def entries(run: Path) -> list[dict[str, Any]]:
    """All lines of the log."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def torchrun(processes: int, words: list[str]) -> "subprocess.CompletedProcess[str]":
    """The command in several processes that share the work."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    place = ["--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    whole = [*launcher, *place, *words[1:]]
    return subprocess.run(whole, capture_output=True, text=True, timeout=300, env=ALONE)
