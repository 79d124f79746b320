import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train import diffusion as d
from train.size import Size

SIGMAS = torch.tensor([0.01, 0.3, 1.0, 7.0, 60.0], dtype=torch.float64)


def gaussian_denoiser(mean: float, std: float):
    """E[x0 | x] for pixels drawn from N(mean, std^2): the posterior mean, in closed form."""
    return lambda x, sigma: (std**2 * x + sigma**2 * mean) / (std**2 + sigma**2)


def test_sampling_a_gaussian_gives_its_mean_and_spread():
    noise = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    out = d.dpm_solver_pp_2m(gaussian_denoiser(0.3, 0.2), noise, d.karras_sigmas(30))
    assert out.mean().item() == pytest.approx(0.3, abs=0.01)
    assert out.std().item() == pytest.approx(0.2, rel=0.05)


def test_more_steps_come_closer_to_the_exact_path():
    noise = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    std, sigma_max = 0.5, d.SIGMA_MAX
    exact = noise * sigma_max * std / math.sqrt(std**2 + sigma_max**2)  # flow of a centred Gaussian
    error = [
        (d.dpm_solver_pp_2m(gaussian_denoiser(0.0, std), noise, d.karras_sigmas(n)) - exact)
        .abs()
        .mean()
        for n in (12, 24, 48, 96)
    ]
    assert error == sorted(error, reverse=True)
    assert error[3] < error[2] / 2.5  # second order would be 4


def test_preconditioning_keeps_unit_variance():
    sigma_data = 0.5
    skip, out, scale = (f(SIGMAS, sigma_data) for f in (d.c_skip, d.c_out, d.c_in))
    assert torch.allclose(
        scale**2 * (SIGMAS**2 + sigma_data**2), torch.ones(5, dtype=torch.float64)
    )
    # EDM appendix B.6: c_out^2 is the variance left in the target after the skip
    left = (1 - skip) ** 2 * sigma_data**2 + skip**2 * SIGMAS**2
    assert torch.allclose(out**2, left)
    assert torch.allclose(
        d.loss_weight(SIGMAS, sigma_data) * out**2, torch.ones(5, dtype=torch.float64)
    )


def test_a_silent_network_predicts_the_skip():
    noisy = torch.randn(2, 3, 8, 8)
    sigma = torch.tensor([0.5, 2.0])
    silent = lambda x, levels, text, mask: torch.zeros_like(x)  # noqa: E731
    text = (torch.zeros(2, 1, 4), torch.ones(2, 1))
    out = d.denoise(silent, noisy, sigma, text, sigma_data=0.5)
    assert torch.allclose(out, noisy * torch.tensor([0.5, 0.25 / 4.25]).reshape(2, 1, 1, 1))


def test_the_low_resolution_picture_and_its_level_reach_the_network():
    seen = {}

    def network(x, levels, text, mask):
        seen.update(x=x, levels=levels)
        return torch.zeros_like(x[:, :3])

    noisy, low = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    level, sigma = torch.tensor([0.0, 0.5]), torch.tensor([0.5, 2.0])
    text = (torch.zeros(2, 1, 4), torch.ones(2, 1))
    out = d.denoise(network, noisy, sigma, text, sigma_data=0.5, low=(low, level))
    assert torch.equal(seen["x"][:, 3:], low)
    assert torch.equal(seen["levels"][:, 1], torch.tensor([0.0, 1.0]))
    # a silent network moves from the low-resolution picture towards the noisy one, EDM's c_skip
    skip = torch.tensor([0.5, 0.25 / 4.25]).reshape(2, 1, 1, 1)
    assert torch.allclose(out, low + skip * (noisy - low))


def test_karras_sigmas_fall_from_high_to_low_to_zero():
    sigmas = d.karras_sigmas(18)
    assert len(sigmas) == 19
    assert sigmas[0].item() == pytest.approx(80) and sigmas[-2].item() == pytest.approx(0.002)
    assert sigmas[-1] == 0 and (sigmas.diff() < 0).all()


@given(st.integers(1, 200), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_stratified_numbers_fill_every_part_once(count, seed):
    drawn = d.stratified(count, torch.Generator().manual_seed(seed))
    assert sorted((drawn * count).long().clamp(max=count - 1).tolist()) == list(range(count))


def test_noise_levels_have_the_stated_logarithm():
    sigma = d.draw_sigma((torch.arange(20_000) + 0.5) / 20_000, mean=-1.2, std=1.2)
    assert sigma.log().mean().item() == pytest.approx(-1.2, abs=0.01)
    assert sigma.log().std().item() == pytest.approx(1.2, abs=0.02)


def test_noise_rises_with_resolution_for_a_base_and_not_for_super_resolution():
    base = [d.noise_mean(Size.of(p), conditioned=False) for p in (16, 32, 64)]
    assert base[1] - base[0] == pytest.approx(math.log(2)) and base[2] > base[1]
    assert (
        d.noise_mean(Size(64, 64), conditioned=True)
        == d.noise_mean(Size(256, 256), conditioned=True)
        < base[0]
    )


def test_thresholding_leaves_images_in_range_alone_and_brings_others_into_it():
    inside = torch.rand(2, 3, 8, 8) * 2 - 1
    assert torch.equal(d.dynamic_threshold(inside), inside)
    out = d.dynamic_threshold(inside * 5)
    assert out.abs().max() <= 1
    assert torch.allclose(
        d.dynamic_threshold(inside * 5, percentile=1.0),
        inside / inside.abs().amax((1, 2, 3), keepdim=True),
    )
    with pytest.raises(ValueError, match="percentile"):
        d.dynamic_threshold(inside, percentile=0)


def test_guidance_of_one_is_the_conditional_prediction():
    a, b = torch.rand(3), torch.rand(3)
    assert torch.allclose(d.guided(a, b, 1.0), a)
    assert torch.allclose(d.guided(a, b, 0.0), b)
    assert torch.allclose(d.guided(a, b, 3.0), b + 3 * (a - b))
