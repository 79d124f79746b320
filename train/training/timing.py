"""What this machine has to give: free memory, and the time its real steps take."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from train.config import TrainConfig
from train.model import ema, optimizers
from train.model.unet import UNet
from train.training import loop, tracing
from train.training.tracing import Pass

MAX_CPU_FLOPS = 2e11  # operations in one pass while measuring on a CPU, about: a few seconds
CGROUP_ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
MEMINFO = Path("/proc/meminfo")
CGROUP_LIMITS = (  # files of a control group: what it may use, what it uses; version 2, version 1
    ("memory.max", "memory.current", "memory.stat"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"),
)


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on a card, or in memory within the control group's limit."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min([_available_memory(), *_cgroup_headroom()])


def slow_precision(precision: str, device: torch.device, best_dtype: torch.dtype) -> str | None:
    """What a user should know whose card has no bfloat16 of its own (those before Ampere).

    Args:
        precision: as in the settings.
        device: where the run trains.
        best_dtype: the shortest type the device computes in, as `train.device.compute_dtype` tells.
    """
    if precision != "bf16" or device.type != "cuda" or best_dtype == torch.bfloat16:
        return None
    return f'{device} has no bfloat16; precision = "fp32" in --config FILE is likely faster there'


def _available_memory() -> int:
    if not MEMINFO.exists():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


def _cgroup_headroom() -> list[int]:
    """What each control group above this process still allows; pages of files can be given back."""
    left = []
    for folder in _cgroup_folders():
        for limit, used, stat in CGROUP_LIMITS:
            try:
                allowed = int((folder / limit).read_text())
                files = dict(line.split() for line in (folder / stat).read_text().splitlines())
                given_back = int(files.get("inactive_file", 0))
                left.append(allowed - int((folder / used).read_text()) + given_back)
            except (OSError, ValueError):
                continue  # not this version, or "max": no limit
    return left


def _cgroup_folders() -> list[Path]:
    """Folders of the control groups of this process, up to the root of each tree."""
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:
        lines = []
    paths = [line.split(":", 2)[2].lstrip("/") for line in lines if line.count(":") >= 2]
    roots = (CGROUP_ROOT, CGROUP_ROOT / "memory")
    own = [(root, folder) for root in roots for folder in (root, *(root / path for path in paths))]
    found = [(root, folder) for root, leaf in own for folder in (leaf, *leaf.parents)]
    return sorted({folder for root, folder in found if folder.is_relative_to(root)})


def seconds_per_image(
    config: TrainConfig, work: Pass, device: torch.device, *, patience: float = 2.0
) -> float:
    """Time of training on one image, from a few real steps on random images.

    A pass over one piece of a batch is timed, and the step of the optimisers that ends a batch.
    On a CPU a piece is cut down to a pass of a few seconds.

    Args:
        config: of the run.
        work: a pass over one piece.
        device: where to run it.
        patience: seconds for which passes are repeated.
    """
    count = work.images
    if device.type == "cpu":
        flops = tracing.training_cost(work).flops / work.images
        count = max(1, min(count, int(MAX_CPU_FLOPS / flops)))
    network = UNet(work.shape).to(device)
    network.to(memory_format=torch.channels_last)
    emas = [ema.start_ema(network, sigma_rel) for sigma_rel in config.ema_sigma_rel]
    steppers = optimizers.make(
        config.optimizer, config.optimizer_options, network, weight_decay=config.weight_decay
    )
    batch = tracing.random_batch(replace(work, images=count), device)

    def piece() -> None:
        loss = loop.batch_loss(network, batch, 0.5, config.precision).mean()
        loss.backward()  # type: ignore[no-untyped-call]

    def finish() -> None:
        nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm)
        for stepper in steppers:
            stepper.step()
        for average in emas:
            average.update(network, 2 * count, count)

    piece()
    finish()  # the first of each makes what the others find
    ending = _seconds_a_call(finish, device, 0.0)
    return _seconds_a_call(piece, device, patience) / count + ending / config.batch_size


def _seconds_a_call(work: Callable[[], None], device: torch.device, patience: float) -> float:
    """Seconds of one call, the mean over calls until `patience` is over."""
    started, done = _synchronized_now(device), 0
    while not done or _synchronized_now(device) - started < patience:
        work()
        done += 1
    return (_synchronized_now(device) - started) / done


def _synchronized_now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
