"""Where jobs and tables run: in processes of this machine, or on a Ray cluster."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, overload

from curate.dataset.sample import Sample, arrow_schema, from_record, to_record
from curate.system import sandbox
from curate.system.sandbox import Job, JobResult, WorkerFailure

if TYPE_CHECKING:
    import daft


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
    answers = sandbox.run_jobs(function, jobs, processes=processes)
    return answers if ordered else enumerate(answers)


SAMPLE_COLUMNS = tuple(f.name for f in fields(Sample))


def _silence_daft() -> None:
    """Before Daft is imported: no report to its makers, no progress bars or names of its own."""
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
    os.environ.setdefault("DAFT_SHOW_QUERY_ID", "0")


def to_data_frame(samples: Iterable[Sample]) -> "daft.DataFrame":
    """The samples as a Daft data frame, a column a field."""
    _silence_daft()
    import daft
    import pyarrow as pa

    records = list(map(to_record, samples))
    return daft.from_arrow(pa.Table.from_pylist(records, schema=arrow_schema()))


def to_samples(rows: "daft.DataFrame") -> list[Sample]:
    """The rows of a data frame as samples, in their order."""
    return [from_record(r) for r in rows.select(*SAMPLE_COLUMNS).to_arrow().to_pylist()]


def map_rows(
    rows: "daft.DataFrame",
    function: Callable[[Sample], Sample],
    *,
    fills: Sequence[str],
    batch: int = 64,
) -> "daft.DataFrame":
    """Apply `function` to every row; keep its values of the columns `fills`.

    Args:
        rows: a data frame of samples.
        function: must return a sample with the same key and change nothing but `fills`.
        fills: names of the columns it fills in.
        batch: rows handed over at a time.
    """
    _silence_daft()
    import daft
    import pyarrow as pa
    from daft import DataType

    schema = arrow_schema()
    struct = pa.struct([schema.field(name) for name in fills])

    dtype = DataType.from_arrow_type(struct)

    @daft.func.batch(return_dtype=dtype, batch_size=batch, use_process=False)
    def fill(*columns: Any) -> Any:
        rows = zip(*(c.to_pylist() for c in columns), strict=True)
        given = (from_record(dict(zip(SAMPLE_COLUMNS, values, strict=True))) for values in rows)
        records = [to_record(function(sample)) for sample in given]
        return pa.array([{n: r[n] for n in fills} for r in records], type=struct)

    filled = rows.with_column("_filled", fill(*map(daft.col, SAMPLE_COLUMNS)))
    columns = {name: daft.col("_filled")[name] for name in fills}
    return filled.with_columns(columns).select(*SAMPLE_COLUMNS)


def apply_to_all_rows(
    rows: "daft.DataFrame", function: Callable[[list[Sample]], list[Sample]]
) -> "daft.DataFrame":
    """Apply `function` to all rows at once, for decisions that need to see every row."""
    return to_data_frame(function(to_samples(rows)))
