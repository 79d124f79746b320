"""Arrow and Parquet files, read a few rows at a time: which column is what, and what a row says."""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.corpora.columns import (
    CAPTION_COLUMNS,
    FACT_COLUMNS,
    IMAGE_COLUMNS,
    KEY_COLUMNS,
    find_column,
    plain_name,
)
from curate.corpora.statements import RECORD_COLUMNS, verdict_columns
from curate.corpora.walk import check_is_file

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 4096  # of columns without images
IMAGES_AT_ONCE = 8
_SAMPLE_BYTES = 1 << 16  # bytes
Row = tuple[int, dict[str, Any]]  # its number in the file, from 0; values by column


class BrokenFileError(Exception):
    """A data file that cannot be read."""

    def __init__(self, error: Exception) -> None:
        """Say what the reader of the file says, on one line."""
        super().__init__(str(error).partition("\n")[0].removesuffix("."))


@contextmanager
def _read_errors() -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise BrokenFileError(error) from None


@dataclass(frozen=True)
class ArrowTable:
    """A Parquet file, or an Arrow file of either kind (stream or random access).

    Every property and method raises BrokenFileError where the file cannot be read.
    """

    file: Path

    @cached_property
    def schema(self) -> "pa.Schema":
        """The columns with their types, and what their writer noted of them."""
        import pyarrow as pa
        import pyarrow.parquet as parquet

        with _read_errors():
            check_is_file(self.file)
            if self.is_parquet:
                return parquet.read_schema(self.file)
            with pa.memory_map(str(self.file)) as mapped:
                random_access = mapped.read(6) == b"ARROW1"
                mapped.seek(0)
                read = pa.ipc.open_file if random_access else pa.ipc.open_stream
                return read(mapped).schema

    @property
    def is_parquet(self) -> bool:
        """Whether it is Parquet, by its name."""
        return self.file.suffix.lower() == ".parquet"

    @cached_property
    def captions(self) -> list[str]:
        """The columns with captions, by name; first those whose types may hold texts."""
        kinds = {f.name: f.type for f in self.schema if f.name not in self.images}
        names = [name for name in kinds if plain_name(name) in CAPTION_COLUMNS]
        order = {name: CAPTION_COLUMNS.index(plain_name(name)) for name in names}
        return sorted(names, key=lambda name: (not _holds_texts(kinds[name]), order[name]))

    @cached_property
    def label(self) -> tuple[str, list[str]] | None:
        """The column with numbers of classes, and their names, as `datasets` notes them."""
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            noted = json.loads((self.schema.metadata or {})[b"huggingface"])
            for name, feature in noted["info"]["features"].items():
                if feature.get("_type") == "ClassLabel" and name in self.schema.names:
                    return name, [str(one) for one in feature["names"]]
        return None

    @cached_property
    def key(self) -> str | None:
        """The column that names each image."""
        names = [f.name for f in self.schema if _is_name(f.type) and f.name not in self.captions]
        return find_column(names, KEY_COLUMNS)

    @property
    def image(self) -> str | None:
        """The column with the images' bytes."""
        return next(iter(self.images), None)

    @cached_property
    def images(self) -> list[str]:
        """All columns that hold images: those with a usual name first.

        A column of plain bytes counts by its name, or where no other holds images.
        """
        kinds = {field.name: _element_type(field.type) for field in self.schema}
        found = [name for name, kind in kinds.items() if _is_image(kind)]
        plain = [name for name, kind in kinds.items() if _is_binary(kind)]
        found += [name for name in plain if _usual(name) in IMAGE_COLUMNS]
        if not found and len(plain) == 1 and plain_name(plain[0]) not in CAPTION_COLUMNS:
            found = plain
        usual = find_column(found, IMAGE_COLUMNS)
        return sorted(found, key=lambda name: name != usual)

    @property
    def columns_without_bytes(self) -> list[str]:
        """All columns but those of images and other bytes."""
        return [field.name for field in self.schema if not _holds_bytes(field.type)]

    @cached_property
    def absent_images(self) -> int:
        """How many rows hold no image though there is a column for it, as far as that is noted."""
        import pyarrow.parquet as parquet

        if self.image is None or self.several_images:
            return 0
        held = _is_image(self.schema.field(self.image).type)
        with _read_errors():
            if not self.is_parquet:
                columns = (batch.column(self.image) for batch in _arrow_batches(self.file))
                return sum((c.field("bytes") if held else c).null_count for c in columns)
            leaf = f"{self.image}.bytes" if held else self.image
            noted = parquet.read_metadata(self.file)
            groups = (noted.row_group(n) for n in range(noted.num_row_groups))
            chunks = (group.column(n) for group in groups for n in range(group.num_columns))
            stated = (c.statistics for c in chunks if c.path_in_schema == leaf)
            return sum(s.null_count for s in stated if s and s.has_null_count)

    def count_rows(self) -> int:
        """How many rows it has."""
        import pyarrow.parquet as parquet

        with _read_errors():
            if self.is_parquet:
                return int(parquet.read_metadata(self.file).num_rows)
            return sum(batch.num_rows for batch in _arrow_batches(self.file))

    @property
    def several_images(self) -> bool:
        """Whether a row may hold a list of images."""
        return self.image is not None and _is_list(self.schema.field(self.image).type)

    @cached_property
    def facts(self) -> list[str]:
        """The columns that state title, licence, author …"""
        known = {one for names in FACT_COLUMNS.values() for one in names}
        every = [n for n in self.schema.names if plain_name(n) in known and n not in self.images]
        own = [n for n in self.schema.names if self.verdicts and n in RECORD_COLUMNS]
        return list(dict.fromkeys([*every, *self.verdicts, *own]))

    @cached_property
    def stated(self) -> list[str]:
        """Those among them of which captions are made: title and tags."""
        made = {*FACT_COLUMNS["title"], *FACT_COLUMNS["tags"]}
        return [name for name in self.facts if plain_name(name) in made]

    @cached_property
    def verdicts(self) -> list[str]:
        """The columns that may hold a verdict of ours."""
        names = tuple(n for n in self.schema.names if n not in self.images)
        return verdict_columns(names)

    @cached_property
    def status(self) -> str | None:
        """The column where img2dataset says whether it got the image; None: not its table."""
        ours = find_column(self.schema.names, ("error_message",))
        return find_column(self.schema.names, ("status",)) if ours else None

    def rows(self, columns: Sequence[str], wanted: Sequence[int] | None = None) -> Iterator[Row]:
        """The rows, without the columns that are not named; few at a time, if there are images.

        Args:
            columns: the columns to read.
            wanted: numbers of rows, ascending; the others are passed over. None: all rows.
        """
        size = IMAGES_AT_ONCE if set(columns) & set(self.images) else ROWS_AT_ONCE
        for first, batch in self._batches(columns, size, wanted):
            if wanted is None:
                yield from enumerate(batch.to_pylist(), first)
                continue
            for number in _between(wanted, first, batch.num_rows):
                yield number, batch.slice(number - first, 1).to_pylist()[0]

    def image_counts(self) -> Iterator[int]:
        """How many images each row holds, where it may hold several, read without their bytes."""
        import pyarrow.compute as compute
        import pyarrow.parquet as parquet

        column = self.image
        assert column is not None, "of a table with images"
        leaf = f"{column}.list.element.path"  # spares reading the bytes
        if self.is_parquet:
            with _read_errors(), parquet.ParquetFile(self.file) as file:
                schema = file.schema
                if leaf in (schema.column(n).path for n in range(len(schema))):
                    column = leaf
        for _, batch in self._batches([column], IMAGES_AT_ONCE, None):
            yield from compute.fill_null(compute.list_value_length(batch.column(0)), 0).to_pylist()

    def _batches(
        self, columns: Sequence[str], size: int, wanted: Sequence[int] | None
    ) -> "Iterator[tuple[int, pa.RecordBatch]]":
        """Rows a few at a time with the number of the first, those alone that may be wanted."""
        import pyarrow.parquet as parquet

        first = 0
        with _read_errors():
            if not self.is_parquet:
                for whole in _arrow_batches(self.file):
                    for start in range(0, whole.num_rows, size):
                        some = whole.slice(start, size)
                        if wanted is None or _between(wanted, first + start, some.num_rows):
                            yield first + start, some.select(list(columns))
                    first += whole.num_rows
                return
            # mapped, so that no group of rows is copied whole; its pages of about 1,024 rows are
            with parquet.ParquetFile(self.file, memory_map=True) as file:
                for group in range(file.num_row_groups):
                    count = file.metadata.row_group(group).num_rows
                    start = first
                    if wanted is None or _between(wanted, first, count):
                        for some in file.iter_batches(size, [group], list(columns)):
                            yield start, some
                            start += some.num_rows
                    first += count


