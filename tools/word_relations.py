"""Which words could stand for which, by WordNet: candidates for the shipped table.

An image counts as an image of the word asked for, so both ends are held to their usual sense.
The word asked for may have two (`word_senses`); the related word, which captions will be searched
for, must mostly mean what it is counted as (`stands_for`).
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

from wordnet_files import Key, Sense, Synset, WordNet

Relation = Literal["synonym", "narrower", "derivation"]
SHARE, ENOUGH = 0.8, 5  # of the tag count of a word's first sense, for a second one to be usual
RARE = 8  # a part of speech tagged this many times less than another is not what is meant
SPOKEN = ("aloe vera", "boa constrictor")  # names in Latin that people use
MIN_UNIT_LETTERS = 2  # letters of units left out: fl, cu, us
LEVELS = 4  # of hyponyms below the word
MAX_PHRASE_WORDS = 3  # words in a related phrase
EXACT_KINDS = frozenset("noun.animal noun.food noun.plant".split())  # named exactly
THING_FILES = EXACT_KINDS | frozenset("noun.artifact noun.body noun.object noun.person".split())
NOUN_FILES = THING_FILES | frozenset(
    "noun.event noun.location noun.phenomenon noun.shape noun.substance".split()
)  # words with such a sense are asked for as nouns
VISIBLE_FILES = NOUN_FILES | frozenset({"noun.act", "noun.group"})
DERIVED_FROM = ("+", "\\")  # derivationally related form; pertainym
AGENT = ("er", "or", "ist", "ian", "ee", "eer", "ant")  # runner is no image of a run
ABLE = ("able", "ible", "ive")  # what can be bent need not be bent
MADE = ("ize", "ise", "ify", "ate")  # to tabulate is no table
RUDE = tuple(
    "offensive slur derogatory disparaging obscene vulgar contempt prostitute sexual".split()
)
YOUNG = re.compile(
    r"(?:an? )?(?:young|adult|mature|immature|female|male|baby)(?: or \w+| of| domestic)* (\w+)$"
)
NOBODY = frozenset("someone somebody individual mortal soul".split())  # said of anybody, anything


class Candidate(NamedTuple):
    """`unit` may stand for `word`."""

    word: str
    unit: str
    relation: Relation


def candidates(
    wn: WordNet, seen: Callable[[str], bool], refused: Collection[tuple[str, str]] = ()
) -> list[Candidate]:
    """Every related pair of words that can be seen, each once, in order.

    A pair with several relations keeps the first of synonym, narrower, derivation.

    Args:
        wn: the database.
        seen: whether an image can show the word.
        refused: pairs of word and unit that are wrong all the same.
    """
    found: dict[tuple[str, str], Relation] = dict.fromkeys(refused, "synonym")
    words = [w for w in wn.index if is_plain(wn, w) and seen(w)]
    usable = {w for w in words if len(w) > MIN_UNIT_LETTERS and w not in NOBODY}
    young = young_of(wn)
    for step in (_synonyms, partial(_narrower, young=young), _derivations):
        for word in words:
            for unit, relation in step(wn, word):
                if unit != word and unit in usable:
                    found.setdefault((word, unit), relation)
    kept = found.keys() - set(refused)
    return sorted(Candidate(*pair, found[pair]) for pair in kept)


def is_plain(wn: WordNet, word: str) -> bool:
    """Letters, blanks and hyphens, of at most three words, and no scientific name."""
    letters = word.replace(" ", "").replace("-", "").replace("'", "")
    if not (letters.isascii() and letters.isalpha() and len(letters) > 1):
        return False
    return len(word.split()) <= MAX_PHRASE_WORDS and not is_scientific(wn, word)


def is_scientific(wn: WordNet, word: str) -> bool:
    """Names such as "Canis familiaris" or "genus Canis": nobody writes them into a caption."""
    if word.startswith(("genus ", "family ", "order ", "class ", "phylum ", "suborder ")):
        return True
    files = {wn[s.key].file for s in wn.senses(word, "n")}
    if " " not in word or not files or not files <= {"noun.animal", "noun.plant"}:
        return False
    if word in SPOKEN:
        return False
    genus = f"genus {word.split()[0]}" in wn.index or word.split()[-1] not in wn.index
    return genus and all(
        form[:1].isupper() for s in wn.senses(word, "n") for form in _forms(wn, s.key, word)
    )


def word_senses(wn: WordNet, word: str, pos: str) -> tuple[Key, ...]:
    """The senses somebody who types this word may well mean, the commonest first.

    The first sense, and a second one if the texts often have it. Where texts were never tagged
    with the word, a second sense counts if it is an animal, a plant or a food (`leopard`: first
    the pelt, then the animal). A name (`Turkey`) is no sense of a common word.
    """
    senses = _common(wn, word, pos)
    if not senses:
        return ()
    most = max(s.tagged for s in senses)
    second = [
        s.key
        for s in senses[1:]
        if (s.tagged >= max(SHARE * most, ENOUGH) if most else wn[s.key].file in EXACT_KINDS)
    ]
    return (senses[0].key, *second[:1])


def stands_for(wn: WordNet, word: str, key: Key, within: Collection[Key] = ()) -> bool:
    """Whether a text that says `word` mostly means this synset, or one of `within`.

    Tag counts decide. A word without any may have no second meaning that is a thing of its own:
    `bike` is a motorcycle or a bicycle, so it stands for neither, but for a vehicle.
    """
    senses = _common(wn, word, key[0])
    if not senses or senses[0].key != key:
        return False
    others = sum(s.tagged for s in wn.senses(word) if s.key[0] != key[0])
    inside = sum(s.tagged for s in senses if s.key == key or s.key in within)
    if inside:
        return 2 * inside > sum(s.tagged for s in senses) and inside >= others
    rivals = [s.key for s in senses[1:] if s.key not in within and wn[s.key].file in THING_FILES]
    return not others and not [k for k in rivals if wn[k].file != "noun.person"]


def _common(wn: WordNet, word: str, pos: str) -> Sequence[Sense]:
    """Senses without those in which the word is a name, unless it only is one."""
    senses = wn.senses(word, pos)
    lower = [s for s in senses if any(form.islower() for form in _forms(wn, s.key, word))]
    return lower or senses


def _forms(wn: WordNet, key: Key, word: str) -> list[str]:
    """The word as the synset writes it."""
    return [lemma for lemma in wn[key].lemmas if lemma.lower() == word]


def usual_senses(wn: WordNet, word: str) -> list[Key]:
    """Senses of a prompt's word in every part of speech that it often is.

    A word that often names a thing is asked for as that thing: a desert is not to desert.
    """
    nouns = word_senses(wn, word, "n")
    tagged = {pos: sum(s.tagged for s in wn.senses(word, pos)) for pos in "nva"}
    most = max(tagged.values())
    if (tagged["n"] or not most) and any(wn[key].file in NOUN_FILES for key in nouns):
        return list(nouns)
    often = [p for p in "nva" if wn.senses(word, p) and RARE * tagged[p] >= most]
    return [key for pos in often[: None if most else 1] for key in word_senses(wn, word, pos)]


def _synonyms(wn: WordNet, word: str) -> Iterator[tuple[str, Relation]]:
    for key in usual_senses(wn, word):
        if (key[0] == "v" and " " in word) or is_rude(wn, key):
            continue
        for lemma in map(str.lower, wn[key].lemmas):
            if not (key[0] == "v" and " " in lemma) and stands_for(wn, lemma, key):
                yield lemma, "synonym"


def _narrower(
    wn: WordNet, word: str, young: Mapping[str, Sequence[Key]]
) -> Iterator[tuple[str, Relation]]:
    for key in usual_senses(wn, word):
        if wn[key].file not in VISIBLE_FILES:
            continue
        below = _below(wn, key)
        named = dict.fromkeys(young.get(word, ()) if wn[key].file == "noun.animal" else ())
        for kind in (*below, *named, *_sisters(wn, key)):
            for lemma in map(str.lower, wn[kind].lemmas):
                kin = kind in below or kind in named or lemma.endswith(f" {word}")
                if kin and stands_for(wn, lemma, kind, below):
                    yield lemma, "narrower"


def _below(wn: WordNet, top: Key) -> dict[Key, None]:
    """Hyponyms and instances, `LEVELS` deep, nearest first; no persons by name."""
    found: dict[Key, None] = {}
    level = [top]
    for _ in range(LEVELS):
        kinds = [k for key in level for k in wn[key].to("~") if k not in found]
        kinds += [k for key in level for k in wn[key].to("~i") if k not in found]
        level = [k for k in kinds if not is_rude(wn, k) and not _is_somebody(wn, k)]
        found.update(dict.fromkeys(level))
    return found


def young_of(wn: WordNet) -> dict[str, list[Key]]:
    """Animals defined by another's name: kitten, "young domestic cat"; vixen, "female fox"."""
    found: dict[str, list[Key]] = {}
    for key, synset in wn.synsets.items():
        if synset.file == "noun.animal" and (match := YOUNG.match(synset.definition)):
            found.setdefault(match[1], []).append(key)
    return found


