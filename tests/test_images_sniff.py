"""What the first bytes of a file say it is."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import image_bytes

from curate.images import sniff


@pytest.mark.parametrize("kind", sniff.STORED_FORMATS)
def test_pictures_are_told_by_content(kind):
    data = image_bytes(1, kind=kind)
    assert sniff.sniff_format(data[:32]) == kind
    assert sniff.refusal_reason(data) is None
    assert sniff.refusal_reason(data[:14]) in (
        f"not-an-image:{kind} with an unreadable header",
        None if kind == "JPEG" else "",
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty:0 bytes"),
        (b"\xff\xd8\xff\xe0", "not-an-image:JPEG with an unreadable header"),
        (b"GIF89a\x01\x00\x01\x00", "not-an-image:GIF"),
        (b"<!DOCTYPE html><p>", "not-an-image:HTML"),
        (b"just words\n", "not-an-image:text"),
        ("schön".encode() * 9, "not-an-image:text"),
        (b"\x00\x01\x02\x03", "not-an-image:unknown"),
        (b"\x00\x05\x16\x07\x00\x02\x00\x00", "not-an-image:AppleDouble"),
    ],
)
def test_what_is_no_picture_is_named(data, why):
    assert sniff.refusal_reason(data) == why


def test_a_huge_picture_is_refused_by_its_header():
    data = bytearray(image_bytes(1))
    data[16:24] = (60_000).to_bytes(4, "big") + (60_000).to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    assert sniff.refusal_reason(bytes(data)).startswith("too-large:")


@given(st.binary(max_size=80))
def test_no_bytes_break_the_sniffer(data):
    for start in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\x00\x00\x00WEBP"):
        refused = sniff.refusal_reason(start + data)
        assert refused is None or refused.split(":")[0] in ("empty", "not-an-image", "too-large")
