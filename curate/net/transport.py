"""One request, start to end: guarded, paced, timed, capped. Failures leave without secrets.

A redirect is followed by hand, each hop read, tested and paced like the first; all hops share one
deadline, in which the politeness between them does not count.
"""

import http.client
import logging
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin

from curate import __version__
from curate.errors import UsageError
from curate.net.answers import keep_headers
from curate.net.budget import Budget
from curate.net.failure import Failure, FailureKind, kind_of_status
from curate.net.guard import AddressRefusedError, ConnectError, Guard, Target
from curate.net.pools import HeadersUnreadError, Watchdog, make_pools
from curate.net.redact import Secret

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

MAX_REDIRECTS = 5
MAX_KEPT_HEADERS = 16_384  # characters of those that are kept, of a whole chain
REDIRECTS = (301, 302, 303, 307, 308)
_CONTACT = re.compile(r"[ -'*-\[\]-~]{3,200}")  # a comment of RFC 9110, section 5.6.5, unquoted
_LOGGERS = ("connection", "connectionpool", "poolmanager", "response", "util.retry")


class NotAnsweredError(Exception):
    """A request ended without an answer that could be read."""

    def __init__(self, kind: FailureKind, detail: str, *, again: bool = False) -> None:
        """Say how, and whether to ask again in a moment may help."""
        super().__init__(detail)
        self.failure, self.again = Failure(kind, detail), again


