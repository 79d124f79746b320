"""The lists of words that lie beside modules, and what justifies each of their entries.

A line is `ENTRY: EXAMPLE`, a prompt or a caption that is read otherwise without the entry, as
`tests/test_text_lists.py` proves for each; `#` stands before a comment, `[TITLE]` above a section.
"""

from functools import cache
from importlib import resources


@cache
def read_sections(name: str) -> dict[str, dict[str, str]]:
    """The entries of each section of a list with their examples.

    Args:
        name: of the file, from the folder of the package on: `text/lemmas.txt`.

    Returns:
        The same dictionaries whenever asked; what stands above any title is in "".
    """
    found: dict[str, dict[str, str]] = {}
    title = ""
    for line in resources.files("curate").joinpath(name).read_text("utf-8").splitlines():
        if line.startswith("["):
            title = line.strip("[]")
        elif line and not line.startswith("#"):
            entry, _, example = line.partition(": ")
            found.setdefault(title, {})[entry] = example
    return found
