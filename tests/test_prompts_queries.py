import pytest

from curate.prompts import reader, units


def searched(*lines: str) -> dict[str, str]:
    read = [reader.parse_prompt(line, number) for number, line in enumerate(lines, 1)]
    return units.choose_queries(units.find_units(read).votes)


@pytest.mark.parametrize(
    ("line", "unit", "query"),
    [
        ("a big dog", "big", "big dog"),
        ("a small, red car", "small", "small car"),
        ("three dogs on the street", "three", "three dogs"),
        ("one cat and two dogs sitting on the grass", "sitting", "dogs sitting"),
        ("an illustration of a large red elephant", "large", "large elephant"),
        ("a triangular flower pot", "triangular", "triangular flower pot"),
        ("two big dogs", "big", "big dog"),
        ("a pink stop sign", "pink", "pink stop sign"),
        ("a horse riding an astronaut", "riding", "horse riding"),
        ("a sleeping dragon", "sleeping", "sleeping dragon"),
        ("a dog that runs", "run", "dog runs"),
        ("the polar bear", "polar", "polar bear"),
    ],
)
def test_what_modifies_is_searched_with_its_noun(line: str, unit: str, query: str):
    assert searched(line)[unit] == query


@pytest.mark.parametrize("unit", ["dog", "grass", "stop", "sign"])
def test_nouns_are_searched_by_themselves(unit: str):
    assert unit not in searched("a dog on the grass", "a stop sign")


def test_most_places_decide_and_ties_are_broken_by_the_alphabet():
    assert searched("a big cat", "a big dog", "a big dog")["big"] == "big dog"
    assert searched("a big dog", "a big cat")["big"] == "big cat"
    assert searched("a big cat", "a big dog")["big"] == "big cat"


def test_a_word_with_no_noun_near_it_is_searched_by_itself():
    assert "big" not in searched("big", "big, dog")


def test_numbers_alone_are_no_query():
    assert not any(map(units.is_searchable, ["1506", "1⃣", ""]))
    assert all(map(units.is_searchable, ["3 book", "白い犬"]))
