"""Who made what: the credit lines that go with published images."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample
from curate.rights.licences import licence_url

MODIFIED = "modified: resized"


@dataclass(frozen=True, slots=True)
class Credit:
    """One line of credit: all images that share author and licence."""

    works: tuple[tuple[str, str | None], ...]  # title and page of each image, sorted
    author: str | None
    author_url: str | None
    license: str  # id, or as stated where it is unknown
    license_url: str | None
    modified: str = MODIFIED


def collect_credits(samples: Iterable[Sample], *, modified: str = MODIFIED) -> list[Credit]:
    """One credit for each author and licence, sorted; CC0 and the public domain are listed too.

    Args:
        samples: the images that are given on.
        modified: what was done to them, as the licences ask to be told.
    """
    groups: dict[tuple[str, ...], list[tuple[str, str | None]]] = defaultdict(list)
    for sample in samples:
        name = sample.license or sample.license_text or "licence unknown"
        address = (licence_url(sample.license) if sample.license else None) or sample.license_url
        work = sample.title or sample.file_name or sample.key, sample.page_url
        groups[(sample.author or "", sample.author_url or "", name, address or "")].append(work)
    credits = []
    for (author, author_url, name, address), group in sorted(groups.items()):
        works = tuple(sorted(group, key=lambda work: (work[0], work[1] or "")))
        maker = author or None, author_url or None
        credits.append(Credit(works, *maker, name, address or None, modified))
    return credits


def dataset_credits(dataset: Dataset) -> list[Credit]:
    """The credits of every image that may be trained on: those that `curate pack` takes.

    Raises:
        InputError: no dataset there.
    """
    return collect_credits(sample for sample in dataset.read().samples if sample.may_train)


def credit_markdown(credit: Credit) -> str:
    """The credit as a Markdown list item."""
    works = list(dict.fromkeys(credit.works))
    pages = {page for _, page in works}
    shared = pages.pop() if len(pages) == 1 and len(works) > 1 else None
    named = "; ".join(_markdown_link(title, None if shared else page) for title, page in works)
    what = named if len(credit.works) == 1 else f"{len(credit.works)} images ({named})"
    parts = [
        f"{what} by {_markdown_link(credit.author or 'unknown author', credit.author_url)}",
        *([_markdown_link("source", shared)] if shared else []),
        _markdown_link(credit.license, credit.license_url),
        credit.modified,
    ]
    return "- " + ", ".join(parts)


def _markdown_link(text: str, url: str | None) -> str:
    shown = "".join(f"\\{c}" if c in r"\`*_[]<>#|" else c for c in " ".join(text.split()))
    if not url or not url.startswith(("https://", "http://")):
        return shown
    address = "".join(f"%{ord(c):02X}" if c in "<> \t\r\n" else c for c in url)
    return f"[{shown}](<{address}>)"
