"""Who looks, at what, and how prompts and images out of the ordinary are verified."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from curate.errors import InputError, UsageError
from tests.drawings import write_shards
from tests.painters import (
    CAPTIONS,
    SIDE,
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
from train.cli import main
from train.size import Size
from train.verification import choose_scorers, contrastive
from train.verification.choose_scorers import ScorerSpec
from train.verification.decisions import Verdict
from train.verification.generate import group_prompts
from train.verification.pixels import fit_within, flatten
from train.verification.scorers import Nearest, Question, Reference
from train.verification.verdict import FALSE, NEVER, OWN_WORD, SHOWN, WITH, WITHOUT, WORD, Rule
from train.verification.verify import MAX_SIDE, Models, Truth, WordTest, verify_words

STARS = [text for text in CAPTIONS if "star" in text]
CROSSES = [text for text in CAPTIONS if "cross" in text]
NO_STARS = {text: text.replace("star", "circle") for text in STARS}


class Own:
    """A scorer of one's own: sees the word in everything, and refuses what is pink."""

    name = "own"

    def __init__(self, true: Reference) -> None:
        self.unseen_N = np.ones(len(true.keys), bool)

    def cannot(self, question: Question) -> str | None:
        return "it is pink" if "pink" in question.text else None

    def shows(
        self,
        images_NHWC: np.ndarray,
        asked_N: Sequence[Sequence[Question]],
        rows_N: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        assert not any("pink" in question.text for asked in asked_N for question in asked)
        say = self.saying(images_NHWC)
        return [say(len(asked)) for asked in asked_N]

    def saying(self, images_NHWC: np.ndarray) -> Callable[[int], np.ndarray]:
        """What it answers to so many questions about one of these images."""
        return lambda count: np.ones(count, bool)


class Never(Own):
    name = "never"

    def saying(self, images_NHWC: np.ndarray) -> Callable[[int], np.ndarray]:
        return lambda count: np.zeros(count, bool)


class AtRandom(Own):
    name = "at-random"

    def saying(self, images_NHWC: np.ndarray) -> Callable[[int], np.ndarray]:
        random = np.random.default_rng(int(images_NHWC.sum()) % 2**32)
        return lambda count: random.random(count) < 0.5


class NoWord(Own):
    name = "no-word"

    def cannot(self, question: Question) -> str | None:
        return "it is a word"


def nothing(true: Reference) -> object:
    return object()


class Flat(Painter):
    """What a checkpoint of NaN draws."""

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        return np.zeros((len(prompts), SIDE, SIDE, 3), np.uint8)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes(tmp_path_factory.mktemp("truth"), copies=4)


# --- who looks --------------------------------------------------------------------------------

ENCODER = choose_scorers.EFFICIENTNET


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("nearest", [ScorerSpec("nearest")]),
        (" nearest , contrastive,nearest", [ScorerSpec("nearest"), ScorerSpec("contrastive")]),
        ("open_clip", [ScorerSpec("open_clip")]),
        ("open_clip:ViT-B-32:a:b", [ScorerSpec("open_clip", "ViT-B-32:a:b")]),
        ("examples", [ScorerSpec("examples", ENCODER)]),
        (
            "examples:dino:x,neighbours:/a/b",
            [ScorerSpec("examples", "dino:x"), ScorerSpec("neighbours", "/a/b")],
        ),
        ("vlm:/models/some", [ScorerSpec("vlm", "/models/some")]),
        ("my.mine:make", [ScorerSpec("my.mine", "make")]),
    ],
)
def test_scorers_are_read_as_they_are_typed(typed: str, read: list[ScorerSpec]):
    found = choose_scorers.parse_scorers(typed)

    assert found == read
    assert choose_scorers.parse_scorers(",".join(map(str, found))) == read


def test_auto_needs_no_download(monkeypatch: pytest.MonkeyPatch):
    plain = [ScorerSpec("nearest"), ScorerSpec("contrastive")]
    encoded = [ScorerSpec("examples", ENCODER), ScorerSpec("neighbours", ENCODER)]
    for there, wanted in ((None, plain), (object(), [*plain, *encoded])):
        monkeypatch.setattr(choose_scorers, "find_spec", lambda name, found=there: found)
        assert choose_scorers.parse_scorers("auto") == wanted
        assert choose_scorers.parse_scorers("nearest,auto") == wanted


