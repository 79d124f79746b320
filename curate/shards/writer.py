"""Shards on disk: written beside the old ones, put in their place, or taken away."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

from curate.dataset.sample import Sample
from curate.errors import disk_errors
from curate.formats.shards import (
    CACHE,
    INDEX_NAME,
    Record,
    Shard,
    ShardIndex,
    credit_of,
    list_tars,
    shard_name,
)
from curate.formats.verdicts import Standing, digest
from curate.system.files import file_sha256, remove_leftovers, write_bytes
from curate.text import tokens


class ShardWriter:
    """Shards in the making, complete but for their names, which still end in `.part`."""

    def __init__(self, folder: Path, split: str, shard_size: int) -> None:
        """Write nothing yet; `shard_size` is in bytes of members."""
        self.folder, self.split, self.shard_size = folder, split, shard_size
        self.samples = 0
        self.shards: list[Shard] = []
        self.licences: Counter[str] = Counter()
        self.before: Counter[str] = Counter()  # licences of the shards that are finished
        self.policies: set[str | None] = set()
        self.standings: list[Standing] = []
        self.images_of: defaultdict[str, set[str]] = defaultdict(set)  # word -> pixel hashes
        self.file: IO[bytes] | None = None
        self.tar: Any = None
        self.started = self.filled = 0  # samples before this shard; bytes in it

    def __enter__(self) -> Self:
        """Make the folder; remove what a killed process left there."""
        with disk_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
            remove_leftovers(self.folder)
        return self

    def add(
        self,
        sample: Sample,
        standing: Standing,
        copies: Sequence[Sample],
        answer: tuple[Mapping[str, Any], bytes],
        weight: float = 1.0,
    ) -> None:
        """Append a sample to the shard in the making.

        Args:
            sample: its row.
            standing: what holds of it.
            copies: the rows of its copies, whose credits it carries.
            answer: the facts of its pixels as packed, and its bytes as packed.
            weight: 1 / packed images of its group.
        """
        from webdataset.writer import TarWriter

        facts, image = answer
        credits = [credit_of(row) for row in (sample, *copies)]
        values = {**asdict(sample), **facts, "credits": credits, "weight": weight}
        captions = values["captions"] = [c for c in values["captions"] if c["text"].strip()]
        record = {name: values[name] for name in Record.__annotations__}
        members = {
            str(facts["format"]): image,
            "json": json.dumps(record, sort_keys=True, ensure_ascii=False).encode(),
            "txt": captions[0]["text"].encode(),
        }
        bytes_ = sum(map(len, members.values()))
        if self.tar is not None and self.filled + bytes_ > self.shard_size:
            self._finish()
        with disk_errors(self.folder):
            if self.tar is None:
                part = _part_path(self.folder, shard_name(self.split, len(self.shards)))
                self.file = part.open("wb")
                # PAX, since USTAR refuses names of more than 100 characters
                self.tar = TarWriter(self.file, mtime=0, format="PAX_FORMAT", encoder=False)
            self.tar.write({"__key__": sample.key, **members})
        self.samples += 1
        self.filled += bytes_
        self.licences[sample.license or "none"] += 1
        self.policies.add(sample.policy)
        self.standings.append(standing)
        for word in {word for c in captions for word in tokens.words(c["text"])}:
            self.images_of[word].add(str(facts["pixel_sha256"]))

    def index(self, settings: Mapping[str, Any]) -> ShardIndex:
        """Finish the last shard and list them all."""
        self._finish()
        return ShardIndex(
            size=settings["size"],
            format=settings["format"],
            split=self.split,
            samples=self.samples,
            shards=tuple(self.shards),
            words={word: len(images) for word, images in self.images_of.items()},
            licences=dict(self.licences),
            settings=settings,
            policy=next(iter(self.policies)) if len(self.policies) == 1 else None,
            verdicts=digest(self.standings),
        )

    def __exit__(self, *_: object) -> None:
        """Close what is open and remove what was not published."""
        for opened in (self.tar, self.file):
            if opened is not None:
                with suppress(OSError):  # what cannot be flushed is removed anyway
                    opened.close()
        remove_leftovers(self.folder)

    def _finish(self) -> None:
        assert self.file is not None
        name = shard_name(self.split, len(self.shards))
        part = _part_path(self.folder, name)
        with disk_errors(self.folder):
            self.tar.close()
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            sha256, size = file_sha256(part), part.stat().st_size
        here, self.before = dict(self.licences - self.before), self.licences.copy()
        shard = Shard(name, sha256, self.samples - self.started, size, self.split, here)
        self.shards.append(shard)
        self.tar, self.file, self.started, self.filled = None, None, self.samples, 0


def publish_shards(folder: Path, index: ShardIndex) -> bool:
    """Put the finished shards in the place of the old ones; True if those were the same."""
    path, text = folder / INDEX_NAME, index.to_json()
    with disk_errors(folder):
        old = path.read_bytes() if path.exists() else b""
        same = old == text and all((folder / s.name).is_file() for s in index.shards)
        if same and all(file_sha256(folder / s.name) == s.sha256 for s in index.shards):
            return True
        _forget_index(folder)  # from here the folder is no set of shards, until the end
        for shard in index.shards:
            _part_path(folder, shard.name).replace(folder / shard.name)
        for tar in {*list_tars(folder)} - {folder / shard.name for shard in index.shards}:
            tar.unlink()
    write_bytes(path, text)
    return False


def withdraw_shards(folder: Path) -> None:
    """Take all shards away, the index first: killed in between, what is left is no set of shards.

    Raises:
        InputError: the disk refuses.
    """
    with disk_errors(folder):
        _forget_index(folder)
        for tar in list_tars(folder):
            tar.unlink()


def _forget_index(folder: Path) -> None:
    """Remove the index, and what a trainer keeps of the images that it lists."""
    (folder / INDEX_NAME).unlink(missing_ok=True)
    for kept in (folder / CACHE).glob("pictures-*"):
        kept.unlink(missing_ok=True)


def _part_path(folder: Path, name: str) -> Path:
    return folder / f".{name}.part"
