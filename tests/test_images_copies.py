"""Copies are found by sketches: what is kept, what is proposed, what is confirmed, and how sure."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from curate.images import align, calibrate, confirm, propose, score, sketch
from curate.images.sketch import Sketches, SketchStore, sketch_image

KEYS = [f"{n:064x}" for n in range(40)]


def picture(seed: int, size: tuple[int, int] = (200, 150)) -> Image.Image:
    """Coloured patches of several sizes, as a photograph has them."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for cells, weight in ((3, 60), (6, 45), (12, 30), (24, 18)):
        field = rng.normal(size=(cells, cells, 3)) * 40 + 128
        patch = Image.fromarray(field.clip(0, 255).astype(np.uint8))
        total += (np.asarray(patch.resize(size, Image.Resampling.BICUBIC)) - 128.0) * weight / 60
    return Image.fromarray((total + 128).clip(0, 255).astype(np.uint8))


def sketches(*images: Image.Image) -> Sketches:
    return Sketches.from_bytes([sketch_image(image) for image in images])


def framed(image: Image.Image, colour: str, *sides: int) -> Image.Image:
    return ImageOps.expand(image, sides[0] if len(sides) == 1 else sides, colour)


# the sketch


def test_a_sketch_has_one_length() -> None:
    for image in (picture(1), picture(1, (1, 1)), picture(1, (256, 3)), Image.new("RGBA", (9, 9))):
        assert len(sketch_image(image)) == sketch.SKETCH_BYTES


@pytest.mark.parametrize("sides", [(12,), (0, 30, 0, 30), (40, 0, 40, 0), (5, 10, 15, 60)])
@pytest.mark.parametrize("colour", ["white", "black", "steelblue"])
def test_a_plain_border_is_found(sides: tuple[int, ...], colour: str) -> None:
    image = framed(picture(2), colour, *sides)
    left, top, right, bottom = (sides * 4)[:4] if len(sides) == 1 else sides
    inside = (left, top, image.width - right, image.height - bottom)
    assert sketch.find_inside(np.asarray(image)) == inside


def test_what_is_of_one_colour_has_no_border() -> None:
    plain = np.full((40, 60, 3), 200, dtype=np.uint8)
    assert sketch.find_inside(plain) == (0, 0, 60, 40)


@given(symmetry=st.integers(0, 7), seed=st.integers(0, 99))
@examples(max_examples=24)
def test_the_hash_of_a_turned_picture_is_the_turned_hash(symmetry: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).normal(100, 30, (1, 32, 32)).astype(np.float32)
    hashes = sketch.sign_bits(sketch.view_terms(pixels)[:, 0])
    turned = np.ascontiguousarray(sketch.turn_pixels(pixels, symmetry))
    wanted = sketch.sign_bits(sketch.view_terms(turned)[:, 0])
    assert sketch.turn_hashes(hashes)[0, symmetry] == wanted[0]


def test_transparency_is_laid_on_white_and_kept_beside() -> None:
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (8, 8, 56, 56))
    pixels = sketches(image).pixels(np.array([0]))[0]
    assert pixels[16, 16].tolist() == [0, 0, 255, 255]
    assert sketches(image).boxes()[0] * 64 == pytest.approx([9, 9, 55, 55], abs=0.01)
    ring = Image.new("RGBA", (64, 64), (255, 0, 0, 255))
    ring.putpixel((30, 30), (0, 0, 255, 0))
    assert sketches(ring).pixels(np.array([0]))[0][15, 15, 3] < 255


# the store


def test_what_is_added_is_loaded_in_the_order_asked_for(tmp_path: Path) -> None:
    records = [sketch_image(picture(n)) for n in range(5)]
    store = SketchStore(tmp_path / "sketches")
    assert store.known() == set()
    store.add(zip(KEYS[:3], records[:3], strict=True))
    store.add(zip(KEYS[3:5], records[3:], strict=True))
    for opened in (store, SketchStore(tmp_path / "sketches")):
        assert opened.known() == set(KEYS[:5])
        found = opened.load([KEYS[4], KEYS[0], KEYS[2]])
        wanted = Sketches.from_bytes([records[4], records[0], records[2]])
        assert (found.heads == wanted.heads).all()
        every = np.array([2, 0, 1, 0])
        assert (found.pixels(every) == wanted.pixels(every)).all()


def test_what_is_not_sketched_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        SketchStore(tmp_path).load([KEYS[0]])


def torn(data: bytes) -> bytes:
    return data[:-1]


