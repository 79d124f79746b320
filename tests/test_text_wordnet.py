"""The shipped word table, its reader, and the script that builds it."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tiny_encoder
import tiny_wordnet
from hypothesis import given
from hypothesis import strategies as st
from operations import lines_run

from curate.errors import InputError
from curate.text import wordnet
from curate.text.wordnet import (
    MIN_SIMILARITY,
    has_word,
    irregular_lemmas,
    is_visual_lemma,
    parts_of_speech,
    phrases_beginning_with,
    related_words,
)

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import build_words  # noqa: E402
import word_relations  # noqa: E402
import wordnet_files  # noqa: E402


def gated(word: str, relation: str = "") -> set[str]:
    """What may stand for the word, by the gate."""
    found = [r for r in related_words(word) if r.similarity >= MIN_SIMILARITY[r.relation]]
    return {r.unit for r in found if relation in ("", r.relation)}


def table() -> dict[str, str]:
    with zipfile.ZipFile(wordnet.WORD_TABLE) as file:
        return {name: file.read(name).decode() for name in file.namelist()}


def first_column(name: str) -> list[str]:
    return sorted(line.partition("\t")[0] for line in table()[name].splitlines())


WORDS = first_column("related.tsv")


# The dictionary


@pytest.mark.parametrize(
    "word", ["blizzard", "Polar Bear", "ice-cream", "ice cream", "steampunk", "emoji", "chibi"]
)
def test_knows_words_of_wordnet_and_modern_ones(word):
    assert has_word(word)


@pytest.mark.parametrize("word", ["", " ", "-", "blizard", "fur bat", "qwxz", "雪"])
def test_does_not_know_what_is_no_word(word):
    assert not has_word(word)
    assert parts_of_speech(word) == ""
    assert wordnet.spelling_variants(word) == frozenset()
    assert related_words(word) == ()
    assert irregular_lemmas(word) == ()
    assert phrases_beginning_with(word) == ()
    assert is_visual_lemma(word)


def test_names_the_commonest_part_of_speech_first():
    assert parts_of_speech("dog")[0] == "n"
    assert parts_of_speech("run")[0] == "v"
    assert parts_of_speech("red")[0] == "a"
    assert parts_of_speech("quickly") == "r"
    assert parts_of_speech("pixelated") == "a"


@pytest.mark.parametrize(
    "word",
    "concept meaning importance possibly quickly knowledge theory necessary eternal hope "
    "loneliness freedom peace liberty truth faith wisdom destiny infinite timeless political "
    "economic legal democracy equality independence courage patience forgiveness mercy "
    "imagination intelligence mind unity virtue karma profit income century tuesday kilometre "
    "forever deny persuade".split(),
)
def test_what_no_picture_shows(word):
    assert not is_visual_lemma(word)


@pytest.mark.parametrize(
    "word",
    "blizzard force color anger sad happiness night light shadow abstract original dance "
    "well sole chief still fast brightly war love death magic dream music time joy fear surprise "
    "disgust despair grief cosy spooky gloomy serene dramatic mysterious chaos speed infinity "
    "winter dawn autumn fog refuse advocate belongings permit patient solve explain agree "
    "power energy balance victory ghost spirit marriage poverty wealth celebration futuristic "
    "vintage glossy smooth symmetry".split(),
)
def test_what_a_picture_may_show_stays_visual(word):
    assert is_visual_lemma(word)


@pytest.mark.parametrize(
    "one, other",
    [
        ("gray", "grey"),
        ("color", "colour"),
        ("center", "centre"),
        ("meter", "metre"),
        ("tire", "tyre"),
        ("ax", "axe"),
        ("3", "three"),
        ("20", "twenty"),
        ("donut", "doughnut"),
        ("mustache", "moustache"),
        ("pajamas", "pyjamas"),
        ("aluminum", "aluminium"),
        ("cozy", "cosy"),
        ("plow", "plough"),
        ("armor", "armour"),
        ("dialog", "dialogue"),
        ("traveler", "traveller"),
        ("organisation", "organization"),
        ("jewelry", "jewellery"),
    ],
)
def test_spellings_of_one_word(one, other):
    assert other in wordnet.spelling_variants(one)
    assert one in wordnet.spelling_variants(other)


@pytest.mark.parametrize("word", ["door", "dor", "for", "four", "fire", "tour", "bat", "wall"])
def test_other_words_are_no_spellings(word):
    assert not wordnet.spelling_variants(word) - {"4"}


@given(st.sampled_from(first_column("variants.tsv")))
def test_spellings_are_symmetric_and_never_the_word_itself(word):
    others = wordnet.spelling_variants(word)
    assert others and word not in others
    for other in others:
        assert wordnet.spelling_variants(other) == (others | {word}) - {other}


def test_finds_phrases_by_their_first_word_longest_first():
    assert ("polar", "bear") in phrases_beginning_with("polar")
    assert ("hot", "dog") in phrases_beginning_with("hot")
    assert ("fire", "truck") in phrases_beginning_with("fire")
    assert ("traffic", "light") in phrases_beginning_with("traffic")
    assert ("golden", "gate", "bridge") in phrases_beginning_with("golden")
    assert ("pixel", "art") in phrases_beginning_with("pixel")
    assert [len(p) for p in phrases_beginning_with("new")] == sorted(
        map(len, phrases_beginning_with("new")), reverse=True
    )


def test_what_cannot_be_seen_or_is_no_compound_is_no_phrase():
    assert phrases_beginning_with("at") == ()
    assert ("common", "sense") not in phrases_beginning_with("common")
    assert ("young", "man") not in phrases_beginning_with("young")
    assert phrases_beginning_with("felis") == ()


@given(st.sampled_from([word for word in WORDS if phrases_beginning_with(word)]))
def test_every_phrase_is_a_known_word_of_several(first):
    for words in phrases_beginning_with(first):
        assert words[0] == first and len(words) > 1
        assert has_word(" ".join(words))


def test_irregular_forms():
    assert irregular_lemmas("geese") == ("goose",)
    assert irregular_lemmas("Mice") == ("mouse",)
    assert set(irregular_lemmas("axes")) == {"ax", "axis"}
    assert "go" in irregular_lemmas("went")
    assert "good" in irregular_lemmas("better")
    assert irregular_lemmas("dogs") == ()


# Relations


@pytest.mark.parametrize(
    "word, unit, relation",
    [
        ("leopard", "snow leopard", "narrower"),
        ("dog", "puppy", "narrower"),
        ("cat", "kitten", "narrower"),
        ("bird", "sparrow", "narrower"),
        ("car", "sedan", "narrower"),
        ("bear", "grizzly", "narrower"),
        ("car", "automobile", "synonym"),
        ("forest", "woods", "synonym"),
        ("doctor", "physician", "synonym"),
        ("airplane", "plane", "synonym"),
        ("snow", "snowy", "derivation"),
        ("swim", "swimming", "derivation"),
    ],
)
def test_pictures_of_the_one_are_pictures_of_the_other(word, unit, relation):
    assert unit in gated(word, relation)


@pytest.mark.parametrize(
    "word, unit",
    [
        ("bat", "club"),
        ("bat", "racket"),
        ("bat", "cricket bat"),
        ("bat", "batting"),
        ("crane", "derrick"),
        ("man", "serviceman"),
        ("hot", "spicy"),
        ("motorcycle", "bike"),
        ("wizard", "expert"),
        ("wizard", "whiz"),
        ("puppy", "dog"),
        ("sparrow", "bird"),
        ("desert", "desertion"),
        ("ship", "shipment"),
        ("run", "runner"),
        ("fish", "fishy"),
        ("king", "kingship"),
        ("star", "sun"),
        ("bread", "meat loaf"),
        ("united states", "us"),
        ("angel", "gabriel"),
        ("bridge", "bridge circuit"),
        ("wood", "forest"),
        ("moon", "moon around"),
        ("person", "somebody"),
        ("measure", "measurable"),
        ("weapon", "weaponize"),
        ("frog", "toad"),
        ("bird", "birdwatch"),
        ("dress", "get dressed"),
    ],
)
def test_other_senses_broader_words_and_doers_do_not_stand_for_the_word(word, unit):
    assert unit not in gated(word)


def test_no_refused_pair_is_shipped():
    lines = (ROOT / "tools" / "refused_relations.txt").read_text("utf-8").splitlines()
    pairs = [line.split("; ") for line in lines if not line.startswith("#")]
    assert [p for p in pairs if p[1] in {r.unit for r in related_words(p[0])}] == []
    assert all(has_word(word) and has_word(unit) for word, unit in pairs)


def test_keeps_what_the_gate_refuses_for_the_caller_to_show():
    snowstorm = next(r for r in related_words("blizzard") if r.unit == "snowstorm")
    assert snowstorm.relation == "synonym"
    assert 0.5 <= snowstorm.similarity < MIN_SIMILARITY["synonym"]


@given(st.sampled_from(WORDS))
def test_relations_are_sorted_unique_above_the_floor_and_not_the_word_itself(word):
    found = related_words(word)
    scores = [r.similarity for r in found]
    assert scores == sorted(scores, reverse=True)
    assert all(build_words.FLOOR <= s < 1 for s in scores)
    units = [r.unit for r in found]
    assert len(units) == len(set(units))
    assert word.replace("-", " ") not in {u.replace("-", " ") for u in units}
    assert not set(units) & wordnet.spelling_variants(word)
    assert all(has_word(u) and is_visual_lemma(u) for u in units)
    assert {r.relation for r in found} <= MIN_SIMILARITY.keys()


def test_the_gate_is_the_one_that_was_measured():
    assert MIN_SIMILARITY == {"synonym": 0.72, "narrower": 0.70, "derivation": 0.62}
    assert json.loads(table()["header.json"])["gate"] == MIN_SIMILARITY


# Speed


def test_reads_the_table_once_and_then_answers_in_a_few_steps(monkeypatch):
    def look_up() -> None:
        wordnet.has_word("ice-cream")
        wordnet.is_visual_lemma("dog")
        wordnet.spelling_variants("grey")
        wordnet.related_words("dog")

    look_up()
    monkeypatch.setattr(wordnet, "WORD_TABLE", Path("gone"))
    assert lines_run(look_up) < 60


def test_asking_reads_nothing_before_the_first_question():
    code = (
        "from curate.text import wordnet; kept = [f.cache_info() for f in vars(wordnet).values() "
        "if hasattr(f, 'cache_info')]; print(len(kept) > 2, sum(info.currsize for info in kept))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True 0\n"


# The shipped file


def test_the_header_names_inputs_and_counts():
    members = table()
    header = json.loads(members.pop("header.json"))
    assert header["format"] == wordnet.TABLE_FORMAT
    assert header["template"] == build_words.TEMPLATE
    assert header["encoder"]["name"] == "all-MiniLM-L6-v2"
    assert len(header["encoder"]["digest"]) == 64
    assert header["lines"] == {name: text.count("\n") for name, text in members.items()}
    assert {"data.noun", "index.sense"} <= header["sources"]["wordnet"].keys()
    assert "noun.exc" in header["sources"]["exceptions"]


def test_the_table_was_built_from_the_lists_beside_the_builder():
    sources = json.loads(table()["header.json"])["sources"]
    for name, digest in sources["lists"].items():
        data = (ROOT / "tools" / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest, f"{name}: run tools/build_words.py"
    assert set(sources["lists"]) == set(build_words.LISTS)


def test_wordnets_notice_lies_beside_the_table():
    text = wordnet.WORD_TABLE.with_name(build_words.NOTICE).read_text("utf-8")
    assert "WordNet 3.1 Copyright 2011 by Princeton University.  All rights reserved." in text
    assert "WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved." in text
    assert "The name of Princeton University or Princeton may not be used" in text


# The builder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny WordNet and the table built from it with a tiny encoder, through the command."""
    folder = tmp_path_factory.mktemp("wordnet")
    dictionary = tiny_wordnet.build(folder / "dict")
    encoder = tiny_encoder.build(folder / "encoder")
    out = folder / "out" / "words.zip"
    options = ["--wordnet", dictionary, "--exceptions", dictionary, "--encoder", encoder]
    assert build_words.main([*map(str, options), "--out", str(out)]) == 0
    return dictionary, out


