"""The contract with `train`: what a model's file says of itself, and how to read that.

A finished run's folder holds `model.safetensors`, an unfinished one `state.safetensors`. The
header of the model's file holds one JSON text, a `ModelRecord`, so that weights can be answered
for: what made them, the words of their captions, the licences of their images. Beside the weights,
named `SIZE/NAME` by stage, stands a tensor of compressed credits, since a header may not hold so
much.

Only the standard library is used here: the header is read and checked without weights or torch.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_origin

from curate.errors import InputError

MODEL_VERSION = "fubuki-model/5"  # 3: words were added over all sets, which nobody can undo; 4:
# noise augmentation was no part of the spread that a super-resolution stage is preconditioned by
MODEL_FILE = "model.safetensors"  # within a run's folder
STATE_FILE = "state.safetensors"  # there too, while the run is unfinished
METADATA = "fubuki"  # name of the JSON text in the header
MAX_HEADER_BYTES = 100_000_000  # bytes; the format's own limit
RESTORE = "restore the file, or train again: train finetune --shards DIR --out NEW"
TRAIN = "name a run folder of train finetune, or its .safetensors"

Record = TypeVar("Record")


@dataclass(frozen=True)
class StageRecord:
    """One network of the cascade. Sizes are in pixels: a number where square, else `64x128`."""

    size: int | str  # of the images it makes
    conditioning_size: int | str | None  # of the image it is given; None for the base
    sigma_data: float  # standard deviation of its images, pixels in [-1, 1]; above the base, of
    # clean minus enlarged images, without noise augmentation
    images_seen: int
    unet: dict[str, Any]  # its network, as `train.model.unet` describes it
    facts: dict[str, Any]  # which EMA of the weights it is, and the held-out loss of each


@dataclass(frozen=True)
class SetRecord:
    """One set of shards that the weights were trained on, as far as its images could be used."""

    digest: str  # SHA-256 over the hashes of its shards
    name: str  # its part in a batch when it first had one: "new", "replay" or "regularization"
    images: int  # told apart by their keys
    words: Mapping[str, int]  # word, as `curate.text.tokens` cuts it -> images that a caption of
    # theirs says it of


@dataclass(frozen=True)
class ModelFacts:
    """What made the weights, and what they answer for."""

    settings: Mapping[str, Any]  # of the run
    changed: list[dict[str, Any]]  # settings that were changed while it was under way
    init: str | None  # SHA-256 of the model's file it started from
    sets: list[SetRecord]  # each once, those of `init` first
    licences: Mapping[str, int]  # licence -> images, each counted once by its key
    convergence: Mapping[str, Any]  # size of a super-resolution stage -> how well it restores
    unjudged: int = 0  # of the images, those whose rights no policy judged; older files: none

    @property
    def images(self) -> int:
        """How many it was trained on, each counted once by its key."""
        return sum(self.licences.values())

    @property
    def shared_images(self) -> int:
        """How many more the sets hold when each is counted alone; 0: no image lies in two."""
        return max(0, sum(each.images for each in self.sets) - self.images)

    @cached_property
    def words(self) -> Mapping[str, int]:
        """Word -> images that show it: exact where no image lies in two sets.

        Else the least number there can be, since captions of one image may differ between sets: as
        many as the set with most of them has, and no fewer than all sets have together less all
        images they share.
        """
        counts = [each.words for each in self.sets]
        added = sum(map(Counter, counts), Counter[str]())
        most = {word: max(each.get(word, 0) for each in counts) for word in added}
        return {word: max(most[word], n - self.shared_images) for word, n in added.items()}


NO_FACTS = ModelFacts({}, [], None, [], {}, {})  # of weights that nothing has been taught


@dataclass(frozen=True)
class ModelRecord:
    """What a model's file says of itself."""

    path: Path  # the file; not written in it
    encoder: str  # name of the text encoder
    encoder_digest: str  # SHA-256 of the encoder's weights
    stages: list[StageRecord]  # base first
    facts: ModelFacts

    def to_json(self) -> dict[str, Any]:
        """The plain values that the header holds."""
        return {"version": MODEL_VERSION} | {k: v for k, v in asdict(self).items() if k != "path"}


