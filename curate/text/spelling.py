"""Known words that look like an unknown one: a hint for the reader, never a verdict."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from curate.text import tokens
from curate.text.lemmas import dictionary_forms, is_function_word, lemmas_of

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHORTEST = 4  # letters of a word that is corrected
_LONG_WORD = 8  # letters from which on two slips are corrected
_HIGHEST_COST = {4: 0.8, 5: 1.0, 6: 1.2, 7: 1.2}  # letters -> cost up to which a word is corrected
_HIGHEST_COST_OF_LONG = 2.3
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
        self.forms = sorted(self._images)

    def images(self, form: str) -> int:
        """Images with exactly this form; 0 for function words."""
        return self._images.get(form, 0)

    def nearest(self, unit: str, limit: int = 3) -> list[NearWord]:
        """Forms within two letters of `unit` (one for short words), or that begin like it: share
        at least four first letters, and half of the longer word.

        Only forms with the same first letter are looked at: misspelt words rarely miss it.
        For a hyphenated unit: those of its parts that are known.
        """
        from rapidfuzz.distance import Levenshtein, Prefix

        if "-" in unit:
            known = [part for part in tokens.hyphen_parts(unit) if part in self._images]
            return [NearWord(part, self._images[part]) for part in dict.fromkeys(known)]
        ranked = {
            form: 3 + abs(len(form) - len(unit))
            for form in _beginning_with(unit[:4], self.forms)
            if len(unit) >= 4 and Prefix.normalized_similarity(unit, form) >= 0.5
        }
        reach = 1 if len(unit) <= 4 else 2
        ranked |= _within_reach(unit, self.forms, reach, Levenshtein.distance)
        ranked.pop(unit, None)
        best = sorted(ranked, key=lambda form: (ranked[form], -self._images[form], form))
        return [NearWord(form, self._images[form]) for form in best[:limit]]


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
    images, most = vocabulary.images, _HIGHEST_COST.get(len(unit), _HIGHEST_COST_OF_LONG)
    heard = unit.replace("f", "ph"), unit.replace("ph", "f")  # slips of the ear
    costs = {
        form: 1.0 if form in heard else typo_cost(unit, form)
        for form in _candidates(unit, heard, known, vocabulary)
        if images(form) >= 10 * images(unit)
    }
    limit = min(costs.values(), default=most) + _MARGIN
    likely = [form for form, cost in costs.items() if cost <= most and cost < limit]
    if not likely:
        return []
    best = min(likely, key=lambda form: (-images(form), costs[form], form))
    others = [form for form in likely if not lemmas_of(form) & lemmas_of(best)]
    cuts = range(3, len(unit) - 2) if len(unit) > 7 else ()
    if others or any(known(unit[:n]) and known(unit[n:]) for n in cuts):  # or two words: dragonborn
        least = max(_MIN_IMAGES, 5 * max(map(images, others), default=0))
        if images(best) < least:
            return []
    return [NearWord(best, images(best))]


def _candidates(
    unit: str, heard: Sequence[str], known: Callable[[str], bool], vocabulary: Vocabulary
) -> set[str]:
    """Words one slip away, or of long words two behind the first letter."""
    from rapidfuzz.distance import OSA, Levenshtein

    def real(form: str) -> bool:
        return vocabulary.images(form) > 0 or known(form) or (form[-1] == "s" and known(form[:-1]))

    if len(unit) < _LONG_WORD:
        forms = {*_one_edit_away(unit, len(unit)), *heard} - {unit}
        return {form for form in forms if len(form) >= 3 and real(form)}
    near = set(_within_reach(unit, vocabulary.forms, 2, OSA.distance))
    for form in _within_reach(unit, _long_words(), 2, OSA.distance):
        if any(map(known, lemmas_of(form))):
            near.add(form)
    near = {form for form in near if Levenshtein.distance(unit, form) <= 3}  # one swap, not two
    return near.union(filter(real, _one_edit_away(unit, 1))) - {unit}


def _one_edit_away(unit: str, places: int) -> Iterator[str]:
    """Words that one slip at one of the first letters turns into `unit`."""
    for n in range(places):
        head, tail = unit[:n], unit[n + 1 :]
        yield head + tail
        yield head + tail[:1] + unit[n] + tail[1:]
        for letter in _LETTERS:
            yield head + letter + tail
            yield head + letter + unit[n:]
    if places == len(unit):
        for letter in _LETTERS:
            yield unit + letter


def _within_reach(
    unit: str, forms: Sequence[str], reach: int, distance: Callable[..., int]
) -> dict[str, int]:
    """The distance of each of the ascending `forms` that begins like `unit` and is so near."""
    from rapidfuzz.process import extract

    choices = _beginning_with(unit[:1], forms)
    found = extract(unit, choices, scorer=distance, limit=None, score_cutoff=reach)
    return {form: int(edits) for form, edits, _ in found}


def _beginning_with(start: str, forms: Sequence[str]) -> Sequence[str]:
    return forms[bisect_left(forms, start) : bisect_left(forms, start + "\U0010ffff")]


@cache
def _long_words() -> list[str]:
    return sorted(form for form in dictionary_forms() if len(form) >= _LONG_WORD - 2)
