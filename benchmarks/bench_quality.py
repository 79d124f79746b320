"""Quality for time: our training and sampling beside imagen-pytorch's defaults, on one thread.

    pip install imagen-pytorch==2.1.0      # in an environment that also holds `train`
    python benchmarks/bench_quality.py --tiles tiles-cc0.tar.gz --out quality [--people demo]
        [--hidden-shift 1] [--minutes 10] [--fractions 0.1,0.2,1] [--samples 240]
        [--peer-samples 24]

Two sets of images: the figures of `stacked_figures.py`, and, with `--people`, the emoji of
`pipelines/emoji_people.py` (a folder that holds `known-data` and `truth-data`). Both sides see
the same images, the same token states of MiniLM and the same CPU-seconds (`process_time`,
training steps only). Ours is `train.training.run.finetune` on shards with the settings'
defaults, once for each fraction of the time, each a whole run of its own.

Measured, on what was never shown together ("never") and on what was ("seen"):
- error: mean squared error of the expected clean image at several noise levels, in [-1, 1],
- right: share of samples whose nearest true image is the one asked for, with Wilson's interval,
- CPU-seconds a sample: ours as `train sample` draws, text encoder included; the peer with its
  1,000 steps, from token states.

What was measured is kept in the folder; the same command again goes on from there.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import stacked_figures
import torch
from stacked_figures import Figures

from curate.system.files import write_bytes
from train import config
from train.checkpoints.checkpoint import Cascade
from train.config import TrainConfig
from train.data import dataset
from train.model import diffusion
from train.sampling.sampler import CascadeSampler, SamplingConfig
from train.size import Size
from train.text_encoder.embeddings import DEFAULT_ENCODER, EncodedText, encode_cached
from train.training.run import Recipe, finetune
from train.verification.intervals import wilson

SIGMAS = (0.5, 1.0, 2.0, 5.0, 15.0)
CHUNK = 64  # images denoised at a time
CALIBRATION = 960  # images trained on to learn how many fit into the time
PEER_PARTS = 5  # times the peer's error is looked at on its way


@dataclass(frozen=True)
class Task:
    """What to learn, and all true images."""

    name: str
    shards: Path
    true: Figures
    text: EncodedText  # of the captions of `true`

    def rows(self, *, seen: bool, count: int) -> list[int]:
        """So many true images, the same ones always."""
        kind = np.flatnonzero(self.true.seen_N == seen)
        return sorted(np.random.default_rng(0).permutation(kind)[:count].tolist())

    @property
    def size(self) -> Size:
        height, width = self.true.images_NHWC.shape[1:3]
        return Size(width, height)


def main() -> None:
    given = options()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    results = {}
    for name, make in (("figures", figures), ("people", people)):
        if name in given.sets:
            results[name] = compare(make(given), given)
            write_bytes(given.out / "quality.json", json.dumps(results, indent=1).encode())


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=Path, help="archive of the CC0 tiles, for the figures")
    parser.add_argument("--people", type=Path, help="folder with known-data and truth-data")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and results")
    parser.add_argument("--pixels", type=int, default=16)
    parser.add_argument("--hidden-shift", type=int, default=0, help="other hidden pairs: 1 to 6")
    parser.add_argument("--config", type=Path, help="TOML file with settings of ours")
    parser.add_argument("--minutes", type=float, default=10, help="CPU-minutes of training")
    parser.add_argument("--fractions", default="0.1,0.2,1", help="of the minutes, for ours")
    parser.add_argument("--samples", type=int, default=240, help="of ours, of each kind")
    parser.add_argument("--peer-samples", type=int, default=24, help="of the peer; 0: no peer")
    given = parser.parse_args()
    given.sets = [s for s in ("tiles", "people") if getattr(given, s)]
    given.sets = ["figures" if s == "tiles" else s for s in given.sets]
    if not given.sets:
        parser.error("name --tiles or --people")
    return given


def figures(given: argparse.Namespace) -> Task:
    true = stacked_figures.compose(given.tiles, given.pixels, given.hidden_shift)
    learnt = true.select(true.seen_N)
    shards = stacked_figures.write_shards(learnt, given.out / f"figures-{given.pixels}")
    return Task("figures", shards, true, encode(true, given.out))


def people(given: argparse.Namespace) -> Task:
    """The emoji the demo trains on; its hidden combinations, without the word it fetches later."""
    size = Size.of(given.pixels)
    shown = dataset.load_images(given.people / "known-data", size)
    every = dataset.load_images(given.people / "truth-data", size)
    words = {c for texts in shown.captions for c in texts}
    known = {w for c in words for w in c.split()}
    rows = [r for r, texts in enumerate(every.captions) if set(texts[0].split()) <= known]
    captions = [every.captions[r][0] for r in rows]
    images = np.asarray(every.select(rows).pixels_NHWC)
    seen = np.array([c in words for c in captions])
    true = Figures(images, captions, np.zeros((len(rows), 4), int), seen)
    return Task("people", given.people / "known-data", true, encode(true, given.out))


def encode(true: Figures, out: Path) -> EncodedText:
    return encode_cached(true.captions, DEFAULT_ENCODER, out / "text")


def compare(task: Task, given: argparse.Namespace) -> dict[str, Any]:
    """Both sides on one set; what was measured before is read."""
    seconds, folder = 60 * given.minutes, given.out / task.name
    own = stacked_figures.nearest(task.true.images_NHWC, task.true) == np.arange(len(task.true))
    print(
        f"{task.name}: {len(task.true)} true images of {task.size} px, "
        f"{int((~task.true.seen_N).sum())} never shown; "
        f"nearest is right on {own.mean():.4f} of the true images themselves",
        flush=True,
    )
    found: dict[str, Any] = {"minutes": given.minutes, "ours": {}}
    for fraction in map(float, given.fractions.split(",")):
        run = folder / f"ours-{fraction * given.minutes:g}"
        measured = once(run, lambda run=run, f=fraction: ours(task, run, f * seconds, given))
        found["ours"][f"{fraction:g}"] = measured
        show(f"ours, {fraction:g} of the time", measured)
    if given.peer_samples:
        run = folder / f"peer-{given.minutes:g}-{given.peer_samples}"
        found["peer"] = once(run, lambda: peer(task, seconds, given.peer_samples))
        show("imagen-pytorch", found["peer"])
        conclude(found)
    return found


def once(folder: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` measures, kept in `measured.json`."""
    kept = folder / "measured.json"
    if not kept.exists():
        result = make()
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(kept, json.dumps(result, indent=1).encode())
    measured: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return measured


