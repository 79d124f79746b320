"""Where jobs and tables run: in processes of this machine, or on a Ray cluster."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from curate.system import sandbox
from curate.system.sandbox import Answer, Job


@dataclass(frozen=True)
class Engine:
    """Where jobs run."""

    name: Literal["local", "ray"] = "local"
    ray_address: str | None = None  # of a running cluster, "auto" or "HOST:PORT"; None: one is
    # started on this machine for as long as the command runs


LOCAL = Engine()  # the processes of this machine


def run_jobs(
    function: str, jobs: Iterable[Job], *, processes: int | None = None, engine: Engine = LOCAL
) -> Iterator[Answer]:
    """Yield what `function(**job)` answers for each job, as `sandbox.run_jobs` does.

    Args:
        function: as in `sandbox.run_jobs`.
        jobs: as in `sandbox.run_jobs`.
        processes: workers at work side by side, the number of CPUs unless given; on a cluster those
            of one task, 1 unless given, while Ray chooses how many tasks run.
        engine: where they run.

    Raises:
        InputError: the one that `function` raised.
        RuntimeError: any other exception there, with its traceback.
    """
    if engine.name == "local":
        return sandbox.run_jobs(function, jobs, processes=processes)
    return _in_order(run_unordered(function, jobs, processes=processes, engine=engine))


def run_unordered(
    function: str, jobs: Iterable[Job], *, processes: int | None = None, engine: Engine = LOCAL
) -> Iterator[tuple[int, Answer]]:
    """As `run_jobs`, but (number of the job, answer) as they come: see `sandbox.run_unordered`."""
    if engine.name == "local":
        return sandbox.run_unordered(function, jobs, processes=processes)
    from curate.dataset import cluster

    return cluster.run_jobs(function, jobs, address=engine.ray_address, processes=processes)


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
