"""Prompts from a file."""

from pathlib import Path

from curate.errors import InputError


def read_prompts(path: Path) -> list[str]:
    """The prompts of a text file, one a line.

    Raises:
        InputError: no such file, not UTF-8, or no prompt in it.
    """
    try:
        lines = [" ".join(line.split()) for line in path.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 (byte {error.start})"
        raise InputError(path, problem, fix="save it as UTF-8 text, one prompt a line") from None
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise InputError(path, problem, fix="name a text file with one prompt a line") from None
    found = list(dict.fromkeys(line for line in lines if line))
    if not found:
        raise InputError(path, "holds no prompts", fix="write one prompt a line")
    return found
