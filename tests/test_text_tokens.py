import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.text.tokens import forms, normalize, spans, surfaces, words, written


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
    small, capital = surfaces(text), surfaces(text.upper())
    assert [normalize(surface) for surface in small] == [normalize(surface) for surface in capital]


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\U0001f469\u200d\U0001f680 in space", ["\U0001f469\u200d\U0001f680", "in", "space"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),  # Persian, a joiner between its parts
        ("क्\u200dष র\u200d্যাব", ["क्\u200dष", "র\u200d্যাব"]),  # at a virama
        ("Auf\u200clage dra\u200dgon", ["auflage", "dragon"]),  # a matter of looks
        ("stone\u200bbridge red\0boat a\x01b c\ud800d", "stone bridge red boat a b c d".split()),
        ("snow\u00adstorm \ufeffice\ufeffdragon s\u2060now", ["snowstorm", "icedragon", "snow"]),
        ("\u200fשלום\u200e \u202edog\u202c", ["שלום", "dog"]),
        ("1\ufeff.\ufeff5 dark\ufeff-\ufeffskinned", ["1.5", "dark-skinned"]),
        ("\u2764\ufe0f \u2764\ufe0e 葛\U000e0100城", ["\u2764", "\u2764", "葛城"]),
    ],
)
def test_what_is_not_seen_parts_words_stays_or_is_nothing(text: str, expected: list[str]):
    assert [normalize(surface) for surface in surfaces(text)] == expected


UNSEEN = "\u200b\u200c\u200d\ufeff\u00ad\u2060\u200f\u202e\ufe0f\0\x1b"
SEEN = "ab7-'. \n\u0645\u06cc\u0915\u094d\u0937\u9b54\U0001f469\U0001f680\U0001f3fb"


@given(st.text(alphabet=UNSEEN + SEEN, max_size=20) | st.text(max_size=20))
def test_words_are_the_same_once_what_is_not_seen_is_left_out(text: str):
    assert words(written(text)) == words(text)
    assert written(written(text)) == written(text)
    assert all(normalize(word) == word for word in words(text))


@given(st.text(alphabet=UNSEEN + SEEN, max_size=20))
def test_each_span_begins_and_ends_with_a_character_of_its_word(text: str):
    cut = [text[start:end] for start, end in spans(text)]
    assert [normalize(written(part)) for part in cut] == words(text)
    assert all(written(part[0]) and written(part[-1]) for part in cut)
