"""What it costs a trainer to ask whether shards still say what their dataset says.

    python benchmarks/bench_verdicts.py [--samples 10000] [--side 64]

Shards of random JPEGs lie beside their manifest. Opening them with `load_images` is timed with and
without the question, in turns: the first time, when every image is decoded, and again, when what
was decoded is kept. Then `curate status`'s question alone, by the digest and by every record.
CPU seconds of this process; one thread. Prints JSON.
"""

import argparse
import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample, Verdict
from curate.formats.verdicts import find_stale, find_standings, read_manifest_verdicts
from curate.shards.pack import pack
from train.data import dataset as training
from train.size import Size


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--samples", type=int, default=10_000)
    options.add_argument("--side", type=int, default=64, help="of the images, pixels")
    given = options.parse_args()
    asked = training.refuse_stale
    found: dict[str, list[float]] = {
        "first, asked": [],
        "first": [],
        "again, asked": [],
        "again": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        made = write(Path(folder), given.samples, given.side)
        size = Size(given.side, given.side)
        for _ in range(3):
            for name, question in (("", lambda *_: None), (", asked", asked)):
                training.refuse_stale = question
                shutil.rmtree(made.shards / training.CACHE, ignore_errors=True)
                for when in ("first", "again"):
                    found[when + name].append(timed(lambda: training.load_images(made.root, size)))
        standings = find_standings(read_manifest_verdicts(made.manifest))
        alone = {
            "manifest": timed(lambda: find_standings(read_manifest_verdicts(made.manifest))),
            "by digest": timed(lambda: find_stale(made.shards, standings, list(standings))),
            "by records": timed(lambda: find_stale(made.shards, standings)),
        }
    json.dump({name: min(times) for name, times in found.items()} | alone, sys.stdout, indent=1)
    print()


def timed(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return round(time.process_time() - start, 3)


def write(root: Path, count: int, side: int) -> Dataset:
    """A dataset of this many rows, and shards of all of them."""
    dataset, random = Dataset(root), np.random.default_rng(0)
    allow = Verdict("allow", ("licence:CC0-1.0",))
    rows = []
    for n in range(count):
        file = io.BytesIO()
        pixels = random.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
        Image.fromarray(pixels).resize((side, side)).save(file, "JPEG", quality=95)
        sha256 = dataset.store.put(file.getvalue(), sync=False)
        captions = (Caption(f"image {n}", "text"),)
        rows.append(Sample(f"t-{n:06}", "test", sha256=sha256, captions=captions, train=allow))
    dataset.write(Manifest(rows, []))
    pack(dataset, size=side)
    return dataset


if __name__ == "__main__":
    main()
