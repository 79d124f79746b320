"""What is said of an image later, beside what was said first: nothing of it is ever lost."""

from dataclasses import replace
from typing import Any

from curate.dataset.sample import Sample, Statement

VERDICT_FIELDS = ("license", "license_how", "train", "share_dataset", "share_model", "policy")
_UNITED = ("opt_outs", "restrictions", "headers", "site_evidence")


def join_statements(known: Sample, later: Sample) -> Sample:
    """The row `known` with what `later` says of the same image; if any is new, undecided.

    A statement of the licence that is neither the first nor among the later ones is added to
    `restated`. Opt-outs, restrictions, headers and documents of hosts are added; that an image is
    AI-made, mature or gone stays, once it is said. Everything else stays as it was first said.
    Joined again, it changes nothing.
    """
    said: dict[str, Any] = {}
    for name in _UNITED:
        first = getattr(known, name)
        said[name] = first + tuple(x for x in dict.fromkeys(getattr(later, name)) if x not in first)
    said["ai_generated"] = _strictest(known.ai_generated, later.ai_generated)
    said["mature"] = _strictest(known.mature, later.mature)
    said["gone"] = known.gone or later.gone
    said["restated"] = known.restated
    now = Statement(later.license_text, later.license_url, later.retrieved, later.evidence)
    for statement in (now, *later.restated):
        heard = [(known.license_text, known.license_url)]
        heard += [(s.text, s.url) for s in said["restated"]]
        stated = statement.text, statement.url
        if stated not in heard and stated != (None, None):
            said["restated"] += (statement,)
    changed = replace(known, **said)
    if changed == known:
        return known
    undecided: dict[str, Any] = dict.fromkeys(VERDICT_FIELDS)
    return replace(changed, **undecided)


def _strictest(*said: bool | None) -> bool | None:
    """True if it was ever said, else False if it was ever denied."""
    stated = [value for value in said if value is not None]
    return any(stated) if stated else None
