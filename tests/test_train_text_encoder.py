from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from curate.errors import InputError
from tests import tiny_encoder
from tests.recorded_progress import RecordedProgress
from train import streamed
from train.streamed import Streamed
from train.text_encoder import embeddings, encoders
from train.text_encoder.embeddings import EncodedText, TextEncoder, TextScale, encode_cached

KINDS = ["bert", "t5", "umt5", "bart", "gpt2", "clip", "clip_text"]


@pytest.mark.parametrize("kind", KINDS)
def test_any_encoder_with_token_states_serves(tmp_path, kind):
    encoder = TextEncoder(tiny_encoder.build(tmp_path, kind))
    out = encoder.encode(["a red circle", "", "a triangle"])
    assert out.lengths_N.tolist() == [3, 0, 2] and out.width == 32 == encoder.width
    states, mask = out.take(torch.arange(3))
    assert states.shape == (3, 3, 32) and states.isfinite().all()
    assert mask.tolist() == [[1, 1, 1], [0, 0, 0], [1, 1, 0]]
    assert not states[1].any() and not states[2, 2].any() and states[2, :2].abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_its_facts_are_known_without_its_weights(tmp_path, kind):
    name = tiny_encoder.build(tmp_path, kind)
    model = TextEncoder(name).model
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    facts = encoders.describe_encoder(name)
    assert facts.width == 32 and facts.parameters == sum(p.numel() for p in model.parameters())
    assert facts.bytes_on(torch.device("cpu")) == 4 * facts.parameters


@pytest.mark.parametrize("kind", KINDS)
def test_other_captions_in_the_batch_change_nothing(tmp_path, kind):
    encoder = TextEncoder(tiny_encoder.build(tmp_path, kind))
    alone = encoder.encode(["a red circle"]).take(torch.tensor([0]))[0]
    long = "a blue square with the green triangle and black"
    among = encoder.encode(["a red circle", long]).take(torch.tensor([0]))[0]
    assert torch.allclose(alone, among, atol=2e-3)


def test_a_t5_gives_the_states_of_transformers(tmp_path):
    from transformers import T5EncoderModel

    name = tiny_encoder.build(tmp_path, "t5")
    with torch.no_grad():
        ids = torch.tensor([[2, 3, 8]])
        expected = T5EncoderModel.from_pretrained(name)(input_ids=ids).last_hidden_state
    states, _ = TextEncoder(name).encode(["a red circle"]).take(torch.tensor([0]))
    assert torch.equal(states, expected.half().float())


def test_a_model_of_pictures_is_refused_with_a_sentence(tmp_path):
    name = tiny_encoder.build(tmp_path, "vit")
    with pytest.raises(InputError, match="vit is not an encoder of text alone"):
        TextEncoder(name)


def test_on_a_cpu_an_encoder_runs_as_it_is_stored_but_never_in_float16(tmp_path):
    for stored, used in [("bfloat16", torch.bfloat16), ("float16", torch.float32)]:
        encoder = TextEncoder(tiny_encoder.build(tmp_path / stored, "t5", stored=stored))
        assert {p.dtype for p in encoder.model.parameters()} == {used}
        assert encoder.encode(["a red circle"]).take(torch.tensor([0]))[0].isfinite().all()
    assert encoders.encoder_dtype(torch.device("cpu"), torch.float32) == torch.float32


def test_the_digest_tells_weights_and_vocabularies_apart_and_not_names(tmp_path):
    first = TextEncoder(tiny_encoder.build(tmp_path / "a", seed=0)).digest
    assert TextEncoder(tiny_encoder.build(tmp_path / "b", seed=0)).digest == first
    assert TextEncoder(tiny_encoder.build(tmp_path / "c", seed=1)).digest != first


def test_many_captions_come_back_in_order(tmp_path):
    encoder = TextEncoder(tiny_encoder.build(tmp_path))
    colours = ["red", "green", "blue", "yellow"]
    captions = [f"a {colours[n % 4]}" + " circle" * (n % 3) for n in range(150)]
    progress = RecordedProgress()
    out = encoder.encode(captions, progress)
    assert out.lengths_N.tolist() == [2 + n % 3 for n in range(150)]
    assert progress.counts == [("encoding captions", n, 150) for n in (0, 64, 128, 150)]
    for n in (0, 77, 149):
        alone = encoder.encode([captions[n]]).take(torch.tensor([0]))[0]
        assert torch.allclose(out.take(torch.tensor([n]))[0], alone, atol=2e-3)
    assert len(encoder.encode([])) == 0


