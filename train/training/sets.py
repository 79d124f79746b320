"""What a run learns from: its sets of shards, their captions encoded, and what is held out."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from train.data import dataset
from train.data.batches import Corpus
from train.data.dataset import CACHE, Pictures
from train.text_encoder.embeddings import EncodedText, encode_sets
from train.training.loop import Lesson, Run
from train.training.previews import COUNT, Previews


@dataclass(frozen=True)
class Source:
    """One set of shards that a run draws from."""

    name: str  # "new", "replay" or "regularization"; also the setting that is its weight
    shards: Path
    pictures: Pictures

    @property
    def digest(self) -> str:
        """SHA-256 over the hashes of its shards."""
        hashes = json.dumps([s.sha256 for s in self.pictures.index.shards])
        return hashlib.sha256(hashes.encode()).hexdigest()


def sources_of(run: Run, folders: Mapping[str, Path | None]) -> list[Source]:
    """The sets of shards that have a part in every batch; says what is left out of each."""
    settings, found = run.config, []
    for name, shards in folders.items():
        if shards is None or not getattr(settings, name):
            continue
        pictures = dataset.load(
            shards,
            settings.stages[-1],
            fit=settings.fit,
            limit=int(settings.cache_gigabytes * 1e9),
            cache=run.folder / CACHE,
            progress=run.progress,
        )
        if pictures.streamed:
            run.progress.say(
                f"{shards}: too large for the cache, read from the shards as they are drawn"
            )
        if pictures.skipped:
            key, why = next(iter(pictures.skipped.items()))
            run.progress.say(
                f"{shards}: {len(pictures.skipped)} pictures left out, such as {key}: {why}"
            )
        found.append(Source(name, shards, pictures))
    return found


def lesson_of(run: Run, sources: Sequence[Source]) -> Lesson:
    """Captions encoded, pictures divided into those to learn from and those held out."""
    settings, sets = run.config, [source.pictures for source in sources]
    weights = [getattr(settings, source.name) for source in sources]
    caches = [dataset.cache_folder(source.shards, run.folder / CACHE) for source in sources]
    said = [dataset.distinct_captions([pictures]) for pictures in sets]
    text, rows = encode_sets(
        list(zip(said, caches, strict=True)),
        settings.text_encoder,
        device=run.device,
        progress=run.progress,
    )
    parts = [dataset.split(pictures, settings.held_out) for pictures in sets]
    corpus = Corpus([kept for kept, _ in parts], [w / sum(weights) for w in weights], rows, text)
    names = [source.name for source in sources]
    held = {
        name: Corpus([part], [1.0], rows, text)
        for name, (_, part) in zip(names, parts, strict=True)
        if len(part)
    }
    shown, own = settings.sample_prompts, text
    if shown:
        own, rows = encode_sets(
            [(sorted({*shown}), caches[0])],
            settings.text_encoder,
            device=run.device,
            progress=run.progress,
        )
    else:
        shown = _prompts([*(h.sets[0] for h in held.values()), *corpus.sets])
    return Lesson(corpus, names, held, _previews(shown, own, rows))


def _prompts(sets: Sequence[Pictures]) -> tuple[str, ...]:
    """The first captions of as many different pictures, of one set after the other."""
    found = dict.fromkeys(texts[0] for pictures in sets for texts in pictures.captions)
    return tuple(found)[:COUNT]


def _previews(prompts: Sequence[str], text: EncodedText, rows: Mapping[str, int]) -> Previews:
    return Previews(prompts, text.take(torch.tensor([rows[prompt] for prompt in prompts])))
