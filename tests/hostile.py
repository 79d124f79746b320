"""Servers that do what no server should: one list, for the tests and `benchmarks/attack_net.py`.

A case is what a server does once it has read a request, or before; what must come of it; and how
long that may take. The same server is then told to be well and asked again.
"""

import _thread
import gzip
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from servers import image_bytes

from curate.net.transport import RequestLimits
from curate.net.tries import Limits

PICTURE = image_bytes(7)
ROOMY = RequestLimits(total_s=20.0, max_bytes=1_000_000)  # for a machine with much to do
TIGHT = RequestLimits(
    total_s=1.0, silence_s=0.4, max_bytes=1_000_000, bytes_per_s=4096, grace_s=0.2
)
OK = b"HTTP/1.1 200 OK\r\n"
HEALTHY = OK + b"Content-Length: %d\r\n\r\n" % len(PICTURE) + PICTURE
BROKE = "download:the connection broke, or it does not speak HTTP"
SLOW = "download:not finished after 1 s"
SILENT = "download:no byte for 0.4 s"
LARGE = "unusable:over 1000000 bytes"
PACKED = "unusable:compressed answer refused ("
Serve = Callable[[socket.socket, str], None]


@dataclass(frozen=True)
class Case:
    """One thing that a server does, and what must come of it."""

    name: str
    serve: Serve  # given the connection and the path that was asked for
    outcome: str  # how `dropped` begins, or "got:N" for N bytes
    slow: bool = False  # whether it plays for time: asked under `TIGHT`, else under `ROOMY`
    reads: bool = True  # whether the server reads the request before it acts
    rests: bool = False  # whether the host is then left alone for a while

    @property
    def limits(self) -> Limits:
        """What it is asked under: a try, and another."""
        one = TIGHT if self.slow else ROOMY
        return Limits(answer=one, image=one, site=one, tries=2, backoff_s=0.01)

    @property
    def seconds(self) -> float:
        """The most that both tries may take, with something to spare."""
        return 2 * self.limits.image.total_s + 1.0


def says(*parts: bytes, pause: float = 0.0, then: float = 0.0) -> Serve:
    """A server that sends the parts, so many seconds apart, and waits before it hangs up."""

    def serve(connection: socket.socket, path: str) -> None:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        time.sleep(then)

    return serve


def forever(start: bytes, part: bytes, pause: float = 0.0) -> Serve:
    """A server that sends `part` again and again until nobody listens."""

    def serve(connection: socket.socket, path: str) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(part)
            time.sleep(pause)

    return serve


def resets(start: bytes = b"") -> Serve:
    """A server that breaks the connection in the middle, so that the other side sees a reset."""

    def serve(connection: socket.socket, path: str) -> None:
        connection.sendall(start)
        time.sleep(0.02)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return serve


def redirects(location: bytes, status: int = 302, body: bytes = b"") -> Serve:
    """A server that leads on; %d in `location` counts the requests."""
    numbers = itertools.count(1)

    def serve(connection: socket.socket, path: str) -> None:
        place = location.replace(b"%d", b"%d" % next(numbers))
        head = b"HTTP/1.1 %d Go\r\nConnection: close\r\nLocation: %s\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % (status, place, len(body)) + body)

    return serve


def answers(status: int, *headers: bytes) -> Serve:
    """A server with a status of its own and a little text."""
    lines = b"".join(line + b"\r\n" for line in headers)
    return says(b"HTTP/1.1 %d So\r\nContent-Length: 4\r\n%s\r\ntext" % (status, lines))


def brings(*headers: bytes, body: bytes = PICTURE) -> Serve:
    """A server that says 200 with such headers, and the length of `body` unless they say it."""
    stated = any(h.lower().startswith((b"content-length", b"transfer-encoding")) for h in headers)
    length = () if stated else (b"Content-Length: %d" % len(body),)
    lines = (b"Connection: close", *headers, *length)
    return says(OK + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body)


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


BOMB = gzip.compress(bytes(1_000_000)) * 300  # 300 MB from 300 KB
N = len(PICTURE)
TE = b"Transfer-Encoding: chunked"

