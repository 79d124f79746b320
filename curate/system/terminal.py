"""How commands speak: results on stdout, talk about the work on stderr.

Whatever is printed here may hold what strangers wrote, so every line and every cell is made
`visible`: how many there are never depends on what stands in them.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import Field, asdict, dataclass, field
from datetime import timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Any, ClassVar, Protocol, TextIO

from curate.errors import CurateError, storage_error
from curate.system.progress import Progress
from curate.system.strangers import visible

FIRST_LINE_SECONDS = 10.0  # seconds of counting after which a line tells how far it is
LINE_GROWTH = 0.5  # share of the seconds counted so far that pass until the next line, but at most
MOST_LINE_SECONDS = 600.0  # so many seconds
REDRAW_SECONDS = 0.1  # seconds between two looks of a bar
INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it: 128 + SIGINT
CLOSED = 141  # exit code once nobody reads the output: 128 + SIGPIPE


class Interrupted(SystemExit):
    """The end after Ctrl-C."""

    def __init__(self, said: str) -> None:
        """`said`: what is kept, and how to go on."""
        super().__init__(INTERRUPTED)
        self.said = said


class CommandResult(Protocol):
    """What a command did or found: a dataclass of plain values."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def as_rows(self) -> Sequence[Sequence[object]]:
        """The lines of its table."""
        ...


def open_streams() -> None:
    """Make output that cannot be written as it is no reason to fail.

    Where it is closed (`>&-`), it is led into nothing: the exit code and files remain. Letters
    that its encoding lacks are written as escapes, `\\xe9` for é.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 to the end
        elif isinstance(stream, TextIOWrapper) and not (
            stream.errors == "surrogateescape" and _holds_every_letter(stream)
        ):
            stream.reconfigure(errors="backslashreplace")


def _holds_every_letter(stream: TextIO) -> bool:
    return (stream.encoding or "utf-8").lower().replace("-", "") == "utf8"


@contextmanager
def command_line() -> Iterator[None]:
    """What a command line runs in: how it ends becomes at most one message and an exit code.

    Raises:
        SystemExit: with the code of a `CurateError`, or after Ctrl-C (`INTERRUPTED`).
    """
    open_streams()
    try:
        yield
    except CurateError as error:
        for number, line in enumerate(error.lines()):
            say(line if number else f"error: {line}")
        raise SystemExit(error.exit_code) from None
    except Interrupted as ended:
        say(ended.said)
        raise
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):
            raise SystemExit(CLOSED) from None  # typer ends it with the code of gaps
        raise


def say(message: str) -> None:
    """One line about the work.

    Raises:
        SystemExit: whoever reads has heard enough.
    """
    try:
        print(visible(message), file=sys.stderr)
    except BrokenPipeError:
        _lead_into_nothing()
        raise SystemExit(CLOSED) from None


def write_stdout(text: str) -> None:
    """Print text on stdout, to the end.

    Raises:
        InputError: it is led into a file, and the disk is full.
        SystemExit: whoever reads has seen enough.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _lead_into_nothing()
        raise SystemExit(CLOSED) from None
    except OSError as error:
        _lead_into_nothing()
        raise storage_error("standard output", error) from None


def _lead_into_nothing() -> None:
    """Lose what is left to be printed; the interpreter would fail on it at its end."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nothing, stream.fileno())


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on a terminal, tab-separated lines without headings elsewhere."""
    if not sys.stdout.isatty():
        print_lines(rows)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        shown.add_column(Text(_writable(visible(heading))))
    for row in rows:
        shown.add_row(*(Text(_writable(_cell(cell))) for cell in row))
    Console().print(shown)


def print_lines(rows: Iterable[Sequence[object]]) -> None:
    """Print a line a row, its cells separated by tabs."""
    write_stdout("".join("\t".join(map(_cell, row)) + "\n" for row in rows))


def _cell(value: object) -> str:
    return "" if value is None else visible(str(value))


def _writable(text: str) -> str:
    """The text as stdout will write it, so that its width can be told: see `open_streams`."""
    return text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding)


def print_json(value: object) -> None:
    """Print plain values as JSON, sorted, indented; what would not be seen by JSON's escapes."""
    escaped = not _holds_every_letter(sys.stdout)  # as JSON does it
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=escaped)
    write_stdout(re.sub(r"[^\n -~]", _json_escape, text) + "\n")


