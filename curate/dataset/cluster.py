"""Jobs on a Ray cluster: batches of them are tasks, each with a sandbox of processes inside.

A job that kills its process costs that job alone, as on one machine; a task whose Ray worker or
whose machine is lost is run again by Ray. Nothing is sent but the names of functions, the plain
values of jobs and their answers: the environment, and with it every key, stays here.
"""

import logging
import os
import re
import secrets
import socket
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from curate import __version__
from curate.errors import InputError, UsageError
from curate.system import sandbox
from curate.system.files import write_bytes
from curate.system.sandbox import Answer, Job

BATCH_SECONDS = 10.0  # of work a task should hold: to start one costs half a second
FIRST_BATCH = 4  # jobs a task, before anybody knows how long one takes
MOST_JOBS = 512  # a task
RETRIES = 3  # of a task whose worker or machine is lost
CONNECT_SECONDS = 5
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_QUIET = {  # no report to its makers, no notices on the terminal
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


def connect(address: str | None) -> None:
    """Be connected to a cluster, or start one on this machine that ends with the process.

    Args:
        address: "HOST:PORT" of the head, "auto" for the one this machine belongs to, or None.

    Raises:
        UsageError: Ray is not installed, or no cluster answers there.
    """
    ray = _ray()
    if ray.is_initialized():
        return
    where = address or "local"
    _require_answer(where)
    own: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        with _without_secrets():
            ray.init(where, log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:  # whatever Ray raises: it has no common class
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise _no_cluster(where, f"no cluster can be used there ({why})") from None


def _ray() -> Any:
    os.environ.update(_QUIET)
    try:
        import ray
    except ImportError:
        fix = "pip install 'fubuki[ray]', or without --engine"
        raise UsageError("--engine ray", "needs Ray, which is not installed", fix=fix) from None
    return ray


def _require_answer(address: str) -> None:
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise UsageError("--ray-address", f"{address!r} is not HOST:PORT or auto", fix=_TYPE)
    try:
        where = host.strip("[]"), int(port)
        with socket.create_connection(where, CONNECT_SECONDS) as connection:
            connection.sendall(_GREETING)  # Ray itself would try for minutes
            if connection.recv(9)[3:4] != b"\x04":  # a frame of settings, as every server sends
                raise OSError(None, "what answers is no head of Ray")
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise _no_cluster(address, f"no cluster answers there ({why})") from None


# the preface of HTTP/2, which gRPC speaks, and empty settings: RFC 9113, sections 3.4 and 6.5
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_TYPE = "start one with ray start --head, and give the address it prints"


def _no_cluster(address: str, problem: str) -> UsageError:
    return UsageError(f"--ray-address {address}", problem, fix=_TYPE)


@contextmanager
def _without_secrets() -> Iterator[None]:
    """What is started now inherits no variable that may hold a key."""
    held = {name: value for name, value in os.environ.items() if _SECRET.search(name)}
    for name in held:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(held)


def require_shared(address: str | None, folder: Path) -> None:
    """Be sure that every machine of a cluster runs this program and sees a folder as we do.

    Raises:
        InputError: one does not.
        UsageError: as `connect`.
    """
    connect(address)
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray = _ray()
    token = folder.absolute() / f".seen-by-cluster-{secrets.token_hex(8)}"
    write_bytes(token, token.name.encode())
    asked = {}
    try:
        look = ray.remote(num_cpus=0, max_retries=RETRIES)(_look)
        for node in ray.nodes():
            if node["Alive"]:
                place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                remote = look.options(scheduling_strategy=place).remote(str(token))
                asked[node["NodeManagerHostname"]] = remote
        for name, answer in asked.items():
            _judge_machine(name, answer, folder)
    finally:
        token.unlink(missing_ok=True)


def _look(token: str) -> tuple[str, bool]:
    """The version of this program, and whether the file is seen with what was written in it."""
    path = Path(token)
    with suppress(OSError):
        return __version__, path.read_text() == path.name and os.access(path.parent, os.W_OK)
    return __version__, False


def _judge_machine(name: str, answer: Any, folder: Path) -> None:
    machine = f"the cluster's machine {name}"
    try:
        version, seen = _ray().get(answer, timeout=60)
    except Exception as error:  # of Ray, or of the import over there
        why = str(error).strip().splitlines()[-1]
        fix = f"install fubuki {__version__} there, for the Python that runs Ray"
        raise InputError(machine, f"cannot run this program ({why})", fix=fix) from None
    if version != __version__:
        fix = f"install fubuki {__version__} there"
        raise InputError(machine, f"has version {version} of this program", fix=fix)
    if not seen:
        problem = f"does not see {folder.absolute()}, or may not write there"
        fix = "name a folder with --data that all machines see under one path (shared storage)"
        raise InputError(machine, problem, fix=fix)


@dataclass
class _Batches:
    """Jobs in their order, cut into tasks of about `BATCH_SECONDS` each."""

    jobs: Iterator[tuple[int, Job]]
    size: int = FIRST_BATCH

    def take(self) -> list[tuple[int, Job]]:
        """The next ones; empty at the end."""
        return list(islice(self.jobs, self.size))

    def learn(self, jobs: int, seconds: float) -> None:
        """Choose the size of the next ones by how long `jobs` took."""
        fits = int(jobs * BATCH_SECONDS / max(seconds, 1e-3))
        self.size = min(max(fits, 1), 4 * self.size, MOST_JOBS)


def run_jobs(
    function: str, jobs: Iterable[Job], *, address: str | None, processes: int | None = None
) -> Iterator[tuple[int, Answer]]:
    """Yield (number of the job, what `function(**job)` answers) as answers come.

    A task asks for a CPU for each of its processes, so Ray fills the machines; two tasks for every
    one that can run are sent ahead, and no more.

    Args:
        function: as in `sandbox.run_jobs`; it must be importable on every machine.
        jobs: as there.
        address: as in `connect`.
        processes: workers a task; 1 unless given.

    Raises:
        InputError: the one that `function` raised, or the cluster lost a task again and again.
        RuntimeError: any other exception there, with its traceback.
        UsageError: as `connect`.
    """
    connect(address)
    count, ray = processes or 1, _ray()
    task = ray.remote(num_cpus=count, max_retries=RETRIES)(_run_batch)
    batches, running = _Batches(iter(enumerate(jobs))), dict[Any, list[int]]()
    try:
        while True:
            ahead = 2 * max(int(ray.cluster_resources().get("CPU", 1)) // count, 1)
            while len(running) < ahead and (batch := batches.take()):
                numbers, values = zip(*batch, strict=True)
                running[task.remote(function, list(map(dict, values)), count)] = list(numbers)
            if not running:
                return
            (done, *_), _ = ray.wait([*running], num_returns=1)
            numbers_done = running.pop(done)
            seconds, answers = _get(done)
            batches.learn(len(answers), seconds)
            yield from zip(numbers_done, answers, strict=True)
    finally:
        for left in running if ray.is_initialized() else ():
            ray.cancel(left, force=True)


def _get(task: Any) -> tuple[float, list[Answer]]:
    """What a task answered; what was raised in it is raised here."""
    ray = _ray()
    try:
        answer: Mapping[str, Any] = ray.get(task)
    except ray.exceptions.RayError as error:  # lost more often than it is tried again
        problem = f"lost a task {RETRIES + 1} times ({type(error).__name__})"
        fix = "see ray status; then type the same command again, what was finished is kept"
        raise InputError("the cluster", problem, fix=fix) from None
    if parts := answer.get("input error"):
        subject, problem, fixes = parts
        raise InputError(subject, problem, fix=fixes)
    if trace := answer.get("bug"):
        raise RuntimeError(trace)
    return answer["seconds"], answer["answers"]


def _run_batch(function: str, jobs: Sequence[Job], processes: int) -> dict[str, Any]:
    """All that a task does: the answers in the order of the jobs, and how long they took."""
    started = time.monotonic()
    try:
        answers = list(sandbox.run_jobs(function, jobs, processes=processes))
    except InputError as error:
        return {"input error": (error.subject, error.problem, error.fixes)}
    except Exception:  # a bug: its traceback is shown by the process that asked
        return {"bug": traceback.format_exc()}
    return {"seconds": time.monotonic() - started, "answers": answers}
