"""What strangers wrote is shown and does nothing: on a terminal, in Markdown, HTML and CSV."""

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from contextlib import suppress
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from curate.errors import InputError
from curate.system import terminal
from curate.system.strangers import MOST_MARKS, csv_cell, html, markdown, visible

LEGITIMATE = [  # shown as it stands
    "a snow storm, No. 2 (1897) – «neige» … 50 % „Eis“",
    "C:\\temp\\n",  # a backslash is no escape of ours
    "naïve café, e\u0301 decomposed",
    "عاصفة ثلجية في عام ١٩٠٢",  # Arabic reorders itself by its letters alone
    "می\u200cخواهم",  # Persian: a joiner that keeps two letters apart
    "שלום עולם",
    "हिन्दी में बर्फ़", "क्\u200dष",  # Devanagari, with a joiner after its virama
    "র\u200d্যাব",  # Bengali: the joiner stands before the virama
    "ශ්\u200dරී ලංකා",  # Sinhala
    "ព្រះ\u200bរាជ",  # Khmer separates words by a space without width
    "หิมะตก", "눈보라", "吹雪　の夜", "prix\u00a0: 5\u202f€",
    "👩\u200d🚀 👨🏽\u200d⚕\ufe0f 🏳\ufe0f\u200d🌈 👨\u200d👩\u200d👧\u200d👦",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # England
    "1\ufe0f\u20e3 🇺🇦 👍🏿",
    "ཧྐྵྨླྺྼྻྂ",  # eight marks on one letter
    "\U0001fae8",  # an emoji younger than this Python
    "葛\U000e0100飾区",  # one variant of an ideograph
    "آیه\u06dd",  # a format character that is seen
]  # fmt: skip
HOSTILE = {  # what was written -> what is shown
    "\x1b[31mred\x1b[0m": "\\x1b[31mred\\x1b[0m",
    "\x1b[2J\x1b[H$ ": "\\x1b[2J\\x1b[H$ ",
    "\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\":
        "\\x1b]8;;https://evil.example\\x1b\\link\\x1b]8;;\\x1b\\",
    "\x1b]52;c;cm0gLXJmIH4=\x07": "\\x1b]52;c;cm0gLXJmIH4=\\x07",
    "safe\rlicence\tCC0-1.0": "safe\\rlicence\\tCC0-1.0",
    "x\nlicence\tCC0-1.0\ntrain\tallow": "x\\nlicence\\tCC0-1.0\\ntrain\\tallow",
    "\x9b31m": "\\x9b31m",
    "\x00": "\\x00",
    "a\u202egnp.exe": "a\\u202egnp.exe",
    "\u2066x\u2069": "\\u2066x\\u2069",
    "a\u2028b\u2029c": "a\\u2028b\\u2029c",
    "cut \ud83d": "cut \\ud83d",
    "\udc9b": "\\udc9b",
    "a\u200bb": "a\\u200bb",
    "\u200d": "\\u200d",
    "pay\u200dpal": "pay\\u200dpal",
    "\ufeffx": "\\ufeffx",
    "e" + "\u0301" * 10_000: "e" + "\u0301" * MOST_MARKS + f"\\{{{10_000 - MOST_MARKS} marks}}",
    "\u2800\u200d𪭨": "\\u2800\\u200d𪭨",  # joins nothing that is seen
    "خ\u200c\u061c": "خ\\u200c\\u061c",
    "\u094d\u200dक": "\\u094d\\u200dक",
    "क" + "\u094d\u200d" * 99 + "क": "क" + "\u094d\u200d" * 7 + "\u094d\\{183 marks}क",
    "\u0338train": "\\u0338train",  # would strike out what stands before
}  # fmt: skip
KEPT_ASIDE = {  # written, with what is right, before the function was; not looked at while it was
    "tab\tin a title": "tab\\tin a title",
    "\x08\x08\x08overwritten": "\\x08\\x08\\x08overwritten",
    "\x7f": "\\x7f",
    "\x85next line": "\\x85next line",
    "\x0b\x0c": "\\x0b\\x0c",
    "\x90q\x9c": "\\x90q\\x9c",  # device control string, in one byte each
    "\x9d0;title\x9c": "\\x9d0;title\\x9c",  # sets the window's title
    "\u200e\u200f\u061c": "\\u200e\\u200f\\u061c",
    "\u2067\u2068abc": "\\u2067\\u2068abc",
    "\u202a\u202b\u202c\u202d": "\\u202a\\u202b\\u202c\\u202d",
    "soft\u00adhyphen": "soft\\xadhyphen",
    "word\u2060joiner": "word\\u2060joiner",
    "\u180e\u2063\u206a": "\\u180e\\u2063\\u206a",
    "\u3164": "\\u3164",  # a letter that shows nothing
    "\U000e0041\U000e0042": "\\U000e0041\\U000e0042",  # tags that spell AB, unseen
    "🏴\U000e0067\U000e0062": "🏴\\U000e0067\\U000e0062",  # a flag cut in two
    "a\ufe0f\ufe0f\ufe0e": "a\ufe0f\\ufe0f\\ufe0e",  # data hidden in variation selectors
    "\udbff\udfff": "\\udbff\\udfff",
    "\uffff\ufdd0\U0010ffff": "\\uffff\\ufdd0\\U0010ffff",
    "\ue000\uf8ff": "\\ue000\\uf8ff",
    "👩\u200d": "👩\\u200d",  # joins what follows it on the line
    "\u200d👩": "\\u200d👩",
    "👩\u200dx": "👩\\u200dx",
    "\u0600\u0661": "\u0600\u0661",  # a sign of numbers, seen
    "किताब\u200dx": "किताब\\u200dx",
    "می\u200cx": "می\\u200cx",
    "\ufe0fx": "\\ufe0fx",
    "z" + "\u0334\u0335" * 40: "z" + "\u0334\u0335" * 4 + "\\{72 marks}",
    "a\u0301" * 50: "a\u0301" * 50,
    "\u20dd": "\\u20dd",
    "𓂀 𝄞 ⠿": "𓂀 𝄞 ⠿",
    "\U000e0001\u2065\ufff9x\ufffb": "\\U000e0001\\u2065\\ufff9x\\ufffb",
    "\x1bc": "\\x1bc",  # resets a terminal
    "\x1b[6n\x1b]11;?\x07": "\\x1b[6n\\x1b]11;?\\x07",  # makes a terminal type an answer
}


