"""Text as a frozen encoder sees it: run once, kept beside the shards, never resident in training.

Letters in names: N captions, T tokens of all captions in a row, B batch, L tokens of a caption,
D width of the encoder.
"""

import gc
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curate.system.progress import SILENT, Progress
from train import streamed
from train.streamed import Streamed
from train.text_encoder import encoders
from train.text_encoder.encoders import DEFAULT_ENCODER as DEFAULT_ENCODER
from train.text_encoder.states import EncodedText as EncodedText

MAX_TOKENS = 64  # longer captions are cut; training says how many
ENCODED_AT_ONCE = 64  # captions encoded at a time
FILE_VERSION = 4  # of the files of encoded text
HASH_BYTES = 16  # bytes of a caption's hash that stand for it there
HALF_MAX = 65504.0  # of float16
MEASURED_AT_ONCE = 256  # captions looked at a time
ENCODING = "encoding captions"


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
        token, pooled = _Moments(text.width), _Moments(text.width)
        for start in range(0, len(text), MEASURED_AT_ONCE):
            rows = torch.arange(start, min(start + MEASURED_AT_ONCE, len(text)))
            states, mask = text.take(rows)
            token.add(states[mask.bool()])
            pooled.add(states.sum(1) / mask.sum(1, keepdim=True).clamp(min=1))
        std, pooled_std = token.std(), pooled.std()
        std = std.clamp(min=max(0.01 * std.mean().item(), 1e-4))
        floor = max(0.05 * pooled_std.mean().item(), 0.05 * std.mean().item())
        return TextScale(token.mean(), std, pooled.mean(), pooled_std.clamp(min=floor))

    def buffers(self) -> dict[str, Tensor]:
        """By the names of a U-Net's buffers."""
        return {name.removesuffix("_D"): value for name, value in vars(self).items()}


