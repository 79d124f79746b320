"""How both commands end: a message and a code, after Ctrl-C, and once nobody reads the output."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from curate.system.terminal import CLOSED, INTERRUPTED

RUN = "from {}.cli import main; main()"


def start(package: str, *words: str, **streams) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", RUN.format(package), *words]
    return subprocess.Popen(program, text=True, stderr=subprocess.PIPE, **streams)


@pytest.mark.parametrize(
    ("package", "words"),
    [("curate", ["vocab-gaps"]), ("train", ["sample", "model", "--prompts"])],
)
def test_ctrl_c_says_what_is_kept_in_one_line(tmp_path: Path, package: str, words: list[str]):
    os.mkfifo(tmp_path / "prompts")
    process = start(package, *words, str(tmp_path / "prompts"), cwd=tmp_path)
    with (tmp_path / "prompts").open("w"):  # once it is opened for reading, the command is at work
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert said == "stopped; what was finished is kept, and the same command goes on from there\n"


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


@pytest.mark.parametrize("package", ["curate", "train"])
def test_a_command_starts_as_a_module_too(package: str):
    ran = subprocess.run(
        [sys.executable, "-m", package, "--help"], text=True, capture_output=True, timeout=60
    )
    assert ran.returncode == 0 and f"Usage: {package} " in ran.stdout


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
