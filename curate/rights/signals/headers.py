"""Signals against training that come with an image: the `X-Robots-Tag` header."""

import re
from collections.abc import Sequence

OPT_OUT_DIRECTIVES = ("noai", "noimageai", "noml")
OUR_AGENTS = ("*", "fubuki")
_WITH_VALUE = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
_AGENT = re.compile(r"[A-Za-z*][\w.*/-]*")


def parse_robots_tag(values: Sequence[str]) -> tuple[str, ...]:
    """The opt-outs in the values of `X-Robots-Tag`, as `x-robots-tag:DIRECTIVE`, each once.

    A value is a list of directives, perhaps after `agent:`, which then holds for the rest of
    the value or until the next agent. Directives for agents other than ours are passed over.
    Dates of `unavailable_after` may hold commas and colons. Whether a page may be indexed
    (`noindex`, `none`) says nothing about training and is not a signal here.

    Source: https://developers.google.com/search/docs/crawling-indexing/robots-meta-tag, with the
    directives `noai`, `noimageai` and `noml` that sites add to it.
    """
    found: dict[str, None] = {}
    for value in values:
        agent = "*"
        for piece in value.split(","):
            agent, directive = _parse_directive(piece.strip(), agent)
            if directive in OPT_OUT_DIRECTIVES and agent in OUR_AGENTS:
                found[f"x-robots-tag:{directive}"] = None
    return tuple(found)


def _parse_directive(piece: str, agent: str) -> tuple[str, str]:
    """The agent and the directive of one piece between commas; "" where it is a value or date."""
    head, colon, rest = (part.strip() for part in piece.partition(":"))
    if not colon:
        return agent, piece.lower()
    if head.lower() in _WITH_VALUE or not _AGENT.fullmatch(head):
        return agent, ""
    return _parse_directive(rest, head.lower())
