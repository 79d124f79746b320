"""What is known of a word without any data, and what the words of a prompt say together.

A form is looked up once, and what is known of it is read from its `Word` from then on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product

from curate.text import bindings, phrases, stopwords, tokens, wordnet
from curate.text.lemmas import in_dictionary, is_function_word, lemmas_of, unit_of

# roles of words that name nothing to be looked for
FUNCTION_WORD, QUALITY_TAG = "function-word", "meta"
BLANK, COMMA, APART = "blank", "comma", "apart"  # what stands between one word and the next


@dataclass(frozen=True, slots=True)
class Word:
    """A form or a unit by itself, whatever it stands beside."""

    form: str  # normal; a phrase has blanks
    unit: str  # the item that a prompt's word of this form belongs to
    lemmas: frozenset[str]  # all that it can have
    parts_of_speech: str  # of "nvar" (noun, verb, adjective, adverb), the commonest first
    variants: frozenset[str]  # other spellings
    is_known: bool  # to a dictionary
    is_visual: bool  # an image can show it
    is_number: bool  # it counts things, in digits or letters
    is_function_word: bool  # of a closed class, wherever it stands

    def is_part(self) -> bool:
        """Whether it is a word of some entry, if none of its own: the Mahal of Taj Mahal."""
        return wordnet.is_entry_word(self.form)

    def compound(self) -> str | None:
        """The entry of two words that somebody wrote as one: teddy bear, of teddybear."""
        cuts = (f"{self.form[:n]} {self.form[n:]}" for n in range(2, len(self.form) - 1))
        return next(filter(wordnet.has_word, cuts), None) if self.form.isalpha() else None

    def related(self) -> list[wordnet.RelatedWord]:
        """Related words of every reading, in every spelling: each once, never the word itself.

        A form in -ing or -ed is what somebody does, so that of its verb only verbs are related to
        it: *leaping* has images of *jump*, but *rocking* none of a *boulder*. Another form that is
        a word of its own (*bare*, *weed*) has nothing of the word it may come from.
        """
        own = {self.form, *self.lemmas, *self.variants}
        best: dict[str, wordnet.RelatedWord] = {}
        for lemma in sorted(own):
            for one in wordnet.related_words(lemma):
                if one.unit in own or not self._means(lemma, one.unit):
                    continue
                known = best.get(one.unit)
                if known is None or known.similarity < one.similarity:
                    best[one.unit] = one
        return list(best.values())

    def _means(self, lemma: str, other: str) -> bool:
        """Whether a word related to a lemma is related to the word in this form."""
        if lemma == self.form or lemma not in self.lemmas:
            return True
        if self.form.endswith(("ing", "ed")):
            verbs = wordnet.parts_of_speech(lemma)[:1], *wordnet.parts_of_speech(other)
            return verbs[0] == "v" and "v" in verbs[1:]
        return not wordnet.has_word(self.form)


@lru_cache(maxsize=1 << 16)
def word(form: str) -> Word:
    """What is known of a normal form; asked again, the same."""
    lemmas, variants = lemmas_of(form), wordnet.spelling_variants(form)
    return Word(
        form=form,
        unit=unit_of(form),
        lemmas=lemmas,
        parts_of_speech=wordnet.parts_of_speech(form),
        variants=variants,
        is_known=_is_known(form, lemmas),
        # by itself or, unknown as it stands, by a lemma
        is_visual=any(map(wordnet.is_visual_lemma, [form] if wordnet.has_word(form) else lemmas)),
        is_number=any(one.isdigit() for one in (form, *variants)),
        is_function_word=is_function_word(form),
    )


def _is_known(form: str, lemmas: frozenset[str]) -> bool:
    """Whether a dictionary has a form or all its parts; what begins with a digit is known.

    So is what is like something known: *corpselike*.
    """
    if form[:1].isdigit() or wordnet.has_word(form.removesuffix("like")):
        return True
    if any(wordnet.has_word(one) or in_dictionary(one) for one in lemmas):
        return True
    parts = tokens.hyphen_parts(form) if "-" in form else []
    return len(parts) > 1 and all(word(part).is_known for part in parts)


def is_dictionary_entry(form: str) -> bool:
    """Whether the word table has a lemma of the form: what misspelt words are corrected to."""
    return any(map(wordnet.has_word, lemmas_of(form)))


def phrase_spellings(phrase: str) -> list[str]:
    """A phrase with its words in every spelling, itself first; eight at the most."""
    spellings = ([part, *sorted(wordnet.spelling_variants(part))] for part in phrase.split())
    return [" ".join(words) for words in islice(product(*spellings), 8)]


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the words of a prompt say together; places count from its first word."""

    words: list[Word]
    roles: dict[int, str]  # FUNCTION_WORD or QUALITY_TAG, of words that have one of these
    runs: list[range]  # words that follow one another
    phrases: list[phrases.FoundPhrase]
    nouns: set[int]
    attributes: list[tuple[int, int]]  # an adjective or participle, and the noun it is said of


def analyse(
    forms: Sequence[str],
    between: Sequence[str],
    *,
    quality_tags: frozenset[str] = frozenset(),
    own: frozenset[str] = frozenset(),
    together: Callable[[str], int] | None = None,
) -> Analysis:
    """Take the words of one prompt together.

    Args:
        forms: their normal forms, in their order.
        between: what stands between each and the next: BLANK, COMMA or APART.
        quality_tags: the user's words that only ask for quality.
        own: the user's phrases.
        together: as for `phrases.find_phrases`.
    """
    roles = dict.fromkeys(stopwords.function_words(forms), FUNCTION_WORD)
    roles |= dict.fromkeys(stopwords.quality_tags(forms, own=quality_tags), QUALITY_TAG)
    found = Analysis(list(map(word, forms)), roles, list(_runs(forms, between)), [], set(), [])
    for run in found.runs:
        said, start = forms[run.start : run.stop], run.start
        named = [
            (a, b, unit)
            for a, b, unit in phrases.find_phrases(said, own=own, count_together=together)
            if QUALITY_TAG not in {roles.get(start + n) for n in range(a, b)}
        ]
        spans = [(a, b) for a, b, _ in named]
        found.phrases.extend((start + a, start + b, unit) for a, b, unit in named)
        found.nouns.update(start + n for n in bindings.noun_positions(said, phrases=spans))
        pairs = bindings.find_bindings(said, phrases=spans)
        found.attributes.extend((start + a, start + n) for a, n in pairs)
    return found


def _runs(forms: Sequence[str], between: Sequence[str]) -> Iterator[range]:
    """The words that follow one another; a comma between adjectives of one noun ends no run."""
    first = 0
    for n, what in enumerate(between, 1):
        listed = what == COMMA and bindings.is_adjective_comma(forms[first:n], forms[n])
        if what != BLANK and not listed:
            yield range(first, n)
            first = n
    if forms:
        yield range(first, len(forms))
