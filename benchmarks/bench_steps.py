"""What does a step cost, whatever it decides? CPU seconds and memory of steps over many rows.

    python benchmarks/bench_steps.py [--rows 100000] [--steps check,caption]

Rows as a fetch from a source leaves them are drawn, their words by Zipf's law, with stored answers
as their evidence; no image is stored. Each step runs in a process of its own, in turn, on what the
one before left: check, caption, one column (a step that reads ten columns and fills one), nothing
(a step that changes nothing), status. With `--rows 300000` beside `--rows 100000` it shows whether
time and memory are linear.
"""

import argparse
import hashlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path

from curate.captions import clean
from curate.commands.status import status
from curate.dataset.folder import Dataset, Store
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Sample
from curate.rights import check

STEPS = ("make", "check", "caption", "one column", "nothing", "status")
READS = ("sha256", "pixel_sha256", "phash", "width", "height", "license_text", "author", "title")
LICENCES = ("CC BY 4.0", "CC0 1.0", "CC BY-SA 4.0", "CC BY-NC 2.0", "all rights reserved")
SYLLABLES = "ba ke lo mi nu ra se ti vo wen star el an or gri fa du po sha tle".split()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--steps", default=",".join(STEPS[1:]))
    options.add_argument("--one", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        run_step(given.one[0], Dataset(Path(given.one[1])), given.rows)
        return
    with tempfile.TemporaryDirectory() as folder:
        for step in ("make", *given.steps.split(",")):
            words = [sys.executable, __file__, "--rows", str(given.rows), "--one", step, folder]
            subprocess.run(words, check=True)


def run_step(step: str, dataset: Dataset, rows: int) -> None:
    started = time.process_time()
    if step == "make":
        make_rows(dataset, rows)
        return
    if step == "status":
        status(dataset)
    else:
        with dataset.lock():
            run_in(step, dataset)
    seconds, peak = (
        time.process_time() - started,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    )
    size = dataset.manifest.stat().st_size / rows
    print(
        f"{step:10} {rows:9,} rows: {seconds:6.1f} CPU-s, {seconds / rows * 1e6:5.0f} µs a row, "
        f"peak {peak >> 10:,} MiB, manifest {size:.0f} bytes a row"
    )


def run_in(step: str, dataset: Dataset) -> None:
    if step == "check":
        decide = partial(check.check, evidence=Store(dataset.evidence))
        dataset.run_step(decide, step, {}, reads=check.READS, fills=check.FILLS)
    elif step == "caption":
        dataset.run_step(clean.caption, step, {}, reads=clean.READS, fills=clean.FILLS)
    elif step == "one column":
        dataset.run_step(name_groups, step, {}, reads=READS, fills=("group",))
    else:
        dataset.run_step(lambda rows: [*rows], step, {}, reads=READS, fills=("group",))


def name_groups(rows: Sequence[Sample]) -> list[Sample]:
    return [replace(s, group=s.key) for s in rows]


def make_rows(dataset: Dataset, count: int) -> None:
    with dataset.lock():
        evidence = Store(dataset.evidence)
        sites = [
            evidence.put(json.dumps(answer_of(f"https://h{n}.example.org/robots.txt")).encode())
            for n in range(50)
        ]
        made = list(drawn_rows(count, sites))
        dataset.write(Manifest(made, []))


def answer_of(url: str) -> dict[str, object]:
    time_ = "2026-12-01T00:00:00Z"
    return {"url": url, "status": 404, "headers": [], "retrieved": time_, "body": ""}


def drawn_rows(count: int, sites: Sequence[str]) -> Iterator[Sample]:
    draw = random.Random(1)
    words = ["".join(draw.choices(SYLLABLES, k=draw.randrange(2, 4))) for _ in range(20_000)]
    weights = list(accumulate(1 / (rank + 5) for rank in range(len(words))))
    for n in range(count):
        said = draw.choices(words, cum_weights=weights, k=12)
        sha256 = hashlib.sha256(b"%d" % n).hexdigest()
        yield Sample(
            key=f"openverse-{n:09}",
            source="openverse",
            query=said[0],
            page_url=f"https://example.org/photo/{n}",
            image_url=f"https://h{n % 50}.example.org/{sha256[:12]}.jpg",
            author=f"Author {n // 20}",
            title=f"{said[0]} {said[1]} IMG_{n % 9999:04}",
            tags=tuple(said[2:7]),
            texts=(" ".join(said),),
            evidence=sites[n % 7],
            site_evidence=(sites[n % 50],),
            license_text=draw.choice(LICENCES),
            license_by="source",
            sha256=sha256,
            pixel_sha256=sha256,
            width=draw.randrange(300, 4000),
            height=draw.randrange(300, 4000),
        )


if __name__ == "__main__":
    main()
