"""What a user can act on: the subject, what is wrong, and what to type next."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of both commands."""

    DONE = 0
    FOUND = 1  # a requested check found something
    USAGE = 2
    INPUT = 3
    SOURCE = 4
    LICENCE = 5
    UNDECIDED = 6  # a check could not tell


class CurateError(Exception):
    """Something the user can put right.

    Args:
        subject: the file, row, key, URL or option concerned.
        problem: what is wrong with it, as a clause.
        fix: the thing to type or change next; several where all of them are needed, in their order.
        points: what else is to be known, a short clause each.
    """

    exit_code = ExitCode.INPUT

    def __init__(
        self, subject: object, problem: str, *, fix: str | Sequence[str], points: Sequence[str] = ()
    ) -> None:
        """Keep the parts apart, so that each can be shown in its own way."""
        self.subject, self.problem, self.points = str(subject), problem, tuple(points)
        self.fixes = (fix,) if isinstance(fix, str) else tuple(fix)
        super().__init__("\n".join(self.lines()))

    @property
    def fix(self) -> str:
        """All that is to be done, in one line."""
        return "; ".join(self.fixes)

    def lines(self) -> list[str]:
        """The message: subject and problem, a line a point, a line a fix."""
        fixes = [f"{'  fix: ' if n == 0 else '       '}{fix}" for n, fix in enumerate(self.fixes)]
        points = [f"  - {point}" for point in self.points]
        return [f"{self.subject}: {self.problem}", *points, *fixes]


class UsageError(CurateError):
    """The command was typed in a way that cannot work."""

    exit_code = ExitCode.USAGE


class InputError(CurateError):
    """A file or row cannot be used."""


class SourceError(CurateError):
    """A source of images refused, failed or changed its answers."""

    exit_code = ExitCode.SOURCE


class LicenceError(CurateError):
    """Terms, a licence or an opt-out forbid it."""

    exit_code = ExitCode.LICENCE


def storage_error(path: object, error: OSError) -> InputError:
    """Turn a failed write (full disk, no permission, read-only) into a sentence."""
    return InputError(
        path,
        f"cannot be written ({error.strerror or error})",
        fix="free some space or correct the permissions, then type the same command again; "
        "finished work is kept",
    )


@contextmanager
def disk_errors(path: object) -> Iterator[None]:
    """Turn a failed write within the context into the `storage_error` of `path`."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from None
