"""Which of two files of one picture was made of the other?

Either is changed by what people do to images (saved anew, reduced, enlarged, sharpened, blurred)
until it comes as near to the other as it can. What was made of a file can be made of it again, and
not the other way round: a JPEG comes out of its source pixel by pixel, and a source does not come
of a JPEG. Noise is known by being even and without pattern. Limits were chosen on photographs,
of which none is in the measurements of docs/shards.md.
"""

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

WINDOW = 256  # pixels, side of what is compared
MARGIN = 8  # pixels at each side of a window that do not count where sizes differ
SIGMAS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8)  # pixels, of blurring and sharpening
SILENT_EDGES = 2.5  # levels that a sharpening with a threshold leaves alone
TRIED = 3  # ways of making the other that come nearest before they are saved as it is saved
MOST_ROUNDS = 3  # in which each file is held against the best so far
FLOOR = 0.2  # levels, below which a remainder is rounding

PERFECT = 0.06  # levels: what is left where the very same program saved it
EXACT = 0.4  # levels: what is left where a JPEG was saved from the other
CLEARLY = 1.5  # times smaller
ENLARGED = 0.45  # octaves by which the smaller must explain worse than it is explained
UNSURE = 1.0  # octaves around that within which it may be otherwise
# not the same part of a scene: levels that are left both ways, and times the steps between pixels
ASTRAY, ASTRAY_STEPS = 2.0, 0.35
EVEN, PATTERNLESS, LEAST_NOISE = 0.95, 0.94, 1.0
CRISP = 0.7  # octaves by which a sharpening fails where the crisper one is the source
MOST_SHARPENING = 1.9  # times the difference from a blurred image that people add
LEAST_SHARPENING = 0.2
AGREE = 0.04  # share by which sides inside of a border may differ
FRAMED = 0.97  # times as much of the area that is no border
LARGER = 1.05  # times as many pixels a side, counted where there is detail

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """One file of a picture, as it is compared."""

    luma: "Image.Image"  # mode "L"
    inside: tuple[int, int]  # pixels, width and height of what a plain border leaves
    resolved: float  # share of its side that is detail, 0 to 1
    rgb: "Image.Image | None" = None  # the same in colour, where it may have been saved as a JPEG
    tables: list[list[int]] | None = None  # quantisation tables of a JPEG, in rows, of luma first
    sampling: int = 0  # of the colours of a JPEG, as Pillow numbers it
    quality: int | None = None  # of a JPEG, 1 to 100
    lossy: bool = False  # a WebP with loss

    @property
    def detail(self) -> float:
        """Pixels a side, as far as they hold detail."""
        return math.sqrt(self.inside[0] * self.inside[1]) * self.resolved

    @property
    def filled(self) -> float:
        """Share of its area that is no border."""
        return self.inside[0] * self.inside[1] / (self.luma.width * self.luma.height)


@dataclass(frozen=True)
class Verdict:
    """Which of two files is the source."""

    first: bool | None  # whether it is the first of the two; None: it cannot be told
    how: str  # what was done to the other one, or what else tells them apart
    certain: bool  # else others of the group are asked, where there are any


@dataclass(frozen=True)
class _Made:
    """How near one file comes to the other."""

    left: float  # levels, root mean square
    how: str  # "as it is", "sharpened", "blurred", "median", "resized"
    strength: float = 0.0  # of a sharpening


def find_source(one: Candidate, other: Candidate, others: Sequence[Candidate] = ()) -> Verdict:
    """Which of two files of one picture is the original, as far as pixels tell.

    Args:
        one: a file.
        other: another.
        others: further files of the picture, which have a say where two cannot tell: the source
            lies between what was made of it, and so nearer to all of them.
    """
    pairs = zip(one.inside, other.inside, strict=True)
    agree = all(abs(a - b) <= AGREE * max(a, b) for a, b in pairs)
    if agree and one.luma.size != other.luma.size:
        least, most = sorted((one.filled, other.filled))
        if least < FRAMED * most:
            return Verdict(one.filled == most, "given a border", True)
    sized = one.luma.size == other.luma.size
    verdict = _of_one_size(one, other) if sized else _of_two_sizes(one, other)
    if verdict.certain:
        return verdict
    votes = [_nearer(one, other, third) for third in others]
    if sum(votes):
        return Verdict(sum(votes) > 0, verdict.how, True)
    return verdict