CASES = [
    # sizes
    Case("300 MB from 300 KB of gzip", brings(b"Content-Encoding: gzip", body=BOMB), PACKED),
    Case("gzip in capitals", brings(b"content-encoding:  GZIP ", body=BOMB), PACKED),
    Case("gzip, listed twice", brings(b"Content-Encoding: identity, gzip", body=BOMB), PACKED),
    Case(
        "gzip in a second header",
        brings(b"Content-Encoding: identity", b"Content-Encoding: gzip", body=BOMB),
        PACKED,
    ),
    Case("an unknown coding", brings(b"Content-Encoding: zstd"), PACKED),
    Case("gzip as a transfer coding", brings(b"Transfer-Encoding: gzip, chunked"), PACKED),
    Case("a promise of 50 GB", brings(b"Content-Length: 50000000000"), LARGE),
    Case("a promise of 10^40 bytes", brings(b"Content-Length: 1" + b"0" * 40), LARGE),
    Case("a body without end", forever(OK + b"\r\n", bytes(65536)), LARGE),
    Case(
        "chunks without end",
        forever(OK + TE + b"\r\n\r\n", b"8000\r\n" + bytes(32768) + b"\r\n"),
        LARGE,
    ),
    Case(
        "one chunk of 2^60 bytes",
        forever(OK + TE + b"\r\n\r\n1000000000000000\r\n", bytes(65536)),
        LARGE,
    ),
    # lengths
    Case("a length too long", brings(b"Content-Length: %d" % (N + 9)), BROKE),
    Case("a length too short", brings(b"Content-Length: %d" % (N - 9)), f"got:{N - 9}"),
    Case("two lengths", brings(b"Content-Length: 5", b"Content-Length: 7"), BROKE),
    Case(
        "a length twice", brings(b"Content-Length: %d" % N, b"Content-Length: %d" % N), f"got:{N}"
    ),
    Case("a negative length", brings(b"Content-Length: -5"), "got:"),
    Case("a length in letters", brings(b"Content-Length: many"), "got:"),
    Case(
        "a length and chunks", brings(b"Content-Length: 3", TE, body=chunked(PICTURE)), f"got:{N}"
    ),
    Case("no length at all", says(OK + b"\r\n" + PICTURE), f"got:{N}"),
    Case("an empty body", brings(body=b""), "got:0"),
    Case(
        "another answer behind the body",
        says(HEALTHY + OK + b"Content-Length: 4\r\n\r\nEVIL"),
        f"got:{N}",
    ),
    # chunks
    Case("a chunk with a negative size", says(OK + TE + b"\r\n\r\n-5\r\nhello\r\n"), BROKE),
    Case("a chunk with a size in words", says(OK + TE + b"\r\n\r\nfive\r\nhello\r\n"), BROKE),
    Case("a chunk that ends early", says(OK + TE + b"\r\n\r\nff\r\nhello"), BROKE),
    Case("chunks that stop", says(OK + TE + b"\r\n\r\n5\r\nhello\r\n"), BROKE),
    Case("a chunk size of a line without end", forever(OK + TE + b"\r\n\r\n1", b"0" * 4096), BROKE),
    Case("a chunk extension without end", forever(OK + TE + b"\r\n\r\n5;", b"x" * 4096), BROKE),
    Case(
        "trailers without end",
        forever(OK + TE + b"\r\n\r\n0\r\n", b"X-More: 1\r\n" * 99, 0.001),
        SLOW,
        True,
    ),
    # time
    Case("a silent server", says(then=2.0), SILENT, True),
    Case(
        "a status line, letter by letter",
        says(*(b"%c" % c for c in OK * 9), pause=0.05),
        SLOW,
        True,
    ),
    Case("headers, letter by letter", forever(OK + b"X-Long: ", b"a", 0.05), SLOW, True),
    Case(
        "a body, byte by byte",
        forever(OK + b"\r\n", b"a", 0.02),
        "download:too slow (under 4096",
        True,
    ),
    Case("a chunk size, letter by letter", forever(OK + TE + b"\r\n\r\n", b"0", 0.05), SLOW, True),
    Case(
        "silence after the headers", says(OK + b"Content-Length: 9\r\n\r\n", then=2.0), SILENT, True
    ),
    Case(
        "silence in the body", says(OK + b"Content-Length: 9\r\n\r\n1234", then=2.0), SILENT, True
    ),
    Case(
        "interim answers without end",
        forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50, 0.001),
        SLOW,
        True,
    ),
    Case(
        "interim answers, slowly", forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05), SLOW, True
    ),
    # redirects
    Case("10,000 redirects", redirects(b"/r%d"), "refused:more than 5 redirects"),
    Case("a redirect to itself", redirects(b"/a.png"), "refused:more than 5 redirects"),
    Case(
        "a redirect with a huge body", redirects(b"/r%d", body=bytes(10**6)), "refused:more than 5"
    ),
    Case("a redirect to nowhere", answers(302), "download:the server answered 302"),
    Case("a redirect to nothing", redirects(b""), "download:the server answered 302"),
    Case("a redirect to an unclosed bracket", redirects(b"http://[::1"), "refused:not a usable"),
    Case(
        "a redirect to this machine", redirects(b"https://127.0.0.1/"), "refused:127.0.0.1 is not"
    ),
    Case(
        "a redirect to another port", redirects(b"http://127.0.0.1:22/"), "refused:127.0.0.1 is not"
    ),
    Case(
        "a redirect to the metadata service",
        redirects(b"http://169.254.169.254/latest"),
        "refused:169",
    ),
    Case(
        "a redirect to another host",
        redirects(b"https://example.org/a"),
        "refused:more than 5 redirects",
    ),
    Case("a redirect to a file", redirects(b"file:///etc/passwd"), "refused:not a usable address"),
    Case(
        "a redirect to data",
        redirects(b"data:image/png;base64,AAAA"),
        "refused:not a usable address",
    ),
    Case("a redirect with a user name", redirects(b"https://a@127.0.0.1/"), "refused:not a usable"),
    Case("a redirect that is no UTF-8", redirects(b"https://\xff\xfe.example/"), "refused:"),
    Case("a redirect of 60,000 letters", redirects(b"/" + b"a" * 60_000), "refused:"),
    Case("a redirect with a bare CR", redirects(b"/a\rX-Evil: 1"), "refused:"),
    # headers
    Case("101 headers", brings(*[b"X-%d: 1" % n for n in range(100)]), BROKE),
    Case("headers without end", forever(OK, b"X-Bomb: " + b"b" * 60_000 + b"\r\n"), BROKE),
    Case("a header without end", forever(OK + b"X-Bomb: ", b"b" * 65536), BROKE),
    Case("a status line without end", forever(b"HTTP/1.1 200 ", b"b" * 65536), BROKE),
    Case(
        "90 headers of 60 KB on rights",
        brings(*[b"Link: " + b"b" * 60_000] * 90),
        "unusable:more than 16384",
    ),
    Case(
        "a header without a colon",
        brings(b"Nonsense", b"X-Robots-Tag: noai"),
        "unusable:its headers",
    ),
    Case(
        "a header that starts with a blank",
        says(OK + b" X-Odd: 1\r\nX-Robots-Tag: noai\r\n\r\npng"),
        "unusable:its headers",
    ),
    Case("a header in two lines", brings(b"X-Odd: 1\r\n 2"), f"got:{N}"),
    Case("headers that are no UTF-8", brings(b"X-Odd: \xff\xfe\x80", b"Link: \xff"), f"got:{N}"),
    Case("a header with NUL", brings(b"Link: a\x00b"), f"got:{N}"),
    # no HTTP
    Case("an empty reply", says(), BROKE),
    Case("hanging up before the request", says(), BROKE, reads=False),
    Case("a reset before the request", resets(), BROKE, reads=False),
    Case("a reset after the request", resets(), BROKE),
    Case("a reset in the headers", resets(OK + b"X-"), BROKE),
    Case("a reset in the body", resets(OK + b"Content-Length: 99\r\n\r\nhalf"), BROKE),
    Case("headers that stop", says(OK + b"Content-Le"), BROKE),
    Case("headers that stop after a line", says(OK + b"Content-Type: image/png\r\n"), BROKE),
    Case("HTTP/0.9", says(b"<html>as it was in 1991</html>"), BROKE),
    Case("a picture and no HTTP", says(PICTURE), BROKE),
    Case("another protocol", says(b"SSH-2.0-OpenSSH_9.9\r\n", then=0.1), BROKE, reads=False),
    Case("a status that is no number", says(b"HTTP/1.1 abc OK\r\n\r\n"), BROKE),
    Case("a status of 99", says(b"HTTP/1.1 99 OK\r\n\r\n"), BROKE),
    Case("a negative status", says(b"HTTP/1.1 -200 OK\r\n\r\n"), BROKE),
    Case("a status of 1000", says(b"HTTP/1.1 1000 OK\r\n\r\n"), BROKE),
    Case("HTTP/9.9", says(b"HTTP/9.9 200 OK\r\n\r\n"), BROKE),
    Case("switching protocols", answers(101), "download:the server answered 101"),
    Case("100, then 200", says(b"HTTP/1.1 100 Continue\r\n\r\n" + HEALTHY), f"got:{N}"),
    # statuses
    *(Case(f"{s}", answers(s), f"gone:the server answered {s}") for s in (404, 410)),
    *(
        Case(f"{s}", answers(s), f"refused:the server answered {s}")
        for s in (400, 401, 403, 418, 451)
    ),
    *(
        Case(f"{s}", answers(s), f"download:the server answered {s}")
        for s in (204, 206, 304, 408, 500, 502, 599)
    ),
    Case(
        "429 for a day",
        answers(429, b"Retry-After: 86400"),
        "busy:127.0.0.1 asks us to stay away for 86400 s",
        rests=True,
    ),
    Case("503 for a day", answers(503, b"Retry-After: 86400"), "busy:127.0.0.1 asks", rests=True),
    Case(
        "429 for 10^60 s",
        answers(429, b"Retry-After: 1" + b"0" * 60),
        "busy:127.0.0.1 asks",
        rests=True,
    ),
    Case(
        "429 until 2099",
        answers(429, b"Retry-After: Fri, 31 Dec 2099 23:59:59 GMT"),
        "busy:127.0.0.1 asks",
        rests=True,
    ),
    Case(
        "429 until 1999",
        answers(429, b"Retry-After: Fri, 31 Dec 1999 23:59:59 GMT"),
        "busy:127.0.0.1 asks",
        rests=True,
    ),
]


