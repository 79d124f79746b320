"""Files that are whole or absent: written beside the old one, synced, renamed."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold `folder` for one writing command, made if need be; the system frees it when we die.

    Raises:
        UsageError: another command is at work there.
        InputError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.fdopen(os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644))
    except (FileExistsError, NotADirectoryError):
        problem = "cannot be a folder, for a file stands there"
        raise InputError(folder, problem, fix="name another folder") from None
    except OSError as error:
        raise storage_error(folder, error) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = "another command is writing here"
            raise UsageError(folder, problem, fix="wait for it to end") from None
        remove_leftovers(folder)
        yield


def remove_leftovers(folder: Path) -> None:
    """Delete the `.NAME.*.part` files that a killed process left in `folder`."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)
