"""A word along the snapshots of a run: where it is best, and what is said where that is unknown."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from curate.errors import InputError, UsageError
from curate.formats.model import MODEL_FILE
from tests import cascades, tiny_encoder
from tests.painters import CAPTIONS, Painter, shapes
from tests.recorded_progress import RecordedProgress
from train.checkpoints.snapshots import snapshot_file
from train.size import Size
from train.verification.snapshots import Point, print_curves, verify_snapshots
from train.verification.verify import Models, Truth, WordTest

STARS = [text for text in CAPTIONS if text.endswith("star")]
CROSSES = [text for text in CAPTIONS if text.endswith("cross")]
NO_STARS = {text: text.replace("star", "circle") for text in STARS}
FORGETFUL = {text: text.replace("cross", "square") for text in CROSSES}
PLACES = [("8", 16), ("8", 32), ("16", 16)]  # of the snapshots: stage, images


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return shapes(tmp_path_factory.mktemp("truth"), copies=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder with three snapshots and the model, whose weights nobody reads here."""
    folder = tmp_path_factory.mktemp("run")
    encoder = tiny_encoder.build(folder / "encoder")
    settings = {"stages": [8, 16], "images": [40, 30]}
    model = cascades.write(folder, encoder, facts={**cascades.FACTS, "settings": settings})
    for stage, images in PLACES:
        file = snapshot_file(folder, Size.of(stage), images)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes((model / MODEL_FILE).read_bytes())
    return folder


def load(path):
    """The first draws no star, the second all, the third none of the crosses any more."""
    wrong = {"8-16": NO_STARS, "16-16": FORGETFUL, "model": FORGETFUL, "before": NO_STARS}
    return Painter(wrong.get(path.stem))


@pytest.fixture(scope="module")
def curve(run, truth, tmp_path_factory):
    out, progress = tmp_path_factory.mktemp("out"), RecordedProgress()
    asked = WordTest(["star"], [*STARS, *CROSSES], samples=80)
    models = Models([run], before=Path("before"), load=load)
    (found,) = verify_snapshots(
        asked, models, Truth(truth, scorer="nearest"), out=out, progress=progress
    )
    return found, out, progress


def test_the_best_shows_the_word_and_keeps_the_old_ones(curve, run):
    found, _, progress = curve
    names = [Path(point.checkpoint).stem for point in found.points]
    assert names == ["8-16", "8-32", "16-16", "model"]
    assert [point.images for point in found.points] == [16, 32, 56, 70]
    word = [point.word.value > 0.5 for point in found.points]
    old = [point.old_words.value > 0.5 for point in found.points]
    assert word == [False, True, True, True] and old == [True, True, False, False]
    assert found.before.word.value < 0.5 < found.before.old_words.value
    assert Path(found.best[0].checkpoint).stem == "8-32"
    assert f"{run / 'snapshots' / '8-32.safetensors'}: the best" in progress.said[-1]


def test_of_the_best_more_is_drawn_with_other_seeds(curve):
    found, _, progress = curve
    few, many = found.points[1], found.best[0]
    assert many.drawn > few.drawn == 80  # forty with the word, forty without
    assert many.word.n > few.word.n
    drawn = [(what, done) for what, done, total in progress.counts if done == total]
    assert ("sampling 8-32", few.drawn) in drawn and ("sampling 8-32", many.drawn) in drawn


def test_the_curve_is_written_drawn_and_printed(curve, capsys):
    found, out, _ = curve
    assert json.loads((out / "snapshots.json").read_text())["best"][0]["images"] == 32
    with Image.open(out / "snapshots.png") as drawn:
        assert drawn.size == (760, 420)
    print_curves([found], as_json=False)
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 1 + 4 + 3
    assert lines[0][-1] == "before" and lines[-3][-1] == "again, 1. best"
    print_curves([found], as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["word"] == "star"


def test_without_snapshots_or_with_several_runs_it_says_so(run, truth, tmp_path):
    asked, seen_by = WordTest(["star"]), Truth(truth, scorer="nearest")
    with pytest.raises(InputError, match="keeps no snapshots\n  fix: train with snapshot_every"):
        verify_snapshots(asked, Models([tmp_path]), seen_by)
    with pytest.raises(UsageError, match="--snapshots: takes one run"):
        verify_snapshots(asked, Models([run, run]), seen_by)


def test_what_old_words_lose_and_copies_weigh_beyond_what_the_rule_lets_pass(curve):
    found, _, _ = curve
    rule, point = WordTest(["star"]).rule, found.best[0]
    share = point.word

    def score(**shares):
        values = {name: replace(share, value=value) for name, value in shares.items()}
        return Point("a", 1, 9, **{**dict.fromkeys(("word", "old_words", "copies")), **values})

    assert score(word=0.9, old_words=0.8).score(rule, 0.82) == pytest.approx(0.9)
    assert score(word=0.9, old_words=0.6).score(rule, 0.8) == pytest.approx(0.9 - 0.15)
    assert score(word=0.9, copies=0.3).score(rule, 0.0) == pytest.approx(0.9 - 0.2)
    assert score().score(rule, 0.5) == 0.0
