"""A folder of images: captions from metadata files, `.txt` files beside them, or their names.

Images are told by their content, not their names; what looks like one by name and is none
still becomes a row that says so. Metadata files follow the convention of Hugging Face's
imagefolder: a row an image, `file_name` relative to the metadata file, `text` its caption.
"""

import csv
import difflib
import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer

from curate.corpora.notes import ReadNotes
from curate.errors import InputError
from curate.images import sniff
from curate.sources.base import FoundImage, Listing, Source
from curate.sources.local import image_id, printable_path

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .avif .heic .heif .jp2 .jxl .svg".split()
)
METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
PLAIN_COLUMNS = ("title", "language", "license_url", "author", "author_url", "page_url")
METADATA_COLUMNS = ("file_name", "text", "texts", "tags", "license", *PLAIN_COLUMNS)
MAX_FILE_BYTES = 300_000_000  # bytes; a file beyond this is not read


@dataclass(frozen=True)
class FolderEntry:
    """One row to be: a file, or the name of one that is not there."""

    path: Path
    relative: str  # POSIX path from the folder, lossless for names that are not UTF-8
    row: FoundImage  # what a metadata file says of it
    sidecar: Path | None


def listing(
    without: Path,
    path: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images.")],
    *,
    license: Annotated[
        str | None, typer.Option(help="Licence of images that state none, e.g. CC0-1.0.")
    ] = None,
    author: Annotated[str | None, typer.Option(help="Author of images that name none.")] = None,
) -> Listing:
    """List a folder and all below it, except what is hidden and the folder `without`.

    Raises:
        InputError: there is no such folder, nothing in it, no image in it, or a metadata
            file is broken.
    """
    if not path.is_dir():
        problem = "is not a folder" if path.exists() else "no such folder"
        raise InputError(path, problem, fix="curate fetch folder DIR")
    files, hidden = _walk_files(path, without)
    if not files and not hidden:
        raise InputError(path, "the folder is empty", fix="put images into it")
    rows, remarks = _read_metadata_rows(files)
    notes = ReadNotes(remarks=remarks)
    entries, others = [], []
    for relative, file in files.items():
        row = rows.pop(relative, None)
        if row or file.suffix.lower() in IMAGE_SUFFIXES or _is_image(file):
            text = file.with_suffix(".txt")
            sidecar = text if text.is_file() and text != file else None
            entries.append(FolderEntry(file, relative, row or FoundImage(""), sidecar))
        elif file.name not in METADATA_NAMES and file.suffix != ".txt":
            others.append(file.name)
    entries += [FolderEntry(path / relative, relative, row, None) for relative, row in rows.items()]
    entries.sort(key=lambda entry: os.fsencode(entry.relative))
    if not entries:
        raise InputError(path, "holds no image", fix="put JPEG, PNG or WebP files into it")
    if hidden:
        notes.remarks.append(f"{hidden} hidden files skipped")
    if others:
        notes.remarks.append(f"{len(others)} other files skipped ({', '.join(sorted(others)[:3])})")
    return Listing(_read_entries(path, entries, license, author), len(entries), notes)


def _read_entries(
    root: Path, entries: Sequence[FolderEntry], license: str | None, author: str | None
) -> Iterator[FoundImage]:
    """Read one image after the other; `license` and `author` fill only what is not stated."""
    name = root.resolve().name or "root"
    for entry in entries:
        data, dropped = _read_entry(entry)
        row, said = entry.row, read_utf8(entry.sidecar) if entry.sidecar else ""
        lines = filter(None, map(str.strip, said.splitlines()))
        stated = row.license_text is not None or row.license_url is not None
        yield replace(
            row,
            id=image_id(name, entry.relative, hashlib.sha256(data).digest()),
            data=data,
            dropped=dropped,
            file_name=printable_path(entry.relative),
            texts=tuple(dict.fromkeys([*row.texts, *lines])),
            title=row.title or printable_path(PurePosixPath(entry.relative).stem),
            author=row.author or author,
            license_text=row.license_text if stated else license,
            license_by="source" if stated else "user" if license else None,
        )


