from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from operations import lines_run

from curate.errors import ExitCode, InputError, UsageError
from curate.prompts.reader import CONTROL, NEGATED, SYNTAXES, WANTED, parse_prompt, read_prompts


def words(line: str, role: str = WANTED, syntax: str = "auto") -> str:
    return " ".join(t.text for t in parse_prompt(line, syntax=syntax).tokens if t.role == role)


def apart(line: str, syntax: str = "auto") -> set[str]:
    """Pairs of words that stand in different alternatives of one bracket, as `a/b`."""
    tokens = [t for t in parse_prompt(line, syntax=syntax).tokens if t.role == WANTED]
    return {
        f"{a.text}/{b.text}"
        for n, a in enumerate(tokens)
        for b in tokens[n + 1 :]
        if any(dict(a.choice).get(k, v) != v for k, v in b.choice)
    }


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("(((red) fox:1.2):.9) den", "red fox den"),
        (r"cat \(drawing\) \[x\] (\(a\):1.1)", "cat drawing x a"),
        ("[snow::.5] [:ice:12] [hail:0.3] [a:b:0.2,0.8]", "snow ice hail a b"),
        ("[cow|horse:1.2|] in a field", "cow horse in a field"),
        ("[dog:cat] (a:b:1.3)", "dog cat a b"),
        ("{2$$red|blue} {2-3$$ and $$a|b|c} {0.5::x|2::y} {1$$z|u}", "red blue and a b c x y z u"),
        ("${season=!{summer|winter}} a ${season} day", "summer winter a day"),
        ("a cat :1.2 AND a dog:0.8", "a cat a dog"),
        ("hot::2 dog::1 space ship::", "hot dog space ship"),
        ("word++ (two words)-- (x)1.3 (y).5", "word two words x y"),
        ('("a cat", "a dog").and() ("c", "d").blend(0.7, 0.3)', "a cat a dog c d"),
        ("a cat.swap(dog, s_end=0.4) runs", "a cat dog runs"),
        ('a sign that says "hello"', "a sign that says hello"),
        ("unclosed [a|b (c:1.2] d) {e", "unclosed a b c d e"),
        ("the time (10:30) and 3 < 4 > 2", "the time 10 30 and 3 4 2"),
        ("C++ a.b.c e.g. f(x)2", "C a b c e g f x 2"),
        ("𝟏girl, solo\u00a0girl\tx", "𝟏girl solo girl x"),
        ("سماء زرقاء, שמיים", "سماء زرقاء שמיים"),
    ],
)
def test_words_without_their_signs(line: str, wanted: str):
    assert words(line) == wanted


@pytest.mark.parametrize(
    ("line", "control", "wanted"),
    [
        ("<lora:a b:.8> <hypernet:x:1> hat", "<lora:a b:.8> <hypernet:x:1>", "hat"),
        ("(embedding:easy_neg:1.2), hat", "embedding:easy_neg", "hat"),
        ("__wild/card__ __*__ snake_case hat", "__wild/card__ __*__", "snake case hat"),
        ("${x} hat", "${x}", "hat"),
        ("girl BREAK hat ADDCOMM scarf", "BREAK ADDCOMM", "girl hat scarf"),
        ("a --ar 16:9 --style raw --tile b", "--ar 16:9 --style raw --tile", "a b"),
        ("hat —ar 3:2 — really", "—ar 3:2", "hat really"),
        ("hat --strange scarf --d 2", "--strange --d 2", "hat scarf"),
        ("https://a.b/x.png, (https://b.c/y) hat", "https://a.b/x.png https://b.c/y", "hat"),
        ("hat Steps: 9, Sampler: Euler a", "Steps: 9, Sampler: Euler a", "hat"),
        ("Steps: 3 cats on stairs", "", "Steps 3 cats on stairs"),
        ("cat.swap(dog)", ".swap(", "cat dog"),
    ],
)  # fmt: skip
def test_control_tokens(line: str, control: str, wanted: str):
    assert (words(line, CONTROL), words(line)) == (control, wanted)


