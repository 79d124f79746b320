"""Which copy stays? Groups of an original and what is made of it: how often the original does.

    python benchmarks/bench_which_stays.py FOLDER [--groups 100] [--seed 1] [--pairs]

Of each image of the folder copies are made as people make them; all lie in one dataset under
keys that say nothing, and `curate dedup` decides. An image that is only grouped with its original
(a mirror image) takes nobody's place. With `--pairs` each copy is alone with its original instead,
which is how copies mostly come, and leaves nobody else to ask. Limits of the code were chosen on
other photographs. Printed: in how many groups the original stays, and what is in its place
otherwise.
"""

import argparse
import hashlib
import io
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from curate.dataset.folder import Dataset
from curate.dataset.sample import DUPLICATE, Sample
from curate.images.decode import decode_image
from curate.images.dedup import find_duplicates

Change = Callable[[Image.Image], bytes]
LANCZOS, BILINEAR = Image.Resampling.LANCZOS, Image.Resampling.BILINEAR


def saved(image: Image.Image, form: str = "JPEG", quality: int = 95) -> bytes:
    file = io.BytesIO()
    image.save(file, form, quality=quality)
    return file.getvalue()


def scaled(image: Image.Image, factor: float, kernel: Image.Resampling) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), kernel)


def noisy(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(float)
    values += np.random.default_rng(1).normal(0, 8, values.shape)
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def cropped(image: Image.Image) -> Image.Image:
    x, y = round(image.width * 0.05), round(image.height * 0.05)
    return image.crop((x, y, image.width - x, image.height - y))


CHANGES: dict[str, Change] = {
    "JPEG 90": lambda i: saved(i, quality=90),
    "JPEG 75": lambda i: saved(i, quality=75),
    "JPEG 50": lambda i: saved(i, quality=50),
    "half size": lambda i: saved(scaled(i, 0.5, LANCZOS)),
    "enlarged 4x, soft": lambda i: saved(scaled(i, 4, BILINEAR)),
    "enlarged 2x, Lanczos": lambda i: saved(scaled(i, 2, LANCZOS)),
    "sharpened": lambda i: saved(i.filter(ImageFilter.UnsharpMask(2, 150, 3))),
    "noisy": lambda i: saved(noisy(i)),
    "blurred": lambda i: saved(i.filter(ImageFilter.GaussianBlur(1))),
    "WebP 50": lambda i: saved(i, "WEBP", 50),
    "border": lambda i: saved(ImageOps.expand(i, round(0.06 * min(i.size)), "white")),
    "cropped to 90 %": lambda i: saved(cropped(i)),
    "mirrored": lambda i: saved(ImageOps.mirror(i)),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--groups", type=int, default=100)
    options.add_argument("--seed", type=int, default=1, help="which images are taken")
    options.add_argument("--pairs", action="store_true")
    given = options.parse_args()
    files = [p for p in sorted(given.folder.rglob("*")) if p.suffix.lower() in (".jpg", ".png")]
    files = random.Random(given.seed).sample(files, min(given.groups, len(files)))
    started = time.process_time()
    for names in [[n] for n in CHANGES] if given.pairs else [list(CHANGES)]:
        with tempfile.TemporaryDirectory() as folder:
            measure(Dataset(Path(folder) / "data"), files, names)
    print(f"CPU seconds of this process: {time.process_time() - started:.0f}")


def measure(dataset: Dataset, files: list[Path], names: list[str]) -> None:
    what: dict[str, tuple[int, str]] = {}
    with dataset.lock():
        for number, path in enumerate(files):
            original = path.read_bytes()
            image = decode_image(original).convert("RGB")
            made = {"original": original} | {name: CHANGES[name](image) for name in names}
            for name, data in made.items():
                key = "k-" + hashlib.sha256(f"{number} {name}".encode()).hexdigest()[:12]
                what[key] = number, name
                dataset.append_row(Sample(key, "t", sha256=dataset.store.put(data, sync=False)))
    find_duplicates(dataset)
    rows = {s.key: s for s in dataset.read().samples}
    key_of = {place: key for key, place in what.items()}
    stays, instead, dropped = 0, Counter[str](), Counter[str]()
    for number in range(len(files)):
        row = rows[key_of[number, "original"]]
        if row.drop_reason == DUPLICATE:
            twin = what[row.drop_detail]
            instead[twin[1] if twin[0] == number else "an image of another group"] += 1
        stays += row.dropped is None
        dropped.update(n for n in names if rows[key_of[number, n]].drop_reason == DUPLICATE)
    said = f", dropped of its copies {sum(dropped.values()) / len(files) / len(names):.2f}"
    label = names[0] if len(names) == 1 else f"{len(names)} copies each"
    print(f"{label}: the original stays in {stays} of {len(files)} groups{said}")
    for name, count in instead.most_common():
        print(f"  in its place {count}: {name}")
    if len(names) > 1:
        print("  dropped:", ", ".join(f"{n} {dropped[n]}" for n in names))


if __name__ == "__main__":
    main()