def _walk_files(folder: Path, without: Path) -> tuple[dict[str, Path], int]:
    """Every file by its relative path, and how many hidden ones there are."""
    found: dict[str, Path] = {}
    hidden, skip = 0, without.resolve()

    def refuse(error: OSError) -> None:
        problem = f"cannot be listed ({error.strerror})"
        raise InputError(error.filename, problem, fix="correct its permissions")

    for root, folders, names in os.walk(folder, onerror=refuse):
        inside = Path(root)
        hidden += sum(n.startswith(".") for n in [*folders, *names])
        shown = sorted(n for n in folders if not n.startswith(".") and n != "__MACOSX")
        folders[:] = [n for n in shown if (inside / n).resolve() != skip]
        files = [inside / name for name in names if not name.startswith(".")]
        found |= {file.relative_to(folder).as_posix(): file for file in files}
    return found, hidden


def _read_metadata_rows(files: dict[str, Path]) -> tuple[dict[str, FoundImage], list[str]]:
    """What the metadata files say, by path relative to the folder, and remarks about them."""
    merged: dict[str, FoundImage] = {}
    folders: dict[str, str] = {}
    notes, twice = [], 0
    for relative, path in sorted(files.items()):
        if path.name not in METADATA_NAMES:
            continue
        inside = str(PurePosixPath(relative).parent)
        if inside in folders:
            problem = f"stands beside {folders[inside]}: which one counts?"
            raise InputError(path, problem, fix="keep one of the two")
        folders[inside] = path.name
        lines, unused = read_metadata(path)
        if unused:
            notes.append(f"{path}: columns not used: {', '.join(unused)}")
        for line in lines:
            target = os.path.normpath(f"{inside}/{line.file_name}".removeprefix("./"))
            twice += target in merged
            merged[target] = _join(merged[target], line) if target in merged else line
    if twice:
        notes.append(f"{twice} metadata rows name an image again; their captions are added")
    return merged, notes


def _join(first: FoundImage, second: FoundImage) -> FoundImage:
    """Two rows about one file: all captions and tags, and the first row's word on the rest."""
    said = vars(second) | {name: value for name, value in vars(first).items() if value}
    stated = first if first.license_text or first.license_url else second
    said |= {"license_text": stated.license_text, "license_url": stated.license_url}
    said |= {"texts": tuple(dict.fromkeys(first.texts + second.texts))}
    said |= {"tags": tuple(dict.fromkeys(first.tags + second.tags))}
    return FoundImage(**said)


def _read_entry(entry: FolderEntry) -> tuple[bytes, str | None]:
    """The file's bytes, or why there are none."""
    shown = printable_path(entry.relative)
    if entry.relative.startswith(("../", "/")) or entry.relative == "..":
        return b"", f"outside:{shown}"
    try:
        status = entry.path.stat()
        if not stat.S_ISREG(status.st_mode):
            return b"", "not-an-image:not a file"
        if status.st_size > MAX_FILE_BYTES:
            return b"", f"too-large:over {MAX_FILE_BYTES} bytes"
        return entry.path.read_bytes(), None
    except FileNotFoundError:
        return b"", f"missing:{shown}"
    except (OSError, ValueError) as error:
        return b"", f"unreadable:{getattr(error, 'strerror', None) or 'not a usable name'}"


def _is_image(path: Path) -> bool:
    """Whether a file of any name starts as an image that we store."""
    with suppress(OSError):
        if stat.S_ISREG(path.stat().st_mode):
            with path.open("rb") as file:
                return sniff.sniff_format(file.read(32)) in sniff.STORED_FORMATS
    return False


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


SOURCE = Source(
    name="folder",
    summary="your own images, with captions beside them",
    help="Take the images of a folder, with captions from metadata.csv, .txt files or file names.",
    listing=listing,
    terms=("You state the licence of what states none: --license ID.",),
)
