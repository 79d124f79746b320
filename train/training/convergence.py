"""Is a super-resolution stage worth having? Images restored by it, and by learning nothing.

Letters in names: B batch, C channels, H and W pixels, h and w those of low-resolution images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from train.checkpoints.checkpoint import Stage
from train.data.batches import Mixture
from train.data.dataset import ImageSet
from train.randomness import generator_at
from train.resizing import back_project, downsample_to, upsample
from train.sampling.sampler import SamplingConfig, sample_stage
from train.size import Size

MARGIN_DB = 0.5  # dB by which a converged stage beats the best enlargement that has learnt nothing
NO_ENERGY = 1e-9  # mean energy below which images hold no detail: a hundredth of an 8-bit rounding
MEASURED_PIXELS = 2**18  # of all images worked on at a time: 64 of 64 px, one of 512 px
STREAM = 7  # stream of random numbers of this module


@dataclass(frozen=True)
class Pairs:
    """Real images, what they are reduced to, and their captions' states and masks."""

    real_BCHW: Tensor
    low_BChw: Tensor
    text: tuple[Tensor, Tensor]

    @property
    def upsampled_BCHW(self) -> Tensor:
        """The low-resolution images as a stage is given them (bicubic)."""
        height, width = self.real_BCHW.shape[2:]
        return upsample(self.low_BChw, Size(width, height))


