"""What prompts ask for, as units: words, phrases, attribute bindings, pairs."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise

from curate.prompts import aliases
from curate.prompts.reader import CONTROL, WANTED, Prompt, PromptToken
from curate.text import tokens
from curate.text.analysis import APART, BLANK, COMMA, FUNCTION_WORD, Analysis, Word, analyse, word
from curate.text.phrases import FoundPhrase

PAIR_CHOICES = ("off", "nouns", "all")
MAX_PAIRED_WORDS = 60  # words of one prompt whose pairs are listed; the rest would be noise
TYPO = "typo"  # a role beside those of tokens and of `analysis`
NOUN_REACH = 3  # words between which the noun is looked for that a word is searched with

# What may stand between two words that belong together: blanks, brackets, weights.
_JOINT = re.compile(r"(?:[\s()\[\]{}_]|:\s*[+-]?\d*\.?\d+(?=\s*[)\]}])|(?<=[)])[+-]?\d*\.?\d+|\+)*")

TokenRange = tuple[PromptToken, PromptToken]  # the first and the last word of a unit, in a prompt
QueryVotes = dict[str, Counter[str]]
_ByPair = dict[tuple[str, str], list[TokenRange]]


@dataclass(frozen=True)
class Units:
    """Every unit of the prompts, with the places that ask for it."""

    words: _ByPair = field(default_factory=lambda: defaultdict(list))  # by unit and role
    phrases: dict[str, list[TokenRange]] = field(default_factory=lambda: defaultdict(list))
    attribute_bindings: _ByPair = field(default_factory=lambda: defaultdict(list))
    pairs: _ByPair = field(default_factory=lambda: defaultdict(list))
    crowded: list[int] = field(default_factory=list)  # lines with more than MAX_PAIRED_WORDS words
    # what to search for: unit -> query -> places that speak for it
    votes: QueryVotes = field(default_factory=lambda: defaultdict(Counter))

    def only_words(self) -> "Units":
        """The same without phrases, attribute bindings and pairs."""
        return Units(words=self.words, votes=self.votes)

    def without_combinations(self, is_judged: Callable[[str, str], bool] | None = None) -> "Units":
        """The same without attribute bindings and pairs.

        Args:
            is_judged: whether a unit in a role stays; None: each does.
        """
        keep = is_judged or (lambda unit, role: True)
        words = {(u, role): places for (u, role), places in self.words.items() if keep(u, role)}
        phrases = {u: places for u, places in self.phrases.items() if keep(u, WANTED)}
        return Units(words=words, phrases=phrases, votes=self.votes)


@dataclass(frozen=True, slots=True)
class _WantedWord:
    place: TokenRange  # its token, as first and last
    form: str  # as counted
    item: Word  # what it asks for
    role: str  # WANTED, FUNCTION_WORD, QUALITY_TAG or TYPO


def find_units(
    prompts: Sequence[Prompt],
    *,
    pairs: str = "nouns",
    agreed: aliases.Aliases = aliases.NO_ALIASES,
    together: Callable[[str], int] | None = None,
) -> Units:
    """Take prompts apart; every word and control token is in the result.

    Args:
        prompts: in any order.
        pairs: of "nouns", of "all" words that mean something, or "off".
        agreed: what the user declared about words.
        together: images whose captions show some words side by side, for collocations.
    """
    found = Units()
    names = _capital_names(prompts)
    for prompt in prompts:
        for token in prompt.tokens:
            if token.role != WANTED:
                found.words[_token_role(token)].append((token, token))
        chosen = [token for token in prompt.tokens if token.role == WANTED]
        said = analyse(
            [tokens.normalize(token.text) for token in chosen],
            [_between(prompt.text, a, b) for a, b in pairwise(chosen)],
            quality_tags=agreed.quality_tags, own=agreed.phrases, together=together,
        )  # fmt: skip
        words = list(_prompt_words(chosen, said, agreed, names))
        for one in words:
            found.words[one.item.form, one.role].append(one.place)
            if one.role == TYPO:
                right = word(tokens.normalize(agreed.typo[one.form])).unit
                found.words[right, WANTED].append(one.place)
        _combine(found, words, said)
        if pairs != "off":
            places = said.nouns if pairs == "nouns" else range(len(words))
            _add_pairs(found, prompt, _pair_candidates(words, places, said.phrases))
    return found


def _capital_names(prompts: Sequence[Prompt]) -> frozenset[str]:
    """Forms that are names in -S and no plurals, by how some prompt writes them: *NeurIPS*.

    A line in capitals alone says nothing of its words.
    """
    return frozenset(
        form
        for prompt in prompts
        if not prompt.text.isupper()
        for token in prompt.tokens
        if token.role == WANTED and token.text.endswith("S") and len(token.text) > 1
        if not word(form := tokens.normalize(token.text)).is_known
    )


def _prompt_words(
    chosen: Sequence[PromptToken], said: Analysis, agreed: aliases.Aliases, names: frozenset[str]
) -> Iterator[_WantedWord]:
    for place, (token, one) in enumerate(zip(chosen, said.words, strict=True)):
        role = said.roles.get(place, WANTED)
        if role == WANTED and one.form in agreed.typo:
            role = TYPO
        as_written = role == TYPO or one.form in names
        item = one if as_written else word(one.unit)
        yield _WantedWord((token, token), one.form, item, role)


def _combine(found: Units, words: Sequence[_WantedWord], said: Analysis) -> None:
    """Add phrases, attribute bindings, and what to search for."""
    for first, past, unit in said.phrases:
        found.phrases[unit].append(_range_of(words[first].place, words[past - 1].place))
    shown = {n for n in said.nouns if words[n].role == WANTED and not words[n].form.isdigit()}
    forms, items = [one.form for one in words], [one.item for one in words]
    for run in said.runs:
        _add_votes(found.votes, forms, items, run, shown.intersection(run), said.phrases)
    for a, b in said.attributes:
        adjective, noun = words[a], words[b]
        seen = adjective.item.is_visual and noun.item.is_visual
        if adjective.role == noun.role == WANTED and seen:
            both = adjective.item.form, noun.item.form
            found.attribute_bindings[both].append(_range_of(adjective.place, noun.place))


def _between(text: str, a: PromptToken, b: PromptToken) -> str:
    if _exclude_one_another(a, b):
        return APART
    if text[a.end : b.start].strip() == ",":
        return COMMA
    return BLANK if _JOINT.fullmatch(text, a.end, b.start) else APART


def _pair_candidates(
    words: Sequence[_WantedWord], places: Iterable[int], named: Sequence[FoundPhrase]
) -> list[tuple[str, TokenRange]]:
    """What makes pairs, in order, each unit once; a phrase stands for its words."""
    inside = {n: one for one in named for n in range(*one[:2])}
    chosen: dict[str, TokenRange] = {}
    for n in sorted(places):
        one = words[n]
        if n in inside:
            first, past, unit = inside[n]
            chosen.setdefault(unit, _range_of(words[first].place, words[past - 1].place))
        elif one.role == WANTED and one.item.is_visual and not one.form.isdigit():
            chosen.setdefault(one.item.form, one.place)
    return list(chosen.items())


def _add_pairs(found: Units, prompt: Prompt, places: Sequence[tuple[str, TokenRange]]) -> None:
    if len(places) > MAX_PAIRED_WORDS:
        found.crowded.append(prompt.line)
    for (a, one), (b, other) in combinations(places[:MAX_PAIRED_WORDS], 2):
        of_one_phrase = " " in a + b and not set(a.split()).isdisjoint(b.split())
        if not of_one_phrase and not _exclude_one_another(one[0], other[0]):
            found.pairs[(a, b) if a < b else (b, a)].append(_range_of(one, other))


def _exclude_one_another(a: PromptToken, b: PromptToken) -> bool:
    """Whether two words stand in different alternatives of one bracket."""
    alternative = dict(a.choice)
    return any(alternative.get(bracket, n) != n for bracket, n in b.choice)


def _range_of(one: TokenRange, other: TokenRange) -> TokenRange:
    first = min(one[0], other[0], key=lambda token: token.start)
    return first, max(one[1], other[1], key=lambda token: token.end)


def _token_role(token: PromptToken) -> tuple[str, str]:
    """Unit and role of a control token, or of a word that must not be shown."""
    if token.role == CONTROL:
        return token.text, CONTROL
    one = word(tokens.normalize(token.text))
    return one.unit, FUNCTION_WORD if one.is_function_word else token.role


def _add_votes(
    votes: QueryVotes,
    forms: Sequence[str],
    items: Sequence[Word],
    run: range,
    nouns: Collection[int],
    phrases: Sequence[FoundPhrase],
) -> None:
    """Add what each word of a stretch of a prompt is to be searched for with.

    Nobody types "sitting", "two" or "colored" into a search for images: what comes back shows
    anything. An adjective, a number or a verb is searched with the noun it stands at.

    Args:
        votes: is added to; it has a counter for any unit.
        forms: how each word of the prompt is written, in lower case.
        items: what each is counted as.
        run: the places of the stretch, in which nothing but blanks is between words.
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


def choose_queries(votes: QueryVotes) -> dict[str, str]:
    """The query of each unit that is not searched by itself: what most places speak for."""
    found: dict[str, str] = {}
    for unit, counts in votes.items():
        alone = counts[unit]
        query, most = min(counts.items(), key=lambda one: (-one[1], one[0]))
        if query != unit and most and 2 * alone < counts.total():
            found[unit] = query
    return found
