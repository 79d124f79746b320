"""Where a connection may go: every spelling of every kind of address, and names that change."""

import ipaddress
import itertools
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import Answer, run_server

from curate.errors import UsageError
from curate.net import guard
from curate.net.api import Service
from curate.net.connection import NetOptions, connect
from curate.net.failure import PASSING, Failure, FailureKind
from curate.net.guard import AddressRefusedError, ConnectError, Endpoint, Guard, is_public
from curate.net.media import Got, Want
from curate.net.transport import RequestLimits
from curate.net.tries import Limits

QUICK = RequestLimits(total_s=5.0)
LIMITS = Limits(QUICK, QUICK, QUICK, tries=1)
SERVICE = Service(name="test", seconds_between=0.0)

LOCAL = "is not a public address"
ODD = "not a usable address"
PORT = "is not asked on port"
# address -> what is said of it, or the host that would be connected to
REFUSED_NUMBERS = [  # of IPv4, one of every block that is set apart
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254"),
    *("127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.0", "192.0.0.8", "192.0.0.9", "192.0.0.10", "192.0.0.170", "192.0.0.192"),
    *("192.0.0.255", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.88.99.2"),
    *("192.168.0.1", "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1"),
    *("203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
]
PUBLIC_NUMBERS = [
    *("1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.1.1.1"),
    *("128.0.0.1", "169.253.1.1", "172.15.255.255", "172.32.0.0", "191.255.1.1", "192.0.1.1"),
    *("192.88.98.1", "192.167.1.1", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.1"),
]
REFUSED_SIX = [  # of IPv6: local, mapped, translated, tunnelled, set apart
    *("::", "::1", "::127.0.0.1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:7f00:1"),
    *("::ffff:0:127.0.0.1", "::ffff:0:0"),
    *("0:0:0:0:0:ffff:a00:1", "::ffff:169.254.169.254", "::ffff:192.0.0.192", "64:ff9b::7f00:1"),
    *("64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "100::1", "100:0:0:1::1"),
    *("2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:3::1", "2001:4:112::1"),
    *("2001:10::1", "2001:20::1", "2001:1::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1"),
    *(
        "2002:808:808::1",
        "2620:4f:8000::1",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "5f00::1",
        "8000::1",
    ),
    *("fc00::1", "fd00::1", "fd00:ec2::254", "fe80::1", "febf::1", "fec0::1", "ff02::1", "ff0e::1"),
]
PUBLIC_SIX = ["2606:4700::1111", "2a00::1", "2001:4860:4860::8888", "2003::1", "2c0f:f000::1"]
TABLE = {
    **{f"https://{n}/": LOCAL for n in REFUSED_NUMBERS},
    **{f"https://[{n}]/": LOCAL for n in REFUSED_SIX},
    **{f"https://{n}/a.png": f"={n}" for n in PUBLIC_NUMBERS},
    **{f"https://[{n}]/a.png": f"={n}" for n in PUBLIC_SIX},
    "https://[::ffff:1.1.1.1]/": "=1.1.1.1",
    # 127.0.0.1, as some reader or other has it
    **{
        f"https://{n}/": ODD
        for n in (
            *("2130706433", "017700000001", "0x7f000001", "0X7F000001", "0x7f.1", "0x7f.0.0.1"),
            *("0177.0.0.1", "0177.0.0.01", "127.1", "127.0.1", "127.0.0.01", "127.000.000.001"),
            *("0127.0.0.1", "127.0.0.1.2", "127.0.0.256", "127.0.0.", "127..0.1", ".127.0.0.1"),
            *("127.0.0.0x1", "00.00", "0", "0x", "1", "08.8.8.8", "1.1", "99999999999"),
            *("3232235777", "0xa9fea9fe", "0251.0376.0251.0376", "169.16689662", "4294967296"),
            *("-1", "127.0.0.-1", "+127.0.0.1", "127.0.0.1-", "0b1111111.0.0.1"),
        )
    },
    "https://127.0.0.1./": LOCAL,
    "https://127.0.0.1../": ODD,
    "https://１２７.０.０.１/": LOCAL,
    "https://127。0。0。1/": LOCAL,
    "https://127．0｡0．1/": LOCAL,
    "https://①②⑦.⓪.⓪.①/": LOCAL,
    "https://١٢٧.٠.٠.١/": "=xn--9hbcp.xn--8hb.xn--8hb.xn--9hb",
    "https://1e3/": "=1e3",
    "https://127.0.0.1e0/": "=127.0.0.1e0",
    "https://%31%32%37.0.0.1/": ODD,
    "https://127.0.0.1%00.example.org/": ODD,
    "https://127.0.0.1%2f@example.org/": ODD,
    # brackets, zones
    **{
        f"https://{n}/": ODD
        for n in (
            *("[::1", "::1]", "[]", "[1]", "[::1]x", "x[::1]", "[[::1]]", "[::1].example.org"),
            *("[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1%25lo]", "[2606:4700::1111%25eth0]"),
            *(
                "[127.0.0.1]",
                "[example.org]",
                "[v1.x]",
                "[::g]",
                "[1::2::3]",
                "::1",
                "2606:4700::1111",
            ),
            *("[::ffff:127.1]", "[::ffff:0x7f.0.0.1]", "[0:0:0:0:0:0:0:0:1]"),
        )
    },
    "https://[0000:0000:0000:0000:0000:0000:0000:0001]/": LOCAL,
    "https://[::FFFF:127.0.0.1]/": LOCAL,
    "https://[2606:4700:0000::1111]/": "=2606:4700::1111",
    # user names, ports
    "https://user@example.org/": ODD,
    "https://user:pass@example.org/": ODD,
    "https://@example.org/": ODD,
    "https://:@example.org/": ODD,
    "https://example.org@127.0.0.1/": ODD,
    "https://127.0.0.1#@example.org/": LOCAL,
    "https://127.0.0.1?@example.org/": LOCAL,
    "https://127.0.0.1\\@example.org/": ODD,
    "https://example.org\\@127.0.0.1/": ODD,
    "https://example.org\\.127.0.0.1/": ODD,
    "https://1.1.1.1 @127.0.0.1/": ODD,
    "https://1.1.1.1 &@127.0.0.1/": ODD,
    "https://example.org:443/": "=example.org",
    "https://example.org:/": "=example.org",
    "https://example.org:00443/": "=example.org",
    "http://example.org:80/": "=example.org",
    "http://example.org/": "=example.org",
    "http://example.org:443/": PORT,
    "https://example.org:80/": PORT,
    "https://example.org:22/": PORT,
    "https://example.org:8443/": PORT,
    "https://example.org:0/": PORT,
    "https://example.org:65535/": PORT,
    "https://example.org:65979/": PORT,
    "https://example.org:-443/": ODD,
    "https://example.org:+443/": ODD,
    "https://example.org:4 43/": ODD,
    "https://example.org:443:443/": ODD,
    "https://example.org:４４３/": ODD,
    "https://example.org:1000000/": ODD,
    "https://127.0.0.1:443/": LOCAL,
    "https://localhost:22/": PORT,
    # schemes
    "HTTPS://EXAMPLE.org/": "=example.org",
    "hTtP://Example.ORG/": "=example.org",
    "//example.org/": ODD,
    "///example.org/": ODD,
    "example.org/a.png": ODD,
    "https:example.org": ODD,
    "https:/example.org": ODD,
    "https:///example.org": ODD,
    "https:\\\\example.org\\": ODD,
    "ftp://example.org/": ODD,
    "file:///etc/passwd": ODD,
    "file://localhost/etc/passwd": ODD,
    "gopher://127.0.0.1:70/": ODD,
    "dict://127.0.0.1:11211/": ODD,
    "data:image/png;base64,AAAA": ODD,
    "javascript:alert(1)": ODD,
    "jar:https://example.org!/": ODD,
    "view-source:https://example.org/": ODD,
    "unix:/run/docker.sock": ODD,
    "http+unix://%2Frun%2Fdocker.sock/": ODD,
    "https+http://example.org/": ODD,
    "ws://example.org/": ODD,
    "": ODD,
    " ": ODD,
    "https://": ODD,
    "https:///": ODD,
    # names
    " https://example.org/ ": "=example.org",
    "https://example.org./": "=example.org",
    "https://example.org../": ODD,
    "https://.example.org/": ODD,
    "https://ex ample.org/": ODD,
    "https://example.org\n/": ODD,
    "https://exam\tple.org/": ODD,
    "https://example.org\r\nHost: x/": ODD,
    "https://example.org/\x00": ODD,
    "https://example.org/\ud83d": ODD,
    "https://exa\u00admple.org/": "=example.org",
    "https://bücher.example/": "=xn--bcher-kva.example",
    "https://xn--bcher-kva.example/": "=xn--bcher-kva.example",
    "https://例え.テスト/": "=xn--r8jz45g.xn--zckzah",
    "https://ｅｘａｍｐｌｅ.org/": "=example.org",
    "https://example.org／evil/": ODD,
    "https://example.org℀.evil/": ODD,
    "https://exa_mple.org/": "=exa_mple.org",
    "https://-example.org/": ODD,
    f"https://{'a' * 64}.org/": ODD,
    f"https://{'a.' * 130}org/": ODD,
    "https://exa!mple.org/": ODD,
    "https://exa%6dple.org/": ODD,
    "https://<b>.org/": ODD,
    # names that lead to this machine
    "https://localhost/": LOCAL,
    "https://LOCALHOST./": LOCAL,
    "https://local.test/": LOCAL,
    "https://six.test/": LOCAL,
    "https://mapped.test/": LOCAL,
    "https://nat64.test/": LOCAL,
    "https://zone.test/": LOCAL,
    "https://metadata.test/": LOCAL,
    "https://mixed.test/": LOCAL,
    "https://pcp.test/": LOCAL,
}
NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "local.test": ["127.0.0.1"],
    "six.test": ["::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "nat64.test": ["64:ff9b::7f00:1"],
    "zone.test": ["fe80::1%eth0"],
    "metadata.test": ["169.254.169.254"],
    "mixed.test": ["1.1.1.1", "10.0.0.1"],
    "pcp.test": ["192.0.0.192"],
    "dead.test": ["1.1.1.1", "1.0.0.1", "2606:4700::1111"],
}


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that are connected to while the test runs; what is public is stopped there."""
    seen: list[str] = []

    def watch(name: str) -> None:
        connect = getattr(socket.socket, name)

        def watched(self: socket.socket, address: tuple[object, ...]) -> object:
            seen.append(str(address[0]))
            if is_public(seen[-1]):
                raise OSError("no test leaves this machine")
            return connect(self, address)

        monkeypatch.setattr(socket.socket, name, watched)

    # not an audit hook: it stays for ever, and two threads that begin to be traced while one runs
    # end one of them
    watch("connect")
    watch("connect_ex")
    return seen


@pytest.fixture
def names(monkeypatch) -> dict[str, list[list[str]]]:
    """Stand in for the name server: for each name the answers to come, the last one for ever."""
    table: dict[str, list[list[str]]] = {name: [found] for name, found in NAMES.items()}
    real = socket.getaddrinfo

    def look_up(host, port, *rest, **more):
        if host in table:
            found = table[host].pop(0) if len(table[host]) > 1 else table[host][0]
            return [(socket.AF_UNSPEC, socket.SOCK_STREAM, 6, "", (a, port)) for a in found]
        return real(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )  # as the system reads numbers

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return table


def test_the_table_is_long_enough():
    assert len(TABLE) >= 200


def test_nothing_that_is_not_public_is_connected_to(tmp_path, names, connections):
    """Every address is asked for, from the start and as a redirect, with the real system below."""
    wrong = []
    with connect(SERVICE, tmp_path, options=NetOptions(limits=LIMITS)) as net:
        for url, expected in TABLE.items():
            connections.clear()
            failure = net.media.get(Want(url))
            assert isinstance(failure, Failure)
            if expected.startswith("="):
                right = failure.kind in PASSING  # its host may rest by now
                right &= set(connections) <= {expected[1:]}
            else:
                right = failure.kind is FailureKind.REFUSED and expected in failure.detail
                right &= not connections
            if not right:
                wrong.append((url, expected, failure.detail, list(connections)))
    assert wrong == [], "\n".join(map(str, wrong))


def test_no_redirect_leads_to_what_is_not_public(tmp_path, names, connections):
    """The endpoint opens one port of this machine, and no redirect opens another."""
    wrong = []
    with run_server() as server:
        endpoint = Endpoint.parse(server.url)
        options = NetOptions(endpoint, LIMITS)
        with connect(SERVICE, tmp_path, options=options) as net:
            for url in TABLE:
                location = url.encode("utf-8", "replace").decode("latin-1")
                if any(c in location for c in "\r\n\0"):
                    continue  # which no header can hold
                server.routes["/r"] = lambda query, to=location: Answer(b"", 302, {"Location": to})
                connections.clear()
                net.media.get(Want(f"{server.url}/r", (endpoint.host, "example.org")))
                if set(connections) - {endpoint.host}:
                    wrong.append((url, list(connections)))
    assert wrong == []


@pytest.mark.parametrize("url", [u for u, expected in TABLE.items() if expected.startswith("=")])
def test_the_plain_form_of_an_address_is_read_as_itself(url):
    target = Guard().read(url)
    assert (target.scheme, target.port) == ("https", 443)
    assert target.host == TABLE[url][1:]
    assert Guard().read(target.url) == target


@given(st.text(max_size=30) | st.text("https://[]@:.#?\\%127x0aé。\t", max_size=30))
def test_no_text_breaks_the_reader_of_addresses(text):
    for url in (text, f"https://{text}", f"https://example.org/{text}", f"https://{text}@h/"):
        try:
            target = Guard().read(url)
        except AddressRefusedError:
            continue
        assert (target.scheme, target.port) == ("https", 443)
        assert target.host.isascii() and target.path.isascii() and target.path.startswith("/")
        assert Guard().read(target.url) == target  # what is asked for is what was read


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_counts_the_same_when_mapped(address):
    assert is_public(str(address)) == is_public(f"::ffff:{address}")


@given(st.ip_addresses())
def test_never_laxer_than_the_standard_library(address):
    plain = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if is_public(str(address)):
        assert (plain or address).is_global and not (plain or address).is_multicast


@given(st.ip_addresses(), st.text("abc019", min_size=1, max_size=5))
def test_an_address_with_a_zone_is_never_public(address, zone):
    assert not is_public(f"{address}%{zone}")


FIRST = [["1.1.1.1"], ["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["::1"], ["::ffff:10.0.0.1"]]


@pytest.mark.parametrize(("first", "later"), list(itertools.product(FIRST, FIRST)))
def test_a_name_that_changes_its_address_leads_nowhere_else(
    tmp_path, names, connections, first, later
):
    """DNS rebinding: the name is asked for once a connection, and only what was tested is used."""
    names["rebound.test"] = [first, later]
    with connect(SERVICE, tmp_path, options=NetOptions(limits=LIMITS)) as net:
        outcomes = [net.media.get(Want("https://rebound.test/a.png")) for _ in range(3)]
    assert set(connections) <= {"1.1.1.1"}
    for outcome, answer in zip(outcomes, [first, later, later], strict=True):
        public = answer == ["1.1.1.1"]
        assert isinstance(outcome, Failure)
        assert outcome.kind is (FailureKind.BROKEN if public else FailureKind.REFUSED)
    assert len(connections) == [first, later, later].count(["1.1.1.1"])


def test_the_name_is_looked_up_once_a_connection(monkeypatch, connections):
    asked = []

    def look_up(host, *rest, **more):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(ConnectError, match="cannot be reached"):
        Guard().connect("pinned.test", 443, 1.0, lambda: 1.0)
    assert asked == ["pinned.test"] and connections == ["1.1.1.1"]


def test_every_address_of_a_name_is_tried(names, connections):
    with pytest.raises(ConnectError, match="cannot be reached"):
        Guard().connect("dead.test", 443, 1.0, lambda: 1.0)
    assert connections == NAMES["dead.test"]


def test_a_thousand_addresses_are_tested_and_few_are_tried(names, connections):
    names["many.test"] = [[f"1.1.{n // 250}.{n % 250}" for n in range(1000)]]
    with pytest.raises(ConnectError):
        Guard().connect("many.test", 443, 1.0, lambda: 1.0)
    assert len(connections) == guard.MAX_TRIED
    names["many.test"][0][999] = "10.0.0.1"
    with pytest.raises(AddressRefusedError):
        Guard().connect("many.test", 443, 1.0, lambda: 1.0)


def test_with_an_endpoint_every_host_is_asked_there_and_nowhere_else(tmp_path, connections):
    with run_server() as server:
        server.routes["/a.png"] = lambda query: Answer(b"picture")
        options = NetOptions(Endpoint.parse(server.url), LIMITS)
        with connect(SERVICE, tmp_path, options=options) as net:
            got = net.media.get(Want("http://museum.test/a.png"))
        assert isinstance(got, Got) and got.url == "https://museum.test/a.png"
        assert server.headers[0]["host"] == "museum.test"
        assert connections == ["127.0.0.1"]


@pytest.mark.parametrize(
    "url",
    [
        *("http://10.0.0.1:80", "http://example.org:80", "https://127.0.0.1:80"),
        *("http://127.0.0.1", "http://localhost:80", "http://127.0.0.1:80/x"),
        *("http://u@127.0.0.1:80", "http://[::1", ""),
    ],
)
def test_only_this_machine_may_stand_in(url):
    with pytest.raises(UsageError, match="only a server on this machine"):
        Endpoint.parse(url)


def test_an_endpoint_is_read():
    assert Endpoint.parse("http://[::1]:8000/") == Endpoint("::1", 8000)
    assert Endpoint("::1", 8000).origin == "http://[::1]:8000"


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("https://a.test", "/"),
        ("https://a.test?q=1#part", "/?q=1"),
        ("https://a.test/ä b.png", "/%C3%A4%20b.png"),
        ("https://a.test/%20%zz?q=ü&r=a b", "/%20%zz?q=%C3%BC&r=a%20b"),
        ("https://a.test//x/../y;z=1", "//x/../y;z=1"),
        ("https://a.test/\u200ba", "/%E2%80%8Ba"),
    ],
)
def test_a_path_is_asked_for_as_it_stands_in_ascii(asked, path):
    assert Guard().read(asked).path == path


def test_no_test_needs_a_file_of_this_machine(tmp_path: Path):
    """`hosts` may say what it likes of `localhost`: an address that it gives is tested, too."""
    with connect(SERVICE, tmp_path, options=NetOptions(limits=LIMITS)) as net:
        failure = net.media.get(Want("https://localhost/"))
    assert isinstance(failure, Failure) and "localhost" in failure.detail
