"""How far may the hashes of views differ until a picture no longer counts as a removed one?

    python benchmarks/measure_removals.py FOLDER [FOLDER …] [--copies 150] [--most 3000]

For each folder of images: the share of changed copies (resized, recompressed, mirrored, turned,
recoloured, cropped) that are known again within each distance by the hashes that a tombstone keeps,
and how many other pictures of the folder a removal takes along wrongly, in a thousand. Pairs that
`curate dedup` finds to be kin are no mistakes and are left out. `curate/images/removed.py` holds
the distance that was chosen; docs/rights.md the figures.
"""

import argparse
import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from curate.errors import CurateError
from curate.images.confirm import find_likenesses
from curate.images.decode import decode_image, flatten
from curate.images.inspect import scale_to_small
from curate.images.removed import count_bits
from curate.images.sketch import Sketches, sketch_image
from curate.system.sandbox import JobRefusedError

DISTANCES = (0, 2, 3, 4, 5, 6, 8)
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
Change = Callable[[Image.Image], Image.Image]


def recompressed(form: str, quality: int) -> Change:
    def change(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        flatten(image, "white").save(file, form, quality=quality)
        return Image.open(file).convert("RGB")

    return change


def resized(share: float, filter: Image.Resampling = Image.Resampling.LANCZOS) -> Change:
    return lambda i: i.resize(tuple(max(8, round(s * share)) for s in i.size), filter)


def cropped(share: float) -> Change:
    def change(image: Image.Image) -> Image.Image:
        x, y = (round(side * share) for side in image.size)
        return image.crop((x, y, image.width - x, image.height - y))

    return change


def brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(flatten(image, "white")).enhance(1.2)


CHANGES: dict[str, Change] = {
    "half": resized(0.5),
    "a third, bilinear": resized(1 / 3, Image.Resampling.BILINEAR),
    "twice, bicubic": resized(2, Image.Resampling.BICUBIC),
    "jpeg 70": recompressed("JPEG", 70),
    "jpeg 40": recompressed("JPEG", 40),
    "webp 50": recompressed("WEBP", 50),
    "grey": lambda i: flatten(i, "white").convert("L").convert("RGB"),
    "brighter": brighter,
    "mirrored": ImageOps.mirror,
    "quarter turn": lambda i: i.transpose(Image.Transpose.ROTATE_90),
    "cropped 2 %": cropped(0.02),
    "cropped 5 %": cropped(0.05),
    "cropped 10 %": cropped(0.1),
    "cropped 15 %": cropped(0.15),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folders", nargs="+", type=Path)
    options.add_argument("--copies", type=int, default=150, help="pictures that are changed")
    options.add_argument("--most", type=int, default=3000, help="pictures of a folder")
    given = options.parse_args()
    for folder in given.folders:
        measure(folder, given.copies, given.most)


def measure(folder: Path, copies: int, most: int) -> None:
    files = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in SUFFIXES]
    files = sorted(random.Random(1).sample(files, min(most, len(files))))
    images = {path: image for path in files if (image := read(path)) is not None}
    paths = sorted(images)
    sketches = Sketches.from_bytes([sketch(images[path]) for path in paths])
    views = np.ascontiguousarray(sketches.heads["views"])
    removed = sorted(random.Random(2).sample(range(len(paths)), min(copies, len(paths))))
    print(f"{folder.name}: {len(paths)} pictures, {len(removed)} of them removed")
    print("  distance           ", *(f"{d:>6}" for d in DISTANCES))
    for name, change in CHANGES.items():
        made = Sketches.from_bytes([sketch(change(images[paths[n]])) for n in removed])
        theirs = np.ascontiguousarray(made.heads["views"])
        bits = [int(count_bits(views[n], theirs[k : k + 1])[0]) for k, n in enumerate(removed)]
        shares = (sum(b <= d for b in bits) / len(bits) for d in DISTANCES)
        print(f"  {name:<19}", *(f"{share:6.3f}" for share in shares))
    kin = find_likenesses(sketches)
    pairs = {*zip(kin.i.tolist(), kin.j.tolist(), strict=True)}
    taken = np.zeros(len(DISTANCES))
    for n in removed:
        bits = count_bits(views[n], views)
        for other in np.flatnonzero(bits <= max(DISTANCES)).tolist():
            if other != n and (min(n, other), max(n, other)) not in pairs:
                taken += [bits[other] <= d for d in DISTANCES]
    wrong = taken / len(removed) / (len(paths) - 1) * 1000
    print("  taken along of 1000", *(f"{n:6.2f}" for n in wrong))


def read(path: Path) -> Image.Image | None:
    try:
        return decode_image(path.read_bytes())
    except (CurateError, JobRefusedError, OSError, ValueError):
        return None


def sketch(image: Image.Image) -> bytes:
    return sketch_image(scale_to_small(image))


if __name__ == "__main__":
    main()
