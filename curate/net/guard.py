"""Connect only to public addresses, checked at the moment of connecting.

An address is read once, by one reader, into host, port and target; nothing else takes it apart
again. Its name is resolved once, every address it has is tested, and the connection goes to a
tested address: a second answer of the name server cannot lead elsewhere.

Only port 443: other ports of public hosts belong to other services, and no source keeps images
there. A greeting sent to them because a redirect says so is a message that nobody meant.
"""

import ipaddress
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from urllib.parse import quote, urlsplit

from curate.errors import UsageError

HTTPS_PORT = 443
MAX_TRIED = 6  # addresses of a host that are connected to, one after the other
# All blocks of the IANA IPv4 Special-Purpose Address Registry (2026), also those that it calls
# globally reachable (AS112, AMT, PCP and TURN anycast: nothing there keeps images), and multicast
_V4_REFUSED = tuple(
    ipaddress.IPv4Network(net)
    for net in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
# Global unicast, less what the IANA IPv6 registry (2026) sets apart in it: protocol assignments
# with Teredo, documentation, 6to4, AS112. All else (mapped, NAT64, local …) lies outside.
_V6_PUBLIC = ipaddress.IPv6Network("2000::/3")
_V6_REFUSED = tuple(
    ipaddress.IPv6Network(net)
    for net in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_AUTHORITY = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]@:/?#\\%\s]+))(?::([0-9]{0,5}))?", re.ASCII)
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*{_LABEL}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_KEPT_IN_TARGET = "/%:@!$&'()*+,;=~?[]|"


class AddressRefusedError(Exception):
    """The guard will not connect there; the text says why, without secrets."""


class ConnectError(Exception):
    """There is no connection to be had now; the text says why, without secrets."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open Internet.

    Stricter than `ipaddress.is_global`, which calls NAT64, 6to4, `::127.0.0.1`, 192.0.0.192 and
    multicast global. IPv4-mapped addresses count as what they map; one with a zone is local.

    Source: RFC 6890, and the registries of special-purpose addresses that it set up at IANA.
    """
    if "%" in address:
        return False
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in net for net in _V4_REFUSED)
    if ip.ipv4_mapped:
        return is_public(str(ip.ipv4_mapped))
    return ip in _V6_PUBLIC and not any(ip in net for net in _V6_REFUSED)


@dataclass(frozen=True)
class Target:
    """An address, taken apart: where a request goes, and what it asks for."""

    scheme: str  # "https"; "http" for the endpoint alone
    host: str  # ASCII, lower case, no dot at the end; an IPv6 address without brackets
    port: int
    path: str  # path and query, percent-encoded

    @property
    def authority(self) -> str:
        """Host and port as they stand in an address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS_PORT else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.authority}"

    @property
    def url(self) -> str:
        """The whole address."""
        return self.origin + self.path


@dataclass(frozen=True)
class Endpoint:
    """A server on this machine that stands in for all others; plain HTTP, save in tests of TLS."""

    host: str
    port: int
    scheme: str = "http"

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Read `http://127.0.0.1:PORT`.

        Raises:
            UsageError: anything that is not an address of this machine, by number, with a port.
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
        return Target(self.scheme, self.host, self.port, "").origin


@dataclass(frozen=True)
class Guard:
    """Says where a connection may go; with an endpoint, every connection goes there."""

    endpoint: Endpoint | None = None

    def read(self, url: str) -> Target:
        """Take an address apart; `http` is asked over https.

        Raises:
            AddressRefusedError: no address of the open Internet in its plain form. The text never
                shows more of it than the host.
        """
        try:
            parts = urlsplit(url.strip(" "))
        except ValueError:
            raise AddressRefusedError("not a usable address") from None
        scheme, authority = parts.scheme, _AUTHORITY.fullmatch(parts.netloc)
        if _CONTROL.search(url) or scheme not in ("http", "https") or not authority:
            raise AddressRefusedError("not a usable address")
        address, name, digits = authority.groups()
        host = _read_address(address) if name is None else _read_name(name)
        port = int(digits) if digits else (HTTPS_PORT if scheme == "https" else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        path = quote(path, safe=_KEPT_IN_TARGET)
        if self.endpoint and (host, port, scheme) == (*self._place(), self.endpoint.scheme):
            return Target(scheme, host, port, path)
        if port != (HTTPS_PORT if scheme == "https" else 80):
            raise AddressRefusedError(f"{host} is not asked on port {port}")
        with suppress(ValueError):  # a name: its addresses are tested when they are known
            if not is_public(host):
                raise AddressRefusedError(f"{host} is not a public address")
        return Target("https", host, HTTPS_PORT, path)

    def connect(
        self, host: str, port: int, silence_s: float, left: Callable[[], float]
    ) -> socket.socket:
        """A connection to one of the addresses of `host`, every one of which is tested.

        Args:
            host: as read by `read`.
            port: as read by `read`.
            silence_s: seconds that one address may take.
            left: seconds left for all of it, looking up the name included.

        Raises:
            ConnectError: the name cannot be found, or no address answers.
            AddressRefusedError: one of its addresses is not public.
        """
        if self.endpoint:
            host, port = self._place()
            addresses = [host]
        else:
            addresses = _look_up(host, port, left())
            if not addresses or not all(map(is_public, addresses)):
                raise AddressRefusedError(f"{host} is not a public address")
        tried = addresses[:MAX_TRIED]
        for number, address in enumerate(tried):
            share = min(silence_s, left() / (len(tried) - number))
            if share <= 0:
                break
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            connected = socket.socket(family, socket.SOCK_STREAM)
            try:
                connected.settimeout(share)
                connected.connect((address, port))
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connected.settimeout(silence_s)
            except OSError:
                connected.close()
                continue
            return connected
        raise ConnectError("cannot be reached")

    def _place(self) -> tuple[str, int]:
        assert self.endpoint, "asked for only where there is one"
        return self.endpoint.host, self.endpoint.port


def _read_address(text: str) -> str:
    """What stands in brackets: an IPv6 address without a zone, or the IPv4 address it maps."""
    try:
        ip = ipaddress.IPv6Address("%" if "%" in text else text)
    except ValueError:
        raise AddressRefusedError("not a usable address") from None
    return str(ip.ipv4_mapped or ip)


def _read_name(text: str) -> str:
    """A host name or an IPv4 address in its plain form; what could be read as one is none.

    `127.1`, `0x7f.0.0.1`, `2130706433` are addresses to some readers and names to others.

    Source: WHATWG URL standard, "ends in a number checker".
    """
    try:
        host = (text if text.isascii() else text.encode("idna").decode()).lower().removesuffix(".")
        if not _HOST_NAME.fullmatch(host):
            raise ValueError
        if _NUMBER.fullmatch(host.rpartition(".")[2]):
            host = str(ipaddress.IPv4Address(host))
    except ValueError:  # of which UnicodeError is one
        raise AddressRefusedError("not a usable address") from None
    return host


def _look_up(host: str, port: int, seconds: float) -> list[str]:
    """The addresses of a name; the look-up itself cannot be stopped, so it is left behind.

    Raises:
        ConnectError: there are none, or they do not come in `seconds`.
    """
    found: SimpleQueue[list[str] | None] = SimpleQueue()

    def work() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put([str(answer[4][0]) for answer in answers])
        except (OSError, UnicodeError):
            found.put(None)

    threading.Thread(target=work, daemon=True).start()
    try:
        addresses = found.get(timeout=max(seconds, 0.0))
    except Empty:
        raise ConnectError(f"the look-up of {host} took too long") from None
    if addresses is None:
        raise ConnectError(f"{host} cannot be found")
    return addresses
