"""Captions in shards (`formats.shards`), read without the images and despite damage."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from curate.corpora.notes import ReadNotes
from curate.corpora.partition import ImageCaptions, Partition
from curate.errors import InputError
from curate.formats.shards import (
    INDEX_NAME,
    READABLE_VERSIONS,
    Shard,
    find_shards,
    read_index,
    why_untrainable,
)

IMAGES_A_PARTITION = 100_000  # images that consecutive shards are counted together for


def shard_partitions(folder: Path) -> tuple[list[Partition], list[str]]:
    """Groups of consecutive shards, and a sentence for each shard that is not there in full.

    Raises:
        InputError: no index, an index of another version, or no listed shard is there.
    """
    shards = listed_shards(folder)
    root = find_shards(folder)
    missing, there = [], set()
    for shard in shards:
        if problem := _missing_shard(root / shard.name, shard):
            missing.append(f"{problem}; images not counted: {shard.samples:,}")
        else:
            there.add(shard)
    if shards and not there:
        read_index(folder)  # says so
    # by place in the index, so that a changed shard moves no other into another group
    largest = max((shard.samples for shard in shards), default=1)
    step = max(1, IMAGES_A_PARTITION >> max(0, largest - 1).bit_length())
    found = []
    for start in range(0, len(shards), step):
        if chosen := tuple(shard for shard in shards[start : start + step] if shard in there):
            files = tuple(root / shard.name for shard in chosen)
            read = partial(_read_partition, root, chosen)
            digest = " ".join(f"{shard.name} {shard.sha256}" for shard in chosen)
            found.append(Partition(read, files, "shards", digest))
    return found, missing


def listed_shards(folder: Path) -> tuple[Shard, ...]:
    """The shards that the index names, whether they are there or not.

    Raises:
        InputError: no index, or one of another version.
    """
    try:
        return read_index(folder).shards
    except InputError:
        with suppress(OSError, ValueError, TypeError, KeyError):
            values: Any = json.loads((find_shards(folder) / INDEX_NAME).read_bytes())
            if values["version"] in READABLE_VERSIONS:
                return tuple(Shard(**shard) for shard in values["shards"])
        raise


def _missing_shard(file: Path, shard: Shard) -> str:
    if not file.is_file():
        return f"{file}: shard is missing"
    size = file.stat().st_size
    if size != shard.bytes:
        return f"{file}: shard has {size} bytes, its index says {shard.bytes}"
    return ""


def _read_partition(
    root: Path, shards: tuple[Shard, ...], reading: ReadNotes
) -> Iterator[ImageCaptions]:
    """The images of each shard; of a broken one none, and a sentence."""
    for shard in shards:
        file = root / shard.name
        try:
            found = list(_read_shard_captions(file, shard))
        except (OSError, tarfile.TarError, ValueError, LookupError, TypeError) as error:
            problem = f"broken shard ({error or type(error).__name__})"
            lost = f"images not counted: {shard.samples:,}"
            reading.broken.append(f"{file}: {problem}; {lost}")
            continue
        if found and not any(text.strip() for _, said in found for text in said):
            lost = f"images not counted: {len(found):,}"
            reading.silent.append(f"{shard.name}: shard holds no caption; {lost}")
        yield from found


def _read_shard_captions(file: Path, shard: Shard) -> Iterator[ImageCaptions]:
    """Key and captions of each sample, once the shard is known to be what the index says."""
    with file.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != shard.sha256:
            raise ValueError("its SHA-256 is not the one in the index")
        opened.seek(0)
        with tarfile.open(fileobj=opened, mode="r:") as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                if kind == "json":
                    stream = tar.extractfile(member)
                    if stream is None:
                        raise ValueError(f"member {member.name!r} is not a file")
                    record = json.loads(stream.read())
                    if said := why_untrainable(record):
                        raise ValueError(f"the record of {key} says {said}")
                    yield key, [c["text"] for c in record["captions"]]
