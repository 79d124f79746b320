import pytest
import torch

from curate.errors import InputError
from tests import tiny_encoder
from train import text
from train.text import Encoder, encode_cached


@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_any_encoder_with_token_states_serves(tmp_path, kind):
    encoder = Encoder(tiny_encoder.build(tmp_path, kind))
    out = encoder.encode(["a red circle", "", "a triangle"])
    assert out.states_NLD.shape == (3, 3, 32) == (3, 3, encoder.width)
    assert out.lengths_N.tolist() == [3, 0, 2]
    assert not out.states_NLD[1].any() and not out.states_NLD[2, 2].any()


def test_other_captions_in_the_batch_change_nothing(tmp_path):
    encoder = Encoder(tiny_encoder.build(tmp_path))
    alone = encoder.encode(["a red circle"])
    among = encoder.encode(["a red circle", "a blue square with the green triangle and black"])
    assert torch.allclose(alone.states_NLD[0], among.states_NLD[0, :3], atol=2e-3)


def test_many_captions_come_back_in_order(tmp_path):
    encoder = Encoder(tiny_encoder.build(tmp_path))
    colours = ["red", "green", "blue", "yellow"]
    captions = [f"a {colours[n % 4]}" + " circle" * (n % 3) for n in range(150)]
    out = encoder.encode(captions)
    assert out.lengths_N.tolist() == [2 + n % 3 for n in range(150)]
    assert torch.allclose(
        out.states_NLD[149, :2], encoder.encode([captions[149]]).states_NLD[0, :2], atol=2e-3
    )
    assert encoder.encode([]).states_NLD.shape[0] == 0


def test_the_packaged_encoder_tells_words_apart():
    encoder = Encoder()
    states, mask = encoder.encode(["a mage", "a wizard", "a fire engine"]).take(torch.arange(3))
    pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    near, far = (torch.cosine_similarity(pooled[0], pooled[n], 0) for n in (1, 2))
    assert near > far + 0.1
    assert encoder.digest == Encoder().digest and len(encoder.digest) == 64


def test_text_is_encoded_once_for_one_encoder(tmp_path, monkeypatch):
    name = tiny_encoder.build(tmp_path / "encoder")
    first = encode_cached(["a red circle"], name, tmp_path / "cache")
    monkeypatch.setattr(text, "Encoder", None)  # a second encoding would fail
    again = encode_cached(["a red circle"], name, tmp_path / "cache")
    assert torch.equal(first.states_NLD, again.states_NLD)
    with pytest.raises(TypeError):
        encode_cached(["another"], name, tmp_path / "cache")


def test_captions_longer_than_the_encoder_takes_are_cut_and_counted(tmp_path):
    encoder = Encoder(tiny_encoder.build(tmp_path))
    long = "red " * 200
    assert encoder.cut(["a red circle", long]) == 1
    assert encoder.encode([long]).lengths_N.tolist() == [text.MAX_TOKENS]


def test_a_missing_encoder_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"text encoder .*cannot be loaded"):
        Encoder(str(tmp_path))
