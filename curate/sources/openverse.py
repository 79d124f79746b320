"""Openverse: openly licensed images of many collections, found through one catalogue.

API: https://api.openverse.org/v1/ (without an account: 20 results a page, 20 requests a minute,
200 a day, 240 results of a query). The catalogue does not verify licences: the page of the
image's own collection is kept with every row, so that they can be checked there.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from curate.errors import SourceError, UsageError
from curate.net.api import Answer, EndOfResults
from curate.sources.base import (
    FoundImage,
    GetJson,
    QueryOption,
    Source,
    flag,
    parse_record,
    read_pages,
    required,
)

URL = "https://api.openverse.org/v1/images/"
PAGE_SIZE = 20  # results; the most without an account
MOST_RESULTS = 240  # of a query, with or without an account
LICENCES = (  # the API's names
    "cc0", "pdm", "by", "by-sa", "by-nc", "by-nc-sa", "by-nd", "by-nc-nd", "sampling+",
    "nc-sampling+",
)  # fmt: skip
_NO_IMAGE = re.compile(r'"detail": ?"(No Image matches|Not found)')  # of an id, or of a page
# as its own attribution lines write them
LICENCE_NAMES = {"cc0": "CC0", "pdm": "Public Domain Mark"}


def search(
    get_json: GetJson,
    query: QueryOption,
    *,
    license: Annotated[
        str, typer.Option(help="Licences, by the API's names, separated by commas.")
    ] = "cc0,pdm,by",
) -> Iterator[FoundImage]:
    """Yield every result that matches all words, best match first; mature ones are left out.

    Raises:
        UsageError: `license` names what is none of `LICENCES`.
    """
    for name in license.split(","):
        if name not in LICENCES:
            problem = f"{name!r} is no licence of the API"
            raise UsageError("--license", problem, fix=f"some of {','.join(LICENCES)}")
    asked = {"q": query, "license": license, "page_size": PAGE_SIZE}
    yield from read_pages(_pages(get_json, asked), "results", _parse_result)


def lookup(get_json: GetJson, id: str) -> FoundImage | None:
    """One image as the catalogue describes it now; None: it holds it no more."""
    try:
        answer = get_json(f"{URL}{quote(id)}/", {})
    except EndOfResults:
        return None
    return parse_record(answer, answer.body, _parse_result)


def _pages(get_json: GetJson, asked: Mapping[str, object]) -> Iterator[Answer]:
    for page in range(1, MOST_RESULTS // PAGE_SIZE + 1):
        answer = get_json(URL, {**asked, "page": page})
        pages = required(answer.body, "page_count", int)
        yield answer
        if page >= pages:
            return


def _parse_result(result: Mapping[str, Any]) -> FoundImage:
    short = required(result, "license", str)
    stated = LICENCE_NAMES.get(short, f"CC {short.upper()}")
    version = result.get("license_version")
    tags: Any = result.get("tags") or ()
    if isinstance(tags, list):
        tags = [tag.get("name") if isinstance(tag, Mapping) else tag for tag in tags]
    return FoundImage(
        id=required(result, "id", str),
        image_url=required(result, "url", str),
        page_url=required(result, "foreign_landing_url", str),
        author=result.get("creator"),
        author_url=result.get("creator_url"),
        title=result.get("title"),
        tags=tags,
        license_text=f"{stated} {version}" if version else stated,
        license_url=result.get("license_url"),
        license_by="source",
        mature=flag(result, "mature"),
    )


def _refusal(status: int, body: str) -> Exception | None:
    if status == 404 and _NO_IMAGE.search(body):
        return EndOfResults()
    if status not in (401, 429):
        return None
    problem = "allows no more requests for now (20 a minute, 200 a day, 240 results of a query)"
    how = "tomorrow, with other words or with fewer images (--limit); finished work is kept"
    return SourceError("openverse", problem, fix=f"type the same command again {how}")


SOURCE = Source(
    name="openverse",
    summary="openly licensed images of many collections; no account needed",
    help="Take openly licensed images from Openverse; no account needed.",
    terms_url="https://docs.openverse.org/terms_of_service.html",
    terms=(
        "Licences are as the catalogue states them; the page of each image is kept.",
        "No scraping of the whole catalogue.",
    ),
    requests_per_minute=20,
    media_hosts=None,
    search=search,
    lookup=lookup,
    limit=100,
    refusal=_refusal,
)
