"""Images: one at a time, from whatever server their source names; no server can raise anything."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from curate.net.failure import Failure, kind_of_status
from curate.net.transport import Request
from curate.net.tries import Courier

NOT_MODIFIED = 304
CONDITIONS = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}


@dataclass(frozen=True)
class Want:
    """An image to ask for."""

    url: str
    hosts: tuple[str, ...] | None = None  # it may come from, redirects included; None: any public
    # given the kept header lines of each answer of the chain, a `dropped` reason such as
    # "opt-out:x-robots-tag:noai" that ends it before the body is read
    unwanted: Callable[[Sequence[str]], str | None] = lambda headers: None
    conditions: Mapping[str, str] = field(default_factory=dict)  # of `conditions_of`
    # given an address that a redirect leads to, why that is not to be asked
    refuses: Callable[[str], Failure | None] = lambda url: None


@dataclass(frozen=True)
class Got:
    """An image as it came."""

    body: bytes  # none of an image that has not changed
    url: str  # after redirects, secrets removed
    # lines `Name: value` that may bear on rights, and ETag and Last-Modified, as received, of
    # every answer of the chain, redirects first
    headers: tuple[str, ...]
    redirects: tuple[str, ...] = ()  # addresses that led on from the one asked for


@dataclass(frozen=True)
class Media:
    """Asks for images."""

    courier: Courier
    gap_s: float  # seconds between two requests to one host

    def get(self, want: Want) -> Got | Failure:
        """The bytes of an image, or why they did not come; whether they are one, `sniff` says.

        `http` addresses are asked over https. With an endpoint, that is asked for every host, and
        its own host counts among `want.hosts`.
        """
        transport = self.courier.transport
        hosts = want.hosts
        if hosts is not None and (endpoint := transport.guard.endpoint):
            hosts = (*hosts, endpoint.host)
        request = Request(
            url=want.url, limits=self.courier.limits.image, hosts=hosts, gap_s=self.gap_s,
            unwanted=want.unwanted, conditions=want.conditions, refuses=want.refuses,
        )  # fmt: skip
        reply = self.courier.fetch(request)
        if isinstance(reply, Failure):
            return reply
        same = reply.status == NOT_MODIFIED and want.conditions
        if not same and (kind := kind_of_status(reply.status)):
            detail = f"the server answered {reply.status}"
            return Failure(kind, detail, reply.lines, reply.redirects)
        return Got(reply.body, transport.scrub(reply.target.url), reply.lines, reply.redirects)


def conditions_of(headers: Sequence[str]) -> dict[str, str]:
    """What asks for an image only if it is another one than that of these kept headers.

    Source: RFC 9110, section 13.1 (conditional requests).
    """
    pairs = (
        (name.lower(), value.strip()) for name, _, value in (h.partition(":") for h in headers)
    )
    return {
        CONDITIONS[name]: value
        for name, value in pairs
        if name in CONDITIONS and re.fullmatch(r"[!-~][ -~]{0,200}", value)
    }
