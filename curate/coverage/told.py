"""How a report is told: in sentences, as rows of a table, in files."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.counts.index import Tracked, untracked
from curate.coverage import annotations, page, plan, thumbnails
from curate.coverage.report import Report, to_json
from curate.coverage.verdicts import VERDICTS, Item
from curate.dataset import write_json
from curate.files import write_bytes

COMBINATIONS_SHOWN = 20  # pairs and bindings on a terminal; every other form lists them all
HEADINGS = ("verdict", "what", "images", "prompts", "closed by")
OWN_PICTURES = "own pictures (curate fetch folder DIR), or an alias"


@dataclass(frozen=True)
class Files:
    """Where a report is to be written; None for not at all."""

    json: Path | None = None
    html: Path | None = None
    plan: Path | None = None
    junit: Path | None = None


def write(
    report: Report, to: Files, *, budget: int = plan.BUDGET, tracked: Tracked = untracked
) -> Iterator[str]:
    """Write the report to the files asked for; yield their names.

    Args:
        report: what to write.
        to: the files.
        budget: pictures that the plan may fetch.
        tracked: shows how far the pictures of the page are.

    Raises:
        InputError: a file cannot be written.
    """
    told = to_json(report)
    if to.json:
        write_json(to.json, told)
        yield str(to.json)
    if to.html:
        pictures = thumbnails.of(report.origin, thumbnails.keys_of(told), tracked)
        write_bytes(to.html, page.render(told, report.prompts, pictures=pictures).encode())
        yield str(to.html)
    if to.plan:
        chosen = plan.plan(told, budget=budget, options=report.typed)
        write_bytes(to.plan, plan.script(chosen).encode())
        yield str(to.plan)
    if to.junit:
        write_bytes(to.junit, annotations.junit(told).encode())
        yield str(to.junit)


def annotated(report: Report) -> str:
    """The report as annotations of GitHub's workflows."""
    return annotations.github(to_json(report))


def summary(report: Report) -> str:
    """What was read and what was found, in sentences."""
    origin = report.origin
    if origin.kind == "none":
        lines = [f"no dataset at {origin.path}: every word counts as missing"]
    else:
        lines = [f"{origin.path}: {report.images:,} images with {report.captions:,} captions"]
        lines += [f"  rows {reason}: {number:,}" for reason, number in report.left_out.items()]
        lines += [f"  not counted: {sentence}" for sentence in report.incomplete]
    noun = "prompt" if len(report.prompts) == 1 else "prompts"
    words = _told(report.items, "word")
    lines.append(f"{report.path}: {len(report.prompts):,} {noun}; words: {words}")
    for kind, name in (("phrase", "phrases"), ("bind", "adjectives at nouns"), ("pair", "pairs")):
        if told := _told(report.items, kind):
            lines.append(f"{name}: {told}")
    lines += report.notes
    lines += [f"line {n}: too many words to list all their pairs" for n in report.crowded]
    return "\n".join([*lines, *(report.old.sentences() if report.old else ())])


def _told(items: Sequence[Item], kind: str) -> str:
    found = Counter(item.verdict for item in items if item.kind == kind)
    return ", ".join(f"{found[v]:,} {v}" for v in VERDICTS if found[v])


def rows(report: Report, *, most: int | None = None) -> list[tuple[object, ...]]:
    """One row a gap, worst first: the verdict, the unit, its images, its prompts, the fix.

    Args:
        report: the report.
        most: how many pairs and bindings to list; None for all.
    """
    gaps = [item for item in report.items if item.severity != "info"]
    combined = [item for item in gaps if item.kind in ("bind", "pair")][:most]
    chosen = [item for item in gaps if item.kind not in ("bind", "pair")] + combined
    return [(i.verdict, i.unit, i.images, i.prompts, _closed_by(i)) for i in chosen]


def _closed_by(item: Item) -> str:
    hint = ", ".join(f"{near.unit} ({near.n_images})" for near in item.did_you_mean)
    parts = [f"did you mean {hint}?"] if hint else []
    if item.fetch:
        parts.append(" && ".join(item.fetch))
    elif item.verdict in ("unknown-word", "thin", "low"):
        parts.append(OWN_PICTURES)
    return " else ".join(parts)


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--json -` for a `--json` that names no file.

    `--json` takes the next argument only if that is `-` or ends in `.json`, so that
    `--json prompts.txt` prints and never overwrites the prompts.
    """
    found: list[str] = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        found.append(argument)
        if argument == "--json" and following != "-" and not following.endswith(".json"):
            found.append("-")
    return found
