"""The training loop: load, step, log, save, stop. The same command again resumes.

Letters in names: B batch, C channels, H and W pixels.
"""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from curate.errors import InputError
from curate.formats.model import STATE_FILE
from curate.system.progress import SILENT, Progress
from train.checkpoints import checkpoint, snapshots
from train.checkpoints.checkpoint import Cascade, Stage
from train.config import TrainConfig
from train.data import prefetch
from train.data.batches import Batch, Mixture
from train.figures import grids
from train.model import diffusion, ema, optimizers
from train.model.ema import EMA
from train.model.kernels import autocast
from train.sampling import sampler
from train.training import distributed, resume
from train.training.log import Metrics, PendingMetrics, RunLog

SAMPLES_FOLDER = "samples"  # within a run's folder
PREVIEW_COUNT = 8  # images, where no prompts are named
MAX_PENDING = 32  # steps whose figures may wait on a GPU until they are read
HELD_OUT_IMAGES = 64  # held-out images measured now and then, of each set
HELD_OUT_IMAGES_LAST = 256  # and at the end, where an average of the weights is chosen


@dataclass(frozen=True)
class Previews:
    """Images sampled while training, always of the same prompts and seeds."""

    prompts: Sequence[str]
    text: tuple[Tensor, Tensor]  # token states and mask of each

    def write(self, folder: Path, stages: Sequence[Stage], seen: int, device: torch.device) -> None:
        """Sample with these stages into samples/SIZE-IMAGES.png, the last as of `seen` images.

        Raises:
            InputError: the disk refuses.
        """
        if not self.prompts:
            return
        size = stages[-1].size
        sheet = grids.draw_grid(self._sample(stages, device), self.prompts)
        facts = {"prompt": "\n".join(self.prompts), "seed": "0", "images": f"{size}: {seen}"}
        grids.save_png(sheet, folder / SAMPLES_FOLDER / f"{size}-{seen}.png", facts)

    def _sample(self, stages: Sequence[Stage], device: torch.device) -> np.ndarray:
        """Images of the last stage, uint8 (N, H, W, 3); image n has seed n."""
        networks = [stage.network for stage in stages]
        homes = [next(network.parameters()).device for network in networks]
        for network in networks:  # not in inference mode: what moves there can never learn again
            network.to(device)
        together = sampler.count_at_once(stages[-1].size)
        parts, config = [], sampler.SamplingConfig()
        for part in (slice(n, n + together) for n in range(0, len(self.prompts), together)):
            text = (self.text[0][part].to(device), self.text[1][part].to(device))
            seeds = range(len(self.prompts))[part]
            with torch.inference_mode():
                *_, last = sampler.run_stages(stages, text, seeds, config=config)
                parts.append(sampler.to_uint8(last))
        for network, home in zip(networks, homes, strict=True):
            network.to(home)
        return np.concatenate(parts)


def batch_loss(network: nn.Module, batch: Batch, sigma_data: float, precision: str) -> Tensor:
    """Weighted loss of each image (B)."""
    clean_BCHW, sigma_B, low = batch.clean_BCHW, batch.sigma_B, batch.conditioning
    noisy = clean_BCHW + sigma_B[:, None, None, None] * batch.noise_BCHW
    with autocast(noisy, enabled=precision == "bf16"):
        predicted = diffusion.denoise(
            network, noisy, sigma_B, batch.text, sigma_data=sigma_data, conditioning=low
        )
    return diffusion.training_loss(
        predicted, clean_BCHW, sigma_B, sigma_data=sigma_data, conditioning=low
    )


def learning_rate(config: TrainConfig, seen: int, total: int, *, finetuning: bool) -> float:
    """Rises over `warmup` images, holds, and falls to zero over the last `decay` of the run.

    It rises over at most a tenth of the run, which short runs would else spend rising.
    """
    warmup = min(config.warmup, total / 10)
    rise = min(1.0, (seen + config.batch_size) / warmup) if warmup else 1.0
    left = 1 - seen / total
    fall = min(1.0, left / config.decay) if config.decay else 1.0
    return config.learning_rate * (config.finetune_rate if finetuning else 1.0) * rise * fall


