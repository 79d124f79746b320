"""Every entry of a word list changes how the example beside it is read, or it is not needed."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources

import pytest

from curate.prompts.reader import parse_prompt
from curate.prompts.units import find_units
from curate.text import analysis, bindings, lemmas, negation, phrases, stopwords, tokens
from curate.text.word_lists import read_sections

LISTS = sorted(
    file.name
    for file in resources.files("curate.text").iterdir()
    if file.name.endswith(".txt") and file.name != "WORDNET-LICENSE.txt"
)
# Lists that are kept in a second shape too, by the first word of an entry.
SECOND_SHAPES = {
    "irregular plurals": lemmas.IRREGULAR_PLURALS,
    "lemma corrections": lemmas.LEMMA_CORRECTIONS,
}
CACHES = [
    kept
    for module in (analysis, bindings, lemmas, negation, phrases, stopwords)
    for name, kept in vars(module).items()
    if hasattr(kept, "cache_clear") and kept.__module__ == module.__name__
    if name != "_load_dictionary"  # of simplemma: no list of ours
]


@pytest.mark.parametrize("file", LISTS)
def test_each_entry_changes_how_its_example_is_read(file: str):
    unjustified = []
    for section, entries in read_sections(file).items():
        before = {entry: reading(example, section, entry) for entry, example in entries.items()}
        for entry, example in list(entries.items()):
            with without(file, section, entry):
                if reading(example, section, entry) == before[entry]:
                    unjustified.append((section, entry, example))
    assert not unjustified


@pytest.mark.parametrize("file", LISTS)
def test_each_line_is_an_entry_with_a_short_example(file: str):
    lines = resources.files("curate.text").joinpath(file).read_text("utf-8").splitlines()
    entries = [line for line in lines if line and not line.startswith(("#", "["))]
    sections = read_sections(file).values()
    assert len(entries) == sum(map(len, sections)), "an entry stands twice in a section"
    examples = [example for listed in sections for example in listed.values()]
    assert all(0 < len(example) <= 70 for example in examples)


def test_no_word_has_two_letters():
    letters = [listed for name, listed in read_sections("bindings.txt").items() if "letter" in name]
    counts = Counter(word for listed in letters for word in listed)
    assert max(counts.values()) == 1


def reading(text: str, section: str, entry: str) -> tuple[object, ...]:
    """All that is read in a text, as a prompt and as a caption."""
    # To make a phrase of what is made of something, captions must show the two side by side.
    together = (lambda _: phrases.MIN_TOGETHER) if section == "materials" else None
    found = find_units([parse_prompt(text)], together=together)
    words = tokens.words(text)
    return (
        *map(dict, (found.words, found.phrases, found.attribute_bindings, found.pairs)),
        [(lemmas.lemmas_of(word), lemmas.unit_of(word)) for word in words],
        lemmas.shows(text, entry),
        {pair for clause in tokens.clauses(text) for pair in said_pairs(tokens.words(clause))},
    )


def said_pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    """What a caption says of what: *a dog sleeping on a sofa* shows a sleeping dog."""
    for said in set(words):
        for noun in set(words) - {said}:
            if bindings.binds(words, lemmas.lemmas_of(said), lemmas.lemmas_of(noun)):
                yield said, noun


@contextmanager
def without(file: str, section: str, entry: str) -> Iterator[None]:
    """Read with one entry fewer in a list."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(read_sections(file)[section], entry)
        if section in SECOND_SHAPES:
            patch.delitem(SECOND_SHAPES[section], entry.split()[0])
        forget()
        yield
    forget()


def forget() -> None:
    for kept in CACHES:
        kept.cache_clear()