@pytest.fixture
def built(small: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny table, read by the reader."""
    caches = [f for f in vars(wordnet).values() if hasattr(f, "cache_clear")]
    monkeypatch.setattr(wordnet, "WORD_TABLE", small[1])
    for cached in caches:
        cached.cache_clear()
    yield small[1]
    for cached in caches:
        cached.cache_clear()


def test_what_the_builder_writes_the_reader_reads(built):
    assert has_word("snow leopard") and has_word("Steampunk") and not has_word("blizzard")
    assert parts_of_speech("snowy") == "a"
    assert (
        not is_visual_lemma("concept")
        and not is_visual_lemma("possibly")
        and is_visual_lemma("snow")
    )
    assert wordnet.spelling_variants("color") == {"colour"}
    assert irregular_lemmas("geese") == ("goose",)
    assert phrases_beginning_with("snow") == (
        ("snow", "angel"),
        ("snow", "globe"),
        ("snow", "leopard"),
    )
    assert phrases_beginning_with("canis") == ()
    for word in first_column("related.tsv"):
        assert all(build_words.FLOOR <= r.similarity < 1 for r in related_words(word))


def test_the_same_inputs_give_the_same_bytes(small, tmp_path, capsys):
    dictionary, out = small
    encoder = str(dictionary.parent / "encoder")
    again = tmp_path / "words.zip"
    options = ["--wordnet", dictionary, "--exceptions", dictionary, "--encoder", encoder]
    assert build_words.main([*map(str, options), "--out", str(again)]) == 0
    assert again.read_bytes() == out.read_bytes()
    notice = again.with_name(build_words.NOTICE).read_text("utf-8")
    assert "This is the licence of a tiny dictionary.\nKeep it.\n" in notice
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    assert capsys.readouterr().out.split("\t")[2].strip() == digest


def test_check_accepts_what_was_built_and_names_what_differs(small, tmp_path, capsys):
    dictionary, out = small
    options = ["--wordnet", str(dictionary), "--exceptions", str(dictionary), "--check", "--out"]
    assert build_words.main([*options, str(out)]) == 0
    with zipfile.ZipFile(out) as file:
        members = {name: file.read(name).decode() for name in file.namelist()}
    members["words.tsv"] += "n\tunheard\n"
    members["related.tsv"] += "dog\tS99cat\n"
    other = tmp_path / "words.zip"
    with zipfile.ZipFile(other, "w") as file:
        for name, text in members.items():
            file.writestr(name, text)
    capsys.readouterr()
    assert build_words.main([*options, str(other)]) == 1
    said = capsys.readouterr().out
    assert said == "words.tsv differs\nrelated.tsv: dog: cat is no candidate\n"


def test_a_folder_without_wordnet_is_named(tmp_path, capsys):
    code = build_words.main(["--wordnet", str(tmp_path), "--exceptions", str(tmp_path)])
    assert code == 3
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path}/data.noun: does not begin with WordNet's licence")
    assert "fix: name a folder that holds WordNet's database files" in said


@pytest.fixture(scope="module")
def tiny(small: tuple[Path, Path]) -> wordnet_files.WordNet:
    return wordnet_files.read_wordnet(small[0])


def test_candidates_of_a_tiny_dictionary(tiny):
    found = word_relations.candidates(tiny, lambda word: word != "ounce")
    assert [tuple(c) for c in found] == [
        ("big cat", "leopard", "narrower"),
        ("big cat", "snow leopard", "narrower"),
        ("club", "cricket bat", "narrower"),
        ("color", "colour", "synonym"),  # other spellings are taken out later
        ("colour", "color", "synonym"),
        ("dog", "domestic dog", "synonym"),
        ("dog", "poodle", "narrower"),
        ("dog", "puppy", "narrower"),
        ("domestic dog", "dog", "synonym"),
        ("domestic dog", "poodle", "narrower"),
        ("leopard", "snow leopard", "narrower"),
        ("snow", "snowy", "derivation"),
        ("snowy", "snow", "derivation"),
    ]
    # not: bat and club (the bat that flies is the usual one), cur (an insult), bite and biter (a
    # doer), Canis familiaris (Latin), and ounce, which was said not to be seen


def test_refused_pairs_are_no_candidates(tiny):
    found = word_relations.candidates(tiny, lambda word: True, {("dog", "poodle")})
    assert ("dog", "poodle") not in {(c.word, c.unit) for c in found}
    assert ("domestic dog", "poodle") in {(c.word, c.unit) for c in found}


def test_scores_are_cosines_cut_to_hundredths():
    import numpy as np

    side = {"dog": (1.0, 0.0), "puppy": (0.7599, 0.6500), "cat": (0.4999, 0.8661)}

    def encode(texts):
        return np.array([side[t.removeprefix("a photo of a ")] for t in texts], np.float32)

    pairs = [
        word_relations.Candidate("dog", "cat", "synonym"),
        word_relations.Candidate("dog", "puppy", "narrower"),
    ]
    assert build_words.related_rows(pairs, encode) == "dog\tN75puppy\n"


# WordNet's files


def test_reads_synsets_senses_and_tag_counts(tiny):
    bat = tiny.senses("Bat", "n")
    assert [(s.key, s.tagged) for s in bat] == [(("n", 7), 9), (("n", 8), 0)]
    club = tiny[("n", 8)]
    assert (club.file, club.lemmas, club.definition) == (
        "noun.artifact",
        ("bat", "club"),
        "to hit balls with",
    )
    assert club.to("~") == [("n", 9)]
    assert tiny.senses("nothing") == ()


@pytest.mark.parametrize("name", ["data.noun", "index.verb", "index.sense"])
def test_a_broken_line_of_wordnet_is_named(tmp_path, name):
    folder = tiny_wordnet.build(tmp_path)
    with (folder / name).open("a") as file:
        file.write("this is no line of it\n")
    with pytest.raises(InputError, match=f"{name}: not a line of WordNet's format: 'this is no"):
        wordnet_files.read_wordnet(folder)


def test_a_missing_file_of_wordnet_is_named(tmp_path):
    folder = tiny_wordnet.build(tmp_path)
    (folder / "data.adv").unlink()
    with pytest.raises(InputError, match="no such file"):
        wordnet_files.read_wordnet(folder)


def test_reads_tag_counts_of_older_releases(tmp_path):
    folder = tiny_wordnet.build(tmp_path)
    (folder / "index.sense").unlink()
    (folder / "cntlist.rev").write_text("dog%1:05:00:: 1 42\n")
    assert wordnet_files.read_wordnet(folder).senses("dog")[0].tagged == 42