def _sisters(wn: WordNet, key: Key) -> list[Key]:
    """Kinds under the same broader term: a snow leopard stands beside the leopard, as a big cat."""
    if wn[key].file not in EXACT_KINDS:
        return []
    return [k for above in wn[key].to("@") for k in wn[above].to("~") if k != key]


def _is_somebody(wn: WordNet, key: Key) -> bool:
    return wn[key].file == "noun.person" and not any(form.islower() for form in wn[key].lemmas)


def is_rude(wn: WordNet, key: Key) -> bool:
    """Whether WordNet marks the synset as an insult, or speaks of sex."""
    usage = " ".join(lemma for to in wn[key].to(";u") for lemma in wn[to].lemmas)
    return any(mark in f"{wn[key].definition} {usage}" for mark in RUDE)


def _derivations(wn: WordNet, word: str) -> Iterator[tuple[str, Relation]]:
    for key in usual_senses(wn, word):
        synset = wn[key]
        for pointer in synset.pointers:
            if pointer.symbol not in DERIVED_FROM or not pointer.source:
                continue
            other = wn[pointer.to]
            lemma = other.lemmas[pointer.target - 1].lower()
            if (
                synset.lemmas[pointer.source - 1].lower() == word
                and _same_sight(synset, other, word, lemma)
                and stands_for(wn, lemma, pointer.to)
            ):
                yield lemma, "derivation"


def _same_sight(one: Synset, other: Synset, word: str, lemma: str) -> bool:
    """Whether what one word names is in view where the other fits.

    Not: two nouns (king, kingship), a doer or tool (cook, cooker), a thing and its quality
    (fish, fishy), except what it has (wing, winged).
    """
    files = {one.file, other.file}
    if one.key[0] == other.key[0] == "n" or other.key[0] == "r" or "noun.person" in files:
        return False
    if any(word.endswith(end) != lemma.endswith(end) for end in AGENT):
        return False
    ends = MADE + ABLE
    if "v" in (one.key[0], other.key[0]) and (word.endswith(ends) or lemma.endswith(ends)):
        return False
    return not files & THING_FILES - {"noun.object"} or word.endswith("ed") or lemma.endswith("ed")
