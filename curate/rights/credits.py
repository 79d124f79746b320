"""Who made what: the credits that go with packed images, one entry an image.

What licences ask to be told: title, author, page, licence with its address, and what was changed
(CC BY 4.0, section 3(a)(1)). An image that was found several times carries the credits of all its
copies: each of them may be the one whose author asks to be named.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curate.dataset.folder import Dataset, command_line
from curate.dataset.sample import Sample
from curate.errors import InputError
from curate.formats.shards import Record, credit_of, iterate_samples
from curate.formats.verdicts import STANDING_FIELDS, find_standings, is_indexed, verdicts_of
from curate.rights.licences import licence_url
from curate.system.strangers import csv_cell, html, html_link, markdown, markdown_link

UNKNOWN_AUTHOR = "unknown author"
CSV_COLUMNS = (
    *("key", "title", "author", "author_url", "page_url", "license", "license_url"),
    *("modified", "copies"),
)


@dataclass(frozen=True, slots=True)
class Credit:
    """Whom to name for one image."""

    key: str
    title: str  # its key where it has none
    page_url: str | None
    author: str | None
    author_url: str | None
    license: str  # id, or as stated where it is unknown
    license_url: str | None
    modified: str | None = None  # what packing did to it; None: it is not packed
    copies: tuple["Credit", ...] = ()  # what else was found of the same image, by key


def record_credit(record: Record) -> Credit:
    """The credit of a packed image, with those of its copies."""
    values: dict[str, Any] = {**record}  # of the older version: no credits, only its own facts
    own, *copies = values.get("credits") or [values]
    modified = ", ".join(record["modified"])
    return replace(_credit(own), modified=modified, copies=tuple(map(_credit, copies)))


def dataset_credits(dataset: Dataset, *, every: bool = False) -> list[Credit]:
    """The credits of all that is packed, by key; the command `curate credits`.

    They go with the shards, and with what was made of them, so they are read there: what was packed
    is credited, whatever the dataset has come to say of it.

    Args:
        dataset: the folder.
        every: the credits of every row that may be trained on instead, packed or not.

    Raises:
        InputError: no dataset there, nobody to credit, or the shards cannot be read.
    """
    if every:
        if found := _trainable_credits(dataset.read_rows(*STANDING_FIELDS)):
            return found
        problem = "no image may be trained on, so there is nobody to credit"
        raise InputError(dataset.root, problem, fix=command_line(dataset.root, "check"))
    if is_indexed(dataset.shards):
        return [record_credit(record) for _, _, record in iterate_samples(dataset.shards)]
    dataset.require_dataset()
    all_, pack = (command_line(dataset.root, *w) for w in (("credits", "--all"), ("pack",)))
    fix = f"{pack}; or, for all that may be trained on, {all_}"
    raise InputError(dataset.root, "nothing is packed, so there is nobody to credit", fix=fix)


def _trainable_credits(samples: Sequence[Sample]) -> list[Credit]:
    standings = find_standings(map(verdicts_of, samples))
    by_key = {s.key: _credit(credit_of(s)) for s in samples}
    return [
        replace(by_key[key], copies=tuple(by_key[copy] for copy in standings[key].copies))
        for key in sorted(by_key)
        if standings[key].problem is None
    ]


def _credit(record: Mapping[str, Any]) -> Credit:
    stated = record["license"]
    return Credit(
        key=record["key"],
        title=record["title"] or record["key"],
        page_url=record["page_url"],
        author=record["author"],
        author_url=record["author_url"],
        license=stated or record["license_text"] or "licence unknown",
        license_url=(licence_url(stated) if stated else None) or record["license_url"],
    )


def credits_markdown(credits: Iterable[Credit]) -> str:
    """A list item an image, its copies below it."""
    lines = []
    for credit in credits:
        lines.append(f"- {_markdown_line(credit)}")
        lines += [f"  - the same image as {_markdown_line(copy)}" for copy in credit.copies]
    return "".join(f"{line}\n" for line in lines)


def _markdown_line(credit: Credit) -> str:
    work = markdown_link(credit.title, credit.page_url)
    made = markdown_link(credit.author or UNKNOWN_AUTHOR, credit.author_url)
    licence = markdown_link(credit.license, credit.license_url)
    changed = [f"modified: {markdown(credit.modified)}"] if credit.modified else []
    return ", ".join([f"{work} by {made}", licence, *changed])


def credits_csv(credits: Iterable[Credit]) -> str:
    """A line an image, by RFC 4180 but for line ends of one character; copies in its last cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for credit in credits:
        values = [getattr(credit, name) for name in CSV_COLUMNS[:-1]]
        copies = "; ".join(", ".join(_plain_parts(copy)) for copy in credit.copies)
        writer.writerow([csv_cell(value or "") for value in [*values, copies]])
    return text.getvalue()


def _plain_parts(credit: Credit) -> Iterator[str]:
    yield f"{credit.title} by {credit.author or UNKNOWN_AUTHOR}"
    yield from filter(None, (credit.page_url, credit.license, credit.license_url))


def credits_page(credits: Sequence[Credit]) -> str:
    """A page with a line an image, for a browser."""
    from curate.system.web_page import render_page

    entries = [_page_entry(credit) for credit in credits]
    return render_page("curate.rights/credits.html.j2", entries=entries)


def _page_entry(credit: Credit) -> dict[str, Any]:
    """What a line shows, as HTML."""
    from markupsafe import Markup

    links = {
        "work": html_link(credit.title, credit.page_url),
        "author": html_link(credit.author or UNKNOWN_AUTHOR, credit.author_url),
        "licence": html_link(credit.license, credit.license_url),
        "modified": html(credit.modified or ""),
    }
    entry: dict[str, Any] = {name: Markup(text) for name, text in links.items()}  # noqa: S704  (escaped there)
    return entry | {"copies": [_page_entry(copy) for copy in credit.copies]}
