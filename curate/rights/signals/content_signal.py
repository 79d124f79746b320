"""`Content-Signal`: Cloudflare's content signals (https://contentsignals.org/, September 2025).

In robots.txt `Content-Signal: search=yes, ai-train=no`, perhaps after a path; also as a header.
"""

from collections.abc import Iterable

from curate.dataset.sample import Signal
from curate.rights.signals.pairs import Vocabulary, read_pairs
from curate.rights.signals.robots import RobotsLines, read_scoped_lines

CONTENT_SIGNAL = Vocabulary("content-signal", "ai-train", "yes", "no", ("train-ai",))


def content_signal_headers(values: Iterable[str]) -> list[Signal]:
    """What `Content-Signal` headers say of an image."""
    signal = read_pairs(", ".join(values), CONTENT_SIGNAL)
    return [signal] if signal else []


def content_signal_lines(robots: RobotsLines, url: str) -> list[Signal]:
    """What the `Content-Signal` lines of a robots.txt say of `url`."""
    return read_scoped_lines(robots, url, CONTENT_SIGNAL)
