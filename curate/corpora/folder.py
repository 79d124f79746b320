"""Folders of images with captions beside them, read where they lie."""

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from curate.corpora.columns import cut_captions
from curate.corpora.notes import ReadNotes
from curate.corpora.partition import ImageCaptions, Partition
from curate.corpora.records import ImageRecord

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .avif .heic .heif .jp2 .jxl .svg".split()
)


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images, and all below it."""

    path: Path
    whole: bool = False  # a text of several lines is one caption
    without: Path | None = None  # a folder in it that is not entered
    kind: str = "folder"
    missing: Sequence[str] = ()

    def partitions(self, prefix: str = "") -> list[Partition]:
        """One part, named by the names, sizes and times of all files."""
        read = partial(self._read_captions, prefix)
        return [Partition(read, (), f"folder {self.whole} {prefix}", self._digest)]

    def records(
        self, notes: ReadNotes, keys: Collection[str] | None = None
    ) -> Iterator[ImageRecord]:
        """Every image by path, with the text file beside it."""
        for relative in self._files:
            if keys is not None and relative not in keys:
                continue
            file = self.path / relative
            if file.suffix.lower() in IMAGE_SUFFIXES:
                beside = file.with_suffix(".txt")
                said = beside.read_text("utf-8") if beside.is_file() else ""
                yield ImageRecord(relative, cut_captions(said, whole=self.whole), file)

    def _read_captions(self, prefix: str, notes: ReadNotes) -> Iterator[ImageCaptions]:
        for record in self.records(notes):
            yield prefix + record.key, record.captions

    @cached_property
    def _files(self) -> dict[str, os.stat_result]:
        found = {
            Path(root, name).relative_to(self.path).as_posix(): Path(root, name).stat()
            for root, _, names in os.walk(self.path)
            for name in names
        }
        return dict(sorted(found.items()))

    @property
    def _digest(self) -> str:
        facts = [(n, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for n, s in self._files.items()]
        return hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()
