"""What prompts ask for, as units: words, phrases, bindings of adjectives to nouns, pairs."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from curate.prompts import aliases, queries
from curate.prompts.reader import CONTROL, NEGATED, WANTED, Prompt, Token
from curate.text import bindings, dictionary, phrases, stopwords, tokens
from curate.text.lemmas import is_function_word, unit_of

PAIRS = ("off", "nouns", "all")
MOST_PAIRED = 60  # words of one prompt whose pairs are listed; the rest would be noise
FUNCTION, META, TYPO = "function-word", "meta", "typo"  # roles beside those of tokens

# What may stand between two words that belong together: blanks, brackets, weights.
_JOINT = re.compile(r"(?:[\s()\[\]{}_]|:\s*[+-]?\d*\.?\d+(?=\s*[)\]}])|(?<=[)])[+-]?\d*\.?\d+|\+)*")

Place = tuple[Token, Token]  # the first and the last word of a unit, in a prompt


@dataclass(frozen=True)
class Asked:
    """Every unit of the prompts, with the places that ask for it."""

    words: dict[tuple[str, str], list[Place]] = field(default_factory=lambda: defaultdict(list))
    phrases: dict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))
    bindings: dict[tuple[str, str], list[Place]] = field(default_factory=lambda: defaultdict(list))
    pairs: dict[tuple[str, str], list[Place]] = field(default_factory=lambda: defaultdict(list))
    crowded: list[int] = field(default_factory=list)  # lines with more than MOST_PAIRED words
    votes: queries.Votes = field(default_factory=queries.none_yet)  # what to search for

    def words_alone(self) -> "Asked":
        """The same without phrases, bindings and pairs."""
        return Asked(words=self.words, votes=self.votes)


@dataclass(frozen=True, slots=True)
class _Word:
    """A wanted word of one prompt."""

    token: Token
    form: str  # as counted
    unit: str
    role: str  # WANTED, FUNCTION, META or TYPO


def asked(
    prompts: Sequence[Prompt],
    *,
    pairs: str = "nouns",
    agreed: aliases.Aliases = aliases.NONE,
    together: Callable[[str], int] | None = None,
) -> Asked:
    """Take prompts apart; every word and control token is in the result.

    Args:
        prompts: in any order.
        pairs: of "nouns", of "all" words that mean something, or "off".
        agreed: what the user declared about words.
        together: images whose captions show some words side by side, for collocations.
    """
    found = Asked()
    names = _names(prompts)
    for prompt in prompts:
        words = _words(prompt, agreed, names)
        for token in prompt.tokens:
            if token.role != WANTED:
                found.words[_unit_of(token), _unwanted(token)].append((token, token))
        for word in words:
            found.words[word.unit, word.role].append((word.token, word.token))
            if word.role == TYPO:
                right = unit_of(tokens.normal(agreed.typo[word.form]))
                found.words[right, WANTED].append((word.token, word.token))
        nouns, named = _combined(found, prompt, words, agreed, together)
        if pairs != "off":
            chosen = nouns if pairs == "nouns" else range(len(words))
            _pair(found, prompt, _paired(words, chosen, named))
    return found


def _names(prompts: Sequence[Prompt]) -> frozenset[str]:
    """Forms that are names in -S and no plurals, by how some prompt writes them: *NeurIPS*.

    A line in capitals alone says nothing of its words.
    """
    return frozenset(
        form
        for prompt in prompts
        if not prompt.text.isupper()
        for token in prompt.tokens
        if token.role == WANTED and token.text.endswith("S") and len(token.text) > 1
        if not dictionary.is_known(form := tokens.normal(token.text))
    )


def _words(prompt: Prompt, agreed: aliases.Aliases, names: frozenset[str]) -> list[_Word]:
    wanted = [token for token in prompt.tokens if token.role == WANTED]
    forms = [tokens.normal(token.text) for token in wanted]
    boosters = stopwords.boosters(forms, own=agreed.meta)
    particles = stopwords.function_words(forms)
    found = []
    for place, (token, form) in enumerate(zip(wanted, forms, strict=True)):
        unit, role = form if form in names else unit_of(form), WANTED
        if place in boosters:
            role = META
        elif place in particles:
            role = FUNCTION
        elif form in agreed.typo:
            unit, role = form, TYPO
        found.append(_Word(token, form, unit, role))
    return found


def _combined(
    found: Asked,
    prompt: Prompt,
    words: Sequence[_Word],
    agreed: aliases.Aliases,
    together: Callable[[str], int] | None,
) -> tuple[set[int], list[phrases.Found]]:
    """Add phrases and bindings; say which words are nouns, and which make the phrases."""
    nouns: set[int] = set()
    all_named: list[phrases.Found] = []
    for first, end in _runs(prompt, words):
        run = [word.form for word in words[first:end]]
        named = [
            (a, b, unit)
            for a, b, unit in phrases.find(run, own=agreed.phrases, together=together)
            if all(words[n].role != META for n in range(first + a, first + b))
        ]
        for a, b, unit in named:
            found.phrases[unit].append((words[first + a].token, words[first + b - 1].token))
            all_named.append((first + a, first + b, unit))
        spans = [(a, b) for a, b, _ in named]
        of_run = bindings.nouns(run, phrases=spans)
        nouns |= {first + n for n in of_run}
        shown = {n for n in of_run if not run[n].isdigit() and words[first + n].role == WANTED}
        queries.vote(found.votes, [word.unit for word in words[first:end]], run, shown, named)
        for a, b in bindings.find(run, phrases=spans):
            adjective, noun = words[first + a], words[first + b]
            seen = dictionary.is_visual(adjective.unit) and dictionary.is_visual(noun.unit)
            if adjective.role == noun.role == WANTED and seen:
                found.bindings[adjective.unit, noun.unit].append(_place(adjective, noun))
    return nouns, all_named


def _runs(prompt: Prompt, words: Sequence[_Word]) -> Iterator[tuple[int, int]]:
    """[first, end) of words that follow one another with nothing but blanks and weights between.

    A comma between adjectives of one noun ("a big, red car") does not end a run.
    """
    first = 0
    for n in range(1, len(words) + 1):
        if n == len(words) or not _joined(prompt.text, words[first:n], words[n]):
            if n > first:
                yield first, n
            first = n


def _joined(text: str, run: Sequence[_Word], following: _Word) -> bool:
    a, b = run[-1].token, following.token
    if _exclude_one_another(a, b):
        return False
    if text[a.end : b.start].strip() == ",":
        return bindings.joins([word.form for word in run], following.form)
    return bool(_JOINT.fullmatch(text, a.end, b.start))


def _paired(
    words: Sequence[_Word], places: Iterable[int], named: Sequence[phrases.Found]
) -> list[tuple[str, Place]]:
    """What makes pairs, in order, each unit once; a phrase stands for its words."""
    inside = {n: one for one in named for n in range(*one[:2])}
    chosen: dict[str, Place] = {}
    for n in sorted(places):
        word = words[n]
        if n in inside:
            first, past, unit = inside[n]
            chosen.setdefault(unit, (words[first].token, words[past - 1].token))
        elif word.role == WANTED and dictionary.is_visual(word.unit) and not word.form.isdigit():
            chosen.setdefault(word.unit, (word.token, word.token))
    return list(chosen.items())


def _pair(found: Asked, prompt: Prompt, places: Sequence[tuple[str, Place]]) -> None:
    if len(places) > MOST_PAIRED:
        found.crowded.append(prompt.line)
    for (a, one), (b, other) in combinations(places[:MOST_PAIRED], 2):
        of_one_phrase = " " in a + b and not set(a.split()).isdisjoint(b.split())
        if of_one_phrase or _exclude_one_another(one[0], other[0]):
            continue
        first = min(one[0], other[0], key=lambda token: token.start)
        last = max(one[1], other[1], key=lambda token: token.end)
        found.pairs[(a, b) if a < b else (b, a)].append((first, last))


def _exclude_one_another(a: Token, b: Token) -> bool:
    """Whether two words stand in different alternatives of one bracket."""
    if not a.choice or not b.choice:
        return False
    alternative = dict(a.choice)
    return any(alternative.get(bracket, n) != n for bracket, n in b.choice)


def _place(a: _Word, b: _Word) -> Place:
    first, last = sorted((a.token, b.token), key=lambda token: token.start)
    return first, last


def _unit_of(token: Token) -> str:
    return token.text if token.role == CONTROL else unit_of(tokens.normal(token.text))


def _unwanted(token: Token) -> str:
    if token.role == NEGATED and is_function_word(tokens.normal(token.text)):
        return FUNCTION
    return token.role
