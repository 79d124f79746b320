"""Which images to sample for a word: prompts with it and without it, and seeds."""

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.errors import InputError
from curate.formats.shards import iterate_samples
from curate.text import tokens
from train.verification.scorers import Reference, contains, holds, normalize_text
from train.verification.verdict import NEVER, SHOWN, WITH, WITHOUT


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
        for prompt in prompts:
            for turn in range(turns):
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
