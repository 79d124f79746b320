"""Images: one at a time, from whatever server their source names; no server can raise anything."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from curate.net.failure import Failure, kind_of_status
from curate.net.guard import AddressRefusedError
from curate.net.transport import Request
from curate.net.tries import Courier


@dataclass(frozen=True)
class Want:
    """An image to ask for."""

    url: str
    hosts: tuple[str, ...] | None = None  # None: any public host, redirects staying on it
    # given the kept header lines of each answer of the chain, a `dropped` reason such as
    # "opt-out:x-robots-tag:noai" that ends it before the body is read
    unwanted: Callable[[Sequence[str]], str | None] = lambda headers: None


@dataclass(frozen=True)
class Got:
    """An image as it came."""

    body: bytes
    url: str  # after redirects, secrets removed
    # lines `Name: value` that may bear on rights, and ETag and Last-Modified, as received, of
    # every answer of the chain, redirects first
    headers: tuple[str, ...]
    redirects: tuple[str, ...] = ()  # addresses that led on from the one asked for


@dataclass(frozen=True)
class Media:
    """Asks for images."""

    courier: Courier
    gap_s: float = 1.0  # seconds between two requests to one host

    def get(self, want: Want) -> Got | Failure:
        """The bytes of an image, or why they did not come; whether they are one, `sniff` says.

        `http` addresses are asked over https. With an endpoint, that is asked for every host, and
        its own host counts among `want.hosts`.
        """
        transport = self.courier.transport
        endpoint = transport.guard.endpoint
        hosts = want.hosts
        try:
            host = transport.guard.read(want.url).host
        except AddressRefusedError:
            host = ""  # which the courier says
        if hosts is None:
            hosts = (host,)
        elif endpoint:
            hosts = (*hosts, endpoint.host)
        request = Request(
            url=want.url, limits=self.courier.limits.image, hosts=hosts, gap_s=self.gap_s,
            unwanted=want.unwanted,
        )  # fmt: skip
        reply = self.courier.fetch(request)
        if isinstance(reply, Failure):
            return reply
        if kind := kind_of_status(reply.status):
            detail = f"the server answered {reply.status}"
            return Failure(kind, detail, reply.lines, reply.redirects)
        return Got(reply.body, transport.scrub(reply.target.url), reply.lines, reply.redirects)
