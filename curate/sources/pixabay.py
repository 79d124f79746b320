"""Pixabay: photographs and drawings under one licence, which is neither CC0 nor made for training.

API: https://pixabay.com/api/docs/ (100 requests in 60 seconds; answers are to be kept 24 hours;
no hotlinking; no systematic mass download; at most 500 hits of a query can be reached).
Error answers are plain text.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal

import typer

from curate.errors import SourceError
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

URL = "https://pixabay.com/api/"
PAGE_SIZE = 200  # hits; the API's maximum
MOST_RESULTS = 500  # of a query
KEY_URL = "https://pixabay.com/api/docs/#api_search_images"

Category = Literal[
    "backgrounds", "fashion", "nature", "science", "education", "feelings", "health", "people",
    "religion", "places", "animals", "industry", "computer", "food", "sports", "transportation",
    "travel", "buildings", "business", "music",
]  # fmt: skip
Language = Literal[
    "cs", "da", "de", "en", "es", "fr", "id", "it", "hu", "nl", "no", "pl", "pt", "ro", "sk", "fi",
    "sv", "tr", "vi", "th", "bg", "ru", "el", "ja", "ko", "zh",
]  # fmt: skip
Colour = Literal[
    "grayscale", "transparent", "red", "orange", "yellow", "green", "turquoise", "blue", "lilac",
    "pink", "white", "gray", "black", "brown",
]  # fmt: skip


def search(  # noqa: PLR0913 one a documented parameter
    get_json: GetJson,
    query: QueryOption,
    *,
    image_type: Annotated[
        Literal["all", "photo", "illustration", "vector"], typer.Option(help="Kind of image.")
    ] = "all",
    orientation: Annotated[
        Literal["all", "horizontal", "vertical"], typer.Option(help="Shape.")
    ] = "all",
    category: Annotated[Category | None, typer.Option(help="Subject.")] = None,
    colors: Annotated[Colour | None, typer.Option(help="Main colour.")] = None,
    min_width: Annotated[int, typer.Option(min=0, help="Of the original, pixels.")] = 0,
    min_height: Annotated[int, typer.Option(min=0, help="Of the original, pixels.")] = 0,
    editors_choice: Annotated[
        bool, typer.Option("--editors-choice", help="Only Editor's Choice.")
    ] = False,
    order: Annotated[
        Literal["popular", "latest"], typer.Option(help="Which results come first.")
    ] = "popular",
    lang: Annotated[Language, typer.Option(help="Language of the query.")] = "en",
) -> Iterator[FoundImage]:
    """Yield every hit for `query` (at most 100 characters), best match first."""
    asked: dict[str, object] = {
        "q": query,
        "image_type": image_type,
        "orientation": orientation,
        "category": category,
        "colors": colors,
        "min_width": min_width or None,
        "min_height": min_height or None,
        "editors_choice": "true" if editors_choice else None,
        "order": order,
        "lang": lang,
        "safesearch": "true",
        "per_page": PAGE_SIZE,
    }
    parse = partial(_parse_hit, lang)
    yield from read_pages(_pages(get_json, asked), "hits", parse)


def lookup(get_json: GetJson, id: str) -> FoundImage | None:
    """One image as Pixabay describes it now; None: it has it no more."""
    answer = get_json(URL, {"id": id})
    hits = required(answer.body, "hits", list)
    return parse_record(answer, hits[0], partial(_parse_hit, "en")) if hits else None


def _pages(get_json: GetJson, asked: Mapping[str, object]) -> Iterator[Answer]:
    for page in range(1, -(-MOST_RESULTS // PAGE_SIZE) + 1):
        answer = get_json(URL, {**asked, "page": page})
        total = required(answer.body, "totalHits", int)
        yield answer
        if page * PAGE_SIZE >= total:
            return


def _parse_hit(lang: str, hit: Mapping[str, Any]) -> FoundImage:
    user, user_id = required(hit, "user", str), required(hit, "user_id", int)
    all_ages, tags = flag(hit, "isGRated"), hit.get("tags") or ()
    return FoundImage(
        id=str(required(hit, "id", int)),
        image_url=required(hit, "largeImageURL", str),
        page_url=required(hit, "pageURL", str),
        author=user,
        author_url=hit.get("userURL") or f"https://pixabay.com/users/{user}-{user_id}/",
        tags=tuple(tags.split(",")) if isinstance(tags, str) else tags,
        language=lang,
        license_text="Pixabay Content License",
        license_url="https://pixabay.com/service/license-summary/",
        license_by="source",
        opt_outs=("api:noAiTraining",) if flag(hit, "noAiTraining") else (),
        ai_generated=flag(hit, "isAiGenerated"),
        mature=None if all_ages is None else not all_ages,
    )


def _refusal(status: int, body: str) -> Exception | None:
    if '"page" is out of valid range' in body:
        return EndOfResults()
    if "API key" in body:
        fix = f"copy your key from {KEY_URL} and export PIXABAY_API_KEY=…"
        return SourceError("pixabay", "does not accept the key in PIXABAY_API_KEY", fix=fix)
    return None


SOURCE = Source(
    name="pixabay",
    summary="photographs, illustrations and vectors; key, accepted terms and a basis needed",
    help="Take images from Pixabay: needs PIXABAY_API_KEY, and its terms accepted with a basis.",
    terms_url="https://pixabay.com/service/terms/",
    terms=(
        "The Content License is not CC0: images may not be passed on as they are, "
        "resized copies included. Shards made with them may not be published.",
        "The terms of 2024-11-18, as quoted by several readers, forbid collecting images for "
        "machine learning without permission.",
        "Images marked noAiTraining are never downloaded.",
        "Use within the API's limits, answers kept 24 hours, no mass download.",
    ),
    terms_version="2024-11-18",
    key_env="PIXABAY_API_KEY",
    key_parameter="key",
    key_url=KEY_URL,
    requests_per_minute=100,
    media_hosts=("pixabay.com", "cdn.pixabay.com"),
    search=search,
    lookup=lookup,
    states_ai=True,
    refusal=_refusal,
)
