"""Work on untrusted bytes in processes of their own, with limits on memory and time.

A worker is a process that runs `serve`; it reads jobs from its standard input and answers on
its standard output. A worker that dies takes one job with it: the job is answered by
`WorkerFailure` and the next one gets a new worker.
"""

import json
import os
import pkgutil
import queue
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from curate.errors import InputError

MEMORY_LIMIT = 1536 << 20  # bytes a worker may map beyond what it starts with
CPU_SECONDS = 60  # of CPU a job may take
ASIDE = 4  # jobs that may be aside where there are fewer processes
SLOW_SECONDS = 3  # on the clock before a job steps aside, so that others need not wait for it
WALL_CLOCK_FACTOR = 10  # times CPU_SECONDS on the clock before a job that only waits is given up

JobResult = tuple[dict[str, Any], bytes]
Job = Mapping[str, Any]


@dataclass(frozen=True)
class WorkerFailure:
    """The worker was lost over this job, or the job was refused there."""

    reason: str  # "took more than 60 s", "decoder died (SIGSEGV)"


Answer = JobResult | WorkerFailure


class JobRefusedError(Exception):
    """A job's own word that it cannot be done; it is answered by a `WorkerFailure`."""


def run_jobs(
    function: str,
    jobs: Iterable[Job],
    *,
    processes: int | None = None,
    memory: int = MEMORY_LIMIT,
    seconds: int = CPU_SECONDS,
) -> Iterator[Answer]:
    """Yield what `function(**job)` answers for each job, in the order of the jobs.

    A few jobs a worker are taken ahead of what is asked for, so `jobs` may be endless. One that
    takes more than `SLOW_SECONDS` steps aside, if no more than `processes`, or `ASIDE`, have done
    so: the next job gets another worker.

    Args:
        function: "package.module:name" of a function from keyword arguments (plain values)
            to (dictionary of plain values, bytes).
        jobs: the keyword arguments of each call.
        processes: workers at work side by side; the number of CPUs unless given.
        memory: bytes a worker may map beyond what it starts with.
        seconds: CPU seconds a job may take.

    Raises:
        InputError: the one that `function` raised.
        RuntimeError: any other exception there, with its traceback.
    """
    count = processes or os.cpu_count() or 1
    answers = _run_jobs(count, (function, memory, seconds), jobs, ordered=True)
    return (answer for _, answer in answers)


def run_unordered(
    function: str,
    jobs: Iterable[Job],
    *,
    processes: int | None = None,
    memory: int = MEMORY_LIMIT,
    seconds: int = CPU_SECONDS,
) -> Iterator[tuple[int, Answer]]:
    """As `run_jobs`, but (number of the job from 0, answer) as they come.

    So a slow job holds up no other; those that take the place of one that stepped aside go first.
    """
    count = processes or os.cpu_count() or 1
    return _run_jobs(count, (function, memory, seconds), jobs, ordered=False)


def _run_jobs(
    count: int, arguments: tuple[str, int, int], jobs: Iterable[Job], *, ordered: bool
) -> Iterator[tuple[int, Answer]]:
    idle: queue.LifoQueue[_Worker] = queue.LifoQueue()  # the last one used is the next, too
    spare = max(count, ASIDE)
    lanes, aside = threading.Semaphore(count), threading.Semaphore(spare)
    waiting: deque[Future[tuple[int, Answer]]] = deque()  # in the order they are asked for
    done: queue.SimpleQueue[Future[tuple[int, Answer]]] = queue.SimpleQueue()

    over = threading.Event()

    def run_job(number: int, job: Job) -> tuple[int, Answer]:
        with _lane(lanes, aside, idle, gives_way=not ordered) as (worker, step_aside):
            if over.is_set():
                return number, WorkerFailure("not done")
            return number, worker.run_job(job, arguments[2], step_aside)

    def next_answer() -> tuple[int, Answer]:
        future = waiting.popleft() if ordered else done.get()
        if not ordered:
            waiting.remove(future)
        return future.result()

    with ExitStack() as stack:
        workers = [_Worker(arguments) for _ in range(count + spare)]
        for worker in workers:
            idle.put(worker)
            stack.callback(worker.stop)
        # what follows is undone first, so that nobody waits for a job whose answer is not wanted
        pool = stack.enter_context(ThreadPoolExecutor(count + spare))
        for worker in workers:
            stack.callback(worker.kill)
        stack.callback(lambda: [future.cancel() for future in waiting])
        stack.callback(over.set)
        for number, job in enumerate(jobs):
            future = pool.submit(run_job, number, job)
            waiting.append(future)
            if not ordered:
                future.add_done_callback(done.put)
            if len(waiting) >= 4 * count + spare:
                yield next_answer()
        while waiting:
            yield next_answer()


