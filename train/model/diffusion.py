"""The formulas of EDM (Karras et al., arXiv:2206.00364), a function each.

Letters in names: B batch, C channels, H and W pixels.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from train.size import Size

Network = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # a UNet, possibly wrapped: noisy
# images, noise levels, text and its mask give the network output F
SIGMA_MIN, SIGMA_MAX = 0.002, 80.0  # EDM table 1, for a data standard deviation of 0.5


def c_skip(sigma: Tensor, sigma_data: float | Tensor) -> Tensor:
    """Weight of the noisy image in the prediction. EDM table 1."""
    return sigma_data**2 / (sigma**2 + sigma_data**2)


def c_out(sigma: Tensor, sigma_data: float | Tensor) -> Tensor:
    """Weight of the network output in the prediction. EDM table 1."""
    return sigma * sigma_data / (sigma**2 + sigma_data**2).sqrt()


def c_in(sigma: Tensor, sigma_data: float | Tensor) -> Tensor:
    """Scale that gives the network input unit variance. EDM table 1."""
    return (sigma**2 + sigma_data**2).rsqrt()


def c_noise(sigma: Tensor) -> Tensor:
    """The noise level as the network is told it: ln(sigma) / 4. EDM table 1."""
    return sigma.log() / 4


def loss_weight(sigma: Tensor, sigma_data: float | Tensor) -> Tensor:
    """1 / c_out^2, so that every noise level starts with the same loss. EDM table 1."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def sigma_data_given(
    sigma_data: float, conditioning: tuple[Tensor, Tensor] | None
) -> float | Tensor:
    """Standard deviation of what is unknown of each image: the sigma_data of EDM, for that image.

    A base stage looks for the image: `sigma_data` itself. A super-resolution stage looks for the
    clean image minus the conditioning image, noise augmentation included. The noise of that image
    has nothing to do with its residual, so their variances add: a level of 0.5 leaves four times as
    much unknown as a residual of 0.12, and an image has a standard deviation of its own.

    Args:
        sigma_data: of a base stage's images; of a super-resolution stage the residual, the
            standard deviation of clean minus enlarged images without noise. Pixels in [-1, 1].
        conditioning: as in `denoise`.

    Returns:
        `sigma_data`, or sqrt(sigma_data^2 + level^2) of each image (B).

    Source: EDM, appendix B.6, asks for unit variance of network input and target; the sum of
    variances is our choice for noise augmentation (Ho et al., arXiv:2106.15282).
    """
    return sigma_data if conditioning is None else (sigma_data**2 + conditioning[1] ** 2).sqrt()


def noise_mean(size: Size, *, conditioned: bool) -> float:
    """Mean of ln(sigma) while training on images of this size.

    A base stage must learn at high noise what a prompt decides (who is there, which colours), and
    averaging over an area of side r divides noise by r, so the mean rises with ln(side)
    (Hoogeboom et al., arXiv:2301.11093, section 3.1). 0.3 at 32 pixels is our choice: at equal
    images, EDM's -1.2 learns the words' finer distinctions later. A stage that is given the
    low-resolution image has these things settled; 0.5, our choice too, suits the noise levels
    at which it is sampled.
    """
    return 0.5 if conditioned else 0.3 + math.log(size.side / 32)


def sample_sigma(uniform_B: Tensor, *, mean: float, std: float = 1.3) -> Tensor:
    """Noise levels with normal logarithm, from uniform numbers in (0, 1). EDM table 1.

    The width is our choice, a little above EDM's 1.2.
    """
    normal: Tensor = torch.special.ndtri(uniform_B.clamp(1e-4, 1 - 1e-4))
    return (normal * std + mean).exp().clamp(SIGMA_MIN, SIGMA_MAX)


def stratified_uniform(count: int, generator: torch.Generator) -> Tensor:
    """`count` uniform numbers in (0, 1), one in each of `count` equal parts, in random order.

    Lower variance of the loss at the same mean; each number alone is uniform.
    """
    within = torch.rand(count, generator=generator)
    return (torch.randperm(count, generator=generator) + within) / count