def find_model(path: Path) -> Path:
    """The model's file meant by `path`: itself, or the one in a run's folder.

    Raises:
        InputError: there is none, or the run is not finished.
    """
    if path.is_file():
        return path
    if (path / MODEL_FILE).is_file():
        return path / MODEL_FILE
    if (path / STATE_FILE).exists():
        fix = "type its train finetune command again"
        raise InputError(path, "this run is not finished", fix=fix)
    problem = "no checkpoint here" if path.is_dir() else "no such file or folder"
    raise InputError(path, problem, fix=TRAIN)


def read_model(path: Path) -> ModelRecord:
    """What the model in a run's folder, or in a `.safetensors` file, says of itself.

    Raises:
        InputError: there is none, the run is not finished, or the file is not one of ours, of
            another version or cut short.
    """
    file = find_model(path)
    described = _read_metadata(file)
    if (version := described.get("version")) != MODEL_VERSION:
        was = f"written as {version!r}" if version else "no model of train finetune"
        ours = str(version).startswith(MODEL_VERSION.partition("/")[0])
        fix = "train it again: train finetune --shards DIR --out NEW" if ours else TRAIN
        raise InputError(file, f"{was}, this reads {MODEL_VERSION!r}", fix=fix)
    try:
        stages = [_record(StageRecord, value) for value in described["stages"]]
        facts = _record(ModelFacts, described["facts"])
        sets = [_record(SetRecord, value) for value in facts.sets]
        facts = replace(facts, sets=sets)
        values = described | {"path": file, "stages": stages, "facts": facts}
        counted = [("words", each.words) for each in sets]
        for name, counts in (*counted, ("licences", facts.licences)):
            if not all(type(n) is int and n >= 0 for n in counts.values()):
                raise TypeError(f"its {name} are not numbers of images")
        return _record(ModelRecord, values)
    except (KeyError, TypeError) as error:
        raise description_error(file, error) from None


def description_error(file: Path, error: Exception) -> InputError:
    """The error for a description that lacks something (a KeyError) or holds something odd."""
    said = f"no {error}" if isinstance(error, KeyError) else error
    return InputError(file, f"its description cannot be understood ({said})", fix=RESTORE)


def _record(kind: type[Record], values: Any) -> Record:
    """A record from plain values; what it does not know, and what has a default, may be lacking.

    Raises:
        KeyError: a field is missing.
        TypeError: a value is of another kind.
    """
    found = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in values and field.default is not MISSING:
            continue
        found[field.name] = value = values[field.name]
        origin = get_origin(field.type)
        wanted: Any = field.type if origin in (None, UnionType) else origin
        if not isinstance(value, wanted):
            raise TypeError(f"{field.name!r} is {type(value).__name__}")
    return kind(**found)


def read_texts(path: Path) -> dict[str, str]:
    """The texts that the header of a safetensors file holds by name, the file being whole.

    Source: the safetensors format: 8 bytes little-endian length, then so many bytes of JSON that
    name each tensor's place; its `__metadata__` maps texts to texts.

    Raises:
        InputError: it cannot be read, is cut short, or its header is not one.
    """
    cut = InputError(path, "not a safetensors file, or one that is cut short", fix=RESTORE)
    try:
        with path.open("rb") as file:
            size, rest = int.from_bytes(file.read(8), "little"), path.stat().st_size - 8
            if not 2 <= size <= min(MAX_HEADER_BYTES, rest):
                raise cut
            header = json.loads(file.read(size))
        texts = header.pop("__metadata__", {})
        if any(place["data_offsets"][1] > rest - size for place in header.values()):
            raise cut
        return {name: text for name, text in texts.items() if isinstance(text, str)}
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise InputError(path, problem, fix="correct the path or its permissions") from None
    except (ValueError, RecursionError):
        raise InputError(path, "its header is not JSON", fix=RESTORE) from None
    except (LookupError, TypeError, AttributeError):
        raise InputError(path, "its header is none of safetensors", fix=RESTORE) from None


def _read_metadata(path: Path) -> dict[str, Any]:
    """The JSON text of ours in the header of a safetensors file."""
    texts = read_texts(path)
    if METADATA not in texts:
        problem = "a safetensors file that says nothing of its training"
        raise InputError(path, problem, fix=TRAIN)
    try:
        described = json.loads(texts[METADATA])
    except (ValueError, RecursionError):
        raise InputError(path, "its header is not JSON", fix=RESTORE) from None
    if not isinstance(described, dict):
        raise InputError(path, "its header is not one of ours", fix=RESTORE)
    return described
