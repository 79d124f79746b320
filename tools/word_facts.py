"""What the shipped table says of single words: parts of speech, seen or not, phrase, spellings."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from word_relations import VISIBLE_FILES, is_scientific
from wordnet_files import FILE_NAMES, Key, WordNet

COLOUR = frozenset({"chromatic color", "achromatic color"})  # navy blue can be seen
VISIBLE_WORDS = (
    frozenset(  # written or done, says WordNet, and yet a thing to look at, by its last word
        "sign signal light lights book strip poster logo card map flag film movie cartoon label "
        "symbol comic stamp moon".split()
    )
)
FIRST_ADVERBS = frozenset(
    "at in on by of for from to off out under over up down".split()
)  # adverbs
PLAIN_ADJECTIVES = frozenset(  # a young man is a man who is young: no word of its own
    "old young little big small tall great good nice black white red fat thin rich poor dead "
    "beautiful single married unmarried middle-aged".split()
)
PEOPLE = frozenset(
    "man men woman women boy girl lady guy person people child kid fellow couple one folk".split()
)
PHRASE_LENGTHS = range(2, 5)  # words of a phrase
SPELLING_RULES = [  # British, American; the longer alternatives first
    (re.compile(pattern), repl)
    for pattern, repl in (
        (r"our", "or"),
        (r"is(e[drs]?|ing|ation|able)\b", r"iz\1"),
        (r"ys(e[drs]?|ing)\b", r"yz\1"),
        (r"re\b", "er"),
        (r"res\b", "ers"),
        (r"ogue", "og"),
        (r"ll", "l"),
        (r"l(?=l?ment|ful)", "ll"),
        (r"ae", "e"),
        (r"oe", "e"),
        (r"ence\b", "ense"),
        (r"mme\b", "m"),
        (r"pp", "p"),
        (r"gg", "g"),
        (r"[ -]", ""),
    )
]


def parts_of_speech(wn: WordNet, word: str) -> str:
    """Letters of "nvar", the most tagged first, then the one with most senses."""
    senses = {pos: wn.senses(word, pos) for pos in FILE_NAMES}
    present = [pos for pos in FILE_NAMES if senses[pos]]
    return "".join(
        sorted(present, key=lambda p: (-sum(s.tagged for s in senses[p]), -len(senses[p])))
    )


def abstract_words(wn: WordNet, adjectives: Collection[str]) -> set[str]:
    """What WordNet derives from abstract adjectives: adverbs in -ly, nouns in -ness and -ity."""
    found = set()
    for synset in wn.synsets.values():
        for pointer in synset.pointers:
            if pointer.symbol not in ("\\", "+") or not pointer.source:
                continue
            word = synset.lemmas[pointer.source - 1].lower()
            root = wn[pointer.to].lemmas[pointer.target - 1].lower()
            ends = {"r": ("ly",), "n": ("ness", "ity")}.get(synset.key[0])
            if ends and word.endswith(ends) and pointer.to[0] == "a" and root in adjectives:
                found.add(word)
    return found


def is_phrase(wn: WordNet, word: str) -> bool:
    """Whether several words together name something that can be seen: polar bear, traffic light.

    Not: adverbs (at home), abstractions (common sense), scientific names, and a plain adjective
    before a word for people (young man).
    """
    words = word.split()
    if len(words) not in PHRASE_LENGTHS or words[0] in FIRST_ADVERBS or is_scientific(wn, word):
        return False
    if words[0] in PLAIN_ADJECTIVES and words[-1] in PEOPLE:
        return False
    return any(_is_in_view(wn, s.key, words[-1]) for s in wn.senses(word, "n")[:2])


def _is_in_view(wn: WordNet, key: Key, head: str) -> bool:
    file = wn[key].file
    if file == "noun.attribute":
        return any(COLOUR & set(wn[above].lemmas) for above in _above(wn, key))
    return file in VISIBLE_FILES or head in VISIBLE_WORDS


def _above(wn: WordNet, key: Key) -> list[Key]:
    found: dict[Key, None] = {}
    level = [key]
    while level:
        level = [k for below in level for k in wn[below].to("@", "@i") if k not in found]
        found.update(dict.fromkeys(level))
    return list(found)


def variants(wn: WordNet, groups: Iterable[Sequence[str]]) -> dict[str, set[str]]:
    """Each word that has other spellings, with these.

    Two words are spellings of one if a rule leads from one to the other and they share a
    meaning (`door` is no `dor`), or if they stand in one of `groups`.
    """
    found: dict[str, set[str]] = {}
    for group in groups:
        for word in group:
            found.setdefault(word, set()).update(group)
    for word in wn.index:
        for other in _respelt(word):
            if other != word and _share_a_sense(wn, word, other):
                both = found.get(word, {word}) | found.get(other, {other})
                for one in both:
                    found[one] = both
    return {word: group - {word} for word, group in found.items()}


def _respelt(word: str) -> set[str]:
    """The word with one rule, or two, applied everywhere."""
    once = {pattern.sub(repl, word) for pattern, repl in SPELLING_RULES}
    return once | {p.sub(r, other) for other in once for p, r in SPELLING_RULES[:6]}


def _share_a_sense(wn: WordNet, one: str, other: str) -> bool:
    return bool({s.key for s in wn.senses(one)} & {s.key for s in wn.senses(other)})


def irregular_forms(
    exceptions: Mapping[str, Mapping[str, Sequence[str]]],
) -> dict[str, tuple[str, ...]]:
    """Irregular forms with all their lemmas, of whatever part of speech; without itself."""
    found: dict[str, dict[str, None]] = {}
    for forms in exceptions.values():
        for form, lemmas in forms.items():
            if others := [lemma for lemma in lemmas if lemma != form]:
                found.setdefault(form, {}).update(dict.fromkeys(others))
    return {form: tuple(lemmas) for form, lemmas in sorted(found.items())}
