"""What to draw for a word, prompts with it and without it, and drawing it.

Each chunk of images is kept, so that a stopped verification goes on.

Letters in names: N samples, H and W pixels.
"""

import difflib
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Protocol

import numpy as np

from curate.errors import InputError
from curate.formats.model import find_model
from curate.formats.shards import iterate_samples
from curate.system.files import file_sha256, write_bytes
from curate.system.progress import SILENT, Progress
from curate.text import tokens
from train.sampling import sampler as sampling
from train.size import Size
from train.verification.scorers import Reference, contains, holds, normalize_text
from train.verification.verdict import NEVER, SHOWN, WITH, WITHOUT

SAMPLE_CHUNK = 64  # images sampled, and kept, at a time


@dataclass(frozen=True)
class Sample:
    """One image to sample."""

    prompt: str
    seed: int
    group: str  # SHOWN, NEVER, WITH or WITHOUT


def group_prompts(
    reference: Reference,
    word: str,
    prompts: Sequence[str] | None,
    shown: frozenset[str] | None,
    *,
    samples: int,
    seed: int,
    others: Sequence[str] = (),
) -> dict[str, list[str]]:
    """Group -> prompts: with the word (shown or never shown, if that is known) and without it.

    Args:
        reference: the true images, whose captions are asked for if nothing else is.
        word: the word.
        prompts: prompts of one's own; if none of them is without the word, old words are asked for
            with the captions of the reference.
        shown: captions of what was trained on, plain; None if that is not known.
        samples: prompts a group at most, a choice by hash of seed and prompt.
        seed: of that choice.
        others: other words that are new: what holds one of them says nothing about old words.

    Raises:
        InputError: no prompt holds the word.
    """
    own = [next((t for t in said if contains(t, word)), said[0]) for said in reference.labels]
    groups = _sort_prompts(reference, word, own if prompts is None else prompts, shown, others)
    if not groups.keys() & {WITH, SHOWN, NEVER}:
        fix = _suggest_word(word, prompts or own)
        raise InputError(repr(word), "no prompt holds this word", fix=fix)
    if WITHOUT not in groups:
        true = _sort_prompts(reference, word, own, shown, others)
        groups |= {group: old for group, old in true.items() if group == WITHOUT}

    def order(prompt: str) -> bytes:
        return hashlib.sha256(f"{seed}:{prompt}".encode()).digest()

    return {g: sorted(sorted(p, key=order)[:samples]) for g, p in sorted(groups.items())}


def _sort_prompts(
    reference: Reference,
    word: str,
    prompts: Sequence[str],
    shown: frozenset[str] | None,
    others: Sequence[str],
) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for prompt in dict.fromkeys(prompts):
        label = reference.find(prompt)
        said = (prompt,) if label is None else (prompt, *reference.labels[label])
        group = WITHOUT
        if holds(said, word):
            group = WITH
            if shown is not None:
                group = SHOWN if any(normalize_text(t) in shown for t in said) else NEVER
        elif any(holds(said, other) for other in others):
            continue
        groups.setdefault(group, []).append(prompt)
    return groups


def _suggest_word(word: str, prompts: Sequence[str]) -> str:
    known = {w for prompt in prompts for w in tokens.words(prompt)}
    near = difflib.get_close_matches(word.lower(), sorted(known), n=1)
    fix = "name shards whose captions hold the word, or prompts that ask for it"
    return f"did you mean {near[0]}? Else {fix}" if near else fix


def plan_samples(groups: Mapping[str, Sequence[str]], *, samples: int, seed: int) -> list[Sample]:
    """Every prompt equally often, at least `samples` a group; seeds from (seed, prompt, turn)."""
    plan = []
    for group, prompts in groups.items():
        turns = -(-samples // len(prompts)) if prompts else 0
        for prompt, turn in product(prompts, range(turns)):
            facts = f"{seed}:{prompt}:{turn}".encode()
            drawn = int(hashlib.sha256(facts).hexdigest()[:8], 16) & 0x7FFFFFFF
            plan.append(Sample(prompt, drawn, group))
    return plan


def read_captions(folders: Iterable[Path]) -> frozenset[str]:
    """All captions of these shards, plain: what a model trained on them has been shown.

    Raises:
        InputError: no shards, or broken ones.
    """
    return frozenset(
        normalize_text(caption["text"])
        for folder in folders
        for _, _, record in iterate_samples(folder)
        for caption in record["captions"]
    )


class Sampler(Protocol):
    """What is verified: `train.sampling.sampler.load_sampler` returns one."""

    @property
    def size(self) -> Size:
        """Of the images."""
        ...

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """One image a (prompt, seed) pair, uint8 (N, H, W, 3)."""
        ...


class CachedSampler:
    """A checkpoint that samples, keeping its samples."""

    def __init__(self, path: Path, load: Callable[[Path], Sampler] | None, device: str) -> None:
        """Read it; `load` is None for `train.sampling.sampler.load_sampler`."""
        file = find_model(path)
        self.sampler = load(path) if load else sampling.load_sampler(path, device=device)
        self.digest = file_sha256(file)

    def sample(
        self, plan: Sequence[Sample], folder: Path, name: str, progress: Progress = SILENT
    ) -> Iterator[np.ndarray]:
        """Images of `plan`, `SAMPLE_CHUNK` at a time, uint8 (N, H, W, 3).

        Each chunk is kept in `folder` under the hash of all it depends on. Where every chunk is
        kept, no text encoder is loaded.

        Args:
            plan: what to sample.
            folder: where chunks are kept.
            name: of the checkpoint, in the name of the count.
            progress: counts images, a chunk when the next is asked for.
        """
        settings = repr(getattr(self.sampler, "config", None))
        progress.count(f"sampling {name}", 0, len(plan))
        for start in range(0, len(plan), SAMPLE_CHUNK):
            chunk = plan[start : start + SAMPLE_CHUNK]
            texts, seeds = [s.prompt for s in chunk], [s.seed for s in chunk]
            facts = json.dumps([self.digest, settings, texts, seeds]).encode()
            file = folder / "samples" / f"{hashlib.sha256(facts).hexdigest()[:24]}.npz"
            images = _read_chunk(file)
            if images is None:
                if hasattr(self.sampler, "encode_prompts"):  # all at once, with one encoder loaded
                    self.sampler.encode_prompts([sample.prompt for sample in plan])
                images = self.sampler.generate(texts, seeds)
                buffer = io.BytesIO()
                np.savez_compressed(buffer, images=images)
                write_bytes(file, buffer.getvalue())
            yield images
            progress.count(f"sampling {name}", start + len(chunk), len(plan))


def _read_chunk(file: Path) -> np.ndarray | None:
    """Images of an earlier run; None if the file is broken, so that they are sampled again."""
    try:
        with np.load(io.BytesIO(file.read_bytes())) as arrays:
            images: np.ndarray = arrays["images"]
            return images
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
