"""The guard, the pace, the opt-out header and the first bytes, each on its own."""

import ipaddress
import socket
import threading
import time
from contextlib import contextmanager, suppress
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import Answer, image_bytes, run_server

from curate.images import sniff
from curate.net.budget import retry_after
from curate.net.guard import AddressRefusedError, Endpoint, is_public
from curate.net.old_transport import (
    Guard,
    RateLimiter,
    RequestLimits,
    TransientError,
    Transport,
    UnavailableError,
    Watchdog,
    guarded_session,
)
from curate.net.redact import Secret, Url


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "239.1.1.1", "255.255.255.255", "192.88.99.1", "198.18.0.1",
        "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1", "fc00::1", "fe80::1%eth0", "fec0::1",
        "ff02::1", "100::1", "4000::1",
    ],
)  # fmt: skip
def test_private_addresses_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "2a00::1"])
def test_public_addresses_are_public(address):
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_counts_the_same_when_mapped(address):
    assert is_public(str(address)) == is_public(f"::ffff:{address}")


@given(st.ip_addresses())
def test_never_laxer_than_the_standard_library(address):
    plain = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if is_public(str(address)):
        assert (plain or address).is_global and not (plain or address).is_multicast


def names(monkeypatch, table: dict[str, list[str]]) -> list[str]:
    """Stand in for the name server; returns the names it is asked for."""
    asked: list[str] = []

    def look_up(host, port, *rest, **more):
        asked.append(host)
        if host not in table:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in table[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_one_private_address_among_public_ones_refuses_the_host(monkeypatch):
    names(monkeypatch, {"mixed.example": ["1.1.1.1", "10.0.0.1"], "good.example": ["1.1.1.1"]})
    assert Guard().addresses("good.example", 443) == ["1.1.1.1"]
    with pytest.raises(AddressRefusedError, match=r"mixed.example is not a public address"):
        Guard().addresses("mixed.example", 443)
    with pytest.raises(TransientError, match=r"gone.example cannot be found"):
        Guard().addresses("gone.example", 443)


@contextmanager
def session_for(guard: Guard):
    watchdog = Watchdog()
    with guarded_session(guard, watchdog) as session:
        yield session
    watchdog.close()


def test_a_name_that_leads_to_this_machine_is_refused_while_connecting(monkeypatch):
    names(monkeypatch, {"rebound.example": ["127.0.0.1"]})
    with run_server() as server, session_for(Guard()) as session:
        port = server.url.rpartition(":")[2]
        with pytest.raises(AddressRefusedError, match=r"rebound.example is not a public address"):
            session.get(f"http://rebound.example:{port}/", timeout=2)
        assert server.asked == []


def test_the_tested_address_is_the_one_connected_to(monkeypatch):
    """The name is resolved once; a second answer of the name server is never asked for."""
    with run_server() as server:
        port = int(server.url.rpartition(":")[2])

        class Trusting(Guard):
            def addresses(self, host, port):
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                return [str(entry[4][0]) for entry in found]

        table = {"pinned.example": ["127.0.0.1"]}
        real, asked = socket.getaddrinfo, []

        def look_up(host, *rest, **more):
            asked.append(host)
            return real(*(table.get(host, [host])), *rest, **more)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        with session_for(Trusting()) as session:
            session.get(f"http://pinned.example:{port}/", timeout=2)
        assert asked == ["pinned.example", "127.0.0.1"]
        assert server.headers[0]["host"] == f"pinned.example:{port}"


def test_headers_that_drip_meet_the_deadline():
    """Each letter comes within the timeout of the socket; only a deadline for the whole ends it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                for letter in b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 500:
                    connection.sendall(bytes([letter]))
                    time.sleep(0.01)

        dripping = threading.Thread(target=drip)
        dripping.start()
        port = listening.getsockname()[1]
        transport = Transport(Guard(Endpoint("127.0.0.1", port)), RateLimiter())
        may = RequestLimits(("127.0.0.1",), gap_s=0, total_s=0.3, silence_s=1.0, max_bytes=1000)
        started = time.monotonic()
        with (
            transport,
            pytest.raises(UnavailableError, match=r"download:not finished after 0\.3 s"),
        ):
            transport.send(f"http://127.0.0.1:{port}/", may)
        assert time.monotonic() - started < 2
        dripping.join()


def transport_to(server) -> tuple[Transport, RequestLimits]:
    transport = Transport(Guard(Endpoint.parse(server.url)), RateLimiter())
    may = RequestLimits(("127.0.0.1",), gap_s=0, total_s=5, silence_s=2, max_bytes=1000)
    return transport, may


def test_encryption_that_cannot_be_had_is_a_sentence():
    with run_server() as server:
        transport, may = transport_to(server)
        with (
            transport,
            pytest.raises(TransientError, match="its certificate or encryption cannot be"),
        ):
            transport.send(server.url.replace("http:", "https:"), may)


def test_a_closed_port_is_a_sentence():
    with run_server() as server:
        transport, may = transport_to(server)
    with (
        transport,
        pytest.raises(TransientError, match="cannot be reached, or the connection broke"),
    ):
        transport.send(server.url, may)


def test_a_body_without_a_length_is_capped_as_it_comes():
    with run_server() as server:
        head = {"Transfer-Encoding": "chunked"}
        body = b"".join(b"100\r\n" + bytes(256) + b"\r\n" for _ in range(9)) + b"0\r\n\r\n"
        server.routes["/long"] = lambda query: Answer(body, headers=head)
        server.routes["/short"] = lambda query: Answer(body[-268:], headers=head)
        transport, may = transport_to(server)
        with transport:
            with pytest.raises(UnavailableError, match="too-large:over 1000 bytes"):
                transport.send(f"{server.url}/long", may)
            assert transport.send(f"{server.url}/short", may).body == bytes(256)


def test_proxies_and_cookies_of_the_surroundings_are_not_used(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with run_server() as server:
        guard = Guard(Endpoint.parse(server.url))
        with session_for(guard) as session:
            assert session.get(f"{server.url}/a", timeout=2).status_code == 404


def test_the_endpoint_opens_its_own_port_only():
    guard = Guard(Endpoint("127.0.0.1", 8000))
    assert guard.check("http://127.0.0.1:8000/a") == "127.0.0.1"
    assert guard.addresses("127.0.0.1", 8000) == ["127.0.0.1"]
    for url in ("http://127.0.0.1:8001/", "http://127.0.0.2:8000/", "http://example.org/"):
        with pytest.raises(AddressRefusedError):
            guard.check(url)
    with pytest.raises(AddressRefusedError):
        guard.addresses("127.0.0.1", 8001)


@pytest.mark.parametrize("url", ["http://a.example/", "ftp://a.example/", "https://u:p@a.example/"])
def test_only_plain_https_is_asked(url):
    with pytest.raises(AddressRefusedError):
        Guard().check(url)


class Clock:
    """A clock that moves only while someone sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 5), st.floats(0, 9))))
