"""What a file is, told from its first bytes; nothing is decoded here."""

import io
import struct
import warnings
import zlib

MAX_FILE_BYTES = 300_000_000  # bytes of a file; what is larger is not read
MAX_PIXELS = 50_000_000  # pixels; larger images are refused before decoding
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
            warnings.simplefilter("ignore")  # our own cap decides, not Pillow's warning
            with Image.open(io.BytesIO(data), formats=(name,)) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        width, height = 2 * MAX_PIXELS, 1
    except PILLOW_ERRORS:
        return f"not-an-image:{name} with an unreadable header"
    if width * height > MAX_PIXELS:
        return f"too-large:{width} x {height} pixels"
    return None


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return bool(text) and all(c.isprintable() or c in "\t\r\n" for c in text)
