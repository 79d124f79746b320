# ruff: noqa: F401, F811 fixtures
"""Models of a run as they were on the way."""

import json
from dataclasses import replace

import pytest
import torch

from curate.formats.model import MODEL_FILE, STATE_FILE, read_model
from tests.drawings import shapes, write_shards
from tests.recorded_progress import Killed, KillingProgress, RecordedProgress
from tests.training import encoder, entries, quick, settings_file, shards, trained
from train.checkpoints import checkpoint
from train.checkpoints.snapshots import list_snapshots, snapshot_file
from train.cli import main
from train.sampling.sampler import load_sampler
from train.size import Size
from train.training.run import Recipe, finetune

SMALL, LARGE = Size(8, 8), Size(16, 16)


@pytest.fixture(scope="module")
def keeping(quick):
    return replace(quick, snapshot_every=16)


@pytest.fixture(scope="module")
def run(tmp_path_factory, shards, keeping):
    folder = tmp_path_factory.mktemp("run")
    progress = RecordedProgress()
    finetune(Recipe(shards, keeping), folder, device="cpu", progress=progress)
    sizes = sum(one.path.stat().st_size for one in list_snapshots(folder))
    (said,) = [s for s in progress.said if "snapshots" in s]
    count, _, _, _, megabytes, *_ = said.split()
    assert count == "4" and float(megabytes) == pytest.approx(sizes / 1e6, rel=0.1)
    return folder


def test_they_are_listed_in_order_and_named_in_the_log(run):
    found = list_snapshots(run)
    assert [(s.stage, s.images) for s in found] == [
        *((SMALL, n) for n in (16, 32, 48)),
        (LARGE, 16),  # the last of the last stage is the model
    ]
    assert [s.path for s in found] == [snapshot_file(run, s.stage, s.images) for s in found]
    logged = [e["snapshot"] for e in entries(run) if "snapshot" in e]
    assert logged == [str(s.path.relative_to(run)) for s in found]
    assert list_snapshots(run / "nowhere") == []


def test_keeping_them_changes_nothing(run, trained):
    for a, b in zip(checkpoint.load(run).stages, checkpoint.load(trained).stages, strict=True):
        for x, y in zip(a.network.parameters(), b.network.parameters(), strict=True):
            assert torch.equal(x, y)


def test_each_is_a_model_of_the_stages_so_far(run):
    done = checkpoint.load(run)
    for one in list_snapshots(run):
        sampler = load_sampler(one.path, device="cpu")
        stages = sampler.cascade.stages
        assert [s.size for s in stages] == [SMALL, LARGE][: 1 + (one.stage == LARGE)]
        assert stages[-1].images_seen == one.images
        assert sampler.generate(["a red circle"], [0]).shape == (1, *one.stage, 3)
        facts = read_model(one.path).facts
        assert facts == replace(done.facts, convergence={})
        assert checkpoint.read_credits(one.path) == checkpoint.read_credits(run)
    finished, base = (checkpoint.load(p).stages[0] for p in (run, list_snapshots(run)[-1].path))
    assert finished.record == base.record
    for x, y in zip(finished.network.parameters(), base.network.parameters(), strict=True):
        assert torch.equal(x, y)


def test_of_a_fine_tuning_they_hold_the_later_stages_as_they_stand(
    tmp_path, trained, shards, keeping
):
    new = write_shards(tmp_path / "new", shapes("blue"))
    recipe = Recipe(new, replace(keeping, images=(16, 32)), init=trained, replay=shards)
    finetune(recipe, tmp_path / "run", device="cpu")
    first, second = list_snapshots(tmp_path / "run")
    start, then, later = (checkpoint.load(p).stages for p in (trained, first.path, second.path))
    assert [s.images_seen for s in then] == [48 + 16, 32]
    assert [s.images_seen for s in later] == [48 + 16, 32 + 16]
    assert weights(then[1]) == weights(start[1]) != weights(later[1])
    assert weights(then[0]) != weights(start[0])
    assert read_model(first.path).facts.words["blue"] == 3


def weights(stage):
    return [parameter.tolist() for parameter in stage.network.parameters()]


def test_an_interrupted_run_ends_with_the_same_ones(tmp_path, run, shards, keeping):
    config, folder = replace(keeping, save_every=24), tmp_path / "run"
    whole = tmp_path / "whole"
    finetune(Recipe(shards, config), whole, device="cpu")
    for what, images in (("8 px", 8), ("8 px", 40), ("16 px", 24)):
        progress = KillingProgress(what, images)
        with pytest.raises(Killed):
            finetune(Recipe(shards, config), folder, device="cpu", progress=progress)
        (folder / "snapshots").mkdir(exist_ok=True)
        (folder / "snapshots" / ".8-32.safetensors.x.part").write_bytes(b"killed while writing")
    finetune(Recipe(shards, config), folder, device="cpu")
    names = [p.name for p in sorted((whole / "snapshots").iterdir())]
    assert [p.name for p in sorted((folder / "snapshots").iterdir())] == names
    for name in names:
        one, other = ((at / "snapshots" / name).read_bytes() for at in (folder, whole))
        assert one == other
    assert entry_names(folder) == entry_names(whole)


def entry_names(run):
    return [(e["stage"], e["images"], e.get("snapshot")) for e in entries(run)]


def test_those_that_are_no_longer_wanted_go_where_the_run_goes_on(tmp_path, shards, keeping):
    progress = KillingProgress("8 px", 48)
    with pytest.raises(Killed):
        config = replace(keeping, snapshot_every=8, save_every=24)
        finetune(Recipe(shards, config), tmp_path, device="cpu", progress=progress)
    assert [s.images for s in list_snapshots(tmp_path)] == [8, 16, 24, 32, 40]
    finetune(Recipe(shards, replace(config, snapshot_every=0)), tmp_path, device="cpu")
    assert [s.images for s in list_snapshots(tmp_path)] == [8, 16, 24]


def test_a_snapshot_is_sampled_like_any_checkpoint(tmp_path, run, capsys):
    one = list_snapshots(run)[0].path
    with pytest.raises(SystemExit) as stop:
        main(["sample", str(one), "a red circle", "--out", str(tmp_path / "out.png")])
    assert stop.value.code == 0 and (tmp_path / "out.png").exists()


def test_the_plan_says_what_they_will_take(tmp_path, keeping, capsys):
    config = replace(keeping, images=(48, 0))
    with pytest.raises(SystemExit) as stop:
        main(["plan", "--config", str(settings_file(tmp_path, config)), "--device", "cpu"])
    assert stop.value.code == 0
    assert "3 snapshots will take " in capsys.readouterr().err
