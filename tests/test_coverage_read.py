"""What reading whole reports by eye found wrong, a class of error each."""

import json
from pathlib import Path

import pytest

from curate.commands.gaps import GapsSettings, vocab_gaps
from curate.coverage.verdicts import Item
from curate.report.report import CoverageReport
from curate.text import bindings
from curate.text.analysis import word


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def judged(prompts: str, captions: list[str]) -> dict[tuple[str, str], Item]:
    """The items of the report on prompts against captions, by kind and unit."""
    Path("prompts.txt").write_text(prompts + "\n", "utf-8")
    rows = ({"image": f"{n:04d}", "captions": [said]} for n, said in enumerate(captions))
    Path("captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    report: CoverageReport = vocab_gaps(Path("prompts.txt"), GapsSettings([Path("captions.jsonl")]))
    return {(item.kind, item.unit): item for item in report.items}


@pytest.mark.parametrize(
    "word, related, source",
    [
        ("vegetables", "greens", "green"),
        ("document", "papers", "paper"),
        ("elderly", "older", "old"),
        ("forest", "woods", "wood"),
    ],
)
def test_a_related_word_counts_as_itself_and_not_as_the_word_it_comes_from(
    folder: Path, word: str, related: str, source: str
):
    hidden = judged(word, [f"a {source} thing"] * 9)
    assert {item.verdict for (kind, _), item in hidden.items() if kind == "word"} == {"missing"}
    covered = judged(word, [f"the {related} here"] * 9)
    assert next(iter(covered.values())).verdict == "covered-by-" + {"vegetables": "narrower"}.get(
        word, "synonym"
    )


def test_related_words_in_the_plural_count_too(folder: Path):
    found = judged("a sculpture", ["two carvings"] * 9 + ["they carve a turkey"] * 9)
    assert found["word", "sculpture"].levels.related["narrower"].images == 9


@pytest.mark.parametrize(
    "form, other",
    [
        ("rocking", "boulder"),
        ("boxing", "mailbox"),
        ("watching", "wristwatch"),
        ("taxiing", "taxicab"),
        ("tired", "flat tire"),
        ("bare", "polar bear"),
        ("weed", "weeny"),
    ],
)
def test_a_form_has_no_relations_of_the_noun_it_may_come_from(form: str, other: str):
    assert other not in {one.unit for one in word(form).related()}


@pytest.mark.parametrize(
    "form, other", [("leaping", "jump"), ("attached", "connected"), ("sculptures", "statue")]
)
def test_a_form_keeps_its_own_relations_and_those_of_its_verb(form: str, other: str):
    assert other in {one.unit for one in word(form).related()}


DOINGS = (
    "eyeing eyes|handed hand|shaped shape|boxing boxes|facing face|sticking stick|topped tops"
    "|parked park|based base|tired tire|towering tower|gardening gardens|lit light"
    "|deserted desert"
)


@pytest.mark.parametrize(("form", "noun"), [pair.split() for pair in DOINGS.split("|")])
def test_no_noun_shows_what_is_done(folder: Path, form: str, noun: str):
    assert judged(f"a man {form} it", [f"the {noun}"] * 40)["word", form].images == 0


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("bearded", "a beard"),
        ("boxing", "two boxing men"),
        ("parked", "he is parking"),
        ("running", "she runs"),
        ("buildings", "a building"),
        ("wing", "two wings"),
    ],
)
def test_what_is_done_is_shown_by_other_forms_of_it(folder: Path, form: str, said: str):
    found = judged(f"it is {form}", [said] * 40)
    assert [item.images for (kind, _), item in found.items() if item.verdict == "covered"] == [40]


def test_a_glass_of_wine_is_not_worn_on_a_nose(folder: Path):
    shown = ["pouring red wine into a glass", "a glass of cold water", "a glass of orange juice"]
    found = judged("a beaver wearing glasses on its nose", shown * 20)["word", "glass"]
    assert found.verdict == "sense-risk"
    assert found.senses and found.senses.asked == "what is worn to see better"


