"""Captions and images of Hugging Face data: what the library writes, and what others do."""

import io
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opened_corpora import error_of, opened, shown
from PIL import Image

from curate.corpora.arrow import key_prefix
from curate.corpora.corpus import find_corpora, find_corpus, open_reader
from curate.corpora.notes import ReadNotes
from curate.corpora.records import ImageRecord
from curate.index import index


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


# Hugging Face datasets, written by the library itself


def picture() -> Image.Image:
    return Image.new("RGB", (8, 8), "red")


def table(captions: Sequence[object], **columns: Sequence[object]):
    import datasets

    return datasets.Dataset.from_dict({"caption": list(captions), **columns})


def test_reads_what_save_to_disk_wrote(tmp_path: Path):
    import datasets

    pictures = [picture() for _ in range(3)]
    saved = table(["a dog", None, "dogs in snow"], image=pictures)
    saved = saved.cast_column("image", datasets.Image())
    saved.save_to_disk(tmp_path / "saved", num_shards=2)

    origin = find_corpus(tmp_path / "saved")
    found = index.open_index(origin)
    assert (origin.kind, len(origin.partitions)) == ("hugging-face", 2)
    assert [re.sub("@[0-9a-f]{8}#", "#", key) for key in shown(found, "dog")] == [
        "data-00000-of-00002.arrow#0",
        "data-00001-of-00002.arrow#0",
    ]
    assert found.left_out == {"images without caption": 1}


def test_images_of_several_data_are_told_apart_by_the_path_that_was_named(tmp_path: Path):
    for name, caption in [("a", "a dog"), ("b", "a wolf"), ("c", "a wolf")]:
        (tmp_path / name).mkdir()
        table([caption], id=[1]).to_parquet(tmp_path / name / "train.parquet")

    found = index.open_index(find_corpora([tmp_path / "a", tmp_path / "b", tmp_path / "c"]))
    assert (found.images, len(found.images_with("dog")), len(found.images_with("wolf"))) == (
        3,
        1,
        2,
    )
    assert shown(found, "dog") == [f"{tmp_path}/a/1"]
    again = index.open_index(find_corpora([tmp_path / "a", tmp_path / "b" / ".." / "a"]))
    assert again.images == 1


def test_splits_of_a_saved_dictionary_are_counted_together(tmp_path: Path):
    import datasets

    splits = {"train": table(["a dog"], id=[1]), "test": table(["a dog", "snow"], id=[1, 2])}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")

    assert shown(opened(tmp_path / "saved"), "dog") == ["test/1", "train/1"]
    assert shown(opened(tmp_path / "saved" / "train"), "dog") == ["1"]


@pytest.mark.parametrize("folder", ["", "data", "train"])
def test_reads_folders_of_parquet(tmp_path: Path, folder: str):
    (tmp_path / folder).mkdir(exist_ok=True)
    lists_of_captions = [["a dog", "an animal"], ["snow", None], []]
    named = table(lists_of_captions, image_id=["x", "y", "z"])
    named.to_parquet(tmp_path / folder / "train-00000-of-00001.parquet")
    found = opened(tmp_path)

    assert found.captions == 3
    assert [key.rpartition("/")[2] for key in shown(found, "dog")] == ["x"]


def test_reads_a_single_parquet_file(tmp_path: Path):
    pa_table = pa.table({"text": ["a dog"], "path": ["a/b.png"]})
    parquet.write_table(pa_table, tmp_path / "some.parquet")

    assert shown(opened(tmp_path / "some.parquet"), "dog") == ["a/b.png"]


def test_a_dataset_without_captions_is_an_error_that_names_its_columns(tmp_path: Path):
    import datasets

    saved = datasets.Dataset.from_dict({"label": [1], "what": ["a dog"]})
    saved.save_to_disk(tmp_path / "saved")
    saved.to_parquet(tmp_path / "some.parquet")

    (file,) = (tmp_path / "saved").glob("*.arrow")
    problem = "no column with captions; its columns are label, what"
    assert error_of(tmp_path / "saved") == f"{file}: {problem}"
    assert error_of(tmp_path / "some.parquet") == f"{tmp_path / 'some.parquet'}: {problem}"


