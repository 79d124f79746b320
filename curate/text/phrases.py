"""Words of a prompt that name one thing together: polar bear, fire truck."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise

from curate.text import bindings, tokens, wordnet
from curate.text.lemmas import is_function_word, lemmas_of, unit_of
from curate.text.word_lists import read_sections

MIN_TOGETHER = 5  # images that show two nouns side by side before captions can make them a phrase
_LISTS = read_sections("text/phrases.txt")
MIN_COHESION = 0.25  # least cosine: images with both side by side / geometric mean of each one's
FoundPhrase = tuple[int, int, str]  # first place, place past the last, unit


def find_phrases(
    words: Sequence[str], *, own: frozenset[str], count_together: Callable[[str], int] | None
) -> list[FoundPhrase]:
    """The phrases in a run of words, as (first, past last, unit); none overlaps another.

    A phrase is an entry of the lexicon, one of the user's own, or two nouns that captions mostly
    show side by side. Its last word may stand in any inflection, and hyphens may stand for
    blanks. The longest wins, then the user's, then the first.

    Args:
        words: normal forms that follow each other without punctuation between.
        own: the user's phrases, in lower case, with blanks.
        count_together: the number of images whose captions show a word ("fur"), or show words side
            by side ("fur bat"); None without captions.
    """
    parts = tokens.numbered_parts(words)
    forms = [form for form, _ in parts]
    ranked = [
        (-len(phrase), not own_phrase, forms[n : n + len(phrase)] != list(phrase), n, phrase)
        for n in range(len(parts))
        for phrase, own_phrase in _entries(forms[n : n + 2], own)
        if _matches_at(parts, n, phrase)
    ]
    chosen = _without_overlaps(
        (parts[n][1], parts[n + len(phrase) - 1][1] + 1, " ".join(phrase))
        for *_, n, phrase in sorted(ranked)
    )
    if count_together is not None:
        taken = {place for first, past, _ in chosen for place in range(first, past)}
        chosen += _without_overlaps(_collocations(words, taken, count_together))
    return sorted(chosen)


def _entries(forms: Sequence[str], own: frozenset[str]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Phrases that may begin with these two forms, and whether they are the user's."""
    for first in dict.fromkeys((forms[0], unit_of(forms[0]), "-".join(forms))):
        yield from ((phrase, True) for phrase in _by_first_word(own).get(first, ()))
        yield from ((phrase, False) for phrase in _table_phrases(first))


@cache
def _table_phrases(first: str) -> tuple[tuple[str, ...], ...]:
    split = (
        tuple(p for w in entry for p in tokens.hyphen_parts(w))
        for entry in wordnet.phrases_beginning_with(first)
    )
    compounds = _by_first_word(frozenset(read_sections("text/compounds.txt")[""]))
    return (*compounds.get(first, ()), *filter(_is_one_thing, split))


def _is_one_thing(phrase: tuple[str, ...]) -> bool:
    """Whether an entry of the lexicon names what its words do not name by themselves."""
    first, last = phrase[0], phrase[-1]
    if is_function_word(first) or is_function_word(last):
        return False
    if len(phrase) == 2 and first in bindings.COLOURS:
        return last in _LISTS.get(f"colour {first.replace('grey', 'gray')}", ())
    if len(phrase) == 2 and first in _LISTS["descriptive adjectives"]:
        return " ".join(phrase) in _LISTS["adjective phrases"]
    return " ".join(phrase) not in _LISTS["literal phrases"] and phrase[1:2] != ("and",)


@lru_cache(maxsize=4)
def _by_first_word(own: frozenset[str]) -> Mapping[str, list[tuple[str, ...]]]:
    found = defaultdict(list)
    for phrase in sorted(own):
        words = tuple(phrase.replace("-", " ").split())
        if len(words) > 1:
            found[words[0]].append(words)
    return found


def _matches_at(parts: list[tuple[str, int]], start: int, phrase: Sequence[str]) -> bool:
    """Whether the phrase stands there, from the start of a word to the end of a word.

    Its last word may be a plural or a possessive, but not a verb's form (bearing).
    """
    end = start + len(phrase)
    if end > len(parts):
        return False
    *inner, last = (form for form, _ in parts[start:end])
    noun = phrase[-1]
    outside = parts[start - 1 : start] + parts[end : end + 1] if start else parts[end : end + 1]
    return (
        all(one in (form, unit_of(form)) for one, form in zip(phrase, inner, strict=False))
        and (last == noun or (noun in lemmas_of(last) and not last.endswith(("ing", "ed"))))
        and {parts[start][1], parts[end - 1][1]}.isdisjoint(place for _, place in outside)
    )


def _without_overlaps(found: Iterable[FoundPhrase]) -> list[FoundPhrase]:
    chosen: list[FoundPhrase] = []
    taken: set[int] = set()
    for first, past, unit in found:
        if taken.isdisjoint(range(first, past)):
            chosen.append((first, past, unit))
            taken.update(range(first, past))
    return chosen


def _collocations(
    words: Sequence[str], taken: set[int], together: Callable[[str], int]
) -> list[FoundPhrase]:
    """Pairs of nouns, in no other phrase, that captions mostly show side by side; closest first.

    An adjective with its noun is a binding, however often captions show the two; and what a thing
    is made of says no more together with it than apart (*iron armor*).
    """
    found = []
    for n, (a, b) in enumerate(pairwise(words)):
        nouns = bindings.is_noun(a) and bindings.is_noun(b)
        if nouns and unit_of(a) not in _LISTS["materials"] and taken.isdisjoint((n, n + 1)):
            unit = f"{a} {unit_of(b)}"
            if (both := together(unit)) >= MIN_TOGETHER:
                cosine = both / (together(a) * together(unit_of(b))) ** 0.5
                if cosine >= MIN_COHESION:
                    found.append((-cosine, n, unit))
    return [(n, n + 2, unit) for _, n, unit in sorted(found)]
