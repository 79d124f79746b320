"""Who looks, at what, and how prompts and images out of the ordinary are verified."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from curate.errors import InputError, UsageError
from tests.drawings import write_shards
from tests.painters import CAPTIONS, SIDE, Painter, as_png, draw, shapes
from tests.recorded_progress import RecordedProgress
from train.size import Size
from train.verification import choose_scorers, contrastive, scorers, verify
from train.verification.choose_scorers import ScorerSpec
from train.verification.generate import group_prompts
from train.verification.scorers import Accuracy, Label, Nearest, Reference, fit_within
from train.verification.verdict import NEVER, OWN_WORD, SHOWN, WITH, WITHOUT, WORD, Report

STARS = [text for text in CAPTIONS if "star" in text]
CROSSES = [text for text in CAPTIONS if "cross" in text]
NO_STARS = {text: text.replace("star", "circle") for text in STARS}


class OnlyCircles:
    """A scorer of one's own: sees circles in everything."""

    name, accuracy = "circles", Accuracy(1.0, 1.0, 9, "nothing")

    def __init__(self, true: Reference) -> None:
        self.true = true

    def scores(self, images_NHWC: np.ndarray, candidates: Sequence[Label]) -> np.ndarray:
        circle = np.array(["circle" in said[0] for said in candidates], float)
        return np.tile(circle, (len(images_NHWC), 1))

    def cannot(self, prompt: str) -> str | None:
        return "it is pink" if "pink" in prompt else None


class NoNumbers(OnlyCircles):
    name = "no-numbers"

    def scores(self, images_NHWC: np.ndarray, candidates: Sequence[Label]) -> np.ndarray:
        return np.full((len(images_NHWC), len(candidates)), np.nan)


def nothing(true: Reference) -> object:
    return object()


class Flat(Painter):
    """What a checkpoint of NaN draws."""

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        return np.zeros((len(prompts), SIDE, SIDE, 3), np.uint8)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes(tmp_path_factory.mktemp("truth"))


def check(folder: Path, truth: Path, after: Painter, **options: object) -> Report:
    painters = {"after": after, "before": Painter(NO_STARS)}
    for name in painters:
        (folder / f"{name}.safetensors").write_bytes(name.encode())
    word = options.pop("word", "star")
    given = {
        "shards": truth,
        "before": folder / "before.safetensors",
        "samples": 16,
        "scorer": "nearest",
        "load": lambda path: painters[path.stem],
    } | options
    asked = verify.Verification(**given)  # type: ignore[arg-type]
    return verify.verify_word(folder / "after.safetensors", word, asked)  # type: ignore[arg-type]


# --- who looks --------------------------------------------------------------------------------


def test_scorers_are_read_as_they_are_typed():
    assert choose_scorers.parse_scorers(
        " nearest, open_clip:ViT-B-32:a:b ,nearest,my.mine:make"
    ) == [
        ScorerSpec("nearest"),
        ScorerSpec("open_clip", "ViT-B-32", "a:b"),
        ScorerSpec("my.mine", "make"),
    ]
    assert choose_scorers.parse_scorers("open_clip") == [ScorerSpec("open_clip")]


@pytest.mark.parametrize(
    "text", ["", "near", "contrastive:x", "my.mine:", "my mine:make", "a.b:c:d"]
)
def test_what_names_no_scorer_is_refused(text: str):
    with pytest.raises(UsageError, match="no scorer"):
        choose_scorers.parse_scorers(text)


def test_the_old_name_of_a_scorer_is_refused_with_the_new_one():
    with pytest.raises(UsageError, match="no scorer 'learned'") as error:
        choose_scorers.parse_scorers("nearest,learned")
    assert error.value.fix == "it is called contrastive now"


def test_a_scorer_of_ones_own_is_named_by_its_module(tmp_path: Path, truth: Path):
    report = check(tmp_path, truth, Painter(), scorer=f"{__name__}:OnlyCircles")

    (judge,) = report.judges
    assert (judge.name, judge.accuracy.entirely) == ("circles", 1.0)
    assert not report.works
    assert "circles leaves out 5 of 24 prompts" in report.notes[0]
    assert "it is pink" in report.notes[0]
    assert not any("pink" in row.prompt for row in report.rows)
    shares = {f.group: f for f in report.figures if f.measure in (WORD, OWN_WORD)}
    assert shares[WITH].prompts == 6 and shares[WITH].after.value == 0


@pytest.mark.parametrize(
    ("scorer", "error", "problem"),
    [
        ("tests.nowhere:make", UsageError, "cannot be imported"),
        (f"{__name__}:missing", UsageError, "cannot be imported"),
        (f"{__name__}:nothing", InputError, "has no 'name'"),
        (f"{__name__}:NoNumbers", InputError, "no numbers"),
    ],
)
def test_a_scorer_that_cannot_serve_says_why(
    tmp_path: Path, truth: Path, scorer: str, error: type[Exception], problem: str
):
    with pytest.raises(error, match=problem):
        check(tmp_path, truth, Painter(), scorer=scorer)


