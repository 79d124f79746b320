"""Bytes to pixels, in processes that may die: what is read, how, and what is refused."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, ImageOps
from scipy import fftpack as fft

from curate.dataset.folder import Store
from curate.dataset.sample import Sample, Verdict
from curate.errors import InputError
from curate.images.decode import UndecodableError, decode_image, flatten, pixel_sha256
from curate.images.inspect import (
    INSPECTION,
    KEPT_FACTS,
    alpha_share,
    border_share,
    inspect_samples,
    is_flat,
    measure_small,
    sharpness,
)
from curate.images.render import SMALL_SIDE, render_stored, scale_to_small
from curate.images.renders import Renders
from curate.images.sketch import SketchStore, sketch_image
from curate.images.sniff import MAX_PIXELS
from curate.system import sandbox
from curate.system.progress import SILENT
from tests.hostile_images import flat_jpeg
from tests.pictures import encoded, photograph

KINDS = ["noise", "disc", "flat"]
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


@given(st.integers(0, 2**32), st.integers(3, SMALL_SIDE), st.sampled_from(KINDS))
@examples(max_examples=60)
def test_the_perceptual_hash_is_the_one_imagehash_defines(seed: int, side: int, kind: str) -> None:
    image = drawn(kind, side, seed)
    luma = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=float)
    terms = fft.dct(fft.dct(luma, axis=0), axis=1)[:8, :8]
    tied = np.abs(terms - np.median(terms)) < 1e-5  # told from the median by noise alone
    for seen, found in zip((image, ImageOps.mirror(image)), hashes_of(image), strict=True):
        other = bits_of(str(imagehash.phash(seen))) ^ bits_of(found)
        # mirrored pixels are scaled down with other rounding, which may turn a bit
        assert (other & ~tied).sum() <= (0 if seen is image else 4)


@given(st.sampled_from(KINDS), st.integers(3, 90), st.integers(0, 99))
@examples(max_examples=30)
def test_the_hash_of_the_mirror_image_is_that_of_the_image_mirrored(
    kind: str, side: int, seed: int
) -> None:
    image = drawn(kind, side, seed).resize((32, 32))
    assert hashes_of(ImageOps.mirror(image)) == hashes_of(image)[::-1]


def drawn(kind: str, side: int, seed: int) -> Image.Image:
    if kind == "noise":
        return noise(side, seed=seed)
    image = Image.new("RGB", (side, side), "white")
    if kind == "disc":
        ImageDraw.Draw(image).ellipse((1, 1, side - 2, side - 2), fill=(seed % 256, 90, 20))
    return image


def hashes_of(image: Image.Image) -> tuple[str, str]:
    facts = measure_small(image)
    return facts["phash"], facts["mirror_phash"]


def bits_of(phash: str) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    return np.unpackbits(np.frombuffer(bytes.fromhex(phash), np.uint8)).reshape(8, 8).astype(bool)


def test_sharpness_by_hand() -> None:
    assert sharpness(Image.new("L", (9, 9), 100)) == 0.0
    assert sharpness(Image.new("L", (2, 9))) == 0.0
    dot = Image.new("L", (5, 5))
    dot.putpixel((2, 2), 10)
    values = [40, -10, -10, -10, -10, 0, 0, 0, 0]  # of the nine inner pixels
    mean = sum(values) / 9
    assert sharpness(dot) == pytest.approx(sum((v - mean) ** 2 for v in values) / 9)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(1800, 1200), (700, 900)])
def test_what_small_pixels_say_is_what_all_pixels_say(kind: str, size: tuple[int, int]) -> None:
    whole = photograph(size[0], size)
    data = encoded(whole, kind, quality=92)
    image = decode_image(data, at_least=2 * SMALL_SIDE)
    small = scale_to_small(image)
    assert (image.size < size) == (kind == "JPEG" and size[0] > 1000), "a JPEG is decoded scaled"
    assert max(small.size) == SMALL_SIDE
    seen = imagehash.hex_to_hash(measure_small(small)["phash"])
    assert seen - imagehash.phash(decode_image(data)) <= 2
    reference = whole.resize(small.size, Image.Resampling.BILINEAR)
    away = np.abs(np.asarray(small, int) - np.asarray(reference, int))
    assert away.mean() < 1.5, "levels of 255"


def test_small_images_are_measured_as_they_are() -> None:
    assert scale_to_small(noise(48)).size == noise(48).size
    assert scale_to_small(Image.new("RGB", (3000, 2))).size == (256, 1)


def test_what_is_not_opaque_is_counted_in_all_pixels() -> None:
    clear = Image.new("RGBA", (1000, 1000), (9, 9, 9, 255))
    assert alpha_share(clear) == alpha_share(clear.convert("RGB")) == 0.0
    clear.putpixel((3, 3), (9, 9, 9, 254))
    assert alpha_share(clear) == 1 / 1_000_000
    clear.paste((0, 0, 0, 0), (0, 0, 1000, 250))
    assert alpha_share(clear) == 0.25


@pytest.mark.parametrize(
    ("colours", "flat"),
    [
        (("#406080", "#406080"), True),
        (("#406080", "#406081"), True),
        (("#406080", "#406083"), False),
        (("#ffffff", "#ffffff00"), False),  # a white shape that is seen on other backgrounds
        (("#ff000000", "#00ff0000"), True),  # nothing is seen of either
        (("#ff000080", "#ff000080"), True),
    ],
)
def test_an_image_of_one_colour_is_flat(colours: tuple[str, str], flat: bool) -> None:
    image = Image.new("RGBA", (64, 64), colours[0])
    image.paste(Image.new("RGBA", (32, 64), colours[1]), (0, 0))
    assert is_flat(image) == flat
    assert is_flat(scale_to_small(image.resize((640, 640), Image.Resampling.NEAREST))) == flat
    if all(len(c) == 7 for c in colours):
        assert is_flat(image.convert("RGB")) == flat


def test_the_border_is_a_share_of_the_area() -> None:
    image = photograph(3, (200, 160))
    bordered = ImageOps.expand(image, border=(0, 20), fill="black")
    assert border_share(sketch_image(image)) == 0.0
    assert border_share(sketch_image(bordered)) == pytest.approx(40 / 200, abs=0.03)


# the inspection


@dataclass
class Counted:
    """`sandbox.run_unordered` that counts what is asked, and may be killed after some answers."""

    asked: list[str] = field(default_factory=list)
    killed_after: int = 1000

    def __call__(self, function: str, jobs: Iterable[sandbox.Job]) -> Any:
        jobs = list(jobs)
        self.asked += [job["sha256"] for job in jobs]
        answers = sandbox.run_unordered(function, jobs, processes=2)
        for done, answer in enumerate(answers):
            if done == self.killed_after:
                raise KeyboardInterrupt
            yield answer


def row(store: Store, key: str, data: bytes, **known: Any) -> Sample:
    return Sample(key=key, source="test", sha256=store.put(data), **known)


def inspected(
    store: Store, rows: Sequence[Sample], run: Counted | None = None, renders: Renders | None = None
) -> list[Sample]:
    sketches = SketchStore(store.root / "sketches")
    return inspect_samples(
        store, SILENT, rows, sketches=sketches, renders=renders, run_jobs=run or Counted()
    )


def test_inspection_fills_in_and_marks(tmp_path: Path) -> None:
    store = Store(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    rows = [
        row(store, "t-1", encoded(noise(), "JPEG", quality=83, exif=exif)),
        row(store, "t-2", b"no image"),
        Sample("t-3", "test", dropped="download:HTTP 404"),
        Sample("t-4", "test", sha256="0" * 64, dropped="opt-out:noai"),
        row(store, "t-5", encoded(noise(seed=2)), dropped="unreadable:by an older decoder"),
        row(store, "t-6", encoded(noise(seed=3)), dropped="duplicate:t-5"),
    ]
    one, two, three, four, five, six = found = inspected(store, rows)
    assert (one.width, one.height, one.quality, one.alpha, one.flat) == (48, 64, 83, 0.0, False)
    assert one.inspected_by == INSPECTION and one.phash and one.mirror_phash and one.sharpness
    assert one.pixel_sha256 is None and one.border == 0.0
    assert two.dropped == "unreadable:text is not decoded"
    assert [three, four] == rows[2:4]
    assert five.dropped is None and five.phash and five.quality is None
    assert six.dropped == "duplicate:t-5" and six.phash
    second = Counted()
    assert inspected(store, found, second) == found
    assert second.asked == [two.sha256]


@given(data=st.data())
@examples(max_examples=5)
def test_rows_of_equal_bytes_share_one_decode_and_their_order_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    files = [encoded(noise(seed=n)) for n in range(3)] + [b"no image"]
    chosen = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=6))
    rows = [row(store, f"t-{n}", files[which]) for n, which in enumerate(chosen)]
    run = Counted()
    found = inspected(store, rows, run)
    assert sorted(run.asked) == sorted({str(s.sha256) for s in rows})
    assert [s.key for s in found] == [s.key for s in rows]
    shuffled = data.draw(st.permutations(rows))
    for path in (store.root / "sketches").glob("*"):
        path.unlink()
    assert sorted(inspected(store, shuffled), key=lambda s: s.key) == found


def test_a_new_row_of_bytes_that_were_inspected_before_is_not_decoded(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = inspected(store, [row(store, "t-1", encoded(noise()))])
    run = Counted()
    _, new = inspected(store, [*old, Sample("t-2", "test", sha256=old[0].sha256)], run)
    assert run.asked == [] and replace(new, key="t-1") == old[0]


def test_what_lost_its_sketch_is_inspected_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    found = inspected(store, [row(store, f"t-{n}", encoded(noise(seed=n))) for n in range(3)])
    shutil.rmtree(tmp_path / "sketches")
    run = Counted()
    assert inspected(store, found, run) == found and len(run.asked) == 3
    assert len(SketchStore(tmp_path / "sketches").known()) == 3


def test_what_an_older_inspection_measured_is_measured_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (found,) = inspected(store, [row(store, "t-1", encoded(noise()))])
    old = replace(found, inspected_by=None, phash="0" * 16)
    assert inspected(store, [old]) == [found]


@pytest.mark.parametrize("torn", [False, True])
def test_a_killed_inspection_is_not_begun_anew(tmp_path: Path, torn: bool) -> None:
    store = Store(tmp_path)
    rows = [row(store, f"t-{n}", encoded(noise(seed=n))) for n in range(9)]
    whole = inspected(store, rows)
    shutil.rmtree(tmp_path / "sketches")
    with pytest.raises(KeyboardInterrupt):
        inspected(store, rows, Counted(killed_after=5))
    kept = tmp_path / "sketches" / KEPT_FACTS
    if torn:
        kept.write_bytes(kept.read_bytes()[:-20])
    second = Counted(killed_after=2)
    with pytest.raises(KeyboardInterrupt):
        inspected(store, rows, second)
    assert len(second.asked) == (5 if torn else 4)
    third = Counted()
    assert inspected(store, rows, third) == whole
    assert len(third.asked) == (3 if torn else 2)
    assert inspected(store, whole, Counted()) == whole and not kept.exists()


def test_a_rendering_is_made_from_the_same_decode(tmp_path: Path) -> None:
    store, settings = Store(tmp_path), {"size": 200, "format": "jpg", "background": "white"}
    renders = Renders(tmp_path / "renders", settings)
    large = encoded(photograph(1, (2000, 1500)), "JPEG", quality=90)
    denied, held = (Verdict(d, ()) for d in ("deny", "hold"))
    rows = [
        row(store, "t-1", large),
        row(store, "t-2", encoded(noise(seed=1)), train=denied),
        row(store, "t-3", encoded(noise(seed=2)), train=denied),
        row(store, "t-4", encoded(noise(seed=2)), train=held),
        row(store, "t-5", b"no image"),
    ]
    found = inspected(store, rows, renders=renders)
    assert (found[0].width, found[0].height) == (2000, 1500)
    for sample in (found[0], found[3]):
        made = render_stored(str(tmp_path), str(sample.sha256), **settings)
        assert renders.get(str(sample.sha256)) == made
    assert renders.get(str(found[1].sha256)) is None, "it is denied"
    refused = renders.get(str(found[4].sha256))
    assert refused is None and made[0]["original_width"] == 64
    again = Counted()
    renders.clear()
    assert inspected(store, found[:4], again, renders) == found[:4]
    assert again.asked == [], "a rendering that is missing is made when it is asked for"


def test_a_jpeg_too_large_to_be_decoded_whole_is_inspected_and_rendered(tmp_path: Path) -> None:
    store, settings = Store(tmp_path), {"size": 5000, "format": "jpg", "background": "white"}
    renders = Renders(tmp_path / "renders", settings)
    (found,) = inspected(store, [row(store, "t-1", flat_jpeg(8000, 7000))], renders=renders)
    assert (found.width, found.height, found.flat, found.dropped) == (8000, 7000, True, None)
    facts, _ = renders.get(str(found.sha256)) or ({}, b"")
    assert (facts["original_width"], facts["width"], facts["height"]) == (8000, 4000, 3500)
    assert "resized" in facts["modified"]


def test_a_missing_file_stops_the_run_with_a_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path)
    gone = row(store, "t-1", encoded(noise()))
    store.path_of(str(gone.sha256)).unlink()
    with pytest.raises(InputError, match="stored image cannot be read"):
        inspected(store, [gone])


# workers


def run(*statements: str, seconds: int = 5, memory: int = 256 << 20) -> list[object]:
    jobs = [{"stmt": s, "number": 1} for s in statements]
    return list(sandbox.run_jobs(INTERPRET, jobs, processes=1, seconds=seconds, memory=memory))


def test_a_worker_that_dies_costs_one_job(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = {"root": str(tmp_path), "sha256": store.put(encoded(noise())), "render": None}
    died = run("__import__('os').abort()", "__import__('os')._exit(3)")
    assert died == [
        sandbox.WorkerFailure("decoder died (SIGABRT)"),
        sandbox.WorkerFailure("decoder died (exit code 3)"),
    ]
    answers = list(sandbox.run_jobs("curate.images.inspect:inspect_stored", [one] * 9, processes=2))
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
    found = inspected(store, rows)
    refused = [s for s in found if s.dropped]
    assert len(found) > 300 and len(refused) > 200
    assert all(len(str(s.dropped)) > len("unreadable:") for s in refused)
    assert all("decoder died" not in str(s.dropped) for s in refused)
    assert all(s.inspected_by and s.phash for s in found if not s.dropped)
