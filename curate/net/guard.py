"""Connect only to public addresses, checked at the moment of connecting.

A name is resolved once, every address it has is tested, and the connection goes to a tested
address: a second answer of the name server cannot lead elsewhere. Proxies, netrc and cookies
of the surroundings are not used.
"""

import ipaddress
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from curate.errors import UsageError

if TYPE_CHECKING:
    import requests
    from urllib3.connection import HTTPConnection

_V4_REFUSED = (ipaddress.IPv4Network("192.88.99.0/24"),)  # 6to4 relays
_V6_PUBLIC = ipaddress.IPv6Network("2000::/3")
_V6_REFUSED = tuple(
    ipaddress.IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


class AddressRefusedError(Exception):
    """The guard will not connect there; the text says why, without secrets."""


class TransientError(Exception):
    """The connection failed in a way that may pass."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open Internet.

    Stricter than `ipaddress.is_global`, which calls NAT64, 6to4, `::127.0.0.1` and multicast
    global. IPv4-mapped addresses count as what they map.
    """
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return is_public(str(ip.ipv4_mapped))
        return ip in _V6_PUBLIC and not any(ip in net for net in _V6_REFUSED)
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in _V4_REFUSED)


@dataclass(frozen=True)
class Endpoint:
    """A server on this machine that stands in for a source: plain HTTP, loopback only."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Read `http://127.0.0.1:PORT`.

        Raises:
            UsageError: anything that is not plain HTTP to a numeric loopback address.
        """
        with suppress(ValueError):
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
            plain = parts.path in ("", "/") and not (parts.query or parts.username)
            local = parts.scheme == "http" and ipaddress.ip_address(host).is_loopback
            if local and plain and port:
                return cls(host, port)
        problem = "only a server on this machine can stand in for a source"
        raise UsageError(f"--endpoint {url}", problem, fix="--endpoint http://127.0.0.1:PORT")

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


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
