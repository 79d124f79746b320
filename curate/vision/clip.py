"""Pictures and texts as vectors of an open_clip model; computed once and kept.

Needs the extra `fubuki[clip]` and a file of weights; nothing is downloaded.
"""

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.corpora.pixels import Picture, pixels
from curate.errors import InputError, UsageError
from curate.system.files import remove_leftovers, write_bytes
from curate.system.progress import SILENT, Progress, track
from curate.vision.search import Search, batches

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OPTION = "--images"
BATCH = 64  # pictures shown to the model at a time
KEPT = 1024  # pictures a file of the cache holds
RULES = 1  # part of the cache's name: raise it when pictures are prepared differently
_BROKEN = (
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
    EOFError,
    AttributeError,
    TypeError,
    pickle.UnpicklingError,
)  # what torch raises on files that are no weights
_FIX = "--images ARCHITECTURE:FILE, such as --images ViT-B-32:weights/vit_b_32.safetensors"


def search(spec: str, *, cache: Path | None = None, progress: Progress = SILENT) -> Search:
    """The search that `--images MODEL:WEIGHTS` names.

    Args:
        spec: an architecture as open_clip names it, and a file of its weights.
        cache: folder in which vectors of pictures are kept; None for nowhere.
        progress: counts images.

    Raises:
        UsageError: open_clip is missing, or knows no such architecture.
        InputError: the weights cannot be read.
    """
    model, _, weights = spec.partition(":")
    if not model or not weights:
        raise UsageError(f"{OPTION} {spec}", "names no model with its weights", fix=_FIX)
    return Search(OpenClip(model, Path(weights), cache=cache, progress=progress))


class OpenClip:
    """A contrastive image-text model of open_clip."""

    def __init__(
        self, model: str, weights: Path, *, cache: Path | None = None, progress: Progress = SILENT
    ) -> None:
        """Load the model.

        Args:
            model: architecture, as open_clip names it.
            weights: file of its weights.
            cache: folder in which vectors of pictures are kept; None for nowhere.
            progress: counts images.

        Raises:
            UsageError: open_clip is missing, or knows no such architecture.
            InputError: the weights cannot be read.
        """
        self._model, self._prepare, self._tokenize, config = _loaded(model, weights)
        name = _name(model, weights, config)
        self._width = int(config["embed_dim"])
        self.scale = float(self._model.logit_scale.detach().exp())
        self._folder = cache / f"clip-{name}" if cache else None
        if self._folder:
            remove_leftovers(self._folder)
        self._progress = progress
        size = self._model.visual.image_size
        self._side = int(size if isinstance(size, int) else max(size))

    def texts(self, said: Sequence[Sequence[str]]) -> "NDArray[np.float32]":
        """Float (len(said), D), each of length 1: the mean of several ways of saying the same."""
        import numpy as np
        import torch

        flat = list(dict.fromkeys(text for ways in said for text in ways))
        rows = {text: row for row, text in enumerate(flat)}
        parts = []
        with torch.inference_mode():
            for start in range(0, len(flat), BATCH):
                tokens = self._tokenize(flat[start : start + BATCH])
                parts.append(self._model.encode_text(tokens, normalize=True).float().numpy())
        all_TD = np.concatenate(parts)
        mean = np.stack([all_TD[[rows[text] for text in ways]].mean(0) for ways in said])
        unit: NDArray[np.float32] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return unit

    def images(self, pictures: Sequence[Picture]) -> "NDArray[np.float32]":
        """Float (N, D), each of length 1; a row of zeros where a picture cannot be read.

        Vectors are rounded to 16 bits before they are used, so that kept ones and new ones agree.
        """
        import numpy as np

        known = dict(self._kept())
        todo = [p for p in pictures if p.sha256 not in known]
        shown = track(self._embedded(todo), len(todo), "images searched", self._progress)
        fresh: dict[str, NDArray[np.float16]] = {}
        for picture, vector in shown:
            if vector is None:
                continue
            fresh[picture.sha256] = vector
            if len(fresh) == KEPT:
                self._keep(fresh)
                known |= fresh
                fresh = {}
        self._keep(fresh)
        known |= fresh
        nothing = np.zeros(self._width, dtype=np.float16)
        rows = [known.get(picture.sha256, nothing) for picture in pictures]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self._width)

    def _embedded(
        self, pictures: Sequence[Picture]
    ) -> "Iterator[tuple[Picture, NDArray[np.float16] | None]]":
        """Each picture with its vector, in order; None where it cannot be read."""
        import numpy as np
        import torch
        from PIL import Image

        answers = pixels(pictures, self._side)
        for some in batches(pictures, BATCH):
            shown = [next(answers) for _ in some]
            images = [
                self._prepare(Image.frombytes("RGB", one[:2], one[2]))
                for one in shown
                if not isinstance(one, str)
            ]
            if images:
                with torch.inference_mode():
                    seen = self._model.encode_image(torch.stack(images), normalize=True)
                vectors = iter(seen.float().numpy().astype(np.float16))
            for picture, one in zip(some, shown, strict=True):
                yield picture, None if isinstance(one, str) else next(vectors)

    def _kept(self) -> "Iterator[tuple[str, NDArray[np.float16]]]":
        """Vectors of earlier runs, by the pictures' SHA-256; damaged files are passed over."""
        import numpy as np

        for file in sorted(self._folder.glob("*.npz")) if self._folder else ():
            try:
                with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as kept:
                    hashes, vectors = kept["sha256"].tolist(), kept["vectors"]
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                continue
            shape = (len(hashes), self._width)
            good = vectors.dtype == np.float16 and vectors.shape == shape
            yield from zip(hashes, vectors, strict=True) if good else ()

    def _keep(self, fresh: "dict[str, NDArray[np.float16]]") -> None:
        """Write a file of vectors, whole or not at all; where nothing can be written, go on."""
        import numpy as np

        if not fresh or not self._folder:
            return
        name = hashlib.sha256("".join(fresh).encode()).hexdigest()[:16]
        data = io.BytesIO()
        np.savez(data, sha256=np.array(list(fresh)), vectors=np.stack(list(fresh.values())))
        try:
            write_bytes(self._folder / f"{name}.npz", data.getvalue())
        except InputError:
            return


def _loaded(model: str, weights: Path) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Network, preparation of pictures, tokenizer and configuration."""
    try:
        import open_clip
    except ImportError:
        fix = "pip install open_clip_torch"
        raise UsageError(OPTION, "open_clip is not installed", fix=fix) from None
    if model not in open_clip.list_models():
        raise UsageError(OPTION, f"no architecture {model!r}", fix=_FIX)
    if not weights.is_file():
        problem = "no such file of weights"
        raise InputError(weights, problem, fix=f"nothing is downloaded; name a file: {_FIX}")
    try:
        network, _, prepare = open_clip.create_model_and_transforms(model, pretrained=str(weights))
    except _BROKEN as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        if isinstance(error, pickle.UnpicklingError):
            said = "not a file of tensors"  # torch advises to run whatever code is in it
        fix = f"name a file of weights of {model}"
        raise InputError(weights, f"weights cannot be loaded ({said})", fix=fix) from None
    config = dict(open_clip.get_model_config(model))
    return network.eval(), prepare, open_clip.get_tokenizer(model), config


def _name(model: str, weights: Path, config: dict[str, Any]) -> str:
    """Hexadecimal: another model, other weights or another open_clip have another name."""
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    text = json.dumps(config, sort_keys=True, default=str)
    facts = f"{RULES} {version('open_clip_torch')} {model} {text} {digest}"
    return hashlib.sha256(facts.encode()).hexdigest()[:20]
