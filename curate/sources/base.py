"""What a source is, and what it yields."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import typer

from curate.net.api import Service

T = TypeVar("T")
QueryOption = Annotated[
    str, typer.Option("--query", help="What to look for, up to 100 characters.")
]
GetJson = Callable[[str, Mapping[str, object]], dict[str, Any]]


@dataclass(frozen=True)
class FoundImage:
    """One image as its source describes it; where its bytes are, and what is said of it."""

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
    dropped: str | None = None  # why there is no image to be had, REASON:DETAIL


@dataclass(frozen=True)
class Listing:
    """What lies at a path: each image is read when its turn comes."""

    found: Iterator[FoundImage]
    total: int  # images
    notes: Sequence[str] = ()  # what was left out, as sentences


# A source is asked by words, or lists what lies at a path. The first argument is handed in; all
# others are the user's: their types, defaults and help are the options of `curate fetch NAME`.
#   search(get_json, query, **options): what a query finds, best match first, as lazily as the
#       pages come. A field that is missing from an answer leaves it as a KeyError.
#   listing(without, path, **options): what is there, except in the folder `without`. An option
#       `license` is the user's word on what states none.
@dataclass(frozen=True, kw_only=True)
class Source(Service):
    """A place images come from: how it is asked, how fast, and on what terms."""

    summary: str  # one line for `curate sources list`
    help: str  # one line for `curate fetch --help`
    terms_url: str | None = None
    search: Callable[..., Iterator[FoundImage]] | None = None  # either this …
    listing: Callable[..., Listing] | None = None  # … or that
    limit: int = 200  # images to take from the top of the results, unless asked otherwise
    states_ai: bool = False  # whether it says which images are AI-made
    terms: tuple[str, ...] = ()  # the points that a user should know
    terms_version: str | None = None  # their date, if acceptance is asked for
    key_env: str | None = None  # environment variable that holds the key
    key_url: str | None = None  # where a key is to be had

    @property
    def needs_acceptance(self) -> bool:
        """Whether its terms must be accepted, with a basis, before the first fetch."""
        return self.terms_version is not None


def required(record: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """The value of a field that the source documents.

    Raises:
        KeyError: it is missing, null or of another type.
    """
    value = record.get(name) if isinstance(record, Mapping) else None
    if not isinstance(value, kind):
        raise KeyError(name)
    return value


def optional(record: Mapping[str, Any], name: str) -> str | None:
    """The text of a field that may be missing, null or empty."""
    value = record.get(name)
    return value.strip() or None if isinstance(value, str) else None
