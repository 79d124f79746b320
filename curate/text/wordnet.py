"""The word table: which words there are, how they are spelt, and which may stand for which.

It reads `words.zip`, built by `tools/build_words.py` from WordNet 3.1 (words, parts of speech,
relations), WordNet 3.0 (irregular forms), lists of our own (modern words, spellings, abstract
words) and all-MiniLM-L6-v2, whose cosine of "a photo of a X" scores each relation. The header in
the file names every input. WordNet's licence lies beside it, in WORDNET-LICENSE.txt.

Words are taken in any case, and with a hyphen for a blank: "Ice-Cream" is "ice cream". Nothing is
read before the first question; each part of the file is read once.
"""

import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

TABLE_FORMAT = "fubuki-words/1"
WORD_TABLE = Path(__file__).with_name("words.zip")
# What a similarity must reach for images of the related word to count. Measured on labelled
# gaps: without these gates WordNet hid 13 of 85 true gaps, with them none.
MIN_SIMILARITY = {"synonym": 0.72, "narrower": 0.70, "derivation": 0.62}
RELATION_CODES = {"synonym": "S", "narrower": "N", "derivation": "D"}  # as the table writes them
_RELATION_NAMES = {letter: name for name, letter in RELATION_CODES.items()}


@dataclass(frozen=True, slots=True)
class RelatedWord:
    """A word whose images may show another word too."""

    unit: str  # may hold blanks
    relation: str  # synonym, narrower (every such thing is one of the word), derivation
    similarity: float  # cosine, cut to hundredths

    @property
    def is_close(self) -> bool:
        """Whether images of it count for the word."""
        return self.similarity >= MIN_SIMILARITY[self.relation]


def has_word(lemma: str) -> bool:
    """Whether a dictionary has the word: WordNet's, or our list of modern words."""
    return _look_up(_read_words(), lemma) != ""


def parts_of_speech(lemma: str) -> str:
    """Letters of "nvar" (noun, verb, adjective, adverb), the commonest first; "" if unknown."""
    return _look_up(_read_words(), lemma).rstrip("+-")


def is_visual_lemma(lemma: str) -> bool:
    """Whether an image can show it: False only for what is abstract in every common sense.

    Unknown words are True: in doubt a gap is reported.
    """
    return not _look_up(_read_words(), lemma).endswith("-")


def spelling_variants(lemma: str) -> frozenset[str]:
    """The same word in other spellings: gray and grey, 3 and three; not itself."""
    return frozenset(_look_up(_read_rows("variants.tsv"), lemma).split("\t")) - {""}


@lru_cache(maxsize=1 << 14)
def related_words(lemma: str) -> tuple[RelatedWord, ...]:
    """Words that may stand for this one, the most similar first, those below MIN_SIMILARITY too.

    Other spellings are none of them: see `spelling_variants`. What is less similar than 0.5 is left
    out.
    """
    units = _look_up(_read_rows("related.tsv"), lemma)
    return tuple(
        RelatedWord(unit[3:], _RELATION_NAMES[unit[0]], int(unit[1:3]) / 100)
        for unit in units.split("\t")
        if unit
    )


def phrases_beginning_with(first: str) -> tuple[tuple[str, ...], ...]:
    """Compounds that begin with this lemma and can be seen, as words, the longest first."""
    return _read_phrases().get(first.lower(), ())


def is_entry_word(form: str) -> bool:
    """Whether an entry of several words holds this word."""
    return form.lower() in _read_parts()


def irregular_lemmas(form: str) -> tuple[str, ...]:
    """Lemmas of an irregular form (geese: goose), of any part of speech; () if it is none."""
    return tuple(filter(None, _look_up(_read_rows("exceptions.tsv"), form).split("\t")))


def _look_up(table: Mapping[str, str], word: str) -> str:
    """The entry of a word as it stands, else with blanks for hyphens, else the reverse; or ""."""
    word = word.lower()
    if (found := table.get(word)) is not None:
        return found
    return table.get(word.replace("-", " ")) or table.get(word.replace(" ", "-"), "")


@cache
def _read_words() -> dict[str, str]:
    """Each word with its parts of speech and a mark: "+" a phrase, "-" not to be seen."""
    found: dict[str, str] = {}
    for line in _read_lines("words.tsv"):
        code, *words = line.split("\t")
        found.update(dict.fromkeys(words, code))
    return found


@cache
def _read_parts() -> frozenset[str]:
    return frozenset(part for entry in _read_words() if " " in entry for part in entry.split())


@cache
def _read_rows(name: str) -> dict[str, str]:
    """The lines of a part of the table by their first column, the rest as it stands."""
    return dict(line.split("\t", 1) for line in _read_lines(name))


@cache
def _read_phrases() -> dict[str, tuple[tuple[str, ...], ...]]:
    found: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    phrases = (tuple(unit.split()) for unit, code in _read_words().items() if code[-1:] == "+")
    for words in sorted(phrases, key=lambda words: (-len(words), words)):
        found[words[0]].append(words)
    return {first: tuple(those) for first, those in found.items()}


def _read_lines(name: str) -> Iterator[str]:
    with zipfile.ZipFile(WORD_TABLE) as file:
        return iter(file.read(name).decode().splitlines())
