"""Scorers that learn from the true images: is what they say of those what they say of others?"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.painters import CAPTIONS, draw
from train.verification import examples
from train.verification.cross_fitting import FOLDS, count_examples, deal_folds, fit_logistic
from train.verification.examples import Fit, FromExamples
from train.verification.neighbours import fit_neighbours
from train.verification.question import Question
from train.verification.scorers import Reference

FITS = [fit_logistic, fit_neighbours]


class SmallPictures:
    """An encoder that squints: pixels of a reduced image."""

    name, digest = "small", "0" * 64

    def encode_images(self, images_NHWC: np.ndarray) -> np.ndarray:
        count, side = len(images_NHWC), images_NHWC.shape[1] // 4
        blocks = images_NHWC.reshape(count, side, 4, side, 4, 3).mean((2, 4))
        return (1 - blocks / 255).reshape(count, -1).astype(np.float32)


def clouds(count: int, shown: float, seed: int, apart: float = 2.0, width: int = 12):
    """Two clouds of unit variance: features and which of the two."""
    random = np.random.default_rng(seed)
    target = random.random(count) < shown
    features = random.normal(0, 1, (count, width))
    features[:, 0] += apart * target
    return features.astype(np.float32), target[:, None]


def rates(said: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Of those with, the share said to be; of those without, the share said not to be."""
    return float(said[target].mean()), float(1 - said[~target].mean())


# --- folds ------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=60))
@settings(max_examples=50)
def test_copies_share_a_fold_and_examples_are_spread(drawn: list[tuple[int, bool]]):
    group, target = np.array([g for g, _ in drawn]), np.array([t for _, t in drawn])
    fold = deal_folds(target, group, FOLDS)

    assert fold.shape == group.shape and set(fold.tolist()) <= set(range(FOLDS))
    assert all(len(set(fold[group == g].tolist())) == 1 for g in group)
    shown, others = count_examples(target, group)
    assert shown + others == len(set(group.tolist()))
    assert len(set(fold[target].tolist())) == min(shown, FOLDS)
    np.testing.assert_array_equal(deal_folds(target, group, FOLDS), fold)


# --- what is learnt ---------------------------------------------------------------------------


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shown", [0.5, 0.1])
def test_true_images_are_judged_as_often_rightly_as_others(fit: Fit, shown: float):
    """The rates measured on what was learnt from, unseen, are those on images of later."""
    features, target = clouds(400, shown, 0)
    judge = fit(features, target, np.arange(400))
    measured = rates(judge.unseen(np.arange(400)), target)

    later, truth = clouds(4000, shown, 1)
    met = rates(judge.answers(later, np.arange(4000)), truth)
    best = 0.841  # of the best judge: half of the distance between the clouds is a deviation
    assert measured == pytest.approx(met, abs=0.13 if shown < 0.2 else 0.08)
    assert best - 0.12 < np.mean(met) < best + 0.02


@pytest.mark.parametrize("shown", [0.5, 0.1])
def test_the_two_errors_of_a_regression_are_about_as_frequent(shown: float):
    features, target = clouds(1500, shown, 2, width=40)
    found, rejected = rates(
        fit_logistic(features, target, np.arange(1500)).unseen(np.arange(1500)), target
    )
    assert found == pytest.approx(rejected, abs=0.07)


@pytest.mark.parametrize("fit", FITS)
def test_nothing_is_known_of_an_image_from_its_copies(fit: Fit):
    """Features and words of chance, each image four times: only who cheats is right."""
    random = np.random.default_rng(3)
    group = np.repeat(np.arange(60), 4)
    features = random.normal(0, 1, (60, 100)).astype(np.float32)[group]
    target = (random.random(60) < 0.5)[group][:, None]

    judge = fit(features, target, group)
    assert np.mean(rates(judge.unseen(np.arange(240)), target)) == pytest.approx(0.5, abs=0.15)
    cheats = fit(features, target, np.arange(240))
    assert np.mean(rates(cheats.unseen(np.arange(240)), target)) > 0.9


