"""Which images are copies, which one stays, and what looks alike but is not."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from pictures import encoded, photograph
from PIL import Image, ImageDraw, ImageEnhance

from curate import cli
from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample, Verdict, live_samples
from curate.images.decode import decode_image
from curate.images.dedup import (
    drop_duplicates,
    find_duplicates,
    is_same_image,
    near_pairs,
    preference_key,
)
from curate.images.inspect import comparison_thumbnail, pixel_facts

Thumbs = Mapping[str, NDArray[np.int16]]


def figure(skin: str = "#f7d7c4", tool: str | None = None, hair: str = "#5a3825") -> Image.Image:
    """A drawn person on nothing: one of many that differ in one part."""
    image = Image.new("RGBA", (256, 256))
    draw = ImageDraw.Draw(image)
    draw.ellipse((78, 30, 178, 130), fill=hair)
    draw.ellipse((88, 50, 168, 140), fill=skin)
    draw.ellipse((104, 84, 114, 96), fill="#222222")
    draw.ellipse((142, 84, 152, 96), fill="#222222")
    draw.rounded_rectangle((58, 150, 198, 256), 40, fill="#2f6fb5")
    if tool:
        draw.rectangle((200, 150, 214, 226), fill=tool)
    return image


def alike(a: bytes, b: bytes) -> bool:
    """Whether the whole rule, hash and pixels, takes two files for one image."""
    pictures = {"a-1": decode_image(a), "a-2": decode_image(b)}
    rows = [Sample(key, "a", sha256=key, **pixel_facts(image)) for key, image in pictures.items()]

    def thumbs(samples: Sequence[Sample]) -> Thumbs:
        return {s.key: comparison_thumbnail(pictures[s.key]).astype(np.int16) for s in samples}

    return any(s.dropped for s in drop_duplicates(rows, thumbs))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg 90": lambda i: encoded(i, "JPEG", quality=90),
    "jpeg 75": lambda i: encoded(i, "JPEG", quality=75),
    "jpeg 40": lambda i: encoded(i, "JPEG", quality=40),
    "webp 50": lambda i: encoded(i, "WEBP", quality=50),
    "half": lambda i: encoded(i.resize((i.width // 2, i.height // 2), Image.Resampling.LANCZOS)),
    "third": lambda i: encoded(i.resize((i.width // 3, i.height // 3), Image.Resampling.BILINEAR)),
    "larger": lambda i: encoded(i.resize((i.width * 2, i.height * 2), Image.Resampling.BICUBIC)),
    "small and jpeg 60": lambda i: encoded(i.resize((128, 96)), "JPEG", quality=60),
    "png again": lambda i: encoded(i, "PNG", optimize=True),
}


@pytest.mark.parametrize("copy", sorted(COPIES))
@pytest.mark.parametrize("seed", range(4))
def test_a_copy_of_a_photograph_is_found(copy: str, seed: int) -> None:
    image = photograph(seed)
    assert alike(encoded(image), COPIES[copy](image))


@pytest.mark.parametrize(
    "other",
    [
        figure(skin="#e8c09c"),
        figure(skin="#8d5a3a"),
        figure(hair="#e0b040"),
        figure(tool="#999999"),
        figure(tool="#7a4a20"),
    ],
)
def test_drawings_that_differ_in_one_part_both_stay(other: Image.Image) -> None:
    assert not alike(encoded(figure()), encoded(other))
    assert not alike(encoded(figure()), encoded(other, "WEBP", quality=60))


def test_a_copy_of_a_drawing_is_found() -> None:
    assert alike(encoded(figure()), encoded(figure(), "WEBP", quality=60))
    assert alike(encoded(figure()), encoded(figure().resize((128, 128), Image.Resampling.BOX)))


def test_a_drawing_laid_on_white_is_a_copy_of_it() -> None:
    on_white = Image.new("RGB", (256, 256), "white")
    on_white.paste(figure(), mask=figure())
    assert alike(encoded(figure()), encoded(on_white))
    assert alike(encoded(on_white, "JPEG", quality=85), encoded(figure()))


def test_white_drawings_on_nothing_are_told_apart_by_their_shape() -> None:
    def shape(draw_it: Callable[[ImageDraw.ImageDraw], None]) -> bytes:
        image = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
        draw_it(ImageDraw.Draw(image))
        return encoded(image)

    disc = shape(lambda d: d.ellipse((8, 8, 56, 56), fill="white"))
    bar = shape(lambda d: d.rectangle((8, 28, 56, 36), fill="white"))
    assert not alike(disc, bar)


def test_different_photographs_both_stay() -> None:
    assert not alike(encoded(photograph(1)), encoded(photograph(2)))


def test_the_same_scene_in_another_light_stays() -> None:
    image = photograph(1)
    bright = ImageEnhance.Brightness(image).enhance(1.3)
    assert not alike(encoded(image), encoded(bright))


# the pure core

FLAT = np.zeros((16, 16, 4), dtype=np.int16)


def same_thumbs(samples: Sequence[Sample]) -> Thumbs:
    return dict.fromkeys((s.key for s in samples), FLAT)


def image_row(key: str, phash: int | None = 0, **known: object) -> Sample:
    name = None if phash is None else f"{phash:016x}"
    return replace(Sample(key, "t", sha256=key, phash=name), **known)  # type: ignore[arg-type]


def test_keeps_the_larger_of_two_near_images() -> None:
    small = image_row("small", 0b0000, width=9, height=9)
    large = image_row("large", 0b0011, width=99, height=99)
    out = drop_duplicates([small, large], same_thumbs, max_distance=2)
    assert out == [
        replace(small, dropped="duplicate:large", group="large"),
        replace(large, group="large"),
    ]


def test_beyond_the_distance_both_stay() -> None:
    rows = [image_row("a", 0b00000), image_row("b", 0b11111)]
    assert drop_duplicates(rows, same_thumbs, max_distance=2) == rows


def test_a_smaller_distance_drops_fewer_copies_and_forgets_none() -> None:
    """Whoever keeps what is nearly equal does not thereby open what a copy of it closes."""
    rows = [image_row("a", 0b000), image_row("b", 0b111)]
    for max_distance in (0, 2):
        out = drop_duplicates(rows, same_thumbs, max_distance=max_distance)
        assert out == [replace(row, group="a") for row in rows]


def test_equal_bytes_and_equal_pixels_need_no_hash() -> None:
    a = image_row("a", None, pixel_sha256="p")
    b = image_row("b", None, sha256="a")
    c = image_row("c", None, pixel_sha256="p")
    out = drop_duplicates([c, b, a], same_thumbs)
    assert [s.dropped for s in out] == ["duplicate:a", "duplicate:a", None]
    assert [s.group for s in out] == ["a", "a", "a"]


def test_who_stays() -> None:
    rows = [
        image_row("z", license_text="CC0", author="A", width=9, height=9),
        image_row("y", license_text="CC0", width=99, height=9),
        image_row("x", license_text="CC0", width=9, height=9, sharpness=7.0),
        image_row("v", license_text="CC0", width=9, height=9),
        image_row("w", license_text="CC0", width=9, height=9),
        image_row("t", width=999, height=999),
    ]
    rows_of_any_order = rows[::-1]
    assert sorted(rows_of_any_order, key=preference_key) == rows


def test_which_copy_stays_is_not_for_a_policy_to_say() -> None:
    """Else a copy that may be used would take the place of one that may not."""
    row = image_row("a", license_text="CC0")
    for decision in ("allow", "hold", "deny"):
        decided = replace(row, train=Verdict(decision, ()), license="CC0-1.0", policy="p")
        said = replace(decided, opt_outs=("api:noAiTraining",))
        assert preference_key(said) == preference_key(decided) == preference_key(row)


def test_a_group_holds_copies_of_copies() -> None:
    """`a` and `c` both stay, for they do not look alike; what looks like both connects them."""
    rows = [
        image_row("a", 0b0000, width=99, height=99),
        image_row("b", 0b0001, width=9, height=9),
        image_row("c", 0b0011, width=99, height=98),
        image_row("d", 0b111111110000),
    ]
    for order in (rows, rows[::-1]):
        out = {s.key: s for s in drop_duplicates(order, same_thumbs, max_distance=1)}
        assert {k: s.group for k, s in out.items()} == {"a": "a", "b": "a", "c": "a", "d": None}
        assert {k: s.dropped for k, s in out.items() if s.dropped} == {"b": "duplicate:a"}


def test_a_group_of_before_is_forgotten() -> None:
    assert drop_duplicates([image_row("a", group="b")], same_thumbs) == [image_row("a")]


def test_a_picture_dropped_for_another_reason_takes_no_part() -> None:
    gone = image_row("a", width=99, height=99, dropped="opt-out:noai")
    rows = [gone, image_row("b")]
    assert drop_duplicates(rows, same_thumbs) == rows


def test_a_picture_dropped_for_another_reason_is_of_the_group_of_its_bytes() -> None:
    rows = [image_row("a", dropped="removed:asked for"), image_row("b", sha256="a")]
    out = drop_duplicates(rows, same_thumbs)
    assert out == [replace(rows[0], group="a"), replace(rows[1], group="a")]


def test_a_mirror_image_is_a_copy_only_when_asked_for() -> None:
    left = image_row("left", 0xF0, mirror_phash=f"{0x0F:016x}")
    right = image_row("right", 0x0F, mirror_phash=f"{0xF0:016x}")
    picture = np.arange(16 * 16 * 4, dtype=np.int16).reshape(16, 16, 4) % 251
    pictures = {"left": picture, "right": picture[:, ::-1]}

    def thumbs(samples: Sequence[Sample]) -> Thumbs:
        return {s.key: pictures[s.key] for s in samples}

    assert len(live_samples(drop_duplicates([left, right], thumbs))) == 2
    out = drop_duplicates([left, right], thumbs, mirrors=True)
    assert [s.dropped for s in out] == [None, "duplicate:left"]


def test_only_pictures_that_may_be_copies_are_looked_at() -> None:
    asked: list[str] = []

    def thumbs(samples: Sequence[Sample]) -> Thumbs:
        asked.extend(s.key for s in samples)
        return same_thumbs(samples)

    rows = [image_row("a", 0), image_row("b", 1), image_row("far", 2**64 - 1)]
    drop_duplicates(rows, thumbs)
    assert sorted(asked) == ["a", "b"]


def test_a_picture_that_cannot_be_looked_at_stays() -> None:
    rows = [image_row("a"), image_row("b")]
    assert drop_duplicates(rows, lambda _: {"a": FLAT}) == rows


@st.composite
def known_rows(draw: st.DrawFn) -> list[Sample]:
    """Rows of a few contents, each with a hash of its own; some were dropped before."""
    hashes = draw(st.lists(st.integers(0, 255), min_size=9, max_size=9))
    shades = draw(st.lists(st.sampled_from([0, 0, 40]), min_size=9, max_size=9))
    drops = st.sampled_from([None, None, None, "duplicate:of-before", "opt-out:noai"])
    rows = []
    for n in range(draw(st.integers(0, 14))):
        content, side = draw(st.integers(0, 8)), draw(st.integers(1, 3))
        key, name = f"k{n}-{shades[content]}", f"content-{content}"
        known = {"sha256": name, "width": side, "height": side, "dropped": draw(drops)}
        rows.append(image_row(key, hashes[content], **known))
    return rows


def shaded_thumbs(samples: Sequence[Sample]) -> Thumbs:
    return {s.key: FLAT + int(s.key.split("-")[1]) for s in samples}


@given(known_rows(), st.integers(0, 8), st.randoms(use_true_random=False))
@examples(max_examples=120)
def test_every_row_stays_and_every_drop_is_justified(
    rows: list[Sample], max_distance: int, chance: random.Random
) -> None:
    out = drop_duplicates(rows, shaded_thumbs, max_distance=max_distance)

    assert [s.key for s in out] == [s.key for s in rows]
    assert drop_duplicates(out, shaded_thumbs, max_distance=max_distance) == out
    shuffled = chance.sample(rows, len(rows))
    again = drop_duplicates(shuffled, shaded_thumbs, max_distance=max_distance)
    assert sorted(again, key=lambda s: s.key) == sorted(out, key=lambda s: s.key)
    staying = {s.key: s for s in live_samples(out)}
    for sample in out:
        if (sample.dropped or "").startswith("duplicate:"):
            twin = staying[str(sample.dropped).removeprefix("duplicate:")]
            assert preference_key(twin) < preference_key(sample)
            bits = int(str(sample.phash), 16) ^ int(str(twin.phash), 16)
            near = bits.bit_count() <= max_distance
            assert sample.sha256 == twin.sha256 or (
                near and sample.key.split("-")[1] == twin.key.split("-")[1]
            )
    for one in staying.values():
        for other in staying.values():
            assert one is other or one.sha256 != other.sha256
    assert {s.key: s.group for s in out} == connected(out, max(max_distance, 4))


def connected(rows: Sequence[Sample], max_distance: int) -> dict[str, str | None]:
    """The smallest key of each row's group by looking at every pair, again and again."""
    least = {s.key: s.key for s in rows}
    company: set[str] = set()
    for _ in rows:
        for one in rows:
            for other in rows:
                if one is not other and connects(one, other, max_distance):
                    company.add(one.key)
                    least[one.key] = min(least[one.key], least[other.key])
    return {key: least[key] if key in company else None for key in least}


