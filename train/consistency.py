"""A picture that, made small again, is the small picture it was made from.

Letters in names: B batch, C channels, H and W pixels, h and w those of the small pictures.
"""

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
    height, width = images_BCHW.shape[2:]
    square = (height // low_BChw.shape[2], width // low_BChw.shape[3])
    for _ in range(rounds):
        left = low_BChw - F.avg_pool2d(images_BCHW, square)
        more = F.interpolate(left, (height, width), mode="bicubic", align_corners=False)
        images_BCHW = (images_BCHW + more).clamp(-1, 1)
    return images_BCHW
