"""What lies in a folder and below it: each file once, linked folders entered once."""

import hashlib
import os
import shlex
import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from curate.errors import InputError
from curate.formats.shards import INDEX_NAME

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz")
_OURS = {"manifest.parquet", "journal.jsonl"}  # of a dataset folder
_SAVED = {"dataset_info.json", "dataset_dict.json", "state.json"}  # that `datasets` writes
_IMAGES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass
class Walk:
    """All that was met. Names are POSIX paths from the folder, lossless if they are not UTF-8."""

    folders: dict[str, list[str]] = field(default_factory=dict)  # "" or "a/b/" -> names of files
    sizes: dict[str, int] = field(default_factory=dict)  # file -> bytes; -1: no regular file
    hidden: list[str] = field(default_factory=list)  # files and folders, these not entered
    dangling: list[str] = field(default_factory=list)  # links to nothing
    repeated: list[str] = field(default_factory=list)  # links to folders that are met anyway
    # folders that another reader reads, not entered -> "dataset" of ours, "hf" or "shards"
    datasets: dict[str, str] = field(default_factory=dict)
    digest: str = ""  # hexadecimal, of all names, sizes, times and inodes


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
    return found


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
    try:
        with os.scandir(place) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        problem = f"cannot be listed ({error.strerror})"
        raise InputError(place, problem, fix=f"chmod u+rx {shlex.quote(place)}") from None
    names: list[str] = []
    folders: list[str] = []
    links: list[str] = []
    facts: list[str] = [prefix]
    for entry in entries:
        name = entry.name
        if name[0] == "." or name == "__MACOSX":
            found.hidden.append(prefix + name)
            facts.append(name)
        elif entry.is_dir(follow_symlinks=False):
            folders.append(f"{prefix}{name}/")
        else:
            try:
                status = entry.stat()
            except OSError:
                found.dangling.append(prefix + name)
                facts.append(name)
                continue
            if stat.S_ISDIR(status.st_mode):
                links.append(f"{prefix}{name}/")
                facts.append(name)
                continue
            names.append(name)
            size = status.st_size if stat.S_ISREG(status.st_mode) else -1
            found.sizes[prefix + name] = size
            facts.append(f"{name}/{size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}")
    digest.update("\0".join(facts).encode("utf-8", "surrogateescape"))
    if prefix and (kind := _dataset_kind(set(names))):
        found.datasets[prefix.rstrip("/")] = kind
        for name in names:
            del found.sizes[prefix + name]
        return [], []
    found.folders[prefix] = names
    return folders, links


def _dataset_kind(names: Collection[str]) -> str | None:
    """What a folder inside of a folder is, where it is to be read by itself."""
    if not _OURS.isdisjoint(names):
        return "dataset"
    if any(name.lower().endswith(_IMAGES) for name in names):
        return None
    if not _SAVED.isdisjoint(names):
        return "hf"
    return "shards" if INDEX_NAME in names and any(map(is_tar, names)) else None


def is_tar(name: str) -> bool:
    """Whether a file is a tar by its name."""
    return name.lower().endswith(TAR_ENDINGS)
