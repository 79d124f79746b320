"""Which column of a table, or field of a JSON object, is what; and what a value says."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from curate.errors import UsageError

# names of the column with captions, the first that is there; likewise of the one that names the
# image, and of the one that holds it. Case and blanks around a name do not matter
CAPTION_COLUMNS = (
    *("text", "texts", "caption", "captions", "prompt", "prompts", "description", "descriptions"),
    *("sentence", "sentences", "alt_text", "alt", "raw", "title"),
)
KEY_COLUMNS = (
    *("file_name", "filename", "file", "image_path", "path", "image_id", "id", "key", "image"),
    "url",
)
IMAGE_COLUMNS = ("image", "img", "picture", "photo", "jpg", "png", "webp")
# field of `sources.base.FoundImage` -> names of what states it
FACT_COLUMNS: Mapping[str, Sequence[str]] = {
    "title": ("title",),
    "tags": ("tags", "keywords"),
    "language": ("language", "lang"),
    "license_text": ("license", "licence", "rights"),
    "license_url": ("license_url", "licence_url"),
    "author": ("author", "creator", "artist", "photographer"),
    "author_url": ("author_url", "creator_url"),
    "page_url": ("page_url", "source_url", "permalink"),
}


CAPTION_CHOICES = ("lines", "whole")  # what a text of several lines is: as many captions, or one


def is_whole(choice: str) -> bool:
    """Whether a text of several lines is one caption, by the option `--captions`.

    Raises:
        UsageError: no such choice.
    """
    if choice not in CAPTION_CHOICES:
        fix = f"one of {', '.join(CAPTION_CHOICES)}"
        raise UsageError("--captions", f"no choice {choice!r}", fix=fix)
    return choice == "whole"


class NotTextError(ValueError):
    """A value that is neither text nor a list of texts."""


def plain_name(name: object) -> str:
    """A column's name as names are compared: lower case, without blanks around it."""
    return str(name).strip().strip("\ufeff").casefold()


def find_column(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    """The first of `wanted` that is among the names, as it is written there; None: none is."""
    there: dict[str, str] = {}
    for name in names:
        there.setdefault(plain_name(name), name)
    return next((there[one] for one in wanted if one in there), None)


def cut_captions(value: object, *, whole: bool = False) -> tuple[str, ...]:
    """The captions that a value holds: a text a line each, a list one after the other.

    Args:
        value: of a cell, a field or a file. Nothing, and what is not a number, hold none; a
            number is its digits.
        whole: a text of several lines is one caption.

    Raises:
        NotTextError: a truth value, an object, or a list with one of these, or with a list.
    """
    if value is None or value != value:
        return ()
    if isinstance(value, list | tuple):
        if any(isinstance(one, list | tuple) for one in value):
            raise NotTextError("a list in a list")
        return tuple(text for one in value for text in cut_captions(one, whole=whole))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise NotTextError(
            {"dict": "an object", "bool": "a truth value"}.get(
                type(value).__name__, type(value).__name__
            )
        )
    text = str(value)
    lines = [" ".join(text.split())] if whole else text.splitlines()
    return tuple(line for line in map(str.strip, lines) if line)


def read_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a row or a JSON object states beside its captions, by the field that takes it."""
    found = {}
    for field, names in FACT_COLUMNS.items():
        column = find_column(record, names)
        if column is not None and (value := record[column]) is not None and value == value:
            found[field] = value
    return found
