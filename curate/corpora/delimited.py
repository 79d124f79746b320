"""Rows of tables with a delimiter: CSV, and what spreadsheets and others write beside it."""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from curate.corpora.columns import plain_name
from curate.corpora.encoding import conversion_fix
from curate.corpora.endings import looks_like_image
from curate.corpora.rows import BrokenRows, numbered_lines
from curate.errors import InputError

DELIMITERS = ",;\t|"
QUOTE_FIX = 'put quotes around texts with commas or quotes, and write " in them as ""'
_ONE_COLUMN = "\x1f"  # in no text, where there is nothing to part
_SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # for Excel, before the header


def delimited_rows(
    path: Path, broken: BrokenRows, known: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row by the names in the first line, and where it stands.

    The delimiter is what parts the first line into the most of the known names. In a file that
    ends in .tsv quotes that do not pair are letters. Without names in the first line, one column
    with names or addresses of images and one with texts are told by what they hold.

    Args:
        path: the table.
        broken: hears of rows with another number of columns than the first line, or open quotes.
        known: names of columns, as `plain_name` gives them.

    Raises:
        InputError: it is empty, or UTF-16 without a mark.
    """
    lines = _Lines(numbered_lines(path, broken))
    own = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    first = _next_filled(lines)
    if first is not None and (said := _SEPARATOR_LINE.fullmatch(first)):
        own, first = said[1], _next_filled(lines)
    if first is None:
        raise broken.error() or InputError(path, "empty, no rows to read", fix=broken.fix)
    if "\0" in first:
        problem = "zero bytes in it (is it UTF-16?)"
        raise InputError(f"{path} line 1", problem, fix=conversion_fix(path))
    delimiter = _find_delimiter(first, own, known)
    lines.give_back(len(lines.taken) - 1)
    names = _split(first, delimiter)
    if _known(names, known) or not (guessed := _guess_names(names)):
        names = next(_records(lines, delimiter, None, broken), (0, []))[1]
    else:
        names = guessed
        said_as = ", ".join(names)
        broken.notes.remarks.append(f"{path}: its first line names no columns; read as {said_as}")
    fix = QUOTE_FIX if _known(names, known) else broken.fix
    names = _distinct(names)
    delimiter = _ONE_COLUMN if len(names) == 1 else delimiter
    empty = True
    for number, row in _records(lines, delimiter, len(names), broken, fix):
        empty = False
        if any(cell.strip() for cell in row):
            yield f"{path} line {number}", dict(zip(names, row, strict=True))
    if empty and not _known(names, known):
        broken.leave_out(f"{path} line 1", "the only line, and it names no columns")


def _records(
    lines: "_Lines", delimiter: str, columns: int | None, broken: BrokenRows, fix: str = QUOTE_FIX
) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of its first line; what is wrong with one costs that line.

    The lines behind it are read again: an open quote does not swallow them.

    Args:
        lines: what is left to read.
        delimiter: between columns.
        columns: how many a row has; None: any.
        broken: hears of rows that have another number, or break the rules of quotes.
        fix: what to do about another number of columns.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin()
        row: list[str] | None = None
        problem = ""
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"not CSV: {error}"
        number = lines.taken[0][0]
        if delimiter == "\t" and (row is None or len(lines.taken) > 1):
            plain = [text.rstrip("\r\n").split("\t") for _, text in lines.taken]
            # quotes are letters where they break the rules, or each line is a row by itself
            if row is None or all(len(cells) == columns for cells in plain):
                lines.give_back(1)
                row = plain[0]
        if row and columns is not None and len(row) != columns:
            problem = f"columns: {len(row)}; the first line names {columns}"
            row = None
        if row is None:
            lines.give_back(1)
            where = f"{broken.path} line {number}"
            broken.leave_out(where, problem, fix if problem.startswith("columns") else QUOTE_FIX)
        elif row:
            yield number, row


class _Lines:
    """Lines that can be given back, to be read again as something else."""

    def __init__(self, source: Iterable[tuple[int, str]]) -> None:
        self._source = iter(source)
        self._waiting: deque[tuple[int, str]] = deque()
        self.taken: list[tuple[int, str]] = []  # since `begin`

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else next(self._source)
        self.taken.append(line)
        return line[1]

    def begin(self) -> None:
        """A row begins here."""
        self.taken = []

    def give_back(self, keep: int) -> None:
        """All taken lines but the first `keep` are to be read again."""
        self._waiting.extendleft(reversed(self.taken[keep:]))
        self.taken = self.taken[:keep]


def _next_filled(lines: _Lines) -> str | None:
    return next((line for line in lines if line.strip()), None)


def _find_delimiter(first: str, own: str, known: Sequence[str]) -> str:
    """What parts the first line into the most known names, or else into several columns."""

    def worth(delimiter: str) -> tuple[int, bool, int]:
        names = _split(first, delimiter)
        return _known(names, known), delimiter == own and len(names) > 1, len(names)

    delimiters: list[str] = list(dict.fromkeys([own, *DELIMITERS]))
    return max(delimiters, key=worth)


def _known(names: Sequence[str], known: Sequence[str]) -> int:
    return len({plain_name(name) for name in names}.intersection(known))


def _split(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _guess_names(cells: Sequence[str]) -> list[str]:
    """Names for the columns of a row that is no header; none if it may be one.

    One column holds names of images or addresses, one has blanks between words.
    """
    images = [n for n, cell in enumerate(cells) if looks_like_image(cell)]
    texts = [n for n, cell in enumerate(cells) if n not in images and " " in cell.strip()]
    if len(images) != 1 or (len(texts) != 1 and len(cells) != 2):
        return []
    text = texts[0] if texts else 1 - images[0]
    told = {images[0]: "file_name", text: "text"}
    return [told.get(n, f"column {n + 1}") for n in range(len(cells))]


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of columns, each once: those without one, and those that come again, get a number."""
    found: dict[str, None] = {}
    for number, name in enumerate(names, 1):
        shown = name.strip("\ufeff") if name.strip() else f"column {number}"
        found[shown if shown not in found else f"{shown} (column {number})"] = None
    return list(found)
