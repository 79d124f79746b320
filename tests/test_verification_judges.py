"""How far a scorer is believed: by what it says of real images that it has not seen."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.painters import SIDE, reference
from train.verification import calibrate
from train.verification.calibrate import Answered, Probe
from train.verification.generate import Sample
from train.verification.looks import LookAlikes
from train.verification.metrics import Trials
from train.verification.question import Question
from train.verification.scorers import Nearest, Reference, Scorer
from train.verification.verdict import ENTIRELY, MIN_YOUDEN, OWN_WORD, WORD, Judge, describe_judge

Saying = Callable[[str, Question], bool]  # caption of the image, question -> yes


class Says:
    """A scorer that knows which image it is shown, and says what it is told to say of it."""

    def __init__(self, true: Reference, says: Saying, name: str = "says") -> None:
        self.true, self.says, self.name = true, says, name
        self.unseen_N = np.ones(len(true.keys), bool)
        self.asked: list[tuple[int, Question]] = []

    def cannot(self, question: Question) -> str | None:
        return None

    def shows(
        self,
        images_NHWC: np.ndarray,
        asked_N: Sequence[Sequence[Question]],
        rows_N: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        assert rows_N is not None and len(rows_N) == len(images_NHWC) == len(asked_N)
        for row, asked in zip(rows_N, asked_N, strict=True):
            self.asked += [(int(row), question) for question in asked]
        said = [self.true.labels[self.true.label_N[row]][0] for row in rows_N]
        return [
            np.array([self.says(text, question) for question in asked], bool)
            for text, asked in zip(said, asked_N, strict=True)
        ]


def knows(text: str, question: Question) -> bool:
    return text == question.text if question.whole else question.text in text.split()


def trials_of(true: Reference, word: str) -> Trials:
    """Every true caption is asked for."""
    return Trials([Sample(said[0], 0, "") for said in true.labels], word, true)


def ask_about_real_images(scorer: Scorer, true: Reference, word: str) -> Answered:
    nothing = LookAlikes(np.zeros(len(true.keys), bool), "")
    return calibrate.ask_about_real_images(scorer, trials_of(true, word), nothing)


def choose_judges(
    answered: Sequence[Answered], true: Reference, word: str, apart: str = ""
) -> tuple[list[Judge], dict[str, str]]:
    return calibrate.choose_judges(answered, trials_of(true, word), apart)


def judge(true: Reference, says: Saying, word: str = "star") -> tuple[Judge, dict[str, str]]:
    answered = ask_about_real_images(Says(true, says), true, word)
    (one,), say = choose_judges([answered], true, word)
    return one, say


@pytest.fixture(scope="module")
def true() -> Reference:
    return reference(copies=4)


def test_a_scorer_is_asked_of_real_images_what_it_is_asked_of_drawn_ones(true: Reference):
    scorer = Says(true, knows)
    answered = ask_about_real_images(scorer, true, "star")

    measures = {p.measure: [q for q in answered.probes if q.measure == p.measure]
                for p in answered.probes}  # fmt: skip
    assert set(measures) == {WORD, OWN_WORD, ENTIRELY}
    stars = true.image_shows_word("star")
    assert len(measures[WORD]) == len(np.unique(true.group_N)) > 150
    assert sum(p.truth for p in measures[WORD]) == len(np.unique(true.group_N[stars]))
    for asked in (measures[OWN_WORD], measures[ENTIRELY]):
        assert sum(p.truth for p in asked) == len(asked) / 2
    for probe, yes in zip(answered.probes, answered.yes, strict=True):
        text = true.labels[true.label_N[probe.row]][0]
        assert probe.truth == yes == knows(text, probe.question)
    others = [p.question.text for p in measures[ENTIRELY] if not p.truth]
    assert len(set(others)) > 20, "one near its own, not the same for all"


def test_who_is_always_right_is_believed(true: Reference):
    found, say = judge(true, knows)

    assert say == dict.fromkeys((WORD, OWN_WORD, ENTIRELY), "says")
    assert found.rates[WORD].youden.value == 1 > found.rates[WORD].youden.low > 0.8
    assert not found.closed and not found.halved


RANDOM = np.random.default_rng(0)
USELESS: dict[str, Saying] = {
    "always yes": lambda text, question: True,
    "always no": lambda text, question: False,
    "at random": lambda text, question: RANDOM.random() < 0.5,
    "mostly yes": lambda text, question: RANDOM.random() < 0.95,
    "the contrary": lambda text, question: not knows(text, question),
}


@pytest.mark.parametrize("name", USELESS)
def test_who_tells_nothing_has_no_say(true: Reference, name: str):
    found, say = judge(true, USELESS[name])

    assert say == {}
    assert describe_judge(found, WORD).endswith("no say")


def test_who_takes_a_neighbour_for_the_word_has_no_say(true: Reference):
    """It is right on nine of ten others: what counts is the one it confuses."""

    def says(text: str, question: Question) -> bool:
        return knows(text, question) or (question.text == "star" and "cross" in text)

    found, say = judge(true, says)
    rates = found.rates[WORD]

    assert rates.sensitivity.value == 1
    assert rates.false_positive.value == pytest.approx(0.25, abs=0.02)
    assert rates.false_positive_near is not None and rates.false_positive_near.value == 1
    assert (found.neighbours, WORD in say, OWN_WORD in say) == ("cross", False, True)
    assert "or show cross)" in describe_judge(found, WORD)


def test_the_neighbour_is_found_on_one_half_and_measured_on_the_other(true: Reference):
    """Chosen where it is measured, the worst of many words would look worse than it is."""
    shares = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        found, _ = judge(true, lambda text, question, r=random: bool(r.random() < 0.2))
        near = found.rates[WORD].false_positive_near
        assert near is not None
        shares.append(near.value)
    assert np.mean(shares) == pytest.approx(0.2, abs=0.03)  # 40 of about 50 images each


# --- copies, and what cannot be unseen ---------------------------------------------------------


def doubled(true: Reference, times: int = 2) -> Reference:
    """Every image again under other keys."""
    texts = [true.labels[label] for label in true.label_N]
    keys = [f"{key}{'-again' * n}" for n in range(times) for key in true.keys]
    return Reference.of(np.concatenate([true.pixels_NHWC] * times), keys, texts * times)


def measured(true: Reference) -> Judge:
    answered = ask_about_real_images(Nearest(true), true, "star")
    return choose_judges([answered], true, "star")[0][0]


@pytest.mark.parametrize("copies", [1, 2])
def test_copies_of_an_image_give_no_credit(copies: int):
    """Neither a better rate nor a narrower interval."""
    once = reference(copies=copies)
    alone, again = measured(once), measured(doubled(once))

    assert again.rates[WORD].sensitivity.value == alone.rates[WORD].sensitivity.value
    for measure in (WORD, OWN_WORD):
        assert again.rates[measure].youden.low <= alone.rates[measure].youden.low + 0.03
    assert again.rates[WORD].shown == alone.rates[WORD].shown
    assert again.closed == alone.closed


def test_images_that_nothing_is_alike_in_are_not_told_by_the_nearest():
    """Such are photographs, for pixels: what was seen it knows by heart, and nothing else."""
    random = np.random.default_rng(0)
    noise = reference(copies=4, paint=lambda *_: random.integers(0, 256, (SIDE, SIDE, 3), np.uint8))
    scorer = Nearest(noise)
    known = scorer.shows(noise.pixels_NHWC, [[Question("star")]] * 160)
    found = measured(noise)

    assert [bool(one[0]) for one in known] == noise.image_shows_word("star").tolist()
    assert not any(found.has_say(measure) for measure in (WORD, OWN_WORD, ENTIRELY))


def test_a_caption_of_one_image_is_judged_in_a_closed_world_and_that_is_said():
    """Blurred and noised the image is found again; of the word that proves nothing."""
    found = measured(reference())

    assert found.closed == (ENTIRELY,)
    assert found.rates[ENTIRELY].youden.low > 0.8
    assert "a closed world" in describe_judge(found, ENTIRELY)
    assert "a closed world" not in describe_judge(found, WORD)
    assert found.has_say(ENTIRELY) == found.has_say(WORD)
    blind = replace(found, rates={**found.rates, WORD: replace(found.rates[WORD], hits_shown=0)})
    assert not blind.has_say(ENTIRELY)


def test_only_what_was_not_learnt_from_is_asked_about(true: Reference):
    scorer = Says(true, knows)
    scorer.unseen_N = np.arange(160) % 10 == 0
    ask_about_real_images(scorer, true, "star")

    assert {row for row, _ in scorer.asked} <= set(range(0, 160, 10))


def test_of_many_images_some_are_asked_about_and_the_rare_word_is_among_them():
    count = 1200
    labels = [(f"a {'rare' if n < 40 else 'plain'} thing {n}",) for n in range(count)]
    pixels = np.zeros((count, 1, 1, 3), np.uint8)
    numbers = np.arange(count)
    many = Reference(pixels, [f"k{n}" for n in numbers], labels, numbers, numbers)
    scorer = Says(many, knows)
    found, _ = choose_judges([ask_about_real_images(scorer, many, "rare")], many, "rare")

    assert found[0].rates[WORD].shown == 40
    assert found[0].rates[WORD].absent == calibrate.MAX_ABSENT
    assert len({row for row, _ in scorer.asked}) < count


# --- several scorers ---------------------------------------------------------------------------


def world(shown: int, absent: int) -> tuple[Reference, list[Probe]]:
    """Images of one caption each, no word shared but the one that is asked about."""
    count = shown + absent
    labels = [(f"star n{n}",) if n < shown else (f"n{n}",) for n in range(count)]
    numbers = np.arange(count)
    true = Reference(
        np.zeros((count, 1, 1, 3), np.uint8), [f"k{n}" for n in numbers], labels, numbers, numbers
    )
    return true, [Probe(int(n), Question("star"), WORD, bool(n < shown)) for n in numbers]


def panel(
    true: Reference, probes: list[Probe], random: np.random.Generator, count: int,
    sees: float, errs: float,
) -> tuple[list[Judge], dict[str, str]]:  # fmt: skip
    """Many scorers, all of the same two rates."""
    answered = [
        Answered(
            Says(true, knows, f"{n}"),
            probes,
            [bool(random.random() < (sees if p.truth else errs)) for p in probes],
        )
        for n in range(count)
    ]
    return choose_judges(answered, true, "star")


def test_the_best_of_many_is_not_measured_where_it_was_chosen():
    """Of many equal scorers the one that was lucky on one half is as good as any on the other."""
    (true, probes), random = world(60, 120), np.random.default_rng(0)
    found = []
    for _ in range(15):
        judges, say = panel(true, probes, random, 15, 0.8, 0.2)
        (chosen,) = [judge for judge in judges if judge.name == say[WORD]]
        assert chosen.halved
        found.append(chosen.rates[WORD].youden.value)

    # of about 30 and 60 images each, so a standard error of 0.09, and of 0.023 of the mean; the
    # luckiest of fifteen is about 0.15 too good
    assert np.mean(found) == pytest.approx(0.6, abs=0.07)


def test_of_many_that_tell_too_little_none_gets_the_say_by_luck():
    """Each would pass one time in forty; the more there are the more often one would."""
    (true, probes), random = world(40, 40), np.random.default_rng(1)
    errs = 0.5 - MIN_YOUDEN / 2
    lucky = sum(WORD in panel(true, probes, random, 30, 1 - errs, errs)[1] for _ in range(20))

    assert lucky <= 2  # binomial of 20 and 1/40: more in one of 80; were any let in, about 10


def test_the_better_scorer_counts_and_both_are_told(true: Reference):
    random = np.random.default_rng(0)

    def often(text: str, question: Question) -> bool:
        return knows(text, question) if random.random() < 0.75 else random.random() < 0.5

    answered = [
        ask_about_real_images(Says(true, says, name), true, "star")
        for name, says in (("often", often), ("always", knows))
    ]
    judges, say = choose_judges(answered, true, "star")

    assert set(say.values()) == {"always"}
    assert [one.name for one in judges] == ["often", "always"]
    assert all(one.halved and 0 < one.rates[WORD].shown < 32 for one in judges)
