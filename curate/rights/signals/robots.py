"""robots.txt and what is written like it: the lines that speak to us, and the paths they mean.

Protego matches paths (longest match, wildcards, percent-encoding) but drops the lines it does not
know, where AI is spoken of; and it takes `User-agent: k` for us, and `fubuki/1.0` for another. So
groups are read here, and it is handed the lines of ours.

Source: RFC 9309 (September 2022).
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from curate.dataset.sample import Signal
from curate.rights.signals.pairs import Vocabulary, read_pairs

if TYPE_CHECKING:
    from protego import Protego

OUR_AGENT = "fubuki"
_USER_AGENT = re.compile(r"user[\s_-]*agent\b\s*:?\s*(.*)", re.IGNORECASE)
_PRODUCT_TOKEN = re.compile(r"\*|[a-z_-]+", re.IGNORECASE)  # RFC 9309 section 2.2.1
_OF_THE_SITE = frozenset(("sitemap", "host", "license"))  # lines that belong to no group
_NEITHER = re.compile(r"[\s#]")  # what a path in robots.txt cannot hold as it is


@dataclass(frozen=True)
class RobotsLines:
    """The lines of a file that speak to us, `(field in lower case, value)`, in their order."""

    ours: tuple[tuple[str, str], ...]  # of the groups for us, or else of those for everybody
    ungrouped: tuple[tuple[str, str], ...]  # above the first group, and those of the whole site


@lru_cache(maxsize=64)
def read_robots(text: str) -> RobotsLines:
    """The lines for `fubuki` in a file like robots.txt; anything may be handed in."""
    groups: dict[str, list[tuple[str, str]]] = {}
    ungrouped: list[tuple[str, str]] = []
    agents: list[str] = []  # of the group that is being read
    in_head = False  # still among the User-agent lines of a group
    for line in text.removeprefix("\ufeff").splitlines():
        line = line.partition("#")[0].strip()
        if named := _USER_AGENT.fullmatch(line):
            token = _PRODUCT_TOKEN.match(named[1])
            agents = agents if in_head else []
            agents.append(token[0].lower() if token else "")
            groups.setdefault(agents[-1], [])
            in_head = True
            continue
        field, colon, value = line.partition(":")
        rule = (field.strip().lower(), value.strip()) if colon else ("", line)
        if not line:
            continue
        if rule[0] in _OF_THE_SITE or not agents:
            ungrouped.append(rule)
            continue
        in_head = False
        for agent in dict.fromkeys(agents):
            groups[agent].append(rule)
    ours = groups.get(OUR_AGENT, groups.get("*", []))
    return RobotsLines(tuple(ours), tuple(ungrouped))


def is_disallowed(robots: RobotsLines, url: str) -> bool:
    """Whether a robots.txt keeps us from asking for `url`."""
    return not _protego(robots.ours).can_fetch(url, OUR_AGENT)


def matches_path(pattern: str, url: str) -> bool:
    """Whether a path with `*` and `$`, as robots.txt has them, means `url`."""
    plain = _NEITHER.sub(lambda character: quote(character[0]), pattern.strip())
    return bool(plain) and is_disallowed(RobotsLines((("disallow", plain),), ()), url)


def read_scoped_lines(robots: RobotsLines, url: str, vocabulary: Vocabulary) -> list[Signal]:
    """What the lines `FIELD: PATH PAIRS` or `FIELD: PAIRS` say of training on what is at `url`.

    Of the lines whose path matches and that speak of training, those with the longest path
    count, and of these the most restrictive. The signal is named `robots.txt:…`.
    """
    found: dict[int, str] = {}  # length of the path -> what is said under it
    for field, value in (*robots.ungrouped, *robots.ours):
        if field.replace("_", "-") != vocabulary.field:
            continue
        path, said = (*value.split(None, 1), "")[:2] if value[:1] in ("/", "*") else ("", value)
        if read_pairs(said, vocabulary) and (not path or matches_path(path, url)):
            found[len(path)] = f"{found.get(len(path), '')}, {said}"
    signal = read_pairs(found[max(found)], vocabulary) if found else None
    return [replace(signal, name=f"robots.txt:{signal.name}", scope="site")] if signal else []


@lru_cache(maxsize=1024)
def _protego(lines: tuple[tuple[str, str], ...]) -> "Protego":
    from protego import Protego

    rules = [f"{field}: {value}" if field else value for field, value in lines]
    return Protego.parse("\n".join(["User-agent: *", *rules]))
