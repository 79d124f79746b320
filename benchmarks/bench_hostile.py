"""What hostile files cost those that are decoded beside them, and what comes of each.

    python benchmarks/bench_hostile.py [FOLDER ...]

Prints, for each file of `tests/hostile_images.py`, the verdict of `decode_image` in a worker, its
CPU seconds and the memory the worker took beyond that of an ordinary picture. Then the pictures a
second of 200 ordinary ones (a megapixel, drawn) on two workers: alone, and with hostile ones and
jobs that would never end among them (they are cut off after 8 CPU seconds), answers in order and
as they come; the clock stops at the last ordinary picture. Files of the folders are decoded, too,
and their verdicts counted. Exits with 1 if a verdict is not the one that the list says.
"""

import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from hostile_images import cases  # noqa: E402
from pictures import encoded, photograph  # noqa: E402

from curate.images.decode import decode_image  # noqa: E402
from curate.system import sandbox  # noqa: E402

JOB = "bench_hostile:decode"
ORDINARY = 200  # pictures


def decode(path: str) -> tuple[dict[str, Any], bytes]:
    """The job: size of the image in a file, CPU seconds, and the worker's peak so far in MiB."""
    while path == "never":
        pass
    started = time.process_time()
    image = decode_image(Path(path).read_bytes(), at_least=512)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    spent = time.process_time() - started
    return {"size": f"{image.width} x {image.height}", "spent": spent, "peak": peak}, b""


def text_of(answer: sandbox.Answer) -> str:
    return answer.reason if isinstance(answer, sandbox.WorkerFailure) else answer[0]["size"]


def try_each(folder: Path, ordinary: Path) -> bool:
    """Decode every hostile file in a worker of its own; print and judge what comes of it."""
    right = True
    print(f"{'file':38} {'bytes':>9} {'CPU s':>6} {'MiB':>5}  verdict")
    for number, (name, (data, outcome)) in enumerate(cases().items()):
        file = folder / f"hostile-{number}"
        file.write_bytes(data)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        first, answer = sandbox.run_jobs(
            JOB, [{"path": str(p)} for p in (ordinary, file)], processes=1
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent, peak = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, "-"
        if not isinstance(answer, sandbox.WorkerFailure) and not isinstance(
            first, sandbox.WorkerFailure
        ):
            spent, peak = answer[0]["spent"], str(answer[0]["peak"] - first[0]["peak"])
        verdict = text_of(answer)
        right &= verdict.startswith(outcome)
        wrong = "" if verdict.startswith(outcome) else f"   EXPECTED {outcome}"
        print(f"{name:38} {len(data):9} {spent:6.2f} {peak:>5}  {verdict[:60]}{wrong}", flush=True)
    return right


def rate(pictures: list[str], others: list[str], *, ordered: bool) -> float:
    """Ordinary pictures a second, the others strewn among them."""
    gap = max(len(pictures) // (len(others) + 1), 1)
    paths: list[str] = []
    for number, path in enumerate(pictures):
        paths.append(path)
        if number % gap == 0 and number // gap < len(others):
            paths.append(others[number // gap])
    jobs: Iterator[dict[str, Any]] = ({"path": p} for p in paths)
    started, last, left = time.monotonic(), 0.0, len(pictures)
    if ordered:
        answers: Iterator[tuple[int, Any]] = enumerate(
            sandbox.run_jobs(JOB, jobs, processes=2, seconds=8)
        )
    else:
        answers = sandbox.run_unordered(JOB, jobs, processes=2, seconds=8)
    ordinary = set(pictures)
    for number, _ in answers:
        if paths[number] in ordinary:
            left, last = left - 1, time.monotonic()
    assert left == 0
    return len(pictures) / (last - started)


def count_verdicts(folder: Path) -> None:
    """Print how many files of a folder are decoded, or refused for which reason."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    answers = sandbox.run_jobs(JOB, [{"path": str(p)} for p in files], processes=2)
    found = Counter(
        a.reason if isinstance(a, sandbox.WorkerFailure) else "decoded" for a in answers
    )
    print(f"\n{folder}: {len(files)} files")
    for verdict, count in found.most_common():
        print(f"{count:6}  {verdict}")


def main(folders: list[str]) -> int:
    """Run all of it."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pictures = []
        for number in range(8):
            file = folder / f"ordinary-{number}"
            file.write_bytes(encoded(photograph(number, (1200, 900)), "JPEG", quality=88))
            pictures.append(str(file))
        right = try_each(folder, Path(pictures[0]))
        pictures = (pictures * ORDINARY)[:ORDINARY]
        hostile = sorted(str(p) for p in folder.glob("hostile-*"))
        print(f"\n{'ordinary pictures a second, beside':42} {'in order':>9} {'as they come':>13}")
        for name, others in [
            ("nothing else", []),
            (f"{len(hostile)} hostile files", hostile),
            ("1 job that never ends", ["never"]),
            ("2 jobs that never end", ["never"] * 2),
            ("4 jobs that never end", ["never"] * 4),
            ("nothing else, again", []),
        ]:
            rates = [rate(pictures, others, ordered=ordered) for ordered in (True, False)]
            print(f"{name:42} {rates[0]:9.1f} {rates[1]:13.1f}", flush=True)
    for name in folders:
        count_verdicts(Path(name))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    print(f"\nlargest worker: {peak} MiB")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
