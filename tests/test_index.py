"""Counts over images: what is shown, as written, side by side, bound, together."""

import csv
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.corpora.partition import ImageCaptions, Partition
from curate.index import build, index
from curate.index.index import CaptionIndex, Evidence
from curate.index.segment import Segment, clean_line
from curate.text import tokens
from curate.text.lemmas import lemmas_of, unit_of

WORDS = "dog dogs snow snowy Ice ice-dragon dragon dragons painting painted elf's the red".split()
caption = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
images = st.dictionaries(st.sampled_from("abcdefgh"), st.lists(caption, min_size=1, max_size=3))
# captions in all kinds of writing: what joins words, what separates them, and what looks like it
PIECES = [
    *("dog", "Dogs", "ICE", "dragon", "elf", "elf's", "Elf\u2019s", "'elf'", "don't", "t", "s"),
    *("ice-dragon", "ice\u2011dragon", "x-1.5", "1.5", "1", "5", "ice_dragon", "rock'n'roll"),
    *("caf\u00e9", "cafe\u0301", "CAFE", "stra\u00dfe", "STRASSE", "\ufb01sh", "fish"),
    *("吹雪", "雪", "吹", "雪dog", "ドラゴン", "드래곤", "🐉", "🐉🐉", "👍🏽", "👍", "❤️", "🇯🇵"),
    *("!!", "...", "(dog)", "\u00a0", "\ue000", "\u200b", "#️⃣", "\u2474", "\ufdfa", "\"dog\""),
]  # fmt: skip
joint = st.sampled_from([" ", " ", " ", "", ",", "-", "_", "'", ".", "\n", "/"])
odd_caption = st.lists(st.tuples(st.sampled_from(PIECES), joint), max_size=6).map(
    lambda pieces: "".join(piece + after for piece, after in pieces)
)
odd_images = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(odd_caption | caption, min_size=1, max_size=3), min_size=1
)


def keys(found: CaptionIndex, numbers: np.ndarray) -> list[str]:
    return [found.evidence([number])[0].key for number in numbers.tolist()]


def shown(found: CaptionIndex, unit: str) -> list[str]:
    return keys(found, found.images_with(unit))


def exact(found: CaptionIndex, unit: str) -> list[str]:
    return keys(found, found.images_with_form(unit))


def together(found: CaptionIndex, a: str, b: str) -> int:
    return len(np.intersect1d(found.images_with(a), found.images_with(b)))


def in_memory(rows: Iterable[ImageCaptions]) -> Sequence[Segment]:
    """The files of an index where none can be kept."""
    part = Partition(lambda reading: iter(rows), cache=Path(os.devnull) / "index")
    return build.build_partition(part, "rows")


def index_captions(rows: Iterable[ImageCaptions]) -> CaptionIndex:
    return CaptionIndex(in_memory(rows))


def in_pieces(rows: Sequence[ImageCaptions], pieces: int) -> CaptionIndex:
    """The same rows, counted in several files."""
    found = [segment for n in range(pieces) for segment in in_memory(rows[n::pieces])]
    return CaptionIndex(found)


def test_counts_images_not_captions():
    found = index_captions({"a": ["a dog", "the dogs"], "b": ["two dogs"], "c": ["a cat"]}.items())

    assert (found.images, found.captions) == (3, 4)
    assert exact(found, "dog") == ["a"]
    assert shown(found, "dog") == ["a", "b"]
    assert shown(found, "bird") == exact(found, "bird") == []


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_captions_of_one_key_are_one_image_wherever_they_come_from(pieces: int):
    rows = [("a", ["a dog"]), ("b", ["a cat"]), ("a", ["a dog"]), ("a", ["snow"]), ("a", ["dogs"])]
    found = in_pieces(rows, pieces)

    assert (found.images, found.captions) == (2, 4)
    assert shown(found, "dog") == exact(found, "dog") == ["a"]
    assert together(found, "dog", "snow") == 1
    assert found.vocabulary._images == {"dog": 1, "dogs": 1, "cat": 1, "snow": 1}
    assert found.evidence(found.images_with("dog"), ["snow"]) == (Evidence("a", "snow"),)


