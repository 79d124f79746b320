"""The training loop: load, step, log, save, stop. The same command again resumes.

Letters in names: B batch, C channels, H and W pixels.
"""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from curate.errors import InputError
from curate.formats.model import STATE_FILE
from curate.system.progress import SILENT, Progress
from train.checkpoints.checkpoint import Stage
from train.config import TrainConfig
from train.data import prefetch
from train.data.batches import Batch, Corpus
from train.model import diffusion, ema, optimizers
from train.model.ema import Average
from train.model.unet import UNet
from train.training import distributed as processes
from train.training import resume
from train.training.log import Journal
from train.training.metrics import Tally, Unread
from train.training.previews import Previews

UNREAD = 32  # steps whose figures may wait on a GPU until they are read
HELD_OUT = 64  # held-out pictures measured now and then, of each set
HELD_OUT_LAST = 256  # and at the end, where an average of the weights is chosen


def batch_loss(network: nn.Module, batch: Batch, sigma_data: float, precision: str) -> Tensor:
    """Weighted loss of each image (B)."""
    noisy = batch.clean_BCHW + batch.sigma_B[:, None, None, None] * batch.noise_BCHW
    with torch.autocast(noisy.device.type, torch.bfloat16, enabled=precision == "bf16"):
        predicted = diffusion.denoise(
            network, noisy, batch.sigma_B, batch.text, sigma_data=sigma_data, low=batch.low
        )
    return diffusion.training_loss(
        predicted, batch.clean_BCHW, batch.sigma_B, sigma_data=sigma_data
    )


def learning_rate(config: TrainConfig, seen: int, total: int, *, tuning: bool) -> float:
    """Rises over `warmup` images, holds, and falls to zero over the last `decay` of the run.

    It rises over at most a tenth of the run, which short runs would else spend rising.
    """
    warmup = min(config.warmup, total / 10)
    rise = min(1.0, (seen + config.batch_size) / warmup) if warmup else 1.0
    left = 1 - seen / total
    fall = min(1.0, left / config.decay) if config.decay else 1.0
    return config.learning_rate * (config.finetune_rate if tuning else 1.0) * rise * fall


