"""Sampling from a checkpoint, each chunk kept, so that a stopped verification goes on.

Letters in names: N samples, H and W pixels.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from curate.formats.model import find_model
from curate.system.files import file_sha256, write_bytes
from curate.system.progress import SILENT, Progress
from train.sampling import sampler as sampling
from train.size import Size
from train.verification.prompts import Sample

SAMPLE_CHUNK = 64  # images sampled, and kept, at a time


class Sampler(Protocol):
    """What is verified: `train.sampling.sampler.load_sampler` returns one."""

    @property
    def size(self) -> Size:
        """Of the images."""
        ...

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """One image a (prompt, seed) pair, uint8 (N, H, W, 3)."""
        ...


class CachedSampler:
    """A checkpoint that samples, keeping its samples."""

    def __init__(self, path: Path, load: Callable[[Path], Sampler] | None, device: str) -> None:
        """Read it; `load` is None for `train.sampling.sampler.load_sampler`."""
        file = find_model(path)
        self.sampler = load(path) if load else sampling.load_sampler(path, device=device)
        self.digest = file_sha256(file)

    def sample(
        self, plan: Sequence[Sample], folder: Path, name: str, progress: Progress = SILENT
    ) -> Iterator[np.ndarray]:
        """Images of `plan`, `SAMPLE_CHUNK` at a time, uint8 (N, H, W, 3).

        Each chunk is kept in `folder` under the hash of all it depends on. Where every chunk is
        kept, no text encoder is loaded.

        Args:
            plan: what to sample.
            folder: where chunks are kept.
            name: of the checkpoint, in the name of the count.
            progress: counts images, a chunk when the next is asked for.
        """
        settings = repr(getattr(self.sampler, "config", None))
        progress.count(f"sampling {name}", 0, len(plan))
        for start in range(0, len(plan), SAMPLE_CHUNK):
            chunk = plan[start : start + SAMPLE_CHUNK]
            texts, seeds = [s.prompt for s in chunk], [s.seed for s in chunk]
            facts = json.dumps([self.digest, settings, texts, seeds]).encode()
            file = folder / "samples" / f"{hashlib.sha256(facts).hexdigest()[:24]}.npz"
            images = _read_chunk(file)
            if images is None:
                if hasattr(self.sampler, "encode_prompts"):  # all at once, with one encoder loaded
                    self.sampler.encode_prompts([sample.prompt for sample in plan])
                images = self.sampler.generate(texts, seeds)
                buffer = io.BytesIO()
                np.savez_compressed(buffer, images=images)
                write_bytes(file, buffer.getvalue())
            yield images
            progress.count(f"sampling {name}", start + len(chunk), len(plan))


def _read_chunk(file: Path) -> np.ndarray | None:
    """Images of an earlier run; None if the file is broken, so that they are sampled again."""
    try:
        with np.load(io.BytesIO(file.read_bytes())) as arrays:
            images: np.ndarray = arrays["images"]
            return images
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