# --- what is asked for ------------------------------------------------------------------------


def test_prompts_all_with_the_word_are_joined_by_old_words(tmp_path: Path, truth: Path):
    forgets = Painter({text: text.replace("cross", "square") for text in CROSSES})
    report = check(tmp_path, truth, forgets, prompts=STARS)

    old = {f.measure: f for f in report.figures if f.group == WITHOUT}
    assert old[OWN_WORD].prompts == 16 and old[OWN_WORD].change
    assert old[OWN_WORD].change.value < -0.1 and not report.works
    assert "no prompt is without the word: old words are those of the true captions" in report.notes


def test_prompts_with_some_without_the_word_are_asked_for_alone(tmp_path: Path, truth: Path):
    report = check(tmp_path, truth, Painter(), prompts=[*STARS, *CROSSES])

    assert set(report.prompts[WITHOUT]) == set(CROSSES)
    assert report.works and not any("true captions" in note for note in report.notes)


def test_scorers_judge_what_they_can_of_ones_own_prompts(tmp_path: Path, truth: Path):
    own = {"a star, small and green": "a small green star"}
    after = Painter(own)
    painted = {**NO_STARS, "a star, small and green": "a small green circle"}
    report = check(
        tmp_path,
        truth,
        after,
        prompts=[*STARS, *own],
        load=lambda path: after if path.stem == "after" else Painter(painted),
    )

    assert report.works
    (word,) = [f for f in report.figures if f.group == WITH and f.measure == WORD]
    assert word.prompts == len(STARS)
    assert any("nearest leaves out 1 of 25 prompts" in note for note in report.notes)


def test_a_word_mistyped_is_told_its_neighbour(tmp_path: Path, truth: Path):
    with pytest.raises(InputError) as error:
        check(tmp_path, truth, Painter(), word="Starr")
    assert error.value.fix.startswith("did you mean star?")


def test_other_new_words_are_not_old():
    true = Reference.of(
        np.zeros((40, 4, 4, 3), np.uint8), [str(n) for n in range(40)], [[c] for c in CAPTIONS]
    )
    groups = group_prompts(true, "star", None, None, samples=99, seed=0, others=["cross"])

    assert len(groups[WITH]) == 8 and len(groups[WITHOUT]) == 24
    assert not any("cross" in prompt for prompt in groups[WITHOUT])


def test_several_words_are_verified_each_in_its_folder(tmp_path: Path, truth: Path):
    painters = {"after": Painter(), "before": Painter(NO_STARS)}
    for name in painters:
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    asked = verify.Verification(
        truth,
        before=tmp_path / "before.safetensors",
        samples=8,
        scorer="nearest",
        load=lambda path: painters[path.stem],
    )
    words = ["star", "large blue"]
    reports = verify.verify_words(tmp_path / "after.safetensors", words, asked)

    assert [(r.word, r.works) for r in reports] == [("star", True), ("large blue", True)]
    folders = sorted(p.name for p in (tmp_path / "verify").iterdir())
    assert folders[1] == "star" and folders[0].startswith("large-blue-")
    assert all((tmp_path / "verify" / f / "verify.html").exists() for f in folders)
    assert not any("blue" in p and "large" in p for p in reports[0].prompts[WITHOUT])


def test_a_file_of_prompts_is_drawn_as_vocab_gaps_reads_it(tmp_path: Path, truth: Path):
    file, progress = tmp_path / "prompts.list", RecordedProgress()
    file.write_text("\n".join([f"({STARS[0]}:1.2)", "# stars", *CROSSES, "Steps: 20", "--no hat"]))
    (tmp_path / "after.safetensors").write_bytes(b"after")
    asked = verify.Verification(truth, samples=8, scorer="nearest", load=lambda path: Painter())
    after = tmp_path / "after.safetensors"
    (report,) = verify.verify_words(after, ["star"], asked, progress, prompts=file)

    assert report.prompts == {WITH: [STARS[0]], WITHOUT: sorted(CROSSES)[:8]}
    assert progress.said[0].endswith(": options 1, settings 1, weights 1")


def test_a_word_named_twice_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="each word once"):
        verify.verify_words(tmp_path, ["Star", "Star"], verify.Verification(tmp_path))
    with pytest.raises(UsageError, match="each word once"):
        verify.verify_words(tmp_path, [], verify.Verification(tmp_path))


# --- what is drawn ----------------------------------------------------------------------------


