"""Batches: the same for every number of processes and way of reading, and what they claim to be."""

import io
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from curate.formats.shards import INDEX_NAME, shard_name
from tests import tiny_encoder
from tests.drawings import drawing, shapes, write_shards
from train.config import TrainConfig
from train.data import dataset
from train.data.batches import Batch, Crops, Mixture
from train.data.dataset import CACHE_BYTES, ImageSet
from train.resizing import downsample_to, upsample
from train.size import Size

CONFIG = TrainConfig(stages=(8, 16, 32), images=(100,) * 3, crop=16, caption_dropout=0.0)
PLAIN = replace(CONFIG, noise_augmentation=0.0)


def corpus_of(sets: list[ImageSet], shares: list[float]) -> Mixture:
    """With states of one token a caption, which hold the caption's number."""
    captions = dataset.distinct_captions(sets)
    numbers = torch.arange(len(captions))
    states = numbers[:, None, None].expand(-1, 5, 4)
    text = tiny_encoder.of_padded(states.half(), 1 + numbers % 5)
    return Mixture(sets, shares, {c: n for n, c in enumerate(captions)}, text)


def noisy(seed: int, size: Size) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size.height, size.width, 3), np.uint8)
    return file_of(pixels)


def file_of(pixels_HWC: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels_HWC).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    where, size = tmp_path_factory.mktemp("noise"), Size(32, 32)
    names = ("new", "old", "drawn")
    return [
        write_shards(
            where / name,
            [(f"{name}-{k}", noisy(100 * n + k, size), [f"{name} {k}"]) for k in range(5 + 4 * n)],
        )
        for n, name in enumerate(names)
    ]


def three(folders, limit: int = CACHE_BYTES) -> Mixture:
    sets = [dataset.load_images(folder, Size(32, 32), limit=limit) for folder in folders]
    return corpus_of(sets, [0.5, 0.25, 0.25])


@pytest.fixture(scope="module")
def corpus(folders):
    return three(folders)


def tensors(batch: Batch) -> list[Tensor]:
    return [
        batch.clean_BCHW, batch.noise_BCHW, batch.sigma_B, *batch.text, *(batch.conditioning or ()),
        batch.set_B,
    ]  # fmt: skip


def same(one: Batch, other: Batch) -> bool:
    pairs = zip(tensors(one), tensors(other), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def together(parts: list[Batch]) -> Batch:
    text = (torch.cat([p.text[0] for p in parts]), torch.cat([p.text[1] for p in parts]))
    low = None
    if parts[0].conditioning:
        low = (
            torch.cat([p.conditioning[0] for p in parts]),
            torch.cat([p.conditioning[1] for p in parts]),
        )
    whole = [torch.cat(t) for t in zip(*(tensors(p)[:3] for p in parts), strict=True)]
    return Batch(*whole, text, low, torch.cat([p.set_B for p in parts]))


def shown(corpus: Mixture, batch: Batch) -> list[str]:
    """The caption that each image was given."""
    names = list(corpus.caption_rows)
    return [names[int(n)] for n in batch.text[0][:, 0, 0]]


# crops


def sizes() -> st.SearchStrategy[tuple[Crops, int]]:
    """A stored size, a stage's and the one's before, whole multiples, and the crop."""

    def build(low, factor, scale, crop, seed):
        stage = Size(low[0] * factor, low[1] * factor)
        full = Size(stage.width * scale, stage.height * scale)
        cut = Size(min(crop * factor, stage.width), min(crop * factor, stage.height))
        return Crops(full, stage, Size(*low), cut), seed

    side = st.integers(1, 9)
    factors = st.sampled_from([2, 4])
    scales = st.sampled_from([1, 2, 4])
    return st.builds(
        build, st.tuples(side, side), factors, scales, st.integers(1, 8), st.integers(0, 99)
    )


@given(sizes())
@settings(max_examples=150)
def test_a_crop_is_what_cropping_the_whole_last_would_be(drawn):
    crops, seed = drawn
    full, generator = crops.full, torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (4, full.height, full.width, 3), generator=generator)
    corner_B2 = crops.corners(torch.rand(2, 4, generator=generator))
    box, starts = crops.box, crops.box_corners(corner_B2).tolist()
    windows = [
        pixels[n, top : top + box.height, left : left + box.width]
        for n, (top, left) in enumerate(starts)
    ]
    clean, under = crops.cut(dataset.normalize(torch.stack(windows).byte()), corner_B2)

    images = dataset.normalize(pixels.byte())
    assert crops.conditioning_size is not None and under is not None
    whole = (
        downsample_to(images, crops.stage),
        upsample(downsample_to(images, crops.conditioning_size), crops.stage),
    )
    for n, (top, left) in enumerate((corner_B2 * crops.factor).tolist()):
        down = slice(top, top + crops.crop.height)
        across = slice(left, left + crops.crop.width)
        assert torch.equal(clean[n], whole[0][n][:, down, across])
        assert torch.allclose(under[n], whole[1][n][:, down, across], rtol=0, atol=1e-6)


