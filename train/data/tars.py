"""Images read straight from the shards, any of them at any time.

Letters in names: N images, B batch, H and W pixels.

A WebDataset tar is not compressed, so an image is a run of bytes at a known place. With the
places listed once, a set larger than memory and disk cache can be drawn from in a true random
order, a permutation of all images anew each epoch. The usual way to read such tars (Aizman,
Maltby and Breuel, arXiv:2001.01858) is from end to end through a shuffle buffer, for the sake of
disks that are slow to seek. An image then comes out about where it went in: what lies together in
a shard is learned together, which can cost accuracy and convergence (Xu et al., arXiv:2206.05830,
sections 1 and 3), and the buffer must be filled again, and another way, when a run is resumed.
Random reads need a disk without a seek time (SSD, or a file cache); from others, raise
`cache_gigabytes` so that the set is decoded into one file.
"""

import io
import os
import struct
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from curate.errors import InputError
from curate.formats.shards import (
    CACHE,
    INDEX_NAME,
    Record,
    iterate_samples,
    pack_command,
    read_index,
)
from curate.images.decode import error_text, flatten, read_orientation, to_upright_srgb
from train.data.prefetch import thread_pool
from train.size import Size

BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
SIDEWAYS = 5  # least EXIF orientation that makes width height
BACKGROUND = "white"  # under transparent pixels, as curate pack has it; shards have none
DRAFT_FACTOR = 3  # a JPEG may be decoded reduced if that leaves this many times the pixels a side


def decode_image(data: bytes, size: Size, fit: str) -> np.ndarray | str:
    """The image at `size`, uint8 (H, W, 3), or why it cannot be had.

    Nothing is ever enlarged: a super-resolution stage would learn blur. Reducing is Lanczos over
    the whole footprint of a pixel. A JPEG that is reduced six times or more is first reduced by
    2, 4 or 8 while it is decoded (the scaled inverse transform of libjpeg, Pillow's draft mode),
    which is about 1.5 to 2.5 times as fast and changes pixels by a few steps of 255 (PSNR about
    50 dB). Images come upright and in sRGB; those in shards of ours are so already.

    Args:
        data: a JPEG, PNG or WebP file.
        size: wanted.
        fit: "crop" takes the largest central part of that shape; both sides of the image must
            be at least the wanted ones. "pad" takes the whole image and fills what it leaves
            free, half on each side, with the median colour of its outermost pixels; one side at
            least must be as long as wanted.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
            turn = read_orientation(image)
            turned = turn is not None and turn >= SIDEWAYS
            full = Size(*(image.size[::-1] if turned else image.size))
            ratios = full.width / size.width, full.height / size.height
            shrink = max(ratios) if fit == "pad" else min(ratios)  # pixels that become one
            if shrink < 1:
                return f"{full.width} x {full.height} px, smaller than {size}"
            image.draft("RGB", Size(*(round(DRAFT_FACTOR * side / shrink) for side in image.size)))
            picture = flatten(to_upright_srgb(image, turn), BACKGROUND)
    except BROKEN as error:
        return f"cannot be decoded ({error_text(error)})"
    reduced = round(full.width / picture.width)
    if fit == "pad":
        inner = Size(*(max(1, round(side / shrink)) for side in full))
        return _pad_to(_resize_box(picture, (0, 0, *full), inner, reduced), size)
    width, height = size.width * shrink, size.height * shrink
    left = max(0, (full.width - width) // 2)
    top = max(0, (full.height - height) // 2)
    return _resize_box(picture, (left, top, left + width, top + height), size, reduced)


def _resize_box(
    picture: Image.Image, box: tuple[float, float, float, float], size: Size, reduced: int
) -> np.ndarray:
    """The part of an image in `box`, in pixels of the file; it was `reduced` while decoded."""
    left, top, right, bottom = (edge / reduced for edge in box)
    inner = picture.resize(size, Image.Resampling.LANCZOS, box=(left, top, right, bottom))
    return np.asarray(inner)


def _pad_to(drawn_HWC: np.ndarray, size: Size) -> np.ndarray:
    """In the middle of a canvas of the median colour of its outermost pixels."""
    height, width = drawn_HWC.shape[:2]
    edge = np.concatenate([drawn_HWC[0], drawn_HWC[-1], drawn_HWC[:, 0], drawn_HWC[:, -1]])
    canvas = np.empty((size.height, size.width, 3), np.uint8)
    canvas[:] = np.median(edge, axis=0).round()
    left, top = (size.width - width) // 2, (size.height - height) // 2
    canvas[top : top + height, left : left + width] = drawn_HWC
    return canvas


def image_side(data: bytes) -> int | None:
    """Pixels of the shorter side of an image file; None where it cannot be told."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
            return min(image.size)
    except BROKEN:
        return None


