"""Prompts as people write them: which parts are words that are asked for, and where they stand.

A file holds one prompt a line, in UTF-8. Empty lines are skipped, and so are comments: lines
whose first character other than a blank is `#`, followed by a blank or nothing (`#winter` is a
prompt). Recognised beside plain words:

    (snow:1.3) ((snow)) [snow] {snow}   weights and brackets; escaped parentheses are text
    [snow|ice] [snow:ice:0.5]           alternatives: every word in them is asked for
    <lora:winter:0.8> <embedding>       control tokens, as are __wildcard__, embedding:NAME, URLs
    BREAK AND                           control tokens in capitals, unless all is in capitals
    --no hat --ar 16:9                  words after `--no` are negated; other options are control
    Negative prompt: hat                negated up to the end of the line
    Steps: 20, Sampler: …               a line of settings, one control token
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curate.coverage import lexicon
from curate.errors import InputError

WANTED, NEGATED, CONTROL = "wanted", "negated", "control"

_SETTINGS = re.compile(r"\s*Steps: \d.*")
_NEGATIVE = re.compile(r"negative prompt:", re.IGNORECASE)
_NO = re.compile(r"(?<!\S)--no(?!\S)")
_CONTROL = re.compile(
    r"""<[^\s<>][^<>]*>              # <lora:winter:0.8>, <embedding>
      | __[^\W_][\w/*-]*?__          # __wildcard__
      | \b(?:https?://|embedding:)\S+
      | (?<!\S)--(?!no(?!\S))[a-z]+(?:[ ]+(?!--)[^\s<]\S*)?   # an option, at most one value
      """,
    re.VERBOSE,
)
_CAPITALS = re.compile(r"\b(?:BREAK|AND)\b")
_WEIGHT = re.compile(
    r"""(?<=:)\s*[+-]?\d*\.?\d+\s*(?=[)\]}])   # (snow:1.3)
      | (?<=[)])[+-]?\d*\.\d+                  # (snow)1.3
      | (?<=\s:)[+-]?\d*\.?\d+(?=\s*(?:AND\b|$))  # snow :1.3 AND ice
      """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word or control token of a prompt."""

    line: int  # of the file, from 1
    start: int  # first character in the line as read
    end: int  # one past its last
    text: str  # as written there
    role: str  # WANTED, NEGATED or CONTROL


@dataclass(frozen=True, slots=True)
class Prompt:
    """One line that asks for a picture."""

    line: int  # of the file, from 1
    text: str  # the line as read, without its end
    tokens: tuple[Token, ...]  # in their order


def read(path: Path) -> list[Prompt]:
    """Read a file of prompts.

    Raises:
        InputError: no such file, not UTF-8 text, or no prompt with a word in it.
    """
    text = _decode(path, _bytes(path))
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    found = [parse(line, n) for n, line in enumerate(lines, 1) if not _is_comment(line)]
    if not any(prompt.tokens for prompt in found):
        problem = "no prompt with a word in it" if text.strip() else "empty, no prompts to read"
        raise InputError(path, problem, fix="write one prompt a line")
    return found


def parse(line: str, number: int = 1) -> Prompt:
    """The words and control tokens of one prompt."""
    if _SETTINGS.fullmatch(line):
        start = len(line) - len(line.lstrip())
        settings = Token(number, start, len(line.rstrip()), line.strip(), CONTROL)
        return Prompt(number, line, (settings,))
    control = list(_control_spans(line))
    masked = list(line)
    for start, end in [*control, *(m.span() for m in _WEIGHT.finditer(line))]:
        masked[start:end] = " " * (end - start)
    negated = list(_negated_spans(line))
    tokens = [Token(number, a, b, line[a:b], CONTROL) for a, b in control]
    for a, b in lexicon.spans("".join(masked)):
        role = NEGATED if any(x <= a < y for x, y in negated) else WANTED
        tokens.append(Token(number, a, b, line[a:b], role))
    return Prompt(number, line, tuple(sorted(tokens, key=lambda t: (t.start, t.end))))


def _is_comment(line: str) -> bool:
    bare = line.strip()
    return not bare or bare == "#" or (bare[0] == "#" and bare[1].isspace())


def _control_spans(line: str) -> Iterator[tuple[int, int]]:
    """Control tokens, none within another."""
    found = [m.span() for m in _NEGATIVE.finditer(line)]
    found += [m.span() for m in _NO.finditer(line)]
    found += [m.span() for m in _CONTROL.finditer(line)]
    if line != line.upper():
        found += [m.span() for m in _CAPITALS.finditer(line)]
    reached = 0
    for start, end in sorted(found, key=lambda span: (span[0], -span[1])):
        if start >= reached:
            yield start, end
            reached = end


def _negated_spans(line: str) -> Iterator[tuple[int, int]]:
    """Stretches whose words are to stay out of the picture."""
    for match in _NEGATIVE.finditer(line):
        yield match.end(), len(line)
    for match in _NO.finditer(line):
        following = re.compile(r"\s--[a-z]").search(line, match.end())
        yield match.end(), following.start() if following else len(line)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        problem = "no such file" if not path.exists() else f"cannot be read ({error.strerror})"
        fix = "name a text file with one prompt a line"
        raise InputError(path, problem, fix=fix) from None


def _decode(path: Path, data: bytes) -> str:
    """UTF-8, with or without a byte order mark."""
    fix = "save it as UTF-8 text, one prompt a line"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path} line 1 byte 1", "UTF-16 text, not UTF-8", fix=fix)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # decoding with a mark removed counts from behind it
        mark = 3 if data.startswith(b"\xef\xbb\xbf") else 0
        raise _not_text(path, data, error.start + mark) from None
    if "\0" in text:
        raise _not_text(path, data, data.index(b"\0"))
    return text


def _not_text(path: Path, data: bytes, at: int) -> InputError:
    line, column = data.count(b"\n", 0, at) + 1, at - data.rfind(b"\n", 0, at)
    return InputError(
        f"{path} line {line} byte {column}",
        f"0x{data[at]:02x} is not UTF-8 text",
        fix="save it as UTF-8 text, one prompt a line",
    )
