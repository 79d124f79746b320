"""A dataset of small images that may be packed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample, Verdict
from tests.pictures import encoded

ALLOW = Verdict("allow", ("licence:CC0-1.0",))


def noise(seed: int, width: int = 90, height: int = 60) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def dataset_of(root: Path, count: int = 5, **known: Any) -> Dataset:
    """A dataset of `count` rows that may be packed, one an image of its own."""
    dataset = Dataset(root)
    with dataset.lock():
        rows = [
            Sample(
                key=f"t-{n:03}",
                source="test",
                sha256=dataset.store.put(encoded(noise(n))),
                license="CC0-1.0",
                author="A. Nyone",
                page_url=f"https://example.org/{n}",
                captions=(Caption(f"Snow number {n}", "title"), Caption("snow, ice", "tags")),
                train=ALLOW,
            )
            for n in range(count)
        ]
        dataset.write(Manifest([replace(s, **known) for s in rows], []))
    return dataset


def change_rows(dataset: Dataset, *changes: dict[str, Any]) -> None:
    """Write the rows anew, the first changed by the first of `changes`, and so on."""
    with dataset.lock():
        rows = dataset.read().samples
        changed = [replace(s, **c) for s, c in zip(rows, changes, strict=False)]
        dataset.write(Manifest([*changed, *rows[len(changes) :]], []))
