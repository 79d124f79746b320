"""A folder that an export fills: it holds just what the last export wrote, or says so.

`export.json` is written last and removed first, so a folder without it is no finished export; what
is being written is named in `.export-names` before it is there. A process killed at any moment
leaves a folder that the same command completes.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from curate.errors import InputError, disk_errors, storage_error
from curate.formats.exports import INDEX_NAME, VERSION, read_object
from curate.system.files import busy_error, file_sha256, remove_leftovers, write_bytes

NAMES_NAME = ".export-names"  # of the files that may be there while one is under way
STAGING_NAME = ".export-parts"  # folder of files that wait for their place
# endings of files that trainers take for images or captions
TRAINED_ON = frozenset(
    ".jpg .jpeg .png .webp .bmp .gif .tif .tiff .avif .jxl .txt .caption".split()
)


_UNDER_WAY = re.compile(  # of ours, while it is written
    rf"{re.escape(STAGING_NAME)}|\.({re.escape(INDEX_NAME)}|{re.escape(NAMES_NAME)})\..*\.part"
)


@dataclass(frozen=True)
class Staged:
    """A file that waits for its place."""

    path: Path
    sha256: str


@dataclass
class ExportFolder:
    """The folder, locked by `open_folder`."""

    path: Path
    old: dict[str, Any]  # the index of the export that is there; empty: none that is finished
    names: set[str]  # of the files that an export wrote, or may have written, relative to it
    staged: int = 0  # files that were staged, which numbers them

    @property
    def root(self) -> Path:
        """Where it lies, for the settings of trainers, which are started elsewhere."""
        return self.path.absolute()

    def stage(self, data: bytes) -> Staged:
        """Keep a file until its place is known.

        Raises:
            InputError: the disk refuses.
        """
        self.staged += 1
        path = self.path / STAGING_NAME / str(self.staged)
        with disk_errors(self.path):
            path.write_bytes(data)
        return Staged(path, hashlib.sha256(data).hexdigest())

    def publish(self, files: Mapping[str, Staged], index: Mapping[str, Any]) -> bool:
        """Put all files in their place, take away those of an earlier export; True: nothing to do.

        Raises:
            InputError: the disk refuses, or what is none of them lies beside them.
        """
        self.refuse_strangers(files)
        hashes = {name: staged.sha256 for name, staged in sorted(files.items())}
        text = _to_json({"version": VERSION, **index, "files": hashes})
        with disk_errors(self.path):
            right = {name for name, sha256 in hashes.items() if self._holds(name, sha256)}
            there = self.path / INDEX_NAME
            same = self.names == files.keys() == right
            if same and there.is_file() and there.read_bytes() == text:
                (self.path / NAMES_NAME).unlink(missing_ok=True)  # killed just before it was
                return True
            os.sync()  # what is put in place is whole, also after a power cut
            self._announce({*self.names, *files}, str(index["format"]))
            for name in files.keys() - right:
                self._place(name).parent.mkdir(parents=True, exist_ok=True)
                files[name].path.replace(self._place(name))
            self._remove(self.names - files.keys())
            write_bytes(there, text)
            (self.path / NAMES_NAME).unlink(missing_ok=True)
        return False

    def withdraw(self) -> int:
        """Take away all that an export wrote here; how many files.

        Raises:
            InputError: the disk refuses.
        """
        there = [name for name in self.names if self._place(name).is_file()]
        if not self.names:
            return 0
        with disk_errors(self.path):
            self._announce(self.names, str(self.old.get("format", "")))
            self._remove(self.names)
            (self.path / NAMES_NAME).unlink()
        return len(there)

    def refuse_strangers(self, files: Iterable[str] = ()) -> None:
        """Be sure that a trainer finds no image or caption beside `files` that is none of them.

        Raises:
            InputError: there is one, or a link in place of a folder.
        """
        places = {PurePosixPath(name).parent for name in (*self.names, *files)}
        away = f"move it away, such as into {self.root.parent}"
        for place in places:
            if self._place(str(place)).is_symlink() and place.parts:
                raise InputError(self.path / place, "is a link, not a folder", fix=away)
        for name in self.others():
            place = PurePosixPath(name)
            if place.parent in places and place.suffix.lower() in TRAINED_ON:
                problem = "is not of this export, and a trainer would take it for part of it"
                raise InputError(self.path / name, problem, fix=away)

    def others(self) -> list[str]:
        """Files there that no export wrote, such as a trainer's cache, by name."""
        return sorted(_list_files(self.path) - self.names - {INDEX_NAME, NAMES_NAME})

    def _announce(self, names: Iterable[str], format: str) -> None:
        """From here it is no finished export, until the index is there again."""
        write_bytes(self.path / NAMES_NAME, _to_json({"format": format, "files": sorted(names)}))
        (self.path / INDEX_NAME).unlink(missing_ok=True)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            file = self._place(name)
            file.unlink(missing_ok=True)
            with suppress(OSError):  # it holds more
                if file.parent != self.path:
                    file.parent.rmdir()

    def _holds(self, name: str, sha256: str) -> bool:
        file = self._place(name)
        return file.is_file() and not file.is_symlink() and file_sha256(file) == sha256

    def _place(self, name: str) -> Path:
        return self.path.joinpath(*PurePosixPath(name).parts)