def test_the_packaged_encoder_tells_words_apart():
    encoder = TextEncoder()
    states, mask = encoder.encode(["a mage", "a wizard", "a fire engine"]).take(torch.arange(3))
    pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    near, far = (torch.cosine_similarity(pooled[0], pooled[n], 0) for n in (1, 2))
    assert near > far + 0.1
    assert encoder.digest == TextEncoder().digest and len(encoder.digest) == 64


def padded(encoded):
    return encoded.take(torch.arange(len(encoded)))[0]


def test_only_captions_never_seen_before_are_encoded(tmp_path, monkeypatch):
    name = tiny_encoder.build(tmp_path / "encoder")
    folder = tmp_path / "cache"
    progress = RecordedProgress()
    first = encode_cached(["a red circle", "a square", ""], name, folder)
    more = encode_cached(
        ["a square", "the blue triangle", "a red circle"],
        name,
        folder,
        progress=progress,
    )
    assert progress.counted("encoding captions") == 1
    assert more.lengths_N.tolist() == [2, 3, 3]
    assert torch.equal(more.take(torch.tensor([2]))[0], first.take(torch.tensor([0]))[0])

    monkeypatch.setattr(embeddings, "TextEncoder", None)  # a third encoding would fail
    again = encode_cached(["the blue triangle", "a square"], name, folder)
    assert torch.equal(padded(again)[0], padded(more)[1])
    assert again.encoder_digest == first.encoder_digest
    with pytest.raises(TypeError):
        encode_cached(["another"], name, folder)


def test_another_encoder_of_the_same_name_is_another(tmp_path):
    name = tiny_encoder.build(tmp_path / "encoder")
    first = encode_cached(["a red circle"], name, tmp_path / "cache")
    tiny_encoder.build(tmp_path / "encoder", seed=1)
    second = encode_cached(["a red circle"], name, tmp_path / "cache")
    assert second.encoder_digest != first.encoder_digest
    assert not torch.equal(padded(first), padded(second))


def test_a_broken_file_is_made_anew(tmp_path):
    name = tiny_encoder.build(tmp_path / "encoder")
    first = padded(encode_cached(["a red circle"], name, tmp_path / "cache"))
    (path,) = (tmp_path / "cache").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    again = padded(encode_cached(["a red circle"], name, tmp_path / "cache"))
    assert torch.equal(again, first) and path.read_bytes() == whole


def test_states_stay_in_the_file_until_they_are_taken(tmp_path):
    name = tiny_encoder.build(tmp_path / "encoder")
    captions = [f"{a} {b} {c}" for a in tiny_encoder.WORDS for b in "xyz" for c in "uvw"]
    encoded = encode_cached(captions, name, tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    with path.open("r+b") as file:  # what lies in the file from now on is what is taken
        file.seek(-64, 2)
        file.write(bytes(64))
    last = encoded.file_N.new_tensor([int(encoded.starts_N.argmax())])
    assert not encoded.take(last)[0][0, -1].any()


def test_sets_are_kept_apart_and_share_their_captions(tmp_path):
    name = tiny_encoder.build(tmp_path / "encoder")
    old = (["a red circle", "a square"], tmp_path / "old")
    embeddings.encode_sets([old], name)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "old").iterdir()}
    new = (["a blue square", "a square"], tmp_path / "new")
    encoded, rows = embeddings.encode_sets([new, old], name)
    assert rows == {"a blue square": 0, "a square": 1, "a red circle": 2}
    assert encoded.lengths_N.tolist() == [3, 2, 3, 2]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "old").iterdir()} == kept


def test_texts_of_several_folders_are_joined_without_copies(tmp_path):
    name = tiny_encoder.build(tmp_path / "encoder")
    new = encode_cached(["a red circle", ""], name, tmp_path / "new")
    old = encode_cached(["a square"], name, tmp_path / "old")
    both = EncodedText.concatenate([new, old])
    assert both.lengths_N.tolist() == [3, 0, 2]
    assert torch.equal(both.take(torch.tensor([2]))[0], padded(old))
    assert [f.data_ptr() for f in both.files] == [f.data_ptr() for f in (*new.files, *old.files)]
    other = encode_cached(["a"], tiny_encoder.build(tmp_path / "other", seed=1), tmp_path / "x")
    with pytest.raises(ValueError, match="different encoders"):
        EncodedText.concatenate([new, other])


