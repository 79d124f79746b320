"""All that is said about training on an image, and what of it keeps the image from being asked for.

`fetch` asks only the two functions that refuse; what a signal means for a use is decided by
`curate check`, so that a new signal needs no new fetch.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from curate.dataset.evidence import StoredAnswer, read_answer
from curate.dataset.folder import Store
from curate.dataset.sample import Sample, Signal
from curate.rights.signals.ai_txt import read_ai_txt
from curate.rights.signals.aipref import content_usage_headers, content_usage_lines
from curate.rights.signals.content_signal import content_signal_headers, content_signal_lines
from curate.rights.signals.headers import parse_robots_tag
from curate.rights.signals.robots import is_disallowed, read_robots
from curate.rights.signals.rsl import rsl_headers, rsl_lines
from curate.rights.signals.tdmrep import tdm_file, tdm_headers

ROBOTS, TDMREP, AI_TXT = "/robots.txt", "/.well-known/tdmrep.json", "/ai.txt"
DISALLOWED = Signal("robots.txt", False, "site")


def refuse_before_asking(url: str, documents: Sequence[StoredAnswer]) -> str | None:
    """Why the image at `url` is not to be asked for, as a `dropped` reason; None if it may be.

    Args:
        url: of the image.
        documents: what hosts say of all they hold (robots.txt, tdmrep.json, ai.txt).
    """
    return f"opt-out:{DISALLOWED.name}" if DISALLOWED in site_signals(url, documents) else None


def refuse_before_reading(headers: Iterable[str]) -> str | None:
    """Why the body of an answer is not to be read, as a `dropped` reason; None if it may be.

    Args:
        headers: lines `Name: value` of the answer, as received.
    """
    for signal in header_signals(headers):
        if signal.allows is False:
            return f"opt-out:{signal.name}"
    return None


def header_signals(lines: Iterable[str]) -> tuple[Signal, ...]:
    """What an image's headers say, from lines `Name: value`; each thing once."""
    values: dict[str, list[str]] = defaultdict(list)
    for name, colon, value in (line.partition(":") for line in lines):
        if colon:
            values[name.strip().lower()].append(value.strip())
    return tuple(
        dict.fromkeys(
            [
                *(Signal(s, False, "item") for s in parse_robots_tag(values["x-robots-tag"])),
                *tdm_headers(values["tdm-reservation"]),
                *content_usage_headers(values["content-usage"]),
                *content_signal_headers(values["content-signal"]),
                *rsl_headers(values["link"]),
            ]
        )
    )


def site_signals(url: str, documents: Sequence[StoredAnswer]) -> tuple[Signal, ...]:
    """What the host of the image at `url` says of it among all it holds.

    Documents of other hosts are passed over, and those answered with an error, which means that
    there is none; a robots.txt answered 5xx refuses everything (RFC 9309, section 2.3.1.4).
    """
    found: dict[Signal, None] = {}
    for document in documents:
        if (host := _host(document.url)) and host == _host(url):
            path = urlsplit(document.url).path
            found |= dict.fromkeys(_document_signals(path, document, url))
    return tuple(found)


def _host(url: str) -> tuple[str, int | None] | None:
    """Host and port of an address; the usual ports are one, since `http` is asked as `https`."""
    try:
        parts = urlsplit(url)
        port, name = parts.port, parts.hostname or ""
        host = (name if name.isascii() else name.encode("idna").decode()).removesuffix(".")
    except ValueError:  # of which UnicodeError is one
        return None
    return (host, None if port in (80, 443) else port) if host else None


def _document_signals(path: str, document: StoredAnswer, url: str) -> list[Signal]:
    if path == ROBOTS and document.status >= 500:
        return [DISALLOWED]
    if not 200 <= document.status < 300:
        return []
    if path == TDMREP:
        return tdm_file(document.body, url)
    if path == AI_TXT:
        return read_ai_txt(document.body, url)
    if path != ROBOTS:
        return []
    robots = read_robots(document.body)
    return [
        *([DISALLOWED] if is_disallowed(robots, url) else []),
        *content_usage_lines(robots, url),
        *content_signal_lines(robots, url),
        *rsl_lines(robots),
    ]


def signals_of(sample: Sample, evidence: Store) -> tuple[Signal, ...]:
    """As `all_signals`, the documents being those that the row names in `site_evidence`.

    Raises:
        InputError: one of them is missing from `evidence`, or has changed.
    """
    return all_signals(sample, [read_answer(evidence, name) for name in sample.site_evidence])


def all_signals(sample: Sample, documents: Sequence[StoredAnswer]) -> tuple[Signal, ...]:
    """All that is said about training on an image, each thing once; contradictions stand.

    In this order: its source's record (`opt_outs`), the headers it came with, its hosts'
    documents, its own bytes (`embedded`). Only TDMRep's header takes the place of TDMRep's file,
    as its report asks.
    """
    urls = dict.fromkeys(u for u in (sample.image_url, *sample.redirects, sample.final_url) if u)
    headers = header_signals(sample.headers)
    sites = [signal for url in urls for signal in site_signals(url, documents)]
    if any(s.name.startswith("tdm-reservation:") and s.allows is not None for s in headers):
        sites = [signal for signal in sites if not signal.name.startswith("tdmrep.json:")]
    stated = [Signal(name, False, "item") for name in sample.opt_outs]
    return tuple(dict.fromkeys([*stated, *headers, *sites, *sample.embedded]))
