"""Verification: what is asked for, what is counted, and what makes a word work."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curate.errors import ExitCode
from tests import drawings, tiny_encoder
from tests.painters import (
    CAPTIONS,
    COLOURS,
    SIDE,
    SIZES,
    Painter,
    as_png,
    draw,
    figure_of,
    reference,
    shapes,
    taken_for,
    verify_painted,
)
from tests.recorded_progress import RecordedProgress
from train.checkpoints import checkpoint
from train.config import TrainConfig
from train.size import Size
from train.training import run as training_run
from train.training.run import Recipe
from train.verification import generate, tables, verdict
from train.verification.contrastive import Contrastive, augment, train_scorer
from train.verification.decisions import Verdict
from train.verification.intervals import Share, student_95, wilson
from train.verification.rates import Corrected, Rates
from train.verification.scorers import Nearest, Question, Reference, contains
from train.verification.verdict import (
    COPY,
    ENTIRELY,
    FALSE,
    NEVER,
    OLD_STYLE,
    OWN_WORD,
    SHOWN,
    STYLE,
    WITH,
    WITHOUT,
    WORD,
    Figure,
    Finding,
    Judge,
    Report,
    Rule,
)
from train.verification.verify import Models, Truth, WordTest, verify_words

# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "word", "held"),
    [
        ("a man mage with dark skin tone", "mage", True),
        ("A Mage.", "mage", True),
        ("images of damage", "mage", False),
        ("two mages", "mage", True),
        ("medium-dark skin", "dark", True),
        ("medium-dark skin", "Medium-Dark", True),
        ("dark skin", "medium-dark", False),
        ("a police officer", "police officer", True),
        ("two police officers", "police officer", True),
        ("an officer of police", "police officer", False),
        ("the police, an officer", "police officer", False),
        ("the mage's staff", "mage", True),
        ("吹雪 の 夜", "吹雪", True),
        ("a mage", "", False),
    ],
)
def test_a_word_is_held_in_any_inflection_or_not_at_all(text: str, word: str, held: bool):
    assert contains(text, word) is held


# --- intervals --------------------------------------------------------------------------------


def test_wilson_matches_its_published_form():
    # Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_students_points_are_those_of_the_tables():
    tables = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 30: 2.042, 120: 1.980}
    assert {v: round(student_95(v), 3) for v in tables} == pytest.approx(tables, rel=2e-3)


# --- the reference ----------------------------------------------------------------------------


def test_pictures_with_the_same_first_caption_show_the_same():
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    found = Reference.of(pixels, ["a", "b", "c"], [["x", "also x"], ["y", "both"], ["x", "both"]])

    assert found.labels == [("x", "also x", "both"), ("y", "both")]
    assert found.label_N.tolist() == [0, 1, 0]
    assert (found.find("  ALSO  x"), found.find("y"), found.find("z")) == (0, 1, None)
    assert found.find("both") is None  # names two things


def test_a_prompt_that_is_no_caption_is_something_an_image_can_be_taken_for():
    found = reference(CAPTIONS[:3]).with_prompts(["a small red comet", CAPTIONS[0].upper()])

    assert [said[0] for said in found.candidates] == [*CAPTIONS[:3], "a small red comet"]
    assert found.find("A small red COMET") == 3
    assert found.shows_word("comet").tolist() == [False, False, False, True]
    assert not found.image_shows_word("comet").any()


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("a small red star", "star"),
        ("a small red comet", "red"),  # no caption holds a comet; ten red, and twenty small
        ("the comet of a comet", "a"),
        ("comets", None),
    ],
)
def test_the_rarest_word_of_a_caption_that_others_hold_is_its_own(text: str, own: str | None):
    assert reference().own_word(text) == own


def copies_of(image: np.ndarray) -> dict[str, np.ndarray]:
    """Altered copies, as they lie about on the web."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=80, subsampling=0)
    small = Image.fromarray(image).resize((SIDE // 2, SIDE // 2)).resize((SIDE, SIDE))
    return {
        "itself": image,
        "mirrored": image[:, ::-1],
        "jpeg": np.asarray(Image.open(buffer)),
        "reduced": np.asarray(small),
        "noised": (image + np.random.default_rng(0).normal(0, 4, image.shape)).clip(0, 255),
    }


@pytest.mark.parametrize("kind", ["itself", "mirrored", "jpeg", "reduced", "noised"])
def test_copies_are_of_one_group_and_others_are_not(kind: str):
    true = reference(copies=2)
    other = np.stack([copies_of(image)[kind] for image in true.pixels_NHWC]).astype(np.uint8)
    texts = [[true.labels[n][0]] for n in true.label_N]
    both = Reference.of(
        np.concatenate([true.pixels_NHWC, other]), [f"k{n}" for n in range(160)], texts * 2
    )

    assert (both.group_N[80:] == both.group_N[:80]).mean() > 0.9
    alone = len(np.unique(true.group_N))
    assert alone > 70 and len(np.unique(both.group_N)) <= alone + 8


# --- scorers ----------------------------------------------------------------------------------


def test_nearest_says_what_the_nearest_image_shows():
    true = reference(copies=4)
    scorer = Nearest(true)
    prompts = CAPTIONS * 2
    images = Painter(noise=25).generate(prompts, range(len(prompts)))
    said = scorer.shows(images, [[Question(p, True), Question("star")] for p in prompts])

    assert np.mean([whole for whole, _ in said]) > 0.95
    assert (
        np.mean([star == ("star" in p) for (_, star), p in zip(said, prompts, strict=True)]) > 0.95
    )
    right = [taken == p for taken, p in zip(taken_for(scorer, true, images), prompts, strict=True)]
    assert right == [whole for whole, _ in said]


def test_nearest_of_a_true_image_is_itself_unless_it_is_unseen():
    """And then no copy of it either, whatever the copy's key is."""
    shades = np.array([10, 10, 90, 120, 200])[:, None, None, None]
    pixels = np.broadcast_to(shades, (5, 8, 8, 3)).astype(np.uint8)
    texts = [["a"], ["a"], ["b"], ["c"], ["d"]]
    scorer = Nearest(Reference.of(pixels, list("vwxyz"), texts))
    rows = np.arange(5)

    def sees(asked: np.ndarray | None) -> list[str]:
        of = [[Question(w, True) for w in "abcd"]] * 5
        said = scorer.shows(pixels, of, asked)
        return ["abcd"[one.argmax()] for one in said]

    assert sees(None) == list("aabcd")
    assert sees(rows) == list("bbcbc")


def test_small_images_with_small_differences_are_told_apart():
    """At 16 px a hat is a few pixels: half the size would leave nothing of it."""
    rng = np.random.default_rng(0)
    pixels = np.full((24, 16, 16, 3), 144, np.uint8)
    pixels[:, 2:4, 7:10] = rng.integers(0, 256, (24, 2, 3, 3))
    texts = [[f"hat {n}"] for n in range(24)]
    true = Reference.of(pixels, [t[0] for t in texts], texts)
    noised = (pixels + rng.normal(0, 10, pixels.shape)).clip(0, 255).astype(np.uint8)

    assert taken_for(Nearest(true), true, noised) == [t[0] for t in texts]


def test_colours_are_told_apart():
    """Four colours of one shape: what a scorer of shapes alone could not do."""
    true = reference([f"a large {c} circle" for c in COLOURS])
    prompts = [said[0] for said in true.labels] * 5
    assert taken_for(Nearest(true), true, Painter().generate(prompts, range(20))) == prompts


def test_nearest_cannot_judge_what_it_has_no_image_of():
    scorer = Nearest(reference(CAPTIONS[:4]).with_prompts(["a small red comet"]))

    assert scorer.cannot(Question("red")) is None
    assert scorer.cannot(Question(CAPTIONS[2], True)) is None
    assert scorer.cannot(Question("comet")) == "no true image shows 'comet'"
    said = scorer.cannot(Question("a small red comet", True))
    assert said == "no true image has this caption, or not alone"


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images a caption: the others can stand for one that is unseen."""
    return shapes(tmp_path_factory.mktemp("truth"), copies=4)


FEW = [
    f"a {s} {c} {h}" for s in SIZES for c in ("red", "blue") for h in ("circle", "cross", "star")
]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve captions of five images each."""
    return shapes(tmp_path_factory.mktemp("few"), FEW, copies=5)


@pytest.fixture(scope="module")
def learned(few: Path) -> Contrastive:
    """Learnt once for this file, from the cache after that."""
    return train_scorer(Reference.load(few, Size(SIDE, SIDE)), cache=few / ".cache")


def right(
    scorer: Contrastive, true: Reference, images_NHWC: np.ndarray, prompts: Sequence[str]
) -> float:
    taken = taken_for(scorer, true, images_NHWC)
    return float(np.mean([a == b for a, b in zip(taken, prompts, strict=True)]))


def test_the_contrastive_scorer_is_right_on_images_it_never_saw(few: Path, learned: Contrastive):
    true = Reference.load(few, Size(SIDE, SIDE))
    rows = np.flatnonzero(learned.unseen_N)
    texts = [true.labels[n][0] for n in true.label_N[rows]]

    assert 4 <= len(rows) <= 20
    assert right(learned, true, np.asarray(true.pixels_NHWC[rows]), texts) >= 0.95
    assert right(learned, true, Painter().generate(FEW * 3, range(36)), FEW * 3) >= 0.95


def test_the_contrastive_scorer_understands_combinations_it_never_saw():
    """No image of two shapes in one colour, under that caption or another."""
    unseen = {"a small blue square", "a large pink circle", "a large green star"}
    known = [text for text in CAPTIONS if text not in unseen]
    true = reference(known, copies=2).with_prompts(CAPTIONS)
    scorer = train_scorer(true, images=3000)
    prompts = sorted(unseen) * 8

    assert right(scorer, true, Painter().generate(prompts, range(24)), prompts) >= 0.9


def test_copies_of_an_image_are_held_out_together():
    """Or what it learnt of one would be measured on the other."""
    true = reference(copies=2)
    doubled = Reference.of(
        np.concatenate([true.pixels_NHWC, true.pixels_NHWC[:, :, ::-1]]),
        [f"{n}" for n in range(160)],
        [[true.labels[n][0]] for n in true.label_N] * 2,
    )
    unseen_N = train_scorer(doubled, images=32).unseen_N

    assert 0 < unseen_N.sum() < 80
    for group in np.unique(doubled.group_N):
        assert len(set(unseen_N[doubled.group_N == group].tolist())) == 1


def test_the_contrastive_scorer_comes_back_from_its_cache_unchanged(
    few: Path, learned: Contrastive
):
    progress = RecordedProgress()
    true = Reference.load(few, Size(SIDE, SIDE))
    again = train_scorer(true, cache=few / ".cache", progress=progress)
    images = Painter().generate(FEW, range(12))

    assert progress.counts == [], "not learnt again"
    assert len(list((few / ".cache").glob("contrastive-*.safetensors"))) == 1
    assert np.array_equal(again.scores(images), learned.scores(images))
    assert np.array_equal(again.unseen_N, learned.unseen_N)


def test_learning_twice_gives_the_same_scorer():
    true = reference(CAPTIONS[:8])
    one, two = (train_scorer(true, images=200) for _ in range(2))
    images = Painter().generate(CAPTIONS[:4], range(4))

    assert np.array_equal(one.scores(images), two.scores(images))


def test_a_broken_cache_is_learnt_again(tmp_path: Path):
    true = reference(CAPTIONS[:6])
    first = train_scorer(true, images=100, cache=tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    again = train_scorer(true, images=100, cache=tmp_path)

    assert np.array_equal(again.scores(true.pixels_NHWC), first.scores(true.pixels_NHWC))


def test_another_caption_is_another_scorer(tmp_path: Path):
    true = reference(CAPTIONS[:4])
    other = Reference.of(true.pixels_NHWC, true.keys, [[t[0] + " again"] for t in true.labels])
    train_scorer(true, images=40, cache=tmp_path)
    train_scorer(other, images=40, cache=tmp_path)

    assert len(list(tmp_path.iterdir())) == 2


def test_augmenting_keeps_colours_nearly_as_they_were():
    import torch

    images = torch.full((64, 3, 32, 32), 0.1)
    changed = augment(images, torch.Generator().manual_seed(0))

    means = changed.mean((2, 3))
    assert means.shape == (64, 3)
    assert (means - 0.1).abs().max() < 0.02  # 5 grey levels
    assert changed.std() > 0


# --- what is drawn ----------------------------------------------------------------------------


def test_prompts_are_sorted_by_the_word_and_by_what_was_shown():
    shown = frozenset({"a small red star", "a large red star"})
    groups = generate.group_prompts(reference(), "star", None, shown, samples=200, seed=0)

    assert set(groups[SHOWN]) == shown
    assert len(groups[NEVER]) == 6 and all("star" in p for p in groups[NEVER])
    assert len(groups[WITHOUT]) == 32 and not any("star" in p for p in groups[WITHOUT])


def test_every_group_gets_its_samples_from_every_prompt_alike():
    groups = {SHOWN: ["a", "b", "c"], WITHOUT: [f"w{n}" for n in range(60)]}
    plan = generate.plan_samples(groups, samples=200, seed=0)

    per_prompt = {p: sum(s.prompt == p for s in plan) for p in ("a", "b", "c", "w0")}
    assert per_prompt == {"a": 67, "b": 67, "c": 67, "w0": 4}
    assert len({(s.prompt, s.seed) for s in plan}) == len(plan) == 201 + 240
    assert plan == generate.plan_samples(groups, samples=200, seed=0)
    assert plan != generate.plan_samples(groups, samples=200, seed=1)


def test_of_too_many_prompts_some_are_chosen_whatever_their_order():
    prompts = [f"cat {n}" for n in range(50)]
    one = generate.group_prompts(reference(), "cat", prompts, None, samples=10, seed=3)
    two = generate.group_prompts(reference(), "cat", prompts[::-1], None, samples=10, seed=3)

    assert one == two and len(one[WITH]) == 10


# --- the verdict ------------------------------------------------------------------------------

JUDGE = Judge("nearest", {WORD: Rates(97, 100, 1, 200), ENTIRELY: Rates(95, 100, 1, 200)})
SAY = dict.fromkeys((WORD, OWN_WORD, ENTIRELY), "nearest")


def known(value: float, width: float = 0.01) -> Corrected:
    found = Share(value, value - width, value + width, 200)
    return Corrected(found, found, None, None, ())


def figure(
    group: str, measure: str, after: float, before: float | None = None, width: float = 0.01
) -> Figure:
    scorer = {COPY: "copies", OLD_STYLE: "style"}.get(measure, "nearest")
    was = None if before is None else known(before, width)
    change = None if before is None else known(after - before, width)
    return Figure(scorer, group, measure, 10, known(after, width), was, change, None, counts=True)


GOOD = [
    figure(WITH, WORD, 0.97, 0.01),
    figure(SHOWN, WORD, 0.98, 0.01),
    figure(NEVER, WORD, 0.96, 0.01),
    figure(WITHOUT, OWN_WORD, 0.98, 0.99),
    figure(WITHOUT, ENTIRELY, 0.90, 0.91),
    figure(WITHOUT, FALSE, 0.02, 0.01),
    figure(STYLE, OLD_STYLE, 0.95, 0.9),
    figure(WITH, COPY, 0.03, 0.02),
]


def decide(figures: Sequence[Figure], rule: Rule | None = None) -> tuple[Verdict, list[Finding]]:
    return verdict.decide(figures, [JUDGE], SAY, rule or Rule())


def test_a_word_works_if_it_shows_is_new_and_costs_nothing():
    outcome, findings = decide(GOOD)

    assert outcome == Verdict.WORKS
    assert len(findings) == len(GOOD) + 1  # the share with the word, and its change
    assert {found.verdict for found in findings} == {Verdict.WORKS}


DEMANDS = [  # place in GOOD, one that fails and one that cannot be told, what is said
    (0, figure(WITH, WORD, 0.85, 0.01), figure(WITH, WORD, 0.895, 0.01), "shows in 85.0% "),
    (
        0,
        figure(WITH, WORD, 0.8, 0.85),
        figure(WITH, WORD, 0.93, 0.915, 0.02),
        "the change is -5.0%",
    ),
    (1, figure(SHOWN, WORD, 0.7, 0.01), figure(SHOWN, WORD, 0.905, 0.01), "that were shown"),
    (2, figure(NEVER, WORD, 0.7, 0.01), figure(NEVER, WORD, 0.905, 0.01), "were never shown"),
    (
        3,
        figure(WITHOUT, OWN_WORD, 0.8, 0.99),
        figure(WITHOUT, OWN_WORD, 0.94, 0.99),
        "old words change by -19.0%",
    ),
    (
        4,
        figure(WITHOUT, ENTIRELY, 0.8, 0.91),
        figure(WITHOUT, ENTIRELY, 0.86, 0.91),
        "old captions change by -11.0%",
    ),
    (
        5,
        figure(WITHOUT, FALSE, 0.2, 0.01),
        figure(WITHOUT, FALSE, 0.06, 0.01),
        "20.0% [19.0%, 21.0%] show it, a change of +19.0%",
    ),
    (6, figure(STYLE, OLD_STYLE, 0.1), figure(STYLE, OLD_STYLE, 0.795), "style leak"),
    (7, figure(WITH, COPY, 0.9), figure(WITH, COPY, 0.105), "90.0% [89.0%, 91.0%] of samples"),
]


@pytest.mark.parametrize(("place", "bad", "doubtful", "said"), DEMANDS)
def test_each_demand_alone_decides(place: int, bad: Figure, doubtful: Figure, said: str):
    outcome, findings = decide([*GOOD[:place], bad, *GOOD[place + 1 :]])
    failed = [found.sentence for found in findings if found.verdict == Verdict.FAILS]
    assert outcome == Verdict.FAILS and any(said in sentence for sentence in failed)
    assert findings[0].sentence in failed

    outcome, findings = decide([*GOOD[:place], doubtful, *GOOD[place + 1 :]])
    open_ones = [found for found in findings if found.verdict != Verdict.WORKS]
    if doubtful.measure == ENTIRELY:  # whole captions only ever count against a word
        assert outcome == Verdict.WORKS and not open_ones
        return
    assert outcome == Verdict.UNDECIDED
    assert [found.verdict for found in open_ones] == [Verdict.UNDECIDED]
    assert open_ones[0].helps and not any(f.helps for f in findings if f not in open_ones)


def test_one_failure_outweighs_any_doubt():
    for (a, bad, _, _), (b, _, doubtful, _) in product(DEMANDS, DEMANDS):
        if a != b:
            figures = [{a: bad, b: doubtful}.get(n, one) for n, one in enumerate(GOOD)]
            assert decide(figures)[0] == Verdict.FAILS


def test_what_does_not_count_decides_nothing():
    extra = [
        replace(one, counts=False) for _, bad, doubtful, _ in DEMANDS for one in (bad, doubtful)
    ]
    assert decide([*GOOD, *extra]) == decide(GOOD)


def test_a_word_that_worked_before_need_not_gain():
    outcome, findings = decide([figure(WITH, WORD, 0.99, 0.985), *GOOD[3:]])
    assert outcome == Verdict.WORKS and any("it worked before" in f.sentence for f in findings)


@pytest.mark.parametrize(
    ("before", "after", "outcome", "said"),
    [
        (
            0.05,
            0.0,
            Verdict.WORKS,
            "stood at 5.0% [4.0%, 6.0%] before: nothing to forget",
        ),
        (0.05, 0.3, Verdict.WORKS, "nothing to forget"),
        (0.195, 0.0, Verdict.FAILS, "old words change by -19.5%"),  # may have stood at a fifth
        (0.9, 0.88, Verdict.WORKS, "old words change by -2.0% [-3.0%, -1.0%] (allowed: -5%)"),
        (0.9, 0.845, Verdict.UNDECIDED, "old words change by -5.5%"),
        (0.9, 0.5, Verdict.FAILS, "old words change by -40.0%"),
    ],
)
def test_what_nobody_knew_cannot_be_forgotten(
    before: float, after: float, outcome: Verdict, said: str
):
    verdict_, findings = decide([*GOOD[:3], figure(WITHOUT, OWN_WORD, after, before)])

    assert verdict_ == outcome
    assert any(said in found.sentence for found in findings)


def test_checkpoints_that_differ_decide_by_the_interval_over_them():
    """Over prompts alone it would be sure."""
    narrow, wide = Share(0.95, 0.93, 0.97, 600), Share(0.95, 0.7, 1.0, 600)
    of_runs = replace(GOOD[0], after=replace(GOOD[0].after, share=narrow, over_runs=wide))
    outcome, findings = decide([of_runs])

    assert decide([replace(of_runs, after=replace(of_runs.after, over_runs=None))])[0] == "works"
    assert outcome == Verdict.UNDECIDED
    assert "95.0% [70.0%, 100.0%]" in findings[0].sentence


def test_without_a_scorer_that_tells_the_word_nothing_is_known():
    blind = Judge("nearest", {WORD: Rates(30, 60, 50, 100)})
    figures = [replace(one, counts=False) for one in GOOD[:6]]
    outcome, findings = verdict.decide([*figures, *GOOD[6:]], [blind], {}, Rule())

    assert outcome == Verdict.UNDECIDED
    assert findings[0].sentence == (
        "no scorer surely tells the word from its neighbours on real images; the best is nearest, "
        "which sees the word in 50.0% [37.5%, 62.5%] of 60 real images that show it and in 50.0% "
        "[40.3%, 59.7%] of 100 others: no say"
    )
    assert findings[0].helps.startswith("another --scorer, or more real images")
    copied = [*figures, DEMANDS[-1][1]]
    assert verdict.decide(copied, [blind], {}, Rule())[0] == Verdict.FAILS


def test_nothing_drawn_decides_nothing():
    assert verdict.decide([], [JUDGE], SAY, Rule()) == (Verdict.UNDECIDED, [])
    unknown = Corrected(Share(np.nan, 0, 1, 0), Share(np.nan, 0, 1, 0), None, None, ())
    outcome, findings = decide([replace(GOOD[0], after=unknown, before=None, change=None)])
    assert (
        outcome == Verdict.UNDECIDED and "an unknown share [0.0%, 100.0%]" in findings[0].sentence
    )


def test_limits_are_those_of_the_rule():
    worse = [bad for _, bad, _, said in DEMANDS if "the change is" not in said]
    assert len(worse) == len(GOOD)
    assert decide(worse, Rule(0.5, 0.5, 0.5, 0.05, 0.95))[0] == Verdict.WORKS


def outcome(word: str, what: Verdict) -> Report:
    return Report(word, what, [], [], [], {}, Rule(), 1, 0, {}, [])


@pytest.mark.parametrize(
    "outcomes", [*product(Verdict, repeat=1), *product(Verdict, repeat=2), tuple(Verdict) * 2]
)
def test_exit_codes_of_words_are_joined(outcomes: Sequence[Verdict]):
    """1 before 6 before 0."""
    reports = [outcome(f"w{n}", what) for n, what in enumerate(outcomes)]
    wanted = ExitCode.DONE
    if Verdict.UNDECIDED in outcomes:
        wanted = ExitCode.UNDECIDED
    if Verdict.FAILS in outcomes:
        wanted = ExitCode.FOUND

    assert verdict.join_exit_codes(reports) == wanted
    assert [int(code) for code in (ExitCode.DONE, ExitCode.FOUND, ExitCode.UNDECIDED)] == [0, 1, 6]


# --- the whole way ----------------------------------------------------------------------------

STARS = [text for text in CAPTIONS if "star" in text]
SHOWN_STARS = [text for text in STARS if "red" not in text]
NO_STARS = {text: text.replace("star", "circle") for text in STARS}


class Moody(Painter):
    """Paints something else in a share of the seeds."""

    def __init__(self, wrong: dict[str, str], chance: float) -> None:
        super().__init__(wrong)
        self.moody, self.wrong = wrong, {}
        self.chance = chance

    @property
    def digest(self) -> str:
        return f"{super().digest}-{self.chance}"

    def _paint(self, prompt: str, seed: int) -> np.ndarray:
        mood = np.random.default_rng(seed).random() < self.chance
        self.wrong = self.moody if mood else {}
        return super()._paint(prompt, seed)


@pytest.fixture
def painters() -> dict[str, Painter]:
    return {"before": Painter(NO_STARS), "after": Painter()}


def test_a_word_that_was_learnt_is_found_by_both_scorers(
    tmp_path: Path, few: Path, learned: Contrastive, painters: dict[str, Painter]
):
    """Nothing that a scorer says of drawn images goes without what it says of real ones."""
    stars = [text for text in FEW if "star" in text]
    trained = shapes(tmp_path / "trained", stars[:3], copies=8)
    report = verify_painted(
        tmp_path, few, painters, trained=[trained], scorer="nearest,contrastive"
    )

    for scorer in ("nearest", "contrastive"):
        for group, prompts in ((SHOWN, 3), (NEVER, 1), (WITH, 4)):
            word = figure_of(report, group, WORD, scorer)
            assert (word.prompts, word.after.raw.n >= 160) == (prompts, True)
            assert word.before and word.change and word.real
            assert word.real.n > 0 or scorer == "contrastive"  # few are held out from it
            assert word.after.raw.value > 0.95 and word.before.raw.value < 0.05
        kept = figure_of(report, WITHOUT, OWN_WORD, scorer)
        assert kept.after.raw.value > 0.95 and kept.change and kept.change.raw.value == 0
        assert figure_of(report, WITHOUT, FALSE, scorer).after.raw.value < 0.05
        assert figure_of(report, NEVER, ENTIRELY, scorer).after.raw.value > 0.9
    assert all(judge.halved for judge in report.judges) and len(report.judges) == 2
    for measure in (WORD, OWN_WORD, ENTIRELY):
        counted = {f.scorer for f in report.figures if f.counts and f.measure == measure}
        assert counted <= {report.chosen.get(measure)}
    assert report.verdict != Verdict.FAILS


@pytest.mark.parametrize(
    ("after", "wanted", "said"),
    [
        (Painter(), Verdict.WORKS, "the word shows in 100.0%"),
        (Painter(NO_STARS), Verdict.FAILS, "the word shows in 0.0%"),
        (Moody(NO_STARS, 0.5), Verdict.FAILS, "of samples of prompts with the word (asked: 90%)"),
        (Moody(NO_STARS, 0.1), Verdict.UNDECIDED, "(asked: 90%)"),
    ],
)
def test_right_images_work_and_wrong_ones_do_not_and_the_limit_is_not_told(
    tmp_path: Path, truth: Path, after: Painter, wanted: Verdict, said: str
):
    report = verify_painted(tmp_path, truth, {"after": after}, rule=Rule(at_most_unasked=0.1))
    (about,) = [f for f in report.findings if "the word shows in" in f.sentence]

    assert report.verdict == about.verdict == wanted
    assert said in about.sentence
    assert bool(about.helps) == (wanted == Verdict.UNDECIDED)


def test_further_samples_that_are_asked_for_decide(tmp_path: Path, truth: Path):
    """What would help is what helps."""
    after = Moody(NO_STARS, 0.3)
    few = verify_painted(tmp_path / "few", truth, {"after": after}, samples=16)
    (open_one,) = [f for f in few.findings if "the word shows" in f.sentence]
    more = verify_painted(tmp_path / "more", truth, {"after": after}, samples=320)
    (closed,) = [f for f in more.findings if "the word shows" in f.sentence]

    assert open_one.verdict == Verdict.UNDECIDED and "more samples" in open_one.helps
    assert closed.verdict == Verdict.FAILS


def test_the_same_command_draws_nothing_again_and_writes_the_same(
    tmp_path: Path, truth: Path, painters: dict[str, Painter]
):
    first = verify_painted(tmp_path, truth, painters, out=tmp_path / "out")
    files = {f: f.read_bytes() for f in (tmp_path / "out").rglob("*") if f.is_file()}
    painted = painters["after"].painted
    again = verify_painted(tmp_path, truth, painters, out=tmp_path / "out")

    assert again == first and painted > 0
    assert painters["after"].painted == painted
    assert {f: f.read_bytes() for f in (tmp_path / "out").rglob("*") if f.is_file()} == files


def test_a_verification_that_was_stopped_draws_only_the_rest(
    tmp_path: Path, truth: Path, painters: dict[str, Painter]
):
    whole = verify_painted(tmp_path, truth, painters)
    painted = sum(painter.painted for painter in painters.values())
    chunks = sorted((tmp_path / "verify" / "samples").iterdir())
    chunks[0].unlink()
    chunks[1].write_bytes(chunks[1].read_bytes()[:50])

    assert verify_painted(tmp_path, truth, painters) == whole
    drawn = sum(painter.painted for painter in painters.values()) - painted
    assert 0 < drawn <= 2 * generate.SAMPLE_CHUNK


class Reader(Painter):
    """Notes which prompts it was asked to encode."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[list[str]] = []

    def encode_prompts(self, prompts: Sequence[str]) -> None:
        self.told.append(sorted(set(prompts)))


def test_every_prompt_is_encoded_before_the_first_image_and_none_for_kept_ones(
    tmp_path: Path, truth: Path
):
    reader = Reader()
    report = verify_painted(tmp_path, truth, {"after": reader}, samples=16)
    assert reader.told[0] == sorted({row.prompt for row in report.rows})

    reader.told.clear()
    assert verify_painted(tmp_path, truth, {"after": reader}, samples=16) == report
    assert reader.told == []


def test_another_model_under_the_same_name_is_drawn_anew(tmp_path: Path, truth: Path):
    first, other = Painter(), Painter(noise=11)
    for painter in (first, other):
        verify_painted(tmp_path, truth, {"after": painter}, samples=16)

    assert other.painted == first.painted > 0


def test_the_files_say_what_was_found(tmp_path: Path, truth: Path, painters: dict[str, Painter]):
    report = verify_painted(tmp_path, truth, painters)
    written = json.loads((tmp_path / "verify" / "verify.json").read_bytes())

    assert (tmp_path / "verify" / "verify.json").read_bytes() == report.to_json()
    assert (written["word"], written["verdict"]) == ("star", "works")
    assert written["figures"][0]["after"]["share"]["n"] == report.figures[0].after.share.n
    assert written["figures"][0]["real"]["n"] > 0
    assert written["judges"][0]["has_say"] == {WORD: True, OWN_WORD: True, ENTIRELY: True}
    assert written["judges"][0]["rates"][WORD]["shown"] == 4 * len(STARS)
    assert [one["digest"] for one in written["after"]] == [painters["after"].digest]
    assert written["before"]["digest"] == painters["before"].digest
    with Image.open(tmp_path / "verify" / "verify.png") as image:
        facts = {"word": "star", "seed": "0", "model": painters["after"].digest}
        assert image.text == facts
        assert image.width > 700


def test_images_are_counted_by_model(tmp_path: Path, truth: Path, painters: dict[str, Painter]):
    progress = RecordedProgress()
    verify_painted(tmp_path, truth, painters, progress=progress, samples=40)

    assert [progress.counted(f"sampling {when}") for when in ("after", "before")] == [104, 104]
    (measured,) = {total for title, _, total in progress.counts if title == "measuring nearest"}
    assert ("measuring nearest", measured, measured) in progress.counts
    assert measured <= 160  # copies count once


def test_without_an_earlier_model_only_the_share_counts(tmp_path: Path, truth: Path):
    rule = Rule(at_most_unasked=0.1)
    report = verify_painted(tmp_path, truth, {"after": Painter()}, rule=rule)

    assert report.verdict == Verdict.WORKS and report.before is None
    assert all(f.before is None and f.change is None for f in report.figures)
    assert "no earlier checkpoint (--before): that old words are kept is unknown" in report.notes


def test_prompts_of_ones_own_are_judged_as_far_as_they_can_be(
    tmp_path: Path, few: Path, learned: Contrastive
):
    """The word is seen in whatever it is asked for; a whole prompt by who knows its words."""
    asked = [
        "a small red star",
        "a large large blue star",
        "a small red circle",
        "umpteen elves",
    ]
    stand_in = {"a large large blue star": "a large blue star", "umpteen elves": CAPTIONS[0]}
    progress = RecordedProgress()
    report = verify_painted(
        tmp_path,
        few,
        {"after": Painter(stand_in)},
        prompts=asked,
        scorer="nearest,contrastive",
        progress=progress,
        samples=40,
    )

    assert figure_of(report, WITH, WORD).prompts == 2
    assert figure_of(report, WITH, ENTIRELY).prompts == 1
    assert figure_of(report, WITH, ENTIRELY, "contrastive").prompts == 2
    assert figure_of(report, WITHOUT, OWN_WORD).prompts == 1
    assert progress.said == report.notes
    lacking = "leaves out 1 of 4 prompts, such as 'umpteen elves': no true caption holds a word"
    assert sum(lacking in note for note in report.notes) == 2
    assert any("only 2 prompts with the word" in note for note in report.notes)


def test_captions_beside_the_first_are_other_ways_of_saying_it(tmp_path: Path):
    pictures = [
        (
            f"{text.replace(' ', '-')}-{n}",
            as_png(draw(text, n)),
            [text, text.replace("star", "pentagram")],
        )
        for text in CAPTIONS
        for n in range(4)
    ]
    shards = drawings.write_shards(tmp_path / "s", pictures)
    other = {t.replace("star", "pentagram"): t for t in STARS}
    painters = {
        "after": Painter(other),
        "before": Painter({k: NO_STARS[v] for k, v in other.items()}),
    }
    report = verify_painted(tmp_path, shards, painters, "pentagram")

    assert report.verdict == Verdict.WORKS
    assert figure_of(report, WITH, ENTIRELY).after.raw.value > 0.95


# --- told -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A word that works."""
    painters = {"before": Painter(NO_STARS), "after": Painter()}
    return verify_painted(tmp_path_factory.mktemp("told"), truth, painters)


def test_a_piped_report_is_tab_separated(told: Report, capsys: pytest.CaptureFixture[str]):
    tables.print_reports(told, as_json=False)
    out, err = capsys.readouterr()
    lines = [line.split("\t") for line in out.splitlines()]

    assert lines[0] == list(tables.COLUMNS)
    assert len(lines) == 2 + len(told.figures)
    assert all(len(line) == len(tables.COLUMNS) for line in lines[:-1])
    assert lines[-1] == ["star", "works"]
    assert "nearest, which sees the word in" in err
    assert "works: nearest: the word shows in 100.0%" in err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What is printed as if to a person."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", "170")
    return terminal


def test_a_report_on_a_terminal_is_a_table(told: Report, monkeypatch: pytest.MonkeyPatch):
    terminal = on_terminal(monkeypatch)
    tables.print_reports(told, as_json=False)

    assert terminal.getvalue().splitlines()[-1] == "star: works"
    assert "✓ nearest: the word shows in 100.0%" in terminal.getvalue()
    assert "never" not in terminal.getvalue()  # nobody said what was shown


def test_json_is_whole_and_has_no_nan(told: Report, capsys: pytest.CaptureFixture[str]):
    first = told.figures[0]
    hollow = replace(first, after=replace(first.after, share=Share(float("nan"), 0.0, 1.0, 0)))
    tables.print_reports(replace(told, figures=[hollow]), as_json=True)

    values = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert values["figures"][0]["after"]["share"]["value"] is None


def test_several_words_are_one_list_in_json(told: Report, capsys: pytest.CaptureFixture[str]):
    tables.print_reports(told, replace(told, word="cross"), as_json=True)

    assert [value["word"] for value in json.loads(capsys.readouterr().out)] == ["star", "cross"]


def test_a_word_is_no_markup(told: Report, monkeypatch: pytest.MonkeyPatch):
    terminal = on_terminal(monkeypatch)
    tables.print_reports(replace(told, word="[red]x[/]"), as_json=False)

    assert "[red]x[/]: percent" in terminal.getvalue()
    assert "100.0 [" in terminal.getvalue()  # intervals stay


def test_a_cascade_that_learnt_nothing_yet_is_verified_from_its_folder(tmp_path: Path):
    """The whole way with a real checkpoint: read, drawn from, scored, written, judged."""
    shards = drawings.write_shards(tmp_path / "shards", drawings.shapes("red", "green"))
    encoder = tiny_encoder.build(tmp_path / "encoder")
    quick = TrainConfig(stages=(8, 16), images=(16, 16), model_size="tiny", batch_size=8)
    quick = replace(quick, text_encoder=encoder)
    training_run.finetune(Recipe(shards, quick), tmp_path / "run", device="cpu")
    (report,) = verify_words(
        WordTest(["circle"], samples=6),
        Models([tmp_path / "run"], device="cpu"),
        Truth(shards, [shards], "nearest"),
    )

    assert report.verdict != Verdict.WORKS
    assert [one["digest"] for one in report.after] == [checkpoint.load(tmp_path / "run").digest]
    found = {(f.group, f.after.share.n) for f in report.figures if f.measure != COPY}
    assert found == {(SHOWN, 6), (WITH, 6), (WITHOUT, 8)}
    assert (tmp_path / "run" / "verify" / "verify.json").read_bytes() == report.to_json()
    assert len(list((tmp_path / "run" / "verify" / "samples").iterdir())) == 1
