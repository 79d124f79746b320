"""Image files that ask more of a decoder than their bytes say, written by hand.

For the tests and for `benchmarks/bench_hostile.py`. Every one is valid as its format goes; the
JPEGs are flat grey, of any size, at a few bytes for thousands of pixels.
"""

import struct
import zlib

_PNG = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def flat_png(width: int, height: int, *, depth: int = 8, colour: int = 6) -> bytes:
    """A PNG of zeros: `colour` 0 grey, 2 RGB, 6 RGBA, at `depth` bits a channel."""
    line = 1 + -(-width * depth * {0: 1, 2: 3, 6: 4}[colour] // 8)
    packer = zlib.compressobj(9)
    zeros = bytes(line)
    body = b"".join([*(packer.compress(zeros) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return _PNG + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def flat_jpeg(
    width: int, height: int, *, components: int = 1, scans: int = 0, side: int = 1
) -> bytes:
    """A grey JPEG of one component, or of three, the first with `side` samples for one of theirs.

    With `scans` it is progressive: a scan for the DC values and so many for single bits of the
    first component's AC values (882 at most), each some hundred bytes, each a pass over all blocks.
    """
    frame = struct.pack(">BHHB", 8, height, width, components)
    frame += b"".join(
        bytes([n, 0x11 * (side if n == 1 else 1), 0]) for n in range(1, components + 1)
    )
    start = b"\xff\xd8" + segment(0xDB, bytes([0]) + bytes([1]) * 64)
    start += segment(0xC2 if scans else 0xC0, frame)
    # one code a table, the bit 0: DC "no change"; AC "end of block", or of 2**14 blocks and more
    one_code = bytes([1]) + bytes(15)
    start += segment(
        0xC4, b"\x00" + one_code + b"\x00" + b"\x10" + one_code + bytes([0xE0 * bool(scans)])
    )
    units = -(-width // (8 * side)) * -(-height // (8 * side))
    blocks = units * (side * side + components - 1)
    whole = 0 if scans else 63  # the last coefficient of the first scan
    names = b"".join(bytes([n, 0]) for n in range(1, components + 1))
    bits = blocks if scans else 2 * blocks
    body = segment(0xDA, bytes([components]) + names + bytes([0, whole, 0])) + bytes(-(-bits // 8))
    in_one = -(-width // 8) * -(-height // 8)
    run = bytes(-(-(-(-in_one // 2**14) * 15) // 8))
    for n in range(scans):
        at, low = 1 + n // 14, 13 - n % 14
        bits_of = (0 if low == 13 else low + 1) << 4 | low
        body += segment(0xDA, bytes([1, 1, 0, at, at, bits_of])) + run
    return start + body + b"\xff\xd9"


def exif_bomb(segments: int = 2) -> bytes:
    """EXIF of a JPEG in which each of thousands of tags claims most of it as its value."""
    entries = 5000
    size = segments * 65_000
    head = b"II*\0" + struct.pack("<IH", 8, entries)
    head += b"".join(struct.pack("<HHII", 0x1000 + n, 1, size - 10, 8) for n in range(entries))
    body = head.ljust(size, b"\0")
    parts = [body[n : n + 65_000] for n in range(0, size, 65_000)]
    return b"".join(segment(0xE1, b"Exif\0\0" + part) for part in parts)


def compressed_zeros(count: int) -> bytes:
    """A zlib stream of so many million zeros."""
    packer, million = zlib.compressobj(9), bytes(1_000_000)
    return b"".join([*(packer.compress(million) for _ in range(count)), packer.flush()])


def png_with(*chunks: bytes, body: bytes | None = None) -> bytes:
    """A grey PNG of 8 x 8 pixels with such chunks before its pixels, or another body of them."""
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(72)) if body is None else body)
    return b"".join([_PNG, chunk(b"IHDR", header), *chunks, pixels, chunk(b"IEND", b"")])


def cases() -> dict[str, tuple[bytes, str]]:
    """Hostile files by what they are, each with its size if it is decoded, else how it is refused.

    Sizes are of `decode_image(data, at_least=512)`.
    """
    tiny = flat_jpeg(64, 48)
    bomb = tiny[:2] + exif_bomb(8) + tiny[2:]
    many = tiny[:2] + b"".join(segment(0xE1, b"Exif\0\0" + bytes(65_000)) for _ in range(400))
    return {
        "PNG of 900 megapixels": (
            _PNG
            + chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0))
            + chunk(b"IDAT", b""),
            "30000 x 30000 is more than",
        ),
        "PNG of 49 megapixels, 64 bits each": (flat_png(7000, 7000, depth=16), "7000 x 7000"),
        "PNG with 1 GB behind its pixels": (png_with(body=compressed_zeros(1000)), "8 x 8"),
        "PNG with 1 GB of text": (
            png_with(chunk(b"zTXt", b"a\0\0" + compressed_zeros(1000))),
            "Decompressed data too large",
        ),
        "PNG with a profile of 1 GB": (
            png_with(chunk(b"iCCP", b"a\0\0" + compressed_zeros(1000))),
            "Decompressed data too large",
        ),
        "PNG of a million empty chunks": (png_with(chunk(b"tEXt", b"") * 1_000_000), "8 x 8"),
        "JPEG of 400 megapixels": (flat_jpeg(20_000, 20_000, components=3), "2500 x 2500"),
        "JPEG of 4,295 megapixels": (
            flat_jpeg(64, 48).replace(b"\0\x30\0\x40", b"\xff\xff\xff\xff"),
            "65535 x 65535 is more than",
        ),
        "JPEG of 10 megapixels in 883 scans": (flat_jpeg(3200, 3200, scans=882), "800 x 800"),
        "JPEG of 16 megapixels in 801 scans": (
            flat_jpeg(4000, 4000, scans=800),
            "801 scans of 4000",
        ),
        "JPEG of 196 megapixels, held whole": (
            flat_jpeg(14_000, 14_000, components=3, scans=1),
            "14000 x 14000 pixels in several scans",
        ),
        "JPEG whose EXIF claims 2.6 GB": (bomb, "64 x 48"),
        "JPEG with 26 MB of EXIF": (many + tiny[2:], "64 x 48"),
        "JPEG cut off": (flat_jpeg(4000, 4000)[:20_000], "image file is truncated"),
        "GIF named png": (b"GIF89a" + bytes(100), "GIF is not decoded"),
        "nothing": (b"", "0 bytes"),
        "noise": (bytes(range(128, 256)) * 1000, "unknown is not decoded"),
    }