@contextmanager
def open_folder(path: Path, format: str, elsewhere: str) -> Iterator[ExportFolder]:
    """The folder for an export, made if need be, held for one process; nothing waits in it after.

    Args:
        path: where it lies, or will.
        format: of the export that is to come.
        elsewhere: what to type to export into another folder.

    Raises:
        InputError: something else lies there, or what a trainer would take for part of the export.
        UsageError: another command is exporting into it.
    """
    _read_state(path, format, elsewhere)  # before anything is made
    made = not path.exists()
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise busy_error(path) from None
    folder, staging = ExportFolder(path, {}, set()), path / STAGING_NAME
    try:
        folder.old, folder.names = _read_state(path, format, elsewhere)
        remove_leftovers(path)
        folder.refuse_strangers()
        with disk_errors(path):
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir()
        yield folder
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        os.close(handle)
        with suppress(OSError):  # nothing came of it
            if made or folder.names:
                path.rmdir()


def _read_state(path: Path, format: str, elsewhere: str) -> tuple[dict[str, Any], set[str]]:
    """The index there, and the files that an export wrote; refuse a folder that is none."""
    if path.exists() and not path.is_dir():
        raise InputError(path, "cannot be a folder, for a file stands there", fix=elsewhere)
    try:
        there = sorted(p.name for p in path.iterdir() if not _UNDER_WAY.fullmatch(p.name))
    except FileNotFoundError:
        return {}, set()
    except OSError as error:
        raise storage_error(path, error) from None
    index, names = (read_object(path / name) for name in (INDEX_NAME, NAMES_NAME))
    if there and index.get("version") != VERSION and not names:
        shown = ", ".join([*there[:3], *(["…"] if len(there) > 3 else [])])
        raise InputError(path, f"holds something else ({shown})", fix=elsewhere)
    was = (index or names).get("format", format)
    if was not in (format, ""):
        raise InputError(path, f"holds an export as {was}", fix=elsewhere)
    return index, _named_files(index) | _named_files(names)


def _named_files(found: Mapping[str, Any]) -> set[str]:
    """The files that an index, or what is under way, names; somebody else may have written it."""
    files = found.get("files")
    return {n for n in files if _is_inside(n)} if isinstance(files, dict | list) else set()


def _is_inside(name: object) -> bool:
    """Whether what stands in a file is a name that leads nowhere but into the folder."""
    if not isinstance(name, str):
        return False
    parts = PurePosixPath(name).parts
    return 0 < len(parts) <= 2 and not {"..", "/"} & {*parts} and "\0" not in name


def _list_files(path: Path) -> set[str]:
    """Files of a folder and of the folders in it, links included, by their POSIX path from it."""
    found: set[str] = set()
    for root, folders, names in os.walk(path):
        inside = Path(root)
        folders[:] = [name for name in folders if name != STAGING_NAME]
        found |= {(inside / name).relative_to(path).as_posix() for name in names}
    return found


def _to_json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