@dataclass
class Run:
    """Where a run writes, and what its processes share."""

    folder: Path
    config: TrainConfig
    device: torch.device
    finetuning: bool
    log: RunLog
    rank: int = 0
    world: int = 1
    progress: Progress = SILENT  # of the first process alone
    credits: list[dict[str, str]] = field(default_factory=list)  # of its images; there alone, too
    last_saved: float = -math.inf  # when this process last saved, time.monotonic()

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            torch.distributed.barrier()


@dataclass(frozen=True)
class TrainingData:
    """What a stage trains on, and what is measured and sampled meanwhile."""

    mixture: Mixture
    set_names: Sequence[str]  # of its sets: "new", "replay", "regularization"
    held_out: Mapping[str, Mixture]  # images held out, by the set they are from
    previews: Previews


@dataclass
class StageState:
    """A stage in training, and all that its loop keeps."""

    run: Run
    data: TrainingData
    stage: Stage
    number: int
    model: nn.Module  # its network, float32, on the run's device; wrapped for several processes
    emas: list[EMA]
    optimizers: list[Optimizer]
    seen: int  # images
    metrics: Metrics  # since the last line of the log
    pending: PendingMetrics
    start: tuple[float, int]  # seconds, images: when and where this process began
    lr: float = 0.0

    @property
    def parts(self) -> resume.TrainedParts:
        """What a state holds."""
        return self.stage.network, self.emas, self.optimizers


def train_stage(run: Run, data: TrainingData, cascade: Cascade, number: int) -> None:
    """Train one stage in place to its last image; on return it holds averaged weights, on the CPU.

    The stages before it are finished.

    Raises:
        InputError: the loss is no longer a number, or the disk refuses; the last saved state
            stays, and the same command goes on from there.
    """
    config, total, stage = run.config, run.config.images[number], cascade.stages[number]
    finishes = number + 1 == len(cascade.stages)
    state = _begin_stage(run, data, stage, number)
    run.progress.count(f"{stage.size} px", state.seen, total)

    def make(at: int, count: int) -> Batch:
        return data.mixture.batch(
            config, number, at, count, rank=run.rank, world=run.world, device=run.device
        )

    starts = range(state.seen, total, config.batch_size)
    steps = [(at, min(config.batch_size, total - at)) for at in starts]
    with prefetch.prefetch(make, steps) as batches:
        for (_, count), batch in zip(steps, batches, strict=True):
            _take_step(state, batch, count)
            seen, last = state.seen, state.seen == total
            logs = last or _is_due(seen, count, config.log_every)
            draws = config.sample_every > 0 and (last or _is_due(seen, count, config.sample_every))
            saves = not last and _is_due(seen, count, config.save_every)
            keeps = not (last and finishes) and _is_due(seen, count, config.snapshot_every)
            waits = len(state.pending.rows) >= MAX_PENDING
            if logs or draws or saves or keeps or waits or run.device.type == "cpu":
                _check_finite(state, thoroughly=saves or keeps or last)
            if run.rank == 0:
                if logs:
                    measured = last or _is_due(seen, count, 4 * config.log_every)
                    _log_metrics(state, held_out_loss(state) if measured else {})
                if draws:
                    shown = replace(stage, network=state.emas[-1].network)
                    stages = [*cascade.stages[:number], shown]
                    data.previews.write(run.folder, stages, seen, run.device)
                if keeps:  # before the state, so that none is missing before where it goes on
                    _keep_snapshot(state, cascade)
                if saves and time.monotonic() - run.last_saved >= config.save_seconds:
                    resume.save_stage(run.folder, number, seen, state.metrics, state.parts)
                    run.last_saved = time.monotonic()
    if total:
        _choose_ema(state)
    stage.network.to("cpu").eval().requires_grad_(False)
    stage.images_seen += total


