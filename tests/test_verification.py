"""Verification: who is believed, what is counted, and what makes a word work."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curate.errors import ExitCode, InputError, UsageError
from curate.system.progress import SILENT
from tests import drawings, tiny_encoder
from tests.painters import CAPTIONS, COLOURS, SIDE, Painter, as_png, draw, shapes
from tests.recorded_progress import RecordedProgress
from train.checkpoints import checkpoint
from train.config import TrainConfig
from train.size import Size
from train.training import run as training_run
from train.training.run import Recipe
from train.verification import generate, verdict, verify
from train.verification.contrastive import Contrastive, augment, train_scorer
from train.verification.intervals import Share, agresti_min, difference, share, student_95, wilson
from train.verification.scorers import Accuracy, Label, Nearest, OpenClip, Reference, contains
from train.verification.verdict import (
    ENTIRELY,
    FALSE,
    NEVER,
    OWN_WORD,
    SHOWN,
    WITH,
    WITHOUT,
    WORD,
    Rule,
)

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


def test_paired_shares_match_the_published_form():
    """The Wald interval with half a sample more in each cell of (20, 13, 5, 62)."""
    # p = (13.5 - 5.5) / 102, variance ((13.5 + 5.5) - 8^2 / 102) / 102^2
    assert agresti_min(13, 5, 100) == pytest.approx(
        (0.078431 - 0.082363, 0.078431 + 0.082363), abs=1e-5
    )
    assert agresti_min(200, 0, 200)[1] == 1.0
    assert [-end for end in agresti_min(5, 13, 100)[::-1]] == pytest.approx(agresti_min(13, 5, 100))


def test_students_points_are_those_of_the_tables():
    tables = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 30: 2.042, 120: 1.980}
    assert {v: round(student_95(v), 3) for v in tables} == pytest.approx(tables, rel=2e-3)


def test_one_miss_more_never_raises_an_end():
    """With all or almost all right, as after good training, ends must not jump about."""
    groups = [n // 4 for n in range(200)]
    lows = [share([n >= misses for n in range(200)], groups, seed=0).low for misses in range(5)]
    highs = [
        difference([True] * 200, [n >= rises for n in range(200)], groups, seed=0).high
        for rises in range(5)
    ]

    assert lows == sorted(lows, reverse=True)
    assert highs == sorted(highs)


def test_two_prompts_that_differ_say_little_of_a_third():
    found = share([True] * 100 + [False] * 20 + [True] * 80, [0] * 100 + [1] * 100, seed=0)
    assert (found.low, found.high) == (0.8, 1.0)


def test_prompts_with_one_seed_each_are_as_good_as_samples():
    """A bootstrap over prompts is then one over samples, about as wide as Wilson's."""
    hits = [n % 5 > 0 for n in range(200)]
    found, alone = share(hits, range(200), seed=0), wilson(160, 200)

    assert found.high - found.low == pytest.approx(alone[1] - alone[0], rel=0.08)


def test_a_share_of_all_still_has_a_width():
    groups = [n % 10 for n in range(200)]
    every, none = share([True] * 200, groups, seed=0), share([False] * 200, groups, seed=0)

    assert (every.value, every.high, every.n) == (1.0, 1.0, 200)
    assert 0.97 < every.low < 0.99
    assert (none.low, none.high) == pytest.approx((0.0, 1 - every.low))


@settings(max_examples=40)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 7), st.integers(0, 9))
def test_a_share_lies_in_its_interval_and_repeats(hits: list[bool], groups: int, seed: int):
    of = [n % groups for n in range(len(hits))]
    found = share(hits, of, seed=seed)

    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high
    assert share(hits, of, seed=seed) == found


def test_prompts_that_differ_widen_the_interval():
    """Ten prompts, each always or never right, tell less than two hundred samples would."""
    hits = np.repeat([True, False], 100)
    clustered = share(hits, np.repeat(range(10), 20), seed=0)
    mixed = share(hits, np.tile(range(10), 20), seed=0)

    assert clustered.high - clustered.low > 2 * (mixed.high - mixed.low)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    for prompts, seeds in ((8, 25), (20, 10), (60, 4), (200, 1)):
        held = 0
        for _ in range(200):
            chance = rng.beta(0.8 * 19, 0.2 * 19, prompts)  # correlation 0.05, mean 0.8
            hits = rng.random((prompts, seeds)) < chance[:, None]
            found = share(hits.ravel(), np.repeat(range(prompts), seeds), seed=1)
            held += found.low <= 0.8 <= found.high
        assert 182 <= held <= 198, (prompts, held)  # 91 to 99 %


