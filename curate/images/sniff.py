"""What a file is, told from its header; no pixel is decoded here."""

import io
import struct
import warnings
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageFile

MAX_FILE_BYTES = 300_000_000  # bytes of a file; what is larger is not read
MAX_PIXELS = 50_000_000  # pixels; what gives more, however it is decoded, is refused before
MAX_STORED_PIXELS = 400_000_000  # pixels of a JPEG, which can be decoded at an eighth of its sides
STORED_FORMATS = ("JPEG", "PNG", "WEBP")  # the formats we store
# What Pillow raises on broken files; a name that is missing here stops the run with a traceback.
PILLOW_ERRORS = (
    OSError,  # truncated data; UnidentifiedImageError
    SyntaxError,  # broken PNG
    *(ValueError, EOFError, ArithmeticError, LookupError, TypeError, AttributeError, RuntimeError),
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

    `PIL.Image.open` would refuse by size, too, and by other caps than `size_refusal`.

    Raises:
        OSError: it cannot be identified; and what else `PILLOW_ERRORS` names.
    """
    from PIL import Image

    Image.init()  # fills the table of formats
    opens, accepts = Image.OPEN[sniff_format(data[:32])]
    with suppress(SyntaxError, IndexError, TypeError, struct.error):  # as Image.open does
        if accepts is None or accepts(data[:16]):
            return opens(io.BytesIO(data), "")
    raise OSError("cannot identify image file")


def size_refusal(image: "ImageFile.ImageFile") -> str | None:
    """Why an image is too large for `decode.decode_image`, told by its header; None if it is not.

    A JPEG may have `MAX_STORED_PIXELS`, since it can be decoded at a half, a quarter or an eighth
    of its sides; any other image `MAX_PIXELS`.
    """
    most = MAX_STORED_PIXELS if image.format in ("JPEG", "MPO") else MAX_PIXELS
    if image.width * image.height <= most:
        return None
    return f"{image.width} x {image.height} is more than {most} pixels"


def refusal_reason(data: bytes) -> str | None:
    """Why these bytes are not stored as an image, as a `dropped` reason; None if they are.

    Reads the header only: an image that passes may still be broken further on.
    """
    from PIL import Image

    if reason := head_refusal(data[:32], len(data)):
        return reason
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_image(data) as image:
                reason = size_refusal(image)
    except Image.DecompressionBombError:
        reason = f"more than {MAX_PIXELS} pixels"
    except PILLOW_ERRORS:
        return f"not-an-image:{sniff_format(data[:32])} with an unreadable header"
    return f"too-large:{reason}" if reason else None


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return bool(text) and all(c.isprintable() or c in "\t\r\n" for c in text)