def _begin_stage(run: Run, data: TrainingData, stage: Stage, number: int) -> StageState:
    """The stage as it was last saved, or as it was given."""
    config, sets = run.config, len(data.mixture.sets)
    network = stage.network.to(run.device).train().requires_grad_(True)
    emas = [ema.start_ema(network, sigma_rel) for sigma_rel in config.ema_sigma_rel]
    network.config = replace(network.config, gradient_checkpointing=config.gradient_checkpointing)
    chosen_optimizers = optimizers.make(
        config.optimizer, config.optimizer_options, network, weight_decay=config.weight_decay
    )
    parts = (network, emas, chosen_optimizers)
    seen, metrics = resume.restore_stage(run.folder, number, Metrics.empty(sets), parts)
    distributed.refuse_other_folder(run.folder, seen, run.world)
    if run.rank == 0:
        run.log.resume_at(number, str(stage.size), seen)
        snapshots.remove_snapshots_after(run.folder, config.stages, number, seen)
    model: nn.Module = network
    if run.world > 1:
        model = nn.parallel.DistributedDataParallel(network, broadcast_buffers=False)
    pending, start = PendingMetrics(sets), (time.monotonic(), seen)
    given = (run, data, stage, number, model, emas, chosen_optimizers)
    return StageState(*given, seen, metrics, pending, start)


def _take_step(state: StageState, batch: Batch, count: int) -> None:
    run, network, config = state.run, state.stage.network, state.run.config
    total = config.images[state.number]
    state.lr = learning_rate(config, state.seen, total, finetuning=run.finetuning)
    optimizers.set_learning_rate(state.optimizers, state.lr)
    share = count / run.world
    losses_B = _accumulate(state.model, batch, state.stage.sigma_data, config, share)
    norm = nn.utils.clip_grad_norm_(list(network.parameters()), config.max_grad_norm)
    for optimizer in state.optimizers:
        optimizer.step()
        optimizer.zero_grad()
    state.seen += count
    for average in state.emas:
        average.update(network, state.seen, count)
    state.pending.add(state.seen, norm, losses_B, batch.set_B)


def _accumulate(
    model: nn.Module, batch: Batch, sigma_data: float, config: TrainConfig, count: float
) -> Tensor:
    """Add the gradient of the mean loss to the weights', a microbatch after the other.

    The mean is over `count` images: those of the whole batch, over the number of processes.
    Returns the loss of each image of this process (B).
    """
    losses, parts = [], batch.microbatches(config.gradient_accumulation)
    for number, part in enumerate(parts):
        waits = number + 1 < len(parts) and isinstance(model, nn.parallel.DistributedDataParallel)
        with model.no_sync() if waits else nullcontext():  # type: ignore[operator]
            losses_B = batch_loss(model, part, sigma_data, config.precision)
            (losses_B.sum() / count).backward()  # type: ignore[no-untyped-call]
        losses.append(losses_B.detach())
    return torch.cat(losses)


def _check_finite(state: StageState, *, thoroughly: bool) -> None:
    """Read what waits on the device; every process comes here at the same step.

    A broken run is never saved: figures are read, and weights looked at, before each save.
    """
    run, stage = state.run, state.stage
    latest_loss, broken = state.pending.read_into(state.metrics, world=run.world)
    if broken is None and thoroughly:  # waits for the device once
        norm = nn.utils.get_total_norm(list(stage.network.parameters()))
        broken = None if torch.isfinite(norm) else state.seen
    if broken is not None:
        at, rate = resume.read_position(run.folder), run.config.learning_rate
        where = "it begins again, for nothing was saved yet"
        if at is not None:
            from_there = f"{at[1]} images of stage {run.config.stages[at[0]]}"
            where = f"it goes on from {run.folder / STATE_FILE}, {from_there}"
        raise InputError(
            run.folder,
            f"the loss of stage {stage.size} is no longer a number after {broken} images",
            fix=f"type the same command with learning_rate = {rate / 2:g} in --config FILE "
            f"(it was {rate:g}); {where}",
        )
    total = run.config.images[state.number]
    run.progress.count(f"{stage.size} px", state.seen, total, loss=latest_loss)


