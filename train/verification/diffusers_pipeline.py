"""Any text-to-image pipeline of diffusers, read from a folder, with or without a LoRA.

Letters in names: N images, H and W pixels.
"""

import hashlib
import inspect
import json
import pickle
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from logging import CRITICAL
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError

from curate.errors import InputError
from curate.system.files import file_sha256
from curate.system.pretrained import quiet
from curate.system.progress import SILENT, Progress, track
from train.device import compute_dtype, pick_device
from train.sampling.sampler import count_at_once
from train.size import Size
from train.verification.generate import hash_texts

INDEX = "model_index.json"  # names the pipeline's class and its components
ADAPTER = "verified"  # what the LoRA is called within the pipeline
TRIAL = "a picture"  # drawn first, to learn the size
DOWNLOAD = "download the folder again, whole"
INSTALL = "pip install diffusers peft"
LIBRARY_ERRORS = (  # what diffusers, transformers and peft raise on files that do not fit
    *(OSError, ValueError, TypeError, LookupError, AttributeError, ImportError, RuntimeError),
    *(EOFError, ArithmeticError, AssertionError, SafetensorError, pickle.UnpicklingError),
)


@dataclass(frozen=True)
class PipelineSettings:
    """How a pipeline draws; None leaves it to the pipeline."""

    steps: int | None = None  # `num_inference_steps`
    guidance: float | None = None  # `guidance_scale`
    together: int | None = None  # images drawn at a time; None for one on a CPU, and on a card for
    # as many as `train.sampling.sampler.count_at_once` allows


