# ruff: noqa: F401, F811 fixtures
import io
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests import tiny_encoder
from tests.drawings import shapes, write_shards
from tests.training import encoder, quick
from train.checkpoints.checkpoint import Stage
from train.data import dataset
from train.data.batches import Mixture
from train.data.dataset import ImageSet
from train.model.unet import UNet, unet_config
from train.resizing import back_project, downsample_to, upsample
from train.size import Size
from train.text_encoder.embeddings import EncodedText
from train.training import convergence, run

CPU = torch.device("cpu")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    """Numbers within [-0.5, 0.5]."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 0.5


def smooth(count: int, size: Size, seed: int = 0) -> torch.Tensor:
    """Images without fine detail."""
    coarse = Size(max(1, size.width // 8), max(1, size.height // 8))
    return upsample(drawn(count, 3, coarse.height, coarse.width, seed=seed), size)


def test_psnr_of_a_constant_difference():
    image = drawn(1, 3, 4, 6)
    assert convergence.psnr(image, image + 0.2).item() == pytest.approx(10 * math.log10(4 / 0.04))
    assert convergence.psnr(image, image).item() == pytest.approx(10 * math.log10(4e10), abs=0.01)


def test_channel_difference_tells_a_shift_from_noise():
    image = drawn(2, 3, 8, 12)
    shift = torch.tensor([3.0, 0.0, -2.0])
    lit = image + shift[:, None, None] * 2 / 255
    torch.testing.assert_close(
        convergence.channel_difference(lit, image), shift.expand(2, 3), atol=1e-4, rtol=0
    )


def wave(across: int, down: int, size: Size) -> torch.Tensor:
    """Cosines with so many half periods across and down the image (1, 3, H, W)."""
    x, y = ((torch.arange(side) + 0.5) / side for side in size)
    image = torch.outer((math.pi * down * y).cos(), (math.pi * across * x).cos())
    return image.expand(1, 3, -1, -1)


@pytest.mark.parametrize(
    ("across", "down", "energy"),
    [(0, 0, 0), (7, 3, 0), (8, 0, 0.5), (0, 4, 0.5), (31, 0, 0.5), (8, 3, 0.25), (7, 4, 0.25)],
)
def test_energy_counts_from_the_nyquist_frequency_of_the_small_picture_on(across, down, energy):
    image, low = wave(across, down, Size(32, 16)), Size(8, 4)
    found = convergence.high_frequency_energy(image, low)
    assert found.tolist() == pytest.approx([energy], abs=1e-6)
    assert convergence.high_frequency_energy(3 * image, low).item() == pytest.approx(9 * energy)


def test_energy_of_white_noise_is_the_share_of_frequencies_above():
    noise = 0.2 * torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = convergence.high_frequency_energy(noise, Size(32, 32)).mean().item()
    assert found == pytest.approx(0.2**2 * 3 / 4, rel=0.02)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.0])
def test_the_ratio_is_the_square_of_how_strongly_detail_is_drawn(strength):
    low, shift = Size(8, 8), 0.1
    plain, detail = wave(3, 2, Size(32, 32)), 0.2 * wave(19, 5, Size(32, 32))
    energy = convergence.high_frequency_energy
    drawn, real = energy(plain + strength * detail + shift, low), energy(plain + detail, low)
    assert convergence.high_frequency_ratio(drawn, real) == pytest.approx(strength**2, abs=1e-5)


def test_blur_is_below_one_noise_above_and_pictures_without_detail_tell_nothing():
    energy, low = convergence.high_frequency_energy, Size(8, 8)
    real = drawn(4, 3, 32, 32)
    blurred = upsample(downsample_to(real, low), Size(32, 32))
    assert convergence.high_frequency_ratio(energy(blurred, low), energy(real, low)) < 0.1
    noisy = real + 0.3 * torch.randn(real.shape, generator=torch.Generator().manual_seed(2))
    assert convergence.high_frequency_ratio(energy(noisy, low), energy(real, low)) > 1.5
    flat = torch.full_like(real, 0.7)
    assert convergence.high_frequency_ratio(energy(noisy, low), energy(flat, low)) is None


sizes = st.sampled_from([(Size(8, 8), 2), (Size(16, 8), 4), (Size(4, 12), 2), (Size(5, 3), 4)])


@given(sizes, st.integers(0, 999))
def test_the_picture_made_small_again_is_the_one_it_was_made_from(size_and_factor, seed):
    low_size, factor = size_and_factor
    size = Size(low_size.width * factor, low_size.height * factor)
    low = 0.4 * drawn(2, 3, low_size.height, low_size.width, seed=seed)
    images = 0.4 * drawn(2, 3, size.height, size.width, seed=seed + 1)
    left = [
        float((downsample_to(back_project(images, low, rounds=n), low_size) - low).abs().mean())
        for n in (0, 1, 2, 4, 8)
    ]
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.1 * left[0]


@given(sizes, st.integers(0, 999), st.floats(-0.3, 0.3))
def test_a_shift_of_colours_is_taken_back_and_details_stay(size_and_factor, seed, shift):
    low_size, factor = size_and_factor
    size = Size(low_size.width * factor, low_size.height * factor)
    real = drawn(2, 3, size.height, size.width, seed=seed)
    back = back_project(real + shift, downsample_to(real, low_size))
    torch.testing.assert_close(back, real, atol=1e-5, rtol=0)


@given(sizes, st.integers(0, 99))
def test_a_round_adds_what_is_left_enlarged_as_a_stage_is_given_it(size_and_factor, seed):
    low_size, factor = size_and_factor
    size = Size(low_size.width * factor, low_size.height * factor)
    low = 0.4 * drawn(2, 3, low_size.height, low_size.width, seed=seed)
    images = 0.4 * drawn(2, 3, size.height, size.width, seed=seed + 1)
    one = images + upsample(low - downsample_to(images, low_size), size)
    torch.testing.assert_close(back_project(images, low, rounds=1), one, atol=1e-5, rtol=0)


def test_pictures_stay_within_their_range_and_consistent_ones_stay_as_they_are():
    real = smooth(3, Size(32, 16))
    low = downsample_to(real, Size(8, 4))
    torch.testing.assert_close(back_project(real, low), real)
    bright = back_project(torch.full_like(real, 1.0), torch.full_like(low, 0.99))
    assert bright.max() <= 1
    assert (downsample_to(bright, Size(8, 4)) - 0.99).abs().max() < 1e-3


def test_white_made_too_dark_by_clipped_noise_is_white_again():
    real = torch.ones(4, 3, 32, 32)
    noisy = (
        real + 0.1 * torch.randn(real.shape, generator=torch.Generator().manual_seed(1))
    ).clamp(-1, 1)
    low = downsample_to(real, Size(8, 8))
    before = convergence.channel_difference(noisy, real).abs().max()
    after = convergence.channel_difference(back_project(noisy, low), real).abs().max()
    assert before > 4
    assert after < 0.5


def stage(size: Size, low_size: Size, *, text_width: int = 4) -> Stage:
    torch.manual_seed(5)
    unet = UNet(unet_config("tiny", (low_size, size), 1, text_width))
    return Stage(size, low_size, unet.eval().requires_grad_(False), 0.3)


def corpus(tmp_path, count: int, size: Size) -> Mixture:
    """Images of `count` shapes, each with a caption of its own."""
    side = max(size)
    items = shapes("red", "green", "blue", side=side)[:count]
    pictures = dataset.load_images(write_shards(tmp_path / "shapes", items, size=side), size)
    return of(pictures)


def of(pictures: ImageSet) -> Mixture:
    captions = dataset.distinct_captions([pictures])
    states = drawn(len(captions), 3, 4)
    text = tiny_encoder.of_padded(states, torch.full((len(captions),), 3))
    return Mixture([pictures], [1.0], {c: n for n, c in enumerate(captions)}, text)


@pytest.mark.parametrize("size", [Size(32, 32), Size(32, 16)])
def test_a_stage_that_has_learnt_nothing_has_not_converged(tmp_path, size):
    low_size = Size(size.width // 4, size.height // 4)
    pictures = corpus(tmp_path, 6, size)
    told = convergence.measure(stage(size, low_size), pictures.sets[0], pictures, CPU)
    assert told["converged"] is False
    assert told["pictures"] == 6
    real = pictures.sets[0].images(range(6))
    plain = upsample(F.avg_pool2d(real, 4), size).clamp(-1, 1)
    assert told["bicubic"] == pytest.approx(float(convergence.psnr(plain, real).mean()), abs=1e-3)
    assert told["back_projected"] > told["bicubic"]
    assert told["psnr"] < told["back_projected"] + convergence.MARGIN_DB
    assert 0 < told["high_frequency"] < 0.6  # it draws little more than blur


def test_pictures_without_detail_have_no_ratio(tmp_path):
    blank = Image.new("RGB", (32, 32), "teal")
    data = io.BytesIO()
    blank.save(data, "PNG")
    shards = write_shards(tmp_path / "blank", [("blank", data.getvalue(), ["blank"])])
    pictures = of(dataset.load_images(shards, Size(32, 32)))
    told = convergence.measure(stage(Size(32, 32), Size(8, 8)), pictures.sets[0], pictures, CPU)
    assert told["high_frequency"] is None


def test_pictures_are_measured_a_few_at_a_time_with_the_same_figures(tmp_path, monkeypatch):
    size = Size(32, 16)
    pictures, untrained = corpus(tmp_path, 6, size), stage(size, Size(8, 4))
    torch.nn.init.normal_(untrained.network.out.weight, std=0.05)
    whole = convergence.measure(untrained, pictures.sets[0], pictures, CPU)
    given = []
    untrained.network.register_forward_pre_hook(lambda module, seen: given.append(len(seen[0])))
    monkeypatch.setattr(convergence, "MEASURED_PIXELS", 4 * 32 * 16)
    parts = convergence.measure(untrained, pictures.sets[0], pictures, CPU)
    assert set(given) == {4, 2}
    assert parts == pytest.approx(whole, abs=0.02)


def test_at_most_so_many_pictures_are_measured_spread_over_all(tmp_path):
    size = Size(16, 16)
    pictures = corpus(tmp_path, 9, size)
    small = stage(size, Size(8, 8))
    told = convergence.measure(small, pictures.sets[0], pictures, CPU, limit=3)
    few = of(pictures.sets[0].select([0, 4, 8]))
    assert told["pictures"] == 3
    plain = convergence.measure(stage(size, Size(8, 8)), few.sets[0], few, CPU)["bicubic"]
    assert told["bicubic"] == plain


def test_weights_that_are_no_numbers_have_not_converged(tmp_path):
    size = Size(16, 16)
    pictures, broken = corpus(tmp_path, 3, size), stage(size, Size(8, 8))
    broken.network.stem.weight.data.fill_(math.nan)
    told = convergence.measure(broken, pictures.sets[0], pictures, CPU)
    assert told["converged"] is False
    assert all(math.isfinite(value) for value in told.values())


def test_a_stage_trained_long_enough_converges_without_shifting_colours(tmp_path, quick):
    shards = write_shards(tmp_path / "shapes", shapes("red", "green", "blue", copies=5))
    long = replace(quick, stages=(8, 32), images=(0, 960), warmup=80)
    model = run.finetune(run.Recipe(shards, long), tmp_path / "run", device="cpu")
    told = model.facts.convergence["32"]
    assert told["converged"]
    assert told["psnr"] > told["bicubic"] + 1
    assert told["colour_shift"] < 1
    assert 0.3 < told["high_frequency"] < 1.2


@pytest.mark.parametrize("noise_augmentation", [0.0, 0.5])
def test_the_residual_is_measured_without_noise_augmentation(tmp_path, quick, noise_augmentation):
    shards = write_shards(tmp_path / "shapes", shapes("red", "green", "blue"))
    settings = replace(quick, images=(0, 0), noise_augmentation=noise_augmentation)
    made = run.finetune(run.Recipe(shards, settings), tmp_path / "run", device="cpu").stages[1]
    pictures = dataset.load_images(shards, made.size).images(range(9))
    residual = pictures - upsample(downsample_to(pictures, made.conditioning_size), made.size)
    assert made.sigma_data == pytest.approx(float(residual.std()), rel=0.02)
