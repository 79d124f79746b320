"""Images as they are packed, and kept until they are."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

from curate.formats.shards import IMAGE_FORMATS
from curate.images.render import render_image, scale_down
from curate.images.renders import Renders
from tests.packable import noise


def image_of(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture))


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90))
@examples(max_examples=60)
def test_the_shorter_side_is_at_most_the_size_and_nothing_grows(
    width: int, height: int, size: int
) -> None:
    small = scale_down(Image.new("RGB", (width, height)), size, (width, height))
    assert min(small.size) == min(size, width, height)
    assert small.width <= width and small.height <= height
    assert (
        abs(small.width / small.height - width / height) <= max(small.size) / min(small.size) ** 2
    )


def test_transparency_is_composed_and_said() -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    facts, data = render_image(clear, size=8, format="png", background="#ff0000", original=(8, 8))
    assert image_of(data).getpixel((0, 0)) == (255, 0, 0)
    assert facts["modified"][0] == "composed on #ff0000"


@pytest.mark.parametrize("form", IMAGE_FORMATS)
def test_each_format_keeps_the_colours_and_no_metadata(form: str) -> None:
    image = noise(1)
    _, data = render_image(image, size=512, format=form, background="white", original=image.size)
    seen = image_of(data)
    assert seen.format == {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[form]
    assert not {"exif", "icc_profile", "xmp", "comment"} & set(seen.info)
    drift = np.abs(np.asarray(seen.convert("RGB")).astype(int) - np.asarray(image)).mean()
    assert drift < (4 if form == "jpg" else 1e-9)


# kept until they are packed

SETTINGS = {"size": 64, "format": "png", "background": "white"}
SHA256 = "ab" * 32


def test_what_was_put_comes_back_until_it_is_cleared(tmp_path: Path) -> None:
    renders = Renders(tmp_path, SETTINGS)
    assert renders.get(SHA256) is None
    facts, data = render_image(noise(1), **SETTINGS, original=noise(1).size)
    renders.put(SHA256, facts, data)
    assert Renders(tmp_path, SETTINGS).get(SHA256) == (facts, data)
    assert Renders(tmp_path, {**SETTINGS, "size": 65}).get(SHA256) is None
    renders.clear()
    assert renders.get(SHA256) is None and not list(tmp_path.rglob("*/*"))
    renders.clear()


@given(st.data())
@examples(max_examples=40)
def test_a_torn_rendering_is_none(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    renders = Renders(tmp_path_factory.mktemp("renders"), SETTINGS)
    renders.put(SHA256, {"width": 4}, b"bytes\n of an image")
    file = renders.path_of(SHA256)
    whole = file.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    cut, changed = whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    file.write_bytes(data.draw(st.sampled_from([cut, changed, cut + bytes(len(whole) - at)])))
    assert renders.get(SHA256) is None or file.read_bytes() == whole