def test_differences_are_taken_in_pairs():
    """Each sample that differs is counted; what both share does not widen the interval."""
    before = np.array([True, False] * 100)
    after = before.copy()
    after[:4] = ~after[:4]
    groups = list(range(200))
    changed = difference(after, before, groups, seed=0)

    assert changed.value == 0
    assert changed.high - changed.low < 0.06
    same = difference(before, before, groups, seed=0)
    assert (same.low, same.high) == pytest.approx(agresti_min(0, 0, 200)) and same.high < 0.01
    gained = difference([True] * 200, [False] * 200, groups, seed=0)
    assert (gained.value, gained.high) == (1.0, 1.0) and 0.97 < gained.low < 1


def test_no_samples_say_nothing():
    assert share([], [], seed=0).n == 0
    assert (difference([], [], [], seed=0).low, difference([], [], [], seed=0).high) == (-1, 1)


# --- the reference ----------------------------------------------------------------------------


def reference(captions: Sequence[str] = CAPTIONS, copies: int = 1) -> Reference:
    texts = [text for text in captions for _ in range(copies)]
    pixels = np.stack([draw(text, n) for n, text in enumerate(texts)])
    return Reference.of(pixels, [f"k{n}" for n in range(len(texts))], [[t] for t in texts])


def test_pictures_with_the_same_first_caption_show_the_same():
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    found = Reference.of(pixels, ["a", "b", "c"], [["x", "also x"], ["y", "both"], ["x", "both"]])

    assert found.labels == [("x", "also x", "both"), ("y", "both")]
    assert found.label_N.tolist() == [0, 1, 0]
    assert (found.find("  ALSO  x"), found.find("y"), found.find("z")) == (0, 1, None)
    assert found.find("both") is None  # names two things


def test_the_rarest_word_of_a_caption_is_its_own():
    assert reference().own_words("a small red star") == ["star"]
    assert reference().own_words("a small red comet") == ["comet"]


# --- scorers ----------------------------------------------------------------------------------


def test_nearest_finds_the_picture_that_was_blurred_and_noised():
    true = reference()
    nearest = Nearest(true)
    images = Painter(noise=25).generate(CAPTIONS, range(len(CAPTIONS)))

    assert nearest.scores(images, true.labels).argmax(1).tolist() == list(range(len(CAPTIONS)))
    assert nearest.accuracy.entirely > 0.95
    assert nearest.accuracy.own_word > 0.95


def test_small_pictures_with_small_differences_are_told_apart():
    """At 16 px a hat is a few pixels: half the size would leave nothing of it."""
    rng = np.random.default_rng(0)
    hats = rng.integers(0, 256, (24, 2, 3, 3))
    pixels = np.full((24, 16, 16, 3), 144, np.uint8)
    pixels[:, 2:4, 7:10] = hats
    true = Reference.of(pixels, [f"k{n}" for n in range(24)], [[f"hat {n}"] for n in range(24)])

    assert Nearest(true).accuracy.entirely > 0.95


def test_nearest_of_a_true_picture_is_itself_at_distance_nought():
    true = reference()
    scores = Nearest(true).scores(true.pixels_NHWC, true.labels)

    assert scores.argmax(1).tolist() == true.label_N.tolist()
    assert np.allclose(scores.max(1), 0, atol=1e-3)


def test_nearest_cannot_choose_what_it_has_no_picture_of():
    true = reference()
    candidates: list[Label] = [("a small red comet",), *true.labels]
    scores = Nearest(true).scores(true.pixels_NHWC[:3], candidates)

    assert np.isneginf(scores[:, 0]).all()
    assert (scores[:, 1:] > -np.inf).all()