def _arrow_batches(file: Path) -> "Iterator[pa.RecordBatch]":
    """The batches of an Arrow file, mapped into memory; none is read before it is asked for."""
    import pyarrow as pa

    with pa.memory_map(str(file)) as mapped:
        if mapped.read(6) == b"ARROW1":
            with pa.ipc.open_file(mapped) as random_access:
                for number in range(random_access.num_record_batches):
                    yield random_access.get_batch(number)
        else:
            mapped.seek(0)
            with pa.ipc.open_stream(mapped) as stream:
                yield from stream


def _between(wanted: Sequence[int], first: int, count: int) -> Sequence[int]:
    """Those of ascending numbers that lie in a range."""
    return wanted[bisect_left(wanted, first) : bisect_left(wanted, first + count)]


def key_prefix(file: Path, name: str) -> str:
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


def image_bytes(value: object) -> bytes | None:
    """The bytes of an image in a cell; None: it holds none."""
    held = value.get("bytes") if isinstance(value, dict) else value
    return held if isinstance(held, bytes) and held else None


def find_texts(value: object) -> object:
    """A cell as `cut_captions` takes it.

    Of an object the field that is named as a caption is taken, as in COCO's `{"raw": …, "tokens":
    …}`; bytes are UTF-8 text, or no text.
    """
    if isinstance(value, list):
        return [one for one in map(find_texts, value) if one is not None]
    if isinstance(value, dict):
        field = find_column(value, CAPTION_COLUMNS)
        return value if field is None else find_texts(value[field])
    if isinstance(value, bytes):
        with suppress(UnicodeDecodeError):
            return value.decode()
    return value


