"""`Content-Usage`: preferences on AI usage, as the IETF's working group AIPREF drafts them.

Read as in draft-ietf-aipref-vocab-08 (September 2026) and draft-ietf-aipref-attach-05 (August
2026), which are no standards yet and may change; nothing else here knows of them. Earlier drafts
had other labels: a refusal by those counts, a permission does not. Where statements differ, the
most restrictive counts.
"""

from collections.abc import Iterable

from curate.dataset.sample import Signal
from curate.rights.signals.pairs import Vocabulary, read_pairs
from curate.rights.signals.robots import RobotsLines, read_scoped_lines

OLDER_LABELS = ("ai", "bots", "genai", "tdm", "train-genai", "ai-train", "ai-training")
CONTENT_USAGE = Vocabulary("content-usage", "train-ai", "y", "n", OLDER_LABELS)


def content_usage_headers(values: Iterable[str]) -> list[Signal]:
    """What `Content-Usage` headers say of an image."""
    signal = read_pairs(", ".join(values), CONTENT_USAGE)
    return [signal] if signal else []


def content_usage_lines(robots: RobotsLines, url: str) -> list[Signal]:
    """What the `Content-Usage` lines of a robots.txt say of `url`.

    A line is `Content-Usage: PATH PREFERENCES`; of those that speak of training, the one with
    the longest matching path counts. A line without a path, as earlier drafts had it, is for all.
    """
    return read_scoped_lines(robots, url, CONTENT_USAGE)