def test_nearest_takes_the_closest_of_a_captions_pictures():
    pixels = np.stack([np.full((8, 8, 3), v, np.uint8) for v in (0, 200, 100)])
    true = Reference.of(pixels, ["a", "b", "c"], [["x"], ["x"], ["y"]])
    images = np.stack([np.full((8, 8, 3), v, np.uint8) for v in (20, 190, 110)])

    assert Nearest(true).scores(images, true.labels).argmax(1).tolist() == [0, 0, 1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes(tmp_path_factory.mktemp("reference"), copies=2)


@pytest.fixture(scope="module")
def learned(folder: Path) -> Contrastive:
    """Learnt once for this file, from the cache after that."""
    true = Reference.load(folder, Size(SIDE, SIDE))
    return train_scorer(true, cache=folder / ".cache")


def test_the_learned_scorer_is_right_on_pictures_it_never_saw(learned: Contrastive):
    assert learned.accuracy.on == "held-out real images"
    assert learned.accuracy.n >= 8
    assert learned.accuracy.entirely >= 0.95
    assert learned.accuracy.own_word >= 0.95
    assert learned.refit.entirely >= 0.95


def test_the_learned_scorer_understands_combinations_it_never_saw():
    """Every image of two shapes in one colour is kept from it, under that caption or another."""
    unseen = {"a small blue square", "a large pink circle", "a large green star"}
    known = [text for text in CAPTIONS if text not in unseen]
    scorer = train_scorer(reference(known, copies=2), images=3000)
    candidates: list[Label] = [(text,) for text in CAPTIONS]
    prompts = sorted(unseen) * 8
    best = scorer.scores(Painter().generate(prompts, range(24)), candidates).argmax(1)

    right = [CAPTIONS[b] == p for b, p in zip(best, prompts, strict=True)]
    assert np.mean(right) >= 0.9


def test_a_held_out_caption_is_not_learnt_to_be_wrong():
    """One image a caption: what is held out must not be what every other image is not."""
    accuracy = train_scorer(reference(), images=1500).accuracy

    assert accuracy.n >= 5
    assert accuracy.entirely >= 0.95


def test_the_learned_scorer_comes_back_from_its_cache_unchanged(folder: Path, learned: Contrastive):
    true = Reference.load(folder, Size(SIDE, SIDE))
    files = list((folder / ".cache").glob("contrastive-*.safetensors"))
    progress = RecordedProgress()
    again = train_scorer(true, cache=folder / ".cache", progress=progress)
    assert progress.counts == [], "not learnt again"
    images = Painter().generate(CAPTIONS[:8], range(8))

    assert len(files) == 1
    assert (again.accuracy, again.refit) == (learned.accuracy, learned.refit)
    assert np.array_equal(again.scores(images, true.labels), learned.scores(images, true.labels))


def test_learning_twice_gives_the_same_scorer():
    true = reference(CAPTIONS[:8])
    one, two = (train_scorer(true, images=200) for _ in range(2))
    images = Painter().generate(CAPTIONS[:4], range(4))

    assert np.array_equal(one.scores(images, true.labels), two.scores(images, true.labels))


def test_a_broken_cache_is_learnt_again(tmp_path: Path):
    true = reference(CAPTIONS[:6])
    first = train_scorer(true, images=100, cache=tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    again = train_scorer(true, images=100, cache=tmp_path)

    assert again.refit == first.refit
    assert train_scorer(true, images=100, cache=tmp_path).refit == first.refit


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


TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A small open_clip architecture with a file of random weights: its name, the file."""
    import open_clip
    import torch

    folder = tmp_path_factory.mktemp("clip")
    (folder / "fubuki-tiny.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "fubuki-tiny.json")
    torch.manual_seed(0)
    torch.save(open_clip.create_model("fubuki-tiny").state_dict(), folder / "weights.pt")
    return "fubuki-tiny", str(folder / "weights.pt")


def test_open_clip_scores_are_the_models_own_cosines(tiny_clip: tuple[str, str]):
    import open_clip
    import torch

    true = reference(CAPTIONS[:5])
    scorer = OpenClip(true, ":".join(tiny_clip))
    scores = scorer.scores(true.pixels_NHWC, true.labels)

    model, _, prepare = open_clip.create_model_and_transforms(tiny_clip[0], pretrained=tiny_clip[1])
    images = torch.stack([prepare(Image.fromarray(i)) for i in true.pixels_NHWC])
    with torch.no_grad():
        seen = model.eval().encode_image(images, normalize=True)
        tokens = open_clip.get_tokenizer(tiny_clip[0])([t[0] for t in true.labels])
        said = model.encode_text(tokens, normalize=True)
    assert np.allclose(scores, (seen @ said.T).numpy(), atol=1e-5)
    assert scorer.accuracy.n == 5


def test_open_clip_names_what_it_lacks(tiny_clip: tuple[str, str]):
    with pytest.raises(UsageError, match="no architecture 'ViT-Z'") as unknown:
        OpenClip(reference(CAPTIONS[:2]), "ViT-Z:x")
    with pytest.raises(
        InputError, match=r"nowhere\.pt: no such file of weights, nor a tag"
    ) as missing:
        OpenClip(reference(CAPTIONS[:2]), f"{tiny_clip[0]}:nowhere.pt")

    assert "open_clip:ViT-B-32:laion2b_s34b_b79k" in unknown.value.fix
    assert "--scorer contrastive" in missing.value.fix


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

GOOD = Accuracy(0.97, 1.0, 60, "held-out real images")


def figure(group: str, measure: str, after: float, before: float | None = None) -> verdict.Figure:
    width = 0.01
    change = None if before is None else after - before
    return verdict.Figure(
        "nearest",
        group,
        measure,
        10,
        Share(after, after - width, after + width, 200),
        None if before is None else Share(before, before - width, before + width, 200),
        None if change is None else Share(change, change - width, change + width, 200),
    )


WORKS = [
    figure(WITH, WORD, 0.97, 0.01),
    figure(SHOWN, WORD, 0.98, 0.01),
    figure(NEVER, WORD, 0.96, 0.01),
    figure(WITHOUT, OWN_WORD, 0.98, 0.99),
    figure(WITHOUT, ENTIRELY, 0.90, 0.91),
]


def test_a_word_works_if_it_shows_is_new_and_costs_nothing():
    works, reasons = verdict.decide(WORKS, [verdict.Judge("nearest", GOOD)], Rule())
    assert works and len(reasons) == 6


@pytest.mark.parametrize(
    ("place", "worse", "reason"),
    [
        (0, figure(WITH, WORD, 0.85, 0.01), "shows in 85.0% of samples of prompts with the word "),
        (0, figure(WITH, WORD, 0.89, 0.885), "the change is +0.5%"),
        (2, figure(NEVER, WORD, 0.70, 0.01), "with the word that were never shown"),
        (3, figure(WITHOUT, OWN_WORD, 0.95, 0.99), "old words change by -4.0%"),
        (4, figure(WITHOUT, ENTIRELY, 0.80, 0.91), "old captions change by -11.0%"),
    ],
)
def test_each_demand_alone_can_fail_the_word(place: int, worse: verdict.Figure, reason: str):
    figures = [*WORKS[:place], worse, *WORKS[place + 1 :]]
    works, reasons = verdict.decide(figures, [verdict.Judge("nearest", GOOD)], Rule())

    assert not works
    assert any(reason in r for r in reasons)


def test_a_word_that_worked_before_need_not_gain():
    figures = [figure(WITH, WORD, 0.99, 0.985), *WORKS[3:]]
    works, reasons = verdict.decide(figures, [verdict.Judge("nearest", GOOD)], Rule())
    assert works and any("it worked before" in r for r in reasons)


def test_a_scorer_that_is_wrong_on_real_pictures_has_no_say():
    blind = verdict.Judge("nearest", Accuracy(0.5, 0.6, 60, "real images"))
    works, reasons = verdict.decide(WORKS, [blind], Rule())

    assert not works and reasons == [
        "no scorer is right often enough on real images to be relied upon"
    ]


def test_a_scorer_that_knows_words_but_not_captions_speaks_of_words_only():
    figures = [*WORKS[:4], figure(WITHOUT, ENTIRELY, 0.2, 0.9)]
    words_only = verdict.Judge("nearest", Accuracy(0.7, 1.0, 60, "real images"))

    assert verdict.decide(figures, [words_only], Rule())[0]
    assert not verdict.decide(figures, [verdict.Judge("nearest", GOOD)], Rule())[0]


# --- the whole way ----------------------------------------------------------------------------

STARS = [text for text in CAPTIONS if "star" in text]
SHOWN_STARS = [text for text in STARS if "red" not in text]
NO_STARS = {text: text.replace("star", "circle") for text in STARS}


class Weights:
    """Checkpoint files by name, and the painters that stand for them."""

    def __init__(self, folder: Path, **painters: Painter) -> None:
        self.painters = painters
        self.files = {name: folder / f"{name}.safetensors" for name in painters}
        for name, file in self.files.items():
            file.write_bytes(name.encode())

    def load(self, path: Path) -> Painter:
        return self.painters[path.stem]


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    return Weights(tmp_path, before=Painter(NO_STARS), after=Painter())


def check(weights: Weights, folder: Path, **options: object) -> verdict.Report:
    settings = {"word": "star", "shards": folder, "samples": 40, "scorer": "nearest"}
    before = weights.files["before"]
    settings |= {"before": before, "load": weights.load, "progress": SILENT, **options}
    word, progress = settings.pop("word"), settings.pop("progress")
    asked = verify.Verification(**settings)  # type: ignore[arg-type]
    return verify.verify_word(weights.files["after"], word, asked, progress)  # type: ignore[arg-type]


def found(report: verdict.Report, scorer: str, group: str, measure: str) -> verdict.Figure:
    (figure,) = [
        f for f in report.figures if (f.scorer, f.group, f.measure) == (scorer, group, measure)
    ]
    return figure


def test_a_word_that_was_learnt_is_found_by_both_scorers(
    tmp_path: Path, folder: Path, learned: Contrastive, weights: Weights
):
    trained = shapes(tmp_path / "trained", SHOWN_STARS)
    report = check(weights, folder, trained=[trained], scorer="nearest,contrastive")

    assert report.works and report.exit_code == ExitCode.DONE
    for scorer in ("nearest", "contrastive"):
        for group, prompts in ((SHOWN, 6), (NEVER, 2), (WITH, 8)):
            word = found(report, scorer, group, WORD)
            assert (word.prompts, word.after.n >= 40) == (prompts, True)
            assert word.before and word.change
            assert word.after.value > 0.95 and word.before.value < 0.05
            assert word.change.low > 0.8
        kept = found(report, scorer, WITHOUT, OWN_WORD)
        assert kept.after.value > 0.95 and kept.change and kept.change.value == 0
        assert found(report, scorer, WITHOUT, FALSE).after.value < 0.05
        assert found(report, scorer, NEVER, ENTIRELY).after.value > 0.9


def test_a_word_that_was_not_learnt_does_not_work(folder: Path, weights: Weights):
    weights.painters["after"] = Painter(NO_STARS)
    report = check(weights, folder)

    assert not report.works and report.exit_code == ExitCode.FOUND
    assert found(report, "nearest", WITH, WORD).after.value < 0.05
    assert any("the word shows in 0.0%" in r for r in report.reasons)


def test_forgetting_an_old_word_fails_the_new_one(folder: Path, weights: Weights):
    forgotten = {t: t.replace("cross", "square") for t in CAPTIONS if "cross" in t}
    weights.painters["after"] = Painter(forgotten)
    report = check(weights, folder)

    kept = found(report, "nearest", WITHOUT, OWN_WORD)
    assert not report.works
    assert kept.change and kept.change.value == pytest.approx(-0.25, abs=0.05)
    assert any("old words change by -25" in r for r in report.reasons)


def test_a_word_that_shows_everywhere_is_no_success(folder: Path, weights: Weights):
    stars = {t: " ".join([*t.split()[:3], "star"]) for t in CAPTIONS}
    weights.painters["after"] = Painter(stars)
    report = check(weights, folder)

    assert found(report, "nearest", WITH, WORD).after.value > 0.95
    assert found(report, "nearest", WITHOUT, FALSE).after.value > 0.95
    assert not report.works


def test_the_same_command_draws_nothing_again_and_writes_the_same(folder: Path, weights: Weights):
    out = weights.files["after"].parent / "out"
    first = check(weights, folder, out=out)
    files = {f: f.read_bytes() for f in out.rglob("*") if f.is_file()}
    painted = weights.painters["after"].painted
    again = check(weights, folder, out=out)

    assert again == first
    assert weights.painters["after"].painted == painted
    assert {f: f.read_bytes() for f in out.rglob("*") if f.is_file()} == files


def test_a_verification_that_was_stopped_draws_only_the_rest(folder: Path, weights: Weights):
    out = weights.files["after"].parent / "out"
    whole = check(weights, folder, out=out)
    painted = weights.painters["after"].painted
    chunks = sorted((out / "samples").iterdir())
    chunks[0].unlink()
    chunks[1].write_bytes(chunks[1].read_bytes()[:50])
    again = check(weights, folder, out=out)

    assert again == whole
    drawn = sum(p.painted for p in weights.painters.values()) - 2 * painted
    assert 0 < drawn <= 2 * 64


class Reader(Painter):
    """Notes which prompts it was asked to encode."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[list[str]] = []

    def encode_prompts(self, prompts: Sequence[str]) -> None:
        self.told.append(sorted(set(prompts)))


def test_every_prompt_is_encoded_before_the_first_picture_and_none_for_kept_ones(
    tmp_path: Path, folder: Path
):
    weights = Weights(tmp_path, before=Painter(NO_STARS), after=Reader())
    reader = weights.painters["after"]
    assert isinstance(reader, Reader)
    report = check(weights, folder)
    assert reader.told[0] == sorted({row.prompt for row in report.rows})

    reader.told.clear()
    assert check(weights, folder) == report
    assert reader.told == []


def test_another_checkpoint_under_the_same_name_is_drawn_anew(folder: Path, weights: Weights):
    out = weights.files["after"].parent / "out"
    check(weights, folder, out=out)
    painted = weights.painters["after"].painted
    weights.files["after"].write_bytes(b"trained further")
    check(weights, folder, out=out)

    assert weights.painters["after"].painted == 2 * painted


def test_the_files_say_what_was_found(folder: Path, weights: Weights):
    report = check(weights, folder)
    out = weights.files["after"].parent / "verify"
    written = json.loads((out / "verify.json").read_bytes())

    assert written["works"] is True and written["word"] == "star"
    assert written["figures"][0]["after"]["n"] == report.figures[0].after.n
    assert written["judges"][0]["knows_words"] is True
    with Image.open(out / "verify.png") as image:
        assert image.text == {"word": "star", "seed": "0", "checkpoint": report.after}
        assert image.width > 700


def test_images_are_counted_by_checkpoint(folder: Path, weights: Weights):
    progress = RecordedProgress()
    check(weights, folder, progress=progress)

    assert [progress.counted(f"sampling {when}") for when in ("after", "before")] == [104, 104]


def test_without_an_earlier_checkpoint_only_the_share_counts(folder: Path, weights: Weights):
    report = check(weights, folder, before=None)

    assert report.works and report.before is None
    assert all(f.before is None and f.change is None for f in report.figures)


def test_prompts_of_ones_own_leave_out_the_scorer_that_cannot_judge_them(
    folder: Path, learned: Contrastive, weights: Weights
):
    progress = RecordedProgress()
    asked = ["a small red star", "a large large blue star", "a small pink circle"]
    weights.painters["after"] = Painter({"a large large blue star": "a large blue star"})
    weights.painters["before"] = Painter({"a large large blue star": "a large blue circle"})
    options = {"prompts": asked, "scorer": "nearest,contrastive", "progress": progress}
    report = check(weights, folder, **options)

    assert [j.name for j in report.judges] == ["nearest", "contrastive"]
    assert found(report, "nearest", WITH, WORD).prompts == 1
    assert found(report, "contrastive", WITH, WORD).prompts == 2
    said = progress.said
    assert said == report.notes
    assert said[0] == (
        "nearest leaves out 1 of 3 prompts, such as 'a large large blue star': no true image has "
        "this caption, or not alone"
    )
    assert "only 2 prompts with the word" in said[1]


def test_what_no_scorer_can_judge_is_refused(folder: Path, learned: Contrastive, weights: Weights):
    asked = ["a small red comet with a star"]
    with pytest.raises(InputError) as error:
        check(weights, folder, prompts=asked, scorer="nearest,contrastive")
    assert "no true caption holds 'comet'" in error.value.problem


def test_a_word_that_no_prompt_holds_is_refused(folder: Path, weights: Weights):
    with pytest.raises(InputError, match="'blizzard': no prompt holds this word"):
        check(weights, folder, word="blizzard")


@pytest.mark.parametrize("scorer", ["clip", "", "nearest:x", "open_clip:ViT-B-32", "contrastive,,"])
def test_an_unknown_scorer_is_refused(folder: Path, weights: Weights, scorer: str):
    with pytest.raises(UsageError) as error:
        check(weights, folder, scorer=scorer)
    assert (
        error.value.exit_code == ExitCode.USAGE
        and "nearest, contrastive, open_clip" in error.value.fix
    )


def test_open_clip_can_be_named_with_its_weights(
    folder: Path, weights: Weights, tiny_clip: tuple[str, str]
):
    report = check(weights, folder, scorer=f"nearest,open_clip:{tiny_clip[0]}:{tiny_clip[1]}")

    names = [j.name for j in report.judges]
    assert names == ["nearest", "open_clip"]
    assert not report.judges[1].knows_words  # random weights
    assert report.works  # so it has no say


def test_captions_beside_the_first_are_other_ways_of_saying_it(tmp_path: Path, weights: Weights):
    pictures = [
        (text.replace(" ", "-"), as_png(draw(text)), [text, text.replace("star", "pentagram")])
        for text in CAPTIONS
    ]
    shards = drawings.write_shards(tmp_path / "s", pictures)
    other = {t.replace("star", "pentagram"): t for t in STARS}
    weights.painters["after"] = Painter(other)
    weights.painters["before"] = Painter({k: NO_STARS[v] for k, v in other.items()})
    report = check(weights, shards, word="pentagram")

    assert report.works
    assert found(report, "nearest", WITH, ENTIRELY).after.value > 0.95


def test_a_piped_report_is_tab_separated(
    folder: Path, weights: Weights, capsys: pytest.CaptureFixture[str]
):
    report = check(weights, folder)
    verify.print_reports(report, as_json=False)
    out, err = capsys.readouterr()
    lines = [line.split("\t") for line in out.splitlines()]

    assert lines[0] == ["scorer", "group", "measure", "n", "prompts", "before", "after", "change"]
    assert all(len(line) == 8 for line in lines[:-1])
    assert lines[-1] == ["star", "works"]
    assert "nearest: right on" in err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What is printed as if to a person."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", "140")
    return terminal


def test_a_report_on_a_terminal_is_a_table(
    folder: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch
):
    terminal = on_terminal(monkeypatch)
    verify.print_reports(check(weights, folder), as_json=False)

    assert "star works" in terminal.getvalue()
    assert "never" not in terminal.getvalue()  # nobody said what was shown


def test_json_is_whole_and_has_no_nan(
    folder: Path, weights: Weights, capsys: pytest.CaptureFixture[str]
):
    report = check(weights, folder)
    hollow = replace(report.figures[0], after=share([], [], seed=0))
    verify.print_reports(replace(report, figures=[hollow]), as_json=True)

    values = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert values["figures"][0]["after"]["value"] is None


def test_several_words_are_one_list_in_json(
    folder: Path, weights: Weights, capsys: pytest.CaptureFixture[str]
):
    report = check(weights, folder)
    verify.print_reports(report, replace(report, word="cross"), as_json=True)

    assert [value["word"] for value in json.loads(capsys.readouterr().out)] == ["star", "cross"]


def test_a_word_is_no_markup(folder: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch):
    terminal = on_terminal(monkeypatch)
    verify.print_reports(replace(check(weights, folder), word="[red]x[/]"), as_json=False)

    assert "[red]x[/]: percent" in terminal.getvalue()
    assert "100.0 [" in terminal.getvalue()  # intervals stay


def test_colours_are_told_apart():
    """Four colours of one shape: what a scorer of shapes alone could not do."""
    true = reference([f"a large {c} circle" for c in COLOURS])
    images = Painter().generate([t[0] for t in true.labels] * 5, range(20))

    assert Nearest(true).scores(images, true.labels).argmax(1).tolist() == list(range(4)) * 5


def test_a_cascade_that_learnt_nothing_yet_is_verified_from_its_folder(tmp_path: Path):
    """The whole way with a real checkpoint: read, drawn from, scored, written, judged."""
    shards = drawings.write_shards(tmp_path / "shards", drawings.shapes("red", "green"))
    encoder = tiny_encoder.build(tmp_path / "encoder")
    quick = TrainConfig(stages=(8, 16), images=(16, 16), model_size="tiny", batch_size=8)
    quick = replace(quick, text_encoder=encoder)
    training_run.finetune(Recipe(shards, quick), tmp_path / "run", device="cpu")
    asked = verify.Verification(shards, trained=[shards], samples=6, scorer="nearest", device="cpu")
    report = verify.verify_word(tmp_path / "run", "circle", asked)

    assert not report.works
    assert report.after == checkpoint.load(tmp_path / "run").digest
    assert {(f.group, f.after.n) for f in report.figures} == {(SHOWN, 6), (WITH, 6), (WITHOUT, 8)}
    assert (tmp_path / "run" / "verify" / "verify.json").read_bytes() == report.to_json()
    assert len(list((tmp_path / "run" / "verify" / "samples").iterdir())) == 1