def cache_beside(shards: Path, otherwise: Path | None) -> Path:
    """Where what is worked out from shards may be kept: beside them, or `otherwise`.

    The second is for shards on a disk, or of an owner, that does not let us write.
    """
    beside = shards / CACHE
    asked = beside if beside.exists() else shards
    writable = os.access(asked, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
    return beside if otherwise is None or writable else otherwise


class Place(NamedTuple):
    """Where the bytes of an image lie."""

    shard: int  # number of the file, such as of the tar in the index; -1: the last
    offset: int  # bytes from its start
    length: int  # bytes
    crc: int  # CRC-32 of the bytes, so that a change is seen


def iterate_places(shards: Path) -> Iterator[tuple[str, bytes, Record, Place]]:
    """As `iterate_samples`, which checks each shard's SHA-256 first, with the image's place.

    Raises:
        InputError: as `iterate_samples`.
    """
    index = read_index(shards)
    places = (
        (number, member.offset_data)
        for number, shard in enumerate(index.shards)
        for member in _members(index.root / shard.name)
        if member.name.endswith(f".{index.format}")
    )
    for (key, data, record), place in zip(iterate_samples(shards), places, strict=True):
        yield key, data, record, Place(*place, len(data), zlib.crc32(data))


def _members(file: Path) -> Iterator[tarfile.TarInfo]:
    with tarfile.open(file, "r:") as tar:
        yield from tar


@dataclass(frozen=True)
class TarReader:
    """Reads images by row from the files where they lie, decoded on several threads."""

    files: list[Path]  # tars, or images alone, by number
    places_N4: np.ndarray  # int64, a `Place` a row
    size: Size
    fit: str
    workers: int  # threads

    def read(self, rows: Sequence[int]) -> Iterator[np.ndarray]:
        """The named images, uint8 (H, W, 3) each, in order.

        Raises:
            InputError: a file cannot be read, or is not the one whose images were listed.
        """
        with thread_pool(min(self.workers, max(1, len(rows)))) as pool:
            yield from pool.map(self._decode_row, rows)

    def _decode_row(self, row: int) -> np.ndarray:
        place = Place(*self.places_N4[row].tolist())
        file = self.files[place.shard]
        try:
            with file.open("rb", buffering=0) as tar:
                tar.seek(place.offset)
                data = tar.read(place.length)
        except OSError as error:
            raise _file_error(file, f"cannot be read ({error.strerror or error})") from None
        if zlib.crc32(data) != place.crc:
            raise _file_error(file, "was changed after its images were listed")
        image = decode_image(data, self.size, self.fit)
        assert isinstance(image, np.ndarray), "it could be decoded when it was listed"
        return image


def _file_error(file: Path, problem: str) -> InputError:
    ours = (file.parent / INDEX_NAME).is_file()
    restore = f"restore the shard, or: {pack_command(file.parent)}" if ours else "restore the file"
    return InputError(file, problem, fix=f"{restore}; then type the same command again")
