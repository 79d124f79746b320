"""Hugging Face datasets on disk: what `datasets` saved or cached, and Parquet of any origin."""

import json
import os
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from curate.corpora.arrow import ArrowTable, BrokenFileError
from curate.corpora.columns import CAPTION_COLUMNS, find_column
from curate.corpora.data_file import DataFile
from curate.corpora.endings import ARROW_ENDINGS, IMAGE_ENDINGS, TAR_ENDINGS, is_image_name
from curate.corpora.notes import ReadNotes
from curate.corpora.partition import ImageCaptions, Partition
from curate.corpora.records import ImageRecord
from curate.corpora.walk import unlistable_error
from curate.errors import InputError

MANIFEST = "manifest.parquet"  # of a dataset folder of ours
_STATE = "state.json"  # names the Arrow files of a split; source: `Dataset.save_to_disk`
_SPLITS = "dataset_dict.json"  # names the splits; source: `DatasetDict.save_to_disk`
ADDRESS_COLUMNS = ("url", "image_url", "img_url", "uri", "link")  # of images elsewhere
_OF_THE_FORMAT = (_STATE, _SPLITS, "dataset_info.json", "dataset_infos.json")
_UNREAD_ENDINGS = (
    *(*IMAGE_ENDINGS, ".txt", ".caption", ".json", ".jsonl", ".csv", ".tsv"),
    *(*TAR_ENDINGS, *ARROW_ENDINGS),
)
_COLUMN_FIX = (
    f"rename the column with the captions to caption; known are {', '.join(CAPTION_COLUMNS)}"
)


@dataclass(frozen=True)
class HuggingFace:
    """Arrow and Parquet files: a row an image, with its captions, and its bytes perhaps.

    Rows of one split that name their image alike are of one image, with the captions of all.
    """

    path: Path  # a folder, or one of the files
    files: Sequence[Path]
    whole: bool = False  # a text of several lines is one caption
    kind: str = "hugging-face"

    @property
    def root(self) -> Path:
        """The folder that names of files start from."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def missing(self) -> list[str]:
        """What the folder names and does not hold."""
        return [f"{file}: data file is missing" for file in self.files if not file.is_file()]

    def partitions(self, prefix: str = "") -> list[Partition]:
        """A part for each data file, and one for what is not read.

        Raises:
            InputError: no data file is there, or none that can be read has captions.
        """
        files = self._files_there()
        _check_captions(files)
        unread = self._unread(files)
        told = Partition(partial(_tell_unread, unread), salt="unread", digest=" ".join(unread))
        return [*([told] if unread else ()), *(_partition(file, prefix) for file in files)]

    def records(
        self, notes: ReadNotes, keys: Collection[str] | None = None
    ) -> Iterator[ImageRecord]:
        """Every row's images: their bytes, or a file of this folder that the row names."""
        files = self._files_there()
        list(_tell_unread(self._unread(files), notes))
        repeated = _repeated_captions(files)
        first: dict[str, object] = {}  # of repeated names: the image that came first
        for file in files:
            with _note_broken(file, notes):
                for record in file.records(notes, keys):
                    if record.key in repeated:
                        image = record.file or (record.data and sha256(record.data).digest())
                        if record.key in first:
                            if image and image != first[record.key]:
                                notes.leave_out("other images of the same name", record.key)
                            continue
                        first[record.key] = image
                        record = replace(record, captions=repeated[record.key])
                    yield record

    def address_columns(self) -> tuple[str, str | None] | None:
        """The columns with addresses of images and with captions, where no image is at hand."""
        files = self._files_there()
        if any(_holds_or_names_images(file) for file in files):
            return None
        with suppress(BrokenFileError):
            table = files[0].table
            if address := find_column(table.schema.names, ADDRESS_COLUMNS):
                return address, next(iter(table.captions), None)
        return None

    def _files_there(self) -> list[DataFile]:
        there = [DataFile(self.root, f, self.whole) for f in self.files if f.is_file()]
        if not there:
            fix = "name the folder that save_to_disk wrote, or copy it again"
            raise InputError(self.files[0], "data file is missing", fix=fix)
        return there

    def _unread(self, files: Sequence[DataFile]) -> list[str]:
        """Images, texts, tars and other tables beside those read, by their paths in the folder."""
        if not self.path.is_dir():
            return []
        named = {place for file in files for place in (file.path, *file.files_beside())}
        beside = (Path(place, name) for place, names in _walk(self.path) for name in names)
        return [
            file.relative_to(self.path).as_posix()
            for file in beside
            if file.name.lower().endswith(_UNREAD_ENDINGS) and file.name not in _OF_THE_FORMAT
            if file not in named and not _is_own_work(file.name)
        ]


def _partition(file: DataFile, prefix: str) -> Partition:
    status = file.path.stat()
    salt = f"hugging-face {file.whole} {file.names_files} {prefix}"
    digest = f"{file.key_start} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    return Partition(partial(_read_captions, file, prefix), (file.path,), salt, digest)


def _read_captions(file: DataFile, prefix: str, notes: ReadNotes) -> Iterator[ImageCaptions]:
    """The images of a file; if it breaks, those before, and a sentence."""
    rows = captions = 0
    with _note_broken(file, notes):
        for key, said in file.captions(notes):
            rows, captions = rows + 1, captions + len(said)
            yield prefix + key, said
        if rows and not captions:
            notes.silent.append(f"{file.name} holds no caption")


