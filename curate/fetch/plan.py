"""What a fetch does about each image that a source names: a pure function of what is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from curate.dataset.sample import Sample
from curate.dataset.statements import VERDICT_FIELDS, join_statements
from curate.net.failure import FailureKind, is_final, is_passing
from curate.rights.removals import REMOVED
from curate.sources.base import is_malformed

AI_GENERATED = "ai-generated"  # reason of a drop: its source says that a machine made it
_LICENCE = ("license_text", "license_url", "license_by", "restated")
# what stays of a row when its source describes it anew: what was said of its rights, its copies
_KEPT = ("group", *_LICENCE, "gone", "opt_outs", "restrictions", "ai_generated", "mature")


class Action(StrEnum):
    """What is to be done about one image."""

    DUE = "due"  # ask for it, unless its row is dropped already; write the row
    MET = "met"  # known, and nothing new is said of it
    DRIFTED = "drifted"  # known, and something new is said of it


@dataclass(frozen=True)
class Retry:
    """Which images are asked for again, beside those that failed to come for now."""

    gone: bool = False  # those whose failure will not pass by itself (`failure.FINAL`)
    ai_generated: bool = False  # those left out as AI-made; new ones are taken, too


@dataclass(frozen=True)
class Plan:
    """What is to be done, and the row as it then is, before any asking."""

    action: Action
    row: Sample


def plan(
    known: Sample | None,
    found: Sample,
    retry: Retry = Retry(),
    *,
    lost: bool = False,
    replaces: Sequence[str] = (),
) -> Plan:
    """What to do about an image that a source names.

    An image is due if it is new, failed to come for now, has lost its bytes, had a record that
    could not be read and now can, or if `retry` says so. Its row then says what its source says
    now, and keeps what was said of its rights before. What its source marks against training, or
    as AI-made, is due as a dropped row. What its user removed is never due.

    Args:
        known: its row so far; None if it has none.
        found: its row as its source describes it now, `dropped` where there is no image.
        retry: what else is asked for again.
        lost: whether the bytes that the row names are no more in the store.
        replaces: fields in which what is said now takes the place of what was said first: those
            of a folder, whose user corrects what they wrote.
    """
    if known is None:
        return Plan(Action.DUE, _ruled_out(found, retry))
    if is_malformed(found.dropped):
        return Plan(Action.MET, known)
    joined = _replaced(known, found, replaces) if replaces else join_statements(known, found)
    if _is_due(known, retry) or (lost and known.drop_reason != REMOVED):
        kept = {name: getattr(joined, name) for name in _KEPT}
        if not (known.license_text or known.license_url or known.restated):
            kept |= {name: getattr(found, name) for name in _LICENCE}  # the first to be stated
        return Plan(Action.DUE, _ruled_out(replace(found, **kept), retry))
    return Plan(Action.MET if joined == known else Action.DRIFTED, joined)


def holds_place(row: Sample) -> bool:
    """Whether a row counts towards the limit: its image is there, or may yet come.

    What is gone for good, forbidden, AI-made or no image takes no place: a further result does.
    """
    return (row.sha256 is not None and row.drop_reason != REMOVED) or is_passing(row)


def _is_due(known: Sample, retry: Retry) -> bool:
    again = retry.gone and is_final(known)
    again |= retry.ai_generated and known.drop_reason == AI_GENERATED
    return again or is_passing(known) or is_malformed(known.dropped)


def _ruled_out(row: Sample, retry: Retry) -> Sample:
    """The row, dropped where its source's word forbids asking for the image."""
    if row.dropped is None and row.opt_outs:
        return replace(row, dropped=f"{FailureKind.OPT_OUT}:{row.opt_outs[0].partition(':')[2]}")
    if row.dropped is None and row.ai_generated and not retry.ai_generated:
        return replace(row, dropped=AI_GENERATED)
    return row


def _replaced(known: Sample, found: Sample, names: Sequence[str]) -> Sample:
    changed = replace(known, **{name: getattr(found, name) for name in names})
    undecided: dict[str, Any] = dict.fromkeys(VERDICT_FIELDS)
    return known if changed == known else replace(changed, **undecided)
