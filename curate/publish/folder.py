"""A published folder: written beside, then renamed, so that it is the old one or the new one.

What a run under way writes lies in `.NAME.part` beside it, and for a moment the old folder in
`.NAME.old`. A process killed at any moment leaves a folder that is whole, or none and both of
these, of which the same command makes it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from curate.errors import InputError, UsageError, disk_errors
from curate.system.files import busy_error, file_sha256

CHECKSUMS_NAME = "checksums.sha256"
README_NAME, LICENCES_NAME = "README.md", "LICENSES/README.md"
# of hubs' tools, which they leave there: neither published by us, nor lost
FOREIGN_NAMES = (".git", ".gitattributes", ".cache")
_MARKS = ("croissant.json", "metadata.parquet")  # files by which a folder is known as published


@dataclass
class PublishedFolder:
    """The folder, and the one beside it in which the next is made; held for one process."""

    path: Path
    staging: Path
    old: dict[str, str]  # file -> SHA-256 of what is there; empty: nothing
    hashes: dict[str, str] = field(default_factory=dict)  # of what was made, if already known

    def place(self, name: str) -> Path:
        """Where a file is to be written, by its path in the folder."""
        file = self.staging / name
        with disk_errors(self.path):
            file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def write(self, name: str, text: str) -> None:
        """Write a text; half characters that strangers wrote become question marks."""
        file = self.place(name)
        with disk_errors(self.path):
            file.write_bytes(text.encode("utf-8", "replace"))

    def add_hashes(self) -> None:
        """Hash what was written since."""
        for name in list_files(self.staging):
            if name not in self.hashes:
                self.hashes[name] = file_sha256(self.staging / name)

    def replace(self) -> bool:
        """Put the new folder in the place of the old one; True: that held the same already.

        Files that did not change are the same files as before, not copies.

        Raises:
            InputError: the disk refuses.
        """
        with disk_errors(self.path):
            same = {n for n, sha256 in self.hashes.items() if self._holds(n, sha256)}
            if same == self.hashes.keys() == self.old.keys():
                return True
            for name in same:
                (self.staging / name).unlink()
                os.link(self.path / name, self.staging / name)
            os.sync()  # what takes the place of the old is whole, also after a power cut
            if self.path.exists():
                self.path.rename(_old_beside(self.path))
            _end_swap(self.path)
        return False

    def _holds(self, name: str, sha256: str) -> bool:
        file = self.path / name
        if self.old.get(name) != sha256 or file.is_symlink() or not file.is_file():
            return False
        return file_sha256(file) == sha256


@contextmanager
def open_published(path: Path, elsewhere: str) -> Iterator[PublishedFolder]:
    """The folder to publish into; nothing lies beside it afterwards.

    Args:
        path: where it lies, or will.
        elsewhere: what to type to publish into another one.

    Raises:
        InputError: something else lies there, or the disk refuses.
        UsageError: another command is publishing into it.
    """
    if path.name in ("", ".."):
        raise UsageError(path, "is no name for a new folder", fix=elsewhere)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    with _hold(beside, path):
        with disk_errors(path):
            if _old_beside(path).exists():  # killed in the middle of `replace`
                _end_swap(path)
                beside.mkdir(exist_ok=True)
        old = _read_old(path, elsewhere)
        try:
            _clear(beside)
            yield PublishedFolder(path, beside, old)
        finally:
            if beside.exists():
                shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _hold(beside: Path, path: Path) -> Iterator[None]:
    with disk_errors(path):
        beside.mkdir(exist_ok=True)
        handle = os.open(beside, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise busy_error(path) from None
    finally:
        os.close(handle)


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _end_swap(path: Path) -> None:
    """From the moment that the old folder has its other name: put the new one there, and tidy."""
    beside, old = _beside(path), _old_beside(path)
    if not path.exists():
        for name in FOREIGN_NAMES:
            if (old / name).exists():
                (old / name).rename(beside / name)
        beside.rename(path)
    if old.exists():
        shutil.rmtree(old)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _old_beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _read_old(path: Path, elsewhere: str) -> dict[str, str]:
    """What is published there, by its own word; refuse a folder that is something else."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        problem = (
            "is a link" if path.is_symlink() else "cannot be a folder, for a file stands there"
        )
        raise InputError(path, problem, fix=elsewhere)
    there = set(list_files(path)) - {CHECKSUMS_NAME} if path.exists() else set()
    listed: dict[str, str] = {}
    with suppress(OSError, ValueError):
        listed = parse_checksums((path / CHECKSUMS_NAME).read_text("utf-8"))
    if others := sorted(there - (listed.keys() if listed.keys() >= {*_MARKS} else set())):
        shown = ", ".join([*others[:3], *(["…"] if len(others) > 3 else [])])
        raise InputError(path, f"holds what was not published ({shown})", fix=elsewhere)
    return listed


def list_files(folder: Path) -> list[str]:
    """Files of a folder by their POSIX path from it, links included, but for `FOREIGN_NAMES`."""
    found = []
    for root, folders, names in os.walk(folder):
        inside = Path(root)
        links = [name for name in folders if (inside / name).is_symlink()]
        folders[:] = [name for name in folders if name not in links]
        if inside == folder:
            folders[:] = [name for name in folders if name not in FOREIGN_NAMES]
            names = [name for name in names if name not in FOREIGN_NAMES]
        found += [(inside / name).relative_to(folder).as_posix() for name in (*names, *links)]
    return sorted(found)


def format_checksums(hashes: dict[str, str]) -> str:
    """What `sha256sum -c` reads. Source: GNU coreutils, "sha2 utilities"."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(hashes.items()))


def parse_checksums(text: str) -> dict[str, str]:
    """File -> SHA-256.

    Raises:
        ValueError: a line is none of `format_checksums`, or leads out of the folder.
    """
    found = {}
    for line in text.splitlines():
        sha256, _, name = line.partition("  ")
        if len(sha256) != 64 or not name or name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"not a checksum: {line!r}")
        found[name] = sha256
    return found
