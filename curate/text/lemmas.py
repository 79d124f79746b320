"""Every lemma a word form can have, and the name under which it is counted."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from curate.text import tokens, wordnet
from curate.text.word_lists import read_sections

FUNCTION_WORDS = read_sections("text/function_words.txt")[""]
_LISTS = read_sections("text/lemmas.txt")
IRREGULAR_PLURALS = dict(line.split() for line in _LISTS["irregular plurals"])
# The last part of a compound -> what a caption may say in its place: red hair, of red-haired.
BODY_PARTS = {"haired": "hair", "eyed": "eyes", "legged": "legs"}
LEMMA_CORRECTIONS = dict(line.split() for line in _LISTS["lemma corrections"])
_CLITICS = ("'s", "'ve", "'re", "'ll", "'d", "'m")
_SIBILANTS = ("ches", "shes", "xes", "sses", "zzes")


def in_dictionary(form: str) -> bool:
    """Whether simplemma's English dictionary holds the form."""
    return _dictionary_lemma(form) is not None


def is_function_word(form: str) -> bool:
    """Whether the form belongs to a closed class: an article, a preposition, a pronoun, …"""
    if form in FUNCTION_WORDS:
        return True
    return "'" in form and any(form.removesuffix(c) in FUNCTION_WORDS for c in _CLITICS)


@cache
def unit_of(form: str) -> str:
    """The name of the item a prompt's word belongs to.

    Its lemma, when every lemma of the form is one of that lemma too (*dogs*: dog, *wore*: wear).
    A form with several readings keeps its own name (*leaves*: leaf or leave; *riding*, which is
    also a noun), so that what is counted for a unit depends on the unit alone. Of several words,
    joined by blanks or hyphens, the last one's.
    """
    for joint in (" ", "-"):
        if joint in form:
            head, _, tail = form.rpartition(joint)
            return f"{head}{joint}{unit_of(tail)}"
    found = lemmas_of(form)
    return min((one for one in found if lemmas_of(one) == found), default=form)


@cache
def lemmas_of(form: str) -> frozenset[str]:
    """Every lemma that the form can have; never empty.

    Readings come from simplemma's English dictionary, from WordNet's irregular forms, from a list
    of irregular plurals and from the rules for plurals, for the endings -ed and -ing, and for
    comparatives. A rule is believed when it leads to a known word, and plurals of unknown words
    are cut too, since names have plurals. A form that may be a word of its own (*painting*)
    stays among its lemmas.
    """
    if form.endswith("'s"):
        return lemmas_of(form[:-2])
    if any(form in _LISTS[name] for name in ("not participles", "uninflected", "no plurals")):
        return frozenset([form])
    if not form.isascii():
        form = tokens.without_skin_tone(form)
    if form in LEMMA_CORRECTIONS:
        return frozenset([form, LEMMA_CORRECTIONS[form]])
    found = set(_plural_lemmas(form))
    known = _dictionary_lemma(form)
    plural = bool(found) or (known not in (None, form) and form.endswith("s"))
    if known and known != form and not (found and _is_mistaken_lemma(form, known)):
        found.add(known)
    if not plural:
        found |= {form, *_comparative_lemmas(form), *_irregular_lemmas(form)}
        if known is None or (known == form and form.endswith("ing")):
            found |= set(_verb_lemmas(form))
        if _is_inflected(form, found - {form}):
            found.remove(form)
    return frozenset(found).union(*(lemmas_of(one) for one in found if len(one) < len(form)))


def is_shown_by(form: str, other: str) -> bool:
    """Whether captions with `other`, of which the two share a lemma, show what `form` says.

    The participle of a word that is no verb above all says what somebody does: it is shown by
    others of the kind, but not by the word: no *eye* shows *eyeing*, no *park* a *parked* car,
    no *light* a *lit* candle.
    """
    if form in _LISTS["another plural"]:
        return form == other
    has = form in _LISTS["possession adjectives"]
    if has or not _is_verb_form(form) or _is_verb_form(other):
        return True
    shared = lemmas_of(form) & lemmas_of(other)
    return form in shared or any(wordnet.parts_of_speech(one)[:1] in "v" for one in shared)


class UnitTerm(NamedTuple):
    """One of the terms that stand side by side where a unit is shown."""

    term: str
    inflects: bool  # any form of it will do
    of_body: str  # what may stand in its place: hair, for the haired of red-haired; or ""

    def is_shown_by(self, other: str) -> bool:
        """Whether a term of a caption is this one."""
        if other in (self.term, self.of_body):
            return True
        alike = self.inflects and not lemmas_of(self.term).isdisjoint(lemmas_of(other))
        return alike and is_shown_by(self.term, other)


def unit_terms(unit: str) -> list[UnitTerm]:
    """What stands side by side in captions that show a unit.

    Of a hyphenated unit each part may be inflected (*red-haired* is also shown by *red hair*), of
    words with blanks between the last one.
    """
    parts = [part for word in unit.split() for part in tokens.hyphen_parts(word)]
    found = []
    for place, part in enumerate(parts, 1):
        terms, last = tokens.terms(part), place == len(parts)
        inflects = len(terms) == 1 and (last or " " not in unit)
        of_body = BODY_PARTS.get(part, "") if last and place > 1 and " " not in unit else ""
        found += [UnitTerm(term, inflects, of_body) for term in terms]
    return found


