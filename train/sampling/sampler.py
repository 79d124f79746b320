"""From prompts to images, through every stage of the cascade.

Letters in names: B batch, N images, C channels, H and W pixels.
"""

import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curate.errors import InputError
from curate.system.progress import SILENT, Progress
from train.checkpoints import checkpoint
from train.checkpoints.checkpoint import Cascade, Stage
from train.device import compute_dtype, pick_device
from train.model import diffusion
from train.randomness import generator_at
from train.resizing import back_project, upsample
from train.size import Size
from train.text_encoder.embeddings import TextEncoder
from train.text_encoder.states import EncodedText

MAX_TOGETHER = 64  # images made at a time, at most
MAX_PIXELS = 2**20  # of the images made at a time: bounds the memory of large ones
DYNAMIC_ABOVE = 3.0  # guidance from which thresholding is dynamic; below it, dividing by the range
# would only turn white backgrounds grey (our choice)

OnStep = Callable[[int, float, Tensor], None]  # step from 0, its noise level, the noisy images


@dataclass(frozen=True)
class SamplingConfig:
    """How images are sampled; the defaults are our choice, measured on small cascades."""

    steps: int = 12  # of the base stage
    super_resolution_steps: int = 2  # of each super-resolution stage; more draw as much detail as
    # real images have, but not theirs: benchmarks/bench_super_resolution.py
    guidance: float = 1.5  # 1 is off
    guidance_sigma_min: float = 0.15  # noise levels between which guidance acts,
    guidance_sigma_max: float = 20.0  # Kynkaanniemi et al., arXiv:2404.07724
    noise_augmentation: float = 0.05  # noise on the image that such a stage is given
    super_resolution_sigma_max: float = 5.0  # its noise levels, whose unknown part is small:
    super_resolution_sigma_min: float = 1.0  # from the lowest it goes straight to the image


@dataclass(frozen=True)
class Samples:
    """Some of the images asked for, and how they came to be. Arrays are uint8 (N, H, W, 3)."""

    first: int  # place of the first among those asked for
    stages: list[np.ndarray]  # of every stage, base first
    noise_NHWC: np.ndarray  # what the base stage began with
    steps: list[np.ndarray]  # the noisy images of the steps that were to be shown


