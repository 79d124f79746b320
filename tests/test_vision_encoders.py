"""Images as features: of the network inside a package, of open_clip, of models of transformers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from curate.errors import InputError, UsageError
from curate.vision import encoders
from curate.vision.encoders import load_image_encoder, pad_to_square
from tests.tiny_encoder import build as build_text_encoder
from tests.tiny_vision import COLOURS, build_encoder, paint

USAGE = "--scorer examples:efficientnet"
WIDTHS = {"vit": 16, "vit_classifier": 16, "dinov2": 16, "siglip": 16, "siglip_vision": 16}
WIDTHS |= {"clip": 6, "convnext": 12}


def images(side: int = 24) -> np.ndarray:
    return np.stack([paint(name, n, side) for n, name in enumerate([*COLOURS, *COLOURS])])


@pytest.mark.parametrize("kind", WIDTHS)
def test_a_vision_model_in_a_folder_gives_one_vector_an_image(kind: str, tmp_path: Path):
    folder = build_encoder(tmp_path, kind)
    encoder = load_image_encoder(folder, usage=USAGE)
    vectors = encoder.encode_images(images())

    assert vectors.dtype == np.float32 and vectors.shape == (6, WIDTHS[kind])
    assert np.isfinite(vectors).all() and vectors.std(0).min() > 0
    alone = np.concatenate([encoder.encode_images(images()[n : n + 1]) for n in range(6)])
    np.testing.assert_allclose(alone, vectors, atol=1e-5)
    assert encoder.name == folder and len(encoder.digest) == 64


def test_the_vector_of_a_vit_is_its_class_token_and_of_no_chance_pooler(tmp_path: Path):
    from transformers import ViTForImageClassification

    folder = build_encoder(tmp_path, "vit_classifier")  # it has no pooler
    network = ViTForImageClassification.from_pretrained(folder).vit
    pixels = torch.from_numpy(images(16)).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        states = network(pixel_values=pixels).last_hidden_state
    found = load_image_encoder(folder, usage=USAGE).encode_images(images(16))
    np.testing.assert_allclose(found, states[:, 0].numpy(), atol=1e-5)


def test_other_weights_have_another_digest(tmp_path: Path):
    made = [build_encoder(tmp_path / str(n), "vit", seed) for n, seed in enumerate((0, 0, 1))]
    first, same, other = (load_image_encoder(folder, usage=USAGE).digest for folder in made)
    assert first == same != other


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path):
    folder = build_encoder(tmp_path, "vit")
    weights = load_file(tmp_path / "model.safetensors")
    del weights["layernorm.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"lack 1 weights, such as layernorm\.weight"):
        load_image_encoder(folder, usage=USAGE)


def test_what_is_no_encoder_of_images_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"image encoder .*cannot be loaded"):
        load_image_encoder(str(tmp_path / "nowhere"), usage=USAGE)
    text = build_text_encoder(tmp_path / "text")
    with pytest.raises(InputError, match="bert is no encoder of images"):
        load_image_encoder(text, usage=USAGE)
    with pytest.raises(UsageError, match="names no encoder of images"):
        load_image_encoder("", usage=USAGE)
    with pytest.raises(UsageError, match="no architecture 'ViT-Z'"):
        load_image_encoder("open_clip:ViT-Z:weights.pt", usage=USAGE)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(encoders, "EFFICIENTNET_PACKAGES", ("package_that_nobody_has",))
    with pytest.raises(UsageError, match="package_that_nobody_has is not installed") as error:
        load_image_encoder("efficientnet", usage=USAGE)
    assert error.value.fix.startswith("pip install package-that-nobody-has")


def test_the_tower_of_an_open_clip_model_gives_vectors_of_length_1(tmp_path: Path):
    import open_clip

    sees = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    says = {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1}
    config = {"embed_dim": 5, "vision_cfg": sees, "text_cfg": says}
    (tmp_path / "fubuki-encoder.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "fubuki-encoder.json")
    model = open_clip.create_model("fubuki-encoder")
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    spec = f"open_clip:fubuki-encoder:{tmp_path / 'weights.pt'}"

    encoder = load_image_encoder(spec, usage=USAGE)
    vectors = encoder.encode_images(images())
    assert vectors.shape == (6, 5) and encoder.name == spec
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_oblong_images_are_padded_and_not_cut():
    tall = np.arange(2 * 5 * 2 * 3, dtype=np.uint8).reshape(2, 5, 2, 3)
    square = pad_to_square(tall)
    assert square.shape == (2, 5, 5, 3)
    np.testing.assert_array_equal(square[:, :, 1:3], tall)
    for edge in (square[:, :, 0], square[:, :, 3], square[:, :, 4]):
        np.testing.assert_array_equal(edge, np.tile(tall[:, :1, 0], (1, 5, 1)))
    np.testing.assert_array_equal(pad_to_square(tall[:, :2]), tall[:, :2])


# --- the network inside a package ---------------------------------------------------------------


def test_the_network_knows_what_is_in_a_photograph():
    """Its own answer, a class of ImageNet, to a photograph that comes with a package."""
    pytest.importorskip(encoders.EFFICIENTNET_PACKAGE)
    sklearn = pytest.importorskip("sklearn.datasets")
    photograph = sklearn.load_sample_image("flower.jpg")[None, :420, :420]
    encoder = load_image_encoder("efficientnet", usage=USAGE)
    vectors = encoder.encode_images(photograph)

    weights = torch.load(encoders.efficientnet_weights(USAGE), weights_only=True)
    logits = vectors @ weights["_fc.weight"].numpy().T + weights["_fc.bias"].numpy()
    assert vectors.shape == (1, 1280) and vectors.min() >= 0
    assert logits.argmax() == 985  # daisy; what it shows is its like
    assert encoder.digest == encoders.EFFICIENTNET_SHA256
