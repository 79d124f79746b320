"""Every entry of a word list changes how the example beside it is read, or it is not needed."""

import importlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from itertools import permutations

import pytest

from curate.captions import clean
from curate.prompts.reader import parse_prompt
from curate.prompts.units import find_units
from curate.rights import licence_names, licences
from curate.rights.licences import kinds_of
from curate.text import analysis, bindings, lemmas, negation, phrases, stopwords, tokens
from curate.text.word_lists import read_sections
from train.publish.card import claim_licence

LISTS = sorted(
    f"{room}/{file.name}"
    for room in ("captions", "prompts", "rights", "text")
    for file in resources.files(f"curate.{room}").iterdir()
    if file.name.endswith(".txt") and file.name != "WORDNET-LICENSE.txt"
)
# Lists that are kept in a second shape too, by the first word of an entry.
SECOND_SHAPES = {
    "irregular plurals": lemmas.IRREGULAR_PLURALS,
    "lemma corrections": lemmas.LEMMA_CORRECTIONS,
}
CACHES = [
    kept
    for module in (analysis, bindings, lemmas, licence_names, negation, phrases, stopwords)
    for name, kept in vars(module).items()
    if hasattr(kept, "cache_clear") and kept.__module__ == module.__name__
    if name != "_load_dictionary"  # of simplemma: no list of ours
]


@pytest.fixture(autouse=True)
def whole_lists() -> Iterator[None]:
    yield
    forget()
    importlib.reload(clean)


@pytest.mark.parametrize("file", LISTS)
def test_each_entry_changes_how_its_example_is_read(file: str):
    unjustified = []
    read = READERS.get(file, reading)
    for section, entries in read_sections(file).items():
        before = {entry: read(example, section, entry) for entry, example in entries.items()}
        for entry, example in list(entries.items()):
            with without(entries, section, entry):
                if read(example, section, entry) == before[entry]:
                    unjustified.append((section, entry, example))
    assert not unjustified


@pytest.mark.parametrize("file", LISTS)
def test_each_line_is_an_entry_with_a_short_example(file: str):
    lines = resources.files("curate").joinpath(file).read_text("utf-8").splitlines()
    entries = [line for line in lines if line and not line.startswith(("#", "["))]
    sections = read_sections(file).values()
    assert len(entries) == sum(map(len, sections)), "an entry stands twice in a section"
    examples = [example for listed in sections for example in listed.values()]
    assert all(0 < len(example) <= 70 for example in examples)


def test_no_word_has_two_letters():
    letters = [
        listed for name, listed in read_sections("text/bindings.txt").items() if "letter" in name
    ]
    counts = Counter(word for listed in letters for word in listed)
    assert max(counts.values()) == 1


def cleaning(text: str, _section: str, _entry: str) -> tuple[object, ...]:
    """What is kept of a title, of the names of a file and a folder, and of tags."""
    importlib.reload(clean)  # its expressions are made of the lists
    names = clean.file_name_words(text), clean.folder_name_words(text)
    return clean.title_words(text), *names, clean.clean_tags(text.split(", "))


def reading(text: str, section: str, entry: str) -> tuple[object, ...]:
    """What is asked for in a prompt, and what is counted in a caption."""
    # To make a phrase of what is made of something, captions must show the two side by side.
    together = (lambda _: phrases.MIN_TOGETHER) if section == "materials" else None
    found = find_units([parse_prompt(text)], together=together)
    return (
        *map(dict, (found.words, found.phrases, found.attribute_bindings, found.pairs)),
        [(lemmas.lemmas_of(word), lemmas.unit_of(word)) for word in tokens.words(text)],
        lemmas.shows(text, entry),
    )


def saying(text: str, section: str, entry: str) -> tuple[object, ...]:
    """The same, and what a caption says of what: a sleeping dog, of *a dog sleeping*."""
    pairs = {
        (said, noun)
        for words in map(tokens.words, tokens.clauses(text))
        for said, noun in permutations(set(words), 2)
        if bindings.binds(words, lemmas.lemmas_of(said), lemmas.lemmas_of(noun))
    }
    return *reading(text, section, entry), pairs


def stating(text: str, _section: str, _entry: str) -> tuple[object, ...]:
    """Which licence is stated, of what kinds, and what a model of such images may claim."""
    licence = licences.identify(text, None)
    id = licence.id or "none"
    return licence, kinds_of(id), claim_licence({id: 1}), licences.identify_flickr(text)


READERS = {
    "captions/noise.txt": cleaning,
    "rights/licences.txt": stating,
    "text/bindings.txt": saying,
}


@contextmanager
def without(entries: dict[str, str], section: str, entry: str) -> Iterator[None]:
    """Read with one entry fewer in a list."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(entries, entry)
        if section in SECOND_SHAPES:
            patch.delitem(SECOND_SHAPES[section], entry.split()[0])
        forget()
        yield
    forget()


def forget() -> None:
    for kept in CACHES:
        kept.cache_clear()
