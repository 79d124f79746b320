"""What a run will cost in memory and time, before it starts; what cannot fit is refused.

Memory is counted (`train.training.memory`); time is measured on a few real steps with random
images, and so is an estimate. 1 GB is 10^9 bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch

from curate.errors import UsageError
from curate.formats.model import read_model
from curate.system import terminal
from curate.system.progress import SILENT, Progress, track
from train.config import TrainConfig
from train.device import pick_device
from train.model.unet import SIZES, UNetConfig
from train.size import join_sizes
from train.text_encoder import encoders
from train.training import memory, timing, tracing
from train.training.memory import RunPlan, StagePlan

HEADINGS = (
    *("size", "stage", "parameters", "GFLOP/image", "training", "sampling"),
    *("s/1,000 images", "images", "time"),
)
TIGHT_SHARE = 0.9  # share of the free memory from which a user is told
ALL_STAGES = "all"  # in the row of a size, in place of a stage


@dataclass(frozen=True)
class PlanReport:
    """The cost of a run, or of the same run at every size."""

    plans: list[RunPlan]
    device: str
    free: int  # bytes
    refusal: UsageError | None  # why the run cannot be

    def as_json(self) -> dict[str, Any]:
        """Plain values, bytes and seconds."""
        return {
            "device": self.device,
            "free": self.free,
            "fits": self.refusal is None,
            "sizes": [_plan_json(plan) for plan in self.plans],
        }


def _plan_json(plan: RunPlan) -> dict[str, Any]:
    def memory_json(stage: StagePlan) -> dict[str, Any]:
        kinds = {"training": stage.training, "sampling": stage.sampling}
        return {name: {**asdict(kind), "needed": kind.needed} for name, kind in kinds.items()}

    stages = [
        {**asdict(stage), "size": stage.size.to_json(), **memory_json(stage)}
        for stage in plan.stages
    ]
    whole = {"training": plan.training, "sampling": plan.sampling, "seconds": plan.duration}
    return {"size": plan.size, "encoder": plan.encoder, "stages": stages, **whole}


def _plan_rows(plan: RunPlan) -> Iterator[tuple[object, ...]]:
    """A line a stage, and one for all stages together."""
    for stage in plan.stages:
        seconds = "" if stage.seconds is None else f"{1000 * stage.seconds:.1f}"
        yield (
            *(plan.size, stage.size, f"{stage.parameters / 1e6:.1f} M"),
            f"{stage.flops / 1e9:.1f}",
            *(gigabytes(stage.training.needed), gigabytes(stage.sampling.needed)),
            *(seconds, stage.images, duration(stage.duration)),
        )
    total = f"{sum(stage.parameters for stage in plan.stages) / 1e6:.1f} M"
    both = gigabytes(plan.training), gigabytes(plan.sampling)
    images = sum(stage.images for stage in plan.stages)
    yield plan.size, ALL_STAGES, total, "", *both, "", images, duration(plan.duration)


def gigabytes(number: float) -> str:
    """Bytes as a person reads them; 1 GB is 10^9 bytes."""
    return f"{number / 1e9:.2f} GB" if number < 1e10 else f"{number / 1e9:.1f} GB"


def duration(seconds: float | None) -> str:
    """Seconds as a person reads them; empty where they are not known."""
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def plan_run(
    settings: TrainConfig,
    *,
    every_size: bool = False,
    init: Path | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> PlanReport:
    """Count the memory of a run and measure its time on `device`.

    Args:
        settings: how the run would train; with `init`, its stages are those of the checkpoint.
        every_size: plan the same run at every size, for a user who has yet to choose one.
        init: checkpoint it would start from.
        device: `auto`, `cpu` or `cuda`.
        progress: counts the sizes that are measured; told what the figures are.

    Raises:
        InputError: the checkpoint or the text encoder cannot be found.
    """
    place, encoder = pick_device(device), encoders.describe_encoder(settings.text_encoder)
    shapes = None
    if init is not None:
        shapes = [UNetConfig.from_json(stage.unet) for stage in read_model(init).stages]
    sizes = list(SIZES) if every_size and shapes is None else [settings.model_size]
    free, plans = timing.free_memory(place), []
    cuda, encoder_bytes = place.type == "cuda", encoder.bytes_on(place)
    for size in track(sizes, len(sizes), "counting and timing", progress):
        chosen = replace(settings, model_size=size)
        nets = shapes or memory.unet_configs(chosen, encoder.width)
        pairs = zip(nets, chosen.stages, strict=True)
        if every_size and any(side % net.side_multiple for net, sides in pairs for side in sides):
            progress.say(f"--model-size {size} cannot make stages of these sides")
            continue
        plan = memory.plan_memory(chosen, nets, cuda=cuda, encoder=encoder_bytes)
        plans.append(_measure_time(plan, chosen, nets, place) if plan.training <= free else plan)
    refusal = None
    if len(sizes) == 1:
        try:
            refuse_what_cannot_fit(settings, encoder.width, place, progress, shapes=shapes)
        except UsageError as error:
            refusal = error
    if len(plans) == 1 and (notice := describe_snapshots(settings, encoder.width, shapes)):
        progress.say(notice)
    progress.say(
        f"{gigabytes(free)} are free on {place}. Memory is counted, with a quarter to spare; time "
        "is an estimate from a few steps, without loading, saving and sampling"
    )
    return PlanReport(plans, str(place), free, refusal)


def print_plan(report: PlanReport, *, as_json: bool) -> None:
    """Print a report, then refuse a run that cannot fit.

    Raises:
        UsageError: it cannot.
    """
    if as_json:
        terminal.print_json(report.as_json())
    else:
        terminal.print_table(HEADINGS, [row for plan in report.plans for row in _plan_rows(plan)])
    if report.refusal is not None:
        raise report.refusal


def _measure_time(
    plan: RunPlan, config: TrainConfig, nets: Sequence[UNetConfig], device: torch.device
) -> RunPlan:
    passes = [memory.one_pass(config, shape, number) for number, shape in enumerate(nets)]
    seconds = [timing.seconds_per_image(config, work, device) for work in passes]
    timed = zip(plan.stages, seconds, strict=True)
    return replace(plan, stages=[replace(stage, seconds=each) for stage, each in timed])


def refuse_what_cannot_fit(
    config: TrainConfig,
    text_width: int,
    device: torch.device,
    progress: Progress = SILENT,
    *,
    shapes: Sequence[UNetConfig] | None = None,
    world: int = 1,
) -> None:
    """Stop a run that would run out of memory, before it starts.

    Args:
        config: of the run.
        text_width: of the text encoder.
        device: where it will run.
        progress: told if it will be tight.
        shapes: networks of the checkpoint it starts from; None for those of `config.model_size`.
        world: processes that share the work; on a CPU they share its memory.

    Raises:
        UsageError: it cannot fit; the fix names what would.
    """
    cuda, free = device.type == "cuda", timing.free_memory(device)

    def needs(changed: TrainConfig, kind: Callable[..., memory.Memory]) -> Iterator[int]:
        nets = shapes or memory.unet_configs(changed, text_width)
        for number in range(len(nets)):
            needed = kind(changed, nets, number, cuda=cuda, world=world).needed
            yield needed if cuda else needed * world

    def need(changed: TrainConfig) -> int:
        return max(needs(changed, memory.training))

    def fits(changed: TrainConfig) -> bool:  # a stage takes time to count: the first is enough
        counted = (n for kind in (memory.resident, memory.training) for n in needs(changed, kind))
        return all(number <= free for number in counted)

    if (needed := need(config)) > free:
        groups = _smaller_runs(config, sizes=shapes is None)
        found = [next((run for run in group if fits(run[1])), None) for group in groups]
        fixes = [f"{words} ({gigabytes(need(run))})" for words, run in filter(None, found)]
        options = "--init with stages" if shapes else f"--model-size {config.model_size} --stages"
        raise UsageError(
            f"{options} {join_sizes(config.stages)}",
            f"training needs about {gigabytes(needed)}, {gigabytes(free)} are free on {device}",
            fix=" or ".join(fixes) or "smaller --stages, or a machine with more memory",
        )
    if needed > TIGHT_SHARE * free:
        about = f"about {gigabytes(needed)} of {gigabytes(free)} free on {device}"
        progress.say(f"training will need {about}; leave the rest of it alone")


def describe_snapshots(
    config: TrainConfig, text_width: int, shapes: Sequence[UNetConfig] | None = None
) -> str | None:
    """What the snapshots of a run will take on the disk; None where it keeps none.

    Args:
        config: of the run.
        text_width: of the text encoder.
        shapes: networks of the checkpoint it starts from, whose later stages they hold, too.
    """
    if not config.snapshot_every:
        return None
    counts = [images // config.snapshot_every for images in config.images]
    counts[-1] = max(0, config.images[-1] - 1) // config.snapshot_every  # the last is the model
    nets = shapes or memory.unet_configs(config, text_width)
    weights = [memory.FLOAT_BYTES * tracing.count_parameters(shape) for shape in nets]
    bytes_ = [sum(weights if shapes else weights[: n + 1]) for n in range(len(nets))]
    whole = sum(map(prod, zip(counts, bytes_, strict=True)))
    return f"{sum(counts)} snapshots will take {whole / 1e6:,.1f} MB of disk"


def _smaller_runs(config: TrainConfig, *, sizes: bool) -> list[list[tuple[str, TrainConfig]]]:
    """Runs that need less, in groups, each from the least change: those that train the same model
    in smaller microbatches, those with gradient checkpointing, smaller networks."""
    was, groups = config.gradient_accumulation, []
    counts = [was * 2**n for n in range(20) if was * 2**n <= config.batch_size]
    for again in sorted({config.gradient_checkpointing, True}):
        group = []
        for count in counts:
            changed = replace(config, gradient_accumulation=count, gradient_checkpointing=again)
            words = [f"gradient_accumulation = {count}"] * (count != was)
            words += ["gradient_checkpointing = true"] * (again != config.gradient_checkpointing)
            if words:
                group.append((f"in --config FILE, {', '.join(words)}", changed))
        groups.append(group)
    names = list(SIZES)
    below = reversed(names[: names.index(config.model_size)] if sizes else [])
    return [*groups, [(f"--model-size {name}", replace(config, model_size=name)) for name in below]]
