import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.model import diffusion as d
from train.size import Size

SIGMAS = torch.tensor([0.01, 0.3, 1.0, 7.0, 60.0], dtype=torch.float64)


def gaussian_denoiser(mean: float, std: float):
    """E[x0 | x] for pixels drawn from N(mean, std^2): the posterior mean, in closed form."""
    return lambda x, sigma: (std**2 * x + sigma**2 * mean) / (std**2 + sigma**2)


def gaussian_flow(mean: float, std: float, high: float):
    """Where the exact probability flow takes high * noise: mean and slope in the noise."""
    slope = std / math.sqrt(std**2 + high**2)
    return mean * (1 - slope), high * slope


def sampled_map(denoiser, sigmas):
    """Sampling a Gaussian is affine in the noise: the output at noise 0 and its slope."""
    noise = torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(2, 1, 1, 1)
    out = d.dpm_solver_pp_2m(denoiser, noise, sigmas).flatten()
    return out[0].item(), (out[1] - out[0]).item()


def test_sampling_a_gaussian_gives_its_mean_and_spread():
    noise = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    out = d.dpm_solver_pp_2m(gaussian_denoiser(0.3, 0.2), noise, d.karras_sigmas(30))
    assert out.mean().item() == pytest.approx(0.3, abs=0.01)
    assert out.std().item() == pytest.approx(0.2, rel=0.05)


def test_the_sampler_converges_with_order_two():
    exact_mean, exact_spread = gaussian_flow(0.3, 0.5, 80.0)
    errors = []
    for steps in (40, 80, 160):
        # equal steps of ln sigma, down to so little noise that the last step costs nothing
        sigmas = torch.logspace(math.log10(80), -6, steps, dtype=torch.float64)
        sigmas = torch.cat([sigmas, sigmas.new_zeros(1)])
        mean, spread = sampled_map(gaussian_denoiser(0.3, 0.5), sigmas)
        errors.append((abs(mean - exact_mean), abs(spread - exact_spread)))
    for coarse, fine in pairwise(errors):
        assert coarse[0] / fine[0] == pytest.approx(4, rel=0.2)
        assert coarse[1] / fine[1] == pytest.approx(4, rel=0.2)


def test_karras_levels_bring_a_gaussian_near_in_a_dozen_steps():
    exact_mean, exact_spread = gaussian_flow(0.3, 0.5, d.SIGMA_MAX)
    mean, spread = sampled_map(gaussian_denoiser(0.3, 0.5), d.karras_sigmas(12).double())
    assert mean == pytest.approx(exact_mean, abs=0.03)
    assert spread == pytest.approx(exact_spread, rel=0.15)


@given(st.integers(1, 30), st.floats(-1, 1))
@settings(max_examples=30, deadline=None)
def test_a_point_mass_is_reached_exactly_in_any_number_of_steps(steps, value):
    point = lambda x, sigma: torch.full_like(x, value)  # noqa: E731
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(steps))
    sigmas = d.karras_sigmas(steps)
    assert torch.equal(d.dpm_solver_pp_2m(point, noise, sigmas), torch.full_like(noise, value))
    # and before the last step, the image is the point plus noise of just the level reached
    reached = d.dpm_solver_pp_2m(point, noise, sigmas[:-1])
    assert torch.allclose(
        reached, value * (1 - sigmas[-2] / sigmas[0]) + sigmas[-2] * noise, atol=1e-4
    )


def test_guidance_moves_a_gaussian_past_its_mean():
    # equal spreads: the guided denoiser is that of N(m0 + scale (m1 - m0), std^2)
    with_words, without = gaussian_denoiser(0.2, 0.1), gaussian_denoiser(0.05, 0.1)

    def denoiser(x, sigma):
        return d.guide(with_words(x, sigma), without(x, sigma), 3.0)

    mean, _ = sampled_map(denoiser, d.karras_sigmas(40).double())
    assert mean == pytest.approx(0.05 + 3 * 0.15, abs=0.01)


