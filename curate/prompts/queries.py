"""What to search for where a word alone finds nothing of use: *big dog* for *big*.

Nobody types "sitting", "two" or "colored" into a search for images: what comes back shows
anything. An adjective, a number or a verb is searched with the noun it stands at in the prompts.
"""

from collections import Counter
from collections.abc import Collection, Sequence

from curate.text.analysis import Word
from curate.text.phrases import FoundPhrase

NOUN_REACH = 3  # words between which the noun is looked for
QueryVotes = dict[str, Counter[str]]


def add_votes(
    votes: QueryVotes,
    forms: Sequence[str],
    items: Sequence[Word],
    run: range,
    nouns: Collection[int],
    phrases: Sequence[FoundPhrase] = (),
) -> None:
    """Add the words of one stretch of a prompt, in which nothing but blanks is between words.

    Args:
        votes: is added to; it has a counter for any unit.
        forms: how each word of the prompt is written, in lower case.
        items: what each is counted as.
        run: the places of the stretch.
        nouns: the places in it of nouns that an image can show.
        phrases: first place, the place past the last, and name of each phrase.
    """
    named = {n: name for first, past, name in phrases for n in range(first, past)}
    units = [item.form for item in items]
    for place in run:
        item, unit = items[place], units[place]
        if place in nouns:
            modifier = place in named and item.parts_of_speech[:1] in ("a", "r")
            votes[unit][named[place] if modifier else unit] += 1
            continue
        near = range(1, NOUN_REACH + 1)
        behind = next((place + n for n in near if place + n in nouns), None)
        before = next((place - n for n in near if place - n in nouns), None)
        verb = item.parts_of_speech[:1] == "v" or forms[place].endswith("ing")
        # "two dogs", "dogs running", but "big dog", as the item of the binding is named
        written = forms if verb or item.is_number else units
        if before is not None and (behind is None or (verb and behind != place + 1)):
            votes[unit][f"{_noun_name(written, before, nouns, named)} {forms[place]}"] += 1
        elif behind is not None:
            votes[unit][f"{forms[place]} {_noun_name(written, behind, nouns, named)}"] += 1


def _noun_name(
    words: Sequence[str], place: int, nouns: Collection[int], named: dict[int, str]
) -> str:
    """The noun at a place: as the phrase it is in, or with the noun that it modifies."""
    if place in named:
        return named[place]
    following = place + 1 in nouns and place + 1 not in named
    return f"{words[place]} {words[place + 1]}" if following else words[place]


def is_searchable(text: str) -> bool:
    """Whether a search for it can find anything of use: 1506 alone finds everything."""
    return any(letter.isalpha() for letter in text)


def choose(votes: QueryVotes) -> dict[str, str]:
    """The query of each unit that is not searched by itself: what most places speak for."""
    found: dict[str, str] = {}
    for unit, counts in votes.items():
        alone = counts[unit]
        query, most = min(counts.items(), key=lambda one: (-one[1], one[0]))
        if query != unit and most and 2 * alone < counts.total():
            found[unit] = query
    return found