def test_a_hyphenated_word_is_found_whole_or_side_by_side():
    found = index_captions(
        {
            "a": ["an ice-dragon"],
            "b": ["two Ice Dragons"],
            "c": ["a dragon on ice"],
            "d": ["a blue-ice-dragon lair"],
            "e": ["blue ice", "dragon"],
        }.items()
    )

    assert shown(found, "ice-dragon") == ["a", "b", "d"]
    assert exact(found, "ice-dragon") == ["a"]
    assert exact(found, "dragon") == ["a", "c", "d", "e"]  # the parts count as well
    assert together(found, "ice-dragon", "dragon") == 3


def test_what_has_red_hair_is_red_haired():
    found = index_captions(
        {
            "a": ["a red-haired elf"],
            "b": ["an elf with long red hair"],
            "c": ["a dog, and an elf with red hair"],
            "d": ["red roses and an elf with hair"],
            "e": ["an eye of a blue dog"],
            "f": ["a dog that has blue eyes"],
        }.items()
    )

    assert shown(found, "red-haired") == ["a", "b", "c"]
    assert exact(found, "red-haired") == ["a"]
    assert keys(found, found.bound_images("red-haired", "elf")) == ["a", "b", "c"]
    assert keys(found, found.bound_images("red-haired", "dog")) == []
    assert shown(found, "blue-eyed") == keys(found, found.bound_images("blue-eyed", "dog")) == ["f"]


def test_a_phrase_is_found_side_by_side_in_one_caption():
    found = index_captions(
        {
            "a": ["a polar bear"],
            "b": ["two Polar-Bears, asleep"],
            "c": ["it is polar", "bear with it"],
            "d": ["a bear, polar"],
            "e": ["hotter dogs"],
            "f": ["many hot dogs"],
        }.items()
    )

    assert shown(found, "polar bear") == ["a", "b"]
    assert exact(found, "polar bear") == ["a"]
    assert shown(found, "hot dog") == ["f"]  # only the last word is inflected
    assert shown(found, "grizzly bear") == []


@pytest.mark.parametrize(
    "caption",
    "hot, dog|it is hot. Dog at the door|too hot (dog asleep)|red, hot, dog|hot; dog|hot? dog!"
    "|hot, dog, löyly|it is hot. Dog of Ålesund".split("|"),
)
def test_commas_and_ends_of_sentences_hold_words_apart(caption: str):
    found = index_captions([("a", [caption])])

    assert shown(found, "hot dog") == []
    assert keys(found, found.bound_images("hot", "dog")) == []
    assert shown(found, "hot") == shown(found, "dog") == ["a"]


@pytest.mark.parametrize("caption", ["a hot dog", "a Hot-Dog", "hot_dog", "hot dogs, two"])
def test_blanks_and_hyphens_hold_words_together(caption: str):
    assert shown(index_captions([("a", [caption])]), "hot dog") == ["a"]


def test_the_dot_of_an_abbreviation_holds_nothing_apart():
    assert shown(index_captions([("a", ["our St. Bernard"])]), "st bernard") == ["a"]


def test_a_binding_reaches_over_the_comma_between_adjectives_only():
    captions = {"a": "a big, red car", "b": "big, red, car", "c": "big; a red car"}
    found = index_captions((key, [caption]) for key, caption in captions.items())

    assert keys(found, found.bound_images("big", "car")) == ["a"]
    assert keys(found, found.bound_images("red", "car")) == ["a", "c"]


def test_words_that_are_seldom_together_are_not_looked_for_side_by_side(monkeypatch):
    said = {f"{n}": ["fire truck"] for n in range(4)} | {"x": ["truck, fire"], "y": ["a red fire"]}
    said |= {f"r{n}": ["red"] for n in range(99)}
    found = index_captions(said.items())

    assert found.cooccurrence("truck", cohesion=0) == 5
    for cohesion in (0, 0.25):
        assert found.cooccurrence("fire trucks", cohesion=cohesion) == 4
    assert found.cooccurrence("red fire", cohesion=0) == 1
    shown, asked = found.images_with, []
    monkeypatch.setattr(found, "images_with", lambda unit: asked.append(unit) or shown(unit))
    assert found.cooccurrence("red fire", cohesion=0.25) == 0
    assert asked == ["red", "fire"]


