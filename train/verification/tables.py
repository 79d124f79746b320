"""A verification told: as tables on a terminal, as lines in a pipe, as JSON."""

import json
import sys
from itertools import groupby
from typing import Any

from curate.system import terminal
from curate.system.strangers import visible
from train.verification import verdict
from train.verification.decisions import Verdict
from train.verification.intervals import Share, format_share
from train.verification.verdict import Figure, Report

COLUMNS = (
    *("scorer", "group", "measure", "counts", "n", "prompts"),
    *("real", "drawn", "before", "after", "change"),
)


def print_reports(*reports: Report, as_json: bool) -> None:
    """Print reports: tables on a terminal, one figure a line when piped, JSON if asked.

    JSON of one report is that of `verify.json`; of several words, a list of them.

    Raises:
        InputError: output is led into a file, and the disk is full.
    """
    if as_json:
        values: list[Any] = [json.loads(report.to_json()) for report in reports]
        terminal.print_json(values[0] if len(values) == 1 else values)
        return
    for report in reports:
        (_print_table if sys.stdout.isatty() else _print_lines)(report)


def describe_judges(report: Report) -> list[str]:
    """How far each scorer is relied upon, and for what it counts."""
    lines = []
    for judge in report.judges:
        counts = [measure for measure, name in report.chosen.items() if name == judge.name]
        also = f"; counts for: {', '.join(counts)}" if counts else ""
        lines.append(verdict.describe_judge(judge, verdict.WORD) + also)
    if any(judge.halved for judge in report.judges):
        lines.append("who counts was chosen on the other half of the real images")
    return lines


def _print_lines(report: Report) -> None:
    lines: list[tuple[str, ...]] = [COLUMNS]
    for f in report.figures:
        cells = _cells(f, factor=1, digits=3)
        counts, n = "yes" if f.counts else "no", str(f.after.share.n)
        lines.append((f.scorer, f.group, f.measure, counts, n, str(f.prompts), *cells))
    lines.append((report.word, str(report.verdict)))
    for line in (
        *describe_judges(report),
        *(f"{f.verdict}: {f.sentence}{f'; {f.helps}' if f.helps else ''}" for f in report.findings),
    ):
        terminal.say(line)
    terminal.print_lines(lines)


def _print_table(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    word = visible(report.word)
    title = Text(f"{word}: percent of samples, corrected, with 95 % intervals")
    table = Table("scorer", "prompts", "what is seen", title=title, title_justify="left")
    for name in ("n", "real, seen", "drawn, seen", "before", "after", "change"):
        table.add_column(name, justify="right")
    for scorer, figures in groupby(report.figures, lambda f: f.scorer):
        table.add_section()
        for n, f in enumerate(figures):
            cells = _cells(f)
            texts = (f"{f.group} ({f.prompts})", f.measure, str(f.after.share.n))
            row = ("" if n else scorer, *texts, *cells)
            shown = (Text(visible(cell)) for cell in row)
            table.add_row(*shown, style=None if f.counts else "dim")
    Console().print(table)
    for line in describe_judges(report):
        terminal.say(line)
    marks = {Verdict.WORKS: "✓", Verdict.FAILS: "✗"}
    found = [
        f"  {marks.get(f.verdict, '?')} {f.sentence}{f' ({f.helps})' if f.helps else ''}"
        for f in report.findings
    ]
    terminal.print_lines([[line] for line in (*found, f"{report.word}: {report.verdict}")])


def _cells(figure: Figure, **style: Any) -> list[str]:
    before = figure.before.share if figure.before else None
    shares: tuple[Share | None, ...] = (figure.real, figure.after.raw, before, figure.after.share)
    found = [format_share(share, **style) for share in shares]
    change = figure.change.share if figure.change else None
    found.append(format_share(change, signed=True, **style))
    return [" ".join(cell or "-") for cell in found]
