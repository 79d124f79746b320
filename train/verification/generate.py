"""What to draw for a word, prompts with it and without it, and drawing it.

Each chunk of images is kept, so that a stopped verification goes on. What was drawn elsewhere is
planned by its own list.

Letters in names: N samples, H and W pixels.
"""

import difflib
import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from curate.errors import InputError
from curate.system.files import write_bytes
from curate.system.progress import SILENT, Progress
from curate.text import tokens
from train.data.stored import StoredImages
from train.sampling.sheets import image_file_name, write_lines
from train.size import Size
from train.verification.scorers import Reference, contains, hash_order, holds, normalize_text
from train.verification.verdict import NEVER, SHOWN, WITH, WITHOUT

SAMPLE_CHUNK = 64  # images sampled, and kept, at a time

Listed = tuple[str, int]  # prompt and seed of an image that was drawn


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

    return {
        group: sorted(sorted(texts, key=lambda text: hash_order(text, seed))[:samples])
        for group, texts in sorted(groups.items())
    }


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


def write_prompts(plan: Sequence[Sample], file: Path, size: Size) -> None:
    """Write what is to be drawn elsewhere: JSON lines, an image each, in the order of the plan.

    A line has `file` (a name of its own, without signs that a file system forbids), `group`,
    `prompt`, `seed`, and `width` and `height` in pixels. Once the images lie beside it under these
    names, the file is the `generated.jsonl` of their folder.

    Raises:
        InputError: it cannot be written.
    """
    lines = [
        {
            "file": image_file_name(number, sample.prompt, sample.seed),
            "group": sample.group,
            "prompt": sample.prompt,
            "seed": sample.seed,
            "width": size.width,
            "height": size.height,
        }
        for number, sample in enumerate(plan, 1)
    ]
    write_bytes(file, write_lines(lines))


@dataclass(frozen=True)
class ListedPlan:
    """Which images of a list are judged."""

    samples: list[Sample]  # in the order of the list
    groups: dict[str, list[str]]  # group -> its prompts, those of `samples` alone, sorted
    notes: list[str]  # what is left out, and what the list lacks


def plan_listed(
    listed: Sequence[Listed],
    groups: Mapping[str, Sequence[str]],
    *,
    asked: Sequence[str] | None = None,
    before: Sequence[Listed] | None = None,
) -> ListedPlan:
    """The samples of a list of drawn images, each in the group of its prompt.

    Args:
        listed: (prompt, seed) of each image.
        groups: of its prompts, as `group_prompts` sorts them; a prompt of no group is left out.
        asked: prompts to judge; others are left out. None for all that are listed.
        before: the list of the images drawn before, if they come from one: what both have is
            compared.

    Raises:
        InputError: nothing is left.
    """
    group_of = {prompt: group for group, prompts in groups.items() for prompt in prompts}
    wanted = None if asked is None else {normalize_text(prompt) for prompt in asked}
    earlier = None if before is None else set(before)
    kept: list[Sample] = []
    others: dict[str, list[str]] = {}  # why -> prompts of the images left out
    for prompt, seed in listed:
        if wanted is not None and normalize_text(prompt) not in wanted:
            others.setdefault("whose prompt was not asked for", []).append(prompt)
        elif prompt not in group_of:
            others.setdefault("that ask for another new word", []).append(prompt)
        elif earlier is not None and (prompt, seed) not in earlier:
            why = "whose prompt and seed the images before do not have"
            others.setdefault(why, []).append(prompt)
        else:
            kept.append(Sample(prompt, seed, group_of[prompt]))
    notes = [
        f"{len(p)} of {len(listed)} listed images left out {why}, such as {p[0]!r}"
        for why, p in others.items()
    ]
    if not kept:
        fix = "draw what train verify --write-prompts lists, before and after"
        raise InputError("the listed images", "; ".join(notes) or "there are none", fix=fix)
    notes += _describe_lacks(listed, kept, asked, before)
    shown = {sample.prompt for sample in kept}
    left = {group: sorted(shown.intersection(prompts)) for group, prompts in groups.items()}
    return ListedPlan(kept, {group: prompts for group, prompts in left.items() if prompts}, notes)


def _describe_lacks(
    listed: Sequence[Listed],
    kept: Sequence[Sample],
    asked: Sequence[str] | None,
    before: Sequence[Listed] | None,
) -> list[str]:
    """What was asked for, or drawn before, and is not listed; prompts with one image."""
    notes = []
    drawn = {normalize_text(prompt) for prompt, _ in listed}
    lacking = [prompt for prompt in asked or () if normalize_text(prompt) not in drawn]
    if asked and lacking:
        count = f"{len(lacking)} of {len(asked)} prompts asked for"
        notes.append(f"{count} have no listed image, such as {lacking[0]!r}")
    if before is not None and (more := set(before) - set(listed)):
        notes.append(f"{len(more)} images drawn before left out that were not drawn after")
    seeds = Counter(sample.prompt for sample in kept)
    if single := [prompt for prompt, count in seeds.items() if count == 1]:
        only = "every prompt" if len(single) == len(seeds) else f"{len(single)} prompts"
        notes.append(
            f"{only} drawn with one seed only: of chance from seed to seed little is known"
        )
    return notes


