"""From shards to images: fitted, cached or read as needed, and drawn in a fair order."""

import io
import os
import shutil
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from curate.dataset.sample import Verdict
from curate.errors import InputError
from curate.formats.shards import (
    CACHE,
    INDEX_NAME,
    Shard,
    ShardIndex,
    iterate_samples,
    read_index,
    shard_name,
)
from curate.shards.pack import pack
from tests.drawings import drawing, shapes, write_shards
from tests.packable import change_rows, dataset_of
from tests.recorded_progress import RecordedProgress
from train import cli
from train.data import dataset, tars
from train.data.stored import open_images
from train.data.tars import decode_image
from train.size import Size

SMALL = Size(16, 16)


def file_of(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def colours(width: int, height: int) -> Image.Image:
    """Left third red, right third blue, white between."""
    image = Image.new("RGB", (width, height), "white")
    image.paste("red", (0, 0, width // 3, height))
    image.paste("blue", (width - width // 3, 0, width, height))
    return image


def joined(folder: Path, *parts: Path) -> Path:
    """One folder of shards that holds the tars of several."""
    folder.mkdir()
    indexes, shards = [read_index(part) for part in parts], []
    for number, index in enumerate(indexes):
        name = shard_name("train", number)
        shutil.copy(index.root / index.shards[0].name, folder / name)
        shards.append(Shard(**{**asdict(index.shards[0]), "name": name}))
    merged = {**vars(indexes[0]), "samples": sum(i.samples for i in indexes)}
    index = ShardIndex(**{**merged, "shards": tuple(shards)})
    (folder / INDEX_NAME).write_bytes(index.to_json())
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    where = tmp_path_factory.mktemp("shards")
    tall = [(f"tall-{n}", file_of(colours(30 + n, 50)), ["a flag"]) for n in range(3)]
    parts = [
        write_shards(where / "a", shapes("red", "green", copies=2)),
        write_shards(
            where / "b", [*shapes("blue"), *tall, ("tiny", drawing("red", "circle", 8), ["x"])]
        ),
    ]
    return joined(where / "both", *parts)


# one image


def test_a_crop_takes_the_middle_and_a_pad_takes_all():
    flag = file_of(colours(90, 30))
    cropped = decode_image(flag, Size(20, 20), "crop")
    assert cropped.shape == (20, 20, 3) and (cropped >= 240).all()
    padded = decode_image(flag, Size(30, 30), "pad")
    assert padded.shape == (30, 30, 3)
    assert padded[15, 2].tolist() == [255, 0, 0] and padded[15, 27].tolist() == [0, 0, 255]
    assert (padded[15, 13:17] == 255).all()


def test_a_padded_border_has_the_colour_of_the_pictures_edge():
    image = Image.new("RGB", (40, 20), "#336699")
    image.paste("red", (8, 4, 32, 16))
    padded = decode_image(file_of(image), Size(20, 20), "pad")
    assert (padded[:5] == (0x33, 0x66, 0x99)).all() and (padded[15:] == (0x33, 0x66, 0x99)).all()
    assert np.abs(padded[10, 10].astype(int) - (255, 0, 0)).max() <= 3


def test_a_picture_of_the_size_is_itself():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 16, 3), np.uint8)
    for fit in ("crop", "pad"):
        assert np.array_equal(
            decode_image(file_of(Image.fromarray(pixels)), Size(16, 24), fit), pixels
        )
    wider = np.pad(pixels, ((0, 0), (1, 2), (0, 0)))
    found = decode_image(file_of(Image.fromarray(wider)), Size(16, 24), "crop")
    assert np.array_equal(found, pixels), "cut at whole pixels, never blurred"


sides, fits = st.integers(1, 40), st.sampled_from(["crop", "pad"])


@given(st.builds(Size, sides, sides), st.builds(Size, sides, sides), fits)
def test_no_picture_is_ever_enlarged(full, size, fit):
    found = decode_image(file_of(Image.new("RGB", full, "teal")), size, fit)
    enough = [full.width >= size.width, full.height >= size.height]
    if all(enough) if fit == "crop" else any(enough):
        assert found.shape == (size.height, size.width, 3)
        assert (found == (0, 128, 128)).all()
    else:
        assert found == f"{full.width} x {full.height} px, smaller than {size}"


@pytest.mark.parametrize("shape, size", [((512, 512), Size(64, 64)), ((600, 900), Size(32, 64))])
def test_a_jpeg_reduced_while_it_is_decoded_differs_by_a_few_steps_of_255(shape, size):
    noise = np.random.default_rng(1).integers(0, 256, (*shape[::-1], 3), np.uint8)
    picture = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2))
    picture = picture.point(lambda v: max(0, min(255, (v - 128) * 6 + 128)))
    data_ = file_of(picture, "JPEG", quality=95, subsampling=0)
    with Image.open(io.BytesIO(data_)) as whole:
        lossless = file_of(whole.convert("RGB"))
    error = np.abs(
        decode_image(data_, size, "crop").astype(int) - decode_image(lossless, size, "crop")
    )
    assert 0 < error.max() <= 6 and error.mean() < 1


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@given(st.data())
@settings(max_examples=40)
def test_damaged_bytes_are_a_reason_or_a_picture(form, data):
    whole = bytearray(file_of(colours(24, 24), form))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    del whole[data.draw(st.integers(0, len(whole))) :]
    found = decode_image(bytes(whole), SMALL, "crop")
    if isinstance(found, str):
        assert found.startswith("cannot be decoded") or "smaller than" in found
    else:
        assert found.shape == (16, 16, 3)


# a folder of shards


def test_read_from_the_shards_a_picture_is_what_it_is_in_the_cache(shards, tmp_path):
    mapped, read = (
        dataset.load_images(shards, SMALL),
        dataset.load_images(shards, SMALL, limit=0, cache=tmp_path),
    )
    assert (
        not mapped.is_streamed and dataset.load_images(shards, SMALL, limit=0).keys == mapped.keys
    )
    (kept,) = (shards / CACHE).glob("*.u8")
    kept.rename(tmp_path / "aside")
    read = dataset.load_images(shards, SMALL, limit=0)
    (tmp_path / "aside").rename(kept)
    assert read.is_streamed and (read.keys, read.captions) == (mapped.keys, mapped.captions)
    assert np.array_equal(read.pixels_NHWC, mapped.pixels_NHWC) and len(read) == 18
    rows, corners = [17, 0, 4, 4], [(0, 0), (3, 5), (8, 8), (1, 0)]
    parts = [p.windows(rows, corners, Size(8, 6)) for p in (mapped, read)]
    assert parts[0].shape == (4, 6, 8, 3) and torch.equal(*parts)
    assert torch.equal(mapped.images(rows)[1, :, 3:9, 5:13], dataset.normalize(parts[0])[1])
    few = [p.select([5, 2, 9]) for p in (mapped, read)]
    assert torch.equal(few[0].images([0, 2]), few[1].images([0, 2]))
    assert np.array_equal(few[0].pixels_NHWC, mapped.pixels_NHWC[[5, 2, 9]])


def test_pictures_are_decoded_once(tmp_path):
    folder, progress = write_shards(tmp_path, shapes("red")), RecordedProgress()
    first = dataset.load_images(folder, SMALL, progress=progress)
    assert progress.counts == [("decoding images", n, 3) for n in range(4)]
    again = dataset.load_images(folder, SMALL, progress=progress)
    assert progress.counted("decoding images") == 3
    assert np.array_equal(first.pixels_NHWC, again.pixels_NHWC)
    dataset.load_images(folder, SMALL, fit="pad", progress=progress)
    assert progress.counted("decoding images") == 6, "another fit, other pixels"
    for file in (folder / CACHE).glob("*.u8"):
        file.unlink()  # the large file, which a person would delete
    dataset.load_images(folder, SMALL, progress=progress)
    assert progress.counted("decoding images") == 9


def test_what_is_kept_has_the_size_of_the_pictures(tmp_path):
    folder = write_shards(tmp_path, [*shapes("red"), ("tiny", drawing("red", "circle", 8), ["x"])])
    limit = 4 * 16 * 8 * 3
    assert not dataset.load_images(folder, Size(16, 8), limit=limit).is_streamed
    (kept,) = (folder / CACHE).glob("*.u8")
    assert kept.stat().st_size == 3 * 16 * 8 * 3
    assert dataset.load_images(folder, Size(16, 4), limit=16 * 4 * 3 * 4 - 1).is_streamed


def test_pictures_that_cannot_be_used_are_left_out_with_their_reason(tmp_path):
    items = [
        ("small", drawing("red", "circle", 8), ["a red circle"]),
        ("broken", b"\x89PNG nonsense", ["a red square"]),
        ("cut", drawing("red", "square")[:-60], ["a red square"]),
        ("silent", drawing("red", "circle", 32), []),
        ("blank", drawing("red", "circle", 32), ["  "]),
        ("good", drawing("blue", "circle", 32), ["a blue circle", ""]),
    ]
    pictures = dataset.load_images(write_shards(tmp_path, items), SMALL)
    assert pictures.keys == ["good"] and pictures.captions == [["a blue circle"]]
    assert pictures.skipped.pop("broken").startswith("cannot be decoded (")
    assert pictures.skipped.pop("cut").startswith("cannot be decoded (")
    assert pictures.skipped == {
        "small": "8 x 8 px, smaller than 16",
        "silent": "no caption",
        "blank": "no caption",
    }
    again = dataset.load_images(tmp_path, SMALL)
    assert dataset.count_reasons(again.skipped) == {
        "cannot be decoded": 2, "no caption": 2, "smaller than 16": 1
    }  # fmt: skip
    assert again.images([0]).shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    "items, problem, fix",
    [
        ([("a", drawing("red", "circle"), [])], "16 px (1 no caption)", "curate caption"),
        ([("a", drawing("red", "circle", 8), ["x"])], "(1 smaller than 16)", "--size"),
        ([("a", b"no image", ["x"])], "(1 cannot be decoded)", "curate pack"),
        ([], "the shards hold none", "curate caption"),
    ],
)
def test_shards_without_a_usable_picture_say_why(tmp_path, items, problem, fix):
    folder = write_shards(tmp_path, items)
    for limit in (dataset.CACHE_BYTES, 0):
        with pytest.raises(InputError) as error:
            dataset.load_images(folder, SMALL, limit=limit)
        assert problem in error.value.problem and fix in error.value.fix


