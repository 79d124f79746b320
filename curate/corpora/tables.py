"""Rows of tables, one reader for all that are read; and lists of captions, a row an image."""

import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curate.corpora.arrow import ArrowTable, BrokenFileError
from curate.corpora.columns import (
    CAPTION_COLUMNS,
    KEY_COLUMNS,
    UNTITLED_COLUMNS,
    LineCuts,
    caption_columns,
    find_column,
    near_column,
)
from curate.corpora.delimited import delimited_rows
from curate.corpora.endings import DELIMITED_ENDINGS, JSON_ENDINGS, looks_like_image
from curate.corpora.json_rows import json_rows
from curate.corpora.naming import stated_captions
from curate.corpora.notes import ReadNotes
from curate.corpora.partition import ImageCaptions, Partition
from curate.corpora.records import ImageRecord, describe_reason
from curate.corpora.rows import BrokenRows
from curate.corpora.statements import find_denial, read_statements
from curate.errors import InputError

LIST_FIX = 'write lines like {"image": "a.png", "captions": ["a white dog"]}, or image,caption'
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # of a surrogate pair
KNOWN_COLUMNS = (*CAPTION_COLUMNS, *KEY_COLUMNS)


def iterate_rows(
    path: Path,
    notes: ReadNotes,
    *,
    known: Sequence[str] = KNOWN_COLUMNS,
    fix: str = LIST_FIX,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row of a table by the names of its columns, and where it stands: "FILE line 3".

    CSV and its kin, JSON lines, JSON and Parquet, by the ending. A row that cannot be read is left
    out by name; so is a value whose key an object has twice.

    Args:
        path: the table.
        notes: hears of what is left out, and of what had to be guessed.
        known: names of columns that are looked for, as `columns.plain_name` gives them.
        fix: how the table should look, for the error.

    Raises:
        InputError: the file or every row of it cannot be read.
    """
    broken = BrokenRows(path, notes, fix)
    suffix, rows = path.suffix.lower(), 0
    if suffix == ".parquet":
        found = _parquet_rows(path, broken)
    elif suffix in JSON_ENDINGS:
        found = json_rows(path, broken, known)
    else:
        found = delimited_rows(path, broken, known)
    for where, row in found:
        rows += 1
        yield where, row
    broken.finish(rows)


def _parquet_rows(path: Path, broken: BrokenRows) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row of a Parquet file, without its images."""
    table, read = ArrowTable(path), 0
    try:
        for number, row in table.rows(table.columns_without_bytes):
            read = number + 1
            yield f"{path} row {read}", row
    except BrokenFileError as error:
        problem = "cut short" if read else f"not Parquet ({error})"
        broken.leave_out(f"{path} row {read + 1}" if read else str(path), problem)


def file_name_of(row: dict[str, Any]) -> str | None:
    """The name of its image that a row gives; None: it gives none.

    The number behind it that parts captions of one image is left out: `a.jpg#0`, as in Flickr8k.
    Half characters, which no file's name has, become U+FFFD; bytes that are not UTF-8 stay, as
    Python writes them.
    """
    named = {n: v for n, v in row.items() if isinstance(v, str | int) and not isinstance(v, bool)}
    column = find_column((n for n, v in named.items() if str(v).strip()), KEY_COLUMNS)
    if column is None:
        return None
    text = _HALF.sub("\ufffd", str(named[column]).strip())
    stem, sign, number = text.rpartition("#")
    return stem if sign and number.isdecimal() and looks_like_image(stem) else text


@dataclass(frozen=True)
class CaptionTable:
    """A list of captions, a row an image; images are files beside it."""

    path: Path
    whole: bool = False  # a text of several lines is one caption
    kind: str = "captions"
    missing: Sequence[str] = ()

    def partitions(self, prefix: str = "") -> list[Partition]:
        """One part: the file."""
        salt = f"captions {self.path} {self.whole}"  # what is said names the file
        return [Partition(self._read_captions, (self.path,), salt)]

    def records(
        self, notes: ReadNotes, keys: Collection[str] | None = None
    ) -> Iterator[ImageRecord]:
        """Every row; an address elsewhere is never followed."""
        for record in self._read(notes):
            if keys is None or record.key in keys:
                file = self.path.parent / record.key
                if "://" not in record.key and is_file(file):
                    yield replace(record, file=file)
                else:
                    yield replace(record, reason=record.reason or "missing")

    def _read_captions(self, notes: ReadNotes) -> Iterator[ImageCaptions]:
        yield from ((one.key, one.captions) for one in self._read(notes) if not one.denied)

    def _read(self, notes: ReadNotes) -> Iterator[ImageRecord]:
        """What each row says; its image is not looked for."""
        cuts, columns = LineCuts(), dict[str, None]()
        rows = iterate_rows(self.path, notes)
        for number, (where, row) in enumerate(rows, 1):
            columns |= dict.fromkeys(row)
            captions, facts = read_statements(
                row, notes, where, whole=self.whole, cuts=cuts, wanted=UNTITLED_COLUMNS
            )
            key = file_name_of(row) or f"{self.path.name}#{number}"
            if denied := find_denial(facts):
                notes.leave_out(describe_reason(denied), key)
                yield ImageRecord(key, reason=denied, facts=facts)
                continue
            made = stated_captions(captions, facts, notes)
            yield ImageRecord(key, captions + made, facts=facts, made=len(made))
        if columns and not caption_columns(columns)[0]:
            raise no_column_error(self.path, list(columns), CAPTION_COLUMNS, "captions", "caption")
        cuts.remark(self.path, notes)


def no_column_error(
    path: Path, columns: Sequence[str], wanted: Sequence[str], what: str, name: str
) -> InputError:
    """The error for a table that lacks a column, with the one that it may be.

    Args:
        path: the table.
        columns: those it has.
        wanted: the names that were looked for.
        what: what the column would hold.
        name: what it should be called.
    """
    near = near_column(columns, wanted)
    hint = f"; is it {near!r}?" if near else f"; its columns are {', '.join(columns)}"
    fix = f"rename the column with {what} to {name}; known are {', '.join(wanted)}"
    if near and near.isidentifier():
        text = shlex.quote(str(path))
        if path.suffix.lower() in DELIMITED_ENDINGS:
            fix = f"sed -i '1s/{near}/{name}/' {text}"
        elif path.suffix.lower() in JSON_ENDINGS:
            fix = f'sed -i \'s/"{near}":/"{name}":/\' {text}'
    return InputError(path, f"no column with {what}{hint}", fix=fix)


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have names none."""
    with suppress(OSError, ValueError):
        return path.is_file()
    return False
