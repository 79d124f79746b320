"""Words that a prompt denies in plain English: "without a hat", "no people", "cloud-free".

Conservative: only the noun phrase right behind the denying word is meant, up to the next
preposition, conjunction (other than *or* and *nor*), verb or punctuation. What stands in quotation
marks or behind *says* is text to be drawn, and `no parking sign` is a sign.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence, Set
from itertools import pairwise

from curate.text import stopwords, tokens
from curate.text.lemmas import lemmas_of, unit_of
from curate.text.word_lists import read_sections

_STOP = re.compile(r"[.,;:!?|/—–]")
_QUOTE = re.compile(r'["“”]')
_MAX_PHRASE_WORDS = 4  # words of one noun phrase

_LISTS = read_sections("text/negation.txt")
_WEARING = _LISTS["wearing"]
_AUXILIARIES = _LISTS["auxiliaries"]
_DENYING_WORDS = _LISTS["denying words"]
_DENIAL = re.compile(rf"\b(?:{'|'.join(_DENYING_WORDS)})\b|n['’]t\b", re.IGNORECASE)


def find_negated(
    text: str, words: Sequence[tuple[int, int]], control: Sequence[tuple[int, int]] = ()
) -> list[int]:
    """Positions of the denied words, ascending.

    Args:
        text: a prompt with blanks in place of control tokens and weights.
        words: [start, end) of each of its words.
        control: [start, end) of what was taken out and ends a phrase.
    """
    if not _DENIAL.search(text):
        return []
    forms = [*(tokens.normalize(text[a:b]) for a, b in words), ""]  # "" is behind the last
    ends = {start for start, _ in control}
    stops = {  # words in front of which a phrase ends
        n
        for n, ((_, start), (end, _)) in enumerate(pairwise(words), 1)
        if _STOP.search(text, start, end) or not ends.isdisjoint(range(start, end))
    }
    closed = stopwords.function_words(forms[:-1])
    quotes = [match.start() for match in _QUOTE.finditer(text)]
    found: set[int] = set()
    for place, (form, (start, _)) in enumerate(zip(forms, words, strict=False)):
        compound = form.endswith("-free")
        if not compound and form not in _DENYING_WORDS and form not in _AUXILIARIES:
            continue
        quoted = bisect_left(quotes, start)
        if quoted % 2 and quoted < len(quotes):
            continue
        if compound and form[:-5] not in _LISTS["not free"]:
            found.add(place)
        joined = start > 0 and text[start - 1] == "-"  # an option: --no
        begin = None if compound or joined else _phrase_start(forms, place)
        if begin is not None and stops.isdisjoint(range(place + 1, begin + 1)):
            phrase = _noun_phrase(forms, begin, stops, closed)
            if phrase and (form != "no" or forms[phrase[-1]] not in _LISTS["sign nouns"]):
                found.update(phrase)
    return sorted(found)


def _phrase_start(forms: Sequence[str], place: int) -> int | None:
    form, after = forms[place], forms[place + 1]
    if form == "no":
        told = after in _LISTS["idioms"] or forms[place - 1] in _LISTS["saying"]
        return None if told or after[:1].isdigit() else place + 1
    if form in ("devoid", "free"):
        return place + 2 if after == "of" or (form, after) == ("free", "from") else None
    if after in _WEARING:
        return place + 2
    if form in _AUXILIARIES or (form == "not" and after not in ("a", "an", "any")):
        return None
    return place + 1


def _noun_phrase(
    forms: Sequence[str], begin: int, stops: Set[int], closed: Set[int]
) -> Sequence[int]:
    """The places of its words, those behind *or* too; before the `stops` and `closed` words."""
    found: list[int] = []
    single = False  # behind "a": a word in -s is a verb
    length = 0
    for place in range(begin, min(len(forms) - 1, begin + 3 * _MAX_PHRASE_WORDS)):
        form = forms[place]
        if form in _LISTS["phrase endings"] or (place > begin and place in stops):
            break
        if form in _LISTS["determiners"]:
            single = form in ("a", "an")
            if length:
                break
        elif form in ("or", "nor") and length:
            length = 0
        elif form == "of" and found and forms[found[-1]] in _LISTS["measures"]:
            continue
        elif (
            length == _MAX_PHRASE_WORDS
            or place in closed
            or (length and _is_verb(form, single, last=not forms[place + 1] or place + 1 in closed))
        ):
            break
        else:
            found.append(place)
            length += 1
    return found


def _is_verb(form: str, single: bool, *, last: bool) -> bool:
    """Whether a word inside a noun phrase looks like the verb that ends it."""
    if form.endswith("ing") and form not in _LISTS["ing nouns"]:
        return len(lemmas_of(form)) > 1
    if form.endswith("ed"):
        return last and len(lemmas_of(form)) > 1
    return single and form.endswith("s") and not form.endswith("ss") and unit_of(form) != form
