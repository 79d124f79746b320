"""What a run trains on: its sets of shards, their captions encoded, and what is held out."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch

from curate.formats.model import SetRecord
from curate.formats.shards import CACHE
from curate.text import tokens
from train.data import dataset
from train.data.batches import Mixture
from train.data.dataset import ImageSet
from train.text_encoder.embeddings import encode_sets
from train.training.loop import PREVIEW_COUNT, Previews, Run, TrainingData


@dataclass(frozen=True)
class ShardSet:
    """One set of shards that a run draws from."""

    name: str  # "new", "replay" or "regularization"; also the setting that is its weight
    shards: Path
    images: ImageSet

    @property
    def digest(self) -> str:
        """SHA-256 over the hashes of its shards."""
        hashes = json.dumps([s.sha256 for s in self.images.index.shards])
        return hashlib.sha256(hashes.encode()).hexdigest()

    @property
    def record(self) -> SetRecord:
        """What a model's file says of it."""
        said = [{w for text in texts for w in tokens.words(text)} for texts in self.images.captions]
        words = Counter(chain.from_iterable(said))
        return SetRecord(self.digest, self.name, len(self.images), dict(words))


def load_shard_sets(run: Run, folders: Mapping[str, Path | None]) -> list[ShardSet]:
    """The sets of shards that have a part in every batch; says what is left out of each."""
    settings, found = run.config, []
    for name, shards in folders.items():
        if shards is None or not getattr(settings, name):
            continue
        images = dataset.load_images(
            shards,
            settings.stages[-1],
            fit=settings.fit,
            limit=int(settings.cache_gigabytes * 1e9),
            cache=run.folder / CACHE,
            progress=run.progress,
        )
        if images.is_streamed:
            how = "too large for the cache, read from the shards as they are drawn"
            run.progress.say(f"{shards}: {how}")
        if images.skipped:
            count, (key, why) = len(images.skipped), next(iter(images.skipped.items()))
            run.progress.say(f"{shards}: {count} images left out, such as {key}: {why}")
        found.append(ShardSet(name, shards, images))
    return found


def build_training_data(run: Run, sources: Sequence[ShardSet]) -> TrainingData:
    """Captions encoded, images divided into those to train on and those held out."""
    settings, sets = run.config, [source.images for source in sources]
    weights = [getattr(settings, source.name) for source in sources]
    caches = [dataset.cache_folder(source.shards, run.folder / CACHE) for source in sources]
    captions = [dataset.distinct_captions([images]) for images in sets]
    encode = partial(
        encode_sets, name=settings.text_encoder, device=run.device, progress=run.progress
    )
    text, rows = encode(list(zip(captions, caches, strict=True)))
    parts = [dataset.split_held_out(images, settings.held_out) for images in sets]
    mixture = Mixture([kept for kept, _ in parts], [w / sum(weights) for w in weights], rows, text)
    names = [source.name for source in sources]
    held_out = {
        name: Mixture([part], [1.0], rows, text)
        for name, (_, part) in zip(names, parts, strict=True)
        if len(part)
    }
    shown, own = settings.sample_prompts, text
    if shown:
        own, rows = encode([(sorted({*shown}), caches[0])])
    else:  # the first captions of as many different images, of one set after the other
        drawn = [*(held.sets[0] for held in held_out.values()), *mixture.sets]
        first = dict.fromkeys(texts[0] for images in drawn for texts in images.captions)
        shown = tuple(first)[:PREVIEW_COUNT]
    previews = Previews(shown, own.take(torch.tensor([rows[prompt] for prompt in shown])))
    return TrainingData(mixture, names, held_out, previews)
