"""From shards to batches: the cached and the streamed way beside webdataset with a DataLoader.

    python benchmarks/bench_data.py [--pictures 600] [--batches 60] [--repeats 3]

Images with detail of all sizes are drawn and written as shards in the documented layout. Then,
on one processor, in turns, both sides read the same shards at the same size:

    filling   decoding every image once into the cache, in images per CPU-second
    cached    batches of 16 from that cache
    streamed  the same batches from the tars, a true permutation of all images
    pixels    of those batches only what the peer makes
    peer      webdataset, its shuffle buffer of 1,000 images, a DataLoader without workers

Ours are whole training batches with captions, noise and low-resolution images; the peer's are
float pixels and captions. A third of the distance between two random places is what a true
shuffle moves an image; `moved` is the mean distance between where images lie and where they
come out, as a share of that, where a shard holds 20,000 images. Last, `ahead`: seconds a step
with a device that is busy as long as a batch takes to make, with and without it, and what it costs
where making a batch costs nothing. Prints JSON.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset
from PIL import Image

from curate.formats.shards import INDEX_NAME, Shard, ShardIndex, shard_name
from train.config import TrainConfig
from train.data import dataset
from train.data.batches import Mixture
from train.data.prefetch import prefetch
from train.size import Size
from train.text_encoder.embeddings import EncodedText

BATCH = 16
BUFFER = 1_000  # images; webdataset's own examples use 1,000
CASES = {  # stored side and format, stages, stage
    "512 px JPEG, base of 64": (512, "jpg", (64,), 0),
    "512 px JPEG, crops of 64 at 128 to 512": (512, "jpg", (128, 512), 1),
    "64 px PNG, 16 to 64": (64, "png", (16, 64), 1),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--pictures", type=int, default=600)
    options.add_argument("--batches", type=int, default=60)
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()
    torch.set_num_threads(1)
    processors = os.sched_getaffinity(0)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (side, form, _, _) in CASES.items():
            write(Path(folder) / name, given.pictures, side, form)
        os.sched_setaffinity(0, {min(processors)})
        for name, (_, _, stages, number) in CASES.items():
            found[name] = case(Path(folder) / name, stages, number, given)
        os.sched_setaffinity(0, processors)
        found["ahead"] = time_prefetch(Path(folder) / next(iter(CASES)))
    found["moved"] = {
        "permutation": mean_move(permutation_order()),
        "shuffle buffer": mean_move(buffer_order()),
    }
    json.dump(found, sys.stdout, indent=1)
    print()


def write(folder: Path, pictures: int, side: int, form: str) -> None:
    """Shards of one tar."""
    folder.mkdir()
    random, tar = np.random.default_rng(0), folder / shard_name("train", 0)
    with webdataset.TarWriter(str(tar), encoder=False) as writer:
        for n in range(pictures):
            captions = [{"text": f"image {n}", "origin": "text"}]
            record = {"captions": captions, "train": {"decision": "allow", "reasons": []}}
            members = (picture(random, side, form), json.dumps(record), f"image {n}")
            names = (form, "json", "txt")
            encoded = [m if isinstance(m, bytes) else m.encode() for m in members]
            writer.write({"__key__": f"k{n:06d}", **dict(zip(names, encoded, strict=True))})
    whole = tar.read_bytes()
    shard = Shard(tar.name, hashlib.sha256(whole).hexdigest(), pictures, len(whole))
    index = ShardIndex(side, form, "train", pictures, (shard,), {}, {}, {})
    (folder / INDEX_NAME).write_bytes(index.to_json())


def picture(random: np.random.Generator, side: int, form: str) -> bytes:
    """Noise of all scales, as strong at each: compresses about as photographs do."""
    total = np.zeros((side, side, 3))
    scale = 2
    while scale <= side:
        coarse = Image.fromarray(random.integers(0, 256, (scale, scale, 3), np.uint8))
        total += np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)) - 127.5
        scale *= 2 if scale < side // 4 else side
    image = Image.fromarray((total / 3 + 127.5).clip(0, 255).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, {"jpg": "JPEG", "png": "PNG"}[form], quality=95, subsampling=0)
    return file.getvalue()


def case(
    shards: Path, stages: tuple[int, ...], number: int, given: argparse.Namespace
) -> dict[str, Any]:
    """Images per CPU-second of each way: the best of the repeats, taken in turns."""
    size, config = Size.of(stages[-1]), TrainConfig(stages=stages, images=(1,) * len(stages))
    rates: dict[str, float] = {}

    def note(name: str, images: int, work: Callable[[], Any]) -> Any:
        started = time.process_time()
        result = work()
        rate = images / (time.process_time() - started)
        rates[name] = max(rates.get(name, 0.0), rate)
        return result

    for _ in range(given.repeats):
        shutil.rmtree(shards / dataset.CACHE, ignore_errors=True)
        read = corpus_of(dataset.load_images(shards, size, limit=0))
        shutil.rmtree(shards / dataset.CACHE)
        kept = corpus_of(
            note("filling", given.pictures, lambda: dataset.load_images(shards, size, limit=10**12))
        )
        for name, corpus in (("cached", kept), ("streamed", read)):
            images = BATCH * given.batches
            note(name, images, lambda c=corpus: ours(c, config, number, given.batches))
        side = min(config.crop, stages[-1]) if number else stages[-1]
        note("pixels", images, lambda r=read, s=side: pixels(r, s, given.batches))
        peers = min(given.batches, given.pictures // BATCH)
        note("peer", BATCH * peers, lambda s=side, n=peers: peer(shards, stages[-1], s, n))
    return {
        "images per CPU-second": {name: round(rate, 1) for name, rate in rates.items()},
        "ratio to the peer": {
            name: round(rates[name] / rates["peer"], 2) for name in ("cached", "streamed", "pixels")
        },
    }


def corpus_of(pictures: dataset.ImageSet) -> Mixture:
    captions = dataset.distinct_captions([pictures])
    states = torch.ones(8 * len(captions), 384).half()
    text = EncodedText.from_rows(states, torch.full((len(captions),), 8))
    return Mixture([pictures], [1.0], {c: n for n, c in enumerate(captions)}, text)


def ours(corpus: Mixture, config: TrainConfig, number: int, batches: int) -> None:
    for n in range(batches):
        corpus.batch(config, number, n * BATCH, BATCH)


def pixels(corpus: Mixture, crop: int, batches: int) -> None:
    (pictures,), random = corpus.sets, np.random.default_rng(0)
    for n in range(batches):
        rows = dataset.rows_at(
            len(pictures), start=n * BATCH, number=BATCH, seed=0, stream=0
        ).tolist()
        places = random.integers(0, pictures.size.width - crop + 1, (BATCH, 2))
        corners = [(int(top), int(left)) for top, left in places]
        dataset.normalize(pictures.windows(rows, corners, Size(crop, crop)))


def peer(shards: Path, side: int, crop: int, batches: int) -> None:
    """As webdataset's own examples do it; the same resampling filter, then a random crop."""
    random = np.random.default_rng(0)

    def ready(sample: dict[str, Any]) -> tuple[torch.Tensor, str]:
        image = sample["image"].convert("RGB")
        if image.size != (side, side):
            image = image.resize((side, side), Image.Resampling.LANCZOS)
        left, top = random.integers(0, side - crop + 1, 2)
        pixels = np.asarray(image.crop((left, top, left + crop, top + crop)))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().div(127.5).sub(1), sample[
            "txt"
        ]

    url = str(shards / shard_name("train", 0))
    dataset = (
        webdataset.WebDataset(url, shardshuffle=False, empty_check=False)
        .shuffle(BUFFER)
        .decode("pil")
        .rename(image="jpg;png")
        .map(ready)
    )
    loader = iter(torch.utils.data.DataLoader(dataset, batch_size=BATCH, num_workers=0))
    for _ in range(batches):
        next(loader)


