"""Vectors of images, computed once and kept."""

import hashlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curate.corpora.pixels import CaptionedImage, read_pixels
from curate.errors import InputError
from curate.system.files import remove_leftovers, write_bytes
from curate.system.progress import SILENT, Progress, track
from curate.vision.clip import BATCH_SIZE, OpenClip, Vectors

IMAGES_A_FILE = 1024  # images a file of the cache holds


class ClipEmbedder:
    """An open_clip model that is shown images by where they lie."""

    def __init__(
        self, model: OpenClip, *, cache: Path | None = None, progress: Progress = SILENT
    ) -> None:
        """Embed with this model.

        Args:
            model: the model.
            cache: folder in which vectors of images are kept; None for nowhere.
            progress: counts images.
        """
        self._model, self._progress = model, progress
        self.scale, self.encode_texts = model.scale, model.encode_texts
        self._folder = cache / f"clip-{model.digest}" if cache else None
        if self._folder:
            remove_leftovers(self._folder)

    def encode_images(self, images: Sequence[CaptionedImage]) -> Vectors:
        """Float (N, D), each of length 1; a row of zeros where an image cannot be read.

        Vectors are rounded to 16 bits before they are used, so that kept ones and new ones agree.
        """
        known = dict(self._load_vectors())
        missing = [image for image in images if image.sha256 not in known]
        shown = track(self._embed(missing), len(missing), "images searched", self._progress)
        read = ((image.sha256, vector) for image, vector in shown if vector is not None)
        while fresh := dict(islice(read, IMAGES_A_FILE)):
            self._save_vectors(fresh)
            known |= fresh
        nothing = np.zeros(self._model.width, dtype=np.float16)
        rows = [known.get(image.sha256, nothing) for image in images]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self._model.width)

    def _embed(
        self, images: Sequence[CaptionedImage]
    ) -> Iterator[tuple[CaptionedImage, NDArray[np.float16] | None]]:
        """Each image with its vector, in order; None where it cannot be read."""
        from PIL import Image

        answers = read_pixels(images, self._model.side)
        for start in range(0, len(images), BATCH_SIZE):
            some = images[start : start + BATCH_SIZE]
            shown = [next(answers) for _ in some]
            read = [
                Image.frombytes("RGB", one[:2], one[2]) for one in shown if not isinstance(one, str)
            ]
            vectors = iter(self._model.encode_images(read).astype(np.float16))
            for image, one in zip(some, shown, strict=True):
                yield image, None if isinstance(one, str) else next(vectors)

    def _load_vectors(self) -> Iterator[tuple[str, NDArray[np.float16]]]:
        """Vectors of earlier runs, by the images' SHA-256; damaged files are passed over."""
        for file in sorted(self._folder.glob("*.npz")) if self._folder else ():
            try:
                with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as kept:
                    hashes, vectors = kept["sha256"].tolist(), kept["vectors"]
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                continue
            shape = (len(hashes), self._model.width)
            good = vectors.dtype == np.float16 and vectors.shape == shape
            yield from zip(hashes, vectors, strict=True) if good else ()

    def _save_vectors(self, fresh: dict[str, NDArray[np.float16]]) -> None:
        """Write a file of vectors, whole or not at all; where nothing can be written, go on."""
        if not self._folder:
            return
        name = hashlib.sha256("".join(fresh).encode()).hexdigest()[:16]
        data = io.BytesIO()
        np.savez(data, sha256=np.array(list(fresh)), vectors=np.stack(list(fresh.values())))
        try:
            write_bytes(self._folder / f"{name}.npz", data.getvalue())
        except InputError:
            return
