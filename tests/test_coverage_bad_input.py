"""What people hand to `curate vocab-gaps` by mistake: it is told in a sentence, nothing is lost."""

import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from captioned_shards import write_shards

from curate.errors import InputError
from curate.prompts import reader
from tests.gaps_command import run_vocab_gaps

CAPTIONS = ["a white dog runs", "two cats", "a red car in snow"]
COMMAND = [sys.executable, "-m", "curate.cli", "vocab-gaps"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("a white dog\na red wolf\n")
    lines = [json.dumps({"image": f"{n}.png", "captions": [c]}) for n, c in enumerate(CAPTIONS)]
    Path("captions.jsonl").write_text("\n".join(lines))
    Path("inside").mkdir()
    return tmp_path


def gaps(*arguments: str) -> int:
    return run_vocab_gaps(*arguments, "--data", "captions.jsonl")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a dog\ncafé".encode("latin-1"), "line 2 byte 4: 0xe9 is not UTF-8 text"),
        ("a dog".encode("utf-16-le"), "line 1 byte 2: a zero byte (is it UTF-16?), not UTF-8"),
        (b"a dog\nred\0wolf", "line 2 byte 4: a zero byte"),
        (b"dog\n" + b"red dog, " * 1_200_000, "line 2: 10,800,000 characters, and a prompt has"),
        (b"", "empty, no prompts to read"),
        (b"# one\n\n# two\n", "no prompt with a word in it"),
        (b"... !!\n()()\n", "no prompt with a word in it"),
    ],
)
def test_files_that_hold_no_prompts(
    folder: Path, capsys: pytest.CaptureFixture[str], data: bytes, message: str
):
    Path("odd.txt").write_bytes(data)
    assert gaps("odd.txt") == 3
    told = capsys.readouterr()
    assert told.err.startswith(f"error: odd.txt{':' if message[0] in 'en' else ''} {message}")
    assert "\n  fix: " in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"image":"a","captions":["caf\xe9"]}', "line 1: byte 30 (0xe9) is not UTF-8"),
        ("a.jsonl", b'{"image"', "line 1: not JSON"),
        ("a.jsonl", b'{"image":"a","captions":["a\0dog"]}', "line 1: not JSON"),
        ("a.jsonl", b"[" * 100_000, "line 1: not JSON"),
        ("a.jsonl", b'"' + b"dog " * 2_500_000, "line 1: longer than 1,048,576 bytes"),
        ("a.jsonl", b"", ": no caption to count words in"),
        ("a.csv", b"", ": empty, no rows to read"),
        ("a.csv", b"image;captoin\na;dog", "no column with captions; is it 'captoin'?"),
        ("a.csv", b"image,caption\na," + b"dog " * 2_500_000, "line 2: longer than 1,048,576 by"),
        ("a.csv", "image,caption\na,café".encode("latin-1"), "line 2: byte 6 (0xe9) is not UTF-8"),
    ],
)
def test_captions_that_cannot_be_counted(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes, message: str
):
    Path(name).write_bytes(data)
    assert run_vocab_gaps("prompts.txt", "--data", name) == 3
    told = capsys.readouterr()
    assert message in told.err
    assert told.err.startswith(f"error: {name}")
    assert "\n  fix: " in told.err


def test_data_without_any_caption_says_how_to_write_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    write_shards(Path("shards"), [{"one": []}])
    assert run_vocab_gaps("prompts.txt", "--data", "shards", "--fail-on", "never") == 3
    told = capsys.readouterr()
    assert told.err.startswith("error: shards: no caption to count words in (")
    assert "curate caption --data DIR, then curate pack --data DIR" in told.err
    assert told.out == ""


def test_lone_halves_of_characters_and_zero_bytes_in_captions_are_read(folder: Path):
    Path("odd.jsonl").write_text(
        '{"image": "a\\udc00", "captions": ["a \\ud83d dog"]}\n'
        '{"image": "b", "captions": ["a\\u0000wolf"]}\n'
    )
    Path("ask.txt").write_text("dog wolf")
    Path("out").mkdir()
    files = ("--json", "out/a.json", "--html", "out/a.html", "--junit", "out/a.xml")
    assert (
        run_vocab_gaps("ask.txt", "--data", "odd.jsonl", "--min", "1", "--target", "1", *files) == 0
    )
    assert json.loads(Path("out/a.json").read_bytes())["summary"]["covered"] == 2


