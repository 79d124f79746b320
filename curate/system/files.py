"""Files that are whole or absent: written beside the old one, synced, renamed."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from curate.errors import InputError, UsageError, disk_errors, storage_error


@contextmanager
def atomic_write(path: Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; on success sync it and rename it over `path`.

    Without `sync` the file survives the death of the process, but not a power cut.

    Raises:
        InputError: the disk is full, read-only or not ours; the old file stays as it was.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            part.chmod(0o644)
            part.replace(path)
            if sync:
                folder = os.open(path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        finally:
            part.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Replace `path` by `data` in one step."""
    with atomic_write(path, sync=sync) as file:
        file.write(data)


def printable_path(name: str) -> str:
    """A path as text; bytes that are not UTF-8 as \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold `folder` for one writing command, made if need be; the system frees it when we die.

    What was made for that, and in which nothing was written, is gone afterwards.

    Raises:
        UsageError: another command is at work there.
        InputError: the folder cannot be made or written.
    """
    path = folder / ".lock"
    new = [place for place in (path, folder, *folder.parents) if not place.exists()]
    with _open_lock(path) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy_error(folder) from None
        if not _is_still(path, lock):  # whoever held it has taken it away since it was opened
            raise busy_error(folder)
        try:
            remove_leftovers(folder)
            yield
        finally:
            _remove_unused(path, new)


def _open_lock(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644))
    except (FileExistsError, NotADirectoryError):
        problem = "cannot be a folder, for a file stands there"
        raise InputError(path.parent, problem, fix="name another folder") from None
    except OSError as error:
        raise storage_error(path.parent, error) from None


def busy_error(folder: Path) -> UsageError:
    """Another command holds the lock of `folder`."""
    return UsageError(folder, "another command is writing here", fix="wait for it to end")


def _is_still(path: Path, lock: IO[str]) -> bool:
    with suppress(OSError):
        return path.stat().st_ino == os.fstat(lock.fileno()).st_ino
    return False


def _remove_unused(lock: Path, new: Sequence[Path]) -> None:
    """Take a new lock away where nothing stands beside it, and the new folders that are empty."""
    if lock in new:
        with suppress(OSError):
            if [entry.name for entry in lock.parent.iterdir()] == [lock.name]:
                lock.unlink()
                for folder in new[1:]:
                    folder.rmdir()


def remove_leftovers(folder: Path) -> None:
    """Delete the `.NAME.*.part` files that a killed process left in `folder`."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)