def flipped(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


def of_another_version(data: bytes) -> bytes:
    return data.replace(b"fubuki-sketch/", b"fubuki-sketch:", 1)


def empty(data: bytes) -> bytes:
    return data[:0]


@pytest.mark.parametrize("harm", [torn, flipped, of_another_version, empty])
def test_a_segment_that_is_not_whole_is_as_good_as_not_there(
    tmp_path: Path, harm: Callable[[bytes], bytes]
) -> None:
    store = SketchStore(tmp_path)
    store.add([(KEYS[0], sketch_image(picture(0)))])
    store.add([(KEYS[1], sketch_image(picture(1)))])
    first = sorted(tmp_path.glob("*.sketches"))[0]
    first.write_bytes(harm(first.read_bytes()))
    opened = SketchStore(tmp_path)
    assert len(opened.known()) == 1
    opened.add([(name, sketch_image(picture(0))) for name in {*KEYS[:2]} - opened.known()])
    assert SketchStore(tmp_path).known() == opened.known() == {*KEYS[:2]}


# copies


def jpeg(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image) // 12 * 12 + 6)


def brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.2)


def cropped(image: Image.Image) -> Image.Image:
    return image.crop((20, 10, image.width - 25, image.height - 22))


def drawn_over(image: Image.Image) -> Image.Image:
    result = image.copy()
    ImageDraw.Draw(result).rectangle((60, 118, 150, 132), fill="white")
    return result


COPIES: dict[str, tuple[Callable[[Image.Image], Image.Image], str, bool]] = {
    "itself": (lambda i: i.copy(), "same", True),
    "half size": (lambda i: i.resize((100, 75), Image.Resampling.LANCZOS), "recompressed", True),
    "fewer levels": (jpeg, "recompressed", True),
    "white border": (lambda i: framed(i, "white", 14), "bordered", True),
    "uneven border": (lambda i: framed(i, "black", 4, 0, 30, 9), "bordered", True),
    "mirror": (ImageOps.mirror, "mirrored", False),
    "flip": (ImageOps.flip, "mirrored", False),
    "quarter turn": (lambda i: i.transpose(Image.Transpose.ROTATE_90), "turned", False),
    "half turn": (lambda i: i.transpose(Image.Transpose.ROTATE_180), "turned", False),
    "brighter": (brighter, "recoloured", False),
    "grey": (lambda i: i.convert("L").convert("RGB"), "recoloured", False),
    "crop": (cropped, "cropped", False),
    "drawn over": (drawn_over, "edited", False),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_found_and_said_of_what_kind_it_is(name: str) -> None:
    change, kind, same = COPIES[name]
    others = [picture(n) for n in range(100, 110)]
    found = confirm.find_likenesses(sketches(*others, picture(7), change(picture(7))))
    assert list(zip(found.i.tolist(), found.j.tolist(), strict=True)) == [(10, 11)]
    assert 0.5 < found.score[0] <= 1
    if kind == "recompressed":
        assert found.kind[0] in ("same", "recompressed")
    elif kind == "recoloured":
        assert found.kind[0] in ("recoloured", "edited")
    else:
        assert found.kind[0] == kind
    assert found.same[0] == same


def test_what_looks_like_everything_is_paired_with_equal_sketches_alone() -> None:
    plain = [Image.new("RGB", (90, 60), c) for c in ("white", "white", "grey")]
    ramps = [Image.linear_gradient("L").resize((90, n)).convert("RGB") for n in (60, 64)]
    found = confirm.find_likenesses(sketches(*plain, *ramps))
    assert (0, 1) in zip(found.i.tolist(), found.j.tolist(), strict=True)
    assert not found.same.any() and set(found.kind.tolist()) == {"same"}


@pytest.mark.parametrize("count", [0, 1])
def test_a_set_of_none_or_one_has_no_pairs(count: int) -> None:
    found = confirm.find_likenesses(sketches(*[picture(0)] * count) if count else NONE)
    assert len(found) == 0


NONE = Sketches(np.zeros(0, dtype=sketch.HEAD), [], *[np.zeros(0, dtype=np.intp)] * 2)


def test_the_order_of_the_images_changes_nothing() -> None:
    images = [picture(n) for n in range(12)]
    images += [ImageOps.mirror(images[3]), cropped(images[5]), framed(images[5], "white", 9)]
    order = np.random.default_rng(4).permutation(len(images))
    one = confirm.find_likenesses(sketches(*images))
    other = confirm.find_likenesses(sketches(*[images[n] for n in order]))

    def told(found: confirm.Likenesses, names: list[int]) -> set[tuple[frozenset[int], str, bool]]:
        columns = (found.i.tolist(), found.j.tolist(), found.kind.tolist(), found.same.tolist())
        return {
            (frozenset((names[i], names[j])), k, s) for i, j, k, s in zip(*columns, strict=True)
        }

    assert told(one, list(range(len(images)))) == told(other, order.tolist())
    assert len(one) >= 3 and one.threshold == other.threshold


def test_a_picture_in_the_same_page_is_not_the_same_picture() -> None:
    """A frame that many pictures have in common says nothing of what they show."""

    def page(image: Image.Image) -> Image.Image:
        result = Image.new("RGB", (240, 220), "white")
        ImageDraw.Draw(result).rectangle((0, 0, 240, 20), fill="black")
        ImageDraw.Draw(result).text((8, 200), "Liked by 312 others", "black")
        result.paste(image, (20, 35))
        return result

    found = confirm.find_likenesses(sketches(*[page(picture(n)) for n in range(8)]))
    assert len(found) == 0


# the threshold


def test_another_tone_of_one_part_is_another_picture() -> None:
    """However much all of it is disturbed, as saving does, too."""
    first = picture(5, (256, 256))
    second = np.asarray(first).astype(np.int16)
    second[96:160, 96:160] += 15
    rough = np.random.default_rng(1).normal(scale=40, size=(256, 256, 3))
    images = [Image.fromarray((v + rough).clip(0, 255).astype(np.uint8)) for v in (first, second)]
    plain = confirm.find_likenesses(sketches(first, images[0]))
    assert plain.same.tolist() == [True]
    found = confirm.find_likenesses(sketches(first, images[1]))
    assert len(found) and not found.same.any()


def test_a_large_and_a_small_sign_are_two() -> None:
    sign = picture(6, (220, 220))
    small = sign.resize((110, 110), Image.Resampling.LANCZOS)
    large_one, small_one = framed(sign, "white", 18), framed(small, "white", 73)
    found = confirm.find_likenesses(sketches(large_one, small_one))
    assert found.kind.tolist() == ["bordered"] and found.same.tolist() == [False]
    assert confirm.find_likenesses(sketches(sign, large_one)).same.tolist() == [True]


def test_the_tail_is_read_off_the_bulk() -> None:
    """A few true copies among the random pairs hardly move it."""
    z = np.abs(np.random.default_rng(0).normal(0, 0.15, 40_000))
    bulk = np.sort(np.tanh(z)).astype(np.float32)
    wanted = np.tanh(0.15 * 4.417)  # the normal quantile of a half of 0.00001
    assert calibrate.tail_score(bulk, 1e-5) == pytest.approx(wanted, abs=0.03)
    mixed = np.sort(np.append(bulk, np.full(15, 0.99, dtype=np.float32)))
    assert calibrate.tail_score(mixed, 1e-5) == pytest.approx(wanted, abs=0.06)
    assert calibrate.tail_score(bulk, 1e-3) < calibrate.tail_score(bulk, 1e-5)


def test_a_set_of_few_is_taken_to_be_of_photographs() -> None:
    assert calibrate.find_threshold(sketches(picture(1), picture(2)), 1e-5) == calibrate.LEAST


# proposing


def test_overfull_buckets_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propose, "MOST_IN_BUCKET", 2)
    rng = np.random.default_rng(0)
    base = np.asarray(picture(3)).astype(int)
    near = [
        Image.fromarray((base + rng.integers(-3, 4, base.shape)).clip(0, 255).astype(np.uint8))
        for _ in range(8)
    ]
    assert propose.propose_pairs(sketches(*near)).left_out > 0


