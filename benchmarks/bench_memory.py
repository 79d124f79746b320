"""Memory: the count on tensors without memory beside the peak of real steps, and tables for cards.

    python benchmarks/bench_memory.py [--sizes tiny,small,base] [--stages 16,64] [--batch 16]

First table: training steps of each size and stage on this CPU, one child process a case, the
highest resident memory over what the process held before, beside the count of `train plan`, and
their ratio (measured / counted). Second table, counted alone: what each size and list of stages
needs of a card with 24 GB for training, and of one with 10 GB for drawing, with the largest batch
that fits, with and without recomputation. One thread.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch

from train import config
from train.model import ema, optimizers
from train.model.unet import UNet
from train.size import Size
from train.training import loop, memory, tracing

STAGES = ["16,64", "32,128", "64,256", "64x128,256x512"]
CARD = 24 * 2**30 - 600_000_000  # bytes; the driver takes about 0.6 GB
TEXT = 384  # width of the packaged encoder
STEPS = 3


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--sizes", default="tiny,small,base")
    options.add_argument("--stages", default="16,64")
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--counted", default="tiny,small,base,large")
    options.add_argument("--microbatches", type=int, default=1)
    options.add_argument("--child", help=argparse.SUPPRESS)
    given = options.parse_args()
    torch.set_num_threads(1)
    if given.child:
        print(json.dumps(measure(**json.loads(given.child))))
        return
    print("training on this CPU: peak of resident memory, MB")
    print("size\tstage\tparameters M\tmeasured\tcounted\tratio")
    for size in given.sizes.split(","):
        for number in range(len(given.stages.split(","))):
            one(size, given.stages, number, given.batch, given.microbatches)
    cards(given.counted.split(","), STAGES)


def settings(size: str, stages: str, batch: int = 16, **more: object) -> config.TrainConfig:
    sizes = tuple(map(Size.of, stages.split(",")))
    return config.load_config(
        None,
        {"model_size": size, "stages": sizes, "images": (1,) * len(sizes), "batch_size": batch}
        | more,
    )


def one(size: str, stages: str, number: int, batch: int, microbatches: int) -> None:
    chosen = settings(size, stages, batch, gradient_accumulation=microbatches)
    stage = memory.plan_memory(chosen, memory.unet_configs(chosen, TEXT), cuda=False).stages[number]
    counted = stage.training.total - stage.training.other_stages
    facts = {"size": size, "stages": stages, "number": number, "batch": batch}
    facts |= {"microbatches": microbatches}
    command = [sys.executable, __file__, "--child", json.dumps(facts)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    peak = json.loads(done.stdout)
    print(
        f"{size}\t{stage.size}\t{stage.parameters / 1e6:.1f}\t{peak / 1e6:.0f}\t"
        f"{counted / 1e6:.0f}\t{peak / counted:.2f}",
        flush=True,
    )


def measure(size: str, stages: str, number: int, batch: int, microbatches: int) -> int:
    """Bytes of resident memory at the peak of a few steps, over those held before."""
    chosen = settings(size, stages, batch, gradient_accumulation=microbatches)
    steps(settings("tiny", "16", 2), 0, microbatches=1)  # libraries load their kernels
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = resident("VmRSS")
    steps(chosen, number, microbatches)
    return resident("VmHWM") - before


def resident(name: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


def steps(chosen: config.TrainConfig, number: int, microbatches: int) -> None:
    """Training steps as the loop takes them, on random images."""
    shape = memory.unet_configs(chosen, TEXT)[number]
    work = memory.one_pass(chosen, shape, number)
    network = UNet(shape).to(memory_format=torch.channels_last)
    kept = [ema.start_ema(network, sigma_rel) for sigma_rel in chosen.ema_sigma_rel]
    steppers = optimizers.make("adamw", {}, network, weight_decay=0.01)
    batch = tracing.random_batch(work)
    for step in range(STEPS):
        for stepper in steppers:
            stepper.zero_grad(set_to_none=True)
        for _ in range(microbatches):
            loop.batch_loss(network, batch, 0.5, chosen.precision).mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
        for average in kept:
            average.update(network, step + 1, 1)


def cards(sizes: list[str], lists: list[str]) -> None:
    print(
        "\ncounted, with a quarter to spare, GB: training at batch 16, and the largest batch that\n"
        "fits a card with 24 GB, as it is and with gradient checkpointing; drawing one image, and\n"
        "as many as are drawn at a time, beside 10 GB"
    )
    print("size\tstages\tstage\tM\ttraining\tbatch\tcheckpointed\tone\tdrawing\tat a time")
    for size in sizes:
        for stages in lists:
            chosen = settings(size, stages)
            planned = memory.plan_memory(chosen, memory.unet_configs(chosen, TEXT), cuda=True)
            for number, stage in enumerate(planned.stages):
                ways = [replace(chosen, gradient_checkpointing=again) for again in (False, True)]
                largest = [largest_batch(way, number) for way in ways]
                one = stage.sampling.weights + drawing(chosen, number, 1)
                print(
                    *(size, stages, stage.size, f"{stage.parameters / 1e6:.1f}"),
                    *(f"{stage.training.needed / 1e9:.2f}", *largest),
                    *(f"{one * (1 + memory.SPARE) / 1e9:.2f}",),
                    *(f"{stage.sampling.needed / 1e9:.2f}", stage.together),
                    sep="\t",
                    flush=True,
                )


def largest_batch(chosen: config.TrainConfig, number: int) -> int:
    """Images of a microbatch that fit the card, from the growth between 256 and 512, or 0."""

    def need(batch: int) -> int:
        nets = memory.unet_configs(chosen, TEXT)
        return memory.training(replace(chosen, batch_size=batch), nets, number, cuda=True).needed

    few, many = need(256), need(512)
    return max(0, int(256 + 256 * (CARD - few) / (many - few)))


def drawing(chosen: config.TrainConfig, number: int, images: int) -> int:
    shape = memory.unet_configs(chosen, TEXT)[number]
    seen = images * (1 if number else 2)  # with guidance the base is asked twice
    return tracing.sampling_cost(tracing.Pass(shape, chosen.stages[number], seen)).total


if __name__ == "__main__":
    main()