@dataclass(frozen=True)
class RequestLimits:
    """What one request may take, redirects included: by default one for an API answer."""

    total_s: float = 30.0  # seconds for the whole of it, from the look-up to the last byte
    silence_s: float = 10.0  # seconds without a byte
    max_bytes: int = 10_000_000
    bytes_per_s: int = 0  # slowest body we sit out; 0: any
    grace_s: float = 0.0  # seconds before the rate counts
    cuts: bool = False  # whether a longer body is cut to `max_bytes` rather than refused


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to ask for, and how."""

    url: str
    limits: RequestLimits
    hosts: tuple[str, ...] | None = None  # that may be asked, redirects included; None: any
    gap_s: float = 0.0  # seconds to leave after it before its host is asked again
    # given the kept header lines of each answer, why its body is not to be read: a `dropped` reason
    unwanted: Callable[[Sequence[str]], str | None] = lambda headers: None
    conditions: Mapping[str, str] = field(default_factory=dict)  # such as {"If-None-Match": …}
    # given an address that a redirect leads to, why that is not to be asked
    refuses: Callable[[str], Failure | None] = lambda url: None


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]  # names in any case
    lines: tuple[str, ...]  # kept headers of every answer of the chain, without secrets
    body: bytes
    target: Target  # which answered, after redirects; may hold the key
    redirects: tuple[str, ...] = ()  # addresses that led on, without secrets
    cut: bool = False  # whether its body went on


def check_contact(text: str) -> str:
    """The contact for the user agent, as given: printable ASCII without brackets or backslashes.

    Raises:
        UsageError: it is anything else.

    Source: RFC 9110, section 10.1.5 (User-Agent) and 5.6.5 (comments).
    """
    if _CONTACT.fullmatch(text) and text.strip():
        return text.strip()
    problem = "is to be 3 to 200 plain characters in one line, without ( ) and \\"
    raise UsageError(f"contact {text[:60]!r}", problem, fix="give an e-mail address or a web page")


def user_agent(contact: str | None) -> str:
    """How we name ourselves: `fubuki/VERSION (CONTACT) urllib3/VERSION`.

    Source: Wikimedia's user agent policy, which others have taken over.
    """
    from importlib.metadata import version

    comment = f" ({check_contact(contact)})" if contact else ""
    return f"fubuki/{__version__}{comment} urllib3/{version('urllib3')}"


@dataclass
class Transport:
    """Sends requests; a context, which closes what it opened."""

    guard: Guard  # where connections may go
    budget: Budget  # when they may
    key: Secret | None = None  # taken out of all that leaves, and of what the HTTP library logs
    contact: str | None = None  # for the user agent
    trusted: str | None = None  # file of certificates to trust; None: those of certifi
    _watchdog: Watchdog = field(default_factory=Watchdog)

    def __enter__(self) -> Self:
        """Take nothing from the surroundings; keep the key out of the library's log."""
        self._headers = {"User-Agent": user_agent(self.contact), "Accept-Encoding": "identity"}
        self._pools = make_pools(self.guard, self._watchdog, self.trusted)
        for name in _LOGGERS:
            logging.getLogger(f"urllib3.{name}").addFilter(self._redact)
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        for name in _LOGGERS:
            logging.getLogger(f"urllib3.{name}").removeFilter(self._redact)
        self._pools.clear()

    def scrub(self, text: str) -> str:
        """The text without the key."""
        return self.key.scrub(text) if self.key else text

    def read(self, url: str) -> Target:
        """Where a request for `url` goes.

        Raises:
            NotAnsweredError: the guard refuses it.
        """
        try:
            return self.guard.read(url)
        except AddressRefusedError as error:
            raise NotAnsweredError(FailureKind.REFUSED, self.scrub(str(error))) from None

    def send(self, request: Request) -> Reply:
        """Ask once; the answer, whatever its status.

        Raises:
            NotAnsweredError: there is none, or it is not to be read.
        """
        lines: list[str] = []
        led_on: list[str] = []
        try:
            return self._follow(request, lines, led_on)
        except NotAnsweredError as error:
            error.failure = replace(error.failure, headers=tuple(lines), redirects=tuple(led_on))
            raise

    def _follow(self, request: Request, lines: list[str], led_on: list[str]) -> Reply:
        """Send, from redirect to redirect; fills `lines` and `led_on` as it goes."""
        url, left = request.url, request.limits.total_s
        for _ in range(MAX_REDIRECTS + 1):
            target = self.read(url)
            if request.hosts is not None and target.host not in request.hosts:
                problem = self.scrub(f"{target.host} is not a host to be asked here")
                raise NotAnsweredError(FailureKind.REFUSED, problem)
            if led_on and (failure := request.refuses(target.url)):
                raise NotAnsweredError(failure.kind, failure.detail)
            if why := self.budget.why_resting(target.host):
                raise NotAnsweredError(FailureKind.BUSY, why)
            with (
                self.budget.turn(target.host, request.gap_s),
                self._watchdog.deadline(left),
                closing(self._open(target, request)) as response,
            ):
                if response.status != 429:  # which says itself how long to wait
                    self.budget.obey_headers(target.host, response.headers)
                location = self._judge(response, request, lines)
                if location is None:
                    body, cut = self._read_body(response, request.limits)
                    chain = tuple(lines), body, target, tuple(led_on)
                    return Reply(response.status, response.headers, *chain, cut=cut)
                left = self._watchdog.left()
            led_on.append(self.scrub(target.url))
            url = _join(target.url, location)
        raise NotAnsweredError(FailureKind.REFUSED, f"more than {MAX_REDIRECTS} redirects")

    def _judge(
        self, response: "BaseHTTPResponse", request: Request, lines: list[str]
    ) -> str | None:
        """Where an answer leads on to, if it does; its headers may end it all."""
        received = [f"{name}: {_unfold(value)}" for name, value in response.headers.iteritems()]
        kept = tuple(map(self.scrub, keep_headers(received)))
        lines += kept
        if sum(map(len, lines)) > MAX_KEPT_HEADERS:
            lines.clear()
            problem = f"more than {MAX_KEPT_HEADERS} characters of headers that bear on rights"
            raise NotAnsweredError(FailureKind.UNUSABLE, problem)
        location = response.headers.get("Location") if response.status in REDIRECTS else None
        bears = location or kind_of_status(response.status) is None
        if bears and (why := request.unwanted(kept)):
            kind, _, detail = why.partition(":")
            raise NotAnsweredError(FailureKind(kind), detail)
        return location or None

    def _open(self, target: Target, request: Request) -> "BaseHTTPResponse":
        """Send one request, and read the headers of its answer."""
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        scheme = self.guard.endpoint.scheme if self.guard.endpoint else target.scheme
        headers = {**request.conditions, **self._headers, "Host": target.authority}
        limits = request.limits
        try:
            pool = self._pools.connection_from_host(target.host, target.port, scheme)
            return pool.urlopen(
                "GET", target.path, headers=headers,
                timeout=Timeout(limits.silence_s), retries=False, redirect=False,
                assert_same_host=False, preload_content=False, decode_content=False,
            )  # fmt: skip
        except AddressRefusedError as error:
            raise NotAnsweredError(FailureKind.REFUSED, self.scrub(str(error))) from None
        except (HTTPError, http.client.HTTPException, OSError, ValueError, ConnectError) as error:
            raise self._explain(error, limits) from None

    def _read_body(self, response: "BaseHTTPResponse", limits: RequestLimits) -> tuple[bytes, bool]:
        """The body as it comes, capped, and not slower than allowed; whether it was cut."""
        from urllib3.exceptions import HTTPError

        self._check_coding(response.headers)
        stated = response.headers.get("Content-Length", "")
        long = stated.isascii() and stated.isdecimal() and int(stated[:18]) > limits.max_bytes
        too_large = NotAnsweredError(FailureKind.UNUSABLE, f"over {limits.max_bytes} bytes")
        if long and not limits.cuts:
            raise too_large
        started, body = time.monotonic(), bytearray()
        while True:
            try:
                chunk = response.read1(65536, decode_content=False)
            except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
                raise self._explain(error, limits) from None
            body += chunk
            if not chunk or len(body) > limits.max_bytes:
                break
            passed = time.monotonic() - started
            if passed > limits.grace_s and len(body) < passed * limits.bytes_per_s:
                problem = f"too slow (under {limits.bytes_per_s} bytes a second)"
                raise NotAnsweredError(FailureKind.BROKEN, problem)
        if self._watchdog.expired:  # which looks like the end of a body of unstated length
            raise self._explain(TimeoutError(), limits)
        if len(body) > limits.max_bytes and not limits.cuts:
            raise too_large
        unstated = not {"Content-Length", "Transfer-Encoding"} & {*map(str.title, response.headers)}
        if not body and unstated and response.status == 200 and not limits.cuts:
            raise self._explain(ConnectionError("hung up, perhaps in the headers"), limits)
        return bytes(body[: limits.max_bytes]), len(body) > limits.max_bytes

    def _check_coding(self, headers: Mapping[str, str]) -> None:
        """Refuse a body that would have to be unpacked: 300 KB of gzip become 300 MB."""
        for name, plain in (("Content-Encoding", "identity"), ("Transfer-Encoding", "chunked")):
            coding = headers.get(name, plain).strip().lower()
            if coding not in (plain, ""):
                problem = f"compressed answer refused ({self.scrub(coding)[:20]})"
                raise NotAnsweredError(FailureKind.UNUSABLE, problem)

    def _explain(self, error: Exception, limits: RequestLimits) -> NotAnsweredError:
        """What went wrong; the library's own messages hold the address and stay inside."""
        from urllib3 import exceptions

        causes = (error, *error.args)
        if self._watchdog.expired or not self._watchdog.left():
            problem, again = f"not finished after {limits.total_s:g} s", False
        elif any(isinstance(cause, HeadersUnreadError) for cause in causes):
            return NotAnsweredError(FailureKind.UNUSABLE, "its headers cannot be read")
        elif isinstance(error, ConnectError):
            problem, again = self.scrub(str(error)), True
        elif any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            problem, again = "its certificate cannot be trusted", False
        elif any(isinstance(cause, exceptions.SSLError | ssl.SSLError) for cause in causes):
            problem, again = "no encrypted connection is to be had", True
        elif isinstance(error, exceptions.TimeoutError | TimeoutError):
            problem, again = f"no byte for {limits.silence_s:g} s", True
        else:
            problem, again = "the connection broke, or it does not speak HTTP", True
        return NotAnsweredError(FailureKind.BROKEN, problem, again=again)

    def _redact(self, record: logging.LogRecord) -> bool:
        if self.key:
            record.msg, record.args = self.key.scrub(record.getMessage()), None
            record.exc_info = record.exc_text = None
        return True


def _join(url: str, location: str) -> str:
    """Where a redirect leads; what is no UTF-8 is taken letter by letter, as it is received."""
    with suppress(UnicodeError):
        location = location.encode("latin-1").decode()
    with suppress(ValueError):
        return urljoin(url, _unfold(location).strip())
    return ""  # which the guard refuses


def _unfold(value: str) -> str:
    """One line of a header that was sent in several (RFC 9112, section 5.2)."""
    return re.sub(r"\s*[\r\n]+\s*", " ", value)
