"""Where images come from. One file each: one generator, one `Source` value, listed here."""

from pathlib import Path

from curate.errors import UsageError
from curate.sources import contact, folder, huggingface, openverse, pixabay, shards, terms
from curate.sources.base import Source

SOURCES: tuple[Source, ...] = (
    *(folder.SOURCE, huggingface.SOURCE, shards.SOURCE),
    *(openverse.SOURCE, pixabay.SOURCE),
)


def find_source(name: str) -> Source:
    """The source with this name.

    Raises:
        UsageError: there is none.
    """
    for source in SOURCES:
        if source.name == name:
            return source
    raise UsageError(name, "no such source", fix="curate sources list")


def list_sources(root: Path) -> list[dict[str, object]]:
    """Every source as plain values: what it is, what it still needs here, and its terms."""
    known = contact.find_contact(root)
    return [
        {
            "name": source.name,
            "summary": source.summary,
            "needs": ", ".join(one.command for one in terms.missing(root, source, known))
            or "nothing",
            "terms_url": source.terms_url,
            "terms": list(source.terms),
        }
        for source in SOURCES
    ]
