"""Plain lists of captions: JSON lines, and tables with the columns image and caption."""

import csv
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from curate.corpora.columns import cut_captions
from curate.corpora.notes import ReadNotes
from curate.corpora.partition import ImageCaptions, Partition, unreadable_error
from curate.corpora.records import ImageRecord
from curate.errors import InputError

MAX_LINE_BYTES = 1 << 20  # bytes of a line; a caption is a sentence or a few
LIST_FIX = 'write lines like {"image": "a.png", "captions": ["a white dog"]}, or image,caption'
TABLE_SUFFIXES = (".jsonl", ".csv", ".tsv")


@dataclass(frozen=True)
class CaptionTable:
    """A list of captions, a row an image; images are files beside it."""

    path: Path
    whole: bool = False  # a text of several lines is one caption
    kind: str = "captions"
    missing: Sequence[str] = ()

    def partitions(self, prefix: str = "") -> list[Partition]:
        """One part: the file."""
        salt = f"captions {self.path.suffix.lower()} {self.whole}"
        return [Partition(self._read_captions, (self.path,), salt)]

    def records(
        self, notes: ReadNotes, keys: Collection[str] | None = None
    ) -> Iterator[ImageRecord]:
        """Every row; an address elsewhere is never followed."""
        for key, captions in self._read_captions(notes):
            if keys is None or key in keys:
                file = self.path.parent / key
                there = "://" not in key and is_file(file)
                yield ImageRecord(
                    key, captions, file if there else None, reason=None if there else "missing"
                )

    def _read_captions(self, notes: ReadNotes) -> Iterator[tuple[str, tuple[str, ...]]]:
        read = read_json_lines if self.path.suffix.lower() == ".jsonl" else read_table
        for key, said in read(self.path, notes):
            yield key, cut_captions(list(said), whole=self.whole)


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have names none."""
    with suppress(OSError, ValueError):
        return path.is_file()
    return False


def read_json_lines(path: Path, reading: ReadNotes) -> Iterator[ImageCaptions]:
    """Yield each line's image with its captions.

    Raises:
        InputError: a line is something else, longer than MAX_LINE_BYTES or not UTF-8.
    """
    for number, record in json_lines(path, "not JSON", LIST_FIX):
        said = record.get("captions", record.get("caption")) if isinstance(record, dict) else None
        captions = [said] if isinstance(said, str) else said
        if not isinstance(captions, list) or not all(isinstance(c, str) for c in captions):
            raise InputError(f"{path} line {number}", "no captions in it", fix=LIST_FIX)
        if not isinstance(record.get("image"), str):
            raise InputError(f"{path} line {number}", "no image in it", fix=LIST_FIX)
        yield record["image"], captions


def json_lines(path: Path, problem: str, fix: str) -> Iterator[tuple[int, Any]]:
    """The number and the value of each line that is not blank.

    Raises:
        InputError: `problem`, where a line is no JSON; or as `numbered_lines`.
    """
    for number, line in numbered_lines(path):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                raise InputError(f"{path} line {number}", problem, fix=fix) from None
            yield number, value


def read_table(
    path: Path,
    reading: ReadNotes,
    *,
    columns: tuple[str, str] = ("image", "caption"),
    prefix: str = "",
) -> Iterator[ImageCaptions]:
    """Yield each row's image and caption, from a file with commas, or tabs if it ends in .tsv.

    Args:
        path: its first line names the columns.
        reading: not used; every row counts.
        columns: names of the columns of images and captions.
        prefix: put before the name of each image.

    Raises:
        InputError: a column is not there, or a row has fewer fields than the first line, or more.
    """
    between = "\t" if path.suffix.lower() == ".tsv" else ","
    rows = csv.reader((line for _, line in numbered_lines(path)), delimiter=between, strict=True)
    image, caption = columns
    try:
        names = next(rows, None)
        if names is None:
            raise InputError(path, "empty, no captions to read", fix=LIST_FIX)
        if image not in names or caption not in names:
            problem = f"the first line does not name the columns {image} and {caption}"
            fix = f"write {image},{caption} as its first line"
            if len(names) == 1 and ";" in names[0]:
                fix = "put commas between the columns, not semicolons"
            raise InputError(path, problem, fix=fix)
        key, said, count = names.index(image), names.index(caption), len(names)
        for row in rows:
            if len(row) == count:
                yield prefix + row[key], (row[said],)
            elif row:
                problem = f"columns: {len(row)}; the first line names {count}"
                fix = "put quotes around captions with commas; name every column"
                raise InputError(f"{path} line {rows.line_num}", problem, fix=fix)
    except csv.Error as error:
        fix = 'put quotes around captions with commas or quotes, and write " in them as ""'
        raise InputError(f"{path} line {rows.line_num}", str(error), fix=fix) from None


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines with their numbers, their ends kept.

    Raises:
        InputError: the file cannot be read, or a line is too long or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            lines = iter(partial(file.readline, MAX_LINE_BYTES + 1), b"")
            for number, line in enumerate(lines, 1):
                if len(line) > MAX_LINE_BYTES:
                    problem = f"longer than {MAX_LINE_BYTES:,} bytes; is it a list of captions?"
                    raise InputError(f"{path} line {number}", problem, fix=LIST_FIX)
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        odd = f"byte {error.start + 1} (0x{error.object[error.start]:02x}) is not UTF-8 text"
        where = f"{path} line {number}"
        raise InputError(where, odd, fix="save the whole list as UTF-8 text") from None
    except OSError as error:
        raise unreadable_error(path, error) from None
