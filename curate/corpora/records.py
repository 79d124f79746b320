"""What every reader gives: the images of a corpus, what is said of each, where its bytes are."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from curate.corpora.notes import ReadNotes
from curate.corpora.partition import Partition


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image, what is said of it, and where its bytes are; they are not looked at yet."""

    key: str  # names it in its corpus: a path in a folder, a member of a tar, a row of a table
    captions: tuple[str, ...] = ()  # in the order in which they are written
    file: Path | None = None  # its bytes are in this file …
    offset: int = 0  # … from this byte on …
    size: int | None = None  # … so many of them; None: to its end
    data: bytes | None = field(default=None, repr=False)  # or they are these
    reason: str | None = None  # or there are none, REASON[:DETAIL], as in `Sample.dropped`
    facts: Mapping[str, Any] = field(default_factory=dict)  # what else is stated, by the field of
    # `sources.base.FoundImage` that takes it: title, tags, author, license_text, page_url, …
    made: int = 0  # so many captions, the last, are made of title, tags or names, not written

    @property
    def denied(self) -> bool:
        """Whether what is said of it forbids training; its reader names it as left out."""
        return (self.reason or "").startswith(f"{DENIED}:")

    def read(self) -> bytes:
        """The bytes of the image.

        Raises:
            OSError: its file cannot be read.
        """
        if self.data is not None or self.file is None:
            return self.data or b""
        with self.file.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(-1 if self.size is None else self.size)


_REASONS = {  # why an image is not used -> in words
    "missing": "named in the metadata, but not there",
    "outside": "named in the metadata, but outside of the folder",
    "empty": "empty files, 0 bytes",
    "not-an-image": "neither JPEG, PNG nor WebP by content",
    "too-large": "too large",
    "unreadable": "cannot be read",
    "removed": "taken out before, for good",
}
DENIED = "denied"  # the REASON of an image that its own record forbids; its bytes are there
LINK_TO_NOTHING = "missing:a link to nothing"


def describe_reason(reason: str) -> str:
    """Why images are not used, as what is counted, from REASON[:DETAIL]."""
    name, _, detail = reason.partition(":")
    if name == DENIED:
        return f"images whose record says {detail}"
    return "links to nothing" if reason == LINK_TO_NOTHING else _REASONS.get(name, name)


class Reader(Protocol):
    """Captions of images, and where their bytes are: one class a format.

    Both ways to read give the same images with the same captions. Nothing that is named as a
    caption is lost: it is given with its image, or left out by reason and name.
    """

    @property
    def path(self) -> Path:
        """What was named."""
        ...

    @property
    def kind(self) -> str:
        """Name of the format: "folder", "tars", "hugging-face", "captions"."""
        ...

    @property
    def missing(self) -> Sequence[str]:
        """Sentences: what should be there and is not."""
        ...

    def partitions(self, prefix: str = "") -> list[Partition]:
        """Parts whose captions are read, kept and counted together; picklable.

        Args:
            prefix: put before each key, so that equal names in several folders are told apart.
        """
        ...

    def records(
        self, notes: ReadNotes, keys: Collection[str] | None = None
    ) -> Iterator[ImageRecord]:
        """Every image, in a stable order, those without captions and without bytes included.

        Args:
            notes: hears what is not used.
            keys: only these, with less reading where the format allows; None: all.
        """
        ...