def damaged(tar: Path, how: str) -> None:
    whole = tar.read_bytes()
    if how == "missing":
        tar.unlink()
    elif how == "truncated":
        tar.write_bytes(whole[:-700])
    else:
        tar.write_bytes(whole[:600] + bytes([whole[600] ^ 1]) + whole[601:])


@pytest.mark.parametrize("how", ["missing", "truncated", "changed"])
def test_a_broken_shard_is_named(shards, tmp_path, how):
    folder = tmp_path / "data" / "shards"
    shutil.copytree(shards, folder, ignore=shutil.ignore_patterns(CACHE))
    damaged(folder / "train-000001.tar", how)
    with pytest.raises(InputError) as error:
        dataset.load_images(folder, SMALL)
    assert error.value.subject.endswith("train-000001.tar")
    assert error.value.fix == f"curate pack --data {tmp_path / 'data'}"
    assert not list((folder / CACHE).glob("*")), "nothing half-written"


@pytest.mark.parametrize("how", ["missing", "truncated", "changed"])
def test_a_shard_that_breaks_during_a_run_is_named(shards, tmp_path, how):
    folder = tmp_path / "shards"
    shutil.copytree(shards, folder, ignore=shutil.ignore_patterns(CACHE))
    pictures = dataset.load_images(folder, SMALL, limit=0)
    places = {key: place for key, _, _, place in tars.iterate_places(folder)}
    inside = [row for row, key in enumerate(pictures.keys) if places[key].shard == 1]
    outside = [row for row in range(len(pictures)) if row not in inside]
    place = places[pictures.keys[inside[0]]]
    tar = folder / "train-000001.tar"
    if how == "changed":
        with tar.open("r+b") as file:
            file.seek(place.offset + place.length // 2)
            file.write(b"\0\1\2\3")
    elif how == "truncated":
        os.truncate(tar, place.offset + 10)
    else:
        tar.unlink()
    pictures.images(outside)
    with pytest.raises(InputError) as error:
        pictures.images([outside[0], inside[0]])
    assert error.value.subject == str(tar) and "restore the shard" in error.value.fix


@contextmanager
def not_ours(folder: Path):
    """As another user sees it who may read and no more; root may write anywhere."""
    for place in (folder, *folder.rglob("*")):
        place.chmod(0o555 if place.is_dir() else 0o444)
    user = os.geteuid()
    if not user:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        for place in (folder, *folder.rglob("*")):
            place.chmod(0o755 if place.is_dir() else 0o644)


def test_shards_that_cannot_be_written_beside_are_kept_elsewhere():
    with tempfile.TemporaryDirectory() as name:
        where, own = Path(name), Path(name) / "own"
        where.chmod(0o755)
        own.mkdir()
        own.chmod(0o777)
        folder = write_shards(where / "shards", shapes("red"))
        with not_ours(folder):
            pictures = dataset.load_images(folder, SMALL, cache=own)
            assert open_images(folder).cache_folder(own) == own
            with pytest.raises(InputError, match="cannot be written"):
                dataset.load_images(folder, SMALL)
        assert len(pictures) == 3 and len(list(own.iterdir())) == 2
        dataset.load_images(folder, SMALL)
        with not_ours(folder):  # what somebody prepared there is used
            assert len(dataset.load_images(folder, SMALL, cache=where / "none")) == 3
        assert not (where / "none").exists()


def test_leftovers_of_a_killed_process_are_removed_when_they_are_a_day_old(tmp_path):
    folder = write_shards(tmp_path, shapes("red"))
    (folder / CACHE).mkdir()
    old, new = (folder / CACHE / f".pictures-16-x.u8.{n}.part" for n in ("old", "new"))
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    os.utime(old, (time.time() - 90_000,) * 2)
    dataset.load_images(folder, SMALL)
    assert not old.exists() and new.exists()


def test_one_picture_is_a_set(tmp_path):
    folder = write_shards(tmp_path, [("a", drawing("red", "circle"), ["a circle"])])
    assert dataset.load_images(folder, SMALL).images([0, 0]).shape == (2, 3, 16, 16)


def test_a_set_that_the_disk_has_no_room_for_is_read_from_the_shards(tmp_path):
    folder = write_shards(tmp_path, shapes("red"))
    index = read_index(folder)
    vast = ShardIndex(**{**vars(index), "samples": 10**15})
    (folder / INDEX_NAME).write_bytes(vast.to_json())
    assert dataset.load_images(folder, SMALL, limit=10**20).is_streamed


# order


@given(st.integers(1, 50), st.integers(0, 400), st.integers(0, 120), st.integers(0, 120))
def test_any_position_can_be_asked_for(count, start, number, cut):
    whole = dataset.rows_at(count, start=start, number=number, seed=1, stream=0)
    cut = min(cut, number)
    parts = [
        dataset.rows_at(count, start=start, number=cut, seed=1, stream=0),
        dataset.rows_at(count, start=start + cut, number=number - cut, seed=1, stream=0),
    ]
    assert torch.equal(whole, torch.cat(parts))


@given(st.integers(1, 50), st.integers(0, 6), st.integers(0, 3))
def test_every_epoch_shows_each_picture_once(count, epoch, seed):
    every = dataset.rows_at(count, start=count * epoch, number=count, seed=seed, stream=0)
    assert sorted(every.tolist()) == list(range(count))


def test_epochs_sets_and_seeds_have_orders_of_their_own():
    def order(epoch: int, seed: int, stream: int) -> tuple[int, ...]:
        start = 40 * epoch
        return tuple(dataset.rows_at(40, start=start, number=40, seed=seed, stream=stream).tolist())

    orders = [order(e, seed, stream) for e in (0, 1) for seed in (0, 1) for stream in (0, 1)]
    assert len(set(orders)) == 8


shares = st.lists(st.floats(0.05, 1), min_size=1, max_size=5)


@given(shares, st.integers(0, 10**7), st.integers(0, 200))
def test_shares_hold_after_every_image(weights, start, number):
    of_B, turn_B = dataset.interleave_sets(weights, start, number)
    total = sum(weights)
    for n, weight in enumerate(weights):
        turns = turn_B[of_B == n].tolist()
        assert turns == list(range(turns[0], turns[0] + len(turns))) if turns else True
        given_ = torch.cumsum(of_B == n, 0) + (turns[0] if turns else 0)
        if turns:
            fair = (torch.arange(start, start + number) + 1).double() * weight / total
            bound = 1 if len(weights) <= 3 else 2
            assert (given_ - fair).abs().max() <= bound + 1e-6


@given(shares, st.integers(0, 60))
def test_turns_from_the_start_leave_out_none(weights, number):
    of_B, turn_B = dataset.interleave_sets(weights, 0, number)
    for n in range(len(weights)):
        own = turn_B[of_B == n]
        assert own.tolist() == list(range(len(own)))


@given(shares, st.integers(0, 1000), st.integers(0, 60), st.integers(0, 60))
def test_turns_in_parts_are_turns_at_once(weights, start, number, more):
    whole = dataset.interleave_sets(weights, start, number + more)
    parts = zip(
        dataset.interleave_sets(weights, start, number),
        dataset.interleave_sets(weights, start + number, more),
        strict=True,
    )
    assert all(torch.equal(w, torch.cat(p)) for w, p in zip(whole, parts, strict=True))


def test_equal_shares_take_turns():
    assert dataset.interleave_sets([1, 1], 0, 6)[0].tolist() == [0, 1, 0, 1, 0, 1]
    thirds = dataset.interleave_sets([1, 1, 1], 0, 300)[0].tolist()
    assert all(sorted(thirds[n : n + 3]) == [0, 1, 2] for n in range(0, 300, 3))
    assert dataset.interleave_sets([1, 0], 0, 3)[0].tolist() == [0, 0, 0]
    assert dataset.interleave_sets([0, 2, 0], 5, 3)[0].tolist() == [1, 1, 1]


def test_held_out_pictures_are_chosen_by_key_alone(tmp_path):
    many = dataset.load_images(
        write_shards(tmp_path, shapes("red", "green", "blue", copies=12)), SMALL
    )
    rest, held = dataset.split_held_out(many, 0.2)
    assert len(rest) + len(held) == len(many) == 108 and 5 < len(held) < 40
    reordered = many.select(list(reversed(range(len(many)))))
    assert set(dataset.split_held_out(reordered, 0.2)[1].keys) == set(held.keys)
    assert len(dataset.split_held_out(many.select(range(50)), 0.2)[1]) == 0


def test_related_pictures_are_held_out_together_and_take_turns(tmp_path):
    every = dataset.load_images(
        write_shards(tmp_path, shapes("red", "green", "blue", copies=12)), SMALL
    )
    groups = [f"g{n // 4}" if n < 40 else "" for n in range(len(every))]
    many = replace(every, groups=groups)
    for share in (0.1, 0.3, 0.5):
        sides = dataset.split_held_out(many, share)
        assert not {*filter(None, sides[0].groups)} & {*filter(None, sides[1].groups)}
        alone = dataset.split_held_out(every, share)[1].keys
        assert [k for k in sides[1].keys if k in every.keys[40:]] == [
            k for k in alone if k in every.keys[40:]
        ], "images without company fall as they did"
    places = len(many.related)
    assert places == 10 + len(many) - 40
    drawn = [
        dataset.draw_rows(many, start=n * places, number=places, seed=3, stream=0) for n in range(4)
    ]
    for one_pass in drawn:
        assert sorted(many.groups[r] or many.keys[r] for r in one_pass.tolist()) == sorted(
            {group or key for group, key in zip(many.groups, many.keys, strict=True)}
        )
    times = Counter(torch.cat(drawn).tolist())
    assert {times[row] for row in range(40)} == {1} and {
        times[r] for r in range(40, len(many))
    } == {4}
    at_once = dataset.draw_rows(many, start=0, number=4 * places, seed=3, stream=0)
    assert torch.equal(at_once, torch.cat(drawn))


def test_of_many_pictures_of_one_kind_some_are_held_out_as_if_they_were_alone(tmp_path):
    every = dataset.load_images(
        write_shards(tmp_path, shapes("red", "green", "blue", copies=12)), SMALL
    )
    kinds = replace(every, groups=[f"kind {n // 27}" for n in range(len(every))])
    alone = dataset.split_held_out(every, 0.2)[1].keys
    assert dataset.split_held_out(kinds, 0.2)[1].keys == alone


def test_what_shards_hold_out_is_not_trained_on_however_few_they_are(tmp_path):
    made = dataset_of(tmp_path, 30)
    done = pack(made, size=16, held_out=0.3)
    images = dataset.load_images(made.root, SMALL)
    rest, held = dataset.split_held_out(images, 0.05)
    names = {s.name.partition("-")[0]: s.samples for s in read_index(made.root).shards}
    assert names == {"held_out": len(held), "train": len(rest)} and done.samples == 30
    assert len(held) == len(dataset.split_held_out(images, 0.0)[1]) > 0
    assert {key for key, _, _ in iterate_samples(made.root, split="held_out")} == {*held.keys}


def test_into_how_many_shards_images_are_divided_changes_no_training(tmp_path):
    made = dataset_of(tmp_path, 20)
    orders = []
    for megabytes in (256, 0.02):
        pack(made, size=16, shard_size=megabytes)
        images = dataset.load_images(made.root, SMALL)
        orders.append((images.keys, images.pixels_NHWC.tolist()))
    assert len(read_index(made.root).shards) > 1 and orders[0] == orders[1]


# verdicts


HELD = {"train": Verdict("hold", ("licence-sa",))}


@pytest.mark.parametrize("limit", [dataset.CACHE_BYTES, 0], ids=["decoded", "streamed"])
def test_stale_shards_are_refused_whether_they_were_read_before_or_not(tmp_path, limit):
    made = dataset_of(tmp_path / "data", 3)
    pack(made, size=16)
    for read_before in (True, False):
        if read_before:
            assert len(dataset.load_images(made.root, SMALL, limit=limit)) == 3
            assert len(dataset.load_images(made.root, SMALL, limit=limit)) == 3
        else:
            shutil.rmtree(made.shards / CACHE)
        change_rows(made, HELD)
        with pytest.raises(InputError, match=r"1 of 3 samples are stale \(hold 1\)") as caught:
            dataset.load_images(made.shards, SMALL, limit=limit)
        assert caught.value.fix.startswith(f"curate pack --data {made.root} --size 16")
    pack(made, size=16)
    assert dataset.load_images(made.root, SMALL, limit=limit).keys == ["t-001", "t-002"]
    assert not list(made.shards.rglob("*-16x16-*.part"))


def test_pixels_of_what_is_withdrawn_are_not_kept(tmp_path):
    made = dataset_of(tmp_path, 2)
    pack(made, size=16)
    dataset.load_images(made.root, SMALL)
    assert len(list((made.shards / CACHE).glob("pictures-*"))) == 2
    change_rows(made, HELD)
    pack(made, size=16)
    assert not list((made.shards / CACHE).glob("pictures-*"))


@pytest.mark.parametrize("option", ["--shards", "--replay", "--regularization"])
def test_finetune_refuses_stale_shards_with_the_command_that_mends_them(tmp_path, capsys, option):
    made, good = dataset_of(tmp_path / "data", 2), write_shards(tmp_path / "good", shapes("red"))
    pack(made, size=20, format="png")
    change_rows(made, HELD, HELD)
    (tmp_path / "config.toml").write_text("regularization = 0.2\n")
    named = {"--shards": good, "--out": tmp_path / "run", "--config": tmp_path / "config.toml"}
    named[option] = made.root
    words = [str(word) for pair in named.items() for word in pair]
    with pytest.raises(SystemExit) as ended:
        cli.main(["finetune", *words, "--stages", "16", "--images", "8", "--device", "cpu"])
    told = capsys.readouterr().err
    assert ended.value.code == 3
    assert "2 of 2 samples are stale (hold 2), such as t-000" in told
    fix = f"  fix: curate pack --data {made.root} --size 20 --format png --background white\n"
    assert told.endswith(fix)
    assert not (tmp_path / "run" / "model.safetensors").exists()