@pytest.mark.parametrize(
    "text",
    ["", "near", "nearest:x", "contrastive:x", "contrastive,,", "vlm", "open_clip:ViT-B-32",
     "my.mine:", "my mine:make", "a.b:c:d"],
)  # fmt: skip
def test_what_names_no_scorer_is_refused(text: str):
    with pytest.raises(UsageError, match="no scorer") as error:
        choose_scorers.parse_scorers(text)
    assert "nearest, contrastive, examples" in error.value.fix


def test_the_old_name_of_a_scorer_is_refused_with_the_new_one():
    with pytest.raises(UsageError, match="no scorer 'learned'") as error:
        choose_scorers.parse_scorers("nearest,learned")
    assert error.value.fix == "it is called contrastive now"


@pytest.mark.parametrize("scorer", [Own, Never, AtRandom])
def test_who_tells_nothing_of_real_images_decides_nothing(
    tmp_path: Path, truth: Path, scorer: type[Own]
):
    """Not even a model that draws the word everywhere, or nowhere, can be judged by it."""
    report = verify_painted(
        tmp_path, truth, {"after": Painter()}, scorer=f"{__name__}:{scorer.__name__}"
    )
    first = report.findings[0]

    assert report.verdict == Verdict.UNDECIDED and int(report.exit_code) == 6
    assert first.sentence.startswith("no scorer surely tells the word from its neighbours")
    assert f"the best is {scorer.name}, which sees the word in" in first.sentence
    assert "another --scorer, or more real images" in first.helps
    assert report.chosen == {} and all(f.scorer == "copies" for f in report.figures if f.counts)


def test_who_tells_nothing_leaves_the_say_to_who_does(tmp_path: Path, truth: Path):
    report = verify_painted(
        tmp_path,
        truth,
        {"after": Painter()},
        scorer=f"{__name__}:Own,nearest",
        rule=Rule(at_most_unasked=0.1),
    )

    assert report.verdict == Verdict.WORKS
    assert [judge.name for judge in report.judges] == ["nearest", "own"]  # who counts first
    assert set(report.chosen.values()) == {"nearest"}
    assert figure_of(report, WITHOUT, FALSE, "own").counts is False


def test_a_scorer_that_cannot_judge_the_word_is_left_out_and_that_is_said(
    tmp_path: Path, truth: Path
):
    report = verify_painted(
        tmp_path, truth, {"after": Painter()}, scorer=f"{__name__}:NoWord,nearest", samples=16
    )

    assert [judge.name for judge in report.judges] == ["nearest"]
    assert "no-word is left out: it cannot judge the word (it is a word)" in report.notes


@pytest.mark.parametrize(
    ("scorer", "error", "problem"),
    [
        ("tests.nowhere:make", UsageError, "cannot be imported"),
        (f"{__name__}:missing", UsageError, "cannot be imported"),
        (f"{__name__}:nothing", InputError, "has no 'name'"),
        (f"{__name__}:NoWord", InputError, "no-word is left out"),
    ],
)
def test_a_scorer_that_cannot_serve_says_why(
    tmp_path: Path, truth: Path, scorer: str, error: type[Exception], problem: str
):
    with pytest.raises(error, match=problem):
        verify_painted(tmp_path, truth, {"after": Painter()}, scorer=scorer)


# --- what is asked for ------------------------------------------------------------------------


def test_prompts_all_with_the_word_are_joined_by_old_words(tmp_path: Path, truth: Path):
    forgets = Painter({text: text.replace("cross", "square") for text in CROSSES})
    painters = {"before": Painter(NO_STARS), "after": forgets}
    report = verify_painted(tmp_path, truth, painters, prompts=STARS, samples=32)

    old = figure_of(report, WITHOUT, OWN_WORD)
    assert old.prompts == 32 and old.change
    assert old.change.share.value < -0.1 and report.verdict == Verdict.FAILS
    assert "no prompt is without the word: old words are those of the true captions" in report.notes


def test_prompts_with_some_without_the_word_are_asked_for_alone(tmp_path: Path, truth: Path):
    report = verify_painted(
        tmp_path, truth, {"after": Painter()}, prompts=[*STARS, *CROSSES], samples=16
    )

    assert set(report.prompts[WITHOUT]) == set(CROSSES)
    assert not any("true captions" in note for note in report.notes)


