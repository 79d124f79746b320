"""Verdicts: what counts for a word, what does not, and what is said beside it."""

import json
from pathlib import Path

import pytest

from curate.commands.gaps import GapsSettings, vocab_gaps
from curate.coverage.verdicts import Item
from curate.errors import ExitCode, UsageError
from curate.report.report import CoverageReport, to_json


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def judged(prompts: str, shown: dict[str, int], **settings: object) -> CoverageReport:
    """The report on prompts against captions, each with its number of images."""
    Path("prompts.txt").write_text(prompts + "\n", "utf-8")
    captions = [said for said, images in shown.items() for _ in range(images)]
    rows = [{"image": f"{n:04d}", "captions": [said]} for n, said in enumerate(captions)]
    Path("captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return vocab_gaps(Path("prompts.txt"), GapsSettings([Path("captions.jsonl")], **settings))


def item(report: CoverageReport, unit: str, kind: str = "word") -> Item:
    (found,) = [i for i in report.items if i.unit == unit and i.kind == kind]
    return found


def units(report: CoverageReport, kind: str) -> set[str]:
    return {i.unit for i in report.items if i.kind == kind}


@pytest.mark.parametrize(
    "images, verdict",
    [(0, "missing"), (1, "thin"), (4, "thin"), (5, "low"), (29, "low"), (30, "covered")],
)
def test_a_word_is_judged_by_its_images(folder: Path, images: int, verdict: str):
    found = item(judged("a castle", {"two castles": images, "a lake": 9}), "castle")
    assert (found.verdict, found.images, found.need) == (
        verdict, images, max(0, 30 - images),
    )  # fmt: skip
    assert found.levels.inflection == images


def test_another_spelling_is_the_same_word_at_another_level(folder: Path):
    shown = {"a gray wolf": 20, "a grey wolf": 20}
    found = item(judged("a grey wolf", shown), "grey")
    assert found.verdict == "covered-by-variant"
    assert (found.levels.exact, found.levels.variant, found.images) == (20, 20, 40)


def test_a_synonym_turns_a_gap_into_a_warning_and_is_counted_apart(folder: Path):
    found = item(judged("a blizzard", {"a snowstorm": 6, "a dog": 9}), "blizzard")
    if found.verdict == "covered-by-synonym":
        assert found.levels.related["synonym"].images == 6
        assert found.levels.related["synonym"].units == ("snowstorm",)
    assert found.severity != "info"
    assert found.images == 0
    assert found.need == 30


def test_narrower_words_are_evidence_of_the_broader_one(folder: Path):
    found = item(judged("a dog", {"a puppy": 6, "a castle": 2}), "dog")
    assert (found.verdict, found.images) == ("covered-by-narrower", 0)
    assert found.levels.related["narrower"].units == ("puppy",)
    assert [e.caption for e in found.evidence] == ["a puppy"] * 6


def test_a_broader_word_never_stands_for_a_narrower_one(folder: Path):
    assert item(judged("a puppy", {"a dog": 50}), "puppy").verdict == "missing"


def test_a_name_that_no_dictionary_has_is_not_fetched(folder: Path):
    found = item(judged("Zorblax in a castle", {"a castle": 9}), "zorblax")
    assert (found.verdict, found.fetch) == ("unknown-word", ())


def test_a_name_that_captions_know_is_counted(folder: Path):
    assert item(judged("Zorblax", {"zorblax": 30}), "zorblax").verdict == "covered"
    assert item(judged("Zorblax", {"zorblax": 2, "a": 1}), "zorblax").verdict == "thin"


@pytest.mark.parametrize(
    ("asked", "units"),
    [
        ("a NeurIPS poster", {"neurips"}),
        ("a neurips poster\nNeurIPS", {"neurips"}),
        ("GPUs, two Zorblaxes and DRAGONS", {"gpus", "zorblax"}),
        ("MANY ZORBLAXES", {"zorblax"}),
    ],
)
def test_a_name_in_capitals_keeps_its_s(folder: Path, asked: str, units: set[str]):
    report = judged(asked, {"a poster": 9, "dragon": 9, "many": 9})
    assert {i.unit for i in report.items if i.verdict == "unknown-word"} == units


def test_a_name_is_found_as_it_is_spelt(folder: Path):
    found = item(judged("NeurIPS", {"NeurIPS 2024": 2, "neurips": 1, "a": 1}), "neurips")
    assert (found.levels.exact, found.levels.inflection) == (3, 0)


def test_what_no_picture_shows_is_no_gap(folder: Path):
    found = item(judged("the meaning of a castle", {"a castle": 9}), "meaning")
    assert (found.verdict, found.severity, found.fetch) == ("not-visual", "info", ())


def test_a_misspelt_word_stays_a_gap_with_a_hint(folder: Path):
    found = item(judged("a blizard", {"a blizzard": 40}), "blizard")
    assert found.severity == "error"
    assert [near.unit for near in found.did_you_mean] == ["blizzard"]


def test_words_of_a_phrase_side_by_side_are_counted(folder: Path):
    shown = {"two polar bears": 3, "a bear at the polar sea": 9}
    report = judged("a polar bear", shown)
    found = item(report, "polar bear", "phrase")
    assert (found.verdict, found.images) == ("phrase-thin", 3)
    assert found.fetch == ("curate fetch openverse --query 'polar bear'",)
    assert item(report, "bear").images == 12


def test_an_adjective_that_never_stands_at_its_noun_is_unseen(folder: Path):
    shown = {"a red car by a blue house": 9, "a blue car": 3}
    report = judged("a red house, a blue car", shown)
    assert item(report, "red + house", "bind").verdict == "unseen-binding"
    assert item(report, "red + house", "bind").expected == pytest.approx(9 * 9 / 12)
    assert item(report, "blue + car", "bind").verdict == "rare-binding"


def test_what_no_picture_shows_is_bound_to_nothing(folder: Path):
    report = judged("eternal blizzard", {"an eternal blizzard": 3, "a red blizzard": 9})
    assert not units(report, "bind")


def test_a_binding_counts_in_every_spelling(folder: Path):
    report = judged("a grey castle", {"a gray castle": 6})
    assert item(report, "grey + castle", "bind").verdict == "seen-binding"


def test_alternatives_make_no_pair(folder: Path):
    report = judged("a {dog|cat} in a castle", {"a dog, a cat and a castle": 5})
    assert units(report, "pair") == {"castle + dog", "castle + cat"}


def test_pairs_of_nouns_of_all_words_or_off(folder: Path):
    shown = {"a red dog runs in a castle": 9}
    prompts = "a red dog, a castle"
    assert units(judged(prompts, shown), "pair") == {"castle + dog"}
    every = units(judged(prompts, shown, pairs="all"), "pair")
    assert every == {"castle + dog", "castle + red"}  # red + dog is a binding
    assert not units(judged(prompts, shown, pairs="off"), "pair")
    with pytest.raises(UsageError, match="--pairs: no choice 'some'"):
        judged(prompts, shown, pairs="some")


def test_a_prompt_with_very_many_words_lists_the_pairs_of_the_first(folder: Path):
    nouns = [f"zo{a}{b}" for a in "abcdefghij" for b in "klmnopqr"]
    report = judged(", ".join(nouns), {", ".join(nouns): 5})
    assert len(units(report, "pair")) <= 60 * 59 // 2
    assert report.crowded == (1,)


@pytest.mark.parametrize("unit, verdict", [("masterpiece", "meta"), ("hat", "negated")])
def test_quality_tags_and_what_must_not_be_seen_are_no_gaps(folder: Path, unit: str, verdict: str):
    report = judged("masterpiece, a castle --no hat", {"a castle": 9})
    assert item(report, unit).verdict == verdict


def test_captions_of_another_sense_are_a_warning(folder: Path):
    shown = {"a baseball player swings his wooden bat at the ball": 40}
    found = item(judged("a bat flying at night out of its cave", shown), "bat")
    assert (found.verdict, found.severity) == ("sense-risk", "warning")
    assert found.senses is not None
    told = next(i for i in to_json(judged("a bat hunting insects at night with its wings", shown))
                ["items"] if i["unit"] == "bat")  # fmt: skip
    assert told["badges"] in ([], ["sense-risk"])


def test_what_is_not_named_may_be_seen_all_the_same(folder: Path):
    report = judged("a castle, a lake", {"a lake": 1, "a dog": 99})
    assert item(report, "castle").upper_bound == 6  # ln 0.05 / ln (1 - 0.39)
    assert item(report, "lake").upper_bound > 6
    assert item(judged("a castle", {"a dog": 3}), "castle").upper_bound == 3
    many = judged("a castle", {"a castle": 600, "a dog": 1900}, target=700)
    assert item(many, "castle").upper_bound == 1622  # far beyond what 0.61**k can tell


def test_what_the_user_agreed_to_counts(folder: Path):
    Path("aliases.toml").write_text(
        'phrases = ["eternal force"]\nmeta = ["eternal"]\n'
        '[alias]\nblizzard = ["whiteout"]\n[typo]\nblizard = "blizzard"\n'
    )
    shown = {"a whiteout": 30, "force of snow": 9}
    prompts = "blizzard\nblizard\neternal\nforce"
    report = judged(prompts, shown, aliases=Path("aliases.toml"))
    assert item(report, "blizzard").verdict == "covered-by-variant"
    assert item(report, "blizzard").prompts == 2
    assert item(report, "blizard").verdict == "typo"
    assert item(report, "eternal").verdict == "meta"
    own = judged("eternal force", shown, aliases=Path("aliases.toml"))
    assert not units(own, "phrase")  # eternal is said to steer style only


def test_exit_codes(folder: Path):
    report = judged("a castle", {"a castle": 9})
    assert report.exit_code() == ExitCode.DONE
    assert report.exit_code("warning") == ExitCode.FOUND
    assert report.exit_code("never") == ExitCode.DONE
    assert judged("a lake", {"a castle": 9}).exit_code() == ExitCode.FOUND
    with pytest.raises(UsageError, match="no severity 'often'"):
        report.exit_code("often")


def test_with_a_baseline_only_new_gaps_count(folder: Path):
    old = to_json(judged("a lake", {"a castle": 9}))
    Path("old.json").write_text(json.dumps(old))
    same = judged("a lake", {"a castle": 9}, baseline=Path("old.json"))
    assert same.exit_code() == ExitCode.DONE
    closed = judged("a lake", {"a lake": 30}, baseline=Path("old.json"))
    assert [c["unit"] for c in to_json(closed)["baseline"]["closed"]] == ["lake"]
    more = judged("a lake, a dog", {"a castle": 9}, baseline=Path("old.json"))
    assert more.exit_code() == ExitCode.FOUND


def test_prompts_are_read_in_the_syntax_asked_for(folder: Path):
    shown = {"a castle": 9}
    assert units(judged("<lora:x:1> castle", shown), "token") == {"<lora:x:1>"}
    assert not units(judged("<lora:x:1> castle", shown, syntax="plain"), "token")
