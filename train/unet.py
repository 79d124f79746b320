"""The compact Efficient U-Net: convolutions high up, text cross-attention at the bottom.

Letters in names: B batch, C channels, H and W pixels, L text tokens, D text width.

Ideas and where they come from: pixel-unshuffle stem (Shi et al., arXiv:1609.05158); skips scaled
by 2^-0.5 and few blocks at high resolution (Imagen's Efficient U-Net, arXiv:2205.11487, appendix
B); residual blocks modulated by the noise level and pooled text (ADM, arXiv:2105.05233); noise
level embedded by Fourier features (Tancik et al., arXiv:2006.10739).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class UNetConfig:
    """The shape of one U-Net."""

    in_channels: int = 3  # 3 for a base stage, 6 where a low-resolution image is given
    out_channels: int = 3
    patch: int = 2  # pixels a side folded into channels at the stem
    widths: tuple[int, ...] = (96, 192)  # channels a level, high to low resolution
    blocks: tuple[int, ...] = (2, 2)  # residual blocks a level, each way
    mid_blocks: int = 2  # transformer blocks in the middle: self-attention, text, feed-forward
    text_width: int = 384  # D
    heads: int = 6
    noise_levels: int = 1  # 2 where the low-resolution image has a noise level of its own

    @property
    def multiple(self) -> int:
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
        frequencies = 2 * math.pi * torch.exp(torch.linspace(math.log(0.1), math.log(4.0), 32))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.frequencies: Tensor
        self.noise = nn.Linear(64 * noise_levels, width)
        self.text = nn.Linear(text_width, width)
        self.out = nn.Linear(width, width)

    def forward(self, levels_BN: Tensor, pooled_BD: Tensor) -> Tensor:
        """One vector an image from its noise levels (log sigma / 4) and mean text state."""
        angles = levels_BN.float()[..., None] * self.frequencies
        features = torch.cat([angles.cos(), angles.sin()], -1).flatten(1)
        hidden = self.noise(features) + self.text(pooled_BD)
        return F.silu(self.out(F.silu(hidden)))


class ResBlock(nn.Module):
    """Norm, convolution, modulated norm, convolution; starts as the identity."""

    def __init__(self, width_in: int, width: int, embedding: int) -> None:
        """A 1x1 convolution carries the input over where the widths differ."""
        super().__init__()
        self.norm1 = nn.GroupNorm(_groups(width_in), width_in)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * width)
        self.norm2 = nn.GroupNorm(_groups(width), width)
        self.conv2 = _zero(nn.Conv2d(width, width, 3, padding=1))
        self.carry = nn.Conv2d(width_in, width, 1) if width_in != width else nn.Identity()

    def forward(self, x_BCHW: Tensor, embedding_BC: Tensor) -> Tensor:
        """Same height and width, `width` channels."""
        scale, shift = self.modulation(embedding_BC)[:, :, None, None].chunk(2, 1)
        h = self.conv1(F.silu(self.norm1(x_BCHW)))
        h = self.conv2(F.silu(torch.addcmul(shift, self.norm2(h), scale + 1)))
        out: Tensor = self.carry(x_BCHW) + h
        return out


class TransformerBlock(nn.Module):
    """Self-attention and cross-attention to the text side by side, then a feed-forward layer.

    Keys and values of pixels and text tokens are concatenated, so one attention serves both, as
    in Imagen (arXiv:2205.11487).
    """

    def __init__(self, width: int, text_width: int, heads: int, embedding: int) -> None:
        """`width` must be a multiple of `heads`."""
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.text_norm = nn.LayerNorm(text_width)
        self.text_kv = nn.Linear(text_width, 2 * width)
        self.out = _zero(nn.Linear(width, width))
        self.norm2 = nn.LayerNorm(width)
        self.modulation = nn.Linear(embedding, 2 * width)
        self.up = nn.Linear(width, 3 * width)
        self.down = _zero(nn.Linear(3 * width, width))

    def forward(
        self, x_BCHW: Tensor, embedding_BC: Tensor, text_BLD: Tensor, bias_B11K: Tensor
    ) -> Tensor:
        """`bias_B11K` is added to the scores: 0 for pixels and words, -inf for padding."""
        b, c, h, w = x_BCHW.shape
        x = x_BCHW.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm1(x)).chunk(3, -1)
        text_k, text_v = self.text_kv(self.text_norm(text_BLD)).chunk(2, -1)
        k, v = torch.cat([k, text_k], 1), torch.cat([v, text_v], 1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias_B11K.to(q.dtype))
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        scale, shift = self.modulation(embedding_BC)[:, None].chunk(2, -1)
        x = x + self.down(F.silu(self.up(torch.addcmul(shift, self.norm2(x), scale + 1))))
        image: Tensor = x.transpose(1, 2).reshape(b, c, h, w)
        return image.contiguous(memory_format=torch.channels_last)


class UNet(nn.Module):
    """Predicts the network output F of EDM's preconditioning; see `train.diffusion.denoise`."""

    def __init__(self, config: UNetConfig) -> None:
        """Build the network; the last convolution starts at zero."""
        super().__init__()
        self.config = config
        widths, embedding = config.widths, 4 * config.widths[0]
        self.embedding = NoiseEmbedding(embedding, config.text_width, config.noise_levels)
        self.null_text = nn.Parameter(torch.zeros(config.text_width))
        self.token_mean: Tensor
        self.token_std: Tensor
        self.pooled_mean: Tensor
        self.pooled_std: Tensor
        for name in ("token_mean", "pooled_mean"):
            self.register_buffer(name, torch.zeros(config.text_width))
        for name in ("token_std", "pooled_std"):
            self.register_buffer(name, torch.ones(config.text_width))
        self.stem = nn.Conv2d(config.in_channels * config.patch**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        self.shrink = nn.ModuleList()
        skips = [widths[0]]
        width = widths[0]
        for level, count in enumerate(config.blocks):
            for _ in range(count):
                self.down.append(ResBlock(width, widths[level], embedding))
                width = widths[level]
                skips.append(width)
            if level + 1 < len(widths):
                self.shrink.append(nn.Conv2d(width, widths[level + 1], 2, stride=2))
                width = widths[level + 1]
                skips.append(width)
        self.mid = nn.ModuleList(
            TransformerBlock(width, config.text_width, config.heads, embedding)
            for _ in range(config.mid_blocks)
        )
        self.up = nn.ModuleList()
        self.grow = nn.ModuleList()
        for level in reversed(range(len(widths))):
            for _ in range(config.blocks[level] + 1):
                self.up.append(ResBlock(width + skips.pop(), widths[level], embedding))
                width = widths[level]
            if level:
                self.grow.append(nn.Conv2d(width, 4 * widths[level - 1], 1))
                width = widths[level - 1]
        self.out_norm = nn.GroupNorm(_groups(width), width)
        self.out = _zero(nn.Conv2d(width, config.out_channels * config.patch**2, 3, padding=1))

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
        with torch.autocast(x_BCHW.device.type, enabled=False):
            text, pooled = self._text(text_BLD.float(), mask_BL)
        embedding = self.embedding(levels_BN, pooled)
        x = F.pixel_unshuffle(x_BCHW, self.config.patch)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        skips, shrink, down = [x], iter(self.shrink), iter(self.down)
        for level, count in enumerate(self.config.blocks):
            for _ in range(count):
                x = next(down)(x, embedding)
                skips.append(x)
            if level + 1 < len(self.config.blocks):
                x = next(shrink)(x)
                skips.append(x)
        pixels = x.shape[2] * x.shape[3]
        bias = self._bias(mask_BL, pixels)
        for block in self.mid:
            x = block(x, embedding, text, bias)
        grow, up = iter(self.grow), iter(self.up)
        for level in reversed(range(len(self.config.blocks))):
            for _ in range(self.config.blocks[level] + 1):
                x = next(up)(torch.cat([x, skips.pop() * 2**-0.5], 1), embedding)
            if level:
                x = F.pixel_shuffle(next(grow)(x), 2)
        out = self.out(F.silu(self.out_norm(x)))
        return F.pixel_shuffle(out, self.config.patch)

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
        bias = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, float("-inf"))
        return F.pad(bias, (pixels, 0))[:, None, None]


def _groups(width: int) -> int:
    """Groups of at least 16 channels, at most 32 groups."""
    return math.gcd(width, max(1, min(32, width // 16)))


def _zero(module: M) -> M:
    """Start a layer at zero, so that its block starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
