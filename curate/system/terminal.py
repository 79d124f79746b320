"""How commands speak: results on stdout, talk about the work on stderr."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from curate.errors import storage_error

T = TypeVar("T")


class Report(Protocol):
    """What a command did or found."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        ...

    def as_rows(self) -> Sequence[Sequence[object]]:
        """The lines of its table."""
        ...


def open_streams() -> None:
    """Lead output into nothing where it is closed (`>&-`): the exit code and files remain."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 to the end


def say(message: str) -> None:
    """One line about the work."""
    print(message, file=sys.stderr)


def result(text: str) -> None:
    """Print text on stdout, to the end.

    Raises:
        InputError: it is led into a file, and the disk is full.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # whoever reads has seen enough; the command line ends quietly
    except OSError as error:
        # what is left in the buffer goes nowhere, or the interpreter would fail on it at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise storage_error("standard output", error) from None


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on a terminal, tab-separated lines without headings elsewhere."""
    if not sys.stdout.isatty():
        cells = (("" if cell is None else str(cell) for cell in row) for row in rows)
        result("".join("\t".join(row) + "\n" for row in cells))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(*headings, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        shown.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    Console().print(shown)


def as_json(value: object) -> None:
    """Print plain values as JSON, sorted, indented."""
    result(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def report(done: Report, headings: Sequence[str], *, json: bool) -> None:
    """Print a result as JSON or as a table."""
    if json:
        as_json(done.as_json())
    else:
        table(headings, done.as_rows())


def tracked(items: Iterable[T], total: int | None, label: str = "pictures") -> Iterator[T]:
    """The items, with a bar, a rate and the time left on stderr if that is a terminal.

    Without a total, a moving bar and no time left.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f} a second" if task.speed else "")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, total=total, description=label)
