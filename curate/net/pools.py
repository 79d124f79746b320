"""Connections: guarded, pinned, kept for the next request, and broken when their time is over."""

import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from curate.net.guard import Guard

if TYPE_CHECKING:
    from urllib3 import PoolManager

MAX_HOSTS = 16  # whose connections are kept


@dataclass(eq=False)
class Watchdog:
    """One deadline for an exchange: breaks its connections, whatever they are waiting for."""

    expired: bool = False
    _ends: float = 0.0
    _sockets: list[socket.socket] = field(default_factory=list)

    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._ends - time.monotonic())

    def watch(self, connected: socket.socket) -> None:
        """Remember a connection; a handle of our own survives the TLS wrapping."""
        self._sockets.append(socket.socket(fileno=os.dup(connected.fileno())))
        if self.expired:
            self._expire()

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Break every connection when `seconds` are over; `expired` then says so."""
        self.expired, self._ends = False, time.monotonic() + seconds
        timer = threading.Timer(max(seconds, 0.0), self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            while self._sockets:  # else the connection would stay open when the pool closes it
                self._sockets.pop().close()

    def _expire(self) -> None:
        self.expired = True
        for handle in list(self._sockets):
            with suppress(OSError):  # already closed by the other side
                handle.shutdown(socket.SHUT_RDWR)


class HeadersUnreadError(http.client.HTTPException):
    """An answer's headers cannot be told from its body, so nobody knows what they say."""


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        """Read status and headers; none of them may be lost, for any may be an opt-out."""
        super().begin()
        rest = self.msg.get_payload()
        if isinstance(rest, str) and rest and not rest.endswith("\n"):
            raise http.client.RemoteDisconnected("hung up in the middle of a header")
        if self.msg.defects or rest:
            raise HeadersUnreadError


def make_pools(guard: Guard, watchdog: Watchdog, trusted: str | None) -> "PoolManager":
    """Pools whose every connection passes the guard, with one TLS context for all.

    The name still goes into the Host header and the TLS handshake; only the address is pinned.
    """
    from urllib3 import PoolManager
    from urllib3.connection import HTTPConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    def connect(connection: HTTPConnection) -> socket.socket:
        silence = connection.timeout
        connected = guard.connect(
            connection.host, connection.port or 0,
            silence if isinstance(silence, int | float) else 10.0, watchdog.left,
        )  # fmt: skip
        watchdog.watch(connected)
        return connected

    def request(connection: Any, *given: Any, **more: Any) -> None:
        if connection.sock is not None:  # kept from an earlier request
            watchdog.watch(connection.sock)
        super(type(connection), connection).request(*given, **more)

    def guarded(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
        own = {"_new_conn": connect, "request": request, "response_class": _Response}
        return type(
            "GuardedPool", (pool,), {"ConnectionCls": type("G", (pool.ConnectionCls,), own)}
        )

    pools = PoolManager(num_pools=MAX_HOSTS, ssl_context=_tls_context(trusted))
    pools.pool_classes_by_scheme = {
        "http": guarded(HTTPConnectionPool),
        "https": guarded(HTTPSConnectionPool),
    }
    return pools


@cache
def _tls_context(trusted: str | None) -> ssl.SSLContext:
    """Once in a process: making one takes longer than asking for a picture."""
    import certifi

    return ssl.create_default_context(cafile=trusted or certifi.where())
