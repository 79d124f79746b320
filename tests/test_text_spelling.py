import pytest
from hypothesis import given
from hypothesis import strategies as st
from operations import lines_run

from curate.text.spelling import NearWord, Vocabulary, did_you_mean, typo_cost

WORDS = frozenset(
    "blizzard elephant elegant guard gourd castle knight refrigerator skate board skateboard dragon"
    " born horse hose penguin restaurant restraint banana bandana tennis galore"
    " glove light saber".split()
)
CAPTIONS = Vocabulary(
    {
        "knight": 14,
        "restaurant": 4,
        "skateboard": 9,
        "horse": 50,
        "hose": 2,
        "banana": 55,
        "tenis": 9,
    }
)


def corrected(unit: str) -> str | None:
    found = did_you_mean(unit, WORDS.__contains__, CAPTIONS)
    assert len(found) <= 1
    return found[0].unit if found else None


@pytest.mark.parametrize(
    ("unit", "meant"),
    [
        ("blizard", "blizzard"),  # a letter left out
        ("knigth", "knight"),  # two swapped
        ("castel", "castle"),
        ("rbefraigerator", "refrigerator"),  # two slips in a long word
        ("skatebord", "skateboard"),
        ("elefant", None),  # elephant and elegant are as near
        ("restaraunt", "restaurant"),  # captions decide
        ("hosre", "horse"),
        ("penguinn", "penguin"),
    ],
)
def test_a_misspelt_word_is_corrected(unit: str, meant: str | None):
    assert corrected(unit) == meant


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        ("bandana", "a dictionary has it"),
        ("horses", "its lemma is known"),
        ("galove", "galore and glove are as near"),
        ("gourf", "too far for a short word"),
        ("cat", "too short"),
        ("tenis", "captions write it so"),
        ("dragonborn", "two words joined"),
        ("zzzzzzzz", "nothing is near"),
        ("吹雪吹雪", "not of Latin letters"),
        ("ice-dragn", "two words"),
        ("mp3s", "has digits"),
    ],
)
def test_nothing_is_said_when_unsure(unit: str, reason: str):
    assert corrected(unit) is None, reason


def test_the_images_of_a_correction_are_told():
    assert did_you_mean("knigth", WORDS.__contains__, CAPTIONS) == [NearWord("knight", 14)]


@given(st.text("abcd", min_size=1, max_size=6), st.text("abcd", min_size=1, max_size=6))
def test_slips_are_nothing_only_for_the_same_word(a: str, b: str):
    assert (typo_cost(a, b) == 0) == (a == b)
    assert typo_cost(a, b) == typo_cost(b, a)


def test_a_word_takes_few_steps_on_a_large_vocabulary():
    syllables = "ba ce di fo gu ha je ki lo mu na pe ri so tu".split()
    forms = [a + b + c + d + e for a in syllables for b in syllables for c in syllables
             for d in syllables[:6] for e in ("", "m", "nt", "rk", "st")]  # fmt: skip
    large = Vocabulary(dict.fromkeys(forms, 3))
    asked = [form[:3] + "x" + form[3:] for form in forms[::1000]]
    did_you_mean("xxxxxxxxx", WORDS.__contains__, large)  # reads the dictionary

    assert len(forms) > 100_000
    for unit in asked:
        assert lines_run(did_you_mean, unit, WORDS.__contains__, large) < len(forms) / 20