@pytest.mark.parametrize(
    ("line", "negated", "wanted"),
    [
        ("cat --no hat, big scarf --v 6", "hat big scarf", "cat"),
        ("cat --n low res --w 512 --h 512", "low res", "cat"),
        ('--prompt "a cat" --negative_prompt "a hat" --steps 20', "a hat", "a cat"),
        ("cat Negative prompt: hat Steps: 20, Sampler: Euler", "hat", "cat"),
        ("tulips:: red::-0.5 sky::1", "red", "tulips sky"),
        ("a cat AND a hat :-1 AND a tree", "a hat", "a cat a tree"),
    ],
)
def test_what_is_to_stay_out(line: str, negated: str, wanted: str):
    assert (words(line, NEGATED), words(line)) == (negated, wanted)


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        ("[dog|big cat] x", {"dog/big", "dog/cat"}),
        ("{dog|{cat|fox}}", {"dog/cat", "dog/fox", "cat/fox"}),
        ("[dog:cat:0.5]", {"dog/cat"}),
        ("[dog::0.5] [cat:3]", set()),
        ("{2$$dog|cat} {1-2$$a|b} (dog|cat)", set()),
        ("{1$$dog|cat}", {"dog/cat"}),
        ("(big cat).swap(dog) x", {"big/dog", "cat/dog"}),
        ("a cat.swap(dog).swap(fox)", {"cat/dog", "cat/fox", "dog/fox"}),
        ("[a (b|c] d", {"a/c", "b/c"}),
    ],
)
def test_alternatives_are_no_pairs(line: str, pairs: set[str]):
    assert apart(line) == pairs


@pytest.mark.parametrize("line", ["a [b|c] (d:1.2) <lora:x:1> --no e AND f", "Negative prompt: g"])
def test_plain_text_has_no_signs(line: str):
    tokens = parse_prompt(line, syntax="plain").tokens

    assert {t.role for t in tokens} == {WANTED}
    assert not any(t.choice for t in tokens)
    letters = {c for c in line if c.isalnum()}
    assert letters == {c for t in tokens for c in t.text if c.isalnum()}


def test_each_syntax_reads_its_own_signs():
    assert words("(cat:1.2) (dog)1.5", syntax="a1111") == "cat dog 1.5"
    assert words("(cat:1.2) (dog)2", syntax="compel") == "cat 1.2 dog"
    assert words("BLACK AND WHITE", syntax="a1111") == "BLACK WHITE"
    assert words("BLACK AND WHITE", syntax="compel") == "BLACK AND WHITE"
    assert apart("[dog|cat]", syntax="compel") == set()
    with pytest.raises(UsageError, match="no syntax 'latin'"):
        parse_prompt("a dog", syntax="latin")


def test_the_text_of_an_image_file_is_read_with_its_negative_lines(tmp_path: Path):
    file = tmp_path / "prompts.txt"
    file.write_text(
        "a cat,\na tree\nNegative prompt: hat,\nred scarf\nSteps: 20, Sampler: Euler a\n"
    )
    roles = {t.text: t.role for p in read_prompts(file) for t in p.tokens}
    assert [w for w, role in roles.items() if role == NEGATED] == ["hat", "red", "scarf"]
    assert roles["tree"] == WANTED

    file.write_text(
        "a cat\nNegative prompt: hat\na dog\nNegative prompt: scarf\n\na fox\nSteps: 9\n"
    )
    roles = {t.text: t.role for p in read_prompts(file) for t in p.tokens}
    assert [w for w, role in roles.items() if role == NEGATED] == ["hat", "scarf"]

    plain = {t.role for p in read_prompts(file, syntax="plain") for t in p.tokens}
    assert plain == {WANTED}


PIECES = (
    "( ( ) ) [ [ ] ] { { } } | | : :: :1.2 :.5 \\ < > <lora:x:1> __a/b__ 2$$ 1-2$$ $$ ${x= ${y}"
    " 0.5:: dog cat.swap( .and() .blend(1,2) ++ -- --no --ar 1:2 BREAK AND ' \" “ ” Steps:"
    " https://a.b/c) no without a"
    " 👩‍🚀 吹雪 é , . -free Negative\u00a0prompt: embedding:z ,\u00a0s_end=0.3"
).split(" ")


@given(
    st.lists(st.sampled_from(PIECES), max_size=40),
    st.sampled_from(["", " "]),
    st.sampled_from(SYNTAXES),
)
@example(["a.swap(", ")", ".swap(", ")"], "", "auto")
@example(["[", "dog", "|", "x", "cat.swap(", "|", "]", ")"], "", "auto")
def test_every_span_is_the_text_it_names(pieces: list[str], joint: str, syntax: str):
    line = joint.join(pieces)
    tokens = parse_prompt(line, syntax=syntax).tokens

    assert all(line[t.start : t.end] == t.text and t.text for t in tokens)
    assert all(a.end <= b.start for a, b in pairwise(tokens))
    kept = sum(t.text.count("dog") for t in tokens)
    assert kept == line.count("dog")


