"""What pixels a file gives: at which size, in which colours, and what asks too much."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hostile_images import chunk, exif_bomb, flat_jpeg, flat_png, segment
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from pictures import encoded, photograph
from PIL import Image, ImageCms

from curate.images import sniff
from curate.images.colour import read_cicp
from curate.images.decode import (
    WHOLE_PIXELS,
    UndecodableError,
    decode,
    decode_image,
    read_quality,
)

Floats = NDArray[np.float64]
LARGE = (1800, 1300)  # pixels; more than `WHOLE_PIXELS`


@pytest.fixture(scope="module")
def large() -> Image.Image:
    return photograph(5, LARGE)


def values(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image.convert("RGB")).astype(np.int64)


def psnr(one: Image.Image, other: Image.Image) -> float:
    error = float(((values(one) - values(other)) ** 2).mean())
    return 10 * np.log10(255**2 / max(error, 1e-9))


# size


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"quality": 75}),
        ("RGB", {"quality": 95, "subsampling": 0}),
        ("RGB", {"quality": 85, "subsampling": 1}),
        ("RGB", {"quality": 85, "progressive": True}),
        ("L", {"quality": 85}),
        ("CMYK", {"quality": 90}),
    ],
)
def test_a_jpeg_decoded_at_a_part_of_its_sides_looks_the_same_when_packed(
    large: Image.Image, mode: str, options: dict[str, object]
) -> None:
    data = encoded(large.convert(mode), "JPEG", **options)
    whole = decode_image(data)
    for target, factor in [(32, 8), (64, 8), (128, 4), (256, 2), (400, 1), (3000, 1)]:
        part = decode_image(data, at_least=2 * target)
        assert part.size == (-(-LARGE[0] // factor), -(-LARGE[1] // factor))
        side = min(target, 1300)
        size = (round(LARGE[0] * side / LARGE[1]), side)
        packed = [i.resize(size, Image.Resampling.LANCZOS) for i in (part, whole)]
        assert psnr(*packed) >= 44  # dB; photographs: `docs/shards.md`


def test_what_is_small_or_no_jpeg_is_decoded_whole(large: Image.Image) -> None:
    small = large.crop((0, 0, WHOLE_PIXELS // 1000, 1000))
    quick = {"WEBP": {"method": 0}, "PNG": {"compress_level": 1}}
    for image, form in [(small, "JPEG"), (large, "PNG"), (large, "WEBP")]:
        data = encoded(image, form, **quick.get(form, {}))
        assert decode_image(data, at_least=1) == decode_image(data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_pictures_are_upright_whatever_their_format_and_size(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = Image.new("RGB", (1700, 1200), "white")
    upright.paste("red", (0, 0, 850, 600))
    upright.paste("blue", (850, 0, 1700, 600))
    # what EXIF 2.32, 4.6.4 says to do to what is stored, undone
    undo: dict[int, Callable[[Image.Image], Image.Image]] = {
        1: lambda i: i,
        2: lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda i: i.transpose(Image.Transpose.ROTATE_180),
        4: lambda i: i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda i: i.transpose(Image.Transpose.TRANSPOSE),
        6: lambda i: i.transpose(Image.Transpose.ROTATE_90),
        7: lambda i: i.transpose(Image.Transpose.TRANSVERSE),
        8: lambda i: i.transpose(Image.Transpose.ROTATE_270),
    }
    data = encoded(undo[orientation](upright), form, exif=exif)
    assert decode(data).size == (1700, 1200)
    for at_least in (None, 300):
        seen = decode_image(data, at_least=at_least)
        assert seen.width > seen.height
        at = [seen.getpixel((seen.width * x // 4, seen.height // 4)) for x in (1, 3)]
        assert np.abs(np.subtract(at, [(255, 0, 0), (0, 0, 255)])).max() <= 3


@pytest.mark.parametrize("kind, value, turned", [(3, 6, True), (4, 6, False), (3, 9, False)])
def test_only_a_short_of_1_to_8_is_an_orientation(kind: int, value: int, turned: bool) -> None:
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, kind, 1, value) + bytes(4)
    data = encoded(photograph(1, (40, 20)), "JPEG", exif=exif)
    assert decode_image(data).size == decode(data).size == ((20, 40) if turned else (40, 20))


def test_orientation_behind_the_pixels_of_a_png_counts() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = encoded(Image.new("RGB", (40, 20)))
    end = plain.rindex(b"IEND") - 4
    late = plain[:end] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + plain[end:]
    assert decode(late).size == decode_image(late).size == (20, 40)
    assert decode(plain).size == (40, 20)


@pytest.mark.parametrize("quality", [1, 2, 10, 24, 25, 49, 50, 51, 75, 89, 90, 95, 99, 100])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(quality: int) -> None:
    image = photograph(1, (64, 48))
    for kind in (image, image.convert("L")):
        assert read_quality(encoded(kind, "JPEG", quality=quality)) == quality


def test_only_a_jpeg_has_a_quality() -> None:
    assert [read_quality(encoded(photograph(1, (9, 9)), f)) for f in ("PNG", "WEBP")] == [None] * 2
    with pytest.raises(UndecodableError):
        read_quality(b"\xff\xd8\xff\xe0")
    # an editor's own tables are near those of some quality
    with Image.open(io.BytesIO(encoded(photograph(1, (9, 9)), "JPEG", quality=60))) as image:
        luma = image.quantization[0]
    near = [v + (-1) ** n for n, v in enumerate(luma)]
    said = read_quality(encoded(photograph(1, (9, 9)), "JPEG", qtables=[near, near]))
    assert said is not None and 57 <= said <= 63


# what asks too much


def refused_by_both(data: bytes) -> str:
    """What `decode_image` says of a file that `refusal_reason` must refuse with the same words."""
    with pytest.raises(UndecodableError) as caught:
        decode_image(data)
    assert sniff.refusal_reason(data) == f"too-large:{caught.value}"
    return str(caught.value)


def test_a_jpeg_of_more_than_50_megapixels_is_decoded_at_a_part_of_its_sides() -> None:
    for width, height, factor in [(7001, 7001, 1), (8001, 7001, 2), (20_000, 20_000, 4)]:
        data = flat_jpeg(width, height, components=3, side=2)
        factor = factor if width * height > sniff.MAX_PIXELS else 1
        assert sniff.refusal_reason(data) is None
        assert decode(data).size == (width, height)
        seen = decode_image(data, at_least=min(width, height))
        assert seen.size == (-(-width // factor), -(-height // factor))
        assert seen.getextrema() == ((128, 128),) * 3
    assert decode_image(data, at_least=600).size == (2500, 2500)


def test_more_pixels_are_refused_by_the_header() -> None:
    most = sniff.MAX_STORED_PIXELS
    assert refused_by_both(flat_jpeg(20_001, 20_000)) == f"20001 x 20000 is more than {most} pixels"
    png = flat_png(7072, 7072, depth=1, colour=0)
    assert refused_by_both(png) == f"7072 x 7072 is more than {sniff.MAX_PIXELS} pixels"
    assert decode_image(flat_png(7071, 7071, depth=1, colour=0)).size == (7071, 7071)


def test_a_jpeg_in_scans_is_refused_where_it_needs_too_much_memory_or_time() -> None:
    heavy = flat_jpeg(14_000, 14_000, components=3, scans=1)
    assert "several scans need more than 1024 MiB" in refused_by_both(heavy)
    assert sniff.refusal_reason(flat_jpeg(14_000, 14_000, components=3, side=2, scans=1)) is None
    assert sniff.refusal_reason(flat_jpeg(14_000, 14_000, components=3)) is None
    slow = flat_jpeg(4000, 4000, scans=800)
    assert "801 scans of 4000 x 4000" in refused_by_both(slow)
    assert decode_image(flat_jpeg(400, 400, scans=800)).size == (400, 400)


def test_exif_cannot_eat_memory() -> None:
    plain = encoded(photograph(2, (64, 48)), "JPEG")
    bomb = plain[:2] + exif_bomb() + plain[2:]
    tracemalloc.start()
    try:
        assert sniff.refusal_reason(bomb) is None
        assert decode_image(bomb) == decode_image(plain)
        assert decode(bomb).size == (64, 48)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(bomb)
    finally:
        tracemalloc.stop()


# colour: references are computed here from the formulas of the specifications

TO_SRGB = {  # linear RGB to linear sRGB
    1: np.eye(3),
    # Rec. ITU-R BT.2087, from BT.2020
    9: np.array(
        [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    ),
    # CSS Color 4, from Display P3
    12: np.array(
        [[1.22494, -0.22494, 0], [-0.042057, 1.042057, 0], [-0.0196376, -0.0786361, 1.0982735]]
    ),
}


def srgb_to_linear(v: Floats) -> Floats:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(v: Floats) -> Floats:
    v = v.clip(0, 1)
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * v ** (1 / 2.4) - 0.055)


def camera_to_linear(v: Floats) -> Floats:  # Rec. ITU-R BT.709, 1.2, turned round
    return np.where(v < 0.081, v / 4.5, ((v + 0.099) / 1.099) ** (1 / 0.45))


CURVES: dict[int, Callable[[Floats], Floats]] = {
    1: camera_to_linear,
    4: lambda v: v**2.2,
    8: lambda v: v,
    13: srgb_to_linear,
    14: camera_to_linear,
}
COLOURS = np.random.default_rng(7).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def expected(matrix: Floats, curve: Callable[[Floats], Floats], pixels: Floats) -> Floats:
    return 255 * linear_to_srgb(curve(pixels / 255) @ matrix.T)


def with_chunks(image: Image.Image, *chunks: bytes) -> bytes:
    """A PNG with such chunks behind its header."""
    data = encoded(image)
    return data[:33] + b"".join(chunks) + data[33:]


def cicp(*code: int) -> bytes:
    return chunk(b"cICP", bytes(code))


def gama(gamma: float) -> bytes:
    return chunk(b"gAMA", round(gamma * 100_000).to_bytes(4, "big"))


def chrm(*points: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(p * 100_000) for p in points)))


P3_POINTS = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
SRGB_POINTS = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


@pytest.mark.parametrize("primaries", [1, 9, 12])
@pytest.mark.parametrize("transfer", [1, 4, 8, 13, 14])
def test_the_code_points_of_a_png_are_honoured(primaries: int, transfer: int) -> None:
    data = with_chunks(Image.fromarray(COLOURS), cicp(primaries, transfer, 0, 1))
    want = expected(TO_SRGB[primaries], CURVES[transfer], COLOURS)
    error = np.abs(values(decode_image(data)) - want)
    assert error.mean() <= 0.6 and error.max() <= 3
    if (primaries, transfer) == (1, 13):
        assert (values(decode_image(data)) == COLOURS).all()


@pytest.mark.parametrize("gamma", [0.35, 0.4, 0.45455, 0.55, 0.7, 1.0])
@pytest.mark.parametrize("points", [None, SRGB_POINTS, P3_POINTS])
def test_gamma_and_primaries_of_a_png_are_honoured(
    gamma: float, points: tuple[float, ...] | None
) -> None:
    chunks = [gama(gamma), *([chrm(*points)] if points else [])]
    data = with_chunks(Image.fromarray(COLOURS), *chunks)
    matrix = TO_SRGB[12 if points == P3_POINTS else 1]
    curve = srgb_to_linear if gamma == 0.45455 else lambda v: v ** (1 / gamma)
    error = np.abs(values(decode_image(data)) - expected(matrix, curve, COLOURS))
    assert error.mean() <= 0.6 and error.max() <= 3


def p3_profile() -> bytes:
    """The profile that our own code makes for P3; littleCMS reads it as any other."""
    from curate.images.colour import _matrix_profile

    return _matrix_profile(P3_POINTS, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))


def test_what_a_png_says_first_counts() -> None:
    """PNG, third edition, 4.3: `cICP`, `iCCP`, `sRGB`, `gAMA` with `cHRM`."""
    said = [
        (cicp(9, 8, 0, 1), expected(TO_SRGB[9], CURVES[8], COLOURS)),
        (
            chunk(b"iCCP", b"p3\0\0" + zlib.compress(p3_profile())),
            expected(TO_SRGB[12], srgb_to_linear, COLOURS),
        ),
        (chunk(b"sRGB", b"\0"), COLOURS.astype(float)),
        (gama(1.0) + chrm(*SRGB_POINTS), expected(np.eye(3), CURVES[8], COLOURS)),
    ]
    for count in range(1, 5):
        for some in combinations(said, count):
            for order in (some, some[::-1]):
                data = with_chunks(Image.fromarray(COLOURS), *(c for c, _ in order))
                assert np.abs(values(decode_image(data)) - some[0][1]).max() <= 3


def test_what_cannot_be_honoured_is_passed_over() -> None:
    image = Image.fromarray(COLOURS)
    linear = expected(np.eye(3), CURVES[8], COLOURS)
    damaged = bytearray(cicp(9, 8, 0, 1))
    damaged[-1] ^= 1
    odd = [
        *(
            cicp(*c)
            for c in [(200, 8, 0, 1), (1, 77, 0, 1), (9, 8, 1, 1), (9, 8, 0, 0), (9, 16, 0, 1)]
        ),
        chunk(b"iCCP", b"broken\0\0" + zlib.compress(b"nonsense" * 40)),
    ]
    for one in odd:
        seen = values(decode_image(with_chunks(image, one, gama(1.0))))
        assert np.abs(seen - linear).max() <= 3
    assert read_cicp(with_chunks(image, bytes(damaged))) is None
    for points in [(0.3127, 0, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06), (0.3,) * 8, (0.0,) * 8]:
        assert decode_image(with_chunks(image, gama(0.7), chrm(*points))).size == image.size
    assert (values(decode_image(with_chunks(image, gama(0)))) == COLOURS).all()


def test_light_of_high_dynamic_range_is_refused_unless_colours_are_stated_besides() -> None:
    image = Image.fromarray(COLOURS)
    for transfer, name in [(16, "PQ"), (18, "HLG")]:
        with pytest.raises(UndecodableError, match=f"the colours of {name} have no defined look"):
            decode_image(with_chunks(image, cicp(9, transfer, 0, 1)))
        besides = with_chunks(image, cicp(9, transfer, 0, 1), chunk(b"sRGB", b"\0"))
        assert (values(decode_image(besides)) == COLOURS).all()


def test_grey_palettes_and_alpha_have_colours_too() -> None:
    linear = gama(1.0)
    ramp = np.tile(np.arange(256, dtype=np.uint8), (2, 1))
    want = 255 * linear_to_srgb(ramp / 255)
    grey = decode_image(with_chunks(Image.fromarray(ramp), linear))
    assert np.abs(values(grey)[..., 0] - want).max() <= 1
    palette = Image.fromarray(np.stack([ramp] * 3, axis=-1)).quantize(256)
    assert np.abs(values(decode_image(with_chunks(palette, linear)))[..., 0] - want).max() <= 3
    clear = Image.fromarray(np.dstack([np.stack([ramp] * 3, axis=-1), ramp]))
    seen = np.asarray(decode_image(with_chunks(clear, linear)))
    assert np.abs(seen[..., 0] - want).max() <= 1
    assert (seen[..., 3] == ramp).all(), "alpha is no colour"


def test_sixteen_bits_a_channel_become_eight() -> None:
    deep = np.random.default_rng(3).integers(0, 65536, (16, 16, 3), dtype=np.uint16)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    data = sniff_png(header, lines)
    assert np.abs(values(decode_image(data)) - deep / 257).max() <= 1
    key = b"".join(int(v).to_bytes(2, "big") for v in deep[0, 0])  # one transparent colour
    clear = np.asarray(decode_image(sniff_png(header, lines, chunk(b"tRNS", key))))
    assert clear[0, 0, 3] == 0 and clear[1:, :, 3].min() == 255


def sniff_png(header: bytes, lines: bytes, *chunks: bytes) -> bytes:
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(lines))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_wide_profile_is_converted_in_every_format(form: str) -> None:
    flat = np.repeat(np.repeat(COLOURS[:4, :4], 16, axis=0), 16, axis=1)
    options = {"PNG": {}, "JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    data = encoded(Image.fromarray(flat), form, icc_profile=p3_profile(), **options[form])
    want = expected(TO_SRGB[12], srgb_to_linear, flat)
    error = np.abs(values(decode_image(data)) - want)
    assert error.mean() <= 1 and error.max() <= (8 if form == "JPEG" else 3)


def test_a_profile_counts_at_a_part_of_the_sides_too() -> None:
    blocks = np.repeat(np.repeat(COLOURS[:6, :7], 256, axis=0), 256, axis=1)
    data = encoded(Image.fromarray(blocks), "JPEG", quality=98, icc_profile=p3_profile())
    part = decode_image(data, at_least=190)
    assert part.size == (224, 192)
    middle = values(part)[16::32, 16::32]
    assert np.abs(middle - expected(TO_SRGB[12], srgb_to_linear, COLOURS[:6, :7])).max() <= 6


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of grey with such a gamma: ICC.1:2001-04, 6.3.1.1 and 6.5.3."""
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(78)
    tags = [(b"kTRC", curve), (b"wtpt", b"XYZ " + bytes(4) + d50), (b"desc", text + bytes(1))]
    start, table, body = 132 + 36, b"", b""
    for name, part in tags:
        table += name + struct.pack(">II", start + len(body), len(part))
        body += part + bytes(-len(part) % 4)
    head = struct.pack(">I4xI", start + len(body), 0x02100000) + b"mntrGRAYXYZ " + bytes(12)
    return (
        (head + b"acsp" + bytes(28) + d50).ljust(128, b"\0") + struct.pack(">I", 3) + table + body
    )


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_a_profile_of_grey_is_converted(gamma: float) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    for form in ("PNG", "JPEG"):
        options = {"quality": 100} if form == "JPEG" else {}
        data = encoded(Image.fromarray(ramp), form, icc_profile=grey_profile(gamma), **options)
        want = 255 * linear_to_srgb((ramp / 255) ** gamma)
        error = np.abs(values(decode_image(data)) - want[..., None])
        slack = 20 if form == "JPEG" else 0.6  # a step of a dark grey is many of sRGB
        assert error.max() <= slack and error.mean() <= 1