def read_captions(sets: Iterable[StoredImages]) -> frozenset[str]:
    """All captions of these images, plain: what a model trained on them has been shown.

    Raises:
        InputError: broken shards.
    """
    return frozenset(
        normalize_text(caption["text"])
        for images in sets
        for _, record in images.records()
        for caption in record["captions"]
    )


class Sampler(Protocol):
    """What is verified; `train.verification.samplers.open_sampler` returns one.

    One that draws nothing, but has images that were drawn, also has `listed`, a list of `Listed`.
    One with a text encoder may have `encode_prompts`, which encodes prompts ahead of drawing, and
    `notes_on`, which says what of prompts it does not read.
    """

    @property
    def size(self) -> Size:
        """Of the images."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal digits, of the files that decide the images."""
        ...

    def describe(self) -> dict[str, Any]:
        """What it is, for the report: `kind`, `name`, hashes, `settings`, how sizes are fitted."""
        ...

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """One image a (prompt, seed) pair, uint8 (N, H, W, 3)."""
        ...


def hash_texts(texts: Iterable[str]) -> str:
    """SHA-256 of texts without line breaks, in their order."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


class CachedSampler:
    """A sampler whose images are kept as they are drawn."""

    def __init__(self, source: Sampler | Path) -> None:
        """`source`: what draws, or where it lies."""
        from train.verification.samplers import open_sampler

        self.sampler = open_sampler(source) if isinstance(source, Path) else source
        self.digest = self.sampler.digest
        self.notes: list[str] = []  # what was odd about the last `sample`, once it is through

    def sample(
        self, plan: Sequence[Sample], folder: Path, name: str, progress: Progress = SILENT
    ) -> Iterator[np.ndarray]:
        """Images of `plan`, `SAMPLE_CHUNK` at a time, uint8 (N, H, W, 3).

        Each chunk is kept in `folder` under the hash of all it depends on; images that lie in a
        folder already are not kept twice. Where every chunk is kept, no text encoder is loaded.

        Args:
            plan: what to sample.
            folder: where chunks are kept.
            name: of the checkpoint, in the name of the count.
            progress: counts images, a chunk when the next is asked for.
        """
        facts = self.sampler.describe() if hasattr(self.sampler, "describe") else {}
        blank, texts = 0, [sample.prompt for sample in plan]
        self.notes = self.sampler.notes_on(texts) if hasattr(self.sampler, "notes_on") else []
        progress.count(f"sampling {name}", 0, len(plan))
        for start in range(0, len(plan), SAMPLE_CHUNK):
            images = self._sample_chunk(plan, start, folder, facts.get("settings"))
            blank += int((images.reshape(len(images), -1).max(1) == 0).sum())
            yield images
            progress.count(f"sampling {name}", start + len(images), len(plan))
        if blank and facts.get("safety_checker"):
            self.notes.append(
                f"{blank} of {len(plan)} images sampled {name} were blacked out by the pipeline's "
                "safety checker; they are judged as they are"
            )

    def _sample_chunk(
        self, plan: Sequence[Sample], start: int, folder: Path, settings: object
    ) -> np.ndarray:
        chunk = plan[start : start + SAMPLE_CHUNK]
        texts, seeds = [s.prompt for s in chunk], [s.seed for s in chunk]
        if hasattr(self.sampler, "listed"):
            return self.sampler.generate(texts, seeds)
        key = json.dumps([self.digest, settings, texts, seeds]).encode()
        file = folder / "samples" / f"{hashlib.sha256(key).hexdigest()[:24]}.npz"
        images = _read_chunk(file)
        if images is None:
            if hasattr(self.sampler, "encode_prompts"):  # all at once, with one encoder loaded
                self.sampler.encode_prompts([sample.prompt for sample in plan])
            images = self.sampler.generate(texts, seeds)
            buffer = io.BytesIO()
            np.savez_compressed(buffer, images=images)
            write_bytes(file, buffer.getvalue())
        return images


def _read_chunk(file: Path) -> np.ndarray | None:
    """Images of an earlier run; None if the file is broken, so that they are sampled again."""
    try:
        with np.load(io.BytesIO(file.read_bytes())) as arrays:
            images: np.ndarray = arrays["images"]
            return images
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
