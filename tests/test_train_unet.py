from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests import tiny_encoder
from train.model.kernels import attend, convolve, pixel_shuffle, pixel_unshuffle
from train.model.unet import UNet, UNetConfig
from train.text_encoder.embeddings import TextScale

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
    assert CONFIG.side_multiple == 4
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


@pytest.mark.parametrize("text_alone", [False, True])
def test_without_self_attention_a_place_does_not_depend_on_how_much_else_is_shown(text_alone):
    network = awake(replace(CONFIG, self_attention=not text_alone))
    _, levels, text, mask = inputs(CONFIG, batch=1)
    whole = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    cut = (..., slice(16, 96), slice(16, 96))
    inner = (..., slice(32, -32), slice(32, -32))  # convolutions reach this far
    with torch.inference_mode():
        of_whole = network(whole, levels, text, mask)[cut][inner]
        of_crop = network(whole[cut], levels, text, mask)[inner]
    assert torch.allclose(of_whole, of_crop, atol=1e-5) == text_alone


def test_without_self_attention_padding_and_absence_work_as_well():
    config = replace(CONFIG, self_attention=False)
    network, (x, levels, text, mask) = awake(config), inputs(config)
    mask[:, 3:] = 0
    with torch.inference_mode():
        out = network(x, levels, text, mask)
        assert torch.allclose(network(x, levels, text[:, :3], mask[:, :3]), out, atol=1e-5)
        none = network(x, levels, text, mask * 0)
        assert not torch.allclose(none, out, atol=1e-3) and none.isfinite().all()


@pytest.mark.parametrize("number", [0, 1, 3])
def test_any_number_of_blocks_in_the_middle(number):
    config = replace(CONFIG, mid_blocks=number)
    network, given = awake(config), inputs(config)
    assert network(*given).shape == (2, 3, 16, 16) and len(network.mid) == number


def gradients(network: UNet, given, *, autocast: bool = False) -> list[torch.Tensor]:
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = network(*given)
    out.float().square().mean().backward()
    return [p.grad for p in network.parameters() if p.grad is not None]


@pytest.mark.parametrize("autocast", [False, True])
def test_computing_again_instead_of_keeping_gives_the_same_gradients(autocast):
    kept, given = awake(CONFIG), inputs(CONFIG)
    again = UNet(replace(CONFIG, gradient_checkpointing=True))
    again.load_state_dict(kept.state_dict())
    found = [gradients(network, given, autocast=autocast) for network in (kept, again)]
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_memory_layout_changes_nothing():
    plain, given = awake(CONFIG), inputs(CONFIG)
    last = awake(CONFIG).to(memory_format=torch.channels_last)
    x, *rest = given
    for a, b in zip(
        gradients(plain, given),
        gradients(last, (x.contiguous(memory_format=torch.channels_last), *rest)),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-5)


def test_gradients_in_bf16_point_where_those_in_fp32_do():
    network, given = awake(CONFIG), inputs(CONFIG)
    exact = torch.cat([g.flatten() for g in gradients(network, given)])
    rough = torch.cat([g.flatten() for g in gradients(network, given, autocast=True)])
    assert F.cosine_similarity(exact, rough, dim=0) > 0.999


@pytest.mark.parametrize("side", [4, 8, 15, 16])
def test_narrow_convolutions_have_the_gradients_of_convolutions(side):
    conv = torch.nn.Conv2d(6, 10, 3, padding=1).double()
    x = torch.randn(3, 5, side, 6, dtype=torch.double, requires_grad=True)
    wanted = F.conv2d(x.permute(0, 3, 1, 2), conv.weight, conv.bias, padding=1).permute(0, 2, 3, 1)
    out, towards = convolve(x, conv), torch.randn(3, 5, side, 10, dtype=torch.double)
    assert torch.equal(out, wanted)
    given = (x, conv.weight, conv.bias)
    for a, b in zip(
        torch.autograd.grad(out, given, towards),
        torch.autograd.grad(wanted, given, towards),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-12)


def test_frozen_weights_get_no_gradient_and_pass_it_on():
    conv = torch.nn.Conv2d(6, 6, 3, padding=1).requires_grad_(False)
    x = torch.randn(2, 8, 8, 6, requires_grad=True)
    convolve(x, conv).sum().backward()
    assert x.grad is not None and x.grad.any() and conv.weight.grad is None


def test_attention_for_training_and_for_drawing_agree():
    q, k, v = torch.randn(3, 2, 4, 9, 8, dtype=torch.double).unbind()
    bias = torch.zeros(2, 1, 1, 9, dtype=torch.double)
    bias[0, ..., 6:] = -torch.inf
    drawn = attend(q, k, v, bias)
    trained = attend(q.requires_grad_(), k, v, bias)
    assert torch.allclose(drawn, trained, atol=1e-12)


def test_shuffling_undoes_unshuffling_and_agrees_with_pytorch():
    x = torch.randn(2, 6, 8, 3)
    assert torch.equal(pixel_shuffle(pixel_unshuffle(x, 2), 2), x)
    theirs = F.pixel_unshuffle(x.permute(0, 3, 1, 2), 2)  # channels before places in the square
    ours = pixel_unshuffle(x, 2).permute(0, 3, 1, 2)
    assert torch.equal(ours.unflatten(1, (4, 3)).transpose(1, 2).flatten(1, 2), theirs)


def test_text_is_standardised_with_measured_numbers():
    states = torch.randn(40, 6, 8) * 3 + 5
    lengths = torch.randint(1, 7, (40,))
    real = (torch.arange(6) < lengths[:, None])[..., None]
    text = tiny_encoder.of_padded((states * real).half(), lengths)
    network = UNet(CONFIG)
    network.load_state_dict(TextScale.measure(text).buffers(), strict=False)
    tokens, pooled = network._text(*text.take(torch.arange(40)))
    real = tokens[torch.arange(6) < lengths[:, None]]
    assert real.mean().abs() < 0.05 and real.std().item() == pytest.approx(1, abs=0.05)
    assert pooled.mean().abs() < 0.05 and pooled.std().item() == pytest.approx(1, abs=0.1)


def test_one_caption_gives_finite_scale():
    text = tiny_encoder.of_padded(torch.ones(1, 3, 8).half(), torch.tensor([3]))
    assert all(
        torch.isfinite(v).all() and (k.endswith("mean") or (v > 0).all())
        for k, v in TextScale.measure(text).buffers().items()
    )
