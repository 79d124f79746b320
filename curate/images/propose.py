"""Which pairs of sketches may be copies: near-linear, by tables of parts of their hashes."""

import numpy as np
from numpy.typing import NDArray

from curate.images.sketch import Sketches


def propose_pairs(sketches: Sketches) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs (i, j), i < j, that may be copies, sorted."""
    codes = sketches.heads["views"][:, 0]
    apart = np.bitwise_count(codes[:, None] ^ codes[None, :]) <= 14
    i, j = np.nonzero(np.triu(apart, 1))
    return i, j
