"""Which words of a prompt name nothing to be looked for: quality tags, function words.

Both are decided in their context, from lists of phrases that a reader can check:
`quality_tags.txt`, `function_phrases.txt` and `function_words.txt`.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from operator import contains
from typing import NamedTuple

from curate.text import tokens
from curate.text.lemmas import is_function_word, lemmas_of
from curate.text.word_lists import read_sections

_END = "$"  # in a list: the end of the prompt, or a further word of the list


class _ListedPhrase(NamedTuple):
    words: list[frozenset[str]]
    before: frozenset[str]  # one of them must stand in front; none: anything may
    behind: frozenset[str]  # one of them must follow


def quality_tags(forms: Sequence[str], *, own: frozenset[str] = frozenset()) -> frozenset[int]:
    """Positions of the words that only ask for quality or name an engine.

    Args:
        forms: normal forms of the wanted words of one prompt, in their order. A hyphenated form
            is a quality tag when all its parts are: `award-winning`.
        own: further ones, the user's; with blanks between the words of one.
    """
    parts = tokens.numbered_parts(forms)
    words = [word for word, _ in parts]
    found = _places(_read_phrases("text/quality_tags.txt"), words)
    return _whole_words(parts, found.union(*(_tag_places(tag, words) for tag in own)))


def _tag_places(tag: str, words: Sequence[str]) -> set[int]:
    *heads, last = (part for word in tag.split() for part in tokens.hyphen_parts(word))
    wanted = lemmas_of(last)
    return {
        place
        for end in range(len(heads), len(words))
        if list(words[end - len(heads) : end]) == heads and lemmas_of(words[end]) & wanted
        for place in range(end - len(heads), end + 1)
    }


def function_words(forms: Sequence[str]) -> frozenset[int]:
    """Positions of the words that hold the prompt together and name nothing.

    Those of `is_function_word`, save where they name a thing (*a can of soda*), and the
    words of phrases such as *in front of*.

    Args:
        forms: normal forms of the wanted words of one prompt, in their order.
    """
    parts = tokens.numbered_parts(forms)
    words = [word for word, _ in parts]
    phrases, things = (
        _whole_words(parts, _places(_read_phrases("text/function_phrases.txt", mark), words))
        for mark in ("", "!")
    )
    return phrases.union(n for n, form in enumerate(forms) if is_function_word(form)) - things


def _whole_words(parts: Sequence[tuple[str, int]], found: set[int]) -> frozenset[int]:
    """Positions of the forms all of whose parts were found."""
    missed = {owner for place, (_, owner) in enumerate(parts) if place not in found}
    return frozenset(parts[place][1] for place in found) - missed


def _places(listed: dict[str, list[_ListedPhrase]], words: Sequence[str]) -> set[int]:
    """Positions of the words that stand in a listed phrase."""
    found: set[int] = set()
    for place in reversed(range(len(words))):  # so that it is known whether another tag follows
        for phrase in listed.get(words[place], ()):
            end = place + len(phrase.words)
            if end > len(words) or not all(map(contains, phrase.words, words[place:end])):
                continue
            behind = [*words[end : end + 1]]
            behind += [_END] if end == len(words) or end in found else []
            before = words[place - 1 : place] if place else []
            if not (
                (phrase.before and phrase.before.isdisjoint(before))
                or (phrase.behind and phrase.behind.isdisjoint(behind))
            ):
                found.update(range(place, end))
    return found


@cache
def _read_phrases(name: str, mark: str = "") -> dict[str, list[_ListedPhrase]]:
    """The phrases of a list by their first word: those behind the mark `!`, or all others."""
    found: dict[str, list[_ListedPhrase]] = defaultdict(list)
    for line in read_sections(name)[""]:
        if line.startswith("!") == bool(mark):
            before, _, rest = line.removeprefix("!").rpartition("<")
            words, _, behind = rest.partition(">")
            split = ([word] if "|" in word else word.split("-") for word in words.split())
            choices = [_choice(part) for parts in split for part in parts]
            phrase = _ListedPhrase(choices, _choice(before), _choice(behind))
            for first in phrase.words[0]:
                found[first].append(phrase)
    return dict(found)


def _choice(text: str) -> frozenset[str]:
    return frozenset(filter(None, text.strip().split("|")))
