"""Running a network on pictures of any size with bounded memory.

Letters in names: B batch, C channels, H and W pixels.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

TILE = 256  # pixels a side of the largest piece a network is given
CONTEXT = 32  # pixels around a piece that are given with it and thrown away afterwards; with
# Real-ESRGAN one value in 200 then differs from the picture made in one piece, most by 1/255


def enlarged(
    network: Callable[[Tensor], Tensor],
    images_BCHW: Tensor,
    scale: int,
    *,
    tile: int = TILE,
    context: int = CONTEXT,
) -> Tensor:
    """What `network` makes of the pictures, put together from pieces where they are large.

    A piece is given with `context` pixels of its surroundings, so that a network that looks no
    farther makes the same picture in pieces as in one.

    Args:
        network: (b, C, h, w) to (b, C, scale h, scale w), for any sides.
        images_BCHW: pictures of one size.
        scale: how many times larger the network makes them.
        tile: side in pixels of the largest piece, context included; above twice `context`.
        context: 0 or more.

    Returns:
        (B, C, scale H, scale W), of the network's type and device.
    """
    height, width = images_BCHW.shape[2:]
    rows = []
    for top, given_top, bottom, given_bottom in spans(height, tile, context):
        row = []
        for left, given_left, right, given_right in spans(width, tile, context):
            made = network(images_BCHW[..., given_top:given_bottom, given_left:given_right])
            inside_y = slice((top - given_top) * scale, (bottom - given_top) * scale)
            inside_x = slice((left - given_left) * scale, (right - given_left) * scale)
            row.append(made[..., inside_y, inside_x])
        rows.append(torch.cat(row, 3))
    return torch.cat(rows, 2)


def spans(length: int, tile: int, context: int) -> Iterator[tuple[int, int, int, int]]:
    """Cut a side into pieces: start, start with context, end, end with context.

    The pieces cover the side without overlap; with context none is longer than `tile`. A side of
    at most `tile` is one piece.
    """
    if length <= tile:
        yield 0, 0, length, length
        return
    step = tile - 2 * context
    for start in range(0, length, step):
        end = min(start + step, length)
        yield start, max(0, start - context), end, min(length, end + context)