@pytest.mark.parametrize("fit", FITS)
def test_an_image_that_was_altered_is_still_not_judged_by_who_has_seen_it(fit: Fit):
    random = np.random.default_rng(4)
    features = random.normal(0, 1, (100, 200)).astype(np.float32)
    target = (random.random(100) < 0.5)[:, None]
    judge = fit(features, target, np.arange(100))

    rows = np.arange(100)[::-1]
    np.testing.assert_array_equal(judge.unseen(rows), judge.unseen(rows, features[rows]))
    altered = features + random.normal(0, 0.1, features.shape).astype(np.float32)
    hidden = np.mean(rates(judge.unseen(rows, altered[rows]), target[rows]))
    seen = np.mean(rates(judge.answers(altered, rows), target))
    assert hidden < 0.65 and (seen > 0.8 or fit is fit_neighbours)  # of those several vote


def test_drawn_images_are_dealt_to_the_judges_in_turn():
    features, target = clouds(100, 0.5, 5)
    judge = fit_logistic(features, target, np.arange(100))
    later, _ = clouds(300, 0.5, 6)
    each = [judge.answers(later, np.full(300, k))[:, 0] for k in range(FOLDS)]

    assert len({said.tobytes() for said in each}) > 1
    dealt = judge.answers(later, np.arange(300))[:, 0]
    assert all((dealt[k::FOLDS] == each[k][k::FOLDS]).all() for k in range(FOLDS))


def test_a_word_is_learnt_the_same_with_others_as_alone():
    features, target = clouds(120, 0.4, 7)
    group = np.arange(120)
    random = np.random.default_rng(8).random((120, 3)) < 0.5
    both = fit_logistic(features, np.concatenate([random, target], 1), group)
    alone = fit_logistic(features, target, group)
    np.testing.assert_allclose(both.weights_KDW[..., 3], alone.weights_KDW[..., 0], atol=0.01)
    np.testing.assert_array_equal(both.strength_KW[:, 3], alone.strength_KW[:, 0])


def test_features_that_never_vary_or_are_large_do_no_harm():
    features, target = clouds(200, 0.5, 9)
    odd = np.concatenate([features * 1e4 + 1e6, np.ones((200, 2), np.float32)], 1)
    plain = rates(fit_logistic(features, target, np.arange(200)).unseen(np.arange(200)), target)
    assert rates(fit_logistic(odd, target, np.arange(200)).unseen(np.arange(200)), target) == (
        pytest.approx(plain, abs=0.05)
    )


def test_few_that_show_it_are_not_outvoted_by_many_that_do_not():
    """Ten images among a thousand of a wide cloud that holds them: shares are what counts."""
    features, target = clouds(1000, 0.02, 10, apart=3.0, width=3)
    features[:, 1:] += 5  # all in about one direction, so that cosine tells the first feature
    judge = fit_neighbours(features, target, np.arange(1000))
    assert min(rates(judge.unseen(np.arange(1000)), target)) > 0.7


def groups(reference: Reference) -> np.ndarray:
    return np.unique(reference.pixels_NHWC, axis=0, return_inverse=True)[1].ravel()


def with_groups(reference: Reference) -> Reference:
    """Only images that are the same are copies: small drawings of one caption are alike."""
    return replace(reference, group_N=groups(reference))


# --- the scorers ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Six images of each caption, and a seventh label of three images."""
    texts = [text for text in CAPTIONS for _ in range(6)] + ["a purple dragon"] * 3
    pixels = [
        draw(text.replace("purple dragon", "small pink star"), n) for n, text in enumerate(texts)
    ]
    return Reference.of(
        np.stack(pixels), [f"k{n}" for n in range(len(texts))], [[t] for t in texts]
    )


@pytest.fixture(scope="module", params=["examples", "neighbours"])
def scorer(request: pytest.FixtureRequest, reference: Reference) -> FromExamples:
    return FromExamples(with_groups(reference), SmallPictures(), request.param)


