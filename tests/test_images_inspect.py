"""Bytes to pixels, in processes that may die: what is read, how, and what is refused."""

from dataclasses import replace
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pictures import encoded
from PIL import Image, ImageCms, ImageDraw

from curate.dataset import engine
from curate.dataset.folder import Store
from curate.dataset.sample import Sample
from curate.errors import InputError
from curate.images.decode import UndecodableError, decode_image, flatten, pixel_sha256
from curate.images.inspect import comparison_thumbnail, measure, pixel_facts, sharpness
from curate.images.sniff import MAX_PIXELS
from curate.system import sandbox

INTERPRET = "timeit:timeit"  # a function of the standard library that runs what it is given


def noise(side: int = 48, mode: str = "RGB", seed: int = 0) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    shape = (side, side + 16, channels) if channels > 1 else (side, side + 16)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


# decoding


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_three_formats_are_read_by_content(form: str) -> None:
    image = decode_image(encoded(noise(), form))
    assert (image.mode, image.size, image.info) == ("RGB", (64, 48), {})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes"),
        (b"GIF89a" + bytes(40), "GIF is not decoded"),
        (encoded(noise(), "BMP"), "BMP is not decoded"),
        (b"hello, I am a text named .png\n", "text is not decoded"),
        (encoded(noise())[:-200], "image file is truncated"),
        (encoded(noise(), "JPEG")[:-900], "image file is truncated"),
        (b"\x89PNG\r\n\x1a\n and nothing else", "cannot identify image file"),
    ],
)
def test_what_is_refused_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(UndecodableError, match=reason) as caught:
        decode_image(data)
    assert "0x" not in str(caught.value)


