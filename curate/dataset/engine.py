"""Where jobs and tables run: in processes of this machine, or on a Ray cluster."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast, overload

from curate.dataset.sample import Sample
from curate.system import sandbox
from curate.system.sandbox import Job, JobResult, WorkerFailure


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
) -> Iterator[JobResult | WorkerFailure]: ...


@overload
def run_jobs(
    function: str,
    jobs: Iterable[Job],
    *,
    processes: int | None = None,
    ordered: Literal[False],
    engine: Engine = LOCAL,
) -> Iterator[tuple[int, JobResult | WorkerFailure]]: ...


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
        processes: workers at work side by side on each machine; its number of CPUs unless given.
        ordered: yield answers in the order of the jobs; else (number of the job, answer) as they
            come.
        engine: where they run.

    Raises:
        InputError: the one that `function` raised.
        RuntimeError: any other exception there, with its traceback.
    """
    if engine.name != "local":
        raise NotImplementedError
    if ordered:
        return sandbox.run_jobs(function, jobs, processes=processes)
    return sandbox.run_jobs(function, jobs, processes=processes, ordered=False)


Rows = TypeVar("Rows")


def to_data_frame(samples: Iterable[Sample]) -> Any:
    """The samples."""
    return list(samples)


def to_samples(rows: Any) -> list[Sample]:
    """The samples."""
    return list(rows)


def apply_to_all_rows(rows: Rows, function: Callable[[list[Sample]], list[Sample]]) -> Rows:
    """Apply `function` to all rows."""
    return cast(Rows, function(list(cast(Any, rows))))
