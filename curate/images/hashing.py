"""Perceptual hashes: 64 bits that barely change when an image is resized or recompressed."""

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

HASH_BITS = 64
HASH_SIDE = 32  # pixels; the hash sees no more of an image than this


def phashes(luma: "Image.Image") -> tuple[str, str]:
    """The hash of an image and of its mirror image, 16 hexadecimal digits each.

    `imagehash.phash` defines the hash. It scales an image to 32 x 32 before anything else, so
    here that is done once; mirroring turns the sign of the odd horizontal DCT terms.

    Args:
        luma: the image, mode "L".
    """
    import imagehash
    from PIL import Image, ImageOps

    small = luma.resize((HASH_SIDE, HASH_SIDE), Image.Resampling.LANCZOS)
    return str(imagehash.phash(small)), str(imagehash.phash(ImageOps.mirror(small)))


def near_pairs(
    hashes: "NDArray[np.uint64]", max_distance: int
) -> "tuple[NDArray[np.intp], NDArray[np.intp]]":
    """All pairs (i, j), i < j, of `hashes` that differ in at most `max_distance` bits.

    Exact: two hashes that differ in at most d bits agree in at least one of d + 1 bands, so only
    hashes that share a band are compared. Hashes should be distinct: n equal ones make n²/2 pairs.

    Returns:
        The i and the j, sorted by (i, j).
    """
    import numpy as np

    total = len(hashes)
    if max_distance >= HASH_BITS:  # opposite hashes share no band
        return np.triu_indices(total, 1)
    found = [np.empty(0, dtype=np.int64)]
    edges = [HASH_BITS * n // (max_distance + 1) for n in range(max_distance + 2)]
    for low, high in pairwise(edges):  # bands that together cover all bits, as even as can be
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        sorted_band, sorted_hashes = band[order], hashes[order]
        left = np.arange(total)
        for gap in range(1, total):
            left = left[left + gap < total]
            left = left[sorted_band[left] == sorted_band[left + gap]]
            if not len(left):
                break
            bits = np.bitwise_count(sorted_hashes[left] ^ sorted_hashes[left + gap])
            near = left[bits <= max_distance]
            a, b = order[near], order[near + gap]
            found.append(np.minimum(a, b).astype(np.int64) * total + np.maximum(a, b))
    pairs = np.unique(np.concatenate(found))
    return pairs // max(total, 1), pairs % max(total, 1)
