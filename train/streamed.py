"""Safetensors files written a tensor's part at a time: what they hold need not fit in memory."""

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from curate.system.files import atomic_write

DTYPE_NAMES = {  # as the format calls them
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class Streamed:
    """A tensor that arrives in parts, which together hold its numbers in order."""

    dtype: torch.dtype  # a key of DTYPE_NAMES
    shape: tuple[int, ...]
    parts: Iterable[Tensor]

    @property
    def bytes(self) -> int:
        """Its length in the file."""
        return math.prod(self.shape) * self.dtype.itemsize


def write(path: Path, tensors: Mapping[str, Streamed], facts: Mapping[str, str]) -> str:
    """Write tensors, in this order, and facts about them; whole or not at all.

    Equal input gives equal bytes. A part that lies on the CPU in order is not copied.

    Returns:
        SHA-256 of the file.

    Raises:
        InputError: the disk is full or not ours; the old file stays.
        ValueError: the parts of a tensor are not as long as its shape says.
    """
    header = _header(tensors, facts)
    digest = hashlib.sha256(header)
    with atomic_write(path) as file:
        file.write(header)
        for name, tensor in tensors.items():
            written = 0
            for part in tensor.parts:
                plain = part.detach().to("cpu", tensor.dtype).contiguous().reshape(-1)
                data = plain.view(torch.uint8).numpy().data
                digest.update(data)
                written += file.write(data)
            if written != tensor.bytes:
                raise ValueError(f"{name} has {written} bytes, its shape says {tensor.bytes}")
    return digest.hexdigest()


def _header(tensors: Mapping[str, Streamed], facts: Mapping[str, str]) -> bytes:
    """Its length, then JSON. Source: the README of huggingface/safetensors, "Format"."""
    described: dict[str, object] = {"__metadata__": dict(facts)} if facts else {}
    start = 0
    for name, tensor in tensors.items():
        described[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, start + tensor.bytes],
        }
        start += tensor.bytes
    text = json.dumps(described, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
