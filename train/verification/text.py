"""A verification in a terminal or a pipe."""

import json
import sys
from itertools import groupby
from typing import Any

from curate.system import terminal
from train.verification.intervals import format_share
from train.verification.verdict import Figure, Report, describe_accuracy

COLUMNS = ("scorer", "group", "measure", "n", "prompts", "before", "after", "change")


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


def _print_lines(report: Report) -> None:
    lines: list[tuple[str, ...]] = [COLUMNS]
    for f in report.figures:
        cells = _cells(f, factor=1, digits=3)
        lines.append((f.scorer, f.group, f.measure, str(f.after.n), str(f.prompts), *cells))
    lines.append((report.word, "works" if report.works else "does not work"))
    for line in (*map(describe_accuracy, report.judges), *report.reasons):
        terminal.say(line)
    terminal.write_stdout("".join("\t".join(line) + "\n" for line in lines))


def _print_table(report: Report) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    title = Text(f"{report.word}: percent of samples, with 95 % intervals")
    table = Table("scorer", "prompts", "what is right", title=title, title_justify="left")
    for name in ("n", "before", "after", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    for scorer, figures in groupby(report.figures, lambda f: f.scorer):
        table.add_section()
        for n, f in enumerate(figures):
            texts = (f"{f.group} ({f.prompts})", f.measure, str(f.after.n))
            table.add_row("" if n else escape(scorer), *texts, *map(escape, _cells(f)))
    Console().print(table)
    for line in map(describe_accuracy, report.judges):
        terminal.say(line)
    reasons = "".join(f"  {reason}\n" for reason in report.reasons)
    verdict = "works" if report.works else "does not work"
    terminal.write_stdout(f"{reasons}{report.word} {verdict}\n")


def _cells(figure: Figure, **style: int) -> list[str]:
    shares = (figure.before, figure.after, figure.change)
    found = [format_share(s, signed=s is figure.change, **style) for s in shares]
    return [" ".join(cell or "-") for cell in found]
