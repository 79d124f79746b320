"""Prompts in tables: CSV, TSV, JSON lines and JSON, as people and other programs write them."""

import csv
import json
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import InputError
from curate.prompts.reader import NEGATED, WANTED, Prompt, read_prompts, read_texts
from tests.gaps_command import run_vocab_gaps
from tests.recorded_progress import RecordedProgress


def written(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def words(prompt: Prompt, role: str) -> list[str]:
    return [token.text for token in prompt.tokens if token.role == role]


@pytest.mark.parametrize(
    ("name", "data", "lines"),
    [
        ("p.csv", 'prompt,seed\n"a fox, in the snow",1\nan owl,2\n', [2, 3]),
        ("p.csv", "Prompts;Category\na fox, in the snow;Colours\nan owl;Colours\n", [2, 3]),
        ("p.csv", "PROMPT\na fox, in the snow\nan owl\n", [2, 3]),
        ("p.csv", '"a fox, in the snow"\nan owl\n', [1, 2]),
        ("p.csv", '\ufeffseed,Prompt \r\n1,"a fox,\r\nin the snow"\r\n,an owl\r\n', [2, 4]),
        ("p.tsv", "Prompt\tNote\na fox, in the snow\tx\n\nan owl\ty\n", [2, 4]),
        ("p.tsv", "Prompt\tNote\na fox, in the snow\tx\nan owl\ty\n".encode("utf-16"), [2, 3]),
        ("p.jsonl", '{"prompt": "a fox, in the snow"}\n\n"an owl"\n', [1, 3]),
        ("p.json", '[\n "a fox, in the snow",\n "an owl"\n]', [2, 3]),
        ("p.json", '["a fox, in the snow", "an owl"]', [1, 2]),
        ("p.json", '[{"seed": 1,\n"Prompt": "a fox, in the snow"},\n{"text": "an owl"}]', [2, 3]),
        ("p.json", '{"seed": 1, "prompts":\n["a fox, in the snow",\n"an owl"]}', [2, 3]),
        ("p.json", '{"prompts": [{"prompt": "a fox, in the snow"}, {"prompt": "an owl"}]}', [1, 2]),
        ("p.json", '{"one": "a fox, in the snow",\n"two": "an owl"}', [1, 2]),
        ("p.json", '{"one": {"positive": "a fox, in the snow"}, "two": {"positive": "an owl"}}',
         [1, 2]),
        ("p.txt", "a fox, in the snow\nan owl\n", [1, 2]),
    ],
)  # fmt: skip
def test_the_same_prompts_however_they_are_written(
    tmp_path: Path, name: str, data: str | bytes, lines: list[int]
):
    file = written(tmp_path / name, data)
    found = read_prompts(file)

    assert [prompt.text for prompt in found] == ["a fox, in the snow", "an owl"]
    assert [prompt.line for prompt in found] == lines
    assert all(token.line == prompt.line for prompt in found for token in prompt.tokens)
    assert read_texts(file) == ["a fox, in the snow", "an owl"]


def test_prompts_of_parquet(tmp_path: Path):
    table = pa.table({"prompt": ["a fox", "an owl"], "negative_prompt": [None, "hat"]})
    parquet.write_table(table, tmp_path / "p.parquet")

    assert [(p.line, p.text) for p in read_prompts(tmp_path / "p.parquet")] == [
        (1, "a fox"), (2, "an owl Negative prompt: hat")
    ]  # fmt: skip


@pytest.mark.parametrize("syntax", ["auto", "plain", "compel", "a1111"])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("p.csv", 'name,prompt,negative_prompt\nx,a fox,"hat, scarf"\ny,,hat\nz,,\n'),
        ("p.json", '[{"prompt": "a fox", "negative": ["hat", "scarf"]}, {"negative": "hat"}]'),
    ],
)
def test_what_stands_under_negative_is_negative(tmp_path: Path, name: str, data: str, syntax: str):
    file = written(tmp_path / name, data)
    first, second = read_prompts(file, syntax=syntax)

    assert (words(first, WANTED), words(first, NEGATED)) == (["a", "fox"], ["hat", "scarf"])
    assert (words(second, WANTED), words(second, NEGATED)) == ([], ["hat"])
    assert (first.asks, second.asks) == (True, False)
    assert first.text == "a fox Negative prompt: hat, scarf"
    for prompt in (first, second):
        assert all(prompt.text[t.start : t.end] == t.text for t in prompt.tokens)
    assert read_texts(file) == ["a fox"]


def test_what_is_not_read_is_said(tmp_path: Path):
    progress = RecordedProgress()
    file = written(
        tmp_path / "p.jsonl",
        '{"prompt": "a fox", "seed": 3}\nbroken\n{"prompt": {"en": "x"}}\n'
        '{"prompt": "an owl", "text": "owls"}\n',
    )

    assert [prompt.line for prompt in read_prompts(file, progress=progress)] == [1, 4]
    assert progress.said == [
        f"{file}: columns not read: seed",
        f"rows that cannot be read (1): {file} line 2 (not JSON)",
        f"texts of a further column, text (1): {file} line 4",
        f"values that are not text (1): {file} line 3, prompt (an object)",
    ]