@given(sizes())
@settings(max_examples=30)
def test_crops_lie_within_the_picture_and_reach_its_edges(drawn):
    crops, seed = drawn
    corner_B2 = crops.corners(torch.rand(2, 800, generator=torch.Generator().manual_seed(seed)))
    for axis in (0, 1):
        last = (crops.stage[1 - axis] - crops.crop[1 - axis]) // crops.factor
        assert corner_B2[:, axis].min() == 0 and corner_B2[:, axis].max() == last
    edge = crops.corners(torch.tensor([[0.0, 1 - 2**-24], [1 - 2**-24, 0.0]]))
    ends = crops.box_corners(edge) + torch.tensor([crops.box.height, crops.box.width])
    assert (ends <= torch.tensor([crops.full.height, crops.full.width])).all()
    assert (crops.box_corners(edge) >= 0).all()


def test_only_the_crop_and_its_margin_are_read():
    crops = Crops.of(Size(512, 512), (Size(128, 128), Size(512, 512)), 1, 64)
    assert crops.box == Size(80, 80) and crops.crop == Size(64, 64)
    base = Crops.of(Size(512, 256), (Size(64, 32), Size(256, 128)), 0, 64)
    assert (
        base.box == Size(512, 256) and base.crop == Size(64, 32) and base.conditioning_size is None
    )


# batches


@given(st.integers(0, 2), st.integers(0, 500), st.integers(4, 24), st.integers(1, 4))
@settings(max_examples=40)
def test_the_shares_of_several_processes_are_the_batch_of_one(corpus, number, seen, count, world):
    alone = corpus.batch(CONFIG, number, seen, count)
    shares = [
        corpus.batch(CONFIG, number, seen, count, rank=rank, world=world) for rank in range(world)
    ]
    assert same(together(shares), alone)