def test_a_word_mistyped_is_told_its_neighbour(tmp_path: Path, truth: Path):
    with pytest.raises(InputError, match="no prompt holds this word") as error:
        verify_painted(tmp_path, truth, {"after": Painter()}, "Starr")
    assert error.value.fix.startswith("did you mean star?")


def test_other_new_words_are_not_old():
    groups = group_prompts(reference(), "star", None, None, samples=99, seed=0, others=["cross"])

    assert len(groups[WITH]) == 8 and len(groups[WITHOUT]) == 24
    assert not any("cross" in prompt for prompt in groups[WITHOUT])


def test_several_words_are_verified_each_in_its_folder(tmp_path: Path, truth: Path):
    models = Models([tmp_path / "after"], load=lambda path: Painter())
    words = WordTest(["star", "large blue"], samples=8)
    reports = verify_words(words, models, Truth(truth, scorer="nearest"))

    assert [report.word for report in reports] == ["star", "large blue"]
    folders = sorted(p.name for p in (tmp_path / "verify").iterdir())
    assert folders[1] == "star" and folders[0].startswith("large-blue-")
    assert all((tmp_path / "verify" / f / "verify.html").exists() for f in folders)
    assert not any("blue" in p and "large" in p for p in reports[0].prompts[WITHOUT])


def test_a_file_of_prompts_is_drawn_as_vocab_gaps_reads_it(tmp_path: Path, truth: Path):
    file, progress = tmp_path / "prompts.list", RecordedProgress()
    file.write_text("\n".join([f"({STARS[0]}:1.2)", "# stars", *CROSSES, "Steps: 20", "--no hat"]))
    report = verify_painted(
        tmp_path, truth, {"after": Painter()}, prompts=file, samples=8, progress=progress
    )

    assert report.prompts == {WITH: [STARS[0]], WITHOUT: sorted(CROSSES)[:8]}
    assert progress.said[0].endswith(": options 1, settings 1, weights 1")


@pytest.mark.parametrize("words", [["Star", "Star"], []])
def test_each_word_is_named_once(tmp_path: Path, words: list[str]):
    with pytest.raises(UsageError, match="each word once"):
        verify_words(WordTest(words), Models([tmp_path]), Truth(tmp_path))


def test_nothing_to_verify_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="nothing to verify"):
        verify_words(WordTest(["star"]), Models([]), Truth(tmp_path))


# --- what is drawn ----------------------------------------------------------------------------


def test_images_of_one_shade_are_told(tmp_path: Path, truth: Path):
    report = verify_painted(tmp_path, truth, {"after": Flat()}, samples=16)

    assert report.verdict == Verdict.FAILS
    drawn = sum(len(row.looks) for row in report.rows)
    assert (
        f"{drawn} of {drawn} images sampled after training are one flat shade: is the checkpoint "
        "whole?"
    ) in report.notes


def test_the_same_model_before_and_after_is_told(tmp_path: Path, truth: Path):
    same = {"before": Painter(), "after": Painter()}
    report = verify_painted(tmp_path, truth, same, samples=16)

    assert all(f.change.raw.value == 0 for f in report.figures if f.change)
    assert "--before drew the same as after: nothing can have changed" in report.notes


def test_a_missing_earlier_model_is_found_before_anything_is_drawn(tmp_path: Path, truth: Path):
    after = Painter()

    def load(path: Path) -> Painter:
        if path.name == "gone":
            raise InputError(path, "is not there", fix="name it")
        return after

    models = Models([tmp_path / "after"], tmp_path / "gone", load=load)
    with pytest.raises(InputError, match="is not there"):
        verify_words(WordTest(["star"]), models, Truth(truth, scorer="nearest"))
    assert after.painted == 0


def test_one_model_at_a_time_is_in_memory(tmp_path: Path, truth: Path):
    living: list[str] = []

    class Counted(Painter):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name
            living.append(name)

        def __del__(self) -> None:
            living.remove(self.name)

        def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
            assert living == [self.name]
            return super().generate(prompts, seeds)

    models = Models(
        [tmp_path / "a", tmp_path / "b"], tmp_path / "before", load=lambda path: Counted(path.name)
    )
    verify_words(WordTest(["star"], samples=8), models, Truth(truth, scorer="nearest"))
    assert living == []


