"""The options that say where the work on images runs."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from curate.cli_fetch import option
from curate.dataset.engine import Engine, require_shared, run_unordered
from curate.dataset.folder import Dataset
from curate.errors import UsageError

EngineName = Literal["local", "ray"]
EngineOption = Annotated[
    EngineName,
    option("local, or ray: a cluster whose machines all see the dataset folder.", "--engine"),
]
RayAddressOption = Annotated[
    str | None,
    option("HOST:PORT of the cluster's head, or auto. Default: one on this machine."),
]


def engine_of(name: EngineName, address: str | None) -> Engine:
    """The engine that two options name.

    Raises:
        UsageError: an address is given, and no cluster asked for.
    """
    if address is not None and name != "ray":
        raise UsageError("--ray-address", "says where Ray is", fix="--engine ray beside it")
    return Engine(name, address)


def jobs_of(engine: Engine, dataset: Dataset) -> Callable[..., Any]:
    """What runs jobs there, once every machine was seen to see the dataset."""
    dataset.require_dataset()
    require_shared(engine, dataset.root)
    return partial(run_unordered, engine=engine)
