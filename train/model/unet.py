"""The compact Efficient U-Net: convolutions high up, text cross-attention at the bottom.

Letters in names: B batch, C channels, H and W pixels, T pixels in a row, L text tokens, D text
width, K keys. Inside, channels come last (`x_BHWC`), as layer norms and matrix products want them;
convolutions see the same memory as channels-last images.

Ideas and where they come from: pixel-unshuffle stem (Shi et al., arXiv:1609.05158); few blocks at
high resolution, shrinking before and growing after them (Imagen's Efficient U-Net,
arXiv:2205.11487, appendix B); blocks modulated by the noise level and pooled text (ADM,
arXiv:2105.05233); noise level embedded by Fourier features (Tancik et al., arXiv:2006.10739);
one normalisation and one activation a block (ConvNeXt, Liu et al., arXiv:2201.03545, section 2.6).
Every normalisation is over the channels of one pixel, so that what a network without
self-attention makes of a place does not depend on how much else it is shown.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from train.model import kernels
from train.model.kernels import attend, convolve, layer_norm, pixel_shuffle, pixel_unshuffle
from train.size import Size

M = TypeVar("M", bound=nn.Module)
SIZES: dict[str, dict[str, Any]] = {  # the base stage; a super-resolution stage is derived from it
    "tiny": {"widths": (32, 64), "blocks": (1, 1), "mid_blocks": 1, "heads": 2},
    "small": {"widths": (64, 128), "blocks": (1, 2), "mid_blocks": 3, "heads": 4},
    "base": {"widths": (128, 256, 512), "blocks": (2, 2, 2), "mid_blocks": 5, "heads": 8},
    "large": {"widths": (256, 512, 1024), "blocks": (2, 3, 3), "mid_blocks": 9, "heads": 16},
}
GRID = {2: 16, 3: 32}  # by the number of levels: places a side that the stem should leave at least
BOTTOM = 4  # places a side of the lowest level, at least
ENLARGING_PATCH = 4  # pixels; largest of a super-resolution stage, which must draw fine lines


@dataclass(frozen=True)
class UNetConfig:
    """The shape of one U-Net."""

    in_channels: int = 3  # 3 for a base stage, 6 where a low-resolution image is given
    out_channels: int = 3
    patch: int = 2  # pixels a side folded into channels at the stem
    widths: tuple[int, ...] = (96, 192)  # channels a level, high to low resolution
    blocks: tuple[int, ...] = (2, 2)  # convolution blocks a level, each way
    mid_blocks: int = 2  # transformer blocks in the middle: attention to text, feed-forward
    text_width: int = 384  # D
    heads: int = 6
    noise_levels: int = 1  # 2 where the low-resolution image has a noise level of its own
    self_attention: bool = True  # pixels at the bottom attend to each other, not to text alone
    gradient_checkpointing: bool = False  # compute blocks again in the backward pass

    @property
    def side_multiple(self) -> int:
        """Image sides must be multiples of this many pixels."""
        return int(self.patch * 2 ** (len(self.widths) - 1))

    def to_json(self) -> dict[str, Any]:
        """Plain values for a checkpoint's description."""
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> "UNetConfig":
        """The configuration that `to_json` wrote."""
        return UNetConfig(
            **{**value, "widths": tuple(value["widths"]), "blocks": tuple(value["blocks"])}
        )


class NoiseEmbedding(nn.Module):
    """Fourier features of noise levels, and pooled text, as one vector an image."""

    def __init__(self, width: int, text_width: int, noise_levels: int) -> None:
        """Frequencies are fixed, spread geometrically from 0.1 to 4 periods a unit."""
        super().__init__()
        # named, since transformers may have torch's device contexts remember a linspace of its own
        place = torch.get_default_device()
        logarithms = torch.linspace(math.log(0.1), math.log(4.0), 32, device=place)
        frequencies = 2 * math.pi * torch.exp(logarithms)
        self.frequencies = nn.Buffer(frequencies, persistent=False)
        self.noise = nn.Linear(64 * noise_levels, width)
        self.text = nn.Linear(text_width, width)
        self.out = nn.Linear(width, width)

    def forward(self, levels_BN: Tensor, pooled_BD: Tensor) -> Tensor:
        """One vector an image from its noise levels (log sigma / 4) and mean text state."""
        angles = levels_BN.float()[..., None] * self.frequencies
        features = torch.cat([angles.cos(), angles.sin()], -1).flatten(1)
        hidden = self.noise(features) + self.text(pooled_BD)
        return F.silu(self.out(F.silu(hidden)))


