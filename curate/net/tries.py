"""A request as often as it takes: pauses that are asked for, and what may pass in a moment."""

from collections.abc import Callable
from dataclasses import dataclass, field

from curate.net.budget import stated_pause
from curate.net.failure import Failure, FailureKind, kind_of_status
from curate.net.transport import NotAnsweredError, Reply, Request, RequestLimits, Transport

_IMAGE = RequestLimits(total_s=60.0, max_bytes=30_000_000, bytes_per_s=4096, grace_s=5.0)
# 500 KiB are what RFC 9309, section 2.5, asks a reader of robots.txt to read
_SITE = RequestLimits(total_s=20.0, max_bytes=512_000, cuts=True)
_UNSTATED_PAUSE_S = 60.0  # where a server says "too many" and not for how long


@dataclass(frozen=True)
class Limits:
    """When to stop waiting, reading and trying; hosts and gaps are the source's."""

    answer: RequestLimits = field(default_factory=RequestLimits)
    image: RequestLimits = _IMAGE
    site: RequestLimits = _SITE
    tries: int = 3
    backoff_s: float = 2.0  # seconds before the second try, doubled before each further one


@dataclass
class Courier:
    """Asks, and asks again where that may help; keeps each host's budget."""

    transport: Transport
    limits: Limits
    name: str  # of the source, for what is said

    def fetch(
        self, request: Request, *, waits: Callable[[Reply], bool] = lambda reply: True
    ) -> Reply | Failure:
        """The last reply, or why there is none that could be read.

        Args:
            request: what to ask for.
            waits: whether to ask again where a reply says "too many" without saying for how long.
        """
        budget = self.transport.budget
        try:
            host = self.transport.read(request.url).host
        except NotAnsweredError as error:
            return error.failure
        if why := budget.why_resting(host):
            return Failure(FailureKind.BUSY, why)
        for attempt in range(self.limits.tries):
            outcome, pause = self._try_once(request, attempt, waits)
            if pause is None or attempt + 1 == self.limits.tries:
                break
            budget.delay(host, pause)
        kind = outcome.kind if isinstance(outcome, Failure) else kind_of_status(outcome.status)
        budget.count(host, kind)
        return outcome

    def _try_once(
        self, request: Request, attempt: int, waits: Callable[[Reply], bool]
    ) -> tuple[Reply | Failure, float | None]:
        """What came of one try, and the pause before another in seconds; None: no other.

        A pause that a server asks for is arranged for with its host, and costs no more here.
        """
        budget, backoff = self.transport.budget, self.limits.backoff_s * 2**attempt
        try:
            reply = self.transport.send(request)
        except NotAnsweredError as error:
            return error.failure, backoff if error.again else None
        host, status = reply.target.host, reply.status
        stated = stated_pause(reply.headers)
        if status == 429 or (status == 503 and stated is not None):
            if stated is None and not waits(reply):
                return reply, None
            seconds = _UNSTATED_PAUSE_S if stated is None else stated
            last = attempt + 1 == self.limits.tries
            waits_again = not (last and stated is None) and budget.sit_out(host, seconds)
            if last or not waits_again:
                why = f"{host} asks us to stay away for {_span(seconds)}"
                if not waits_again:  # else what is asked of it next waits
                    budget.rest(host, seconds, why)
                return Failure(FailureKind.BUSY, why, reply.lines, reply.redirects), None
            said = f"too many requests; waiting {seconds:.0f} s as asked"
            budget.progress.say(f"{self.name}: {said}")
            return reply, 0.0
        return reply, backoff if status >= 500 else None


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 1e6 else "more than eleven days"