def connects(one: Sample, other: Sample, max_distance: int) -> bool:
    seen = all(s.dropped is None or s.dropped.startswith("duplicate:") for s in (one, other))
    bits = int(str(one.phash), 16) ^ int(str(other.phash), 16)
    near = bits.bit_count() <= max_distance and one.key.split("-")[1] == other.key.split("-")[1]
    return one.sha256 == other.sha256 or (seen and near)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.integers(0, 70), st.integers(0, 3))
@example([0, 2**64 - 2], 64, 1)  # opposite hashes agree in no bit
@examples(max_examples=120)
def test_near_pairs_are_all_pairs_within_the_distance(
    bits: list[int], max_distance: int, flips: int
) -> None:
    close = [b ^ sum(1 << (7 * n) for n in range(flips)) for b in bits]
    hashes = bits + close
    found = zip(
        *(side.tolist() for side in near_pairs(np.array(hashes, dtype=np.uint64), max_distance)),
        strict=True,
    )
    wanted = [
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if (hashes[i] ^ hashes[j]).bit_count() <= max_distance
    ]
    assert list(found) == wanted


@given(st.integers(0, 255), st.integers(0, 8))
@examples(max_examples=30)
def test_the_rule_of_pixels_is_the_same_both_ways(seed: int, drift: int) -> None:
    rng = np.random.default_rng(seed)
    one = rng.integers(0, 256, (16, 16, 4)).astype(np.int16)
    other = one + rng.integers(-drift, drift + 1, one.shape).astype(np.int16)
    assert is_same_image(one, one[None]).all()
    assert is_same_image(one, other[None]) == is_same_image(other, one[None])


