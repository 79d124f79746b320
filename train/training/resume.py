"""An unfinished run on disk: the stage at work in one file, each finished stage in one of its own.

A finished stage is written once. `state.safetensors` holds the weights, their EMAs and the
optimisers' memory of the stage at work, as of so many images seen.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from curate.errors import InputError
from curate.formats.model import STATE_FILE
from train.checkpoints import checkpoint
from train.checkpoints.checkpoint import Stage
from train.config import TrainConfig
from train.model import optimizers
from train.model.ema import EMA
from train.model.unet import UNet
from train.training.log import Metrics

VERSION = "fubuki-state/4"
TrainedParts = tuple[UNet, Sequence[EMA], Sequence[Optimizer]]


def save_stage(folder: Path, number: int, seen: int, metrics: Metrics, parts: TrainedParts) -> None:
    """Write where stage `number` is; the old state stays until the new one is whole.

    Raises:
        InputError: the disk is full or not ours.
    """
    network, averages, tools = parts
    groups = {"network": network.state_dict(), "optimizer": optimizers.states(tools, network)}
    groups |= {f"average{n}": each.network.state_dict() for n, each in enumerate(averages)}
    tensors = {f"{group}/{name}": v for group, own in groups.items() for name, v in own.items()}
    described = {"version": VERSION, "stage": number, "seen": seen, "tally": asdict(metrics)}
    checkpoint.write_tensors(folder / STATE_FILE, tensors, described)


def read_position(folder: Path) -> tuple[int, int] | None:
    """Number of the stage at work and images it has seen; None if nothing was saved.

    Raises:
        InputError: the state cannot be read.
    """
    if not (folder / STATE_FILE).exists():
        return None
    with checkpoint.open_tensors(folder / STATE_FILE) as (_, described):
        return _parse_position(folder / STATE_FILE, described)


def describe_kept(folder: Path, settings: TrainConfig) -> str:
    """What of a run is kept, as a sentence."""
    at = read_position(folder)
    if at is None:
        return f"{folder}: nothing of the training is saved yet; it begins anew"
    number, seen = at
    stage, total = settings.stages[number], settings.images[number]
    return f"{folder}: saved are {seen:,} of {total:,} images of stage {stage}"


def _parse_position(file: Path, described: dict[str, Any]) -> tuple[int, int]:
    if described.get("version") != VERSION:
        problem = f"written as {described.get('version', 'something else')}, this reads {VERSION}"
        raise InputError(file, problem, fix="remove this run's folder, or name a new --out")
    return int(described["stage"]), int(described["seen"])


def restore_stage(
    folder: Path, number: int, metrics: Metrics, parts: TrainedParts
) -> tuple[int, Metrics]:
    """Continue stage `number`: images seen, and what was not logged yet.

    Raises:
        InputError: the state cannot be read, or is not one of this network.
    """
    file = folder / STATE_FILE
    if not file.exists():
        return 0, metrics
    with checkpoint.open_tensors(file) as (reader, described):
        stage, seen = _parse_position(file, described)
        if stage != number or not seen:
            return 0, metrics
        network, averages, tools = parts
        checkpoint.fill_network(network, reader, "network/", file)
        for n, average in enumerate(averages):
            checkpoint.fill_network(average.network, reader, f"average{n}/", file)
        names = [n for n in reader.keys() if n.startswith("optimizer/")]  # noqa: SIM118
        memory = {n.removeprefix("optimizer/"): reader.get_tensor(n) for n in names}
        optimizers.restore_state(tools, network, memory)
        return seen, Metrics(**described["tally"])


def finish_stage(folder: Path, number: int, stage: Stage) -> None:
    """Write a finished stage, then that the next one is to begin.

    Raises:
        InputError: the disk is full or not ours.
    """
    described = {"version": VERSION, **asdict(stage.record)}
    checkpoint.write_tensors(_finished_file(folder, number), stage.network.state_dict(), described)
    start = {"version": VERSION, "stage": number + 1, "seen": 0}
    checkpoint.write_tensors(folder / STATE_FILE, {}, start)


def restore_finished_stages(folder: Path, stages: Sequence[Stage]) -> int:
    """Read the stages that an earlier call finished; return the number of the next one.

    Raises:
        InputError: one cannot be read.
    """
    at = read_position(folder)
    first = at[0] if at else 0
    for number, stage in enumerate(stages[:first]):
        file = _finished_file(folder, number)
        with checkpoint.open_tensors(file) as (reader, described):
            checkpoint.fill_network(stage.network, reader, "", file)
            stage.network.eval().requires_grad_(False)
            stage.images_seen, stage.facts = described["images_seen"], described["facts"]
    return first


def remove_state(folder: Path) -> None:
    """Delete all of it: the run is finished."""
    for file in (folder / STATE_FILE, *folder.glob("finished-*.safetensors")):
        file.unlink(missing_ok=True)


def _finished_file(folder: Path, number: int) -> Path:
    return folder / f"finished-{number}.safetensors"