def test_the_average_low_resolution_picture_starts_a_stage_that_begins_at_low_noise():
    exact_mean, _ = gaussian_flow(0.3, 0.2, 1.0)
    noise = torch.zeros(1, 1, 1, 1)
    sigmas = d.karras_sigmas(40, low=0.01, high=1.0)
    start = gaussian_denoiser(0.3, 0.2)
    assert d.dpm_solver_pp_2m(start, noise, sigmas).item() == pytest.approx(exact_mean, abs=0.005)
    shifted = d.dpm_solver_pp_2m(start, noise, sigmas, mean_BCHW=torch.full_like(noise, 0.3))
    assert shifted.item() == pytest.approx(0.3, abs=1e-5)


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


@pytest.mark.parametrize("sigma", [0.05, 0.5, 5.0])
def test_for_gaussian_data_silence_is_optimal_and_its_loss_is_one(sigma):
    # E[x0 | x] of N(0, sigma_data^2) is c_skip x, and c_out^2 is its squared error
    draws = torch.Generator().manual_seed(0)
    sigma_B = torch.full((64,), sigma)
    clean = 0.5 * torch.randn(64, 3, 16, 16, generator=draws)
    noisy = clean + sigma * torch.randn(clean.shape, generator=draws)
    assert torch.allclose(
        d.c_skip(torch.tensor(sigma), 0.5) * noisy, gaussian_denoiser(0, 0.5)(noisy, sigma)
    )

    def loss(output: float) -> float:
        network = lambda x, levels, text, mask: torch.full_like(x, output)  # noqa: E731
        text = (torch.zeros(64, 1, 4), torch.ones(64, 1))
        predicted = d.denoise(network, noisy, sigma_B, text, sigma_data=0.5)
        losses = d.training_loss(predicted, clean, sigma_B, sigma_data=0.5, conditioning=None)
        return float(losses.mean())

    assert loss(0.0) == pytest.approx(1, rel=0.02)
    # a network off by F adds F^2 at every noise level: the weight undoes c_out
    assert loss(0.3) - loss(0.0) == pytest.approx(0.09, abs=0.01)


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
    out = d.denoise(network, noisy, sigma, text, sigma_data=0.5, conditioning=(low, level))
    assert torch.equal(seen["x"][:, 3:], low)
    assert torch.equal(seen["levels"][:, 1], torch.tensor([0.0, 1.0]))
    # a silent network moves from the low-resolution image towards the noisy one, by EDM's c_skip
    # for a variance of 0.25 and, where the level is 0.5, twice that
    skip = torch.tensor([0.5, 0.5 / 4.5]).reshape(2, 1, 1, 1)
    assert torch.allclose(out, low + skip * (noisy - low))


@pytest.mark.parametrize(
    ("residual", "level", "spread"),
    [(0.12, 0.0, 0.12), (0.12, 0.05, 0.13), (0.3, 0.4, 0.5), (0.12, 0.5, 0.514198)],
)
def test_variances_of_the_residual_and_of_noise_augmentation_add(residual, level, spread):
    low = torch.zeros(2, 3, 4, 4)
    found = d.sigma_data_given(residual, (low, torch.tensor([level, 0.0])))
    assert found.tolist() == pytest.approx([spread, residual], rel=1e-6)
    assert d.sigma_data_given(residual, None) == residual


def test_without_noise_augmentation_a_stage_is_plain_edm_of_the_difference():
    network = lambda x, levels, text, mask: x[:, :3].sin()  # noqa: E731
    noisy, low, clean = torch.rand(3, 2, 3, 8, 8)
    sigma, text = torch.tensor([0.1, 2.0]), (torch.zeros(2, 1, 4), torch.ones(2, 1))
    given = {"sigma_data": 0.12, "conditioning": (low, torch.zeros(2))}
    plain = {"sigma_data": 0.12, "conditioning": None}
    out = d.denoise(network, noisy, sigma, text, **given)
    difference = d.denoise(network, noisy - low, sigma, text, **plain)
    torch.testing.assert_close(out, low + difference)
    torch.testing.assert_close(
        d.training_loss(out, clean, sigma, **given),
        d.training_loss(difference, clean - low, sigma, **plain),
    )