def denoise(
    network: Network,
    noisy_BCHW: Tensor,
    sigma_B: Tensor,
    text: tuple[Tensor, Tensor],
    *,
    sigma_data: float,
    conditioning: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """The expected clean image, from the preconditioned network. EDM equation 7.

    A super-resolution stage preconditions the difference to the enlarged low-resolution image
    rather than the image: a network that says nothing then returns that image at high noise, so
    training starts at the quality of plain enlargement (our choice).

    Args:
        network: predicts F.
        noisy_BCHW: clean image in [-1, 1] plus noise of standard deviation sigma, float32.
        sigma_B: noise level of each image, above 0.
        text: token states (B, L, D) and their mask (B, L).
        sigma_data: of the stage, as in `sigma_data_given`.
        conditioning: for a super-resolution stage the low-resolution image enlarged to full size
            (with its noise already added) and the noise level (B) it carries, 0 or more; the
            network is told twice the level itself, since its logarithm would run away towards 0.

    Returns:
        Same shape as `noisy_BCHW`, float32.
    """
    unknown = sigma_data_given(sigma_data, conditioning)
    skip, out, scale = (c(sigma_B, unknown)[:, None, None, None] for c in (c_skip, c_out, c_in))
    levels = c_noise(sigma_B)[:, None]
    if conditioning is None:
        centred = noisy_BCHW
        x = centred * scale
    else:
        low_BCHW, low_sigma_B = conditioning
        centred = noisy_BCHW - low_BCHW
        x = torch.cat([centred * scale, low_BCHW], 1)
        levels = torch.cat([levels, 2 * low_sigma_B[:, None]], 1)
    output = network(x, levels, *text).float()
    clean = skip * centred + out * output
    return clean if conditioning is None else clean + conditioning[0]


def training_loss(
    predicted_BCHW: Tensor,
    clean_BCHW: Tensor,
    sigma_B: Tensor,
    *,
    sigma_data: float,
    conditioning: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Weighted squared error of each image, (B). EDM equation 8.

    `sigma_data` and `conditioning` are those given to `denoise`.
    """
    error = F.mse_loss(predicted_BCHW, clean_BCHW, reduction="none").flatten(1).mean(1)
    return error * loss_weight(sigma_B, sigma_data_given(sigma_data, conditioning))


def karras_sigmas(
    steps: int, *, low: float = SIGMA_MIN, high: float = SIGMA_MAX, rho: float = 7.0
) -> Tensor:
    """Noise levels from `high` to `low`, then 0: steps + 1 numbers. EDM equation 5."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    levels = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return torch.cat([levels, levels.new_zeros(1)]).float()


def dpm_solver_pp_2m(
    denoiser: Callable[[Tensor, Tensor], Tensor],
    noise_BCHW: Tensor,
    sigmas: Tensor,
    *,
    mean_BCHW: Tensor | None = None,
) -> Tensor:
    """Sample with DPM-Solver++(2M) in the variance-exploding form x = x0 + sigma eps.

    Args:
        denoiser: (noisy image, sigma as a 0-d tensor) -> expected clean image.
        noise_BCHW: standard normal noise.
        sigmas: falling noise levels that end in 0, as from `karras_sigmas`.
        mean_BCHW: what the images are like on average, where the first noise level does not
            drown it; None for zero.

    Returns:
        The sampled clean image; the last step, to sigma 0, returns the denoiser's prediction.

    Source: Lu et al., arXiv:2211.01095, algorithm 2, with lambda = -ln sigma and alpha = 1.
    """
    x = noise_BCHW * sigmas[0]
    if mean_BCHW is not None:
        x = x + mean_BCHW
    previous, previous_step = None, 0.0
    for sigma, following in pairwise(sigmas):
        x0 = denoiser(x, sigma)
        if following == 0:
            return x0
        step = math.log(sigma / following)
        direction = x0
        if previous is not None:
            ratio = step / previous_step / 2
            direction = (1 + ratio) * x0 - ratio * previous
        x = following / sigma * x - math.expm1(-step) * direction
        previous, previous_step = x0, step
    return x


def dynamic_threshold(x0_BCHW: Tensor, *, percentile: float = 0.995) -> Tensor:
    """Clip each predicted image to its own range, then scale that range back to [-1, 1].

    Guidance pushes predictions far outside [-1, 1]; clipping them there saturates colours.
    Each image is clipped to +-s, s the `percentile` of its absolute values (at least 1),
    and divided by s.

    Args:
        x0_BCHW: predicted clean images, any float dtype, nominally in [-1, 1].
        percentile: fraction of values left unclipped, in (0, 1].

    Returns:
        Same shape and dtype, every value in [-1, 1]; images already inside are unchanged.

    Raises:
        ValueError: `percentile` outside (0, 1].

    Source: Imagen, arXiv:2205.11487, "dynamic thresholding". It names no percentile; ours is a
    choice.
    """
    if not 0 < percentile <= 1:
        raise ValueError(f"percentile {percentile} is not in (0, 1]")
    flat = x0_BCHW.flatten(1)
    limit = torch.quantile(flat.abs().float(), percentile, dim=1).clamp(min=1).to(flat.dtype)
    limit = limit[:, None, None, None]
    return x0_BCHW.clamp(-limit, limit) / limit


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance; 1 gives the conditional prediction.

    Source: Ho and Salimans, arXiv:2207.12598, equation 6, with w = scale - 1.
    """
    return unconditional + scale * (conditional - unconditional)


def guidance_scale_at(sigma: float, scale: float, *, low: float, high: float) -> float:
    """The scale of guidance at one noise level: `scale` where low < sigma < high, else 1.

    At high noise guidance throws away what else a prompt may show, at low noise it changes nothing
    that can be seen, and costs a second call of the network.

    Source: Kynkaanniemi et al., arXiv:2404.07724, section 3.
    """
    return scale if low < sigma < high else 1.0