def _of_two_sizes(one: Candidate, other: Candidate) -> Verdict:
    shapes = [c.luma.width / c.luma.height for c in (one, other)]
    by_detail = _by_detail(one, other)
    if max(shapes) > 1.015 * min(shapes) + 1 / min(*one.luma.size, *other.luma.size):
        return by_detail
    small_first = one.luma.width < other.luma.width
    small, large = (one, other) if small_first else (other, one)
    up, down = _resized(small, large), _resized(large, small)
    if min(up.left, down.left) > max(ASTRAY, ASTRAY_STEPS * _crispness(_array(small.luma))):
        return by_detail
    gap = _octaves(up.left, down.left) - ENLARGED
    certain = abs(gap) > UNSURE
    if gap < 0:
        return Verdict(small_first, "enlarged", certain)
    return Verdict(not small_first, "reduced", certain)


def _by_detail(one: Candidate, other: Candidate) -> Verdict:
    sides = one.detail, other.detail
    if max(sides) <= LARGER * min(sides):
        return Verdict(None, "as much detail", False)
    return Verdict(sides[0] > sides[1], "less of it, or less detail", True)


def _octaves(one: float, other: float) -> float:
    return float(np.log2((one + FLOOR) / (other + FLOOR)))


def _of_one_size(one: Candidate, other: Candidate) -> Verdict:
    box = _window(one.luma)
    a, b = one.luma.crop(box), other.luma.crop(box)
    if a.tobytes() == b.tobytes():
        return Verdict(None, "equal", True)
    forth = min(_remade(a, b, other), _resaved(one, other, box), key=_by_left)
    back = min(_remade(b, a, one), _resaved(other, one, box), key=_by_left)
    least, most = sorted((forth.left, back.left))
    if least < PERFECT and most > CLEARLY * least + PERFECT / 2:
        return Verdict(forth.left < back.left, _saved(other, one, forth.left < back.left), True)
    if least < EXACT and most + FLOOR > CLEARLY * (least + FLOOR):
        return Verdict(forth.left < back.left, _saved(other, one, forth.left < back.left), True)
    if most < EXACT and one.tables and other.tables:
        if _coarseness(one) == _coarseness(other):
            return Verdict(None, "saved alike, with no more loss", True)
        # a finer one of the two is saved from a coarser one: nothing else keeps to its steps
        first = _coarseness(one) > _coarseness(other)
        return Verdict(first, _saved(other, one, first), True)
    if one.lossy != other.lossy:
        return Verdict(other.lossy, "saved with loss as WebP", True)
    x, y = _array(a), _array(b)
    if least > EXACT and _is_noise(x, y):
        return Verdict(noise_of(x) < noise_of(y), "noisy", False)
    first_smooth = _crispness(x) < _crispness(y)
    to_crisp, to_smooth = (forth, back) if first_smooth else (back, forth)
    gap = _octaves(to_crisp.left, to_smooth.left)
    usual = LEAST_SHARPENING <= to_crisp.strength <= MOST_SHARPENING
    if to_crisp.how == "sharpened" and usual and gap <= CRISP:
        return Verdict(first_smooth, "sharpened", False)
    return Verdict(not first_smooth, "blurred, or saved with loss", gap > 2 * CRISP)


@dataclass(frozen=True)
class Place:
    """Where one file stands among those of its picture."""

    number: int  # of the file
    how: str  # what tells the original from it; "" of the original
    tied: bool  # the original, or as good by all that pixels tell


