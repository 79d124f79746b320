"""Captions of Hugging Face datasets on disk: Arrow and Parquet files, folders with metadata.

Only the columns with captions and names are read, never an image.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.corpora import tables
from curate.corpora.columns import (
    CAPTION_COLUMNS,
    IMAGE_COLUMNS,
    KEY_COLUMNS,
    cut_captions,
    find_column,
    read_facts,
)
from curate.corpora.notes import ReadNotes
from curate.corpora.partition import ImageCaptions, Partition
from curate.corpora.records import ImageRecord
from curate.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

METADATA_FILES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
_SAMPLE_BYTES = 1 << 16  # bytes
_COLUMN_FIX = (
    f"rename the column with the captions to caption; known are {', '.join(CAPTION_COLUMNS)}"
)


@dataclass(frozen=True)
class HuggingFace:
    """Arrow and Parquet files with a caption a row, and the image perhaps."""

    path: Path  # a folder, or one of the files
    files: Sequence[Path]
    whole: bool = False  # a text of several lines is one caption
    kind: str = "hugging-face"

    @property
    def missing(self) -> list[str]:
        """What the folder names and does not hold."""
        return [f"{file}: data file is missing" for file in self.files if not file.is_file()]

    def partitions(self, prefix: str = "") -> list[Partition]:
        """A part for each data file."""
        root = self.path if self.path.is_dir() else self.path.parent
        return huggingface_partitions(root, self.files)[0]

    def records(
        self, notes: ReadNotes, keys: Collection[str] | None = None
    ) -> Iterator[ImageRecord]:
        """Every row with its image, as far as it is stored."""
        root = self.path if self.path.is_dir() else self.path.parent
        for file in self.files:
            name = file.relative_to(root).as_posix()
            caption, named = find_columns(file)
            key_of = row_keys(file, name)
            image = find_column(read_schema(file).names, IMAGE_COLUMNS)
            number = 0
            for read in row_groups(file):
                for row in read(read_schema(file).names).to_pylist():
                    key = key_of(number, row[named] if named else None)
                    number += 1
                    if keys is not None and key not in keys:
                        continue
                    held = row.get(image) if image else None
                    data = held.get("bytes") if isinstance(held, dict) else held
                    captions = cut_captions(row[caption], whole=self.whole)
                    yield ImageRecord(key, captions, data=data, facts=read_facts(row))


def find_data_files(folder: Path) -> list[Path]:
    """The data files of a dataset folder, ascending; none if it is something else.

    A folder counts if `datasets` saved it, or it holds Parquet files or an image folder's
    metadata: at its top, in `data`, or in a folder for each split.
    """
    found: set[Path] = set()
    for place in (folder, *sorted(p for p in folder.iterdir() if p.is_dir() and _is_visible(p))):
        named = [place / name for name in METADATA_FILES if (place / name).is_file()]
        if named:
            found.update(named[:1])
        elif (place / "dataset_info.json").is_file():
            found.update(_saved_files(place))
        else:
            patterns = ("*.parquet",) if place == folder else ("*.parquet", "*/*.parquet")
            found.update(p for each in patterns for p in place.glob(each) if _is_visible(p))
    return sorted(found)


def _is_visible(path: Path) -> bool:
    return not path.name.startswith((".", "_"))


def _saved_files(folder: Path) -> list[Path]:
    """The Arrow files of one split as `save_to_disk` wrote it, or of the library's cache."""
    state = folder / "state.json"
    if state.is_file():
        try:
            listed = json.loads(state.read_bytes())["_data_files"]
            return [folder / entry["filename"] for entry in listed]
        except (OSError, ValueError, LookupError, TypeError):
            fix = "save the dataset again with save_to_disk"
            raise InputError(state, "not readable", fix=fix) from None
    return [p for p in folder.glob("*.arrow") if not p.name.startswith("cache-")]


def huggingface_partitions(
    folder: Path, found: Sequence[Path]
) -> tuple[list[Partition], list[str]]:
    """A part for each data file of `folder`, and a sentence for each that is not there.

    Raises:
        InputError: none is there, or the first readable file has no column with captions.
    """
    there = [file for file in found if file.is_file()]
    if not there:
        fix = "name the folder that save_to_disk wrote, or copy it again"
        raise InputError(found[0], "data file is missing", fix=fix)
    for file in there:  # one that cannot be read is told of later, with what else there is
        with suppress(BrokenFileError):
            find_columns(file)
            break
    made = []
    for file in there:
        name = file.relative_to(folder).as_posix()
        made.append(Partition(partial(_read_captions, file, name), (file,), f"hugging {name}"))
    return made, [f"{file}: data file is missing" for file in found if file not in there]


def is_foreign_parquet(file: Path) -> bool:
    """Whether a Parquet file was written by somebody else."""
    try:
        return b"fubuki" not in (read_schema(file).metadata or {})
    except BrokenFileError:
        return False


class BrokenFileError(Exception):
    """A data file that cannot be read."""

    def __init__(self, error: Exception) -> None:
        """Say what the reader of the file says, on one line."""
        super().__init__(str(error).partition("\n")[0].removesuffix("."))


def _read_captions(file: Path, name: str, reading: ReadNotes) -> Iterator[ImageCaptions]:
    """The rows of a file; if it breaks, those before, and a sentence."""
    silent = True
    try:
        for key, said in _caption_rows(file, name):
            silent = silent and not any(map(str.strip, said))
            yield key, said
    except BrokenFileError as error:
        reading.broken.append(f"{file}: cannot be read in full ({error})")
        return
    if silent:
        reading.silent.append(f"{name} holds no caption")


