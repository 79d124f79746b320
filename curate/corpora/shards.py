"""Captions in shards: what `layout` describes, read without the pictures and despite damage."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from curate.corpora.partition import Described, Part, Reading
from curate.errors import InputError
from curate.formats import shards as layout

GROUP = 100_000  # images that consecutive shards are counted together for


def parts(folder: Path) -> tuple[list[Part], list[str]]:
    """Groups of consecutive shards, and a sentence for each shard that is not there in full.

    Raises:
        InputError: no index, an index of another version, or no listed shard is there.
    """
    shards = _listed(folder)
    root = layout.find(folder)
    missing, there = [], []
    for shard in shards:
        problem = _missing(root / shard.name, shard)
        if problem:
            missing.append(f"{problem}; images not counted: {shard.samples:,}")
        else:
            there.append(shard)
    if shards and not there:
        layout.read_index(folder)  # says so
    # by place in the index, so that a changed shard moves no other into another group
    largest = max((shard.samples for shard in shards), default=1)
    step = max(1, GROUP >> max(0, largest - 1).bit_length())
    places = {shard.name: place // step for place, shard in enumerate(shards)}
    found = []
    for group in sorted(set(places.values())):
        chosen = tuple(s for s in there if places[s.name] == group)
        if chosen:
            files = tuple(root / shard.name for shard in chosen)
            read = partial(_group, root, chosen)
            digest = " ".join(f"{shard.name} {shard.sha256}" for shard in chosen)
            found.append(Part(read, files, "shards", digest))
    return found, missing


def _listed(folder: Path) -> tuple[layout.Shard, ...]:
    """The shards that the index names, whether they are there or not."""
    try:
        return layout.read_index(folder).shards
    except InputError:
        file = layout.find(folder) / layout.INDEX
        try:
            values: Any = json.loads(file.read_bytes())
            if values["version"] != layout.VERSION:
                raise
            return tuple(layout.Shard(**shard) for shard in values["shards"])
        except (OSError, ValueError, TypeError, KeyError):
            pass
        raise


def _missing(file: Path, shard: layout.Shard) -> str:
    if not file.is_file():
        return f"{file}: shard is missing"
    size = file.stat().st_size
    if size != shard.bytes:
        return f"{file}: shard has {size} bytes, its index says {shard.bytes}"
    return ""


def _group(root: Path, shards: tuple[layout.Shard, ...], reading: Reading) -> Iterator[Described]:
    """The images of each shard; of a broken one none, and a sentence."""
    for shard in shards:
        file = root / shard.name
        try:
            found = list(_read(file, shard))
        except (OSError, tarfile.TarError, ValueError, LookupError, TypeError) as error:
            problem = f"broken shard ({error or type(error).__name__})"
            lost = f"images not counted: {shard.samples:,}"
            reading.broken.append(f"{file}: {problem}; {lost}")
            continue
        if found and not any(text.strip() for _, said in found for text in said):
            lost = f"images not counted: {len(found):,}"
            reading.silent.append(f"{shard.name}: shard holds no caption; {lost}")
        yield from found


def _read(file: Path, shard: layout.Shard) -> Iterator[Described]:
    """Key and captions of each sample, once the shard is known to be what the index says."""
    with file.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != shard.sha256:
            raise ValueError("its SHA-256 is not the one in the index")
        stream.seek(0)
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                if kind == "json":
                    record = tar.extractfile(member)
                    if record is None:
                        raise ValueError(f"member {member.name!r} is not a file")
                    yield key, [c["text"] for c in json.loads(record.read())["captions"]]
