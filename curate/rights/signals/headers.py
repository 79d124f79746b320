"""Signals against training that come with an image: the `X-Robots-Tag` header."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

OPT_OUT_DIRECTIVES = ("noai", "noimageai", "noml")
OUR_AGENTS = ("*", "fubuki", "robots", "all")  # ours, and what stands for everybody
_WITH_VALUE = ("unavailable-after", "max-snippet", "max-image-preview", "max-video-preview")
# a name, perhaps with a version, and a colon that no time of day and no address goes on from
_AGENT = re.compile(
    r"(?<![\w.*/+-])([a-z*][\w.*-]*)(?:/[\w.*+-]*)?(?:\s*\([^()]*\))?\s*:(?!\s*\d|//)"
)
_WORD = re.compile(r"[^\W\d_]+")


def parse_robots_tag(values: Sequence[str]) -> tuple[str, ...]:
    """The opt-outs in the values of `X-Robots-Tag`, as `x-robots-tag:DIRECTIVE`, each once.

    A value is a list of directives, perhaps after `agent:`, which then holds for the rest of
    the value or until the next agent. Directives for agents other than ours are passed over.
    A directive counts however it is spelt, as long as it can be recognised: any case, any
    separator, quoted, with a hyphen or a value (`no-ai`, `noai=1`), the agent with its version.
    Dates of `unavailable_after` may hold commas and colons. Whether a page may be indexed
    (`noindex`, `none`) says nothing about training and is not a signal here.

    Source: https://developers.google.com/search/docs/crawling-indexing/robots-meta-tag, with the
    directives `noai`, `noimageai` and `noml` that sites add to it.
    """
    found: dict[str, None] = {}
    for value in values:
        for agent, text in _by_agent(unicodedata.normalize("NFKC", value).lower()):
            if agent in OUR_AGENTS:
                found |= dict.fromkeys(f"x-robots-tag:{name}" for name in _directives(text))
    return tuple(found)


def _by_agent(value: str) -> Iterator[tuple[str, str]]:
    """Each agent of a value in lower case, and the text that speaks to it."""
    agent, start = "*", 0
    for match in _AGENT.finditer(value):
        name = match[1]
        if name.replace("_", "-") in _WITH_VALUE or any(_directives(name)):
            continue
        yield agent, value[start : match.start()]
        agent, start = name, match.end()
    yield agent, value[start:]


def _directives(text: str) -> Iterator[str]:
    """The directives in a text, which may be parted by anything: `no-ai`, `noai|noml`."""
    words = _WORD.findall(text)
    for start in range(len(words)):
        for length in (1, 2, 3):
            if (name := "".join(words[start : start + length])) in OPT_OUT_DIRECTIVES:
                yield name
