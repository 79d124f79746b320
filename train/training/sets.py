"""What a run trains on: its sets of images, their captions encoded, and what is held out."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from curate.errors import InputError
from curate.formats.model import SetRecord
from curate.formats.shards import CACHE, find_shards, pack_command
from curate.system.progress import SILENT, Progress, track
from curate.text import tokens
from train.data import dataset
from train.data.batches import Mixture
from train.data.dataset import ImageSet
from train.data.stored import OwnShards, describe_rights, with_subject
from train.text_encoder.embeddings import encode_sets
from train.training.loop import PREVIEW_COUNT, Previews, Run, TrainingData


@dataclass(frozen=True)
class ShardSet:
    """One set of images that a run draws from."""

    name: str  # "new", "replay" or "regularization"; also the setting that is its weight
    shards: Path  # as it was named
    images: ImageSet

    @property
    def digest(self) -> str:
        """SHA-256 of its content; see `train.data.stored`."""
        return self.images.stored.digest

    @property
    def record(self) -> SetRecord:
        """What a model's file says of it."""
        said = [{w for text in texts for w in tokens.words(text)} for texts in self.images.captions]
        words = Counter(chain.from_iterable(said))
        return SetRecord(self.digest, self.name, len(self.images), dict(words))

    def credited(self, progress: Progress) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Key and record of each of its images."""
        wanted, stored = {*self.images.keys}, self.images.stored
        every = track(stored.records(), stored.samples, "reading credits", progress)
        return (pair for pair in every if pair[0] in wanted)

    def sentences(self) -> list[str]:
        """What is to be said of it: what is left out, and whose rights are unknown."""
        found = list(self.images.stored.notes)
        if self.images.is_streamed:
            found.append("too large for the cache, read from disk as they are drawn")
        if skipped := self.images.skipped:
            key, why = next(iter(skipped.items()))
            found.append(f"{len(skipped)} images left out, such as {key}: {why}")
        if rights := self.rights:
            found.append(rights)
        return [with_subject(self.shards, sentence) for sentence in found]

    @property
    def rights(self) -> str | None:
        """As `describe_rights`, of the images that are used."""
        if isinstance(self.images.stored, OwnShards):
            return None
        return describe_rights([record for _, record in self.credited(SILENT)])

    @property
    def log_entry(self) -> dict[str, Any]:
        """What the log says of it, if anything is to be said."""
        images, found = self.images, {}
        if images.skipped:
            found = {
                "left_out": dataset.count_reasons(images.skipped),
                "skipped": dict(images.skipped),
            }
        notes = [*images.stored.notes, *filter(None, [self.rights])]
        return found | ({"notes": notes} if notes else {})


def load_shard_sets(run: Run, folders: Mapping[str, Path | None]) -> list[ShardSet]:
    """The sets of images that have a part in every batch; says what is left out of each."""
    settings, found = run.config, []
    used = {n: path for n, path in folders.items() if path is not None and getattr(settings, n)}
    for name, path in used.items():
        images = dataset.load_images(
            path,
            settings.stages[-1],
            fit=settings.fit,
            limit=int(settings.cache_gigabytes * 1e9),
            cache=run.folder / CACHE,
            progress=run.progress,
        )
        found.append(ShardSet(name, path, images))
        for sentence in found[-1].sentences():
            run.progress.say(sentence)
    return found


def build_training_data(run: Run, sources: Sequence[ShardSet]) -> TrainingData:
    """Captions encoded, images divided into those to train on and those held out."""
    settings, sets = run.config, [source.images for source in sources]
    weights = [getattr(settings, source.name) for source in sources]
    caches = [images.stored.cache_folder(run.folder / CACHE) for images in sets]
    captions = [dataset.distinct_captions([images]) for images in sets]
    encode = partial(
        encode_sets, name=settings.text_encoder, device=run.device, progress=run.progress
    )
    text, rows = encode(list(zip(captions, caches, strict=True)))
    parts = [dataset.split_held_out(images, settings.held_out) for images in sets]
    for source, (kept, _) in zip(sources, parts, strict=True):
        if not len(kept):
            fix = pack_command(find_shards(source.shards), held_out=0.0)
            raise InputError(source.shards, "its shards hold all of its images out", fix=fix)
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