class _Moments:
    """Mean and standard deviation of rows that come in parts.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances" (1979), equation 2.1b.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self._mean = torch.zeros(width, dtype=torch.float64)
        self._squares = torch.zeros(width, dtype=torch.float64)

    def add(self, rows_ND: Tensor) -> None:
        if not len(rows_ND):
            return
        rows, count = rows_ND.double(), len(rows_ND)
        mean, before = rows.mean(0), self.count
        self.count += count
        away = mean - self._mean
        self._mean = self._mean + away * (count / self.count)
        within = ((rows - mean) ** 2).sum(0)
        self._squares = self._squares + within + away**2 * (before * count / self.count)

    def mean(self) -> Tensor:
        return self._mean.float()

    def std(self) -> Tensor:
        return (self._squares / max(1, self.count)).sqrt().float()


class TextEncoder:
    """A frozen text encoder of `transformers`: T5 and BERT families, the text part of CLIP and
    its kin, encoders of encoder-decoder models, decoder-only models.

    It runs in bfloat16 on a card that has it, on a CPU in the precision it is stored in.

    Args:
        name: a folder, a model hub's name, or `all-MiniLM-L6-v2` for the packaged model.
        device: where to run it.

    Raises:
        InputError: the model cannot be loaded, or is not an encoder of text.
    """

    def __init__(self, name: str = DEFAULT_ENCODER, *, device: torch.device | str = "cpu") -> None:
        """Load tokenizer and weights; only the encoder of an encoder-decoder model."""
        self.name, self.device = name, torch.device(device)
        self.model, self.tokenizer, self.digest = encoders.load_encoder(name, self.device)
        places = getattr(self.model.config, "max_position_embeddings", None) or MAX_TOKENS
        self.limit = min(MAX_TOKENS, int(places))  # tokens of a caption that are read

    @property
    def width(self) -> int:
        """D."""
        return encoders.width(self.model)

    def encode(self, captions: Sequence[str], progress: Progress = SILENT) -> EncodedText:
        """Token states of each caption; the empty caption has none."""
        tokens = self.tokenize(captions)
        order = _order_by_length(tokens)
        states = torch.cat(
            [*self.encode_tokens(tokens, order, progress), torch.zeros(0, self.width).half()]
        )
        lengths = torch.tensor([len(tokens[n]) for n in order], dtype=torch.long)
        places = torch.tensor(order, dtype=torch.long).argsort().tolist()
        return EncodedText.from_rows(states, lengths, self.digest).select(places)

    def tokenize(self, captions: Sequence[str], *, more: int = 0) -> list[list[int]]:
        """Token numbers of each caption, cut `more` after the encoder's limit; none for a blank
        caption."""
        known = [n for n, caption in enumerate(captions) if caption.strip()]
        found: list[list[int]] = [[] for _ in captions]
        if known:
            options: dict[str, Any] = {"truncation": True, "max_length": self.limit + more}
            read = self.tokenizer([captions[n] for n in known], padding=False, **options)
            for n, ids in zip(known, read["input_ids"], strict=True):
                found[n] = list(ids)
        return found

    def encode_tokens(
        self, tokens: Sequence[Sequence[int]], order: Sequence[int], progress: Progress
    ) -> Iterator[Tensor]:
        """Token states in parts, one caption after the other in the given order: (T, D), float16.

        Ids are padded here, on the right, with a mask: an encoder needs no padding token.
        """
        progress.count(ENCODING, 0, len(order))
        for start in range(0, len(order), ENCODED_AT_ONCE):
            part = [tokens[n] for n in order[start : start + ENCODED_AT_ONCE] if tokens[n]]
            if part:
                yield self._run_model(part)
            progress.count(ENCODING, min(start + ENCODED_AT_ONCE, len(order)), len(order))

    @torch.inference_mode()
    def _run_model(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        lengths = torch.tensor([len(ids) for ids in tokens])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        ids = torch.full(mask.shape, self.tokenizer.pad_token_id or 0)
        ids[mask] = torch.tensor([one for row in tokens for one in row])
        out = self.model(input_ids=ids.to(self.device), attention_mask=mask.long().to(self.device))
        states = out.last_hidden_state[mask.to(self.device)].float().clamp(-HALF_MAX, HALF_MAX)
        half: Tensor = states.half().cpu()
        return half

    def exceeds_limit(self, captions: Sequence[str]) -> list[bool]:
        """Which captions are longer than the encoder is given."""
        return [len(row) > self.limit for row in self.tokenize(captions, more=1)]


def _order_by_length(tokens: Sequence[Sequence[int]]) -> list[int]:
    return sorted(range(len(tokens)), key=lambda n: len(tokens[n]))


def encode_cached(
    captions: Sequence[str],
    name: str,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = SILENT,
) -> EncodedText:
    """Token states of `captions`; those that the same encoder saw before are read from `folder`.

    Only captions that no file there holds are encoded, into a file of their own. The encoder is
    gone from memory on return. An encoder in a folder is the same while its files keep their sizes
    and times; one from a hub or a package while it keeps its name.

    Args:
        captions: what to encode, without repeats.
        name: of the encoder.
        folder: where results are kept.
        device: where to run the encoder.
        progress: counts captions that have to be encoded; told how many are cut.
    """
    files = _read_files(folder, name)
    names = [_caption_hash(caption) for caption in captions]
    if not files or _missing_captions(names, files):
        encoder = TextEncoder(name, device=device)
        files = [file for file in files if file.text.encoder_digest == encoder.digest]
        missing = _missing_captions(names, files)
        listed = hashlib.sha256(b"".join(missing)).hexdigest()[:16]
        path = folder / f"{_file_prefix(name)}{listed}.safetensors"
        files.append(_save(path, encoder, [captions[n] for n in missing.values()], progress))
        del encoder
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    if cut := sum(name in file.cut for file in files for name in set(names)):
        progress.say(
            f"{cut} of {len(captions)} captions have more than {files[0].limit} tokens; "
            "the rest of each is not read"
        )
    rows = {name: row for row, name in enumerate(n for file in files for n in file.names)}
    text = EncodedText.concatenate([file.text for file in files])
    return text.select([rows[name] for name in names])


def encode_sets(
    sets: Sequence[tuple[Sequence[str], Path]],
    name: str,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = SILENT,
) -> tuple[EncodedText, dict[str, int]]:
    """Token states of several sets of captions, each kept in a folder of its own, and the row of
    every caption; a set that was encoded before is not encoded again beside a new one.

    Args:
        sets: captions without repeats, and where their states are kept.
        name: of the encoder.
        device: where to run it.
        progress: counts captions of a set that have to be encoded; told how many are cut.
    """
    parts = [
        encode_cached(captions, name, folder, device=device, progress=progress)
        for captions, folder in sets
    ]
    rows: dict[str, int] = {}
    for row, caption in enumerate(c for captions, _ in sets for c in captions):
        rows.setdefault(caption, row)
    return EncodedText.concatenate(parts), rows


@dataclass(frozen=True)
class _File:
    text: EncodedText
    names: list[bytes]
    cut: set[bytes]  # those that were too long
    limit: int  # tokens of a caption that were read


def _caption_hash(caption: str) -> bytes:
    return hashlib.sha256(caption.encode()).digest()[:HASH_BYTES]


def _file_prefix(encoder: str) -> str:
    facts = json.dumps([FILE_VERSION, encoder, encoders.stamp_files(encoder), MAX_TOKENS])
    return f"text-{hashlib.sha256(facts.encode()).hexdigest()[:16]}-"


def _read_files(folder: Path, encoder: str) -> list[_File]:
    """The files of this encoder; those that are not whole are removed."""
    paths = sorted(folder.glob(f"{_file_prefix(encoder)}*.safetensors"))
    found = [(path, _read_file(path)) for path in paths]
    for path, file in found:
        if file is None:
            path.unlink(missing_ok=True)
    return [file for _, file in found if file]


def _missing_captions(names: Sequence[bytes], files: Sequence[_File]) -> dict[bytes, int]:
    """Hashes that no file holds, with their places."""
    known = {name for file in files for name in file.names}
    return {name: n for n, name in enumerate(names) if name not in known}


def _save(path: Path, encoder: TextEncoder, captions: Sequence[str], progress: Progress) -> _File:
    """Encode captions into a file, shortest first, a part at a time."""
    tokens = encoder.tokenize(captions)
    order = _order_by_length(tokens)
    lengths = torch.tensor([len(tokens[n]) for n in order]).long()
    names = [torch.tensor(list(_caption_hash(captions[n])), dtype=torch.uint8) for n in order]
    long = torch.tensor(encoder.exceeds_limit([captions[n] for n in order])).to(torch.uint8)
    states = encoder.encode_tokens(tokens, order, progress)
    streamed.write(
        path,
        {
            "lengths": Streamed(torch.int64, (len(order),), [lengths]),
            "names": Streamed(torch.uint8, (len(order), HASH_BYTES), names),
            "cut": Streamed(torch.uint8, (len(order),), [long]),
            "states": Streamed(torch.float16, (int(lengths.sum()), encoder.width), states),
        },
        {"encoder": encoder.digest, "limit": str(encoder.limit)},
    )
    written = _read_file(path)
    assert written is not None
    return written


def _read_file(path: Path) -> _File | None:
    """Map a file into memory; None if it is not whole, or not ours."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            read = {name: file.get_tensor(name) for name in ("states", "lengths", "names", "cut")}
            facts = file.metadata()
            digest, limit = facts["encoder"], int(facts["limit"])
    except (SafetensorError, KeyError, TypeError):
        return None
    names = [bytes(name) for name in read["names"].numpy()]
    cut = {name for name, long in zip(names, read["cut"].tolist(), strict=True) if long}
    return _File(EncodedText.from_rows(read["states"], read["lengths"], digest), names, cut, limit)
