"""Politeness: how long a host is left alone."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from curate.system.progress import SILENT, Progress

_EARLIEST_UNIX_TIME = 100_000_000  # a reset beyond this is a time, not a number of seconds


@dataclass
class RateLimiter:
    """Keeps requests to one host a minimum time apart. One request at a time, no threads."""

    progress: Progress = SILENT
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    max_wait_s: float = 120.0  # seconds we sit out; asked for more, the fetch stops
    _earliest: dict[str, float] = field(default_factory=dict)  # host -> clock time

    def wait(self, host: str, gap: float) -> None:
        """Sleep until `host` may be asked, then count this request; `gap` in seconds."""
        left = self._earliest.get(host, 0.0) - self.clock()
        if left > 0:
            self.sleep(left)
        self._earliest[host] = self.clock() + gap

    def delay(self, host: str, seconds: float) -> None:
        """Do not ask `host` again for `seconds`."""
        self._earliest[host] = max(self._earliest.get(host, 0.0), self.clock() + seconds)

    def obey_headers(self, host: str, headers: Mapping[str, str]) -> None:
        """Obey a `X-RateLimit-Remaining: 0`: wait for the window to end before the next request."""
        if headers.get("X-RateLimit-Remaining", "").strip() == "0":
            seconds = min(
                _parse_delay(headers.get("X-RateLimit-Reset", "")) or 0.0, self.max_wait_s
            )
            if seconds:
                left = f"next request in {seconds:.0f} s"
                self.progress.say(f"{host}: the allowance is used up; {left}")
            self.delay(host, seconds)


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that an answer asks us to wait (at least 1; 60 if it asks without a number)."""
    for name in ("Retry-After", "X-RateLimit-Reset"):
        if (seconds := _parse_delay(headers.get(name, ""))) is not None:
            return max(1.0, seconds)
    return 60.0


def _parse_delay(value: str) -> float | None:
    """Seconds from now that a header means: a number, a Unix time or an HTTP date."""
    value = value.strip()
    if value.isdecimal():
        number = float(value)
        return number if number < _EARLIEST_UNIX_TIME else number - time.time()
    try:
        return parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError):
        return None
