"""Inspect + pack: from stored images to shards, beside bare loops and img2dataset's resizer.

    python benchmarks/bench_pack.py FOLDER [--size 256] [--img2dataset VENV/bin/python]

FOLDER holds large photographs, such as Debian's packages mate-backgrounds and lomiri-wallpapers;
each is scaled to 0.2 to 12 megapixels and saved at several qualities, mostly as JPEG. All sides
read these files, write JPEG of quality 95 and tars. Each runs in a process of its own, in turn:

* ceiling: decode (JPEG scaled, as we do), resize, encode, tar; the same libraries, the same bytes
  as ours, which is checked. It checks and measures nothing and runs in one process.
* ours: every file against its hash, in the sandbox; measured, sketched; manifest, records, index.
* Pillow: `Image.open`, `resize` (Lanczos), `save`; with and without `draft`.
* img2dataset's `Resizer` (INTER_AREA, 4:2:0): `pip install img2dataset` into another environment.

CPU milliseconds an image, of a process and its children, all of it but the first imports; what a
run costs whatever it is given (one image more or less) is told apart. Ratios are what to compare.
"""

import argparse
import hashlib
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

MEGAPIXELS = (0.2, 0.7, 1.5, 3.0, 6.0, 12.0)
ROUNDS = 3
SIDES = ("ceiling", "ours, 1 worker", "ours, 2 workers", "Pillow", "Pillow, draft", "img2dataset")
Measured = dict[str, float]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folder", type=Path, help="of large photographs; or of a corpus made here")
    options.add_argument("--size", type=int, default=256, help="shorter side, pixels")
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--img2dataset", help="the Python of its environment")
    options.add_argument("--side", help=argparse.SUPPRESS)  # what a process of this one does
    given = options.parse_args()
    if given.side:
        print(json.dumps(SIDES_OF[given.side](given.folder, given.size)))
        return
    with tempfile.TemporaryDirectory() as temporary, ProcessPoolExecutor(1) as other:
        # the peak memory of this process is inherited by those that it starts
        counts = other.submit(make_corpus, given.folder, Path(temporary)).result()
        compare(Path(temporary), counts, given)