class ConvBlock(nn.Module):
    """Norm, convolution, modulation, convolution; starts as the identity."""

    def __init__(self, width: int, embedding: int) -> None:
        """`width` channels in and out; `embedding` is the width of the noise embedding."""
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * width)
        self.conv2 = _zero_init(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x_BHWC: Tensor, embedding_BC: Tensor) -> Tensor:
        """Same shape."""
        scale, shift = self.modulation(embedding_BC)[:, None, None].chunk(2, -1)
        hidden = convolve(layer_norm(x_BHWC), self.conv1)
        hidden = F.silu(torch.addcmul(shift, hidden, scale + 1))
        return x_BHWC + convolve(hidden, self.conv2)


class TransformerBlock(nn.Module):
    """Self-attention and cross-attention to the text side by side, then a feed-forward layer.

    Keys and values of pixels and text tokens are concatenated, so one attention serves both, as
    in Imagen (arXiv:2205.11487). Without self-attention, those of the text stand alone.
    """

    def __init__(
        self, width: int, text_width: int, heads: int, embedding: int, *, self_attention: bool
    ) -> None:
        """`width` must be a multiple of `heads`."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width if self_attention else width)
        self.text_kv = nn.Linear(text_width, 2 * width)
        self.out = _zero_init(nn.Linear(width, width))
        self.modulation = nn.Linear(embedding, 2 * width)
        self.up = nn.Linear(width, 3 * width)
        self.down = _zero_init(nn.Linear(3 * width, width))

    def forward(
        self, x_BHWC: Tensor, embedding_BC: Tensor, text_BLD: Tensor, bias_B11K: Tensor
    ) -> Tensor:
        """`bias_B11K` is added to the scores: 0 for pixels and words, -inf for padding."""
        x_BTC = x_BHWC.flatten(1, 2)
        k, v = self.text_kv(text_BLD).chunk(2, -1)
        q, *own = self.qkv(layer_norm(x_BTC)).split(x_BTC.shape[-1], -1)
        if own:
            k, v = torch.cat([own[0], k], 1), torch.cat([own[1], v], 1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        mixed = attend(q, k, v, bias_B11K.to(q.dtype))
        x_BTC = x_BTC + self.out(mixed.transpose(1, 2).flatten(2))
        scale, shift = self.modulation(embedding_BC)[:, None].chunk(2, -1)
        hidden = torch.addcmul(shift, layer_norm(x_BTC), scale + 1)
        out: Tensor = x_BTC + self.down(F.silu(self.up(hidden)))
        return out.view_as(x_BHWC)


class UNet(nn.Module):
    """Predicts the network output F of EDM's preconditioning; see `diffusion.denoise`."""

    def __init__(self, config: UNetConfig) -> None:
        """Build the network; the last convolution starts at zero."""
        super().__init__()
        self.config = config
        widths, text_width, patch = config.widths, config.text_width, config.patch
        bottom = widths[-1]
        self.embedding = NoiseEmbedding(bottom, text_width, config.noise_levels)
        self.null_text = nn.Parameter(torch.zeros(text_width))
        self.token_mean = nn.Buffer(torch.zeros(text_width))
        self.pooled_mean = nn.Buffer(torch.zeros(text_width))
        self.token_std = nn.Buffer(torch.ones(text_width))
        self.pooled_std = nn.Buffer(torch.ones(text_width))
        self.stem = nn.Conv2d(config.in_channels * patch**2, widths[0], 3, padding=1)
        self.down, self.up = self._levels(), self._levels()
        steps = list(pairwise(widths))  # from each level to the one below
        self.shrink = nn.ModuleList(nn.Linear(4 * high, low) for high, low in steps)
        block = partial(TransformerBlock, bottom, text_width, config.heads, bottom)
        blocks = (block(self_attention=config.self_attention) for _ in range(config.mid_blocks))
        self.mid = nn.ModuleList(blocks)
        self.grow = nn.ModuleList(nn.Linear(low, 4 * high) for high, low in steps)
        self.fuse = nn.ModuleList(nn.Linear(2 * high, high) for high, _ in steps)
        self.out = _zero_init(nn.Conv2d(widths[0], config.out_channels * patch**2, 3, padding=1))

    def _levels(self) -> nn.ModuleList:
        widths, counts = self.config.widths, self.config.blocks
        return nn.ModuleList(
            nn.ModuleList(ConvBlock(width, widths[-1]) for _ in range(count))
            for width, count in zip(widths, counts, strict=True)
        )

    def forward(
        self, x_BCHW: Tensor, levels_BN: Tensor, text_BLD: Tensor, mask_BL: Tensor
    ) -> Tensor:
        """The network output, same height and width as the input.

        Args:
            x_BCHW: noisy image times c_in; a super-resolution stage adds the low-resolution
                image, enlarged, as channels 3 to 5. Sides are multiples of `config.multiple`.
            levels_BN: ln(sigma) / 4 of the image, then, if given, 2 sigma of the low-resolution
                image.
            text_BLD: token states of the encoder, float32.
            mask_BL: 1 for tokens, 0 for padding; an all-zero row means "no caption".
        """
        with kernels.autocast(x_BCHW, enabled=False):
            text, pooled = self._text(text_BLD.float(), mask_BL)
        embedding = self.embedding(levels_BN, pooled)
        x = convolve(pixel_unshuffle(x_BCHW.permute(0, 2, 3, 1), self.config.patch), self.stem)
        skips = []
        for level, blocks in enumerate(self.down):
            if level:
                skips.append(x)
                x = self.shrink[level - 1](pixel_unshuffle(x, 2))
            for block in blocks.children():
                x = self._run_block(block, x, embedding)
        text = layer_norm(text).to(x.dtype)
        bias = self._bias(mask_BL, x.shape[1] * x.shape[2] if self.config.self_attention else 0)
        for block in self.mid:
            x = self._run_block(block, x, embedding, text, bias)
        for level in reversed(range(len(self.up))):
            for block in self.up[level].children():
                x = self._run_block(block, x, embedding)
            if level:
                grown = pixel_shuffle(self.grow[level - 1](x), 2)
                x = self.fuse[level - 1](torch.cat([grown, skips.pop()], -1))
        x = convolve(F.silu(layer_norm(x)), self.out)
        return pixel_shuffle(x, self.config.patch).permute(0, 3, 1, 2)

    def _run_block(self, block: Callable[..., Tensor], *given: Tensor) -> Tensor:
        """The block's output; its insides are kept for the backward pass, or computed again."""
        if self.config.gradient_checkpointing and torch.is_grad_enabled():
            block = partial(checkpoint, block, use_reentrant=False)
        return block(*given)

    def _text(self, text_BLD: Tensor, mask_BL: Tensor) -> tuple[Tensor, Tensor]:
        mask = mask_BL.to(text_BLD.dtype)[..., None]
        pooled = (text_BLD * mask).sum(1) / mask.sum(1).clamp(min=1)
        pooled = (pooled - self.pooled_mean) / self.pooled_std
        text = (text_BLD - self.token_mean) / self.token_std * mask
        none_B1 = (mask.sum(1) == 0).to(text.dtype)
        first = torch.zeros_like(mask)
        first[:, 0] = 1
        text = text + none_B1[..., None] * first * self.null_text
        return text, pooled * (1 - none_B1) + none_B1 * self.null_text

    def _bias(self, mask_BL: Tensor, pixels: int) -> Tensor:
        mask = mask_BL.bool().clone()
        mask[:, 0] |= ~mask.any(1)
        bias = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, float("-inf"))
        return F.pad(bias, (pixels, 0))[:, None, None]


def _zero_init(module: M) -> M:
    """Start a layer at zero, so that its block starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


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
