"""Images as they are packed, and kept until they are."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

from curate.dataset.folder import Store
from curate.formats.shards import IMAGE_FORMATS
from curate.images.render import render_image, render_stored, resize, scale_down
from curate.images.renders import Renders
from tests.hostile_images import chunk
from tests.packable import noise
from tests.pictures import encoded, photograph


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


# what is seen is what was meant: against pixels worked out by formula, not by a decoder

MEANT = (np.asarray(photograph(7, (330, 270)), dtype=float) + 20) * 0.85  # levels of sRGB
HALF = np.linspace(0, 1, 330)[None, :, None] * np.ones((270, 330, 1))  # opacity
TO_P3 = np.array(  # linear sRGB -> Display P3: CSS Color 4, section 10.7 and its appendix
    [[0.8224621, 0.1775380, 0], [0.0331942, 0.9668058, 0], [0.0170827, 0.0723974, 0.9105199]]
)


def light(levels: np.ndarray) -> np.ndarray:
    """Linear light of sRGB levels: IEC 61966-2-1."""
    v = levels / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def levels(light: np.ndarray) -> np.ndarray:
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def as_image(values: np.ndarray, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(values.round().astype(np.uint8), mode)


def png_of(values: np.ndarray, colour: int, *chunks: bytes, depth: int = 8) -> bytes:
    """A PNG by hand; `colour` 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""
    kind = ">u2" if depth == 16 else "u1"
    lines = values.round().astype(kind).reshape(values.shape[0], -1)
    body = b"".join(b"\0" + line.tobytes() for line in lines)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(body))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def cases() -> dict[str, tuple[bytes, np.ndarray, float]]:
    """Files, the levels that are meant by them on #336699, and how far off by the format itself."""
    grey = MEANT[..., :1]
    on_blue = MEANT * HALF + np.array([0x33, 0x66, 0x99]) * (1 - HALF)
    hidden = np.where(HALF > 0.5, MEANT, 255 - MEANT)  # other colours where nothing is to be seen
    shown = np.where(HALF > 0.5, MEANT, [0x33, 0x66, 0x99])
    inks = 255 - MEANT
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is the right side
    turned = encoded(as_image(np.rot90(MEANT)), "JPEG", quality=98, subsampling=0, exif=exif)
    few = as_image(MEANT).quantize(64)
    wide = levels(light(MEANT) @ TO_P3.T)
    cicp = chunk(b"cICP", bytes([12, 13, 0, 1]))
    cmyk = np.concatenate([inks, np.zeros_like(grey)], axis=2)
    palette = np.asarray(few.convert("RGB"), dtype=float)
    return {
        "RGB PNG": (png_of(MEANT, 2), MEANT, 0.5),
        "RGB WebP": (encoded(as_image(MEANT), "WEBP", lossless=True), MEANT, 0.5),
        "RGBA": (png_of(np.concatenate([MEANT, 255 * HALF], 2), 6), on_blue, 1.0),
        "RGBA, 16 bits": (
            png_of(257 * np.concatenate([MEANT, 255 * HALF], 2), 6, depth=16),
            on_blue,
            1.0,
        ),
        "colours under what is clear": (
            png_of(np.concatenate([hidden, 255 * (HALF > 0.5)], 2), 6),
            shown,
            1.0,
        ),
        "grey and alpha": (
            png_of(np.concatenate([grey, 255 * HALF], 2), 4),
            grey * HALF + np.array([0x33, 0x66, 0x99]) * (1 - HALF),
            1.0,
        ),
        "grey": (png_of(grey, 0), grey.repeat(3, 2), 0.5),
        "grey, 16 bits": (png_of(257 * grey, 0, depth=16), grey.repeat(3, 2), 0.5),
        "RGB, 16 bits": (png_of(257 * MEANT, 2, depth=16), MEANT, 1.0),
        "palette": (encoded(few), palette, 0.5),
        "turned JPEG": (turned, MEANT, 2.0),
        "CMYK JPEG": (
            encoded(as_image(cmyk, "CMYK"), "JPEG", quality=98, subsampling=0),
            MEANT,
            2.0,
        ),
        "Display P3": (png_of(wide, 2, cicp), MEANT, 1.5),
        "Display P3, 16 bits": (png_of(257 * wide, 2, cicp, depth=16), MEANT, 1.5),
    }


CASES = cases()


@pytest.mark.parametrize("form", ["png", "jpg"])
@pytest.mark.parametrize("size", [100, 300])
@pytest.mark.parametrize("name", CASES)
def test_what_is_packed_looks_as_it_was_meant(
    tmp_path: Path, name: str, size: int, form: str
) -> None:
    data, meant, off = CASES[name]
    sha256 = Store(tmp_path).put(data)
    facts, packed = render_stored(str(tmp_path), sha256, size, form, "#336699")
    seen = np.asarray(image_of(packed).convert("RGB"), dtype=float)
    sides = seen.shape[1], seen.shape[0]
    assert (facts["original_width"], facts["original_height"]) == (330, 270)
    assert sides == ((122, 100) if size == 100 else (330, 270)) == (facts["width"], facts["height"])
    bands = [Image.fromarray(meant[..., n].astype(np.float32)) for n in range(3)]
    scaled = [b.resize(sides, Image.Resampling.LANCZOS) for b in bands]  # in floating point
    away = np.abs(seen - np.dstack(scaled).clip(0, 255))
    assert away.mean() <= off + (2.5 if form == "jpg" else 0.3), "levels of 255"
    assert np.quantile(away, 0.999) <= 2 * off + (16 if form == "jpg" else 2)


@pytest.mark.parametrize("filter", ["lanczos3", "bilinear"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300), st.integers(0, 99))
@examples(max_examples=15)
def test_scaling_down_is_pillows(
    mode: str, filter: str, width: int, height: int, side: int, seed: int
) -> None:
    # levels that no filter drives out of 0 to 255: both cut off there, after another pass
    draw = np.random.default_rng(seed).integers
    bands = [Image.fromarray(draw(96, 160, (height, width), dtype=np.uint8)) for _ in mode]
    image = Image.merge(mode, bands)
    sides = max(1, min(width, side)), max(1, height * min(width, side) // width)
    kind = {"lanczos3": Image.Resampling.LANCZOS, "bilinear": Image.Resampling.BILINEAR}[filter]
    both = resize(image, sides, filter=filter), image.resize(sides, kind)
    seen = mode.replace("A", "a")  # colours as they count
    found, wanted = (np.asarray(each.convert(seen), dtype=int) for each in both)
    assert np.abs(found - wanted).max() <= 3


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
