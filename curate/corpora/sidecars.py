"""Text and JSON files beside an image: which belong to it, and what they say."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.corpora.columns import UNTITLED_COLUMNS, LineCuts, cut_captions
from curate.corpora.encoding import decode_text, find_conversion, folder_conversion
from curate.corpora.json_rows import load_json
from curate.corpora.notes import ReadNotes
from curate.corpora.statements import read_statements

SIDECAR_ENDINGS = (".txt", ".caption", ".json")  # in the order in which they are read
MAX_SIDECAR_BYTES = 10_000_000  # bytes; what is longer is no caption
NOT_UTF8 = "caption files that are not UTF-8"
AT_ONCE = "caption files that are not UTF-8 become so at once, if they are in"  # a remark
UNREADABLE = "caption files that cannot be read"
SILENT_JSON = "JSON files beside images, without a field that is known"
SideCarText = tuple[tuple[str, ...], Mapping[str, Any]]  # captions; what else is stated
UNREAD: SideCarText = (), {}  # of a file that cannot be read


def same_name(name: str) -> str:
    """A file's name as names are compared where none is written exactly so: NFC, any case."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def stem_of(name: str) -> str:
    """A file's name without its last ending."""
    stem, _, _ = name.rpartition(".")
    return stem or name


def match_sidecars(
    images: Sequence[str], sidecars: Iterable[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Which files of one folder belong to which images in it, and those that belong to none.

    `NAME.txt` and `NAME.png.txt` belong to `NAME.png`; where no image has exactly that name, to
    the one that has it in other case, or with its letters composed otherwise.
    """
    owners: dict[str, list[str]] = {}
    alike: dict[str, list[str]] = {}
    for image in images:
        for name in {image, stem_of(image)}:
            owners.setdefault(name, []).append(image)
    matched: dict[str, list[str]] = {}
    orphans = []
    for sidecar in sorted(sidecars, key=_reading_order):
        name = stem_of(sidecar)
        found: Sequence[str] = owners.get(name, ())
        if not found:
            for one, its in owners.items() if not alike else ():
                alike.setdefault(same_name(one), []).extend(its)
            found = sorted(set(alike.get(same_name(name), ())))
        if not found:
            orphans.append(sidecar)
        for image in found:
            matched.setdefault(image, []).append(sidecar)
    return matched, orphans


def is_sidecar(name: str) -> bool:
    """Whether a file beside an image may say what that shows."""
    return name[-4:].lower() == ".txt" or name.lower().endswith(SIDECAR_ENDINGS)


def _reading_order(name: str) -> tuple[int, str]:
    lower = name.lower()
    return next(n for n, ending in enumerate(SIDECAR_ENDINGS) if lower.endswith(ending)), name


@dataclass
class SideCarReader:
    """Reads files beside images, and keeps account of them."""

    root: str  # the folder that their names are relative to
    whole: bool  # a text of several lines is one caption
    notes: ReadNotes
    cuts: LineCuts = field(default_factory=LineCuts)
    shared: dict[str, SideCarText | None] = field(default_factory=dict)  # files of several images
    guesses: Counter[str] = field(default_factory=Counter)  # what files that are not UTF-8 are in

    def read(self, name: str, size: int) -> SideCarText:
        """What a file of `size` bytes says; `UNREAD` where it cannot be read, which is noted."""
        known = self.shared.get(name)
        if known is None:
            known = self._read(name, size)
            if name in self.shared:
                self.shared[name] = known
        return known

    def remark(self) -> None:
        """Say how many texts were cut, and how many files that are in one encoding are mended."""
        self.cuts.remark(self.root, self.notes)
        encoding = next(iter(self.guesses), "")
        if encoding and len(self.guesses) == 1 and self.guesses[encoding] > 1:
            command = folder_conversion(self.root, encoding, SIDECAR_ENDINGS)
            self.notes.remarks.append(f"{AT_ONCE} {encoding}: {command}")

    def _read(self, name: str, size: int) -> SideCarText:
        path = f"{self.root}/{name}"
        try:
            text = decode_text(_read_bytes(path, size))
        except UnicodeDecodeError:
            encoding, fix = find_conversion(Path(path))
            self.guesses[encoding] += 1
            self.notes.leave_out(NOT_UTF8, f"{name} ({fix})")
            return UNREAD
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            self.notes.leave_out(UNREADABLE, f"{name} ({why})")
            return UNREAD
        if name[-5:].lower() == ".json":
            return self._read_json(name, text)
        return cut_captions(text, whole=self.whole, cuts=self.cuts), {}

    def _read_json(self, name: str, text: str) -> SideCarText:
        """A JSON object as gallery-dl, img2dataset and others write it beside an image."""
        try:
            record = load_json(text, name, self.notes)
        except (ValueError, RecursionError):
            self.notes.leave_out(UNREADABLE, f"{name} (not JSON)")
            return UNREAD
        if not isinstance(record, dict):
            self.notes.leave_out(UNREADABLE, f"{name} (no JSON object)")
            return UNREAD
        wanted = UNTITLED_COLUMNS  # of a title `naming` makes a caption
        said = read_statements(
            record, self.notes, name, whole=self.whole, cuts=self.cuts, wanted=wanted
        )
        if not any(said):
            self.notes.leave_out(SILENT_JSON, name)
        return said


def _read_bytes(path: str, size: int) -> bytes:
    if size < 0 or size > MAX_SIDECAR_BYTES:
        raise ValueError("no file" if size < 0 else f"longer than {MAX_SIDECAR_BYTES:,} bytes")
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, size)
    finally:
        os.close(handle)
