"""Images and texts as vectors of an open_clip model: the one place that knows open_clip.

Needs the extra `fubuki[clip]`. Letters in names: N images, T texts, D width of a vector.
"""

import hashlib
import json
import pickle
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curate.corpora.pixels import CaptionedImage, read_pixels
from curate.errors import InputError, UsageError
from curate.system.files import file_sha256, remove_leftovers
from curate.system.progress import SILENT, Progress, track
from curate.vision.kept_vectors import load_vectors, save_vectors

if TYPE_CHECKING:
    from PIL.Image import Image

Vectors = NDArray[np.float32]

BATCH_SIZE = 64  # images or texts shown to the model at a time
IMAGES_A_FILE = 1024  # images a file of the cache holds
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


class ClipEmbedder:
    """An open_clip model that is shown images by where they lie."""

    def __init__(
        self, model: OpenClip, *, cache: Path | None = None, progress: Progress = SILENT
    ) -> None:
        """Embed with this model.

        Args:
            model: the model.
            cache: folder in which vectors of images are kept; None for nowhere.
            progress: counts images.
        """
        self._model, self._progress = model, progress
        self.scale, self.encode_texts = model.scale, model.encode_texts
        self._folder = cache / f"clip-{model.digest}" if cache else None
        if self._folder:
            remove_leftovers(self._folder)

    def encode_images(self, images: Sequence[CaptionedImage]) -> Vectors:
        """Float (N, D), each of length 1; a row of zeros where an image cannot be read.

        Vectors are rounded to 16 bits before they are used, so that kept ones and new ones agree.
        """
        folder, width = self._folder, self._model.width
        known = dict(load_vectors(folder, np.float16, width)) if folder else {}
        missing = [image for image in images if image.sha256 not in known]
        shown = track(self._embed(missing), len(missing), "images searched", self._progress)
        read = ((image.sha256, vector) for image, vector in shown if vector is not None)
        while fresh := dict(islice(read, IMAGES_A_FILE)):
            if folder:
                save_vectors(folder, fresh)
            known |= fresh
        nothing = np.zeros(width, dtype=np.float16)
        rows = [known.get(image.sha256, nothing) for image in images]
        return np.array(rows, dtype=np.float32).reshape(len(rows), width)

    def _embed(
        self, images: Sequence[CaptionedImage]
    ) -> Iterator[tuple[CaptionedImage, NDArray[np.float16] | None]]:
        """Each image with its vector, in order; None where it cannot be read."""
        from PIL import Image

        shown = zip(images, read_pixels(images, self._model.side), strict=True)
        while some := list(islice(shown, BATCH_SIZE)):
            pixels = [one for _, one in some if not isinstance(one, str)]
            read = [Image.frombytes("RGB", one[:2], one[2]) for one in pixels]
            vectors = iter(self._model.encode_images(read).astype(np.float16))
            for image, one in some:
                yield image, None if isinstance(one, str) else next(vectors)
