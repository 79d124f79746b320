"""RSL: that a licence with terms for AI is offered. The licence itself is not asked for.

`License:` in robots.txt, or the header `Link: <…>; rel="license"; type="application/rsl+xml"`.
It may permit training, forbid it, or sell it; which of these is in a document that we do not
fetch, so all that can be told is that something is said.

Source: Really Simple Licensing 1.0 (December 2025), https://rslstandard.org/rsl
"""

import re
from collections.abc import Iterable

from curate.dataset.sample import Signal
from curate.rights.signals.robots import RobotsLines

_LINK = re.compile(r"<[^<>]*>([^<]*)")
_REL = re.compile(r"""\brel\s*=\s*["']?([^"';,]*)""")


def rsl_headers(values: Iterable[str]) -> list[Signal]:
    """The offer of a licence in the `Link` headers of an image."""
    links = [match for value in values for match in _LINK.findall(value.lower())]
    rsl = [link for link in links if "application/rsl+xml" in link]
    offers = [link for link in rsl if "license" in " ".join(_REL.findall(link)).split()]
    return [Signal("link:rsl-license", None, "item")] if offers else []


def rsl_lines(robots: RobotsLines) -> list[Signal]:
    """The offer of a licence in a robots.txt."""
    lines = (*robots.ungrouped, *robots.ours)
    offers = [value for field, value in lines if field == "license" and value]
    return [Signal("robots.txt:rsl-license", None, "site")] if offers else []
