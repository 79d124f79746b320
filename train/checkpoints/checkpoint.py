"""One safetensors file a model: all stages, how to run them, and what they were taught with.

The file's header holds one JSON text under `fubuki`, so weights can be answered for: settings, the
words counted in the training captions, the licences, and the hashes of the shards. Whom to credit
for each picture is a tensor of compressed text, since a header may not hold so much.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curate.errors import InputError
from train import streamed
from train.checkpoints.credits import TENSOR, from_tensor, to_tensor
from train.model.unet import UNet, UNetConfig
from train.size import Size
from train.streamed import Streamed

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
    facts: dict[str, Any] = field(default_factory=dict)  # which average of the weights it is, and
    # the held-out loss of each

    def to_json(self) -> dict[str, Any]:
        """All but the weights."""
        return {
            "size": self.size.to_json(),
            "low_size": self.low_size and self.low_size.to_json(),
            "sigma_data": self.sigma_data,
            "images_seen": self.images_seen,
            "facts": self.facts,
            "unet": self.network.config.to_json(),
        }


@dataclass
class Cascade:
    """All stages, and the facts that travel with them."""

    stages: list[Stage]
    encoder: str  # name of the text encoder
    encoder_digest: str  # SHA-256 of its weights
    facts: dict[str, Any]  # settings, words, licences, shards, convergence
    digest: str = ""  # SHA-256 of its file

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


def save(path: Path, cascade: Cascade, credits: Sequence[Mapping[str, str]] = ()) -> None:
    """Write the model atomically and set its digest; equal models give equal bytes.

    Args:
        path: the file.
        cascade: what to write.
        credits: of its pictures, as `train.checkpoints.credits` makes them.

    Raises:
        InputError: the disk is full or not ours; the old file stays.
    """
    described = {
        "version": VERSION,
        "encoder": cascade.encoder,
        "encoder_digest": cascade.encoder_digest,
        "stages": [stage.to_json() for stage in cascade.stages],
        "facts": cascade.facts,
    }
    tensors = {
        f"{s.size}/{name}": value
        for s in cascade.stages
        for name, value in s.network.state_dict().items()
    }
    tensors[TENSOR] = to_tensor([dict(credit) for credit in credits])
    cascade.digest = write_tensors(path, tensors, described)


def load(path: Path) -> Cascade:
    """Read a model onto the CPU, one tensor at a time.

    Raises:
        InputError: no checkpoint, another version, weights of another shape, or weights that are
            not all finite numbers.
    """
    file = find(path)
    with opened(file) as (reader, described):
        _refuse_version(file, described)
        try:
            stages = [_stage(file, reader, value) for value in described["stages"]]
            encoder, digest = described["encoder"], described["encoder_digest"]
            facts = described["facts"]
        except (KeyError, TypeError, ValueError) as error:
            problem = f"its description cannot be understood ({type(error).__name__}: {error})"
            raise InputError(file, problem, fix="restore the file, or train again") from None
    with file.open("rb") as stream:
        own = hashlib.file_digest(stream, "sha256").hexdigest()
    return Cascade(stages, encoder, digest, facts, own)


def description(path: Path) -> dict[str, Any]:
    """What a model's file says of itself, without its weights: `stages`, `encoder`, `facts`.

    Raises:
        InputError: no checkpoint, another version, or a broken one.
    """
    file = find(path)
    with opened(file) as (_, described):
        _refuse_version(file, described)
        return described


def credits(path: Path) -> list[dict[str, str]]:
    """Whom to credit for the pictures a model was taught with: a picture each, in order of keys.

    Each has `key`, `title`, `creator`, `creator_url`, `license`, `license_url`, `page_url` and
    `share_model` (the policy's decision), "" where it was not stated.

    Raises:
        InputError: no checkpoint, another version, or a broken one.
    """
    file = find(path)
    with opened(file) as (reader, described):
        _refuse_version(file, described)
        return from_tensor(reader.get_tensor(TENSOR))


def _refuse_version(file: Path, described: Mapping[str, Any]) -> None:
    if (found := described.get("version")) != VERSION:
        problem = f"written as {found or 'something else'}, this reads {VERSION}"
        older = str(found).startswith("fubuki-model/")
        fix = "train it again" if older else "name a run folder of train finetune"
        raise InputError(file, problem, fix=fix)


def _stage(file: Path, reader: Any, value: Mapping[str, Any]) -> Stage:
    size = Size.of(value["size"])
    network = UNet(UNetConfig.from_json(value["unet"])).to(memory_format=torch.channels_last)
    fill(network, reader, f"{size}/", file)
    return Stage(
        size,
        value["low_size"] and Size.of(value["low_size"]),
        network.eval().requires_grad_(False),
        value["sigma_data"],
        value["images_seen"],
        value["facts"],
    )


@torch.no_grad()
def fill(network: UNet, reader: Any, prefix: str, file: Path) -> None:
    """Read the weights whose names start with `prefix` into `network`, one at a time.

    Raises:
        InputError: they are not those of such a network, or not all finite numbers.
    """
    places = network.state_dict()
    stored = {n.removeprefix(prefix) for n in reader.keys() if n.startswith(prefix)}  # noqa: SIM118
    wrong = sorted(stored ^ places.keys())
    for name, place in places.items():
        value = None if wrong else reader.get_tensor(prefix + name)
        if value is None or value.shape != place.shape:
            problem = f"weights do not fit their description ({wrong[0] if wrong else name})"
            raise InputError(file, problem, fix="restore the file, or train again")
        if not torch.isfinite(value).all():
            problem = f"the weights {prefix}{name} are not all finite numbers"
            raise InputError(file, problem, fix="restore the file, or train again")
        place.copy_(value)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], described: Mapping[str, Any]) -> str:
    """Write tensors and one JSON text as safetensors, atomically and byte for byte repeatable.

    One tensor at a time is copied, so that saving takes no memory to speak of.

    Returns:
        SHA-256 of the file.

    Raises:
        InputError: the disk is full or not ours; the old file stays.
    """
    text = json.dumps(described, sort_keys=True, ensure_ascii=False)
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # aligned
    whole = {n: Streamed(tensors[n].dtype, tuple(tensors[n].shape), [tensors[n]]) for n in order}
    return streamed.write(path, whole, {"fubuki": text})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON text of a file of ours.

    Raises:
        InputError: it is not a safetensors file.
    """
    with opened(path) as (reader, described):
        return {name: reader.get_tensor(name) for name in reader.keys()}, described  # noqa: SIM118


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """A file of ours, to read tensors from by name, and its JSON text.

    Raises:
        InputError: it is not a safetensors file, now or where a tensor is read.
    """
    from safetensors import SafetensorError, safe_open

    fix = "name a folder of train finetune"
    if path.name != MODEL and (path.parent / STATE).exists():  # a part of an unfinished run
        fix = "remove this run's folder, or name a new --out"
    try:
        with safe_open(path, framework="pt") as reader:
            yield reader, json.loads((reader.metadata() or {}).get("fubuki", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(path, f"not a readable checkpoint ({error})", fix=fix) from None