def compare(corpus: Path, counts: dict[str, int], given: argparse.Namespace) -> None:
    sides = [s for s in SIDES if s != "img2dataset" or given.img2dataset]

    def run(side: str, part: str) -> Measured:
        python = given.img2dataset if side == "img2dataset" else sys.executable
        words = [__file__, str(corpus / part), "--size", str(given.size), "--side", side]
        said = subprocess.run([python, *words], check=True, stdout=subprocess.PIPE)
        answer: Measured = json.loads(said.stdout.splitlines()[-1])
        return answer

    fixed = {s: statistics.median(run(s, "one")["cpu"] for _ in range(given.rounds)) for s in sides}
    print(f"to {given.size} px; CPU-ms an image beyond what a run costs; ratio: ceiling / ours")
    print(f"{'Mpx':>5} {'images':>6} " + " ".join(f"{s:>15}" for s in sides) + "   ratio")
    for part, count in counts.items():
        rounds = [{s: run(s, part) for s in sides} for _ in range(given.rounds)]
        cost = {
            s: statistics.median(r[s]["cpu"] - fixed[s] for r in rounds) / count * 1e3
            for s in sides
        }
        ratio = cost["ceiling"] / cost["ours, 1 worker"]
        print(
            f"{part:>5} {count:6} " + " ".join(f"{cost[s]:15.1f}" for s in sides), f"{ratio:7.2f}"
        )
    print(f"a run: {'':6} " + " ".join(f"{fixed[s] * 1e3:15.0f}" for s in sides))
    total = sum(counts.values())
    rounds = [{s: run(s, "all") for s in sides} for _ in range(given.rounds)]
    equal = {r[s]["digest"] for r in rounds for s in sides if s in ("ceiling", *SIDES[1:3])}
    print(
        f"\nall {total} images in one run, all it costs included; bytes equal to the ceiling's:",
        end=" ",
    )
    print("yes" if len(equal) == 1 else "NO")
    for side in sides:
        cpu, wall = (statistics.median(r[side][n] for r in rounds) for n in ("cpu", "wall"))
        ratios = [r["ceiling"]["cpu"] / r[side]["cpu"] for r in rounds]
        memory = max(r[side]["memory"] for r in rounds)
        print(
            f"{side:16} {cpu / total * 1e3:6.1f} CPU-ms, {total / wall:6.1f} images/s, peak"
            f" {memory:4.0f} MB a process; ceiling / this: {statistics.median(ratios):.2f}"
            f" ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def make_corpus(folder: Path, corpus: Path) -> dict[str, int]:
    """A folder of images for each number of megapixels, one of all, one of one; and their sizes."""
    from PIL import Image

    names = sorted(p for p in folder.rglob("*") if p.suffix in (".jpg", ".jpeg", ".png"))
    for part in (*map(str, MEGAPIXELS), "all", "one"):
        (corpus / part).mkdir()
    for n, path in enumerate(names):
        with Image.open(path) as opened:
            whole = opened.convert("RGB")
        for k, megapixels in enumerate(MEGAPIXELS):
            ratio = (megapixels * 1e6 / (whole.width * whole.height)) ** 0.5
            sides = round(whole.width * ratio), round(whole.height * ratio)
            scaled = whole.resize(sides, Image.Resampling.BICUBIC)
            for m, quality in enumerate((75, 85, 92)):
                # of seven files one is a PNG and one a WebP, where these are found: not of 6 Mpx
                kind = (n + k + m) % 7 if megapixels <= 3 else 2
                suffix = {0: "png", 1: "webp"}.get(kind, "jpg")
                file = corpus / str(megapixels) / f"{n:03}-{quality}.{suffix}"
                scaled.save(file, **({} if suffix == "png" else {"quality": quality}))
                os.link(file, corpus / "all" / f"{megapixels}-{file.name}")
    first = min((corpus / str(MEGAPIXELS[0])).iterdir())
    os.link(first, corpus / "one" / first.name)
    return {str(m): len([*(corpus / str(m)).iterdir()]) for m in MEGAPIXELS}


def timed(work: Callable[[], Iterator[bytes]]) -> dict[str, Any]:
    """CPU and wall seconds of `work`, peak memory of a process in MB, digest of what it gave."""

    def spent() -> float:
        each = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(used.ru_utime + used.ru_stime for used in each)

    cpu, wall, digests = spent(), time.perf_counter(), []
    for image in work():
        digests.append(image)
    cpu, wall = spent() - cpu, time.perf_counter() - wall
    each = sorted(hashlib.sha256(image).hexdigest() for image in digests)
    peak = max(
        resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {
        "cpu": cpu,
        "wall": wall,
        "memory": peak / 1024,
        "digest": hashlib.sha256("".join(each).encode()).hexdigest(),
    }


def in_a_loop(render: Callable[[bytes, int], bytes], folder: Path, size: int) -> dict[str, Any]:
    """Render every file of a folder and write a tar of them."""
    files = sorted(folder.iterdir())

    def work() -> Iterator[bytes]:
        with tempfile.TemporaryFile() as file, tarfile.open(fileobj=file, mode="w") as tar:
            for path in files:
                image = render(path.read_bytes(), size)
                for suffix, data in (("jpg", image), ("txt", b"a photograph")):
                    member = tarfile.TarInfo(f"{path.stem}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                yield image

    render(files[0].read_bytes(), size)  # imports what it needs
    return timed(work)


def render_bare(data: bytes, size: int) -> bytes:
    """What the same libraries need for the same bytes, and nothing else."""
    from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer
    from PIL import Image

    image: Image.Image = Image.open(io.BytesIO(data))
    original = image.size
    if image.format == "JPEG" and image.width * image.height > 2_000_000:
        factor = next(f for f in (8, 4, 2, 1) if min(original) // f >= 2 * max(size, 256) or f == 1)
        if factor > 1:
            image.draft(None, (image.width // factor, image.height // factor))  # type: ignore[attr-defined]
    image.load()
    if image.mode != "RGB":
        image = image.convert("RGB")
    if min(original) > size:
        small = Image.new("RGB", sides_of(original, size))
        alg = ResizeAlg.convolution(FilterType.lanczos3)
        Resizer().resize_pil(image, small, ResizeOptions(alg))
        image = small
    return saved(image)


def render_plainly(data: bytes, size: int, draft: bool = False) -> bytes:
    from PIL import Image

    image: Any = Image.open(io.BytesIO(data))
    original = image.size
    if draft:
        image.draft("RGB", tuple(2 * side for side in sides_of(original, size)))
    image = image.convert("RGB")
    if min(original) > size:
        image = image.resize(sides_of(original, size), Image.Resampling.LANCZOS)
    return saved(image)


def sides_of(original: Sequence[int], size: int) -> tuple[int, int]:
    width, height = (max(1, round(side * size / min(original))) for side in original)
    return width, height


def saved(image: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95, subsampling=0, optimize=True)
    return out.getvalue()


def with_img2dataset(folder: Path, size: int) -> dict[str, Any]:
    from img2dataset.resizer import Resizer  # type: ignore[import-not-found]

    resizer = Resizer(size, "keep_ratio", True)

    def render(data: bytes, size: int) -> bytes:
        answer: bytes = resizer(io.BytesIO(data))[0]
        return answer

    return in_a_loop(render, folder, size)


def with_ours(workers: int, folder: Path, size: int) -> dict[str, Any]:
    """Every file put into a dataset, which is not timed; inspected and packed, which is."""
    from curate.dataset.folder import Dataset
    from curate.dataset.manifest import Manifest
    from curate.dataset.sample import Caption, Sample, Verdict
    from curate.images.inspect import inspect_samples
    from curate.images.sketch import SketchStore
    from curate.shards.pack import pack, renders_of
    from curate.system import sandbox
    from curate.system.progress import SILENT

    root = Path(tempfile.mkdtemp())
    dataset = Dataset(root)
    known: dict[str, Any] = {"captions": (Caption("a photograph", "title"),)}
    known["train"] = Verdict("allow", ())
    rows = [
        Sample(f"b-{n:05}", "b", sha256=dataset.store.put(p.read_bytes(), sync=False), **known)
        for n, p in enumerate(sorted(folder.iterdir()))
    ]

    def work() -> Iterator[bytes]:
        sketches = SketchStore(root / "derived" / "sketches")
        renders = renders_of(dataset, size, "jpg", "white")
        run_jobs = partial(sandbox.run_jobs, processes=workers)
        with dataset.lock():
            found = inspect_samples(
                dataset.store, SILENT, rows, sketches=sketches, renders=renders, run_jobs=run_jobs
            )
            dataset.write(Manifest(found, []))
        packed = pack(dataset, size=size)
        assert (packed.samples, packed.rendered) == (len(rows), 0), packed
        yield from ()

    result = timed(work)
    images = []
    for path in sorted((root / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            images += [tar.extractfile(m).read() for m in tar if m.name.endswith(".jpg")]  # type: ignore[union-attr]
    result["digest"] = timed(lambda: iter(images))["digest"]
    shutil.rmtree(root)
    return result


SIDES_OF: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "ceiling": partial(in_a_loop, render_bare),
    "ours, 1 worker": partial(with_ours, 1),
    "ours, 2 workers": partial(with_ours, 2),
    "Pillow": partial(in_a_loop, render_plainly),
    "Pillow, draft": partial(in_a_loop, partial(render_plainly, draft=True)),
    "img2dataset": with_img2dataset,
}


if __name__ == "__main__":
    main()
