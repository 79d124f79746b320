"""A picture that, made small again, is the small picture it was made from.

Letters in names: B batch, C channels, H and W pixels, h and w those of the small pictures.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDS = 16  # the difference left falls by about a third in each; our choice


def consistent(images_BCHW: Tensor, low_BChw: Tensor, *, rounds: int = ROUNDS) -> Tensor:
    """Change pictures as little as needed for their averages over squares to be `low_BChw`.

    What the small picture settles, its colours above all, can then not drift while details are
    drawn. In each round the difference that is left is enlarged (bicubic), added, and the result
    clipped to [-1, 1].

    Args:
        images_BCHW: enlarged pictures in [-1, 1].
        low_BChw: the pictures they were made from, in [-1, 1]; H and W are whole multiples of
            h and w.
        rounds: 0 returns `images_BCHW`.

    Returns:
        Same shape as `images_BCHW`, in [-1, 1].

    Source: iterative back-projection (Irani and Peleg, CVGIP 53, 1991, equation 4). That a sampler
    may leave to its network only what the small picture does not settle: Wang et al.,
    arXiv:2212.00490, equation 9. Clipping between rounds, and how many there are, is our choice.
    """
    (height, width), (h, w) = images_BCHW.shape[2:], low_BChw.shape[2:]
    rows, columns = height // h, width // w
    down_Hh, across_Ww = _bicubic(low_BChw.mT, rows), _bicubic(low_BChw, columns)
    for _ in range(rounds):
        left_BChw = low_BChw - F.avg_pool2d(images_BCHW, (rows, columns))
        images_BCHW = (images_BCHW + down_Hh @ left_BChw @ across_Ww.T).clamp(-1, 1)
    return images_BCHW


def _bicubic(like_BChw: Tensor, factor: int) -> Tensor:
    """The matrix (factor w, w) that enlarges the last side, edges included.

    Bicubic interpolation works on each side alone; two products take a tenth of its time.
    """
    length = like_BChw.shape[3]
    every = torch.eye(length, device=like_BChw.device, dtype=like_BChw.dtype)[None, None]
    return F.interpolate(every, (factor * length, length), mode="bicubic")[0, 0]
