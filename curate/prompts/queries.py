"""What to search for where a word alone finds nothing of use: *big dog* for *big*.

Nobody types "sitting", "two" or "colored" into a search for pictures: what comes back shows
anything. An adjective, a number or a verb is searched with the noun it stands at in the prompts.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from curate.text import wordnet

REACH = 3  # words between which the noun is looked for
Votes = defaultdict[str, Counter[str]]


def none_yet() -> Votes:
    """Where votes are collected: unit -> query -> places that speak for it."""
    return defaultdict(Counter)


def vote(
    votes: Votes,
    units: Sequence[str],
    forms: Sequence[str],
    nouns: Collection[int],
    phrases: Sequence[tuple[int, int, str]] = (),
) -> None:
    """Add the words of one stretch of a prompt, in which nothing but blanks is between words.

    Args:
        votes: is added to.
        units: what each word is counted as.
        forms: how it is written, in lower case.
        nouns: the places of nouns that a picture can show.
        phrases: first place, the place past the last, and name of each phrase.
    """
    named = {n: (first, past, name) for first, past, name in phrases for n in range(first, past)}
    for place, unit in enumerate(units):
        if place in nouns:
            modifier = place in named and wordnet.parts_of_speech(unit)[:1] in ("a", "r")
            votes[unit][named[place][2] if modifier else unit] += 1
            continue
        behind = _first(range(place + 1, place + 1 + REACH), nouns)
        before = _first(range(place - 1, place - 1 - REACH, -1), nouns)
        done = _is_verb(unit, forms[place]) and behind != place + 1
        # "two dogs", "dogs running", but "big dog", as the item of the binding is named
        written = forms if _is_verb(unit, forms[place]) or _is_number(unit) else units
        if before is not None and (done or behind is None):
            votes[unit][f"{_thing(written, before, nouns, named)} {forms[place]}"] += 1
        elif behind is not None:
            votes[unit][f"{forms[place]} {_thing(written, behind, nouns, named)}"] += 1


def _first(places: Iterable[int], nouns: Collection[int]) -> int | None:
    for place in places:
        if place in nouns:
            return place
    return None


def _thing(
    words: Sequence[str],
    place: int,
    nouns: Collection[int],
    named: Mapping[int, tuple[int, int, str]],
) -> str:
    """The noun at a place: as the phrase it is in, or with the noun that it modifies."""
    if place in named:
        return named[place][2]
    following = place + 1 in nouns and place + 1 not in named
    return f"{words[place]} {words[place + 1]}" if following else words[place]


@lru_cache(maxsize=1 << 14)
def _is_verb(unit: str, form: str) -> bool:
    """Whether a word that is no noun says what one does, or what was done to it."""
    parts = wordnet.parts_of_speech(unit)
    return parts[:1] == "v" or form.endswith("ing")


@lru_cache(maxsize=1 << 14)
def _is_number(unit: str) -> bool:
    """Whether it counts things, in digits or letters."""
    return any(one.isdigit() for one in (unit, *wordnet.variants(unit)))


def is_one(text: str) -> bool:
    """Whether a search for it can find anything of use: 1506 alone finds everything."""
    return any(letter.isalpha() for letter in text)


def chosen(votes: Votes) -> dict[str, str]:
    """The query of each unit that is not searched by itself: what most places speak for."""
    found: dict[str, str] = {}
    for unit, counts in votes.items():
        alone = counts[unit]
        query, most = min(counts.items(), key=lambda one: (-one[1], one[0]))
        if query != unit and most and 2 * alone < counts.total():
            found[unit] = query
    return found
