"""From shards to images: found, decoded or read as needed, and drawn by position.

Letters in names: N images, B batch, C channels, H and W pixels.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curate.errors import InputError
from curate.formats.shards import CACHE, Record, ShardIndex, find_shards, read_index
from curate.formats.verdicts import refuse_stale
from curate.system.files import atomic_write, write_bytes
from curate.system.progress import SILENT, Progress, track
from train.data import tars
from train.data.prefetch import map_ahead, thread_pool
from train.data.tars import Place, TarReader, decode_image
from train.randomness import generator_at
from train.size import Size

CACHE_VERSION = 4  # of how images are decoded, and which; part of the cache's file names
CACHE_BYTES = 8_000_000_000  # of decoded images; larger sets are read from the shards
STALE = 86_400  # seconds after which a file in the making is taken for one left by a dead process
FIXES = {  # by how a reason for leaving an image out begins
    "no caption": "curate caption, then curate pack",
    "smaller": "curate pack with a larger --size, or smaller --stages",
    "cannot be decoded": "curate pack",
}


@dataclass(frozen=True)
class ImageSet:
    """Images of one size with their captions, from one folder of shards.

    Keys and captions are held in memory, pixels are not.
    """

    size: Size
    source: np.ndarray | TarReader  # of more images than these perhaps: decoded ones (N, H, W, 3),
    # mapped into memory, so that only what is asked for is read; or those in the shards
    rows: list[int]  # which of them, in order
    keys: list[str]
    captions: list[list[str]]
    skipped: dict[str, str]  # key -> why it cannot be trained on
    index: ShardIndex

    def __len__(self) -> int:
        """How many images."""
        return len(self.keys)

    @property
    def is_streamed(self) -> bool:
        """Whether images are read from the shards, and decoded, each time they are needed."""
        return isinstance(self.source, TarReader)

    def windows(
        self, rows: Sequence[int], corners: Sequence[tuple[int, int]], size: Size
    ) -> Tensor:
        """A part of each named image, uint8 (B, H, W, 3), from its (top, left) corner."""
        named = [self.rows[row] for row in rows]
        source = self.source
        images = source.read(named) if isinstance(source, TarReader) else (source[n] for n in named)
        out = np.empty((len(named), size.height, size.width, 3), np.uint8)
        for part, image, (top, left) in zip(out, images, corners, strict=True):
            part[:] = image[top : top + size.height, left : left + size.width]
        return torch.from_numpy(out)

    def images(self, rows: Sequence[int] | Tensor) -> Tensor:
        """The named images (B, 3, H, W), float32 in [-1, 1]."""
        named = [int(row) for row in rows]
        return normalize(self.windows(named, [(0, 0)] * len(named), self.size))

    @property
    def pixels_NHWC(self) -> np.ndarray:
        """All of them, uint8; a view where that can be, else a copy in memory."""
        if not isinstance(self.source, TarReader) and self.rows == list(range(len(self))):
            return self.source[: len(self)]
        pixels: np.ndarray = self.windows(range(len(self)), [(0, 0)] * len(self), self.size).numpy()
        return pixels

    def select(self, rows: Sequence[int]) -> "ImageSet":
        """Only the named rows."""
        return replace(
            self,
            rows=[self.rows[r] for r in rows],
            keys=[self.keys[r] for r in rows],
            captions=[self.captions[r] for r in rows],
        )


def normalize(pixels_BHWC: Tensor) -> Tensor:
    """Stored pixels, uint8, as the networks see them: (B, 3, H, W), float32 in [-1, 1]."""
    return pixels_BHWC.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def load_images(
    shards: Path,
    size: Size,
    *,
    fit: str = "crop",
    limit: int = CACHE_BYTES,
    cache: Path | None = None,
    progress: Progress = SILENT,
) -> ImageSet:
    """The shards' images at `size`; which, and in what order, the shards alone decide.

    The first time each image is decoded, to see that it can be, and its place in the shards is
    noted. Where all of them take at most `limit` bytes, and the disk has room, their pixels are
    kept in one file, which later runs map into memory; else they are read from the shards as they
    are needed (see `train.data.tars`). Both ways give the same pixels. Images smaller than `size`
    are left out rather than enlarged, since a super-resolution stage would learn blur.

    Args:
        shards: folder of shards, or the dataset folder that holds it.
        size: wanted.
        fit: "crop" or "pad"; see `train.data.tars.decode_image`.
        limit: bytes of decoded images that may be kept.
        cache: folder to keep things in where the one beside the shards cannot be written.
        progress: counts the images that are decoded.

    Raises:
        InputError: no shards, another version, a broken, missing or truncated tar, an image that
            may not, or no longer, be trained on, no usable image, or nowhere to keep things.
    """
    index = read_index(shards)
    listing, pixels, kept = _cache_files(shards, index, (size, fit), limit, cache)
    is_cached = listing.exists() and not (kept and not pixels.exists())
    found = json.loads(listing.read_bytes()) if is_cached else None
    refuse_stale(shards, [*found["keys"], *found["skipped"]] if found else None)
    if found is None:
        for part in listing.parent.glob(".pictures-*.part"):  # of processes that were killed
            if part.stat().st_mtime < time() - STALE:
                part.unlink(missing_ok=True)
        found = _decode_all(shards, index, (size, fit), pixels if kept else None, progress)
        write_bytes(listing, json.dumps(found, ensure_ascii=False).encode())
    if not found["keys"]:
        raise _no_images_error(shards, size, found["skipped"])
    keys, captions, skipped = found["keys"], found["captions"], found["skipped"]
    source: np.ndarray | TarReader
    if kept:
        shape = (len(keys), size.height, size.width, 3)
        source = np.memmap(pixels, np.uint8, "r", shape=shape)
    else:
        files = [index.root / shard.name for shard in index.shards]
        source = TarReader(files, np.array(found["places"], np.int64), size, fit, _workers())
    return ImageSet(size, source, list(range(len(keys))), keys, captions, skipped, index)


def _cache_files(
    shards: Path, index: ShardIndex, form: tuple[Size, str], limit: int, cache: Path | None
) -> tuple[Path, Path, bool]:
    """Where images of a form are listed, where their pixels lie, and whether those are kept."""
    facts = json.dumps([CACHE_VERSION, [s.sha256 for s in index.shards], *form])
    name = f"pictures-{form[0]}-{hashlib.sha256(facts.encode()).hexdigest()[:24]}"
    needed = index.samples * form[0].width * form[0].height * 3
    wanted = [f"{name}.json", *([f"{name}.u8"] if needed <= limit else [])]
    folder = index.root / CACHE
    if not all((folder / file).exists() for file in wanted):
        folder = cache_folder(shards, cache)
    listing, pixels = folder / f"{name}.json", folder / f"{name}.u8"
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    kept = pixels.exists() or (needed <= limit and needed < shutil.disk_usage(there).free)
    return listing, pixels, kept


def cache_folder(shards: Path, otherwise: Path | None) -> Path:
    """Where what is worked out from shards may be kept: beside them, or `otherwise`.

    The second is for shards on a disk, or of an owner, that does not let us write.

    Raises:
        InputError: no shards.
    """
    root = find_shards(shards)
    beside = root / CACHE
    asked = beside if beside.exists() else root
    writable = os.access(asked, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
    return beside if otherwise is None or writable else otherwise


def count_reasons(skipped: Mapping[str, str]) -> dict[str, int]:
    """How many images were left out for each reason, the most frequent first.

    Sizes and messages of decoders are left away: "smaller than 64", "no caption", "cannot be
    decoded".
    """
    kinds = Counter(why.partition(" (")[0].split(", ")[-1] for why in skipped.values())
    return dict(kinds.most_common())


def _no_images_error(shards: Path, size: Size, skipped: Mapping[str, str]) -> InputError:
    counts = count_reasons(skipped)
    causes = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    main = next(iter(counts), "no caption")
    return InputError(
        shards,
        f"no image can be used at {size} px ({causes or 'the shards hold none'})",
        fix=next(fix for begins, fix in FIXES.items() if main.startswith(begins)),
    )


def _decode_all(
    shards: Path, index: ShardIndex, form: tuple[Size, str], target: Path | None, progress: Progress
) -> dict[str, Any]:
    keys, captions, places = [], [], []
    skipped: dict[str, str] = {}

    def one(
        key: str, data: bytes, record: Record, place: Place
    ) -> tuple[str, list[str], Place, np.ndarray | str]:
        texts = [c["text"] for c in record["captions"] if c["text"].strip()]
        return key, texts, place, decode_image(data, *form) if texts else "no caption"

    with atomic_write(target) if target else nullcontext() as file, thread_pool(_workers()) as pool:
        decoded = map_ahead(pool, one, tars.iterate_places(shards), depth=8 * _workers())
        for key, texts, place, image in track(decoded, index.samples, "decoding images", progress):
            if isinstance(image, str):
                skipped[key] = image
            else:
                if file:
                    file.write(image.tobytes())
                keys.append(key)
                captions.append(texts)
                places.append(place)
    return {"keys": keys, "captions": captions, "places": places, "skipped": skipped}


def _workers() -> int:
    """Threads to decode with: the processors given to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split_held_out(images: ImageSet, share: float) -> tuple[ImageSet, ImageSet]:
    """Images to train on, and about `share` of them held out, chosen by a hash of the key.

    The choice does not depend on what else is in the set. Sets under 100 images hold out none:
    each image is worth more as a teacher.
    """
    hashes = [int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) for key in images.keys]
    held = [n for n, h in enumerate(hashes) if h / 2**32 < share and len(images) >= 100]
    return images.select(sorted({*range(len(images))} - {*held})), images.select(held)


