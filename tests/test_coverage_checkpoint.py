"""What a trained model was shown, read from the file that training wrote."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.cli import main
from curate.coverage.checkpoint import CheckpointIndex
from curate.formats.model import NO_FACTS, ModelRecord, SetRecord, read_model
from tests import tiny_encoder
from tests.drawings import drawing, shapes, write_shards
from train.config import TrainConfig
from train.training import run as training_run
from train.training.run import Recipe

QUICK = TrainConfig(
    stages=(8, 16),
    images=(8, 8),
    model_size="tiny",
    batch_size=8,
    warmup=8,
    log_every=8,
    save_every=8,
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two trainings of the real code: on red and green, then on green and blue from there."""
    folder = tmp_path_factory.mktemp("runs")
    quick = replace(QUICK, text_encoder=tiny_encoder.build(folder / "encoder"))
    first = write_shards(folder / "first", shapes("red", "green"))
    second = write_shards(folder / "second", shapes("green", "blue"))
    training_run.finetune(Recipe(first, quick), folder / "one", device="cpu")
    training_run.finetune(
        Recipe(second, quick, init=folder / "one", replay=first),
        folder / "two",
        device="cpu",
    )
    return {"one": folder / "one", "two": folder / "two"}


def test_a_real_checkpoint_says_what_it_was_shown(runs: dict[str, Path]):
    index = CheckpointIndex(read_model(runs["one"]))
    assert (index.images, index.captions, index.incomplete) == (6, 0, ())
    assert index.count("red") == (3, 0) and index.count("triangle") == (2, 0)
    assert index.count("triangles") == (0, 2)
    assert index.count("blue") == (0, 0)
    assert index.checkpoint.facts.licences == {"CC0-1.0": 6}
    assert index.checkpoint == read_model(runs["one"] / "model.safetensors")
    assert {n.unit for n in index.vocabulary.nearest("circel")} == {"circle"}


def test_the_command_answers_for_a_model(runs: dict[str, Path], tmp_path: Path, capsys):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a green polar bear in a castle\n")
    run = next(iter(runs.values()))
    with pytest.raises(SystemExit) as stopped:
        main(["vocab-gaps", str(prompts), "--checkpoint", str(run), "--json"])
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert stopped.value.code == 1
    assert {item["kind"] for item in found["items"]} == {"word"}  # no phrase, pair or binding
    items = {item["unit"]: item for item in found["items"]}
    index = CheckpointIndex(read_model(run))
    assert items["green"]["n_images"] == sum(index.count("green")) > 0
    assert items["castle"]["verdict"] == "missing"
    assert "a checkpoint counts single words only" in err
    with pytest.raises(SystemExit) as stopped:
        main(["vocab-gaps", str(prompts), "--checkpoint", str(run), "--data", str(tmp_path)])
    assert stopped.value.code == 2


def test_its_page_and_plan_speak_of_training(runs: dict[str, Path], tmp_path: Path, capsys):
    prompts, page, plan = tmp_path / "prompts.txt", tmp_path / "gaps.html", tmp_path / "plan.sh"
    prompts.write_text("two zebras on a crimson moon")
    typed = ["vocab-gaps", str(prompts), "--checkpoint", str(runs["two"])]
    with pytest.raises(SystemExit) as stopped:
        main([*typed, "--html", str(page), "--plan", str(plan)])
    assert stopped.value.code == 1
    assert f"{runs['two']}: trained on " in capsys.readouterr().err
    assert "was trained on: " in page.read_text("utf-8")
    script = plan.read_text("utf-8")
    assert "curate fetch openverse --query 'two zebras' --limit" in script
    last = [line for line in script.splitlines() if "--baseline" in line]
    assert last and all(line.startswith("# curate vocab-gaps ") for line in last)
    assert not any("--data data" in line for line in last)

    with pytest.raises(SystemExit) as stopped:
        main([*typed, "--images", "ViT-B-32:weights"])
    assert stopped.value.code == 2
    assert "--images: a checkpoint holds no images to look into" in capsys.readouterr().err


def test_sets_that_share_images_give_the_least_that_can_be(runs: dict[str, Path]):
    """Six pictures and six more, three of them the same."""
    index = CheckpointIndex(read_model(runs["two"]))
    names = [(each.name, each.images) for each in index.checkpoint.facts.sets]
    assert names == [("new", 6), ("new", 6)]  # what is replayed was the first one's own
    assert index.checkpoint.facts.shared_images == 3 and index.images == 9
    assert [index.count(colour) for colour in ("red", "green", "blue")] == [(3, 0)] * 3
    assert index.count("circle") == (2, 0)  # truly 3: the shared ones might be all circles
    assert index.notes[-1] == (
        "It was trained on 2 sets of shards, which share 3 images; of images with a word, the "
        "least number that can be is given"
    )


