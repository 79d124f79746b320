# ruff: noqa: F401, F811 fixtures
import json
from dataclasses import replace

import pytest
import torch

from curate.errors import InputError
from tests import tiny_encoder
from tests.drawings import shapes, write_shards
from tests.training import encoder, quick, shards, trained
from train import cascade, checkpoint, sampling


def test_a_checkpoint_of_another_shape_is_refused(tmp_path, trained, shards, quick):
    with pytest.raises(InputError, match=r"stages 8,16, asked for 16,32"):
        cascade.finetune(
            shards, tmp_path, replace(quick, stages=(16, 32)), init=trained, device="cpu"
        )
    tensors, described = checkpoint.read_tensors(trained / checkpoint.MODEL)
    described["stages"][0]["unet"]["widths"] = [16, 64]
    checkpoint.write_tensors(tmp_path / "bent.safetensors", tensors, described)
    with pytest.raises(InputError, match="weights do not fit their description"):
        checkpoint.load(tmp_path / "bent.safetensors")


def test_other_files_are_no_checkpoints(tmp_path, trained):
    with pytest.raises(InputError, match="no checkpoint here"):
        checkpoint.load(tmp_path)
    (tmp_path / "x.safetensors").write_bytes(b"hello")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        checkpoint.load(tmp_path / "x.safetensors")
    checkpoint.write_tensors(tmp_path / "y.safetensors", {}, {"version": "fubuki-model/9"})
    with pytest.raises(InputError, match="fubuki-model/9"):
        checkpoint.load(tmp_path / "y.safetensors")


def test_another_encoder_than_the_checkpoints_is_refused(tmp_path, shards, quick):
    own, other = tmp_path / "own", tmp_path / "other"
    config = replace(quick, images=(8, 8), encoder=tiny_encoder.build(own))
    cascade.finetune(shards, tmp_path / "run", config, device="cpu")
    with pytest.raises(InputError, match="was taught with the text encoder"):
        cascade.finetune(
            shards,
            tmp_path / "next",
            replace(config, encoder=tiny_encoder.build(other)),
            init=tmp_path / "run",
            device="cpu",
        )
    tiny_encoder.build(own, seed=1)
    with pytest.raises(InputError, match="not those the model was taught with"):
        sampling.load(tmp_path / "run", device="cpu").generate(["a red circle"], [0])


def test_training_again_on_the_same_pictures_counts_their_words_once(
    tmp_path, trained, shards, quick
):
    model = cascade.finetune(shards, tmp_path, quick, init=trained, device="cpu")
    assert model.facts["words"]["red"] == 3 and model.facts["licences"] == {"CC0-1.0": 6}
