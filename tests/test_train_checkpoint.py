# ruff: noqa: F401, F811 fixtures
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from curate.errors import InputError
from curate.formats.model import MODEL_FILE, STATE_FILE
from curate.shards.pack import pack
from tests import tiny_encoder
from tests.drawings import shapes, write_shards
from tests.packable import change_rows, dataset_of
from tests.recorded_progress import Killed, KillingProgress
from tests.training import encoder, quick, shards, trained
from train.checkpoints import checkpoint
from train.data.stored import open_images
from train.sampling import sampler
from train.training import resume
from train.training import run as training_run
from train.training.run import Recipe


def test_a_checkpoint_of_another_shape_is_refused(tmp_path, trained, shards, quick):
    with pytest.raises(InputError, match=r"stages 8,16, asked for 16,32"):
        training_run.finetune(
            Recipe(shards, replace(quick, stages=(16, 32)), init=trained), tmp_path, device="cpu"
        )
    tensors, described = checkpoint.read_tensors(trained / MODEL_FILE)
    described["stages"][0]["unet"]["widths"] = [16, 64]
    checkpoint.write_tensors(tmp_path / "bent.safetensors", tensors, described)
    with pytest.raises(InputError, match="weights do not fit their description"):
        checkpoint.load(tmp_path / "bent.safetensors")


def test_other_files_are_no_checkpoints(tmp_path, trained):
    with pytest.raises(InputError, match="no checkpoint here"):
        checkpoint.load(tmp_path)
    (tmp_path / "x.safetensors").write_bytes(b"hello")
    with pytest.raises(InputError, match="not a safetensors file"):
        checkpoint.load(tmp_path / "x.safetensors")


def test_a_broken_part_of_an_unfinished_run_names_the_run_to_remove(tmp_path):
    (tmp_path / STATE_FILE).write_bytes(b"cut short")
    with pytest.raises(InputError, match="fix: remove this run's folder, or name a new --out"):
        resume.read_position(tmp_path)


def test_another_encoder_than_the_checkpoints_is_refused(tmp_path, shards, quick):
    own, other = tmp_path / "own", tmp_path / "other"
    config = replace(quick, images=(8, 8), text_encoder=tiny_encoder.build(own))
    training_run.finetune(Recipe(shards, config), tmp_path / "run", device="cpu")
    with pytest.raises(InputError, match="was trained with the text encoder"):
        training_run.finetune(
            Recipe(
                shards,
                replace(config, text_encoder=tiny_encoder.build(other)),
                init=tmp_path / "run",
            ),
            tmp_path / "next",
            device="cpu",
        )
    tiny_encoder.build(own, seed=1)
    with pytest.raises(InputError, match="not those the model was trained with"):
        sampler.load_sampler(tmp_path / "run", device="cpu").generate(["a red circle"], [0])


def test_training_again_on_the_same_pictures_counts_their_words_once(
    tmp_path, trained, shards, quick
):
    model = training_run.finetune(Recipe(shards, quick, init=trained), tmp_path, device="cpu")
    assert model.facts.words["red"] == 3 and model.facts.licences == {"CC0-1.0": 6}


def changed_tensor(source, target, name, value):
    tensors, described = checkpoint.read_tensors(source)
    tensors[name] = tensors[name].clone()
    tensors[name].view(-1)[3] = value
    checkpoint.write_tensors(target, tensors, described)
    return target


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_finite_numbers_are_refused_by_name(tmp_path, trained, value):
    file = trained / MODEL_FILE
    bent = changed_tensor(file, tmp_path / "bent.safetensors", "16/stem.weight", value)
    with pytest.raises(InputError, match=r"weights 16/stem\.weight are not all finite numbers"):
        checkpoint.load(bent)


def test_a_state_that_holds_no_finite_numbers_is_refused_too(tmp_path, shards, quick):
    progress = KillingProgress(f"{quick.stages[0]} px", 24)
    with pytest.raises(Killed):
        training_run.finetune(Recipe(shards, quick), tmp_path, device="cpu", progress=progress)
    file = tmp_path / STATE_FILE
    changed_tensor(file, file, "average1/out.weight", float("nan"))
    with pytest.raises(InputError, match=r"average1/out\.weight are not all finite"):
        training_run.finetune(Recipe(shards, quick), tmp_path, device="cpu")


