"""Sketches: what is kept of an image so that copies of it are known again without decoding it.

A sketch holds 32 x 32 pixels of what lies inside the plain border, and hashes of it and of parts
of it (views). A hash is the signs of the low terms of a cosine transform: mirroring turns the signs
of odd terms, a quarter turn exchanges the axes, so eight symmetries cost nothing to store.
"""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curate.images.align import NEAR, local_mean
from curate.system.files import atomic_write

if TYPE_CHECKING:
    from PIL import Image

SIDE = 32  # pixels, side of what is kept
TERMS = 8  # cosine terms along each axis
# Parts of an axis of which views are made, as (share, how many of them side by side)
_SHARES = ((1.0, 1), (0.9, 3), (0.8, 4), (0.7, 5))
SPANS = [
    ((1 - share) * n / max(count - 1, 1), (1 - share) * n / max(count - 1, 1) + share)
    for share, count in _SHARES
    for n in range(count)
]
# A view is a part of the height and one of the width (numbers in SPANS), nearly as large a share of
# both, or all of one; the first is the whole
VIEWS = [
    (down, across)
    for down, (top, bottom) in enumerate(SPANS)
    for across, (left, right) in enumerate(SPANS)
    if abs((bottom - top) - (right - left)) < 0.11 or 0 in (down, across)
]
# A side of the border is plain if hardly a pixel of it is further from its colour than this
PLAIN = 14.0  # levels of 255

HEAD = np.dtype(
    [
        ("box", "<u2", 4),  # left, top, right, bottom of what is inside, of 65535
        ("size", "<u2", 2),  # pixels, width and height of what was sketched
        ("views", "<u8", len(VIEWS)),  # hashes; the first is of the whole inside
        ("strength", "u1", TERMS**2),  # of each bit of the first hash, logarithmic
        ("detail", "<f4"),  # spread of greys about their local mean, levels of 255
        ("digest", "<u8"),  # of the pixels: equal for equal ones
    ]
)
_PIXELS = np.dtype(("u1", (SIDE, SIDE, 4)))  # red, green, blue on white, and alpha
SKETCH_BYTES = HEAD.itemsize + _PIXELS.itemsize

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
    box = _inner(find_inside(np.asarray(rgba)[..., :3]), small.size)
    inside = rgba.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(inside)
    greys = grey(pixels[None])
    terms = view_terms(greys)[0]
    head = np.zeros(1, dtype=HEAD)
    scale = np.array([small.width, small.height] * 2)
    head["box"] = np.round(np.array(box) / scale * 65535)
    head["size"] = small.size
    head["views"] = sign_bits(terms)
    head["detail"] = (greys - local_mean(greys, NEAR)).std()
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=8).digest()
    head["digest"] = int.from_bytes(digest, "little")
    head["strength"] = bit_strength(terms[0])
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
    no more than a tenth of an axis would be left.
    """
    left, top, right, bottom = whole = 0, 0, rgb.shape[1], rgb.shape[0]
    for _ in range(3):  # a frame inside of bars
        before = left, top, right, bottom
        if right - left < 3 or bottom - top < 3:
            return whole
        view = rgb[top:bottom, left:right]
        top, bottom = top + _plain_lines(view), bottom - _plain_lines(view[::-1])
        if top >= bottom:  # of one colour, all or what is inside
            return before
        view = rgb[top:bottom, left:right].swapaxes(0, 1)
        left, right = left + _plain_lines(view), right - _plain_lines(view[::-1])
        if (left, top, right, bottom) == before:
            break
    if right - left <= 0.1 * rgb.shape[1] or bottom - top <= 0.1 * rgb.shape[0]:
        return whole
    return left, top, right, bottom


def _inner(box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A pixel less where a border was found: scaling has mixed it with the border."""
    left, top, right, bottom = box
    if right - left < 16 or bottom - top < 16:
        return box
    right, bottom = right - (right < size[0]), bottom - (bottom < size[1])
    return left + (left > 0), top + (top > 0), right, bottom


