import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.text.tokens import forms, normalize, surfaces


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_a_letter_of_another_script_behind_changes_no_word(text: str):
    """Plain text is cut by a pattern of its own."""
    assert surfaces(f"{text}\né")[:-1] == surfaces(text)


@given(st.text(max_size=30))
def test_a_normal_form_is_its_own_normal_form(text: str):
    for surface in surfaces(text):
        assert normalize(surface) == normalize(normalize(surface))


@given(st.text(alphabet="abcxyzäöéñßд-'", max_size=20))
def test_capitals_change_no_form(text: str):
    written, capital = surfaces(text), surfaces(text.upper())
    assert [normalize(surface) for surface in written] == [
        normalize(surface) for surface in capital
    ]


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
    assert [normalize(surface) for surface in surfaces(text)] == expected


def test_a_hyphenated_word_counts_whole_and_in_parts():
    assert forms("Dark-Skinned") == ("dark-skinned", "dark", "skinned")
    assert forms("dog") == ("dog",)
