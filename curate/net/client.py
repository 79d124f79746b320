"""One source's connection: its answers and its images, with as many tries as they take."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from curate.errors import SourceError
from curate.net.answers import AnswerCache
from curate.net.api import EndOfResults as EndOfResults
from curate.net.api import Service as Service
from curate.net.budget import retry_after
from curate.net.guard import AddressRefusedError
from curate.net.old_transport import (
    Reply,
    RequestLimits,
    TransientError,
    Transport,
    UnavailableError,
)
from curate.net.redact import Url

IMAGE_LIMITS = RequestLimits(
    total_s=60.0, max_bytes=30_000_000, bytes_per_s=4096, grace_s=5.0, heeds_opt_outs=True
)
RETRY_FIX = "type the same command again; finished work is kept"
RETRY_LATER_FIX = "type the same command again after that; finished work is kept"


@dataclass(frozen=True)
class Limits:
    """When to stop waiting, reading and trying; hosts and gaps are the service's."""

    answer: RequestLimits = field(default_factory=RequestLimits)
    image: RequestLimits = IMAGE_LIMITS
    tries: int = 3
    backoff_s: float = 2.0  # seconds before the second try, doubled before each further one


class _TooLongWait(Exception):
    """A server asks for a longer pause than we sit out."""


@dataclass
class Client:
    """Asks one source for answers and images, one at a time."""

    service: Service
    answers: AnswerCache  # where answers are kept
    transport: Transport  # its key is sent with API requests, nowhere else
    limits: Limits = field(default_factory=Limits)
    evidence: str | None = None  # SHA-256 of the answer that `get_json` gave last

    def get_json(self, url: str, query: Mapping[str, object]) -> dict[str, Any]:
        """The JSON object that answers a request, from the last 24 hours' answers if it is there.

        Raises:
            EndOfResults: the source says that there is no such page.
            SourceError: it refused, failed, or answered something that is not a JSON object.
        """
        asked = {name: str(value) for name, value in query.items() if value is not None}
        if endpoint := self.transport.guard.endpoint:
            url = endpoint.origin + urlsplit(url).path
        request = Url(url, asked, self.service.key_parameter, self.transport.key)
        answer = self.answers.get_fresh(request)
        if answer is None:
            reply, body = self._request(request)
            self._parse_object(body)  # only a usable answer is kept
            lines = [f"{name}: {self._scrub(value)}" for name, value in reply.headers.items()]
            answer = self.answers.keep(request, reply.status, lines, body)
        stored, self.evidence = answer
        return self._parse_object(stored.body)

    def get_image(self, url: str) -> Reply:
        """The reply that holds the bytes of the image at `url`, unless its headers hold an opt-out.

        Raises:
            UnavailableError: with the reason for `dropped`; `download:…` if a retry may succeed.
            SourceError: the source asks for a longer pause than we sit out.
        """
        endpoint = self.transport.guard.endpoint
        hosts = (endpoint.host,) if endpoint else self.service.media_hosts
        hosts = (str(urlsplit(url).hostname),) if hosts is None else hosts
        may = replace(self.limits.image, hosts=hosts, gap_s=self.service.seconds_between)
        try:
            for reply in self._replies(url, may):
                if reply.status == 200 or reply.opt_outs:
                    return replace(reply, url=self._scrub(reply.url))
        except AddressRefusedError as error:
            raise UnavailableError(f"download:refused, {error}") from None
        except TransientError as error:
            raise UnavailableError(f"download:{error}") from None
        except _TooLongWait as error:
            if self.service.media_hosts is None:  # one host among many
                raise UnavailableError("download:the server asks for a long pause") from None
            raise self._source_error(str(error), RETRY_LATER_FIX) from None
        raise UnavailableError(f"download:the server answered {reply.status}")

    def _request(self, request: Url) -> tuple[Reply, str]:
        """A good answer to an API request, and its body as scrubbed text."""
        url = request.reveal()
        gap = max(self.service.seconds_between, 60.0 / self.service.requests_per_minute)
        may = replace(self.limits.answer, hosts=(str(urlsplit(url).hostname),), gap_s=gap)
        try:
            for reply in self._replies(url, may):
                try:
                    body = self._scrub(reply.body.decode())
                except UnicodeDecodeError:
                    problem = f"answered {reply.status} with text that is not UTF-8"
                    raise self._source_error(problem) from None
                if reply.status == 200:
                    return reply, body
                if refusal := self.service.refusal(reply.status, body):
                    raise refusal
        except AddressRefusedError as error:
            raise self._source_error(f"not asked: {error}") from None
        except UnavailableError as error:
            detail = str(error).partition(":")[2]
            raise self._source_error(f"answer not read: {detail}") from None
        except TransientError as error:
            raise self._source_error(f"{error} ({self.limits.tries} tries)") from None
        except _TooLongWait as error:
            raise self._source_error(str(error), RETRY_LATER_FIX) from None
        raise self._source_error(f"answered {reply.status}: {_excerpt(body)}")

    def _replies(self, url: str, may: RequestLimits) -> Iterator[Reply]:
        """The reply to a request; whoever goes on to the next one has it tried again.

        There is no next one after the last try, nor where the server is neither busy nor failing.
        """
        for attempt in range(self.limits.tries):
            last = attempt + 1 == self.limits.tries
            try:
                reply = self.transport.send(url, may)
            except TransientError:
                if last:
                    raise
                self._back_off(url, attempt)
                continue
            yield reply
            if last or not self._may_try_again(url, reply, attempt):
                return

    def _may_try_again(self, url: str, reply: Reply, attempt: int) -> bool:
        """Arrange for the pause that a busy or failing server needs; False if it is neither."""
        if reply.status == 429 or (reply.status == 503 and "Retry-After" in reply.headers):
            seconds, host = retry_after(reply.headers), str(urlsplit(url).hostname)
            limiter, waiting = self.transport.rate_limiter, f"waiting {seconds:.0f} s as asked"
            if seconds > limiter.max_wait_s:
                raise _TooLongWait(f"{host} asks us to stay away for {seconds:.0f} s")
            limiter.progress.say(f"{self.service.name}: too many requests; {waiting}")
            limiter.delay(host, seconds)
            return True
        if reply.status >= 500:
            self._back_off(url, attempt)
        return reply.status >= 500

    def _back_off(self, url: str, attempt: int) -> None:
        seconds = self.limits.backoff_s * 2**attempt
        self.transport.rate_limiter.delay(str(urlsplit(url).hostname), seconds)

    def _parse_object(self, body: str) -> dict[str, Any]:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            problem = f"answered something that is not JSON: {_excerpt(body)}"
            raise self._source_error(problem) from None
        if not isinstance(value, dict):
            raise self._source_error(f"answered JSON that is no object: {_excerpt(body)}")
        return value

    def _source_error(self, problem: str, fix: str = RETRY_FIX) -> SourceError:
        return SourceError(self.service.name, problem, fix=fix)

    def _scrub(self, text: str) -> str:
        return self.transport.key.scrub(text) if self.transport.key else text


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return (line[:120] + "…" if len(line) > 120 else line) or "(nothing)"
