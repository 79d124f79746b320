"""Bytes to pixels: upright, in sRGB, 8 bits a channel; what cannot be trusted is refused.

Only JPEG, PNG and WebP are decoded, told by content. Run it through `sandbox.run_jobs`: a hostile
file may still make a decoder eat memory or time, or die.
"""

import hashlib
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.images.colour import UnknownColoursError, convert_to_srgb, read_cicp
from curate.images.sniff import (
    MAX_PIXELS,
    PILLOW_ERRORS,
    STORED_FORMATS,
    cost_refusal,
    open_image,
    sniff_format,
)
from curate.system.sandbox import JobRefusedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image, ImageFile

DECODING_ERRORS = (*PILLOW_ERRORS, Warning)  # warnings are raised as errors while decoding
WHOLE_PIXELS = 2_000_000  # pixels; an image that has no more is decoded whole
_TRANSPOSE = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF orientation -> Image.Transpose
# fmt: off
_LUMA = (  # ITU-T T.81, table K.1: quantisation of luminance, row by row
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)
# fmt: on


class UndecodableError(JobRefusedError):
    """These bytes give no image; the text says why and is the same for the same bytes."""


class Decoded(NamedTuple):
    """An image, and what is told of its file while it is open."""

    image: "Image.Image"  # as `decode_image` has it
    size: tuple[int, int]  # pixels, width and height of the whole image, upright
    luma: Sequence[int] | None  # of a JPEG: how luminance is quantised, row by row

    @property
    def quality(self) -> int | None:
        """As `read_quality` has it."""
        return nearest_quality(self.luma) if self.luma else None


def decode_image(data: bytes, *, at_least: int | None = None) -> "Image.Image":
    """The image in `data`, mode "RGB", or "RGBA" if any pixel is not opaque.

    EXIF orientation is applied; an embedded ICC profile is converted to sRGB (an unusable one is
    ignored, as browsers do); 16-bit grey is scaled to 8 bits. The result carries no metadata.

    Args:
        data: the file.
        at_least: pixels. A JPEG of more than `WHOLE_PIXELS` may be decoded at a half, a quarter
            or an eighth of its sides, as long as the shorter one keeps so many; None: whole.
            What is scaled down from it to half of `at_least` looks the same, and costs less.
            Where even the whole has more than `MAX_PIXELS`, a JPEG is decoded at the largest of
            these sizes that does not, whatever is asked for.

    Raises:
        UndecodableError: another format, too many pixels, animated, or broken.
    """
    return decode(data, at_least=at_least).image


