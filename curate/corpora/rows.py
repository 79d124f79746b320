"""Lines of a table, and its rows that cannot be read: each costs itself, and is named."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from curate.corpora.encoding import conversion_fix, decode_text, decode_utf8, is_utf16
from curate.corpora.notes import ReadNotes
from curate.corpora.partition import unreadable_error
from curate.corpora.walk import check_is_file
from curate.errors import InputError

MAX_LINE_BYTES = 1 << 20  # bytes of a line; a caption is a sentence or a few
BROKEN = "rows that cannot be read"
MAX_WHOLE_BYTES = 1 << 30  # bytes of a file that is read at once
_START_BYTES = 1 << 16
_NOT_UTF8 = "is not UTF-8 text"


@dataclass
class BrokenRows:
    """The rows of a file that cannot be read; the first is the error where no row can be."""

    path: Path
    notes: ReadNotes
    fix: str  # how rows should look
    first: InputError | None = None
    not_utf8: int = 0  # lines

    def leave_out(self, where: str, problem: str, fix: str = "") -> None:
        """Name a row that is not used, and why."""
        self.notes.leave_out(BROKEN, f"{where} ({problem})")
        self.first = self.first or InputError(where, problem, fix=fix or self.fix)

    def error(self) -> InputError | None:
        """The error for a file of which no row can be read; None: no row is broken."""
        if self.first and self.first.problem.endswith(_NOT_UTF8):
            fix = conversion_fix(self.path)
            return InputError(self.first.subject, self.first.problem, fix=fix)
        return self.first

    def finish(self, rows: int) -> None:
        """Say what is to be said once all is read.

        Raises:
            InputError: no row could be read though there are some.
        """
        if not rows and (error := self.error()):
            raise error
        if self.not_utf8:
            fix = conversion_fix(self.path)
            self.notes.remarks.append(
                f"{self.path}: lines that are not UTF-8 text: {self.not_utf8:,}; fix: {fix}"
            )


def numbered_lines(path: Path, broken: BrokenRows) -> Iterator[tuple[int, str]]:
    """The lines of UTF-8 text with their numbers, their ends kept; or of UTF-16 with its mark.

    Lines may end as on any system. One that is not UTF-8, or longer than MAX_LINE_BYTES, is left
    out.

    Raises:
        InputError: the file cannot be read, or it is broken UTF-16.
    """
    try:
        check_is_file(path)
        with path.open("rb") as file:
            start = file.read(_START_BYTES)
            if is_utf16(start) or (b"\r" in start and b"\n" not in start):
                yield from enumerate(io.StringIO(_whole_text(path), newline=None), 1)
                return
            file.seek(0)
            lines = iter(partial(file.readline, MAX_LINE_BYTES), b"")
            begun = False  # a long line, whose rest follows
            number = 0
            for line in lines:
                goes_on, begun = begun, len(line) == MAX_LINE_BYTES and not line.endswith(b"\n")
                number += not goes_on
                if begun and not goes_on:
                    problem = f"longer than {MAX_LINE_BYTES:,} bytes"
                    broken.leave_out(f"{path} line {number}", problem)
                if not begun and not goes_on and (text := _decode_line(line, number, broken)):
                    yield number, text
    except OSError as error:
        raise unreadable_error(path, error) from None


def filled_lines(path: Path) -> Iterator[str]:
    """The lines with something on them, for a first look: nothing is said of those left out.

    Raises:
        InputError: as `numbered_lines`.
    """
    quiet = BrokenRows(path, ReadNotes(), "")
    return (text for _, text in numbered_lines(path, quiet) if text.strip())


def _decode_line(line: bytes, number: int, broken: BrokenRows) -> str | None:
    try:
        return decode_utf8(line) if number == 1 else line.decode()
    except UnicodeDecodeError as error:
        problem = f"byte {error.start + 1} (0x{line[error.start]:02x}) {_NOT_UTF8}"
        broken.leave_out(f"{broken.path} line {number}", problem)
        broken.not_utf8 += 1
        return None


def read_whole(path: Path) -> bytes:
    """The bytes of a file that cannot be read line by line.

    Raises:
        OSError: it cannot be read.
        InputError: it is larger than MAX_WHOLE_BYTES.
    """
    if path.stat().st_size > MAX_WHOLE_BYTES:
        problem = f"larger than {MAX_WHOLE_BYTES:,} bytes, and not read a line at a time as it is"
        raise InputError(path, problem, fix="write it as UTF-8, JSON with an object a line")
    return path.read_bytes()


def _whole_text(path: Path) -> str:
    try:
        return decode_text(read_whole(path))
    except UnicodeDecodeError as error:
        problem = f"byte {error.start + 1} is not {error.encoding.upper()} text"
        raise InputError(path, problem, fix=conversion_fix(path)) from None
