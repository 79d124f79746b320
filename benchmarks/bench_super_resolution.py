"""Super-resolution: the stage that `train finetune` trains beside bicubic and Real-ESRGAN.

    python benchmarks/bench_super_resolution.py --shards demo/known-data [--out FOLDER]
        [--low 16] [--size 64] [--images 8000] [--seeds 0,1,2] [--half b] [--limit 128]
        [--try STEPS:HIGHEST:LOWEST ...] [--realesrgan] [--only-restore] [--judge FOLDER]

Trains a super-resolution stage alone, once a seed, on four fifths of the images of `--shards` (what
`curate pack` wrote), reduces images of the last fifth and restores them. Neither the weights nor
the choice of an EMA (one is kept) saw those. They are cut in two by turns: the noise levels that
`train sample` uses were chosen on half a (`--half a --try 4:1:0.1 ...`), half b measures.
A stage that is trained is not trained again. Real-ESRGAN's images are made consistent, as ours are.

Columns, each the mean over seeds (least to most): PSNR in dB, the mean of all images, and what it
is above bicubic; high, the energy above the smaller image's Nyquist frequency over that of the true
images (`convergence.high_frequency_ratio`: 1 is right, less is blur, more is noise); colours, the
largest mean difference of a channel in 255ths; CPU-ms an image. FOLDER/grid.png shows, row by row,
what was given, bicubic, Real-ESRGAN, ours and the true images.

Restored images lie in FOLDER/seed-N.npz; `--judge FOLDER` measures them alone. To compare with
another version, put this file into its checkout, type the same there with `--only-restore`, then
`--judge` its folder here: both are measured alike.
Exits with 1 if ours is less than half a dB above consistent bicubic without noise augmentation, or
a colour shifts by 1/255 or more.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from train.checkpoints import checkpoint
from train.checkpoints.checkpoint import Stage
from train.config import TrainConfig
from train.data import dataset
from train.resizing import back_project, downsample_to
from train.sampling.sampler import SamplingConfig
from train.sampling.upscalers import Upscaler, load_upscaler
from train.size import Size, join_sizes
from train.text_encoder.embeddings import TextEncoder
from train.training import convergence
from train.training.convergence import Pairs

CPU = torch.device("cpu")
SHIFT = 1.0  # 255ths: least shift of a colour that fails
SHOWN = 9  # columns of the grid
BICUBIC, CONSISTENT, OURS, EXACT = (
    *("bicubic", "bicubic, consistent"),
    *("ours", "ours, noise_augmentation 0"),
)
IN_GRID = (BICUBIC, "Real-ESRGAN", OURS)
Restored = dict[str, np.ndarray]  # method -> images, float32 (N, C, H, W); also "true", "given"
# and "seconds NAME", CPU-seconds of them all


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--shards", type=Path, help="folder of shards, or of their dataset")
    options.add_argument("--out", type=Path, default=Path("super-resolution"))
    options.add_argument("--low", type=Size.of, default=Size(16, 16))
    options.add_argument("--size", type=Size.of, default=Size(64, 64))
    options.add_argument("--images", type=int, default=8_000, help="images the stage is taught")
    options.add_argument("--seeds", default="0,1,2", help="of training, one run each")
    options.add_argument("--half", choices=("a", "b"), default="b", help="of held-out images")
    options.add_argument("--limit", type=int, default=128, help="images restored, at most")
    options.add_argument("--try", dest="tries", nargs="*", default=[], help="other noise levels")
    options.add_argument("--realesrgan", action="store_true", help="list it too")
    options.add_argument("--only-restore", action="store_true", help="measure nothing")
    options.add_argument("--judge", type=Path, help="measure what another call restored there")
    given = options.parse_args()
    torch.set_num_threads(1)
    if given.judge:
        return judge(given.judge)
    if given.shards is None:
        options.error("--shards or --judge is needed")
    given.out.mkdir(parents=True, exist_ok=True)
    for seed in map(int, given.seeds.split(",")):
        settings = TrainConfig(
            stages=(given.low, given.size),
            images=(0, given.images),
            seed=seed,
            held_out=0.2,
            ema_sigma_rel=(0.1,),
        )
        stage = train(given.shards, given.out / f"seed-{seed}", settings)
        pairs = load_half(given.shards, stage, settings, given.half, given.limit)
        restored = restore_all(stage, pairs, given.tries, realesrgan=given.realesrgan)
        np.savez(given.out / f"seed-{seed}.npz", **restored)
    return 0 if given.only_restore else judge(given.out)


def train(shards: Path, out: Path, settings: TrainConfig) -> Stage:
    """By the command, which every version has."""
    chosen = out.with_suffix(".toml")
    values = {"held_out": settings.held_out, "ema_sigma_rel": list(settings.ema_sigma_rel)}
    chosen.write_text("".join(f"{k} = {v}\n" for k, v in (values | {"sample_every": 0}).items()))
    words = {
        "--stages": join_sizes(settings.stages),
        "--images": ",".join(map(str, settings.images)),
        "--seed": settings.seed,
        "--config": chosen,
        "--device": "cpu",
    }
    typed = [str(word) for pair in words.items() for word in pair]
    finetune = [sys.executable, "-m", "train.cli", "finetune", "--shards", str(shards)]
    subprocess.run([*finetune, "--out", str(out), *typed], check=True, stdout=subprocess.DEVNULL)
    return checkpoint.load(out).stages[1]


def load_half(shards: Path, stage: Stage, settings: TrainConfig, half: str, limit: int) -> Pairs:
    """Images that `train finetune` kept out, every other one, with first captions encoded."""
    _, held = dataset.split_held_out(dataset.load_images(shards, stage.size), settings.held_out)
    rows = list(range("ab".index(half), len(held), 2))[:limit]
    if not rows:
        raise SystemExit("too few images: none is held out")
    encoder = TextEncoder(settings.text_encoder, device=CPU)
    text = encoder.encode([held.captions[row][0] for row in rows]).take(torch.arange(len(rows)))
    images = held.images(rows)
    return Pairs(images, downsample_to(images, stage.conditioning_size or stage.size), text)


def restore_all(stage: Stage, pairs: Pairs, tries: Sequence[str], *, realesrgan: bool) -> Restored:
    """The images as each way to enlarge makes them."""
    plain, usual = pairs.upsampled_BCHW.clamp(-1, 1), SamplingConfig()
    ways: dict[str, Callable[[], Tensor]] = {
        BICUBIC: lambda: plain,
        CONSISTENT: lambda: back_project(plain, pairs.low_BChw),
    }
    if realesrgan:
        ready = load_upscaler("realesrgan", device=CPU)
        ways["Real-ESRGAN"] = lambda: back_project(upscale(ready, pairs), pairs.low_BChw)
    samplings = {OURS: usual, EXACT: replace(usual, noise_augmentation=0.0)}
    for words in tries:
        steps, high, low = words.split(":")
        levels = {
            "super_resolution_sigma_max": float(high),
            "super_resolution_sigma_min": float(low),
        }
        samplings[f"ours, {words}"] = replace(usual, super_resolution_steps=int(steps), **levels)
    for name, sampling in samplings.items():
        ways[name] = lambda sampling=sampling: restore(stage, pairs, sampling)  # type: ignore[misc]
    found: Restored = {"true": pairs.real_BCHW.numpy(), "given": pairs.low_BChw.numpy()}
    for name, way in ways.items():
        begun = time.process_time()
        found[name] = way().numpy()
        found[f"seconds {name}"] = np.array(time.process_time() - begun)
    return found


@torch.inference_mode()
def restore(stage: Stage, pairs: Pairs, sampling: SamplingConfig) -> Tensor:
    """As `train sample` would, a few at a time; the noise of image n has seed n."""
    parts = []
    for part in torch.arange(len(pairs.real_BCHW)).split(64):
        text = (pairs.text[0][part], pairs.text[1][part])
        some = Pairs(pairs.real_BCHW[part], pairs.low_BChw[part], text)
        parts.append(convergence.restore(stage, some, CPU, sampling, part.tolist()))
    return torch.cat(parts)


def upscale(network: Upscaler, pairs: Pairs) -> Tensor:
    height, width = pairs.real_BCHW.shape[2:]
    return from_bytes(network.upscale_to(to_bytes(pairs.low_BChw), Size(width, height)))


def judge(folder: Path) -> int:
    """Measure the restored images of every seed; 1 if ours is not worth having."""
    runs = [dict(np.load(file)) for file in sorted(folder.glob("seed-*.npz"))]
    if not runs:
        raise SystemExit(f"{folder}: nothing was restored here")
    (count, _, height, width), low = runs[0]["true"].shape, runs[0]["given"].shape
    seeds = f"{len(runs)} seeds, {count} images held out"
    print(f"{low[3]}x{low[2]} -> {width}x{height} px, {seeds}")
    print(f"{'':30} {'PSNR':>21} {'above':>7} {'high':>18} {'colours':>8} {'CPU-ms':>8}")
    names = [name for name in runs[0] if all(f"seconds {name}" in made for made in runs)]
    figures = {name: [measure(made, name) for made in runs] for name in names}
    for name, measured in figures.items():
        decibels, high, shift, seconds = map(np.array, zip(*measured, strict=True))
        above = decibels.mean() - np.mean([one[0] for one in figures[BICUBIC]])
        print(
            f"{name:30} {spread(decibels)} {above:+7.2f} {spread(high)} {shift.max():8.3f} "
            f"{1000 * seconds.mean() / count:8.1f}"
        )
    draw_grid(runs[0]).save(folder / "grid.png")
    shown = ", ".join(["given", *(name for name in IN_GRID if name in names), "true"])
    print(f"{folder / 'grid.png'}: {shown}")
    exact, plain = (np.mean([one[0] for one in figures[name]]) for name in (EXACT, CONSISTENT))
    shifted = max(one[2] for one in figures[OURS])
    return int(exact < plain + convergence.MARGIN_DB or shifted >= SHIFT)


def measure(made: Restored, name: str) -> tuple[float, float, float, float]:
    """PSNR in dB, high-frequency ratio, largest shift of a channel in 255ths, CPU-seconds."""
    drawn, real = torch.from_numpy(made[name]), torch.from_numpy(made["true"])
    low = Size(made["given"].shape[3], made["given"].shape[2])
    energies = (convergence.high_frequency_energy(images, low) for images in (drawn, real))
    shift = convergence.channel_difference(drawn, real).mean(0).abs().max()
    return (
        float(convergence.psnr(drawn, real).mean()),
        convergence.high_frequency_ratio(*energies) or 0.0,
        float(shift),
        float(made[f"seconds {name}"]),
    )


def spread(values: np.ndarray) -> str:
    return f"{values.mean():6.2f} ({values.min():5.2f} {values.max():5.2f})"


def draw_grid(made: Restored) -> Image.Image:
    factor = made["true"].shape[3] // made["given"].shape[3]
    squares = made["given"][:SHOWN].repeat(factor, 2).repeat(factor, 3)
    rows = [
        squares,
        *(made[name][:SHOWN] for name in IN_GRID if name in made),
        made["true"][:SHOWN],
    ]
    drawn = [np.concatenate(list(to_bytes(torch.from_numpy(row))), 1) for row in rows]
    pixels = np.concatenate(drawn)
    return Image.fromarray(pixels).resize((pixels.shape[1] * 2, pixels.shape[0] * 2), 0)


def to_bytes(images_BCHW: Tensor) -> np.ndarray:
    scaled = ((images_BCHW + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().numpy()


def from_bytes(images_NHWC: np.ndarray) -> Tensor:
    return torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).float() / 127.5 - 1


if __name__ == "__main__":
    sys.exit(main())
