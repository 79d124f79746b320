"""Which colours the numbers of a file mean, and those numbers in sRGB.

A PNG may say it four ways, in this order: `cICP`, `iCCP`, `sRGB`, `gAMA` with `cHRM`; the first
that can be honoured counts (PNG, third edition, section 4.3). A JPEG or WebP has an ICC profile.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from curate.images.sniff import PILLOW_ERRORS

if TYPE_CHECKING:
    from PIL import Image, ImageCms

Curve = tuple[float, ...]  # parameters of an ICC curve: gamma, or gamma, a, b, c, d
Primaries = tuple[float, ...]  # x and y of white, red, green, blue, as in `cHRM`

_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
_REC_709 = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_REC_601 = (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070)
# Rec. ITU-T H.273, tables 2 and 3, by code point
_PRIMARIES: dict[int, Primaries] = {
    1: _REC_709,
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: _REC_601,
    7: _REC_601,
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
_CAMERA = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)  # of Rec. 709 and 2020
_SRGB = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_CURVES: dict[int, Curve] = {
    **dict.fromkeys((1, 6, 14, 15), _CAMERA),
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: _SRGB,
}
_HDR = {16: "PQ", 18: "HLG"}  # they state light, not colours of a screen
_SRGB_GAMMA, _GAMMA_TOLERANCE = 1 / 2.2, 0.05  # what libpng, too, takes for equal
_PRIMARY_TOLERANCE = 0.01  # of a chromaticity, as in libpng


class UnknownColoursError(Exception):
    """What the numbers mean on a screen is not defined; the text says why."""


def convert_to_srgb(image: "Image.Image", stated: dict[Any, Any]) -> "Image.Image":
    """`image` ("L", "RGB" or "CMYK") as "RGB" in sRGB, from the colours that `stated` names.

    Args:
        image: pixels without alpha.
        stated: the `info` of the open file, with `cicp` by `read_cicp`. What in it cannot be
            honoured is passed over; where nothing can, the numbers are taken as sRGB.

    Raises:
        UnknownColoursError: nothing but a transfer function of high dynamic range is stated.
    """
    from PIL import ImageCms

    for make_profile, mode in _profiles(stated, image.mode):
        # it may be broken, or made for other channels than the image has
        with suppress(ImageCms.PyCMSError, Warning, *PILLOW_ERRORS):
            return _apply(make_profile(), _in_mode(image, mode))
    if name := _HDR.get((stated.get("cicp") or (0, 0))[1]):
        raise UnknownColoursError(f"the colours of {name} have no defined look in sRGB")
    return _in_mode(image, "RGB")


def _in_mode(image: "Image.Image", mode: str) -> "Image.Image":
    """The image itself where it has the mode: `convert` would copy it, in half a decoder's time."""
    image.load()  # the file it is read from may be closed next
    return image if image.mode == mode else image.convert(mode)


def read_cicp(data: bytes) -> tuple[int, int, int, int] | None:
    """The code points of a PNG's `cICP`: primaries, transfer, matrix, full range; or None."""
    at = data.find(b"\0\0\0\x04cICP", 0, data.find(b"IDAT"))
    body = data[at + 4 : at + 16]
    if at < 0 or len(body) < 12 or zlib.crc32(body[:8]) != int.from_bytes(body[8:], "big"):
        return None
    return (body[4], body[5], body[6], body[7])


def _profiles(
    stated: dict[Any, Any], mode: str
) -> Iterator[tuple[Callable[[], bytes | None], str]]:
    """What makes the ICC profiles that a file states, the one that counts first, and their modes.

    None is made of sRGB.
    """
    if cicp := stated.get("cicp"):
        primaries, curve = _PRIMARIES.get(cicp[0]), _CURVES.get(cicp[1])
        if primaries and curve and cicp[2:] == (0, 1):  # RGB, of full range
            yield partial(_matrix_profile, primaries, curve), "RGB"
    if isinstance(profile := stated.get("icc_profile"), bytes) and profile:
        yield lambda: profile, mode
    if "srgb" in stated:
        yield lambda: None, "RGB"
    if (gamma := stated.get("gamma", 0)) > 0:
        points: Primaries = stated.get("chromaticity", _REC_709)
        if all(abs(p - q) <= _PRIMARY_TOLERANCE for p, q in zip(points, _REC_709, strict=True)):
            points = _REC_709
        as_srgb = abs(gamma / _SRGB_GAMMA - 1) <= _GAMMA_TOLERANCE
        yield partial(_matrix_profile, points, _SRGB if as_srgb else (1 / gamma,)), "RGB"


