"""From stored images to pixels: decoded or read as needed, and drawn by position.

Letters in names: N images, B batch, C channels, H and W pixels.
"""

import hashlib
import json
import os
import shlex
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curate.errors import InputError
from curate.formats.shards import HELD_OUT, dataset_of, find_shards, hash_share, pack_command
from curate.system.files import atomic_write, write_bytes
from curate.system.progress import SILENT, Progress, track
from train.data.prefetch import map_ahead, thread_pool
from train.data.stored import OwnShards, StoredImage, StoredImages, open_images
from train.data.tars import Place, TarReader, decode_image
from train.randomness import generator_at
from train.size import Size

CACHE_VERSION = 5  # of how images are decoded, and which; part of the cache's file names
CACHE_BYTES = 8_000_000_000  # of decoded images; larger sets are read where they lie
STALE = 86_400  # seconds after which a file in the making is taken for one left by a dead process
MOST_COPIES = 8  # related images that are taken for copies of one picture
FIXES = {  # by how a reason for leaving an image out begins
    "no caption": "{caption}, then {pack}",
    "smaller": "smaller --stages, or, if the images are larger: {larger}",
    "cannot be decoded": "{pack}",
    "": "restore the images",
}
FOREIGN_FIXES = {  # likewise, of images that others wrote
    "no caption": "write what each image shows beside it: NAME.txt beside NAME.png",
    "smaller": "smaller --stages",
    "cannot be decoded": "save them anew as PNG or JPEG",
    "not-an-image": "save them anew as PNG or JPEG",
    "": "restore the images",
}


@dataclass(frozen=True)
class ImageSet:
    """Images of one size with their captions, of one set that was named.

    Keys and captions are held in memory, pixels are not.
    """

    size: Size
    source: np.ndarray | TarReader  # of more images than these perhaps: decoded ones (N, H, W, 3),
    # mapped into memory, so that only what is asked for is read; or those where they lie
    rows: list[int]  # which of them, in order
    keys: list[str]
    captions: list[list[str]]
    identities: list[str]  # equal where bytes and captions are; of shards, the keys
    groups: list[str]  # the same of related images; "": it has no such
    splits: list[str]  # of their shards; "": nothing names one
    skipped: dict[str, str]  # name -> why it cannot be trained on
    stored: StoredImages

    def __len__(self) -> int:
        """How many images."""
        return len(self.keys)

    @property
    def is_streamed(self) -> bool:
        """Whether images are read where they lie, and decoded, each time they are needed."""
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
            identities=[self.identities[r] for r in rows],
            groups=[self.groups[r] for r in rows],
            splits=[self.splits[r] for r in rows],
        )

    @cached_property
    def related(self) -> list[list[int]] | None:
        """The rows of each group, an image without one being its own; None if none has company."""
        if not any(self.groups):
            return None
        rows: defaultdict[str, list[int]] = defaultdict(list)
        for row, (group, key) in enumerate(zip(self.groups, self.keys, strict=True)):
            rows[group or key].append(row)
        return [*rows.values()] if len(rows) < len(self) else None


