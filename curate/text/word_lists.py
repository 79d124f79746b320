"""The lists of words that lie beside these modules: an entry a line, `#` before a comment."""

from collections import defaultdict
from collections.abc import Iterator
from importlib import resources


def read_list(name: str) -> Iterator[str]:
    """The lines of one of our word lists, without comments and empty ones."""
    text = resources.files("curate.text").joinpath(name).read_text("utf-8")
    return (line for line in text.splitlines() if line.strip() and not line.startswith("#"))


def read_sections(name: str) -> dict[str, list[str]]:
    """The entries of each section of a list; `[TITLE]` stands above the entries of one."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    title = ""
    for line in read_list(name):
        if line.startswith("["):
            title = line.strip("[]")
        else:
            found[title].append(line)
    return dict(found)
