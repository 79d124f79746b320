# ruff: noqa: F401 fixtures
"""Images that others wrote, trained on where they lie."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate.errors import InputError
from tests.drawings import shapes, write_shards
from tests.packable import dataset_of
from tests.recorded_progress import RecordedProgress
from tests.training import command, encoder, entries, losses, quick, settings_file, shards, torchrun
from train.checkpoints import checkpoint
from train.data import dataset
from train.data.dataset import ImageSet
from train.data.stored import open_images
from train.size import Size
from train.training import run as training_run
from train.training.run import Recipe

SMALL = Size(16, 16)
NAMES = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "grey": (90, 90, 90)}


def square(colour: str, number: int) -> bytes:
    """A picture of one colour, of a brightness of its own."""
    pixels = tuple(value + number % 30 for value in NAMES[colour])
    file = io.BytesIO()
    Image.new("RGB", (32, 32), pixels).save(file, "PNG")
    return file.getvalue()


def squares(count: int) -> list[tuple[str, bytes, str]]:
    """So many pictures with a caption that says their colour and number."""
    said = [list(NAMES)[n % len(NAMES)] for n in range(count)]
    return [(f"{n:04d}", square(c, n), f"a {c} square, number {n}") for n, c in enumerate(said)]


def write_tar(
    file: Path, samples: Sequence[tuple[str, bytes, str]], about: Mapping[str, Any] | None = None
) -> Path:
    """As img2dataset writes them: KEY.jpg, KEY.json, KEY.txt."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as tar:
        for key, picture, text in samples:
            facts = {"caption": text, "key": key, **(about or {}).get(key, {})}
            parts = {"png": picture, "json": json.dumps(facts).encode(), "txt": text.encode()}
            for ending, data in parts.items():
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return file


def as_folder(where: Path, samples: Sequence[tuple[str, bytes, str]]) -> Path:
    where.mkdir()
    for key, picture, text in samples:
        (where / f"{key}.png").write_bytes(picture)
        (where / f"{key}.txt").write_text(text)
    return where


def as_tars(where: Path, samples: Sequence[tuple[str, bytes, str]]) -> Path:
    for number in range(2):
        write_tar(where / f"{number:05d}.tar", samples[number::2])
    return where


def as_one_tar(where: Path, samples: Sequence[tuple[str, bytes, str]]) -> Path:
    return write_tar(where / "own.tar", samples)


def as_compressed(where: Path, samples: Sequence[tuple[str, bytes, str]]) -> Path:
    return write_tar(where / "own.tar.gz", samples)


def as_parquet(where: Path, samples: Sequence[tuple[str, bytes, str]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    where.mkdir()
    rows = [{"image": {"bytes": p, "path": f"{k}.png"}, "text": t} for k, p, t in samples]
    parquet.write_table(pa.Table.from_pylist(rows), where / "train.parquet")
    return where


LAYOUTS: list[Callable[[Path, Sequence[tuple[str, bytes, str]]], Path]] = [
    *(as_folder, as_tars, as_one_tar, as_parquet),
]


def state_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file there, with its bytes and its time."""
    root = folder if folder.is_dir() else folder.parent
    return {
        str(p): (p.read_bytes() if p.is_file() else b"", p.stat().st_mtime_ns)
        for p in (root, *root.rglob("*"))
    }


def colours_of(images: ImageSet) -> list[str]:
    """The colour that each picture shows."""
    pixels = images.pixels_NHWC[:, 8, 8].astype(int)
    return [min(NAMES, key=lambda c: np.abs(pixel - NAMES[c]).sum()) for pixel in pixels]


# images and captions


@pytest.mark.parametrize("limit", [dataset.CACHE_BYTES, 0], ids=["decoded", "streamed"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_picture_arrives_with_its_caption_whatever_the_layout(layout, limit, tmp_path):
    samples = squares(24)
    where = layout(tmp_path / "data", samples)
    before = state_of(where)
    for _ in range(2):
        images = dataset.load_images(where, SMALL, limit=limit, cache=tmp_path / "run" / ".cache")
        assert images.is_streamed == (limit == 0)
        assert sorted(texts[0] for texts in images.captions) == sorted(t for _, _, t in samples)
        assert [f"a {c} square" for c in colours_of(images)] == [
            texts[0].partition(",")[0] for texts in images.captions
        ]
    assert state_of(where) == before, "nothing is written into it"


def test_the_same_data_has_the_same_digest_and_order_wherever_it_lies(tmp_path):
    samples = squares(20)
    found = [
        dataset.load_images(
            layout(tmp_path / layout.__name__, samples), SMALL, cache=tmp_path / "c"
        )
        for layout in LAYOUTS
    ]
    assert len({images.stored.digest for images in found}) == 1
    assert len({json.dumps([images.captions, images.identities]) for images in found}) == 1
    assert all(np.array_equal(images.pixels_NHWC, found[0].pixels_NHWC) for images in found)
    changes = [
        [*samples[:-1], (samples[-1][0], samples[-1][1], "a word more")],
        [*samples[:-1], (samples[-1][0], square("red", 25), samples[-1][2])],
        samples[:-1],
    ]
    for number, changed in enumerate(changes):
        other = open_images(as_folder(tmp_path / f"other-{number}", changed))
        assert other.digest != found[0].stored.digest
