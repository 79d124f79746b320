"""What is said about the images of a folder: `metadata.csv`, `.jsonl` or `.parquet`.

The convention is that of Hugging Face's imagefolder: a row an image, `file_name` relative to
the metadata file, `text` its caption.
"""

import csv
import difflib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import InputError

METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
METADATA_COLUMNS = (
    "file_name", "text", "texts", "title", "tags", "language", "license", "license_url", "author",
    "author_url", "page_url",
)  # fmt: skip


@dataclass(frozen=True)
class MetadataRow:
    """One row of a metadata file."""

    where: str  # "FILE line 3", for messages
    file_name: str
    texts: tuple[str, ...] = ()
    title: str | None = None
    tags: tuple[str, ...] = ()
    language: str | None = None
    license: str | None = None
    license_url: str | None = None
    author: str | None = None
    author_url: str | None = None
    page_url: str | None = None


def read_metadata(path: Path) -> tuple[list[MetadataRow], list[str]]:
    """The rows of a metadata file, and the names of the columns that nothing here uses.

    Raises:
        InputError: it is broken, not UTF-8, or a row names no file; with the line.
    """
    readers = {".csv": _csv_rows, ".jsonl": _json_rows, ".parquet": _parquet_rows}
    lines: list[MetadataRow] = []
    unused: dict[str, None] = {}
    for where, record in readers[path.suffix](path):
        lines.append(_parse_row(where, record))
        unused.update((name, None) for name in record if name not in METADATA_COLUMNS)
    return lines, list(unused)


def read_utf8(path: Path) -> str:
    """A text file.

    Raises:
        InputError: it cannot be read, or a line of it is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            path, f"cannot be read ({error.strerror})", fix="correct its permissions"
        ) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path} line {number}", "is not UTF-8", fix=f"iconv -t UTF-8 {path.name}"
        ) from None


def _parse_row(where: str, record: Mapping[str, Any]) -> MetadataRow:
    name = _cell_text(record.get("file_name"))
    if "file_name" not in record:
        near = difflib.get_close_matches("file_name", list(record), n=1, cutoff=0.6)
        hint = f"; is it {near[0]}?" if near else ""
        raise InputError(where, f"no file_name{hint}", fix="name the column file_name")
    if name is None:
        raise InputError(where, "file_name is empty", fix="name the image, or remove the row")
    first = _cell_text(record.get("text"))
    texts = [*([first] if first else []), *_cell_list(where, record.get("texts"), "\n")]
    return MetadataRow(
        where,
        name,
        texts=tuple(dict.fromkeys(texts)),
        tags=_cell_list(where, record.get("tags"), ","),
        **{
            field: _cell_text(record.get(field))
            for field in METADATA_COLUMNS
            if field not in ("file_name", "text", "texts", "tags")
        },
    )


def _cell_text(value: object) -> str | None:
    """A cell as text; empty, null and NaN are nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value).encode("utf-8", "replace").decode().strip() or None


def _cell_list(where: str, value: object, separator: str) -> tuple[str, ...]:
    """A cell as texts: a list, or one text cut at `separator`."""
    if isinstance(value, str):
        value = value.split(separator)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ()
    if not isinstance(value, Sequence):
        raise InputError(where, f"{value!r} is not a list of texts", fix="write a list of texts")
    return tuple(text for text in map(_cell_text, value) if text)


def _csv_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(read_utf8(path), newline=""), strict=True)
    try:
        if not reader.fieldnames:
            raise InputError(path, "is empty", fix="write a header: file_name,text")
        if "file_name" not in reader.fieldnames:
            _parse_row(f"{path} line 1", dict.fromkeys(reader.fieldnames))
        for row in reader:
            where = f"{path} line {reader.line_num}"
            if None in row:
                raise InputError(
                    where,
                    f"{len(row[None])} more cells than the header names",
                    fix='put a text that holds commas between quotes: "a dog, asleep"',
                )
            yield where, row
    except csv.Error as error:
        raise InputError(
            f"{path} line {reader.line_num + 1}", f"is not CSV ({error})", fix="close every quote"
        ) from None


def _json_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(read_utf8(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise InputError(
                where, "is not a JSON object", fix='write {"file_name": "…", "text": "…"}'
            )
        yield where, record


def _parquet_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(path, f"is not Parquet ({reason})", fix="write it again") from None
    if "file_name" not in table.column_names:
        _parse_row(str(path), dict.fromkeys(table.column_names))
    for number, record in enumerate(table.to_pylist(), 1):
        yield f"{path} row {number}", record
