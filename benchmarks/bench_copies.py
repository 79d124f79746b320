"""How many changed copies of photographs are found again, transform by transform, beside peers?

    python benchmarks/bench_copies.py FOLDER_OR_TAR [--originals 300] [--distractors FOLDER_OR_TAR]
    python benchmarks/bench_copies.py FOLDER_OR_TAR --distinct

The first form takes photographs, makes a copy of each by every transform of TRANSFORMS, puts all of
them and the distractors into one set and asks `confirm.find_likenesses`. A copy is found if it is
paired with the photograph it was made of. The rate of false matches is taken over all pairs of
images that come from different photographs: first as the threshold that was calibrated on the set
gives it, then with every method's threshold set so that it is max(1e-5, 10 / pairs).
Peers: imagehash.phash of 64 and of 256 bits, and PDQ where `pdqhash` is installed.

The second form takes images that are all different (tiles, emoji) and counts what would be dropped
and what grouped.
"""

import argparse
import io
import tarfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from curate.formats.copies import Groups
from curate.images import confirm, sketch
from curate.images.decode import decode_image
from curate.images.render import scale_to_small

try:
    import pdqhash
except ImportError:
    pdqhash = None

Transform = Callable[[Image.Image, np.random.Generator], Image.Image]
FALSE_MATCH_RATE = 1e-5
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def saved(format: str, **options: object) -> Transform:
    def change(image: Image.Image, _: np.random.Generator) -> Image.Image:
        file = io.BytesIO()
        image.save(file, format, **options)
        return Image.open(file).convert("RGB")

    return change


def scaled(across: float, down: float | None = None) -> Transform:
    def change(image: Image.Image, _: np.random.Generator) -> Image.Image:
        size = image.width * across, image.height * (across if down is None else down)
        return image.resize([max(round(s), 1) for s in size], Image.Resampling.LANCZOS)

    return change


def enhanced(kind: type, by: float) -> Transform:
    return lambda image, _: kind(image).enhance(by)


def curve(function: Callable[[np.ndarray], np.ndarray]) -> Transform:
    """Of values from 0 to 1, height x width x 3."""

    def change(image: Image.Image, _: np.random.Generator) -> Image.Image:
        values = function(np.asarray(image) / 255)
        return Image.fromarray((values.clip(0, 1) * 255).round().astype(np.uint8))

    return change


def hue(degrees: float) -> Transform:
    def change(image: Image.Image, _: np.random.Generator) -> Image.Image:
        values = np.array(image.convert("HSV"))
        values[..., 0] += np.uint8(round(degrees / 360 * 256))
        return Image.fromarray(values, "HSV").convert("RGB")

    return change


def cropped(side: float, *, off_centre: bool = False) -> Transform:
    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        x, y = rng.random(2) if off_centre else (0.5, 0.5)
        width, height = round(image.width * side), round(image.height * side)
        left, top = round((image.width - width) * x), round((image.height - height) * y)
        return image.crop((left, top, left + width, top + height))

    return change


def bordered(colour: str, *shares: float) -> Transform:
    """Left, top, right, bottom: shares of the shorter side; one: the same all round."""

    def change(image: Image.Image, _: np.random.Generator) -> Image.Image:
        sides = (shares * 4)[:4] if len(shares) == 1 else shares
        left, top, right, bottom = (round(s * min(image.size)) for s in sides)
        result = Image.new("RGB", (image.width + left + right, image.height + top + bottom), colour)
        result.paste(image, (left, top))
        return result

    return change


def barred(ratio: float) -> Transform:
    """Black bars that make it of that ratio of width to height."""

    def change(image: Image.Image, _: np.random.Generator) -> Image.Image:
        width = max(image.width, round(image.height * ratio))
        height = max(image.height, round(image.width / ratio))
        result = Image.new("RGB", (width, height))
        result.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
        return result

    return change


def rounded(image: Image.Image, _: np.random.Generator) -> Image.Image:
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, *image.size), 0.12 * min(image.size), fill=255)
    return Image.composite(image, Image.new("RGB", image.size, "white"), mask)