def _tell_unread(unread: Sequence[str], notes: ReadNotes) -> Iterator[ImageCaptions]:
    """No image, but a word on each file that is none of the tables."""
    for name in unread:
        notes.leave_out("files beside the tables, which alone are read", name)
    yield from ()


@contextmanager
def _note_broken(file: DataFile, notes: ReadNotes) -> Iterator[None]:
    """One file that breaks is told of; the others count."""
    try:
        yield
    except BrokenFileError as error:
        notes.broken.append(f"{file.path}: cannot be read in full ({error})")


def _check_captions(files: Sequence[DataFile]) -> None:
    """Refuse data of which no file that can be read has a column with captions."""
    read = []
    for file in files:
        with suppress(BrokenFileError):
            if file.table.captions or file.table.label:
                return
            read.append(file)
    if read:
        names = ", ".join(read[0].table.schema.names) or "none"
        problem = f"no column with captions; its columns are {names}"
        raise InputError(read[0].path, problem, fix=_COLUMN_FIX)


def _repeated_captions(files: Sequence[DataFile]) -> dict[str, tuple[str, ...]]:
    """For each key that comes more than once, what all its rows say.

    Eight bytes are held for each row, and captions only of these keys.
    """
    hashes = array("q")
    for file in files:
        if file.names_images:
            with suppress(BrokenFileError):
                hashes.extend(hash(key) for key, _ in file.captions(ReadNotes()))
    values, counts = np.unique(np.frombuffer(hashes, np.int64), return_counts=True)
    often = set(values[counts > 1].tolist())
    found: dict[str, dict[str, None]] = {}
    for file in files if often else ():
        with suppress(BrokenFileError):
            for key, said in file.captions(ReadNotes()):
                if hash(key) in often:
                    found.setdefault(key, {}).update(dict.fromkeys(said))
    return {key: tuple(said) for key, said in found.items()}


def find_data_files(folder: Path) -> list[Path]:
    """The data files below a folder, ascending; none if it is something else.

    What `save_to_disk` wrote names its files; of other folders all Parquet and Arrow files count,
    but those that `datasets` kept of its own work (`cache-*.arrow`) and manifests of ours. Where
    images lie there, too, one of the files must hold images or name those beside it, or all have
    more than twice as many rows as there are images: a table may only repeat what stands beside
    images, and a picture may only adorn a README.

    Raises:
        InputError: a folder cannot be listed, or the state of a saved dataset cannot be read.
    """
    found: list[Path] = []
    images = 0
    for place, names in _walk(folder):
        found += _data_files(Path(place), names)
        images += sum(map(is_image_name, names))
    files = [DataFile(folder, file) for file in found]
    if any(map(_holds_or_names_images, files)) or sum(map(_count_rows, files)) > 2 * images:
        return sorted(found)
    return [] if images else sorted(found)


def _count_rows(file: DataFile) -> int:
    with suppress(BrokenFileError):
        return file.table.count_rows() if file.table.captions else 0
    return 0


def _holds_or_names_images(file: DataFile) -> bool:
    with suppress(BrokenFileError):
        return file.table.image is not None or file.names_files
    return False


def _walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder, linked ones once, with the names of its files, hidden ones not among them."""

    def refuse(error: OSError) -> None:
        raise unlistable_error(error)

    entered = set()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        if place != str(folder) and MANIFEST in names and is_manifest(Path(place, MANIFEST)):
            folders.clear()  # a dataset of ours, such as one that these images were taken into
            names = [MANIFEST]
        folders[:] = sorted(n for n in folders if not n.startswith((".", "_")))
        yield place, sorted(n for n in names if not n.startswith((".", "_")))


def _data_files(place: Path, names: Sequence[str]) -> list[Path]:
    """The data files that lie in a folder, or should."""
    arrow = [n for n in names if n.endswith(".arrow") and not _is_own_work(n)]
    if _STATE in names and (arrow or "dataset_info.json" in names):
        listed = _read_json(place / _STATE, "_data_files")
        return [place / Path(str(one["filename"])).name for one in listed if "filename" in one]
    tables = [n for n in names if n.lower().endswith(".parquet")]
    ours = [n for n in tables if n == MANIFEST and is_manifest(place / n)]
    found = [place / name for name in [*arrow, *tables] if name not in ours]
    if _SPLITS in names:
        states = (place / split / _STATE for split in _read_json(place / _SPLITS, "splits"))
        found += [state for state in states if not state.is_file()]
    return found


def _is_own_work(name: str) -> bool:
    """Whether `datasets` kept a file of its own work: the outcome of a `map`."""
    return name.startswith("cache-") and name.endswith(".arrow")


def _read_json(path: Path, field: str) -> list[Any]:
    try:
        return list(json.loads(path.read_bytes())[field])
    except (OSError, ValueError, LookupError, TypeError):
        fix = "save the dataset again with save_to_disk"
        raise InputError(path, "not readable", fix=fix) from None


def is_manifest(file: Path) -> bool:
    """Whether a Parquet file is a manifest of ours; one that cannot be read may be."""
    if file.suffix.lower() != ".parquet":
        return False
    try:
        return b"fubuki" in (ArrowTable(file).schema.metadata or {})
    except BrokenFileError:
        return True
