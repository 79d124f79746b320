"""What a word is: one definition for captions, prompts, packed shards, models and verification.

Only the standard library is used here, so that both halves read it at no cost.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

# Characters that are words without blanks around them: emoji, and East Asian script. Source:
# Unicode 17, emoji-data.txt (characters that are signs of a text more often than pictures, such as
# arrows and check marks, are left out) and the blocks of its East Asian scripts.
_EMOJI_CHARACTERS = (
    "\u231a\u231b\u2328\u23e9-\u23f3\u23f8-\u23fa\u2600-\u2604\u260e\u2614\u2615\u2618\u261d"
    "\u2620\u2622\u2623\u2626\u262a\u262e\u262f\u2638-\u263a\u2640\u2642\u2648-\u2653\u265f\u2660"
    "\u2663\u2665\u2666\u2668\u267b\u267e\u267f\u2692-\u2697\u2699\u269b\u269c\u26a0\u26a1\u26a7"
    "\u26aa\u26ab\u26b0\u26b1\u26bd\u26be\u26c4\u26c5\u26c8\u26ce\u26cf\u26d1\u26d3\u26d4\u26e9"
    "\u26ea\u26f0-\u26f5\u26f7-\u26fa\u26fd\u2702\u2705\u2708-\u270d\u270f\u2712\u271d\u2721\u2728"
    "\u2744\u2763\u2764\u2b1b\u2b1c\u2b50\u2b55\U0001f004\U0001f0cf\U0001f170\U0001f171\U0001f17e"
    "\U0001f17f\U0001f18e\U0001f191-\U0001f19a\U0001f201\U0001f202\U0001f21a\U0001f22f"
    "\U0001f232-\U0001f23a\U0001f250\U0001f251\U0001f300-\U0001f5ff\U0001f600-\U0001f64f"
    "\U0001f680-\U0001f6ff\U0001f7e0-\U0001f7eb\U0001f7f0\U0001f900-\U0001f9ff\U0001fa70-\U0001faff"
)
_SKIN_TONE = "[\U0001f3fb-\U0001f3ff]"
_TAGS = "\U000e0020-\U000e007f"
_EMOJI_UNIT = f"[{_EMOJI_CHARACTERS}](?:{_SKIN_TONE}\ufe0f?|\ufe0f)?[{_TAGS}]*"
EMOJI = (  # one picture as an expression: a flag, a keycap, or characters joined by U+200D
    f"[\U0001f1e6-\U0001f1ff]{{2}}|[0-9#*]\ufe0f?\u20e3|{_EMOJI_UNIT}(?:\u200d{_EMOJI_UNIT})*"
)
EAST_ASIAN = (  # inside a character class
    "\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u3096"
    "\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb\uf900-\ufaff\uff66-\uffdc"
    "\U0001aff0-\U0001b2ff\U00020000-\U0003ffff"
)
# Characters that show nothing and change nothing that is seen: soft hyphen, direction of writing,
# joining and annotating of times past. They are as if not there; those that also show nothing but
# change what is seen (joiners, selectors of a variant, tags of a flag) stay in a text. Source:
# Unicode 17, DerivedCoreProperties.txt, Default_Ignorable_Code_Point of category Cf; UAX #29, WB4.
_IGNORED = (
    "\u00ad\u061c\u180e\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001"
)
_VARIANTS = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"  # selectors of a glyph
# what parts words though it has no width: control characters (NUL too), zero-width space, the half
# characters that UTF-16 left behind. Source: The Unicode Standard, 23.2; UAX #29, table 3
_PARTS = re.compile("[\x00-\x1f\x7f-\x9f\u200b\ud800-\udfff]")
_VIRAMA = 9  # canonical combining class of signs that take a vowel from a letter
_JOINER = re.compile("[\u200c\u200d]")
_HIDDEN = re.compile(f"[{_IGNORED}]")
_FOLDED_AWAY = re.compile(f"[{_IGNORED}{_VARIANTS}]")
_PUNCTUATION_FOLDING = str.maketrans({"\u2010": "-", "\u2011": "-", "\u2019": "'"})
_EAST_ASIAN = re.compile(f"([{EAST_ASIAN}])")
# What holds words apart: no dot of an abbreviation (St. Bernard), no comma of a number (1,000).
CLAUSE_END = re.compile(r"[;!?|()\[\]\n]|[,:](?![0-9])|(?<!\b[A-Z][a-z])(?<!Mrs)\.(?=\s)")


def written(text: str) -> str:
    """The text with what is not seen in it as a blank where it parts words, and else left out.

    Joiners (U+200C, U+200D), selectors of a variant and tags of flags stay: emoji, Persian and
    Indic words are other ones without them. The words found in it are those found in `text`.
    """
    if text.isascii() and text.isprintable():
        return text
    return _HIDDEN.sub("", _PARTS.sub(" ", text))


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield [start, end) of each word: letters and digits, joined by `'`, `-` or a decimal point.

    An underscore ends a word, as in file names. An emoji is a word, and so is each run of Chinese,
    Japanese or Korean script.
    """
    shown = written(text)
    at: Sequence[int] = range(len(text))  # where each of its characters stands in `text`
    if len(shown) < len(text):
        at = [n for n, char in enumerate(text) if not _HIDDEN.match(char)]
    for match in _word_pattern(text.isascii()).finditer(shown):
        yield at[match.start()], at[match.end() - 1] + 1


def surfaces(text: str) -> list[str]:
    """The words of `text` as they are written."""
    found: list[str] = _word_pattern(text.isascii()).findall(written(text))
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
    seen = _FOLDED_AWAY.sub("", surface)
    if _JOINER.search(seen) and not re.fullmatch(EMOJI, surface):
        seen = _JOINER.sub(lambda found: found[0] if _is_joined(seen, found.start()) else "", seen)
    folded = unicodedata.normalize("NFKC", seen).casefold()
    return unicodedata.normalize("NFKC", folded).translate(_PUNCTUATION_FOLDING)


def _is_joined(word: str, at: int) -> bool:
    """Whether the joiner there makes another word of it: at a virama, or among Arabic letters.

    Elsewhere, such as in German compounds (no ligature), it is a matter of looks. Source: RFC 5892,
    appendix A; The Unicode Standard, 12.2, for the one before a virama (Bengali).
    """
    if any(unicodedata.combining(near) == _VIRAMA for near in word[max(0, at - 1) : at + 2]):
        return True
    letters = (c for c in reversed(word[:at]) if not re.fullmatch(f"{_JOINER.pattern}|\\W", c))
    around = next(letters, ""), word[at + 1 : at + 2]
    return all(c and unicodedata.bidirectional(c) == "AL" for c in around)


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


def without_skin_tone(form: str) -> str:
    """An emoji in its neutral colour of skin; any other word as it is."""
    return (re.sub(_SKIN_TONE, "", form) if re.fullmatch(EMOJI, form) else "") or form


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
    return f"{_VARIANTS}\u200c\u200d" + "".join(map(re.escape, marks))
