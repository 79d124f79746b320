"""How both commands end: a message and a code, after Ctrl-C, and once nobody reads the output."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from subprocess import Popen

import pytest
import typer

from curate.dataset.folder import Dataset
from curate.system.terminal import CLOSED, INTERRUPTED
from tests.pictures import photograph

RUN = "from {}.cli import main; main()"


def start(package: str, *words: str, **streams) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", RUN.format(package), *words]
    return subprocess.Popen(program, text=True, stderr=subprocess.PIPE, **streams)


@pytest.mark.parametrize(
    ("package", "words", "kept"),
    [
        (
            *("curate", ["vocab-gaps"]),
            "parts of the data that were indexed whole are kept, no report is written",
        ),
        ("train", ["sample", "model", "--prompts"], "what --each wrote is kept"),
    ],
)
def test_ctrl_c_says_what_is_kept_and_what_to_type(
    tmp_path: Path, package: str, words: list[str], kept: str
):
    os.mkfifo(tmp_path / "my prompts")
    words = [*words, "my prompts"]
    process = start(package, *words, cwd=tmp_path)
    with (tmp_path / "my prompts").open("w"):  # once it is opened for reading, it is at work
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert said == f"stopped: {kept}; to go on: {shlex.join([package, *words])}\n"


LONG = [
    *(f"curate {name}" for name in "fetch vocab-gaps dedup pack check build export".split()),
    *(f"train {name}" for name in "finetune verify sample".split()),
]


def test_what_takes_long_says_what_ctrl_c_leaves():
    found = {}
    for package in ("curate", "train"):
        waiting = [typer.main.get_command(import_module(f"{package}.cli").app)]
        while waiting:
            command = waiting.pop()
            found[f"{package} {command.name}"] = command.context_settings.get("obj")
            inner = getattr(command, "commands", {}).values()
            waiting += inner
            if command.name == "fetch":
                assert all(one.context_settings.get("obj") for one in inner)
                found["curate fetch"] = "as each of its sources"
    assert [name for name in LONG if not found[name]] == []


def stopped(words: list[str], cwd: Path, when: Callable[[Popen[str]], object]) -> str:
    """The command that is printed after Ctrl-C, sent once `when` returns."""
    process = start("curate", *words, cwd=cwd, stdout=subprocess.DEVNULL)
    when(process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, said
    (last,) = (line for line in said.splitlines() if line.startswith("stopped: "))
    return last.partition("; to go on: ")[2]


def test_what_is_printed_after_ctrl_c_finishes_the_work(tmp_path: Path):
    (tmp_path / "my images").mkdir()
    for n in range(30):
        photograph(n, (64, 48)).save(tmp_path / "my images" / f"a fox in the snow {n}.png")

    def await_rows(_: Popen[str]) -> None:
        while not (tmp_path / "d" / "journal.jsonl").exists():
            time.sleep(0.001)

    def await_dedup(process: Popen[str]) -> None:
        assert process.stderr and any("2 of 5" in line for line in process.stderr)

    fetch = "fetch folder 'my images' --license CC0-1.0 --data d"
    again = stopped(shlex.split(fetch), tmp_path, await_rows)
    assert again == f"curate {fetch}"
    before = Dataset(tmp_path / "d").read().samples
    assert 0 < len(before) < 30
    assert run_typed(again, tmp_path) == 0
    assert len(Dataset(tmp_path / "d").read().samples) == 30
    again = stopped("build --data d --size 32 --format png".split(), tmp_path, await_dedup)
    assert again == "curate build --data d --size 32 --format png"
    assert not (tmp_path / "d" / "shards").exists()
    assert run_typed(again, tmp_path) == 0
    assert json.loads((tmp_path / "d/shards/index.json").read_bytes())["samples"] == 30


def run_typed(command: str, cwd: Path) -> int:
    package, *words = shlex.split(command)
    return subprocess.run([sys.executable, "-m", package, *words], cwd=cwd, check=False).returncode


LOADING = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\ndef main(): print('loaded')\n"
AT_WORK = "import os, signal\ndef main(): os.kill(os.getpid(), signal.SIGINT)\n"


@pytest.mark.parametrize(
    ("module", "before", "code", "said"),
    [
        (LOADING, "", -signal.SIGINT, ("", "")),
        (LOADING, "signal.signal(signal.SIGINT, signal.SIG_IGN)", 0, ("loaded\n", "")),  # nohup
        (AT_WORK, "", -signal.SIGINT, ("", "KeyboardInterrupt")),
    ],
)
def test_ctrl_c_while_a_command_is_loaded_ends_it_without_a_word(
    tmp_path: Path, module: str, before: str, code: int, said: tuple[str, str]
):
    (tmp_path / "a_command.py").write_text(module)
    program = f"import signal\n{before}\nfrom curate.system.start import run; run('a_command')"
    ran = subprocess.run(
        [sys.executable, "-c", program], text=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (code, said[0])
    assert ran.stderr.strip().rpartition("\n")[2] == said[1]


def run_module(package: str, *words: str, **options) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", package, *words]
    return subprocess.run(program, text=True, capture_output=True, timeout=60, **options)


@pytest.mark.parametrize("package", ["curate", "train"])
def test_a_command_starts_as_a_module_too(package: str):
    ran = run_module(package, "--help")
    assert ran.returncode == 0 and f"Usage: {package} " in ran.stdout
    assert run_module(package, "-h").stdout == ran.stdout


@pytest.mark.parametrize("package", ["curate", "train"])
def test_the_version_is_that_of_the_package(package: str):
    stated = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))
    ran = run_module(package, "--version")
    assert (ran.returncode, ran.stdout) == (0, f"{stated['project']['version']}\n")


def test_commands_are_completed_by_shells(tmp_path: Path):
    home = {**os.environ, "HOME": str(tmp_path), "SHELL": "/bin/bash"}
    shown = run_module("curate", "--show-completion", "bash", env=home)
    assert shown.returncode == 0 and "_CURATE_COMPLETE" in shown.stdout
    asked = {
        "_CURATE_COMPLETE": "complete_bash",
        "COMP_WORDS": "curate dedup --data a --data b --js",
    }
    ran = run_module("curate", env={**home, **asked, "COMP_CWORD": "6"})
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "--json\n", "")


@pytest.mark.parametrize("kind", ["table", "json"])
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(tmp_path: Path, kind: str):
    words = ["sources", "list", "--data", str(tmp_path), *(["--json"] if kind == "json" else [])]
    receiver, sender = os.pipe()
    os.close(receiver)
    process = start("curate", *words, stdout=sender)
    os.close(sender)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (CLOSED, "")


def test_talk_that_nobody_hears_ends_the_command_quietly(tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    receiver, sender = os.pipe()
    os.close(receiver)
    program = [sys.executable, "-c", RUN.format("curate"), "fetch", "folder", "pictures"]
    ended = subprocess.run(program, stderr=sender, cwd=tmp_path, check=False, stdout=sender)
    os.close(sender)
    assert ended.returncode == CLOSED