def test_no_host_is_asked_sooner_than_its_gap_allows(requests):
    clock = Clock()
    budget = RateLimiter(clock=clock, sleep=clock.sleep)
    allowed: dict[str, float] = {}
    for host, gap, passes in requests:
        clock.now += passes
        budget.wait(host, gap)
        assert clock.now >= allowed.get(host, 0.0) - 1e-6
        allowed[host] = clock.now + gap


def test_waits_are_read_from_numbers_dates_and_times():
    assert retry_after({"Retry-After": "7"}) == 7
    assert retry_after({"Retry-After": "0"}) == 1
    assert retry_after({}) == 60
    assert retry_after({"Retry-After": "soon"}) == 60
    assert retry_after({"X-RateLimit-Reset": "12"}) == 12
    assert 25 < retry_after({"Retry-After": formatdate(time.time() + 30, usegmt=True)}) < 31
    assert 25 < retry_after({"X-RateLimit-Reset": str(int(time.time()) + 30)}) < 31


def test_an_address_shows_everything_but_the_key():
    url = Url("https://a.example/api/", {"q": "ä b"}, "key", Secret("abcdefgh-1"))
    assert str(url) == "https://a.example/api/?q=%C3%A4+b&key=REDACTED"
    assert "abcdefgh-1" not in repr(url) + f"{url}" + repr(url.secret) + str(url.secret)
    assert url.reveal() == "https://a.example/api/?q=%C3%A4+b&key=abcdefgh-1"
    assert str(Url("https://a.example/")) == "https://a.example/"


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_keeps_the_key(before, after):
    secret = Secret("Canary-Key.1")
    assert "canary-key.1" not in secret.scrub(f"{before}cANARY-kEY.1{after}").lower()


@pytest.mark.parametrize("kind", sniff.STORED_FORMATS)
def test_pictures_are_told_by_content(kind):
    data = image_bytes(1, kind=kind)
    assert sniff.sniff_format(data[:32]) == kind
    assert sniff.refusal_reason(data) is None
    assert sniff.refusal_reason(data[:14]) in (
        f"not-an-image:{kind} with an unreadable header",
        None if kind == "JPEG" else "",
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty:0 bytes"),
        (b"\xff\xd8\xff\xe0", "not-an-image:JPEG with an unreadable header"),
        (b"GIF89a\x01\x00\x01\x00", "not-an-image:GIF"),
        (b"<!DOCTYPE html><p>", "not-an-image:HTML"),
        (b"just words\n", "not-an-image:text"),
        ("schön".encode() * 9, "not-an-image:text"),
        (b"\x00\x01\x02\x03", "not-an-image:unknown"),
        (b"\x00\x05\x16\x07\x00\x02\x00\x00", "not-an-image:AppleDouble"),
    ],
)
def test_what_is_no_picture_is_named(data, why):
    assert sniff.refusal_reason(data) == why


def test_a_huge_picture_is_refused_by_its_header():
    data = bytearray(image_bytes(1))
    data[16:24] = (60_000).to_bytes(4, "big") + (60_000).to_bytes(4, "big")
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    assert sniff.refusal_reason(bytes(data)).startswith("too-large:")


@given(st.binary(max_size=80))
def test_no_bytes_break_the_sniffer(data):
    for start in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\x00\x00\x00WEBP"):
        refused = sniff.refusal_reason(start + data)
        assert refused is None or refused.split(":")[0] in ("empty", "not-an-image", "too-large")