def rotated(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.rotate(2 * rng.choice([-1, 1]), Image.Resampling.BICUBIC)


def captioned(image: Image.Image, _: np.random.Generator) -> Image.Image:
    result = image.copy()
    size = max(image.height // 9, 8)
    draw, place = ImageDraw.Draw(result), (image.width // 2, round(image.height * 0.9))
    draw.text(
        place, "WHEN YOU SEE IT", "white", anchor="mm", font_size=size, stroke_width=2,
        stroke_fill="black",
    )  # fmt: skip
    return result


def watermarked(image: Image.Image, _: np.random.Generator) -> Image.Image:
    layer = Image.new("RGBA", image.size)
    draw, size = ImageDraw.Draw(layer), max(image.height // 8, 8)
    for row in range(3):
        place = (image.width // 2, image.height * (2 * row + 1) // 6)
        draw.text(place, "sample  photo", (255, 255, 255, 110), anchor="mm", font_size=size)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def stamped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A logo in a corner."""
    result, side = image.copy(), min(image.size) // 4
    x, y = ((image.width - side) * rng.integers(2), (image.height - side) * rng.integers(2))
    draw = ImageDraw.Draw(result)
    draw.ellipse((x, y, x + side, y + side), fill="crimson", outline="white", width=3)
    centre = (x + side // 2, y + side // 2)
    draw.text(centre, "Hq", "white", anchor="mm", font_size=max(side // 2, 6))
    return result


def filtered(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """A tinted, washed-out, darkened-at-the-corners look."""
    values = np.asarray(image) / 255
    down, across = np.mgrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
    dark = 1 - 0.35 * (down**2 + across**2)[..., None]
    looks = (values * 0.8 + 0.12) * [1.08, 1.0, 0.85] * dark
    return Image.fromarray((looks.clip(0, 1) * 255).astype(np.uint8))


def framed(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Shown in a page: a bar above with signs in it, a margin round about, text below."""
    width, height = round(image.width * 1.16), round(image.height * 1.36)
    page = Image.new("RGB", (width, height), "#f4f4f6")
    draw, bar = ImageDraw.Draw(page), round(image.height * 0.1)
    draw.rectangle((0, 0, width, bar), fill="#303338")
    draw.text((10, bar // 2), "9:41   photo", "white", anchor="lm", font_size=max(bar // 2, 6))
    page.paste(image, ((width - image.width) // 2, round(image.height * 0.16)))
    text = (width // 12, round(image.height * 1.25))
    draw.text(text, "Liked by 312 others", "black", anchor="lm", font_size=max(bar // 2, 6))
    return page


def noisy(spread: float) -> Transform:
    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        values = np.asarray(image) + rng.normal(0, spread, (image.height, image.width, 3))
        return Image.fromarray(values.clip(0, 255).astype(np.uint8))

    return change


def thumbnail(image: Image.Image, _: np.random.Generator) -> Image.Image:
    result = image.copy()
    result.thumbnail((96, 96))
    return result


TURN = Image.Transpose
TRANSFORMS: dict[str, Transform] = {
    "JPEG 90": saved("JPEG", quality=90),
    "JPEG 75": saved("JPEG", quality=75),
    "JPEG 50": saved("JPEG", quality=50),
    "JPEG 30": saved("JPEG", quality=30),
    "WebP 50": saved("WEBP", quality=50),
    "half size": scaled(0.5),
    "third of the size": scaled(1 / 3),
    "double size": scaled(2),
    "four times enlarged": scaled(4),
    "thumbnail of 96 px": thumbnail,
    "stretched by 10 %": scaled(1.1, 1),
    "brightness + 5 %": enhanced(ImageEnhance.Brightness, 1.05),
    "brightness - 5 %": enhanced(ImageEnhance.Brightness, 0.95),
    "brightness + 20 %": enhanced(ImageEnhance.Brightness, 1.2),
    "brightness - 20 %": enhanced(ImageEnhance.Brightness, 0.8),
    "contrast + 30 %": enhanced(ImageEnhance.Contrast, 1.3),
    "contrast - 30 %": enhanced(ImageEnhance.Contrast, 0.7),
    "gamma 1.5": curve(lambda v: v**1.5),
    "gamma 0.7": curve(lambda v: v**0.7),
    "saturation + 50 %": enhanced(ImageEnhance.Color, 1.5),
    "grey": enhanced(ImageEnhance.Color, 0),
    "hue + 30 degrees": hue(30),
    "warmer": curve(lambda v: v * [1.12, 1.0, 0.82]),
    "blur, radius 1.5": lambda image, _: image.filter(ImageFilter.GaussianBlur(1.5)),
    "sharpened": lambda image, _: image.filter(ImageFilter.UnsharpMask(2, 150, 0)),
    "noise, 12 levels": noisy(12),
    "crop to 95 %": cropped(0.95),
    "crop to 90 %": cropped(0.9),
    "crop to 90 %, off centre": cropped(0.9, off_centre=True),
    "crop to 80 %": cropped(0.8),
    "crop to 80 %, off centre": cropped(0.8, off_centre=True),
    "crop to 70 %": cropped(0.7),
    "crop to 70 %, off centre": cropped(0.7, off_centre=True),
    "white border": bordered("white", 0.06),
    "black border": bordered("black", 0.1),
    "coloured border": bordered("steelblue", 0.08),
    "uneven border": bordered("white", 0.05, 0.05, 0.05, 0.25),
    "letterbox": barred(1.0),
    "pillarbox": barred(2.2),
    "rounded corners": rounded,
    "mirror": lambda image, _: ImageOps.mirror(image),
    "flip": lambda image, _: ImageOps.flip(image),
    "quarter turn": lambda image, _: image.transpose(TURN.ROTATE_90),
    "three quarter turns": lambda image, _: image.transpose(TURN.ROTATE_270),
    "half turn": lambda image, _: image.transpose(TURN.ROTATE_180),
    "turned by 2 degrees": rotated,
    "caption": captioned,
    "watermark": watermarked,
    "logo": stamped,
    "filter of a telephone": filtered,
    "screenshot": framed,
    "posterised": lambda image, _: ImageOps.posterize(image, 3),
    "PNG of 32 colours": lambda image, _: image.quantize(32).convert("RGB"),
}


def seen_from_the_side(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The corners drawn in by up to 4 % of the sides, JPEG 80."""
    (w, h), far = image.size, 0.04
    x, y = rng.uniform(0, far, 4) * w, rng.uniform(0, far, 4) * h
    quad = (x[0], y[0], x[1], h - y[1], w - x[2], h - y[2], w - x[3], y[3])
    turned = image.transform(image.size, Image.Transform.QUAD, quad, Image.Resampling.BICUBIC)
    return saved("JPEG", quality=80)(turned, rng)


def aged(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Sepia, dark towards the corners."""
    grey = np.asarray(image.convert("L")).astype(float)
    y, x = np.mgrid[-1 : 1 : grey.shape[0] * 1j, -1 : 1 : grey.shape[1] * 1j]
    dark = 1 - rng.uniform(0.25, 0.45) * (x * x + y * y) / 2
    sepia = (grey * dark)[..., None] * [1.07, 0.95, 0.76] + [8, 4, 0]
    return Image.fromarray(sepia.clip(0, 255).astype(np.uint8))


def cropped_and_mirrored(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    part = ImageOps.mirror(cropped(0.85, off_centre=True)(image, rng))
    return saved("JPEG", quality=60)(part, rng)


def polaroid(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """In an off-white frame, a line of writing below, a little soft."""
    side, foot = max(4, image.width * 6 // 100), max(8, image.height * 22 // 100)
    size = image.width + 2 * side, image.height + side + foot
    made = Image.new("RGB", size, (246, 243, 235))
    made.paste(image, (side, side))
    place = side + 4, image.height + side + foot // 3
    ImageDraw.Draw(made).text(place, "summer 1987, at the lake", (40, 40, 60))
    return made.filter(ImageFilter.GaussianBlur(0.4))


# written by another hand when the tuning had ended
TRANSFORMS |= {
    "seen from the side": seen_from_the_side,
    "aged": aged,
    "dithered to 16 colours": lambda image, _: image.quantize(
        16, dither=Image.Dither.FLOYDSTEINBERG
    ).convert("RGB"),
    "crop 85 %, mirrored, JPEG 60": cropped_and_mirrored,
    "polaroid": polaroid,
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("images", type=Path, help="a folder or a tar")
    options.add_argument("--originals", type=int, default=300)
    options.add_argument("--distractors", type=Path, help="a folder or a tar; other images")
    options.add_argument("--distinct", action="store_true", help="count, the images all differ")
    options.add_argument("--only", help="of files whose names contain this")
    options.add_argument("--half", type=int, choices=(0, 1), help="of the files, by their names")
    given = options.parse_args()
    files = {n: d for n, d in stored(given.images) if chosen(n, given.only, given.half)}
    if given.distinct:
        distinct(files)
    else:
        others = dict(stored(given.distractors)) if given.distractors else {}
        copies(files, given.originals, others)


def chosen(name: str, only: str | None, half: int | None) -> bool:
    return (only or "") in name and half in (None, zlib.crc32(name.encode()) % 2)


def stored(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every image in a folder or a tar."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in ENDINGS:
                yield str(file.relative_to(path)), file.read_bytes()
    else:
        with tarfile.open(path) as tar:
            for member in tar:
                if Path(member.name).suffix.lower() in ENDINGS:
                    yield member.name, tar.extractfile(member).read()


def distinct(files: dict[str, bytes]) -> None:
    images = [(name, decode_image(data)) for name, data in files.items()]
    sketches = sketch.Sketches.from_bytes(
        [sketch.sketch_image(scale_to_small(i)) for _, i in images]
    )
    start = time.process_time()
    found = confirm.find_likenesses(sketches)
    seconds = time.process_time() - start
    dropped, related = Groups(), Groups()
    for i, j, same in zip(found.i.tolist(), found.j.tolist(), found.same.tolist(), strict=True):
        related.join(str(i), str(j))
        if same:
            dropped.join(str(i), str(j))
            equal = images[i][1].tobytes() == images[j][1].tobytes()
            print(
                f"  one picture{' (equal pixels)' if equal else ''}: {images[i][0]} {images[j][0]}"
            )
    sizes = Counter(related.names().values())
    lost = len(dropped.names()) - len(set(dropped.names().values()))
    print(f"{len(images)} images, threshold {found.threshold:.3f}, {seconds:.0f} CPU-s")
    print(f"dropped {lost} ({lost / len(images):.2%}), kinds {dict(Counter(found.kind.tolist()))}")
    print(f"in {len(sizes)} groups: {sum(sizes.values())}, largest {sizes.most_common(5)}")


def copies(files: dict[str, bytes], count: int, others: dict[str, bytes]) -> None:
    names = sorted(files, key=lambda n: zlib.crc32(n.encode()))[:count]
    made = [(n, "original", decode_image(files[n]).convert("RGB")) for n in names]
    originals = list(made)
    rows = Rows([], [], [], {})
    for number, (name, _, image) in enumerate(originals):
        rows.add(image, number, "original")
        for what, change in TRANSFORMS.items():
            rng = np.random.default_rng(zlib.crc32(f"{what} {name}".encode()))
            rows.add(change(image, rng), number, what)
    ids = {photograph(n): number for number, n in enumerate(names)}
    for name, data in others.items():
        if photograph(name) not in ids:
            rows.add(decode_image(data).convert("RGB"), len(ids) + len(rows.of), "other")
    report(rows, len(names))


def photograph(name: str) -> str:
    """What a file's name says of whose picture it is: the same photograph in two sizes has one."""
    return Path(name).stem.split("_")[0]


@dataclass
class Rows:
    """What is known of each image: sketch, photograph it comes from, transform, peers' hashes."""

    sketches: list[bytes]
    of: list[int]
    what: list[str]
    hashes: dict[str, list[np.ndarray]]

    def add(self, image: Image.Image, number: int, what: str) -> None:
        self.sketches.append(sketch.sketch_image(scale_to_small(image)))
        self.of.append(number)
        self.what.append(what)
        for name, side in (("phash 64", 8), ("phash 256", 16)):
            bits = imagehash.phash(image, hash_size=side).hash
            self.hashes.setdefault(name, []).append(np.packbits(bits))
        if pdqhash:
            bits, _ = pdqhash.compute(np.asarray(image))
            self.hashes.setdefault("PDQ", []).append(np.packbits(bits.astype(bool)))


def report(rows: Rows, originals: int) -> None:
    of, what = np.array(rows.of), np.array(rows.what)
    first = np.flatnonzero(what == "original")
    of_original = np.append(first, np.full(of.max() + 1 - len(first), -1))[of]
    tries = {w: np.flatnonzero(what == w) for w in TRANSFORMS}
    sizes = np.bincount(of)
    pairs = int(len(of) * (len(of) - 1) / 2 - (sizes * (sizes - 1) / 2).sum())
    rate = max(FALSE_MATCH_RATE, 10 / pairs)
    print(
        f"{originals} photographs, {len(TRANSFORMS)} transforms, {(what == 'other').sum()} others,"
    )
    print(f"{pairs} pairs of non-copies, false-match rate {rate:.2g}")
    sketches = sketch.Sketches.from_bytes(rows.sketches)
    start = time.process_time()
    found = confirm.find_likenesses(sketches, false_match_rate=rate)
    wrong = of[found.i] != of[found.j]
    print(
        f"calibrated: threshold {found.threshold:.3f}, false {wrong.sum() / pairs:.2g}, "
        f"dropped wrongly {(wrong & found.same).sum()}, {time.process_time() - start:.0f} CPU-s"
    )
    score = {
        (i, j): s for i, j, s in zip(found.i.tolist(), found.j.tolist(), found.score, strict=True)
    }
    same = set(zip(found.i[found.same].tolist(), found.j[found.same].tolist(), strict=True))
    at = np.sort(np.append(found.score[wrong], np.zeros(int(pairs * rate) + 1)))[::-1]
    needed = at[int(pairs * rate)]
    columns: dict[str, dict[str, float]] = {"ours": {}, "at the rate": {}, "one picture": {}}
    for name, rows_of in tries.items():
        met = [(min(a, b), max(a, b)) for a, b in zip(of_original[rows_of], rows_of, strict=True)]
        columns["ours"][name] = np.mean([m in score for m in met])
        columns["at the rate"][name] = np.mean([score.get(m, 0) > needed for m in met])
        columns["one picture"][name] = np.mean([m in same for m in met])
    for name, hashes in rows.hashes.items():
        codes = np.stack(hashes).view(np.uint64)
        limit = hash_limit(codes, of, rate * pairs)
        columns[name] = {
            w: float(np.mean(distances(codes[r], codes[of_original[r]]) <= limit))
            for w, r in tries.items()
        }
    table(columns)
    known = zip(found.i[wrong].tolist(), found.j[wrong].tolist(), found.score[wrong], strict=True)
    print("the likest of different photographs:")
    for i, j, s in sorted(known, key=lambda one: -one[2])[:10]:
        print(f"  {s:.2f} {of[i]} {what[i]} / {of[j]} {what[j]}")


def distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.bitwise_count(some ^ others).astype(np.int32).sum(axis=-1)


def hash_limit(codes: np.ndarray, of: np.ndarray, allowed: float) -> int:
    """The largest distance within which no more than `allowed` pairs of non-copies are."""
    counts = np.zeros(codes.shape[1] * 64 + 1, dtype=np.int64)
    for row in range(len(codes)):
        other = of[row + 1 :] != of[row]
        apart = distances(codes[row + 1 :], codes[row])[other]
        counts += np.bincount(apart, minlength=len(counts))
    return int(np.searchsorted(np.cumsum(counts), allowed, side="right")) - 1


def table(columns: dict[str, dict[str, float]]) -> None:
    print(f"{'share found':28}", *(f"{name:>12}" for name in columns))
    for name in TRANSFORMS:
        print(f"{name:28}", *(f"{column[name]:12.3f}" for column in columns.values()))
    print(f"{'mean':28}", *(f"{np.mean(list(c.values())):12.4f}" for c in columns.values()))


if __name__ == "__main__":
    main()
