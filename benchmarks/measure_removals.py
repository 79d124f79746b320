"""How far may a hash differ until a picture no longer counts as a removed one?

    python benchmarks/measure_removals.py FOLDER [FOLDER …] [--copies 200]

For each folder of images: the share of changed copies (resized, recompressed, mirrored, cropped)
whose hash is within each distance of the removed picture's, and how many other pictures of the
folder a removal takes along wrongly, in a thousand. Pairs that are copies by the rule of
`curate dedup`, pixels compared, are no mistakes and are left out. `curate/rights/removals.py`
holds the distance that was chosen; docs/rights.md the figures.
"""

import argparse
import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from curate.errors import CurateError
from curate.images.decode import decode_image, flatten
from curate.images.dedup import is_same_image
from curate.images.inspect import comparison_thumbnail, phashes

DISTANCES = (0, 2, 4, 6, 8, 10)
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
Change = Callable[[Image.Image], Image.Image]


def recompressed(form: str, quality: int) -> Change:
    def change(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        flatten(image, "white").save(file, form, quality=quality)
        return Image.open(file)

    return change


def resized(share: float, filter: Image.Resampling = Image.Resampling.LANCZOS) -> Change:
    return lambda i: i.resize(tuple(max(8, round(s * share)) for s in i.size), filter)


def cropped(share: float) -> Change:
    def change(image: Image.Image) -> Image.Image:
        x, y = (round(side * share) for side in image.size)
        return image.crop((x, y, image.width - x, image.height - y))

    return change


CHANGES: dict[str, Change] = {
    "half": resized(0.5),
    "a third, bilinear": resized(1 / 3, Image.Resampling.BILINEAR),
    "twice, bicubic": resized(2, Image.Resampling.BICUBIC),
    "jpeg 70": recompressed("JPEG", 70),
    "jpeg 40": recompressed("JPEG", 40),
    "webp 50": recompressed("WEBP", 50),
    "mirrored": ImageOps.mirror,
    "cropped 2 %": cropped(0.02),
    "cropped 5 %": cropped(0.05),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folders", nargs="+", type=Path)
    options.add_argument("--copies", type=int, default=200, help="pictures that are changed")
    options.add_argument("--most", type=int, default=4000, help="pictures of a folder")
    given = options.parse_args()
    for folder in given.folders:
        measure(folder, given.copies, given.most)


def measure(folder: Path, copies: int, most: int) -> None:
    files = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in SUFFIXES]
    files = sorted(random.Random(1).sample(files, min(most, len(files))))
    images = dict(read(files))
    removed = random.Random(2).sample(sorted(images), min(copies, len(images)))
    print(f"{folder.name}: {len(images)} pictures, {len(removed)} of them removed")
    print("  distance           ", *(f"{d:>6}" for d in DISTANCES))
    for name, change in CHANGES.items():
        bits = [
            distance(images[p][0], hashes_of(change(decode_image(p.read_bytes())))[0])
            for p in removed
        ]
        shares = (sum(b <= d for b in bits) / len(bits) for d in DISTANCES)
        print(f"  {name:<19}", *(f"{share:6.3f}" for share in shares))
    print("  taken along of 1000", *(f"{n:6.2f}" for n in wrongly_taken(images, removed)))


def read(files: list[Path]) -> "Iterator[tuple[Path, tuple[tuple[int, int], np.ndarray]]]":
    seen = set()
    for path in files:
        try:
            image = decode_image(path.read_bytes())
        except (CurateError, OSError, ValueError):
            continue
        thumb = comparison_thumbnail(image).astype(np.int16)
        if thumb.tobytes() not in seen:  # the same picture twice is no mistake
            seen.add(thumb.tobytes())
            yield path, (hashes_of(image), thumb)


def hashes_of(image: Image.Image) -> tuple[int, int]:
    one, mirrored = phashes(flatten(image, "white").convert("L"))
    return int(one, 16), int(mirrored, 16)


def distance(removed: tuple[int, int], other: int) -> int:
    """Bits to the nearer of a removed picture's hash and that of its mirror image."""
    return min((hash ^ other).bit_count() for hash in removed)


def wrongly_taken(
    images: "dict[Path, tuple[tuple[int, int], np.ndarray]]", removed: list[Path]
) -> list[float]:
    """For each distance how many others, in a thousand, a removal takes along on average."""
    paths = sorted(images)
    hashes = np.array([images[p][0][0] for p in paths], dtype=np.uint64)
    thumbs = np.stack([images[p][1] for p in paths])
    taken = np.zeros(len(DISTANCES))
    for path in removed:
        (one, mirrored), thumb = images[path]
        bits = np.minimum(
            np.bitwise_count(hashes ^ np.uint64(one)),
            np.bitwise_count(hashes ^ np.uint64(mirrored)),
        )
        near = np.flatnonzero(bits <= max(DISTANCES))
        copies = is_same_image(thumb, thumbs[near]) | is_same_image(thumb[:, ::-1], thumbs[near])
        others = bits[near][~copies]
        taken += [(others <= d).sum() for d in DISTANCES]
    return list(taken / len(removed) / (len(paths) - 1) * 1000)


if __name__ == "__main__":
    main()
