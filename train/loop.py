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
import torch.nn.functional as F
from torch import Tensor, nn

from curate.errors import InputError, storage_error
from curate.files import write_bytes
from train import checkpoint, data, diffusion
from train.checkpoint import STATE, Stage
from train.config import TrainConfig
from train.data import Pictures
from train.sampling import enlarge
from train.text import EncodedText
from train.unet import UNet

LOG = "log.jsonl"


@dataclass(frozen=True)
class Batch:
    """What one step needs; a function of (seed, stage, images seen) alone."""

    clean_BCHW: Tensor
    noise_BCHW: Tensor
    sigma_B: Tensor
    text: tuple[Tensor, Tensor]
    low: tuple[Tensor, Tensor] | None  # enlarged low-resolution picture with noise, its level

    def part(self, rank: int, world: int, device: torch.device) -> "Batch":
        """The share of one process, on its device."""

        def cut(tensor: Tensor) -> Tensor:
            return tensor.tensor_split(world)[rank].to(device)

        return Batch(
            cut(self.clean_BCHW),
            cut(self.noise_BCHW),
            cut(self.sigma_B),
            (cut(self.text[0]), cut(self.text[1])),
            self.low and (cut(self.low[0]), cut(self.low[1])),
        )


@dataclass(frozen=True)
class Corpus:
    """Pictures to draw from, with the share of a batch each set gets, and their encoded text."""

    sets: list[Pictures]
    shares: list[float]  # sum 1
    captions: Mapping[str, int]  # caption -> row of `text`
    text: EncodedText

    def batch(self, config: TrainConfig, stage: int, seen: int, count: int) -> Batch:
        """The images at positions seen … seen + count - 1 of this stage's run."""
        generator = data.generator_at(config.seed, stage, seen)
        images, rows = [], []
        for n, pictures in enumerate(self.sets):
            start, end = self._drawn(n, seen), self._drawn(n, seen + count)
            drawn = data.draw(
                len(pictures),
                start=start,
                number=end - start,
                seed=config.seed,
                stream=stage * len(self.sets) + n,
            )
            images.append(pictures.images(drawn))
            for row in drawn.tolist():
                texts = pictures.captions[row]
                pick = int(torch.randint(len(texts), (1,), generator=generator))
                rows.append(self.captions[texts[pick]])
        states, mask = self.text.take(torch.tensor(rows))
        keep = torch.rand(count, 1, generator=generator) >= config.caption_dropout
        text = (states, mask * keep)
        return noised(torch.cat(images), text, config, stage, generator)

    def _drawn(self, number: int, seen: int) -> int:
        """How many of the first `seen` images came from the set with this number."""
        before, upto = sum(self.shares[:number]), sum(self.shares[: number + 1])
        return round(seen * upto) - round(seen * before)


def noised(
    images_BCHW: Tensor,
    text: tuple[Tensor, Tensor],
    config: TrainConfig,
    stage: int,
    generator: torch.Generator,
) -> Batch:
    """Resize, crop and draw noise for one batch of full-size pictures.

    A later stage is given the real low-resolution picture, with noise of a level drawn for each
    picture from [0, `low_noise`], and told that level (noise conditioning augmentation: Ho et
    al., arXiv:2106.15282, section 3).
    """
    pixels, count = config.stages[stage], len(images_BCHW)
    clean = reduce(images_BCHW, pixels)
    low_clean = None
    if stage:
        low_clean = enlarge(reduce(images_BCHW, config.stages[stage - 1]), pixels)
    if stage and pixels > config.crop:
        step = pixels // config.stages[stage - 1] * 8
        top, left = (
            int(torch.randint((pixels - config.crop) // step + 1, (1,), generator=generator)) * step
            for _ in range(2)
        )
        window = (..., slice(top, top + config.crop), slice(left, left + config.crop))
        clean = clean[window]
        low_clean = low_clean[window] if low_clean is not None else None
    sigma = diffusion.draw_sigma(
        diffusion.stratified(count, generator),
        mean=diffusion.noise_mean(pixels, conditioned=stage > 0),
    )
    noise = torch.randn(clean.shape, generator=generator)
    low = None
    if low_clean is not None:
        level = torch.rand(count, generator=generator) * config.low_noise
        low_noise = torch.randn(clean.shape, generator=generator)
        low = (low_clean + level[:, None, None, None] * low_noise, level)
    return Batch(clean, noise, sigma, text, low)


def reduce(images_BCHW: Tensor, pixels: int) -> Tensor:
    """Average over squares down to `pixels` a side; pictures of that size are unchanged."""
    factor = images_BCHW.shape[-1] // pixels
    return F.avg_pool2d(images_BCHW, factor) if factor > 1 else images_BCHW


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
    _trim_log(run, config.stages[number], seen)
    model: nn.Module = network
    if run.world > 1:
        model = nn.parallel.DistributedDataParallel(network)
    started, started_at = time.monotonic(), seen
    while seen < total:
        count = min(config.batch, total - seen)
        batch = corpus.batch(config, number, seen, count).part(run.rank, run.world, run.device)
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
            kept = ema_weight(step, config.ema_gamma)
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - kept)
        losses.append(_total(loss.detach(), run))
        run.progress(number, seen, losses[-1])
        if run.rank == 0 and (_crossed(seen, count, config.log_every) or seen == total):
            entry = {
                "stage": config.stages[number],
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
    batch = held.batch(quiet, number, 0, count).part(0, 1, run.device)
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


def _trim_log(run: Run, pixels: int, seen: int) -> None:
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
        if entry["stage"] < pixels or (entry["stage"] == pixels and entry["images"] <= seen):
            kept.append(line)
    write_bytes(path, "".join(kept).encode())


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