# the command


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two photographs in several copies, two drawings that only look alike, one broken file."""
    dataset = Dataset(tmp_path / "data")
    fill(dataset)
    return dataset.root


def fill(dataset: Dataset) -> None:
    first, second = photograph(1), photograph(2)
    files = {
        "p-1": encoded(first),
        "p-1-again": encoded(first),
        "p-1-webp": encoded(first, "WEBP", lossless=True),
        "p-1-small": COPIES["half"](first),
        "p-2": encoded(second, "JPEG", quality=95),
        "p-2-small": COPIES["small and jpeg 60"](second),
        "d-1": encoded(figure()),
        "d-2": encoded(figure(tool="#999999")),
        "x-1": b"\x89PNG\r\n\x1a\n broken",
    }
    with dataset.lock():
        for key, content in files.items():
            dataset.append_row(Sample(key, "test", sha256=dataset.store.put(content)))


WANTED = {
    "d-1": None,
    "d-2": None,
    "p-1": None,
    "p-1-again": "duplicate:p-1",
    "p-1-small": "duplicate:p-1",
    "p-1-webp": "duplicate:p-1",
    "p-2": None,
    "p-2-small": "duplicate:p-2",
    "x-1": "unreadable:cannot identify image file",
}


def test_dedup_prints_what_it_dropped(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_cli("dedup", data)
    told = capsys.readouterr()
    assert told.err == "x-1: unreadable, cannot identify image file\n"
    assert told.out.splitlines() == [
        "duplicates: bytes\t1",
        "duplicates: pixels\t1",
        "duplicates: near\t2",
        "unreadable\t1",
        "rows in the dataset\t9",
        "in use\t4",
    ]
    assert {s.key: s.dropped for s in Dataset(data).read().samples} == WANTED
    before = (data / "manifest.parquet").read_bytes()
    run_cli("dedup", data)
    assert (data / "manifest.parquet").read_bytes() == before


def run_cli(command: str, data: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--data", str(data)])
    assert ended.value.code == 0


def test_dedup_of_nothing_names_the_command_that_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["dedup", "--data", str(tmp_path)])
    assert ended.value.code == 3
    assert "no dataset here\n  fix: curate fetch folder DIR" in capsys.readouterr().err


def test_killed_at_any_moment_the_same_command_completes(tmp_path: Path) -> None:
    whole, killed = Dataset(tmp_path / "whole"), Dataset(tmp_path / "killed")
    fill(whole)
    fill(killed)
    started = time.monotonic()
    subprocess.run(words(whole.root), check=True, stdout=subprocess.DEVNULL)
    needs = time.monotonic() - started
    chance = random.Random(7)
    ends = []
    for _ in range(7):
        ends.append(killed_after(words(killed.root), chance.uniform(0.1, 0.9) * needs))
        assert len(killed.read().samples) == 9
    assert ends.count(-signal.SIGKILL) >= 3, "runs were cut short"
    find_duplicates(killed)
    assert killed.manifest.read_bytes() == whole.manifest.read_bytes()


def words(data: Path) -> list[str]:
    return [sys.executable, "-m", "curate.cli", "dedup", "--data", str(data)]


def killed_after(command: list[str], seconds: float) -> int:
    """Run a command, kill it with all its workers, return how it ended."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        return process.wait()


