"""One verdict for all copies of a picture: the strictest that any of them has.

Whoever found a picture twice, under two licences, knows no better than before which statement
is true. So the stricter one counts, unless the user says whom to believe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from curate.dataset.sample import Sample, Verdict
from curate.formats.copies import group_copies
from curate.formats.verdicts import DECISIONS, USES
from curate.rights.decide import objections, strictest
from curate.rights.policy import Policy

# codes whose detail is the key of the copy whose verdict counts
CONFLICT = "copy-conflict"  # the strictest, for copies are decided differently
BELIEVED = "copy-believed"  # by the policy's word: stricter ones of other sources do not count


def join(samples: Sequence[Sample], policy: Policy) -> list[Sample]:
    """The samples, each decided for itself before, with one verdict a group and use.

    Where all members of a group have the same decision, each keeps its own reasons. Else all
    have that of the strictest (the smallest key among equals), and `copy-conflict:KEY` before its
    reasons. Rows that were dropped count, too: a statement stays a statement. Beside what makes
    rows copies only their `source`, verdicts and signals are looked at; their order changes
    nothing.

    Args:
        samples: rows as `decide` leaves them.
        policy: names in `believe` whose statement counts alone where it is there.
    """
    joint: dict[str, Mapping[str, Any]] = {}
    for members in group_copies(samples):
        found = {use: _join_use(members, policy, use) for use in USES}
        for sample in members:
            joint[sample.key] = {use: v for use, verdict in found.items() if (v := verdict)}
    return [replace(s, **joint[s.key]) if s.key in joint else s for s in samples]


def is_joined(verdict: Verdict) -> bool:
    """Whether a verdict is that of a group, and not of the image alone."""
    return any(code.startswith((CONFLICT, BELIEVED)) for code in verdict.reasons[:1])


def _join_use(members: Sequence[Sample], policy: Policy, use: str) -> Verdict | None:
    """The verdict of all members for one use; None where each keeps its own."""
    own: list[tuple[str, Verdict]] = sorted((s.key, getattr(s, use)) for s in members)
    counted = own
    if policy.believe & {s.source for s in members}:
        counted = sorted(
            (s.key, verdict) for s in members if (verdict := _counted(s, policy, use)) is not None
        )
    key, chosen = min(counted, key=lambda pair: DECISIONS.index(pair[1].decision))
    if any(verdict.decision != chosen.decision for _, verdict in counted):
        return Verdict(chosen.decision, (f"{CONFLICT}:{key}", *chosen.reasons))
    if any(verdict.decision != chosen.decision for _, verdict in own):
        return Verdict(chosen.decision, (f"{BELIEVED}:{key}", *chosen.reasons))
    return None


def _counted(sample: Sample, policy: Policy, use: str) -> Verdict | None:
    """What counts of a member where some are believed: its verdict, or what it objects."""
    if sample.source in policy.believe:
        verdict: Verdict = getattr(sample, use)
        return verdict
    against = objections(sample, policy, use)
    return strictest(against) if against else None