def _plain_lines(lines: NDArray[np.uint8]) -> int:
    """How many lines from the first on are plain and of one colour."""
    few = lines.shape[1] * 2 // 100  # pixels of a line that may be of any colour
    first = None
    starts: list[int] = [0, *range(1, len(lines), 8)]  # most images have no border: one line tells
    for start, end in pairwise([*starts, len(lines)]):
        some = np.sort(lines[start:end], axis=1).astype(np.int16)
        middle = some[:, some.shape[1] // 2]
        first = middle[0] if first is None else first
        spread = some[:, -1 - few] - some[:, few]
        plain = (spread <= 2 * PLAIN) & (np.abs(middle - first) <= PLAIN)
        if len(stops := np.flatnonzero(~plain.all(axis=1))):
            return start + int(stops[0])
    return len(lines)


def grey(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Luma (ITU-R BT.601) of pixels whose last axis starts with red, green, blue."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    result: NDArray[np.float32] = pixels[..., :3].astype(np.float32) @ weights
    return result


@cache
def _cosines() -> NDArray[np.float32]:
    """For each span the matrix that gives its cosine terms: spans x terms x SIDE."""
    fine = 1024  # places along a span; pixels between two places are interpolated
    places = (np.arange(fine) + 0.5) / fine
    basis = np.cos(np.pi * np.arange(TERMS)[:, None] * places) / fine
    result = np.zeros((len(SPANS), TERMS, SIDE))
    for matrix, (low, high) in zip(result, SPANS, strict=True):
        at = ((low + places * (high - low)) * SIDE - 0.5).clip(0, SIDE - 1.001)
        pixel = at.astype(int)
        share = at - pixel
        for row, wave in zip(matrix, basis, strict=True):
            row += np.bincount(pixel, wave * (1 - share), SIDE)
            row += np.bincount(pixel + 1, wave * share, SIDE)
    return result.astype(np.float32)


def view_terms(greys: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine terms of every view: n x SIDE x SIDE -> n x views x terms x terms (down, right)."""
    stacked = _cosines().reshape(-1, SIDE)
    both: NDArray[Any] = stacked @ greys @ stacked.T
    shape = (len(greys), len(SPANS), TERMS, len(SPANS), TERMS)
    down, across = np.array(VIEWS).T
    views: NDArray[np.float32] = both.reshape(shape).swapaxes(2, 3)[:, down, across]
    return views


def sign_bits(terms: NDArray[np.float32]) -> NDArray[np.uint64]:
    """... x terms x terms -> ...: bit 8 * down + right is set where that term is positive.

    The mean, bit 0, says nothing of what is seen, and stays unset.
    """
    bits = (terms > 0).reshape(*terms.shape[:-2], TERMS**2)
    bits[..., 0] = False
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8")[..., 0]


def bit_strength(terms: NDArray[np.float32]) -> NDArray[np.uint8]:
    """How far each bit's term is from 0, logarithmic: ... x terms x terms -> ... x bits."""
    strength = np.abs(terms).reshape(*terms.shape[:-2], TERMS**2)
    levels: NDArray[np.uint8] = (np.log2(strength + 1e-3) * 16 + 128).clip(0, 255).astype(np.uint8)
    return levels


# A symmetry is a number: 1 exchanges the axes, then 2 turns left to right, then 4 upside down
SYMMETRIES = 8


def turn_hashes(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hashes of the same images under each symmetry: n -> n x SYMMETRIES."""
    bits = np.unpackbits(hashes[:, None].view(np.uint8), axis=1, bitorder="little")
    axes = np.arange(TERMS**2).reshape(TERMS, TERMS).T.ravel()
    exchanged = np.packbits(np.ascontiguousarray(bits[:, axes]), axis=1, bitorder="little")
    sides = (hashes, np.ascontiguousarray(exchanged).view("<u8")[:, 0])
    odd = np.zeros((2, TERMS, TERMS), dtype=bool)
    odd[0, :, 1::2] = odd[1, 1::2] = True
    flips = np.packbits(odd.reshape(2, -1), axis=1, bitorder="little").view("<u8")[:, 0]
    masks = (np.uint64(0), flips[0], flips[1], flips[0] ^ flips[1])
    return np.stack([sides[n & 1] ^ masks[n >> 1] for n in range(SYMMETRIES)], axis=1)


def turn_pixels(pixels: NDArray[Any], symmetry: int) -> NDArray[Any]:
    """n x SIDE x SIDE pixels under a symmetry."""
    turned = pixels.swapaxes(1, 2) if symmetry & 1 else pixels
    turned = turned[:, :, ::-1] if symmetry & 2 else turned
    return turned[:, ::-1] if symmetry & 4 else turned


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
    heads = np.ascontiguousarray(raw[:, : HEAD.itemsize]).view(HEAD).reshape(-1)
    pixels = np.ascontiguousarray(raw[:, HEAD.itemsize :]).reshape(-1, SIDE, SIDE, 4)
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
        heads = np.empty(len(places), dtype=HEAD)
        for name, number in order.items():
            mine = part == number
            heads[mine] = self._segments[name][0][row[mine]]
        return Sketches(heads, [pixels for _, pixels in self._segments.values()], part, row)

    def forget(self, sha256s: Iterable[str]) -> None:
        """Delete the sketches of images: their segments are written anew without them.

        Raises:
            InputError: the disk is full, read-only or not ours.
        """
        gone = self.known() & set(sha256s)
        touched = {self._places[name][0] for name in gone}
        for segment in sorted(touched):
            kept = [n for n, (at, _) in self._places.items() if at == segment and n not in gone]
            one = self.load(kept)
            pixels = one.pixels(np.arange(len(kept)))
            records = zip(kept, one.heads, pixels, strict=True)
            self.add((name, head.tobytes() + part.tobytes()) for name, head, part in records)
            (self.root / segment).unlink(missing_ok=True)
        for found in (self._segments, self._places, self._seen):
            found.clear()

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
    names, heads = start + count * 32, start + count * (32 + HEAD.itemsize)
    return (
        raw[start:names].reshape(count, 32),
        raw[names:heads].view(HEAD),
        raw[heads:].reshape(count, SIDE, SIDE, 4),
    )
