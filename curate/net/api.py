"""A source's API: one answer at a time, kept as evidence, and asked for once in 24 hours."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from curate.errors import SourceError
from curate.net.answers import AnswerCache
from curate.net.failure import Failure, FailureKind
from curate.net.redact import Url
from curate.net.transport import Reply, Request
from curate.net.tries import Courier

RETRY_FIX = "type the same command again; finished work is kept"
RETRY_LATER_FIX = "type the same command again after that; finished work is kept"


@dataclass(frozen=True)
class Answer:
    """What an API answered: a JSON object, and the record of it."""

    body: Mapping[str, Any]
    evidence: str | None = None  # SHA-256 of the stored answer


class EndOfResults(Exception):
    """A source's way of saying that there is no further page."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """How a source is asked."""

    name: str
    requests_per_minute: int = 60  # what its API allows
    seconds_between: float = 1.0  # shortest time between two requests to one host
    # hosts its images may come from, redirects included; None: any public one
    media_hosts: tuple[str, ...] | None = ()
    key_parameter: str | None = None  # query parameter that carries the key
    # what an error answer (status, body) means; None: nothing particular
    refusal: Callable[[int, str], Exception | None] = lambda status, body: None


@dataclass(frozen=True)
class Api:
    """Asks one source for answers."""

    service: Service
    answers: AnswerCache  # where answers are kept
    courier: Courier

    def get_json(self, url: str, query: Mapping[str, object]) -> Answer:
        """The JSON object that answers a request, from the last 24 hours' answers if it is there.

        Nothing else is kept. Arguments of `query` that are None are left out. With an endpoint,
        that is asked instead.

        Raises:
            EndOfResults: the source says that there is no such page.
            SourceError: it refused, failed, or answered something that is not a JSON object.
        """
        asked = {name: str(value) for name, value in query.items() if value is not None}
        transport = self.courier.transport
        if endpoint := transport.guard.endpoint:
            url = endpoint.origin + urlsplit(url).path
        request = Url(url, asked, self.service.key_parameter, transport.key)
        if kept := self.answers.get_fresh(request):
            return Answer(self._object(kept[0].body), kept[1])
        reply, body = self._request(request)
        value = self._object(body)  # only a usable answer is kept
        return Answer(value, self.answers.keep(request, reply.status, reply.lines, body))

    def _request(self, url: Url) -> tuple[Reply, str]:
        """A good answer to a request, and its body as scrubbed text."""
        gap = max(self.service.seconds_between, 60.0 / self.service.requests_per_minute)
        hosts, limits = (str(urlsplit(url.base).hostname),), self.courier.limits.answer
        request = Request(url=url.reveal(), limits=limits, hosts=hosts, gap_s=gap)
        reply = self.courier.fetch(request, waits=lambda reply: self._refusal(reply) is None)
        if isinstance(reply, Failure):
            fix = RETRY_LATER_FIX if reply.kind is FailureKind.BUSY else RETRY_FIX
            raise self._error(f"gave no answer: {reply.detail}", fix)
        if reply.status != 200 and (refusal := self._refusal(reply)):
            raise refusal
        body = self._text(reply)
        if reply.status != 200:
            raise self._error(f"answered {reply.status}: {_excerpt(body or '')}")
        if body is None:
            raise self._error(f"answered {reply.status} with text that is not UTF-8")
        return reply, body

    def _text(self, reply: Reply) -> str | None:
        try:
            return self.courier.transport.scrub(reply.body.decode())
        except UnicodeDecodeError:
            return None

    def _refusal(self, reply: Reply) -> Exception | None:
        return self.service.refusal(reply.status, self._text(reply) or "")

    def _object(self, body: str) -> dict[str, Any]:
        try:
            value = read_json(body, self.courier.transport.scrub)
        except (ValueError, RecursionError):
            value = None
            problem = f"answered something that is not JSON: {_excerpt(body)}"
        else:
            problem = f"answered JSON that is no object: {_excerpt(body)}"
        if not isinstance(value, dict):
            raise self._error(problem)
        return value

    def _error(self, problem: str, fix: str = RETRY_FIX) -> SourceError:
        return SourceError(self.service.name, problem, fix=fix)


def read_json(text: str, scrub: Callable[[str], str] = str) -> Any:
    """A JSON value whose texts can be stored and printed: half characters become U+FFFD.

    A title that was cut inside an emoji ends in half of a surrogate pair, which no UTF-8 can hold.

    Args:
        text: as received; `NaN` and `Infinity` are no JSON.
        scrub: takes secrets out of the texts.

    Raises:
        ValueError: no JSON.
        RecursionError: nested too deep.
    """
    value = json.loads(text, parse_constant=_refuse_constant)
    plain = json.dumps(value, ensure_ascii=False)
    whole = plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return json.loads(scrub(whole), parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return (line[:120] + "…" if len(line) > 120 else line) or "(nothing)"
