"""A verification in a terminal or a pipe."""

import json
import math
import sys
from typing import Any

from curate.system import terminal
from train.verification.intervals import Share
from train.verification.verdict import Report, describe_accuracy

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
        if sys.stdout.isatty():
            _print_table(report)
        else:
            _print_lines(report)


def _print_lines(report: Report) -> None:
    lines: list[tuple[str, ...]] = [COLUMNS]
    for f in report.figures:
        cells = (_shares(f.before), _shares(f.after), _shares(f.change, signed=True))
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
    table = Table(title=title, title_justify="left")
    for name in ("scorer", "prompts", "what is right"):
        table.add_column(name)
    for name in ("n", "before", "after", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    last = ""
    for f in report.figures:
        if f.scorer != last and last:
            table.add_section()
        name, last = (f.scorer if f.scorer != last else ""), f.scorer
        cells = (_percents(f.before), _percents(f.after), _percents(f.change, signed=True))
        texts = (escape(name), f"{f.group} ({f.prompts})", f.measure, str(f.after.n))
        table.add_row(*texts, *map(escape, cells))
    Console().print(table)
    for line in map(describe_accuracy, report.judges):
        terminal.say(line)
    verdict = f"{report.word} {'works' if report.works else 'does not work'}"
    terminal.write_stdout(
        "".join(f"{line}\n" for line in (*(f"  {r}" for r in report.reasons), verdict))
    )


def _shares(share: Share | None, *, signed: bool = False) -> str:
    if share is None or math.isnan(share.value):
        return "-"
    sign = "+" if signed else ""
    return f"{share.value:{sign}.3f} [{share.low:{sign}.3f}, {share.high:{sign}.3f}]"


def _percents(share: Share | None, *, signed: bool = False) -> str:
    if share is None or math.isnan(share.value):
        return "-"
    sign = "+" if signed else ""
    low, high = (f"{100 * bound:{sign}.1f}" for bound in (share.low, share.high))
    return f"{100 * share.value:{sign}.1f} [{low}, {high}]"