@pytest.mark.parametrize("option", ["--html", "--plan", "--junit", "--json"])
def test_nothing_that_is_read_is_written_over(
    folder: Path, capsys: pytest.CaptureFixture[str], option: str
):
    # `--json` takes names in .json alone
    for name in ("prompts.txt", "captions.jsonl", "aliases.toml"):
        Path("aliases.toml").write_text("")
        before = Path(name).read_bytes()
        assert gaps("prompts.txt", option, f"./{name}", "--aliases", "aliases.toml") == 2
        assert Path(name).read_bytes() == before
        told = capsys.readouterr()
        assert told.out == ""
        assert option == "--json" or told.err == (
            f"error: {option}: {name} is read by this command, and would be written over\n"
            "  fix: name another file\n"
        )


def test_json_does_not_write_over_prompts_in_json(folder: Path, capsys: pytest.CaptureFixture[str]):
    Path("ask.json").write_text("a dog")
    assert gaps("ask.json", "--json", "ask.json") == 2
    assert Path("ask.json").read_text() == "a dog"
    assert "--json: ask.json is read by this command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--html", "inside"], 2, "--html: inside is a folder\n  fix: name a file in it, such as "),
        (["--plan", "inside"], 2, "inside/plan.sh"),
        (["--html", "a", "--plan", "./a"], 2, "--plan: a is the file of --html already"),
        (["--html", "prompts.txt/a"], 3, "prompts.txt is no folder\n  fix: name a file in a"),
        (["--html", "inside/b/c/a.html"], 1, "wrote inside/b/c/a.html"),
    ],
)
def test_files_are_refused_before_any_work(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
):
    assert gaps("prompts.txt", *arguments) == code
    told = capsys.readouterr().err
    assert message in told
    assert ("3 images" in told) == (code == 1)


def test_a_folder_without_permission_is_refused_before_any_work(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    # as it is for others: the tests may be run by one who may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "inside")
    assert gaps("prompts.txt", "--html", "inside/a.html") == 3
    assert "error: inside/a.html: cannot be written (no permission" in capsys.readouterr().err


class _Piped(io.TextIOWrapper):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))


