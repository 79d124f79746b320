"""Folders of images with captions beside them, read where they lie."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from curate.corpora.columns import join_facts
from curate.corpora.layout import (
    Layout,
    Picture,
    first_archive,
    lay_out,
    unpack_command,
)
from curate.corpora.naming import NameTeller
from curate.corpora.notes import ReadNotes
from curate.corpora.partition import ImageCaptions, Partition
from curate.corpora.records import DENIED, ImageRecord, describe_reason
from curate.corpora.sidecars import UNREAD, SideCarReader
from curate.corpora.statements import find_denial
from curate.corpora.walk import Walk, walk
from curate.errors import InputError

UNUSED = "captions of what is no image that can be taken"
# captions, how many of them are made, facts
PictureText = tuple[Picture, tuple[str, ...], int, Mapping[str, Any]]


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images, and all below it that is not hidden.

    An image's captions are those of metadata files, then of text and JSON files beside it. Where
    none is written, its title, tags, file or folder may say something: `naming` has the rule.
    """

    path: Path
    whole: bool = False  # a text of several lines is one caption
    without: Path | None = None  # a folder in it that is not entered
    kind: str = "folder"
    missing: Sequence[str] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """What was found in it stays here."""
        return type(self), (self.path, self.whole, self.without)

    def partitions(self, prefix: str = "") -> list[Partition]:
        """One part, named by the names, sizes, times and inodes of all files."""
        salt = f"folder {self.whole} {self.path.resolve().name} {prefix}"
        return [Partition(partial(self._read_captions, prefix), (), salt, self._walked.digest)]

    def records(
        self, notes: ReadNotes, keys: Collection[str] | None = None
    ) -> Iterator[ImageRecord]:
        """Every image by its path, and each name that metadata give to what is not there.

        Raises:
            InputError: a folder cannot be listed.
        """
        for picture, captions, made, facts in self._read(self.lay_out(notes), notes, keys):
            file = self.path / picture.name if _has_bytes(picture.reason) else None
            yield ImageRecord(
                picture.name, captions, file, reason=picture.reason, facts=facts, made=made
            )

    def holds_other_data(self) -> bool:
        """Whether another reader may be meant: tars, tables or a dataset lie there, too."""
        return self._walked.other_data

    def lay_out(self, notes: ReadNotes) -> Layout:
        """All images, none of them read."""
        return lay_out(self.path, self._walked, self.whole, notes)

    def count_images(self) -> int:
        """How many images there are, by their names and first bytes.

        Raises:
            InputError: it is no folder, or holds no image.
        """
        if not self.path.is_dir():
            problem = "is not a folder" if self.path.exists() else "no such folder"
            raise InputError(self.path, problem, fix="curate fetch folder DIR")
        notes = ReadNotes()
        count = len(self.lay_out(notes).pictures)
        if count:
            return count
        if not notes.left_out:
            raise InputError(self.path, "the folder is empty", fix="put images into it")
        unused = "".join(f"; {sentence}" for sentence in notes.sentences())
        archive = first_archive(self.path)
        fix = (archive and unpack_command(archive)) or "put JPEG, PNG or WebP files into it"
        problem = f"holds no image{unused}"
        raise InputError(self.path, problem, fix=fix)

    def _read_captions(self, prefix: str, notes: ReadNotes) -> Iterator[ImageCaptions]:
        for picture, captions, _, _ in self._read(self.lay_out(notes), notes, None):
            if picture.reason is None:
                yield prefix + picture.name, captions
            elif not picture.reason.startswith(DENIED):
                # who asks for the images themselves is told by their records
                notes.leave_out(describe_reason(picture.reason), picture.name)

    def _read(
        self, layout: Layout, notes: ReadNotes, keys: Collection[str] | None
    ) -> Iterator[PictureText]:
        sizes = self._walked.sizes
        reading = SideCarReader(str(self.path), self.whole, notes)
        reading.shared |= dict.fromkeys(layout.shared)
        naming = NameTeller(self.path.resolve().name, notes)
        for picture in layout.pictures:
            if keys is not None and picture.name not in keys:
                continue
            if picture.reason is not None:
                for name in picture.sidecars:
                    notes.leave_out(UNUSED, name)
                for row in picture.rows:
                    if row.captions:
                        notes.leave_out(UNUSED, row.where)
                yield picture, (), 0, {}
                continue
            said = [(row.captions, row.facts) for row in picture.rows]
            said += [reading.read(name, sizes[name]) for name in picture.sidecars]
            is_unread = any(one is UNREAD for one in said)
            if denied := next(filter(None, (find_denial(facts) for _, facts in said)), None):
                notes.leave_out(describe_reason(denied), picture.name)
                yield replace(picture, reason=denied), (), 0, {}
                continue
            if len(said) == 1:
                (texts, facts), *_ = said
            else:
                texts = tuple(dict.fromkeys(text for captions, _ in said for text in captions))
                facts = join_facts([facts for _, facts in said])
            made, facts = naming.tell(picture.name, texts, facts, is_unread)
            yield picture, texts + made, len(made), facts
        reading.remark()
        naming.remark()

    @cached_property
    def _walked(self) -> Walk:
        return walk(self.path, self.without)


def _has_bytes(reason: str | None) -> bool:
    """Whether there is a file to be read, be it no image that we take."""
    return (
        reason is None
        or reason.startswith(DENIED)
        or (reason.startswith("not-an-image:") and reason != "not-an-image:not a file")
    )