def normalize(pixels_BHWC: Tensor) -> Tensor:
    """Stored pixels, uint8, as the networks see them: (B, 3, H, W), float32 in [-1, 1]."""
    return pixels_BHWC.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def load_images(
    shards: Path | StoredImages,
    size: Size,
    *,
    fit: str = "crop",
    limit: int = CACHE_BYTES,
    cache: Path | None = None,
    progress: Progress = SILENT,
) -> ImageSet:
    """The images of a set at `size`; which, and in what order, the set alone decides.

    The first time each image is decoded, to see that it can be, and its place is noted. Where all
    of them take at most `limit` bytes, and the disk has room, their pixels are kept in one file,
    which later runs map into memory; else they are read where they lie as they are needed (see
    `train.data.tars`), and those that lie in nothing that can be read from any place, such as
    compressed tars, are copied once. All ways give the same pixels. Images smaller than `size`
    are left out rather than enlarged, since a super-resolution stage would learn blur.

    Args:
        shards: the set, or what `train.data.stored.open_images` opens.
        size: wanted.
        fit: "crop" or "pad"; see `train.data.tars.decode_image`.
        limit: bytes of decoded images that may be kept.
        cache: folder to keep things in where the one beside the shards cannot be written, and
            for what others wrote; the folder it lies in is not searched for images.
        progress: counts the images that are read and decoded.

    Raises:
        InputError: no images, shards of another version, a broken, missing or truncated tar, an
            image that may not, or no longer, be trained on, no usable image, or nowhere to keep
            things.
    """
    if isinstance(shards, Path):
        shards = open_images(shards, without=cache and cache.parent, progress=progress)
    listing, pixels, kept = _cache_files(shards, (size, fit), limit, cache)
    spool = listing.with_suffix(".images")  # bytes of images that cannot be read in their place
    found = json.loads(listing.read_bytes()) if listing.exists() else None
    if found and not (
        pixels.exists() if kept else spool.exists() or not _lie_in_files(found["places"])
    ):
        found = None
    shards.refuse_stale([*found["keys"], *found["skipped"]] if found else None)
    if found is None:
        for part in listing.parent.glob(".pictures-*.part"):  # of processes that were killed
            if part.stat().st_mtime < time() - STALE:
                part.unlink(missing_ok=True)
        found = _decode_all(shards, (size, fit), (pixels, spool), kept, progress)
        write_bytes(listing, json.dumps(found, ensure_ascii=False).encode())
    if not found["keys"]:
        raise _no_images_error(shards, size, found["skipped"])
    keys, captions = found["keys"], found["captions"]
    source: np.ndarray | TarReader
    if kept:
        shape = (len(keys), size.height, size.width, 3)
        source = np.memmap(pixels, np.uint8, "r", shape=shape)
    else:
        places = np.array(found["places"], np.int64)
        source = TarReader([*shards.files, spool], places, size, fit, _workers())
    identities = found.get("identities", keys)
    every = ImageSet(
        *(size, source, list(range(len(keys))), keys, captions, identities),
        *(found["groups"], found["splits"], found["skipped"], shards),
    )
    # in an order of the content: how it is divided into files changes nothing
    order = sorted(every.rows, key=identities.__getitem__)
    return every if order == every.rows else every.select(order)


def _lie_in_files(places: Sequence[Sequence[int]]) -> bool:
    """Whether every image can be read in its place."""
    return all(place[0] >= 0 for place in places)


def _cache_files(
    stored: StoredImages, form: tuple[Size, str], limit: int, cache: Path | None
) -> tuple[Path, Path, bool]:
    """Where images of a form are listed, where their pixels lie, and whether those are kept."""
    facts = json.dumps([CACHE_VERSION, stored.cache_facts, *form])
    name = f"pictures-{form[0]}-{hashlib.sha256(facts.encode()).hexdigest()[:24]}"
    needed = stored.samples * form[0].width * form[0].height * 3
    wanted = [f"{name}.json", *([f"{name}.u8"] if needed <= limit else [])]
    folder = stored.cache_folder(None) if isinstance(stored, OwnShards) else None
    if folder is None or not all((folder / file).exists() for file in wanted):
        folder = stored.cache_folder(cache)
    listing, pixels = folder / f"{name}.json", folder / f"{name}.u8"
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    kept = pixels.exists() or (needed <= limit and needed < shutil.disk_usage(there).free)
    return listing, pixels, kept


def count_reasons(skipped: Mapping[str, str]) -> dict[str, int]:
    """How many images were left out for each reason, the most frequent first.

    Sizes and messages of decoders are left away: "smaller than 64", "no caption", "cannot be
    decoded".
    """
    kinds = Counter(why.partition(" (")[0].split(", ")[-1] for why in skipped.values())
    return dict(kinds.most_common())


