"""What a source is, and what it yields: cleaned, each record by itself."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypeVar

import typer

from curate.corpora.notes import ReadNotes
from curate.dataset.sample import make_key
from curate.net.api import Answer, Service

T = TypeVar("T")
QueryOption = Annotated[
    str, typer.Option("--query", help="What to look for, up to 100 characters.")
]
MAX_TEXT = 10_000  # characters of one text that are kept
MAX_URL = 4_000  # characters; a longer address is left out, since a part of it leads elsewhere
MAX_TEXTS = 1_000  # texts of one list that are kept
MAX_KEY = 200  # characters of a row's key: shards name files by it
_TEXT_FIELDS = ("author", "title", "language", "license_text", "license_by", "dropped")
_URL_FIELDS = ("image_url", "page_url", "author_url", "license_url")
_LIST_FIELDS = ("tags", "texts", "opt_outs", "restrictions", "made_of")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_CONTROL_IN_CAPTIONS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]+")  # these may have lines


GetJson = Callable[[str, Mapping[str, object]], Answer]


@dataclass(frozen=True)
class FoundImage:
    """One image as its source describes it; where its bytes are, and what is said of it.

    Whatever is handed in, texts are texts that can be written down: lone surrogates and control
    characters are taken out, numbers become texts, other types are left out, and what is longer
    than `MAX_TEXT` or `MAX_URL` is cut or left out; `cleaned` says where. A file's name, which must
    lead to the file, keeps its control characters.
    """

    id: str  # unique within the source, the same for ever
    image_url: str | None = None  # where to ask for the bytes …
    data: bytes | None = field(default=None, repr=False)  # … or the bytes, from a folder
    file_name: str | None = None  # path relative to the folder
    page_url: str | None = None
    author: str | None = None
    author_url: str | None = None
    title: str | None = None
    tags: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()  # captions that came with the image
    language: str | None = None  # BCP 47 tag, as stated
    license_text: str | None = None  # as stated
    license_url: str | None = None  # as stated
    license_by: str | None = None  # "source" or "user"
    opt_outs: tuple[str, ...] = ()  # e.g. "api:noAiTraining"
    ai_generated: bool | None = None  # as stated
    mature: bool | None = None  # as stated
    restrictions: tuple[str, ...] = ()  # other rights, as stated: "trademarked", "personality"
    dropped: str | None = None  # why there is no image to be had, REASON:DETAIL
    evidence: str | None = None  # SHA-256 of the stored answer that says all this
    made_of: tuple[str, ...] = ()  # SHA-256 of bytes and pixels of which its bytes were made
    cleaned: tuple[str, ...] = ()  # fields of which a part was left out

    def __post_init__(self) -> None:
        """Clean all texts; done again, it changes nothing."""
        cleaned = dict.fromkeys(self.cleaned)
        for name in (*_TEXT_FIELDS, *_URL_FIELDS, "file_name", *_LIST_FIELDS):
            given = getattr(self, name)
            kept = _clean_list(name, given) if name in _LIST_FIELDS else _clean_text(name, given)
            object.__setattr__(self, name, kept)
            if not _same(given, kept):
                cleaned[name] = None
        object.__setattr__(self, "cleaned", tuple(cleaned))


@dataclass(frozen=True)
class Listing:
    """What lies at a path: each image is read when its turn comes."""

    found: Iterator[FoundImage]
    total: int | None  # images, where that is known beforehand
    notes: ReadNotes = field(default_factory=ReadNotes)  # complete once all are read


# A source is asked by words, or lists what lies at a path. The first argument is handed in; all
# others are the user's: their types, defaults and help are the options of `curate fetch NAME`.
#   search(get_json, query, **options): what a query finds, best match first, as lazily as the
#       pages come, through `read_pages`. An answer without its list of records is a KeyError.
#   listing(without, path, **options): what is there, except in the folder `without`. An option
#       `license` is the user's word on what states none.
#   lookup(get_json, id): one image by its id, as the source describes it now; None: it has it no
#       more.
@dataclass(frozen=True, kw_only=True)
class Source(Service):
    """A place images come from: how it is asked, how fast, and on what terms."""

    summary: str  # one line for `curate sources list`
    help: str  # one line for `curate fetch --help`
    terms_url: str | None = None
    search: Callable[..., Iterator[FoundImage]] | None = None  # either this …
    listing: Callable[..., Listing] | None = None  # … or that
    lookup: Callable[[GetJson, str], FoundImage | None] | None = None
    limit: int = 200  # images to take from the top of the results, unless asked otherwise
    states_ai: bool = False  # whether it says which images are AI-made
    terms: tuple[str, ...] = ()  # the points that a user should know
    terms_version: str | None = None  # their date, if acceptance is asked for
    key_env: str | None = None  # environment variable that holds the key
    key_url: str | None = None  # where a key is to be had
    needs_contact: bool = False  # whether it asks to be told whom to write to

    @property
    def needs_acceptance(self) -> bool:
        """Whether its terms must be accepted, with a basis, before the first fetch."""
        return self.terms_version is not None


def read_pages(
    pages: Iterable[Answer], records: str, parse: Callable[[Mapping[str, Any]], FoundImage]
) -> Iterator[FoundImage]:
    """What the pages of a search describe, each image once.

    A record that lacks a field it should have becomes an image that is dropped as
    `malformed:FIELD`. The first page without an image that was not met before is the last.

    Args:
        pages: the answers, in their order.
        records: the field of an answer that holds its list of records.
        parse: makes an image of one record; a field that is missing leaves it as a KeyError.

    Raises:
        KeyError: an answer has no such list, or not one of its records can be read.
    """
    met: set[str] = set()
    for page in pages:
        found = [parse_record(page, one, parse) for one in required(page.body, records, list)]
        malformed = [item.dropped for item in found if is_malformed(item.dropped)]
        if found and len(malformed) == len(found) and (len(found) > 1 or not met):
            raise KeyError(str(malformed[0]).partition(":")[2])
        before = len(met)
        for item in found:
            if item.id not in met:  # results move between pages while we read them
                met.add(item.id)
                yield item
        if len(met) == before:
            return


def parse_record(
    answer: Answer, record: Mapping[str, Any], parse: Callable[[Mapping[str, Any]], FoundImage]
) -> FoundImage:
    """The image of a record in an answer, or one that is dropped as `malformed:FIELD`.

    Its id is the record's where it has one, else made from a hash of the whole record.
    """
    try:
        found = replace(parse(record), evidence=answer.evidence)
        if not _is_usable_id(found.id):
            raise KeyError("id")
        if found.image_url is None and found.dropped is None:
            raise KeyError("image_url")
        return found
    except KeyError as error:
        id = record.get("id") if isinstance(record, Mapping) else None
        if not isinstance(id, str | int) or isinstance(id, bool) or not _is_usable_id(str(id)):
            text = json.dumps(record, sort_keys=True)
            id = f"malformed-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        dropped = f"malformed:{error.args[0]}"
        return FoundImage(id=str(id), dropped=dropped, evidence=answer.evidence)


def is_malformed(dropped: str | None) -> bool:
    """Whether a `dropped` reason says that the source's record could not be read."""
    return (dropped or "").startswith("malformed:")


