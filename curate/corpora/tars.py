"""Tars of images that other programs wrote: img2dataset, webdataset's writer."""

import json
import tarfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from curate.corpora.columns import CAPTION_COLUMNS, cut_captions, find_column, read_facts
from curate.corpora.notes import ReadNotes
from curate.corpora.partition import ImageCaptions, Partition
from curate.corpora.records import ImageRecord

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
IMAGE_ENDINGS = ("jpg", "jpeg", "png", "webp")


def find_tars(path: Path) -> list[Path]:
    """The tars that a path means: itself, those in a folder, or of a pattern `{000..003}`."""
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.name.endswith(TAR_SUFFIXES))
    return [path] if path.is_file() and path.name.endswith(TAR_SUFFIXES) else []


@dataclass(frozen=True)
class ForeignTars:
    """Tars in WebDataset form, whoever wrote them."""

    path: Path
    tars: Sequence[Path]
    whole: bool = False  # a text of several lines is one caption
    kind: str = "tars"
    missing: Sequence[str] = ()

    def partitions(self, prefix: str = "") -> list[Partition]:
        """A part for each tar."""
        return [
            Partition(
                partial(self._read_captions, tar, prefix), (tar,), f"tar {self.whole} {prefix}"
            )
            for tar in self.tars
        ]

    def records(
        self, notes: ReadNotes, keys: Collection[str] | None = None
    ) -> Iterator[ImageRecord]:
        """Every image, tar by tar."""
        for tar in self.tars:
            for record in self._read_tar(tar):
                if keys is None or record.key in keys:
                    yield record

    def _read_captions(self, tar: Path, prefix: str, notes: ReadNotes) -> Iterator[ImageCaptions]:
        for record in self._read_tar(tar):
            yield prefix + record.key, record.captions

    def _read_tar(self, file: Path) -> Iterator[ImageRecord]:
        images: dict[str, tarfile.TarInfo] = {}
        texts: dict[str, str] = {}
        objects: dict[str, Any] = {}
        with tarfile.open(file) as tar:
            for member in tar:
                key, _, ending = member.name.partition(".")
                if ending in IMAGE_ENDINGS:
                    images[key] = member
                elif ending in ("txt", "json") and (stream := tar.extractfile(member)):
                    text = stream.read().decode()
                    if ending == "json":
                        objects[key] = json.loads(text)
                    else:
                        texts[key] = text
        for key, member in images.items():
            stated = objects.get(key, {})
            column = find_column(stated, CAPTION_COLUMNS)
            said = texts.get(key) or (stated[column] if column else None)
            yield ImageRecord(
                key,
                cut_captions(said, whole=self.whole),
                file,
                member.offset_data,
                member.size,
                facts=read_facts(stated),
            )
