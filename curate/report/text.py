"""The report as text: sentences, rows of a table; and the files it is written to."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

from curate.corpora.notes import left_out_sentences
from curate.coverage.verdicts import VERDICTS, Item, plural
from curate.dataset.folder import write_json
from curate.errors import InputError, UsageError
from curate.prompts.reader import STDIN
from curate.report import ci, page, plan, thumbnails
from curate.report.report import CoverageReport, to_json
from curate.system.files import write_bytes
from curate.system.progress import SILENT, Progress
from curate.system.strangers import visible

COMBINATIONS_SHOWN = 20  # pairs and bindings on a terminal; every other form lists them all
GAP_HEADINGS = ("verdict", "what", "images", "prompts", "closed by")
_EXAMPLE_NAMES = {"json": "gaps.json", "html": "gaps.html", "plan": "plan.sh", "junit": "gaps.xml"}
OWN_IMAGES_FIX = "own images (curate fetch folder DIR), or an alias"


@dataclass(frozen=True)
class ReportFiles:
    """Where a report is to be written; None for not at all."""

    json: Path | None = None
    html: Path | None = None
    plan: Path | None = None
    junit: Path | None = None

    def check(self, reads: Iterable[Path | None]) -> None:
        """Refuse what cannot be written, before any work is done.

        Args:
            reads: the files and folders that the command reads; none of them is written over.

        Raises:
            UsageError: a file that is read, a folder, the same file twice, or a plan for prompts
                that are piped in.
            InputError: no file can be written there.
        """
        used = {path.resolve(): "is read by this command" for path in reads if path}
        for field in fields(self):
            option, path = f"--{field.name}", getattr(self, field.name)
            if path is None:
                continue
            if path.is_dir():
                fix = f"name a file in it, such as {path / _EXAMPLE_NAMES[field.name]}"
                raise UsageError(option, f"{path} is a folder", fix=fix)
            if path.resolve() in used:
                problem = f"{path} {used[path.resolve()]}, and would be written over"
                raise UsageError(option, problem, fix="name another file")
            used[path.resolve()] = f"is the file of {option} already"
            _check_folder(path)
        if self.plan and STDIN.resolve() in used:
            problem = "the script reads the prompts again, and what is piped in cannot be"
            raise UsageError("--plan", problem, fix="write the prompts to a file, and name it")


def write_report(
    report: CoverageReport,
    to: ReportFiles,
    *,
    budget: int = plan.BUDGET,
    progress: Progress = SILENT,
) -> Iterator[str]:
    """Write the report to the files asked for; yield their names.

    Args:
        report: what to write.
        to: the files.
        budget: images that the plan may fetch.
        progress: counts the images of the page.

    Raises:
        InputError: a file cannot be written.
    """
    values = to_json(report)
    if to.json:
        write_json(to.json, values)
        yield str(to.json)
    if to.html:
        keys = thumbnails.evidence_keys(values)
        shown = thumbnails.make_thumbnails(report.corpus, keys, progress)
        html = page.render_report_page(values, report.prompts, thumbnails=shown)
        write_bytes(to.html, html.encode())
        yield str(to.html)
    if to.plan:
        chosen = plan.make_plan(values, budget=budget, options=report.options)
        write_bytes(to.plan, plan.plan_script(chosen).encode())
        yield str(to.plan)
    if to.junit:
        write_bytes(to.junit, ci.junit_xml(values).encode())
        yield str(to.junit)


def _check_folder(path: Path) -> None:
    """Refuse a file whose folder is none, or cannot be written to or made."""
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    if not folder.is_dir():
        raise InputError(path, f"{folder} is no folder", fix="name a file in a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        problem = f"cannot be written (no permission to write in {folder})"
        raise InputError(path, problem, fix="correct the permissions, or name another folder")


def summary_text(report: CoverageReport) -> str:
    """What was read and what was found, in sentences."""
    corpus, index = report.corpus, report.index
    if corpus.kind == "none":
        lines = [f"no dataset at {corpus.path}: every word counts as missing"]
    elif corpus.kind == "checkpoint":
        lines = [f"{corpus.path}: trained on {plural(index.images, 'image')}"]
    else:
        told = f"{plural(index.images, 'image')} with {plural(index.captions, 'caption')}"
        lines = [f"{corpus.path}: {told}"]
        lines += [f"  {sentence}" for sentence in index.remarks]
        not_used = left_out_sentences(index.left_out, index.named)
        lines += [f"  not used: {sentence}" for sentence in not_used]
        lines += [f"  not counted: {sentence}" for sentence in index.incomplete]
    name = "standard input" if report.path == STDIN else report.path
    words, asking = _verdict_counts(report.items, "word"), report.values["prompts"]["count"]
    lines.append(f"{name}: {plural(asking, 'prompt')}; words: {words}")
    for kind, name in (("phrase", "phrases"), ("bind", "adjectives at nouns"), ("pair", "pairs")):
        if counts := _verdict_counts(report.items, kind):
            lines.append(f"{name}: {counts}")
    lines += report.notes
    lines += [f"line {n}: too many words to list all their pairs" for n in report.crowded]
    lines += report.changes.sentences() if report.changes else ()
    return "\n".join(map(visible, lines))


def _verdict_counts(items: Sequence[Item], kind: str) -> str:
    found = Counter(item.verdict for item in items if item.kind == kind)
    return ", ".join(f"{found[v]:,} {v}" for v in VERDICTS if found[v])


def gap_rows(report: CoverageReport, *, most: int | None = None) -> list[tuple[object, ...]]:
    """One row a gap, worst first: the verdict, the unit, its images, its prompts, the fix.

    Args:
        report: the report.
        most: how many pairs and bindings to list; None for all.
    """
    gaps = [item for item in report.items if item.severity != "info"]
    combined = [item for item in gaps if item.kind in ("bind", "pair")]
    chosen = [item for item in gaps if item.kind not in ("bind", "pair")] + combined[:most]
    return [(i.verdict, i.unit, i.images, i.prompts, _closed_by(i)) for i in chosen]


def _closed_by(item: Item) -> str:
    hint = ", ".join(f"{near.unit} ({near.n_images})" for near in item.did_you_mean)
    parts = [f"did you mean {hint}?"] if hint else []
    if item.fetch:
        parts.append(" && ".join(item.fetch))
    elif item.verdict in ("unknown-word", "thin", "low"):
        parts.append(OWN_IMAGES_FIX)
    return " else ".join(parts)


def expand_json_option(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--json -` for a `--json` that names no file.

    `--json` takes the next argument only if that is `-` or ends in `.json`, so that
    `--json prompts.txt` prints and never overwrites the prompts.
    """
    found = []
    for argument, following in pairwise([*arguments, ""]):
        found.append(argument)
        if argument == "--json" and following != "-" and not following.endswith(".json"):
            found.append("-")
    return found
