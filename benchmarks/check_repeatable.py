"""Is a run repeatable? Killed against uninterrupted, and two processes against one.

    python benchmarks/check_repeatable.py [--shards DIR] [--kills 10] [--images 400,160]

Everything is run as a user runs it: `train finetune`, ended with SIGKILL at moments drawn at random
and typed again until it is done; then the same under `torchrun --nproc-per-node 2`, with batches
that divide evenly and with batches that do not. Without --shards, coloured shapes are made. Printed
are the largest differences; the exit code is 1 if a resumed run differs in one bit, or two
processes in more than 1e-5 of the loss. On a CPU, with one thread.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # the shapes are those of the tests

from curate.formats.model import MODEL_FILE
from tests import tiny_encoder
from tests.drawings import shapes, write_shards
from train.checkpoints import checkpoint

BOUND = 1e-5
SETTINGS: dict[str, Any] = {
    "stages": [16, 32],
    "model_size": "tiny",
    "batch_size": 8,
    "warmup": 80,
    "gradient_accumulation": 2,
    "ema_sigma_rel": [0.05, 0.1],
    "crop": 16,
    "log_every": 40,
    "save_every": 40,
    "save_seconds": 0.0,
    "sample_every": 200,
}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--shards", type=Path, help="shards to train on; by default made")
    options.add_argument("--kills", type=int, default=10)
    options.add_argument("--images", default="400,160", help="images seen by each stage")
    options.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = make_sets(folder, given.shards)
        SETTINGS["images"] = [int(n) for n in given.images.split(",")]
        SETTINGS["text_encoder"] = tiny_encoder.build(folder / "encoder")
        same = compare_killed(folder, sets, given.kills, random.Random(given.seed))
        near = compare_processes(folder, sets)
    return 0 if same and near else 1


def make_sets(folder: Path, given: Path | None) -> list[str]:
    """What is trained on: new images, and others to replay and to preserve."""
    colours = {"--shards": ("red", "green"), "--replay": ("blue",), "--regularization": ("black",)}
    words = []
    for option, names in colours.items():
        own = write_shards(folder / option.strip("-"), shapes(*names, copies=4))
        words += [option, str(given if given and option == "--shards" else own)]
    return words


def command(folder: Path, sets: list[str], run: str, changes: Mapping[str, Any]) -> list[str]:
    file = folder / f"{run}.toml"
    values = SETTINGS | dict(changes)
    file.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items()))
    words = ["finetune", *sets, "--out", str(folder / run), "--config", str(file)]
    return ["-m", "train.cli", *words, "--device", "cpu"]


def run(words: list[str]) -> None:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=quiet())
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stderr}")


def quiet() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def compare_killed(folder: Path, sets: list[str], kills: int, moments: random.Random) -> bool:
    """One run uninterrupted, others killed again and again; whether the files are the same."""
    whole, where = folder / "whole", folder / "killed"
    run(command(folder, sets, "whole", {}))
    words = command(folder, sets, "killed", {})
    seconds = (whole / MODEL_FILE).stat().st_mtime - (whole / "settings.json").stat().st_mtime
    reached, apart = [], []
    while len(reached) < kills:
        before = inode(where / "log.jsonl")
        process = subprocess.Popen(
            [sys.executable, *words], env=quiet(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        while process.poll() is None and inode(where / "log.jsonl") == before:
            time.sleep(0.01)  # once it trains, lines of what is trained again are taken back
        try:
            process.wait(moments.uniform(0, seconds / 4))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            reached.append(images(where))
        else:  # it came to its end before it was killed: compare, and begin anew
            apart.append(compare_runs(whole, where))
            shutil.rmtree(where)
    run(words)
    apart.append(compare_runs(whole, where))
    told = ", ".join(map(str, reached))
    print(
        f"killed {len(reached)} times (after {told} images), {len(apart)} runs resumed to the end:"
    )
    for what, numbers in zip(
        ("bytes of the model", "weight", "lines"), zip(*apart, strict=True), strict=True
    ):
        print(f"  largest difference: {what:20} {max(numbers):g}")
    return not any(map(any, apart))


def inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def compare_runs(whole: Path, other: Path) -> tuple[float, float, float]:
    """Bytes of the model that differ, largest difference of a weight, lines of the log likewise."""
    one, two = whole / MODEL_FILE, other / MODEL_FILE
    size = count_differences(one.read_bytes(), two.read_bytes())
    return size, largest_weight_difference(one, two), count_different_lines(whole, other)


def compare_processes(folder: Path, sets: list[str]) -> bool:
    """Two processes against one, for even and uneven parts; whether the losses are near."""
    near = True
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    for batch, microbatches in ((8, 1), (8, 2), (7, 3)):
        name = f"{batch}-{microbatches}"
        values = {"precision": "fp32", "batch_size": batch}
        values |= {"gradient_accumulation": microbatches}
        values["images"] = [batch * 20, batch * 10]
        run(command(folder, sets, f"one-{name}", values))
        run([*launcher, *command(folder, sets, f"two-{name}", values)])
        one, two = folder / f"one-{name}", folder / f"two-{name}"
        apart = max(
            abs(a["loss"] - b["loss"]) for a, b in zip(read_log(one), read_log(two), strict=True)
        )
        print(f"two processes, batch {batch} in {microbatches} microbatches each, against one:")
        print(f"  largest difference: {'loss':20} {apart:.1e}")
        files = (one / MODEL_FILE, two / MODEL_FILE)
        print(f"  largest difference: {'weight':20} {largest_weight_difference(*files):.1e}")
        near = near and apart <= BOUND
    return near


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Lines with a loss, but for how fast it went."""
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k != "rate"} for line in lines if "loss" in line]


def images(folder: Path) -> int:
    """Images of both stages that the log tells of."""
    if not (folder / "log.jsonl").exists():
        return 0
    whole = (folder / "log.jsonl").read_text().split("\n")[:-1]
    last = json.loads(whole[-1]) if whole else {"stage": 0, "images": 0}
    return sum(SETTINGS["images"][: last["stage"]]) + last["images"]


def count_differences(one: bytes, two: bytes) -> int:
    return sum(a != b for a, b in zip(one, two, strict=False)) + abs(len(one) - len(two))


def count_different_lines(one: Path, two: Path) -> int:
    a, b = read_log(one), read_log(two)
    return sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))


def largest_weight_difference(one: Path, two: Path) -> float:
    (a, _), (b, _) = (checkpoint.read_tensors(path) for path in (one, two))
    weights = [name for name in a if a[name].is_floating_point()]
    return max(float((a[name] - b[name]).abs().max()) for name in weights)


if __name__ == "__main__":
    sys.exit(main())