def test_annotations_name_the_line_of_a_table_and_no_place_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    said = written(tmp_path / "c.csv", "image,caption\na,a dog\n")
    for name, data, place in [
        ("p.csv", "seed,prompt\n1,a fox\n", "line=2,title"),
        ("p.txt", "\na fox\n", "line=2,col=3,endColumn=5,title"),
    ]:
        file = written(tmp_path / name, data)
        assert run_vocab_gaps(str(file), "--data", str(said), "--github") == 1
        assert f"file={file},{place}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("p.csv", "promtp,seed\na fox,1\n", ": no column with prompts; is it 'promtp'?"),
        ("p.csv", "what,seed\na fox,1\n", ": no column with prompts; its columns are what, seed"),
        ("p.csv", "a fox, in snow\nan owl\n", " line 2: columns: 1; the first line names 2"),
        ("p.csv", "prompt\n", ": no row with a prompt in it"),
        ("p.csv", "prompt,seed\n,1\n", ": no prompt with a word in it"),
        ("p.csv", "", ": empty, no rows to read"),
        ("p.json", "a fox", " line 1: not JSON"),
        ("p.json", "[]", ": no row with a prompt in it"),
        ("p.json", '{"seed": [1, 2]}', " entry 'seed': neither texts nor an object"),
        ("p.jsonl", '{"prompt": 1, "x"', " line 1: not JSON"),
    ],
)
def test_a_table_without_prompts_is_an_error(tmp_path: Path, name: str, data: str, message: str):
    file = written(tmp_path / name, data)
    with pytest.raises(InputError) as caught:
        read_prompts(file)
    assert str(caught.value).startswith(f"{file}{message}")
    assert "\n  fix: " in str(caught.value)


def test_the_fix_for_a_list_that_is_called_a_table_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for stem in ("my list", "-v"):
        with pytest.raises(InputError) as caught:
            read_prompts(written(Path(f"{stem}.csv"), "a fox, in snow\nan owl\n"))
        subprocess.run(str(caught.value).rpartition(": ")[2], shell=True, check=True)
        assert read_texts(Path(f"{stem}.txt")) == ["a fox, in snow", "an owl"]


def test_the_fix_for_a_list_that_is_called_a_table_takes_the_place_of_no_file(tmp_path: Path):
    written(tmp_path / "p.txt", "another")
    with pytest.raises(InputError) as caught:
        read_prompts(written(tmp_path / "p.csv", "a fox, in snow\nan owl\n"))
    subprocess.run(str(caught.value).rpartition(": ")[2], shell=True, check=False)

    assert (tmp_path / "p.txt").read_text() == "another"
    assert (tmp_path / "p.csv").exists()


@given(
    st.lists(
        st.tuples(st.text("ab ,;\t\"'\n\u00e9\u72ac", max_size=9), st.integers(0, 9)), min_size=1
    ),
    st.sampled_from(["csv", "tsv", "json", "jsonl"]),
)
def test_every_prompt_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]], kind: str
):
    file = tmp_path_factory.mktemp("p") / f"p.{kind}"
    said = [f"{text}w{n}" for n, (text, _) in enumerate(rows)]
    if kind == "tsv":  # a tab in a text of several lines may be one between columns
        said = [text.replace("\t", " ") for text in said]
    with file.open("w", newline="", encoding="utf-8") as out:
        if kind in ("csv", "tsv"):
            writer = csv.writer(out, {"csv": "excel", "tsv": "excel-tab"}[kind])
            writer.writerow(["seed", "prompt"])
            writer.writerows((seed, text) for text, (_, seed) in zip(said, rows, strict=True))
        elif kind == "json":
            json.dump([{"prompt": text} for text in said], out, indent=2)
        else:
            out.writelines(json.dumps({"prompt": text}) + "\n" for text in said)
    found = read_prompts(file)

    assert [prompt.text for prompt in found] == [" ".join(text.split()) for text in said]
    lines = [prompt.line for prompt in found]
    assert lines == sorted(set(lines))


@pytest.mark.corpora
@pytest.mark.parametrize(
    ("name", "quoting", "columns"),
    [
        ("PartiPrompts.tsv", csv.QUOTE_NONE, "Category, Challenge, Note"),
        ("drawbench.csv", csv.QUOTE_MINIMAL, "Category"),
    ],
)
def test_real_tables_of_prompts(corpora: Path, name: str, quoting: int, columns: str):
    file = corpora / "prompts" / name
    with file.open(encoding="utf-8", newline="") as stream:
        between = "\t" if quoting == csv.QUOTE_NONE else ","
        wanted = [row[0] for row in csv.reader(stream, delimiter=between, quoting=quoting)][1:]
    progress = RecordedProgress()

    found = read_prompts(file, progress=progress)
    assert [prompt.text for prompt in found] == [" ".join(text.split()) for text in wanted]
    assert progress.said == [f"{file}: columns not read: {columns}"]
