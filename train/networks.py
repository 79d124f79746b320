"""How large the networks are: one dial, from which the network of each stage follows."""

from collections.abc import Sequence
from typing import Any

from train.size import Size
from train.unet import UNetConfig

SIZES: dict[str, dict[str, Any]] = {  # the base stage; a super-resolution stage is derived from it
    "tiny": {"widths": (32, 64), "blocks": (1, 1), "mid_blocks": 1, "heads": 2},
    "small": {"widths": (64, 128), "blocks": (1, 2), "mid_blocks": 3, "heads": 4},
    "base": {"widths": (128, 256, 384), "blocks": (2, 3, 3), "mid_blocks": 4, "heads": 8},
    "large": {"widths": (192, 384, 768), "blocks": (3, 4, 6), "mid_blocks": 8, "heads": 12},
}


def network(
    size: str,
    stages: Sequence[Size],
    number: int,
    text_width: int,
    *,
    mid_blocks: int | None = None,
) -> UNetConfig:
    """The network of the stage with this number; later stages see a low-resolution image.

    Args:
        size: a key of `SIZES`.
        stages: sizes of the pictures, base first.
        number: which of them, from 0.
        text_width: of the text encoder.
        mid_blocks: transformer blocks in the middle of the base; None for what `size` says.
    """
    shape = dict(SIZES[size])
    if mid_blocks is not None:
        shape["mid_blocks"] = mid_blocks
    if number == 0:
        patch = 2 if min(stages[0]) >= 32 else 1
        return UNetConfig(patch=patch, text_width=text_width, **shape)
    widths = shape["widths"]
    shape |= {
        "widths": (widths[0] * 3 // 2, *widths[1:]),
        "blocks": tuple(1 for _ in widths),
        "mid_blocks": max(1, shape["mid_blocks"] // 3),
    }
    return UNetConfig(in_channels=6, patch=4, text_width=text_width, noise_levels=2, **shape)