class PipelineSampler:
    """A pipeline of diffusers. Image i depends on prompt i and seed i alone, up to rounding.

    The noise of each image comes from a generator of its own on the CPU, as diffusers recommends
    for images that can be drawn again on another device.
    """

    def __init__(
        self,
        folder: Path,
        lora: Path | None,
        size: Size | None,
        device: str,
        settings: PipelineSettings,
        progress: Progress = SILENT,
    ) -> None:
        """Load it, in bfloat16 on a card that has it, else in float32; its files are counted.

        Raises:
            InputError: it, or the LoRA, cannot be used; a setting that it does not take.
            UsageError: no such device.
        """
        self.folder, self.lora, self.settings = folder, lora, settings
        self.device, self._asked = pick_device(device), size
        self.dtype = compute_dtype(self.device) if self.device.type == "cuda" else torch.float32
        name, parts = _read_index(folder)
        self.pipeline = _load(folder, name, parts, self.dtype)
        self.kind = type(self.pipeline).__name__
        self._options = self._choose_options()
        if lora is not None:
            _apply_lora(self.pipeline, lora, self.kind)
        self._files = _hash_files(folder, parts, progress)
        with _quiet(folder, f"does not fit {self.device}"):
            self.pipeline.to(self.device)
        self.pipeline.set_progress_bar_config(disable=True)

    @cached_property
    def size(self) -> Size:
        """Of the images. One is drawn to see it: no attribute tells it of every pipeline.

        Raises:
            InputError: it draws no image, or not at the size that was asked for.
        """
        (image,) = self._draw([TRIAL], [0])
        found = Size(image.shape[1], image.shape[0])
        if self._asked not in (None, found):
            problem = f"asked for {self._asked} pixels, {self.kind} draws {found}"
            raise InputError(self.folder, problem, fix=f"ask for {found}, or leave the size to it")
        return found

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the model's files, and of the LoRA's."""
        return hash_texts([self._files, file_sha256(self.lora)]) if self.lora else self._files

    def describe(self) -> dict[str, Any]:
        """What draws, and how, for a report."""
        import diffusers

        lora = self.lora and {"name": self.lora.name, "sha256": file_sha256(self.lora)}
        own = "the pipeline's own size" if self._asked is None else "drawn at this size, as asked"
        return {
            "kind": "pipeline",
            "name": self.folder.resolve().name,
            "pipeline": self.kind,
            "model": self._files,
            "lora": lora,
            "settings": asdict(self.settings) | {"size": self._asked and str(self._asked)},
            "dtype": str(self.dtype).removeprefix("torch."),
            "diffusers": diffusers.__version__,
            "safety_checker": getattr(self.pipeline, "safety_checker", None) is not None,
            "size": str(self.size),
            "fit": own,
        }

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """One image a (prompt, seed) pair, uint8 (N, H, W, 3).

        Raises:
            InputError: the pipeline cannot draw one.
        """
        together = self.settings.together
        if together is None:
            together = 1 if self.device.type == "cpu" else count_at_once(self.size)
        made = np.zeros((len(prompts), self.size.height, self.size.width, 3), np.uint8)
        for first in range(0, len(prompts), together):
            part = slice(first, first + together)
            images = self._draw(prompts[part], seeds[part])
            if any(image.shape != made.shape[1:] for image in images):
                problem = f"{self.kind} drew images of several sizes"
                raise InputError(self.folder, problem, fix="ask for a size")
            made[part] = images
        return made

    def notes_on(self, prompts: Sequence[str]) -> list[str]:
        """What of these prompts is not read, as far as the pipeline's tokenizers tell."""
        from transformers import PreTrainedTokenizerBase

        parts = self.pipeline.components.values()
        tokenizers = [part for part in parts if isinstance(part, PreTrainedTokenizerBase)]
        with _quiet(self.folder, "its tokenizer does not read the prompts"):
            cut = [
                prompt
                for prompt in (dict.fromkeys(prompts) if tokenizers else ())
                if all(len(one(prompt).input_ids) > one.model_max_length for one in tokenizers)
            ]
        if not cut:
            return []
        limit = max(one.model_max_length for one in tokenizers)
        many = f"{len(cut)} prompts, such as {cut[0][:40]!r}…, have more than {limit} tokens"
        return [f"{many}; {self.kind} does not read the rest"]

    def _choose_options(self) -> dict[str, Any]:
        """What the pipeline is called with, besides prompts and generators.

        Raises:
            InputError: it draws no images from prompts alone, or does not take a setting.
        """
        takes = inspect.signature(type(self.pipeline).__call__).parameters
        needed = [
            name
            for name, one in takes.items()
            if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
        ]
        if not {"prompt", "generator"} <= takes.keys() or set(needed) - {"self", "prompt"}:
            problem = f"{self.kind} does not draw images from prompts alone"
            raise InputError(self.folder, problem, fix="name a text-to-image pipeline")
        asked = {
            "num_inference_steps": self.settings.steps,
            "guidance_scale": self.settings.guidance,
            "width": self._asked and self._asked.width,
            "height": self._asked and self._asked.height,
        }
        options = {name: value for name, value in asked.items() if value is not None}
        sides = {"width", "height"}
        if refused := sorted(options.keys() - takes.keys() - sides):
            problem = f"{self.kind} takes no {' and no '.join(refused)}"
            raise InputError(self.folder, problem, fix="leave it to the pipeline")
        if not sides <= takes.keys():  # whether it draws at that size is seen when it draws
            options = {name: value for name, value in options.items() if name not in sides}
        return options | ({"output_type": "pil"} if "output_type" in takes else {})

    def _draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[np.ndarray]:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        fix = "name a text-to-image pipeline that diffusers draws with on this device"
        with _quiet(self.folder, f"{self.kind} cannot draw from a prompt alone", fix):
            made = self.pipeline(prompt=list(prompts), generator=generators, **self._options)
        images = getattr(made, "images", None) or []
        if sum(isinstance(image, Image.Image) for image in images) != len(prompts):
            problem = f"{self.kind} did not answer a prompt with an image"
            raise InputError(self.folder, problem, fix="name a text-to-image pipeline")
        return [np.asarray(image.convert("RGB")) for image in images]


def _read_index(folder: Path) -> tuple[object, dict[str, str | None]]:
    """The pipeline's class, and its components by name, each with its library; None if left out.

    Raises:
        InputError: not such a folder, or one that lacks a component's files.
    """
    file = folder / INDEX
    try:
        described = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(file, f"cannot be read ({error})", fix=DOWNLOAD) from None
    if not isinstance(described, dict) or "_class_name" not in described:
        raise InputError(file, "names no pipeline", fix=DOWNLOAD)
    parts = {
        name: value[0]
        for name, value in described.items()
        if isinstance(value, list) and len(value) == 2 and not name.startswith("_")
    }
    if gone := [name for name, source in parts.items() if source and not (folder / name).is_dir()]:
        problem = f"{INDEX} names {', '.join(gone)}, and there is no such folder here"
        raise InputError(folder, problem, fix=DOWNLOAD)
    return described["_class_name"], parts


