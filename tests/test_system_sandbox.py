"""Jobs in processes of their own: which answers come when, and what a slow one costs others."""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from curate.errors import InputError
from curate.system import sandbox

NAP = "naps:nap"
MODULE = """
import os, time

from curate.errors import InputError

def nap(number, seconds=0.0):
    if seconds < 0:
        raise InputError("a nap", "is negative", fix="sleep")
    started = time.time()
    time.sleep(seconds)
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    return {"number": number, "nice": niceness, "span": [started, time.time()]}, bytes(number)
"""


@pytest.fixture(autouse=True)
def naps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of ours, where workers find it; and little patience."""
    (tmp_path / "naps.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(sandbox, "SLOW_SECONDS", 0.4)


def jobs(*seconds: float) -> list[dict[str, float]]:
    return [{"number": n, "seconds": s} for n, s in enumerate(seconds)]


@pytest.mark.parametrize("processes", [1, 2])
def test_answers_come_in_order_or_each_once_with_its_number(processes: int) -> None:
    naps = jobs(0.2, *[0.0] * 12)
    in_order = list(sandbox.run_jobs(NAP, naps, processes=processes))
    as_they_come = dict(sandbox.run_unordered(NAP, naps, processes=processes))
    for answers in (dict(enumerate(in_order)), as_they_come):
        assert sorted(answers) == list(range(13))
        for number, answer in answers.items():
            assert not isinstance(answer, sandbox.WorkerFailure)
            assert (answer[0]["number"], answer[1]) == (number, bytes(number))


def test_a_slow_job_steps_aside_and_holds_up_nobody() -> None:
    naps = jobs(3.0, *[0.0] * 40)
    answers = list(sandbox.run_unordered(NAP, naps, processes=1))
    numbers = [number for number, _ in answers]
    assert numbers[-1] == 0 and sorted(numbers) == list(range(41))
    base = os.getpriority(os.PRIO_PROCESS, 0)
    niceness = [a[0]["nice"] for _, a in answers if not isinstance(a, sandbox.WorkerFailure)]
    assert niceness == [base] * 40 + [min(base + 10, 19)]


def test_not_more_than_so_many_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "ASIDE", 2)
    answers = sandbox.run_unordered(NAP, jobs(*[3.0] * 5), processes=1)
    spans = [a[0]["span"] for _, a in answers if not isinstance(a, sandbox.WorkerFailure)]
    moments = sorted(start for start, _ in spans)
    at_once = [sum(start <= moment < end for start, end in spans) for moment in moments]
    assert len(spans) == 5 and max(at_once) == 3, "one, and two aside"


def test_jobs_may_be_endless_and_nobody_waits_for_those_not_wanted() -> None:
    taken = []

    def endless() -> Iterator[dict[str, float]]:
        for number in itertools.count():
            taken.append(number)
            yield {"number": number, "seconds": 30.0 if number > 6 else 0.0}

    started = time.monotonic()
    answers = sandbox.run_unordered(NAP, endless(), processes=1)
    first = {next(answers)[0] for _ in range(6)}
    answers.close()
    assert len(first) == 6 and first < set(range(7))
    assert len(taken) <= 6 + 4 + 4 + 1
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("run", [sandbox.run_jobs, sandbox.run_unordered])
def test_an_error_of_a_job_ends_the_run_at_once(run: Callable[..., Iterator[object]]) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match="a nap: is negative"):
        naps = jobs(-1.0, 30.0, 30.0)
        list(run(NAP, naps, processes=2))
    assert time.monotonic() - started < 10