@dataclass
class CascadeSampler:
    """A cascade ready to sample. Image i depends on prompt i and seed i alone, up to rounding."""

    cascade: Cascade
    device: torch.device
    config: SamplingConfig = field(default_factory=SamplingConfig)
    name: str = ""  # of the checkpoint's file or folder
    _rows: dict[str, int] = field(default_factory=dict)  # prompt -> its place in the text
    _text: EncodedText | None = None

    @property
    def size(self) -> Size:
        """Of the images."""
        return self.cascade.stages[-1].size

    @property
    def digest(self) -> str:
        """SHA-256 of the checkpoint's file, which also names the text encoder's."""
        return self.cascade.digest

    def describe(self) -> dict[str, Any]:
        """What draws, for a report."""
        facts = {"kind": "checkpoint", "name": self.name, "model": self.digest}
        sizes = {"size": str(self.size), "fit": "drawn at this size"}
        return facts | {"settings": asdict(self.config)} | sizes

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """One image a (prompt, seed) pair, uint8 (N, H, W, 3)."""
        return self.generate_stages(prompts, seeds)[-1]

    def generate_stages(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[np.ndarray]:
        """As `generate`, with the images of every stage."""
        parts = [drawn.stages for drawn in self.sample(prompts, seeds)]
        sizes = [stage.size for stage in self.cascade.stages]
        empty = [np.zeros((0, size.height, size.width, 3), np.uint8) for size in sizes]
        return [np.concatenate(same) for same in zip(empty, *parts, strict=True)]

    def encode_prompts(self, prompts: Sequence[str], progress: Progress = SILENT) -> None:
        """Run the text encoder over prompts that are to be sampled, and let go of it.

        Whoever samples in several calls encodes all prompts first, so that it is loaded once.

        Raises:
            InputError: the encoder cannot be loaded, or is not the one the model was trained with.
        """
        new = sorted(set(prompts) - self._rows.keys())
        if not new:
            return
        self.cascade.to("cpu")  # a large encoder and the cascade need not fit a card together
        encoder = TextEncoder(self.cascade.encoder, device=self.device)
        if encoder.digest != self.cascade.encoder_digest:
            raise InputError(
                f"text encoder {self.cascade.encoder}",
                "its weights are not those the model was trained with",
                fix="restore the encoder, or train again",
            )
        for prompt, long in zip(new, encoder.exceeds_limit(new), strict=True):
            if long:
                cut = f"more than {encoder.limit} tokens; the rest is not read"
                progress.say(f"{prompt[:40]!r}…: {cut}")
        encoded = encoder.encode(new, progress)
        known = [encoded] if self._text is None else [self._text, encoded]
        self._text = EncodedText.concatenate(known)
        self._rows |= zip(new, count(len(self._rows)))

    def sample(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        shown: Sequence[int] = (),
        stages: int | None = None,
    ) -> Iterator[Samples]:
        """Sample one image a (prompt, seed) pair, some at a time, in order.

        Args:
            prompts: what to sample; the empty prompt asks for nothing in particular.
            seeds: one a prompt.
            shown: steps of the base stage, from 0, whose noisy images are kept.
            stages: how many stages to go through; None for all.

        Raises:
            InputError: as `encode_prompts`.
        """
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts for {len(seeds)} seeds")
        self.encode_prompts(prompts)
        self.cascade.to(self.device)
        together = count_at_once(self.cascade.stages[:stages][-1].size)
        for first in range(0, len(prompts), together):
            part = slice(first, first + together)
            yield self._sample_part(first, prompts[part], seeds[part], shown, stages)

    @torch.inference_mode()
    def _sample_part(
        self,
        first: int,
        prompts: Sequence[str],
        seeds: Sequence[int],
        shown: Sequence[int],
        stages: int | None,
    ) -> Samples:
        steps: list[np.ndarray] = []

        def keep(step: int, sigma: float, x_BCHW: Tensor) -> None:
            if step in shown:
                spread = self.cascade.stages[0].sigma_data
                steps.append(to_uint8(x_BCHW * spread / math.hypot(sigma, spread)))

        assert self._text is not None
        rows = torch.tensor([self._rows[prompt] for prompt in prompts])
        text = self._text.take(rows, device=self.device)
        chosen = self.cascade.stages[:stages]
        begun = to_uint8(_seed_noise(seeds, 0, chosen[0].size)[:, :3] / 2)
        drawn = run_stages(chosen, text, seeds, config=self.config, on_step=keep)
        return Samples(first, [to_uint8(images) for images in drawn], begun, steps)


def run_stages(
    stages: Sequence[Stage],
    text: tuple[Tensor, Tensor],
    seeds: Sequence[int],
    *,
    config: SamplingConfig,
    on_step: OnStep | None = None,
) -> Iterator[Tensor]:
    """The images of each stage (B, 3, H, W) in [-1, 1], base first.

    Args:
        stages: of one cascade, the first its base.
        text: token states and mask of each image's prompt, on the networks' device.
        seeds: of each image.
        config: how to sample.
        on_step: called before each step of the base stage.
    """
    images = torch.zeros(0)
    for number, stage in enumerate(stages):
        noise = _seed_noise(seeds, number, stage.size).to(text[0].device)
        given = upsample(images, stage.size) if number else None
        watch = None if number else on_step
        drawn = sample_stage(stage, text, noise, given, config=config, on_step=watch)
        images = back_project(drawn, images) if number else drawn
        yield images


def sample_stage(
    stage: Stage,
    text: tuple[Tensor, Tensor],
    noise_B6HW: Tensor,
    low_BCHW: Tensor | None,
    *,
    config: SamplingConfig,
    on_step: OnStep | None = None,
) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1], made by one stage.

    Args:
        stage: its network is on the device of the tensors.
        text: token states and mask.
        noise_B6HW: standard normal; channels 3 to 5 are for the low-resolution image.
        low_BCHW: that image enlarged, for a super-resolution stage.
        config: how to sample.
        on_step: called before every step.
    """
    sigmas, conditioning = diffusion.karras_sigmas(config.steps), None
    device = noise_B6HW.device
    if low_BCHW is not None:
        low, high = config.super_resolution_sigma_min, config.super_resolution_sigma_max
        sigmas = diffusion.karras_sigmas(config.super_resolution_steps, low=low, high=high)
        level = torch.full((len(noise_B6HW),), config.noise_augmentation, device=device)
        conditioning = (low_BCHW + config.noise_augmentation * noise_B6HW[:, 3:], level)
    both = (torch.cat([text[0]] * 2), torch.cat([text[1], torch.zeros_like(text[1])]))
    dtype, steps = compute_dtype(device), count()
    acts = {"low": config.guidance_sigma_min, "high": config.guidance_sigma_max}

    def denoiser(x_BCHW: Tensor, sigma_on_cpu: Tensor) -> Tensor:  # so that nothing waits for a GPU
        sigma = float(sigma_on_cpu)
        if on_step is not None:
            on_step(next(steps), sigma, x_BCHW)
        scale = 1.0 if conditioning else diffusion.guidance_scale_at(sigma, config.guidance, **acts)
        x, words = (x_BCHW, text) if scale == 1 else (torch.cat([x_BCHW] * 2), both)
        levels, spread = torch.full((len(x),), sigma, device=device), stage.sigma_data
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            x0 = diffusion.denoise(
                stage.network, x, levels, words, sigma_data=spread, conditioning=conditioning
            )
        if scale != 1:
            asked, unasked = x0.chunk(2)
            x0 = diffusion.guide(asked, unasked, scale)
        return diffusion.dynamic_threshold(x0) if scale > DYNAMIC_ABOVE else x0.clamp(-1, 1)

    mean = conditioning and conditioning[0]
    made = diffusion.dpm_solver_pp_2m(denoiser, noise_B6HW[:, :3], sigmas, mean_BCHW=mean)
    return made.clamp(-1, 1)


def load_sampler(
    path: Path, *, device: str = "auto", config: SamplingConfig | None = None
) -> CascadeSampler:
    """Read a checkpoint and make it ready to sample.

    Raises:
        InputError: it cannot be read.
    """
    place = pick_device(device)
    cascade = checkpoint.load(path)
    for stage in cascade.stages:
        for layer in stage.network.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                layer.to(compute_dtype(place))  # autocast would do so at every step, to the bit
    return CascadeSampler(cascade, place, config or SamplingConfig(), path.name)


def describe_unconverged(
    path: Path, size: Size | str, measured: Mapping[str, float | None], also: str = ""
) -> str:
    """That a stage of the checkpoint has not converged, by the figures that its training measured,
    and what to do; `also` is what else would help."""
    return (
        f"{path}: the {size} px stage has not converged: {measured['psnr']} dB, where enlargement "
        f"that has learnt nothing reaches {measured['back_projected']} dB; "
        f"{describe_high_frequency(measured)}; what helps: {also}train "
        f"finetune --init {shlex.quote(str(path))} --shards DIR --out NEW, with more images for "
        "that stage"
    )


def describe_high_frequency(measured: Mapping[str, float | None]) -> str:
    """How much a stage draws of what its conditioning image cannot hold, by the same figures."""
    if (ratio := measured["high_frequency"]) is None:
        return "real images have no high frequencies to draw"
    return f"high frequencies {ratio:.2f} times those of real images"


def informative_steps(stage: Stage, steps: int, count: int) -> list[int]:
    """The `count` steps, from 0, at which the image comes out of the noise most evenly.

    The share of image in a noisy image is taken as sigma_data / (sigma_data + sigma); most
    steps are spent where it is near 0 or 1 and a person sees no change (our choice).
    """
    sigmas = diffusion.karras_sigmas(steps)[:-1]
    share = stage.sigma_data / (stage.sigma_data + sigmas)
    wanted = torch.linspace(0, 1, count + 2)[1:-1]
    return sorted({int((share - w).abs().argmin()) for w in wanted})


def count_at_once(size: Size) -> int:
    """How many images of a size are made at a time, so that memory is bounded."""
    return max(1, min(MAX_TOGETHER, MAX_PIXELS // (size.width * size.height)))


def _seed_noise(seeds: Sequence[int], stage: int, size: Size) -> Tensor:
    """Standard normal noise (B, 6, H, W), each image's from its own seed."""
    shape = (6, size.height, size.width)
    return torch.stack([torch.randn(shape, generator=generator_at(s, stage)) for s in seeds])


def to_uint8(images_BCHW: Tensor) -> np.ndarray:
    """Images (B, C, H, W) in [-1, 1] as uint8 (B, H, W, C)."""
    scaled = ((images_BCHW.float() + 1) * 127.5).round().clamp(0, 255)
    array: np.ndarray = scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array