LONG = [  # what stands at the front, in the middle and at the end, so many times
    ("[a|", "", ""),
    ("[a|", "", "b]"),
    ("(", "a", ":1.1)"),
    ("{(a|", "", "}"),
    ("[(", "", ")]"),
    ("a.swap(", "", ")"),
    ("__a", "<b ", " --c-d"),
    ("no a ", "", ""),
    ('without a "hat" ', "", ""),
]


@pytest.mark.parametrize("parts", LONG, ids=range(len(LONG)))
def test_a_line_four_times_as_long_takes_four_times_the_steps(parts: tuple[str, str, str]):
    front, middle, end = parts
    parse_prompt(front + middle + end)  # loads the tables of words
    short, long = (front * n + middle + end * n for n in (1000, 4000))
    assert lines_run(parse_prompt, long) < 4.4 * lines_run(parse_prompt, short)


@pytest.mark.parametrize(
    "line",
    [
        *(front * 15_000 + middle + end * 15_000 for front, middle, end in LONG),
        "(a:" + "1" * 100_000 + "x)",
        "{" + "1" * 100_000 + "a|b}",
        "__a" * 15_000 + "<b " * 15_000 + " --c-d" * 7_000,
    ],
    ids=range(len(LONG) + 3),
)
def test_a_very_long_line_is_parsed(line: str):
    """As long as a line may be: one pattern that went back over it would take hours."""
    assert max((len(t.choice) for t in parse_prompt(line).tokens), default=0) <= 16


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("👩‍🚀🐉 🇯🇵🇩🇪 1️⃣ 👍🏽 ❤️", "👩‍🚀 🐉 🇯🇵 🇩🇪 1️⃣ 👍🏽 ❤️"),
        ("吹雪のdragon 눈보라 2匹", "吹雪の dragon 눈보라 2 匹"),
        ("→ ★ ✓ • dog™", "dog"),
        ("スーパー・マリオ ｱﾆﾒ", "スーパー マリオ ｱﾆﾒ"),
    ],
)
def test_emoji_and_east_asian_runs_are_words(line: str, expected: str):
    assert words(line) == expected


@pytest.mark.parametrize(
    ("line", "negated"),
    [
        ("a man without a hat", "hat"),
        ("a street with no people or cars, sunny", "people cars"),
        ("a car with no red leather seats on it", "red leather seats"),
        ("a man not wearing any glasses", "glasses"),
        ("a dog, not a cat", "cat"),
        ("a man who isn't wearing a hat", "hat"),
        ("a cat that doesn't have a tail", "tail"),
        ("a dog without a leash running on the beach", "leash"),
        ("a man without a hat stands in the rain", "hat"),
        ("a shoe rack without any pairs of shoes on it", "pairs shoes"),
        ("neither birds nor clouds", "birds clouds"),
        ("a cloud-free sky", "cloud-free"),
        ("a sky free of clouds and bright", "clouds"),
        ("a bench without any cats on it", "cats"),
        ("WITHOUT A HAT", "HAT"),
        ("without (a hat:1.2) and scarf", "hat"),
        ("a table with no fruit bowl but a vase", "fruit bowl"),
        ("no one on the street", ""),
        ("it is no longer raining", ""),
        ("No. 5 bus, no 7 bus", ""),
        ("a no parking sign", ""),
        ("nobody inside", ""),
        ("a group of not more than five meerkats", ""),
        ("the wifi not working", ""),
        ('a sign that says "no dogs" by a tree', ""),
        ("a hat that says no dogs", ""),
        ("a book with the words 'Don't Panic!'", ""),
        ("hands-free phone, free hugs, a free-range hen", ""),
        ("without, a hat", ""),
        ("say no to drugs", ""),
    ],
)
def test_plain_negation(line: str, negated: str):
    assert words(line, NEGATED, "plain") == negated


def test_a_byte_that_is_no_text_is_named(tmp_path: Path):
    file = tmp_path / "p.txt"
    file.write_bytes(b"\xef\xbb\xbfa\r\nb (c:1.2\xe9)")
    with pytest.raises(InputError, match=r"line 2 byte 9: 0xe9 is not UTF-8 text") as caught:
        read_prompts(file)
    assert caught.value.exit_code == ExitCode.INPUT