def _element_type(kind: "pa.DataType") -> "pa.DataType":
    """The type of what a list holds, or the type itself."""
    return kind.value_type if _is_list(kind) else kind


def _usual(name: str) -> str:
    """A column's name without a number behind it: `jpg_0` is one of several `jpg`."""
    return plain_name(name).rstrip("0123456789").rstrip("_")


def _is_list(kind: "pa.DataType") -> bool:
    from pyarrow import types

    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return any(fits(kind) for fits in (*lists, types.is_list_view, types.is_large_list_view))


def _is_text(kind: "pa.DataType") -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return any(
        fits(kind) for fits in (types.is_string, types.is_large_string, types.is_string_view)
    )


def _is_name(kind: "pa.DataType") -> bool:
    from pyarrow import types

    return _is_text(kind) or bool(types.is_integer(kind))


def _is_binary(kind: "pa.DataType") -> bool:
    from pyarrow import types

    kinds = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    return any(fits(kind) for fits in (*kinds, types.is_binary_view))


def _is_image(kind: "pa.DataType") -> bool:
    """Whether a type is that of an image as `datasets` stores it: its bytes, and perhaps a path."""
    from pyarrow import types

    return types.is_struct(kind) and any(
        kind.field(n).name == "bytes" and _is_binary(kind.field(n).type)
        for n in range(kind.num_fields)
    )


def _holds_bytes(kind: "pa.DataType") -> bool:
    """Whether a column's type is bytes, a list of them, or an object with some in it."""
    from pyarrow import types

    kind = _element_type(kind)
    if types.is_struct(kind):
        return any(_holds_bytes(kind.field(n).type) for n in range(kind.num_fields))
    return _is_binary(kind)


def _holds_texts(kind: "pa.DataType") -> bool:
    """Whether a column's type is text, lists of it, or objects with a field named as a caption."""
    from pyarrow import types

    kind = _element_type(kind)
    if types.is_struct(kind):
        fields = {kind.field(n).name: kind.field(n).type for n in range(kind.num_fields)}
        named = find_column(fields, CAPTION_COLUMNS)
        return named is not None and _holds_texts(fields[named])
    return _is_text(kind)
