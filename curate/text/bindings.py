"""Which adjective says something of which noun, without a tagger.

Every word gets one letter for what it can be, and patterns over these letters find the pairs:
"a big red sports car" is `DJKNN`. Captions are read by the same patterns, so that a prompt and a
caption that say the same thing in the same words always agree.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain

from curate.text import tokens, wordnet
from curate.text.lemmas import BODY_PARTS, is_function_word, lemmas_of
from curate.text.word_lists import read_sections

# The letters. Nouns: N, S (plural); those that can be verbs: M (dragon attack), Y (attacks); those
# that mostly are: B (play), Z (plays); O (a possessive). Modifiers: J, K (colour), H (shade), and
# participles that are no adjective of their own: E (-ed), I (-ing), T (-ing of a verb that takes
# an object), C (compounds like snow covered), X (painted, dyed). Others: R (very), D (the),
# U (a number), A (and), L (is), G (are), Q (that), W (with), F (in), V (all else). Small letters,
# until decided, for what is a noun too where no noun follows ("an orange cat", "a ripe orange").
_NOUN = "NSMYBZO"
_HAVING_VERBS = ("with", "has", "having")
_LISTS = read_sections("text/bindings.txt")
COLOURS = _LISTS["colours"]
_LETTERS = {name[-1]: words for name, words in _LISTS.items() if name[:-1] == "letter "}
_LETTERS["K"] = COLOURS
_BEFORE_A_NOUN = re.compile(r"R*+U*+[JKHEITCXNSMYBjkh]|AR*+[JKHEITCXjkh]")
_SAID_OF = re.compile(r"[LGX]R*(?:[JKHEjkh]A?R*)*$")
_NATIONS = ("ish", "ese", "ian", "ean", "can")
_MANY = 12  # modifiers of one noun; bounds the time that a run of any length takes
# What counts as a noun after a noun: no verb in -s behind a singular, no base form behind a plural.
_NEXT = "(?:N|S|(?<![SYZ])B|(?<![NMB])Z|(?<![NSMYBZ])[MY]|[MY](?!D))"
_NOUN_RUN = f"(?:{_NEXT}*O|{_NEXT}+)"
_MOD = f"(?:[JKHX]|(?<![{_NOUN}])E|(?<![{_NOUN}LG])I|(?<=[DUJKHR])T|C)"
_MODS = f"(?:{_MOD}(?:R*+(?:AR*+)?U*+{_MOD}){{0,{_MANY}}}U*+)"
_ATTRIBUTIVE = re.compile(
    f"(?:(?<=[DR])(?P<far>{_MODS})AD[RU]*+)?(?P<near>{_MODS})(?P<noun>{_NOUN_RUN})"
)
_STATES = f"(?:R*+[JKHXC](?:A?R*+[JKHXC]){{0,{_MANY}}})"
_PREDICATIVE = re.compile(
    f"(?P<noun>[{_NOUN}])Q?(?P<be>[LG])(?P<state>{_STATES})(?!R*+A?[JKHEXCIT]{{0,{_MANY}}}[{_NOUN}])"
)
_PAINTED = re.compile(f"(?P<noun>[{_NOUN}])X(?P<state>R*+[KH]+(?:A[KH]+)?)(?![{_NOUN}])")
_ABSOLUTE = re.compile(
    f"(?<=W)D?{_MODS}?(?P<noun>{_NOUN_RUN})(?P<state>[JKE](?:AR*+[JK])?)(?![JKHE{_NOUN}])"
)
_DOING = re.compile(f"(?P<noun>[{_NOUN}])(?:(?:Q?[LG])?R*+[EITCX]|R*+J(?![AR]*+[JKHEITCX{_NOUN}]))")


def find_bindings(
    words: Sequence[str], *, phrases: Sequence[tuple[int, int]] = ()
) -> list[tuple[int, int]]:
    """The pairs (position of an adjective or participle, position of its noun), in order.

    Adjectives stand before their noun ("big red car"), are joined ("red and blue car"), or are
    said of it ("the sky is green", "a dog that is very large"). Nouns that modify nouns, numbers
    and degree adverbs are no bindings; of a run of nouns the last is the head.

    Args:
        words: normal forms of a run of words without punctuation between, function words
            included.
        phrases: [first, past last) of phrases in it: no binding lies within one, and what is
            said of a phrase is said of its last word.
    """
    return sorted(_binding_pairs(words, _letters(words, phrases)))


def binds(words: Sequence[str], adjective: frozenset[str], noun: frozenset[str]) -> bool:
    """Whether a run of words of a caption says the adjective of the noun.

    True for each pair that `find_bindings` gives, and also for what the noun is said to do ("a dog
    sleeping on a sofa" shows a sleeping dog). The parts of a hyphenated adjective may stand
    side by side.

    Args:
        words: normal forms, as for `find_bindings`.
        adjective: lemmas of the adjective.
        noun: lemmas of the noun.
    """
    nouns = {n for n, word in enumerate(words) if not noun.isdisjoint(lemmas_of(word))}
    if not nouns:
        return False
    said = {n for n, word in enumerate(words) if not adjective.isdisjoint(lemmas_of(word))}
    for parts in (tokens.hyphen_parts(one) for one in adjective if "-" in one):
        ends = range(len(parts), len(words) + 1)
        said.update(end - 1 for end in ends if list(words[end - len(parts) : end]) == parts)
    if not said:
        return False
    letters = _letters(words, ())
    doing = ((match.end() - 1, match.end("noun") - 1) for match in _DOING.finditer(letters))
    return any(a in said and n in nouns for a, n in chain(_binding_pairs(words, letters), doing))


def has_body_part(words: Sequence[str], adjective: str, noun: frozenset[str]) -> bool:
    """Whether a caption tells of a noun's body what a compound says: *woman with long red hair*.

    Args:
        words: as for `binds`.
        adjective: a unit; only compounds with a word of `BODY_PARTS` are told so.
        noun: lemmas.
    """
    first, *rest = adjective.split("-")
    if not rest or rest[-1] not in BODY_PARTS:
        return False
    wanted = [first, *rest[:-1], BODY_PARTS[rest[-1]]]
    for n, word in enumerate(words[:-1]):
        verb = min(n + 1 + (words[n + 1] in ("that", "who")), len(words) - 1)
        if words[verb] in _HAVING_VERBS and lemmas_of(word) & noun:
            near = words[verb + 1 : verb + 3 + len(wanted)]  # two other words at most
            if any(list(near[k:][: len(wanted)]) == wanted for k in range(3)):
                return True
    return False


def is_adjective_comma(before: Sequence[str], after: str) -> bool:
    """Whether a comma stands between adjectives of one noun: "a big, red car".

    Args:
        before: the run of words before the comma.
        after: the first word behind it.
    """
    letters = _letters(before, ())
    listed = re.search(f"D[RU]*+{_MODS}$", letters) is not None
    return listed and _letter(after) in "JKHEI"


def noun_positions(words: Sequence[str], *, phrases: Sequence[tuple[int, int]] = ()) -> set[int]:
    """Positions of the nouns, those that modify nouns included.

    A word that is mostly a verb (play, walks) is a noun behind an article or a modifier.
    """
    letters = _letters(words, phrases)
    return {
        n
        for n, letter in enumerate(letters)
        if letter in "NSMYO" or (n and letter in "BZ" and letters[n - 1] in "DUJKHECTIX")
    }


def is_noun(word: str) -> bool:
    """Whether the form is first of all a noun: neither an adjective nor a verb, nor a number."""
    return _letter(word) in "NSMY"


def _letters(words: Sequence[str], phrases: Sequence[tuple[int, int]]) -> str:
    """The letter of each word; a small one becomes that of a modifier before a noun or behind "is",
    else that of a noun.
    """
    letters = "".join(map(_letter, words))
    found = list(letters)
    for place, letter in enumerate(letters):
        if letter.islower():
            before = "".join(found[max(0, place - _MANY) : place])
            modifier = _BEFORE_A_NOUN.match(letters, place + 1) or _SAID_OF.search(before)
            found[place] = letter.upper() if modifier else "N"
    for first, past in phrases:
        found[first:past] = "N" * (past - first)
    return "".join(found)


def _binding_pairs(words: Sequence[str], letters: str) -> Iterator[tuple[int, int]]:
    for match in _ATTRIBUTIVE.finditer(letters):
        for group in ("far", "near"):
            for place, noun in _each(letters, match, group):
                if place + 1 == noun or words[place + 1] not in _LISTS["measures"]:
                    yield place, noun
    for match in _PREDICATIVE.finditer(letters) if "L" in letters or "G" in letters else ():
        states = [place for place, _ in _each(letters, match, "state")]
        for head in _subjects(letters, match):
            yield from ((place, head) for place in states if not _is_passive(words, place))
    for sign, pattern in (("X", _PAINTED), ("W", _ABSOLUTE)):
        for match in pattern.finditer(letters) if sign in letters else ():
            yield from _each(letters, match, "state")


def _each(letters: str, match: re.Match[str], group: str) -> Iterator[tuple[int, int]]:
    """Each modifier of a group of the match, with the noun of the match.

    Numbers, adverbs and the dark of dark blue are left out.
    """
    for place in range(*match.span(group)):
        shade = letters[place] == "H" and letters[place + 1 : place + 2] != "K"
        if shade or letters[place] in "JKEITCX":
            yield place, match.end("noun") - 1


def _is_passive(words: Sequence[str], place: int) -> bool:
    """Whether more is done than said: "is eaten by", "was nestled between"; not "filled with"."""
    if not words[place].endswith(("ed", "en")):
        return False
    return words[place - 1] == "being" or "F" in map(_letter, words[place + 1 : place + 2])


def _subjects(letters: str, match: re.Match[str]) -> Iterator[int]:
    """The nouns of which something is said: past "in the hat" in "the man in the hat is old"."""
    head = match.end("noun") - 1
    if letters[match.end("noun")] == "Q":
        yield head
        return
    while (before := _noun_phrase_start(letters, head) - 1) > 0 and letters[before - 1] in _NOUN:
        if letters[before] == "A" and match["be"] == "G":
            yield head
        elif letters[before] not in "FWT":
            break
        head = before - 1
    yield head


def _noun_phrase_start(letters: str, head: int) -> int:
    """Where what belongs to a noun begins: its nouns, their modifiers and the article."""
    place = head
    while place and letters[place - 1] in _NOUN:
        place -= 1
    while place and (
        letters[place - 1] in "JKHEIXCRU"
        or (letters[place - 1] == "A" and letters[place - 2 : place - 1] not in ("", *_NOUN))
    ):
        place -= 1
    return place - 1 if place and letters[place - 1] == "D" else place


@cache
def _letter(word: str) -> str:
    """What a word can be, as one letter of the list at the top."""
    for letter, listed in _LETTERS.items():
        if word in listed:
            return letter
    if word[:1].isdigit():
        return "J" if word.endswith(("ed", "-old")) else "U"
    if "-" in word:
        return _hyphenated_letter(word)
    if is_function_word(word):
        return "V"
    if word.endswith("'s"):
        return "O"
    if word.endswith("men"):
        return "S"  # snowmen
    return _open_class_letter(word)


def _hyphenated_letter(word: str) -> str:
    *first, last = tokens.hyphen_parts(word) or [word]
    if _letter(last) in "JKHEICXT" or last.endswith("ed") or last in _LISTS["made"]:
        return "J"
    if first and _letter(first[-1]) in "JKHU" and _letter(last) in _NOUN:
        return "J"  # low-poly, two-story
    return "S" if _letter(last) == "S" else "N"


def _open_class_letter(word: str) -> str:
    own = wordnet.parts_of_speech(word)
    lemmas = lemmas_of(word) - {word}
    inherited = set().union(*map(wordnet.parts_of_speech, lemmas))
    if word.endswith("ing") and "v" in inherited:
        return "I"
    if own:
        return _dictionary_letter(word, own, inherited)
    if word.endswith(("ed", "en")) and "v" in inherited:
        return "E"
    if word.endswith("s") and lemmas:
        return _plural_letter(lemmas)
    if "a" in inherited and word.endswith(("er", "est")):
        return "J"
    if inherited:
        return "V" if "v" in inherited else "N"
    if word.endswith(("ish", "less", "ful", "ous", "esque", "ic")):
        return "J"
    adverb = word.endswith("ly") and len(word) > 5 and wordnet.parts_of_speech(word[:-2])
    return "R" if adverb else "N"


def _dictionary_letter(word: str, own: str, inherited: set[str]) -> str:
    """The letter of a dictionary word, from its parts of speech, most frequent first."""
    if own[0] == "r":
        return "R"
    before_noun, _, from_noun = own.partition("n")
    if "a" in before_noun or ("a" in from_noun and word.endswith(_NATIONS)):
        return "J"
    if "n" not in own:
        return "E" if word.endswith("ed") else "V"
    if own[0] == "v":
        return "B"
    return "S" if "n" in inherited and word.endswith("s") else "M" if "v" in own else "N"


def _plural_letter(lemmas: Iterable[str]) -> str:
    readings = [wordnet.parts_of_speech(lemma) for lemma in lemmas]
    nouns = [reading for reading in readings if "n" in reading]
    if not nouns:
        return "V" if any("v" in reading for reading in readings) else "S"
    if any(reading[0] == "n" and "v" not in reading for reading in nouns):
        return "S"
    return "Y" if any("v" not in reading.partition("n")[0] for reading in nouns) else "Z"
