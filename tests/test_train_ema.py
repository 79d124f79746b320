import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.model import ema
from train.model.unet import UNet, UNetConfig

TINY = UNetConfig(patch=1, widths=(16, 16), blocks=(1, 1), mid_blocks=1, text_width=8, heads=2)


def test_the_exponents_are_those_of_the_paper():
    assert ema.gamma(0.10) == pytest.approx(6.94, abs=0.005)
    assert ema.gamma(0.05) == pytest.approx(16.97, abs=0.005)
    assert ema.gamma(ema.LARGEST_SIGMA_REL) == pytest.approx(0, abs=1e-6)
    for wrong in (0.0, 0.3, -0.1):
        with pytest.raises(ValueError, match="is not in"):
            ema.gamma(wrong)


@given(st.floats(0.005, 0.28))
def test_the_exponent_undoes_the_width_and_solves_the_cubic(sigma_rel):
    g, s = ema.gamma(sigma_rel), sigma_rel**-2
    assert ema.relative_width(g) == pytest.approx(sigma_rel, rel=1e-9)
    assert (g**3 + 7 * g**2 + (16 - s) * g + 12 - s) / s == pytest.approx(0, abs=1e-6)


def steps(sizes: list[int]) -> list[tuple[int, int]]:
    """(images seen, images of the step) of a run with these batches."""
    return list(zip(np.cumsum(sizes).tolist(), sizes, strict=True))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.floats(0.02, 0.28))
def test_each_step_weighs_as_the_power_function_over_its_images(sizes, sigma_rel):
    g, weights = ema.gamma(sigma_rel), np.zeros(len(sizes))
    for n, (seen, count) in enumerate(steps(sizes)):
        weights *= ema.decay_at(seen, count, g)
        weights[n] += 1 - ema.decay_at(seen, count, g)
    edges = np.concatenate([[0], np.cumsum(sizes)]) / sum(sizes)
    assert weights == pytest.approx(np.diff(edges ** (g + 1)), abs=1e-12)


@pytest.mark.parametrize("sigma_rel", [0.05, 0.10, 0.2])
def test_the_spread_of_the_weights_is_the_stated_share_of_the_run(sigma_rel):
    exponent = ema.gamma(sigma_rel) + 1
    weights = np.diff((np.arange(2001) / 2000) ** exponent)
    ages = np.arange(2000) / 2000
    mean = (weights * ages).sum()
    assert np.sqrt((weights * (ages - mean) ** 2).sum()) == pytest.approx(sigma_rel, rel=1e-3)


def test_the_average_of_a_network_is_the_closed_form():
    network = UNet(TINY).to(memory_format=torch.channels_last)
    tracks = [ema.start_ema(network, sigma_rel) for sigma_rel in (0.05, 0.10)]
    taken, sizes = [], [4, 4, 4, 2]
    generator = torch.Generator().manual_seed(0)
    for seen, count in steps(sizes):
        with torch.no_grad():
            for p in network.parameters():
                p.add_(torch.randn(p.shape, generator=generator))
        taken.append(network.stem.weight.clone())
        for track in tracks:
            track.update(network, seen, count)
    edges = np.concatenate([[0], np.cumsum(sizes)]) / sum(sizes)
    for track in tracks:
        weights = np.diff(edges ** (ema.gamma(track.sigma_rel) + 1))
        expected = sum(w * t for w, t in zip(weights, taken, strict=True))
        assert torch.allclose(track.network.stem.weight, expected, atol=1e-5)
        assert not any(p.requires_grad for p in track.network.parameters())


def test_an_average_starts_as_the_network_in_the_same_layout():
    network = UNet(TINY).to(memory_format=torch.channels_last)
    twin = ema.start_ema(network, 0.1).network
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b) and a.stride() == b.stride() and a.data_ptr() != b.data_ptr()
