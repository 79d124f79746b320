"""What lies in a folder and below it: each file once, linked folders entered once."""

import errno
import hashlib
import os
import shlex
import stat
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from curate.corpora.endings import ARROW_ENDINGS, STORED_ENDINGS, TAR_ENDINGS, is_tar
from curate.errors import InputError
from curate.formats.shards import INDEX_NAME

_OURS = {"manifest.parquet", "journal.jsonl"}  # of a dataset folder
_SAVED = {"dataset_info.json", "dataset_dict.json", "state.json"}  # that `datasets` writes
_LARGEST = (1 << 63) - 1  # number in an array


@dataclass
class Walk:
    """All that was met. Names are POSIX paths from the folder, lossless if they are not UTF-8."""

    # "" or "a/b/" -> names of the files there, and their bytes; -1: no regular file
    listed: dict[str, tuple[list[str], Sequence[int]]] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)  # files and folders, these not entered
    dangling: list[str] = field(default_factory=list)  # links to nothing
    repeated: list[str] = field(default_factory=list)  # links to folders that are met anyway
    # folders that another reader reads, not entered -> "dataset" of ours, "hf" or "shards"
    datasets: dict[str, str] = field(default_factory=dict)
    other_data: bool = False  # whether there are tars, tables or datasets
    digest: str = ""  # hexadecimal, of all names, sizes, times and inodes

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file by its path; -1 of what is no regular file."""
        return {
            prefix + name: size
            for prefix, (names, sizes) in self.listed.items()
            for name, size in zip(names, sizes, strict=True)
        }


def walk(root: Path, without: Path | None = None) -> Walk:
    """List a folder and all below it, but for what is hidden and the folder `without`.

    A linked folder is entered once all that is no link has been, unless it was entered before or
    holds the folder itself.

    Raises:
        InputError: a folder cannot be listed.
    """
    found, digest, base = Walk(), hashlib.sha256(), os.fspath(root)
    here = root.resolve()
    entered = {_identity(place) for place in here.parents}
    skipped = _identity(without) if without is not None and without.is_dir() else None
    queue, linked = [""], list[str]()
    while queue or linked:
        is_link = not queue
        prefix = linked.pop(0) if is_link else queue.pop(0)
        place = f"{base}/{prefix}" if prefix else base
        identity = _identity(place)
        if identity == skipped:
            continue
        if identity in entered:
            found.repeated.append(prefix.rstrip("/"))
            continue
        entered.add(identity)
        folders, links = _list_folder(place, prefix, found, digest)
        queue += folders
        linked += links
    found.digest = digest.hexdigest()
    found.other_data = found.other_data or bool(found.datasets)
    return found


def unlistable_error(error: OSError) -> InputError:
    """Turn a folder that cannot be listed into a sentence."""
    place = str(error.filename)
    problem = f"cannot be listed ({error.strerror})"
    return InputError(place, problem, fix=f"chmod u+rx {shlex.quote(place)}")


def _identity(place: Path | str) -> tuple[int, int]:
    """Device and inode; where it is gone, or not ours to look at, none."""
    try:
        status = os.stat(place)  # noqa: PTH116 a hundred thousand of them
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _list_folder(
    place: str, prefix: str, found: Walk, digest: "hashlib._Hash"
) -> tuple[list[str], list[str]]:
    """Take in the files of a folder; give the folders in it, and the links to folders."""
    names: list[str] = []
    numbers = array("q")  # of each file: bytes, times, inode
    hidden: list[str] = []
    dangling: list[str] = []
    folders: list[str] = []
    links: list[str] = []
    try:
        # asked of the open folder, as each name need not be looked up from the root; entries are
        # not kept, since each holds what `stat` said
        with _opened(place) as handle, os.scandir(handle) as listed:
            for entry in listed:
                name = entry.name
                if name[0] == "." or name == "__MACOSX":
                    hidden.append(prefix + name)
                    continue
                try:
                    status = entry.stat()
                except OSError:
                    dangling.append(prefix + name)
                    continue
                size = status.st_size
                if not stat.S_ISREG(status.st_mode):
                    if stat.S_ISDIR(status.st_mode):
                        (links if entry.is_symlink() else folders).append(f"{prefix}{name}/")
                        continue
                    size = -1
                names.append(name)
                times = status.st_mtime_ns, status.st_ctime_ns
                numbers.extend((size, *times, status.st_ino & _LARGEST))
    except OSError as error:
        raise unlistable_error(error) from None
    for every in (hidden, dangling, folders, links):
        every.sort()
    # in the order of the folder itself, which stays while the folder does
    told = "\0".join(["", *names, prefix, *hidden, *dangling, *folders, *links])
    digest.update(told.encode("utf-8", "surrogateescape"))
    digest.update(numbers.tobytes())
    found.hidden += hidden
    found.dangling += dangling
    if prefix and (kind := _dataset_kind(names)):
        found.datasets[prefix.rstrip("/")] = kind
        return [], []
    found.other_data = found.other_data or _names_other_data(told.lower())
    found.listed[prefix] = names, numbers[0::4]
    return folders, links


@contextmanager
def _opened(place: str) -> Iterator[int]:
    handle = os.open(place, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def _dataset_kind(found: Collection[str]) -> str | None:
    """What a folder inside of a folder is, where it is to be read by itself."""
    names = set(found)
    if not _OURS.isdisjoint(names):
        return "dataset"
    if any(name.lower().endswith(STORED_ENDINGS) for name in names):
        return None
    if not _SAVED.isdisjoint(names):
        return "hf"
    return "shards" if INDEX_NAME in names and any(map(is_tar, names)) else None


def _names_other_data(told: str) -> bool:
    """Whether names, each behind a zero byte and before one, are those of tars or tables."""
    return any(f"{ending}\0" in told for ending in (*TAR_ENDINGS, *ARROW_ENDINGS)) or any(
        f"\0{name}\0" in told for name in _SAVED
    )


def check_is_file(path: Path) -> None:
    """Refuse what would be waited for, a pipe or a device, or read without end.

    Raises:
        OSError: it is there and no regular file, or it cannot be looked at.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "no regular file", os.fspath(path))
