"""Words that a prompt denies in plain English: "without a hat", "no people", "cloud-free".

Conservative: only the noun phrase right behind the denying word is meant, up to the next
preposition, conjunction (other than *or* and *nor*), verb or punctuation. What stands in quotation
marks or behind *says* is text to be drawn, and `no parking sign` is a sign.
"""

import re
from collections.abc import Sequence
from functools import cached_property

from curate.text import stopwords, tokens
from curate.text.lemmas import lemmas_of, unit_of
from curate.text.word_lists import read_sections

WordSpan = tuple[int, int]

_STOP = re.compile(r"[.,;:!?|/—–]")
_QUOTE = re.compile(r'["“”]')
_MAX_PHRASE_WORDS = 4  # words of one noun phrase

_NEGATION_LISTS = read_sections("text/negation.txt")
_DETERMINERS = _NEGATION_LISTS["determiners"]
_MEASURES = _NEGATION_LISTS["measures"]
_WEARING = _NEGATION_LISTS["wearing"]
_AUXILIARIES = _NEGATION_LISTS["auxiliaries"]
_DENYING_WORDS = _NEGATION_LISTS["denying words"]
_IDIOMS = _NEGATION_LISTS["idioms"]
_SIGN_NOUNS = _NEGATION_LISTS["sign nouns"]
_SAYING = _NEGATION_LISTS["saying"]
_NOT_FREE = _NEGATION_LISTS["not free"]
_PHRASE_ENDINGS = _NEGATION_LISTS["phrase endings"]
_ING_NOUNS = _NEGATION_LISTS["ing nouns"]
_DENIAL = re.compile(rf"\b(?:{'|'.join(_DENYING_WORDS)})\b|n['’]t\b", re.IGNORECASE)


def find_negated(
    text: str, words: Sequence[WordSpan], control: Sequence[WordSpan] = ()
) -> list[int]:
    """Positions of the denied words, ascending.

    Args:
        text: a prompt with blanks in place of control tokens and weights.
        words: [start, end) of each of its words.
        control: [start, end) of what was taken out and ends a phrase.
    """
    if not _DENIAL.search(text):
        return []
    return sorted(set(_NegationFinder(text, words, control).find()))


class _NegationFinder:
    def __init__(self, text: str, words: Sequence[WordSpan], control: Sequence[WordSpan]) -> None:
        self.text = text
        self.words = words
        self.forms = [tokens.normalize(text[a:b]) for a, b in words]
        self.ends = frozenset(start for start, _ in control)
        self.quotes = [match.start() for match in _QUOTE.finditer(text)]

    @cached_property
    def function_words(self) -> frozenset[int]:
        return stopwords.function_words(self.forms)

    def find(self) -> list[int]:
        found: list[int] = []
        quote = 0
        for place, form in enumerate(self.forms):
            denies = form in _DENYING_WORDS or form in _AUXILIARIES
            if not denies and not form.endswith("-free"):
                continue
            while quote < len(self.quotes) and self.quotes[quote] < self.words[place][0]:
                quote += 1
            if quote % 2 and quote < len(self.quotes):
                continue  # within quotation marks
            if form.endswith("-free") and form[:-5] not in _NOT_FREE:
                found.append(place)
            joined = self.text.startswith("-", max(0, self.words[place][0] - 1))  # an option: --no
            begin = None if joined else self._begin(place, form)
            if begin is not None:
                found += self._phrase(place, begin)
        return found

    def _begin(self, place: int, form: str) -> int | None:
        """Where the noun phrase begins that a word denies."""
        after = self._form(place + 1)
        if form in ("without", "sans", "lacking", "neither", "nor"):
            return place + 2 if after in _WEARING else place + 1
        if form == "no":
            before = self._form(place - 1) if place else ""
            idiom = after in _IDIOMS or after[:1].isdigit()
            return None if idiom or before in _SAYING else place + 1
        if form == "not":
            if after in _WEARING:
                return place + 2
            return place + 1 if after in ("a", "an", "any") else None
        if form in _AUXILIARIES:
            return place + 2 if after in _WEARING else None
        if form in ("devoid", "free"):
            ending = after == "of" or (after == "from" and form == "free")
            return place + 2 if ending else None
        return None

    def _phrase(self, denial: int, begin: int) -> list[int]:
        found: list[int] = []
        single = False  # behind "a": a word in -s is a verb
        length = 0
        if begin >= len(self.forms) or self._apart(denial, begin):
            return []
        for place in range(begin, min(len(self.forms), begin + 3 * _MAX_PHRASE_WORDS)):
            form = self.forms[place]
            if form in _PHRASE_ENDINGS or (place > begin and self._ends(place)):
                break
            if form in _DETERMINERS:
                single = form in ("a", "an")
                if length:
                    break
            elif form in ("or", "nor") and length:
                length = 0
            elif form == "of" and found and self.forms[found[-1]] in _MEASURES:
                continue
            elif length < _MAX_PHRASE_WORDS and self._names(place, single, first=not length):
                found.append(place)
                length += 1
            else:
                break
        sign = bool(found) and self.forms[denial] == "no" and self.forms[found[-1]] in _SIGN_NOUNS
        return [] if sign else found

    def _form(self, place: int) -> str:
        return self.forms[place] if place < len(self.forms) else ""

    def _apart(self, denial: int, begin: int) -> bool:
        """Whether punctuation stands between the denying word and its noun phrase."""
        return any(self._ends(place) for place in range(denial + 1, begin + 1))

    def _ends(self, place: int) -> bool:
        """Whether a phrase ends in front of a word."""
        start, end = self.words[place - 1][1], self.words[place][0]
        if _STOP.search(self.text, start, end):
            return True
        return bool(self.ends) and any(at in self.ends for at in range(start, end))

    def _names(self, place: int, single: bool, *, first: bool) -> bool:
        """Whether a word belongs to the noun phrase; the first may look like a verb."""
        if place in self.function_words:
            return False
        return first or not self._verb(place, single)

    def _verb(self, place: int, single: bool) -> bool:
        """Whether a word inside a noun phrase looks like the verb that ends it."""
        form = self.forms[place]
        after = self._form(place + 1)
        if form.endswith("ing") and form not in _ING_NOUNS:
            return len(lemmas_of(form)) > 1
        if form.endswith("ed"):
            ends = not after or place + 1 in self.function_words
            return ends and len(lemmas_of(form)) > 1
        return single and form.endswith("s") and not form.endswith("ss") and unit_of(form) != form
