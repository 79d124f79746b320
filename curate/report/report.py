"""The report: prompts judged against data, as values and as JSON (`vocab-gaps/1`)."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from curate.corpora.corpus import Corpus
from curate.coverage.judge import WordIndex
from curate.coverage.verdicts import RELATIONS, Item, RelatedImages, Targets, severities_from
from curate.errors import ExitCode, UsageError
from curate.prompts import reader
from curate.report.baseline import REPORT_SCHEMA, Changes, compare_reports

FAIL_ON = ("error", "warning", "never")
MIN_CHECKED = 10  # times a verdict must have been given before its share of right ones is told


@dataclass(frozen=True)
class CoverageReport:
    """What a file of prompts asks for, judged against data."""

    path: Path  # of the prompts
    prompts: list[reader.Prompt]
    items: list[Item]  # worst first
    targets: Targets
    corpus: Corpus
    index: WordIndex  # of it
    notes: tuple[str, ...] = ()  # what a reader must know of the numbers
    crowded: tuple[int, ...] = ()  # lines with too many words for all their pairs
    options: tuple[str, ...] = ()  # options that lead to this report
    baseline: Mapping[str, Any] | None = None  # an earlier report as JSON

    @cached_property
    def values(self) -> dict[str, Any]:
        """The report as plain values, in a stable order, without what changed."""
        return {
            "schema": REPORT_SCHEMA,
            "prompts": {"path": str(self.path), "count": sum(p.asks for p in self.prompts)},
            "data": {
                "path": str(self.corpus.path),
                "kind": self.corpus.kind,
                "images": self.index.images,
                "captions": self.index.captions,
                "rows": dict(self.index.left_out),
                "named": dict(self.index.named),
                "remarks": list(self.index.remarks),
                "incomplete": list(self.index.incomplete),
                "notes": list(self.notes),
            },
            "profile": {
                "name": self.targets.profile,
                "min": self.targets.warn,
                "target": self.targets.target,
            },
            "summary": dict(sorted(Counter(item.verdict for item in self.items).items())),
            "items": [item_json(item) for item in self.items],
        }

    @cached_property
    def changes(self) -> Changes | None:
        """What changed since the earlier report."""
        return None if self.baseline is None else compare_reports(self.baseline, self.values)

    def exit_code(self, fail_on: str = "error") -> ExitCode:
        """INPUT when data could not be counted, FOUND when an item is as bad as `fail_on`.

        With an earlier report, only what is new since then counts.

        Raises:
            UsageError: `fail_on` is not one of FAIL_ON.
        """
        check_fail_on(fail_on)
        if self.index.incomplete:
            return ExitCode.INPUT
        if self.changes:
            return ExitCode(self.changes.fails(fail_on))
        bad = severities_from(fail_on)
        return ExitCode(any(item.severity in bad for item in self.items))


def check_fail_on(fail_on: str) -> None:
    """Refuse an unknown severity before any work is done."""
    if fail_on not in FAIL_ON:
        fix = f"one of {', '.join(FAIL_ON)}"
        raise UsageError("--fail-on", f"no severity {fail_on!r}", fix=fix)


def to_json(report: CoverageReport) -> dict[str, Any]:
    """The report as plain values, in a stable order."""
    if report.changes is None:
        return report.values
    return report.values | {"baseline": report.changes.as_json()}


def item_json(item: Item) -> dict[str, Any]:
    """One item; what cannot be known is null, zero or empty."""
    return {
        "unit": item.unit,
        "kind": item.kind,
        "verdict": item.verdict,
        "severity": item.severity,
        "p_correct": p_correct(item.verdict),
        "n_images": item.images,
        "levels": {
            "exact": item.levels.exact,
            "inflection": item.levels.inflection,
            "variant": item.levels.variant,
            **{
                name: {"n": via.images, "via": list(via.units)}
                for name in RELATIONS
                for via in [item.levels.related.get(name, RelatedImages())]
            },
        },
        "expected": item.expected,
        "pmi": item.pmi,
        "related_not_counted": [
            asdict(related) | {"n_images": images} for related, images in item.not_counted
        ],
        "upper_bound_visible_95": item.upper_bound,
        "prompts": [
            {"line": m.line, "span": [m.start, m.end], "text": m.text} for m in item.mentions
        ],
        "evidence": [{"key": e.key, "caption": e.caption} for e in item.evidence],
        "nearest": [{"unit": n.unit, "n_images": n.n_images} for n in item.nearest],
        "did_you_mean": [{"unit": n.unit, "n_images": n.n_images} for n in item.did_you_mean],
        "badges": ["sense-risk"] if item.senses else [],
        "senses": item.senses and {"asked": item.senses.asked, "shown": item.senses.shown},
        "fix": {"fetch": list(item.fetch), "need": item.need},
    }


def p_correct(verdict: str) -> float | None:
    """How often a verdict was right where it could be checked; None where too few were.

    The share of right verdicts on the half of the gold set that nothing was tuned on, with one
    right and one wrong added (Laplace's rule of succession).
    """
    right, given = _checked_verdicts().get(verdict, (0, 0))
    return round((right + 1) / (given + 2), 2) if given >= MIN_CHECKED else None


@cache
def _checked_verdicts() -> Any:
    """Verdict -> how often it was right, how often it was given."""
    text = resources.files("curate.report").joinpath("checked.json").read_text("utf-8")
    return json.loads(text)["verdicts"]