def ours(
    task: Task,
    folder: Path,
    seconds: float,
    given: argparse.Namespace,
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Train for so many CPU-seconds with `--config` and `changes`, then measure."""
    asked = {"stages": (task.size,), "sample_every": 0, **changes}
    short = config.load_config(given.config, {**asked, "images": (CALIBRATION,)})
    named = "-".join(["calibration", *(f"{k}-{v}" for k, v in changes.items())])
    rate = train(task, folder.with_name(named), short)[1]["images_a_second"]
    images = max(short.batch_size, round(rate * seconds / short.batch_size) * short.batch_size)
    settings = config.load_config(given.config, {**asked, "images": (images,)})
    cascade, cost = train(task, folder, settings)
    stage = cascade.stages[0]
    measured: dict[str, Any] = {
        "parameters": sum(p.numel() for p in stage.network.parameters()),
        "images": images,
        **cost,
    }
    for kind, rows in halves(task, given.samples):
        measured[f"error_{kind}"] = {s: our_error(cascade, task, rows, s) for s in SIGMAS}
    sampler = CascadeSampler(cascade, torch.device("cpu"), SamplingConfig())
    sampler.generate(task.true.captions[:1], [0])  # load the text encoder

    def draw(rows: Sequence[int]) -> np.ndarray:
        return sampler.generate([task.true.captions[r] for r in rows], list(rows))

    return measured | measure_samples(task, draw, given.samples, folder)


class Timing:
    """Notes after each step of training the images seen and the CPU-seconds of this process."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, float]] = []

    def say(self, sentence: str) -> None:
        """Say nothing."""

    def count(self, what: str, done: int, total: int | None, **shown: float) -> None:
        if "loss" in shown:
            self.steps.append((done, time.process_time()))


def train(task: Task, folder: Path, settings: TrainConfig) -> tuple[Cascade, dict[str, float]]:
    """A finished run, and what its steps cost: CPU-seconds, and images a CPU-second."""

    def timed() -> dict[str, float]:
        shutil.rmtree(folder, ignore_errors=True)  # an unfinished run's cost is not known
        timing = Timing()
        finetune(Recipe(task.shards, settings), folder, device="cpu", progress=timing)
        (first, began), (last, ended) = timing.steps[0], timing.steps[-1]
        rate = (last - first) / (ended - began)
        return {"cpu_seconds": last / rate, "images_a_second": rate}

    cost = once(folder / "cost", timed)
    return finetune(Recipe(task.shards, settings), folder, device="cpu"), cost


def our_error(cascade: Cascade, task: Task, rows: Sequence[int], sigma: float) -> float:
    """As `ImagenPeer.error`, with the same noise."""
    stage, total, draws = cascade.stages[0], 0.0, torch.Generator().manual_seed(0)
    for start in range(0, len(rows), CHUNK):
        part = list(rows[start : start + CHUNK])
        pixels = torch.from_numpy(task.true.images_NHWC[part]).permute(0, 3, 1, 2)
        clean = pixels.float() / 127.5 - 1
        noisy = clean + sigma * torch.randn(clean.shape, generator=draws)
        levels, text = torch.full((len(part),), sigma), task.text.take(torch.tensor(part))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            expected = diffusion.denoise(
                stage.network, noisy, levels, text, sigma_data=stage.sigma_data
            )
        total += float((expected.clamp(-1, 1) - clean).square().flatten(1).mean(1).sum())
    return total / len(rows)


def peer(task: Task, seconds: float, samples: int) -> dict[str, Any]:
    """imagen-pytorch with its defaults for as many CPU-seconds."""
    from peers import ImagenPeer

    states, mask = task.text.take(torch.arange(len(task.true)))
    model = ImagenPeer(task.size.width, states.shape[2])
    learnt = np.flatnonzero(task.true.seen_N)
    way = []
    for _ in range(PEER_PARTS):
        model.train(
            task.true.images_NHWC[learnt],
            states[learnt].numpy(),
            mask[learnt].numpy(),
            seconds / PEER_PARTS,
        )
        way.append([model.cpu_seconds, *peer_errors(model, task, "never", samples).values()])
        print("  peer: CPU-seconds, errors:", *(f"{v:.4f}" for v in way[-1]), flush=True)

    def draw(rows: Sequence[int]) -> np.ndarray:
        chosen = list(rows)
        return model.sample(states[chosen].numpy(), mask[chosen].numpy())

    measured = {
        "parameters": model.parameters,
        "images": model.images_seen,
        "cpu_seconds": model.cpu_seconds,
        "images_a_second": model.images_seen / model.cpu_seconds,
        "way": way,
    }
    for kind in ("seen", "never"):
        measured[f"error_{kind}"] = peer_errors(model, task, kind, samples)
    return measured | measure_samples(task, draw, samples // 2, None)


def peer_errors(model: Any, task: Task, kind: str, samples: int) -> dict[float, float]:
    rows = dict(halves(task, max(samples, CHUNK)))[kind]
    states, mask = task.text.take(torch.tensor(rows))
    images = task.true.images_NHWC[rows]
    return {s: model.error(images, states.numpy(), mask.numpy(), s) for s in SIGMAS}


def halves(task: Task, count: int) -> list[tuple[str, list[int]]]:
    return [(kind, task.rows(seen=kind == "seen", count=count)) for kind in ("seen", "never")]


def measure_samples(
    task: Task,
    draw: Callable[[Sequence[int]], np.ndarray],
    count: int,
    folder: Path | None,
) -> dict[str, Any]:
    """Samples of both kinds: how many are right, and what one costs."""
    measured: dict[str, Any] = {}
    spent, drawn = 0.0, 0
    for kind, rows in halves(task, count):
        began = time.process_time()
        images = draw(rows)
        spent, drawn = spent + time.process_time() - began, drawn + len(rows)
        right = int((stacked_figures.nearest(images, task.true) == rows).sum())
        measured[f"right_{kind}"] = [right / len(rows), *wilson(right, len(rows)), len(rows)]
        if folder is not None:
            stacked_figures.sheet(images[:64]).save(folder / f"{kind}.png")
    return measured | {"seconds_a_sample": spent / drawn}


def show(title: str, measured: dict[str, Any]) -> None:
    print(
        f"  {title}: {measured['parameters'] / 1e6:.1f} M parameters, "
        f"{measured['images']} images in {measured['cpu_seconds']:.0f} CPU-s "
        f"({measured['images_a_second']:.1f}/s), {measured['seconds_a_sample']:.4f} s a sample"
    )
    for kind in ("seen", "never"):
        value, low, high, count = measured[f"right_{kind}"]
        errors = " ".join(f"{s}: {e:.4f}" for s, e in measured[f"error_{kind}"].items())
        print(
            f"    {kind:5} right {value:.3f} [{low:.3f}, {high:.3f}] of {count};"
            f" error at sigma {errors}",
            flush=True,
        )


def conclude(found: dict[str, Any]) -> None:
    """The two ratios: time to the peer's final quality, and time a sample."""
    other = found["peer"]
    for fraction, measured in found["ours"].items():
        ratios = [measured["error_never"][s] / e for s, e in other["error_never"].items()]
        better = all(r <= 1 for r in ratios)
        share = measured["cpu_seconds"] / other["cpu_seconds"]
        print(
            f"  {fraction} of the time ({share:.3f} measured): error {max(ratios):.3f} times the "
            f"peer's final one at worst{', better at every noise level' if better else ''}"
        )
    last = list(found["ours"].values())[-1]
    ratio = other["seconds_a_sample"] / last["seconds_a_sample"]
    print(f"  a sample costs the peer {ratio:.0f} times as much", flush=True)


if __name__ == "__main__":
    main()
