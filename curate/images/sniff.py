"""What a file is, told from its header; no pixel is decoded here."""

import io
import struct
import warnings
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageFile
    from PIL.JpegImagePlugin import JpegImageFile

MAX_FILE_BYTES = 300_000_000  # bytes of a file; what is larger is not read
MAX_PIXELS = 50_000_000  # pixels; what gives more, however it is decoded, is refused before
MAX_STORED_PIXELS = 400_000_000  # pixels of a JPEG, which can be decoded at an eighth of its sides
MAX_HELD_BYTES = (
    1 << 30
)  # of coefficients of a JPEG in several scans; a worker has half as much more
MAX_PASSED_PIXELS = 10_000_000_000  # pixels times scans; 2 s of an ordinary core
MAX_HEADER_BYTES = 32 << 20  # of a JPEG, before its first scan; Pillow is slow to read more
STORED_FORMATS = ("JPEG", "PNG", "WEBP")  # the formats we store
# What Pillow raises on broken files; a name that is missing here stops the run with a traceback.
PILLOW_ERRORS = (
    OSError,  # truncated data; UnidentifiedImageError
    SyntaxError,  # broken PNG
    *(ValueError, EOFError, ArithmeticError, LookupError, TypeError, AttributeError, RuntimeError),
    AssertionError,  # what it takes for granted of its own, and broken files bring about
    *(struct.error, zlib.error),
)
_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x00\x05\x16\x07", "AppleDouble"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"8BPS", "PSD"),
)


def sniff_format(head: bytes) -> str:
    """Name what starts with `head` (32 bytes suffice): "JPEG", "GIF", "HTML", "text", "unknown"."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return "AVIF" if head[8:12] in (b"avif", b"avis") else "HEIF or video"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "HTML"
    if start.startswith((b"<svg", b"<?xml")):
        return "SVG or XML"
    return "text" if _is_text(head) else "unknown"


def head_refusal(head: bytes, size: int) -> str | None:
    """Why a file of `size` bytes is not stored as an image, as `refusal_reason` has it.

    Only what starts it is looked at (32 bytes suffice): an image that passes may be broken.
    """
    if not size:
        return "empty:0 bytes"
    if size > MAX_FILE_BYTES:
        return f"too-large:over {MAX_FILE_BYTES} bytes"
    name = sniff_format(head)
    return None if name in STORED_FORMATS else f"not-an-image:{name}"


def open_image(data: bytes) -> "ImageFile.ImageFile":
    """The image of a stored format in `data`, its header read and no pixel, whatever its size.

    Of `PIL.Image.open` it lacks what a hostile header abuses, and what we have no use for: its
    caps of pixels (see `cost_refusal`), EXIF, and the second picture of a JPEG.

    Raises:
        OSError: it cannot be identified; and what else `PILLOW_ERRORS` names.
    """
    try:
        return _openers()[sniff_format(data[:32])](io.BytesIO(data), "")
    except (SyntaxError, IndexError, TypeError, struct.error):  # the ones Image.open catches
        raise OSError("cannot identify image file") from None


@lru_cache(maxsize=1)
def _openers() -> "dict[str, type[ImageFile.ImageFile]]":
    from PIL import JpegImagePlugin, PngImagePlugin, WebPImagePlugin

    class Jpeg(JpegImagePlugin.JpegImageFile):
        def _read_dpi_from_exif(self) -> None:
            """Every tag would be read, of which we have no use and a hostile file makes much."""

    return {"JPEG": Jpeg, "PNG": PngImagePlugin.PngImageFile, "WEBP": WebPImagePlugin.WebPImageFile}


def cost_refusal(image: "ImageFile.ImageFile", data: bytes) -> str | None:
    """Why an image asks too much of `decode.decode_image`, told by its header; None if it does not.

    A JPEG may have `MAX_STORED_PIXELS`, since it can be decoded at a half, a quarter or an eighth
    of its sides. If it comes in several scans (a progressive one does) all its coefficients are
    held at once, and every scan is a pass over all pixels.
    """
    from PIL.JpegImagePlugin import JpegImageFile

    size, pixels = f"{image.width} x {image.height}", image.width * image.height
    most = MAX_STORED_PIXELS if isinstance(image, JpegImageFile) else MAX_PIXELS
    if pixels > most:
        return f"{size} is more than {most} pixels"
    if isinstance(image, JpegImageFile) and image.tile and not _is_in_one_scan(image, data):
        held = 2 * pixels * sum(v * h for _, v, h, _ in image.layer)
        held //= max(v for _, v, _, _ in image.layer) * max(h for _, _, h, _ in image.layer)
        if held > MAX_HELD_BYTES:
            return f"{size} pixels in several scans need more than {MAX_HELD_BYTES >> 20} MiB"
        scans = data.count(b"\xff\xda")
        if scans * pixels > MAX_PASSED_PIXELS:
            return f"{scans} scans of {size} are more than {MAX_PASSED_PIXELS} pixels to pass over"
    return None


def _is_in_one_scan(image: "JpegImageFile", data: bytes) -> bool:
    """Whether the first scan of an open JPEG holds all of it: not progressive, all components."""
    size = 6 + 2 * image.layers
    end = image.fp.tell() if image.fp else 0  # of the header of the first scan
    head = bytes([0xFF, 0xDA, 0, size, image.layers])
    return "progression" not in image.info and data.startswith(head, max(end - size - 2, 0))


def refusal_reason(data: bytes) -> str | None:
    """Why these bytes are not stored as an image, as a `dropped` reason; None if they are.

    Reads the header only: an image that passes may still be broken further on.
    """
    from PIL import Image

    if reason := head_refusal(data[:32], len(data)):
        return reason
    name = sniff_format(data[:32])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            head = data[:MAX_HEADER_BYTES] if name == "JPEG" else data
            with open_image(head) as image:
                reason = cost_refusal(image, data)
    except Image.DecompressionBombError:
        reason = f"more than {MAX_PIXELS} pixels"
    except PILLOW_ERRORS:
        return f"not-an-image:{name} with an unreadable header"
    return f"too-large:{reason}" if reason else None


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return bool(text) and all(c.isprintable() or c in "\t\r\n" for c in text)
