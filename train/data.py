"""From shards to batches: pictures decoded once and kept beside the shards, drawn by position.

Letters in names: N pictures, B batch, C channels, H and W pixels.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curate.errors import InputError
from curate.files import replacing, write_bytes
from curate.shards import layout
from train.size import Size

CACHE = ".cache"  # folder beside the shards
VERSION = 2  # of how pictures are decoded; part of the cache's file names


@dataclass(frozen=True)
class Pictures:
    """Pictures of one size with their captions, from one folder of shards."""

    pixels_NHWC: np.ndarray  # uint8, memory-mapped; of more pictures than these perhaps
    rows: list[int]  # which of them, in order
    keys: list[str]
    captions: list[list[str]]
    skipped: dict[str, str]  # key -> why it cannot be trained on
    index: layout.Index

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.keys)

    def images(self, rows: Sequence[int] | Tensor) -> Tensor:
        """The named pictures (B, 3, H, W), float32 in [-1, 1]."""
        taken = torch.from_numpy(self.pixels_NHWC[np.asarray(self.rows)[np.asarray(rows)]])
        return taken.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)

    def select(self, rows: Sequence[int]) -> "Pictures":
        """Only the named rows."""
        return replace(
            self,
            rows=[self.rows[r] for r in rows],
            keys=[self.keys[r] for r in rows],
            captions=[self.captions[r] for r in rows],
        )


def load(shards: Path, size: Size) -> Pictures:
    """The shards' pictures, centre-cropped to the shape of `size` and resized to it.

    Decoded once; later runs map the result from a file beside the shards. Pictures smaller
    than that are left out rather than enlarged, since a super-resolution stage would learn blur.

    Raises:
        InputError: no shards, another version, a broken tar, or no usable picture.
    """
    index = layout.read_index(shards)
    root = layout.find(shards)
    facts = json.dumps([VERSION, [s.sha256 for s in index.shards], size])
    name = f"pixels-{size}-{hashlib.sha256(facts.encode()).hexdigest()[:24]}"
    listing, pixels_file = (root / CACHE / f"{name}.{end}" for end in ("json", "npy"))
    if not (listing.exists() and pixels_file.exists()):
        _decode_all(shards, index, size, pixels_file, listing)
    found = json.loads(listing.read_bytes())
    if not found["keys"]:
        why = next(iter(found["skipped"].values()), "the shards hold no pictures")
        raise InputError(
            shards,
            f"no picture can be used at {size} px ({why})",
            fix="curate pack with a larger --size, or smaller --stages",
        )
    array, count = np.load(pixels_file, mmap_mode="r"), len(found["keys"])
    return Pictures(
        array, list(range(count)), found["keys"], found["captions"], found["skipped"], index
    )


def _decode_all(shards: Path, index: layout.Index, size: Size, target: Path, listing: Path) -> None:
    keys: list[str] = []
    captions: list[list[str]] = []
    skipped: dict[str, str] = {}

    def decode(item: tuple[str, bytes, Any]) -> tuple[str, Any, np.ndarray | str]:
        key, data, record = item
        return key, record, _fitted(data, size)

    with replacing(target) as file, ThreadPoolExecutor(2) as pool:
        _write_header(file, (index.samples, size.height, size.width, 3))
        samples = layout.iterate(shards)
        while part := list(islice(samples, 256)):
            for key, record, decoded in pool.map(decode, part):
                texts = [c["text"] for c in record["captions"]]
                if isinstance(decoded, str) or not texts:
                    skipped[key] = decoded if isinstance(decoded, str) else "no caption"
                    continue
                file.write(decoded.tobytes())
                keys.append(key)
                captions.append(texts)
        file.write(bytes(3 * size.height * size.width) * len(skipped))
    found = {"keys": keys, "captions": captions, "skipped": skipped}
    write_bytes(listing, json.dumps(found, ensure_ascii=False).encode())


def _write_header(file: Any, shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _fitted(data: bytes, size: Size) -> np.ndarray | str:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
            picture = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"cannot be decoded ({error})"
    width, height = picture.size
    if width < size.width or height < size.height:
        return f"{width} x {height} px, smaller than {size}"
    shrink = min(width / size.width, height / size.height)
    left, top = (width - shrink * size.width) / 2, (height - shrink * size.height) / 2
    box = (left, top, left + shrink * size.width, top + shrink * size.height)
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS, box=box))


def split(pictures: Pictures, share: float) -> tuple[Pictures, Pictures]:
    """Pictures to train on, and about `share` of them held out, chosen by a hash of the key.

    The choice does not depend on what else is in the set. Sets under 100 pictures hold out none:
    each picture is worth more as a teacher.
    """
    held = [
        row
        for row, key in enumerate(pictures.keys)
        if int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32 < share
    ]
    if len(pictures) < 100:
        held = []
    rest = sorted(set(range(len(pictures))) - set(held))
    return pictures.select(rest), pictures.select(held)


@lru_cache(maxsize=8)
def _order(count: int, seed: int, stream: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(_mix(seed, stream, epoch, 1))
    return torch.randperm(count, generator=generator)


def draw(count: int, *, start: int, number: int, seed: int, stream: int) -> Tensor:
    """Rows at positions start … start + number - 1 of an endless, shuffled run over `count` rows.

    Each pass over the rows has an order of its own; any position can be asked for directly, so
    a resumed run draws what an uninterrupted one draws.
    """
    rows = []
    while number:
        epoch, at = divmod(start, count)
        part = _order(count, seed, stream, epoch)[at : at + number]
        rows.append(part)
        start, number = start + len(part), number - len(part)
    return torch.cat(rows) if rows else torch.zeros(0, dtype=torch.long)


def generator_at(*numbers: int) -> torch.Generator:
    """A generator that depends on these numbers alone, such as (seed, stage, images seen)."""
    return torch.Generator().manual_seed(_mix(*numbers))


def _mix(*numbers: int) -> int:
    digest = hashlib.sha256(",".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def distinct_captions(sets: Sequence[Pictures]) -> list[str]:
    """Every caption once, sorted."""
    return sorted({c for pictures in sets for texts in pictures.captions for c in texts})
