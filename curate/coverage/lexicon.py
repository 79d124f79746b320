"""Words of a text, and every lemma a word form can have."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from curate.coverage import characters
from curate.coverage.characters import EAST_ASIAN, EMOJI

if TYPE_CHECKING:
    from simplemma.strategies import DictionaryLookupStrategy

# Plurals that no rule below reaches, and plurals with a second reading beside the dictionary's.
IRREGULAR_PLURALS = {
    "antennae": "antenna",
    "axes": "axis",
    "bases": "basis",
    "cacti": "cactus",
    "calves": "calf",
    "children": "child",
    "crises": "crisis",
    "criteria": "criterion",
    "dice": "die",
    "elves": "elf",
    "feet": "foot",
    "fungi": "fungus",
    "geese": "goose",
    "halves": "half",
    "hooves": "hoof",
    "knives": "knife",
    "larvae": "larva",
    "leaves": "leaf",
    "lice": "louse",
    "lives": "life",
    "loaves": "loaf",
    "men": "man",
    "mice": "mouse",
    "nuclei": "nucleus",
    "octopi": "octopus",
    "oxen": "ox",
    "people": "person",
    "phenomena": "phenomenon",
    "scarves": "scarf",
    "selves": "self",
    "shelves": "shelf",
    "staves": "staff",
    "teeth": "tooth",
    "thieves": "thief",
    "vertices": "vertex",
    "wives": "wife",
    "wolves": "wolf",
    "women": "woman",
}
# Adjectives that look like participles of another word; the dictionary takes some for these.
NOT_PARTICIPLES = frozenset(
    "beloved crooked dogged jagged naked ragged rugged sacred wicked winged wretched".split()
)
_PLAIN = str.maketrans(
    {"\u2010": "-", "\u2011": "-", "\u2019": "'", "\u00ad": None, "\ufe0f": None}
)
_CLITICS = ("'s", "'ve", "'re", "'ll", "'d", "'m")
_SIBILANTS = ("ches", "shes", "xes", "sses", "zzes")


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield [start, end) of each word: letters and digits, joined by `'`, `-` or a decimal point.

    An underscore ends a word, as in file names. An emoji is a word, and so is each run of Chinese,
    Japanese or Korean script.
    """
    for match in _pattern(text.isascii()).finditer(text):
        yield match.span()


def surfaces(text: str) -> list[str]:
    """The words of `text` as they are written."""
    found: list[str] = _pattern(text.isascii()).findall(text)
    return found


def normal(surface: str) -> str:
    """The form under which a word is counted: compatibility forms and case folded.

    Source: Unicode, default caseless matching after NFKC (The Unicode Standard, 3.13, D147).
    """
    if surface.isascii():
        return surface.lower()
    folded = unicodedata.normalize("NFKC", surface).casefold()
    return unicodedata.normalize("NFKC", folded).translate(_PLAIN)


def forms(surface: str) -> tuple[str, ...]:
    """What a caption's word counts as: itself and, if hyphenated, each of its parts."""
    form = normal(surface)
    return (form, *dict.fromkeys(parts(form))) if "-" in form else (form,)


def parts(form: str) -> list[str]:
    """The words that hyphens join: `["dark", "skinned"]`; the form itself without one."""
    return [part.rstrip("'") for part in form.split("-") if part]


def is_function_word(form: str) -> bool:
    """Whether the form belongs to a closed class: an article, a preposition, a pronoun, …"""
    if form in _function_words():
        return True
    head = next((form.removesuffix(c) for c in _CLITICS if form.endswith(c)), form)
    return head in _function_words()


def unit(form: str) -> str:
    """The name of the item a prompt's word belongs to.

    Its lemma, when every lemma of the form is one of that lemma too (*dogs*: dog). A form with
    several readings keeps its own name (*leaves*: leaf or leave), so that what is counted for
    a unit depends on the unit alone.
    """
    if "-" in form:
        *heads, tail = form.split("-")
        return "-".join([*heads, unit(tail)])
    found = lemmas(form)
    return min((one for one in found if lemmas(one) == found), default=form)


