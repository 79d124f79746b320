"""Sketches: what is kept of an image so that copies of it are known again without decoding it.

A sketch holds 32 x 32 pixels of what lies inside the plain border, and hashes of it and of parts
of it (views). A hash is the signs of the low terms of a cosine transform: mirroring turns the signs
of odd terms, a quarter turn exchanges the axes, so eight symmetries cost nothing to store.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curate.system.files import atomic_write

if TYPE_CHECKING:
    from PIL import Image

SIDE = 32  # pixels, side of what is kept
TERMS = 8  # cosine terms along each axis
# Parts of an axis of which views are made: every pair of two of them is a view, the first the whole
SPANS = ((0, 1), (0, 0.87), (0.065, 0.935), (0.13, 1), (0, 0.74), (0.13, 0.87), (0.26, 1))
VIEWS = len(SPANS) ** 2
# A side of the border is plain if hardly a pixel of it is further from its colour than this
PLAIN = 14.0  # levels of 255
MOST_BORDER = 0.45  # share of an axis that may be border at one end

_HEAD = np.dtype(
    [
        ("box", "<u2", 4),  # left, top, right, bottom of what is inside, of 65535
        ("size", "<u2", 2),  # pixels, width and height of what was sketched
        ("views", "<u8", VIEWS),  # hashes; the first is of the whole inside
        ("strength", "u1", TERMS**2),  # of each bit of the first hash, logarithmic
    ]
)
_PIXELS = np.dtype(("u1", (SIDE, SIDE, 4)))  # red, green, blue on white, and alpha
SKETCH_BYTES = _HEAD.itemsize + _PIXELS.itemsize

_MAGIC = b"fubuki-sketch/1\n"
_SEGMENT = 4096  # sketches; more are spread over several segments


def sketch_image(small: "Image.Image") -> bytes:
    """The sketch of an image, `SKETCH_BYTES` long.

    Args:
        small: upright, sRGB, "RGB" or "RGBA", scaled down so that no side is over 256 pixels,
            never up.
    """
    from PIL import Image

    rgba = _on_white(small)
    box = find_inside(np.asarray(rgba)[..., :3])
    inside = rgba.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(inside)
    terms = view_terms(grey(pixels[None]))[0]
    head = np.zeros(1, dtype=_HEAD)
    scale = np.array([small.width, small.height] * 2)
    head["box"] = np.round(np.array(box) / scale * 65535)
    head["size"] = small.size
    head["views"] = sign_bits(terms)
    strength = np.abs(terms[0]).ravel()
    head["strength"] = np.clip(np.log2(strength + 1e-3) * 16 + 128, 0, 255)
    return bytes(head.tobytes() + pixels.tobytes())


def _on_white(image: "Image.Image") -> "Image.Image":
    """Red, green and blue on white, and alpha, as the four bands of an "RGBa" image."""
    from PIL import Image

    if image.mode == "RGB":
        return Image.merge("RGBa", (*image.split(), Image.new("L", image.size, 255)))
    values = np.asarray(image.convert("RGBA").convert("RGBa"))
    white = values[..., :3].astype(np.int16) + 255 - values[..., 3:]
    bands = [*np.moveaxis(white.clip(0, 255).astype(np.uint8), 2, 0), values[..., 3]]
    return Image.merge("RGBa", [Image.fromarray(np.ascontiguousarray(b)) for b in bands])


def find_inside(rgb: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """What lies inside a plain border: left, top, right, bottom in pixels.

    Each side may be of another colour and width. All of the image where it has no border, or where
    no more than a tenth of either axis would be left.
    """
    values = rgb.astype(np.float32)
    box = [0, 0, rgb.shape[1], rgb.shape[0]]
    for _ in range(3):  # a frame inside of bars
        before = list(box)
        for axis in (0, 1):
            view = values[box[1] : box[3], box[0] : box[2]]
            lines = view if axis == 0 else view.swapaxes(0, 1)
            first, last = _plain_ends(lines)
            low, high = 1 - axis, 3 - axis
            box[low], box[high] = box[low] + first, box[high] - last
        if box == before:
            break
    left, top, right, bottom = box
    least = (0.1 * rgb.shape[1], 0.1 * rgb.shape[0])
    if right - left < max(least[0], 2) or bottom - top < max(least[1], 2):
        return 0, 0, rgb.shape[1], rgb.shape[0]
    return left, top, right, bottom


def _plain_ends(lines: NDArray[np.float32]) -> tuple[int, int]:
    """How many lines at the start and at the end are plain and of one colour."""
    middle = np.median(lines, axis=1)
    away = np.abs(lines - middle[:, None]).max(axis=2)
    plain = np.quantile(away, 0.98, axis=1) <= PLAIN

    def count(order: slice) -> int:
        near = np.abs(middle[order] - middle[order][0]).max(axis=1) <= PLAIN
        stops = np.flatnonzero(~(plain[order] & near))
        return int(stops[0]) if len(stops) else len(lines)

    first, last = count(slice(None)), count(slice(None, None, -1))
    return (0, 0) if first + last >= len(lines) else (first, last)


def grey(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Luma (ITU-R BT.601) of pixels whose last axis starts with red, green, blue."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    result: NDArray[np.float32] = pixels[..., :3].astype(np.float32) @ weights
    return result


@cache
def _cosines() -> NDArray[np.float32]:
    """For each span the matrix that gives the cosine terms of it: spans x terms x SIDE."""
    rows = []
    for low, high in SPANS:
        # a pixel is shared out among the places of the span it covers
        places = low + (np.arange(256) + 0.5) / 256 * (high - low)
        owner = (places * SIDE).astype(int)
        basis = np.cos(np.pi * np.arange(TERMS)[:, None] * (np.arange(256) + 0.5) / 256)
        matrix = np.zeros((TERMS, SIDE))
        for place, pixel in enumerate(owner):
            matrix[:, pixel] += basis[:, place] / 256
        rows.append(matrix)
    return np.array(rows, dtype=np.float32)


def view_terms(greys: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine terms of every view: n x SIDE x SIDE -> n x views x terms x terms (down, right)."""
    stacked = _cosines().reshape(-1, SIDE)
    both: NDArray[Any] = stacked @ greys @ stacked.T
    shape = (len(greys), len(SPANS), TERMS, len(SPANS), TERMS)
    views: NDArray[np.float32] = both.reshape(shape).swapaxes(2, 3)
    return views.reshape(len(greys), VIEWS, TERMS, TERMS)


