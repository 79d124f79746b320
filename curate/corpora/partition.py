"""A partition of a corpus: files that are read and indexed together, named by their content."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.corpora.notes import ReadNotes
from curate.corpora.walk import check_is_file
from curate.errors import InputError
from curate.system.files import file_sha256

ImageCaptions = tuple[str, Sequence[str]]  # key of an image, what is said of it


@dataclass(frozen=True)
class Partition:
    """Data that is counted at once, and again when it has changed."""

    # picklable where partitions are read side by side
    read: Callable[[ReadNotes], Iterator[ImageCaptions]]
    files: tuple[Path, ...] = ()  # whose bytes decide what is read
    salt: str = ""  # what decides it besides
    digest: str = ""  # known beforehand, it spares reading the files
    cache: Path | None = None  # folder for the index; None for the user's

    def content_name(self) -> str:
        """Hexadecimal: other content has another name.

        Raises:
            InputError: a file cannot be read.
        """
        whole = hashlib.sha256(f"{self.salt}\0{self.digest}".encode("utf-8", "surrogateescape"))
        for path in () if self.digest else self.files:
            try:
                check_is_file(path)
                whole.update(bytes.fromhex(file_sha256(path)))
            except OSError as error:
                raise unreadable_error(path, error) from None
        return whole.hexdigest()[:24]


def unreadable_error(path: Path, error: OSError) -> InputError:
    """Turn a failed read into a sentence."""
    fix = "correct the path or its permissions"
    return InputError(path, f"cannot be read ({error.strerror or error})", fix=fix)
