import pytest
import torch

from train.text import EncodedText, TextScale
from train.unet import UNet, UNetConfig

CONFIG = UNetConfig(widths=(32, 64), blocks=(1, 1), mid_blocks=1, text_width=8, heads=2)


def inputs(config: UNetConfig, batch: int = 2, side: int = 16):
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(batch, config.in_channels, side, side, generator=generator),
        torch.randn(batch, config.noise_levels, generator=generator),
        torch.randn(batch, 5, config.text_width, generator=generator),
        torch.ones(batch, 5),
    )


def awake(config: UNetConfig) -> UNet:
    """A network whose zero-initialised layers say something."""
    torch.manual_seed(0)
    network = UNet(config)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return network.eval()


def test_a_new_network_is_silent_and_keeps_the_shape():
    out = UNet(CONFIG)(*inputs(CONFIG))
    assert out.shape == (2, 3, 16, 16) and not out.any()


@pytest.mark.parametrize("side", [(8, 8), (16, 24), (32, 8)])
def test_any_multiple_works_as_a_side(side):
    assert CONFIG.multiple == 4
    _, *rest = inputs(CONFIG)
    assert awake(CONFIG)(torch.randn(2, 3, *side), *rest).shape == (2, 3, *side)


def test_padding_changes_nothing():
    network, (x, levels, text, mask) = awake(CONFIG), inputs(CONFIG)
    mask[:, 3:] = 0
    with torch.inference_mode():
        out = network(x, levels, text, mask)
        text[:, 3:] = 99.0
        assert torch.allclose(network(x, levels, text, mask), out, atol=1e-5)
        assert torch.allclose(network(x, levels, text[:, :3], mask[:, :3]), out, atol=1e-5)


def test_words_and_their_absence_change_the_picture():
    network, (x, levels, text, mask) = awake(CONFIG), inputs(CONFIG)
    with torch.inference_mode():
        out, other = network(x, levels, text, mask), network(x, levels, text.roll(1, -1), mask)
        none = network(x, levels, text, mask * 0)
        assert not torch.allclose(out, other, atol=1e-3)
        assert not torch.allclose(out, none, atol=1e-3)
        assert torch.allclose(
            none, network(x, levels, text * 7, mask * 0)
        )  # no caption: text unseen


def test_every_parameter_learns():
    network, given = awake(CONFIG), inputs(CONFIG)
    given[3][0] = 0  # one image without caption, so that the null text learns too
    network(*given).square().mean().backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_bf16_autocast_stays_close_to_fp32():
    network, given = awake(CONFIG), inputs(CONFIG)
    with torch.inference_mode():
        exact = network(*given)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(*given)
    assert (rough.float() - exact).abs().max() < 0.03 * exact.abs().max().clamp(min=1)


def test_configuration_survives_json():
    assert UNetConfig.from_json(CONFIG.to_json()) == CONFIG
    assert sum(p.numel() for p in UNet(CONFIG).parameters()) > 100_000


def test_text_is_standardised_with_measured_numbers():
    states = torch.randn(40, 6, 8) * 3 + 5
    lengths = torch.randint(1, 7, (40,))
    text = EncodedText.of((states * (torch.arange(6) < lengths[:, None])[..., None]).half(), lengths)
    network = UNet(CONFIG)
    network.load_state_dict(TextScale.measure(text).buffers(), strict=False)
    tokens, pooled = network._text(*text.take(torch.arange(40)))
    real = tokens[torch.arange(6) < lengths[:, None]]
    assert real.mean().abs() < 0.05 and real.std().item() == pytest.approx(1, abs=0.05)
    assert pooled.mean().abs() < 0.05 and pooled.std().item() == pytest.approx(1, abs=0.1)


def test_one_caption_gives_finite_scale():
    text = EncodedText.of(torch.ones(1, 3, 8).half(), torch.tensor([3]))
    assert all(
        torch.isfinite(v).all() and (k.endswith("mean") or (v > 0).all())
        for k, v in TextScale.measure(text).buffers().items()
    )
