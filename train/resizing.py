"""Images made smaller, larger, and consistent: made small again, they are what they came from.

Letters in names: B batch, C channels, H and W pixels, h and w those of the small images.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from train.size import Size

ROUNDS = 16  # the difference left falls by about a third in each; our choice


def downsample_to(images_BCHW: Tensor, size: Size) -> Tensor:
    """Average over squares down to `size`; images of that size are unchanged."""
    return downsample(images_BCHW, images_BCHW.shape[-1] // size.width)


def downsample(images_BCHW: Tensor, factor: int) -> Tensor:
    """Average over squares of `factor` pixels a side."""
    return F.avg_pool2d(images_BCHW, factor) if factor > 1 else images_BCHW


def upsample(low_BChw: Tensor, size: Size) -> Tensor:
    """The low-resolution image at full size (bicubic), as the stage above is given it."""
    return F.interpolate(
        low_BChw, size=(size.height, size.width), mode="bicubic", align_corners=False
    )


@lru_cache(maxsize=16)
def bicubic_matrix(length: int, factor: int) -> Tensor:
    """The matrix (factor * length, length) that enlarges one side of an image, edges included.

    Bicubic interpolation is linear in the image and works on each side alone, so two products do
    it; they take a thirtieth of the time of `interpolate` on a CPU.
    """
    return upsample(torch.eye(length)[None, None], Size(length, length * factor))[0, 0]


def back_project(images_BCHW: Tensor, low_BChw: Tensor, *, rounds: int = ROUNDS) -> Tensor:
    """Change images as little as needed for their averages over squares to be `low_BChw`.

    What the small image settles, its colours above all, can then not drift while details are
    drawn. In each round the difference that is left is enlarged (bicubic), added, and the result
    clipped to [-1, 1].

    Args:
        images_BCHW: enlarged images in [-1, 1].
        low_BChw: the images they were made from, in [-1, 1]; H and W are whole multiples of
            h and w.
        rounds: 0 returns `images_BCHW`.

    Returns:
        Same shape as `images_BCHW`, in [-1, 1].

    Source: iterative back-projection (Irani and Peleg, CVGIP 53, 1991, equation 4). That a sampler
    may leave to its network only what the small image does not settle: Wang et al.,
    arXiv:2212.00490, equation 9. Clipping between rounds, and how many there are, is our choice.
    """
    (height, width), (h, w) = images_BCHW.shape[2:], low_BChw.shape[2:]
    rows, columns = height // h, width // w
    down_Hh, across_Ww = (
        bicubic_matrix(side, factor).to(low_BChw) for side, factor in ((h, rows), (w, columns))
    )
    for _ in range(rounds):
        left_BChw = low_BChw - F.avg_pool2d(images_BCHW, (rows, columns))
        images_BCHW = (images_BCHW + down_Hh @ left_BChw @ across_Ww.T).clamp(-1, 1)
    return images_BCHW
