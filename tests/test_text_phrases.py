"""Which words of a prompt name one thing together."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.text import phrases


def find(text: str, *own: str) -> list[tuple[int, int, str]]:
    return phrases.find_phrases(text.split(), own=frozenset(own), count_together=None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("polar bear", [(0, 2, "polar bear")]),
        ("two polar bears on ice", [(1, 3, "polar bear")]),
        ("a polar bear's paw", [(1, 3, "polar bear")]),
        ("fire trucks", [(0, 2, "fire truck")]),
        ("a hot dog with mustard", [(1, 3, "hot dog")]),
        ("a red panda", [(1, 3, "red panda")]),
        ("a snow leopard and a polar bear", [(1, 3, "snow leopard"), (5, 7, "polar bear")]),
        ("ice-cream", [(0, 1, "ice cream")]),
        ("an ice-cream cone", [(1, 3, "ice cream cone")]),
        ("ice cream cones", [(0, 3, "ice cream cone")]),
        ("three hot air balloons", [(1, 4, "hot air balloon")]),
        ("a red sports car", [(2, 4, "sports car")]),
        ("the statue of liberty", [(1, 4, "statue of liberty")]),
        ("two double-decker buses", [(1, 3, "double decker bus")]),
        ("cherry blossoms", [(0, 2, "cherry blossom")]),
        ("a christmas tree", [(1, 3, "christmas tree")]),
    ],
)
def test_an_entry_of_the_lexicon_is_a_phrase(text: str, expected: list[tuple[int, int, str]]):
    assert find(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "fur bats",
        "a red car",
        "a dark horse in a field",
        "a tiny house in a wild forest",
        "a straight line",
        "an old man",
        "a green frog on a blue tulip",
        "black and white photo",
        "a piece of paper",
        "a bear with polar fur",
        "polar bearing",
        "bear polar",
        "ice-cold cream",
        "looking at the sky",
        "dragon elf knight",
        "",
    ],
)
def test_words_that_only_stand_together_are_none(text: str):
    assert find(text) == []


def test_the_users_phrases_are_found_in_any_inflection():
    assert find("two fur bats", "fur bat") == [(1, 3, "fur bat")]
    assert find("a fur-bat", "fur bat") == [(1, 2, "fur bat")]
    assert find("fur bats", "fur-bat") == [(0, 2, "fur bat")]
    assert find("fur gloves", "fur bat") == []


def test_the_longest_phrase_wins():
    assert find("polar bear cub", "polar bear cub") == [(0, 3, "polar bear cub")]


def test_of_two_of_one_length_the_users_wins():
    assert find("polar bear cub", "bear cub") == [(1, 3, "bear cub")]


def shown(**counts: int):
    return lambda unit: counts.get(unit.replace(" ", "_"), 0)


def collocations(text: str, **counts: int) -> list[tuple[int, int, str]]:
    return phrases.find_phrases(text.split(), own=frozenset(), count_together=shown(**counts))


def test_nouns_that_captions_mostly_show_side_by_side_are_a_phrase():
    often = {"blizzard": 9, "demon": 30, "blizzard_demon": 8}
    assert collocations("two blizzard demons", **often) == [(1, 3, "blizzard demon")]


@pytest.mark.parametrize(
    "counts",
    [
        {"blizzard": 4, "demon": 4, "blizzard_demon": 4},  # too few
        {"blizzard": 90, "demon": 90, "blizzard_demon": 8},  # by chance
        {"blizzard": 10, "demon": 5000, "blizzard_demon": 10},  # demons are everywhere
        {"blizzard": 10, "demon": 10},
    ],
)
def test_few_or_chance_meetings_are_no_phrase(counts: dict[str, int]):
    assert collocations("blizzard demon", **counts) == []


def test_an_adjective_with_its_noun_is_no_collocation():
    assert collocations("red car", red=9, car=9, red_car=9) == []
    assert collocations("the car", the=9, car=9, the_car=9) == []


def test_a_collocation_does_not_reach_into_another_phrase():
    counts = {"bear": 9, "cub": 9, "bear_cub": 9}
    assert collocations("polar bear cub", **counts) == [(0, 2, "polar bear")]
    counts |= {"cub": 9, "school": 9, "cub_school": 7}
    assert collocations("bear cub school", **counts) == [(0, 2, "bear cub")]


WORDS = "polar bear bears hot dog dogs ice-cream ice cream cone red panda of the fur bat".split()
runs = st.lists(st.sampled_from(WORDS), max_size=10)


@given(runs)
def test_positions_are_in_range_ascend_and_do_not_overlap(words: list[str]):
    found = phrases.find_phrases(words, own=frozenset(["fur bat"]), count_together=lambda unit: 5)
    flat = [place for first, past, _ in found for place in (first, past - 1)]
    assert flat == sorted(flat)
    assert all(0 <= first < past <= len(words) for first, past, _ in found)
    assert all(a[1] <= b[0] for a, b in pairwise(found))


@given(runs, runs)
def test_a_run_is_read_by_itself(words: list[str], more: list[str]):
    def read(run: list[str]) -> list[tuple[int, int, str]]:
        return phrases.find_phrases(run, own=frozenset(), count_together=None)

    apart = read([*words, "of", "the", *more])  # no phrase of these words crosses "of the"
    moved = [
        (first + len(words) + 2, past + len(words) + 2, unit) for first, past, unit in read(more)
    ]
    assert apart == read(words) + moved