@cache
def lemmas(form: str) -> frozenset[str]:
    """Every lemma that the form can have; never empty.

    Readings come from simplemma's English dictionary, from a list of irregular plurals and
    from the rules for plurals, for the endings -ed and -ing, and for comparatives. A rule is
    believed when it leads to a known word, and plurals of unknown words are cut too, since
    names have plurals. A form that may be a word of its own (*painting*) stays among its lemmas.
    """
    if form.endswith("'s"):
        return lemmas(form[:-2])
    if form in NOT_PARTICIPLES:
        return frozenset([form])
    if not form.isascii():
        form = characters.without_tone(form)
    found = set(_plural_lemmas(form))
    known = _lookup(form)
    plural = bool(found) or (known not in (None, form) and form.endswith("s"))
    if known and known != form and not (found and form.endswith("ies") and known.endswith("i")):
        found.add(known)  # the dictionary takes skies for a form of ski
    if not plural:
        found |= {form, *_comparative_lemmas(form)}
        if known is None:
            found |= set(_verb_lemmas(form))
    return frozenset(found).union(*(lemmas(one) for one in found if len(one) < len(form)))


def _plural_lemmas(form: str) -> list[str]:
    """Singulars of which the form may be the plural."""
    if form in IRREGULAR_PLURALS:
        return [IRREGULAR_PLURALS[form]]
    known = _lookup(form)
    for plural, singular in IRREGULAR_PLURALS.items() if known not in (None, form) else ():
        if form.endswith(plural) and known == form.removesuffix(plural) + singular:
            return [known]  # snowmen
    regular = form.endswith("s") and not form.endswith(("ss", "us", "is"))
    if not regular or len(form) < 4 or known == form:
        return []
    if form.endswith("ies") and len(form) > 4:
        choices = [form[:-3] + "y", form[:-1]]
    elif form.endswith(_SIBILANTS):
        choices = [form[:-2], form[:-1]]
    else:
        choices = [form[:-1], form[:-2]] if form.endswith("es") else [form[:-1]]
    believed = [one for one in choices if _lookup(one) == one]
    return believed[:1] if believed or known else choices[:1]


def _verb_lemmas(form: str) -> list[str]:
    """Known verbs of which an unknown form may be the past or the participle."""
    for ending in ("ing", "ed"):
        if form.endswith(ending) and len(form) - len(ending) >= 3:
            return _known_stems(form[: -len(ending)])
    return []


def _comparative_lemmas(form: str) -> list[str]:
    """Known adjectives of which the form may be the comparative or the superlative.

    Believed only where the other degree leads to the same word: *bigger* with *biggest*, but
    not *flower* as the comparative of *flow*.
    """
    for ending, other in (("er", "est"), ("est", "er")):
        if form.endswith(ending) and len(form) - len(ending) >= 3:
            stem = form[: -len(ending)]
            return [one for one in _known_stems(stem) if _lookup(stem + other) == one]
    return []


def _known_stems(stem: str) -> list[str]:
    """Known words that a stem may come from: `hop(p)`, `hop(e)`, `tid(y)`."""
    doubled = len(stem) > 3 and stem[-1] == stem[-2]
    choices = [stem, stem + "e"] + ([stem[:-1]] if doubled else [])
    if stem.endswith("i"):
        choices.append(stem[:-1] + "y")
    return [one for one in choices if _lookup(one) == one]


def _lookup(form: str) -> str | None:
    """The dictionary's lemma, case folded; None for a form it does not hold."""
    found = _dictionary().get_lemma(form, "en") if form else None
    return found.casefold() if found else None


@cache
def _dictionary() -> "DictionaryLookupStrategy":
    from simplemma.strategies import DictionaryLookupStrategy

    return DictionaryLookupStrategy()


@cache
def _function_words() -> frozenset[str]:
    text = resources.files("curate.coverage").joinpath("function_words.txt").read_text("utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(word for line in lines for word in line.split())


@cache
def _pattern(ascii_only: bool) -> re.Pattern[str]:
    """Words as a regular expression; both forms agree on ASCII text."""
    letter = "[0-9A-Za-z]" if ascii_only else f"[^\\W_{EAST_ASIAN}][{_marks()}]*"
    apostrophe, hyphen = ("'", "-") if ascii_only else ("['\u2019]", "[-\u2010\u2011]")
    joint = f"{apostrophe}?{hyphen}|{apostrophe}|(?<=[0-9])\\.(?=[0-9])"
    word = f"(?:{letter})+(?:(?:{joint})(?:{letter})+)*"
    if ascii_only:
        return re.compile(word)
    return re.compile(f"{EMOJI}|(?:[{EAST_ASIAN}][{_marks()}]*)+|{word}")


def _marks() -> str:
    """Characters that belong to the letter before them: accents, vowel signs, joiners."""
    marks = (chr(n) for n in range(0x300, 0x20000) if unicodedata.category(chr(n))[0] == "M")
    return "\u00ad\u200c\u200d" + "".join(map(re.escape, marks))