def test_files_are_those_of_the_safetensors_library(tmp_path):
    import hashlib

    from safetensors.torch import load_file

    file = tmp_path / "x.safetensors"
    tensors = {
        "odd": torch.frombuffer(bytearray(b"abc"), dtype=torch.uint8),
        "kernel": torch.randn(3, 4, 2, 2).to(memory_format=torch.channels_last),
        "number": torch.tensor(3.0),
        "none": torch.zeros(0, 2),
        "half": torch.randn(5).bfloat16(),
        "counts": torch.tensor([1, 2]),
    }
    digest = checkpoint.write_tensors(file, tensors, {"word": "吹雪"})
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    read = load_file(file)
    assert read.keys() == tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(read[name], value) and read[name].dtype == value.dtype
    assert checkpoint.read_tensors(file)[1] == {"word": "吹雪"}


def test_a_model_carries_the_credits_of_its_pictures(tmp_path, trained, shards, quick):
    found = checkpoint.read_credits(trained)
    assert [c["key"] for c in found] == sorted(key for key, _, _ in shapes("red", "green"))
    assert found[0] == {
        "key": "green-circle-0",
        "title": "",
        "creator": "",
        "creator_url": "",
        "license": "CC0-1.0",
        "license_url": "",
        "page_url": "",
        "share_model": "",
        "copy_of": "",
    }
    new = write_shards(tmp_path / "new", shapes("blue"))
    tiny = replace(quick, images=(8, 8))
    run = tmp_path / "run"
    training_run.finetune(Recipe(new, tiny, init=trained, replay=shards), run, device="cpu")
    keys = [key for key, _, _ in shapes("red", "green", "blue")]
    assert [c["key"] for c in checkpoint.read_credits(run)] == sorted(keys)  # each set once


def credits_of(shards: Path, *keys: str) -> list[dict[str, str]]:
    records = open_images(shards).records()
    return checkpoint.collect_credits((key, said) for key, said in records if key in keys)


def test_copies_of_an_image_are_credited_with_it(tmp_path):
    from train.publish.card import render_credits

    dataset = dataset_of(tmp_path, 3)
    copy = {"dropped": "duplicate:t-001", "group": "t-000", "author": "B. Other"}
    change_rows(dataset, copy | {"license": "CC-BY-4.0"}, {"group": "t-000"})
    pack(dataset)
    found = checkpoint.merge_credits([credits_of(tmp_path, "t-001")])
    assert [(c["key"], c["creator"], c["license"], c["copy_of"]) for c in found] == [
        ("t-000", "B. Other", "CC-BY-4.0", "t-001"),
        ("t-001", "A. Nyone", "CC0-1.0", ""),
    ]
    said = render_credits("m", found)
    assert "The 1 images it was trained on" in said
    assert "| B. Other |" in said and "| t-000, the same image as t-001 |" in said
    itself = credits_of(tmp_path, "t-001")[:1]
    assert checkpoint.merge_credits([itself, [{**itself[0], "copy_of": "x"}]]) == itself


def test_an_image_that_was_judged_once_is_not_unjudged_in_another_set():
    judged = {"key": "a", "copy_of": "", "share_model": "deny"}
    again = {"key": "a", "copy_of": "", "share_model": "", "unjudged": "yes"}
    assert checkpoint.merge_credits([[judged], [again]]) == [judged]
    assert checkpoint.merge_credits([[again], [judged]]) == [judged]


@pytest.mark.parametrize("order", [1, -1])
def test_of_one_key_in_two_sets_the_strictest_verdict_on_the_model_counts(order):
    said = [{"key": "a", "share_model": word, "copy_of": ""} for word in ("deny", "allow", "hold")]
    sets = [[credit] for credit in said][::order]
    assert checkpoint.merge_credits([[said[1]], checkpoint.join_sets(sets)]) == [said[0]]


def test_a_model_of_before_images_could_be_unjudged_is_read(tmp_path, trained):
    tensors, described = checkpoint.read_tensors(trained / MODEL_FILE)
    del described["facts"]["unjudged"]
    checkpoint.write_tensors(tmp_path / MODEL_FILE, tensors, described)
    assert checkpoint.load(tmp_path).facts == checkpoint.load(trained).facts


def test_credits_come_from_the_records_and_survive_packing():
    from train.checkpoints import checkpoint as credits

    one = {"key": "b", "title": "雪", "creator": 'A. "B"', "license": "CC-BY-4.0"}
    two = {"key": "a", "title": "", "creator": "", "license": ""}
    merged = credits.merge_credits([[one], [two, one]])
    assert merged == [two, one]
    assert credits.unpack_credits(credits.pack_credits(merged)) == merged
    with pytest.raises(ValueError, match="cannot be unpacked"):
        credits.unpack_credits(torch.zeros(4, dtype=torch.uint8))
