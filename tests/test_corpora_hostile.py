"""What lies in a folder and is no ordinary file costs itself, never the run, and is named."""

import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from curate.corpora.corpus import open_reader
from curate.corpora.notes import ReadNotes
from curate.errors import InputError
from curate.index.build import open_segments

PIPES = ("x.json", "captions.txt", "metadata.csv", "metadata.parquet", "a.txt", "b.jpg", "c.tar")


def image(folder: Path, name: str = "a.jpg") -> None:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(folder / name, "JPEG")


def read(path: Path) -> tuple[list[tuple[str, ...]], str]:
    """The captions of images, and all that is said; the same both ways."""
    notes, counting, reader = ReadNotes(most=None), ReadNotes(most=None), open_reader(path)
    captions = [r.captions for r in reader.records(notes) if not r.reason and r.captions]
    counted = [said for part in reader.partitions() for _, said in part.read(counting)]
    assert [tuple(said) for said in counted if said] == captions
    return captions, "\n".join(notes.sentences())


@pytest.mark.parametrize("name", PIPES)
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    image(tmp_path)
    (tmp_path / "a.caption").write_text("a red card")
    os.mkfifo(tmp_path / name)
    captions, said = read(tmp_path)
    assert captions == [("a red card",)]
    assert name in said or name == "b.jpg"  # that is a record with a reason


@pytest.mark.parametrize("name", ["x.tar", "x.parquet"])
def test_a_pipe_beside_tars_or_tables_is_not_waited_for(tmp_path: Path, name: str) -> None:
    image(tmp_path / "in")
    (tmp_path / "in" / "a.txt").write_text("a red card")
    if name == "x.tar":
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            for member in ("a.jpg", "a.txt"):
                tar.add(tmp_path / "in" / member, member)
    else:
        jpeg = (tmp_path / "in" / "a.jpg").read_bytes()
        table = pa.table({"image": [jpeg], "text": ["a red card"]})
        parquet.write_table(table, tmp_path / "a.parquet")
    for file in (tmp_path / "in").iterdir():
        file.unlink()
    os.mkfifo(tmp_path / name)
    captions, said = read(tmp_path)
    assert captions == [("a red card",)]
    assert name in said


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read all")
def test_an_image_that_may_not_be_read_is_named_and_its_captions_do_not_count(
    tmp_path: Path,
) -> None:
    image(tmp_path)
    image(tmp_path, "b.jpg")
    (tmp_path / "a.txt").write_text("a red card")
    (tmp_path / "b.txt").write_text("a blue card")
    (tmp_path / "b.jpg").chmod(0)
    captions, said = read(tmp_path)
    assert captions == [("a red card",)]
    assert "b.txt" in said


def test_links_that_lead_round_lie_beside_tars(tmp_path: Path) -> None:
    image(tmp_path / "in")
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "in" / "loop").symlink_to("loop")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "in" / "a.jpg", "a.jpg")
    (tmp_path / "in" / "a.jpg").unlink()
    assert "loop.json" in read(tmp_path)[1]


def test_tars_and_tables_that_are_not_read_are_named(tmp_path: Path) -> None:
    image(tmp_path, "a.jpg")
    image(tmp_path, "b.jpg")
    jpeg = (tmp_path / "a.jpg").read_bytes()
    table = pa.table({"image": [jpeg], "text": ["a red card"]})
    with pa.ipc.new_stream(str(tmp_path / "data-0.arrow"), table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "data-0.arrow"}]}')
    for name in ("more.parquet", "cache-1.arrow", "x.tar.bz2", "y.tgz"):
        (tmp_path / name).write_bytes(b"?")
    captions, said = read(tmp_path)
    assert captions == [("a red card",)]
    assert "(5): a.jpg, b.jpg, more.parquet, x.tar.bz2, y.tgz" in said


def test_the_only_line_of_a_table_is_no_silent_header(tmp_path: Path) -> None:
    image(tmp_path)
    (tmp_path / "metadata.tsv").write_text("a.jpg\thttps://example.org/b.jpg\n")
    assert "metadata.tsv line 1 (the only line, and it names no columns" in read(tmp_path)[1]


def test_zero_bytes_between_letters_are_utf_16_and_alone_no_caption(tmp_path: Path) -> None:
    image(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"a red card, and much more than that\n\0\n")
    image(tmp_path, "b.jpg")
    (tmp_path / "b.txt").write_bytes("a blue card".encode("utf-16-le"))
    captions, said = read(tmp_path)
    assert captions[0] == ("a red card, and much more than that",)
    assert "iconv -f UTF-16LE" in said


def test_names_that_differ_in_what_cannot_be_printed_are_two_images(tmp_path: Path) -> None:
    names = ("a b", "a\nb", "a\rb", os.fsdecode(b"a\xff"), os.fsdecode(b"a\xfe"))
    for name in names:
        image(tmp_path, f"{name}.jpg")
        (tmp_path / f"{name}.txt").write_text("a red card")
    segments = open_segments(open_reader(tmp_path).partitions())
    keys = [key for segment in segments for key in segment.keys()]  # noqa: SIM118 no mapping
    assert len(keys) == len(names)
    assert all(len(key.splitlines()) == 1 for key in keys)


def test_a_pipe_that_is_named_as_a_list_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.csv")
    with pytest.raises(InputError, match="no regular file"):
        open_segments(open_reader(tmp_path / "list.csv").partitions())