@pytest.mark.parametrize("text", LEGITIMATE)
def test_what_people_write_is_shown_as_it_stands(text):
    assert visible(text) == text


@pytest.mark.parametrize(("written", "shown"), [*HOSTILE.items(), *KEPT_ASIDE.items()])
def test_what_would_act_is_seen_instead(written, shown):
    assert visible(written) == shown


NASTY = (
    "\x00\x07\x08\t\n\x0b\r\x1b\x7f\x85\x90\x9b\x9c\u00ad\u061c\u200b\u200c\u200d\u200e\u202e"
    "\u2028\u2066\ufe0f\u0301\u094d\u0338\ud83d\udc9b\ufeff\U000e0067\U000e007f\u3164\ue000\uffff"
)
strange = st.text(st.one_of(st.sampled_from(NASTY + "a1 =-+@[]<&|`é🏴👩🚀کाक"), st.characters()))


@given(strange)
def test_nothing_that_acts_is_left(text):
    shown = visible(text)
    assert {unicodedata.category(c) for c in shown}.isdisjoint({"Cc", "Cs", "Co", "Zl", "Zp"})
    bidi = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert {unicodedata.bidirectional(c) for c in shown}.isdisjoint(bidi)
    assert not set("\u200e\u200f\u061c") & set(shown)
    shown.encode()


@given(strange)
def test_what_is_shown_once_is_shown_the_same_again(text):
    assert visible(visible(text)) == visible(text)


@given(strange)
def test_a_character_is_shown_or_named(text):
    if not re.search(r"\\\{|\W{9}", text + visible(text)):
        plain = {c for c in text if c.isalnum()}
        assert plain <= set(visible(text))


@given(strange)
def test_markdown_shows_the_text_and_makes_nothing_of_it(text):
    for place in ("{}", "- {}", "| {} | x |\n| --- | --- |\n| {} | y |"):
        page = MarkdownIt("gfm-like", {"linkify": False}).render(place.replace("{}", "w"))
        told = MarkdownIt("gfm-like", {"linkify": False}).render(
            place.replace("{}", f"w{markdown(text)}w")
        )
        assert re.sub(r">[^<]*<", "><", told) == re.sub(r">[^<]*<", "><", page)


