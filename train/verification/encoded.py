"""Features of images, each worked out once and kept.

Letters in names: N images, H and W pixels, D features.
"""

import hashlib
from pathlib import Path

import numpy as np

from curate.system.files import remove_leftovers
from curate.system.progress import SILENT, Progress
from curate.vision.encoders import ImageEncoder
from curate.vision.kept_vectors import load_vectors, save_vectors

TOGETHER = 64  # images encoded at a time, and kept in one file


class CachedEncoder:
    """An encoder that keeps what it has seen: images are known by the hash of their pixels."""

    def __init__(self, encoder: ImageEncoder, folder: Path, progress: Progress = SILENT) -> None:
        """`folder`: where features are kept; `progress`: counts images that are new."""
        self.name, self.digest = encoder.name, encoder.digest
        self._encoder, self._progress = encoder, progress
        self._folder = folder / f"features-{hashlib.sha256(self.digest.encode()).hexdigest()[:16]}"
        remove_leftovers(self._folder)
        self._known = dict(load_vectors(self._folder, np.float32))

    def encode_images(self, images_NHWC: np.ndarray) -> np.ndarray:
        """Float32 (N, D)."""
        names = [_hash_pixels(image) for image in images_NHWC]
        new = [n for n, name in enumerate(names) if name not in self._known]
        title = f"encoding images ({self.name})"
        for start in range(0, len(new), TOGETHER):
            rows = new[start : start + TOGETHER]
            vectors_ND = self._encoder.encode_images(np.asarray(images_NHWC)[rows])
            fresh = dict(zip((names[row] for row in rows), vectors_ND, strict=True))
            save_vectors(self._folder, fresh)
            self._known |= fresh
            self._progress.count(title, start + len(rows), len(new))
        return np.stack([self._known[name] for name in names])


def _hash_pixels(image_HWC: np.ndarray) -> str:
    data = np.ascontiguousarray(image_HWC)
    return hashlib.blake2b(data.data, digest_size=16, salt=str(data.shape[1]).encode()).hexdigest()
