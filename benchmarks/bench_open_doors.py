"""What does it cost to count words where they lie, beside reading them plainly?

    OMP_NUM_THREADS=1 python benchmarks/bench_open_doors.py folder|tars [--images 100000] [--runs 3]

`folder` makes a folder of images with a `.txt` beside each, and compares CPU seconds (user and
system, child processes included) of whole processes: `curate vocab-gaps` with an empty cache
(cold), the same again (warm), and a Python process that lists the folder with `os.scandir`, reads
every `.txt` and counts its words. `tars` makes 100 tars of such samples, as webdataset's
`ShardWriter` and img2dataset name them, and compares with a process that goes through them with
`tarfile`, reads every `.txt` and counts its words. The median of the runs is taken, and ratios are
printed; what is asked of the program is at most 5 times the plain count cold, and 1 time warm.
"""

import argparse
import io
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
# the smallest PNG: what an image holds does not matter here
IMAGE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)
NOUNS = (
    "dog cat boat dragon mill bridge knight snow tower tree fox mage river stone house rider "
    "horse sword cloud night"
).split()
PLAIN_FOLDER = """
import os, sys
from collections import Counter
words = Counter()
with os.scandir(sys.argv[1]) as listed:
    for entry in listed:
        if entry.name.endswith(".txt"):
            with open(entry.path, encoding="utf-8") as file:
                words.update(file.read().lower().split())
print(len(words))
"""
PLAIN_TARS = """
import sys, tarfile
from collections import Counter
from pathlib import Path
words = Counter()
for file in sorted(Path(sys.argv[1]).glob("*.tar")):
    with tarfile.open(file) as tar:
        for member in tar:
            if member.name.endswith(".txt"):
                words.update(tar.extractfile(member).read().decode().lower().split())
print(len(words))
"""
TARS = 100


def caption(chance: random.Random) -> str:
    """A sentence of nineteen words, of which one is a number of twenty thousand."""
    a, b, c, d, e, f = chance.choices(NOUNS, k=6)
    number = chance.randrange(20_000)
    return f"a {a} and a {b} beside the old {c} number {number}, with a {d} under {e} in the {f}\n"


def make_folder(place: Path, images: int) -> None:
    """Images with a caption beside each."""
    chance = random.Random(1)
    place.mkdir()
    for number in range(images):
        (place / f"{number:06d}.png").write_bytes(IMAGE)
        (place / f"{number:06d}.txt").write_text(caption(chance))


def make_tars(place: Path, images: int) -> None:
    """Images with a caption beside each, in tars of as many."""
    chance = random.Random(1)
    place.mkdir()
    for number in range(TARS):
        with tarfile.open(place / f"{number:05d}.tar", "w") as tar:
            for n in range(number * images // TARS, (number + 1) * images // TARS):
                for kind, data in (("png", IMAGE), ("txt", caption(chance).encode())):
                    info = tarfile.TarInfo(f"{n:09d}.{kind}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))


def cpu_seconds(words: Sequence[str], **environment: str) -> float:
    """User and system time of a process and its children.

    Raises:
        SystemExit: it failed; its errors are shown.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        words, env={**os.environ, **environment}, cwd=ROOT, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):  # 1: gaps were found
        raise SystemExit(done.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(plain: Sequence[str], data: Path, runs: int) -> None:
    """Print seconds and ratios of `vocab-gaps` on the data, beside the plain count."""
    work = data.parent
    (work / "prompts.txt").write_text("a red dragon\na mage riding a fox\n")
    asked = [sys.executable, "-m", "curate", "vocab-gaps", str(work / "prompts.txt")]
    asked += ["--data", str(data)]
    cache = work / "cache"

    def cold() -> float:
        shutil.rmtree(cache, ignore_errors=True)
        return cpu_seconds(asked, XDG_CACHE_HOME=str(cache))

    ways: dict[str, Callable[[], float]] = {
        "plain": lambda: cpu_seconds(plain),
        "cold": cold,
        "warm": lambda: cpu_seconds(asked, XDG_CACHE_HOME=str(cache)),
    }
    times = [{name: run() for name, run in ways.items()} for _ in range(runs)]
    for name in ways:
        seconds = statistics.median(run[name] for run in times)
        ratio = statistics.median(run[name] / run["plain"] for run in times)
        print(f"{name}\t{seconds:.2f} s CPU\t{ratio:.2f} x plain")


WAYS = {"folder": (make_folder, PLAIN_FOLDER), "tars": (make_tars, PLAIN_TARS)}


def main() -> None:
    """Make the data, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=list(WAYS))
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        data = Path(work) / "data"
        make, plain = WAYS[asked.what]
        make(data, asked.images)
        compare([sys.executable, "-c", plain, str(data)], data, asked.runs)


if __name__ == "__main__":
    main()