def test_captions_longer_than_the_encoder_takes_are_cut_and_counted(tmp_path):
    encoder = TextEncoder(tiny_encoder.build(tmp_path))
    long = "red " * 200
    assert encoder.exceeds_limit(["a red circle", long]) == [False, True]
    assert encoder.encode([long]).lengths_N.tolist() == [embeddings.MAX_TOKENS]
    progress = RecordedProgress()
    told = progress.said
    for _ in range(2):  # encoded, and read again
        encode_cached(["a red circle", long], str(tmp_path), tmp_path / "cache", progress=progress)
    assert len(told) == 2 and told[0] == told[1]
    assert told[0].startswith("1 of 2 captions have more than 64 tokens; the rest")
    encode_cached(["a red circle"], str(tmp_path), tmp_path / "cache", progress=progress)
    assert len(told) == 2


def test_states_are_padded_to_the_longest_of_the_batch():
    lengths = torch.tensor([1, 3, 0])
    encoded = tiny_encoder.of_padded(torch.arange(18.0).reshape(3, 3, 2), lengths)
    states, mask = encoded.take(torch.tensor([0, 2]))
    assert states.tolist() == [[[0, 1]], [[0, 0]]] and mask.tolist() == [[1], [0]]
    assert encoded.take(torch.tensor([1, 0]))[0].shape == (2, 3, 2)


def test_the_scale_is_mean_and_spread_of_tokens_and_of_captions(monkeypatch):
    torch.manual_seed(0)
    lengths = torch.randint(1, 6, (40,))
    states = torch.randn(40, 5, 8).half() * 3 + 100
    monkeypatch.setattr(embeddings, "MEASURED_AT_ONCE", 7)  # several parts
    scale = TextScale.measure(tiny_encoder.of_padded(states, lengths))
    rows = [states[n, : lengths[n]].double() for n in range(40)]
    tokens, pooled = torch.cat(rows), torch.stack([row.mean(0) for row in rows])
    for found, expected in [
        (scale.token_mean_D, tokens.mean(0)),
        (scale.token_std_D, tokens.std(0, correction=0)),
        (scale.pooled_mean_D, pooled.mean(0)),
        (scale.pooled_std_D, pooled.std(0, correction=0)),
    ]:
        assert torch.allclose(found.double(), expected, rtol=1e-4)


def test_a_single_caption_has_a_finite_scale():
    scale = TextScale.measure(tiny_encoder.of_padded(torch.ones(1, 2, 4), torch.tensor([2])))
    assert all(value.isfinite().all() and value.shape == (4,) for value in vars(scale).values())
    assert (scale.token_std_D > 0).all() and (scale.pooled_std_D > 0).all()


@pytest.mark.parametrize("problem", ["nothing there", "no weights"])
def test_a_missing_encoder_is_a_sentence(tmp_path, problem):
    if problem == "no weights":
        tiny_encoder.build(tmp_path)
        (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"text encoder .*cannot be loaded"):
        TextEncoder(str(tmp_path))


def test_a_file_written_in_parts_is_read_by_safetensors(tmp_path):
    whole = {"a": torch.arange(12.0).reshape(3, 4), "b": torch.tensor([7, 8])}
    parts = {
        "a": Streamed(torch.float32, (3, 4), whole["a"].split(2)),
        "b": Streamed(torch.int64, (2,), [whole["b"]]),
    }
    streamed.write(tmp_path / "parts", parts, {"made": "here"})
    read = load_file(tmp_path / "parts")
    assert all(torch.equal(read[name], whole[name]) for name in whole)
    save_file(whole, tmp_path / "usual")
    assert set(read) == set(load_file(tmp_path / "usual"))


def test_a_part_too_few_leaves_the_old_file(tmp_path):
    (tmp_path / "old").write_bytes(b"old")
    short = replace(Streamed(torch.float32, (3,), [torch.zeros(2)]))
    with pytest.raises(ValueError, match="has 8 bytes, its shape says 12"):
        streamed.write(tmp_path / "old", {"a": short}, {})
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"
