"""What shards are to hold: the images as rendered, and what the record of each says."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curate.dataset.engine import Engine, run_unordered
from curate.dataset.folder import Store
from curate.dataset.sample import Sample, to_record
from curate.formats.shards import HELD_OUT, Record, Shard, ShardIndex, credit_of
from curate.formats.verdicts import USES, Standing, digest
from curate.images.renders import Renders
from curate.shards.plan import Planned, find_held_out, plan_shards, prefix_of
from curate.shards.reuse import FACTS, OldShards, Rendered
from curate.shards.write import digest_of
from curate.system.progress import Progress, track
from curate.system.sandbox import WorkerFailure
from curate.text import tokens

_MADE = {*USES, *FACTS, "captions", "group", "weight", "credits"}  # of a record, not as in a row
_TAKEN = [name for name in Record.__annotations__ if name not in _MADE]
MEGABYTE = 1_000_000  # bytes


def render_all(
    store: Store,
    samples: Sequence[Sample],
    old: OldShards,
    renders: Renders,
    engine: Engine,
    progress: Progress,
) -> tuple[dict[str, Rendered], dict[str, str], int]:
    """Each image as it is packed: from the old shards, else as it was kept, else rendered.

    Returns:
        Where each rendering lies, by SHA-256 of the bytes received; why an image has none,
        likewise; and how many were rendered. What is rendered is put into `renders`.
    """
    hashes = {sample.sha256: None for sample in samples if sample.sha256}
    found, refused, todo = dict[str, Rendered](), dict[str, str](), list[str]()
    for sha256 in hashes:
        if rendered := old.images.get(sha256):
            found[sha256] = rendered
        elif kept := renders.get(sha256):
            found[sha256] = Rendered(kept[0], "", 0, len(kept[1]))
        else:
            todo.append(sha256)
    jobs = ({"root": str(store.root), "sha256": h, **renders.settings} for h in todo)
    function = "curate.images.render:render_stored"
    answers = run_unordered(function, jobs, engine=engine) if todo else iter(())
    for number, answer in track(answers, len(todo), "images", progress):
        sha256 = todo[number]
        if isinstance(answer, WorkerFailure):
            refused[sha256] = "unreadable"
        elif why := answer[0].get("refused"):
            refused[sha256] = why
        else:
            renders.put(sha256, *answer)
            found[sha256] = Rendered(answer[0], "", 0, len(answer[1]))
    return found, refused, len(todo)


@dataclass
class Contents:
    """Samples that were rendered, and what is said of each."""

    rows: Mapping[str, Sample]  # of the dataset, by key
    standings: Mapping[str, Standing]  # likewise
    keys: Sequence[str]  # of those to be packed, sorted
    rendered: Mapping[str, Rendered]  # by SHA-256 of the bytes received
    settings: Mapping[str, Any]  # of the index
    kin: dict[str, str] = field(init=False)  # key -> name of its group; its own where it has none
    related: Counter[str] = field(init=False)  # name of a group -> images of it that are packed
    said: dict[str, tuple[int, bytes]] = field(init=False)  # key -> bytes of record and caption,
    # and their digest

    def __post_init__(self) -> None:
        """Work out which images are related, and what is said of each."""
        self.kin = {key: min((key, *self.standings[key].copies)) for key in self.keys}
        self.related = Counter(self.kin.values())
        self.said = {}
        for key in self.keys:
            record, caption = map(str.encode, self.texts(key))
            self.said[key] = len(record) + len(caption), digest_of(record, caption)

    def plan(self) -> dict[str, list[str]]:
        """The keys in each shard, in order, by its name."""
        kin = {key: [self.kin[key], *filter(None, [self.rows[key].scene])] for key in self.keys}
        held_out = find_held_out(kin, self.settings[HELD_OUT])
        parts: defaultdict[str, list[Planned]] = defaultdict(list)
        for key in self.keys:
            related = (key, *self.standings[key].copies)
            licences = (self.rows[other].license for other in related)
            prefix = prefix_of(self.settings["split"], licences, held_out=key in held_out)
            size = self._rendering(key).size + self.said[key][0]
            parts[prefix].append(Planned(key, self.kin[key], size))
        return plan_shards(parts, round(self.settings["shard_megabytes"] * MEGABYTE))

    def texts(self, key: str) -> tuple[str, str]:
        """The JSON of the record of a sample, and its first caption."""
        sample, copies = self.rows[key], self.standings[key].copies
        captions = [to_record(c) for c in sample.captions if c.text.strip()]
        record = {name: getattr(sample, name) for name in _TAKEN} | self._rendering(key).facts
        del record["format"]
        record |= {use: (verdict := getattr(sample, use)) and to_record(verdict) for use in USES}
        record |= {
            "captions": captions,
            "group": self.kin[key] if copies else None,
            "weight": 1 / self.related[self.kin[key]],
            "credits": [credit_of(self.rows[other]) for other in (key, *copies)],
        }
        assert record.keys() == Record.__annotations__.keys()
        return json.dumps(record, sort_keys=True, ensure_ascii=False), captions[0]["text"]

    def is_in(self, old: OldShards, name: str, keys: Sequence[str]) -> bool:
        """Whether a shard that is there holds these samples, in this order, as they are now."""
        there = old.rows.get(name, {})
        return [*there.items()] == [(key, self.said[key][1]) for key in keys]

    def members(self, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Samples as `write_shard` takes them."""
        for key in keys:
            _, path, offset, size = self._rendering(key)
            place = (path, offset, size) if path else ("", self.rows[key].sha256, size)
            yield key, *self.texts(key), *place

    def shard(self, name: str, keys: Sequence[str], sha256: str, size: int) -> Shard:
        """How the index lists a file of so many bytes that holds these samples."""
        split = HELD_OUT if name.startswith(HELD_OUT) else self.settings["split"]
        return Shard(name, sha256, len(keys), size, split, self._licences(keys))

    def index(self, shards: Sequence[Shard]) -> ShardIndex:
        """What the index says, of shards by name."""
        images_of: defaultdict[str, set[str]] = defaultdict(set)  # word -> images, told by pixels
        for key in self.keys:
            row = self.rows[key]
            image = row.pixel_sha256 or row.sha256 or key
            for word in {word for c in row.captions for word in tokens.words(c.text)}:
                images_of[word].add(image)
        policies = {self.rows[key].policy for key in self.keys}
        return ShardIndex(
            size=self.settings["size"],
            format=self.settings["format"],
            split=self.settings["split"],
            samples=len(self.keys),
            shards=tuple(shards),
            words={word: len(images) for word, images in images_of.items()},
            licences=self._licences(self.keys),
            settings=self.settings,
            policy=policies.pop() if len(policies) == 1 else None,
            verdicts=digest(self.standings[key] for key in self.keys),
        )

    def _licences(self, keys: Sequence[str]) -> dict[str, int]:
        return dict(Counter(self.rows[key].license or "none" for key in keys))

    def _rendering(self, key: str) -> Rendered:
        return self.rendered[self.rows[key].sha256 or ""]
