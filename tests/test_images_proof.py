"""Which of two files was made of the other, and removed pictures known again."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, photograph
from PIL import Image, ImageFilter, ImageOps

from curate.dataset.folder import Dataset, Store
from curate.dataset.sample import DUPLICATE, Likeness, Sample
from curate.images.decode import decode_image
from curate.images.descent import Candidate, find_source, rank_files
from curate.images.groups_page import order_groups, write_groups_page
from curate.images.inspect import scale_to_small
from curate.images.proof import make_candidate, prove_pictures, read_proofs, resolved_share
from curate.images.removed import find_views, view_hashes
from curate.images.sketch import SketchStore, sketch_image
from curate.rights.removals import Tombstone

LANCZOS = Image.Resampling.LANCZOS


def scene(seed: int = 1) -> Image.Image:
    """A photograph with detail down to its pixels: reduced from a large one."""
    return photograph(seed, (1280, 960)).resize((320, 240), LANCZOS)


def detailed(seed: int = 1) -> Image.Image:
    rng = np.random.default_rng(seed)
    shapes = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    large = shapes.resize((1280, 960), Image.Resampling.NEAREST)
    return Image.blend(large, photograph(seed, (1280, 960)), 0.5).resize((320, 240), LANCZOS)


def noisy(image: Image.Image) -> Image.Image:
    values = np.asarray(image) + np.random.default_rng(3).normal(0, 8, (240, 320, 3))
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def candidate(data: bytes) -> Candidate:
    return make_candidate(decode_image(data), data)[0]


MADE: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG 95": lambda i: encoded(i, "JPEG", quality=95),
    "JPEG 90": lambda i: encoded(i, "JPEG", quality=90),
    "JPEG 50": lambda i: encoded(i, "JPEG", quality=50),
    "WebP": lambda i: encoded(i, "WEBP", quality=60),
    "half": lambda i: encoded(i.resize((160, 120), LANCZOS), "JPEG", quality=95),
    "enlarged": lambda i: encoded(i.resize((640, 480), LANCZOS), "JPEG", quality=95),
    "noisy": lambda i: encoded(noisy(i), "JPEG", quality=95),
    "blurred": lambda i: encoded(i.filter(ImageFilter.GaussianBlur(1.5))),
    "bordered": lambda i: encoded(ImageOps.expand(i, 16, "white"), "JPEG", quality=95),
    "cropped": lambda i: encoded(i.crop((24, 18, 296, 222))),
}


@pytest.mark.parametrize("made", sorted(MADE))
@pytest.mark.parametrize("quality", [None, 80, 90])
def test_the_original_is_told_from_what_was_made_of_it(made: str, quality: int | None) -> None:
    """Whatever the quality of the original itself, and whichever is named first."""
    image = detailed()
    original = encoded(image, "JPEG", quality=quality) if quality else encoded(image)
    files = candidate(original), candidate(MADE[made](decode_image(original)))
    if f"JPEG {quality}" == made:  # saving it so once more may change nothing that is seen
        assert find_source(*files).first is not False
        return
    assert find_source(*files).first is True
    assert find_source(*files[::-1]).first is False


def test_equal_pixels_are_not_told_apart() -> None:
    one, other = encoded(scene()), encoded(scene(), "WEBP", lossless=True)
    assert find_source(candidate(one), candidate(other)).first is None
    assert all(place.tied for place in rank_files([candidate(one), candidate(other)]))


def test_the_other_copies_are_asked_where_two_cannot_tell() -> None:
    image = detailed()
    sharp = encoded(image.filter(ImageFilter.UnsharpMask(2, 150, 3)))
    soft = encoded(image.filter(ImageFilter.GaussianBlur(0.6)))
    others = [MADE[name](image) for name in ("JPEG 90", "JPEG 50", "noisy")]
    files = [candidate(data) for data in (sharp, *others, soft, encoded(image))]
    assert rank_files(files)[0].number == 5


def test_detail_is_a_share_of_the_side() -> None:
    image = detailed().convert("L")
    whole = resolved_share(np.asarray(image).astype(np.float32), 0.0)
    twice = image.resize((640, 480), LANCZOS)
    assert whole > 0.9
    assert 0.4 <= resolved_share(np.asarray(twice).astype(np.float32), 0.0) <= 0.7
    assert resolved_share(np.zeros((9, 9), dtype=np.float32), 0.0) == 1.0


def test_what_was_found_is_kept_until_a_file_comes_or_goes(tmp_path: Path) -> None:
    store, kept = Store(tmp_path / "store"), tmp_path / "derived"
    files = [store.put(encoded(scene())), store.put(MADE["JPEG 50"](scene()))]
    broken = store.put(b"\x89PNG\r\n\x1a\n broken")
    rows = [Sample(f"k-{n}", "t", sha256=name) for n, name in enumerate(files)]
    found = prove_pictures(store, [rows], kept)
    assert found[files[0]].alone and found[files[0]].place == 0
    assert found[files[1]].how == "saved as JPEG 50"
    assert read_proofs(kept) == found
    for name in files:
        store.path_of(name).unlink()
    assert prove_pictures(store, [rows], kept) == found, "nothing is decoded again"
    assert prove_pictures(store, [[rows[0]]], kept) == {} == read_proofs(kept)
    store.put(encoded(scene()))
    pair = [rows[0], Sample("k-2", "t", sha256=broken)]
    assert prove_pictures(store, [pair], kept) == {}, "what cannot be decoded is left out"


# removed pictures

CHANGED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "quarter turn": lambda i: i.transpose(Image.Transpose.ROTATE_90),
    "negative": ImageOps.invert,
    "cropped": lambda i: i.crop((16, 12, 304, 228)),
    "half": lambda i: i.resize((160, 120), LANCZOS),
    "framed": lambda i: ImageOps.expand(i, 20, "black"),
}


@pytest.mark.parametrize("change", sorted(CHANGED))
def test_a_removed_picture_is_known_again(change: str, tmp_path: Path) -> None:
    sketches = SketchStore(tmp_path)
    images = {"a": scene(), "b": CHANGED[change](scene()), "c": scene(2), "d": scene(3)}
    names = {key: f"{key}{'0' * 63}" for key in images}
    sketches.add((names[k], sketch_image(scale_to_small(i))) for k, i in images.items())
    views = view_hashes(sketches, [names["a"]])[names["a"]]
    stone = Tombstone("a", "asked for", "t", names["a"], views=views)
    rows = [Sample(key, "t", sha256=names[key]) for key in "bcd"]
    sketches.forget([names["a"]])
    assert sketches.known() == {names[key] for key in "bcd"}
    assert SketchStore(tmp_path).known() == sketches.known()
    assert find_views([stone], rows, sketches) == {"b": stone}
    spared = Tombstone("a", "asked for", "t", views=views, spared=(names["b"],))
    assert find_views([spared], rows, sketches) == {}


# the page


def test_the_page_shows_groups_and_escapes_what_strangers_wrote(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path / "data")
    odd = "<script>alert(1)</script>"
    with dataset.lock():
        kept = dataset.store.put(encoded(scene()))
        copy = dataset.store.put(MADE["JPEG 50"](scene()))
        like = Likeness("k-1", "recompressed", 0.97)
        common = {"group": "k-1", "likeness": like}
        dataset.append_row(Sample("k-1", "t", sha256=kept, author=odd, **common))
        dataset.append_row(Sample("k-2", "t", sha256=copy, dropped=f"{DUPLICATE}:k-1", **common))
        dataset.append_row(Sample("k-3", "t", sha256=kept[::-1], **common))
    page = tmp_path / "page.html"
    write_groups_page(dataset, page)
    text = page.read_text()
    assert odd not in text and "&lt;script&gt;" in text
    assert text.count("data:image/webp;base64,") == 2 and "no image to show" in text
    assert "dropped as a copy of k-1" in text and "recompressed, score 0.970" in text
    assert "<b>3</b> of 3 images are in <b>1</b> groups" in text


def test_large_and_doubtful_groups_come_first() -> None:
    def group(name: str, size: int, score: float) -> list[Sample]:
        like = Likeness(f"{name}0", "edited", score)
        return [Sample(f"{name}{n}", "t", group=f"{name}0", likeness=like) for n in range(size)]

    rows = [*group("a", 2, 0.9), *group("b", 9, 0.99), *group("c", 3, 0.6), Sample("z", "t")]
    assert [g[0].group for g in order_groups(rows)] == ["b0", "c0", "a0"]
    assert order_groups([]) == []


def test_a_candidate_of_a_file_without_pixels_to_compare() -> None:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(file, "PNG")
    tiny = candidate(file.getvalue())
    assert find_source(tiny, tiny).first is None