def test_the_table_tells_every_sample(tmp_path: Path, truth: Path):
    wrong = {"a small pink star": "a small pink cross"}
    trained = shapes(tmp_path / "trained", STARS[:4], copies=2)
    painters = {"before": Painter(NO_STARS), "after": Painter(wrong)}
    verify_painted(tmp_path, truth, painters, trained=[trained], samples=16, out=tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "verify.json").read_text())["rows"]

    by_prompt = {row["prompt"]: row for row in rows}
    assert {row["group"] for row in rows} == {SHOWN, NEVER, WITHOUT}
    assert len(rows) == 8 + 16
    looks = by_prompt["a small pink star"]["looks"]
    assert len(looks) == 4 and len({look["seed"] for look in looks}) == 4
    assert not any(look["after"]["right"] or look["after"]["entirely"] for look in looks)
    assert all("star" not in look["after"]["taken_for"] for look in looks)
    assert all("circle" in look["before"]["taken_for"] for look in looks)


# --- what cannot be judged, from the command line ---------------------------------------------


def listed(folder: Path, prompts: Sequence[str], wrong: dict[str, str], each: int) -> Path:
    """Images drawn elsewhere, with their list."""
    folder.mkdir()
    lines = []
    for prompt in prompts:
        for seed in range(each):
            name = f"{prompt.replace(' ', '-')}-{seed}.png"
            (image,) = Painter(wrong, noise=5).generate([prompt], [seed + 100])
            (folder / name).write_bytes(as_png(image))
            lines.append(json.dumps({"file": name, "prompt": prompt, "seed": seed}))
    (folder / "generated.jsonl").write_text("\n".join(lines))
    return folder


def verify_listed(
    capsys: pytest.CaptureFixture[str], folder: Path, shards: Path, *more: str
) -> tuple[int, str]:
    typed = ["verify", "--generated", str(folder), "--shards", str(shards), *more]
    for option, usual in (("--scorer", "nearest"), ("--word", "star")):
        typed += [] if option in more else [option, usual]
    with pytest.raises(SystemExit) as ended:
        main(typed)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out + err


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [(NO_STARS, 1, "star\tdoes not work"), ({}, 6, "star\tcannot tell")],
)
def test_exit_codes_tell_the_verdict(
    tmp_path: Path, truth: Path, capsys: pytest.CaptureFixture[str],
    wrong: dict[str, str], code: int, said: str,
):  # fmt: skip
    """One seed of each prompt is too little to tell that a word works, and enough that not."""
    folder = listed(tmp_path / "drawn", [*STARS, *CROSSES], wrong, 1)
    found, printed = verify_listed(capsys, folder, truth)

    assert found == code and said in printed
    assert "every prompt drawn with one seed only" in printed
    assert (tmp_path / "drawn" / "verify" / "verify.html").exists()


def test_what_cannot_be_verified_is_a_sentence(
    tmp_path: Path, truth: Path, capsys: pytest.CaptureFixture[str]
):
    drawn = listed(tmp_path / "drawn", [*STARS[:2], CROSSES[0]], {}, 2)
    (tmp_path / "crosses.txt").write_text("\n".join(CROSSES))
    none = listed(tmp_path / "none", CROSSES[:2], {}, 1)
    cases = [
        ((drawn, shapes(tmp_path / "stars", STARS)), "every true image shows 'star'"),
        ((drawn, shapes(tmp_path / "one", STARS[:1])), "every true image shows 'star'"),
        ((drawn, shapes(tmp_path / "x", CROSSES)), "nearest is left out: it cannot judge the word"),
        ((none, truth), "no prompt holds this word"),
        ((tmp_path / "nowhere", truth), "nowhere"),
        ((drawn, tmp_path / "nowhere"), "nowhere"),
    ]
    for (folder, shards), problem in cases:
        code, printed = verify_listed(capsys, folder, shards)
        assert (code, problem in printed) == (3, True), printed
        assert len(printed.splitlines()) < 6 and "Traceback" not in printed
    code, printed = verify_listed(capsys, drawn, truth, "--scorer", "near")
    assert (code, "no scorer 'near'" in printed) == (2, True)


