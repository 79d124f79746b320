"""The training loop: load, step, log, save, stop. The same command again resumes.

Letters in names: B batch, C channels, H and W pixels.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from curate.errors import InputError, storage_error
from curate.files import write_bytes
from train import checkpoint, diffusion
from train.batches import Batch, Corpus
from train.checkpoint import STATE, Stage
from train.config import TrainConfig
from train.unet import UNet

LOG = "log.jsonl"


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
    """Rises over `warmup` images, holds, and falls to zero over the last `decay` of the run."""
    rise = min(1.0, (seen + config.batch) / config.warmup) if config.warmup else 1.0
    left = 1 - seen / total
    fall = min(1.0, left / config.decay) if config.decay else 1.0
    return config.learning_rate * (config.finetune_rate if tuning else 1.0) * rise * fall


def ema_weight(step: int, gamma: float) -> float:
    """How much of the average is kept at `step`, from 1.

    Source: the power function of Karras et al., arXiv:2312.02696, section 3.1.
    """
    return float((1 - 1 / step) ** (gamma + 1))


@dataclass
class Run:
    """Where a run writes, and what its processes share."""

    folder: Path
    config: TrainConfig
    device: torch.device
    tuning: bool
    rank: int = 0
    world: int = 1
    progress: Callable[[int, int, float], None] = lambda stage, seen, loss: None

    @property
    def state(self) -> Path:
        """The unfinished run: weights, averages, moments."""
        return self.folder / STATE

    def meet(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            torch.distributed.barrier()


def train_stage(
    run: Run,
    corpus: Corpus,
    held: Corpus | None,
    stage: Stage,
    number: int,
    finished: Sequence[Stage],
) -> None:
    """Train one stage in place to its last image; on return it holds the averaged weights.

    Raises:
        InputError: the loss is no longer a number, or the disk refuses; the last saved state
            stays, and the same command goes on from there.
    """
    config, total = run.config, run.config.images[number]
    network, average = stage.network.to(run.device), _copy(stage.network).to(run.device)
    network.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=0.0,
        betas=(0.9, 0.99),
        weight_decay=config.weight_decay,
        fused=True,
    )
    seen = step = 0
    losses: list[float] = []  # since the last line of the log
    if run.state.exists():
        seen, step, losses = _restore(run, network, average, optimizer)
    _trim_log(run, number, seen)
    model: nn.Module = network
    if run.world > 1:
        model = nn.parallel.DistributedDataParallel(network)
    started, started_at = time.monotonic(), seen
    while seen < total:
        count = min(config.batch, total - seen)
        batch = corpus.batch(
            config, number, seen, count, rank=run.rank, world=run.world, device=run.device
        )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, seen, total, tuning=run.tuning)
        loss = batch_loss(model, batch, stage.sigma_data, config.precision).sum() / count
        optimizer.zero_grad(set_to_none=True)
        (loss * run.world).backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        if not math.isfinite(float(norm)):
            raise InputError(
                run.folder,
                f"the loss of stage {config.stages[number]} is no longer a number after "
                f"{seen} images",
                fix="set a lower learning_rate in --config FILE and name a new --out",
            )
        optimizer.step()
        seen, step = seen + count, step + 1
        with torch.no_grad():
            kept = ema_weight(step, 6.94)
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - kept)
        losses.append(_total(loss.detach(), run))
        run.progress(number, seen, losses[-1])
        if run.rank == 0 and (_crossed(seen, count, config.log_every) or seen == total):
            entry = {
                "stage": number,
                "size": str(stage.size),
                "images": seen,
                "loss": round(sum(losses) / len(losses), 6),
                "rate": round((seen - started_at) / (time.monotonic() - started), 2),
            }
            if held is not None and (_crossed(seen, count, 4 * config.log_every) or seen == total):
                entry["held_out"] = round(held_out_loss(average, held, stage, run, number), 6)
            _log(run, entry)
            losses.clear()
        if run.rank == 0 and _crossed(seen, count, config.save_every) and seen < total:
            save_state(run, number, finished, (seen, step, losses), (network, average, optimizer))
    stage.network = average.eval().requires_grad_(False)
    stage.images_seen += total


@torch.no_grad()
def held_out_loss(
    network: UNet, held: Corpus, stage: Stage, run: Run, number: int, *, limit: int = 64
) -> float:
    """Mean loss over held-out pictures with fixed noise."""
    count = min(limit, max(16, len(held.sets[0])))
    quiet = replace(run.config, caption_dropout=0.0, seed=12345)
    batch = held.batch(quiet, number, 0, count, device=run.device)
    return float(batch_loss(network, batch, stage.sigma_data, run.config.precision).mean())


def _crossed(seen: int, count: int, every: int) -> bool:
    return seen // every > (seen - count) // every


def _total(loss: Tensor, run: Run) -> float:
    if run.world > 1:
        torch.distributed.all_reduce(loss)
    return float(loss)


def _copy(network: UNet) -> UNet:
    twin = UNet(network.config).to(memory_format=torch.channels_last)
    twin.load_state_dict(network.state_dict())
    return twin.requires_grad_(False)


def save_state(
    run: Run,
    number: int,
    finished: Sequence[Stage],
    progress: tuple[int, int, list[float]] = (0, 0, []),
    working: tuple[UNet, UNet, torch.optim.Optimizer] | None = None,
) -> None:
    """Write what the same command needs to go on from here."""
    tensors: dict[str, Tensor] = {}
    if working is not None:
        network, average, optimizer = working
        for prefix, module in (("network", network), ("average", average)):
            tensors |= {f"{prefix}/{k}": v for k, v in module.state_dict().items()}
        for name, parameter in network.named_parameters():
            for moment in ("exp_avg", "exp_avg_sq"):
                tensors[f"{moment}/{name}"] = optimizer.state[parameter][moment]
    for n, stage in enumerate(finished):
        tensors |= {f"finished{n}/{k}": v for k, v in stage.network.state_dict().items()}
    seen, step, losses = progress
    described = {"stage": number, "seen": seen, "step": step, "losses": losses}
    checkpoint.write_tensors(run.state, tensors, described)


def restore_finished(run: Run, stages: Sequence[Stage]) -> int:
    """Load the stages that an earlier call finished; return the number of the next one."""
    if not run.state.exists():
        return 0
    tensors, described = checkpoint.read_tensors(run.state)
    for n in range(described["stage"]):
        stages[n].network.load_state_dict(under(tensors, f"finished{n}/"))
        stages[n].network.eval().requires_grad_(False).to(run.device)
        stages[n].images_seen += run.config.images[n]
    return int(described["stage"])


def _restore(
    run: Run, network: UNet, average: UNet, optimizer: torch.optim.Optimizer
) -> tuple[int, int, list[float]]:
    """Continue the current stage: images seen, steps done, losses not logged yet."""
    tensors, described = checkpoint.read_tensors(run.state)
    seen, step = int(described["seen"]), int(described["step"])
    if not seen:
        return 0, 0, []
    for prefix, module in (("network", network), ("average", average)):
        module.load_state_dict(under(tensors, f"{prefix}/"))
    for name, parameter in network.named_parameters():
        # the fused step walks memory, so the moments must be laid out as the weights are
        optimizer.state[parameter] = {
            moment: torch.empty_like(parameter).copy_(tensors[f"{moment}/{name}"])
            for moment in ("exp_avg", "exp_avg_sq")
        } | {"step": torch.tensor(float(step), device=parameter.device)}
    return seen, step, list(described["losses"])


def _log(run: Run, entry: Mapping[str, object]) -> None:
    path = run.folder / LOG
    try:
        with path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise storage_error(path, error) from None


def _trim_log(run: Run, number: int, seen: int) -> None:
    """Take back the lines of what is about to be trained again, and any that was cut short."""
    path = run.folder / LOG
    if run.rank or not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # cut short when the process died
        if entry["stage"] < number or (entry["stage"] == number and entry["images"] <= seen):
            kept.append(line)
    write_bytes(path, "".join(kept).encode())


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