def required(record: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """The value of a field that the source documents.

    Raises:
        KeyError: it is missing, null, empty or of another type.
    """
    value = record.get(name) if isinstance(record, Mapping) else None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or value == "":
        raise KeyError(name)
    return value


def flag(record: Mapping[str, Any], name: str) -> bool | None:
    """Whether a record says so; None where it says nothing. In doubt it does."""
    value = record.get(name)
    return None if value is None else bool(value)


def _is_usable_id(id: str) -> bool:
    return id == _clean_text("id", id) and len(make_key("", id)) <= MAX_KEY


def _clean_text(name: str, value: object) -> str | None:
    """A value as one text that can be written down; None where there is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    text = value.encode("utf-8", "ignore").decode()
    if name != "file_name":
        text = (_CONTROL_IN_CAPTIONS if name == "texts" else _CONTROL).sub(" ", text).strip()
    if name in _URL_FIELDS and len(text) > MAX_URL:
        return None
    return text[:MAX_TEXT] or None


def _clean_list(name: str, value: object) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value if isinstance(value, Sequence) else ()
    return tuple(text for v in values[:MAX_TEXTS] if (text := _clean_text(name, v)))


def _same(given: object, kept: object) -> bool:
    """Whether nothing of what was given is missing in what was kept."""
    if isinstance(given, str):
        return given.strip() == (kept or "")
    if isinstance(given, list | tuple) and isinstance(kept, tuple):
        stated = [v for v in given if not isinstance(v, str) or v.strip()]
        return len(stated) == len(kept) and all(map(_same, stated, kept))
    return given is None or str(given) == kept
