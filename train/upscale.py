"""Is a super-resolution stage worth having? Its pictures against plain bicubic enlargement."""

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from train import sampling
from train.checkpoint import Stage
from train.data import Pictures, generator_at

if TYPE_CHECKING:
    from train.batches import Corpus

MARGIN = 0.5  # dB over bicubic below which a stage counts as not converged; our choice


def psnr(a_BCHW: Tensor, b_BCHW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image in dB (B), for values in [-1, 1] (peak 2)."""
    error = F.mse_loss(a_BCHW, b_BCHW, reduction="none").flatten(1).mean(1)
    return 10 * torch.log10(4 / error.clamp(min=1e-10))


@torch.inference_mode()
def convergence(
    stage: Stage, pictures: Pictures, corpus: "Corpus", device: torch.device, *, limit: int = 32
) -> dict[str, float | int | bool]:
    """Mean PSNR in dB of the stage and of bicubic on real pictures reduced and enlarged again.

    Returns:
        `psnr`, `bicubic`, `pictures` (how many were measured) and `converged`: at least `MARGIN`
        dB better than bicubic.
    """
    from train.batches import reduce

    count = min(limit, len(pictures))
    images = pictures.images(range(count))
    real = reduce(images, stage.size)
    low = sampling.enlarge(reduce(images, stage.low_size or stage.size), stage.size)
    text = corpus.text.take(
        torch.tensor([corpus.captions[c[0]] for c in pictures.captions[:count]])
    )
    sampler = sampling.StageSampler(stage, device, sampling.SamplingConfig(low_noise=0.0))
    noise = torch.stack(
        [torch.randn(6, *real.shape[2:], generator=generator_at(7, n)) for n in range(count)]
    )
    made = sampler.draw((text[0].to(device), text[1].to(device)), noise.to(device), low.to(device))
    ours, plain = psnr(made.cpu(), real).mean(), psnr(low.clamp(-1, 1), real).mean()
    if not math.isfinite(ours):
        ours = torch.tensor(-math.inf)
    return {
        "psnr": round(float(ours), 3),
        "bicubic": round(float(plain), 3),
        "pictures": count,
        "converged": bool(ours >= plain + MARGIN),
    }
