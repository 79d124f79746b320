"""Attention, convolution, norm and pixel shuffle, as fast as they get on a CPU and on a card.

Each gives what PyTorch's own gives; the shares are of a bfloat16 matrix product's speed, measured
on one thread of a CPU with AMX.

Letters in names: B batch, A heads, T queries, K keys, C channels, H and W pixels.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NARROW = 16  # pixels; narrower images are laid side by side for the gradient of a convolution
SCORES = 1024  # keys up to which a CPU keeps all scores


def autocast(x: Tensor, *, enabled: bool) -> torch.autocast:
    """Layers multiply in bfloat16 within it, where `x` lies; on the meta device it does nothing."""
    return torch.autocast("cuda" if x.is_cuda else "cpu", torch.bfloat16, enabled)


def attend(q_BATC: Tensor, k_BAKC: Tensor, v_BAKC: Tensor, bias_B11K: Tensor) -> Tensor:
    """Scaled dot-product attention, (B, A, T, C); `bias_B11K` is added to the scores.

    The gradient of PyTorch's fused attention takes ten times as long on a CPU as that of two
    matrix products, at 64 pixels; cards have fused kernels that never hold all scores.
    """
    if not q_BATC.is_cuda and q_BATC.requires_grad and k_BAKC.shape[2] <= SCORES:
        scores = (q_BATC * q_BATC.shape[-1] ** -0.5) @ k_BAKC.transpose(-1, -2)
        mixed: Tensor = torch.softmax(scores + bias_B11K, -1) @ v_BAKC
        return mixed
    return F.scaled_dot_product_attention(q_BATC, k_BAKC, v_BAKC, attn_mask=bias_B11K)


def layer_norm(x: Tensor) -> Tensor:
    """Layer norm over the last dimension, without weights, in the precision of `x`.

    A weight, and autocast's detour to float32 on a card, would cost another pass over memory;
    the sums are taken in float32 all the same.
    """
    with autocast(x, enabled=False):
        return torch.layer_norm(x, x.shape[-1:])


def convolve(x_BHWC: Tensor, conv: nn.Conv2d) -> Tensor:
    """A 3 x 3 convolution with padding of 1, channels last."""
    x = x_BHWC.permute(0, 3, 1, 2)
    if not x.is_cuda and x.requires_grad and x.shape[3] < NARROW and conv.bias is not None:
        weight, bias = conv.weight.to(x.dtype), conv.bias.to(x.dtype)
        out: Tensor = _NarrowConvolution.apply(x, weight, bias)
    else:
        out = F.conv2d(x, conv.weight, conv.bias, padding=1)
    return out.permute(0, 2, 3, 1)


def pixel_unshuffle(x_BHWC: Tensor, factor: int) -> Tensor:
    """Squares of `factor` pixels a side folded into channels: (B, H/f, W/f, f*f*C)."""
    if factor == 1:
        return x_BHWC
    b, h, w, c = x_BHWC.shape
    h, w = h // factor, w // factor
    squares = x_BHWC.reshape(b, h, factor, w, factor, c).transpose(2, 3)
    return squares.reshape(b, h, w, factor * factor * c)


def pixel_shuffle(x_BHWC: Tensor, factor: int) -> Tensor:
    """The inverse of `pixel_unshuffle`: (B, fH, fW, C/(f*f))."""
    if factor == 1:
        return x_BHWC
    b, h, w, c = x_BHWC.shape
    c = c // (factor * factor)
    squares = x_BHWC.reshape(b, h, w, factor, factor, c).transpose(2, 3)
    return squares.reshape(b, h * factor, w * factor, c)


class _NarrowConvolution(torch.autograd.Function):
    """The convolution of narrow images, with a faster gradient of its weights.

    oneDNN's runs along the rows of an image: at 8 pixels a row it reaches 0.3 of a matrix
    product's speed, at 32 and more 0.6 to 0.7. So the images of a batch are laid side by side,
    one column of zeros between them.
    """

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x_BCHW, weight)
        return F.conv2d(x_BCHW, weight, bias, padding=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        out = gradients[0].contiguous(memory_format=torch.channels_last)
        from_x, for_weight, for_bias = ctx.needs_input_grad
        dx, _, _ = _convolution_backward(out, x, weight, [from_x, False, False])
        _, dw, db = _convolution_backward(
            _lay_side_by_side(out), _lay_side_by_side(x), weight, [False, for_weight, for_bias]
        )
        return dx, dw, db


def _convolution_backward(
    out_BCHW: Tensor, x_BCHW: Tensor, weight: Tensor, wanted: list[bool]
) -> tuple[Tensor | None, ...]:
    """Gradients of input, weight and bias, as far as they are wanted."""
    if not any(wanted):
        return None, None, None
    one, sizes = [1, 1], [len(weight)]
    given = (out_BCHW, x_BCHW, weight, sizes, one, one, one, False, [0, 0], 1, wanted)
    found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(*given)
    return found


def _lay_side_by_side(x_BCHW: Tensor) -> Tensor:
    """One image (1, C, H, B(W+1)) of all, a column of zeros after each; channels last."""
    b, c, h, w = x_BCHW.shape
    row = x_BCHW.new_zeros(h, b, w + 1, c)
    row[:, :, :w] = x_BCHW.permute(2, 0, 3, 1)
    return row.view(1, h, b * (w + 1), c).permute(0, 3, 1, 2)
