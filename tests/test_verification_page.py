"""The page of a verification: whole in one file, safe with any word, and saying what was found."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.system import web_page
from curate.system.strangers import visible
from tests.painters import CAPTIONS, Painter, draw, shapes, verify_painted
from train.verification import page as verify_page
from train.verification import verdict
from train.verification.decisions import Verdict
from train.verification.generate import Sample
from train.verification.intervals import Share
from train.verification.page import Gallery
from train.verification.rates import Corrected, Rates
from train.verification.scorers import Reference
from train.verification.verdict import (
    WITH,
    WITHOUT,
    WORD,
    Finding,
    Judge,
    Look,
    Pair,
    Report,
    Row,
    Rule,
)

STARS = [text for text in CAPTIONS if "star" in text]
GOOD = {WORD: Rates(58, 60, 1, 100)}
VOID = {"meta", "link", "img", "input", "br", "hr", "path"}


class Page(HTMLParser):
    """Elements with their attributes and text, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str, name: str = "") -> list[dict[str, str | None]]:
        return [
            a
            for t, a in self.elements
            if t == tag and (not name or name in (a.get("class") or "").split())
        ]

    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


RIGHT, NEARLY, WRONG = (
    Look(True, True, "a red mage"),
    Look(True, False, "a blue mage"),
    Look(False, False, "a red cook"),
)


def known(value: float, low: float, high: float) -> Corrected:
    found = Share(value, low, high, 3)
    return Corrected(found, found, None, None, ())


def report(word: str = "mage", prompt: str = "a red mage", *, before: bool = True) -> Report:
    looks = [
        Pair(1, RIGHT, WRONG if before else None),
        Pair(2, NEARLY, WRONG if before else None),
        Pair(3, WRONG, WRONG if before else None),
    ]
    old = [Pair(4, Look(False, False, "a red hat"), Look(True, True, "a red cook"))]
    rows = [
        Row("nearest", WITH, prompt, looks),
        Row("contrastive", WITH, prompt, [Pair(n.seed, RIGHT, None) for n in looks]),
        Row("nearest", WITHOUT, "a red cook", old if before else [replace(old[0], before=None)]),
    ]
    drawn, change = known(0.667, 0.2, 0.95), known(0.1, -0.2, 0.4)
    real = Share(0.95, 0.9, 0.98, 60)
    of = ("nearest", WITH, WORD, 1)
    figure = verdict.Figure(*of, drawn, drawn, change, real, counts=True)
    hollow = ("contrastive", WITH, WORD, 0)
    nothing = verdict.Figure(*hollow, known(float("nan"), 0, 1), None, None, real, counts=False)
    return Report(
        word,
        Verdict.FAILS,
        [Finding(Verdict.FAILS, "the word shows in 66.7%", "9 more samples would decide")],
        [figure, nothing],
        [Judge("nearest", GOOD), Judge("contrastive", GOOD)],
        {WORD: "nearest"},
        Rule(),
        3,
        0,
        {WITH: [prompt], WITHOUT: ["a red cook"]},
        [{"digest": "a" * 64}],
        {"digest": "b" * 64} if before else None,
        ["only 1 prompt"],
        rows,
    )


def filled(made: Report) -> Gallery:
    """Every sample's image, a shade by its seed, 16 x 32 pixels."""
    keys = {(row.prompt, look.seed) for row in made.rows for look in row.looks}
    kept = {key: np.full((32, 16, 3), 10 * key[1], np.uint8) for key in sorted(keys)}
    true = {"a red mage": np.full((32, 16, 3), 200, np.uint8)}
    return Gallery(frozenset(p for p, _ in keys), 4, kept, dict(kept) if made.before else {}, true)


def page(made: Report) -> Page:
    return Page(verify_page.render_page(made, filled(made)))


def test_the_verdict_comes_first_then_findings_notes_and_figures():
    said = page(report()).said()

    places = [
        said.index(part)
        for part in (
            "does not work",
            "66.7%: 9 more samples would decide",
            "only 1 prompt",
            "95 % interval",
            "nearest, which sees the word in 96.7%",
            "95.0 [90.0, 98.0]",
            "66.7 [20.0, 95.0]",
        )
    ]
    assert places == sorted(places)
    assert "counts for: word" in said
    assert "+10.0 [-20.0, +40.0]" in said
    assert "nan" not in said