def _json_escape(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


def print_result(done: CommandResult, headings: Sequence[str], *, json: bool) -> None:
    """Print a result as JSON or as a table."""
    if json:
        print_json(asdict(done))
    else:
        print_table(headings, done.as_rows())


@dataclass
class _Count:
    started: float  # seconds on the clock
    first: int  # done before: no part of the rate
    done: int = 0
    total: int | None = None
    shown: Mapping[str, float] = field(default_factory=dict)
    has_line: bool = False  # whether it has had a line
    bar: Any = None  # rich's number of its bar, once it has one

    def facts(self, now: float) -> str:
        """Such as "1,200 of 10,000, 35.2/s, loss 0.123, 0:04:10 left"."""
        seconds = now - self.started
        rate = (self.done - self.first) / seconds if seconds > 0 else 0.0
        parts = [f"{self.done:,}" if self.total is None else f"{self.done:,} of {self.total:,}"]
        if rate:
            parts.append(f"{rate:,.1f}/s" if rate >= 1 else f"{rate:.2g}/s")
        parts += [f"{name} {value:.3f}" for name, value in self.shown.items()]
        if self.done == self.total:
            parts.append(f"took {timedelta(seconds=round(seconds))}")
        elif rate and self.total is not None:
            left = (self.total - self.done) / rate
            parts.append(f"{timedelta(seconds=round(left))} left")
        return ", ".join(parts)


class TerminalProgress(Progress, AbstractContextManager["TerminalProgress"]):
    """Progress for a person who looks at stderr.

    On a terminal a bar for each count under way. Elsewhere a line for each now and then: after
    `FIRST_LINE_SECONDS` of counting, then whenever the time spent counting grew by half, at most
    ten minutes apart. Many short counts are as good as a long one; time between counts is nobody's.
    A count that had a line, or ends when one is due, gets a last line, on a terminal as well, where
    all bars are gone in the end.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is shown before the first count."""
        self._clock = clock
        self._counts: dict[str, _Count] = {}
        self._bars: Any = None
        self._idle = self._began = clock()  # when counting last stopped; when it began, later by
        # the time between counts
        self._line = self._began + FIRST_LINE_SECONDS  # when the next line is due
        self._look = self._line  # when anything is to be shown

    def __exit__(self, *_: object) -> None:
        """Take the bars away, whatever happened."""
        if self._bars:
            self._bars.stop()

    def say(self, sentence: str) -> None:
        """One line on stderr, above the bars."""
        say(sentence)

    def count(self, what: str, done: int, total: int | None, **shown: float) -> None:
        """Show how much of it is done; called for every caption of millions, so most do little."""
        now = self._clock()
        count = self._counts.get(what)
        if count is None or done < count.done:
            if not self._counts:
                self._began, self._line = (t + now - self._idle for t in (self._began, self._line))
                self._bars = _bars()
            count = self._counts[what] = _Count(now, done, bar=count and count.bar)
            self._look = now if self._bars else self._line
        count.done, count.total, count.shown = done, total, shown
        if total is not None and done >= total:
            count.done = total
            self._end(what, now)
        elif now >= self._look:
            self._show(now)

    def _show(self, now: float) -> None:
        for what, count in self._counts.items():
            if self._bars:
                looks = {"total": count.total, "completed": count.done, "facts": count.facts(now)}
                if count.bar is None:
                    count.bar = self._bars.add_task(visible(what), **looks)
                self._bars.update(count.bar, **looks)
            if now >= self._line:
                count.has_line = True
                if not self._bars:
                    say(f"{what}: {count.facts(now)}")
        self._put_off_line(now)
        self._look = now + REDRAW_SECONDS if self._bars else self._line

    def _end(self, what: str, now: float) -> None:
        count = self._counts.pop(what)
        if self._bars:
            if count.bar is not None:
                self._bars.remove_task(count.bar)
            if not self._counts:
                self._bars.stop()
        if count.has_line or now >= self._line:
            say(f"{what}: {count.facts(now)}")
            self._put_off_line(now)
        if not self._counts:
            self._idle = now

    def _put_off_line(self, now: float) -> None:
        """If a line was due and has been said, set when the next one is."""
        if now >= self._line:
            self._line = now + min(LINE_GROWTH * (now - self._began), MOST_LINE_SECONDS)


def _bars() -> Any:
    """Bars of rich, shown from now on; None where stderr is no terminal that can redraw."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_interactive:
        return None
    facts = TextColumn("{task.fields[facts]}", markup=False)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), facts
    bars = Progress(*columns, console=console, transient=True, redirect_stdout=False)
    bars.start()
    return bars