def cmyk_profile() -> tuple[bytes, Floats]:
    """A profile of CMYK that knows its sixteen corners only, and their L*a*b*.

    ICC.1:2001-04, 6.5.8. No ink is white, full black is black; the others are arbitrary, so that
    nothing but the profile gives them.
    """
    rng = np.random.default_rng(11)
    lab = np.column_stack([rng.integers(30, 90, 16), rng.integers(-15, 16, (16, 2))]).astype(float)
    lab[0], lab[1::2] = (100, 0, 0), (0, 0, 0)
    eight = np.column_stack([lab[:, 0] * 255 / 100, lab[:, 1:] + 128]).round().astype(np.uint8)
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    lut += struct.pack(">9i", *(65536 * v for v in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    lut += bytes(range(256)) * 4 + eight.tobytes() + bytes(range(256)) * 3
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    text = b"desc" + bytes(4) + struct.pack(">I", 4) + b"inks" + bytes(79)
    tags = [(b"A2B0", lut), (b"wtpt", b"XYZ " + bytes(4) + d50), (b"desc", text)]
    start, table, body = 132 + 36, b"", b""
    for name, part in tags:
        table += name + struct.pack(">II", start + len(body), len(part))
        body += part + bytes(-len(part) % 4)
    head = struct.pack(">I4xI", start + len(body), 0x02100000) + b"prtrCMYKLab " + bytes(12)
    file = (
        (head + b"acsp" + bytes(28) + d50).ljust(128, b"\0") + struct.pack(">I", 3) + table + body
    )
    exact = np.column_stack([eight[:, 0] / 2.55, eight[:, 1:].astype(float) - 128])
    return file, exact


def lab_to_srgb(lab: Floats) -> Floats:
    """CIE 15:2004, 8.2.1.1, then CSS Color 4: from D50 by Bradford to D65, to sRGB."""
    y = (lab[:, 0] + 16) / 116
    f = np.column_stack([y + lab[:, 1] / 500, y, y - lab[:, 2] / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1.0, 0.8249]
    bradford = np.array(
        [
            [0.955473421, -0.023098454, 0.063259243],
            [-0.028369709, 1.009995398, 0.021041441],
            [0.012314014, -0.020507649, 1.330365926],
        ]
    )
    to_rgb = np.array(
        [
            [3.240969942, -1.537383178, -0.498610760],
            [-0.969243636, 1.875967502, 0.041555057],
            [0.055630080, -0.203976959, 1.056971514],
        ]
    )
    return 255 * linear_to_srgb(xyz @ bradford.T @ to_rgb.T)


def test_inks_are_converted_by_their_profile_and_by_the_plain_rule_without() -> None:
    profile, lab = cmyk_profile()
    corners = np.array(
        [[c, m, y, k] for c in (0, 255) for m in (0, 255) for y in (0, 255) for k in (0, 255)]
    )
    blocks = np.repeat(np.repeat(corners.reshape(4, 4, 4).astype(np.uint8), 16, 0), 16, 1)
    image = Image.fromarray(blocks, "CMYK")
    plain = decode_image(encoded(image, "JPEG", quality=100, subsampling=0))
    inks = corners / 255
    want = 255 * (1 - inks[:, :3]) * (1 - inks[:, 3:])
    assert np.abs(values(plain)[8::16, 8::16].reshape(16, 3) - want).max() <= 4
    printed = encoded(image, "JPEG", quality=100, subsampling=0, icc_profile=profile)
    assert b"Adobe" in printed, "so its inks are stored inverted"
    seen = values(decode_image(printed))[8::16, 8::16].reshape(16, 3)
    assert np.abs(seen - lab_to_srgb(lab)).max() <= 5


def test_our_profiles_are_what_littlecms_calls_srgb() -> None:
    """An independent reader finds our primaries: littleCMS's own sRGB has the same."""
    from curate.images.colour import _matrix_profile

    ours = ImageCms.ImageCmsProfile(io.BytesIO(_matrix_profile(SRGB_POINTS, (2.2,))))
    theirs = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    for name in ("red_colorant", "green_colorant", "blue_colorant"):
        pair = [getattr(p.profile, name)[0] for p in (ours, theirs)]
        assert pair[0] == pytest.approx(pair[1], abs=2e-3)


# attacks


def test_a_palette_that_is_missing_is_said_to_be() -> None:
    data = encoded(photograph(1, (9, 9)).quantize(16))
    at = data.index(b"PLTE") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    with pytest.raises(UndecodableError, match="its palette is missing"):
        decode_image(data[:at] + data[at + size + 12 :])


def whole_files() -> list[bytes]:
    image = photograph(3, (48, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        encoded(image, "JPEG", exif=exif, icc_profile=p3_profile()),
        encoded(image, "JPEG", progressive=True),
        encoded(image.convert("CMYK"), "JPEG"),
        flat_jpeg(1500, 1400, components=3, side=2, scans=3),
        with_chunks(image, cicp(9, 8, 0, 1), gama(0.5), chrm(*P3_POINTS)),
        encoded(image.convert("P"), transparency=3, exif=exif),
        encoded(image, "WEBP", exif=exif, icc_profile=p3_profile()),
        encoded(image.convert("RGBA"), "WEBP", lossless=True),
    ]


WHOLE = whole_files()


@given(
    st.sampled_from(range(len(WHOLE))),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.floats(0, 1.3),
    st.one_of(st.none(), st.tuples(st.sampled_from(range(len(WHOLE))), st.floats(0, 1))),
    st.sampled_from([None, 1, 20, 512]),
)
@examples(max_examples=250, deadline=None)
def test_no_damage_breaks_the_decoder_and_sizes_hold(
    which: int,
    flips: list[tuple[float, int]],
    cut: float,
    splice: tuple[int, float] | None,
    at_least: int | None,
) -> None:
    data = bytearray(WHOLE[which])
    for where, value in flips:  # most of them in the header, where they hurt
        data[int(where**3 * (len(data) - 1))] = value
    if splice:
        data[int(splice[1] * len(data)) :] = WHOLE[splice[0]][
            int(splice[1] * len(WHOLE[splice[0]])) :
        ]
    check_laws(bytes(data[: int(cut * len(data))]), at_least)


def check_laws(data: bytes, at_least: int | None) -> None:
    """Refused in words, or of the size that the header says, divided by 1, 2, 4 or 8."""
    sniffed = sniff.refusal_reason(data)
    try:
        seen, (width, height), _ = decoded = decode(data, at_least=at_least)
    except UndecodableError as error:
        assert str(error)
        return
    assert sniffed is None, "what is decoded would have been fetched"
    factor = next(f for f in (1, 2, 4, 8) if seen.size == (-(-width // f), -(-height // f)))
    assert seen.mode in ("RGB", "RGBA") and seen.width * seen.height <= sniff.MAX_PIXELS
    assert factor == 1 or min(seen.size) >= min(at_least or 1, min(width, height) // factor)
    quality = decoded.quality
    assert quality == read_quality(data) and (quality is None or 1 <= quality <= 100)


@pytest.mark.parametrize("size", [(0, 9), (9, 0), (1, 1), (65500, 1), (1, 65500), (60000, 60000)])
def test_a_jpeg_that_lies_about_its_size(size: tuple[int, int]) -> None:
    data = bytearray(encoded(photograph(4, (64, 48)), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", size[1], size[0])
    for at_least in (None, 16):
        check_laws(bytes(data), at_least)


def test_a_second_frame_header_does_not_change_the_size() -> None:
    data = encoded(photograph(4, (64, 48)), "JPEG")
    at = data.index(b"\xff\xc0")
    other = segment(
        0xC0, data[at + 4 : at + 5] + struct.pack(">HH", 4000, 4000) + data[at + 9 : at + 19]
    )
    check_laws(data[:at] + other + data[at:], 16)
    check_laws(data[: at + 19] + other + data[at + 19 :], 16)