def test_mixed_media_are_nothing_medium(folder: Path):
    assert judged("mixed media", ["medium skin"] * 40)["word", "media"].images == 0


@pytest.mark.parametrize("word, other", [("spade", "spay"), ("bare", "bear"), ("ai", "is")])
def test_a_word_of_its_own_is_no_form_of_another(folder: Path, word: str, other: str):
    assert judged(f"a {word} thing", [f"it {other} so"] * 40)["word", word].images == 0


def test_a_phrase_stands_for_its_words_in_pairs(folder: Path):
    captions = ["a hot dog", "a boxing ring", "a dog with a ring", "a hot day"] * 9
    pairs = {
        unit for kind, unit in judged("a hot dog in a boxing ring", captions) if kind == "pair"
    }
    assert pairs == {"boxing ring + hot dog"}


def test_a_phrase_makes_no_pair_with_a_word_of_its_own(folder: Path):
    found = judged("a bat landing on a baseball bat", ["a baseball bat", "a bat", "a baseball"] * 9)
    assert not [unit for kind, unit in found if kind == "pair"]


def test_a_list_of_tags_says_no_adjective_of_its_neighbour(folder: Path):
    tags = ["portrait, white, hat, beard", "leaf, green, vegetal, tree"] * 9
    found = judged("a white hat\na green tree", tags)
    assert found["bind", "white + hat"].verdict == "unseen-binding"
    assert found["bind", "green + tree"].verdict == "unseen-binding"


@pytest.mark.parametrize(
    "prompt, said",
    [
        ("a high contrast portrait photo of a fluffy hamster", {("fluffy", "hamster")}),
        ("a low angle view of a tall tower", {("tall", "tower")}),
        ("a white high speed train", {("white", "train")}),
        ("the fine detail", {("fine", "detail")}),
        ("a turkey being taken out of the oven", set()),
        ("a sky that is painted", {("painted", "sky")}),
    ],
)
def test_what_a_word_is_said_of(prompt: str, said: set[tuple[str, str]]):
    words = prompt.split()
    assert {(words[a], words[b]) for a, b in bindings.find_bindings(words)} == said


@pytest.mark.parametrize(
    "word, meant",
    [
        ("milllenium", "millennium"),
        ("archaelogy", "archaeology"),
        ("squirrell", "squirrel"),
        ("necklase", "necklace"),
        ("teddybear", "teddy bear"),
        ("sanfrancisco", "san francisco"),
    ],
)
def test_corrections_are_words_of_the_dictionary(folder: Path, word: str, meant: str):
    item = judged(f"a {word}", ["a small house", "a teddy bear"])["word", word]
    assert item.verdict == "unknown-word"
    assert [(near.unit, near.n_images) for near in item.did_you_mean] == [
        (meant, int(meant == "teddy bear"))
    ]


@pytest.mark.parametrize("name", ["mahal", "inu", "janeiro", "handpalm", "mardefly", "diem"])
def test_a_part_of_a_name_and_an_invention_are_no_slips(folder: Path, name: str):
    found = judged(f"a {name}", ["a handball", "a dime"] * 20)
    assert found["word", name].did_you_mean == ()


@pytest.mark.parametrize(
    "prompt, unit",
    [
        ("a woman with a cell phone", "cell phone"),
        ("a yellow crescent moon", "crescent moon"),
        ("pandas playing ping pong", "ping pong"),
        ("a sloth in a go-kart", "go kart"),
        ("the Rosetta Stone", "rosetta stone"),
    ],
)
def test_compounds_that_a_reader_missed(folder: Path, prompt: str, unit: str):
    assert ("phrase", unit) in judged(prompt, ["a lake"])


@pytest.mark.parametrize("word", ["corpselike", "laksa", "chemtrail", "sfumato", "lovestruck"])
def test_words_that_a_reader_knows_are_missing_and_not_unknown(folder: Path, word: str):
    assert judged(f"a {word} cup", ["a lake"])["word", word].verdict == "missing"


def test_a_side_of_a_place_is_no_compound(folder: Path):
    assert ("phrase", "west side") not in judged("a park on the west side", ["a lake"])
