"""Jobs for tests of engines; a cluster's machines import them by name."""

import os
import signal
import time
from pathlib import Path

from curate.errors import InputError
from curate.system.sandbox import JobRefusedError, JobResult


def square(number: int, fatal: int = -1, seconds: float = 0.0, pids: str = "") -> JobResult:
    """The square of a number and its digits; the number `fatal` kills its process."""
    if pids:  # whose child does the work: the process that holds the sandbox
        with (Path(pids) / str(number)).open("a") as file:
            file.write(f"{os.getppid()}\n")
    time.sleep(seconds)
    if number == fatal:
        os.kill(os.getpid(), signal.SIGSEGV)
    return {"square": number**2}, str(number).encode()


def refuse(number: int) -> JobResult:
    """Refuse an odd number."""
    if number % 2:
        raise JobRefusedError(f"{number} is odd")
    return {}, b""


def fail(kind: str) -> JobResult:
    """Raise."""
    if kind == "input":
        raise InputError("a.png", "is gone", fix=["look for it", "fetch it again"])
    raise ValueError("a bug")


def environment() -> JobResult:
    """The names and values that a job could read."""
    return {**os.environ}, b""
