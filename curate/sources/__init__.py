"""Where images come from. One file each: one generator, one `Source` value, listed here."""

import os
from pathlib import Path

from curate.dataset.folder import command_line
from curate.errors import UsageError
from curate.sources import folder, openverse, pixabay, terms
from curate.sources.base import Source

SOURCES: tuple[Source, ...] = (folder.SOURCE, openverse.SOURCE, pixabay.SOURCE)


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
    return [
        {
            "name": source.name,
            "summary": source.summary,
            "needs": ", ".join(_missing_prerequisites(source, root)) or "nothing",
            "terms_url": source.terms_url,
            "terms": list(source.terms),
        }
        for source in SOURCES
    ]


def _missing_prerequisites(source: Source, root: Path) -> list[str]:
    needs = []
    if source.needs_acceptance and terms.find_acceptance(root, source) is None:
        needs.append(command_line(root, "sources", "accept", source.name, "--basis", "TEXT"))
    if source.key_env and not os.environ.get(source.key_env):
        needs.append(f"a key in {source.key_env}")
    return needs
