"""Lay one small picture over another: find how it is shifted, scaled and slightly turned."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
NEAR = 3  # pixels to each side over which local means are taken
FAINT = 3.0  # levels; local contrast below this is not raised to that of the rest


def local_mean(images: Floats, reach: int) -> Floats:
    """The mean over `reach` pixels to each side, the edge repeated: n x side x side."""
    mean = _mean_matrix(images.shape[1], reach)
    rows: Floats = mean @ images
    return rows @ mean.T


@cache
def _mean_matrix(side: int, reach: int) -> Floats:
    """Along one axis: side x side."""
    width = 2 * reach + 1
    near = np.arange(side)[:, None] + np.arange(-reach, reach + 1)
    counts = [np.bincount(row, minlength=side) for row in near.clip(0, side - 1)]
    return (np.array(counts) / width).astype(np.float32)


def local_contrast(images: Floats) -> Floats:
    """Greys less their local mean, over their local spread: hardly changed by light or gradients.

    Our choice of the local normalisation of Jarrett et al., "What is the best multi-stage
    architecture for object recognition?", ICCV 2009, section 2.
    """
    away: Floats = images - local_mean(images, NEAR)
    result: Floats = away / (np.sqrt(local_mean(away * away, NEAR).clip(0)) + np.float32(FAINT))
    return result


def halve(images: Floats) -> Floats:
    """Half as wide and high, slightly blurred."""
    count, side = images.shape[:2]
    pairs = local_mean(images, 1).reshape(count, side // 2, 2, side // 2, 2)
    result: Floats = pairs.mean(axis=(2, 4), dtype=np.float32)
    return result


def correlate(some: NDArray[Any], others: NDArray[Any]) -> Floats:
    """Pearson's correlation of each of n images with its partner; 0 where one is plain."""
    one, other = (v.reshape(len(v), int(np.prod(v.shape[1:]))) for v in (some, others))
    one, other = (v - v.mean(axis=1, keepdims=True) for v in (one, other))
    spread = np.sqrt((one * one).sum(axis=1) * (other * other).sum(axis=1))
    result: Floats = (one * other).sum(axis=1) / (spread + np.float32(1e-3))
    return result


@cache
def _places(side: int) -> tuple[Floats, Floats]:
    """Across and down, 0 to 1, of each pixel of side x side."""
    line = ((np.arange(side) + 0.5) / side).astype(np.float32)
    down, across = np.meshgrid(line, line, indexing="ij")
    return across.ravel(), down.ravel()


def warp(images: NDArray[Any], maps: Floats) -> Floats:
    """What is seen of each image through its map, between pixels interpolated linearly.

    Args:
        images: n x side x side, or with channels at the end.
        maps: n x 2 x 3; places of the result (across, down, 1; 0 to 1) to places of the image.
    """
    count, side = images.shape[:2]
    across, down = _places(side)
    x, y = (
        (row[:, 0, None] * across + row[:, 1, None] * down + row[:, 2, None]) * side - 0.5
        for row in (maps[:, 0], maps[:, 1])
    )
    x, y = x.clip(0, side - 1.001), y.clip(0, side - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    x, y = (x - left).astype(np.float32), (y - top).astype(np.float32)
    first = top * side + left + (np.arange(count, dtype=np.int32) * side**2)[:, None]
    flat = images.reshape(count * side**2, *images.shape[3:])
    if images.ndim == 4:
        x, y = x[..., None], y[..., None]
    upper = flat[first] * (1 - x) + flat[first + 1] * x
    lower = flat[first + side] * (1 - x) + flat[first + side + 1] * x
    result: Floats = (upper * (1 - y) + lower * y).astype(np.float32)
    return result.reshape(images.shape)


def refine(targets: Floats, images: Floats, maps: Floats, steps: int) -> Floats:
    """Maps through which `images` look more like `targets`: least squares over affine maps.

    Gain and offset are fitted along. The inverse compositional algorithm of Baker and Matthews,
    "Lucas-Kanade 20 years on", IJCV 56(3), 2004, section 3.2, with a little damping.
    """
    count, side = targets.shape[:2]
    across, down = _places(side)
    slopes = np.gradient(targets, np.float32(1 / side), axis=(1, 2))
    dy, dx = (slope.reshape(count, side**2).astype(np.float32) for slope in slopes)
    flat = targets.reshape(count, side**2)
    moves = [dx * across, dx * down, dx, dy * across, dy * down, dy, flat, np.ones_like(flat)]
    jacobian = np.stack(moves, axis=1)
    hessian = jacobian @ jacobian.swapaxes(1, 2)
    damping = np.full((count, 8), 1e-2, dtype=np.float32)
    damping[:, :6] += 2e-3 * np.trace(hessian[:, :6, :6], axis1=1, axis2=2)[:, None]
    solver = np.linalg.inv(hessian + np.eye(8, dtype=np.float32) * damping[:, :, None])
    whole = np.zeros((count, 3, 3), dtype=np.float32)
    whole[:, :2], whole[:, 2, 2] = maps, 1
    change = np.zeros_like(whole)
    for _ in range(steps):
        seen = warp(images, whole[:, :2]).reshape(count, side**2, 1)
        found = (solver @ (jacobian @ seen))[:, :, 0]
        gain = np.copysign(np.maximum(np.abs(found[:, 6]), 0.2), found[:, 6])
        move = (found[:, :6] / gain[:, None]).clip(-0.1, 0.1)
        change[:, 0], change[:, 1] = move[:, :3], move[:, 3:]
        change += np.eye(3, dtype=np.float32) * (1, 1, 0)
        change[:, 2, 2] = 1
        whole = whole @ np.linalg.inv(change)
    return whole[:, :2]
