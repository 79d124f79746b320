"""Where jobs and tables run: in processes of this machine, or on a Ray cluster."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

from curate.system import sandbox
from curate.system.sandbox import Answer, Job


@dataclass(frozen=True)
class Engine:
    """Where jobs run."""

    name: Literal["local", "ray"] = "local"
    ray_address: str | None = None  # of a running cluster, "auto" or "HOST:PORT"; None: one is
    # started on this machine for as long as the command runs


LOCAL = Engine()  # the processes of this machine


@overload
def run_jobs(
    function: str,
    jobs: Iterable[Job],
    *,
    processes: int | None = None,
    ordered: Literal[True] = True,
    engine: Engine = LOCAL,
) -> Iterator[Answer]: ...


@overload
def run_jobs(
    function: str,
    jobs: Iterable[Job],
    *,
    processes: int | None = None,
    ordered: Literal[False],
    engine: Engine = LOCAL,
) -> Iterator[tuple[int, Answer]]: ...


def run_jobs(
    function: str,
    jobs: Iterable[Job],
    *,
    processes: int | None = None,
    ordered: bool = True,
    engine: Engine = LOCAL,
) -> Iterator[Any]:
    """Yield what `function(**job)` answers for each job, as `sandbox.run_jobs` does.

    Args:
        function: as in `sandbox.run_jobs`.
        jobs: as in `sandbox.run_jobs`.
        processes: workers at work side by side, the number of CPUs unless given; on a cluster those
            of one task, 1 unless given, while Ray chooses how many tasks run.
        ordered: yield answers in the order of the jobs; else (number of the job, answer) as they
            come.
        engine: where they run.

    Raises:
        InputError: the one that `function` raised.
        RuntimeError: any other exception there, with its traceback.
    """
    if engine.name == "local":
        if ordered:
            return sandbox.run_jobs(function, jobs, processes=processes)
        return sandbox.run_jobs(function, jobs, processes=processes, ordered=False)
    from curate.dataset import cluster

    answers = cluster.run_jobs(function, jobs, address=engine.ray_address, processes=processes)
    return _in_order(answers) if ordered else answers


def _in_order(answers: Iterator[tuple[int, Answer]]) -> Iterator[Answer]:
    """Numbered answers in the order of their numbers, those that came early held back."""
    early: dict[int, Answer] = {}
    due = 0
    for number, answer in answers:
        early[number] = answer
        while due in early:
            yield early.pop(due)
            due += 1


def require_shared(engine: Engine, folder: Path) -> None:
    """Be sure that wherever an engine runs jobs, `folder` is seen as it is here.

    Raises:
        InputError: a machine of the cluster does not see it, or has not this program.
        UsageError: Ray is not installed, or no cluster answers at the address.
    """
    if engine.name == "ray":
        from curate.dataset import cluster

        cluster.require_shared(engine.ray_address, folder)