PLACES = 20_000


def permutation_order() -> list[int]:
    return dataset.rows_at(PLACES, start=0, number=PLACES, seed=0, stream=0).tolist()


def buffer_order() -> Iterator[int]:
    """What webdataset's buffer makes of images that lie in the order 0, 1, 2, …"""
    from random import Random

    from webdataset.filters import _shuffle

    return _shuffle(iter(range(PLACES)), BUFFER, 100, rng=Random(0))


def mean_move(order: Any) -> float:
    came = np.fromiter(order, int)
    return round(float(np.abs(came - np.arange(len(came))).mean() / (len(came) / 3)), 3)


def time_prefetch(shards: Path) -> dict[str, float]:
    """Seconds a step; the device is played by a pause, in which the processor is free."""
    corpus = corpus_of(dataset.load_images(shards, Size(512, 512), limit=0))
    config = TrainConfig(stages=(128, 512), images=(1, 1))

    def make(seen: int, count: int) -> object:
        return corpus.batch(config, 1, seen, count)

    positions = [(n * BATCH, BATCH) for n in range(24)]
    started = time.perf_counter()
    for position in positions:
        make(*position)
    alone = (time.perf_counter() - started) / len(positions)
    started = time.perf_counter()
    for position in positions:
        make(*position)
        time.sleep(alone)
    plain = (time.perf_counter() - started) / len(positions)
    started = time.perf_counter()
    with prefetch(make, positions) as batches:
        for _ in batches:
            time.sleep(alone)
    with_it = (time.perf_counter() - started) / len(positions)
    many = [(n, 0) for n in range(20_000)]
    started = time.process_time()
    with prefetch(lambda seen, count: seen, many) as numbers:
        for _ in numbers:
            pass
    cost = (time.process_time() - started) / len(many)
    return {
        "making a batch, s": round(alone, 4),
        "step without, s": round(plain, 4),
        "step with, s": round(with_it, 4),
        "its own cost, CPU-microseconds a batch": round(cost * 1e6, 1),
    }


if __name__ == "__main__":
    main()