def shows(text: str, unit: str) -> bool:
    """Whether a text shows a unit as written or inflected: what an index of captions counts."""
    wanted = unit_terms(unit)
    return bool(wanted) and any(
        all(one.is_shown_by(term) for one, term in zip(wanted, clause[n:], strict=False))
        for clause in tokens.terms_by_clause(text)
        for n in range(len(clause) - len(wanted) + 1)
    )


def _is_verb_form(form: str) -> bool:
    """Whether it is the form of a verb in -ing or -ed, or irregular."""
    if form.endswith(("ing", "ed")):
        return True
    if form in IRREGULAR_PLURALS or form.endswith("s"):
        return False
    return any("v" in wordnet.parts_of_speech(one) for one in _irregular_lemmas(form))


def _is_inflected(form: str, lemmas: set[str]) -> bool:
    """Whether a form is only that of a verb or an adjective: *wore*, but not *parked*, since a
    park is rather a garden, nor *painted*, an adjective.
    """
    first = {wordnet.parts_of_speech(one)[:1] for one in lemmas}
    return bool(first) and first <= {"v", "a"} and not wordnet.has_word(form)


def _is_mistaken_lemma(form: str, known: str) -> bool:
    """Whether the dictionary takes the plural of one noun for another word's form."""
    skies_of_ski = form.endswith("ies") and known.endswith("i")
    return skies_of_ski or (form in IRREGULAR_PLURALS and form not in _LISTS["also regular"])


def _irregular_lemmas(form: str) -> list[str]:
    """Verbs and adjectives of which the form is irregular.

    Nouns that happen to be one too (*rose*, *shot*, *felt*) are left alone: a prompt means the
    noun, and must not be covered by captions with the verb.
    """
    noun = wordnet.parts_of_speech(form).startswith("n")
    mistaken = form in _LISTS["not verbs"] or form in _LISTS["not irregular"]
    if mistaken or (noun and not form.endswith("ing")):
        return []
    return [one for one in wordnet.irregular_lemmas(form) if one.isalpha()]


def _plural_lemmas(form: str) -> list[str]:
    if form in IRREGULAR_PLURALS:
        return [IRREGULAR_PLURALS[form]]
    known = _dictionary_lemma(form)
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
    believed = [one for one in choices if _dictionary_lemma(one) == one]
    believed += [one for one in choices if wordnet.has_word(one)]
    return believed[:1] if believed or known else choices[:1]


def _verb_lemmas(form: str) -> list[str]:
    """Known verbs of which the form may be the past or the participle.

    Of a form in -ing that is a word itself, those that are verbs above all: *sitting*, of sit.
    """
    cut = re.fullmatch(r"(.{3,})(?:ing|ed)", form)
    if form in _LISTS["not verbs"] or not cut:
        return []
    stems, known = _known_stems(cut[1]), _dictionary_lemma(form) is not None
    return [one for one in stems if not known or wordnet.parts_of_speech(one).startswith("v")]


def _comparative_lemmas(form: str) -> list[str]:
    """Known adjectives of which the form may be the comparative or the superlative.

    Believed only where the other degree leads to the same word: *bigger* with *biggest*, but
    not *flower* as the comparative of *flow*.
    """
    cut = re.fullmatch(r"(.{3,})(er|est)", form)
    if form in _LISTS["not comparatives"] or not cut:
        return []
    other = cut[1] + ("est" if cut[2] == "er" else "er")
    return [one for one in _known_stems(cut[1]) if _dictionary_lemma(other) == one]


def _known_stems(stem: str) -> list[str]:
    """Known words that a stem may come from: `hop(p)`, `hop(e)`, `tid(y)`."""
    doubled = len(stem) > 3 and stem[-1] == stem[-2]
    choices = [stem, stem + "e", *([stem[:-1]] if doubled else [])]
    choices += [stem[:-1] + "y"] if stem.endswith("i") else []
    return [one for one in choices if _dictionary_lemma(one) == one]


def _dictionary_lemma(form: str) -> str | None:
    """The dictionary's lemma, case folded; None for a form it does not hold."""
    found = _load_dictionary()(form, "en") if form else None
    return found.casefold() if found else None


def dictionary_forms() -> Iterator[str]:
    """Every English form in the dictionary of lemmas that is one word of plain small letters."""
    from simplemma.strategies.dictionaries.dictionary_factory import DEFAULT_DICTIONARY_FACTORY

    forms = DEFAULT_DICTIONARY_FACTORY.get_dictionary("en")
    return (form for form in forms if form.isascii() and form.isalpha() and form.islower())


@cache
def _load_dictionary() -> Callable[[str, str], str | None]:
    from simplemma.strategies import DictionaryLookupStrategy

    return DictionaryLookupStrategy().get_lemma
