"""Super-resolution: the stage that `train finetune` trains beside bicubic and Real-ESRGAN.

    python benchmarks/bench_super_resolution.py --shards demo/people-data [--out FOLDER]
        [--low 16] [--size 64] [--images 18000] [--samples 1000]

Trains a super-resolution stage on the shards (all but the held-out images, settings and path of
`train finetune`; again with the same --out nothing is trained), reduces the held-out images and
restores them. Real-ESRGAN is listed where its weights are installed.
Columns: PSNR in dB against the true images, mean over images and seeds, and what it is above
bicubic; sharpness, the detail (what reducing takes away) beside that of the true images, 1 is
as sharp; colours, the largest mean difference of a channel in 255ths; CPU-ms an image.
FOLDER/grid.png shows, row by row, what was given, bicubic, Real-ESRGAN, ours and the true images.
Exits with 1 if ours is less than 2 dB above bicubic or a colour shifts by 1/255 or more.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from curate.errors import InputError
from curate.system.terminal import TerminalProgress
from train import config
from train.checkpoints import checkpoint
from train.checkpoints.checkpoint import Stage
from train.config import TrainConfig
from train.data import dataset
from train.resizing import back_project, downsample_to
from train.sampling.sampler import SamplingConfig
from train.sampling.upscalers import Upscaler, load_upscaler
from train.size import Size
from train.text_encoder.embeddings import TextEncoder
from train.training import convergence, run
from train.training.convergence import Pairs

CPU = torch.device("cpu")
ABOVE, SHIFT = 2.0, 1.0  # dB over bicubic and 255ths that must be reached
SHOWN = 9  # columns of the grid


@dataclass
class Method:
    """What one way to enlarge made, image by image."""

    psnr: list[Tensor] = field(default_factory=list)
    sharpness: list[Tensor] = field(default_factory=list)
    difference: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0
    shown: Tensor | None = None  # the first images

    def add(self, made: Tensor, pairs: Pairs) -> None:
        self.psnr.append(convergence.psnr(made, pairs.real_BCHW))
        self.sharpness.append(detail(made, pairs) / detail(pairs.real_BCHW, pairs))
        self.difference.append(convergence.channel_difference(made, pairs.real_BCHW))
        self.shown = made[:SHOWN] if self.shown is None else self.shown

    @property
    def decibels(self) -> float:
        return float(torch.cat(self.psnr).mean())

    @property
    def shift(self) -> float:
        return float(torch.cat(self.difference).mean(0).abs().max())

    def line(self, name: str, bicubic: float) -> str:
        count = sum(map(len, self.psnr))
        sharp = float(torch.cat(self.sharpness).mean())
        return (
            f"{name:32} {self.decibels:7.2f} {self.decibels - bicubic:+7.2f} {sharp:10.3f} "
            f"{self.shift:8.3f} {1000 * self.seconds / count:8.1f} {count:8d}"
        )


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--shards", type=Path, required=True)
    options.add_argument("--out", type=Path, default=Path("super-resolution"))
    options.add_argument("--low", type=Size.of, default=Size(16, 16))
    options.add_argument("--size", type=Size.of, default=Size(64, 64))
    options.add_argument("--images", type=int, default=18_000, help="images the stage is taught")
    options.add_argument("--samples", type=int, default=1_000, help="images drawn by ours")
    options.add_argument("--config", type=Path, help="TOML file with settings of train finetune")
    given = options.parse_args()
    torch.set_num_threads(1)
    changes = {"stages": [given.low, given.size], "images": (0, given.images)}
    settings = config.load_config(given.config, changes)
    stage, spent = train(given.shards, given.out, settings)
    pairs, keys = load_held_out(given.shards, stage, settings)
    taught = f"{stage.images_seen:,} images taught in {spent:.0f} CPU-s"
    print(f"{given.low} -> {given.size} px, {taught}, {len(keys)} images held out")
    found = compare(stage, pairs, given.samples)
    print(
        f"{'':32} {'PSNR':>7} {'above':>7} {'sharpness':>10} {'colours':>8} {'CPU-ms':>8} samples"
    )
    for name, method in found.items():
        print(method.line(name, found["bicubic"].decibels))
    grid(found, pairs).save(given.out / "grid.png")
    print(f"{given.out / 'grid.png'}: {', '.join(['given', *grid_names(found), 'true'])}")
    ours = found["ours"]
    missed = ours.decibels < found["bicubic"].decibels + ABOVE or ours.shift >= SHIFT
    return int(missed)


def train(shards: Path, out: Path, settings: TrainConfig) -> tuple[Stage, float]:
    """The stage, and the CPU-seconds of this call."""
    begun = time.process_time()
    with TerminalProgress() as progress:
        run.finetune(run.Recipe(shards, settings), out, device="cpu", progress=progress)
    spent = time.process_time() - begun
    return checkpoint.load(out).stages[1], spent


def load_held_out(shards: Path, stage: Stage, settings: TrainConfig) -> tuple[Pairs, list[str]]:
    """The images that `train finetune` kept out, with their first captions encoded."""
    _, held = dataset.split_held_out(dataset.load_images(shards, stage.size), settings.held_out)
    if not len(held):
        raise SystemExit("too few images: none is held out")
    encoded = TextEncoder(settings.text_encoder, device=CPU).encode([c[0] for c in held.captions])
    images = held.images(range(len(held)))
    low = stage.conditioning_size or stage.size
    text = encoded.take(torch.arange(len(held)))
    return Pairs(images, downsample_to(images, low), text), held.keys


def compare(stage: Stage, pairs: Pairs, samples: int) -> dict[str, Method]:
    """Each way to enlarge, by name."""
    rounds = -(-samples // len(pairs.real_BCHW))
    sampling = SamplingConfig()
    found: dict[str, Method] = {}
    plain = pairs.upsampled_BCHW.clamp(-1, 1)
    measure(found, "bicubic", pairs, lambda n: plain)
    measure(found, "bicubic, consistent", pairs, lambda n: back_project(plain, pairs.low_BChw))
    try:
        ready = load_upscaler("realesrgan", device=CPU)
        measure(found, "Real-ESRGAN", pairs, lambda n: upscale(ready, pairs))
        made = upscale(ready, pairs)
        measure(
            found, "Real-ESRGAN, consistent", pairs, lambda n: back_project(made, pairs.low_BChw)
        )
    except InputError as error:
        print(error)
    exact = replace(sampling, noise_augmentation=0.0)
    measure(found, "ours", pairs, lambda n: restore(stage, pairs, sampling, n), rounds)
    measure(
        found, "ours, noise_augmentation 0", pairs, lambda n: restore(stage, pairs, exact, n), 3
    )
    measure(found, "ours, not made consistent", pairs, lambda n: sample(stage, pairs, n), 3)
    return found


def measure(
    found: dict[str, Method],
    name: str,
    pairs: Pairs,
    make: Callable[[int], Tensor],
    rounds: int = 1,
) -> None:
    found[name] = Method()
    for number in range(rounds):
        begun = time.process_time()
        made = make(number)
        found[name].seconds += time.process_time() - begun
        found[name].add(made, pairs)


def seeds(pairs: Pairs, number: int) -> list[int]:
    count = len(pairs.real_BCHW)
    return list(range(number * count, (number + 1) * count))


@torch.inference_mode()
def restore(stage: Stage, pairs: Pairs, sampling: SamplingConfig, number: int) -> Tensor:
    return convergence.restore(stage, pairs, CPU, sampling, seeds(pairs, number))


@torch.inference_mode()
def sample(stage: Stage, pairs: Pairs, number: int) -> Tensor:
    """As the network leaves them."""
    return convergence.refine(stage, pairs, CPU, SamplingConfig(), seeds(pairs, number))


def upscale(network: Upscaler, pairs: Pairs) -> Tensor:
    height, width = pairs.real_BCHW.shape[2:]
    return from_bytes(network.upscale_to(to_bytes(pairs.low_BChw), Size(width, height)))


def detail(images_BCHW: Tensor, pairs: Pairs) -> Tensor:
    """Root mean square of what is lost when images are reduced and enlarged again (B)."""
    height, width = pairs.low_BChw.shape[2:]
    again = replace(pairs, low_BChw=downsample_to(images_BCHW, Size(width, height)))
    return (images_BCHW - again.upsampled_BCHW).square().mean((1, 2, 3)).sqrt()


def grid_names(found: dict[str, Method]) -> list[str]:
    return [name for name in ("bicubic", "Real-ESRGAN", "ours") if name in found]


def grid(found: dict[str, Method], pairs: Pairs) -> Image.Image:
    factor = pairs.real_BCHW.shape[3] // pairs.low_BChw.shape[3]
    squares = pairs.low_BChw[:SHOWN].repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    made = [found[name].shown for name in grid_names(found)]
    rows = [squares, *(m for m in made if m is not None), pairs.real_BCHW[:SHOWN]]
    pixels = np.concatenate([np.concatenate(list(to_bytes(row)), 1) for row in rows])
    return Image.fromarray(pixels).resize((pixels.shape[1] * 2, pixels.shape[0] * 2), 0)


def to_bytes(images_BCHW: Tensor) -> np.ndarray:
    scaled = ((images_BCHW + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().numpy()


def from_bytes(images_NHWC: np.ndarray) -> Tensor:
    return torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).float() / 127.5 - 1


if __name__ == "__main__":
    sys.exit(main())