@dataclass
class HostileServer:
    """A running server that does what `serve` says, or is well where that is None."""

    serve: Serve | None = None
    reads: bool = True
    port: int = 0
    asked: list[str] = field(default_factory=list)  # first lines of requests

    @property
    def url(self) -> str:
        """Its picture."""
        return f"http://127.0.0.1:{self.port}/a.png"


@contextmanager
def run_hostile() -> Iterator[HostileServer]:
    """Run a server on a free port until the block ends."""
    state = HostileServer()
    listening = socket.create_server(("127.0.0.1", 0))
    state.port = listening.getsockname()[1]

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            # a plain thread, of which coverage is not measured: two that begin to be measured at
            # once can end one of them, and there are thousands
            _thread.start_new_thread(attend, (connection,))

    def attend(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if state.serve and not state.reads:
                state.serve(connection, "")
                return
            while line := read_request(connection):
                state.asked.append(line)
                if state.serve:
                    state.serve(connection, line.split(" ")[1])
                    return
                connection.sendall(HEALTHY)

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield state
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join(timeout=1)


def read_request(connection: socket.socket) -> str:
    """The first line of a request; "" where the other side hung up."""
    head = b""
    while b"\r\n\r\n" not in head:
        if not (data := connection.recv(65536)):
            return ""
        head += data
    return head.split(b"\r\n", 1)[0].decode("latin-1")
