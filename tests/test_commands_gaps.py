import json
from pathlib import Path

import pytest

from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample, Verdict
from curate.prompts import reader
from curate.report.report import p_correct
from curate.report.text import expand_json_option
from tests.gaps_command import run_vocab_gaps

PROMPTS = "a woman mage with medium-dark skin tone\na man firefighter, <lora:x> --no hat\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a file of prompts and one of captions."""
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text(PROMPTS, "utf-8")
    with Path("captions.jsonl").open("w") as file:
        for n in range(30):
            tone = ("light", "medium-dark")[n % 2]
            said = [f"a man firefighter with {tone} skin tone"]
            file.write(json.dumps({"image": f"{n:02d}", "captions": said}) + "\n")
    return tmp_path


def test_lists_gaps_worst_first(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run_vocab_gaps("prompts.txt", "--data", "captions.jsonl") == 1

    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "missing\tmage\t0\t1\tcurate fetch openverse --query mage",
        "missing\twoman\t0\t1\tcurate fetch openverse --query woman",
        "low\tmedium-dark\t15\t1\tcurate fetch openverse --query 'medium-dark skin tone'",
    ]
    assert err.splitlines() == [
        "captions.jsonl: 30 images with 30 captions",
        "prompts.txt: 2 prompts; words: 2 missing, 1 low, 4 covered, 1 negated, 2 function-word",
        "phrases: 2 phrase-covered",  # man firefighter and skin tone always stand together here
        "adjectives at nouns: 1 seen-binding",
    ]


def test_counts_several_data_together(folder: Path, capsys: pytest.CaptureFixture[str]):
    Path("more.jsonl").write_text(
        '{"image": "m", "captions": ["a woman mage"]}\n'
        '{"image": "29", "captions": ["the same image, called a woman"]}\n'
    )
    assert run_vocab_gaps("prompts.txt", "--data", "captions.jsonl", "--data", "more.jsonl") == 1

    out, err = capsys.readouterr()
    assert "thin\tmage\t1\t1\t" in out
    assert "thin\twoman\t2\t1\t" in out
    assert err.startswith("captions.jsonl + more.jsonl: 31 images with 32 captions\n")


def test_works_before_anything_was_fetched(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run_vocab_gaps("prompts.txt") == 1

    out, err = capsys.readouterr()
    assert "missing\tfirefighter\t0\t1\t" in out
    assert err.startswith("no dataset at data: every word counts as missing\n")
    assert not Path("data").exists()


def test_a_command_fetches_into_the_folder_that_was_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    allow = Verdict("allow", ())
    rows = [Sample("t-1", "t", captions=(Caption("a mage", "text"),), train=allow)]
    rows.append(Sample("t-2", "t", texts=("a mage",)))
    Dataset(Path("my data")).write(Manifest(rows, []))

    assert run_vocab_gaps("prompts.txt", "--data", "my data", "--pairs", "off") == 1
    out, err = capsys.readouterr()
    assert "thin\tmage\t2\t1\tcurate fetch openverse --query mage --data 'my data'" in out
    assert err.startswith("my data: 2 images with 2 captions\n  counted, but not checked yet: 1\n")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--fail-on", "error"], 1),
        (["--fail-on", "warning"], 1),
        (["--fail-on", "never"], 0),
    ],
)
def test_exit_code_follows_fail_on(folder: Path, options: list[str], code: int):
    assert run_vocab_gaps("prompts.txt", "--data", "captions.jsonl", *options) == code


def test_exit_codes_of_warnings_and_of_clean_prompts(folder: Path):
    Path("low.txt").write_text("medium-dark skin")
    Path("clean.txt").write_text("a man with skin tone")

    assert run_vocab_gaps("low.txt", "--data", "captions.jsonl") == 0
    assert run_vocab_gaps("low.txt", "--data", "captions.jsonl", "--fail-on", "warning") == 1
    assert (
        run_vocab_gaps(
            "low.txt", "--data", "captions.jsonl", "--target", "15", "--fail-on", "warning"
        )
        == 0
    )
    assert run_vocab_gaps("clean.txt", "--data", "captions.jsonl", "--fail-on", "warning") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent.txt"], 3, "error: absent.txt: no such file\n  fix: "),
        (["prompts.txt", "--data", "absent"], 3, "error: absent: no such file or folder\n  fix: "),
        (["prompts.txt", "--data", "."], 3, "error: .: holds no image with a caption"),
        (
            ["prompts.txt", "--profile", "big"],
            2,
            "error: --profile: no profile 'big'\n  fix: one of",
        ),
        (
            ["prompts.txt", "--pairs", "some"],
            2,
            "error: --pairs: no choice 'some'\n  fix: one of",
        ),
        (["prompts.txt", "--fail-on", "x"], 2, "error: --fail-on: no severity 'x'\n  fix: one of"),
        (["prompts.txt", "--min", "0"], 2, "error: --min: 0 is not a number of images\n  fix: "),
        (["prompts.txt", "--html", "absent.txt/x"], 1, ""),
        (
            ["prompts.txt", "--html", "prompts.txt/x"],
            3,
            "prompts.txt is no folder\n  fix: ",
        ),
    ],
)
def test_errors_are_sentences(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
):
    assert run_vocab_gaps(*arguments) == code
    assert message in capsys.readouterr().err


