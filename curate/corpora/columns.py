"""Which column of a table, or field of a JSON object, is what; and what a value says.

Names are compared in lower case, without blanks or a byte order mark around them, with `_` for
blanks and hyphens in them: " File-Name" is file_name.
"""

import ast
import difflib
import html
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from curate.captions.clean import plain_text
from curate.corpora.endings import is_address
from curate.corpora.notes import ReadNotes
from curate.errors import UsageError

# names of the column with captions, the first that is there, with its singular or plural beside
# it; likewise of the one that names the image, and of the one that holds it
CAPTION_COLUMNS = (
    *("text", "texts", "caption", "captions", "prompt", "prompts", "description", "descriptions"),
    *("txt", "desc", "sentence", "sentences", "comment", "alt_text", "alt", "raw", "title"),
)
KEY_COLUMNS = (
    *("file_name", "filename", "filepath", "file_path", "file", "image_file", "image_name"),
    *("image_path", "img_path", "path", "image_id", "id", "key", "__key__", "image"),
    *("img", "url", "image_url", "file_url"),
)
IMAGE_COLUMNS = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp")
# field of `sources.base.FoundImage` -> names of what states it, as imagefolder datasets,
# gallery-dl, img2dataset and boorus write them
FACT_COLUMNS: Mapping[str, Sequence[str]] = {
    "title": ("title",),
    "tags": ("tags", "keywords", "tag_string"),
    "language": ("language", "lang"),
    "license_text": ("license_text", "license_name", "license", "licence", "rights"),
    "license_url": ("license_url", "licence_url"),
    "author": (
        *("author", "creator", "artist", "photographer", "credit", "tag_string_artist"),
        *("owner", "user", "username", "uploader"),
    ),
    "author_url": ("author_url", "creator_url", "artist_url", "user_url"),
    "page_url": (
        *("page_url", "source_url", "permalink", "post_url", "page", "link", "source"),
        *("flickr_url", "url", "coco_url"),
    ),
    "ai_generated": ("ai_generated", "is_ai", "is_ai_generated"),
    "mature": ("mature", "is_mature", "nsfw", "over_18", "rating"),
    "opt_outs": (
        *("opt_outs", "opt_out", "optout", "noai", "no_ai", "noimageai", "noml"),
        *("noaitraining", "no_ai_training", "tdm_reservation", "do_not_train"),
    ),
    "restrictions": ("restrictions", "restriction"),
}
UNTITLED_COLUMNS = tuple(name for name in CAPTION_COLUMNS if name not in FACT_COLUMNS["title"])
_NAME_KEYS = ("name", "full_name", "realname", "username", "title", "id")  # in an object
_URL_KEYS = ("url", "permalink", "profile_url", "profileurl", "href", "link")
_SIGNS_IN_NAMES = re.compile(r"[\s-]+")
_WRITTEN_LIST = re.compile(r"\[\s*(['\"]).*['\"]\s*\]\s*", re.DOTALL)
# of HTML, which descriptions on the web are written in; no name in angle brackets that means
# something to a trainer is among them
_MARKUP = re.compile(
    r"</?(?:a|b|i|u|p|br|hr|em|strong|small|sub|sup|span|div|ul|ol|li|h[1-6]|img|blockquote)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#\d+|#x[\da-f]+|[a-z]+\d*);", re.IGNORECASE)