def test_each_picture_says_what_it_was_taken_for():
    found = page(report())
    said = found.said()

    assert said.count("wrong: taken for a red cook") == 4  # three before, one after
    assert "nearly: taken for a blue mage" in said
    assert "1 of 1" not in said and "2 of 3 right, 0 before" in said
    assert "0 of 1 right, 1 before" in said
    (row, old) = found.all("article")
    assert set((row["class"] or "").split()) == {"row", "new", "wrong0", "inexact0"}
    assert set((old["class"] or "").split()) == {"row", "old", "wrong0", "inexact0", "forgotten0"}


def test_filters_count_prompts_as_each_scorer_sees_them():
    found = page(report())
    rules = verify_page._filter_rules(2)
    radios = [a["id"] for a in found.all("input")]

    assert radios == ["s0", "s1", "all", "wrong", "inexact", "forgotten", "new", "old"]
    assert "all 2 2 wrong after 2 0" in found.said()
    assert "body:has(#wrong:checked):has(#s1:checked) .row:not(.wrong1)" in rules
    assert "not judged" in found.said()  # the old prompt, by the second scorer


def test_pictures_are_in_the_file_and_keep_their_pixels():
    found = page(report())
    sources = [a["src"] or "" for a in found.all("img")]
    images = [
        Image.open(io.BytesIO(base64.b64decode(s.removeprefix("data:image/png;base64,"))))
        for s in sources
    ]

    assert len(images) == 1 + 2 * 3 + 2 * 1
    assert {image.size for image in images} == {(16, 32)}
    assert [image.getpixel((0, 0))[0] for image in images[:4]] == [200, 10, 20, 30]
    assert all(a["alt"] for a in found.all("img"))


def test_nothing_is_fetched_and_nothing_runs():
    text = verify_page.render_page(report(), filled(report()))

    assert not re.search(r"https?:|<script|@import|url\(|javascript:|<link|<iframe", text)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert "default-src 'none'" in policy and "script-src" not in policy


def test_the_policy_lets_the_style_through():
    import hashlib

    text = verify_page.render_page(report(), filled(report()))
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in text


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "</style></title>",
    "\u202egnp.exe",
    "a\ud800b",
    "mage' onload='x",
]


@pytest.mark.parametrize("word", HOSTILE)
def test_hostile_words_are_only_text(word: str):
    made = report(word, f"a red {word}")
    finding = Finding(Verdict.FAILS, word, word)
    hard = replace(made, notes=[word], findings=[finding], verdict=Verdict.UNDECIDED)
    plain, found = page(report()), page(hard)

    tags = [tag for tag, _ in found.elements if tag != "img"]
    assert tags.count("script") == 0
    assert set(tags) == {tag for tag, _ in plain.elements if tag != "img"}
    assert not any(name.startswith("on") for _, a in found.elements for name in a)
    assert visible(word) in "".join(found.text)


def test_without_an_earlier_checkpoint_there_is_one_strip():
    found = page(report(before=False))

    assert len(found.all("img")) == 1 + 3 + 1
    assert "there was nothing earlier to compare with" in found.said()
    assert "forgotten" not in [a["id"] for a in found.all("input")]


def test_one_scorer_needs_no_choice_of_scorers():
    made = report()
    alone = replace(
        made, judges=made.judges[:1], rows=[r for r in made.rows if r.scorer == "nearest"]
    )
    assert [a["name"] for a in page(alone).all("input")] == ["show"] * 6


@pytest.mark.parametrize("outcome", Verdict)
def test_each_verdict_is_said_and_coloured(outcome: Verdict):
    found = page(replace(report(), verdict=outcome))
    classes = [dict(a).get("class") for tag, a in found.elements if tag == "span"]

    assert f"mage {outcome}" in found.said()
    assert classes[0] == verify_page.CLASSES[outcome]
    assert len(set(verify_page.CLASSES.values())) == len(Verdict)


