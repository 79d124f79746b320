"""What a user can act on: the subject, what is wrong, and what to type next."""

from collections.abc import Iterator
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
        fix: the thing to type or change next.
    """

    exit_code = ExitCode.INPUT

    def __init__(self, subject: object, problem: str, *, fix: str) -> None:
        """Keep the three parts apart, so that each can be shown in its own way."""
        self.subject, self.problem, self.fix = str(subject), problem, fix
        super().__init__(f"{subject}: {problem}\n  fix: {fix}")


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