def sign_bits(terms: NDArray[np.float32]) -> NDArray[np.uint64]:
    """... x terms x terms -> ...: bit 8 * down + right is set where that term is positive.

    The mean, bit 0, says nothing of what is seen, and stays unset.
    """
    bits = (terms > 0).reshape(*terms.shape[:-2], TERMS**2)
    bits[..., 0] = False
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8")[..., 0]


@dataclass(frozen=True)
class Sketches:
    """Sketches in an order: hashes in memory, pixels where they lie."""

    heads: NDArray[Any]
    _parts: Sequence[NDArray[np.uint8]]
    _part: NDArray[np.intp]
    _row: NDArray[np.intp]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.heads)

    def pixels(self, numbers: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Those of the numbered sketches: n x SIDE x SIDE x (red, green, blue on white, alpha)."""
        numbers = np.asarray(numbers)
        found = np.empty((len(numbers), SIDE, SIDE, 4), dtype=np.uint8)
        parts = self._part[numbers]
        for part in np.unique(parts).tolist():
            mine = np.flatnonzero(parts == part)
            found[mine] = self._parts[part][self._row[numbers[mine]]]
        return found

    def boxes(self) -> NDArray[np.float64]:
        """Left, top, right, bottom of what is inside the border, 0 to 1."""
        result: NDArray[np.float64] = self.heads["box"] / 65535
        return result

    @classmethod
    def from_bytes(cls, records: Sequence[bytes]) -> "Sketches":
        """Of what `sketch_image` gave."""
        heads, pixels = _columns(records)
        zeros = np.zeros(len(records), dtype=np.intp)
        return cls(heads, [pixels], zeros, np.arange(len(records)))


def _columns(records: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    raw = np.frombuffer(b"".join(records), dtype=np.uint8).reshape(len(records), SKETCH_BYTES)
    heads = np.ascontiguousarray(raw[:, : _HEAD.itemsize]).view(_HEAD).reshape(-1)
    pixels = np.ascontiguousarray(raw[:, _HEAD.itemsize :]).reshape(-1, SIDE, SIDE, 4)
    return heads, pixels


class SketchStore:
    """Sketches by the SHA-256 of the bytes of their images, in files that are only added to.

    A segment is a line that names the format, the number of sketches and a CRC-32 of the rest
    (4 bytes each, little endian), then all hashes of bytes, all heads, all pixels. What is torn or
    of another version is as good as not there: it is derived, and sketched again.
    """

    def __init__(self, root: Path) -> None:
        """The folder may be missing; it is made when something is added."""
        self.root = root
        self._segments: dict[str, tuple[NDArray[Any], NDArray[np.uint8]]] = {}
        self._places: dict[str, tuple[str, int]] = {}
        self._seen: set[str] = set()

    def known(self) -> set[str]:
        """The SHA-256, in hexadecimal digits, of every image that is sketched."""
        self._read()
        return set(self._places)

    def add(self, sketches: Iterable[tuple[str, bytes]]) -> None:
        """Keep the sketches of images, each with the SHA-256 of its bytes; whole or not at all.

        Raises:
            InputError: the disk is full, read-only or not ours.
        """
        waiting = iter(sketches)
        while some := list(islice(waiting, _SEGMENT)):
            names = np.frombuffer(b"".join(bytes.fromhex(n) for n, _ in some), dtype=np.uint8)
            heads, pixels = _columns([record for _, record in some])
            body = names.tobytes() + heads.tobytes() + pixels.tobytes()
            counts = len(some).to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little")
            name = f"{zlib.crc32(names.tobytes()):08x}-{len(some)}.sketches"
            with atomic_write(self.root / name) as file:
                file.write(_MAGIC + counts + body)
            self._seen.discard(name)

    def load(self, sha256s: Sequence[str]) -> Sketches:
        """The sketches of images, in that order.

        Raises:
            KeyError: one of them is not sketched.
        """
        self._read()
        places = [self._places[name] for name in sha256s]
        order = {name: n for n, name in enumerate(self._segments)}
        part = np.array([order[name] for name, _ in places], dtype=np.intp)
        row = np.array([row for _, row in places], dtype=np.intp)
        heads = np.empty(len(places), dtype=_HEAD)
        for name, number in order.items():
            mine = part == number
            heads[mine] = self._segments[name][0][row[mine]]
        return Sketches(heads, [pixels for _, pixels in self._segments.values()], part, row)

    def _read(self) -> None:
        """Open the segments that were not opened yet."""
        if not self.root.is_dir():
            return
        for path in sorted(self.root.glob("*.sketches")):
            if path.name in self._seen:
                continue
            self._seen.add(path.name)
            if (found := _open_segment(path)) is not None:
                names, heads, pixels = found
                self._segments[path.name] = heads, pixels
                for row, name in enumerate(names):
                    self._places[name.tobytes().hex()] = path.name, row


def _open_segment(
    path: Path,
) -> tuple[NDArray[np.uint8], NDArray[Any], NDArray[np.uint8]] | None:
    """Hashes of bytes, heads and pixels of a segment; None where it is torn or not ours."""
    start = len(_MAGIC) + 8
    if path.stat().st_size < start:
        return None
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    head = raw[:start].tobytes()
    count = int.from_bytes(head[-8:-4], "little")
    if head[: len(_MAGIC)] != _MAGIC or len(raw) != start + count * (32 + SKETCH_BYTES):
        return None
    if zlib.crc32(raw[start:].data) != int.from_bytes(head[-4:], "little"):
        return None
    names, heads = start + count * 32, start + count * (32 + _HEAD.itemsize)
    return (
        raw[start:names].reshape(count, 32),
        raw[names:heads].view(_HEAD),
        raw[heads:].reshape(count, SIDE, SIDE, 4),
    )