def test_counts_what_is_left_of_a_damaged_dataset(tmp_path: Path):
    table(["a dog"]).to_parquet(tmp_path / "a.parquet")
    table(["dogs"]).to_parquet(tmp_path / "b.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[:-100])

    found = opened(tmp_path)
    assert shown(found, "dog") == [f"{key_prefix(tmp_path / 'b.parquet', 'b.parquet')}0"]
    (sentence,) = found.incomplete
    assert sentence.startswith(f"{tmp_path / 'a.parquet'}: cannot be read in full (")

    (tmp_path / "b.parquet").write_bytes(b"PAR")
    assert error_of(tmp_path).startswith(f"{tmp_path}: no caption to count words in (")
    (tmp_path / "a.parquet").write_bytes(whole)
    assert shown(opened(tmp_path), "dog") == [f"{key_prefix(tmp_path / 'a.parquet', 'a.parquet')}0"]


def test_a_saved_dataset_cut_short_is_told_of(tmp_path: Path):
    table([f"a dog {n}" for n in range(5000)]).save_to_disk(tmp_path / "saved", num_shards=2)
    second = tmp_path / "saved" / "data-00001-of-00002.arrow"
    second.write_bytes(second.read_bytes()[:20_000])
    found = opened(tmp_path / "saved")

    assert found.images >= 2500
    (sentence,) = found.incomplete
    assert sentence.startswith(f"{second}: cannot be read in full (")

    second.unlink()
    assert opened(tmp_path / "saved").incomplete == (f"{second}: data file is missing",)
    (tmp_path / "saved" / "data-00000-of-00002.arrow").unlink()
    assert error_of(tmp_path / "saved").endswith("data-00000-of-00002.arrow: data file is missing")


def test_a_data_file_without_captions_is_told_of(tmp_path: Path):
    table(["a dog"]).to_parquet(tmp_path / "a.parquet")
    table([None, ""]).cast_column("caption", _string()).to_parquet(tmp_path / "b.parquet")

    found = opened(tmp_path)
    assert found.incomplete == ("b.parquet holds no caption",)
    assert found.left_out == {"images without caption": 2}


def _string() -> object:
    import datasets

    return datasets.Value("string")


# images and laws


def records_of(path: Path, notes: ReadNotes | None = None, **options: Any) -> list[ImageRecord]:
    keys = options.pop("keys", None)
    return list(open_reader(path, **options).records(notes or ReadNotes(), keys))


def counted_of(path: Path, notes: ReadNotes) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for part in open_reader(path).partitions():
        for key, captions in part.read(notes):
            said.setdefault(key, []).extend(captions)
    return {key: list(dict.fromkeys(captions)) for key, captions in said.items()}


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
PIXELS = st.binary(min_size=1, max_size=20)
TEXT = st.sampled_from(["", " ", "a dog", "snow\nand a dog", "Straße", "a\r\nb"])
CAPTIONS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "text": (pa.string(), st.none() | TEXT),
    "large": (pa.large_string(), st.none() | TEXT),
    "view": (pa.string_view(), st.none() | TEXT),
    "codes": (pa.dictionary(pa.int32(), pa.string()), st.none() | TEXT),
    "list": (pa.list_(pa.string()), st.none() | st.lists(st.none() | TEXT, max_size=3)),
    "objects": (
        pa.list_(pa.struct([("raw", pa.string()), ("id", pa.int64())])),
        st.lists(st.fixed_dictionaries({"raw": st.none() | TEXT, "id": st.just(1)}), max_size=2),
    ),
    "object of lists": (
        pa.struct([("raw", pa.list_(pa.string()))]),
        st.fixed_dictionaries({"raw": st.lists(TEXT, max_size=2)}),
    ),
    "bytes": (pa.binary(), st.none() | TEXT.map(str.encode) | st.just(b"\xff")),
    "truth": (pa.bool_(), st.none() | st.booleans()),
    "number": (pa.int64(), st.none() | st.integers(0, 9)),
}
IMAGES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "struct": (
        IMAGE,
        st.none()
        | st.fixed_dictionaries(
            {"bytes": st.none() | PIXELS, "path": st.sampled_from(["x", None])}
        ),
    ),
    "binary": (pa.binary(), st.none() | PIXELS),
    "large binary": (pa.large_binary(), st.none() | PIXELS),
    "binary view": (pa.binary_view(), st.none() | PIXELS),
    "several": (
        pa.list_(IMAGE),
        st.none()
        | st.lists(st.fixed_dictionaries({"bytes": PIXELS, "path": st.none()}), max_size=3),
    ),
    "several plain": (pa.list_(pa.binary()), st.none() | st.lists(PIXELS, max_size=3)),
}