@pytest.mark.parametrize(
    "text", ["- x", "+ x", "1. x", "12) x", "# x", "> x", "---", "===", "    code", "~~~", "|-|"]
)
def test_markdown_at_the_start_of_a_line_is_a_line_of_text(text):
    page = MarkdownIt("gfm-like", {"linkify": False}).render(markdown(text))
    assert re.fullmatch(r"<p>[^<]*</p>\n", page)


class Reader(HTMLParser):
    """What a browser makes of a page: text, tags and values of attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", []
        self.feed(page)
        self.close()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, attrs))


@given(strange)
def test_html_shows_the_text_and_makes_nothing_of_it(text):
    read = Reader(f"<b>{html(text)}</b>")
    assert (read.text, read.tags) == (visible(text), [("b", [])])
    assert Reader(f'<b title="{html(text)}">').tags == [("b", [("title", visible(text))])]


@given(st.lists(strange, min_size=1, max_size=4))
def test_csv_keeps_lines_and_cells_and_computes_nothing(texts):
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows([list(map(csv_cell, texts)), ["end"]])
    assert file.getvalue().count("\n") == 2
    cells, _ = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert cells == list(map(csv_cell, texts))
    assert not any(cell.lstrip()[:1] in ("=", "+", "-", "@") and cell for cell in cells)


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\uff1d1", " =1", "=cmd|'/c calc'!A1"]
)
def test_a_formula_is_a_text(text):
    assert csv_cell(text) == f"'{text}"


@given(st.lists(st.tuples(strange, strange), max_size=4))
def test_lines_and_cells_are_counted_by_us_alone(rows):
    out, err = printed(lambda: terminal.print_table(("name", "value"), rows))
    assert out.count("\n") == len(rows)
    assert all(line.count("\t") == 1 for line in out.split("\n")[:-1])
    assert acts_on_nothing(out) and err == ""


@given(strange, strange, strange)
def test_messages_are_as_many_lines_as_they_have_parts(subject, problem, fix):
    def fail() -> None:
        with terminal.command_line():
            raise InputError(subject, problem, fix=[fix, fix], points=[problem])

    _, err = printed(fail)
    assert err.count("\n") == 4 and err.startswith("error: ") and acts_on_nothing(err)


@given(strange)
def test_json_stays_json_and_acts_on_nothing(text):
    out, _ = printed(lambda: terminal.print_json({"title": text}))
    assert json.loads(out) == {"title": json.loads(json.dumps(text))} and acts_on_nothing(out)


def printed(work) -> tuple[str, str]:
    """What a piece of work prints on stdout and stderr."""
    kept = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    try:
        with suppress(SystemExit):
            work()
    finally:
        (out, err), (sys.stdout, sys.stderr) = (sys.stdout, sys.stderr), kept
    return out.getvalue(), err.getvalue()


def acts_on_nothing(text: str) -> bool:
    kinds = {unicodedata.category(c) for c in text if c not in "\t\n"}
    return not kinds & {"Cc", "Cs", "Zl", "Zp"} and not re.search(
        "[\u202a-\u202e\u2066-\u2069]", text
    )


TABLE = """
import ast, sys
from curate.system import terminal
terminal.print_table(("name [b]", "value"), ast.literal_eval(sys.argv[1]))
"""


def test_a_terminal_gets_a_line_a_row():
    rows = [("title", text) for text in (*HOSTILE, *KEPT_ASIDE)] + [("end", ":smile: [b]x[/b]")]
    receiver, sender = pty.openpty()
    env = {**os.environ, "COLUMNS": "400", "NO_COLOR": "1", "TERM": "dumb"}
    program = [sys.executable, "-c", TABLE, ascii(rows)]
    shown = b""
    with subprocess.Popen(program, stdout=sender, env=env) as process:
        os.close(sender)
        with suppress(OSError):  # the end of a terminal
            while piece := os.read(receiver, 65536):
                shown += piece
    os.close(receiver)
    assert process.returncode == 0
    lines = shown.decode().replace("\r\n", "\n").split("\n")
    assert len(lines) == len(rows) + 2 and acts_on_nothing("".join(lines))
    assert lines[0].split() == ["name", "[b]", "value"]
    assert lines[-2].split() == ["end", ":smile:", "[b]x[/b]"]
    told = [(name, " ".join(visible(text).split())) for name, text in rows[:-1]]
    assert [(line.split()[0], " ".join(line.split()[1:])) for line in lines[1:-2]] == told
