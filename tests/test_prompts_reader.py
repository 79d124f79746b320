import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ExitCode, InputError
from curate.prompts.reader import CONTROL, NEGATED, WANTED, parse_prompt, read_prompts
from tests.recorded_progress import RecordedProgress


def words(line: str, role: str = WANTED) -> list[str]:
    return [token.text for token in parse_prompt(line).tokens if token.role == role]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("a white dog", ["a", "white", "dog"]),
        ("(blizzard:1.3), ((snow)) [ice] {hail}", ["blizzard", "snow", "ice", "hail"]),
        ("(white dog: 0.8) (snow)1.2", ["white", "dog", "snow"]),
        ("[fire:ice:0.5] {elf|dwarf}", ["fire", "ice", "elf", "dwarf"]),
        (r"a cat \(drawing\)", ["a", "cat", "drawing"]),
        ("at 10:30, 3.5mm (16:9)", ["at", "10", "30", "3.5mm", "16", "9"]),
        ("dark-skinned woman's jack-o'-lantern", ["dark-skinned", "woman's", "jack-o'-lantern"]),
        ("ice_dragon don’t café", ["ice", "dragon", "don’t", "café"]),
        ("two dogs -- one asleep", ["two", "dogs", "one", "asleep"]),
        ("BLACK AND WHITE", ["BLACK", "AND", "WHITE"]),
        ("(unbalanced:1.2", ["unbalanced", "1.2"]),
    ],
)
def test_words_that_are_asked_for(line: str, wanted: list[str]):
    assert words(line) == wanted


@pytest.mark.parametrize(
    ("line", "control", "wanted"),
    [
        ("<lora:winter:0.8> snow", ["<lora:winter:0.8>"], ["snow"]),
        ("<my-style> snow, 3 < 4", ["<my-style>"], ["snow", "3", "4"]),
        ("__colour__ hat", ["__colour__"], ["hat"]),
        ("embedding:nice hat", ["embedding:nice"], ["hat"]),
        ("https://a.example/x.png as a hat", ["https://a.example/x.png"], ["as", "a", "hat"]),
        ("girl BREAK hat AND scarf", ["BREAK", "AND"], ["girl", "hat", "scarf"]),
        ("hat :1.2 AND scarf", ["AND"], ["hat", "scarf"]),
        ("hat --ar 16:9 --tile", ["--ar 16:9", "--tile"], ["hat"]),
        ("Steps: 20, Sampler: Euler a", ["Steps: 20, Sampler: Euler a"], []),
    ],
)
def test_control_tokens_are_kept_apart(line: str, control: list[str], wanted: list[str]):
    assert words(line, CONTROL) == control
    assert words(line) == wanted


@pytest.mark.parametrize(
    ("line", "negated", "wanted"),
    [
        ("a cat --no hat, scarf --ar 1:1", ["hat", "scarf"], ["a", "cat"]),
        ("a cat Negative prompt: (bad hands:1.4)", ["bad", "hands"], ["a", "cat"]),
        ("negative prompt: blur", ["blur"], []),
        ("a cat --nose", [], ["a", "cat"]),
    ],
)
def test_negated_words_are_kept_apart(line: str, negated: list[str], wanted: list[str]):
    assert words(line, NEGATED) == negated
    assert words(line) == wanted


@given(st.text(alphabet=st.characters(exclude_characters="\n"), max_size=60))
def test_every_span_is_the_text_it_names(line: str):
    tokens = parse_prompt(line).tokens

    assert all(line[token.start : token.end] == token.text for token in tokens)
    assert all(a.end <= b.start for a, b in pairwise(tokens))


@given(st.lists(st.sampled_from(["snow", "(ice:1.2)", "<lora:x>", "--no", "hat", "[a|b]"])))
def test_no_word_is_overlooked(pieces: list[str]):
    tokens = parse_prompt(" ".join(pieces)).tokens

    assert len(tokens) == len(pieces) + pieces.count("[a|b]")


def test_reads_lines_and_counts_them_from_one(tmp_path: Path):
    file = tmp_path / "prompts.txt"
    file.write_bytes("\ufeffa dog\r\n\r\n# a note\n#winter\n  \nein Hündchen".encode())

    found = read_prompts(file)

    assert [(p.line, p.text) for p in found] == [(1, "a dog"), (4, "#winter"), (6, "ein Hündchen")]
    assert [(t.line, t.start, t.end) for t in found[0].tokens] == [(1, 0, 1), (1, 2, 5)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "{file}: empty, no prompts to read"),
        (b"  \n\n", "{file}: empty, no prompts to read"),
        (b"# only notes\n", "{file}: no prompt with a word in it"),
        (b"...\n!!!\n", "{file}: no prompt with a word in it"),
        (b"a dog\na caf\xe9\n", "{file} line 2 byte 6: 0xe9 is not UTF-8 text"),
        (b"\xef\xbb\xbfa \xff", "{file} line 1 byte 6: 0xff is not UTF-8 text"),
        (b"a\0dog\n", "{file} line 1 byte 2: a zero byte (is it UTF-16?), not UTF-8 text"),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path: Path, data: bytes, message: str):
    file = tmp_path / "prompts.txt"
    file.write_bytes(data)

    with pytest.raises(InputError) as caught:
        read_prompts(file)
    assert str(caught.value).startswith(message.format(file=file))
    assert "\n  fix: " in str(caught.value)
    assert caught.value.exit_code == ExitCode.INPUT


def test_says_that_a_file_is_missing_or_a_folder(tmp_path: Path):
    with pytest.raises(InputError, match=r"absent.txt: no such file"):
        read_prompts(tmp_path / "absent.txt")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        read_prompts(tmp_path)


@pytest.mark.corpora
@pytest.mark.parametrize("name", ["card_names.txt", "t2i-compbench/non_spatial_val.txt"])
def test_real_prompts_lose_no_letter(corpora: Path, name: str):
    found = read_prompts(corpora / "prompts" / name)

    assert len(found) > 100
    for prompt in found:
        rest = list(prompt.text)
        for token in prompt.tokens:
            rest[token.start : token.end] = " " * (token.end - token.start)
        assert not any(character.isalnum() for character in rest), prompt.text


def test_json_in_a_list_is_said_with_the_command_that_makes_a_table_of_it(tmp_path):
    file, progress = tmp_path / "my prompts.txt", RecordedProgress()
    lines = ['{"prompt": "a fox", "negative_prompt": "snow"}', "{a|the} owl", "a hen"]
    file.write_text("\n".join(lines))
    assert len(read_prompts(file, progress=progress)) == 3
    (said,) = progress.said
    assert said.startswith(f"{file} line 1: JSON in a list of prompts")
    subprocess.run(["sh", "-c", said.rpartition(": ")[2]], check=True)
    (prompt,) = read_prompts(tmp_path / "my prompts.txt.jsonl")
    assert [t.text for t in prompt.tokens if t.role == WANTED] == ["a", "fox"]
