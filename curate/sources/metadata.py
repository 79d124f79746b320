"""What is said about the images of a folder: `metadata.csv`, `.jsonl` or `.parquet`.

The convention is that of Hugging Face's imagefolder: a row an image, `file_name` relative to
the metadata file, `text` its caption.
"""

import csv
import difflib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from curate.errors import InputError
from curate.sources.base import FoundImage

METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
PLAIN_COLUMNS = ("title", "language", "license_url", "author", "author_url", "page_url")
METADATA_COLUMNS = ("file_name", "text", "texts", "tags", "license", *PLAIN_COLUMNS)


def read_metadata(path: Path) -> tuple[list[FoundImage], list[str]]:
    """The rows of a metadata file, and the names of the columns that nothing here uses.

    The rows have no ids yet; the `file_name` of each is relative to the metadata file.

    Raises:
        InputError: it is broken, not UTF-8, or a row names no file; with the line.
    """
    readers = {".csv": _csv_rows, ".jsonl": _json_rows, ".parquet": _parquet_rows}
    rows = []
    columns: dict[str, None] = {}
    for where, record in readers[path.suffix](path):
        rows.append(_parse_row(where, record))
        columns |= dict.fromkeys(record)
    return rows, [name for name in columns if name not in METADATA_COLUMNS]


def read_utf8(path: Path) -> str:
    """A text file.

    Raises:
        InputError: it cannot be read, or a line of it is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise InputError(path, problem, fix="correct its permissions") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        where, fix = f"{path} line {number}", f"iconv -t UTF-8 {path.name}"
        raise InputError(where, "is not UTF-8", fix=fix) from None


def _parse_row(where: str, record: Mapping[str, Any]) -> FoundImage:
    name = _cell_text(record.get("file_name"))
    if "file_name" not in record:
        near = difflib.get_close_matches("file_name", list(record), n=1)
        hint = f"; is it {near[0]}?" if near else ""
        raise InputError(where, f"no file_name{hint}", fix="name the column file_name")
    if name is None:
        raise InputError(where, "file_name is empty", fix="name the image, or remove the row")
    first = _cell_text(record.get("text"))
    texts = [*([first] if first else []), *_cell_list(where, record.get("texts"), "\n")]
    plain: dict[str, Any] = {column: _cell_text(record.get(column)) for column in PLAIN_COLUMNS}
    return FoundImage(
        id="",
        file_name=name,
        texts=tuple(dict.fromkeys(texts)),
        tags=_cell_list(where, record.get("tags"), ","),
        license_text=_cell_text(record.get("license")),
        **plain,
    )


def _cell_text(value: object) -> str | None:
    """A cell as text; empty, null and NaN (which is not equal to itself) are nothing."""
    if value is None or value != value:
        return None
    return str(value).encode("utf-8", "replace").decode().strip() or None


def _cell_list(where: str, value: object, separator: str) -> tuple[str, ...]:
    """A cell as texts: a list, or one text cut at `separator`."""
    if value is None or value != value:
        return ()
    if isinstance(value, str):
        value = value.split(separator)
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
                problem = f"{len(row[None])} more cells than the header names"
                fix = 'put a text that holds commas between quotes: "a dog, asleep"'
                raise InputError(where, problem, fix=fix)
            yield where, row
    except csv.Error as error:
        where = f"{path} line {reader.line_num + 1}"
        raise InputError(where, f"is not CSV ({error})", fix="close every quote") from None


def _json_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(read_utf8(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        record = None
        with suppress(ValueError, RecursionError):
            record = json.loads(line)
        if not isinstance(record, dict):
            fix = 'write {"file_name": "…", "text": "…"}'
            raise InputError(where, "is not a JSON object", fix=fix)
        yield where, record


def _parquet_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        problem = f"is not Parquet ({str(error).splitlines()[0]})"
        raise InputError(path, problem, fix="write it again") from None
    if "file_name" not in table.column_names:
        _parse_row(str(path), dict.fromkeys(table.column_names))
    for number, record in enumerate(table.to_pylist(), 1):
        yield f"{path} row {number}", record