def psnr(a_BCHW: Tensor, b_BCHW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image in dB (B), for values in [-1, 1] (peak 2).

    At most 106 dB, for equal images.
    """
    error = F.mse_loss(a_BCHW, b_BCHW, reduction="none").flatten(1).mean(1)
    return 10 * torch.log10(4 / error.clamp(min=1e-10))


def channel_difference(a_BCHW: Tensor, b_BCHW: Tensor) -> Tensor:
    """Mean of a - b in each channel of each image (B, C), in 255ths of the range of values.

    Averaged over many images it tells a colour shift from noise.
    """
    return (a_BCHW - b_BCHW).mean((2, 3)) * 127.5


def high_frequency_energy(images_BCHW: Tensor, low: Size) -> Tensor:
    """Energy of each image (B) at and above the Nyquist frequency of an image of size `low`.

    What a smaller image of the same scene cannot hold: of an image H pixels high and `low` h high,
    everything that has h / 2 cycles or more from top to bottom, and likewise across.

    Args:
        images_BCHW: any range; H >= h and W >= w.
        low: the smaller image.

    Returns:
        Mean over pixels and channels of the square of that part of the image, in the square of the
        images' unit: 0 or more, and 0 for images of one colour.

    Source: Parseval's theorem for the orthonormal DCT-II. A DCT rather than a Fourier transform,
    since it continues an image by its mirror image, so that opposite borders of other colours
    count as no detail (our choice).
    """
    from scipy.fft import dctn

    spectrum_BCHW = torch.from_numpy(dctn(images_BCHW.numpy(force=True), axes=(2, 3), norm="ortho"))
    spectrum_BCHW[:, :, : low.height, : low.width] = 0
    return spectrum_BCHW.square().mean((1, 2, 3))


def high_frequency_ratio(drawn_B: Tensor, real_B: Tensor) -> float | None:
    """The `high_frequency_energy` of drawn images over that of the real ones, each summed.

    1 is right; less is blur, more is noise or detail that is too harsh. It stands beside PSNR,
    which rewards blur: the average of all images that would fit has the best PSNR, and too little
    detail.

    Returns:
        0 or more; None where the real images hold no such detail.
    """
    detailed = float(real_B.mean()) > NO_ENERGY
    return float(drawn_B.sum() / real_B.sum()) if detailed else None


@torch.inference_mode()
def measure(
    stage: Stage, images: ImageSet, mixture: Mixture, device: torch.device, *, limit: int = 64
) -> dict[str, float | int | bool | None]:
    """How well a stage restores real images that were reduced to what it is given.

    Args:
        stage: a super-resolution stage of a cascade, on `device`.
        images: whole images of the cascade's last size; at least one.
        mixture: holds the captions' states.
        device: where the stage samples.
        limit: how many images are measured, spread evenly over all.

    Returns:
        Means over images, in dB: `psnr` of the stage given the low-resolution image itself,
        `psnr_as_sampled` given it with the noise that `train sample` adds, `bicubic` of plain
        enlargement, `back_projected` of the latter made consistent with the low-resolution
        image as the stage's images are. `colour_shift` is the largest mean difference of a
        channel to the real images, as sampled, in 255ths; `high_frequency` is
        the `high_frequency_ratio` of images as sampled, None where there is none. `pictures` were
        measured. `converged` tells whether `psnr` exceeds `back_projected` by at least `MARGIN_DB`.
    """
    rows = torch.linspace(0, len(images) - 1, min(limit, len(images))).round().long().tolist()
    together = max(1, MEASURED_PIXELS // (images.size.width * images.size.height))
    parts = [
        _measure(stage, _make_pairs(stage, images, mixture, rows[n : n + together]), device, n)
        for n in range(0, len(rows), together)
    ]
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    high = high_frequency_ratio(whole.pop("high_drawn_B"), whole.pop("high_real_B"))
    means = {name: values.mean(0) for name, values in whole.items()}
    shift = round(float(means.pop("shift_C").abs().max()), 3)
    decibels = {name: round(float(value), 3) for name, value in means.items()}
    converged = decibels["psnr"] >= decibels["back_projected"] + MARGIN_DB
    told = {"colour_shift": shift, "high_frequency": None if high is None else round(high, 3)}
    return {**decibels, **told, "pictures": len(rows), "converged": converged}


def restore(
    stage: Stage, pairs: Pairs, device: torch.device, config: SamplingConfig, seeds: Sequence[int]
) -> Tensor:
    """What `train sample` would make of low-resolution images, (B, C, H, W) on the CPU.

    An image that is not a number is grey.
    """
    return back_project(refine(stage, pairs, device, config, seeds).nan_to_num(0), pairs.low_BChw)


def refine(
    stage: Stage, pairs: Pairs, device: torch.device, config: SamplingConfig, seeds: Sequence[int]
) -> Tensor:
    """The images as the stage leaves them, before they are made consistent."""
    shape = (6, *pairs.real_BCHW.shape[2:])
    noise = torch.stack([torch.randn(shape, generator=generator_at(STREAM, s)) for s in seeds])
    text = (pairs.text[0].to(device), pairs.text[1].to(device))
    noise, given = noise.to(device), pairs.upsampled_BCHW.to(device)
    return sample_stage(stage, text, noise, given, config=config).cpu()


def _make_pairs(stage: Stage, image_set: ImageSet, mixture: Mixture, rows: list[int]) -> Pairs:
    assert stage.conditioning_size is not None, "a base stage enlarges nothing"
    images = image_set.images(rows)
    captions = torch.tensor([mixture.caption_rows[image_set.captions[row][0]] for row in rows])
    real, low = (downsample_to(images, size) for size in (stage.size, stage.conditioning_size))
    return Pairs(real, low, mixture.text.take(captions))


def _measure(stage: Stage, pairs: Pairs, device: torch.device, first: int) -> dict[str, Tensor]:
    low = Size(pairs.low_BChw.shape[3], pairs.low_BChw.shape[2])
    real, plain = pairs.real_BCHW, pairs.upsampled_BCHW.clamp(-1, 1)
    seeds = range(first, first + len(real))
    exact = restore(stage, pairs, device, SamplingConfig(noise_augmentation=0.0), seeds)
    drawn = restore(stage, pairs, device, SamplingConfig(), seeds)
    return {
        "psnr": psnr(exact, real),
        "psnr_as_sampled": psnr(drawn, real),
        "bicubic": psnr(plain, real),
        "back_projected": psnr(back_project(plain, pairs.low_BChw), real),
        "shift_C": channel_difference(drawn, real),
        "high_drawn_B": high_frequency_energy(drawn, low),
        "high_real_B": high_frequency_energy(real, low),
    }
