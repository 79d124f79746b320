"""What a word is: one definition for captions, prompts, packed shards, models and verification.

Only the standard library is used here, so that both halves read it at no cost.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

from curate.text.scripts import EAST_ASIAN, EMOJI

_PUNCTUATION_FOLDING = str.maketrans(
    {"\u2010": "-", "\u2011": "-", "\u2019": "'", "\u00ad": None, "\ufe0f": None}
)
_EAST_ASIAN = re.compile(f"([{EAST_ASIAN}])")
# What holds words apart: no dot of an abbreviation (St. Bernard), no comma of a number (1,000).
CLAUSE_END = re.compile(r"[;!?|()\[\]\n]|[,:](?![0-9])|(?<!\b[A-Z][a-z])(?<!Mrs)\.(?=\s)")


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield [start, end) of each word: letters and digits, joined by `'`, `-` or a decimal point.

    An underscore ends a word, as in file names. An emoji is a word, and so is each run of Chinese,
    Japanese or Korean script.
    """
    for match in _word_pattern(text.isascii()).finditer(text):
        yield match.span()


def surfaces(text: str) -> list[str]:
    """The words of `text` as they are written."""
    found: list[str] = _word_pattern(text.isascii()).findall(text)
    return found


def words(text: str) -> list[str]:
    """The words of `text` in their order, in normal form."""
    return [normalize(surface) for surface in surfaces(text)]


def normalize(surface: str) -> str:
    """The form under which a word is counted: compatibility forms and case folded.

    Source: Unicode, default caseless matching after NFKC (The Unicode Standard, 3.13, D147).
    """
    if surface.isascii():
        return surface.lower()
    folded = unicodedata.normalize("NFKC", surface).casefold()
    return unicodedata.normalize("NFKC", folded).translate(_PUNCTUATION_FOLDING)


def forms(surface: str) -> tuple[str, ...]:
    """What a caption's word counts as: itself and, if hyphenated, each of its parts."""
    form = normalize(surface)
    return (form, *dict.fromkeys(hyphen_parts(form))) if "-" in form else (form,)


def terms(form: str) -> list[str]:
    """What a normal form is looked for by: `["ice", "dragon"]`, `["吹", "雪"]`."""
    if form.isascii():
        return hyphen_parts(form) if "-" in form else [form]
    return [term for part in hyphen_parts(form) for term in _EAST_ASIAN.sub(r" \1 ", part).split()]


def clauses(text: str) -> list[str]:
    """The stretches of a text within which words may belong together."""
    return [clause for clause in CLAUSE_END.split(text) if clause.strip()]


def terms_by_clause(text: str) -> list[list[str]]:
    """What each clause of a text is found by, in its order."""
    return [[term for word in words(clause) for term in terms(word)] for clause in clauses(text)]


def hyphen_parts(form: str) -> list[str]:
    """The words that hyphens join: `["dark", "skinned"]`; the form itself without one."""
    return [part.rstrip("'") for part in form.split("-") if part]


def numbered_parts(forms: Sequence[str]) -> list[tuple[str, int]]:
    """The words that hyphens join in each form, with the position of the form."""
    return [(part, n) for n, form in enumerate(forms) for part in hyphen_parts(form)]


@cache
def _word_pattern(ascii_only: bool) -> re.Pattern[str]:
    """Words as a regular expression; both forms agree on ASCII text."""
    letter = "[0-9A-Za-z]" if ascii_only else f"[^\\W_{EAST_ASIAN}][{_combining_marks()}]*"
    apostrophe, hyphen = ("'", "-") if ascii_only else ("['\u2019]", "[-\u2010\u2011]")
    joint = f"{apostrophe}?{hyphen}|{apostrophe}|(?<=[0-9])\\.(?=[0-9])"
    word = f"(?:{letter})+(?:(?:{joint})(?:{letter})+)*"
    if ascii_only:
        return re.compile(word)
    return re.compile(f"{EMOJI}|(?:[{EAST_ASIAN}][{_combining_marks()}]*)+|{word}")


def _combining_marks() -> str:
    """Characters that belong to the letter before them: accents, vowel signs, joiners."""
    marks = (chr(n) for n in range(0x300, 0x20000) if unicodedata.category(chr(n))[0] == "M")
    return "\u00ad\u200c\u200d" + "".join(map(re.escape, marks))
