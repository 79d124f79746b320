"""The cache of index files: whole or not there, and never believed when damaged.

A file is named by the content that was counted, by the rules that cut it into words, and by the
hash of its own bytes.
"""

import fcntl
import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from curate.index import segment
from curate.system.files import file_sha256

MAX_CACHE_BYTES = 4 << 30  # bytes kept in the user's folder; files in use are kept beyond it
_HASHED_MODULES = (  # what makes captions, cuts them into words, and which lemmas these have
    *("build.py", "clean.py", "lemmas.py", "scripts.py", "segment.py", "tokens.py"),
    *("word_lists.py", "wordnet.py"),
)
_WORD_LIST_SUFFIXES = (".txt", ".zip", ".gz", ".tsv", ".json")  # of words


def cache_folder() -> Path:
    """The user's folder for indexes of shards and lists, which stay as they are."""
    kept = os.environ.get("XDG_CACHE_HOME") or ""
    base = Path(kept) if Path(kept).is_absolute() else Path.home() / ".cache"
    return base / "fubuki" / "words"


@cache
def _rules_hash() -> str:
    """Hash of all that decides what is counted: an index by other rules is not believed."""
    whole = hashlib.sha256(f"{segment.SEGMENT_RULES} {sqlite3.sqlite_version}".encode())
    whole.update(version("simplemma").encode())
    for package in ("curate.captions", "curate.corpora", "curate.index", "curate.text"):
        for file in sorted(resources.files(package).iterdir(), key=lambda entry: entry.name):
            reads = package == "curate.corpora" and file.name.endswith(".py")
            if reads or file.name in _HASHED_MODULES or file.name.endswith(_WORD_LIST_SUFFIXES):
                whole.update(file.read_bytes())
    return whole.hexdigest()[:8]


def find_kept(place: Path, name: str) -> list[segment.Segment] | None:
    """The index of a part, if all its files are there and whole; damaged ones are removed."""
    found: list[segment.Segment] = []
    while True:
        start = f"words-{_rules_hash()}-{name}-{len(found)}"
        whole = []
        for path in sorted(place.glob(f"{start}-*.sqlite")):
            with suppress(OSError):
                if file_sha256(path)[:16] == path.stem.rpartition("-")[2]:
                    whole.append(path)
                else:
                    path.unlink()
        if not whole:
            return None
        found.append(segment.open_segment(whole[0]))
        if not found[-1].facts["more"]:
            return found


@contextmanager
def temporary_file(place: Path) -> Iterator[Path]:
    """A name beside the kept files for a database that is being written, held until done.

    Raises:
        OSError: nothing can be written there.
    """
    place.mkdir(parents=True, exist_ok=True)
    for part in place.glob(".words-*.part"):  # of killed processes, which hold no lock
        with suppress(OSError), part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
    handle, name = tempfile.mkstemp(dir=place, prefix=".words-", suffix=".part")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # freed by the system when we die
        yield Path(name)
    finally:
        os.close(handle)
        with suppress(OSError):
            Path(name).unlink()


@contextmanager
def scratch_file() -> Iterator[Path]:
    """A file of the cache for what is needed for a while; where none can be written, elsewhere."""
    with ExitStack() as stack:
        try:
            path = stack.enter_context(temporary_file(cache_folder()))
        except OSError:
            path = Path(stack.enter_context(tempfile.NamedTemporaryFile()).name)
        yield path


def keep_file(part: Path, name: str, number: int) -> Path:
    """Give a finished file its name; it is the `number`-th of its part, from 0."""
    checksum = file_sha256(part)[:16]
    path = part.with_name(f"words-{_rules_hash()}-{name}-{number}-{checksum}.sqlite")
    part.chmod(0o644)
    part.replace(path)
    return path


def forget_unused(place: Path, used: Iterable[str], most: int) -> None:
    """Remove the files longest unused, until `most` bytes are left besides the parts in use."""
    beginnings = tuple(f"words-{_rules_hash()}-{name}-" for name in used)
    others = []
    for path in place.glob("words-*.sqlite"):
        with suppress(OSError):
            if path.name.startswith(beginnings):
                os.utime(path)
            else:
                others.append((path.stat().st_mtime_ns, path, path.stat().st_size))
    size = 0
    for _, path, length in sorted(others, reverse=True):
        size += length
        if size > most:
            with suppress(OSError):
                path.unlink()
