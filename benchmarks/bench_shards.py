"""What does it cost to pack many small images, to pack them again, and after one was added?

    OMP_NUM_THREADS=1 python benchmarks/bench_shards.py [--samples 100000] [--megabytes 16]

A dataset of random JPEGs is made, then `curate pack` is run as a user types it: for the first time,
with nothing changed, with one image more, with one less; and, for comparison, all of it anew in an
empty folder of shards. Beside it a loop of Pillow and tarfile that decodes, scales and writes the
same images and checks nothing. Seconds on the clock, CPU seconds of all processes, peak memory of
the command, images decoded and shards written. Prints a table.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample, Verdict

ALLOW = Verdict("allow", ("licence:CC0-1.0",))
CHILD = """
import json, resource, sys, time
from curate import cli
start = time.monotonic()
try: cli.main(sys.argv[1:])
except SystemExit: pass
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([time.monotonic() - start, sum(u.ru_utime + u.ru_stime for u in used),
                  used[0].ru_maxrss / 1024]), file=sys.stderr)
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--samples", type=int, default=100_000)
    options.add_argument("--side", type=int, default=96, help="of the images as received, pixels")
    options.add_argument("--size", type=int, default=64, help="of the images as packed, pixels")
    options.add_argument("--megabytes", type=float, default=16.0, help="--shard-size")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset(Path(folder))
        rows = make_rows(dataset, given.samples + 1, given.side)
        words = ["--size", given.size, "--shard-size", given.megabytes, "--data", folder, "--json"]
        command = ["pack", *map(str, words)]
        print("what\tseconds\tCPU s\tMB\tdecoded\tshards\twritten")
        print(f"Pillow and tarfile\t{plain(dataset, rows[:-1], given.size)}")
        write(dataset, rows[:-1])
        print(f"pack\t{timed(command)}")
        print(f"nothing changed\t{timed(command)}")
        write(dataset, rows)
        print(f"one more\t{timed(command)}")
        write(dataset, [replace(rows[0], dropped="removed"), *rows[1:]])
        print(f"one less\t{timed(command)}")
        shutil.rmtree(dataset.shards)
        print(f"all anew\t{timed(command)}")


def make_rows(dataset: Dataset, count: int, side: int) -> list[Sample]:
    random, rows = np.random.default_rng(0), []
    for n in range(count):
        pixels = random.integers(0, 256, (side // 8, side // 8, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).resize((side, side)).save(file, "JPEG", quality=90)
        sha256 = dataset.store.put(file.getvalue(), sync=False)
        rows.append(
            Sample(
                key=f"t-{n:07}",
                source="test",
                sha256=sha256,
                license="CC0-1.0",
                author="A. Nyone",
                page_url=f"https://example.org/{n}",
                captions=(Caption(f"image number {n}", "title"),),
                train=ALLOW,
                inspected_by="bench",
            )
        )
    return rows


def write(dataset: Dataset, rows: list[Sample]) -> None:
    with dataset.lock():
        dataset.write(Manifest(rows, []))


def plain(dataset: Dataset, rows: list[Sample], size: int) -> str:
    clock, cpu = time.monotonic(), time.process_time()
    with tempfile.TemporaryFile() as file, tarfile.open(fileobj=file, mode="w") as tar:
        for row in rows:
            image = Image.open(dataset.store.path_of(str(row.sha256))).convert("RGB")
            small, out = image.resize((size, size), Image.Resampling.LANCZOS), io.BytesIO()
            small.save(out, "JPEG", quality=95, subsampling=0, optimize=True)
            for kind, data in (("jpg", out.getvalue()), ("txt", row.captions[0].text.encode())):
                member = tarfile.TarInfo(f"{row.key}.{kind}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return f"{time.monotonic() - clock:.1f}\t{time.process_time() - cpu:.1f}\t\t{len(rows)}\t1\t1"


def timed(words: list[str]) -> str:
    ran = [sys.executable, "-c", CHILD, *words]
    done = subprocess.run(ran, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, cpu, megabytes = json.loads(done.stderr.splitlines()[-1])
    said = json.loads(done.stdout)
    counts = f"{said['rendered']}\t{said['shards']}\t{said['shards_written']}"
    return f"{seconds:.1f}\t{cpu:.1f}\t{megabytes:.0f}\t{counts}"


if __name__ == "__main__":
    main()