def rank_files(files: Sequence[Candidate]) -> list[Place]:
    """The files of one picture, the original first, then those that hold most detail.

    Args:
        files: in an order that is theirs, such as that of the hashes of their bytes.
    """
    order = sorted(range(len(files)), key=lambda n: (-files[n].detail, n))
    best = order[0]
    for _ in range(MOST_ROUNDS):
        before = best
        for number in order:
            others = [files[n] for n in order if n not in (best, number)]
            if number != best and find_source(files[best], files[number], others).first is False:
                best = number
        if best == before:
            break
    places = [Place(best, "", True)]
    for number in order:
        if number != best:
            others = [files[n] for n in order if n not in (best, number)]
            verdict = find_source(files[best], files[number], others)
            places.append(Place(number, verdict.how, verdict.first is None))
    return places


def _saved(other: Candidate, one: Candidate, first: bool) -> str:
    made = other if first else one
    return f"saved as JPEG {made.quality}" if made.quality else "saved anew"


def _by_left(made: _Made) -> float:
    return made.left


def _coarseness(file: Candidate) -> int:
    return sum(file.tables[0]) if file.tables else 0


def _resaved(source: Candidate, like: Candidate, box: tuple[int, int, int, int]) -> _Made:
    """How near a window comes to another file's when it is saved, in colour, as that one is."""
    if source.rgb is None or not like.tables:
        return _Made(float("inf"), "as it is")
    from PIL import Image

    file = io.BytesIO()
    part = source.rgb.crop(box)
    part.save(file, "JPEG", qtables=like.tables, subsampling=like.sampling)
    again = Image.open(file).convert("RGB").convert("L")
    return _Made(_left(_array(again), _array(like.luma.crop(box))), "as it is")


def _nearer(one: Candidate, other: Candidate, third: Candidate) -> int:
    """1 where a third file is nearer to the first of two, -1 to the second, 0 to neither.

    Most of what people do to images leaves their size.
    """
    if one.luma.size != other.luma.size:
        return (third.luma.size == one.luma.size) - (third.luma.size == other.luma.size)
    if third.luma.size != one.luma.size:
        return 0
    box = _window(one.luma)
    x, y, z = (_array(c.luma.crop(box)) for c in (one, other, third))
    return int(np.sign(round(_left(y, z) - _left(x, z), 2)))


def _array(image: "Image.Image") -> Array:
    return np.asarray(image).astype(np.float32)


def _left(x: Array, y: Array) -> float:
    return float(np.sqrt(((x - y) ** 2).mean()))


def _crispness(x: Array) -> float:
    return float(np.abs(np.diff(x, axis=0)).mean() + np.abs(np.diff(x, axis=1)).mean())


def _window(luma: "Image.Image", side: int = WINDOW) -> tuple[int, int, int, int]:
    """The busiest of nine windows, its corner where blocks of a JPEG begin."""
    places = []
    for down in (0.15, 0.5, 0.85):
        for right in (0.15, 0.5, 0.85):
            left = max(0, min(luma.width - side, int(luma.width * right - side / 2))) // 16 * 16
            top = max(0, min(luma.height - side, int(luma.height * down - side / 2))) // 16 * 16
            box = left, top, min(luma.width, left + side), min(luma.height, top + side)
            places.append((-_crispness(_array(luma.crop(box))), box))
    return min(places)[1]


def _remade(a: "Image.Image", b: "Image.Image", like: Candidate) -> _Made:
    """How near the window `a` comes to `b`, a window of the file `like`."""
    y = _array(b)
    ways = sorted(_changed(a, y), key=lambda way: way[0].left)
    tried = [*ways[:TRIED], *(way for way in ways[TRIED:] if way[0].how == "as it is")]
    made = [way for way, _ in tried]
    if like.tables:
        made += [
            _Made(_left(_saved_like(image, like.tables[0]), y), way.how, way.strength)
            for way, image in tried
        ]
    return min(made, key=lambda way: way.left)


def _saved_like(image: "Image.Image", tables: list[int]) -> Array:
    from PIL import Image

    file = io.BytesIO()
    image.save(file, "JPEG", qtables=[tables])
    return _array(Image.open(file))