def test_pictures_of_one_shade_are_told(tmp_path: Path, truth: Path):
    report = check(tmp_path, truth, Flat())

    assert not report.works
    drawn = sum(len(row.looks) for row in report.rows)
    assert (
        f"{drawn} of {drawn} images sampled after training are one flat shade: is the checkpoint "
        "whole?"
    ) in report.notes


def test_the_same_checkpoint_before_and_after_is_told(tmp_path: Path, truth: Path):
    report = check(tmp_path, truth, Painter(), before=tmp_path / "after.safetensors")

    assert all(f.change and f.change.value == 0 for f in report.figures)
    assert "--before is the same checkpoint: nothing can have changed" in report.notes


def test_a_missing_earlier_checkpoint_is_found_before_anything_is_drawn(
    tmp_path: Path, truth: Path
):
    after = Painter()
    with pytest.raises(InputError):
        check(tmp_path, truth, after, before=tmp_path / "gone")
    assert after.painted == 0


@pytest.mark.parametrize("captions", [["a small red star"], STARS])
def test_true_pictures_of_nothing_else_prove_nothing(tmp_path: Path, captions: list[str]):
    """A scorer that can only say star would find one in every image."""
    shards = shapes(tmp_path / "only", captions)
    with pytest.raises(InputError, match="every true image shows 'star'"):
        check(tmp_path, shards, Flat())


def test_one_checkpoint_at_a_time_is_in_memory(tmp_path: Path, truth: Path):
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

    report = check(tmp_path, truth, Painter(), load=lambda path: Counted(path.stem))
    assert report.works  # as it did before
    assert living == []


def test_the_table_tells_every_sample(tmp_path: Path, truth: Path):
    wrong = {"a small pink star": "a small pink cross"}
    trained = shapes(tmp_path / "trained", STARS[:4])
    check(tmp_path, truth, Painter(wrong), trained=[trained], out=tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "verify.json").read_text())["rows"]

    by_prompt = {row["prompt"]: row for row in rows}
    assert {row["group"] for row in rows} == {SHOWN, NEVER, WITHOUT}
    assert len(rows) == 8 + 16
    looks = by_prompt["a small pink star"]["looks"]
    assert len(looks) == 4 and len({look["seed"] for look in looks}) == 4
    assert looks[0]["after"] == {"caption": "a small pink cross", "right": False, "entirely": False}
    assert looks[0]["before"]["caption"] == "a small pink circle"


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
    pictures = [(t.replace(" ", "-"), as_png(oblong(t)), [t]) for t in CAPTIONS]
    shards = write_shards(tmp_path / "oblong", pictures)
    painters = {"after": OblongPainter(), "before": OblongPainter(NO_STARS)}
    report = check(
        tmp_path, shards, Painter(), load=lambda path: painters[path.stem], scorer="nearest"
    )

    assert report.works
    assert report.judges[0].accuracy.on.endswith("at 64 px")


def test_the_learned_scorer_takes_oblong_pictures():
    pixels = np.stack([oblong(t, n) for n in range(2) for t in CAPTIONS[:12]])
    texts = [[t] for t in CAPTIONS[:12]] * 2
    true = Reference.of(pixels, [f"k{n}" for n in range(24)], texts)
    scorer = contrastive.train_scorer(true, images=1200)

    assert scorer.scores(pixels, true.labels).argmax(1).tolist() == true.label_N.tolist()


def test_open_clip_sees_the_whole_of_an_oblong_picture():
    from PIL import Image

    tall = Image.fromarray(
        np.concatenate([np.zeros((4, 4, 3)), np.full((8, 4, 3), 200)]).astype("u1")
    )
    square = np.asarray(scorers._pad_to_square(tall))

    assert square.shape == (12, 12, 3)
    assert np.array_equal(square[:, 4:8], np.asarray(tall))
    assert (square[:, :4] == 0).all() and (square[:, 8:] == 0).all()
    same = tall.resize((5, 5))
    assert scorers._pad_to_square(same) == same


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


def test_large_true_pictures_are_read_small(tmp_path: Path):
    """At 512 px all of them would fill the memory, and no scorer looks at so many pixels."""
    pictures = [(f"p{n}", as_png(draw(CAPTIONS[n], n, 512)), [CAPTIONS[n]]) for n in range(3)]
    true = Reference.load(write_shards(tmp_path / "large", pictures), Size(512, 512))
    nearest = Nearest(true)

    assert true.pixels_NHWC.shape == (3, 256, 256, 3)
    assert nearest.side == 64
    large = np.stack([draw(CAPTIONS[n], n, 512) for n in range(3)])
    assert nearest.scores(large, true.labels).argmax(1).tolist() == [0, 1, 2]
    reduced = contrastive._reduce_images(true, 64)
    assert reduced.pixels_NHWC.shape == (3, 64, 64, 3)
    assert np.abs(reduced.pixels_NHWC.mean((1, 2)) - true.pixels_NHWC.mean((1, 2))).max() < 1
