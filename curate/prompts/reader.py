"""Prompts as people write them: which parts are words that are asked for, and where they stand.

A file holds one prompt a line, in UTF-8 or, where it begins so, UTF-16; `-` is what is piped in.
A table by its ending, such as .csv or .jsonl, is read by `tables`. Empty lines are skipped, and so
are comments: lines whose first character other than a blank is `#`, followed by a blank or nothing
(`#winter` is a prompt). What signs and brackets mean is read by `syntax`, plain "without a hat" by
`negation`.

A line that begins with `Negative prompt:` is negative as a whole. The lines behind it are too if
a line `Steps: 20, …` ends them, as in the text that image files carry; without such a line, or
with an empty line before it, each is a prompt of its own.
"""

import json
import re
import shlex
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from curate.corpora.encoding import conversion_fix, decode_text, is_utf16
from curate.corpora.notes import ReadNotes
from curate.errors import InputError, UsageError
from curate.prompts import tables
from curate.prompts.syntax import SYNTAXES, Choice, LineSyntax, blank, scan_line
from curate.system.progress import SILENT, Progress
from curate.text import negation, tokens

WANTED, NEGATED, CONTROL = "wanted", "negated", "control"
STDIN = Path("-")  # in place of a file: what is piped into the command
MAX_PROMPT_CHARS = 100_000  # characters of a prompt
ALTERNATIVES = 100  # texts made of one line at most
_ESCAPED = re.compile(r"\\([()\[\]{}<>|:\\])")
_COMMAS = re.compile(r" ?,(?: ?,)+ ?")
_GAPS = re.compile(r" ([,.;!?])")

