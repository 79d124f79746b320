"""Packing: `curate pack` beside a plain loop of Pillow and webdataset's writer.

    python benchmarks/bench_pack.py [--pictures 60] [--size 256]

Both scale the same photographs down and write JPEG of the same quality. Ours also checks each
file against its hash, converts colours and decodes in processes of their own; the rows are
measured before, as `curate dedup` leaves them.
CPU seconds of this process and its children, then wall time; the ratio is what to compare.
"""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from webdataset.writer import TarWriter

from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample, Verdict
from curate.images.dedup import find_duplicates
from curate.shards.pack import pack


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--pictures", type=int, default=60)
    options.add_argument("--size", type=int, default=256, help="shorter side, pixels")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dataset = made(Path(folder), given.pictures)
        find_duplicates(dataset)
        ours = timed(lambda: pack(dataset, size=given.size))
        again = timed(lambda: pack(dataset, size=given.size))
        plain = timed(lambda: loop(dataset, Path(folder) / "plain.tar", given.size))
    print(f"{given.pictures} photographs of 2048 x 1536 to {given.size}, seconds of CPU, of wall:")
    for name, (cpu, wall) in {
        "curate pack": ours,
        "curate pack, nothing new": again,
        "Pillow and webdataset in a loop": plain,
    }.items():
        print(f"  {name:34} {cpu:8.2f} x {cpu / ours[0]:.2f}   {wall:8.2f} x {wall / ours[1]:.2f}")


def made(root: Path, count: int) -> Dataset:
    dataset = Dataset(root)
    rows = []
    with dataset.lock():
        for n in range(count):
            sha256 = dataset.store.put(photograph(n))
            caption, allow = (Caption("a photograph", "title"),), Verdict("allow", ())
            rows.append(Sample(f"b-{n:05}", "b", sha256=sha256, captions=caption, train=allow))
        dataset.write(Manifest(rows, []))
    return dataset


def photograph(seed: int) -> bytes:
    field = np.random.default_rng(seed).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(field).resize((2048, 1536), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


def loop(dataset: Dataset, file: Path, size: int) -> None:
    writer = TarWriter(str(file), encoder=False)
    for sample in dataset.read().samples:
        image = Image.open(dataset.store.path_of(str(sample.sha256))).convert("RGB")
        ratio = size / min(image.size)
        sides = round(image.width * ratio), round(image.height * ratio)
        out = io.BytesIO()
        image.resize(sides, Image.Resampling.LANCZOS).save(
            out, "JPEG", quality=95, subsampling=0, optimize=True
        )
        writer.write({"__key__": sample.key, "jpg": out.getvalue(), "txt": b"a photograph"})
    writer.close()


def timed(work: Callable[[], object]) -> tuple[float, float]:
    def spent() -> float:
        return sum(os.times()[:4])

    cpu, wall = spent(), time.perf_counter()
    work()
    return spent() - cpu, time.perf_counter() - wall


if __name__ == "__main__":
    main()
