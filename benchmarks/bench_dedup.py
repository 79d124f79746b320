"""How long does it take to propose the pairs of copies among all hashes stored, beside faiss?

    python benchmarks/bench_dedup.py [--images 100000] [--times 1]

Pictures with the spectrum of photographs are drawn, one in ten a changed copy of another; their
hashes are compared by `propose.propose_pairs` (139 views of each, eight symmetries) and, as many
64-bit hashes, one an image, by faiss's exact search (`IndexBinaryFlat`, ten nearest, one thread).
CPU seconds of this process, and its peak memory. `--times 10` measures ten times as many as well,
without faiss, whose time grows with the square.
"""

import argparse
import resource
import time
from collections.abc import Callable
from typing import TypeVar

import faiss
import numpy as np

from curate.images import propose, sketch

T = TypeVar("T")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--images", type=int, default=100_000)
    options.add_argument("--times", type=int, default=1)
    given = options.parse_args()
    sketches = made_sketches(given.images)
    ours = measured("propose_pairs", given.images, sketches)
    codes = sketches.heads["views"][:, :1].copy().view(np.uint8)
    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryFlat(64)
    index.add(codes)
    peer, _ = timed(lambda: index.search(codes, 10))
    print(f"faiss, exact search of {given.images} codes of 64 bits: {peer:.1f} CPU-s")
    print(f"ratio to faiss: {ours / peer:.2f}")
    if given.times > 1:
        count = given.images * given.times
        many = measured("propose_pairs", count, made_sketches(count))
        print(f"{given.times} times as many images: {many / ours:.1f} times the CPU seconds")


def measured(name: str, count: int, sketches: sketch.Sketches) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, found = timed(lambda: propose.propose_pairs(sketches))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{name}, {count} images: {seconds:.1f} CPU-s, {len(found)} pairs, "
        f"{found.left_out} left out, memory {before / 2**20:.2f} -> {peak / 2**20:.2f} GiB"
    )
    copies = min(count // 10, len(found))
    met = np.isin(np.arange(count // 10), found.i[found.j - found.i == count // 10 * 5])
    print(f"  copies among the pairs: {met.mean():.4f} of {copies}")
    return seconds


def made_sketches(count: int) -> sketch.Sketches:
    """Random pictures whose spectrum falls off as 1 / frequency; some are noisy copies."""
    rng = np.random.default_rng(1)
    heads = np.zeros(count, dtype=sketch.HEAD)
    rows = np.fft.fftfreq(2 * sketch.SIDE)[:, None]
    columns = np.fft.rfftfreq(2 * sketch.SIDE)[None]
    fall = 1 / np.maximum(np.hypot(rows, columns), 0.5 / sketch.SIDE)
    kept: list[np.ndarray] = []
    tenth = count // 10
    for start in range(0, count, tenth or 1):
        number = min(tenth or 1, count - start)
        if start == 5 * tenth and tenth:  # copies of the first tenth
            greys = kept[0] + rng.normal(0, 0.2, kept[0].shape)
        else:
            phases = rng.normal(size=(number, 2 * sketch.SIDE, 2 * sketch.SIDE))
            fields = np.fft.irfft2(np.fft.rfft2(phases) * fall)
            greys = fields[:, : sketch.SIDE, : sketch.SIDE]
            greys /= greys.std(axis=(1, 2), keepdims=True)
        greys = greys.astype(np.float32)
        kept = kept or [greys]
        for first in range(0, number, 512):
            terms = sketch.view_terms(greys[first : first + 512])
            here = slice(start + first, start + first + len(terms))
            heads["views"][here] = sketch.sign_bits(terms)
            heads["strength"][here] = sketch.bit_strength(terms[:, 0])
    heads["detail"], heads["digest"] = 10, np.arange(count)
    none = np.zeros(count, dtype=np.intp)
    return sketch.Sketches(heads, [], none, none)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


if __name__ == "__main__":
    main()