def _apply(profile: bytes | None, image: "Image.Image") -> "Image.Image":
    """`image` from the colours of a profile to sRGB, as "RGB"."""
    from PIL import Image

    transform = _transform(profile, image.mode) if profile else None
    if transform is None:
        return _in_mode(image, "RGB")
    if image.mode == "L":  # only 256 values: exact, where littleCMS would interpolate many pixels
        ramp = Image.frombytes("L", (256, 1), bytes(range(256)))
        tables = [_transformed(ramp, transform).getchannel(n).tobytes() for n in range(3)]
        return image.convert("RGB").point(b"".join(tables))
    return _transformed(image, transform)


def _transformed(image: "Image.Image", transform: "ImageCms.ImageCmsTransform") -> "Image.Image":
    from PIL import ImageCms

    result = ImageCms.applyTransform(image, transform)
    assert result is not None  # it is None in place only
    return result


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> "ImageCms.ImageCmsTransform | None":
    """From `profile` to sRGB; None where it is sRGB already and converting would only round."""
    from PIL import ImageCms

    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if ImageCms.getProfileDescription(source).startswith("sRGB"):
        return None
    target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
    return ImageCms.buildTransform(source, target, mode, "RGB", flags=flags)


@lru_cache(maxsize=16)
def _matrix_profile(primaries: Primaries, curve: Curve) -> bytes | None:
    """An ICC profile of RGB with such primaries and one curve: ICC.1:2022, sections 7, 8.3, 10.18.

    None for sRGB itself. White is adapted to that of the profile connection space, D50, by the
    Bradford transform.
    """
    import numpy as np

    if primaries == _REC_709 and curve == _SRGB:
        return None
    x, y = np.array(primaries).reshape(4, 2).T
    white, *others = np.stack([x / y, np.ones(4), (1 - x - y) / y], axis=1)
    matrix = np.stack(others, axis=1)
    matrix = matrix * np.linalg.solve(matrix, white)
    cone = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    d50 = np.array([0.9642, 1.0, 0.8249])
    matrix = np.linalg.inv(cone) @ np.diag((cone @ d50) / (cone @ white)) @ cone @ matrix
    kind = 0 if len(curve) == 1 else 3  # of parametric curve
    tags = [(b"desc", b"mluc" + bytes(4) + struct.pack(">II", 0, 12))]
    tags += [(b"wtpt", b"XYZ " + bytes(4) + _fixed(d50))]
    tags += [
        (name, b"XYZ " + bytes(4) + _fixed(column))
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T, strict=True)
    ]
    body = b"para" + bytes(4) + struct.pack(">HH", kind, 0) + _fixed(curve)
    tags += [(name, body) for name in (b"rTRC", b"gTRC", b"bTRC")]
    return _icc_file(tags, d50)


def _icc_file(tags: Sequence[tuple[bytes, bytes]], d50: Iterable[float]) -> bytes:
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, body in tags:
        table += name + struct.pack(">II", start + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    head = struct.pack(">I4xI", start + len(data), 0x04300000) + b"mntrRGB XYZ " + bytes(12)
    head += b"acsp" + bytes(28) + _fixed(d50)
    return head.ljust(128, b"\0") + table + data


def _fixed(numbers: Iterable[float]) -> bytes:
    """Numbers of sixteen bits before the point and sixteen behind it."""
    return b"".join(struct.pack(">i", round(n * 65536)) for n in numbers)
