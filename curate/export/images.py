"""An image as it is exported: its own compressed pixels where a trainer reads them rightly.

Trainers at home ignore an ICC profile, or the orientation, or lay transparency on black. So an
image that needs any of these, or is scaled down, is written anew as `pack` does it: a JPEG as JPEG
(quality 95, 4:4:4), anything else as PNG. All others keep their compressed data bit for bit, only
metadata is left behind, and what is left is decoded and compared before it is used.
"""

import io
import struct
from collections.abc import Iterator
from pathlib import Path

from curate.dataset.folder import Store
from curate.images.decode import DECODING_ERRORS, decode_image
from curate.images.render import render_image
from curate.images.sniff import sniff_format
from curate.system import sandbox

SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
PLAIN_MODES = ("RGB", "L")  # of Pillow: what every trainer reads as the colours that were meant
ANY_SIZE = 1 << 30  # pixels of the shorter side; no image is larger
_JPEG_KEPT = (0xE0, 0xEE)  # APP0 (JFIF), APP14 (Adobe): how colours are stored
_PNG_KEPT = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_WEBP_KEPT = (b"VP8 ", b"VP8L")


def render_original(root: str, sha256: str, size: int, background: str) -> sandbox.JobResult:
    """Render the image with this hash in the store at `root`; for `sandbox.run_jobs`.

    Returns:
        ({"refused": REASON}, nothing), or its facts (`width`, `height`, `format`, the suffix of its
        file, and `modified`, as in a shard's record), and the bytes of its file.
    """
    data = Store(Path(root)).get(sha256)
    name = sniff_format(data[:32])
    image = decode_image(data)
    if image.mode == "RGB" and min(image.size) <= size:
        plain = strip_metadata(data, name)
        if plain is not None and _reads_as(plain, image.tobytes()):
            changed = ["metadata removed"] if plain != data else []
            facts = {"width": image.width, "height": image.height, "format": SUFFIXES[name]}
            return {**facts, "modified": changed}, plain
    form = "jpg" if name == "JPEG" else "png"
    return render_image(image, size=size, format=form, background=background, original=image.size)


def strip_metadata(data: bytes, name: str) -> bytes | None:
    """The file without metadata, its compressed pixels untouched; None if it is not understood.

    Args:
        data: a JPEG, PNG or WebP file.
        name: which: "JPEG", "PNG" or "WEBP".

    Source: ITU-T T.81, annex B (JPEG markers); PNG specification, third edition, section 5.3;
    RFC 9649, section 2 (WebP's RIFF container).
    """
    parts = {"JPEG": _jpeg_parts, "PNG": _png_parts, "WEBP": _webp_parts}[name]
    try:
        return b"".join(parts(data))
    except (struct.error, IndexError, ValueError):
        return None


def _reads_as(plain: bytes, pixels: bytes) -> bool:
    """Whether a reader that knows of neither profile nor orientation finds just these pixels."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(plain)) as image:
            return image.mode in PLAIN_MODES and image.convert("RGB").tobytes() == pixels
    except DECODING_ERRORS:
        return False


def _jpeg_parts(data: bytes) -> Iterator[bytes]:
    yield data[:2]
    at = 2
    while True:
        if data[at] != 0xFF:
            raise ValueError("no marker")
        kind = data[at + 1]
        if kind == 0xFF:  # fill
            at += 1
            continue
        if kind == 0xD9:
            yield data[at : at + 2]
            return  # what follows the end of the image is another one, or not of it
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if kind == 0xDA:  # a scan: coded data follow, up to a marker that is none within them
            end = data.index(b"\xff", end)
            while data[end + 1] == 0 or 0xD0 <= data[end + 1] <= 0xD7:
                end = data.index(b"\xff", end + 2)
        metadata = 0xE0 <= kind <= 0xEF and kind not in _JPEG_KEPT
        if not metadata and kind != 0xFE:  # a comment
            yield data[at:end]
        at = end


def _png_parts(data: bytes) -> Iterator[bytes]:
    yield data[:8]
    at, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind in _PNG_KEPT:
            yield data[at:end]
        at = end


def _webp_parts(data: bytes) -> Iterator[bytes]:
    at = 12
    while at < len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if kind in _WEBP_KEPT:
            yield struct.pack("<4sI4s", b"RIFF", 4 + end - at, b"WEBP")
            yield data[at:end]
            return
        at = end
    raise ValueError("no image")
