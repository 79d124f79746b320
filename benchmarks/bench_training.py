"""Training speed: our U-Net beside those of imagen-pytorch and diffusers, on one thread.

    pip install imagen-pytorch==2.1.0 diffusers==0.42.1   # where torch and this checkout are
    PYTHONPATH=. python benchmarks/bench_training.py [--batch 32] [--rounds 7] [--json FILE]

A step is forward, backward, clipping and AdamW, under bfloat16 autocast, on random images and
captions of 12 tokens; all networks have 8 to 11 M parameters. Base stages see images of 32
pixels, super-resolution stages of 64, with the low-resolution image as condition. Ours comes in
two shapes: "quick" does little arithmetic a parameter, "dense" much of it.

In every round each network takes one step, so a busy machine slows all alike. Printed: images a
CPU-second (median), the ratio to each peer (median of the rounds' ratios), GFLOP of training on an
image (three times those of a forward pass), and the share of the speed of a large bfloat16 matrix
product, measured in the same rounds. For a CPU without AMX, as most at home:

    ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 PYTHONPATH=. python benchmarks/bench_training.py

The peers' attention may be counted in part; it lowers their share alone.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peers import Forward, diffusers_network, imagen_network
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from train.model import diffusion
from train.model.unet import UNet, UNetConfig

TEXT_WIDTH, TOKENS = 384, 12
SIDE = {"base": 32, "super-resolution": 64}  # pixels
BASE = {"text_width": TEXT_WIDTH, "heads": 4}
LATER = {**BASE, "in_channels": 6, "noise_levels": 2, "patch": 4, "self_attention": False}
OURS = {
    "base": {
        "quick": UNetConfig(widths=(96, 256), blocks=(1, 2), mid_blocks=3, **BASE),
        "dense": UNetConfig(widths=(256, 256), blocks=(2, 1), mid_blocks=1, **BASE),
    },
    "super-resolution": {
        "quick": UNetConfig(widths=(96, 256), blocks=(2, 2), mid_blocks=2, **LATER),
        "dense": UNetConfig(widths=(256, 256), blocks=(2, 1), mid_blocks=1, **LATER),
    },
}


@dataclass
class Contestant:
    """A network in training, and the CPU-seconds of its steps."""

    name: str
    network: nn.Module
    forward: Forward
    seconds: list[float]
    flops: float  # of training on one image
    optimizer: torch.optim.Optimizer

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())


def main() -> None:
    given = options()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    results = {}
    for stage in given.stages.split(","):
        results[stage] = compare(stage, given.batch, given.rounds)
        show(stage, results[stage])
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32, help="images a step")
    parser.add_argument("--rounds", type=int, default=7, help="steps measured of each network")
    parser.add_argument("--stages", default=",".join(SIDE), help="which, of: " + ", ".join(SIDE))
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    return parser.parse_args()


def compare(stage: str, batch: int, rounds: int) -> dict[str, Any]:
    """All networks of one stage."""
    channels = 3 if stage == "base" else 6
    x_BCHW = torch.randn(batch, channels, SIDE[stage], SIDE[stage])
    text = torch.randn(batch, TOKENS, TEXT_WIDTH), torch.ones(batch, TOKENS)
    all_of_them = [contestant(*made, x_BCHW, text) for made in networks(stage)]
    for one in all_of_them:
        step(one, x_BCHW, text)  # warm up
        one.seconds.clear()
    peaks = []
    for _ in range(rounds):
        peaks.append(matmul_speed())
        for one in all_of_them:
            step(one, x_BCHW, text)
    peak = median(peaks)
    return {
        "batch": batch,
        "instructions": os.environ.get("ONEDNN_MAX_CPU_ISA", "all"),
        "peak_gflops": round(peak / 1e9, 1),
        "networks": [measure(one, all_of_them, batch, peak) for one in all_of_them],
    }


def networks(stage: str) -> list[tuple[str, nn.Module, Forward]]:
    """Ours, then the peers."""
    enlarging = stage != "base"
    ours = [
        (f"train, {name}", *our_network(config, enlarging=enlarging))
        for name, config in OURS[stage].items()
    ]
    peers = {"imagen-pytorch": imagen_network, "diffusers": diffusers_network}
    theirs = [(name, *made(TEXT_WIDTH, enlarging=enlarging)) for name, made in peers.items()]
    return ours + theirs


def our_network(config: UNetConfig, *, enlarging: bool) -> tuple[nn.Module, Forward]:
    """With EDM's preconditioning, as the training loop calls it."""
    network = UNet(config).to(memory_format=torch.channels_last)

    def forward(x_BCHW: torch.Tensor, text: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        sigma = torch.full((len(x_BCHW),), 0.5)
        low = (x_BCHW[:, 3:], sigma) if enlarging else None
        return diffusion.denoise(
            network, x_BCHW[:, :3], sigma, text, sigma_data=0.5, conditioning=low
        )

    return network, forward


def contestant(
    name: str,
    network: nn.Module,
    forward: Forward,
    x_BCHW: torch.Tensor,
    text: tuple[torch.Tensor, torch.Tensor],
) -> Contestant:
    with FlopCounterMode(display=False) as counter, torch.autocast("cpu", torch.bfloat16):
        forward(x_BCHW, text)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    flops = 3 * counter.get_total_flops() / len(x_BCHW)
    return Contestant(name, network, forward, [], flops, optimizer)


def step(one: Contestant, x_BCHW: torch.Tensor, text: tuple[torch.Tensor, torch.Tensor]) -> None:
    """One step of training, timed."""
    started = time.process_time()
    with torch.autocast("cpu", torch.bfloat16):
        out = one.forward(x_BCHW, text)
    loss = nn.functional.mse_loss(out.float(), x_BCHW[:, :3])
    one.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(one.network.parameters(), 1.0)
    one.optimizer.step()
    one.seconds.append(time.process_time() - started)


def matmul_speed() -> float:
    """Operations a second of large bfloat16 matrix products, the best of some."""
    best = 0.0
    for side, times in ((1024, 8), (2048, 2)):
        a, b = torch.randn(2, side, side).bfloat16()
        product = partial(torch.mm, a, b)
        product()
        for _ in range(times):
            started = time.process_time()
            product()
            best = max(best, 2 * side**3 / (time.process_time() - started))
    return best


def measure(
    one: Contestant, all_of_them: Sequence[Contestant], batch: int, peak: float
) -> dict[str, Any]:
    speed = batch / median(one.seconds)
    return {
        "name": one.name,
        "parameters": one.parameters,
        "gflop_per_image": round(one.flops / 1e9, 2),
        "images_per_cpu_second": round(speed, 1),
        "share_of_peak": round(one.flops * speed / peak, 3),
        "times_as_fast_as": {
            other.name: round(
                median(b / a for a, b in zip(one.seconds, other.seconds, strict=True)), 2
            )
            for other in all_of_them
            if not other.name.startswith("train") and one.name.startswith("train")
        },
    }


def show(stage: str, found: dict[str, Any]) -> None:
    print(
        f"{stage} stage, {SIDE[stage]} px, batches of {found['batch']}, bfloat16, one thread; "
        f"instructions: {found['instructions']}; "
        f"matrix product {found['peak_gflops']} GFLOP per CPU-second"
    )
    print(
        f"{'':16} {'M param':>8} {'GFLOP/img':>9} {'img/CPU-s':>9} {'share':>6}  times as fast as"
    )
    for one in found["networks"]:
        ratios = ", ".join(f"{name} {ratio}" for name, ratio in one["times_as_fast_as"].items())
        print(
            f"{one['name']:16} {one['parameters'] / 1e6:8.2f} {one['gflop_per_image']:9.2f} "
            f"{one['images_per_cpu_second']:9.1f} {one['share_of_peak']:6.3f}  {ratios}",
            flush=True,
        )


if __name__ == "__main__":
    main()
