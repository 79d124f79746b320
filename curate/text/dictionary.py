"""What the word table says of a unit, which may have several lemmas or parts."""

from curate.text import tokens, wordnet
from curate.text.lemmas import in_dictionary, lemmas_of


def is_known(unit: str) -> bool:
    """Whether a dictionary has the unit or all its parts; what begins with a digit is known.

    So is what is like something known: *corpselike*.
    """
    if unit[:1].isdigit() or wordnet.known(unit.removesuffix("like")):
        return True
    if any(wordnet.known(one) or in_dictionary(one) for one in lemmas_of(unit)):
        return True
    parts = tokens.parts(unit) if "-" in unit else []
    return len(parts) > 1 and all(map(is_known, parts))


def is_entry(unit: str) -> bool:
    """Whether the word table has a lemma of the unit: what misspelt words are corrected to."""
    return any(map(wordnet.known, lemmas_of(unit)))


def is_part(unit: str) -> bool:
    """Whether it is a word of some entry, if none of its own: the Mahal of Taj Mahal."""
    return wordnet.is_part(unit)


def written_apart(unit: str) -> str | None:
    """The entry of two words that somebody wrote as one: teddy bear, of teddybear."""
    cuts = (f"{unit[:n]} {unit[n:]}" for n in range(2, len(unit) - 1))
    return next(filter(wordnet.known, cuts), None) if unit.isalpha() else None


def is_visual(unit: str) -> bool:
    """Whether a picture can show the unit, by itself or, unknown as it stands, by a lemma."""
    if wordnet.known(unit):
        return wordnet.is_visual(unit)
    return any(wordnet.is_visual(one) for one in lemmas_of(unit))


def related(unit: str) -> list[wordnet.Related]:
    """Related words of every reading of a unit, in every spelling: each once, never the unit.

    A form in -ing or -ed is what somebody does, so that of its verb only verbs are related to it:
    *leaping* has pictures of *jump*, but *rocking* none of a *boulder*. Another form that is a
    word of its own (*bare*, *weed*) has nothing of the word it may come from.
    """
    own = {unit, *lemmas_of(unit), *wordnet.variants(unit)}
    best: dict[str, wordnet.Related] = {}
    for lemma in sorted(own):
        for one in wordnet.related(lemma):
            if one.unit in own or not _is_meant(unit, lemma, one.unit):
                continue
            known = best.get(one.unit)
            if known is None or known.similarity < one.similarity:
                best[one.unit] = one
    return list(best.values())


def _is_meant(unit: str, lemma: str, other: str) -> bool:
    """Whether a word related to a lemma of a unit is related to the unit in this form."""
    if lemma == unit or lemma not in lemmas_of(unit):
        return True
    if unit.endswith(("ing", "ed")):
        verbs = wordnet.parts_of_speech(lemma)[:1], *wordnet.parts_of_speech(other)
        return verbs[0] == "v" and "v" in verbs[1:]
    return not wordnet.known(unit)


def spellings(phrase: str) -> list[tuple[str, ...]]:
    """A phrase with its words in every spelling."""
    found: list[tuple[str, ...]] = [()]
    for word in phrase.split():
        names = [word, *sorted(wordnet.variants(word))]
        found = [(*one, name) for one in found for name in names]
    return found[:8]