def test_it_tells_words_and_whole_captions_in_images_it_has_not_seen(
    scorer: FromExamples, reference: Reference
):
    rows = np.arange(0, 240, 3)
    texts = [reference.labels[label][0] for label in reference.label_N[rows]]
    asked = [Question("pink", False), Question("cross", False), Question("a large red cross", True)]
    found = scorer.shows(reference.pixels_NHWC[rows], [asked] * len(rows), rows)

    right = [
        [("pink" in t) == a[0], ("cross" in t) == a[1], (t == "a large red cross") == a[2]]
        for t, a in zip(texts, found, strict=True)
    ]
    assert np.mean(right, 0).min() > 0.8
    assert scorer.unseen_N.all() and scorer.unseen_N.shape == (243,)
    assert scorer.name.endswith(":small") and scorer.digest == "0" * 64


def test_it_tells_words_in_images_that_were_drawn(scorer: FromExamples):
    images = np.stack([draw(text, 99) for text in CAPTIONS])
    asked = [[Question("pink", False)] if n % 2 else [] for n in range(len(CAPTIONS))]
    found = scorer.shows(images, asked)
    assert [a.size for a in found] == [n % 2 for n in range(len(CAPTIONS))]
    right = [a[0] == ("pink" in t) for t, a in zip(CAPTIONS, found, strict=True) if a.size]
    assert np.mean(right) > 0.8
    assert scorer.shows(images[:0], []) == []


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (Question("dragon", False), "only 3 true images show it, and it takes 5"),
        (Question("a purple dragon", True), "only 3 true images show it"),
        (Question("castle", False), "only 0 true images show it"),
        (Question("a", False), "all but 0 show it"),
        (Question("a tiny blue star", True), "no true image has this caption"),
        (Question("star", False), None),
        (Question("a small blue star", True), None),
    ],
)
def test_what_it_cannot_learn_it_says(scorer: FromExamples, question: Question, why: str | None):
    said = scorer.cannot(question)
    assert said is None if why is None else why in (said or "")


def test_copies_count_once(reference: Reference):
    rows = np.flatnonzero(reference.label_N == 0)[:1].repeat(9)
    rows = np.concatenate([rows, np.flatnonzero(reference.label_N > 0)])
    texts = [list(reference.labels[label]) for label in reference.label_N[rows]]
    copied = Reference.of(reference.pixels_NHWC[rows], [str(n) for n in range(len(rows))], texts)
    scorer = FromExamples(with_groups(copied), SmallPictures(), "examples")
    assert "only 1 true images show it" in (scorer.cannot(Question(texts[0][0], True)) or "")


def test_images_are_looked_at_again_only_where_they_are_not_the_true_ones(
    reference: Reference, monkeypatch: pytest.MonkeyPatch
):
    scorer, rows = (
        FromExamples(with_groups(reference), SmallPictures(), "neighbours"),
        np.arange(5),
    )
    asked, looked = [[Question("star", False)]] * 5, []
    squint = SmallPictures.encode_images

    def count(self: SmallPictures, images: np.ndarray) -> np.ndarray:
        looked.append(len(images))
        return squint(self, images)

    monkeypatch.setattr(SmallPictures, "encode_images", count)
    scorer.shows(reference.pixels_NHWC[rows], asked, rows)
    assert looked == []
    scorer.shows(255 - reference.pixels_NHWC[rows], asked, rows)
    assert looked == [5]


def test_words_are_learnt_some_at_a_time(reference: Reference, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(examples, "WORDS_AT_ONCE", 2)
    few = FromExamples(with_groups(reference), SmallPictures(), "examples")
    monkeypatch.undo()
    all_ = FromExamples(with_groups(reference), SmallPictures(), "examples")
    asked = [[Question(w, False) for w in ("star", "pink", "cross", "large", "circle")]] * 20
    images = reference.pixels_NHWC[::12][:20]
    np.testing.assert_array_equal(few.shows(images, asked), all_.shows(images, asked))
