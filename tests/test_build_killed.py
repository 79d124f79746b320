"""Whatever line a SIGKILL strikes, the same `curate build` again ends in the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import image_bytes

from curate.commands import build
from curate.dataset.folder import Dataset
from curate.fetch.run import fetch_images
from curate.images.dedup import find_duplicates
from curate.sources.folder import SOURCE

SIZE = 32  # pixels


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of twenty images, two of them copies, one unreadable; nothing checked yet."""
    folder = tmp_path_factory.mktemp("pictures")
    lines = ["file_name,text,license"]
    for number in range(20):
        data = image_bytes(number % 18, side=64) + bytes(number // 18)  # pixels tell of copies
        (folder / f"{number}.png").write_bytes(data[:-30] if number == 5 else data)
        lines.append(f"{number}.png,image {number},{'MIT' if number % 4 else ''}")
    (folder / "metadata.csv").write_text("\n".join(lines))
    root = tmp_path_factory.mktemp("fetched") / "data"
    fetch_images(Dataset(root), SOURCE, folder)
    return root


@pytest.fixture(scope="module")
def whole(fetched: Path) -> dict[str, bytes]:
    """What an uninterrupted build makes of it."""
    root = fetched.parent / "whole"
    shutil.copytree(fetched, root)
    build.build_dataset(Dataset(root), size=SIZE)
    return contents(root)


def contents(root: Path) -> dict[str, bytes]:
    """Every file but what is derived, which comes and goes."""
    files = (p for p in root.rglob("*") if p.is_file() and p.parts[len(root.parts)] != "derived")
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


def test_there_is_something_to_decide(whole: dict[str, bytes], fetched: Path) -> None:
    rows = Dataset(fetched.parent / "whole").read()
    assert sorted(s.dropped.split(":")[0] for s in rows.samples if s.dropped) == [
        "duplicate",
        "duplicate",
        "unreadable",
    ]
    wanted = ["fetch folder", "check", "dedup", "check", "caption"]
    assert [e["step"] for e in rows.history] == wanted
    joint = [s for s in rows.samples if s.group and s.train.decision == "hold"]
    assert len(joint) == 2, "two copies, one of them without a licence"
    assert "shards/index.json" in whole


@pytest.mark.parametrize("done", [1, 2, 3, 4])
def test_cut_short_between_two_steps(
    fetched: Path, whole: dict[str, bytes], tmp_path: Path, done: int
) -> None:
    data = Dataset(tmp_path / "data")
    shutil.copytree(fetched, data.root)
    steps: list[Callable[[Dataset], object]] = [
        build.check_dataset,
        find_duplicates,
        build.check_copies,
        build.caption_dataset,
    ]
    for step in steps[:done]:
        step(data)
    for _ in range(2):
        build.build_dataset(data, size=SIZE)
        assert contents(data.root) == whole


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_killed_in_a_step(
    fetched: Path, whole: dict[str, bytes], tmp_path: Path, step: int
) -> None:
    data = Dataset(tmp_path / "data")
    shutil.copytree(fetched, data.root)
    process = subprocess.Popen(
        typed(data.root), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    next(line for line in process.stderr if line.startswith(f"{step} of 5"))
    time.sleep(random.Random(step).uniform(0, 0.2))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(data.read().history) >= step
    build.build_dataset(data, size=SIZE)
    assert contents(data.root) == whole


def typed(root: Path) -> list[str]:
    words = ["build", "--size", str(SIZE), "--data", str(root)]
    return [sys.executable, "-m", "curate.cli", *words]
