"""Output that cannot hold every letter, or is closed: a letter is replaced, and nothing fails."""

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from curate.cli import main
from curate.commands.build import build_dataset
from curate.dataset.folder import Dataset
from curate.fetch.run import fetch_images
from tests.pictures import photograph

WORDS = "a caf\u00e9 in \u96ea, a dragon \U0001f432 at night"  # no encoding but Unicode has all
NARROW = ("ascii", "cp1252", "cp437", "latin-1", "shift_jis", "utf-8")
COMMANDS = {  # what is typed -> its exit code
    "vocab-gaps prompts.txt --data captions.jsonl": 1,
    "vocab-gaps prompts.txt --data captions.jsonl --json": 1,
    "vocab-gaps prompts.txt --data captions.jsonl --github": 1,
    "vocab-gaps prompts.txt --data pictures": 1,
    "fetch folder pictures --license CC0-1.0 --author Jos\u00e9 --data d": 0,
    "build --data d --size 32": 0,
    "check --data d": 0,
    "status --data d": 0,
    "status --data d --json": 0,
    "explain caf --data d": 0,
    "explain caf --data d --json": 0,
    "credits --data d": 0,
    "credits --data d --json": 0,
    "credits --data d --csv": 0,
    "sources list --data d": 0,
    "license caf\u00e9": 0,
    "remove --list --data d": 0,
    "explain none-\u96ea --data d": 3,
    "vocab-gaps missing-\u96ea.txt": 3,
    "--help": 0,
    "build --help": 0,
    "build --caf\u00e9": 2,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and captions with letters of many scripts, as files and as a dataset."""
    folder = tmp_path_factory.mktemp("letters")
    (folder / "pictures").mkdir()
    photograph(1, (64, 48)).save(folder / "pictures" / "caf\u00e9-\u96ea.png")
    (folder / "pictures" / "caf\u00e9-\u96ea.txt").write_text(WORDS, "utf-8")
    captions = json.dumps({"image": "caf\u00e9", "caption": "a caf\u00e9 in \u96ea"})
    (folder / "captions.jsonl").write_text(captions, "utf-8")
    (folder / "prompts.txt").write_text(f"{WORDS}\nna\u00efve elf in \u96ea\n", "utf-8")
    said = {"license": "CC0-1.0", "author": "Jos\u00e9 \u96ea"}
    fetch_images(Dataset(folder / "d"), "folder", folder / "pictures", options=said)
    build_dataset(Dataset(folder / "d"), size=32)
    return folder


def end(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("encoding", NARROW)
@pytest.mark.parametrize("typed", COMMANDS)
def test_a_letter_that_cannot_be_shown_is_replaced(
    place: Path, monkeypatch: pytest.MonkeyPatch, typed: str, encoding: str
):
    out, err = io.BytesIO(), io.BytesIO()
    monkeypatch.chdir(place)
    for name, stream in (("stdout", out), ("stderr", err)):
        wrapped = io.TextIOWrapper(stream, encoding, errors="strict", write_through=True)
        monkeypatch.setattr(sys, name, wrapped)
    code = end(typed.split())
    printed, said = out.getvalue().decode(encoding), err.getvalue().decode(encoding)
    assert code == COMMANDS[typed]
    assert "Traceback" not in said and (printed or said)
    if typed.endswith("--json"):
        whole = json.loads(printed)
        assert "caf\u00e9" in json.dumps(whole, ensure_ascii=False) or "status" in typed
    elif encoding == "ascii" and "vocab-gaps prompts" in typed:
        assert "\\u96ea" in printed


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_table_on_a_terminal_keeps_its_columns(place: Path, encoding: str):
    main_end, other = pty.openpty()
    words = "vocab-gaps prompts.txt --data captions.jsonl".split()
    ran = subprocess.Popen(
        [sys.executable, "-m", "curate", *words], cwd=place, stdout=other, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "150", "TERM": "dumb"},
    )  # fmt: skip
    os.close(other)
    shown = b""
    try:
        while part := os.read(main_end, 4096):
            shown += part
    except OSError:  # the end of a terminal
        pass
    os.close(main_end)
    _, said = ran.communicate(timeout=60)
    assert ran.returncode == 1 and b"Traceback" not in said
    heading, *lines = shown.decode(encoding).splitlines()
    at = heading.index("images")
    lines = [line for line in lines if line.startswith("missing ")]  # wrapped ones go on below
    assert len(lines) > 2 and {line[at:].split()[0] for line in lines} == {"0"}
    if encoding == "ascii":
        (line,) = (one for one in lines if "\\xef" in one)
        assert line[at] == "0"


OLD_SERVER = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_files_and_pipes_are_utf8_whatever_the_locale(place: Path, tmp_path: Path):
    names = {"--json": "o.json", "--html": "o.html", "--plan": "o.sh", "--junit": "o.xml"}
    files = [word for option, name in names.items() for word in (option, str(tmp_path / name))]
    words = ["vocab-gaps", "prompts.txt", "--data", "captions.jsonl", *files]
    ran = subprocess.run(
        [sys.executable, "-m", "curate", *words], cwd=place, capture_output=True,
        env={**os.environ, **OLD_SERVER}, check=False,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    assert b"na\\xefve" in ran.stdout
    for name in names.values():
        assert "na\u00efve" in (tmp_path / name).read_text("utf-8"), name
    json.loads((tmp_path / "o.json").read_text("utf-8"))
    ran = subprocess.run(
        [sys.executable, "-m", "curate", "vocab-gaps", "-", "--data", "captions.jsonl", "--json"],
        cwd=place, capture_output=True, env={**os.environ, **OLD_SERVER}, check=False,
        input="na\u00efve \u96ea\n".encode(),
    )  # fmt: skip
    assert {"na\u00efve", "\u96ea"} <= {item["unit"] for item in json.loads(ran.stdout)["items"]}


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize(
    "typed", ["vocab-gaps prompts.txt --data captions.jsonl", "status --data d"]
)
def test_a_stream_that_is_closed_changes_no_exit_code(place: Path, typed: str, closed: str):
    command = f"{sys.executable} -m curate {typed} {closed}"
    assert subprocess.run(["sh", "-c", command], cwd=place).returncode == COMMANDS[typed]
