"""Features of images, each worked out once and kept.

Letters in names: N images, H and W pixels, D features.
"""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from curate.system.files import write_bytes
from curate.system.progress import SILENT, Progress
from curate.vision.encoders import ImageEncoder

TOGETHER = 64  # images encoded at a time, and kept in one file


class CachedEncoder:
    """An encoder that keeps what it has seen: images are known by the hash of their pixels."""

    def __init__(self, encoder: ImageEncoder, folder: Path, progress: Progress = SILENT) -> None:
        """`folder`: where features are kept; `progress`: counts images that are new."""
        self.name, self.digest = encoder.name, encoder.digest
        self._encoder, self._progress = encoder, progress
        self._folder = folder / f"features-{hashlib.sha256(self.digest.encode()).hexdigest()[:16]}"
        self._known: dict[str, np.ndarray] = {}
        for file in sorted(self._folder.glob("*.npz")):
            self._read(file)

    def encode_images(self, images_NHWC: np.ndarray) -> np.ndarray:
        """Float32 (N, D)."""
        names = [_hash_pixels(image) for image in images_NHWC]
        new = [n for n, name in enumerate(names) if name not in self._known]
        title = f"encoding images ({self.name})"
        for start in range(0, len(new), TOGETHER):
            rows = new[start : start + TOGETHER]
            vectors_ND = self._encoder.encode_images(np.asarray(images_NHWC)[rows])
            self._keep([names[row] for row in rows], vectors_ND)
            self._progress.count(title, start + len(rows), len(new))
        return np.stack([self._known[name] for name in names])

    def _keep(self, names: Sequence[str], vectors_ND: np.ndarray) -> None:
        self._known |= zip(names, vectors_ND, strict=True)
        buffer = io.BytesIO()
        np.savez(buffer, names=np.array(names), vectors=vectors_ND)
        name = hashlib.sha256("".join(names).encode()).hexdigest()[:16]
        write_bytes(self._folder / f"{name}.npz", buffer.getvalue())

    def _read(self, file: Path) -> None:
        """Of an earlier run; a broken file is as good as none."""
        try:
            with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as kept:
                self._known |= zip(kept["names"].tolist(), kept["vectors"], strict=True)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return


def _hash_pixels(image_HWC: np.ndarray) -> str:
    data = np.ascontiguousarray(image_HWC)
    return hashlib.blake2b(data.data, digest_size=16, salt=str(data.shape[1]).encode()).hexdigest()