def test_punctuation_and_script_within_words():
    found = index_captions(
        {
            "a": ["the elf's 1.5 swords"],
            "b": ["elf s 1 5"],
            "c": ["大きな吹雪です"],
            "d": ["雪 and 吹"],
            "e": ["a caf\u00e9"],
            "f": ["a CAFE\u0301, 'quoted'"],
            "g": ["🐉 and ❤\ufe0f"],
        }.items()
    )

    assert exact(found, "elf's") == ["a"]
    assert exact(found, "elf") == ["b"]
    assert shown(found, "elf") == ["a", "b"]
    assert exact(found, "1.5") == ["a"]
    assert exact(found, "5") == ["b"]
    assert exact(found, "吹雪") == shown(found, "吹雪") == ["c"]
    assert exact(found, "caf\u00e9") == ["e", "f"]
    assert exact(found, "cafe") == []
    assert exact(found, "quoted") == ["f"]
    assert exact(found, "🐉") == exact(found, tokens.normalize("❤\ufe0f")) == ["g"]


def test_odd_texts_are_counted():
    found = index_captions(
        {"a\0": ["two\nlines \ud800 \0 x"], "b": ["", " "], "c": ["Straße"]}.items()
    )

    assert found.images == 2
    assert found.left_out == {"images without caption": 1}
    assert exact(found, "lines") == ["a\\x00"]
    assert exact(found, "strasse") == ["c"]
    assert shown(found, "") == shown(found, "-") == shown(found, '"') == []


def words(text: str) -> list[str]:
    """The words of a caption, by the regular expression of `tokens`; hyphens separate."""
    cleaned = clean_line(text)
    forms = [f for s in tokens.surfaces(cleaned) for f in tokens.hyphen_parts(tokens.normalize(s))]
    return [word for form in forms for word in tokens.terms(form)]


@given(odd_images, st.integers(1, 3))
@settings(max_examples=150)
def test_counts_equal_a_scan(said: dict[str, list[str]], pieces: int):
    found = in_pieces(list(said.items()), pieces)
    with_words = {k: texts for k, texts in said.items() if "".join(map(clean_line, texts)).strip()}
    forms = {word for texts in said.values() for text in texts for word in words(text)}

    assert found.images == len(with_words)
    assert found.captions == sum(
        len({clean_line(t) for t in texts if clean_line(t).strip()})
        for texts in with_words.values()
    )
    for form in forms:
        scanned = [k for k in sorted(said) if any(form in words(text) for text in said[k])]
        assert exact(found, form) == scanned, form
        lemmas = lemmas_of(form)
        by_lemma = [
            k
            for k in sorted(said)
            if any(form == w or lemmas_of(w) & lemmas for text in said[k] for w in words(text))
        ]
        assert shown(found, form) == by_lemma, form
    counted = found._ids.forms()
    assert counted == {
        form: sum(any(form in words(t) for t in texts) for texts in said.values()) for form in forms
    }


@given(odd_images, st.lists(st.sampled_from(PIECES), min_size=2, max_size=3), st.integers(1, 3))
@settings(max_examples=150)
def test_phrases_equal_a_scan(said: dict[str, list[str]], chosen: list[str], pieces: int):
    phrase = [w for piece in chosen for w in words(piece)]
    said = {**said, "g": [" ".join(chosen)], "h": chosen}
    found = in_pieces(list(said.items()), pieces)
    if not phrase or any(" " in word for word in phrase):
        return

    def side_by_side(text: str) -> bool:
        runs = map(words, re.split(r"[(),!\n]|\.(?=\s)", text))
        return any(run[n : n + len(phrase)] == phrase for run in runs for n in range(len(run)))

    scanned = [key for key in sorted(said) if any(map(side_by_side, said[key]))]
    if len(phrase) > 1:
        assert exact(found, " ".join(phrase)) == scanned


