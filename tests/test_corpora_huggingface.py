"""Captions and images of Hugging Face data: what the library writes, and what others do."""

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from curate.corpora.arrow import key_prefix
from curate.corpora.corpus import find_corpora, find_corpus
from curate.errors import InputError
from curate.index import index
from curate.index.index import CaptionIndex


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def opened(path: Path) -> CaptionIndex:
    return index.open_index(find_corpus(path))


def shown(found: CaptionIndex, unit: str) -> list[str]:
    return [e.key for e in found.evidence(found.images_with(unit), [unit], limit=99)]


def error_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        opened(path)
    assert "\n  fix: " in str(caught.value)
    return str(caught.value).partition("\n")[0]


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
