"""One safetensors file a model: all stages, how to run them, and what they were taught with.

The file's header holds one JSON text under `fubuki`, so weights can be answered for: the words
counted in the training captions, the licences, and the hashes of the shards.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curate.errors import InputError
from curate.files import replacing
from train.size import Size
from train.unet import UNet, UNetConfig

VERSION = "fubuki-model/2"
MODEL = "model.safetensors"  # within a run's folder
STATE = "state.safetensors"  # there too, while the run is unfinished


@dataclass
class Stage:
    """One U-Net of the cascade."""

    size: Size  # of the pictures it makes
    low_size: Size | None  # of the picture it is given; None for the base
    network: UNet
    sigma_data: float  # standard deviation of what it predicts: pixels in [-1, 1], or, in a
    # later stage, their difference to the enlarged low-resolution picture
    images_seen: int = 0


@dataclass
class Cascade:
    """All stages, and the facts that travel with them."""

    stages: list[Stage]
    encoder: str  # name of the text encoder
    encoder_digest: str  # SHA-256 of its weights
    facts: dict[str, Any]  # words, licences, shards, convergence
    digest: str = ""  # SHA-256 of the file it was read from

    def to(self, device: torch.device | str) -> "Cascade":
        """Move the weights."""
        for stage in self.stages:
            stage.network.to(device)
        return self


def find(path: Path) -> Path:
    """The model file meant by `path`: itself, or the one in a run's folder.

    Raises:
        InputError: there is none.
    """
    if path.is_file():
        return path
    if (path / MODEL).is_file():
        return path / MODEL
    unfinished = (path / STATE).exists()
    problem = "this run is not finished" if unfinished else "no checkpoint here"
    fix = "type its train finetune command again" if unfinished else "train finetune --shards DIR"
    raise InputError(path, problem, fix=fix)


def save(path: Path, cascade: Cascade) -> None:
    """Write the model atomically; equal models give equal bytes."""
    described = {
        "version": VERSION,
        "encoder": cascade.encoder,
        "encoder_digest": cascade.encoder_digest,
        "stages": [
            {
                "size": s.size.to_json(),
                "low_size": s.low_size and s.low_size.to_json(),
                "sigma_data": s.sigma_data,
                "images_seen": s.images_seen,
                "unet": s.network.config.to_json(),
            }
            for s in cascade.stages
        ],
        "facts": cascade.facts,
    }
    tensors = {
        f"{s.size}/{name}": value
        for s in cascade.stages
        for name, value in s.network.state_dict().items()
    }
    write_tensors(path, tensors, described)


def load(path: Path) -> Cascade:
    """Read a model onto the CPU.

    Raises:
        InputError: no checkpoint, another version, or weights of another shape.
    """
    file = find(path)
    tensors, described = read_tensors(file)
    if described.get("version") != VERSION:
        raise InputError(
            file,
            f"written as {described.get('version', 'something else')}, this is {VERSION}",
            fix="name a run folder of train finetune",
        )
    stages = []
    for value in described["stages"]:
        network = UNet(UNetConfig.from_json(value["unet"])).to(memory_format=torch.channels_last)
        prefix = f"{Size.of(value['size'])}/"
        own = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            raise InputError(
                file,
                f"weights do not fit their description ({str(error).splitlines()[1].strip()})",
                fix="restore the file, or train again",
            ) from None
        stages.append(
            Stage(
                Size.of(value["size"]),
                value["low_size"] and Size.of(value["low_size"]),
                network.eval().requires_grad_(False),
                value["sigma_data"],
                value["images_seen"],
            )
        )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Cascade(
        stages, described["encoder"], described["encoder_digest"], described["facts"], digest
    )


def write_tensors(path: Path, tensors: Mapping[str, Tensor], described: Mapping[str, Any]) -> None:
    """Write tensors and one JSON text as safetensors, atomically and byte for byte repeatable.

    Raises:
        InputError: the disk is full or not ours; the old file stays.
    """
    from safetensors.torch import save as to_bytes

    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    text = json.dumps(described, sort_keys=True, ensure_ascii=False)
    with replacing(path) as file:
        file.write(to_bytes(plain, metadata={"fubuki": text}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON text of a file of ours.

    Raises:
        InputError: it is not a safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {}).get("fubuki", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, described  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            path, f"not a readable checkpoint ({error})", fix="name a folder of train finetune"
        ) from None