def _no_images_error(stored: StoredImages, size: Size, skipped: Mapping[str, str]) -> InputError:
    counts, own = count_reasons(skipped), isinstance(stored, OwnShards)
    causes = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    main, fixes = next(iter(counts), "no caption"), FIXES if own else FOREIGN_FIXES
    folder = find_shards(stored.path) if own else stored.path
    pack, larger = pack_command(folder), pack_command(folder, size=max(size.height, size.width))
    caption = shlex.join(["curate", "caption", "--data", str(dataset_of(folder))])
    fix = next(fix for begins, fix in fixes.items() if main.startswith(begins))
    return InputError(
        stored.path,
        f"no image can be used at {size} px ({causes or 'the shards hold none'})",
        fix=fix.format(pack=pack, larger=larger, caption=caption),
        points=stored.notes,
    )


def _decode_all(
    stored: StoredImages,
    form: tuple[Size, str],
    targets: tuple[Path, Path],
    kept: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Decode every image once: what can be used, where it lies, and why others cannot be.

    Args:
        stored: the images.
        form: their size and fit.
        targets: where to write pixels, if they are kept; else the bytes of images that cannot be
            read in their place.
        kept: whether pixels are kept.
        progress: counts the images.
    """
    names = ("keys", "captions", "places", "identities", "groups", "splits")
    found: dict[str, Any] = {name: [] for name in names}
    skipped: dict[str, str] = {}

    def decode(one: StoredImage) -> tuple[StoredImage, np.ndarray | str]:
        nothing = one.problem or (None if one.captions else "no caption")
        return one, nothing or decode_image(one.data, *form)

    pixels, spool = targets
    with ExitStack() as opened:
        pool, file = opened.enter_context(thread_pool(_workers())), None
        decoded = map_ahead(pool, decode, zip(stored.images()), depth=8 * _workers())
        for one, image in track(decoded, stored.samples, "decoding images", progress):
            if isinstance(image, str):
                skipped[one.key if one.name in skipped else one.name] = image
                continue
            place = one.place
            if file is None and (kept or place.shard < 0):
                file = opened.enter_context(atomic_write(pixels if kept else spool))
            if file and kept:
                file.write(image.tobytes())
            elif file and place.shard < 0:
                place = Place(-1, file.tell(), place.length, place.crc)
                file.write(one.data)
            facts = one.key, one.captions, place, one.identity, one.group, one.split
            for name, value in zip(names, facts, strict=True):
                found[name].append(value)
    if isinstance(stored, OwnShards):
        del found["identities"]  # they are the keys
    return found | {"skipped": skipped}


def _workers() -> int:
    """Threads to decode with: the processors given to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split_held_out(images: ImageSet, share: float) -> tuple[ImageSet, ImageSet]:
    """Images to train on, and those held out: those that the shards hold out, if they do.

    Otherwise about `share` of them, chosen by a hash of the group of related images, or of the
    identity of an image that has none; but image by image in a group of more than `MOST_COPIES`:
    these are pictures of one kind, and to hold out all of them would leave their words untaught.
    The choice does not depend on what else is in the set. Sets under 100 images hold out none: each
    image is worth more as a teacher.
    """
    if HELD_OUT in images.splits:
        held = [row for row, split in enumerate(images.splits) if split == HELD_OUT]
    elif len(images) >= 100:
        few = {g for g, count in Counter(images.groups).items() if g and count <= MOST_COPIES}
        names = enumerate(zip(images.groups, images.identities, strict=True))
        held = [row for row, (g, own) in names if hash_share(g if g in few else own) < share]
    else:
        held = []
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


def draw_rows(images: ImageSet, *, start: int, number: int, seed: int, stream: int) -> Tensor:
    """Rows of a set at positions start … start + number - 1 of a run; see `rows_at`.

    Related images share a place: each pass shows one image of each group, its images in turns. So
    one of a group of n is drawn 1 / n as often as an image without company, which is the `weight`
    that its record names.
    """
    groups = images.related
    if groups is None:
        return rows_at(len(images), start=start, number=number, seed=seed, stream=stream)
    place_B = rows_at(len(groups), start=start, number=number, seed=seed, stream=stream)
    passes = (position // len(groups) for position in range(start, start + number))
    chosen = ((groups[place], turn) for place, turn in zip(place_B.tolist(), passes, strict=True))
    return torch.tensor([rows[turn % len(rows)] for rows, turn in chosen], dtype=torch.long)


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