def distinct_captions(sets: Sequence[ImageSet]) -> list[str]:
    """Every caption once, sorted."""
    return sorted({c for images in sets for texts in images.captions for c in texts})


@lru_cache(maxsize=8)
def _epoch_order(count: int, seed: int, stream: int, epoch: int) -> Tensor:
    generator = generator_at(seed, stream, epoch, 1)
    return torch.randperm(count, generator=generator)


def rows_at(count: int, *, start: int, number: int, seed: int, stream: int) -> Tensor:
    """Rows at positions start … start + number - 1 of an endless, shuffled run over `count` rows.

    Each pass over the rows has an order of its own, in which each row comes once (random
    reshuffling, which converges faster than drawing with repeats: Mishchenko et al.,
    arXiv:2006.05988). Any position can be asked for directly, so a resumed run draws what an
    uninterrupted one draws.
    """
    rows = []
    while number:
        epoch, at = divmod(start, count)
        part = _epoch_order(count, seed, stream, epoch)[at : at + number]
        rows.append(part)
        start, number = start + len(part), number - len(part)
    return torch.cat(rows) if rows else torch.zeros(0, dtype=torch.long)


def interleave_sets(shares: Sequence[float], start: int, number: int) -> tuple[Tensor, Tensor]:
    """Which set each of the positions start … start + number - 1 is drawn from, and its turn there.

    Sets take turns evenly: after any number of images, n, a set with share s has had its turn
    n * s times, within one image for two sets or three. The first set's turns are spread over all
    positions, the second's over those that are left, and so on; a position's set depends on the
    position alone, so a run can be resumed anywhere.

    Args:
        shares: of the sets, 0 or more, not all 0; they need not sum to 1.
        start: first position, 0 or more.
        number: how many positions.

    Returns:
        Number of the set (B), and how many images it gave before (B), both int64.
    """
    position_B = torch.arange(start, start + number)
    set_B = torch.full((number,), len(shares) - 1)
    for n, share in enumerate(shares[:-1]):
        part = share / rest if (rest := sum(shares[n:])) else 0.0
        before = _count_turns(position_B, part)
        taken = (set_B == len(shares) - 1) & (_count_turns(position_B + 1, part) > before)
        set_B[taken] = n
        waiting = set_B == len(shares) - 1
        position_B = torch.where(waiting, position_B - before, position_B)
        position_B[taken] = before[taken]
    return set_B, position_B


def _count_turns(position_B: Tensor, share: float) -> Tensor:
    return (position_B.double() * share + 0.5).floor().long()