# real images


@pytest.mark.corpora
def test_copies_of_real_photographs_are_found(corpora: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(corpora / "flowers-originals.tar", tmp_path)
    files = sorted(tmp_path.rglob("*.jpg"))[::6]
    found = dict.fromkeys(COPIES, 0)
    for file in files:
        original = file.read_bytes()
        for name, copy in COPIES.items():
            found[name] += alike(original, copy(decode_image(original)))
    share = {name: count / len(files) for name, count in found.items()}
    print({name: round(value, 3) for name, value in share.items()})
    small = share.pop("small and jpeg 60")  # and squeezed into another shape
    assert small >= 0.85
    assert min(share.values()) >= 0.9, share


@pytest.mark.corpora
def test_real_tiles_that_look_alike_both_stay(corpora: Path, tmp_path: Path) -> None:
    """Thousands of 32-pixel tiles have neighbours within 4 bits; nearly all are other images."""
    shutil.unpack_archive(corpora / "tiles-cc0.tar.gz", tmp_path / "tiles")
    dataset = Dataset(tmp_path / "data")
    with dataset.lock():
        for n, file in enumerate(sorted((tmp_path / "tiles").rglob("*.png"))):
            dataset.append_row(
                Sample(f"t-{n:05}", "t", sha256=dataset.store.put(file.read_bytes()))
            )
    done = find_duplicates(dataset)
    assert (done.rows, done.unreadable) == (4357, 0)
    assert done.duplicates["near"] <= 20
