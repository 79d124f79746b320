"""One request, start to end: guarded, paced, timed, capped. Failures leave without secrets.

Answers and images both go through `requests`: they are asked for one at a time, so there is
nothing for a faster or concurrent client to win.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin

from curate import __version__
from curate.net.budget import RateLimiter
from curate.net.guard import AddressRefusedError, Guard, TransientError, Watchdog, guarded_session
from curate.net.redact import Secret
from curate.rights.signals.headers import parse_robots_tag

if TYPE_CHECKING:
    import requests

USER_AGENT = f"fubuki/{__version__}"
MAX_REDIRECTS = 5
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)


class UnavailableError(Exception):
    """What was asked for cannot be had; the text is a `dropped` reason."""


@dataclass(frozen=True)
class RequestLimits:
    """What one request may take: by default one for an API answer."""

    hosts: tuple[str, ...] = ()  # where it may go, redirects included
    gap_s: float = 0.0  # seconds to leave after it before the host is asked again
    total_s: float = 30.0  # seconds for the whole of it
    silence_s: float = 10.0  # seconds without a byte
    max_bytes: int = 10_000_000
    bytes_per_s: int = 0  # slowest body we sit out; 0: any
    grace_s: float = 0.0  # seconds before the rate counts
    heeds_opt_outs: bool = False  # whether `X-Robots-Tag` may keep us from reading the body


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]  # names in any case
    body: bytes
    url: str  # after redirects
    opt_outs: tuple[str, ...] = ()  # if any, the body was not read


@dataclass
class Transport:
    """Sends requests one at a time; a context, which closes what it opened."""

    guard: Guard  # where connections may go
    rate_limiter: RateLimiter  # when they may
    key: Secret | None = None  # taken out of whatever the HTTP library logs
    _watchdog: Watchdog = field(default_factory=Watchdog)

    def __enter__(self) -> Self:
        """Make a session that takes nothing from its surroundings; keep the key out of its log."""
        self._session = guarded_session(self.guard, self._watchdog)
        self._session.headers.clear()
        self._session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
        logging.getLogger("urllib3.connectionpool").addFilter(self._redact)
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        logging.getLogger("urllib3.connectionpool").removeFilter(self._redact)
        self._session.close()
        self._watchdog.close()

    def _redact(self, record: logging.LogRecord) -> bool:
        if self.key:
            record.msg, record.args = self.key.scrub(record.getMessage()), None
        return True

    def send(self, url: str, may: RequestLimits) -> Reply:
        """Ask for `url`; follow redirects by hand, each one checked.

        Raises:
            AddressRefusedError: the address, or one it redirects to, is not to be asked.
            UnavailableError: too large, too slow or compressed.
            TransientError: no connection, or it broke.
        """
        for _ in range(MAX_REDIRECTS + 1):
            host = self.guard.check(url)
            if host not in may.hosts:
                raise AddressRefusedError(f"{host} is not a host to be asked here")
            self.rate_limiter.wait(host, may.gap_s)
            with self._open(url, may) as response:
                if response.status_code != 429:  # which says itself how long to wait
                    self.rate_limiter.obey_headers(host, response.headers)
                tags = response.raw.headers.getlist("X-Robots-Tag") if may.heeds_opt_outs else ()
                signals = parse_robots_tag(tags)
                target = response.headers.get("Location")
                if response.status_code in _REDIRECT_STATUSES and target and not signals:
                    url = urljoin(url, target)
                    continue
                body = b"" if signals else self._read_body(response, may)
            return Reply(response.status_code, response.headers, body, url, signals)
        raise AddressRefusedError(f"more than {MAX_REDIRECTS} redirects")

    @contextmanager
    def _open(self, url: str, may: RequestLimits) -> Iterator["requests.Response"]:
        """Send one request; the library's own messages hold the address and stay inside."""
        import requests
        from urllib3.exceptions import HTTPError
        from urllib3.exceptions import TimeoutError as LibraryTimeout

        try:
            with (
                self._watchdog.deadline(may.total_s),
                self._session.get(
                    url, stream=True, timeout=may.silence_s, allow_redirects=False
                ) as response,
            ):
                yield response
        except (requests.RequestException, HTTPError, OSError) as error:
            if self._watchdog.expired:
                raise UnavailableError(f"download:not finished after {may.total_s:g} s") from None
            if isinstance(error, requests.Timeout | LibraryTimeout | TimeoutError):
                problem = f"no byte for {may.silence_s:g} s"
            elif isinstance(error, requests.exceptions.SSLError):
                problem = "its certificate or encryption cannot be trusted"
            else:
                problem = "cannot be reached, or the connection broke"
            raise TransientError(problem) from None

    def _read_body(self, response: "requests.Response", may: RequestLimits) -> bytes:
        """The body as it comes, capped, and not slower than allowed."""
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity":
            raise UnavailableError(f"download:compressed answer refused ({encoding[:20]})")
        stated = response.headers.get("Content-Length", "")
        if stated.isdecimal() and int(stated) > may.max_bytes:
            raise UnavailableError(f"too-large:over {may.max_bytes} bytes")
        started, body = time.monotonic(), bytearray()
        while chunk := response.raw.read1(65536, decode_content=False):
            body += chunk
            if len(body) > may.max_bytes:
                raise UnavailableError(f"too-large:over {may.max_bytes} bytes")
            passed = time.monotonic() - started
            if passed > may.grace_s and len(body) < passed * may.bytes_per_s:
                slowest = f"under {may.bytes_per_s} bytes a second"
                raise UnavailableError(f"download:too slow ({slowest})")
        if self._watchdog.expired:
            raise OSError("cut by the watchdog")
        return bytes(body)
