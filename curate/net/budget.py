"""Politeness: how long a host is left alone, and when it is given up for a while."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from threading import BoundedSemaphore

from curate.net.failure import PASSING, FailureKind
from curate.system.progress import SILENT, Progress

IN_FLIGHT = 1  # requests to one host at a time
FAILURES = 5  # passing ones in a row after which a host is left alone
REST_S = 60.0  # seconds it is then left alone; after them one more failure is enough
MAX_WAIT_S = 120.0  # seconds we sit out when asked to
_EARLIEST_UNIX_TIME = 100_000_000  # a reset beyond this is a time, not a number of seconds


@dataclass
class _Host:
    """What is known of one host; times are the clock's."""

    free: float = 0.0  # not to be asked before
    rests_until: float = 0.0  # answered for by us until then
    why: str = ""  # it rests
    failures: int = 0  # passing ones in a row
    sat_out: float = 0.0  # seconds of pauses it asked for since it last gave what we wanted
    places: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(IN_FLIGHT))


@dataclass
class Budget:
    """One budget a host: gap, requests in flight, pauses it asks for, and a circuit breaker."""

    progress: Progress = SILENT
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _hosts: dict[str, _Host] = field(default_factory=dict, repr=False)

    @contextmanager
    def turn(self, host: str, gap_s: float) -> Iterator[None]:
        """Wait until `host` may be asked, and hold a place; the gap counts from the start."""
        known = self._of(host)
        with known.places:
            if (left := known.free - self.clock()) > 0:
                self.sleep(left)
            known.free = self.clock() + gap_s
            yield

    def delay(self, host: str, seconds: float) -> None:
        """Do not ask `host` again for `seconds`."""
        known = self._of(host)
        known.free = max(known.free, self.clock() + seconds)

    def sit_out(self, host: str, seconds: float) -> bool:
        """Obey a pause that `host` asks for; not if with those before it is longer than we wait.

        Without this, a host could hold us for ever, two minutes at a time.
        """
        known = self._of(host)
        if known.sat_out + seconds > MAX_WAIT_S:
            return False
        known.sat_out += seconds
        self.delay(host, seconds)
        return True

    def rest(self, host: str, seconds: float, why: str) -> None:
        """Do not ask `host` for `seconds`, and do not wait for it either."""
        known = self._of(host)
        known.rests_until, known.why = self.clock() + seconds, why

    def why_resting(self, host: str) -> str | None:
        """Why `host` is not to be asked now, as a clause; None if it may be."""
        known = self._of(host)
        return known.why if known.rests_until > self.clock() else None

    def count(self, host: str, kind: FailureKind | None) -> None:
        """Note how a request to `host` ended: only passing failures count, all else resets."""
        known = self._of(host)
        if kind in PASSING:
            known.failures += 1
        else:
            known.failures, known.sat_out = 0, 0.0
        if known.failures >= FAILURES and known.rests_until <= self.clock():
            self.rest(host, REST_S, f"{host} failed {known.failures} times in a row")
            self.progress.say(f"{known.why}; it is left alone for {REST_S:.0f} s")

    def obey_headers(self, host: str, headers: Mapping[str, str]) -> None:
        """Obey a `X-RateLimit-Remaining: 0`: wait for the window to end before the next request."""
        if headers.get("X-RateLimit-Remaining", "").strip() == "0":
            stated = _parse_delay(headers.get("X-RateLimit-Reset", "")) or 0.0
            seconds = min(max(stated, 0.0), MAX_WAIT_S)
            if seconds:
                left = f"next request in {seconds:.0f} s"
                self.progress.say(f"{host}: the allowance is used up; {left}")
            self.delay(host, seconds)

    def _of(self, host: str) -> _Host:
        return self._hosts.setdefault(host, _Host())


def stated_pause(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks us to wait, at least 1; None if it states none that we can read.

    Source: RFC 9110, section 10.2.3 (Retry-After: seconds or a date); `X-RateLimit-Reset` as
    Pixabay and others send it.
    """
    for name in ("Retry-After", "X-RateLimit-Reset"):
        if (seconds := _parse_delay(headers.get(name, ""))) is not None:
            return max(1.0, seconds)
    return None


def _parse_delay(value: str) -> float | None:
    """Seconds from now that a header means: a number, a Unix time or an HTTP date."""
    value = value.strip()
    if value.isascii() and value.isdecimal():
        number = float(value[:20])
        return number if number < _EARLIEST_UNIX_TIME else number - time.time()
    try:
        return parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