_NEGATIVE_SIGN = "Negative prompt:"
_ONE_A_LINE = "write one prompt a line"
_LINE_END = re.compile(r"\r\n|[\r\n]")
_COMMENT = re.compile(r"\s*(?:#(?:\s.*)?)?", re.DOTALL)
_SETTINGS = re.compile(r"\s*Steps: \d+(?:,.*)?")
_UNSPACED = re.compile(  # two letters of Thai to Burmese, Khmer, Japanese or Chinese
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]{2}"
)
_LEFT_OUT = {  # how a control token begins, and what such are called
    "<": "tags",
    "__": "wildcards",
    "--": "options",
    "—": "options",
    "http": "addresses",
    "embedding:": "embeddings",
    "steps:": "settings",
    "negative": "negative prompts",
}
_NEGATIVE_LINE = re.compile(r"\s*negative prompt ?:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PromptToken:
    """One word or control token of a prompt."""

    line: int  # of the file, from 1
    start: int  # first character in the line as read
    end: int  # one past its last
    text: str  # as written there
    role: str  # WANTED, NEGATED or CONTROL
    choice: Choice = ()  # (which bracket, which of its alternatives), from the outside


@dataclass(frozen=True, slots=True)
class Prompt:
    """One line that asks for an image, or says what belongs to one that does."""

    line: int  # of the file, from 1
    text: str  # the line as read, without its end
    tokens: tuple[PromptToken, ...]  # in their order

    @property
    def asks(self) -> bool:
        """Whether it asks for anything, and does not only say what to leave out or how to draw."""
        return not self.tokens or any(token.role == WANTED for token in self.tokens)


def read_prompts(path: Path, *, syntax: str = "auto", progress: Progress = SILENT) -> list[Prompt]:
    """Read a file of prompts, or standard input where the path is STDIN.

    Args:
        path: text with a prompt a line, or a table: see `tables.read_prompt_rows`.
        syntax: one of SYNTAXES.
        progress: hears of what is not read of a table, and of JSON in a list.

    Raises:
        InputError: no such file, not UTF-8 text, a line longer than MAX_PROMPT_CHARS, or no
            prompt with a word in it.
        UsageError: no such syntax.
    """
    _check_syntax(syntax)
    name = _display_name(path)
    if tables.is_prompt_table(path):
        text, found = "table", _read_table(path, syntax, progress)
    else:
        text = _decode_prompts(path, _read_prompt_bytes(path))
        lines = _LINE_END.split(text)
        found = _read_lines(name, lines, syntax)
        if objects := [number for number, line in enumerate(lines, 1) if _is_json_object(line)]:
            progress.say(_describe_json(path, objects))
    if not any(prompt.tokens for prompt in found):
        problem = "no prompt with a word in it" if text.strip() else "empty, no prompts to read"
        raise InputError(name, problem, fix=_ONE_A_LINE)
    return found


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _describe_json(path: Path, objects: Sequence[int]) -> str:
    """That lines of a list are JSON, and what reads them by their keys."""
    said = (
        f"{_display_name(path)} line {objects[0]}: JSON in a list of prompts, whose keys count as "
        f"words ({len(objects):,} such lines); in a file of their own they are read by their keys"
    )
    if path == STDIN:
        return said
    old = path if path.is_absolute() else f"./{path}"
    return f"{said}: grep '^ *{{ *\"' {shlex.quote(str(old))} > {shlex.quote(f'{old}.jsonl')}"


def _read_lines(name: str, lines: Sequence[str], syntax: str) -> list[Prompt]:
    for number, line in enumerate(lines, 1):
        _check_length(f"{name} line {number}", line)
    negative = frozenset() if syntax in ("plain", "compel") else _negative_lines(lines)
    return [
        parse_prompt(line, n, syntax=syntax, negative=n in negative)
        for n, line in enumerate(lines, 1)
        if not _COMMENT.fullmatch(line)
    ]


def _read_table(path: Path, syntax: str, progress: Progress) -> list[Prompt]:
    notes = ReadNotes()
    found = []
    for row in tables.read_prompt_rows(path, notes):
        _check_length(f"{path} line {row.number}", row.text + row.negative)
        found.append(_parse_row(row, syntax))
    for sentence in notes.sentences():
        progress.say(sentence)
    return found


def _parse_row(row: tables.PromptRow, syntax: str) -> Prompt:
    """A row's prompt, with what it does not want behind `Negative prompt:` as A1111 writes it."""
    prompt = parse_prompt(row.text, row.number, syntax=syntax)
    if not row.negative:
        return prompt
    text = f"{row.text} {_NEGATIVE_SIGN} {row.negative}".strip()
    start = len(text) - len(row.negative)
    at = text.rindex(_NEGATIVE_SIGN, 0, start)
    sign = PromptToken(row.number, at, at + len(_NEGATIVE_SIGN), _NEGATIVE_SIGN, CONTROL)
    unwanted = parse_prompt(row.negative, row.number, syntax=syntax, negative=True).tokens
    moved = (replace(t, start=t.start + start, end=t.end + start) for t in unwanted)
    return Prompt(row.number, text, (*prompt.tokens, sign, *moved))


def _check_length(where: str, text: str) -> None:
    if len(text) > MAX_PROMPT_CHARS:
        problem = f"{len(text):,} characters, and a prompt has {MAX_PROMPT_CHARS:,} at most"
        raise InputError(where, problem, fix=_ONE_A_LINE)


def read_texts(path: Path, *, progress: Progress = SILENT) -> list[str]:
    """What a file of prompts, as `read_prompts` takes it, asks to be drawn: plain texts, each once.

    Comments, negative prompts, settings, tags and weights are left out, since captions do not hold
    them; alternatives such as `{red|blue}` are in a text each.

    Args:
        path: the file, or STDIN.
        progress: hears what was left out, counted by reason.

    Raises:
        InputError: as `read_prompts`, or no line asks for anything.
    """
    found: dict[str, None] = {}
    left_out: Counter[str] = Counter()
    for prompt in read_prompts(path, progress=progress):
        control = [token.text.lower() for token in prompt.tokens if token.role == CONTROL]
        left_out.update(
            next((why for start, why in _LEFT_OUT.items() if text.startswith(start)), "other signs")
            for text in control
        )
        if prompt.asks:
            reading = scan_line(prompt.text)
            left_out["weights"] += len(reading.numbers)
            left_out["alternatives in turn"] += len(reading.choices)
            texts = plain_texts(prompt.text, reading)
            if len(texts) == ALTERNATIVES:
                left_out[f"prompts with {ALTERNATIVES} alternatives or more"] += 1
            found |= dict.fromkeys(texts)
        elif not control:
            left_out["negative prompts"] += 1
    name = _display_name(path)
    if not found:
        raise InputError(name, "no prompt that asks for anything", fix=_ONE_A_LINE)
    if reasons := ", ".join(f"{why} {n}" for why, n in sorted(left_out.items()) if n):
        progress.say(f"{name}: prompts to draw {len(found)}; not drawn as written: {reasons}")
    return list(found)


def plain_texts(line: str, reading: LineSyntax) -> list[str]:
    """What the line asks to be drawn; alternatives such as `{red|blue}` make several texts of it.

    Each text takes one alternative of each bracket, and says one at least that those before it do
    not, until all are said: `{red|blue} fox in {snow|rain|sun}` makes three, not six.
    """
    signs = [*reading.control, *reading.numbers, *reading.signs, *reading.negated]
    if not signs:
        return [" ".join(_ESCAPED.sub(r"\1", line).split())]
    rest = blank(line, signs)
    places = [(0, ()), *reading.alternatives(), (len(line), ())]
    pieces = [(rest[start:end], choice) for (start, choice), (end, _) in pairwise(places)]
    waiting = list(dict.fromkeys(choice for text, choice in pieces if text.strip()))
    found: list[str] = []
    while waiting and len(found) < ALTERNATIVES:
        taken: dict[int, int] = {}  # bracket -> alternative
        for choice in waiting:
            if all(taken.get(bracket, one) == one for bracket, one in choice):
                taken |= choice
        said = {c: all(taken.get(bracket, 0) == one for bracket, one in c) for _, c in pieces}
        waiting = [choice for choice in waiting[1:] if not said[choice]]
        found.append(_tidy("".join(text if said[choice] else " " for text, choice in pieces)))
    return found


def _tidy(text: str) -> str:
    """Without the gaps and commas that signs leave behind."""
    text = _COMMAS.sub(", ", " ".join(_ESCAPED.sub(r"\1", text).split()))
    return _GAPS.sub(r"\1", text).strip(" ,")


def parse_prompt(
    line: str, number: int = 1, *, syntax: str = "auto", negative: bool = False
) -> Prompt:
    """The words and control tokens of one prompt, which may be `negative` as a whole.

    Raises:
        UsageError: no such syntax.
    """
    _check_syntax(syntax)
    if syntax in ("auto", "a1111") and _SETTINGS.fullmatch(line):
        start = len(line) - len(line.lstrip())
        settings = PromptToken(number, start, len(line.rstrip()), line.strip(), CONTROL)
        return Prompt(number, line, (settings,))
    reading = scan_line(line, syntax)
    wanted = blank("x" * len(line), [(0, len(line))] if negative else reading.negated)
    choices = [(0, ()), *reading.alternatives()]
    starts = [start for start, _ in choices]
    masked = blank(line, [*reading.control, *reading.numbers])
    spans = list(tokens.spans(masked))
    denied = set(negation.find_negated(masked, spans, reading.control))
    found = [PromptToken(number, a, b, line[a:b], CONTROL) for a, b in reading.control]
    for n, (a, b) in enumerate(spans):
        role = NEGATED if n in denied or wanted[a] == " " else WANTED
        choice = choices[bisect_right(starts, a) - 1][1]
        found.append(PromptToken(number, a, b, line[a:b], role, choice))
    return Prompt(number, line, tuple(sorted(found, key=lambda token: token.start)))


def lines_without_spaces(prompts: Iterable[Prompt]) -> list[int]:
    """Lines with words in scripts that put no blanks between them, such as Chinese or Thai."""
    return [
        prompt.line
        for prompt in prompts
        if not prompt.text.isascii()
        and any(_UNSPACED.search(token.text) for token in prompt.tokens if token.role == WANTED)
    ]


def _display_name(path: Path) -> str:
    return "standard input" if path == STDIN else str(path)


def _check_syntax(syntax: str) -> None:
    if syntax not in SYNTAXES:
        problem = f"no syntax {syntax!r}"
        raise UsageError("--syntax", problem, fix=f"one of {', '.join(SYNTAXES)}")


def _negative_lines(lines: Sequence[str]) -> frozenset[int]:
    """Numbers of the lines between `Negative prompt:` and the `Steps:` line that ends it."""
    found: set[int] = set()
    pending: list[int] | None = None
    for number, line in enumerate(lines, 1):
        if _NEGATIVE_LINE.match(line):
            pending = []
        elif _SETTINGS.fullmatch(line):
            found.update(pending or ())
            pending = None
        elif not line.strip():
            pending = None
        elif pending is not None:
            pending.append(number)
    return frozenset(found)


def _read_prompt_bytes(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    except OSError as error:
        problem = "no such file" if not path.exists() else f"cannot be read ({error.strerror})"
        fix = "name a text file with one prompt a line"
        raise InputError(path, problem, fix=fix) from None


def _decode_prompts(path: Path, data: bytes) -> str:
    """UTF-8, with or without a byte order mark, or UTF-16 with one."""
    name, text, at = _display_name(path), "", 0
    try:
        text = decode_text(data)
        at = -1 if is_utf16(data) else data.find(b"\0")
    except UnicodeDecodeError as error:
        at = error.start
    if at < 0:
        return text
    fix = "save it as UTF-8 text" if path == STDIN else conversion_fix(path)
    odd = f"0x{data[at]:02x} is" if data[at] else "a zero byte (is it UTF-16?),"
    line, column = data.count(b"\n", 0, at) + 1, at - data.rfind(b"\n", 0, at)
    raise InputError(f"{name} line {line} byte {column}", f"{odd} not UTF-8 text", fix=fix)
