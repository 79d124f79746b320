"""Vectors of images, kept in files of a folder: each image is shown to a model once.

The folder's name tells the model; an image is known by a hash. D is the width of a vector.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from curate.errors import InputError
from curate.system.files import write_bytes


def load_vectors(
    folder: Path, dtype: DTypeLike, width: int | None = None
) -> Iterator[tuple[str, NDArray[Any]]]:
    """What earlier runs kept: hash and vector (D); damaged files are passed over.

    Args:
        folder: where they are kept; it need not be there.
        dtype: of the vectors; files with others are passed over.
        width: D, if it is known.
    """
    for file in sorted(folder.glob("*.npz")):
        try:
            with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as kept:
                hashes, vectors = kept["sha256"].tolist(), kept["vectors"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            continue
        good = vectors.dtype == dtype and vectors.ndim == 2 and len(vectors) == len(hashes)
        if good and width in (None, vectors.shape[1]):
            yield from zip(hashes, vectors, strict=True)


def save_vectors(folder: Path, fresh: Mapping[str, NDArray[Any]]) -> None:
    """Write a file of vectors by hash, whole or not at all; where that cannot be, go on."""
    name = hashlib.sha256("".join(fresh).encode()).hexdigest()[:16]
    data = io.BytesIO()
    np.savez(data, sha256=np.array(list(fresh)), vectors=np.stack(list(fresh.values())))
    with suppress(InputError):
        write_bytes(folder / f"{name}.npz", data.getvalue())