def test_three_true_images_prove_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Nothing fails for want of images: it says that there are too few."""
    shards = shapes(tmp_path / "three", [STARS[0], STARS[1], CROSSES[0]])
    folder = listed(tmp_path / "drawn", [STARS[0], CROSSES[0]], {}, 3)
    code, printed = verify_listed(capsys, folder, shards)

    assert code == 6
    assert "no scorer surely tells the word from its neighbours on real images" in printed
    assert "more real images with the word" in printed


# --- sizes ------------------------------------------------------------------------------------


def oblong(text: str, seed: int = 0) -> np.ndarray:
    """A shape in the upper half of an image twice as high as it is wide."""
    return np.concatenate([draw(text, seed), np.full((SIDE, SIDE, 3), 255, np.uint8)])


class OblongPainter(Painter):
    def __init__(self, wrong: dict[str, str] | None = None) -> None:
        super().__init__(wrong)
        self.size = Size(SIDE, 2 * SIDE)

    def _paint(self, prompt: str, seed: int) -> np.ndarray:
        square = super()._paint(prompt, seed)
        return np.concatenate([square, np.full_like(square, 255)])


def test_oblong_pictures_are_verified_in_their_proportion(tmp_path: Path):
    pictures = [
        (f"{t.replace(' ', '-')}-{n}", as_png(oblong(t, n)), [t])
        for t in CAPTIONS
        for n in range(4)
    ]
    shards = write_shards(tmp_path / "oblong", pictures)
    painters = {"after": OblongPainter(), "before": OblongPainter(NO_STARS)}
    report = verify_painted(tmp_path, shards, painters, rule=Rule(at_most_unasked=0.1))

    assert report.verdict != Verdict.FAILS
    assert figure_of(report, WITH, WORD).after.share.low > 0.8


def test_the_contrastive_scorer_takes_oblong_images():
    pixels = np.stack([oblong(t, n) for n in range(2) for t in CAPTIONS[:12]])
    texts = [[t] for t in CAPTIONS[:12]] * 2
    true = Reference.of(pixels, [f"k{n}" for n in range(24)], texts)
    scorer = contrastive.train_scorer(true, images=64)
    below = pixels.copy()
    below[:, -SIDE // 2 :] = 0
    scores = scorer.scores(pixels)

    assert scores.shape == (24, 12) and np.isfinite(scores).all()
    assert (np.abs(scores - scorer.scores(below)).max(1) > 0).all(), "it sees the lower end"


@pytest.mark.parametrize(
    ("shape", "side", "kept"),
    [
        ((512, 512), 64, (64, 64)),
        ((128, 64), 64, (64, 32)),
        ((16, 32), 64, (16, 32)),
        ((1, 999), 9, (1, 9)),
    ],
)
def test_pictures_are_compared_in_their_proportion(
    shape: tuple[int, int], side: int, kept: tuple[int, int]
):
    assert fit_within(shape, side) == kept


class Watching(Own):
    """Notes how large the images are that it is shown."""

    name = "watching"
    shapes: ClassVar[set[tuple[int, ...]]] = set()

    def __init__(self, true: Reference) -> None:
        super().__init__(true)
        self.shapes.add(true.pixels_NHWC.shape[1:3])

    def shows(
        self,
        images_NHWC: np.ndarray,
        asked_N: Sequence[Sequence[Question]],
        rows_N: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        self.shapes.add(images_NHWC.shape[1:3])
        return super().shows(images_NHWC, asked_N, rows_N)


class LargePainter(Painter):
    def __init__(self) -> None:
        super().__init__()
        self.size = Size(512, 512)

    def _paint(self, prompt: str, seed: int) -> np.ndarray:
        return super()._paint(prompt, seed).repeat(16, 0).repeat(16, 1)


def test_large_images_are_looked_at_small(tmp_path: Path):
    """At 512 px all of them would fill the memory, and no scorer looks at so many pixels."""
    large = {text: draw(text).repeat(16, 0).repeat(16, 1) for text in (STARS[0], *CROSSES[:2])}
    pictures = [(text.replace(" ", "-"), as_png(image), [text]) for text, image in large.items()]
    shards = write_shards(tmp_path / "large", pictures, size=512)
    scorer = f"{__name__}:Watching"
    verify_painted(tmp_path, shards, {"after": LargePainter()}, scorer=scorer, samples=2)

    assert Watching.shapes == {(MAX_SIDE, MAX_SIDE)} == {(256, 256)}
    true = Reference.of(np.stack(list(large.values())), list(large), [[t] for t in large])
    assert flatten(true.pixels_NHWC, 64).shape == (3, 3 * 64 * 64)
    assert taken_for(Nearest(true), true, np.stack(list(large.values()))) == list(large)
    assert contrastive._reduce_images(true, 64).pixels_NHWC.shape == (3, 64, 64, 3)
