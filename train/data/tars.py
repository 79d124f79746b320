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

import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from curate.errors import InputError
from curate.formats.shards import Record, iterate_samples, read_index
from train.data.decoding import decode_image
from train.data.prefetch import thread_pool
from train.size import Size


class Place(NamedTuple):
    """Where the bytes of an image lie."""

    shard: int  # number of the tar in the index
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
    """Reads images by row from the tars where they lie, decoded on several threads."""

    files: list[Path]  # the tars, by number
    places_N4: np.ndarray  # int64, a `Place` a row
    size: Size
    fit: str
    workers: int  # threads

    def read(self, rows: Sequence[int]) -> Iterator[np.ndarray]:
        """The named images, uint8 (H, W, 3) each, in order.

        Raises:
            InputError: a tar cannot be read, or is not the one whose images were listed.
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
            raise _shard_error(file, f"cannot be read ({error.strerror or error})") from None
        if zlib.crc32(data) != place.crc:
            raise _shard_error(file, "was changed after its images were listed")
        image = decode_image(data, self.size, self.fit)
        assert isinstance(image, np.ndarray), "it could be decoded when it was listed"
        return image


def _shard_error(file: Path, problem: str) -> InputError:
    return InputError(
        file, problem, fix="restore the shard, or curate pack; then type the same command again"
    )
