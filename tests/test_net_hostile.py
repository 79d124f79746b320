"""Servers that do what no server should: what comes of it, in what time and memory, and after."""

import itertools
import json
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from certificates import DAY, NOW, Authority
from hostile import (
    CASES,
    HEALTHY,
    OK,
    PICTURE,
    ROOMY,
    TIGHT,
    Case,
    HostileServer,
    N,
    answers,
    brings,
    forever,
    run_hostile,
    says,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.errors import SourceError
from curate.net import guard
from curate.net.api import Service, read_json
from curate.net.connection import Net, NetOptions, connect
from curate.net.failure import FINAL, PASSING, Failure, FailureKind
from curate.net.guard import ConnectError, Endpoint, Guard
from curate.net.media import Got, Want, conditions_of
from curate.net.tries import Limits

SERVICE = Service(name="test", seconds_between=0.0, requests_per_minute=1_000_000)
ONE_TRY = Limits(ROOMY, ROOMY, ROOMY, tries=1, backoff_s=0.0)
# a connection kept from before may be closed by the server in the moment it is used again
TWO_TRIES = Limits(ROOMY, ROOMY, ROOMY, tries=2, backoff_s=0.0)
HURRIED = Limits(TIGHT, TIGHT, TIGHT, tries=1)
MEMORY = 64_000_000  # bytes; bodies are capped at 1 MB, and 100 headers of 64 KB are read


def options(server: HostileServer, limits: Limits = ONE_TRY) -> NetOptions:
    return NetOptions(Endpoint("127.0.0.1", server.port), limits)


def outcome(net: Net, url: str) -> str:
    """What a row would say, or how many bytes came."""
    got = net.media.get(Want(url))
    return f"got:{len(got.body)}" if isinstance(got, Got) else got.dropped


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_server_costs_one_row(tmp_path: Path, case: Case):
    with run_hostile() as server:
        server.serve, server.reads = case.serve, case.reads
        with connect(SERVICE, tmp_path, options=options(server, case.limits)) as net:
            tracemalloc.start()
            started = time.monotonic()
            came_of_it = outcome(net, server.url)
            passed = time.monotonic() - started
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            server.serve = None
            if not case.slow and not case.rests:  # the same net goes on as if nothing had been
                assert outcome(net, server.url) == f"got:{N}"
        assert came_of_it.startswith(case.outcome)
        assert passed < case.seconds and peak < MEMORY
        with connect(SERVICE, tmp_path, options=options(server)) as net:  # and so does the next
            assert outcome(net, server.url) == f"got:{N}"


@pytest.mark.parametrize("case", [c for c in CASES if not c.slow], ids=lambda case: case.name)
def test_a_hostile_api_or_site_is_a_sentence(tmp_path: Path, case: Case):
    with run_hostile() as server:
        server.serve, server.reads = case.serve, case.reads
        with connect(SERVICE, tmp_path, options=options(server)) as net:
            with pytest.raises(SourceError, match=r"^test: ") as caught:
                net.api.get_json("https://api.test/v1", {"q": "snow"})
            assert "\n" not in caught.value.problem and len(caught.value.problem) < 300
            documents = net.sites.documents(server.url)
        robots = b"User-agent: *\nDisallow: /private\n"
        server.serve = brings(body=robots)
        with connect(SERVICE, tmp_path, options=options(server)) as net:
            again = net.sites.documents(server.url)
            assert isinstance(again, tuple) and len(again) == 3
            if isinstance(documents, tuple):
                assert again[0] == documents[0]  # kept for 24 hours
        server.serve = brings(body=b'{"results": []}')
        with connect(SERVICE, tmp_path, options=options(server)) as net:
            assert net.api.get_json("https://api.test/v1", {"q": "snow"}).body == {"results": []}


def test_every_kind_of_failure_is_met():
    met = {case.outcome.partition(":")[0] for case in CASES} - {"got"}
    assert met == {*PASSING, *FINAL}


# time


def test_a_name_server_that_does_not_answer_meets_the_deadline(monkeypatch, tmp_path):
    waiting = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: waiting.wait(10) and [])
    started = time.monotonic()
    with connect(SERVICE, tmp_path, options=NetOptions(limits=HURRIED)) as net:
        failure = net.media.get(Want("https://slow.test/a.png"))
    waiting.set()
    assert isinstance(failure, Failure) and failure.kind is FailureKind.BROKEN
    assert failure.detail == "not finished after 1 s"
    assert time.monotonic() - started < 2.0


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue is full: whoever connects waits for ever."""
    with socket.create_server(("0.0.0.0", 0), backlog=0) as listening:
        port = listening.getsockname()[1]
        waiting = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(("127.0.0.1", port))
            waiting.append(filler)
        yield port
        for filler in waiting:
            filler.close()


def test_all_addresses_of_a_name_share_one_deadline(monkeypatch, full_port):
    """Four addresses, none of which answers: not four times the time."""
    monkeypatch.setattr(guard, "_look_up", lambda *a: [f"127.0.0.{n}" for n in (1, 2, 3, 4)])
    monkeypatch.setattr(guard, "is_public", lambda address: True)
    ends = time.monotonic() + 0.8
    started = time.monotonic()
    with pytest.raises(ConnectError):
        Guard().connect("dead.test", full_port, 10.0, lambda: ends - time.monotonic())
    assert 0.7 < time.monotonic() - started < 1.5


def test_the_hops_of_a_redirect_share_one_deadline(tmp_path):
    with run_hostile() as server:
        numbers = itertools.count()

        def slowly(connection: socket.socket, path: str) -> None:
            time.sleep(0.35)
            connection.sendall(b"HTTP/1.1 302 Go\r\nLocation: /%d\r\n\r\n" % next(numbers))

        server.serve = slowly
        started = time.monotonic()
        with connect(SERVICE, tmp_path, options=options(server, HURRIED)) as net:
            assert outcome(net, server.url) == "download:not finished after 1 s"
        assert time.monotonic() - started < 2.0 and len(server.asked) <= 3


def test_a_closed_port_is_a_sentence(tmp_path):
    with run_hostile() as server:
        pass
    with connect(SERVICE, tmp_path, options=options(server)) as net:
        assert outcome(net, server.url) == "download:cannot be reached"


def test_a_refused_body_frees_the_connection(tmp_path):
    """A server that is not listened to any more notices: nothing holds the connection open."""
    left = threading.Event()

    def pours(connection: socket.socket, path: str) -> None:
        with suppress(OSError):
            forever(OK + b"\r\n", bytes(65536))(connection, path)
        left.set()

    with run_hostile() as server:
        server.serve = pours
        with connect(SERVICE, tmp_path, options=options(server)) as net:
            assert outcome(net, server.url).startswith("unusable:over")
            assert left.wait(5)


# bytes


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from(
            [OK, b"\r\n", b"\n", b" ", b":", b"Content-Length: ", b"5", b"\xff", b"\0"]
        )
        | st.sampled_from(
            [b"Transfer-Encoding: chunked\r\n", b"Location: /a\r\n", b"HTTP/1.1 302 G"]
        )
        | st.sampled_from(
            [b"Location: http://[::1\r\n", b"Content-Encoding: x", b"Retry-After: 1"]
        ),
        max_size=12,
    ).map(b"".join)
)
def test_no_bytes_of_a_server_raise(tmp_path_factory, data):
    with run_hostile() as server:
        server.serve = says(data)
        root = tmp_path_factory.mktemp("evidence")
        with connect(SERVICE, root, options=options(server, TWO_TRIES)) as net:
            assert isinstance(net.media.get(Want(server.url)), Got | Failure)
            assert isinstance(net.sites.documents(server.url), tuple | Failure)
            server.serve = None
            if net.media.courier.transport.budget.why_resting("127.0.0.1") is None:
                assert outcome(net, server.url) == f"got:{N}"


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ((b"X-Robots-Tag: noindex", b"x-robots-tag:  NoArchive "), ("noindex", "NoArchive")),
        ((b"X-Robots-Tag: a,\r\n\tb",), ("a, b",)),
        ((b"TDM-Reservation: 1", b"TDM-Policy: https://x.test/p"), ("1", "https://x.test/p")),
        ((b"Content-Usage: train-ai=n", b"Content-Signal: a=no"), ("train-ai=n", "a=no")),
        ((b'ETag: W/"1"', b"Last-Modified: x", b"Content-Type: a/b"), ('W/"1"', "x", "a/b")),
        ((b"Link: <l>; rel=license", b"Set-Cookie: a=1", b"Server: x"), ("<l>; rel=license",)),
        ((b"Link: caf\xe9",), ("café",)),
    ],
)  # fmt: skip
def test_headers_that_bear_on_rights_are_kept_as_received(tmp_path, headers, kept):
    with run_hostile() as server:
        server.serve = brings(*headers)
        with connect(SERVICE, tmp_path, options=options(server)) as net:
            got = net.media.get(Want(server.url))
        assert isinstance(got, Got)
        assert [line.partition(":")[2].strip() for line in got.headers] == list(kept)


def test_headers_of_the_whole_chain_are_kept_and_judged(tmp_path):
    go = b"HTTP/1.1 302 Go\r\nConnection: close\r\nContent-Length: 0\r\n"
    parts = {
        "/a.png": go + b"Location: /b\r\nLink: <1>\r\n\r\n",
        "/b": go + b"Location: /c\r\nTDM-Reservation: 1\r\n\r\n",
        "/c": OK + b"X-Robots-Tag: noai\r\nContent-Length: 3\r\n\r\npng",
    }
    with run_hostile() as server:
        server.serve = lambda connection, path: connection.sendall(parts[path])
        with connect(SERVICE, tmp_path, options=options(server)) as net:
            got = net.media.get(Want(server.url))
            judged = []

            def unwanted(lines):
                judged.append(tuple(lines))
                return "opt-out:tdm-reservation:1" if "TDM-Reservation: 1" in lines else None

            refused = net.media.get(Want(server.url, unwanted=unwanted))
    origin = f"http://127.0.0.1:{server.port}"
    assert isinstance(got, Got) and got.body == b"png" and got.url == f"{origin}/c"
    assert got.headers == ("Link: <1>", "TDM-Reservation: 1", "X-Robots-Tag: noai")
    assert got.redirects == (f"{origin}/a.png", f"{origin}/b")
    assert isinstance(refused, Failure) and refused.dropped == "opt-out:tdm-reservation:1"
    assert refused.headers == got.headers[:2] and refused.redirects == got.redirects[:1]
    assert judged == [("Link: <1>",), ("TDM-Reservation: 1",)]
    assert len(server.asked) == 5  # what lies behind the refusal is not asked for


def test_a_redirect_may_lead_to_any_public_host_which_is_asked_for_its_leave_first(tmp_path):
    """`example.org` and `www.example.org` are one place to whoever keeps pictures there."""
    go = b"HTTP/1.1 302 Go\r\nConnection: close\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n"
    parts = {"/a.png": go % b"/b", "/b": go % b"https://www.museum.test/c", "/c": HEALTHY}
    led: list[str] = []
    leaves = [None, Failure(FailureKind.OPT_OUT, "robots.txt"), Failure(FailureKind.BUSY, "rests")]
    with run_hostile() as server:
        server.serve = lambda connection, path: connection.sendall(parts[path])
        with connect(SERVICE, tmp_path, options=options(server)) as net:
            for leave in leaves:

                def refuses(url, leave=leave):
                    led.append(url)
                    return leave if url.endswith("/c") else None

                got = net.media.get(Want(server.url, refuses=refuses))
                assert isinstance(got, Got) if leave is None else got.dropped == leave.dropped
            alone = net.media.get(Want(server.url, hosts=("cdn.test",)))
    assert led[1::2] == ["https://www.museum.test/c"] * 3 and led[0].endswith("/b")
    assert sum(line.startswith("GET /c ") for line in server.asked) == 1
    assert alone.dropped == "refused:www.museum.test is not a host to be asked here"


def test_what_an_error_says_of_training_is_kept_and_is_no_opt_out(tmp_path):
    with run_hostile() as server:
        server.serve = answers(404, b"X-Robots-Tag: noai")
        with connect(SERVICE, tmp_path, options=options(server)) as net:
            got = net.media.get(Want(server.url, unwanted=lambda lines: "opt-out:noai"))
    assert isinstance(got, Failure) and got.dropped == "gone:the server answered 404"
    assert got.headers == ("X-Robots-Tag: noai",)


def test_only_plain_headers_become_conditions():
    lines = ('ETag: "a"', "last-modified: Mon", "Link: <l>")
    assert conditions_of(lines) == {"If-None-Match": '"a"', "If-Modified-Since": "Mon"}
    for odd in ("ETag: caf\xe9", "ETag:", "ETag: a\tb", f"ETag: {'x' * 300}"):
        assert conditions_of((odd,)) == {}


def test_connections_are_kept_and_a_stale_one_is_no_failure(tmp_path):
    with run_hostile() as server:
        with connect(SERVICE, tmp_path, options=options(server, TWO_TRIES)) as net:
            for _ in range(3):
                assert outcome(net, server.url) == f"got:{N}"
            server.serve = says(HEALTHY)  # which then hangs up
            for _ in range(3):
                assert outcome(net, server.url) == f"got:{N}"
        assert 6 <= len(server.asked) <= 9


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def tls_outcome(tmp_path: Path, authority: Authority, serve, host: str, limits=ONE_TRY) -> str:
    """What comes of asking a server that handles each connection by `serve`, as `host`."""
    with run_hostile() as server:
        server.serve, server.reads = serve, False
        chosen = NetOptions(
            Endpoint("127.0.0.1", server.port, "https"), limits, trusted=str(authority.trusted)
        )
        port = f":{server.port}" if host == "127.0.0.1" else ""
        with connect(SERVICE, tmp_path, options=chosen) as net:
            return outcome(net, f"https://{host}{port}/a.png")


def speaking(context: ssl.SSLContext, answer: bytes = HEALTHY):
    def serve(connection: socket.socket, path: str) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            encrypted.recv(65536)
            encrypted.sendall(answer)

    return serve


@pytest.mark.parametrize("host", ["museum.test", "127.0.0.1"])
def test_a_server_that_is_who_it_says_it_is(tmp_path, authority, host):
    context = authority.context("museum.test", "127.0.0.1")
    assert tls_outcome(tmp_path, authority, speaking(context), host) == f"got:{N}"


NOT_TRUSTED = "download:its certificate cannot be trusted"
NO_TLS = "download:no encrypted connection is to be had"


def test_a_certificate_that_says_something_else_ends_it(tmp_path, authority, tmp_path_factory):
    stranger = Authority(tmp_path_factory.mktemp("stranger"))
    for context in (
        authority.context("museum.test", self_signed=True),
        authority.context("other.test"),
        authority.context("*.test.example", "test"),
        authority.context("museum.test", until=NOW - DAY),
        stranger.context("museum.test"),
    ):
        assert tls_outcome(tmp_path, authority, speaking(context), "museum.test") == NOT_TRUSTED


@pytest.mark.parametrize(
    ("serve", "expected", "limits"),
    [
        (says(HEALTHY, then=0.1), NO_TLS, ONE_TRY),
        (says(b"\x15\x03\x03\x00\x02\x02\x28", then=0.1), NO_TLS, ONE_TRY),  # an alert
        (says(bytes(range(256)) * 9, then=0.1), NO_TLS, ONE_TRY),
        (says(then=2.0), "download:no byte for 0.4 s", HURRIED),
        (
            forever(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\0", 0.05),
            "download:no byte for 0.4 s",  # a handshake has that long in all
            HURRIED,
        ),
    ],
    ids=["no TLS", "an alert", "noise", "silence", "a handshake, byte by byte"],
)
def test_a_handshake_that_fails_is_a_sentence(tmp_path, authority, serve, expected, limits):
    started = time.monotonic()
    assert tls_outcome(tmp_path, authority, serve, "museum.test", limits) == expected
    assert time.monotonic() - started < 3.0


@pytest.mark.parametrize(
    "answer",
    [OK + b"Content-Length: 999\r\n\r\n" + PICTURE, OK[:9], b""],
    ids=["half a body", "half a line", "nothing"],
)
def test_an_encrypted_answer_that_breaks_off_is_a_sentence(tmp_path, authority, answer):
    serve = speaking(authority.context("museum.test"), answer)
    expected = "download:the connection broke, or it does not speak HTTP"
    assert tls_outcome(tmp_path, authority, serve, "museum.test") == expected


# answers of an API

BAD_JSON = [
    *(b"", b"{", b"[]", b"3", b"null", b"NaN", b'"text"', b"<html>busy</html>", b"\xff\xfe{}"),
    *(b"[" * 100_000, b'{"a":' * 100_000, b'{"a": NaN}', b'{"a": 1e999}', b'{"a": Infinity}'),
    *(b'{"a": ' + b"9" * 5000 + b"}", b'\xef\xbb\xbf{"a": 1}', b'{"a": "\x01"}', b"{'a': 1}"),
]


@pytest.mark.parametrize("body", BAD_JSON, ids=lambda body: repr(body[:12]))
def test_what_is_no_json_object_is_a_sentence_and_not_kept(tmp_path, body):
    with run_hostile() as server:
        for reply, good in ((body, False), (b'{"a": 1}', True), (body, True)):
            server.serve = brings(body=reply)
            with connect(SERVICE, tmp_path, options=options(server)) as net:
                if good:
                    assert net.api.get_json("https://api.test/v1", {}).body == {"a": 1}
                    continue
                with pytest.raises(SourceError, match=r"^test: answered ") as caught:
                    net.api.get_json("https://api.test/v1", {})
                assert caught.value.__context__ is None
                assert not list(tmp_path.iterdir())


HALVES = [
    (r"cut \ud83d", "cut \ufffd"),
    (r"\ude00 cut", "\ufffd cut"),
    (r"\ude00\ud83d", "\ufffd\ufffd"),
    (r"\ud83d\ud83d\ude00", "\ufffd😀"),
    (r"\ud83dx\ude00", "\ufffdx\ufffd"),
    (r"whole \ud83d\ude00", "whole 😀"),
    (r"\\ud83d", r"\ud83d"),
    (r"\u0000\u001b[31m", "\0\x1b[31m"),
    (r"\ufeffa\uffff", "\ufeffa\uffff"),
]


@pytest.mark.parametrize(("sent", "read"), HALVES)
def test_half_characters_can_be_stored_hashed_and_printed(tmp_path, sent, read):
    with run_hostile() as server:
        server.serve = brings(body=b'{"%s": ["%s"]}' % (sent.encode(), sent.encode()))
        for _ in range(2):  # asked, and from what is kept
            with connect(SERVICE, tmp_path, options=options(server)) as net:
                answer = net.api.get_json("https://api.test/v1", {})
            assert answer.body == {read: [read]}
            json.dumps(answer.body, ensure_ascii=False).encode()
        assert len(server.asked) == 1 and len(str(answer.evidence)) == 64


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_whole_text_is_read_as_json_reads_it(value):
    assert read_json(json.dumps(value)) == value
    assert read_json(json.dumps(value, ensure_ascii=False)) == value
