"""Images compared pixel by pixel: common sizes, distances, and which are copies of each other.

Letters in names: N and M images, H and W pixels, D numbers an image.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

CHUNK = 128  # images at a time
COPY_SIDE = 16  # pixels; images are compared at this size when copies are looked for
COPY_DISTANCE = 0.03  # root mean square, in [0, 1] grey levels, and
COPY_SHARE = 0.25  # share of the distance from an image to the nearest of another caption, by the
# median: two are copies if they are nearer than both. Our choice: of photographs of 64 pixels all
# copies are found from JPEG quality 40 up, and few emoji that differ in skin tone alone are taken
# for copies


def resize(images_NHWC: np.ndarray, shape: tuple[int, int]) -> torch.Tensor:
    """Float (N, 3, height, width) in [-1/2, 1/2]; `shape` is (height, width).

    Smaller by averaging, larger by bilinear filter.
    """
    images = torch.from_numpy(np.array(images_NHWC)).permute(0, 3, 1, 2).float() / 255 - 0.5
    if images.shape[-2:] == shape:
        return images
    return torch.nn.functional.interpolate(
        images, size=shape, mode="bilinear", antialias=True, align_corners=False
    )


def to_shape(images_NHWC: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Uint8 (N, height, width, 3), resized as by `resize`; `shape` is (height, width)."""
    if tuple(images_NHWC.shape[1:3]) == tuple(shape) or not len(images_NHWC):
        return images_NHWC
    parts = [
        ((resize(part, (shape[0], shape[1])) + 0.5) * 255).round().clamp(0, 255).to(torch.uint8)
        for part in split_chunks(images_NHWC)
    ]
    found: np.ndarray = torch.cat(parts).permute(0, 2, 3, 1).contiguous().numpy()
    return found


def fit_within(shape: Sequence[int], side: int) -> tuple[int, int]:
    """(height, width) with the longer side at most `side`, in the same proportion."""
    height, width = shape
    factor = min(1.0, side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def spread(count: int, most: int) -> np.ndarray:
    """At most `most` of the numbers below `count`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def split_chunks(rows: np.ndarray) -> list[np.ndarray]:
    """At most `CHUNK` of the rows (or images) each, so that no more are in memory at a time."""
    return np.array_split(rows, range(CHUNK, len(rows), CHUNK))


def flatten(images_NHWC: np.ndarray, side: int) -> torch.Tensor:
    """Images as float (N, D) at this size at most; distances are root mean squares in [0, 1]."""
    shape = fit_within(images_NHWC.shape[1:3], side)
    parts = [resize(part, shape).flatten(1) for part in split_chunks(images_NHWC)]
    found: torch.Tensor = torch.cat(parts) / (3 * shape[0] * shape[1]) ** 0.5
    return found


def distances(a_ND: torch.Tensor, b_MD: torch.Tensor) -> torch.Tensor:
    """Euclidean (N, M)."""
    squares = a_ND.square().sum(1)[:, None] - 2 * a_ND @ b_MD.T + b_MD.square().sum(1)
    found: torch.Tensor = squares.clamp(min=0).sqrt()
    return found


def group_copies(images_NHWC: np.ndarray, label_N: np.ndarray) -> NDArray[np.int64]:
    """A number an image; copies of each other, mirrored ones too, share theirs: the first's row.

    What is a copy of a copy is one. `label_N` numbers the images' captions: how far images of
    different captions lie apart says how near copies must be.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    flat_ND, count = flatten(images_NHWC, COPY_SIDE), len(images_NHWC)
    mirrored_ND, labels = (
        flatten(np.asarray(images_NHWC)[:, :, ::-1], COPY_SIDE),
        np.asarray(label_N),
    )
    pairs, lengths, apart = [], [], []
    for rows in split_chunks(np.arange(count)):
        near = torch.minimum(*(distances(x[rows], flat_ND) for x in (flat_ND, mirrored_ND)))
        other = torch.from_numpy(labels[rows][:, None] != labels)
        apart.append(near.masked_fill(~other, torch.inf).amin(1))
        first, second = (near <= COPY_DISTANCE).nonzero(as_tuple=True)
        pairs.append(np.stack([rows[first.numpy()], second.numpy()]))
        lengths.append(near[first, second].numpy())
    middle = float(torch.cat(apart).median())
    copies = np.concatenate(lengths) <= COPY_SHARE * middle
    one, other_end = np.concatenate(pairs, axis=1)[:, copies]
    graph = coo_array((np.ones(len(one), bool), (one, other_end)), shape=(count, count))
    _, number_N = connected_components(graph, directed=False)
    _, first_G = np.unique(number_N, return_index=True)
    found: NDArray[np.int64] = first_G[number_N].astype(np.int64)
    return found