@given(st.integers(1, 20), st.integers(1, 25))
@settings(max_examples=20)
def test_microbatches_of_a_batch_are_the_batch(corpus, count, number):
    batch = corpus.batch(CONFIG, 1, 7, count)
    parts = batch.microbatches(number)
    assert same(together(parts), batch) and len(parts) == min(count, number)
    lengths = [len(part.set_B) for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_both_ways_of_reading_give_the_same_batches(folders, corpus, tmp_path):
    copies = []
    for n, folder in enumerate(folders):
        copies.append(tmp_path / str(n))
        copies[n].mkdir()
        for name in (INDEX_NAME, shard_name("train", 0)):
            (copies[n] / name).write_bytes((folder / name).read_bytes())
    read = three(copies, limit=0)
    assert [p.is_streamed for p in read.sets] == [True] * 3
    assert [p.is_streamed for p in corpus.sets] == [False] * 3
    for number in (0, 1, 2):
        for seen in (0, 9, 130):
            assert same(corpus.batch(CONFIG, number, seen, 9), read.batch(CONFIG, number, seen, 9))


def test_a_run_taken_up_again_sees_what_it_would_have_seen(folders, corpus):
    resumed = three(folders)
    assert same(corpus.batch(CONFIG, 2, 48, 8), resumed.batch(CONFIG, 2, 48, 8))
    other = corpus.batch(replace(CONFIG, seed=1), 2, 48, 8)
    assert not torch.equal(other.noise_BCHW, resumed.batch(CONFIG, 2, 48, 8).noise_BCHW)


def test_noise_belongs_to_a_position_whatever_the_batch(corpus):
    whole = corpus.batch(CONFIG, 1, 0, 12)
    halves = [corpus.batch(CONFIG, 1, 0, 6), corpus.batch(CONFIG, 1, 6, 6)]
    assert torch.equal(whole.noise_BCHW, torch.cat([h.noise_BCHW for h in halves]))
    assert shown(corpus, whole) == [c for h in halves for c in shown(corpus, h)]
    assert whole.noise_BCHW.std() == pytest.approx(1, abs=0.05)
    assert len({float(n) for n in whole.noise_BCHW[:, 0, 0, 0]}) == 12


@given(st.integers(0, 30), st.integers(0, 2))
@settings(max_examples=20)
def test_every_epoch_of_a_set_shows_each_picture_once(folders, epoch, number):
    pictures = dataset.load_images(folders[1], Size(32, 32))
    corpus = corpus_of([pictures], [1.0])
    batch = corpus.batch(CONFIG, number, 9 * epoch, 9)
    assert sorted(shown(corpus, batch)) == sorted(f"old {k}" for k in range(9))


def test_sets_come_in_their_shares_and_say_so(corpus):
    batch = corpus.batch(CONFIG, 0, 0, 40)
    names = ("new", "old", "drawn")
    assert [c.split()[0] for c in shown(corpus, batch)] == [names[n] for n in batch.set_B.tolist()]
    for n in range(1, 41):
        counts = Counter(batch.set_B[:n].tolist())
        for number, share in enumerate(corpus.shares):
            assert abs(counts[number] - share * n) <= 1
    assert Counter(batch.set_B.tolist()) == {0: 20, 1: 10, 2: 10}


def test_an_image_comes_with_a_caption_of_its_own(corpus):
    whole = replace(PLAIN, crop=32)
    batch = corpus.batch(whole, 2, 31, 12)
    of_key = {c: (s, n) for s in corpus.sets for n, (c,) in enumerate(s.captions)}
    for caption, clean in zip(shown(corpus, batch), batch.clean_BCHW, strict=True):
        pictures, row = of_key[caption]
        assert torch.equal(clean, pictures.images([row])[0])


def test_the_low_resolution_picture_is_the_real_one_reduced(corpus):
    whole = replace(PLAIN, crop=32)
    batch = corpus.batch(whole, 2, 5, 6)
    assert batch.conditioning is not None and batch.conditioning[1].eq(0).all()
    reduced = F.avg_pool2d(batch.clean_BCHW, 2)
    assert torch.allclose(batch.conditioning[0], upsample(reduced, Size(32, 32)), atol=1e-6)
    base = corpus.batch(whole, 0, 5, 6)
    assert base.conditioning is None and base.clean_BCHW.shape == (6, 3, 8, 8)
    full = corpus.batch(replace(whole, stages=(32,)), 0, 5, 6)
    assert torch.allclose(base.clean_BCHW, F.avg_pool2d(full.clean_BCHW, 4), atol=1e-6)


def test_the_low_resolution_picture_carries_noise_of_the_level_it_is_told(corpus):
    noised = corpus.batch(CONFIG, 1, 0, 200)
    plain = corpus.batch(PLAIN, 1, 0, 200)
    assert noised.conditioning is not None and plain.conditioning is not None
    spread = (noised.conditioning[0] - plain.conditioning[0]).flatten(1).std(1)
    assert torch.allclose(spread, noised.conditioning[1], rtol=0.15, atol=1e-3)
    assert 0 <= noised.conditioning[1].min() < 0.02 and 0.48 < noised.conditioning[1].max() <= 0.5
    own = (noised.conditioning[0] - plain.conditioning[0]) / noised.conditioning[1][
        :, None, None, None
    ]
    assert abs((own * noised.noise_BCHW).mean()) < 0.02, "not the noise of the image itself"


def test_each_image_is_cropped_somewhere_else(tmp_path):
    down, across = np.mgrid[:32, :32].astype(np.uint8)
    ramp = np.repeat((across + 4 * down)[..., None], 3, axis=2)
    items = [("a", file_of(ramp), ["x"])]
    corpus = corpus_of([dataset.load_images(write_shards(tmp_path, items), Size(32, 32))], [1.0])
    batch = corpus.batch(PLAIN, 2, 0, 64)
    corners = {round(float((c + 1) * 127.5)) for c in batch.clean_BCHW[:, 0, 0, 0]}
    assert len(corners) > 20 and batch.clean_BCHW.shape == (64, 3, 16, 16)


def test_each_of_several_captions_is_used_and_some_are_dropped(tmp_path):
    items = [("a", drawing("red", "circle"), ["one", "two", "three"])]
    corpus = corpus_of([dataset.load_images(write_shards(tmp_path, items), Size(32, 32))], [1.0])
    counts = Counter(shown(corpus, corpus.batch(CONFIG, 0, 0, 600)))
    assert counts.keys() == {"one", "two", "three"} and min(counts.values()) > 150
    dropping = corpus.batch(replace(CONFIG, caption_dropout=0.25), 0, 0, 800)
    silent = dropping.text[1].sum(1) == 0
    assert 0.2 < silent.float().mean() < 0.3


def test_images_are_mirrored_only_if_asked_for(tmp_path):
    picture = noisy(1, Size(32, 32))
    folder = write_shards(tmp_path, [("a", picture, ["x"])])
    corpus = corpus_of([dataset.load_images(folder, Size(32, 32))], [1.0])
    whole = replace(CONFIG, crop=32)
    plain = corpus.batch(whole, 2, 0, 40)
    flipped = corpus.batch(replace(whole, flip=True), 2, 0, 40)
    true = dataset.load_images(folder, Size(32, 32)).images([0])[0]
    assert all(torch.equal(image, true) for image in plain.clean_BCHW)
    turned = [torch.equal(image, true.flip(-1)) for image in flipped.clean_BCHW]
    assert 8 < sum(turned) < 32
    kept = [torch.equal(image, true) for image in flipped.clean_BCHW]
    assert [not t for t in turned] == kept
    assert torch.equal(plain.noise_BCHW, flipped.noise_BCHW)
    low = corpus.batch(replace(whole, flip=True, noise_augmentation=0.0), 2, 0, 40)
    assert low.conditioning is not None
    reduced = F.avg_pool2d(low.clean_BCHW, 2)
    assert torch.allclose(low.conditioning[0], upsample(reduced, Size(32, 32)), atol=1e-6)


def test_stages_may_be_oblong(tmp_path):
    size, config = Size(16, 32), replace(CONFIG, stages=("4x8", "16x32"), images=(9, 9), crop=8)
    items = [(f"k{n}", noisy(n, Size(20, 40)), [f"{n}"]) for n in range(3)]
    corpus = corpus_of([dataset.load_images(write_shards(tmp_path, items), size)], [1.0])
    assert corpus.batch(config, 0, 0, 4).clean_BCHW.shape == (4, 3, 8, 4)
    assert corpus.batch(config, 1, 0, 4).clean_BCHW.shape == (4, 3, 8, 8)
    whole = corpus.batch(replace(config, crop=64, noise_augmentation=0.0), 1, 0, 4)
    assert whole.clean_BCHW.shape == (4, 3, 32, 16) and whole.conditioning is not None
    small = F.avg_pool2d(whole.clean_BCHW, 4)
    assert torch.allclose(whole.conditioning[0], upsample(small, size), atol=1e-6)


def test_one_picture_fills_a_batch(tmp_path):
    folder = write_shards(tmp_path, shapes("red")[:1])
    corpus = corpus_of([dataset.load_images(folder, Size(32, 32))], [1.0])
    assert corpus.batch(CONFIG, 0, 3, 5).clean_BCHW.shape[0] == 5


def test_pixels_stay_in_the_layout_that_convolutions_like(corpus):
    batch = corpus.batch(CONFIG, 2, 0, 4)
    assert batch.conditioning is not None
    assert batch.clean_BCHW.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("number", [0, 2])
def test_all_that_is_made_of_pixels_is_made_on_the_device(corpus, number):
    there = corpus.batch(CONFIG, number, 0, 4, device="meta")  # mixing devices is an error
    here = corpus.batch(CONFIG, number, 0, 4)
    assert all(tensor.is_meta for tensor in tensors(there))
    assert [t.shape for t in tensors(there)] == [t.shape for t in tensors(here)]
