"""One stored image as the pixels a cascade learns from."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from train.size import Size

BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
DRAFT_FACTOR = 3  # a JPEG may be decoded reduced if that leaves this many times the pixels a side


def decode_image(data: bytes, size: Size, fit: str) -> np.ndarray | str:
    """The image at `size`, uint8 (H, W, 3), or why it cannot be had.

    Nothing is ever enlarged: a super-resolution stage would learn blur. Reducing is Lanczos over
    the whole footprint of a pixel. A JPEG that is reduced six times or more is first reduced by
    2, 4 or 8 while it is decoded (the scaled inverse transform of libjpeg, Pillow's draft mode),
    which is about 1.5 to 2.5 times as fast and changes pixels by a few steps of 255 (PSNR about
    50 dB).

    Args:
        data: a JPEG, PNG or WebP file.
        size: wanted.
        fit: "crop" takes the largest central part of that shape; both sides of the image must
            be at least the wanted ones. "pad" takes the whole image and fills what it leaves
            free, half on each side, with the median colour of its outermost pixels; one side at
            least must be as long as wanted.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
            full = Size(*image.size)
            ratios = full.width / size.width, full.height / size.height
            shrink = max(ratios) if fit == "pad" else min(ratios)  # pixels that become one
            if shrink < 1:
                return f"{full.width} x {full.height} px, smaller than {size}"
            image.draft("RGB", Size(*(round(DRAFT_FACTOR * side / shrink) for side in full)))
            picture = image.convert("RGB")
    except BROKEN as error:
        return f"cannot be decoded ({error})"
    reduced = round(full.width / picture.width)
    if fit == "pad":
        inner = Size(*(max(1, round(side / shrink)) for side in full))
        return _pad_to(_resize_box(picture, (0, 0, *full), inner, reduced), size)
    width, height = size.width * shrink, size.height * shrink
    left = max(0, (full.width - width) // 2)
    top = max(0, (full.height - height) // 2)
    return _resize_box(picture, (left, top, left + width, top + height), size, reduced)


def _resize_box(
    picture: Image.Image, box: tuple[float, float, float, float], size: Size, reduced: int
) -> np.ndarray:
    """The part of an image in `box`, in pixels of the file; it was `reduced` while decoded."""
    left, top, right, bottom = (edge / reduced for edge in box)
    inner = picture.resize(size, Image.Resampling.LANCZOS, box=(left, top, right, bottom))
    return np.asarray(inner)


def _pad_to(drawn_HWC: np.ndarray, size: Size) -> np.ndarray:
    """In the middle of a canvas of the median colour of its outermost pixels."""
    height, width = drawn_HWC.shape[:2]
    edge = np.concatenate([drawn_HWC[0], drawn_HWC[-1], drawn_HWC[:, 0], drawn_HWC[:, -1]])
    canvas = np.empty((size.height, size.width, 3), np.uint8)
    canvas[:] = np.median(edge, axis=0).round()
    left, top = (size.width - width) // 2, (size.height - height) // 2
    canvas[top : top + height, left : left + width] = drawn_HWC
    return canvas
