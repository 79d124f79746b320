"""From prompts to pictures, through every stage of the cascade.

Letters in names: B batch, C channels, H and W pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from curate.errors import InputError, UsageError
from train import checkpoint, diffusion
from train.checkpoint import Cascade, Stage
from train.data import generator_at
from train.size import Size
from train.text import Encoder

BATCH = 64  # pictures made at a time
DYNAMIC_ABOVE = 3.0  # guidance from which thresholding is dynamic; below it, dividing by the range
# would only turn white backgrounds grey (our choice)


@dataclass(frozen=True)
class SamplingConfig:
    """How pictures are drawn; the defaults are our choice, measured on small cascades."""

    steps: int = 12  # of the base stage; later stages take a third
    guidance: float = 1.5  # 1 is off
    guidance_low: float = 0.15  # noise levels between which guidance acts,
    guidance_high: float = 20.0  # Kynkaanniemi et al., arXiv:2404.07724
    low_noise: float = 0.05  # noise added to the low-resolution picture of a later stage
    later_high: float = 5.0  # noise levels of a later stage, whose unknown part is small: the
    later_low: float = 0.5  # highest, and the lowest, from which it goes straight to the picture


@dataclass
class Sampler:
    """A cascade ready to draw. Picture i depends on prompt i and seed i alone, up to rounding."""

    cascade: Cascade
    device: torch.device
    config: SamplingConfig = field(default_factory=SamplingConfig)
    _encoder: Encoder | None = None

    @property
    def size(self) -> Size:
        """Of the pictures."""
        return self.cascade.stages[-1].size

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """One picture a (prompt, seed) pair, uint8 (N, H, W, 3)."""
        return self.stages(prompts, seeds)[-1]

    def stages(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        done: Callable[[int], None] = lambda count: None,
    ) -> list[np.ndarray]:
        """As `generate`, with the pictures of every stage; `done` hears how many are finished."""
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts for {len(seeds)} seeds")
        if self._encoder is None:
            self._encoder = Encoder(self.cascade.encoder, device=self.device)
            if self._encoder.digest != self.cascade.encoder_digest:
                raise InputError(
                    f"text encoder {self.cascade.encoder}",
                    "its weights are not those the model was taught with",
                    fix="restore the encoder, or train again",
                )
        known = sorted(set(prompts))
        encoded = self._encoder.encode(known)
        rows = torch.tensor([known.index(p) for p in prompts], dtype=torch.long)
        parts: list[list[np.ndarray]] = [[] for _ in self.cascade.stages]
        for start in range(0, len(prompts), BATCH):
            text = encoded.take(rows[start : start + BATCH], device=self.device)
            for part, images in zip(
                parts, self._draw(text, seeds[start : start + BATCH]), strict=True
            ):
                part.append(_to_uint8(images))
            done(len(text[0]))
        return [
            np.concatenate(p) if p else np.zeros((0, s.size.height, s.size.width, 3), np.uint8)
            for p, s in zip(parts, self.cascade.stages, strict=True)
        ]

    @torch.inference_mode()
    def _draw(self, text: tuple[Tensor, Tensor], seeds: Sequence[int]) -> list[Tensor]:
        images: list[Tensor] = []
        for number, stage in enumerate(self.cascade.stages):
            shape = (6, stage.size.height, stage.size.width)
            noise = [torch.randn(shape, generator=generator_at(s, number)) for s in seeds]
            low = enlarge(images[-1], stage.size) if stage.low_size else None
            drawer = StageSampler(stage, self.device, self.config)
            images.append(drawer.draw(text, torch.stack(noise).to(self.device), low))
        return images


@dataclass(frozen=True)
class StageSampler:
    """Draws with one stage."""

    stage: Stage
    device: torch.device
    config: SamplingConfig

    def draw(
        self, text: tuple[Tensor, Tensor], noise_B6HW: Tensor, low_BCHW: Tensor | None
    ) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1].

        Args:
            text: token states and mask.
            noise_B6HW: standard normal; channels 3 to 5 are for the low-resolution picture.
            low_BCHW: that picture enlarged, for a later stage.
        """
        stage, config, count = self.stage, self.config, len(noise_B6HW)
        low = None
        if low_BCHW is not None:
            level = torch.full((count,), config.low_noise, device=self.device)
            low = (low_BCHW + config.low_noise * noise_B6HW[:, 3:], level)
        both = (torch.cat([text[0]] * 2), torch.cat([text[1], torch.zeros_like(text[1])]))

        def denoiser(x_BCHW: Tensor, sigma: Tensor) -> Tensor:
            guide = (
                low is None
                and config.guidance != 1
                and bool(config.guidance_low < sigma < config.guidance_high)
            )
            x, words = (torch.cat([x_BCHW] * 2), both) if guide else (x_BCHW, text)
            with torch.autocast(self.device.type, torch.bfloat16):
                x0 = diffusion.denoise(
                    stage.network,
                    x,
                    sigma.expand(len(x)),
                    words,
                    sigma_data=stage.sigma_data,
                    low=low,
                )
            if guide:
                x0 = diffusion.guided(x0[:count], x0[count:], config.guidance)
            if guide and config.guidance > DYNAMIC_ABOVE:
                return diffusion.dynamic_threshold(x0)
            return x0.clamp(-1, 1)

        steps = config.steps if low is None else max(2, config.steps // 3)
        ends = {} if low is None else {"low": config.later_low, "high": config.later_high}
        sigmas = diffusion.karras_sigmas(steps, **ends).to(self.device)
        return diffusion.dpm_solver_pp_2m(
            denoiser, noise_B6HW[:, :3], sigmas, mean_BCHW=low and low[0]
        ).clamp(-1, 1)


def load(path: Path, *, device: str = "auto", config: SamplingConfig | None = None) -> Sampler:
    """Read a checkpoint and make it ready to draw.

    Raises:
        InputError: it cannot be read.
    """
    place = pick_device(device)
    return Sampler(checkpoint.load(path).to(place), place, config or SamplingConfig())


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError("--device", f"no device {name!r}", fix="auto, cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError("--device", f"{name!r} is not supported", fix="auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError("--device", f"no {name!r} here", fix="--device cpu")
    return device


def enlarge(low_BCHW: Tensor, size: Size) -> Tensor:
    """The low-resolution picture at full size, as a super-resolution stage is given it."""
    return torch.nn.functional.interpolate(
        low_BCHW, size=(size.height, size.width), mode="bicubic", align_corners=False
    )


def _to_uint8(images_BCHW: Tensor) -> np.ndarray:
    scaled = ((images_BCHW.float().cpu() + 1) * 127.5).round().clamp(0, 255)
    array: np.ndarray = scaled.to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return array