@dataclass
class Run:
    """Where a run writes, and what its processes share."""

    folder: Path
    config: TrainConfig
    device: torch.device
    tuning: bool
    journal: Journal
    rank: int = 0
    world: int = 1
    progress: Progress = SILENT  # of the first process alone
    saved: float = -math.inf  # when this process last saved, time.monotonic()

    @property
    def state(self) -> Path:
        """The unfinished run: weights, averages, moments."""
        return self.folder / STATE_FILE

    def meet(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            torch.distributed.barrier()


@dataclass(frozen=True)
class Lesson:
    """What is learnt from, and what is measured and drawn meanwhile."""

    corpus: Corpus
    names: Sequence[str]  # of its sets: "new", "replay", "regularization"
    held: Mapping[str, Corpus]  # pictures held out, by the set they are from
    previews: Previews


@dataclass
class Work:
    """A stage at work."""

    run: Run
    lesson: Lesson
    stage: Stage
    number: int
    network: UNet  # float32 weights, on the run's device
    model: nn.Module  # the network, wrapped where there are several processes
    tracks: list[Average]
    tools: list[Optimizer]
    seen: int  # images
    tally: Tally  # since the last line of the log
    unread: Unread
    started: tuple[float, int]  # seconds, images: when and where this process began
    latest: float = math.nan  # loss
    rate: float = 0.0

    @property
    def learner(self) -> resume.Learner:
        """What a state holds."""
        return self.network, self.tracks, self.tools


def train_stage(
    run: Run, lesson: Lesson, stage: Stage, number: int, finished: Sequence[Stage]
) -> None:
    """Train one stage in place to its last image; on return it holds averaged weights, on the CPU.

    Raises:
        InputError: the loss is no longer a number, or the disk refuses; the last saved state
            stays, and the same command goes on from there.
    """
    config, total = run.config, run.config.images[number]
    work = _begun(run, lesson, stage, number)
    run.progress.count(f"{stage.size} px", work.seen, total)

    def make(at: int, count: int) -> Batch:
        return lesson.corpus.batch(
            config, number, at, count, rank=run.rank, world=run.world, device=run.device
        )

    starts = range(work.seen, total, config.batch_size)
    steps = [(at, min(config.batch_size, total - at)) for at in starts]
    with prefetch.ahead(make, steps) as batches:
        for (at, count), batch in zip(steps, batches, strict=True):
            work.rate = learning_rate(config, at, total, tuning=run.tuning)
            optimizers.set_rate(work.tools, work.rate)
            losses_B = _gradient(work.model, batch, stage.sigma_data, config, count / run.world)
            norm = nn.utils.clip_grad_norm_(list(work.network.parameters()), config.max_grad_norm)
            for tool in work.tools:
                tool.step()
                tool.zero_grad()
            seen = work.seen = at + count
            for track in work.tracks:
                track.add(work.network, seen, count)
            work.unread.note(seen, norm, losses_B, batch.of_B)

            last = seen == total
            logs = last or _crossed(seen, count, config.log_every)
            draws = config.sample_every > 0 and (last or _crossed(seen, count, config.sample_every))
            saves = not last and _crossed(seen, count, config.save_every)
            waiting = len(work.unread.rows)
            if logs or draws or saves or waiting >= UNREAD or run.device.type == "cpu":
                _check(work, thoroughly=saves or last)
            if run.rank == 0:
                if logs:
                    measured = last or _crossed(seen, count, 4 * config.log_every)
                    _log(work, held_out(work) if measured else {})
                if draws:
                    shown = replace(stage, network=work.tracks[-1].network)
                    lesson.previews.write(run.folder, [*finished, shown], seen, run.device)
                if saves:
                    _save(work)
    if total:
        _choose(work)
    stage.network.to("cpu").eval().requires_grad_(False)
    stage.images_seen += total


def _begun(run: Run, lesson: Lesson, stage: Stage, number: int) -> Work:
    """The stage as it was last saved, or as it was given."""
    config, sets = run.config, len(lesson.corpus.sets)
    network = stage.network.to(run.device).train().requires_grad_(True)
    tracks = [ema.copied(network, sigma_rel) for sigma_rel in config.ema_sigma_rel]
    network.config = replace(network.config, gradient_checkpointing=config.gradient_checkpointing)
    tools = optimizers.made(
        config.optimizer, config.optimizer_options, network, weight_decay=config.weight_decay
    )
    learner = (network, tracks, tools)
    seen, tally = resume.restore(run.folder, number, Tally.empty(sets), learner)
    processes.refuse_other_folder(run.folder, seen, run.world)
    if run.rank == 0:
        run.journal.begin(number, str(stage.size), seen)
    model: nn.Module = network
    if run.world > 1:
        model = nn.parallel.DistributedDataParallel(network, broadcast_buffers=False)
    started = (time.monotonic(), seen)
    return Work(
        run,
        lesson,
        stage,
        number,
        network,
        model,
        tracks,
        tools,
        seen,
        tally,
        Unread(sets),
        started,
    )


def _gradient(
    model: nn.Module, batch: Batch, sigma_data: float, config: TrainConfig, count: float
) -> Tensor:
    """Add the gradient of the mean loss to the weights', a microbatch after the other.

    Args:
        model: the network, wrapped where there are several processes.
        batch: this process's share.
        sigma_data: of the stage.
        config: says in how many microbatches, and in which precision.
        count: images of the whole batch, over the number of processes, whose mean is taken.

    Returns:
        The loss of each image (B).
    """
    losses, parts = [], batch.microbatches(config.gradient_accumulation)
    for number, part in enumerate(parts):
        waits = number + 1 < len(parts) and isinstance(model, nn.parallel.DistributedDataParallel)
        with model.no_sync() if waits else nullcontext():  # type: ignore[operator]
            losses_B = batch_loss(model, part, sigma_data, config.precision)
            (losses_B.sum() / count).backward()  # type: ignore[no-untyped-call]
        losses.append(losses_B.detach())
    return torch.cat(losses)


def _check(work: Work, *, thoroughly: bool) -> None:
    """Read what waits on the device; every process comes here at the same step.

    A broken run is never saved: figures are read, and weights looked at, before each save.

    Raises:
        InputError: a gradient, or a weight, is no finite number.
    """
    work.latest, broken = work.unread.read(work.tally, world=work.run.world)
    if broken is None and thoroughly and not resume.is_finite(work.network):
        broken = work.seen
    if broken is not None:
        _stop(work, broken)
    total = work.run.config.images[work.number]
    work.run.progress.count(f"{work.stage.size} px", work.seen, total, loss=work.latest)


def _log(work: Work, measured: Mapping[str, Any]) -> None:
    seconds, images = time.monotonic() - work.started[0], work.seen - work.started[1]
    entry = {"stage": work.number, "size": str(work.stage.size), "images": work.seen}
    entry |= work.tally.means(work.lesson.names)
    entry |= {"learning_rate": float(f"{work.rate:.4g}"), "rate": round(images / seconds, 2)}
    work.run.journal.write(entry | dict(measured))
    work.tally = Tally.empty(len(work.lesson.names))


def _save(work: Work) -> None:
    """Save, unless the last save is too short ago to be worth another."""
    if time.monotonic() - work.run.saved >= work.run.config.save_seconds:
        resume.save(work.run.folder, work.number, work.seen, work.tally, work.learner)
        work.run.saved = time.monotonic()


def _choose(work: Work) -> None:
    """Make the EMA with the lowest held-out loss the stage; without one, that named last."""
    measured = held_out(work, limit=HELD_OUT_LAST)
    losses = measured.get("held_out_ema", {})
    best = min(reversed(work.tracks), key=lambda track: losses.get(f"{track.sigma_rel:g}", 0.0))
    work.stage.network = best.network
    work.stage.facts = {"ema_sigma_rel": best.sigma_rel, **measured}


@torch.no_grad()
def held_out(work: Work, *, limit: int = HELD_OUT) -> dict[str, Any]:
    """Mean loss on held-out pictures with fixed noise, each with its caption.

    Returns:
        `held_out`, of the best EMA of the weights, every set counted the same; `held_out_ema`, of
        each EMA by its sigma_rel; `held_out_sets`, of the best EMA on each set. Nothing where no
        image is held out.
    """
    run, held = work.run, work.lesson.held
    if not held:
        return {}
    quiet = replace(run.config, caption_dropout=0.0, flip=False, seed=12345)
    # as many at a time as training has room for
    together = max(1, run.config.batch_size // run.config.gradient_accumulation)
    found: dict[str, dict[str, float]] = {f"{track.sigma_rel:g}": {} for track in work.tracks}
    for name, corpus in held.items():
        count = min(limit, max(16, len(corpus.sets[0])))
        batch = corpus.batch(quiet, work.number, 0, count, device=run.device)
        for track in work.tracks:
            parts = [
                batch_loss(track.network, microbatch, work.stage.sigma_data, run.config.precision)
                for microbatch in batch.microbatches(-(-count // together))
            ]
            found[f"{track.sigma_rel:g}"][name] = round(float(torch.cat(parts).mean()), 6)
    means = {width: round(sum(v.values()) / len(v), 6) for width, v in found.items()}
    best = min(means, key=lambda width: means[width])
    told = {"held_out": means[best], "held_out_ema": means}
    return told | ({"held_out_sets": found[best]} if len(held) > 1 else {})


def _crossed(seen: int, count: int, every: int) -> bool:
    return seen // every > (seen - count) // every


def _stop(work: Work, seen: int) -> NoReturn:
    """Training has gone wrong; what was saved before is whole.

    Raises:
        InputError: says so, and how to go on.
    """
    run, stage, rate = work.run, work.stage, work.run.config.learning_rate
    at = resume.position(run.folder)
    where = "it begins again, for nothing was saved yet"
    if at is not None:
        where = f"it goes on from {run.state}, {at[1]} images of stage {run.config.stages[at[0]]}"
    raise InputError(
        run.folder,
        f"the loss of stage {stage.size} is no longer a number after {seen} images",
        fix=f"type the same command with learning_rate = {rate / 2:g} in --config FILE "
        f"(it was {rate:g}); {where}",
    )
