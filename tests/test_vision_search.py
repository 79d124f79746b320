"""`--images`: pictures that show what captions do not say, found by a real open_clip model."""

import io
import json
import os
import random
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curate.cli import main
from curate.commands.gaps import GapsSettings, vocab_gaps
from curate.corpora.corpus import Corpus, find_corpora, find_corpus
from curate.corpora.notes import ReadNotes
from curate.corpora.pixels import CaptionedImage, Spool, captioned_images, read_pixels
from curate.dataset.folder import Dataset
from curate.errors import InputError, UsageError
from curate.fetch.run import fetch_images
from curate.sources.folder import SOURCE
from curate.vision.clip import ClipEmbedder, OpenClip
from curate.vision.search import (
    NEUTRAL_TEXTS,
    USAGE,
    ModelTrust,
    SearchFindings,
    _Tally,
    search_images,
)
from tests.drawings import COLOURS, SHAPES, drawing, write_shards
from tests.recorded_progress import RecordedProgress

ARCHITECTURE = "fubuki-search"
CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
SHIFTS = range(-3, 4)
STEPS, LR, VIEWS = 80, 1e-3, 2  # of training; VIEWS: of each drawing a step


def said(colour: str, shape: str) -> str:
    return f"a {colour} {shape}"


def open_search(spec: str) -> ClipEmbedder:
    return ClipEmbedder(OpenClip(spec, usage=USAGE))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small open_clip model, taught for a few seconds to tell colours, and to tell shapes."""
    import open_clip
    import torch
    from torch.nn.functional import cross_entropy

    folder = tmp_path_factory.mktemp("model")
    (folder / f"{ARCHITECTURE}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder / f"{ARCHITECTURE}.json")
    torch.manual_seed(0)
    model, _, prepare = open_clip.create_model_and_transforms(ARCHITECTURE)
    tokenize = open_clip.get_tokenizer(ARCHITECTURE)
    kinds = [(c, s) for c in range(len(COLOURS)) for s in range(len(SHAPES))]
    colours = torch.tensor([c for c, _ in kinds])
    shapes = torch.tensor([s for _, s in kinds])
    words = [*COLOURS, *SHAPES]
    names = [(words[c], SHAPES[s]) for c, s in kinds]
    drawn = [[prepare(Image.open(io.BytesIO(drawing(*k, 32, n)))) for n in SHIFTS] for k in names]
    chance = random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), LR, weight_decay=0.01)
    for _ in range(STEPS):
        ways = ("a photo of a {}", "a picture of something {}", "{}", "a {}")
        texts = [chance.choice(ways).format(word) for word in words] + list(NEUTRAL_TEXTS)
        images = torch.stack([v for views in drawn for v in chance.sample(views, VIEWS)])
        seen = model.encode_image(images, normalize=True)
        meant = model.encode_text(tokenize(texts), normalize=True)
        logits = model.logit_scale.exp() * seen @ meant.T
        of_colour, of_shape, nothing = logits.split((5, 3, len(NEUTRAL_TEXTS)), 1)
        loss = cross_entropy(torch.cat((of_colour, nothing), 1), colours.repeat_interleave(VIEWS))
        loss += cross_entropy(torch.cat((of_shape, nothing), 1), shapes.repeat_interleave(VIEWS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


def items(silent: str = "red") -> list[tuple[str, bytes, list[str]]]:
    """Drawings with captions that never say one of the colours."""
    return [
        (
            f"{colour}-{shape}-{shift + 3}",
            drawing(colour, shape, 32, shift),
            [f"a {shape}" if colour == silent else said(colour, shape)],
        )
        for colour in COLOURS
        for shape in SHAPES
        for shift in SHIFTS
    ]


def images_in(corpus: Corpus, spool: str = os.devnull) -> list[CaptionedImage]:
    return captioned_images(corpus, Spool(Path(spool)), ReadNotes())


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"), items())


@pytest.fixture(scope="module")
def found(weights: Path, shards: Path) -> SearchFindings:
    search = open_search(f"{ARCHITECTURE}:{weights}")
    return search_images(search, ["red", "blue", "triangle"], images_in(find_corpus(shards)))


def test_a_colour_that_no_caption_says_is_found_in_the_pictures(found: SearchFindings):
    red = found.found["red"]
    assert found.trust.usable, found.trust
    assert red.images >= 15  # of 21
    assert red.likely >= 5
    assert len(red.best) == 6 and all(key.startswith("red-") for key in red.best)


def test_pictures_whose_captions_say_the_word_are_not_counted(found: SearchFindings):
    assert found.found["blue"].images <= 2
    assert found.found["triangle"].likely == 0


def test_trust_is_measured_on_the_words_that_captions_say(found: SearchFindings):
    trust = found.trust
    assert trust.words == 7  # four colours and three shapes
    assert trust.recall > 0.6 and trust.chance < 0.1
    assert found.images == 105 and found.unread == 0
    (sentence,) = found.sentences()
    assert sentence.startswith("image search: on 7 words that captions say it finds ")


def test_the_report_says_that_a_word_has_pictures_but_no_captions(
    weights: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    prompts, told = tmp_path / "prompts.txt", tmp_path / "told.json"
    prompts.write_text("a red square\n")
    look = ["vocab-gaps", str(prompts), "--data", str(shards), "--json", str(told)]
    with pytest.raises(SystemExit) as stopped:
        main(look)
    assert stopped.value.code == 1  # no caption says red
    with pytest.raises(SystemExit) as stopped:
        main([*look, "--images", f"{ARCHITECTURE}:{weights}"])
    assert stopped.value.code == 0  # a warning: captions are to be written, not pictures fetched
    assert "image search: on 7 words that captions say" in capsys.readouterr().err
    items = {item["unit"]: item for item in json.loads(told.read_bytes())["items"]}
    red = items["red"]
    assert (red["verdict"], red["severity"], red["n_images"]) == ("uncaptioned", "warning", 0)
    assert red["fix"]["fetch"] == []
    assert {one["key"].split("-")[0] for one in red["evidence"]} == {"red"}


def test_a_model_that_knows_nothing_is_not_used(weights: Path, shards: Path, tmp_path: Path):
    import open_clip
    import torch

    torch.manual_seed(1)
    torch.save(open_clip.create_model(ARCHITECTURE).state_dict(), tmp_path / "untaught.pt")
    search = open_search(f"{ARCHITECTURE}:{tmp_path / 'untaught.pt'}")
    done = search_images(search, ["red"], images_in(find_corpus(shards)))
    assert not done.trust.usable and done.found == {}
    assert "not used, for on this data it is no better than chance" in done.sentences()[0]


def test_too_few_words_measure_nothing(weights: Path, tmp_path: Path):
    few = [(f"k{n}", drawing("red", "square", 32, n % 5), ["a square"]) for n in range(5)]
    folder = write_shards(tmp_path / "few", few)
    done = search_images(
        open_search(f"{ARCHITECTURE}:{weights}"), ["red"], images_in(find_corpus(folder))
    )
    assert done.found == {} and "captions say only 0 words often enough" in done.sentences()[0]
    assert search_images(open_search(f"{ARCHITECTURE}:{weights}"), ["red"], []).found == {}


def test_vectors_are_computed_once(weights: Path, shards: Path, tmp_path: Path):
    shown = images_in(find_corpus(shards))
    progress = RecordedProgress()

    def embed(images):
        model = OpenClip(f"{ARCHITECTURE}:{weights}", usage="")
        return ClipEmbedder(model, cache=tmp_path, progress=progress).encode_images(images)

    first = embed(shown[:50])
    again = embed(shown)
    assert progress.counted("images searched") == len(shown)  # 50, then the rest
    assert np.array_equal(first, again[:50])
    assert np.allclose(np.linalg.norm(again, axis=1), 1, atol=1e-2)
    kept = sorted(tmp_path.rglob("*.npz"))
    assert len(kept) == 2
    kept[0].write_bytes(b"PK not whole")
    kept[1].write_bytes(kept[1].read_bytes()[:-40])
    progress.counts.clear()
    repaired = embed(shown)
    assert progress.counted("images searched") == len(shown)
    assert np.array_equal(repaired, again)


def test_other_weights_have_other_vectors(weights: Path, shards: Path, tmp_path: Path):
    import torch

    state = torch.load(weights)
    torch.save({k: v * 1.01 for k, v in state.items()}, tmp_path / "other.pt")
    shown = images_in(find_corpus(shards))[:3]
    for file in (weights, tmp_path / "other.pt"):
        model = OpenClip(f"{ARCHITECTURE}:{file}", usage="")
        ClipEmbedder(model, cache=tmp_path / "cache").encode_images(shown)
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        ("ViT-B-32", UsageError, "names no model with its weights"),
        (":x.pt", UsageError, "names no model with its weights"),
        ("ViT-Z:x.pt", UsageError, "no architecture 'ViT-Z'"),
        ("ViT-B-32:nowhere.pt", InputError, "no such file of weights"),
        ("ViT-B-32:laion2b_s34b_b79k", InputError, "nothing is downloaded"),
    ],
)
def test_a_model_that_is_not_there_is_named(spec: str, error: type[Exception], said: str):
    with pytest.raises(error, match=said):
        open_search(spec)


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04", b"\x80\x02K\x01."])
def test_a_file_that_is_no_weights_is_named(weights: Path, tmp_path: Path, content: bytes):
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(InputError, match="weights cannot be loaded") as error:
        open_search(f"{ARCHITECTURE}:{tmp_path / 'bad.pt'}")
    assert "weights_only" not in str(error.value)  # which would run whatever code is in it


# pictures


def test_pictures_of_every_kind_of_data_are_the_same(tmp_path: Path):
    some = items()[:4]
    folder = tmp_path / "pictures"
    folder.mkdir()
    for key, data, captions in some:
        (folder / f"{key}.png").write_bytes(data)
        (folder / f"{key}.txt").write_text(captions[0])
    fetch_images(Dataset(tmp_path / "data"), SOURCE, folder, options={"license": "CC0-1.0"})
    rows = [json.dumps({"image": f"pictures/{k}.png", "captions": c}) for k, _, c in some]
    rows += [json.dumps({"image": name, "captions": ["x"]}) for name in ("gone.png", "http://a/b")]
    (tmp_path / "list.jsonl").write_text("\n".join(rows))
    write_shards(tmp_path / "shards", some)
    columns = {"image": [data for _, data, _ in some], "text": [c[0] for _, _, c in some]}
    parquet.write_table(pa.table(columns), tmp_path / "set.parquet")
    for name in ("0.tar", "0.tar.gz"):
        with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, path.name)
    names = ("data", "list.jsonl", "shards", "pictures", "set.parquet", "0.tar", "0.tar.gz")
    found, every = {}, []
    for name in names:
        notes, spool = ReadNotes(), Spool(tmp_path / f"spool-{name}")
        one = captioned_images(find_corpus(tmp_path / name), spool, notes)
        found[name] = {p.sha256: p.captions[0] for p in one}
        assert len(one) == 4 and all(len(p.captions) == 1 for p in one if name != "data")
        every += one
        gone = ["gone.png", "http://a/b"] if name == "list.jsonl" else []
        assert notes.named == ({"images not at hand": gone} if gone else {})
        assert spool.path.exists() == (name in ("set.parquet", "0.tar.gz"))
    assert all(one == found["shards"] for one in found.values())
    together = find_corpora([tmp_path / name for name in names])
    assert len(captioned_images(together, Spool(tmp_path / "spool"), ReadNotes())) == 4
    shown = [s for s in read_pixels(every, 16) if not isinstance(s, str)]
    assert [s[:2] for s in shown] == [(16, 16)] * 28
    assert (tmp_path / "spool").stat().st_size == 2 * sum(len(data) for _, data, _ in some)


def test_the_report_looks_into_tables_as_into_shards(
    weights: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    columns = {"id": [k for k, _, _ in items()], "image": [data for _, data, _ in items()]}
    columns["text"] = [captions[0] for _, _, captions in items()]
    parquet.write_table(pa.table(columns), tmp_path / "set.parquet")
    (tmp_path / "prompts.txt").write_text("a red square\n")
    told = []
    for data in (shards, tmp_path / "set.parquet"):
        settings = GapsSettings(data=(data,), images=f"{ARCHITECTURE}:{weights}")
        report = vocab_gaps(tmp_path / "prompts.txt", settings)
        (red,) = (item for item in report.items if item.unit == "red")
        told.append((red.verdict, red.upper_bound, [e.key for e in red.evidence], report.notes))
    assert told[0] == told[1] and told[0][0] != "missing", "captions never say red"
    left = list((tmp_path / "cache").rglob("*.part"))
    assert left == [], "the file of images is removed"


def test_equal_pictures_are_one_with_all_that_is_said(tmp_path: Path):
    data = drawing("red", "square")
    (tmp_path / "a.png").write_bytes(data)
    (tmp_path / "b.png").write_bytes(data)
    (tmp_path / "list.csv").write_text("image,caption\nb.png,a square\na.png,red\nb.png,red\n")
    (one,) = images_in(find_corpus(tmp_path / "list.csv"))
    assert one.key == "a.png" and one.captions == ("red", "a square")


def test_a_picture_that_cannot_be_read_is_counted(weights: Path, shards: Path, tmp_path: Path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    shown = images_in(find_corpus(shards))
    bad = replace(shown[0], key="bad", file=broken, offset=0, size=None, sha256="0" * 64)
    done = search_images(open_search(f"{ARCHITECTURE}:{weights}"), ["red"], [*shown, bad])
    assert (done.images, done.unread) == (105, 1)
    assert "1 images could not be read" in done.sentences()[-1]


# the counting, with vectors at hand


class Known:
    """An embedder whose texts and pictures are known: a dimension a word."""

    scale = 12.0

    def __init__(self, words: list[str], shown: dict[str, set[str]]) -> None:
        self.words, self.by_key = words, shown

    def encode_texts(self, said):
        width = len(self.words) + 1
        rows = [[float(self.words.index(w) == n) for n in range(width)] if (w := ways[-1]) in
                self.words else [0.0] * (width - 1) + [0.5] for ways in said]  # fmt: skip
        return np.array(rows, dtype=np.float32)

    def encode_images(self, images):
        rows = [[float(w in self.by_key[i.key]) for w in self.words] + [0.0] for i in images]
        return np.array(rows, dtype=np.float32)


WORDS = ["fox", "dog", "tree", "house", "lamp"]


@given(
    shown=st.lists(st.frozensets(st.sampled_from(WORDS), max_size=2), min_size=30, max_size=60),
    order=st.randoms(),
)
@settings(max_examples=25)
def test_a_perfect_model_finds_what_captions_leave_out(shown, order):
    """Captions never say lamp; whatever the order of pictures, the same is found."""
    keys = [f"k{n:02}" for n in range(len(shown))]
    given_pictures = [
        CaptionedImage(key, (" ".join(sorted(words - {"lamp"})) or "something",), Path("x"), key)
        for key, words in zip(keys, shown, strict=True)
    ]
    search = Known(WORDS, dict(zip(keys, shown, strict=True)))
    done = search_images(search, ["lamp", "fox"], given_pictures)
    mixed = order.sample(given_pictures, len(given_pictures))
    assert search_images(search, ["lamp", "fox"], mixed) == done
    if done.trust.usable:
        assert done.trust.chance >= 0
        lamps = [key for key, words in zip(keys, shown, strict=True) if "lamp" in words]
        assert done.found["lamp"].images == len(lamps)
        assert done.found["lamp"].likely <= len(lamps)
        assert set(done.found["lamp"].best) <= set(lamps)
        assert done.found["fox"].images == 0


def test_what_chance_explains_is_not_likely():
    trust = ModelTrust(10, 0.5, 0.8, 0.04, usable=True)
    tally = _Tally(["fox"], 0, ["k"] * 100)
    tally._other_WT[0, 0] = 9
    assert tally.found("fox", trust).likely == 1  # 4 expected, two deviations are 4 more
    tally._other_WT[0, 0] = 8
    assert tally.found("fox", trust).likely == 0
