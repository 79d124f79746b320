"""Images and texts as vectors of an open_clip model: the one place that knows open_clip.

Needs the extra `fubuki[clip]`. Letters in names: N images, T texts, D width of a vector.
"""

import hashlib
import json
import pickle
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curate.errors import InputError, UsageError
from curate.system.files import file_sha256

if TYPE_CHECKING:
    from PIL.Image import Image

Vectors = NDArray[np.float32]

BATCH_SIZE = 64  # images or texts shown to the model at a time
CACHE_RULES = 1  # part of the digest: raise it when images are prepared differently
_TORCH_ERRORS = (  # what torch raises on files that are no weights
    *(OSError, RuntimeError, ValueError, LookupError, EOFError),
    *(AttributeError, TypeError, pickle.UnpicklingError),
)


class OpenClip:
    """A contrastive image-text model: both as vectors of length 1, the likelier the nearer."""

    def __init__(
        self, spec: str, *, usage: str, device: str = "cpu", download: bool = False
    ) -> None:
        """Load the model.

        Args:
            spec: MODEL:WEIGHTS, an architecture as open_clip names it and a file of its weights.
            usage: the option that takes `spec`, and what to type after it.
            device: torch device.
            download: whether WEIGHTS may be a tag of open_clip, which it looks for on the web.

        Raises:
            UsageError: open_clip is missing, knows no such architecture, or no weights are named.
            InputError: the weights cannot be had or read.
        """
        self.model, _, self.weights = spec.partition(":")
        if not self.model or not self.weights:
            raise UsageError(spec, "names no model with its weights", fix=usage)
        self._network, self._prepare, self._tokenize, self._config = _load(
            self.model, self.weights, usage, device, download=download
        )
        self._device = device
        self._texts: dict[str, Vectors] = {}  # by text, as far as they were asked for
        self.width = int(self._config["embed_dim"])
        self.scale = float(self._network.logit_scale.detach().exp())  # turns a cosine into a logit
        size = self._network.visual.image_size
        self.side = int(size if isinstance(size, int) else max(size))  # pixels it looks at

    @cached_property
    def digest(self) -> str:
        """Hexadecimal: another model, other weights or another open_clip have another."""
        own = self.weights
        if Path(own).is_file():
            own = file_sha256(Path(own))
        config = json.dumps(self._config, sort_keys=True, default=str)
        facts = f"{CACHE_RULES} {version('open_clip_torch')} {self.model} {config} {own}"
        return hashlib.sha256(facts.encode()).hexdigest()[:20]

    def encode_texts(self, said: Sequence[Sequence[str]]) -> Vectors:
        """Float (len(said), D), each of length 1: the mean of several ways of saying the same.

        Source: Radford et al., arXiv:2103.00020, section 3.1.4 (ensembling in embedding space).
        """
        import torch

        texts = dict.fromkeys(text for ways in said for text in ways)
        new = [text for text in texts if text not in self._texts]
        with torch.inference_mode():
            for start in range(0, len(new), BATCH_SIZE):
                some = new[start : start + BATCH_SIZE]
                tokens = self._tokenize(some).to(self._device)
                vectors_TD = self._network.encode_text(tokens, normalize=True)
                self._texts |= zip(some, vectors_TD.float().cpu().numpy(), strict=True)
        mean = np.stack([np.mean([self._texts[t] for t in ways], axis=0) for ways in said])
        unit: Vectors = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return unit

    def encode_images(self, images: "Sequence[Image]") -> Vectors:
        """Float (N, D), each of length 1."""
        import torch

        parts = [np.zeros((0, self.width), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(images), BATCH_SIZE):
                some = [self._prepare(image) for image in images[start : start + BATCH_SIZE]]
                pixels = torch.stack(some).to(self._device)
                vectors_ND = self._network.encode_image(pixels, normalize=True)
                parts.append(vectors_ND.float().cpu().numpy())
        return np.concatenate(parts)


def _load(
    model: str, weights: str, usage: str, device: str, *, download: bool
) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Network, preparation of images, tokenizer and configuration."""
    try:
        import open_clip
    except ImportError:
        fix = "pip install open_clip_torch"
        raise UsageError(usage.split()[0], "open_clip is not installed", fix=fix) from None
    if model not in open_clip.list_models():
        raise UsageError(usage.split()[0], f"no architecture {model!r}", fix=usage)
    tags = open_clip.list_pretrained_tags_by_model(model) if download else ()
    if weights not in tags and not Path(weights).is_file():
        problem = f"no such file of weights{', nor a tag' if download else ''}"
        fix = f"{'' if download else 'nothing is downloaded; '}name a file: {usage}"
        raise InputError(weights, problem, fix=fix)
    try:
        network, _, prepare = open_clip.create_model_and_transforms(
            model, pretrained=weights, device=device
        )
    except _TORCH_ERRORS as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        if isinstance(error, pickle.UnpicklingError):
            said = "not a file of tensors"  # torch advises to run whatever code is in it
        fix = f"name a file of weights of {model}: {usage}"
        raise InputError(weights, f"weights cannot be loaded ({said})", fix=fix) from None
    config = dict(open_clip.get_model_config(model))
    return network.eval(), prepare, open_clip.get_tokenizer(model), config