def _load(folder: Path, name: object, parts: Mapping[str, str | None], dtype: torch.dtype) -> Any:
    try:
        import diffusers
    except ImportError:
        problem = "a diffusers pipeline, and diffusers is not installed"
        raise InputError(folder, problem, fix=INSTALL) from None
    kind: Any = getattr(diffusers, str(name), None)
    optional = getattr(kind, "_optional_components", ())
    if kind and (lacking := [p for p, source in parts.items() if not source and p not in optional]):
        raise InputError(folder, f"{name} lacks its {', '.join(lacking)}", fix=DOWNLOAD)
    with _quiet(
        folder, "diffusers cannot load it", "name a whole pipeline that diffusers itself has"
    ):
        kind = diffusers.DiffusionPipeline  # which finds the class, or refuses it
        options = {"dtype": dtype, "variant": _find_variant(folder), "local_files_only": True}
        return kind.from_pretrained(str(folder), **options)


def _find_variant(folder: Path) -> str | None:
    """`fp16` where a component has its weights in this form alone, as many downloads do."""
    files = folder.glob("*/*.fp16*.safetensors")
    alone = any(not file.with_name(file.name.replace(".fp16", "")).exists() for file in files)
    return "fp16" if alone else None


def _apply_lora(pipeline: Any, file: Path, kind: str) -> None:
    """Load a LoRA, and see that each of its weights is in the model afterwards.

    diffusers warns where some do not fit, and goes on without them.

    Raises:
        InputError: no such file, no LoRA, or one for another model.
    """
    other = "is it made for another model?"
    fix = "name the model that the LoRA was trained on, or another LoRA"
    if not file.is_file():
        raise InputError(file, "no such file", fix="name a LoRA's .safetensors")
    if not hasattr(pipeline, "load_lora_weights"):
        raise InputError(file, f"{kind} takes no LoRA", fix="leave out --lora")
    with _quiet(file, f"cannot be used as a LoRA of this {kind}; {other}", fix):
        state = pipeline.lora_state_dict(str(file))
        state = state[0] if isinstance(state, tuple) else state
        pipeline.load_lora_weights(str(file), adapter_name=ADAPTER)
    held = {
        _fingerprint(weight)
        for part in pipeline.components.values()
        if isinstance(part, torch.nn.Module)
        for name, weight in part.named_parameters()
        if ADAPTER in name.split(".")
    }
    wanted = {name: weight for name, weight in state.items() if weight.numel() > 1}
    lost = sorted(name for name, weight in wanted.items() if _fingerprint(weight) not in held)
    if lost or not wanted:
        which = f", such as {lost[0]}" if lost else ""
        problem = f"{len(lost)} of its {len(wanted)} weights fit nothing in {kind}{which}; {other}"
        raise InputError(file, problem, fix=fix)


def _fingerprint(weight: torch.Tensor) -> str:
    """Of its values in bfloat16, whatever they are kept in, and in whatever shape."""
    values = weight.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16)
    return hashlib.sha256(values.numpy().tobytes()).hexdigest()


@contextmanager
def _quiet(subject: Path, problem: str, fix: str = DOWNLOAD) -> Iterator[None]:
    """The libraries' errors become sentences; they warn of nothing and draw no bars."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    try:
        with (
            quiet(of_diffusers, of_transformers, level=CRITICAL),
            warnings.catch_warnings(action="ignore"),
        ):
            yield
    except LIBRARY_ERRORS as error:
        raise InputError(subject, f"{problem} ({_shorten(error)})", fix=fix) from None


def _shorten(error: BaseException) -> str:
    """Which weight has which shape, where that is the matter; else how the error begins."""
    shapes = r"size mismatch for (\S+): .*?\[([\d, ]*)\].*?\[([\d, ]*)\]"
    if found := re.search(shapes, str(error), re.DOTALL):
        name, given, wanted = found.groups()
        return f"{name} is [{given}] where the model has [{wanted}]"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}…"


def _hash_files(folder: Path, parts: Iterable[str], progress: Progress) -> str:
    """SHA-256 of the names and bytes of the index and of the components' files."""
    files = [folder / INDEX, *(f for name in parts for f in (folder / name).rglob("*"))]
    kept = sorted(f for f in files if f.is_file() and not f.name.startswith("."))
    seen = track(kept, len(kept), "files of the pipeline read", progress)
    return hash_texts(f"{f.relative_to(folder).as_posix()} {file_sha256(f)}" for f in seen)