_LICENCE = ("license_text", "license_url")
_NO_STATEMENT = " ?-–—_./*"
_TRUTH = {  # of flags, and of what boorus rate
    **dict.fromkeys(("true", "yes", "1", "nsfw", "e", "explicit", "q", "questionable"), True),
    **dict.fromkeys(("false", "no", "0", "sfw", "unlikely"), False),
    **dict.fromkeys(("g", "general", "s", "safe", "sensitive"), False),
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


@dataclass
class LineCuts:
    """Texts of several lines that were cut into a caption a line, to be told of."""

    texts: int = 0  # that were cut
    captions: int = 0  # that they made
    example: tuple[str, ...] = ()  # the first two captions of the first

    def add(self, captions: Sequence[str]) -> None:
        """One text was cut into these."""
        self.texts += 1
        self.captions += len(captions)
        self.example = self.example or tuple(captions[:2])

    def remark(self, path: object, notes: ReadNotes) -> None:
        """Say so, if there were any."""
        if self.texts:
            first, second = (f"{one[:60]}…" if len(one) > 60 else one for one in self.example)
            notes.remarks.append(
                f"{path}: texts of several lines, a caption a line: {self.texts:,} gave "
                f'{self.captions:,}, such as "{first}" and "{second}"; --captions whole makes '
                "each one caption"
            )


def plain_name(name: object) -> str:
    """A column's name as names are compared."""
    return _SIGNS_IN_NAMES.sub("_", str(name).strip("\ufeff \t\r\n")).casefold()


def find_column(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    """The first of `wanted` that is among the names, as it is written there; None: none is."""
    return next(iter(_columns_in_order(names, wanted)), None)


def caption_columns(
    names: Iterable[str], wanted: Sequence[str] = CAPTION_COLUMNS
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns whose captions are used, and further ones with captions that are not.

    Used are the first of `wanted` that is there and its plural: `text` and `texts`. A title
    beside captions is a fact, not a further caption.
    """
    return _part_captions(_columns_in_order(names, wanted))


@lru_cache(maxsize=4096)
def _part_captions(found: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    same = [n for n in found if _singular(n) == _singular(found[0])]
    others = [n for n in found if n not in same and plain_name(n) not in FACT_COLUMNS["title"]]
    return tuple(same), tuple(others)


def near_column(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    """A name that is one of `wanted` but for a slip of the pen, as it is written."""
    for name in names:
        if difflib.get_close_matches(plain_name(name), wanted, n=1, cutoff=0.8):
            return name
    return None


def read_captions(
    record: Mapping[str, Any],
    notes: ReadNotes,
    where: str,
    *,
    whole: bool = False,
    cuts: LineCuts | None = None,
    wanted: Sequence[str] = CAPTION_COLUMNS,
) -> tuple[str, ...]:
    """The captions of a row or a JSON object; those that are not used are left out by name.

    Of several columns with captions the first that holds something counts.

    Args:
        record: values by column.
        notes: hears of values that are no text, and of captions in further columns.
        where: names the row: "FILE line 3".
        whole, cuts: as in `cut_captions`.
        wanted: names of columns with captions, the first that is there.
    """
    used, others = caption_columns((n for n, v in record.items() if not _is_empty(v)), wanted)
    found: list[str] = []
    for column in used:
        try:
            found += cut_captions(record[column], whole=whole, cuts=cuts)
        except NotTextError as error:
            notes.leave_out("values that are not text", f"{where}, {column} ({error})")
    for column in others:
        notes.leave_out(f"texts of a further column, {column}", where)
    return tuple(dict.fromkeys(found))


def cut_captions(
    value: object, *, whole: bool = False, cuts: LineCuts | None = None
) -> tuple[str, ...]:
    """The captions that a value holds: a text a line each, a list one after the other.

    HTML is read as a browser shows it: a text with tags is one line, and `&amp;` is `&`. A text
    that is a list of texts, as JSON or Python write one, is that list: tables without lists
    have them so (`["a dog", "dogs"]` in the CSV of Flickr30k).

    Args:
        value: of a cell, a field or a file. Nothing, and what is not a number, hold none; a
            number is its digits.
        whole: a text of several lines is one caption.
        cuts: hears of texts that are cut into several captions.

    Raises:
        NotTextError: a truth value, an object, or a list with one of these, or with a list.
    """
    if value is None or value != value:
        return ()
    if isinstance(value, list | tuple):
        if any(isinstance(one, list | tuple) for one in value):
            raise NotTextError("a list in a list")
        return tuple(text for one in value for text in cut_captions(one, whole=whole, cuts=cuts))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise NotTextError(
            {"dict": "an object", "bool": "a truth value"}.get(
                type(value).__name__, type(value).__name__
            )
        )
    text = str(value).replace("\0", " ")
    if text.startswith("[") and (listed := _written_list(text)):
        return cut_captions(listed, whole=whole, cuts=cuts)
    if "<" in text and _MARKUP.search(text):
        text = plain_text(text)
    lines = [" ".join(text.split())] if whole else text.splitlines()
    if "&" in text:
        lines = [_ENTITY.sub(lambda found: html.unescape(found[0]), line) for line in lines]
    captions = tuple(line for line in map(str.strip, lines) if line)
    if cuts is not None and len(captions) > 1:
        cuts.add(captions)
    return captions


def _written_list(text: str) -> list[str] | None:
    """The list of texts that a text is; None: it is none."""
    value = parse_written(text) if _WRITTEN_LIST.fullmatch(text) else None
    return value if isinstance(value, list) and all(isinstance(t, str) for t in value) else None


def parse_written(text: str) -> Any:
    """The object or list that a text is, as JSON or Python write one (CSV); None: it is none."""
    for parse in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            return parse(text)
    return None


def read_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a row or a JSON object states beside its captions, by the field that takes it.

    An author or a licence may be an object with a name and an address, tags a list, an object
    of lists, or a text with commas; what says nothing is left out.
    """
    found: dict[str, Any] = {}
    for field, names in FACT_COLUMNS.items():
        read = _FACT_READERS.get(field, _plain_text)
        for column in _columns_in_order(record, names):
            value = read(record[column])
            if value is not None and value != ():
                found[field] = value
                break
    found |= _further_statements(record, found)
    for field, address in (("author", "author_url"), ("license_text", "license_url")):
        for column in _columns_in_order(record, FACT_COLUMNS[field]):
            stated = record[column]
            link = _of_object(stated, _URL_KEYS) if isinstance(stated, Mapping) else None
            if link is not None:
                found.setdefault(address, link)
    if is_address(found.get("license_text", "")):
        found.setdefault("license_url", found.pop("license_text"))
    return found


def join_facts(stated: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What several say of one image: the first word on each, and all that is strict.

    A licence is taken whole from the first that states one, those of others count beside it; tags,
    opt-outs and restrictions of all count, and that one of them calls it AI-made or mature.
    """
    found: dict[str, Any] = {}
    for facts in stated:
        licences = [_licence_of(one) for one in (found, facts)]
        both = all(licences)
        fresh = {n: v for n, v in facts.items() if not (both and n in _LICENCE)}
        other = [f"licence:{one}" for one in licences[1] if both and one not in licences[0]]
        for name in ("tags", "opt_outs", "restrictions", "made_of"):
            every = (*found.get(name, ()), *facts.get(name, ()))
            every = (*every, *other) if name == "restrictions" else every
            if every:
                fresh[name] = found[name] = tuple(dict.fromkeys(every))
        for name in ("ai_generated", "mature"):
            if facts.get(name):
                found[name] = True
        found = fresh | found
    return found


def _licence_of(facts: Mapping[str, Any]) -> list[str]:
    return [facts[name] for name in _LICENCE if facts.get(name)]


def _further_statements(record: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What columns beside the first of their kind say, where it is strict."""
    restrictions = list(found.get("restrictions", ()))
    for column in _columns_in_order(record, FACT_COLUMNS["license_text"]):
        said = _plain_statement(record[column])
        if said and not said.isdecimal() and said not in _licence_of(found):
            restrictions.append(f"licence:{said}")
    refused: list[str] = []
    for column in _columns_in_order(record, FACT_COLUMNS["opt_outs"]):
        value = record[column]
        truth = _truth(value)
        texts = () if isinstance(value, bool) or truth is not None else _tag_list(value)
        refused += [f"json:{plain_name(column)}"] if truth else texts
    several = {"restrictions": restrictions, "opt_outs": refused}
    return {name: tuple(dict.fromkeys(values)) for name, values in several.items() if values}


def columns_not_read(names: Iterable[str], *read: Sequence[str]) -> list[str]:
    """The columns that are neither captions, nor facts, nor among those of `read`, as written."""
    known = {*CAPTION_COLUMNS, *(n for columns in (*FACT_COLUMNS.values(), *read) for n in columns)}
    return [name for name in dict.fromkeys(names) if plain_name(name) not in known]


def _columns_in_order(names: Iterable[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Those of `wanted` that are among the names, as written there."""
    return _order_columns(tuple(names), tuple(wanted))


@lru_cache(maxsize=4096)  # the rows of a table have the same names
def _order_columns(names: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    there: dict[str, str] = {}
    for name in names:
        there.setdefault(plain_name(name), name)
    return tuple(there[one] for one in wanted if one in there)


def _singular(name: str) -> str:
    return plain_name(name).removesuffix("s")


def _is_empty(value: object) -> bool:
    """Whether a value holds nothing: null, no number, no text, no element."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _plain_text(value: object) -> str | None:
    """A value as one text; an object by its name, a list joined with commas."""
    if isinstance(value, Mapping):
        return _of_object(value, _NAME_KEYS)
    if isinstance(value, list | tuple):
        return ", ".join(text for one in value if (text := _plain_text(one))) or None
    if _is_empty(value) or isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).encode("utf-8", "replace").decode().strip()


def _plain_statement(value: object) -> str | None:
    """A value as one text; one of signs alone, such as "?", states nothing."""
    text = _plain_text(value)
    return None if text is None or not text.strip(_NO_STATEMENT) else text


def _of_object(value: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    texts = (value[key] for key in keys if isinstance(value.get(key), str | int))
    return next((text for one in texts if (text := _plain_text(one))), None)


def _tag_list(value: object) -> tuple[str, ...]:
    """Tags: a list, an object of lists by kind, a text cut at commas or, as in boorus, blanks."""
    if isinstance(value, Mapping):
        return tuple(dict.fromkeys(tag for kind in value.values() for tag in _tag_list(kind)))
    if isinstance(value, str):
        booru = "," not in value and "_" in value
        value = value.split() if booru else value.split(",")
    if not isinstance(value, list | tuple):
        return ()
    return tuple(dict.fromkeys(text for one in value if (text := _plain_text(one))))


def _truth(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return None if _is_empty(value) else _TRUTH.get(str(value).strip().casefold())


_FACT_READERS: Mapping[str, Callable[[object], Any]] = {
    "tags": _tag_list,
    "ai_generated": _truth,
    "mature": _truth,
    "license_text": _plain_statement,
    "author": _plain_statement,
    "restrictions": _tag_list,
    "opt_outs": lambda _: None,  # see `_further_statements`: all its columns count
}