def test_json_holds_every_word_with_its_place(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run_vocab_gaps("prompts.txt", "--data", "captions.jsonl", "--json") == 1
    printed = capsys.readouterr().out
    found = json.loads(printed)

    assert found["schema"] == "vocab-gaps/1"
    assert found["data"] == {
        "path": "captions.jsonl", "kind": "captions", "images": 30, "captions": 30, "rows": {},
        "named": {}, "remarks": [],
        "incomplete": [], "notes": [],
    }  # fmt: skip
    assert found["profile"] == {"name": "finetune", "min": 5, "target": 30}
    items = {item["unit"]: item for item in found["items"]}
    assert items["mage"] == {
        "unit": "mage",
        "kind": "word",
        "verdict": "missing",
        "severity": "error",
        "p_correct": p_correct("missing"),
        "n_images": 0,
        "levels": {
            "exact": 0,
            "inflection": 0,
            "variant": 0,
            "synonym": {"n": 0, "via": []},
            "narrower": {"n": 0, "via": []},
            "derivation": {"n": 0, "via": []},
        },
        "expected": None,
        "pmi": None,
        "related_not_counted": [],
        "upper_bound_visible_95": 6,
        "prompts": [{"line": 1, "span": [8, 12], "text": "mage"}],
        "evidence": [],
        "nearest": [],
        "did_you_mean": [],
        "badges": [],
        "senses": None,
        "fix": {"fetch": ["curate fetch openverse --query mage"], "need": 30},
    }
    assert items["medium-dark + tone"]["expected"] == 15.0
    assert items["<lora:x>"]["kind"] == "token"
    assert len(items["skin"]["evidence"]) == 6
    words = [token.text for p in reader.read_prompts(Path("prompts.txt")) for token in p.tokens]
    single = [item for item in found["items"] if item["kind"] in ("word", "token")]
    named = [m["text"] for item in single for m in item["prompts"]]
    assert sorted(named) == sorted(words)

    assert run_vocab_gaps("prompts.txt", "--json", "out.json", "--data", "captions.jsonl") == 1
    assert Path("out.json").read_text("utf-8") == printed
    assert run_vocab_gaps("--json", "prompts.txt", "--data", "captions.jsonl") == 1
    assert Path("prompts.txt").read_text("utf-8") == PROMPTS  # not taken for the file to write


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["p.txt", "--json"], ["p.txt", "--json", "-"]),
        (["--json", "p.txt"], ["--json", "-", "p.txt"]),
        (["--json", "-", "p.txt"], ["--json", "-", "p.txt"]),
        (["--json", "o.json", "p.txt"], ["--json", "o.json", "p.txt"]),
        (["p.txt", "--json", "--html", "x"], ["p.txt", "--json", "-", "--html", "x"]),
        (["p.txt", "--json=o"], ["p.txt", "--json=o"]),
    ],
)
def test_json_takes_a_file_or_none(arguments: list[str], meant: list[str]):
    assert expand_json_option(arguments) == meant


def test_the_same_data_gives_the_same_report(folder: Path, capsys: pytest.CaptureFixture[str]):
    lines = Path("captions.jsonl").read_text().splitlines()
    run_vocab_gaps("prompts.txt", "--data", "captions.jsonl", "--json", "--html", "one.html")
    one = capsys.readouterr().out
    Path("captions.jsonl").write_text("\n".join([*reversed(lines), lines[3]]))
    run_vocab_gaps("prompts.txt", "--data", "captions.jsonl", "--json", "--html", "two.html")

    assert capsys.readouterr().out == one
    assert Path("one.html").read_bytes() == Path("two.html").read_bytes()


def test_reads_a_folder_where_no_index_can_be_kept(folder: Path):
    Dataset(Path("data")).write(Manifest([Sample("t-1", "t", texts=("a mage",))], []))
    Path("data/index").write_bytes(b"in the way")

    assert run_vocab_gaps("prompts.txt") == 1
    assert Path("data/index").read_bytes() == b"in the way"
