"""What a trained model was shown, read from the file that training wrote."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.cli import main
from curate.coverage.checkpoint import CheckpointIndex
from curate.formats.model import NO_FACTS, ModelRecord, read_model
from tests import tiny_encoder
from tests.drawings import shapes, write_shards
from train.config import TrainConfig
from train.training import run as training_run

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
    training_run.finetune(first, folder / "one", quick, device="cpu")
    training_run.finetune(
        second, folder / "two", quick, init=folder / "one", replay=first, device="cpu"
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


def test_trainings_add_up_to_a_lower_bound(runs: dict[str, Path]):
    """Six pictures and six more, three of them the same: words are added, pictures are not."""
    index = CheckpointIndex(read_model(runs["two"]))
    assert len(index.checkpoint.facts.shards) == 2  # replayed shards are counted once
    assert index.checkpoint.facts.words["green"] == 6  # of 3 distinct ones
    assert index.count("green") == (3, 0)
    assert index.count("red") == (2, 0)  # truly 3
    assert index.count("blue") == (2, 0) and index.images == 9
    assert any("2 sets of shards" in note for note in index.notes)


def index(words: dict[str, int], sets: int = 1, images: int = 99) -> CheckpointIndex:
    shown = {"words": words, "licences": {"MIT": images}, "shards": ["ab"] * sets}
    return CheckpointIndex(ModelRecord(Path("m"), "e", "cd", [], replace(NO_FACTS, **shown)))


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
    (sentence,) = index({}).incomplete
    assert "no word was counted" in sentence


forms = ["dog", "dogs", "dogged", "leaf", "leaves", "leave"]
sets_of_pictures = st.lists(
    st.lists(st.frozensets(st.sampled_from(forms), max_size=3), max_size=6), min_size=1, max_size=3
)


@given(sets_of_pictures, st.booleans())
def test_a_count_never_exceeds_the_truth(folders, shared):
    """Pictures by name; `shared`: the folders hold pictures of the same names."""
    words: dict[str, int] = {}
    truth: dict[object, frozenset[str]] = {}
    for number, folder in enumerate(folders):
        for name, said in enumerate(folder):
            key = name if shared else (number, name)
            truth[key] = truth.get(key, frozenset()) | said
            for form in said:
                words[form] = words.get(form, 0) + 1
    found = index(words, sets=len(folders))
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
