"""One safetensors file a model: weights below the header that `curate.formats.model` describes.

It also says whom to credit for the images that the model was trained on.
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curate.errors import InputError
from curate.formats import model
from curate.formats.model import MODEL_FILE, NO_FACTS, STATE_FILE, ModelFacts, read_model
from curate.system.files import file_sha256
from train import streamed
from train.model.unet import UNet, UNetConfig
from train.size import Size
from train.streamed import Streamed

CREDITS_TENSOR = "credits"  # its name among the weights; a header may not hold so much
_FIELDS = ("key", "title", "creator", "creator_url", "license", "license_url", "page_url")
_NAMES = {"creator": "author", "creator_url": "author_url"}  # that differ in a shard's record


@dataclass
class Stage:
    """One U-Net of the cascade."""

    size: Size  # of the images it makes
    conditioning_size: Size | None  # of the image it is given; None for the base
    network: UNet
    sigma_data: float  # standard deviation of its images, pixels in [-1, 1]; of a super-resolution
    # stage, of their difference to the enlarged conditioning image without noise augmentation
    images_seen: int = 0
    facts: dict[str, Any] = field(default_factory=dict)  # which EMA of the weights it is, and the
    # held-out loss of each

    @property
    def record(self) -> model.StageRecord:
        """All but the weights."""
        return model.StageRecord(
            self.size.to_json(),
            self.conditioning_size and self.conditioning_size.to_json(),
            self.sigma_data,
            self.images_seen,
            self.network.config.to_json(),
            self.facts,
        )


@dataclass
class Cascade:
    """All stages, and the facts that travel with them."""

    stages: list[Stage]
    encoder: str  # name of the text encoder
    encoder_digest: str  # SHA-256 of its weights
    facts: ModelFacts = NO_FACTS
    digest: str = ""  # SHA-256 of its file

    def to(self, device: torch.device | str) -> "Cascade":
        """Move the weights."""
        for stage in self.stages:
            stage.network.to(device)
        return self


def save(path: Path, cascade: Cascade, credits: Sequence[Mapping[str, str]] = ()) -> None:
    """Write the model atomically and set its digest; equal models give equal bytes.

    Args:
        path: the file.
        cascade: what to write.
        credits: of its images, as `collect_credits` makes them.

    Raises:
        InputError: the disk is full or not ours; the old file stays.
    """
    stages = [stage.record for stage in cascade.stages]
    record = model.ModelRecord(path, cascade.encoder, cascade.encoder_digest, stages, cascade.facts)
    tensors = {
        f"{s.size}/{name}": value
        for s in cascade.stages
        for name, value in s.network.state_dict().items()
    }
    tensors[CREDITS_TENSOR] = pack_credits([dict(credit) for credit in credits])
    cascade.digest = write_tensors(path, tensors, record.to_json())


def load(path: Path) -> Cascade:
    """Read a model onto the CPU, one tensor at a time.

    Raises:
        InputError: no checkpoint, another version, weights of another shape, or weights that are
            not all finite numbers.
    """
    record = read_model(path)
    with open_tensors(record.path) as (reader, _):
        try:
            stages = [_read_stage(record.path, reader, stage) for stage in record.stages]
        except (KeyError, TypeError, ValueError) as error:
            raise model.description_error(record.path, error) from None
    own = file_sha256(record.path)
    return Cascade(stages, record.encoder, record.encoder_digest, record.facts, own)


def read_credits(path: Path) -> list[dict[str, str]]:
    """Whom to credit for the images a model was trained on, and for copies, in order of keys.

    Each has `key`, `title`, `creator`, `creator_url`, `license`, `license_url`, `page_url` and
    `share_model` (the policy's decision), "" where it was not stated. A copy has, in `copy_of`,
    the key of the image; models of before lack that. An image that no policy judged has `unjudged`.

    Raises:
        InputError: no checkpoint, another version, or a broken one.
    """
    with open_tensors(read_model(path).path) as (reader, _):
        return unpack_credits(reader.get_tensor(CREDITS_TENSOR))


def collect_credits(records: Iterable[tuple[str, Mapping[str, Any]]]) -> list[dict[str, str]]:
    """Whom to credit for images, by key and record; "" where something is not stated.

    The decision of the policy on sharing a model, `share_model`, comes with it; of an image that no
    policy judged, `unjudged`. What was found of the same image elsewhere is credited, too:
    `copy_of` is the key of the image, and "" for itself.
    """
    found = []
    for key, record in records:
        verdict = record.get("share_model")
        decision = verdict["decision"] if verdict else ""
        judged = {"unjudged": "yes"} if record.get("unjudged") else {}
        own = {"key": key, "share_model": decision, "copy_of": "", **judged}
        found.append(_credit(record) | own)
        for copy in record.get("credits", ())[1:]:  # absent in the older version
            found.append(_credit(copy) | {"share_model": decision, "copy_of": key})
    return found


def _credit(record: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(record.get(_NAMES.get(name, name)) or "") for name in _FIELDS}


def join_sets(lists: Iterable[list[dict[str, str]]]) -> list[dict[str, str]]:
    """The credits of sets that are trained on together; of one key the strictest is the last."""
    strictness = {"allow": 0, "": 1, "hold": 2, "deny": 4}  # another word is 3
    every = chain.from_iterable(lists)
    return sorted(every, key=lambda credit: strictness.get(credit["share_model"], 3))


def merge_credits(lists: Iterable[list[dict[str, str]]]) -> list[dict[str, str]]:
    """Each image once, by its key, in the order of keys.

    Rather itself than a copy of another, rather as a policy judged it than unjudged, and rather as
    a later list has it.
    """
    every = chain.from_iterable(lists)
    ranked = sorted(every, key=lambda c: (not c.get("copy_of"), "unjudged" not in c))
    by_key = {credit["key"]: credit for credit in ranked}
    return [by_key[key] for key in sorted(by_key)]


def pack_credits(credits: list[dict[str, str]]) -> Tensor:
    """As bytes (N), uint8: JSON, compressed with zlib."""
    text = json.dumps(credits, ensure_ascii=False, sort_keys=True)
    return torch.frombuffer(bytearray(zlib.compress(text.encode(), 9)), dtype=torch.uint8)


def unpack_credits(packed_N: Tensor) -> list[dict[str, str]]:
    """What `pack_credits` was given.

    Raises:
        ValueError: it is something else.
    """
    try:
        found: list[dict[str, str]] = json.loads(zlib.decompress(packed_N.numpy().tobytes()))
    except zlib.error as error:
        raise ValueError(f"credits that cannot be unpacked: {error}") from None
    return found


def _read_stage(file: Path, reader: Any, record: model.StageRecord) -> Stage:
    size, low = Size.of(record.size), record.conditioning_size
    network = UNet(UNetConfig.from_json(record.unet)).to(memory_format=torch.channels_last)
    fill_network(network, reader, f"{size}/", file)
    network.eval().requires_grad_(False)
    shown = (record.sigma_data, record.images_seen, record.facts)
    return Stage(size, None if low is None else Size.of(low), network, *shown)


@torch.no_grad()
def fill_network(network: UNet, reader: Any, prefix: str, file: Path) -> None:
    """Read the weights whose names start with `prefix` into `network`, one at a time.

    Raises:
        InputError: they are not those of such a network, or not all finite numbers.
    """
    places, fix = network.state_dict(), "restore the file, or train again"
    stored = {n.removeprefix(prefix) for n in reader.keys() if n.startswith(prefix)}  # noqa: SIM118
    wrong = sorted(stored ^ places.keys())
    for name, place in places.items():
        value = None if wrong else reader.get_tensor(prefix + name)
        if value is None or value.shape != place.shape:
            problem = f"weights do not fit their description ({wrong[0] if wrong else name})"
            raise InputError(file, problem, fix=fix)
        if not torch.isfinite(value).all():
            raise InputError(
                file, f"the weights {prefix}{name} are not all finite numbers", fix=fix
            )
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
    return streamed.write(path, whole, {model.METADATA: text})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON text of a file of ours.

    Raises:
        InputError: it is not a safetensors file.
    """
    with open_tensors(path) as (reader, described):
        return {name: reader.get_tensor(name) for name in reader.keys()}, described  # noqa: SIM118


@contextmanager
def open_tensors(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """A file of ours, to read tensors from by name, and its JSON text.

    Raises:
        InputError: it is not a safetensors file, now or where a tensor is read.
    """
    from safetensors import SafetensorError, safe_open

    fix = "name a folder of train finetune"
    if path.name != MODEL_FILE and (path.parent / STATE_FILE).exists():  # of an unfinished run
        fix = "remove this run's folder, or name a new --out"
    try:
        with safe_open(path, framework="pt") as reader:
            yield reader, json.loads((reader.metadata() or {}).get(model.METADATA, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(path, f"not a readable checkpoint ({error})", fix=fix) from None