@pytest.mark.parametrize("sigma", [0.05, 0.3, 2.0])
def test_input_target_and_first_loss_are_one_at_every_level_of_noise_augmentation(sigma):
    """One sigma_data for all levels fails here: it is too large at some and too small at others."""
    draws, residual = torch.Generator().manual_seed(0), 0.12
    level_B = torch.tensor([0.0, 0.05, 0.2, 0.5])
    enlarged, detail, augmentation, noise = torch.randn(4, 4, 3, 64, 64, generator=draws)
    clean = 0.5 * enlarged + residual * detail
    low = 0.5 * enlarged + level_B[:, None, None, None] * augmentation
    sigma_B, seen = torch.full((4,), sigma), []

    def predict(output: float) -> torch.Tensor:
        def network(x, levels, text, mask):
            seen.append(x[:, :3])
            return torch.full_like(x[:, :3], output)

        text = (torch.zeros(4, 1, 4), torch.ones(4, 1))
        given = {"sigma_data": residual, "conditioning": (low, level_B)}
        return d.denoise(network, clean + sigma * noise, sigma_B, text, **given)

    silent = predict(0.0)
    target = (clean - silent) / (predict(1.0) - silent)  # the output that gives the clean image
    losses_B = d.training_loss(
        silent, clean, sigma_B, sigma_data=residual, conditioning=(low, level_B)
    )
    ones = torch.ones(4)
    for found in (seen[0].var((1, 2, 3)), target.var((1, 2, 3)), losses_B):
        torch.testing.assert_close(found, ones, atol=0.05, rtol=0)


def test_karras_sigmas_fall_from_high_to_low_to_zero():
    sigmas = d.karras_sigmas(18)
    assert len(sigmas) == 19
    assert sigmas[0].item() == pytest.approx(80) and sigmas[-2].item() == pytest.approx(0.002)
    assert sigmas[-1] == 0 and (sigmas.diff() < 0).all()


@given(st.integers(1, 200), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_stratified_numbers_fill_every_part_once(count, seed):
    drawn = d.stratified_uniform(count, torch.Generator().manual_seed(seed))
    assert sorted((drawn * count).long().clamp(max=count - 1).tolist()) == list(range(count))


def test_noise_levels_have_the_stated_logarithm():
    sigma = d.sample_sigma((torch.arange(20_000) + 0.5) / 20_000, mean=-1.2, std=1.2)
    assert sigma.log().mean().item() == pytest.approx(-1.2, abs=0.01)
    assert sigma.log().std().item() == pytest.approx(1.2, abs=0.02)


def test_noise_rises_with_resolution_for_a_base_and_not_for_super_resolution():
    base = [d.noise_mean(Size.of(p), conditioned=False) for p in (16, 32, 64)]
    assert base[1] - base[0] == pytest.approx(math.log(2)) and base[2] > base[1]
    later = [d.noise_mean(Size(p, p), conditioned=True) for p in (64, 256)]
    assert later[0] == later[1] < d.noise_mean(Size(64, 64), conditioned=False)


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
    assert torch.allclose(d.guide(a, b, 1.0), a)
    assert torch.allclose(d.guide(a, b, 0.0), b)
    assert torch.allclose(d.guide(a, b, 3.0), b + 3 * (a - b))


@pytest.mark.parametrize(
    ("sigma", "scale"), [(0.1, 1.0), (0.15, 1.0), (0.2, 2.5), (19.0, 2.5), (20.0, 1.0), (80.0, 1.0)]
)
def test_guidance_acts_between_its_noise_levels(sigma, scale):
    assert d.guidance_scale_at(sigma, 2.5, low=0.15, high=20.0) == scale


def test_an_oblong_size_has_the_noise_of_the_square_of_its_area():
    assert d.noise_mean(Size(16, 64), conditioned=False) == pytest.approx(
        d.noise_mean(Size(32, 32), conditioned=False)
    )


def test_drawn_noise_levels_stay_within_the_samplers():
    sigma = d.sample_sigma(torch.tensor([0.0, 0.5, 1.0]), mean=4.0, std=3.0)
    assert sigma.min() >= d.SIGMA_MIN and sigma.max() <= d.SIGMA_MAX
    assert sigma[1].item() == pytest.approx(math.exp(4.0), rel=1e-5)
