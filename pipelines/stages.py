"""Stages of a recipe: commands as a user types them, each stage done once and resumable.

Beside the results lies `STATE/NAME.json`: what the stage depended on, as one hash, and what its
commands cost. A stage whose hash is unchanged and whose results are there is not run again. One
that was cut short is run again as it is, and the commands pick up where they stopped. One whose
commands or inputs changed starts from nothing.
"""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from curate import __version__
from curate.dataset.folder import write_json
from curate.errors import CurateError, UsageError
from curate.system.progress import SILENT, Progress

STDERR = 2  # its file descriptor


class StageError(CurateError):
    """A command of the recipe failed; it has already said why."""


@dataclass(frozen=True)
class Command:
    """One command line, the exit codes that let the recipe go on, and where stdout goes."""

    words: tuple[str, ...]
    exits: tuple[int, ...] = (0,)
    into: Path | None = None
    check: Callable[[Progress], None] | None = None  # afterwards; raises a CurateError if what was
    # written is not usable, says what a user should know of it

    @property
    def line(self) -> str:
        """The line as a user types it."""
        line = shlex.join(self.words)
        return f"{line} > {self.into}" if self.into else line


@dataclass(frozen=True)
class Stage:
    """Commands that belong together, what they write, and what they depend on."""

    name: str
    title: str
    commands: tuple[Command, ...]
    outputs: tuple[Path, ...]  # removed before a fresh start, looked for when done
    needs: tuple[str, ...] = ()  # stages whose results this one reads
    inputs: tuple[Path, ...] = ()  # other files and folders it reads


@dataclass(frozen=True)
class Cost:
    """What one command took."""

    typed: str
    exit: int
    wall: float  # seconds
    cpu: float  # seconds, its child processes included
    memory: float  # MiB at the peak, of its largest process


@dataclass(frozen=True)
class Outcome:
    """One stage as it now stands."""

    stage: Stage
    costs: tuple[Cost, ...]
    attempts: int  # 1 unless it was interrupted
    ran: bool  # in this call

    @property
    def wall(self) -> float:
        """Seconds of its commands, of the last attempt."""
        return sum(c.wall for c in self.costs)

    @property
    def cpu(self) -> float:
        """CPU-seconds of its commands, of the last attempt."""
        return sum(c.cpu for c in self.costs)

    @property
    def time(self) -> str:
        """Both, for people."""
        return f"{self.wall:.1f} s, {self.cpu:.1f} CPU-s"


def run(stages: Sequence[Stage], *, state: Path, progress: Progress = SILENT) -> list[Outcome]:
    """Run every stage that is not done, in order.

    Args:
        stages: the recipe; a stage may need only stages before it.
        state: folder of the markers.
        progress: told which stage and which command is at work.

    Raises:
        StageError: a command ended with an exit code the recipe does not expect.
        CurateError: a stage's own check failed.
    """
    prints: dict[str, str] = {}
    outcomes = []
    for number, stage in enumerate(stages, 1):
        prints[stage.name] = fingerprint(stage, prints)
        head = f"[{number}/{len(stages)}] {stage.title}"
        outcome = _find_outcome(stage, prints[stage.name], state)
        if outcome:
            progress.say(f"{head}: done before ({outcome.time})")
        else:
            progress.say(f"{head}")
            outcome = _run_stage(stage, prints[stage.name], state, progress, number)
            progress.say(f"{head}: {outcome.time}")
        outcomes.append(outcome)
    return outcomes


def fingerprint(stage: Stage, earlier: Mapping[str, str]) -> str:
    """SHA-256 of everything that decides what the stage writes."""
    facts = {
        "tool": __version__,
        "commands": [c.line for c in stage.commands],
        "needs": [earlier[name] for name in stage.needs],
        "inputs": [_content_state(path) for path in stage.inputs],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _content_state(path: Path) -> object:
    """A file by its bytes; a folder by its files' names, sizes and times."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(p for p in path.rglob("*") if p.is_file())
    stats = [(str(p.relative_to(path)), p.stat()) for p in files]
    return [(name, s.st_size, s.st_mtime_ns) for name, s in stats]


def _find_outcome(stage: Stage, wanted: str, state: Path) -> Outcome | None:
    marker = _read_marker(stage, state)
    whole = marker.get("done") and all(p.exists() for p in stage.outputs)
    if not whole or marker.get("fingerprint") != wanted:
        return None
    costs = tuple(Cost(**c) for c in marker["costs"])
    return Outcome(stage, costs, marker["attempts"], ran=False)


def _read_marker(stage: Stage, state: Path) -> dict[str, Any]:
    try:
        found = json.loads((state / f"{stage.name}.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _run_stage(stage: Stage, wanted: str, state: Path, progress: Progress, number: int) -> Outcome:
    before = _read_marker(stage, state)
    interrupted = before.get("fingerprint") == wanted and not before.get("done")
    attempts = before["attempts"] + 1 if interrupted else 1
    if not interrupted:
        _remove_outputs(stage.outputs)
    marker = {"fingerprint": wanted, "number": number, "attempts": attempts, "done": False}
    write_json(state / f"{stage.name}.json", marker)
    costs = [_run_command(command, stage, progress) for command in stage.commands]
    missing = [str(p) for p in stage.outputs if not p.exists()]
    if missing:
        raise StageError(stage.title, f"did not write {missing[0]}", fix="report this as a bug")
    finished = marker | {"done": True, "costs": [asdict(c) for c in costs]}
    write_json(state / f"{stage.name}.json", finished)
    return Outcome(stage, tuple(costs), attempts, ran=True)


def _remove_outputs(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _run_command(command: Command, stage: Stage, progress: Progress) -> Cost:
    progress.say(f"  $ {command.line}")
    here = Path(sys.executable).parent  # where `curate` and `train` of this environment lie
    environment = os.environ | {"PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}"}
    program = shutil.which(command.words[0], path=environment["PATH"])
    if program is None:
        fix = f"{here / 'pip'} install -e .[demo]"
        raise UsageError(command.words[0], "no such command in this environment", fix=fix)
    started = time.monotonic()
    words = [program, *command.words[1:]]
    with ExitStack() as files:
        output: IO[bytes] | int = STDERR  # what commands find is talk of the recipe
        if command.into:
            command.into.parent.mkdir(parents=True, exist_ok=True)
            output = files.enter_context(command.into.open("wb"))
        process = subprocess.Popen(words, env=environment, stdout=output)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except KeyboardInterrupt:
            process.wait()
            raise
    process.returncode = code = os.waitstatus_to_exitcode(status)
    if code not in command.exits:
        problem = f"`{command.line}` ended with exit code {code}"
        fix = "see its message above; the same command then goes on from here"
        raise StageError(stage.title, problem, fix=fix)
    if command.check:
        command.check(progress)
    wall, cpu = time.monotonic() - started, usage.ru_utime + usage.ru_stime
    return Cost(command.line, code, round(wall, 2), round(cpu, 2), round(usage.ru_maxrss / 1024))