@given(images, st.sampled_from(WORDS))
@settings(max_examples=60)
def test_counts_equal_a_scan_with_a_regular_expression(said: dict[str, list[str]], word: str):
    found = index_captions([*said.items(), ("z", ["filler"])])
    whole = re.compile(rf"(?<![\w'-]){re.escape(word)}(?![\w'-])", re.IGNORECASE)
    in_part = re.compile(rf"(?<![\w'])-?{re.escape(word)}(?![\w'])", re.IGNORECASE)
    pattern = whole if "-" in word else in_part

    scanned = [key for key in sorted(said) if any(map(pattern.search, said[key]))]
    assert exact(found, word.lower()) == scanned


@given(images, st.sampled_from(["dog", "snow", "ice", "dragon", "ice-dragon", "red"]))
@settings(max_examples=40)
def test_pairs_equal_a_scan(said: dict[str, list[str]], word: str):
    found = index_captions([*said.items(), ("z", ["filler"])])
    both = {a: together(found, a, word) for a in ("dog", "ice-dragon")}

    scanned = {
        unit: {key for key, texts in said.items() if any(map(_scan(unit), texts))}
        for unit in ("dog", "ice-dragon", word)
    }
    assert both == {a: len(scanned[a] & scanned[word]) for a in ("dog", "ice-dragon")}


def _scan(unit: str):
    forms = {
        "dog": r"dogs?",
        "snow": r"snow",
        "ice": r"ice",
        "dragon": r"dragons?",
        "red": r"red",
        "ice-dragon": r"ice[- ]dragons?",
    }
    return re.compile(rf"(?<![\w']){forms[unit]}(?![\w'])", re.IGNORECASE).search


def told(found: CaptionIndex) -> dict[str, object]:
    """All that an index says, by keys."""
    units = ["dog", "snow", "ice-dragon", "ice dragon", "painting", "red"]
    pairs = [(a, b) for a in units for b in units if a < b]
    return {
        "sizes": (found.images, found.captions, found.left_out, found.incomplete),
        "forms": found._ids.forms(),
        "shown": {unit: shown(found, unit) for unit in units},
        "exact": {unit: exact(found, unit) for unit in units},
        "numbers": {unit: found.images_with(unit).tolist() for unit in units},
        "evidence": {unit: found.evidence(found.images_with(unit), [unit], 3) for unit in units},
        "pairs": [together(found, a, b) for a, b in pairs],
    }


@given(images, st.randoms(), st.integers(1, 4))
@settings(max_examples=40)
def test_order_repetition_and_parts_change_nothing(said: dict[str, list[str]], chance, pieces: int):
    rows = [(key, [text]) for key, texts in said.items() for text in texts]
    shuffled = rows + rows[:2]
    chance.shuffle(shuffled)

    once, again = told(index_captions(rows)), told(in_pieces(shuffled, pieces))
    for counted in (once, again):  # a row is left out as often as it comes
        counted["sizes"] = counted["sizes"][:2]
    assert again == once


@given(images, st.sampled_from(WORDS))
@settings(max_examples=40)
def test_one_more_image_adds_one_to_its_words_and_takes_none(said: dict[str, list[str]], word: str):
    before = index_captions(said.items())
    after = index_captions({**said, "new": [f"one {word} more"]}.items())
    unit = unit_of(tokens.normalize(word))

    assert shown(after, unit) == [*shown(before, unit), "new"]
    for other in ("dog", "snow", "ice-dragon", "red"):
        assert set(shown(before, other)) <= set(shown(after, other))


def test_evidence_is_by_key_and_the_caption_that_shows_most():
    said = {"b": ["snow", "some dogs in snow", "a dog"], "a": ["a dog"], "c": ["cat"]}
    found = in_pieces(list(said.items()), 2)

    assert found.evidence([2, 1, 0, 1], ["dog", "snow"]) == (
        Evidence("a", "a dog"),
        Evidence("b", "some dogs in snow"),
        Evidence("c", "cat"),
    )
    assert found.evidence(found.images_with("dog"), ["dog"], limit=1) == (Evidence("a", "a dog"),)
    assert found.evidence([], ["dog"]) == ()