def _log_metrics(state: StageState, measured: Mapping[str, Any]) -> None:
    seconds, images = time.monotonic() - state.start[0], state.seen - state.start[1]
    entry = {"stage": state.number, "size": str(state.stage.size), "images": state.seen}
    entry |= state.metrics.means(state.data.set_names)
    entry |= {"learning_rate": float(f"{state.lr:.4g}"), "rate": round(images / seconds, 2)}
    state.run.log.write(entry | dict(measured))
    state.metrics = Metrics.empty(len(state.data.set_names))


def _choose_ema(state: StageState) -> None:
    """Make the EMA with the lowest held-out loss the stage; without one, that named last."""
    best = _averaged_stage(state, HELD_OUT_IMAGES_LAST)
    state.stage.network, state.stage.facts = best.network, best.facts


def _averaged_stage(state: StageState, limit: int) -> Stage:
    """The stage as the EMA with the lowest loss on at most `limit` held-out images of each set."""
    measured = held_out_loss(state, limit=limit)
    losses = measured.get("held_out_ema", {})
    best = min(reversed(state.emas), key=lambda track: losses.get(f"{track.sigma_rel:g}", 0.0))
    facts = {"ema_sigma_rel": best.sigma_rel, **measured}
    return replace(state.stage, network=best.network, facts=facts)


def _keep_snapshot(state: StageState, cascade: Cascade) -> None:
    """Write the model as it is now, and say so in the log."""
    run, seen, number = state.run, state.seen, state.number
    now = _averaged_stage(state, HELD_OUT_IMAGES)
    now.images_seen += seen
    later = cascade.stages[number + 1 :] if run.finetuning else []
    stages = [*cascade.stages[:number], now, *later]
    file = snapshots.snapshot_file(run.folder, now.size, seen)
    checkpoint.save(file, replace(cascade, stages=stages), run.credits)
    entry = {"stage": number, "size": str(now.size), "images": seen}
    run.log.write(entry | {"snapshot": str(file.relative_to(run.folder))})


@torch.no_grad()
def held_out_loss(state: StageState, *, limit: int = HELD_OUT_IMAGES) -> dict[str, Any]:
    """Mean loss on held-out images with fixed noise, each with its caption.

    Returns:
        `held_out`, of the best EMA of the weights, every set counted the same; `held_out_ema`,
        of each EMA by its sigma_rel; `held_out_sets`, of the best EMA on each set. Nothing where no
        image is held out.
    """
    run, held_sets = state.run, state.data.held_out
    if not held_sets:
        return {}
    quiet = replace(run.config, caption_dropout=0.0, flip=False, seed=12345)
    # as many at a time as training has room for
    together = max(1, run.config.batch_size // run.config.gradient_accumulation)
    found: dict[str, dict[str, float]] = {f"{track.sigma_rel:g}": {} for track in state.emas}
    for name, mixture in held_sets.items():
        count = min(limit, max(16, len(mixture.sets[0])))
        batch = mixture.batch(quiet, state.number, 0, count, device=run.device)
        for average in state.emas:
            parts = [
                batch_loss(average.network, part, state.stage.sigma_data, run.config.precision)
                for part in batch.microbatches(-(-count // together))
            ]
            found[f"{average.sigma_rel:g}"][name] = round(float(torch.cat(parts).mean()), 6)
    means = {width: round(sum(v.values()) / len(v), 6) for width, v in found.items()}
    best = min(means, key=lambda width: means[width])
    measured = {"held_out": means[best], "held_out_ema": means}
    return measured | ({"held_out_sets": found[best]} if len(held_sets) > 1 else {})


def _is_due(seen: int, count: int, every: int) -> bool:
    return every > 0 and seen // every > (seen - count) // every
