"""What the file of a LoRA says of the captions that it was shown, whoever trained it.

Trainers write what web interfaces show into the header of a safetensors file. Only some of it
tells of captions:

- kohya's sd-scripts (`train_network.py`, `library/train_util.py`): `ss_tag_frequency`, a JSON text
  {folder: {tag: count}} over all captions of a folder, each counted once whatever its repeats, cut
  at commas and in lower case; `ss_dataset_dirs`, {folder: {n_repeats, img_count}}, and
  `ss_reg_dataset_dirs` of regularization images. `--no_metadata` leaves all of it out.
- SimpleTuner (`helpers/training/save_hooks.py`): `ss_tag_frequency` with those tags alone that
  more than half of all captions have, and no counts of images.
- ai-toolkit (`BaseSDTrainProcess.py`): `ss_tag_frequency` {"1_WORD": {WORD: 1}} of its trigger
  word, "so auto1111 will pick it up": no count of anything. OneTrainer
  (`DtypeModelSaverMixin.py`) and the scripts of diffusers write nothing of captions.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import InputError
from curate.formats.model import read_texts

TAGS, FOLDERS = "ss_tag_frequency", "ss_dataset_dirs"
REGULARIZATION = "ss_reg_dataset_dirs"
DROPOUTS = {  # name in the header -> what is left out at this rate
    "ss_caption_dropout_rate": "whole captions",
    "ss_caption_tag_dropout_rate": "tags",
}
MOST_IMAGES = 10_000_000  # of a folder, and of a tag; more is no count of a LoRA's images
SHOWN_DATA = "name what it was trained on instead: curate vocab-gaps PROMPTS --data DIR"


@dataclass(frozen=True)
class TagFolder:
    """One folder of images that the file names."""

    name: str
    images: int | None  # each counted once; None where the file does not say
    repeats: int | None  # how often each was shown an epoch
    regularizes: bool  # whether its images were there so that nothing is forgotten
    tags: Mapping[str, int]  # what stands between commas, lower case -> captions, of an image each


@dataclass(frozen=True)
class LoraRecord:
    """What the file of a LoRA says of its captions."""

    path: Path
    folders: tuple[TagFolder, ...]
    is_complete: bool  # whether every tag is named; else those of more than half of all captions
    dropouts: Mapping[str, float]  # what was left out in training -> at what rate

    @property
    def images(self) -> int:
        """How many it was trained on, as far as it says so: at least as many as have one tag."""
        counts = (f.images or max(f.tags.values(), default=0) for f in self.folders)
        return sum(counts)


def read_lora(path: Path) -> LoraRecord:
    """What the file of a LoRA says of the captions it was shown.

    Raises:
        InputError: it is no whole safetensors file, says nothing of captions, or what it says
            cannot be understood.
    """
    texts = read_texts(path)
    frequency, stated = _read_object(path, texts, TAGS), _read_object(path, texts, FOLDERS)
    regularization = _read_object(path, texts, REGULARIZATION)
    if not stated and "ai-toolkit" in texts.get("software", ""):
        problem = "ai-toolkit wrote its trigger word into it, and nothing of captions"
        raise InputError(path, problem, fix=SHOWN_DATA)
    if not frequency:
        by = _trainer_of(texts)
        problem = f"says nothing of the captions that it was trained on{by}"
        raise InputError(path, problem, fix=SHOWN_DATA)
    regular = {*regularization, *_regularizing(path, texts)}
    folders = []
    for name, tags in frequency.items():
        told = stated.get(name) or regularization.get(name) or {}
        if not isinstance(tags, dict) or not isinstance(told, dict):
            raise _odd(path, TAGS, f"{name!r} is no folder with tags")
        counts = {tag: _count(path, f"{TAGS} {name!r}", n) for tag, n in tags.items()}
        images, repeats = (told.get(key) for key in ("img_count", "n_repeats"))
        folders.append(
            TagFolder(
                name,
                None if images is None else _count(path, FOLDERS, images),
                None if repeats is None else _count(path, FOLDERS, repeats),
                name in regular,
                counts,
            )
        )
    rates = {what: _rate(texts.get(name, "")) for name, what in DROPOUTS.items()}
    left_out = {what: rate for what, rate in rates.items() if rate}
    return LoraRecord(path, tuple(folders), FOLDERS in texts, left_out)


def _trainer_of(texts: Mapping[str, str]) -> str:
    if any(name.startswith("ot_") for name in texts):
        return ": OneTrainer writes no more"
    if any(name.startswith("ss_") for name in texts):
        return ": sd-scripts leaves it out with --no_metadata"
    return ""


def _read_object(path: Path, texts: Mapping[str, str], name: str) -> dict[str, Any]:
    """The JSON object that a text is; {} where the header has none of this name."""
    try:
        found = json.loads(texts.get(name, "{}"))
    except (ValueError, RecursionError):
        raise _odd(path, name, "is not JSON") from None
    if not isinstance(found, dict):
        raise _odd(path, name, "is no JSON object")
    return found


def _regularizing(path: Path, texts: Mapping[str, str]) -> set[str]:
    """Folders of regularization images, where several data sets are described (`ss_datasets`)."""
    try:
        sets = json.loads(texts.get("ss_datasets", "[]"))
        subsets = [subset for one in sets for subset in one["subsets"]]
        return {str(subset.get("image_dir")) for subset in subsets if subset.get("is_reg")}
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise _odd(path, "ss_datasets", "cannot be understood") from None


def _count(path: Path, where: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= MOST_IMAGES:
        raise _odd(path, where, f"{str(value)[:40]} is no count of images")
    return value


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:  # "None", as sd-scripts write what was not asked for
        return 0.0
    return rate if 0 < rate <= 1 else 0.0


def _odd(path: Path, where: str, problem: str) -> InputError:
    return InputError(path, f"{where} in its header {problem}", fix=SHOWN_DATA)
