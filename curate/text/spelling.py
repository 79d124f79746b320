"""Known words that look like an unknown one: a hint for the reader, never a verdict."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from curate.text import tokens
from curate.text.lemmas import dictionary_forms, is_function_word, lemmas_of

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHORTEST = 4  # letters of a word that is corrected
_LONG_WORD = 8  # letters from which on two slips are corrected
_MARGIN = 0.35  # cost by which the best correction must lead
_MIN_IMAGES = 3  # that a correction needs to be the best of several, and five times the others'


@dataclass(frozen=True, slots=True)
class NearWord:
    """A word that the captions do have."""

    unit: str
    n_images: int


class Vocabulary:
    """The word forms of all captions."""

    def __init__(self, images: Mapping[str, int]) -> None:
        """Take the images of each form."""
        self._images = {f: n for f, n in images.items() if not is_function_word(f)}
        self._sorted = sorted(self._images)
        self._letter_index = _LetterIndex(self._sorted)

    def images(self, form: str) -> int:
        """Images with exactly this form; 0 for function words."""
        return self._images.get(form, 0)

    def similar_forms(self, form: str, reach: int) -> Iterator[str]:
        """Forms with the same first letter that may be within `reach` letters of `form`."""
        return self._letter_index.similar(form, reach)

    def nearest(self, unit: str, limit: int = 3) -> list[NearWord]:
        """Forms within two letters of `unit` (one for short words), or that begin like it.

        Only forms with the same first letter are looked at: misspelt words rarely miss it.
        For a hyphenated unit: those of its parts that are known.
        """
        if "-" in unit:
            known = [part for part in tokens.hyphen_parts(unit) if part in self._images]
            return [NearWord(part, self._images[part]) for part in dict.fromkeys(known)]
        ranked: dict[str, int] = {}
        for form in self._same_beginning(unit):
            ranked[form] = 3 + abs(len(form) - len(unit))
        for form, distance in self._within_distance(unit, 1 if len(unit) <= 4 else 2):
            ranked[form] = distance
        ranked.pop(unit, None)
        best = sorted(ranked, key=lambda form: (ranked[form], -self._images[form], form))
        return [NearWord(form, self._images[form]) for form in best[:limit]]

    def _within_distance(self, unit: str, reach: int) -> Iterator[tuple[str, int]]:
        for form in self._letter_index.similar(unit, reach):
            distance = edit_distance(unit, form)
            if distance <= reach:
                yield form, distance

    def _same_beginning(self, unit: str) -> Iterator[str]:
        """Forms that share at least four first letters, and half of the longer word."""
        start = bisect_left(self._sorted, unit[:4])
        for place in range(start, len(self._sorted)):
            form = self._sorted[place]
            if len(unit) < 4 or not form.startswith(unit[:4]):
                return
            if 2 * _common_letters(unit, form) >= max(len(unit), len(form)):
                yield form


def edit_distance(a: str, b: str) -> int:
    """Letters to insert, delete or replace to turn one word into the other.

    Source: Levenshtein 1966; the row-by-row computation of Wagner and Fischer 1974.
    """
    same = _common_letters(a, b)
    a, b = a[same:], b[same:]
    same = _common_letters(a[::-1], b[::-1])
    a, b = a[: len(a) - same], b[: len(b) - same]
    above = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y)))
        above = row
    return above[-1]


def typo_cost(a: str, b: str) -> float:
    """What it costs to write `a` for `b`: 1 a letter left out or added, 0.8 two swapped or one
    doubled, 1.2 a wrong letter, 1 a wrong vowel; 0.5 more where the first letter is not kept.

    Source: the optimal string alignment of Damerau 1964; the costs are our choice.
    """
    two: list[float] = []
    above = [float(n) for n in range(len(b) + 1)]
    for i, x in enumerate(a, 1):
        row = [float(i)]
        for j, y in enumerate(b, 1):
            added = 0.8 if i > 1 and a[i - 2] == x else 1.0
            left_out = 0.8 if j > 1 and b[j - 2] == y else 1.0
            wrong = 0.0 if x == y else 1.0 if x in "aeiouy" and y in "aeiouy" else 1.2
            best = min(above[j] + added, row[j - 1] + left_out, above[j - 1] + wrong)
            if i > 1 and j > 1 and x == b[j - 2] and y == a[i - 2]:
                best = min(best, two[j - 2] + 0.8)
            row.append(best)
        two, above = above, row
    return above[-1] + (0.5 if a[0] != b[0] else 0.0)


def did_you_mean(unit: str, known: Callable[[str], bool], vocabulary: Vocabulary) -> list[NearWord]:
    """Corrections of a misspelt word, best first; [] when it is not sure to be one.

    Looked at are English words of four letters or more that no dictionary has, that are not two
    of its words joined, and that a caption has at most a tenth as often as the correction. One
    slip is corrected, in words of eight letters two. One candidate must lead: by its cost
    (`typo_cost`), or among equals by its images.

    Args:
        unit: a normal form.
        known: whether a dictionary has a lemma.
        vocabulary: of the captions.
    """
    if len(unit) < _SHORTEST or not (unit.isascii() and unit.isalpha()):
        return []
    if any(known(lemma) for lemma in lemmas_of(unit)):
        return []
    images = vocabulary.images
    costs = {form: _correction_cost(unit, form) for form in _candidates(unit, known, vocabulary)}
    most, least = _highest_cost(len(unit)), 10 * images(unit)
    likely = [form for form, cost in costs.items() if cost <= most and images(form) >= least]
    if not likely:
        return []
    limit = min(costs[form] for form in likely) + _MARGIN
    likely = [form for form in likely if costs[form] < limit]
    best = min(likely, key=lambda form: (-images(form), costs[form], form))
    others = [form for form in likely if not lemmas_of(form) & lemmas_of(best)]
    leads = images(best) >= max(_MIN_IMAGES, 5 * max(map(images, others), default=0))
    sure = leads if others or _is_compound(unit, known) else True
    return [NearWord(best, images(best))] if sure else []


def _highest_cost(letters: int) -> float:
    """The cost up to which a word of so many letters is corrected."""
    if letters >= _LONG_WORD:
        return 2.3
    return 1.2 if letters > 5 else 1.0 if letters == 5 else 0.8


def _correction_cost(unit: str, form: str) -> float:
    """Slips of the pen, or one of the ear: f for ph."""
    heard = form in (unit.replace("f", "ph"), unit.replace("ph", "f"))
    return 1.0 if heard else typo_cost(unit, form)


def _is_compound(unit: str, known: Callable[[str], bool]) -> bool:
    """Whether a word is two known ones, of seven letters or more: dragonborn."""
    cuts = range(3, len(unit) - 2) if len(unit) > 7 else ()
    return any(known(unit[:cut]) and known(unit[cut:]) for cut in cuts)


def _candidates(unit: str, known: Callable[[str], bool], vocabulary: Vocabulary) -> set[str]:
    """Words one slip away, or of long words two behind the first letter."""

    def real(form: str) -> bool:
        return vocabulary.images(form) > 0 or known(form) or (form[-1] == "s" and known(form[:-1]))

    if len(unit) < _LONG_WORD:
        heard = (unit.replace("f", "ph"), unit.replace("ph", "f"))
        forms = {*_one_edit_away(unit, len(unit)), *heard} - {unit}
        return {form for form in forms if len(form) >= 3 and real(form)}
    near = {form for form in _one_edit_away(unit, 1) if real(form)}
    near.update(
        form for form in vocabulary.similar_forms(unit, 2) if edit_distance(unit, form) <= 3
    )
    for form in _long_words().similar(unit, 2):
        if edit_distance(unit, form) <= 3 and any(map(known, lemmas_of(form))):
            near.add(form)
    return near - {unit}


def _one_edit_away(unit: str, places: int) -> Iterator[str]:
    """Words that one slip at one of the first letters turns into `unit`."""
    for n in range(places):
        head, tail = unit[:n], unit[n + 1 :]
        yield head + tail
        if tail:
            yield head + tail[0] + unit[n] + tail[1:]
        for letter in _LETTERS:
            yield head + letter + tail
            yield head + letter + unit[n:]
    if places == len(unit):
        for letter in _LETTERS:
            yield unit + letter


class _LetterIndex:
    """Words by their first letter and length, each with its letters as bits."""

    def __init__(self, forms: Iterable[str]) -> None:
        self._groups: dict[tuple[str, int], list[tuple[str, int]]] = defaultdict(list)
        for form in forms:
            self._groups[form[0], len(form)].append((form, _letter_bits(form)))

    def similar(self, form: str, reach: int) -> Iterator[str]:
        """Words that may be within `reach` letters of `form`, and begin like it.

        A wrong letter changes two bits at the most, one added or left out a single one.
        """
        letters = _letter_bits(form)
        for length in range(len(form) - reach, len(form) + reach + 1):
            most = 2 * reach - abs(length - len(form))
            group = self._groups.get((form[0], length), ())
            yield from [other for other, bits in group if (letters ^ bits).bit_count() <= most]


@cache
def _long_words() -> _LetterIndex:
    """Long words of the lemma dictionary."""
    return _LetterIndex(form for form in dictionary_forms() if len(form) >= _LONG_WORD - 2)


def _letter_bits(form: str) -> int:
    """Letters as bits, a second of the same kind apart; two words at distance d differ in at
    most 2 d of them.
    """
    once = twice = 0
    for letter in form:
        bit = 1 << (ord(letter) & 31)
        twice |= once & bit
        once |= bit
    return once | twice << 32


def _common_letters(a: str, b: str) -> int:
    """How many first letters two words have in common."""
    same = [x == y for x, y in zip(a, b, strict=False)]
    return same.index(False) if False in same else len(same)
