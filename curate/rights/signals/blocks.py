"""Where an image file keeps what is said of it: XMP packets, and Content Credentials.

Only the blocks of JPEG, PNG and WebP are walked; no pixel is decoded. A damaged file gives what
can be reached. Meant for the sandbox: the bytes are a stranger's.

Sources: XMP Specification Part 3 (2020), 1.1 (JPEG, with extended packets; PNG; WebP); C2PA
Technical Specification 2.2, A.3 (where a manifest store is embedded).
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_XMP = 32 << 20  # bytes of one packet, once it is unpacked
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_IN_PNG = b"XML:com.adobe.xmp"
_RAW_PROFILE = b"Raw profile type xmp"  # as ImageMagick writes it: hexadecimal digits


@dataclass
class Blocks:
    """What one file keeps beside its pixels."""

    mime: str = ""  # "image/jpeg", "image/png", "image/webp"; empty: none of these
    packets: list[bytes] = field(default_factory=list)  # of XMP
    credentials: bool = False  # whether it holds Content Credentials (a C2PA manifest store)
    too_large: bool = False  # whether a packet was left out for its size


def read_blocks(data: bytes) -> Blocks:
    """The XMP packets of an image file, and whether it holds Content Credentials."""
    if data[:2] == b"\xff\xd8":
        return _read_jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _read_png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _read_webp(data)
    return Blocks()


def _read_jpeg(data: bytes) -> Blocks:
    found = Blocks("image/jpeg")
    extended: dict[bytes, dict[int, bytes]] = {}  # name of a packet -> offset -> part
    for marker, payload in _jpeg_segments(data):
        if marker == 0xE1 and payload.startswith(_EXTENDED_XMP):
            part = payload[len(_EXTENDED_XMP) :]
            offset = int.from_bytes(part[36:40], "big")
            extended.setdefault(part[:32], {})[offset] = part[40:]
        elif marker == 0xE1 and (packet := _find_packet(payload)):
            found.packets.append(packet)
        elif marker == 0xEB and payload[:2] == b"JP" and b"c2pa" in payload:
            found.credentials = True
    for parts in extended.values():
        found.packets.append(b"".join(parts[offset] for offset in sorted(parts)))
    found.too_large = any(len(packet) > MAX_XMP for packet in found.packets)
    found.packets = [packet for packet in found.packets if len(packet) <= MAX_XMP]
    return found


def _find_packet(block: bytes) -> bytes:
    """The XMP in a block that is to hold it, or EXIF; empty if it holds none.

    Not by its name alone: some programs write that wrong (`XMP\\0://ns.adobe.com/xap/1.0/`).
    """
    if block.startswith(_XMP):
        return block[len(_XMP) :]
    starts = [at for at in (block.find(b"<x:xmpmeta"), block.find(b"<rdf:RDF")) if at >= 0]
    end = block.rfind(b"</x:xmpmeta>")
    return block[min(starts) : end + 12 if end >= 0 else None] if starts else b""


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and payload of each segment before the pixels."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in (0xD9, 0xDA):  # end of image, start of scan
            return
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # no segment
            at += 1 if marker == 0xFF else 2
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, data[at + 4 : at + 2 + size]
        at += 2 + max(size, 2)


def _read_png(data: bytes) -> Blocks:
    found = Blocks("image/png")
    at = 8
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        payload = data[at + 8 : at + 8 + size]
        if kind == b"caBX":
            found.credentials = True
        elif kind in (b"iTXt", b"zTXt", b"tEXt") and (packet := _png_text(kind, payload)):
            if len(packet) > MAX_XMP:
                found.too_large = True
            else:
                found.packets.append(packet)
        elif kind == b"eXIf" and (packet := _find_packet(payload)):
            found.packets.append(packet)
        at += 12 + size
    return found


def _png_text(kind: bytes, payload: bytes) -> bytes:
    """The XMP in a textual chunk; empty if it holds another text. Over MAX_XMP: its beginning."""
    keyword, _, text = payload.partition(b"\0")
    if keyword not in (_IN_PNG, _RAW_PROFILE):
        return b""
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed, text = text[:1] == b"\1", text[2:]
        text = text.partition(b"\0")[2].partition(b"\0")[2]  # language, translated keyword
    elif kind == b"zTXt":
        text = text[1:]  # the method
    if packed:
        try:
            text = zlib.decompressobj().decompress(text, 2 * MAX_XMP + 1)
        except zlib.error:
            return b""
    if keyword == _RAW_PROFILE:
        digits = b"".join(text.split()[2:])  # after "xmp" and the length
        try:
            return bytes.fromhex(digits.decode("ascii"))
        except ValueError:
            return b""
    return text


def _read_webp(data: bytes) -> Blocks:
    found = Blocks("image/webp")
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"XMP ":
            packet = data[at + 8 : at + 8 + size]
            found.too_large |= len(packet) > MAX_XMP
            found.packets += [packet] if len(packet) <= MAX_XMP else []
        elif kind == b"EXIF" and (packet := _find_packet(data[at + 8 : at + 8 + size])):
            found.packets.append(packet)
        found.credentials |= kind == b"C2PA"
        at += 8 + size + size % 2
    return found
