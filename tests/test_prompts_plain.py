"""What a prompt asks to be drawn, as a caption would say it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import InputError
from curate.prompts.reader import (
    NEGATED,
    WANTED,
    parse_prompt,
    plain_texts,
    read_prompts,
    read_texts,
)
from curate.prompts.syntax import scan_line
from curate.text import tokens
from tests.recorded_progress import RecordedProgress


def plain(line: str) -> list[str]:
    return plain_texts(line, scan_line(line))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("  a red   fox, ", "a red fox,"),
        ("an owl, (snow:1.3) <lora:style:0.8>", "an owl, snow"),
        ("<lora:a:1>, fox, <lora:b:1>, snow", "fox, snow"),
        ("(blizzard:1.3)", "blizzard"),
        ("((best quality)), [[blur]], (fox)1.2", "best quality, blur, fox"),
        (
            "snow++ (two words)-- (ice)+, 9+ dogs--asleep",
            "snow two words ice, 9+ dogs--asleep",
        ),
        ("ice(berg)", "ice berg"),
        (r"a fox \(vulpes\)", "a fox (vulpes)"),
        ("smile :) at 16:9", "smile :) at 16:9"),
        ("fox Negative prompt: hat", "fox"),
        ("fox --no hat --ar 16:9", "fox"),
        ("hot dog::2 cat::-1", "hot dog"),
        ("a __place__, embedding:nice", "a"),
        ("a {2$$red|blue|green} cat", "a red blue green cat"),
        ("a woman without a hat", "a woman without a hat"),
        ("🐉 吹雪", "🐉 吹雪"),
    ],
)
def test_signs_are_not_drawn(line: str, text: str):
    assert plain(line) == [text]


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ("{red|blue} fox", ["red fox", "blue fox"]),
        (
            "{red|blue} fox in {snow|rain|sun}",
            ["red fox in snow", "blue fox in rain", "red fox in sun"],
        ),
        ("a {b|{c|d}}", ["a b", "a c", "a d"]),
        ("[cat:dog:0.5] in {0.5::snow|2::rain}", ["cat in snow", "dog in rain"]),
        ("[snow::0.5] fox", ["snow fox"]),
        ("[red|blue] cat.swap(dog)", ["red cat", "blue dog"]),
    ],
)
def test_every_alternative_is_drawn_in_few_texts(line: str, texts: list[str]):
    assert plain(line) == texts


def test_of_very_many_alternatives_some_are_drawn():
    assert len(plain("{" + "|".join(f"w{n}" for n in range(5000)) + "}")) == 100


pieces = ["snow", "(ice:1.2)", "<lora:x>", "hat", "[a|b]", "{c|d|{e|f}}", "((g))", "[h:i:3]", ", ("]


@given(st.lists(st.sampled_from([*pieces, "BREAK", "]", "}", "{", "j::2", "{2$$k|l}", "__m__"])))
def test_what_is_drawn_is_what_is_judged(parts: list[str]):
    """The words of all texts are the words that `vocab-gaps` judges."""
    line = " ".join(parts)
    wanted = {token.text for token in parse_prompt(line).tokens if token.role == WANTED}
    assert {word for text in plain(line) for word in tokens.surfaces(text)} == wanted


@given(st.text(alphabet=st.characters(exclude_characters="\r\n"), max_size=60))
def test_no_word_of_any_line_is_lost(line: str):
    said = {word for text in plain(line) for word in tokens.surfaces(text)}
    asked = parse_prompt(line).tokens
    wanted = {token.text for token in asked if token.role == WANTED}
    assert wanted <= said or any(token.role == NEGATED for token in asked) or "\\" in line


CASE = """a red fox
# winter pictures
an owl, (snow:1.3) <lora:style:0.8>
Negative prompt: hat
Steps: 20, Sampler: Euler a
"""


def test_a_file_is_read_as_vocab_gaps_reads_it(tmp_path: Path):
    file, progress = tmp_path / "prompts.list", RecordedProgress()
    file.write_text(CASE)
    assert read_texts(file, progress=progress) == ["a red fox", "an owl, snow"]
    assert progress.said == [
        f"{file}: prompts to draw 2; not drawn as written: "
        "negative prompts 1, settings 1, tags 1, weights 1"
    ]
    assert sum(prompt.asks for prompt in read_prompts(file)) == 2


def test_plain_prompts_are_read_once_each_and_nothing_is_said(tmp_path: Path):
    file, progress = tmp_path / "prompts.txt", RecordedProgress()
    file.write_text("\ufeffa  mage\n\n a cat \na mage\n#winter\n!!!\n", "utf-8")
    assert read_texts(file, progress=progress) == ["a mage", "a cat", "#winter", "!!!"]
    assert progress.said == []


def test_a_block_of_negative_lines_is_not_drawn(tmp_path: Path):
    file, progress = tmp_path / "prompts.txt", RecordedProgress()
    file.write_text("a fox in {snow|rain}\nNegative prompt: hat\nblurry, (bad:1.2)\nSteps: 20\n")
    assert read_texts(file, progress=progress) == ["a fox in snow", "a fox in rain"]
    assert progress.said[0].endswith(": alternatives in turn 1, negative prompts 2, settings 1")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty, no prompts to read"),
        (b"# a note\n", "no prompt with a word in it"),
        (b"Negative prompt: hat\n", "no prompt that asks for anything"),
        (b"ok\n\xff", "0xff is not UTF-8 text"),
    ],
)
def test_a_file_with_nothing_to_draw_says_so(tmp_path: Path, content: bytes, problem: str):
    (tmp_path / "prompts.txt").write_bytes(content)
    with pytest.raises(InputError) as error:
        read_texts(tmp_path / "prompts.txt")
    assert error.value.problem == problem