def test_prompts_can_be_piped_in(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert gaps("prompts.txt") == 1
    named = capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", _Piped(Path("prompts.txt").read_bytes()))
    assert gaps("-") == 1
    piped = capsys.readouterr()
    assert piped.out == named.out
    assert piped.err == named.err.replace("prompts.txt:", "standard input:")

    monkeypatch.setattr(sys, "stdin", _Piped(b""))
    assert gaps("-") == 3
    assert capsys.readouterr().err.startswith("error: standard input: empty, no prompts to read")
    assert gaps("-", "--plan", "plan.sh") == 2
    assert "the script reads the prompts again" in capsys.readouterr().err


def test_text_without_blanks_is_counted_as_it_stands_and_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    Path("ask.txt").write_text(
        "白い犬\n一只白色的狗在雪地里\nหมาสีขาว\n하얀 강아지\nكلب أبيض\n", "utf-8"
    )
    Path("said.csv").write_text("image,caption\na,白い犬\nb,하얀 강아지\n", "utf-8")
    assert run_vocab_gaps("ask.txt", "--data", "said.csv", "--pairs", "off") == 1
    told = capsys.readouterr()
    assert "prompts without blanks between words: 3; what stands between" in told.err
    found = {tuple(row.split("\t")[:3]) for row in told.out.splitlines()}
    assert ("thin", "白い犬", "1") in found and ("thin", "강아지", "1") in found
    assert ("unknown-word", "一只白色的狗在雪地里", "0") in found

    Path("ask.txt").write_text("a dog 🐶 café\n", "utf-8")
    assert gaps("ask.txt") == 1
    assert "without blanks" not in capsys.readouterr().err


def test_lines_may_end_as_on_any_system(tmp_path: Path):
    file = tmp_path / "prompts.txt"
    for end in ("\n", "\r\n", "\r"):
        file.write_bytes(f"a dog{end}{end}red wolf{end}".encode())
        assert [(p.line, p.text) for p in reader.read_prompts(file)] == [
            (1, "a dog"),
            (3, "red wolf"),
        ]


def test_a_line_of_the_longest_kind_is_read(tmp_path: Path):
    file = tmp_path / "prompts.txt"
    file.write_text("dog " * (reader.MAX_PROMPT_CHARS // 4))
    assert len(reader.read_prompts(file)[0].tokens) == reader.MAX_PROMPT_CHARS // 4
    file.write_text("dog " * (reader.MAX_PROMPT_CHARS // 4) + "x")
    with pytest.raises(InputError, match="line 1: 100,001 characters"):
        reader.read_prompts(file)


@pytest.mark.parametrize("options", [[], ["--json"], ["--github"]])
@pytest.mark.parametrize("buffered", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_a_full_disk_behind_stdout_is_said(
    folder: Path, options: list[str], buffered: dict[str, str]
):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "prompts.txt", "--data", "captions.jsonl", *options],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=env | buffered,
        )  # fmt: skip
    assert done.returncode == 3
    assert "error: standard output: cannot be written (No space left on device)\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_who_has_seen_enough_ends_it_quietly(folder: Path):
    Path("many.txt").write_text("\n".join(f"word{n}x dog" for n in range(3_000)))
    command = subprocess.Popen(
        [*COMMAND, "many.txt", "--data", "captions.jsonl", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert command.stdout and command.stderr
    assert command.stdout.readline() == "{\n"
    command.stdout.close()
    said = command.stderr.read()
    command.stderr.close()
    assert command.wait() == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_where_an_output_is_closed_the_rest_is_as_ever(folder: Path, closed: str):
    Path("dogs.jsonl").write_text('{"image": "a", "captions": ["a dog"]}\n')
    asked = [*COMMAND, "prompts.txt", "--data", "dogs.jsonl", "--json", "out.json"]
    usual = subprocess.run(asked, capture_output=True, text=True, check=False)
    written = Path("out.json").read_bytes()

    line = f"{shlex.join(asked)} {closed}"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == usual.returncode == 1
    assert done.stdout == ("" if closed.startswith(">") else usual.stdout)
    assert done.stderr == ("" if "2>" in closed else usual.stderr)
    assert Path("out.json").read_bytes() == written


def test_stopped_or_killed_while_counting_it_counts_again(folder: Path):
    with Path("many.jsonl").open("w") as file:
        for n in range(100_000):
            said = f"a {n % 97} dog in the snow near tree {n % 1013}"
            file.write(json.dumps({"image": str(n), "captions": [said]}) + "\n")
    kept = folder / "kept"
    environment = os.environ | {"XDG_CACHE_HOME": str(kept)}
    command = [*COMMAND, "prompts.txt", "--data", "many.jsonl"]

    def listen() -> None:  # a suite that runs in the background may have been told to ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def until_it_writes(how: signal.Signals) -> subprocess.CompletedProcess[str]:
        for _ in range(20):  # on a busy machine it may have finished before the signal comes
            with subprocess.Popen(
                command,
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                preexec_fn=listen,
            ) as child:
                while child.poll() is None and not list(kept.rglob(".words-*.part")):
                    time.sleep(0.001)
                child.send_signal(how)
                out, err = child.communicate()
            if child.returncode != 1:
                break
            shutil.rmtree(kept)
        return subprocess.CompletedProcess(command, child.returncode, out, err)

    stopped = until_it_writes(signal.SIGINT)
    assert (stopped.returncode, stopped.stdout) == (130, "")
    assert "Traceback" not in stopped.stderr
    assert not list(kept.rglob("*.sqlite"))
    assert until_it_writes(signal.SIGKILL).returncode == -signal.SIGKILL

    done = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        for _ in range(2)
    ]
    assert done[0].returncode == 1
    assert "100,000 images" in done[0].stderr
    assert done[0].stdout == done[1].stdout
    assert not list(kept.rglob("*.part"))


def test_shards_that_are_gone_broken_or_silent_are_said_in_every_form(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    shards = Path("shards")
    write_shards(
        shards, [{"a": ["a dog"]}, {"b": ["a wolf"]}, {"c": ["a cat"]}, {"d": [], "e": []}]
    )
    names = sorted(shards.glob("*.tar"))
    names[1].unlink()
    with names[2].open("r+b") as file:
        file.seek(600)
        file.write(b"XX")
    files = ("--json", "gaps.json", "--html", "gaps.html", "--junit", "gaps.xml", "--plan", "a.sh")
    options = ("--data", "shards", "--fail-on", "never", "--github")
    assert run_vocab_gaps("prompts.txt", *options, *files) == 3

    told = capsys.readouterr()
    sentences = [
        f"{names[1]}: shard is missing; images not counted: 1",
        f"{names[2]}: broken shard (its SHA-256 is not the one in the index); "
        "images not counted: 1",
        f"{names[3].name}: shard holds no caption; images not counted: 2",
    ]
    assert json.loads(Path("gaps.json").read_bytes())["data"]["incomplete"] == sentences
    suite = ElementTree.parse("gaps.xml").getroot()[0]
    assert suite.attrib == {
        "name": "vocab-gaps data", "tests": "1", "failures": "1", "errors": "0"
    }  # fmt: skip
    for number, sentence in enumerate(sentences):
        assert f"  not counted: {sentence}\n" in told.err
        assert told.out.splitlines()[number] == f"::error title=vocab-gaps::not counted: {sentence}"
        assert sentence in (suite.findtext("testcase/failure") or "")
        assert sentence in Path("gaps.html").read_text("utf-8")
