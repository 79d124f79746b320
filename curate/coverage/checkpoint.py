"""Which words a trained model was shown, as its own file states.

`train finetune` writes, in the header of `model.safetensors`, how many pictures of its shards have
a caption with each word. Nothing but the header is read here: no weights, no torch.

What the numbers mean. `curate pack` counts distinct pictures (by pixels) a word; a word is a run
of letters in lower case, joined by apostrophes and hyphens, so that words with digits are not
counted. Pictures held out of training are among them. Trainings add up: each folder of shards is
added once, and the words of a picture that lies in two of them are counted twice. Inflections
cannot be added either, for one picture may have a caption with "dog" and one with "dogs". So every
count given here is the least number of distinct pictures that the file's numbers allow.
"""

import json
import re
import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.errors import InputError
from curate.index.index import Evidence
from curate.text import tokens
from curate.text.lemmas import is_shown_by, lemmas_of
from curate.text.spelling import Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = "fubuki-model/2"
MODEL = "model.safetensors"  # within a run's folder
STATE = "state.safetensors"  # there too, while the run is unfinished
LARGEST_HEADER = 100_000_000  # bytes; the format's own limit
_COUNTED = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")  # what `curate pack` takes for a word
_AGAIN = "restore the file, or train again: train finetune --shards DIR"


