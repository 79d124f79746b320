"""EMAs of the weights over a run, weighted by a power of how far it had come.

All formulas: Karras et al., arXiv:2312.02696, section 3.1. sigma_rel is the width of an
average as a share of the run: 0.10 averages over about the last tenth.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from train.model.unet import UNet

LARGEST_SIGMA_REL = 12**-0.5  # the width of a plain mean over the whole run, gamma = 0


@lru_cache(maxsize=16)  # asked for in every step
def gamma(sigma_rel: float) -> float:
    """The exponent of the power function of this width.

    Args:
        sigma_rel: above 0 and at most 12^-0.5, about 0.2887.

    Returns:
        0 or more; 6.94 for 0.10, 16.97 for 0.05.

    Raises:
        ValueError: no such power function.

    Source: arXiv:2312.02696, equation 3, solved for gamma: with s = sigma_rel^-2, the positive
    root of gamma^3 + 7 gamma^2 + (16 - s) gamma + 12 - s, by bisection.
    """
    if not 0 < sigma_rel <= LARGEST_SIGMA_REL:
        raise ValueError(f"sigma_rel {sigma_rel} is not in (0, {LARGEST_SIGMA_REL:.4f}]")
    low, high = 0.0, 2 / sigma_rel  # relative_width falls as gamma rises, and is below 1 / gamma
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if relative_width(middle) > sigma_rel else (low, middle)
    return middle


def relative_width(exponent: float) -> float:
    """The width of the power function with this exponent gamma, 0 or more.

    Source: arXiv:2312.02696, equation 3.
    """
    return math.sqrt((exponent + 1) / (exponent + 3)) / (exponent + 2)


def decay_at(seen: int, count: int, exponent: float) -> float:
    """How much of the average stays when weights enter it after `seen` images.

    A step that saw images seen - count … seen then has, at the end of a run of T images, the weight
    (seen^(gamma + 1) - (seen - count)^(gamma + 1)) / T^(gamma + 1): the power function over just
    these images, whatever the batch size. The first step replaces what was there.

    Args:
        seen: images until now, these ones among them.
        count: images of this step, 1 … seen.
        exponent: gamma.

    Source: arXiv:2312.02696, equation 2, with t in images instead of steps (our choice).
    """
    return float((1 - count / seen) ** (exponent + 1))


@dataclass(frozen=True)
class EMA:
    """One EMA of a network's weights."""

    sigma_rel: float
    network: UNet  # on the same device; holds the average

    def update(self, network: UNet, seen: int, count: int) -> None:
        """Take in the weights as of `seen` images, after a step of `count`."""
        own: list[Tensor] = list(self.network.parameters())
        new: list[Tensor] = list(network.parameters())
        with torch.no_grad():
            torch._foreach_lerp_(own, new, 1 - decay_at(seen, count, gamma(self.sigma_rel)))


def start_ema(network: UNet, sigma_rel: float) -> EMA:
    """An EMA that starts as the network."""
    twin = UNet(network.config).to(memory_format=torch.channels_last)
    twin.load_state_dict(network.state_dict())
    device = next(network.parameters()).device
    return EMA(sigma_rel, twin.eval().requires_grad_(False).to(device))
