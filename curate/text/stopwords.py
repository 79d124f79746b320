"""Which words of a prompt name nothing to be looked for: quality tags, function words.

Both are decided in their context, from lists of phrases that a reader can check:
`quality_tags.txt`, `function_phrases.txt` and `function_words.txt`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from curate.text import tokens
from curate.text.lemmas import is_function_word, lemmas_of
from curate.text.word_lists import read_sections

_END = "$"  # in a list: the end of the prompt, or a further word of the list


@dataclass(frozen=True, slots=True)
class _ListedPhrase:
    words: tuple[frozenset[str], ...]
    before: frozenset[str] | None  # must stand in front
    behind: frozenset[str] | None  # must follow


@dataclass(frozen=True, slots=True)
class _PhraseList:
    """Phrases by their first word."""

    plain: dict[str, list[_ListedPhrase]]
    at_end: dict[str, list[_ListedPhrase]]  # those that the end of the prompt may follow

    def find(self, words: Sequence[str]) -> set[int]:
        """Positions of the words that stand in a phrase of the list."""
        found: set[int] = set()
        for place, word in enumerate(words):
            for phrase in self.plain.get(word, ()):
                if _phrase_matches(phrase, words, place):
                    found.update(range(place, place + len(phrase.words)))
        for place in reversed(range(len(words))):
            for phrase in self.at_end.get(words[place], ()):
                end = place + len(phrase.words)
                if _phrase_matches(phrase, words, place, ends=end == len(words) or end in found):
                    found.update(range(place, end))
        return found


def quality_tags(forms: Sequence[str], *, own: frozenset[str] = frozenset()) -> frozenset[int]:
    """Positions of the words that only ask for quality or name an engine.

    Args:
        forms: normal forms of the wanted words of one prompt, in their order. A hyphenated form
            is a quality tag when all its parts are: `award-winning`.
        own: further ones, the user's; with blanks between the words of one.
    """
    words, owners = _split_hyphens(forms)
    found = _read_quality_tags().find(words)
    for tag in own:
        found |= _tag_places(tag, words)
    return _whole_words(found, owners)


def _tag_places(tag: str, words: Sequence[str]) -> set[int]:
    """Positions of the words of a quality tag, its last word in any inflection."""
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
    words, owners = _split_hyphens(forms)
    phrases, things = _read_function_phrases()
    named = _whole_words(things.find(words), owners)
    single = {n for n, form in enumerate(forms) if is_function_word(form)}
    return frozenset(single - named) | (_whole_words(phrases.find(words), owners) - named)


def _split_hyphens(forms: Sequence[str]) -> tuple[list[str], list[int]]:
    """The parts of hyphenated forms side by side, and the position that each came from."""
    words: list[str] = []
    owners: list[int] = []
    for place, form in enumerate(forms):
        parts = tokens.hyphen_parts(form) if "-" in form else [form]
        words += parts
        owners += [place] * len(parts)
    return words, owners


def _whole_words(found: set[int], owners: Sequence[int]) -> frozenset[int]:
    """Positions of the forms all of whose parts were found."""
    missed = {owner for part, owner in enumerate(owners) if part not in found}
    return frozenset(owners[part] for part in found) - missed


def _phrase_matches(
    phrase: _ListedPhrase, words: Sequence[str], place: int, *, ends: bool = False
) -> bool:
    end = place + len(phrase.words)
    if end > len(words):
        return False
    for word, choice in zip(words[place:end], phrase.words, strict=True):
        if word not in choice:
            return False
    if phrase.before is not None and (not place or words[place - 1] not in phrase.before):
        return False
    if phrase.behind is None or ends:
        return True
    return end < len(words) and words[end] in phrase.behind


@cache
def _read_quality_tags() -> _PhraseList:
    return _parse_phrases(read_sections("quality_tags.txt")[""])


@cache
def _read_function_phrases() -> tuple[_PhraseList, _PhraseList]:
    """Phrases of function words, and places where a function word names something."""
    lines = read_sections("function_phrases.txt")[""]
    things = [line.removeprefix("!") for line in lines if line.startswith("!")]
    phrases = [line for line in lines if not line.startswith("!")]
    return _parse_phrases(phrases), _parse_phrases(things)


def _parse_phrases(lines: Iterable[str]) -> _PhraseList:
    plain: dict[str, list[_ListedPhrase]] = defaultdict(list)
    at_end: dict[str, list[_ListedPhrase]] = defaultdict(list)
    for line in lines:
        phrase = _parse_phrase(line)
        kept = at_end if phrase.behind and _END in phrase.behind else plain
        for first in phrase.words[0]:
            kept[first].append(phrase)
    return _PhraseList(dict(plain), dict(at_end))


def _parse_phrase(line: str) -> _ListedPhrase:
    before, _, rest = line.rpartition("<")
    words, _, behind = rest.partition(">")
    return _ListedPhrase(
        tuple(_parse_choice(part) for word in words.split() for part in _parse_parts(word)),
        _parse_choice(before) if before.strip() else None,
        _parse_choice(behind) if behind.strip() else None,
    )


def _parse_parts(word: str) -> list[str]:
    return word.split("-") if "|" not in word else [word]


def _parse_choice(text: str) -> frozenset[str]:
    return frozenset(text.strip().split("|"))
