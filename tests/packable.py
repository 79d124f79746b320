"""Small images: a dataset of such as may be packed, and a folder of some to fetch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate.cli import main
from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample, Verdict
from curate.images.decode import pixel_sha256
from tests.pictures import encoded

ALLOW = Verdict("allow", ("licence:CC0-1.0",))
PICTURES = {  # name -> colour seed, text, licence
    "mage.png": (1, "a mage in a blue robe", "CC BY 4.0"),
    "mage_again.png": (1, "a mage", "CC BY 4.0"),
    "elf.png": (2, "an elf archer", "GPL-3.0-only"),
    "orc.png": (3, "an orc", "CC BY-NC-ND 4.0"),
    "snow_storm-02.png": (4, "", "CC0-1.0"),
    "IMG_1234.png": (5, "", "MIT"),
    "cat.png": (6, "a cat", ""),
}


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
                pixel_sha256=pixel_sha256(noise(n)),
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


def run(*words: str) -> None:
    """Type a command of `curate` that must end well."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 0


def fetch_pictures(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `root` the working folder, stop the clock, fetch `PICTURES` from a folder there."""
    monkeypatch.chdir(root)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    (root / "pictures").mkdir()
    lines = ["file_name,text,license"]
    for name, (seed, text, licence) in PICTURES.items():
        (root / "pictures" / name).write_bytes(encoded(noise(seed, 96, 96)))
        lines.append(f"{name},{text},{licence}")
    (root / "pictures" / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    run("fetch", "folder", "pictures")
