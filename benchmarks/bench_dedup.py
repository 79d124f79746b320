"""Near-duplicates: exact pairs of hashes, and one decode for all measures, beside their peers.

    python benchmarks/bench_dedup.py [--hashes 100000] [--distance 8] [--pictures 40]

Peers: imagehash objects compared in a loop and a BK-tree in plain Python (both on a sample of
queries, scaled up, since all of them would take hours), and numpy row by row. CPU seconds of
this process; the ratio is what to compare.
"""

import argparse
import io
import time
from collections.abc import Callable
from typing import TypeVar

import imagehash
import numpy as np
from PIL import Image, ImageFilter, ImageOps

from curate.images.decode import decode_image
from curate.images.dedup import near_pairs
from curate.images.inspect import pixel_facts

T = TypeVar("T")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--hashes", type=int, default=100_000)
    options.add_argument("--distance", type=int, default=8)
    options.add_argument("--queries", type=int, default=20, help="of the slow peers")
    options.add_argument("--pictures", type=int, default=40)
    given = options.parse_args()
    pairs(given.hashes, given.distance, given.queries)
    measures(given.pictures)


def pairs(count: int, distance: int, queries: int) -> None:
    hashes = made_hashes(count)
    ours, (left, _) = timed(lambda: near_pairs(hashes, distance))
    rows, found = timed(lambda: by_rows(hashes, distance))
    assert found == len(left), "every method must find the same pairs"
    naive = timed(lambda: by_imagehash(hashes, distance, queries))[0] * count / queries / 2
    tree, node = timed(lambda: bk_tree(hashes[: count // 10].tolist()))
    search = timed(lambda: [bk_search(node, int(h), distance) for h in hashes[:queries]])[0]
    print(f"{len(left)} pairs within {distance} bits of {count} hashes, CPU seconds:")
    show("near_pairs (bands, exact)", ours, ours)
    show("numpy, row by row", rows, ours)
    show(
        "BK-tree of a tenth (building, all its queries)", tree + search * count / queries / 10, ours
    )
    show("imagehash objects, every pair (scaled up)", naive, ours)


def made_hashes(count: int) -> "np.ndarray":
    """Random hashes with half of their bits set, one in ten a near copy of another."""
    rng = np.random.default_rng(1)
    bits = np.argsort(rng.random((count, 64)), axis=1) < 32
    packed = np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)
    copies = rng.integers(0, count, count // 10)
    flips = np.uint64(1) << rng.integers(0, 64, count // 10).astype(np.uint64)
    packed[: count // 10] = packed[copies] ^ flips
    return packed


def by_rows(hashes: "np.ndarray", distance: int) -> int:
    return sum(
        int((np.bitwise_count(hashes[n + 1 :] ^ one) <= distance).sum())
        for n, one in enumerate(hashes)
    )


def by_imagehash(hashes: "np.ndarray", distance: int, queries: int) -> int:
    known = [imagehash.hex_to_hash(f"{int(h):016x}") for h in hashes[:5000]]
    repeat = len(hashes) // len(known)
    near = [a - b <= distance for a in known[:queries] for _ in range(repeat) for b in known]
    return sum(near)


def bk_tree(hashes: list[int]) -> list:
    root = [hashes[0], {}]
    for one in hashes[1:]:
        node = root
        while True:
            away = (node[0] ^ one).bit_count()
            if away not in node[1]:
                node[1][away] = [one, {}]
                break
            node = node[1][away]
    return root


def bk_search(root: list, wanted: int, distance: int) -> list[int]:
    found, waiting = [], [root]
    while waiting:
        one, children = waiting.pop()
        away = (one ^ wanted).bit_count()
        if away <= distance:
            found.append(one)
        waiting += [c for d, c in children.items() if abs(d - away) <= distance]
    return found


def measures(count: int) -> None:
    files = [photograph(seed) for seed in range(count)]
    fused = timed(lambda: [pixel_facts(decode_image(data)) for data in files])[0]
    apart = timed(lambda: [one_by_one(data) for data in files])[0]
    print(f"size, pixel hash, two perceptual hashes, sharpness of {count} images, CPU seconds:")
    show("one decode", fused, fused)
    show("a decode for each, with imagehash", apart, fused)


def one_by_one(data: bytes) -> tuple[object, ...]:
    def opened() -> Image.Image:
        return Image.open(io.BytesIO(data))

    laplacian = ImageFilter.Kernel((3, 3), (0, -1, 0, -1, 4, -1, 0, -1, 0), scale=1, offset=128)
    return (
        opened().size,
        hash(opened().convert("RGBA").tobytes()),
        imagehash.phash(opened()),
        imagehash.phash(ImageOps.mirror(opened())),
        np.asarray(opened().convert("L").filter(laplacian)).var(),
    )


def photograph(seed: int) -> bytes:
    field = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(field).resize((1024, 768), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


def timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def show(name: str, seconds: float, ours: float) -> None:
    print(f"  {name:50} {seconds:10.2f}  x {seconds / ours:.1f}")


if __name__ == "__main__":
    main()