def test_coarser_buckets_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    crops = [cropped(picture(n)) for n in range(9)]
    images = sketches(*[picture(n) for n in range(10)], *crops)
    one = propose.propose_pairs(images)
    monkeypatch.setattr(propose, "MOST_BUCKET_BITS", 9)
    monkeypatch.setattr(propose, "MOST_IN_BUCKET", 1 << 20)
    other = propose.propose_pairs(images)
    assert (one.i == other.i).all() and (one.view == other.view).all() and len(one) >= 9


# laying one over the other


@given(shift=st.floats(-0.04, 0.04), scale=st.floats(0.94, 1.06), seed=st.integers(0, 50))
@examples(max_examples=20, deadline=None)
def test_refining_finds_a_small_shift_and_scale(shift: float, scale: float, seed: int) -> None:
    base = sketch.grey(sketches(picture(seed)).pixels(np.array([0])))
    true = np.array([[[scale, 0, shift], [0, scale, shift]]], dtype=np.float32)
    target = align.warp(base, true)
    start = np.array([[[1, 0, 0], [0, 1, 0]]], dtype=np.float32)
    found = align.refine(target, base, start, steps=12)
    seen = align.warp(base, found)
    assert align.correlate(target, seen)[0] > 0.98


def test_views_show_the_parts_they_name() -> None:
    maps = score.view_maps(np.arange(len(sketch.VIEWS)))
    corner = maps @ np.array([1, 1, 1], dtype=np.float32)
    for (down, across), (x, y) in zip(sketch.VIEWS, corner, strict=True):
        assert x == pytest.approx(sketch.SPANS[across][1])
        assert y == pytest.approx(sketch.SPANS[down][1])
