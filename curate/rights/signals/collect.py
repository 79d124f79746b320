"""All that is said about training on an image, and what of it keeps the image from being asked for.

`fetch` asks only the two functions that refuse; what a signal means for a use is decided by
`curate check`, so that a new signal needs no new fetch.
"""

from collections.abc import Iterable, Sequence

from curate.dataset.evidence import StoredAnswer
from curate.dataset.sample import Signal
from curate.rights.signals.headers import parse_robots_tag


def refuse_before_asking(url: str, documents: Sequence[StoredAnswer]) -> str | None:
    """Why the image at `url` is not to be asked for, as a `dropped` reason; None if it may be.

    Args:
        url: of the image.
        documents: what its host says of all it holds (robots.txt, tdmrep.json, ai.txt).
    """
    return None


def refuse_before_reading(headers: Sequence[str]) -> str | None:
    """Why the body of an answer is not to be read, as a `dropped` reason; None if it may be.

    Args:
        headers: lines `Name: value` of the answer, as received.
    """
    for signal in header_signals(headers):
        if not signal.allows and signal.scope == "item":
            return f"opt-out:{signal.name}"
    return None


def header_signals(headers: Iterable[str]) -> list[Signal]:
    """What an image's headers say, from lines `Name: value`."""
    tags = [
        v.strip() for n, _, v in (h.partition(":") for h in headers) if n.lower() == "x-robots-tag"
    ]
    return [Signal(name, False, "item") for name in parse_robots_tag(tags)]


def site_signals(url: str, documents: Sequence[StoredAnswer]) -> list[Signal]:
    """What the host of the image at `url` says of it among all it holds."""
    return []