def test_files_whose_keys_do_not_overlap_are_joined_without_reading_keys(monkeypatch):
    parts = [[("a", ["dog"]), ("b", ["cat"])], [("c", ["dog"])]]
    segments = [s for rows in parts for s in in_memory(rows)]

    def fail(self: object) -> None:
        raise AssertionError("keys were read")

    monkeypatch.setattr(Segment, "keys", fail)
    joined = index.DocumentIds(reversed(segments))
    assert joined.images == 3
    assert [joined.image(n)[0] for n in range(3)] == ["a", "b", "c"]


def test_an_adjective_right_before_its_noun_is_bound():
    said = {f"{n}": [f"picture {n} of a Red car"] for n in range(4)}
    said |= {"x": ["red cars"], "y": ["a red", "car"], "z": ["a car beside a red wall"]}
    found = index_captions(said.items())

    assert keys(found, found.bound_images("red", "car")) == ["0", "1", "2", "3", "x"]
    assert found.bound_images("car", "red").tolist() == []
    assert (
        found.bound_images("blue", "car").tolist()
        == found.bound_images("red", "bus").tolist()
        == []
    )


def test_a_binding_that_is_not_adjacent_is_read_from_the_caption():
    found = index_captions(
        {
            "a": ["the car is red"],
            "b": ["a red and blue car"],
            "c": ["a red fast shiny car"],
            "d": ["a car beside a red wall"],
            "e": ["a red", "a car"],
            "f": ["red " + "very " * 20 + "car"],
            "g": ["a red car"],
        }.items()
    )

    assert keys(found, found.bound_images("red", "car")) == ["a", "b", "c", "g"]


def test_the_search_for_bindings_ends_when_enough_are_found():
    said = {f"{n:02d}": ["the car is red"] for n in range(20)} | {"x": ["a red car"]}
    found = index_captions(said.items())

    assert len(found.bound_images("red", "car")) == index.BOUND
    assert found.bound_images("red", "car") is found.bound_images("red", "car")  # remembered


def scanned_binding(said: Mapping[str, Sequence[str]], adjective: str, noun: str) -> list[str]:
    from curate.text import bindings

    def binds(text: str) -> bool:
        there = [tokens.normalize(s) for s in tokens.surfaces(text)]
        beside = zip(words(text), words(text)[1:], strict=False)
        return any(
            lemmas_of(a) & lemmas_of(adjective) and lemmas_of(b) & lemmas_of(noun)
            for a, b in beside
        ) or bindings.binds(there, lemmas_of(adjective), lemmas_of(noun))

    return [key for key in sorted(said) if any(map(binds, said[key]))]


scene = st.lists(
    st.sampled_from("a the red blue big car cars dog is and with of".split()), max_size=9
).map(" ".join)


@given(
    st.dictionaries(st.sampled_from("abcdefghijkl"), st.lists(scene, min_size=1, max_size=2)),
    st.sampled_from(["red", "blue", "big"]),
    st.sampled_from(["car", "dog"]),
)
@settings(max_examples=60)
def test_few_bindings_are_all_there_are(said: dict[str, list[str]], adjective: str, noun: str):
    found = index_captions([*said.items(), ("z", ["filler"])])
    bound = keys(found, found.bound_images(adjective, noun))
    scanned = scanned_binding(said, adjective, noun)

    if len(bound) < index.BOUND:
        assert bound == scanned
    else:
        assert set(bound) <= set(scanned)


@pytest.mark.corpora
def test_the_tiles_know_a_blizzard_only_as_a_demon(corpora: Path):
    with (corpora / "captions" / "crawl_nov2015_captions.tsv").open(encoding="utf-8") as file:
        rows = [(r["path"], [r["caption"]]) for r in csv.DictReader(file, delimiter="\t")]
    found = index_captions(rows)

    blizzard = found.evidence(found.images_with("blizzard"), ["blizzard"])
    assert [e.caption for e in blizzard] == ["blizzard demon"]
    assert [together(found, "elf", word) for word in ("dragon", "knight")] == [0, 1]
    for word in ("dragon", "ice", "sword", "of", "demon"):
        scan = re.compile(rf"(?<![^\W_]){word}(?![^\W_])", re.IGNORECASE)
        assert len(found.images_with_form(word)) == sum(bool(scan.search(c[0])) for _, c in rows)
