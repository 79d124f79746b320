"""What strangers wrote, made fit to be shown: it is seen as it is and does nothing.

Titles, names, tags, headers, file names and error pages come from anybody. Shown raw they could
forge lines and cells, reorder what stands beside them, hide, or command a terminal (ANSI, OSC 8
links, OSC 52 clipboard). Whoever shows such text, anywhere, sends it through a function of this
module. JSON needs none: it has escapes of its own.

An escape is written as Python writes it (`\\n`, `\\x1b`, `\\u202e`). A backslash that was written
is shown as it stands, so this is for people to read, not to be read back.
"""

import html as html_module
import re
import unicodedata
from typing import TypeGuard
from urllib.parse import quote

MOST_MARKS = 8  # on one letter; Tibetan stacks have as many, what covers other lines has more
INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # though not by category
_JOINERS = (_ZWSP, _ZWNJ, _ZWJ) = "\u200b", "\u200c", "\u200d"
_UNSPACED = ("KHMER", "LAO", "MYANMAR", "THAI", "TAI")  # scripts that part words by ZWSP
_FORMAT_BUT_SEEN = re.compile(r"[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")
_LATER_LETTERS = re.compile(r"[\U0001f000-\U0001faff\U00020000-\U0003fffd]")  # emoji, ideographs
_SELECTORS = re.compile(r"[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|&~$!:@{}^=]|^[-+](?=\s|$|-)|(?<=www)\.)")
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def visible(text: str) -> str:
    """One line in which all is seen, and which acts on nothing around it.

    Escaped are control characters (C0, DEL, C1), line and paragraph separators, marks and isolates
    that set the direction of writing, half characters, private and never assigned ones, and all
    that shows nothing. Joiners stay where letters or emoji need them, and so do tags in flags. Of
    the marks on one letter `MOST_MARKS` stay, the others are counted; a mark without a letter is
    escaped. Letters of right-to-left scripts stay: they order themselves.

    Sources: Unicode 14, chapter 23; UAX #9, section 2; UTS #51, ED-14a (flags) and ED-16 (joined
    emoji); RFC 5892, appendix A (joiners); UAX #15, section 13 (runs of marks).
    """
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    at = marks = 0
    while at < len(text):
        if flag := _FLAG.match(text, at):
            shown.append(flag[0])
            at, marks = flag.end(), 0
            continue
        if text[at] not in _JOINERS:  # marks on both sides of one are on the same letter
            marks = marks + 1 if _is_mark(text[at]) else 0
        if marks > MOST_MARKS:
            first = at
            while shown[-1] in _JOINERS:
                first -= len(shown.pop())
            while at < len(text) and (_is_mark(text[at]) or text[at] in _JOINERS):
                at += 1
            shown.append(f"\\{{{at - first} marks}}")
            continue
        shown.append(text[at] if _is_shown(text, at) else _escape(text[at]))
        at += 1
    return "".join(shown)


def html(text: str) -> str:
    """`visible` text for HTML, between tags or in a quoted attribute."""
    return html_module.escape(visible(text), quote=True)


def markdown(text: str) -> str:
    """`visible` text within or at the start of a line of Markdown, where it is no mark-up.

    Source: CommonMark 0.31, section 2.4; GitHub Flavored Markdown 0.29, section 6.9 (autolinks).
    """
    return _NUMBERED.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\1", visible(text).strip()))


def markdown_link(text: str, url: str | None) -> str:
    """A link in Markdown; the text alone where the address is none of the web."""
    return f"[{markdown(text)}](<{_web_address(url)}>)" if _is_web(url) else markdown(text)


def html_link(text: str, url: str | None) -> str:
    """A link in HTML; the text alone where the address is none of the web."""
    return f'<a href="{html(_web_address(url))}">{html(text)}</a>' if _is_web(url) else html(text)


def csv_cell(text: str) -> str:
    """`visible` text for a cell of CSV (which the writer quotes) that no spreadsheet computes.

    Source: OWASP ASVS 5.0, 1.2.10: a leading sign of a formula gets a single quote before it.
    """
    shown = visible(text)
    return f"'{shown}" if _FORMULA.match(shown) else shown


def _is_web(url: str | None) -> TypeGuard[str]:
    return bool(url) and str(url).startswith(("https://", "http://"))


def _web_address(url: str) -> str:
    """The address with all that could end it, or is not seen, in percent-encoding."""
    plain = (c.isprintable() and c not in ' <>"\\|`' for c in url)
    return "".join(
        c if ok else quote(c, "", errors="replace") for c, ok in zip(url, plain, strict=True)
    )


def _is_shown(text: str, at: int) -> bool:
    """Whether the character there is seen as it stands, and does no more than that."""
    char, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    category = unicodedata.category(char)
    if char in INVISIBLE or category in ("Cc", "Co", "Cs", "Zl", "Zp"):
        return False
    if category == "Cf":
        joins = char in _JOINERS and before and after
        return bool(_FORMAT_BUT_SEEN.match(char) or (joins and _joins(text, at)))
    if category == "Cn":
        return bool(_LATER_LETTERS.match(char)) and ord(char) & 0xFFFE != 0xFFFE
    if category[0] == "M":
        return bool(before) and not (_SELECTORS.match(char) and _SELECTORS.match(before))
    return True


def _joins(text: str, at: int) -> bool:
    """Whether a joiner, or a space without width, stands where letters or emoji need it."""
    for near in (at - 1, at + 1):
        if unicodedata.category(text[near]) == "Cf" or not _is_shown(text, near):
            return False
    unmarked = (c for c in reversed(text[max(0, at - MOST_MARKS - 1) : at]) if not _is_mark(c))
    letter, before, after = next(unmarked, ""), text[at - 1], text[at + 1]
    if text[at] == _ZWSP:
        names = (unicodedata.name(c, "") for c in (letter or " ", after))
        return all(name.startswith(_UNSPACED) for name in names)
    if 9 in (unicodedata.combining(before), unicodedata.combining(after)):  # a virama
        return unicodedata.category(after)[0] == "L" or unicodedata.combining(after) == 9
    if unicodedata.bidirectional(letter or " ") == "AL":
        return unicodedata.bidirectional(after) == "AL"
    return text[at] == _ZWJ and _is_picture(letter) and _is_picture(after)


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


def _is_picture(char: str) -> bool:
    """Whether a character can be part of a joined emoji: a symbol, or a tone of skin."""
    return bool(char) and (
        unicodedata.category(char) in ("So", "Sm", "Sk") or bool(_LATER_LETTERS.match(char))
    )


def _escape(char: str) -> str:
    code = ord(char)
    names = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    wide = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return names.get(char) or (wide if code < 0x10000 else f"\\U{code:08x}")