def _caption_rows(file: Path, name: str) -> Iterator[ImageCaptions]:
    caption, image = find_columns(file)
    if file.suffix == ".csv":
        columns, split = (image or "file_name", caption), split_prefix(name)
        yield from tables.read_table(file, ReadNotes(), columns=columns, prefix=split)
        return
    key_of = row_keys(file, name)
    for number, (said, key) in enumerate(_captions_and_names(file, caption, image)):
        yield key_of(number, key), [said] if isinstance(said, str) else [c for c in said or () if c]


def row_keys(file: Path, name: str) -> Callable[[int, object], str]:
    """What gives the key of a row by its number in the file and its name, if it has one."""
    split, own = split_prefix(name), row_key_prefix(file, name)
    return lambda number, key: f"{own}{number}" if key is None else f"{split}{key}"


def row_key_prefix(file: Path, name: str) -> str:
    """What keys of rows without a name begin with: another file of the same name has others.

    Eight digits of a hash over the file's size and its first and last 64 KiB: enough to tell
    files apart, and quick for those of many gigabytes.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        whole = hashlib.sha256(f"{size} ".encode() + stream.read(_SAMPLE_BYTES))
        stream.seek(max(0, size - _SAMPLE_BYTES))
        whole.update(stream.read())
    return f"{name}@{whole.hexdigest()[:8]}#"


def split_prefix(name: str) -> str:
    """What keys begin with: `train/` for `train/data-0.arrow` and for `data/train-0.parquet`.

    Names of images may start anew in every split.
    """
    folder, _, file = name.rpartition("/")
    stem = file.partition(".")[0]
    within = stem.partition("-")[0] if "-" in stem and not stem.startswith("data-") else ""
    named = [] if folder == "data" and within else [folder]
    return "".join(f"{part}/" for part in (*named, within) if part)


def _captions_and_names(file: Path, caption: str, image: str | None) -> Iterator[tuple[Any, Any]]:
    """For each row a caption, a list of them or nothing; and its name, if it has one."""
    if file.suffix == ".jsonl":
        for number, record in _json_records(file):
            said = record.get(caption)
            if not isinstance(said, str | list | None) or _value_kind(said or "") == "other":
                problem = f"{caption} is neither text nor a list of texts"
                raise InputError(f"{file} line {number}", problem, fix=_COLUMN_FIX)
            yield said, record.get(image) if image else None
        return
    import pyarrow as pa

    try:
        for read in row_groups(file):
            captions = read([caption])[caption].to_pylist()
            yield from zip(captions, row_names(read, image), strict=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BrokenFileError(error) from None


ReadColumns = Callable[[list[str]], "pa.Table"]


def row_groups(file: Path) -> Iterator[ReadColumns]:
    """For each group of rows of an Arrow or Parquet file, what reads columns of it."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    if file.suffix == ".parquet":
        with parquet.ParquetFile(file) as table:
            for group in range(table.num_row_groups):
                yield partial(table.read_row_group, group)
    else:
        with pa.ipc.open_stream(pa.memory_map(str(file))) as batches:
            for batch in batches:
                yield pa.Table.from_batches([batch]).select


def row_names(read: ReadColumns, column: str | None) -> list[Any]:
    """The names of the rows of a group; None where there is none."""
    return read([column])[column].to_pylist() if column else [None] * read([]).num_rows


def read_schema(file: Path) -> "pa.Schema":
    """The columns of an Arrow or Parquet file.

    Raises:
        BrokenFileError: it is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        if file.suffix == ".parquet":
            return parquet.read_schema(file)
        with pa.ipc.open_stream(pa.memory_map(str(file))) as batches:
            return batches.schema
    except (pa.ArrowException, OSError) as error:
        raise BrokenFileError(error) from None


def _json_records(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    problem = "not a JSON object"
    for number, record in tables.json_lines(file, problem, _COLUMN_FIX):
        if not isinstance(record, dict):
            raise InputError(f"{file} line {number}", problem, fix=_COLUMN_FIX)
        yield number, record


def find_columns(file: Path) -> tuple[str, str | None]:
    """The columns with captions and with names, the second None where there is none.

    Raises:
        InputError: no column holds captions.
        BrokenFileError: the file cannot be read.
    """
    kinds = _column_kinds(file)
    texts = (name for name in CAPTION_COLUMNS if kinds.get(name) in ("text", "texts"))
    caption = next(texts, None)
    if caption is None:
        problem = f"no column with captions; its columns are {', '.join(kinds) or 'none'}"
        raise InputError(file, problem, fix=_COLUMN_FIX)
    names = (n for n in KEY_COLUMNS if kinds.get(n) in ("text", "number") and n != caption)
    return caption, next(names, None)


def _column_kinds(file: Path) -> dict[str, str]:
    """Each column by name: "text", "texts" (lists of them), "number" or "other"."""
    if file.suffix == ".csv":
        first = next(tables.numbered_lines(file), (1, ""))[1]
        return {name.strip(): "text" for name in next(csv.reader([first]), [])}
    if file.suffix == ".jsonl":
        record = next(_json_records(file), (0, {}))[1]
        return {name: _value_kind(value) for name, value in record.items()}
    return {field.name: _arrow_kind(field.type) for field in read_schema(file)}


def _arrow_kind(kind: "pa.DataType") -> str:
    from pyarrow import types

    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    if types.is_dictionary(kind):
        return _arrow_kind(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return "texts" if _arrow_kind(kind.value_type) == "text" else "other"
    return "number" if types.is_integer(kind) else "other"


def _value_kind(value: object) -> str:
    if isinstance(value, list):
        return "texts" if all(isinstance(one, str) for one in value) else "other"
    return {str: "text", int: "number"}.get(type(value), "other")
