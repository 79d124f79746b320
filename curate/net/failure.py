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


def is_passing(sample: Sample) -> bool:
    """Whether a row has no image for a reason that may be over the next time."""
    return sample.drop_reason in PASSING


def is_final(sample: Sample) -> bool:
    """Whether a row has no image for a reason that will not pass by itself."""
    return sample.drop_reason in FINAL