@dataclass(frozen=True)
class Checkpoint:
    """What a model's file says it was taught with."""

    path: Path  # the file
    words: Mapping[str, int]  # word as packed -> pictures, added over all sets of shards
    sets: int  # folders of shards it was trained on, one after the other or mixed
    licences: Mapping[str, int]  # licence -> pictures, each counted once by its key
    encoder: str  # name of its text encoder

    @property
    def images(self) -> int:
        """Pictures it was trained on, each counted once by its key."""
        return sum(self.licences.values())

    def at_least(self, added: int) -> int:
        """The fewest distinct pictures behind a number that was added over the sets of shards.

        In the set that holds most of them there are at least as many as the mean.
        """
        return -(-added // max(1, self.sets))


class CheckpointIndex:
    """Answers for words like an index of captions, as far as a checkpoint can.

    It knows no captions: nothing can be said of phrases, pairs and bindings, and there is no
    evidence to show. `why_unknown` says so before anybody guesses.
    """

    captions = 0  # a checkpoint keeps none
    left_out: Mapping[str, int] = {}

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Answer for this checkpoint."""
        self.checkpoint = checkpoint
        self.images = checkpoint.images

    @property
    def incomplete(self) -> tuple[str, ...]:
        """What keeps the words from being counted at all."""
        if self.checkpoint.words:
            return ()
        return (f"{self.checkpoint.path}: no word was counted in its training captions",)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the numbers."""
        said = ["Phrases, pairs and bindings are not judged: a checkpoint counts single words only"]
        said.append("Pictures held out of training are counted, too")
        if self.checkpoint.sets > 1:
            said.append(
                f"It was trained on {self.checkpoint.sets} sets of shards, which may share "
                "pictures: the least number of distinct pictures is given"
            )
        return tuple(said)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Every word that was counted, with its pictures."""
        return Vocabulary({form: self._most([form]) for form in self._packed})

    def why_unknown(self, unit: str) -> str | None:
        """Why nothing can be said of a unit; None where `count` can be believed."""
        if " " in unit:
            return "a checkpoint counts single words only"
        if not _COUNTED.fullmatch(unit):
            return "words with digits or signs are not counted in a checkpoint"
        return None

    def shown(self, unit: str) -> "NDArray[np.int32]":
        """As many numbers as there are images at least that show the unit in any inflection.

        They are ranks, not images: joined, they are as many as the greatest of their counts, and
        that is the least number of images which the counts allow.
        """
        import numpy as np

        return np.arange(sum(self.count(unit)), dtype=np.int32)

    def exact(self, unit: str) -> "NDArray[np.int32]":
        """Likewise for the images that show it as written."""
        import numpy as np

        return np.arange(self.count(unit)[0], dtype=np.int32)

    def beside(self, words: str, *, cohesion: float) -> int:
        """For one word its count, for more nothing: what stands side by side is not known."""
        return len(self.shown(words))

    def bound(self, adjective: str, noun: str) -> "NDArray[np.int32]":
        """Nothing: which adjective stands at which noun is not known."""
        import numpy as np

        return np.empty(0, dtype=np.int32)

    def expect(self, numbers: "NDArray[np.int32]") -> None:
        """Nothing to make ready."""

    def evidence(
        self, numbers: Sequence[int], units: Sequence[str] = (), limit: int = 6
    ) -> tuple[Evidence, ...]:
        """Nothing: a checkpoint keeps no captions."""
        return ()

    def count(self, unit: str) -> tuple[int, int]:
        """Pictures that show the unit as written, and further ones that show it inflected.

        Both are lower bounds. 0 where `why_unknown` has a reason: ask that first.
        """
        if self.why_unknown(unit):
            return 0, 0
        exact = self._most([unit])
        alike = {f for lemma in lemmas_of(unit) for f in self._by_lemma.get(lemma, ())}
        shown = [form for form in alike if is_shown_by(unit, form)]
        return exact, max(exact, self._most(shown)) - exact

    def _most(self, forms: Any) -> int:
        """The fewest pictures that show any of the forms: as many as the commonest one's."""
        packed = {word for form in forms for word in self._packed.get(form, ())}
        added = max((self.checkpoint.words[word] for word in packed), default=0)
        return self.checkpoint.at_least(added)

    @cached_property
    def _packed(self) -> dict[str, list[str]]:
        """Form -> words as packed that show it: itself, and hyphenated ones it is a part of."""
        found: dict[str, list[str]] = defaultdict(list)
        for word in self.checkpoint.words:
            for form in tokens.forms(word):
                found[form].append(word)
        return dict(found)

    @cached_property
    def _by_lemma(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for form in self._packed:
            for lemma in lemmas_of(form):
                found[lemma].append(form)
        return dict(found)


def read(path: Path) -> Checkpoint:
    """What the checkpoint in a run's folder, or in a `.safetensors` file, was taught with.

    Raises:
        InputError: there is none, the run is not finished, or the file is not one of ours.
    """
    file = _find(path)
    described = _described(file)
    version = described.get("version")
    if version != VERSION:
        was = f"written as {version!r}" if version else "no model of train finetune"
        fix = "name a run folder of train finetune"
        raise InputError(file, f"{was}; this reads {VERSION!r}", fix=fix)
    facts = described.get("facts")
    if not isinstance(facts, dict) or not isinstance(facts.get("words"), dict):
        raise InputError(file, "does not say which words it was taught", fix=_AGAIN)
    shards = facts.get("shards")
    if not isinstance(shards, list):
        raise InputError(file, "does not say what it was trained on", fix=_AGAIN)
    return Checkpoint(
        file,
        _counts(file, "words", facts["words"]),
        len(shards),
        _counts(file, "licences", facts.get("licences")),
        str(described.get("encoder", "")),
    )


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    if (path / MODEL).is_file():
        return path / MODEL
    if (path / STATE).exists():
        fix = "type its train finetune command again"
        raise InputError(path, "this run is not finished", fix=fix)
    problem = "no checkpoint here" if path.is_dir() else "no such file or folder"
    raise InputError(path, problem, fix="name a run folder of train finetune, or its .safetensors")


def _described(path: Path) -> dict[str, Any]:
    """The JSON text that `train` keeps in the header.

    Source: the safetensors format: 8 bytes little-endian length, then so many bytes of JSON, whose
    `__metadata__` maps texts to texts.
    """
    try:
        with path.open("rb") as file:
            first = file.read(8)
            size = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
            rest = path.stat().st_size - 8
            if not 2 <= size <= min(LARGEST_HEADER, rest):
                problem = "not a safetensors file, or one that is cut short"
                raise InputError(path, problem, fix=_AGAIN)
            header = json.loads(file.read(size))
        text = header["__metadata__"]["fubuki"]
        described = json.loads(text)
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise InputError(path, problem, fix="correct the path or its permissions") from None
    except (KeyError, TypeError):
        problem = "a safetensors file that says nothing of its training"
        raise InputError(path, problem, fix="name a run folder of train finetune") from None
    except (ValueError, RecursionError):
        raise InputError(path, "its header is not JSON", fix=_AGAIN) from None
    if not isinstance(described, dict):
        raise InputError(path, "its header is not one of ours", fix=_AGAIN)
    return described


def _counts(path: Path, name: str, values: object) -> dict[str, int]:
    good = isinstance(values, dict) and all(type(n) is int and n >= 0 for n in values.values())
    if not isinstance(values, dict) or not good:
        raise InputError(path, f"its {name} are not numbers of pictures", fix=_AGAIN)
    return dict(sorted(values.items()))
