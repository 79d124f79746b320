"""The transport that `client` still uses, until `fetch` asks through `connection`."""

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin, urlsplit

from curate import __version__
from curate.net.budget import parse_delay
from curate.net.guard import AddressRefusedError, Endpoint, is_public
from curate.net.redact import Secret
from curate.rights.signals.headers import parse_robots_tag
from curate.system.progress import SILENT, Progress

if TYPE_CHECKING:
    import requests
    from urllib3.connection import HTTPConnection


class TransientError(Exception):
    """The connection failed in a way that may pass."""


@dataclass
class RateLimiter:
    """Keeps requests to one host a minimum time apart. One request at a time, no threads."""

    progress: Progress = SILENT
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    max_wait_s: float = 120.0  # seconds we sit out; asked for more, the fetch stops
    _earliest: dict[str, float] = field(default_factory=dict)  # host -> clock time

    def wait(self, host: str, gap: float) -> None:
        """Sleep until `host` may be asked, then count this request; `gap` in seconds."""
        left = self._earliest.get(host, 0.0) - self.clock()
        if left > 0:
            self.sleep(left)
        self._earliest[host] = self.clock() + gap

    def delay(self, host: str, seconds: float) -> None:
        """Do not ask `host` again for `seconds`."""
        self._earliest[host] = max(self._earliest.get(host, 0.0), self.clock() + seconds)

    def obey_headers(self, host: str, headers: Mapping[str, str]) -> None:
        """Obey a `X-RateLimit-Remaining: 0`: wait for the window to end before the next request."""
        if headers.get("X-RateLimit-Remaining", "").strip() == "0":
            seconds = min(parse_delay(headers.get("X-RateLimit-Reset", "")) or 0.0, self.max_wait_s)
            if seconds:
                left = f"next request in {seconds:.0f} s"
                self.progress.say(f"{host}: the allowance is used up; {left}")
            self.delay(host, seconds)


@dataclass(frozen=True)
class Guard:
    """Says where a connection may go; the endpoint is the one loopback port that is open."""

    endpoint: Endpoint | None = None

    def check(self, url: str) -> str:
        """The host of `url`.

        Raises:
            AddressRefusedError: not https (save for the endpoint), no host, or a user name inside.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise AddressRefusedError("not a usable address") from None
        if not host or parts.username is not None:
            raise AddressRefusedError("not a usable address")
        local = parts.scheme == "http" and self._is_endpoint(host, port)
        if parts.scheme != "https" and not local:
            raise AddressRefusedError(f"{host} is not asked over https")
        return host

    def addresses(self, host: str, port: int) -> list[str]:
        """Where to connect for `host`: every address it resolves to, all of them tested.

        Raises:
            TransientError: the name does not resolve.
            AddressRefusedError: one of its addresses is not public.
        """
        if self._is_endpoint(host, port):
            return [host]
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise TransientError(f"{host} cannot be found") from None
        found = [str(answer[4][0]) for answer in answers]
        if not found or not all(is_public(address) for address in found):
            raise AddressRefusedError(f"{host} is not a public address")
        return found

    def _is_endpoint(self, host: str, port: int | None) -> bool:
        ours = self.endpoint
        return ours is not None and (host, port) == (ours.host, ours.port)


@dataclass(eq=False)
class Watchdog:
    """Breaks a connection that outlives its deadline, whatever it is waiting for."""

    expired: bool = False
    _sockets: deque[socket.socket] = field(default_factory=deque)

    def watch(self, connected: socket.socket) -> None:
        """Remember a connection; a duplicate handle survives the TLS wrapping."""
        self._sockets.append(connected.dup())
        if len(self._sockets) > 16:
            self._sockets.popleft().close()

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Break every connection when `seconds` are over; `expired` then says so."""
        self.expired = False
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def close(self) -> None:
        """Forget all connections."""
        while self._sockets:
            self._sockets.popleft().close()

    def _expire(self) -> None:
        self.expired = True
        for handle in list(self._sockets):
            with suppress(OSError):  # already closed by the other side
                handle.shutdown(socket.SHUT_RDWR)


def guarded_session(guard: Guard, watchdog: Watchdog) -> "requests.Session":
    """A session whose every connection passes the guard.

    The name still goes into the Host header and the TLS handshake; only the address is pinned.
    """
    from http.cookiejar import DefaultCookiePolicy

    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    def guarded(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
        connect = {"_new_conn": lambda connection: _connect(connection, guard, watchdog)}
        connection = type("GuardedConnection", (pool.ConnectionCls,), connect)
        return type("GuardedPool", (pool,), {"ConnectionCls": connection})

    pools = {"http": guarded(HTTPConnectionPool), "https": guarded(HTTPSConnectionPool)}
    adapter = HTTPAdapter(max_retries=0)
    adapter.poolmanager.pool_classes_by_scheme = pools
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _connect(connection: "HTTPConnection", guard: Guard, watchdog: Watchdog) -> socket.socket:
    """Connect to one of the addresses that the guard has tested, under the eyes of `watchdog`."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    problem: OSError | None = None
    port = connection.port or 0
    for address in guard.addresses(connection.host, port):
        try:
            # as urllib3 does: its sentinel for "no timeout given" never reaches us
            connected = socket.create_connection((address, port), timeout=connection.timeout)
        except OSError as error:
            problem = error
            continue
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        watchdog.watch(connected)
        return connected
    if isinstance(problem, TimeoutError):
        raise ConnectTimeoutError(connection, "timed out")
    raise NewConnectionError(connection, "cannot be reached")


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
