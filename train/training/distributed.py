"""The processes that `torchrun` starts to share the work: which one this is, and how they meet."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch

from curate.errors import InputError, UsageError

# The first process decodes, reads captions, draws and measures while the others wait. After ten
# minutes NCCL would kill them; `torchrun` ends them at once where a process dies.
TIMEOUT = timedelta(days=2)


def rank_and_world_size() -> tuple[int, int]:
    """Number of this process, from 0, and how many there are."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def local_device(device: torch.device, world: int) -> torch.device:
    """The device of this process: of several cards the one with its number on this machine.

    Raises:
        UsageError: fewer cards than processes.
    """
    if device.type != "cuda" or (world == 1 and device.index is not None):
        return device
    number, cards = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= cards:
        raise UsageError(
            "torchrun",
            f"more processes than cards on this machine ({cards})",
            fix=f"--nproc-per-node {cards}, or --device cpu",
        )
    return torch.device("cuda", number)


def refuse_other_folder(folder: Path, seen: int, world: int) -> None:
    """Stop where processes found different states, instead of waiting for each other for ever.

    Raises:
        InputError: `seen` images are not the same everywhere.
    """
    if world == 1:
        return
    found: list[int] = [0] * world
    torch.distributed.all_gather_object(found, seen)
    if len(set(found)) > 1:
        raise InputError(
            folder,
            f"the processes found different states here ({min(found)} to {max(found)} images)",
            fix="name an --out that all machines share",
        )


@contextmanager
def process_group(device: torch.device, world: int) -> Iterator[None]:
    """Within it, several processes can wait for each other and add up their tensors.

    Within another one it changes nothing: processes that met once do not meet again.
    """
    if world == 1 or torch.distributed.is_initialized():
        yield
        return
    cards = device.type == "cuda"
    torch.distributed.init_process_group(
        "nccl" if cards else "gloo", timeout=TIMEOUT, device_id=device if cards else None
    )
    whole = False
    try:
        yield
        whole = True
    finally:
        # NCCL closes only once all do, and after an error the others wait in the next step; the
        # end of this process, which is near, lets go of the card
        if whole or not cards:
            torch.distributed.destroy_process_group()
