"""What of the shards that are there can be taken over: images as they were rendered, whole shards.

Only what the index vouches for is: a tar of another SHA-256 than it names is no source of anything,
and without an index there is none.
"""

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import InputError
from curate.formats.shards import INDEX_NAME, Shard, parse_index, read_tar
from curate.shards.write import digest_of
from curate.system.files import file_sha256
from curate.system.progress import SILENT, Progress, track

FACTS = ("original_width", "original_height", "width", "height", "modified")  # of the rendering


class Rendered(NamedTuple):
    """A rendering, and where its bytes lie."""

    facts: dict[str, Any]  # as `render_image` states them
    path: str  # of the tar; "": in `Renders`
    offset: int  # bytes from its start
    size: int  # bytes


@dataclass
class OldShards:
    """Shards that were packed with the same settings, as far as they are whole."""

    shards: dict[str, Shard] = field(default_factory=dict)  # by name
    rows: dict[str, dict[str, bytes]] = field(default_factory=dict)  # name -> key -> `digest_of`
    # record and caption, in order
    images: dict[str, Rendered] = field(default_factory=dict)  # by SHA-256 of the bytes received


def read_old_shards(
    folder: Path, rendering: Mapping[str, Any], progress: Progress = SILENT
) -> OldShards:
    """What can be taken over of the shards in a folder; nothing where they cannot be read.

    Args:
        folder: of shards.
        rendering: settings of the index that decide what an image becomes.
        progress: counts shards.
    """
    found = OldShards()
    try:
        index = parse_index(folder / INDEX_NAME)
    except InputError:  # there is none, or of another version: all is written anew
        return found
    if any(index.settings.get(name) != value for name, value in rendering.items()):
        return found
    for shard in track(index.shards, len(index.shards), "shards read", progress):
        path = folder / shard.name
        try:
            if file_sha256(path) != shard.sha256:
                continue
            images, rows = _read_shard(path, index.format)
        except (OSError, tarfile.TarError, ValueError, LookupError, TypeError):
            continue
        found.shards[shard.name], found.rows[shard.name] = shard, rows
        found.images |= images
    return found


def _read_shard(path: Path, format: str) -> tuple[dict[str, Rendered], dict[str, bytes]]:
    images, rows = {}, {}
    with path.open("rb") as file:
        for sample in read_tar(file, format):
            record = json.loads(sample.record)
            facts = {name: record[name] for name in FACTS} | {"format": format}
            place = str(path), sample.offset, len(sample.image)
            images[record["sha256"]] = Rendered(facts, *place)
            rows[sample.key] = digest_of(sample.record, sample.caption)
    return images, rows