def test_a_figure_over_runs_tells_their_interval_too():
    made = report()
    wide = replace(made.figures[0].after, over_runs=Share(0.667, 0.1, 1.0, 3))
    found = page(replace(made, figures=[replace(made.figures[0], after=wide)]))

    assert "over runs [10.0, 100.0]" in found.said()
    assert "over runs" not in page(made).said()


# --- the album --------------------------------------------------------------------------------


def samples(prompts: int, each: int) -> list[Sample]:
    return [Sample(f"p{n}", seed, WITH) for n in range(prompts) for seed in range(each)]


def empty_reference() -> Reference:
    made = Reference.of(np.zeros((1, 8, 8, 3), np.uint8), ["k"], [["p0"]])
    return made.with_prompts(["p1"])


def test_the_album_keeps_the_first_and_the_wrong():
    plan = samples(2, 20)
    wrong = np.array([s.prompt == "p1" and s.seed in (1, 9, 12, 13, 14, 15) for s in plan])
    kept = Gallery.of(plan, empty_reference())
    kept.keep_after(plan, np.zeros((40, 8, 8, 3), np.uint8), wrong)
    kept.keep_before(plan, np.ones((40, 8, 8, 3), np.uint8))

    assert [seed for p, seed in kept.after if p == "p0"] == [0, 1, 2, 3]
    assert [seed for p, seed in kept.after if p == "p1"] == [0, 1, 2, 3, 9, 12, 13]
    assert kept.before.keys() == kept.after.keys()
    assert list(kept.true) == ["p0"]


def test_of_several_runs_the_images_of_the_first_are_kept():
    """The labels below them are the first run's."""
    plan = samples(1, 2)
    kept = Gallery.of(plan, empty_reference())
    for run in range(3):
        kept.keep_after(plan, np.full((2, 8, 8, 3), run, np.uint8), np.ones(2, bool))

    assert len(kept.after) == 2
    assert {int(image.max()) for image in kept.after.values()} == {0}


def test_the_album_is_bounded_and_takes_prompts_from_everywhere():
    plan = samples(3000, 2)
    kept = Gallery.of(plan, empty_reference())
    for start in range(0, len(plan), 64):
        part = plan[start : start + 64]
        kept.keep_after(part, np.zeros((len(part), 8, 8, 3), np.uint8), np.ones(len(part), bool))

    assert len(kept.after) == verify_page.MAX_IMAGES
    assert {"p0", "p2999"} <= {prompt for prompt, _ in kept.after}


@pytest.mark.parametrize(
    ("shape", "small"),
    [((8, 8), (8, 8)), ((512, 512), (96, 96)), ((128, 64), (96, 48)), ((1, 1000), (1, 96))],
)
def test_large_pictures_are_made_small(shape: tuple[int, int], small: tuple[int, int]):
    assert verify_page.make_thumbnail(np.zeros((*shape, 3), np.uint8)).shape == (*small, 3)


# --- the whole way ----------------------------------------------------------------------------


def test_a_verification_writes_its_page(tmp_path: Path):
    truth = shapes(tmp_path / "truth", copies=2)
    wrong = {"a small pink star": "a large blue circle"}
    made = verify_painted(
        tmp_path,
        truth,
        {"after": Painter(wrong), "before": Painter(dict.fromkeys(STARS, "a large red cross"))},
        samples=24,
    )
    found = Page((tmp_path / "verify" / "verify.html").read_text("utf-8"))

    assert f"star {made.verdict}" in found.said()
    assert "wrong0" in (found.all("article")[0]["class"] or "")
    assert len(found.all("article")) == 8 + 24  # of each group, as many prompts as samples
    (row,) = [r for r in made.rows if r.prompt == "a small pink star"]
    taken = {look.after.taken_for for look in row.looks if not look.after.right}
    assert len(row.looks) == 3 and "a large blue circle" in taken
    assert all(f"wrong: taken for {caption}" in found.said() for caption in taken)
    true = {a["src"] for a in found.all("img") if a["alt"] == "a true image of a small pink star"}
    assert true == {web_page.data_uri(draw("a small pink star"))}
