"""`curate fetch hf`: Hugging Face data on disk becomes rows with bytes, captions and rights."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image
from recorded_progress import RecordedProgress

from curate.corpora.corpus import find_corpus
from curate.corpora.notes import ReadNotes
from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample
from curate.errors import ExitCode, InputError
from curate.fetch.run import fetch_images
from curate.sources.huggingface import SOURCE


def png(colour: str, side: int = 8) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(made, "PNG")
    return made.getvalue()


def fetched(
    tmp_path: Path, path: Path, **options: Any
) -> tuple[dict[str, Sample], RecordedProgress]:
    """The rows by the name of their image, and what was said."""
    data, progress = Dataset(tmp_path / "data"), RecordedProgress()
    options = {"license": "CC0-1.0"} | options
    done = fetch_images(data, SOURCE, path, options=options, progress=progress)
    assert done.exit_code() == ExitCode.DONE
    return {str(sample.file_name): sample for sample in data.read().samples}, progress


def table(**columns: Any) -> pa.Table:
    images = [png("red"), png("blue"), b"no image", None]
    return pa.table({"image": images, "image_id": list("abcd"), **columns})


def test_takes_images_captions_and_what_is_stated(tmp_path: Path):
    said = ["a dog", "snow\nand ice", "x", "y"]
    stated = {"license": ["CC-BY-4.0", None, None, None], "author": ["Ann", None, None, None]}
    parquet.write_table(table(text=said, **stated), tmp_path / "set.parquet")
    rows, progress = fetched(tmp_path, tmp_path / "set.parquet", author="Me")

    assert (rows["a"].texts, rows["b"].texts) == (("a dog",), ("snow", "and ice"))
    assert (rows["a"].license_text, rows["a"].license_by) == ("CC-BY-4.0", "source")
    assert (rows["b"].license_text, rows["b"].license_by) == ("CC0-1.0", "user")
    assert (rows["a"].author, rows["b"].author) == ("Ann", "Me")
    assert rows["a"].sha256 and rows["b"].sha256
    assert [rows[key].drop_reason for key in "cd"] == ["not-an-image", "missing"]
    assert any("--captions whole" in line for line in progress.said)
    whole, _ = fetched(tmp_path, tmp_path / "set.parquet", captions="whole")
    assert whole["b"].texts == ("snow and ice",)


def test_the_same_again_is_known_and_what_changed_is_taken(tmp_path: Path):
    path = tmp_path / "set.parquet"
    parquet.write_table(table(text=list("wxyz")), path)
    first, _ = fetched(tmp_path, path)
    manifest = Dataset(tmp_path / "data").manifest.read_bytes()
    again, _ = fetched(tmp_path, path)
    assert again == first
    parquet.write_table(table(text=["other", *"xyz"]), path)
    changed, _ = fetched(tmp_path, path)
    assert changed["a"].texts == ("other",) and changed["b"] == first["b"]
    assert Dataset(tmp_path / "data").manifest.read_bytes() != manifest


def test_captions_that_are_fetched_are_those_that_are_counted(tmp_path: Path):
    said = [["a dog", "an animal"], [], ["x"], ["y"]]
    parquet.write_table(table(captions=said), tmp_path / "train-0.parquet")
    rows, _ = fetched(tmp_path, tmp_path / "train-0.parquet")
    counted = {
        key.partition("/")[2]: tuple(captions)
        for part in find_corpus(tmp_path / "train-0.parquet").partitions
        for key, captions in part.read(ReadNotes())
    }
    assert {key.partition("/")[2]: row.texts for key, row in rows.items()} == counted


def test_addresses_alone_are_refused_with_what_downloads_them(tmp_path: Path):
    made = pa.table({"URL": ["https://a.test/1.jpg"], "TEXT": ["a dog"]})
    parquet.write_table(made, tmp_path / "laion.parquet")
    with pytest.raises(InputError, match="only addresses of them") as caught:
        fetched(tmp_path, tmp_path / "laion.parquet")
    assert "img2dataset --url_list" in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_what_downloads_addresses_is_told_of_a_file_or_folder_that_it_reads(tmp_path: Path):
    made = pa.table({"url": ["https://a.test/1.jpg"], "text": ["a dog"]})
    (tmp_path / "hub" / "data").mkdir(parents=True)
    parquet.write_table(made, tmp_path / "hub" / "data" / "train-0.parquet")
    with pa.ipc.new_file(tmp_path / "a.arrow", made.schema) as writer:
        writer.write_table(made)
    fixes = []
    for name in ("hub", "a.arrow"):
        with pytest.raises(InputError, match="only addresses of them") as caught:
            fetched(tmp_path, tmp_path / name)
        fixes.append(str(caught.value.fix))
    assert f"--url_list {tmp_path / 'hub' / 'data'} " in fixes[0]
    assert fixes[1].startswith("save it as addresses.parquet (to_parquet); download them: img2data")
    assert "--url_list addresses.parquet " in fixes[1]


@pytest.mark.parametrize(
    ("name", "door"), [("images", "curate fetch folder"), ("tars", "curate fetch shards")]
)
def test_what_is_another_format_is_led_to_its_door(tmp_path: Path, name: str, door: str):
    (tmp_path / name).mkdir()
    if name == "images":
        (tmp_path / name / "a.png").write_bytes(png("red"))
    else:
        import webdataset

        with webdataset.TarWriter(str(tmp_path / name / "0.tar")) as tar:
            for key in "ab":
                tar.write({"__key__": key, "png": png("red"), "txt": "a dog"})
    with pytest.raises(InputError, match=door):
        fetched(tmp_path, tmp_path / name)


def test_a_list_is_led_to_the_folder_of_its_images(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png("red"))
    (tmp_path / "words.jsonl").write_text('{"image": "a.png", "captions": ["a dog"]}\n')
    with pytest.raises(InputError) as caught:
        fetched(tmp_path, tmp_path / "words.jsonl")
    assert caught.value.fix == (
        f"curate fetch folder {tmp_path}, once the list there is called captions.jsonl"
    )


def test_a_broken_file_of_several_is_told_of_and_the_others_are_taken(tmp_path: Path):
    (tmp_path / "set").mkdir()
    parquet.write_table(table(text=list("wxyz")), tmp_path / "set" / "a.parquet")
    (tmp_path / "set" / "b.parquet").write_bytes(b"PAR1 and no more")
    rows, progress = fetched(tmp_path, tmp_path / "set")
    assert len(rows) == 4
    assert any("b.parquet: cannot be read in full" in line for line in progress.said)


def test_the_dataset_may_lie_in_the_folder_that_is_read(tmp_path: Path):
    parquet.write_table(table(text=list("wxyz")), tmp_path / "set.parquet")
    first, _ = fetched(tmp_path, tmp_path)
    again, progress = fetched(tmp_path, tmp_path)
    assert first == again
    assert any(line.endswith("(1): data/manifest.parquet") for line in progress.said)