def decode(data: bytes, *, at_least: int | None = None) -> Decoded:
    """As `decode_image`, with the size and the quality of the file, which is opened once."""
    with _opened(data) as image:
        whole, luma = image.size, _luma_table(image)
        if getattr(image, "is_animated", False):
            raise UndecodableError("animated")
        factor = _scale_factor(image, at_least)
        if factor > 1:
            image.draft(None, (max(image.width // factor, 1), max(image.height // factor, 1)))
        image.load()
        if image.mode == "P" and image.palette is None:
            raise UndecodableError("its palette is missing")
        if image.format == "PNG":
            image.info["cicp"] = read_cicp(data)
            _shorten_key(image, data)
        orientation = read_orientation(image)
        result = to_upright_srgb(image, orientation)
    result.info.clear()
    return Decoded(result, _upright(whole, orientation), luma)


def _upright(size: tuple[int, int], orientation: int | None) -> tuple[int, int]:
    return size[::-1] if (orientation or 1) >= 5 else size


def read_quality(data: bytes) -> int | None:
    """Quality of a JPEG, as `nearest_quality` has it; None of what is no JPEG.

    Raises:
        UndecodableError: another format, too many pixels, or a broken header.
    """
    with _opened(data) as image:
        luma = _luma_table(image)
    return nearest_quality(luma) if luma else None


def _luma_table(image: "ImageFile.ImageFile") -> list[int] | None:
    tables: dict[int, list[int]] = getattr(image, "quantization", {})
    return tables.get(image.layer[0][3]) if tables and hasattr(image, "layer") else None


def nearest_quality(luma: Sequence[int]) -> int:
    """Quality of a JPEG, 1 to 100, by how its luminance is quantised.

    That whose table, as the Independent JPEG Group's library scales it (jcparam.c), is nearest in
    the mean ratio of its numbers: exact for files of that library and of others that use its
    tables, a likeness for cameras and editors that have tables of their own.
    """
    import numpy as np

    distance = np.abs(_log_luma_tables() - np.log(np.maximum(luma, 1))).mean(axis=1)
    return int(distance.argmin()) + 1


@lru_cache(maxsize=1)
def _log_luma_tables() -> "NDArray[np.float64]":
    """Logarithms of the luma table of each quality, 1 to 100: jcparam.c, ITU-T T.81, table K.1."""
    import numpy as np

    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)[:, None]
    tables = ((np.array(_LUMA) * scale + 50) // 100).clip(1, 255)
    return np.log(tables.astype(np.float64))


def _scale_factor(image: "ImageFile.ImageFile", at_least: int | None) -> int:
    """By what the sides of an open image are divided as it is decoded: 1, 2, 4 or 8."""
    if image.format != "JPEG":
        return 1
    pixels, shorter = image.width * image.height, min(image.size)
    asked = at_least is not None and pixels > WHOLE_PIXELS
    allowed = [f for f in (8, 4, 2, 1) if asked and shorter // f >= max(at_least or 0, 1)]
    needed = next(f for f in (1, 2, 4, 8) if pixels <= MAX_PIXELS * f * f)
    return max(needed, allowed[0] if allowed else 1)


def _shorten_key(image: "Image.Image", data: bytes) -> None:
    """Cut the transparent colour of a 16-bit RGB PNG to 8 bits, as Pillow cuts its pixels."""
    key = image.info.get("transparency")
    if isinstance(key, tuple) and data[24] == 16:
        image.info["transparency"] = tuple(v >> 8 for v in key)


@contextmanager
def _opened(data: bytes) -> "Iterator[ImageFile.ImageFile]":
    """The open image in `data`, small enough to be decoded; what Pillow raises is put in words."""
    from PIL import Image

    name = sniff_format(data[:32])
    if name not in STORED_FORMATS:
        raise UndecodableError(f"{name} is not decoded" if data else "0 bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with open_image(data) as image:
                if reason := cost_refusal(image, data):
                    raise UndecodableError(reason)
                yield image
    except Image.DecompressionBombError:
        raise UndecodableError(f"more than {MAX_PIXELS} pixels") from None
    except MemoryError:
        raise UndecodableError("needs too much memory") from None
    except DECODING_ERRORS as error:
        raise UndecodableError(error_text(error)) from None


def flatten(image: "Image.Image", background: str) -> "Image.Image":
    """`image` as "RGB" on a plain background (a colour name or #rrggbb)."""
    from PIL import Image

    if image.mode == "RGB":
        return image
    plain = Image.new("RGBA", image.size, background)
    plain.alpha_composite(image.convert("RGBA"))
    return plain.convert("RGB")


def pixel_sha256(image: "Image.Image") -> str:
    """SHA-256 of size and RGBA pixels: equal for equal images whatever their file format."""
    digest = hashlib.sha256(f"{image.width}x{image.height}\n".encode())
    for top in range(0, image.height, 512):  # in strips: RGBA of a large image is 200 MB
        strip = image.crop((0, top, image.width, min(top + 512, image.height)))
        digest.update(strip.convert("RGBA").tobytes())
    return digest.hexdigest()


def error_text(error: BaseException) -> str:
    """The first line of an error without memory addresses, which differ from run to run."""
    text = re.sub(r"\s*<[^>]* at 0x[0-9a-f]+>|0x[0-9a-f]{6,}", "", str(error)).strip()
    return " ".join(text.splitlines()[0].split()) if text else type(error).__name__


def read_orientation(image: "Image.Image") -> int | None:
    """Where the first row and column of an open image belong, as EXIF says: 1 to 8, or None.

    Only the tag 0x0112 of the first directory is read (EXIF 2.32, 4.6.2 and 4.6.4): Pillow would
    read whatever the others point at, of which a hostile file makes much.
    """
    with suppress(*DECODING_ERRORS):  # EXIF cannot be read; the pixels can
        if image.format == "PNG" and "exif" not in image.info:
            image.load()  # it may follow the pixels
        exif = image.info.get("exif")
        if not exif and (text := image.info.get("Raw profile type exif")):  # of ImageMagick
            exif = bytes.fromhex("".join(text.split("\n")[3:]))
        return _find_orientation(exif.removeprefix(b"Exif\0\0")) if exif else None
    return None


def _find_orientation(exif: bytes) -> int | None:
    order = {b"II": "<", b"MM": ">"}[exif[:2]]
    (at,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, at)
    for n in range(count):
        tag, kind, value = struct.unpack_from(order + "HH4xH", exif, at + 2 + 12 * n)
        if tag == 0x0112:
            return value if kind == 3 and value in _TRANSPOSE else None
    return None


def to_upright_srgb(image: "Image.Image", orientation: int | None) -> "Image.Image":
    """An open image turned upright, in sRGB, mode "RGB", or "RGBA" where a pixel is not opaque."""
    from PIL import Image

    if orientation is not None:
        image = image.transpose(Image.Transpose(_TRANSPOSE[orientation]))
    return _to_srgb(image)


def _to_srgb(image: "Image.Image") -> "Image.Image":
    """`image` in sRGB, mode "RGB", or "RGBA" where a pixel is not opaque."""
    if image.mode.startswith("I"):
        grey, alpha = _to_eight_bits(image)
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        grey_modes = ("1", "L", "LA", "La")
        grey = rgba.getchannel("R") if image.mode in grey_modes else rgba.convert("RGB")
        alpha = rgba.getchannel("A")
    else:
        as_is = image.mode in ("L", "RGB", "CMYK")
        grey, alpha = image if as_is else image.convert("L" if image.mode == "1" else "RGB"), None
    try:
        result = convert_to_srgb(grey, image.info)
    except UnknownColoursError as error:
        raise UndecodableError(str(error)) from None
    if alpha is not None and alpha.getextrema()[0] != 255:
        result.putalpha(alpha)
    return result


def _to_eight_bits(image: "Image.Image") -> "tuple[Image.Image, Image.Image | None]":
    """16-bit grey as 8 bits, rounded; and its alpha where one value is declared transparent."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.int64).clip(0, 65535)
    clear: Any = image.info.get("transparency")
    grey = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if not isinstance(clear, int):
        return grey, None
    return grey, Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
