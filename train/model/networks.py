"""How large the networks are: one dial, from which the network of each stage follows."""

from collections.abc import Sequence
from typing import Any

from train.model.unet import UNetConfig
from train.size import Size

SIZES: dict[str, dict[str, Any]] = {  # the base stage; a super-resolution stage is derived from it
    "tiny": {"widths": (32, 64), "blocks": (1, 1), "mid_blocks": 1, "heads": 2},
    "small": {"widths": (64, 128), "blocks": (1, 2), "mid_blocks": 3, "heads": 4},
    "base": {"widths": (128, 256, 512), "blocks": (2, 2, 2), "mid_blocks": 5, "heads": 8},
    "large": {"widths": (256, 512, 1024), "blocks": (2, 3, 3), "mid_blocks": 9, "heads": 16},
}
GRID = {2: 16, 3: 32}  # by the number of levels: places a side that the stem should leave at least
BOTTOM = 4  # places a side of the lowest level, at least
ENLARGING_PATCH = 4  # pixels; largest of a super-resolution stage, which must draw fine lines


def unet_config(
    size: str,
    stages: Sequence[Size],
    number: int,
    text_width: int,
    *,
    mid_blocks: int | None = None,
) -> UNetConfig:
    """The network of the stage with this number; stages above the base see a low-resolution image.

    A super-resolution stage has one block a level and a third of the transformer blocks. They
    attend to the text alone: trained on crops, it draws whole images, and attention over pixels
    would spread over many times as many.

    Args:
        size: a key of `SIZES`.
        stages: sizes of the images, base first; sides are multiples of 8 pixels.
        number: which of them, from 0.
        text_width: of the text encoder.
        mid_blocks: transformer blocks in the middle of the base; None for what `size` says.
    """
    shape = dict(SIZES[size])
    if number:
        widths = shape["widths"]
        shape |= {
            "widths": (widths[0] * 3 // 2, *widths[1:]),
            "blocks": tuple(1 for _ in widths),
            "mid_blocks": max(1, shape["mid_blocks"] // 3),
            "in_channels": 6,
            "noise_levels": 2,
            "self_attention": False,
        }
    elif mid_blocks is not None:
        shape["mid_blocks"] = mid_blocks
    side, most = min(stages[number]), len(shape["widths"])
    levels = max(n for n in range(1, most + 1) if n == 1 or side >> (n - 1) >= BOTTOM)
    shape |= {name: shape[name][-levels:] for name in ("widths", "blocks")}
    most = ENLARGING_PATCH if number else 8
    grid = GRID[2] if number else GRID[len(SIZES[size]["widths"])]
    patch = _patch(stages[number], grid, levels, most)
    return UNetConfig(patch=patch, text_width=text_width, **shape)


def _patch(size: Size, grid: int, levels: int, most: int) -> int:
    """Pixels a side that the stem folds: the largest power of two that leaves `grid` places."""
    patch = 1
    while (twice := 2 * patch) <= min(most, min(size) // grid):
        if any(side % (twice << (levels - 1)) for side in size):
            break
        patch = twice
    return patch
