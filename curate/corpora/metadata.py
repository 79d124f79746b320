"""Metadata files of image folders: one file that says what many images show.

Read are imagefolder's `metadata.csv|jsonl|parquet` (a row an image: `file_name` and `text`), the
same as JSON, `captions.jsonl`, `captions.txt` with a line `NAME<tab>caption` an image, COCO's
captions, and the `meta*.json` of kohya's sd-scripts.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from curate.corpora.columns import (
    CAPTION_COLUMNS,
    KEY_COLUMNS,
    LineCuts,
    caption_columns,
    columns_not_read,
    find_column,
    near_column,
    plain_name,
)
from curate.corpora.endings import IMAGE_PATTERN, looks_like_image
from curate.corpora.notes import ReadNotes
from curate.corpora.rows import BrokenRows, filled_lines, numbered_lines
from curate.corpora.statements import read_statements, verdict_columns
from curate.corpora.tables import file_name_of, iterate_rows, no_column_error
from curate.errors import InputError

# files that are metadata by their name; others may be by what they hold: see `is_metadata`
METADATA_NAMES = (
    *(
        f"{stem}.{ending}"
        for stem in ("metadata", "captions")
        for ending in "csv tsv jsonl".split()
    ),
    *("metadata.parquet", "metadata.json", "captions.json", "captions.txt"),
    *("meta.json", "meta_cap.json", "meta_clean.json", "meta_lat.json"),
)
_FIX = 'write a row an image, {"file_name": "a.png", "text": "a white dog"} or file_name,text'
_LINES_FIX = "write a line an image: its name, a tab, its caption"
_LOOKED_AT = 20  # rows of a file that tell whether it is metadata
_NAMED_LINE = re.compile(  # `a.png<tab>a dog`, `a.jpg#0 a dog`, `a b.webp: a dog`
    rf"\s*(?P<name>\S.*?{IMAGE_PATTERN})"
    r"(?:\s*[\t|,;:]\s*|\s+|$)(?P<text>.*)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class MetadataRow:
    """What a metadata file says of one image."""

    where: str  # names the row: "FILE line 3"
    file_name: str  # of the image, as written: a path, an address, or a name without ending
    captions: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)  # as in `records.ImageRecord`


def is_metadata(file: Path) -> bool:
    """Whether a file of an image folder says what images show: by its name, or what it holds.

    `captions.txt` is one only if its lines begin with names of images, since it may be the text
    beside `captions.png`; any `.json` is one that lists captions by file as COCO or kohya's
    scripts do.
    """
    name = file.name.casefold()
    if name == "captions.txt":
        try:
            first = list(islice(filled_lines(file), _LOOKED_AT))
        except InputError:
            return True  # it is told of where it is read
        return _is_table(first) or (
            bool(first) and 2 * sum(bool(_name_and_text(text)) for text in first) > len(first)
        )
    if name in METADATA_NAMES:
        return True
    if not name.endswith(".json"):
        return False
    try:
        rows = [row for _, row in islice(iterate_rows(file, ReadNotes()), _LOOKED_AT)]
    except InputError:
        return False
    named = [row for row in rows if looks_like_image(str(row.get("file_name", "")))]
    kohya = [row for row in rows if "train_resolution" in row]
    told = [row for row in rows if caption_columns(n for n, v in row.items() if v)[0]]
    return bool(told) and (2 * len(named) > len(rows) or 2 * len(kohya) > len(rows))


def read_metadata(file: Path, whole: bool, notes: ReadNotes) -> list[MetadataRow]:
    """The rows of a metadata file that name an image; those without a caption included.

    Args:
        file: for which `is_metadata` holds.
        whole: a text of several lines is one caption.
        notes: hears of rows that cannot be read or name no image, of captions in further columns
            and of columns that are not used.

    Raises:
        InputError: nothing in it can be read, or no column names the images.
    """
    cuts, columns, found = LineCuts(), dict[str, None](), []
    for where, row in _rows(file, notes):
        columns |= dict.fromkeys(row)
        captions, facts = read_statements(row, notes, where, whole=whole, cuts=cuts)
        name = file_name_of(row)
        if name is not None:
            found.append(MetadataRow(where, name, captions, facts))
        elif captions:
            notes.leave_out("captions in rows that name no image", where, len(captions))
        else:
            notes.leave_out("rows that name no image", where)
    if columns and find_column(columns, KEY_COLUMNS) is None:
        raise no_column_error(file, list(columns), KEY_COLUMNS, "names of images", "file_name")
    if not any(row.captions for row in found) and not caption_columns(columns)[0]:
        unknown = columns_not_read(columns, KEY_COLUMNS)
        if near_column(unknown, CAPTION_COLUMNS):
            raise no_column_error(file, unknown, CAPTION_COLUMNS, "captions", "text")
    cuts.remark(file, notes)
    if unused := columns_not_read(columns, KEY_COLUMNS, verdict_columns(tuple(columns))):
        notes.remarks.append(f"{file}: columns not used: {', '.join(unused)}")
    return found


def _rows(file: Path, notes: ReadNotes) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a table, or of a text with a line an image."""
    if file.suffix.lower() != ".txt":
        yield from iterate_rows(file, notes, fix=_FIX)
        return
    if _is_table(list(islice(filled_lines(file), 1))):
        yield from iterate_rows(file, notes, fix=_FIX)
        return
    broken, rows = BrokenRows(file, notes, _LINES_FIX), 0
    for number, text in numbered_lines(file, broken):
        where = f"{file} line {number}"
        if said := _name_and_text(text):
            rows += 1
            yield where, dict(zip(("file_name", "text"), said, strict=True))
        elif text.strip():
            broken.leave_out(where, "no name of an image at its start")
    broken.finish(rows)


def _name_and_text(line: str) -> tuple[str, str] | None:
    """The name of an image that a line begins with, and what is said of it; None: it has none."""
    cells = next(csv.reader([line]), []) if line.startswith('"') else []
    if len(cells) == 2 and looks_like_image(cells[0]):
        return cells[0], cells[1]
    if said := _NAMED_LINE.match(line.strip()):
        return said["name"], said["text"]
    name, tab, text = line.strip().partition("\t")
    return (name, text) if tab else None


def _is_table(lines: list[str]) -> bool:
    """Whether the first line names columns: `image,caption`, as the captions of Flickr8k have."""
    if not lines:
        return False
    names = {plain_name(name) for name in re.split(r"[,;\t|]", lines[0])}
    return bool(names & set(CAPTION_COLUMNS)) and bool(names & set(KEY_COLUMNS))
