"""Known words that look like an unknown one: a hint for the reader, never a verdict."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from curate.coverage import lexicon


@dataclass(frozen=True, slots=True)
class Near:
    """A word that the captions do have."""

    unit: str
    n_images: int


class Vocabulary:
    """The word forms of all captions."""

    def __init__(self, images: Mapping[str, int]) -> None:
        """Take the images of each form."""
        self._images = {f: n for f, n in images.items() if not lexicon.is_function_word(f)}
        self._sorted = sorted(self._images)
        self._alike: dict[tuple[str, int], list[tuple[str, int]]] = defaultdict(list)
        for form in self._sorted:
            self._alike[form[0], len(form)].append((form, _letters(form)))

    def nearest(self, unit: str, limit: int = 3) -> list[Near]:
        """Forms within two letters of `unit` (one for short words), or that begin like it.

        Only forms with the same first letter are looked at: misspelt words rarely miss it.
        For a hyphenated unit: those of its parts that are known.
        """
        if "-" in unit:
            known = [part for part in lexicon.parts(unit) if part in self._images]
            return [Near(part, self._images[part]) for part in dict.fromkeys(known)]
        ranked: dict[str, int] = {}
        for form in self._alike_at_the_start(unit):
            ranked[form] = 3 + abs(len(form) - len(unit))
        for form, distance in self._within(unit, 1 if len(unit) <= 4 else 2):
            ranked[form] = distance
        ranked.pop(unit, None)
        best = sorted(ranked, key=lambda form: (ranked[form], -self._images[form], form))
        return [Near(form, self._images[form]) for form in best[:limit]]

    def _within(self, unit: str, reach: int) -> Iterator[tuple[str, int]]:
        letters = _letters(unit)
        for length in range(len(unit) - reach, len(unit) + reach + 1):
            for form, other in self._alike.get((unit[0], length), ()):
                if (letters ^ other).bit_count() <= 2 * reach:
                    distance = edit_distance(unit, form)
                    if distance <= reach:
                        yield form, distance

    def _alike_at_the_start(self, unit: str) -> Iterator[str]:
        """Forms that share at least four first letters, and half of the longer word."""
        start = bisect_left(self._sorted, unit[:4])
        for place in range(start, len(self._sorted)):
            form = self._sorted[place]
            if len(unit) < 4 or not form.startswith(unit[:4]):
                return
            if 2 * _shared(unit, form) >= max(len(unit), len(form)):
                yield form


def edit_distance(a: str, b: str) -> int:
    """Letters to insert, delete or replace to turn one word into the other.

    Source: Levenshtein 1966; the row-by-row computation of Wagner and Fischer 1974.
    """
    above = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y)))
        above = row
    return above[-1]


def _letters(form: str) -> int:
    """The set of letters as bits; two words at distance d differ in at most 2 d of them."""
    bits = 0
    for letter in form:
        bits |= 1 << (ord(letter) & 63)
    return bits


def _shared(a: str, b: str) -> int:
    """How many first letters two words have in common."""
    same = [x == y for x, y in zip(a, b, strict=False)]
    return same.index(False) if False in same else len(same)
