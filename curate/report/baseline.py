"""Two reports of the same prompts: which gaps are new, which have closed, what else has changed."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from curate.corpora.partition import unreadable_error
from curate.coverage.verdicts import SEVERITIES, UNIT_KINDS, list_some, plural, severities_from
from curate.errors import InputError

REPORT_SCHEMA = "vocab-gaps/1"
MAX_NAMED_UNITS = 8  # units that a sentence lists
_BASELINE_FIX = "write it anew: curate vocab-gaps PROMPTS --json FILE.json"
UnitKey = tuple[str, str, bool]  # kind, unit, negated


@dataclass(frozen=True)
class UnitState:
    """What a report says of a unit."""

    verdict: str
    severity: str
    n_images: int

    @property
    def is_gap(self) -> bool:
        """Whether it is worse than a remark."""
        return self.severity != "info"


@dataclass(frozen=True)
class Change:
    """A unit of which the two reports say different things."""

    unit: str
    kind: str
    negated: bool
    before: UnitState | None  # None: it was not an item then
    now: UnitState | None  # None: the prompts no longer ask for it
    why: str = ""  # where it is not plain from the two

    def __str__(self) -> str:
        """`blizzard (thin, 1 image -> covered, 31 images)`."""
        told = [f"{s.verdict}, {plural(s.n_images, 'image')}" for s in (self.before, self.now) if s]
        if self.now is None:
            told.append("no longer asked for")
        return f"{self.unit} ({' -> '.join(told)})"


@dataclass(frozen=True)
class Changes:
    """What differs between two reports."""

    new: tuple[Change, ...]  # gaps that were not as bad before
    closed: tuple[Change, ...]  # gaps that are less bad now, or none
    changed: tuple[Change, ...]  # another verdict, or another count of what is still a gap
    notes: tuple[str, ...] = ()  # what else differs, so that the two are not quite comparable

    def as_json(self) -> dict[str, Any]:
        """Plain values, worst first."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """One line for each kind of change, and the notes."""
        lines = list(self.notes)
        for name, found in (("new gaps", self.new), ("closed", self.closed)):
            lines.append(f"{name}: {_list_changes(found)}" if found else f"{name}: none")
        if self.changed:
            lines.append(f"changed otherwise: {_list_changes(self.changed)}")
        return lines

    def fails(self, fail_on: str) -> bool:
        """Whether a new gap is as bad as `fail_on` ("error", "warning" or "never") or worse."""
        bad = severities_from(fail_on)
        return any(c.now is not None and c.now.severity in bad for c in self.new)


def read_baseline(path: Path) -> dict[str, Any]:
    """An earlier report.

    Raises:
        InputError: there is none, or the file is no report of this kind.
    """
    try:
        report = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(path, "no such report to compare with", fix=_BASELINE_FIX) from None
    except OSError as error:
        raise unreadable_error(path, error) from None
    except (ValueError, RecursionError):
        problem = "not JSON, so no report to compare with"
        raise InputError(path, problem, fix=_BASELINE_FIX) from None
    schema = report.get("schema") if isinstance(report, dict) else None
    if schema != REPORT_SCHEMA:
        said = f"its schema is {schema!r}" if schema else "it states no schema"
        raise InputError(path, f"not a report of {REPORT_SCHEMA} ({said})", fix=_BASELINE_FIX)
    try:
        _unit_states(report["items"])
        _common_facts(report)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        problem = f"a damaged report ({type(error).__name__}: {error})"
        raise InputError(path, problem, fix=_BASELINE_FIX) from None
    return dict(report)


def compare_reports(old: Mapping[str, Any], new: Mapping[str, Any]) -> Changes:
    """What has changed between two reports; the order of their items changes nothing.

    A unit is the same where kind and unit are, wanted and negated told apart. A pair or binding
    that was not listed because captions did not know one of its words is no new gap once they do:
    it was as bad before.
    """
    before, now = _unit_states(old["items"]), _unit_states(new["items"])
    unknown = {
        unit
        for (kind, unit, negated), state in before.items()
        if kind == "word" and state.n_images == 0 and not negated
    }
    appeared, closed, changed = [], [], []
    for key, _ in sorted((before | now).items(), key=lambda pair: _rank(*pair)):
        kind, unit, negated = key
        was, state = before.get(key), now.get(key)
        if was == state:
            continue
        parts = [] if was or kind not in ("pair", "bind") else unit.split(" + ")
        learnt = [part for part in parts if part in unknown]
        why = f"listed since captions know {' and '.join(learnt)}" if learnt else ""
        change = Change(unit, kind, negated, was, state, why)
        if state and state.is_gap and _is_worse(state, was) and not learnt:
            appeared.append(change)
        elif was and state and was.is_gap and _is_worse(was, state):
            closed.append(change)
        elif was and state and was.verdict == state.verdict and not was.is_gap:
            continue  # only the number of images differs, of what was no gap
        elif was or learnt:
            changed.append(change)
    facts, others = _common_facts(new), _common_facts(old)
    notes = (
        f"other {name} than before: {facts[name]}, then {others[name]}"
        for name in facts
        if facts[name] != others[name]
    )
    return Changes(tuple(appeared), tuple(closed), tuple(changed), tuple(notes))


def _is_worse(a: UnitState, b: UnitState | None) -> bool:
    return b is None or SEVERITIES.index(a.severity) < SEVERITIES.index(b.severity)


def _unit_states(items: Iterable[Mapping[str, Any]]) -> dict[UnitKey, UnitState]:
    found = {}
    for item in items:
        state = UnitState(str(item["verdict"]), str(item["severity"]), int(item["n_images"]))
        if state.severity not in SEVERITIES:
            raise ValueError(f"no severity {state.severity!r}")
        found[str(item["kind"]), str(item["unit"]), state.verdict == "negated"] = state
    return found


def _rank(key: UnitKey, state: UnitState) -> tuple[int, int, UnitKey]:
    kinds = (*UNIT_KINDS, key[0])  # an unknown one last
    return SEVERITIES.index(state.severity), kinds.index(key[0]), key


def _common_facts(report: Mapping[str, Any]) -> dict[str, str]:
    profile = report["profile"]
    return {
        "prompts": str(report["prompts"]["path"]),
        "data": str(report["data"]["path"]),
        "profile": f"{profile['name']} (min {profile['min']}, target {profile['target']})",
    }


def _list_changes(changes: tuple[Change, ...]) -> str:
    return f"{len(changes):,}: " + list_some(
        list(map(str, changes)), MAX_NAMED_UNITS, by="; ", then="; "
    )
