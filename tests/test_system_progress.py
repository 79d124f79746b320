"""Work says how far it is: not by default, with bars on a terminal, with lines elsewhere."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from recorded_progress import RecordedProgress

from curate.system.progress import SILENT, track
from curate.system.terminal import TerminalProgress

SECOND_BARS = """
import time
from curate.system.progress import track
from curate.system.terminal import TerminalProgress
with TerminalProgress() as progress:
    for part in track("ab", 2, "parts", progress):
        for n in track(range(3), None, "captions [of all]", progress):
            time.sleep(0.15)
        progress.say(f"{part}: left out [1]")
    progress.count("64 px", 500, 1000, loss=0.25)
    time.sleep(0.2)
    raise SystemExit("stopped")
"""


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    output = capsys.readouterr()
    assert output.out == ""
    return output.err.splitlines()


def test_by_default_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    SILENT.say("a sentence")
    assert list(track("abc", 3, "letters", SILENT)) == ["a", "b", "c"]
    assert lines(capsys) == []


def test_items_are_counted_as_they_are_done() -> None:
    progress = RecordedProgress()
    items = track("abc", 3, "letters", progress)
    assert next(items) == "a" and progress.counts == [("letters", 0, 3)]
    assert list(items) == ["b", "c"]
    assert progress.counts == [("letters", n, 3) for n in range(4)]


@pytest.mark.parametrize(
    ("items", "total", "counts"),
    [
        ("", 0, [(0, 0), (0, 0)]),
        ("ab", None, [(0, None), (1, None), (2, None), (2, 2)]),
        ("ab", 5, [(0, 5), (1, 5), (2, 5), (2, 2)]),
        ("abc", 1, [(0, 1), (2, None), (3, None), (3, 3)]),  # more than was said
    ],
)
def test_a_count_ends_with_what_there_was(
    items: str, total: int | None, counts: list[tuple[int, int | None]]
) -> None:
    progress = RecordedProgress()
    assert list(track(items, total, "x", progress)) == list(items)
    assert progress.counts == [("x", *count) for count in counts]


def test_short_work_prints_nothing_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with TerminalProgress(clock) as progress:
        for what in ("images", "thumbnails"):
            clock.now += 1000  # uncounted work between two counts is nobody's
            for _ in track(range(9), 9, what, progress):
                clock.now += 0.5
    assert lines(capsys) == []


def test_much_short_work_is_no_silence(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with TerminalProgress(clock) as progress:
        for number in range(40):
            for _ in track(range(4), 4, f"part {number}", progress):
                clock.now += 1
            clock.now += 1000
    said = lines(capsys)
    assert said[:2] == [
        "part 2: 2 of 4, 1.0/s, 0:00:02 left",  # after ten seconds of counting
        "part 2: 4 of 4, 1.0/s, took 0:00:04",
    ]
    numbers = [int(line.split()[1].rstrip(":")) for line in said]
    assert sorted({*numbers}) == [2, 3, 5, 8, 13, 19, 29]  # after 15, 23, 35, 53, 80, 120 s


def test_the_longer_it_takes_the_fewer_lines_at_most_ten_minutes_apart(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    day = 24 * 60 * 60
    with TerminalProgress(clock) as progress:
        for _ in track(range(day), day, "images", progress):
            clock.now += 1
    said = [int(line.split()[1].replace(",", "")) for line in lines(capsys)]
    assert said[:5] == [10, 15, 23, 35, 53]
    assert all(later - earlier <= 601 for earlier, later in pairwise(said))
    assert len(said) < 160


def test_long_work_prints_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with TerminalProgress(clock) as progress:
        for done in range(500, 1001):  # half of it was done by an earlier run
            progress.count("64 px", done, 1000, loss=done / 4000)
            clock.now += 0.25
    assert lines(capsys) == [
        "64 px: 540 of 1,000, 4.0/s, loss 0.135, 0:01:55 left",
        "64 px: 560 of 1,000, 4.0/s, loss 0.140, 0:01:50 left",
        "64 px: 590 of 1,000, 4.0/s, loss 0.147, 0:01:42 left",
        "64 px: 635 of 1,000, 4.0/s, loss 0.159, 0:01:31 left",
        "64 px: 703 of 1,000, 4.0/s, loss 0.176, 0:01:14 left",
        "64 px: 805 of 1,000, 4.0/s, loss 0.201, 0:00:49 left",
        "64 px: 958 of 1,000, 4.0/s, loss 0.239, 0:00:10 left",
        "64 px: 1,000 of 1,000, 4.0/s, loss 0.250, took 0:02:05",
    ]


def test_all_counts_under_way_have_a_line(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with TerminalProgress(clock) as progress:
        for part in track("ab", 2, "parts", progress):
            for _ in track(range(8), None, "captions", progress):
                clock.now += 1
            progress.say(f"{part} is whole")
    assert lines(capsys) == [
        "a is whole",
        "parts: 1 of 2, 0.1/s, 0:00:10 left",
        "captions: 2, 1.0/s",
        "parts: 1 of 2, 0.067/s, 0:00:15 left",
        "captions: 7, 1.0/s",
        "captions: 8 of 8, 1.0/s, took 0:00:08",
        "b is whole",
        "parts: 2 of 2, 0.12/s, took 0:00:16",
    ]


def test_work_that_fails_leaves_no_last_line(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise OSError

    with pytest.raises(OSError), TerminalProgress(clock) as progress:
        for _ in track(items(), 3, "images", progress):
            clock.now += 11
    assert lines(capsys) == [
        "images: 1 of 3, 0.091/s, 0:00:22 left",
        "images: 2 of 3, 0.091/s, 0:00:11 left",
    ]


def on_terminal(code: str) -> tuple[str, int]:
    """What a program writes to a terminal, and its exit code."""
    screen, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    running = subprocess.Popen(
        [sys.executable, "-c", code], stdout=terminal, stderr=terminal, env=environment
    )
    os.close(terminal)
    shown = b""
    with open(screen, "rb", buffering=0) as file:  # noqa: PTH123 a descriptor
        while chunk := read(file.fileno()):
            shown += chunk
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()), running.wait(60)


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # how a terminal ends
        return b""


def test_on_a_terminal_there_are_bars_and_none_is_left() -> None:
    shown, code = on_terminal(SECOND_BARS)
    assert code == 1
    both = r"parts +━+ 0 of 2 *\r\n(\x1b\[2K)?captions \[of all\] ━+ 1, "
    assert re.search(both, shown), shown
    assert "a: left out [1]" in shown
    assert re.search(r"parts +\S+ 1 of 2, [\d.]+/s, 0:00:0\d left", shown)
    assert re.search(r"64 px \S+ 500 of 1,000, loss 0.250", shown)
    shown = shown.rpartition("\x1b[?25h")[2]  # the cursor is there again, in an empty line
    assert shown.endswith("\x1b[2Kstopped\r\n")


def test_a_terminal_that_cannot_redraw_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    code = SECOND_BARS.replace("with Term", "import os\nos.environ['TERM'] = 'dumb'\nwith Term")
    shown, _ = on_terminal(code)
    assert "\x1b" not in shown and "━" not in shown


def test_letters_that_an_output_lacks_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a café by night\n")
    (tmp_path / "c.csv").write_text("image,caption\na.png,a fox in the snow\n")
    words = ["vocab-gaps", "p.txt", "--data", "c.csv"]
    for more, found in ([], "caf\\xe9\t"), (["--json"], '"unit": "caf\\u00e9"'):
        done = subprocess.run(
            [sys.executable, "-m", "curate.cli", *words, *more],
            cwd=tmp_path,
            env=os.environ | {"PYTHONIOENCODING": "ascii"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert found in done.stdout
