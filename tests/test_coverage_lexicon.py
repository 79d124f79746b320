import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.coverage import lexicon
from curate.coverage.lexicon import forms, is_function_word, lemmas, normal, surfaces, unit
from curate.coverage.nearest import Vocabulary, edit_distance

# what a prompt may name, with its plural
PLURALS = """
apple apples | bench benches | blizzard blizzards | box boxes | bus buses | cat cats
cherry cherries | child children | city cities | dragon dragons | dwarf dwarves | elf elves
fairy fairies | fly flies | foot feet | fox foxes | glass glasses | goose geese | hero heroes
horse horses | house houses | knife knives | leaf leaves | mage mages | man men | mouse mice
ninja ninjas | octopus octopuses | ox oxen | painting paintings | person people | potato potatoes
princess princesses | rose roses | shelf shelves | sky skies | snowman snowmen | story stories
t-shirt t-shirts | tooth teeth | toy toys | waltz waltzes | wing wings | witch witches
wolf wolves | woman women | yeti yetis | zombie zombies
"""


@pytest.mark.parametrize("pair", [p.split() for p in re.split(r"[|\n]", PLURALS) if p.strip()])
def test_a_plural_shares_every_lemma_of_its_singular(pair: list[str]):
    singular, plural = pair
    assert lemmas(singular) & lemmas(plural)
    if plural not in ("leaves", "shelves"):  # also of the verbs to leave and to shelve
        assert unit(plural) == unit(singular) == singular


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("leaves", {"leaf", "leave"}),
        ("axes", {"axe", "axis"}),
        ("saw", {"saw", "see"}),
        ("running", {"run", "running"}),
        ("hopping", {"hop", "hopping"}),
        ("hoping", {"hope", "hoping"}),
        ("stopped", {"stop", "stopped"}),
        ("bigger", {"big", "bigger"}),
        ("darkest", {"dark", "darkest"}),
        ("went", {"go", "went"}),
        ("elf's", {"elf"}),
        ("men's", {"man"}),
    ],
)
def test_a_form_keeps_every_reading(form: str, expected: set[str]):
    assert lemmas(form) == expected


@pytest.mark.parametrize(
    "form",
    "flower tower forest paper corner bus glass grass lens news series species jeans paris "
    "wedding building evening lightning ceiling rugged wicked hundred skis".split(),
)
def test_a_look_alike_is_not_cut(form: str):
    cut = {form[:-1], form[:-2], form[:-3]} - {"ski"}
    assert not lemmas(form) & cut


@given(st.text(alphabet="abcdeginorstuy'-", min_size=1, max_size=12))
def test_lemmas_exist_and_a_unit_counts_what_its_form_counts(text: str):
    for surface in surfaces(text):
        form = normal(surface)
        assert lemmas(form)
        assert lemmas(unit(form)) == lemmas(form) or "-" in form


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_both_patterns_agree_on_ascii(text: str):
    plain, full = (lexicon._pattern(ascii_only).findall(text) for ascii_only in (True, False))
    assert plain == full


@given(st.text(max_size=30))
def test_a_normal_form_is_its_own_normal_form(text: str):
    for surface in surfaces(text):
        assert normal(surface) == normal(normal(surface))


@given(st.text(alphabet="abcxyzäöéñßд-'", max_size=20))
def test_capitals_change_no_form(text: str):
    written, capital = surfaces(text), surfaces(text.upper())
    assert [normal(surface) for surface in written] == [normal(surface) for surface in capital]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A White-Haired ELF", ["a", "white-haired", "elf"]),
        ("don’t non‑stop", ["don't", "non-stop"]),
        ("ＢＬＩＺＺＡＲＤ Straße STRASSE", ["blizzard", "strasse", "strasse"]),
        ("cafe\u0301 café", ["café", "café"]),
        ("ice_dragon.png 3.5mm 1,000", ["ice", "dragon", "png", "3.5mm", "1", "000"]),
        ("हिन्दी 吹雪", ["हिन्दी", "吹雪"]),
        ("rock'n'roll 'quoted' dogs'", ["rock'n'roll", "quoted", "dogs"]),
    ],
)
def test_words_of_a_text(text: str, expected: list[str]):
    assert [normal(surface) for surface in surfaces(text)] == expected


def test_a_hyphenated_word_counts_whole_and_in_parts():
    assert forms("Dark-Skinned") == ("dark-skinned", "dark", "skinned")
    assert forms("dog") == ("dog",)
    assert unit("ice-dragons") == "ice-dragon"


def test_function_words_are_closed_classes():
    assert all(map(is_function_word, "the of with and is don't it's they've we'll whose".split()))
    assert not any(map(is_function_word, "mine round red two dog dog's left mage".split()))


def test_hints_look_alike_and_are_known():
    known = Vocabulary({"pilot": 9, "plot": 1, "snow": 5, "the": 99, "ice": 3})

    assert [n.unit for n in known.nearest("pilto")] == ["pilot"]
    assert [n.unit for n in known.nearest("snowman")] == ["snow"]
    assert [(n.unit, n.n_images) for n in known.nearest("ice-wall")] == [("ice", 3)]
    assert known.nearest("zzz") == known.nearest("teh") == []


@given(st.text("abc", max_size=5), st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_edit_distance_is_a_distance(a: str, b: str, c: str):
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