def test_the_reason_is_the_same_each_time() -> None:
    def reason() -> str:
        with pytest.raises(UndecodableError) as caught:
            decode_image(b"RIFF\x10\0\0\0WEBPVP8 nonsense")
        return str(caught.value)

    kept = [bytearray(n) for n in range(9)]  # moves later allocations
    assert reason() == reason() and kept


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    wide = Image.new("1", (MAX_PIXELS // 1000 + 1, 1000))
    with pytest.raises(UndecodableError, match="more than 50000000 pixels"):
        decode_image(encoded(wide))


def test_a_bomb_is_refused() -> None:
    data = bytearray(encoded(Image.new("1", (8, 8))))
    data[16:24] = (30_000).to_bytes(4, "big") * 2  # width and height in the header
    data[29:33] = __import__("zlib").crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(UndecodableError, match="more than 50000000 pixels"):
        decode_image(bytes(data))


def test_an_animation_is_refused_and_a_photograph_with_a_preview_is_not() -> None:
    frames = {"save_all": True, "append_images": [noise(seed=1)]}
    for form in ("PNG", "WEBP"):
        with pytest.raises(UndecodableError, match="animated"):
            decode_image(encoded(noise(), form, **frames))
    photograph = encoded(noise(), "MPO", **frames)
    assert decode_image(photograph).size == (64, 48)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.new("RGB", (40, 20), "white")
    image.paste("red", (0, 0, 20, 10))
    seen = decode_image(encoded(image, exif=exif))
    corners = {
        1: (0, 0),
        2: (1, 0),
        3: (1, 1),
        4: (0, 1),
        5: (0, 0),
        6: (1, 0),
        7: (1, 1),
        8: (0, 1),
    }
    right, low = corners[orientation]
    assert seen.size == ((40, 20) if orientation < 5 else (20, 40))
    where = (seen.width // 4 + right * seen.width // 2, seen.height // 4 + low * seen.height // 2)
    assert seen.getpixel(where) == (255, 0, 0)


def test_broken_exif_does_not_cost_the_picture() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x04\0\xff\0\0\0\xff\xff\0\0"
    assert decode_image(encoded(noise(), "JPEG", exif=exif)).size == (64, 48)


def test_sixteen_bit_grey_does_not_turn_white() -> None:
    values = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    seen = np.asarray(decode_image(encoded(Image.fromarray(values))).convert("L")).astype(int)
    assert np.abs(seen - values / 257).max() <= 0.5


def test_sixteen_bit_grey_with_a_transparent_value() -> None:
    values = np.full((8, 8), 40_000, dtype=np.uint16)
    values[:, 4:] = 1000
    seen = decode_image(encoded(Image.fromarray(values), transparency=1000))
    assert seen.getpixel((0, 0)) == (156, 156, 156, 255)
    assert seen.getpixel((7, 0))[3] == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
def test_every_mode_keeps_its_colours(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (255, 255, 255, 255))
    seen = decode_image(encoded(image.convert(mode)))
    assert seen.mode == "RGB"
    assert seen.getpixel((3, 3)) == (255, 255, 255)


def test_a_palette_with_transparency() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 9, 99, 199])
    image.putpixel((0, 0), 0)
    seen = decode_image(encoded(image, transparency=0))
    assert seen.getpixel((0, 0))[3] == 0
    assert seen.getpixel((1, 1)) == (9, 99, 199, 255)


def test_cmyk_becomes_rgb() -> None:
    seen = decode_image(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    red, green, blue = seen.getpixel((8, 8))
    assert (red > 240, green < 15, blue < 15) == (True, True, True)


def test_an_embedded_profile_is_converted() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    swapped = swapped_profile(lab.tobytes())
    image = Image.new("RGB", (8, 8), (200, 40, 40))
    plain, converted = (
        decode_image(encoded(image)),
        decode_image(encoded(image, icc_profile=swapped)),
    )
    assert plain.getpixel((0, 0)) == (200, 40, 40)
    red, green, _ = converted.getpixel((0, 0))
    assert green > red, "its red is this profile's green"
    clear = decode_image(encoded(image.convert("RGBA").resize((8, 8)), icc_profile=swapped))
    assert clear.getpixel((0, 0)) == converted.getpixel((0, 0))


def swapped_profile(profile: bytes) -> bytes:
    """An sRGB profile whose red and green primaries have changed places, under another name."""
    data = bytearray(profile.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be")))
    count = int.from_bytes(data[128:132], "big")
    for n in range(count):
        at = 132 + 12 * n
        names = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}
        data[at : at + 4] = names.get(bytes(data[at : at + 4]), bytes(data[at : at + 4]))
    return bytes(data)


@pytest.mark.parametrize("profile", [b"nonsense", b"\0" * 200])
def test_an_unusable_profile_is_ignored(profile: bytes) -> None:
    image = Image.new("RGB", (8, 8), (200, 40, 40))
    assert decode_image(encoded(image, icc_profile=profile)).getpixel((0, 0)) == (200, 40, 40)


def test_transparency_shows_the_stated_background() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert flatten(clear, "white").getpixel((0, 0)) == (255, 255, 255)
    assert flatten(clear, "#102030").getpixel((0, 0)) == (16, 32, 48)
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert flatten(half, "white").getpixel((0, 0)) == (127, 127, 127)


@given(st.binary(max_size=300), st.sampled_from(["PNG", "JPEG", "WEBP"]), st.integers(0, 400))
@examples(max_examples=150)
def test_no_bytes_crash_the_decoder(junk: bytes, form: str, at: int) -> None:
    whole = encoded(noise(8), form)
    broken = whole[:at] + junk + whole[at + len(junk) :]
    try:
        image = decode_image(broken)
    except UndecodableError as error:
        assert str(error)
    else:
        assert image.mode in ("RGB", "RGBA")


# measuring


def test_equal_pixels_have_one_hash_whatever_the_file() -> None:
    image = noise()
    same = [encoded(image), encoded(image, "WEBP", lossless=True), encoded(image.convert("RGBA"))]
    assert len({pixel_sha256(decode_image(data)) for data in same}) == 1
    assert pixel_sha256(image) != pixel_sha256(image.transpose(Image.Transpose.ROTATE_90))


def test_tall_pictures_are_hashed_whole() -> None:
    tall = Image.new("RGB", (4, 1200))
    changed = tall.copy()
    changed.putpixel((3, 1199), (0, 0, 1))
    assert pixel_sha256(tall) != pixel_sha256(changed)


@given(st.integers(0, 2**32), st.integers(3, 90), st.sampled_from(["noise", "disc", "flat"]))
@examples(max_examples=40)
def test_the_perceptual_hash_is_the_one_imagehash_defines(seed: int, side: int, kind: str) -> None:
    image = noise(side, seed=seed)
    if kind != "noise":
        image = Image.new("RGB", (side, side), "white")
        if kind == "disc":
            ImageDraw.Draw(image).ellipse((1, 1, side - 2, side - 2), fill=(seed % 256, 90, 20))
    found = pixel_facts(image)
    assert found["phash"] == str(imagehash.phash(image))
    mirrored = pixel_facts(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    if kind == "noise":
        bits = int(found["mirror_phash"], 16) ^ int(mirrored["phash"], 16)
        assert bits.bit_count() <= 2, "rounding may turn a bit next to the median"


def test_sharpness_by_hand() -> None:
    assert sharpness(Image.new("L", (9, 9), 100)) == 0.0
    assert sharpness(Image.new("L", (2, 9))) == 0.0
    dot = Image.new("L", (5, 5))
    dot.putpixel((2, 2), 10)
    values = [40, -10, -10, -10, -10, 0, 0, 0, 0]  # of the nine inner pixels
    mean = sum(values) / 9
    assert sharpness(dot) == pytest.approx(sum((v - mean) ** 2 for v in values) / 9)


def test_sharpness_does_not_see_the_strips() -> None:
    luma = noise(700, "L")
    p = np.asarray(luma).astype(float)
    lap = 4 * p[1:-1, 1:-1] - p[:-2, 1:-1] - p[2:, 1:-1] - p[1:-1, :-2] - p[1:-1, 2:]
    assert sharpness(luma) == pytest.approx(lap.var())


def test_a_thumbnail_shows_colour_on_white_and_alpha() -> None:
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 32, 64))
    small = comparison_thumbnail(image)
    assert small.shape == (16, 16, 4)
    assert small[8, 0].tolist() == [0, 0, 255, 255]
    assert small[8, 15].tolist() == [255, 255, 255, 0]


# the step


def row(store: Store, key: str, data: bytes) -> Sample:
    return Sample(key=key, source="test", sha256=store.put(data))


def measured(store: Store, rows: list[Sample]) -> list[Sample]:
    return engine.to_samples(measure(engine.to_data_frame(rows), store=store))


def test_measure_fills_in_and_marks(tmp_path: Path) -> None:
    store = Store(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    rows = [
        row(store, "t-1", encoded(noise(), exif=exif)),
        row(store, "t-2", b"no image"),
        Sample("t-3", "test", dropped="download:HTTP 404"),
        Sample("t-4", "test", sha256="0" * 64, dropped="opt-out:noai"),
    ]
    one, two, three, four = measured(store, rows)
    assert (one.width, one.height, one.dropped) == (48, 64, None)
    assert one.phash and one.mirror_phash and one.sharpness and one.pixel_sha256
    assert two.dropped == "unreadable:text is not decoded"
    assert [three, four] == rows[2:]
    again = [one, two, three, four]
    assert measured(store, again) == again


def test_a_row_once_unreadable_is_tried_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    good = replace(row(store, "t-1", encoded(noise())), dropped="unreadable:by an older decoder")
    assert measured(store, [good])[0].dropped is None


def test_a_missing_file_stops_the_run_with_a_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path)
    gone = row(store, "t-1", encoded(noise()))
    store.path_of(str(gone.sha256)).unlink()
    with pytest.raises(InputError, match="stored image cannot be read"):
        measured(store, [gone])


# workers


def run(*statements: str, seconds: int = 5, memory: int = 256 << 20) -> list[object]:
    jobs = [{"stmt": s, "number": 1} for s in statements]
    return list(sandbox.run_jobs(INTERPRET, jobs, processes=1, seconds=seconds, memory=memory))


def test_a_worker_that_dies_costs_one_job(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = {"root": str(tmp_path), "sha256": store.put(encoded(noise()))}
    died = run("__import__('os').abort()", "__import__('os')._exit(3)")
    assert died == [
        sandbox.WorkerFailure("decoder died (SIGABRT)"),
        sandbox.WorkerFailure("decoder died (exit code 3)"),
    ]
    answers = list(sandbox.run_jobs("curate.images.inspect:_measure_job", [one] * 9, processes=2))
    assert len(answers) == 9 and all(a == answers[0] for a in answers)


def test_a_job_may_not_take_all_memory_or_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("bytearray(10**10)") == [sandbox.WorkerFailure("needs more than 256 MiB")]
    assert run("while True: pass", seconds=1) == [sandbox.WorkerFailure("took more than 1 s")]
    monkeypatch.setattr(sandbox, "WALL_CLOCK_FACTOR", 1)
    assert run("__import__('time').sleep(60)", seconds=1) == [
        sandbox.WorkerFailure("took more than 1 s")
    ]


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run("1 / 0")
    with pytest.raises(RuntimeError, match="did not start"):
        list(sandbox.run_jobs("curate.nowhere:function", [{}]))


def test_what_a_decoder_prints_is_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="cannot unpack"):  # timeit answers with a number
        run("print('from the decoder', flush=True)")
    assert capfd.readouterr().out == ""


def test_no_jobs_start_no_worker() -> None:
    assert list(sandbox.run_jobs("curate.nowhere:function", [])) == []


# real files


@pytest.mark.corpora
def test_no_real_broken_file_crashes_and_each_refusal_has_a_reason(
    corpora: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    files = sorted(p for p in (corpora / "malformed").rglob("*") if p.is_file())
    rows = [row(store, f"t-{n}", file.read_bytes()) for n, file in enumerate(files)]
    found = measured(store, rows)
    refused = [s for s in found if s.dropped]
    assert len(found) > 300 and len(refused) > 200
    assert all(len(str(s.dropped)) > len("unreadable:") for s in refused)
    assert all("decoder died" not in str(s.dropped) for s in refused)
    assert all(s.pixel_sha256 and s.phash for s in found if not s.dropped)
