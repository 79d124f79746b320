"""What the counts mean: thresholds, pairs, order."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.coverage import index, lexicon, prompts, verdicts
from curate.coverage.parts import Described
from curate.errors import UsageError

WORDS = "dog dogs snow snowy Ice ice-dragon dragon dragons painting painted elf's the red".split()
caption = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
images = st.dictionaries(st.sampled_from("abcdefgh"), st.lists(caption, min_size=1, max_size=3))


def counted(said: Mapping[str, Sequence[str]] | Sequence[Described]) -> index.Index:
    return index.of(said.items() if isinstance(said, Mapping) else said)


def judged(lines: Sequence[str], found: index.Index, **settings: str) -> dict[str, verdicts.Item]:
    asked = [prompts.parse(line, number) for number, line in enumerate(lines, 1)]
    items = verdicts.judge(asked, found, verdicts.targets(), **settings)
    return {item.unit: item for item in items}


@given(images, st.randoms())
@settings(max_examples=30)
def test_order_and_repetition_of_images_change_nothing(said: dict[str, list[str]], chance):
    rows = [(key, [text]) for key, texts in said.items() for text in texts]
    shuffled = rows + rows[:2]
    chance.shuffle(shuffled)
    lines = ["a dog and an ice-dragon", "red snow painting"]

    assert judged(lines, counted(rows)) == judged(lines, counted(shuffled))


@given(images, st.sampled_from(WORDS))
@settings(max_examples=30)
def test_one_more_image_never_worsens_a_verdict(said: dict[str, list[str]], word: str):
    line = ["dog snow ice dragon painting red ice-dragon"]
    before = judged(line, counted(said), pairs="off")
    after = judged(line, counted({**said, "new": [f"one {word} more"]}), pairs="off")

    order = ["missing", "thin", "low", "covered"]
    for unit in before:
        assert order.index(after[unit].verdict) >= order.index(before[unit].verdict)
    asked = lexicon.unit(lexicon.normal(word))
    if asked in before:
        assert after[asked].images == before[asked].images + 1


@pytest.mark.parametrize(
    "line",
    [
        "two DRAGONS, red dogs in the snow",
        "(two:1.3) ((dragons)), [red] dogs in the (snow)",
        "two dragon, red dog's in the snow",
        "{two|dragons} <lora:x:1> RED dogs in the __x__ snow --ar 1:1",
    ],
)
def test_capitals_number_and_weights_change_no_verdict(line: str):
    found = counted({"a": ["a red dragon"] * 2, "b": ["dogs"], "c": ["a dog in snow"]})
    plain = judged(["two dragons, red dogs in the snow"], found)
    other = {u: i for u, i in judged([line], found).items() if i.kind != "token"}

    def said(items: dict[str, verdicts.Item]) -> dict[str, verdicts.Item]:
        return {unit: replace(item, mentions=()) for unit, item in items.items()}

    assert said(other) == said(plain)


def test_verdicts_follow_the_thresholds():
    found = counted({f"{n:02d}": [" ".join(w for w, most in
        [("one", 1), ("four", 4), ("five", 5), ("fog", 29), ("sun", 30)] if n < most)]
        for n in range(40)})  # fmt: skip
    items = judged(["one four five fog sun none the --no fog"], found)

    assert {unit: item.verdict for unit, item in items.items() if item.kind == "word"} == {
        "one": "thin", "four": "thin", "five": "low", "fog": "negated", "sun": "covered",
        "none": "function-word", "the": "function-word",
    }  # fmt: skip
    assert items["one"].need == 29
    assert items["five"].fetch == ("curate fetch openverse --query five",)
    assert (items["sun"].need, items["sun"].fetch) == (0, ())


def test_a_word_that_is_wanted_and_negated_is_two_items():
    found = counted({"a": ["a dog"]})
    asked = [prompts.parse("a dog", 1), prompts.parse("a cat --no dog", 2)]
    items = verdicts.judge(asked, found, verdicts.targets(), pairs="off")

    dogs = {item.verdict: item.mentions for item in items if item.unit == "dog"}
    assert dogs == {
        "thin": (verdicts.Mention(1, 2, 5, "dog"),),
        "negated": (verdicts.Mention(2, 11, 14, "dog"),),
    }


def test_pairs_tell_what_was_expected():
    said = {f"{n:02d}": ["red"] if n < 20 else ["car"] for n in range(40)}
    said |= {f"x{n}": ["red dog"] for n in range(4)} | {f"y{n}": ["car dog"] for n in range(5)}
    items = judged(["a red car, a dog, a ghost"], counted(said))

    red, both, seen = items["car + red"], items["dog + red"], items["car + dog"]
    assert (red.verdict, red.images, red.need) == ("unseen-pair", 0, 5)
    assert red.expected == round(24 * 25 / 49, 2)
    assert red.mentions == (verdicts.Mention(1, 2, 9, "red car"),)
    assert (both.verdict, both.images, len(both.evidence)) == ("rare-pair", 4, 4)
    assert both.fetch == ("curate fetch openverse --query 'dog red'",)
    assert (seen.verdict, seen.images, seen.severity) == ("seen-pair", 5, "info")
    assert "ghost + red" not in items  # a missing word says enough by itself


def test_worst_comes_first():
    said = {f"{n:02d}": ["red"] if n < 6 else ["car"] for n in range(40)}
    asked = [prompts.parse("the red car, a ghost", 1), prompts.parse("<x> a fog, a ghost", 2)]
    items = verdicts.judge(asked, counted(said), verdicts.targets())

    assert [item.unit for item in items] == [
        "ghost", "fog", "red", "car + red", "car", "a", "the", "<x>",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"profile": "best"},
            "--profile: no profile 'best'\n  fix: one of scratch, finetune, lora",
        ),
        ({"minimum": 0}, "--min: 0 is not a number of images\n  fix: --min 1 or more"),
        ({"target": -1}, "--target: -1 is not a number of images\n  fix: --target 1 or more"),
        ({"minimum": 9, "target": 3}, "--min: 9 is above the target 3\n  fix: --target 9 or more"),
    ],
)
def test_says_which_threshold_is_wrong(settings: dict, message: str):
    with pytest.raises(UsageError) as caught:
        verdicts.targets(**settings)
    assert str(caught.value) == message


def test_a_threshold_makes_the_other_give_way():
    assert verdicts.targets("lora") == verdicts.Targets("lora", 1, 5)
    assert verdicts.targets(minimum=50) == verdicts.Targets("finetune", 50, 50)
    assert verdicts.targets(target=3) == verdicts.Targets("finetune", 3, 3)


@pytest.mark.corpora
@pytest.mark.parametrize("name", ["card_names.txt", "t2i-compbench/complex_val.txt"])
def test_real_prompts_get_a_verdict_for_every_word(corpora: Path, name: str):
    found = counted(_clipart(corpora))
    asked = prompts.read(corpora / "prompts" / name)
    items = verdicts.judge(asked, found, verdicts.targets(), pairs="off")

    tokens = Counter((p.line, t.start) for p in asked for t in p.tokens)
    assert Counter((m.line, m.start) for item in items for m in item.mentions) == tokens
    assert {item.verdict for item in items} >= {"missing", "thin", "low", "covered"}


def _clipart(corpora: Path) -> list[Described]:
    lines = (corpora / "captions" / "openclipart_rdf.jsonl").read_text("utf-8").splitlines()
    found = map(json.loads, lines)
    return [(r["path"], [r["title"] or "", r["desc"] or "", *r["tags"]]) for r in found]
