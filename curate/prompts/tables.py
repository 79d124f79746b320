"""Prompts in tables: CSV and its kin, JSON lines, JSON, Parquet; a row a prompt, in `prompt`.

What stands under `negative_prompt` in the same row is what its prompt does not want. A table of
one column without a name for it has a prompt a line.
"""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curate.corpora.columns import find_column, near_column, plain_name, read_captions
from curate.corpora.encoding import decode_text
from curate.corpora.endings import DELIMITED_ENDINGS, LIST_ENDINGS
from curate.corpora.notes import ReadNotes
from curate.corpora.tables import iterate_rows
from curate.errors import InputError

# names of the column with prompts, the first that is there, and of the one with what is unwanted
PROMPT_COLUMNS = (
    *("prompt", "prompts", "positive_prompt", "positive_prompts", "positive", "text", "texts"),
    *("caption", "captions", "description", "descriptions", "sentence", "sentences"),
)
NEGATIVE_COLUMNS = (
    *("negative_prompt", "negative_prompts", "negative", "negatives", "neg_prompt", "neg"),
)
_ROWS_FIX = 'write lines like {"prompt": "a white dog"}, or a table whose first line is prompt'
_LINE = re.compile(r".* line (\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PromptRow:
    """What one row of a table asks for."""

    number: int  # of its line in the file, from 1; of the prompt, where a line holds several
    text: str  # what is wanted, on one line
    negative: str  # what is not


def is_prompt_table(path: Path) -> bool:
    """Whether a file of prompts is a table, by its ending."""
    return path.suffix.lower() in (*LIST_ENDINGS, ".parquet")


def read_prompt_rows(path: Path, notes: ReadNotes) -> list[PromptRow]:
    """The prompts of a table, in their order; rows with neither prompt nor negative left out.

    Args:
        path: for which `is_prompt_table` holds.
        notes: hears of columns that are not read, and of rows that cannot be.

    Raises:
        InputError: nothing in it can be read, or no column holds prompts.
    """
    known, fix = (*PROMPT_COLUMNS, *NEGATIVE_COLUMNS), _header_fix(path)
    rows = list(iterate_rows(path, notes, known=known, fix=fix))
    if not rows:
        raise InputError(path, "no row with a prompt in it", fix=fix)
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    if not find_column(columns, known):
        rows = _rows_without_names(path, columns, rows, notes)
        columns = ["prompt"]
    found: list[PromptRow] = []
    for number, (where, row) in enumerate(rows, 1):
        at = _LINE.fullmatch(where)
        line = int(at[1]) if at else number
        wanted = read_captions(row, notes, where, whole=True, wanted=PROMPT_COLUMNS)
        unwanted = read_captions(row, notes, where, whole=True, wanted=NEGATIVE_COLUMNS)
        texts = wanted or ([""] if unwanted else [])
        found += [PromptRow(line, text, ", ".join(unwanted)) for text in texts]
    read = {*known, *([] if _is_delimited(path) else ["file_name"])}  # JSON's keys have that name
    if unread := [name for name in columns if plain_name(name) not in read]:
        notes.remarks.append(f"{path}: columns not read: {', '.join(unread)}")
    return _number_rows(path, found, notes)


def _rows_without_names(
    path: Path,
    columns: Sequence[str],
    rows: Sequence[tuple[str, dict[str, Any]]],
    notes: ReadNotes,
) -> list[tuple[str, dict[str, Any]]]:
    """The rows of a table with one column, whose first line is a prompt, too.

    Raises:
        InputError: there are several columns, or the only one has a name that is misspelt.
    """
    near = near_column(columns, PROMPT_COLUMNS)
    if near or len(columns) != 1 or not _is_delimited(path):
        hint = f"is it {near!r}?" if near else f"its columns are {', '.join(columns) or 'none'}"
        raise InputError(path, f"no column with prompts; {hint}", fix=_header_fix(path))
    notes.remarks.append(f"{path}: its first line names no columns; read as a prompt a line")
    return [
        (f"{path} line 1", {"prompt": columns[0]}),
        *((where, {"prompt": text}) for where, row in rows for text in row.values()),
    ]


def _is_delimited(path: Path) -> bool:
    return path.suffix.lower() in DELIMITED_ENDINGS


def _header_fix(path: Path) -> str:
    if not _is_delimited(path):
        return _ROWS_FIX
    move = f"mv -n -- {shlex.quote(str(path))} {shlex.quote(str(path.with_suffix('.txt')))}"
    return f"write prompt above the column with prompts; or, if each line is a prompt: {move}"


def _number_rows(path: Path, rows: list[PromptRow], notes: ReadNotes) -> list[PromptRow]:
    """The rows, each with a number of its own: its line, or its place where lines hold several."""
    lines = _json_lines(path, rows) if path.suffix.lower() == ".json" else None
    lines = lines or [row.number for row in rows]
    if len(set(lines)) < len(rows):
        lines = list(range(1, len(rows) + 1))
        notes.remarks.append(f"{path}: a line holds several prompts; their numbers count prompts")
    return [replace(row, number=line) for row, line in zip(rows, lines, strict=True)]


def _json_lines(path: Path, rows: Sequence[PromptRow]) -> list[int] | None:
    """The lines where the prompts of a JSON file stand; None: not all are found."""
    text, at, line, found = decode_text(path.read_bytes()), 0, 1, []
    for row in rows:
        said, place = row.text or row.negative, len(text)
        for escape in (False, True):  # whichever comes first
            before = text.find(json.dumps(said, ensure_ascii=escape), at, place)
            place = before if before >= 0 else place
        if place == len(text):
            return None
        line += text.count("\n", at, place)
        found.append(line)
        at = place + 1
    return found
