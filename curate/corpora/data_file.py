"""One Arrow or Parquet file as images with captions: what each row says, and where its image is."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

from curate.corpora.arrow import ArrowTable, BrokenFileError, find_texts, image_bytes, key_prefix
from curate.corpora.columns import LineCuts, plain_name, read_captions, read_facts
from curate.corpora.naming import stated_captions
from curate.corpora.notes import MOST_NAMED, ReadNotes
from curate.corpora.partition import ImageCaptions
from curate.corpora.records import ImageRecord, describe_reason
from curate.corpora.statements import find_denial, find_record, read_statements

GOT = "success"  # what img2dataset's column `status` says of an image that it got
_SEVERAL_LINES = "texts of several lines, a caption a line; --captions whole makes each one caption"
_NOT_AT_HAND = "images not at hand, since the table does not hold them"


class _RowText(NamedTuple):
    """A row, and what it says of its images."""

    number: int
    keys: list[str]  # of its images
    captions: tuple[str, ...]
    made: int  # so many captions, the last, are made of title and tags
    denied: str | None  # what forbids its images, as in `ImageRecord.reason`
    values: Mapping[str, Any]  # by column


@dataclass(frozen=True)
class DataFile:
    """A file with a row an image, or several; reading it may raise `arrow.BrokenFileError`."""

    root: Path  # folder that its name, and the names of images, start from
    path: Path
    whole: bool = False  # a text of several lines is one caption

    @cached_property
    def table(self) -> ArrowTable:
        """Its columns and rows."""
        return ArrowTable(self.path)

    @property
    def name(self) -> str:
        """Its path in the folder."""
        return self.path.relative_to(self.root).as_posix()

    @cached_property
    def key_start(self) -> str:
        """What keys of rows without a name begin with."""
        return key_prefix(self.path, self.name)

    @property
    def names_images(self) -> bool:
        """Whether a column names the images, so that a name may come twice."""
        with suppress(BrokenFileError):
            return self.table.key is not None
        return False

    @cached_property
    def names_files(self) -> bool:
        """Whether its first row names a file of the folder instead of holding its image."""
        with suppress(BrokenFileError):
            for _, values in self.table.rows(self._image_columns()):
                return self._find_file(values) is not None
        return False

    def files_beside(self) -> Iterator[Path]:
        """The files of the folder that are images of its rows."""
        with suppress(BrokenFileError):
            for _, values in self.table.rows(self._image_columns()) if self.names_files else ():
                if file := self._find_file(values):
                    yield file

    def captions(self, notes: ReadNotes) -> Iterator[ImageCaptions]:
        """Each image's key and captions, no image read."""
        columns = [*self._caption_columns(), *self.table.verdicts]
        for row in self._rows(notes, columns):
            if row.denied is None:
                yield from ((key, row.captions) for key in row.keys)

    def _denial(self, values: Mapping[str, Any]) -> str | None:
        """What forbids the images of a row."""
        stated = {name: values[name] for name in self.table.verdicts}
        record = find_record(stated) if stated else None
        return None if record is None else find_denial({"record": record})

    def records(
        self, notes: ReadNotes, keys: Collection[str] | None = None
    ) -> Iterator[ImageRecord]:
        """Each image; a row's images are read when its turn comes, and only if it is wanted."""
        table, wanted = self.table, None
        light = [*self._caption_columns(), *self.table.verdicts]
        if keys is not None:
            rows = self._rows(ReadNotes(), light)
            wanted = [row.number for row in rows if any(key in keys for key in row.keys)]
        columns = list(dict.fromkeys([*light, *self._image_columns(), *table.facts]))
        for row in self._rows(notes, columns, wanted):
            for place, key in enumerate(row.keys):
                if keys is None or key in keys:
                    yield self._record(key, row, place)

    def _record(self, key: str, row: _RowText, place: int) -> ImageRecord:
        """The image at a place of its row."""
        cell = _cells(row.values, self.table.image)[place]
        data = image_bytes(cell)
        named = self._name_of(cell, row.values) or key
        file = None if data else self._file_beside(named)
        absence = None if data or file else f"missing:{named}"
        reason, facts = row.denied or absence, self._facts(row.values)
        return ImageRecord(
            key, row.captions, file, data=data, reason=reason, facts=facts, made=row.made
        )

    def _facts(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What a row states beside its captions."""
        stated = {name: values[name] for name in self.table.facts}
        return read_statements(stated, ReadNotes(), "", wanted=())[1]

    def _rows(
        self, notes: ReadNotes, columns: Sequence[str], wanted: Sequence[int] | None = None
    ) -> Iterator[_RowText]:
        """The rows that are images; the others are left out, by reason and name."""
        table, cuts = self.table, LineCuts()
        counts: Iterator[int] = repeat(1)
        if table.several_images and table.image not in columns:
            counts = iter(table.image_counts())
        for (number, values), count in zip(table.rows(columns, wanted), counts, strict=False):
            key = self._key(number, values[table.key] if table.key else None)
            if table.status and values[table.status] != GOT:
                notes.leave_out("failed downloads", key)
                continue
            if table.image is not None and table.image in columns:
                count = _count(values[table.image])
            keys = [key] if count < 2 else [f"{key}/{place}" for place in range(count)]
            if count > 1:
                notes.remark("rows with several images, each with all captions of its row", key)
            if table.several_images and not count:
                notes.remark(_NOT_AT_HAND, key)
            if table.image is None and not self.names_files:
                notes.remark(_NOT_AT_HAND, key)
            if denied := self._denial(values):
                notes.leave_out(describe_reason(denied), key, len(keys))
                yield _RowText(number, keys, (), 0, denied, values)
                continue
            texts = self._read_captions(key, values, notes, cuts)
            stated = {name: values[name] for name in self.table.stated}
            made = stated_captions(texts, read_facts(stated), notes) if stated else ()
            yield _RowText(number, keys, texts + made, len(made), None, values)
        if table.absent_images and not table.status and not self.names_files:
            notes.remark(_NOT_AT_HAND, count=table.absent_images)
        for column in table.images[1:]:
            notes.remark("columns with further images, which are not used", f"{self.name} {column}")
        if cuts.texts:
            example = f'{self.name}: "{cuts.example[0][:60]}" and "{cuts.example[1][:60]}"'
            notes.remark(_SEVERAL_LINES, example, cuts.texts)

    def _read_captions(
        self, key: str, values: Mapping[str, Any], notes: ReadNotes, cuts: LineCuts
    ) -> tuple[str, ...]:
        """The captions of a row; what is no text is left out and named."""
        table = self.table
        texts = {name: find_texts(values[name]) for name in table.captions}
        if texts or not table.label:
            wanted = [plain_name(name) for name in table.captions]
            return read_captions(texts, notes, key, whole=self.whole, cuts=cuts, wanted=wanted)
        column, names = table.label
        if not isinstance(values[column], int) or values[column] not in range(len(names)):
            return ()
        some = ", ".join([*names[:MOST_NAMED], *(["…"] if len(names) > MOST_NAMED else [])])
        notes.remark(f"captions that are the names of classes, by the column {column}: {some}")
        return (names[values[column]].replace("_", " "),)

    def _caption_columns(self) -> list[str]:
        """The columns that say what an image is called and what is said of it."""
        table = self.table
        label = [table.label[0]] if table.label and not table.captions else []
        named = [name for name in (table.key, table.status) if name]
        return list(dict.fromkeys([*table.captions, *table.stated, *label, *named]))

    def _key(self, number: int, name: object) -> str:
        return f"{self.key_start}{number}" if name is None else f"{_split_prefix(self.name)}{name}"

    def _image_columns(self) -> list[str]:
        """The columns that hold images, or name files with them."""
        return [name for name in (self.table.image, self.table.key) if name]

    def _name_of(self, cell: object, values: Mapping[str, Any]) -> str | None:
        """What a row calls its image, where it does not hold it."""
        path = cell.get("path") if isinstance(cell, dict) else None
        name = path or (values[self.table.key] if self.table.key else None)
        return None if name is None else str(name)

    def _find_file(self, values: Mapping[str, Any]) -> Path | None:
        """The file that a row names and whose bytes it does not hold."""
        cell = _cells(values, self.table.image)[0]
        named = self._name_of(cell, values)
        return self._file_beside(named) if named and not image_bytes(cell) else None

    def _file_beside(self, name: str) -> Path | None:
        """A file of the folder by the name in a row; an address elsewhere is never followed."""
        with suppress(OSError, ValueError):
            for place in () if "://" in name else (self.path.parent / name, self.root / name):
                if place.is_file() and place.resolve().is_relative_to(self.root.resolve()):
                    return place
        return None


def _count(cell: object) -> int:
    """How many images a cell holds, of a column of them or of lists of them."""
    return len(cell) if isinstance(cell, list) else cell is not None


def _cells(values: Mapping[str, Any], column: str | None) -> Sequence[object]:
    """What a row holds as images, at least one cell."""
    cell = values[column] if column else None
    return (cell or [None]) if isinstance(cell, list) else [cell]


def _split_prefix(name: str) -> str:
    """What keys begin with: `train/` for `train/data-0.arrow` and for `data/train-0.parquet`.

    Names of images may start anew in every split.
    """
    folder, _, file = name.rpartition("/")
    stem = file.partition(".")[0]
    within = stem.partition("-")[0] if "-" in stem and not stem.startswith("data-") else ""
    named = [] if folder == "data" and within else [folder]
    return "".join(f"{part}/" for part in (*named, within) if part)