def _changed(a: "Image.Image", y: Array) -> "Iterator[tuple[_Made, Image.Image]]":
    """`a` as it is, and as near to `y` as blurring and sharpening bring it (least squares)."""
    from PIL import Image, ImageFilter

    x = _array(a)
    yield _Made(_left(x, y), "as it is"), a
    for sigma in SIGMAS:
        soft = a.filter(ImageFilter.GaussianBlur(sigma))
        yield _Made(_left(_array(soft), y), "blurred"), soft
        away = x - _array(soft)
        for least in (0.0, SILENT_EDGES):
            step = np.where(np.abs(away) < least, 0, away)
            strength, z = _fit(x, y, step)
            if strength > 0.1 or (strength < -0.1 and not least):
                how = "sharpened" if strength > 0 else "blurred"
                image = Image.fromarray(z.round().astype(np.uint8))
                yield _Made(_left(z, y), how, strength), image
    middle = a.filter(ImageFilter.MedianFilter(3))
    yield _Made(_left(_array(middle), y), "median"), middle


def _fit(x: Array, y: Array, step: Array) -> tuple[float, Array]:
    """How many times `step` brings `x` nearest to `y`; what is cut at 0 and 255 has no say."""
    free = np.ones(x.shape, dtype=bool)
    for _ in range(3):
        norm = float((step[free] ** 2).sum())
        strength = max(float(((y - x) * step)[free].sum()) / max(norm, 1e-3), -1.0)
        z = (x + strength * step).clip(0, 255)
        free = (z > 0) & (z < 255)
    return strength, z


def _resized(source: Candidate, like: Candidate) -> _Made:
    """How near a file comes to another of another size, in a window of that one."""
    from PIL import Image

    box = _window(like.luma, 2 * WINDOW)
    target = like.luma.crop(box)
    across = source.luma.width / like.luma.width
    down = source.luma.height / like.luma.height
    right, bottom = min(box[2] * across, source.luma.width), min(box[3] * down, source.luma.height)
    there = box[0] * across, box[1] * down, right, bottom
    kernels = Image.Resampling
    inner = (slice(MARGIN, -MARGIN),) * 2 if min(target.size) > 4 * MARGIN else (slice(None),) * 2
    y, left = _array(target), []
    for kernel in (kernels.LANCZOS, kernels.BICUBIC, kernels.BILINEAR, kernels.BOX):
        image = source.luma.resize(target.size, kernel, box=there)
        left.append(_left(_array(image)[inner], y[inner]))
        if like.tables:
            left.append(_left(_saved_like(image, like.tables[0])[inner], y[inner]))
    return _Made(min(left), "resized")


def _cells(x: Array) -> Array:
    height, width = (side // 8 * 8 for side in x.shape)
    blocks = x[:height, :width].reshape(height // 8, 8, width // 8, 8)
    return blocks.swapaxes(1, 2).reshape(-1, 64)


def _is_noise(x: Array, y: Array) -> bool:
    """Whether two windows differ as much in quiet places as anywhere, and without pattern."""
    if min(x.shape) < 32:
        return False
    away = y - x
    away -= away.mean()
    power = float((away**2).mean())
    busy = np.minimum(_cells(x).std(axis=1), _cells(y).std(axis=1))
    quiet = np.argsort(busy, kind="stable")[: max(4, len(busy) // 4)]
    even = float((_cells(away)[quiet] ** 2).mean()) / max(power, 1e-6)
    pattern = abs(float((away[:, 1:] * away[:, :-1]).mean())) / max(power, 1e-6)
    return power**0.5 > LEAST_NOISE and even**0.5 > EVEN and 1 - pattern > PATTERNLESS


def noise_of(x: Array) -> float:
    """Spread of the noise of luma, in levels: that of its quietest tenth of cells of 8 x 8 pixels.

    Source: Immerkær, "Fast noise variance estimation", 1996, whose mask takes structure out; taking
    quiet cells alone is our choice.
    """
    if min(x.shape) < 10:
        return 0.0
    mask = 4 * x[1:-1, 1:-1] - 2 * (x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:])
    mask += x[:-2, :-2] + x[2:, 2:] + x[:-2, 2:] + x[2:, :-2]
    cells = np.abs(_cells(mask)).mean(axis=1) * np.sqrt(np.pi / 2) / 6
    return float(np.quantile(cells, 0.1)) if len(cells) else 0.0