@contextmanager
def _lane(
    lanes: threading.Semaphore,
    aside: threading.Semaphore,
    idle: "queue.LifoQueue[_Worker]",
    gives_way: bool,
) -> "Iterator[tuple[_Worker, Callable[[], None]]]":
    """A worker in one of the lanes, and what moves it aside, if there is room, for the next one.

    Aside it may get the time that others leave only; its process is not used again.
    """
    held, lock, over = lanes, threading.Lock(), False

    def step_aside() -> None:
        nonlocal held
        with lock:
            if not over and aside.acquire(blocking=False):
                held = aside
                if gives_way:
                    worker.give_way()
                lanes.release()

    lanes.acquire()
    worker = idle.get()
    try:
        yield worker, step_aside
    finally:
        with lock:
            over = True
        if held is aside:
            worker.stop()
        idle.put(worker)
        held.release()


@dataclass(eq=False)
class _Worker:
    """One process, started at its first job and again after each death."""

    _arguments: tuple[str, int, int]  # of `serve`
    _process: subprocess.Popen[bytes] | None = None

    def run_job(self, job: Job, seconds: int, when_slow: Callable[[], None]) -> Answer:
        process = self._process or self._start()
        assert process.stdin and process.stdout
        longest, started = WALL_CLOCK_FACTOR * seconds, time.monotonic()
        finished = threading.Event()
        due = ((SLOW_SECONDS, when_slow), (longest, process.kill))
        threading.Thread(target=_watch, args=(finished, due), daemon=True).start()
        try:
            _send_message(process.stdin, dict(job))
            head, body = _receive_message(process.stdout)
        except (EOFError, BrokenPipeError):
            code = self.stop()
            late = time.monotonic() - started >= longest and code == -signal.SIGKILL
            reason = f"took more than {longest} s" if late else _exit_reason(code, seconds)
            return WorkerFailure(reason)
        finally:
            finished.set()
        if "input error" in head:
            subject, problem, fix = head["input error"]
            raise InputError(subject, problem, fix=fix)
        if "failed" in head:
            return WorkerFailure(head["failed"])
        if "bug" in head:
            raise RuntimeError(head["bug"])
        return head["answer"], body

    def give_way(self) -> None:
        """Let other processes go first."""
        with suppress(OSError):  # it may be over
            if self._process:
                niceness = os.getpriority(os.PRIO_PROCESS, self._process.pid)
                os.setpriority(os.PRIO_PROCESS, self._process.pid, niceness + 10)

    def kill(self) -> None:
        """End the process at once; whoever runs a job in it stops it then."""
        if process := self._process:
            process.kill()

    def stop(self) -> int:
        """Stop the process if there is one; return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdin and process.stdout
        process.stdout.close()
        with suppress(BrokenPipeError):  # it died with a job unread
            process.stdin.close()
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        process = self._process = subprocess.Popen(  # noqa: S603  (our own module)
            [sys.executable, "-P", "-c", f"from {__name__} import serve; serve{self._arguments}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | one_thread,
        )
        assert process.stdout
        try:
            _receive_message(process.stdout)
        except EOFError:  # not the fault of any job
            self.stop()
            raise RuntimeError(f"worker for {self._arguments[0]} did not start") from None
        return process


def _watch(finished: threading.Event, due: Iterable[tuple[float, Callable[[], None]]]) -> None:
    """Do what is due so many seconds from now, in that order, unless it is finished before."""
    started = time.monotonic()
    for seconds, act in due:
        if finished.wait(started + seconds - time.monotonic()):
            return
        act()


def _exit_reason(code: int, seconds: int) -> str:
    if code == -signal.SIGXCPU:
        return f"took more than {seconds} s"
    if code < 0:
        return f"decoder died ({signal.Signals(-code).name})"
    return f"decoder died (exit code {code})"


def _send_message(pipe: IO[bytes], head: dict[str, Any], body: bytes = b"") -> None:
    """One line of JSON, which also says how many bytes follow it, and those bytes."""
    pipe.write(json.dumps([head, len(body)]).encode() + b"\n")
    pipe.write(body)
    pipe.flush()


def _receive_message(pipe: IO[bytes]) -> JobResult:
    line = pipe.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    head, size = json.loads(line)
    body = pipe.read(size)
    if len(body) < size:
        raise EOFError
    return head, body


def serve(name: str, memory: int, seconds: int) -> None:
    """Answer jobs of `run_jobs` until there are no more; all that a worker does."""
    function: Callable[..., JobResult] = pkgutil.resolve_name(name)
    jobs, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a decoder prints goes to stderr
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks ends us
    _limit_memory(memory)
    _send_message(answers, {"ready": True})
    while True:
        try:
            job, _ = _receive_message(jobs)
        except EOFError:
            return
        spent, hard = time.process_time(), resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (int(spent) + 1 + seconds, hard))
        try:
            answer, body = function(**job)
        except InputError as error:
            _send_message(answers, {"input error": [error.subject, error.problem, error.fix]})
        except JobRefusedError as error:
            _send_message(answers, {"failed": str(error)})
        except MemoryError:
            _send_message(answers, {"failed": f"needs more than {memory >> 20} MiB"})
        except Exception:  # a bug: its traceback is shown by the process that asked
            _send_message(answers, {"bug": traceback.format_exc()})
        else:
            _send_message(answers, {"answer": answer}, body)


def _limit_memory(memory: int) -> None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return  # no such limit outside Linux; the limit on time still holds
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = pages * os.sysconf("SC_PAGE_SIZE") + memory
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