def test_words_are_counted_by_image_however_often_their_set_was_trained_on(
    runs: dict[str, Path], tmp_path: Path
):
    """Sets that share no image: the counts are those of all of them together, in any order."""
    quick = TrainConfig(**read_model(runs["one"]).facts.settings)
    sets = {
        name: write_shards(tmp_path / name, shapes(name, copies=n))
        for name, n in (("red", 4), ("blue", 2), ("black", 1))
    }
    small = drawing("red", "circle", side=8)  # too small to be trained on: no image of a word
    sets["black"] = write_shards(
        tmp_path / "mixed", [*shapes("black"), ("small", small, ["a red circle"])]
    )
    orders = [("red", "blue", "black"), ("black", "red", "blue", "red")]
    for n, order in enumerate(orders):
        init, replay = None, None
        for step, name in enumerate(order):
            run = tmp_path / f"{n}-{step}"
            training_run.finetune(Recipe(sets[name], quick, init, replay), run, device="cpu")
            init, replay = run, sets[order[0]]
        found = CheckpointIndex(read_model(run))
        counts = [found.count(word) for word in ("red", "blue", "black", "circle", "a")]
        assert counts == [(12, 0), (6, 0), (3, 0), (7, 0), (21, 0)]
        assert found.images == 21 and len(found.notes) == 2


def index(*words: dict[str, int], images: int = 99) -> CheckpointIndex:
    """Of sets with these words, so many images in each and in all."""
    sets = [SetRecord(f"{n}", "new", images, counts) for n, counts in enumerate(words)]
    facts = replace(NO_FACTS, sets=sets, licences={"MIT": images})
    return CheckpointIndex(ModelRecord(Path("m"), "e", "cd", [], facts))


def test_inflections_are_not_added_up():
    found = index({"dog": 4, "dogs": 7, "medium-dark": 3, "dark": 2, "don’t": 1})
    assert found.count("dog") == (4, 3)  # 7 pictures for sure, perhaps the same
    assert found.count("dogs") == (7, 0)
    assert found.count("dark") == (3, 0)  # in the hyphenated word, as in captions
    assert found.count("medium-dark") == (3, 0)
    assert found.count("don't") == (1, 0)


@pytest.mark.parametrize(
    ("unit", "why"),
    [
        ("polar bear", "single words only"),
        ("red + car", "single words only"),
    ],
)
def test_what_it_cannot_know_it_says(unit: str, why: str):
    found = index({"polar": 3, "k": 5})
    said = found.why_unknown(unit)
    assert said and why in said
    assert found.count(unit) == (0, 0)
    assert found.why_unknown("polar") is None


def test_without_words_it_is_incomplete():
    (sentence,) = index().incomplete
    assert "no word was counted" in sentence


forms = ["dog", "dogs", "dogged", "leaf", "leaves", "leave"]
sets_of_pictures = st.lists(
    st.lists(st.frozensets(st.sampled_from(forms), max_size=3), max_size=6), min_size=1, max_size=3
)


@given(sets_of_pictures, st.booleans())
def test_a_count_never_exceeds_the_truth(folders, shared):
    """Pictures by name; `shared`: the folders hold pictures of the same names."""
    sets: list[SetRecord] = []
    truth: dict[object, frozenset[str]] = {}
    for number, folder in enumerate(folders):
        for name, said in enumerate(folder):
            key = name if shared else (number, name)
            truth[key] = truth.get(key, frozenset()) | said
        words = Counter(form for said in folder for form in said)
        sets.append(SetRecord(f"{number}", "new", len(folder), words))
    facts = replace(NO_FACTS, sets=sets, licences={"MIT": len(truth)})
    found = CheckpointIndex(ModelRecord(Path("m"), "e", "cd", [], facts))
    if not shared:
        for form in forms:
            assert facts.words.get(form, 0) == sum(form in said for said in truth.values())
    for unit in ("dog", "leaf", "leaves"):
        exact, more = found.count(unit)
        assert exact <= sum(unit in said for said in truth.values())
        alike = {"dog": {"dog", "dogs"}, "leaf": {"leaf", "leaves"}}.get(unit, set(forms[3:]))
        assert exact + more <= sum(bool(said & alike) for said in truth.values())
        assert (exact + more > 0) == any(said & alike for said in truth.values())


def test_neither_torch_nor_safetensors_is_needed(runs: dict[str, Path]):
    code = (
        "import sys; from pathlib import Path; from curate.coverage import checkpoint as c;"
        "from curate.formats import model;"
        f"c.CheckpointIndex(model.read_model(Path({str(runs['one'])!r}))).count('red');"
        "assert not {'torch', 'safetensors', 'train'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
