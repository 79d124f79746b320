"""The table of failures: which there are, what a row says of them, which are tried again."""

from dataclasses import dataclass
from enum import StrEnum

from curate.dataset.sample import Sample


class FailureKind(StrEnum):
    """Why an image did not come; the value is the reason in `dropped`, as `REASON:DETAIL`."""

    GONE = "gone"  # 404, 410: not there any more
    REFUSED = "refused"  # 401, 403, 451; an address that is not asked
    UNUSABLE = "unusable"  # too large, compressed, a text instead of an image
    OPT_OUT = "opt-out"  # its host or its headers say no
    BUSY = "busy"  # asked to stay away longer than we wait, or its host failed too often
    BROKEN = "download"  # server error, no connection, cut off, too slow


PASSING = frozenset({FailureKind.BUSY, FailureKind.BROKEN})  # tried again by the next fetch
FINAL = frozenset({FailureKind.GONE, FailureKind.REFUSED, FailureKind.UNUSABLE})  # --retry gone
_GONE = (404, 410)
_BUSY = 429
_PASSES = (408, 421, 425)  # of 4xx, those that say: another time, or on another connection


@dataclass(frozen=True)
class Failure:
    """An image that did not come, and why."""

    kind: FailureKind
    detail: str  # a clause for people, without secrets
    headers: tuple[str, ...] = ()  # of its answers, as far as they may bear on rights
    redirects: tuple[str, ...] = ()  # addresses that led on from the one asked for

    @property
    def dropped(self) -> str:
        """What the row says."""
        return f"{self.kind}:{self.detail}"


def kind_of_status(status: int) -> FailureKind | None:
    """What an answer with this status means; None where it brings what was asked for.

    What is no error and brings nothing either (204, 304, a redirect without an address) is
    broken: it may be otherwise the next time.
    """
    if status in (200, 203):
        return None
    if status in _GONE:
        return FailureKind.GONE
    if status == _BUSY:
        return FailureKind.BUSY
    if 400 <= status < 500 and status not in _PASSES:
        return FailureKind.REFUSED
    return FailureKind.BROKEN


def is_passing(sample: Sample) -> bool:
    """Whether a row has no image for a reason that may be over the next time."""
    return sample.drop_reason in PASSING


def is_final(sample: Sample) -> bool:
    """Whether a row has no image for a reason that will not pass by itself."""
    return sample.drop_reason in FINAL
