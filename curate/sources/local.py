"""What lies on this computer, whatever its format, as a source lists it."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import PurePosixPath
from typing import Annotated, Any

import typer

from curate.corpora.notes import NO_CAPTION, ReadNotes
from curate.corpora.records import ImageRecord, Reader
from curate.dataset.sample import Sample, make_key
from curate.images import sniff
from curate.sources.base import FoundImage, Listing
from curate.system.files import printable_path

LicenseOption = Annotated[
    str | None, typer.Option(help="Licence of images that state none, e.g. CC0-1.0.")
]
AuthorOption = Annotated[str | None, typer.Option(help="Author of images that name none.")]
CaptionsOption = Annotated[
    str, typer.Option(help="A text of several lines is as many captions (lines), or one (whole).")
]
_STATED = {field.name for field in fields(FoundImage)}


def list_records(
    reader: Reader,
    *,
    license: str | None = None,
    author: str | None = None,
    name: str | None = None,
    total: int | None = None,
) -> Listing:
    """All images of a reader, each read when its turn comes.

    Args:
        reader: what lies there; the name of its path is part of each image's id.
        license: of images that state none, in the user's word.
        author: of images that name none.
        name: of the folder that keys are relative to, if it is not that path.
        total: images, where that is known beforehand.
    """
    notes = ReadNotes(broken=list(reader.missing))
    folder = name or reader.path.resolve().name or "root"
    return Listing(_find_images(reader, folder, notes, license, author), total, notes)


def _find_images(
    reader: Reader, folder: str, notes: ReadNotes, license: str | None, author: str | None
) -> Iterator[FoundImage]:
    unlicensed = 0
    for record in reader.records(notes):
        if record.denied:  # its reader says so
            continue
        found = _found_image(folder, record, license, author)
        kind = sniff.sniff_format((found.data or b"")[:32])
        if not record.captions and found.dropped is None and kind in sniff.STORED_FORMATS:
            notes.leave_out(NO_CAPTION, printable_path(record.key))
        unlicensed += found.dropped is None and found.license_by is None
        yield found
    if unlicensed:
        notes.remarks.append(
            f"images that state no licence, and are not packed: {unlicensed:,}; type the same "
            "again with --license ID, or with --license own if you made them"
        )
    if NO_CAPTION in notes.left_out:
        from curate.corpora.corpus import CAPTION_FIXES

        notes.remarks.append(f"{NO_CAPTION} are not packed: {CAPTION_FIXES[reader.kind]}")


def _found_image(
    folder: str, record: ImageRecord, license: str | None, author: str | None
) -> FoundImage:
    data, dropped = b"", record.reason
    try:
        data = record.read()  # of what is no image, too: its id is made of it
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a usable name"
        dropped = dropped or f"unreadable:{why}"
    said: dict[str, Any] = {k: v for k, v in record.facts.items() if k in _STATED}
    stated = said.get("license_text") or said.get("license_url")
    return FoundImage(
        **{
            "title": printable_path(PurePosixPath(record.key).stem),
            "author": author,
            "license_text": None if stated else license,
            **said,
            "id": image_id(folder, record.key, hashlib.sha256(data).digest()),
            "data": data,
            "dropped": dropped,
            "file_name": printable_path(record.key),
            "texts": record.captions[: len(record.captions) - record.made],
            "license_by": "source" if stated else "user" if license else None,
        }
    )


def is_from(source: str, folder: str, sample: Sample) -> bool:
    """Whether an image that was received came from a path of this name: its key says so."""
    if sample.source != source or not sample.sha256 or not sample.file_name:
        return False
    name, sha256 = sample.file_name, bytes.fromhex(sample.sha256)
    as_bytes = re.sub(
        rb"\\x([89a-f][0-9a-f])", lambda m: bytes.fromhex(m[1].decode()), name.encode()
    )
    ids = (image_id(folder, path, sha256) for path in (name, os.fsdecode(as_bytes)))
    return sample.key in (make_key(source, id) for id in ids)


def image_id(folder: str, relative: str, sha256: bytes) -> str:
    """An id from the folder's name, the path in it and the bytes.

    Where the folder lies does not matter. The bytes belong to it because two folders named
    `images` may both hold a `1.png`; so an edited image is a new one.
    """
    parts = (folder.encode("utf-8", "surrogateescape"), os.fsencode(relative))
    digest = hashlib.sha256(b"\0".join([*parts, sha256])).hexdigest()
    stem = re.sub(r"[^A-Za-z0-9]+", "-", PurePosixPath(relative).stem)[:40].strip("-")
    return f"{stem}-{digest[:16]}" if stem else digest[:16]