def texts_in(value: object) -> int:
    """How many captions somebody would count who knows nothing of the reader."""
    if isinstance(value, list):
        return len({line for one in value for line in lines_in(one)})
    return len(set(lines_in(value)))


def lines_in(value: object) -> list[str]:
    if isinstance(value, dict):
        return [line for one in [value["raw"]] for line in (
            [t for o in one for t in lines_in(o)] if isinstance(one, list) else lines_in(one)
        )]  # fmt: skip
    if value is None or isinstance(value, bool):
        return []
    text = value.decode("utf-8", "ignore") if isinstance(value, bytes) else str(value)
    return [line.strip() for line in text.splitlines() if line.strip()]


@given(
    caption=st.sampled_from(list(CAPTIONS)),
    image=st.sampled_from([*IMAGES, None]),
    named=st.booleans(),
    ending=st.sampled_from([".parquet", ".arrow", ".PARQUET"]),
    group=st.integers(1, 7),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_both_ways_of_reading_agree_and_lose_nothing(
    tmp_path_factory: pytest.TempPathFactory, caption, image, named, ending, group, data
):
    kind, values = CAPTIONS[caption]
    said = data.draw(st.lists(values, min_size=1, max_size=12))
    columns = {"Caption ": pa.array(said, kind)}
    if image is not None:
        kind, values = IMAGES[image]
        held = data.draw(st.lists(values, min_size=len(said), max_size=len(said)))
        columns["image"] = pa.array(held, kind)
    if named:  # names may come again
        names = st.lists(st.none() | st.integers(0, 5), min_size=len(said), max_size=len(said))
        columns["image_id"] = pa.array(data.draw(names), pa.int64())
    path = tmp_path_factory.mktemp("odd") / f"some{ending}"
    write_table(pa.table(columns), path, group)

    notes, again = ReadNotes(most=None), ReadNotes(most=None)
    counted, records = counted_of(path, notes), records_of(path, again)
    assert {r.key: list(r.captions) for r in records} == counted
    assert len(counted) == len(records), "a key twice"
    del again.left_out["other images of the same name"]
    assert (notes.left_out, notes.counted) == (again.left_out, again.counted)
    refused = sum(value is not None and texts_in(value) == 0 for value in said)
    assert notes.left_out.total() <= refused
    if caption == "truth":
        assert notes.left_out.total() == sum(value is not None for value in said)
    if not named and image not in ("several", "several plain"):
        assert sum(map(len, counted.values())) == sum(map(texts_in, said))
    if image == "struct" and not named:
        bytes_in = [one["bytes"] if one else None for one in held]
        assert [r.data for r in records] == bytes_in
    chosen = set(data.draw(st.lists(st.sampled_from([*counted]), max_size=4)) if counted else ())
    assert records_of(path, keys=chosen) == [r for r in records if r.key in chosen]


def write_table(made: pa.Table, path: Path, group: int) -> None:
    if path.suffix == ".arrow":
        with pa.ipc.new_stream(path, made.schema) as file:
            file.write_table(made, max_chunksize=group)
    else:
        parquet.write_table(made, path, row_group_size=group)


def test_downloads_that_failed_are_no_images(tmp_path: Path):
    """The table that img2dataset writes beside its images, or with `--output_format parquet`."""
    held = {"jpg": [None, png("red"), None]}
    for name, images in [("beside.parquet", {}), ("inside.parquet", held)]:
        urls = [f"https://a.test/{n}.jpg" for n in range(3)]
        made = pa.table({
            "url": urls, "key": ["000", "001", "002"], "caption": ["a wolf", "a dog", "a wolf"],
            "status": ["failed_to_download", "success", "failed_to_resize"],
            "error_message": ["404", None, "no"], **images,
        })  # fmt: skip
        parquet.write_table(made, tmp_path / name)

        found = opened(tmp_path / name)
        assert (shown(found, "dog"), shown(found, "wolf")) == (["001"], [])
        assert found.left_out == {"failed downloads": 2}
        assert found.named["failed downloads"] == ["000", "002"]
        (record,) = records_of(tmp_path / name)
        assert record.data == ((images and png("red")) or None)
        said = ("images not at hand, since the table does not hold them (1): 001",)
        assert found.remarks == (() if images else said)


def test_rows_that_name_their_image_alike_are_one_image_with_all_captions(tmp_path: Path):
    made = pa.table({
        "image_id": [7, 8, 7, 7], "caption": ["a dog", "snow", "an animal", "a dog"],
        "image": [png("red"), png("blue"), png("red"), png("green")],
    })  # fmt: skip
    parquet.write_table(made, tmp_path / "train-0.parquet")
    parquet.write_table(made.slice(0, 1), tmp_path / "train-1.parquet")
    notes = ReadNotes()
    found = records_of(tmp_path, notes)
    assert [(r.key, r.captions) for r in found] == [
        ("train/7", ("a dog", "an animal")),
        ("train/8", ("snow",)),
    ]
    assert notes.left_out == {"other images of the same name": 1}
    assert opened(tmp_path).images == 2


def test_a_row_may_name_a_file_of_the_folder_instead_of_holding_its_image(tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "b.png", "unnamed.png"):
        (tmp_path / "pictures" / name).write_bytes(png("red"))
    (tmp_path.parent / "outside.png").write_bytes(png("red"))
    names = ["pictures/a.png", "gone.png", "../outside.png", "https://a.test/b.png"]
    absolute = str(tmp_path / "pictures" / "b.png")
    names.append(absolute)
    parquet.write_table(pa.table({"path": names, "text": ["a dog"] * 5}), tmp_path / "t.parquet")

    notes = ReadNotes()
    found = {record.key: record for record in records_of(tmp_path, notes)}
    assert {key: record.file for key, record in found.items() if record.file} == {
        "pictures/a.png": tmp_path / "pictures/a.png",
        absolute: tmp_path / "pictures/b.png",
    }
    assert found["gone.png"].reason == "missing:gone.png"
    assert notes.named == {
        "files beside the tables, which alone are read": ["pictures/unnamed.png"]
    }
    structs = [{"bytes": None, "path": name} for name in names]
    made = pa.table({"image": pa.array(structs, IMAGE), "text": ["a dog"] * 5})
    parquet.write_table(made, tmp_path / "t.parquet")
    assert [bool(record.file) for record in records_of(tmp_path)] == [1, 0, 0, 0, 1]


def test_a_folder_of_images_beside_a_table_about_them_is_a_folder_of_images(tmp_path: Path):
    (tmp_path / "00000").mkdir()
    (tmp_path / "00000/000000000.jpg").write_bytes(png("red"))
    made = pa.table({"key": ["000000000"], "caption": ["a dog"], "status": ["success"]})
    parquet.write_table(made, tmp_path / "00000.parquet")
    assert open_reader(tmp_path).kind == "folder"
    parquet.write_table(made.append_column("jpg", [[b"x"]]), tmp_path / "00000.parquet")
    assert open_reader(tmp_path).kind == "hugging-face"


def test_a_picture_in_a_readme_makes_no_folder_of_images(tmp_path: Path):
    (tmp_path / "banner.png").write_bytes(png("red"))
    urls = [f"https://a.test/{n}.jpg" for n in range(3)]
    parquet.write_table(pa.table({"url": urls, "text": ["a dog"] * 3}), tmp_path / "0.parquet")
    found = opened(tmp_path)
    assert (found.images, found.named["files beside the tables, which alone are read"]) == (
        3,
        ["banner.png"],
    )


def test_what_the_library_kept_of_its_own_work_is_not_read(tmp_path: Path):
    """As `map` and `load_dataset` leave it: cache-*.arrow beside the data, folders of versions."""
    saved = table(["a dog", "snow"], image=[picture()] * 2)
    saved.save_to_disk(tmp_path / "set")
    place = tmp_path / "cached" / "default" / "0.0.0" / "8d7f"
    place.mkdir(parents=True)
    (file,) = (tmp_path / "set").glob("*.arrow")
    for folder, name in [(tmp_path / "set", "cache-1.arrow"), (place, "cache-2.arrow")]:
        (folder / name).write_bytes(file.read_bytes())
    (place / "parquet-train.arrow").write_bytes(file.read_bytes())
    (place / "dataset_info.json").write_bytes(b"{}")
    for path in (tmp_path / "set", tmp_path / "cached"):
        assert (opened(path).images, opened(path).left_out) == (2, {})


def test_a_split_that_is_not_there_is_told_of(tmp_path: Path):
    import datasets

    splits = {"train": table(["a dog"]), "test": table(["snow"])}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    shutil.rmtree(tmp_path / "saved" / "test")
    found = opened(tmp_path / "saved")
    assert found.images == 1
    assert found.incomplete == (f"{tmp_path}/saved/test/state.json: data file is missing",)


def test_names_of_classes_are_captions_where_there_are_no_others(tmp_path: Path):
    import datasets

    kinds = datasets.ClassLabel(names=["red_fox", "owl"])
    features = datasets.Features({"label": kinds, "image": datasets.Image()})
    made = {"label": [0, 1, -1], "image": [picture()] * 3}
    datasets.Dataset.from_dict(made, features=features).save_to_disk(tmp_path / "set")
    found = opened(tmp_path / "set")
    assert (len(found.images_with("fox")), found.left_out) == (1, {"images without caption": 1})
    assert found.remarks[0].startswith(
        "captions that are the names of classes, by the column label: red_fox, owl (2)"
    )


def test_images_are_read_a_few_at_a_time(tmp_path: Path):
    """64 MiB of images in one group of rows, as pandas writes them: 1,024 rows a page."""
    row = np.random.default_rng(0).bytes(1 << 14)
    made = pa.table({"image": [bytes([n % 256]) + row for n in range(4096)], "text": ["x"] * 4096})
    write_table(made, tmp_path / "big.parquet", 4096)
    write_table(made, tmp_path / "big.arrow", 100)
    del made
    for name in ("big.parquet", "big.arrow"):
        before, most = pa.total_allocated_bytes(), 0
        for record in open_reader(tmp_path / name).records(ReadNotes()):
            assert record.data is not None
            most = max(most, pa.total_allocated_bytes() - before)
        assert most < 40 << 20, name


def test_what_is_odd_costs_itself_and_is_named(tmp_path: Path):
    """Each beside a good file: an empty one, broken ones, a table without rows, an odd name."""
    good = pa.table({"image": [png("red")], "text": ["a dog"]})
    parquet.write_table(good, tmp_path / "good.parquet")
    whole = (tmp_path / "good.parquet").read_bytes()
    parquet.write_table(good.slice(0, 0), tmp_path / "none.parquet")
    for name, data in [
        ("cut.parquet", whole[:-9]), ("cut.arrow", b"ARROW1 and no more"), ("empty.arrow", b""),
        (os.fsdecode(b"\xff.parquet"), whole),
    ]:  # fmt: skip
        (tmp_path / name).write_bytes(data)
    for _ in range(2):  # counted, and kept
        found = opened(tmp_path)
        assert (found.images, found.left_out, len(found.incomplete)) == (1, {}, 4)
        assert all("cannot be read in full" in one for one in found.incomplete)


def test_linked_folders_are_entered_once(tmp_path: Path):
    (tmp_path / "set" / "more").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    made = pa.table({"image": [png("red")], "text": ["a dog"]})
    for folder in ("set/more", "elsewhere"):
        parquet.write_table(made, tmp_path / folder / "a.parquet")
    for name, target in [("up", "set"), ("again", "set/more"), ("there", "elsewhere")]:
        (tmp_path / "set" / name).symlink_to(tmp_path / target)
    assert opened(tmp_path / "set").images == 2


def test_a_state_names_files_of_its_own_folder_alone(tmp_path: Path):
    made = pa.table({"text": ["a dog"]})
    write_table(made, tmp_path / "secret.arrow", 1)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "dataset_info.json").write_text("{}")
    state = {"_data_files": [{"filename": "../secret.arrow"}]}
    (tmp_path / "set" / "state.json").write_text(json.dumps(state))
    assert error_of(tmp_path / "set").endswith("set/secret.arrow: data file is missing")


def test_parts_are_read_in_other_processes_alike(tmp_path: Path):
    for n in range(3):
        made = pa.table({"image": [png("red")], "text": [f"a dog {n}"]})
        parquet.write_table(made, tmp_path / f"{n}.parquet")
    (tmp_path / "beside.png").write_bytes(png("red"))
    found = index.open_index(find_corpus(tmp_path), jobs=2)
    assert found.images == 3
    assert found.named == {"files beside the tables, which alone are read": ["beside.png"]}


def png(colour: str) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(made, "PNG")
    return made.getvalue()
