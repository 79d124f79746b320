"""Tables of captions as people, spreadsheets and other programs write them, and broken ones."""

import csv
import io
import itertools
import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.corpora import encoding, rows
from curate.corpora.columns import (
    caption_columns,
    cut_captions,
    near_column,
    read_captions,
    read_facts,
)
from curate.corpora.corpus import find_corpora, find_corpus
from curate.corpora.metadata import MetadataRow, is_metadata, read_metadata
from curate.corpora.notes import ReadNotes
from curate.corpora.tables import CaptionTable
from curate.errors import InputError
from curate.index import index


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def written(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def captions_of(
    path: Path, notes: ReadNotes | None = None, **options: bool
) -> dict[str, list[str]]:
    """Captions by image, as the reader of lists gives them."""
    found: dict[str, list[str]] = {}
    for record in CaptionTable(path, **options).records(notes or ReadNotes()):
        found.setdefault(record.key, []).extend(record.captions)
    return found


def metadata_of(path: Path, notes: ReadNotes | None = None) -> dict[str, tuple[str, ...]]:
    return {row.file_name: row.captions for row in read_metadata(path, False, notes or ReadNotes())}


def error_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        index.open_index(find_corpus(path))
    assert "\n  fix: " in str(caught.value)
    return str(caught.value).partition("\n")[0]


TWO = {"a.png": ["a dog, asleep"], "b.png": ["a cat"]}


# every way to write the same two captions


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("c.csv", 'image,caption\na.png,"a dog, asleep"\nb.png,a cat\n'),
        ("c.csv", 'file_name,text,seed\na.png,"a dog, asleep",3\n\nb.png,a cat,4\n,,\n'),
        ("c.csv", '\ufeff"File Name", Caption \r\na.png,"a dog, asleep"\r\nb.png,a cat\r\n'),
        ("c.csv", "image;caption\na.png;a dog, asleep\nb.png;a cat\n"),
        ("c.csv", "sep=;\nimage;caption\na.png;a dog, asleep\nb.png;a cat\n"),
        ("c.csv", "\n\nimage|caption\na.png|a dog, asleep\nb.png|a cat\n"),
        ("c.csv", "image\tcaption\ra.png\ta dog, asleep\rb.png\ta cat\r"),
        ("c.csv", '"a.png","a dog, asleep"\n"b.png","a cat"\n'),
        ("c.TSV", "caption\timage\na dog, asleep\ta.png\na cat\tb.png\n"),
        ("c.tsv", "a dog, asleep\ta.png\na cat\tb.png\n"),
        ("c.tsv", "a.png#0\ta dog, asleep\nb.png#0\ta cat\n"),
        ("c.tsv", "image\tcaption\na.png\ta dog, asleep\nb.png\ta cat\n".encode("utf-16")),
        ("c.csv", "image;caption\na.png;a dog, asleep\nb.png;a cat\n".encode("utf-8-sig")),
        ("c.jsonl", '{"image": "a.png", "captions": ["a dog, asleep"]}\n\n'
                    '{"file_name": "b.png", "text": "a cat"}'),
        ("c.jsonl", '[{"image": "a.png", "caption": "a dog, asleep"},\n'
                    '{"image": "b.png", "caption": "a cat"}]'),
        ("c.json", '{"path": "a.png", "prompt": "a dog, asleep"}\n'
                   '{"path": "b.png", "TEXT": "a cat"}'),
        ("c.json", json.dumps({"a.png": "a dog, asleep", "b.png": ["a cat"]}, indent=2)),
        ("c.json", json.dumps(TWO, indent=2).encode("utf-16")),
        ("c.jsonl", '{"a.png": "a dog, asleep"}\r\n{"b.png": "a cat"}\r\n'.encode("utf-16")),
        ("c.json", json.dumps({"a.png": {"caption": "a dog, asleep"}, "b.png": {"tags": "a cat"}})),
        ("c.jsonl", '{"a.png": "a dog, asleep"}\n{"b.png": ["a cat"]}\n'),
        ("c.json", json.dumps([[name, text] for name, (text,) in TWO.items()])),
        ("c.json", json.dumps({"data": [{"file": k, "texts": said} for k, said in TWO.items()]})),
        ("c.json", json.dumps({
            "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}],
            "annotations": [
                {"image_id": 8, "id": 1, "caption": "a cat"},
                {"image_id": 7, "id": 2, "caption": "a dog, asleep"},
            ],
        })),
        ("c.json", json.dumps({"dataset": "coco", "images": [
            {"filename": one, "sentences": [{"raw": text, "tokens": []} for text in said]}
            for one, said in TWO.items()
        ]})),
    ],
)  # fmt: skip
def test_the_same_captions_however_they_are_written(tmp_path: Path, name: str, data: str | bytes):
    file = written(tmp_path / name, data)
    notes = ReadNotes()

    assert captions_of(file, notes) == TWO
    assert not notes.left_out
    assert metadata_of(file) == {image: tuple(said) for image, said in TWO.items()}
    found = index.open_index(find_corpus(file))
    assert (found.images, found.captions) == (2, 2)


def test_tables_of_pyarrow_are_read(tmp_path: Path):
    import pyarrow.csv

    table = pa.table({"file_name": list(TWO), "text": [said[0] for said in TWO.values()]})
    pyarrow.csv.write_csv(table, tmp_path / "metadata.csv")
    parquet.write_table(
        table.append_column("image", pa.array([b"x", None])), tmp_path / "metadata.parquet"
    )
    for name in ("metadata.csv", "metadata.parquet"):
        assert metadata_of(tmp_path / name) == {image: tuple(said) for image, said in TWO.items()}


def test_tables_of_pandas_are_read(tmp_path: Path):
    import pandas as pd

    said = {"a.png": ['a dog, "asleep"'], "b.png": ["a dog", "a wolf"], "c.png": ["ein Hund; 犬"]}
    texts = ["\n".join(texts) for texts in said.values()]
    frame = pd.DataFrame({"file_name": list(said), "text": texts, "size": [1.5, None, 3]})
    written = []
    for sep, codec, quotes in itertools.product(
        ",;\t|", ("utf-8", "utf-8-sig", "utf-16"), (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    ):
        written.append(tmp_path / f"{len(written)}.csv")
        frame.to_csv(written[-1], sep=sep, encoding=codec, quoting=quotes, index=len(written) % 2)
    for orient in ("records", "index", "columns", "split", "table"):
        written.append(tmp_path / f"{orient}.json")
        frame.to_json(written[-1], orient=orient)
    frame.to_json(tmp_path / "lines.json", orient="records", lines=True)
    (tmp_path / "list.json").write_text(json.dumps(frame[["file_name", "text"]].to_dict("list")))

    for file in [*written, tmp_path / "lines.json", tmp_path / "list.json"]:
        assert captions_of(file) == said, file.name


@pytest.mark.parametrize("write", [str, json.dumps])
def test_lists_that_a_table_holds_as_text_are_lists(tmp_path: Path, write: Callable[..., str]):
    file = tmp_path / "c.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([["image", "raw"], ["a", write(["a dog", 'it\'s "one"'])]])

    assert captions_of(file) == {"a": ["a dog", 'it\'s "one"']}
    for text in ("[fire, ice]", "['a' 'b'] dog", "[1, 2]", '["open', "[]"):
        assert cut_captions(text) == (text,)


def test_a_row_may_have_several_captions_and_an_image_several_rows(tmp_path: Path):
    file = written(
        tmp_path / "c.jsonl",
        '{"file_name": "a", "text": ["a dog", "dogs"], "texts": "two\\nlines"}\n'
        '{"file_name": "a", "text": 7}\n',
    )
    notes = ReadNotes()

    assert captions_of(file, notes) == {"a": ["a dog", "dogs", "two", "lines", "7"]}
    (remark,) = notes.remarks
    assert '1 gave 2, such as "two" and "lines"' in remark
    assert captions_of(file, whole=True) == {"a": ["a dog", "dogs", "two lines", "7"]}


# what is broken costs its row


@pytest.mark.parametrize(
    ("name", "data", "named"),
    [
        ("c.jsonl", '{broken', "line 2 (not JSON)"),
        ("c.jsonl", "[" * 100_000, "line 2 (not JSON)"),
        ("c.jsonl", "7", "line 2 (not a JSON object)"),
        ("c.jsonl", b'{"image": "x", "text": "caf\xe9"}',
         "line 2 (byte 28 (0xe9) is not UTF-8 text)"),
        ("c.jsonl", '{"image": "x", "text": "' + "x" * rows.MAX_LINE_BYTES + '"}',
         "line 2 (longer than 1,048,576 bytes)"),
        ("c.jsonl", '{"image": "x", "text": {"en": "y"}}', "line 2, text (an object)"),
        ("c.jsonl", '{"image": "x", "text": true}', "line 2, text (a truth value)"),
        ("c.jsonl", '{"image": "x", "text": "y", "text": "z"}', "line 2, text"),
        ("c.jsonl", '{"image": "x", "text": "y", "prompt": "z"}', "line 2"),
        ("c.csv", "x.png", "line 2 (columns: 1; the first line names 2)"),
        ("c.csv", "x.png,a fox, asleep", "line 2 (columns: 3; the first line names 2)"),
        ("c.csv", 'x.png,"a fox', "line 2 (not CSV: ',' expected after '\"')"),
        ("c.csv", 'x.png,"a" fox', "line 2 (not CSV: ',' expected after '\"')"),
        ("c.csv", b"x.png,caf\xe9", "line 2 (byte 10 (0xe9) is not UTF-8 text)"),
        ("c.csv", "x.png," + "x" * 200_000,
         "line 2 (not CSV: field larger than field limit (131072))"),
    ],
)  # fmt: skip
def test_a_broken_row_costs_itself_and_is_named(
    tmp_path: Path, name: str, data: str | bytes, named: str
):
    first, last = ("image,text", 'b.png,"a cat"') if name == "c.csv" else (
        '{"image": "a.png", "text": "a dog"}', '{"image": "b.png", "text": "a cat"}'
    )  # fmt: skip
    bad = data if isinstance(data, bytes) else data.encode()
    file = written(tmp_path / name, b"\n".join([first.encode(), bad, last.encode(), b""]))
    notes = ReadNotes()

    assert captions_of(file, notes)["b.png"] == ["a cat"]
    assert sum(notes.left_out.values()) == 1
    assert [n for names in notes.named.values() for n in names] == [f"{file} {named}"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("c.jsonl", b"{broken", " line 1: not JSON"),
        ("c.jsonl", b"[" * 100_000, " line 1: not JSON"),
        ("c.jsonl", b'{"image": "a"}', ": no column with captions; its columns are image"),
        ("c.jsonl", b'{"image": "a", "Captoin": "x"}',
         ": no column with captions; is it 'Captoin'?"),
        ("c.jsonl", b"", ": no caption to count words in"),
        ("c.jsonl", b'{"image": "a", "caption": " "}', ": no caption to count words in"),
        ("c.jsonl", b'{"image": "a", "caption": "\xe9"}',
         " line 1: byte 28 (0xe9) is not UTF-8 text"),
        ("c.json", b'{\n "a.png": "x"\n "b.png": "y"}',
         " line 3: not JSON (Expecting ',' delimiter"),
        ("c.json", b'{"a": "caf\xe9"}', " line 1: byte 11 (0xe9) is not UTF-8 text"),
        ("c.json", b'\xef\xbb\xbf{"a": "caf\xe9"}', " line 1: byte 14 (0xe9) is not UTF-8 text"),
        ("c.csv", b"image,caption\n", ": no caption to count words in"),
        ("c.csv", b"", ": empty, no rows to read"),
        ("c.csv", b"file,bild\na,b\n", ": no column with captions; its columns are file, bild"),
        ("c.csv", b"image,caption\na\n", " line 2: columns: 1; the first line names 2"),
        ("c.csv", "image,caption\na,b\n".encode("utf-16-le"), " line 1: zero bytes in it"),
        ("c.xml", b"<x/>", ": neither a folder of images, a dataset folder, tars,"),
        ("c.zip", b"PK", ": is an archive, to be unpacked"),
        ("c.jpg", b"", ": is one image"),
        ("c.parquet", b"PAR", ": not a readable manifest"),
    ],
)  # fmt: skip
def test_a_list_of_which_nothing_can_be_read_is_an_error(
    tmp_path: Path, name: str, data: bytes, message: str
):
    file = written(tmp_path / name, data)
    assert error_of(file).startswith(f"{file}{message}")


@pytest.mark.parametrize(
    ("name", "data"),
    [("c.json", b'{"a": "a dog",\n "b": "a cat"}'), ("c.csv", "image,text\na,b".encode("utf-16"))],
)
def test_what_would_be_read_at_once_and_is_too_large_is_told_with_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes
):
    monkeypatch.setattr(rows, "MAX_WHOLE_BYTES", 9)
    with pytest.raises(InputError, match="larger than 9 bytes") as caught:
        captions_of(written(tmp_path / name, data))
    assert caught.value.fix == "write it as UTF-8, JSON with an object a line"


def test_what_a_tab_separated_table_holds_in_quotes(tmp_path: Path):
    quoted = 'image\tcaption\na\t"a dog\tasleep"\nb\t"the\ncat"\nc\t"say ""hi"""\n'
    plain = 'caption\timage\n"I said\ta\n5" nails\tb\nend"\tc\n'

    assert captions_of(written(tmp_path / "q.tsv", quoted)) == {
        "a": ["a dog\tasleep"], "b": ["the", "cat"], "c": ['say "hi"']
    }  # fmt: skip
    assert captions_of(written(tmp_path / "p.tsv", plain)) == {
        "a": ['"I said'], "b": ['5" nails'], "c": ['end"']
    }  # fmt: skip


def test_a_broken_first_line_costs_itself_whatever_the_ending(tmp_path: Path):
    for name in ("c.json", "c.jsonl"):
        file = written(tmp_path / name, '{"image": broken}\n{"image": "b", "text": "a cat"}\n')
        notes = ReadNotes()
        assert captions_of(file, notes) == {"b": ["a cat"]}
        assert notes.named == {"rows that cannot be read": [f"{file} line 1 (not JSON)"]}


def test_a_list_without_names_of_images_counts_its_rows(tmp_path: Path):
    file = written(tmp_path / "c.csv", 'text\na dog, asleep\n"a cat"\n')

    assert captions_of(file) == {"c.csv#1": ["a dog, asleep"], "c.csv#2": ["a cat"]}


def test_several_lists_are_counted_together(tmp_path: Path):
    one = written(tmp_path / "a.csv", "image,caption\n1,a dog\n2,snow\n")
    two = written(tmp_path / "b.json", '{"2": "dogs", "3": "a dog"}')
    found = index.open_index(find_corpora([one, two]))

    assert (found.images, found.captions) == (3, 4)


# other encodings


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("un café noir", "cp1252"),
        ("“a dog” — asleep…", "cp1252"),
        ("ein Hündchen im Schnee, groß", "latin-1"),
        ("собака в снегу, большая", "cp1251"),
        ("白い犬が雪の中を走る", "cp932"),
        ("男性の肖像画", "cp932"),
        ("一只白色的狗在雪地里奔跑", "gb18030"),
        ("夜晚的城市灯光", "gb18030"),
        ("눈 속의 붉은 여우", "cp949"),
        ("a dog", "utf-16-le"),
        ("un café", "utf-16-be"),
    ],
)
def test_the_command_makes_the_file_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, codec: str
):
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "it's one.txt", "-n.txt"):
        file = written(Path(name), text.encode(codec))
        guess, _, command = encoding.conversion_fix(file).partition(": ")
        assert guess.endswith("is a guess at what it is in")
        for _ in range(2):  # typed again, it changes nothing
            subprocess.run(command, shell=True, check=False, capture_output=True)
            assert file.read_text("utf-8") == text
            assert Path(f"{file}.orig").read_bytes() == text.encode(codec)


def test_the_command_takes_the_place_of_no_file(tmp_path: Path):
    file = written(tmp_path / "a.txt", "un café noir".encode("cp1252"))
    (tmp_path / "a.txt.orig").write_text("another")
    command = encoding.conversion_fix(file).partition(": ")[2]
    subprocess.run(command, shell=True, check=True)
    assert (tmp_path / "a.txt.orig").read_text() == "another"
    assert file.read_text("utf-8") == "un café noir"


def test_no_command_would_mend_a_file_that_is_utf_8_but_for_a_line(tmp_path: Path):
    file = written(tmp_path / "c.csv", "image,caption\na,café\nb,".encode() + b"caf\xe9\n")
    notes = ReadNotes()

    assert captions_of(file, notes) == {"a": ["café"]}
    (remark,) = notes.remarks
    assert remark.endswith(f"write line 3 of {file} anew: the rest of it is UTF-8")
    assert encoding.conversion_fix(written(tmp_path / "x", bytes(range(256)))).startswith("write")


def test_the_fix_of_a_list_in_another_encoding_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    file = written(Path("my list.csv"), "image,caption\na,un café\n".encode("cp1252"))
    with pytest.raises(InputError) as caught:
        captions_of(file)
    subprocess.run(str(caught.value).rpartition(": ")[2], shell=True, check=True)

    assert captions_of(file) == {"a": ["un café"]}


# which column is what


@pytest.mark.parametrize(
    ("names", "used", "others"),
    [
        (["file_name", "Text "], ["Text "], []),
        (["texts", "text", "caption"], ["text", "texts"], ["caption"]),
        (["Prompt", "title"], ["Prompt"], []),
        (["title"], ["title"], []),
        (["\ufeffCAPTIONS"], ["\ufeffCAPTIONS"], []),
        (["alt-text", "label"], ["alt-text"], []),
        (["label"], [], []),
    ],
)
def test_which_columns_hold_captions(names: list[str], used: list[str], others: list[str]):
    assert caption_columns(names) == (tuple(used), tuple(others))


def test_a_slip_of_the_pen_is_asked_about():
    known = ("caption", "text", "file_name")
    assert near_column(["size", "Captoin"], known) == "Captoin"
    assert near_column(["filename"], known) == "filename"
    assert near_column(["size", "label"], known) is None


@pytest.mark.parametrize(
    ("name", "data"),
    [("c.csv", "image,Captoin\na,a dog\n"), ("c.jsonl", '{"image": "a", "Captoin": "a dog"}\n')],
)
def test_the_fix_of_a_misspelt_column_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: str
):
    monkeypatch.chdir(tmp_path)
    file = written(Path(name), data)
    with pytest.raises(InputError) as caught:
        captions_of(file)
    subprocess.run(str(caught.value).partition("fix: ")[2], shell=True, check=True)

    assert captions_of(file) == {"a": ["a dog"]}


def test_captions_of_a_further_column_are_named_and_serve_where_the_first_is_empty():
    notes = ReadNotes()
    assert read_captions({"text": "a dog", "prompt": "dogs"}, notes, "row 1") == ("a dog",)
    assert read_captions({"text": " ", "prompt": "dogs"}, notes, "row 2") == ("dogs",)
    assert notes.named == {"texts of a further column, prompt": ["row 1"]}


@pytest.mark.parametrize(
    ("record", "facts"),
    [
        (  # imagefolder's
            {"title": "Dog", "tags": "snow, white dog", "license": "CC0-1.0", "author": "Ann",
             "license_url": "https://l", "page_url": "https://p", "language": "en", "seed": 3},
            {"title": "Dog", "tags": ("snow", "white dog"), "license_text": "CC0-1.0",
             "author": "Ann", "license_url": "https://l", "page_url": "https://p",
             "language": "en"},
        ),
        (  # gallery-dl's of DeviantArt
            {"title": "Dog", "author": {"userid": "1-2", "username": "ann", "type": "regular"},
             "license": "Creative Commons Attribution 3.0 License", "tags": ["snow", "dog"],
             "url": "https://www.deviantart.com/ann/art/dog-1", "is_mature": False},
            {"title": "Dog", "author": "ann", "tags": ("snow", "dog"), "mature": False,
             "license_text": "Creative Commons Attribution 3.0 License",
             "page_url": "https://www.deviantart.com/ann/art/dog-1"},
        ),
        (  # gallery-dl's of ArtStation
            {"title": "Dog", "permalink": "https://a", "user": {
                "full_name": "Ann B", "username": "ann", "permalink": "https://u"}},
            {"title": "Dog", "page_url": "https://a", "author": "Ann B", "author_url": "https://u"},
        ),
        (  # gallery-dl's of Flickr: the licence is a number, and a name
            {"license": "4", "license_name": "Attribution License", "owner": {"realname": "Ann"}},
            {"license_text": "Attribution License", "author": "Ann"},
        ),
        (  # boorus'
            {"tag_string": "1girl white_dog", "tag_string_artist": "ann", "source": "https://s",
             "rating": "q"},
            {"tags": ("1girl", "white_dog"), "author": "ann", "page_url": "https://s",
             "mature": True},
        ),
        ({"tags": {"general": ["dog"], "artist": ["ann"]}}, {"tags": ("dog", "ann")}),
        (  # img2dataset's
            {"caption": "a dog", "url": "https://i/a.jpg", "key": "000000001", "status": "success"},
            {"page_url": "https://i/a.jpg"},
        ),
        (  # a licence that is an object, or an address
            {"license": {"id": 4, "name": "CC BY", "url": "https://l"}, "creator": ["Ann", "Bo"]},
            {"license_text": "CC BY", "license_url": "https://l", "author": "Ann, Bo"},
        ),
        ({"rights": "https://l"}, {"license_url": "https://l"}),
        ({"author": None, "title": float("nan"), "tags": "", "license": " ", "nsfw": "?"}, {}),
        ({"AI-generated": "yes", "NSFW": "UNLIKELY"}, {"ai_generated": True, "mature": False}),
    ],
)  # fmt: skip
def test_what_is_stated_beside_captions(record: Mapping[str, Any], facts: Mapping[str, Any]):
    assert read_facts(record) == facts


# metadata files


def test_a_metadata_file_says_what_each_image_shows(tmp_path: Path):
    file = written(
        tmp_path / "metadata.csv",
        "file_name,text,tags,license,seed\n"
        'sub\\a.png,a dog,"snow, dog",CC0-1.0,3\nb.png,,,,\n,lost words,,,\n,,,CC0-1.0,\n',
    )
    notes = ReadNotes()

    assert read_metadata(file, False, notes) == [
        MetadataRow(
            f"{file} line 2",
            "sub\\a.png",
            ("a dog",),
            {"tags": ("snow", "dog"), "license_text": "CC0-1.0"},
        ),
        MetadataRow(f"{file} line 3", "b.png", (), {}),
    ]
    assert notes.named == {
        "captions in rows that name no image": [f"{file} line 4"],
        "rows that name no image": [f"{file} line 5"],
    }
    assert notes.remarks == [f"{file}: columns not used: seed"]


def test_a_metadata_file_without_names_of_images_asks_which_column_it_is(tmp_path: Path):
    file = written(tmp_path / "metadata.csv", "file_nam,text\na.png,a dog\n")
    with pytest.raises(InputError, match="no column with names of images; is it 'file_nam'"):
        metadata_of(file)
    with pytest.raises(InputError, match="no column with captions; is it 'texxt'"):
        metadata_of(written(tmp_path / "metadata.csv", "file_name,texxt\na.png,a dog\n"))
    file = written(tmp_path / "metadata.csv", "file_name,license,size\na.png,CC0-1.0,3\n")
    assert metadata_of(file) == {"a.png": ()}  # no captions are no error


KOHYA = {
    "/data/a.png": {"caption": "a dog", "tags": "1girl, solo", "train_resolution": [512, 512]},
    "b": {"tags": "1girl, hat", "train_resolution": [512, 512]},
}
COCO = {
    "info": {"year": 2017},
    "licenses": [{"id": 4, "name": "Attribution License", "url": "https://l"}],
    "images": [{"id": 1, "file_name": "a.jpg", "license": 4, "flickr_url": "https://f"},
               {"id": 2, "file_name": "b.jpg", "license": 9}],
    "annotations": [{"image_id": 1, "id": 1, "caption": "a dog"},
                    {"image_id": 1, "id": 2, "caption": "dogs"},
                    {"image_id": 3, "id": 3, "caption": "lost"},
                    {"image_id": 2, "id": 4, "caption": ["odd"]}],
}  # fmt: skip


def test_what_kohyas_scripts_write(tmp_path: Path):
    file = written(tmp_path / "meta_lat.json", json.dumps(KOHYA, indent=2))
    rows = {row.file_name: row for row in read_metadata(file, False, ReadNotes())}

    assert rows["/data/a.png"].captions == ("a dog",)
    assert rows["/data/a.png"].facts == {"tags": ("1girl", "solo")}
    assert rows["b"].captions == ("1girl, hat",)  # kohya trains on tags where no caption is


def test_files_without_endings_may_be_called_like_columns(tmp_path: Path):
    said = {"image": {"caption": "a dog"}, "title": {"tags": "hat"}, "b": {"caption": "a cat"}}
    file = written(tmp_path / "meta.json", json.dumps(said))

    assert metadata_of(file) == {"image": ("a dog",), "title": ("hat",), "b": ("a cat",)}


def test_a_document_on_one_line_may_be_long(tmp_path: Path):
    said = {f"{n}.png": f"a dog number {n}" for n in range(40_000)}
    file = written(tmp_path / "captions.json", json.dumps(said))

    assert file.stat().st_size > rows.MAX_LINE_BYTES
    assert len(metadata_of(file)) == len(said)


def test_coco_captions(tmp_path: Path):
    file = written(tmp_path / "captions_val2017.json", json.dumps(COCO))
    notes = ReadNotes()
    first, second = read_metadata(file, False, notes)

    assert (first.file_name, first.captions) == ("a.jpg", ("a dog", "dogs"))
    assert first.facts == {
        "license_text": "Attribution License", "license_url": "https://l", "page_url": "https://f"
    }  # fmt: skip
    assert (second.file_name, second.captions) == ("b.jpg", ())
    assert notes.named == {
        "captions without an image": [f"{file} annotation 3"],
        "rows that cannot be read": [f"{file} annotation 4 (its caption is no text)"],
    }


@pytest.mark.parametrize(
    ("name", "data", "metadata"),
    [
        ("METADATA.CSV", "file_name,text\n", True),
        ("captions.txt", "a b.png\ta dog\nc.jpg#1 a cat\nd.webp: a fox\ne.png|an owl\n", True),
        ("captions.txt", "image,caption\na.png,a dog\n", True),
        ("captions.txt", "a\ta dog, asleep\nb\ta cat\n", True),
        ("captions.txt", "a dog, asleep\n", False),
        ("captions.txt", "", False),
        ("captions_train.json", json.dumps(COCO), True),
        ("instances.json", json.dumps({
            "images": COCO["images"], "annotations": [{"image_id": 1, "bbox": [1, 2]}]}), False),
        ("my dataset.json", json.dumps(KOHYA), True),
        ("all.json", json.dumps({"a.png": "a dog"}), True),
        ("all.json", json.dumps([{"file_name": "a.png", "prompt": "a dog"}]), True),
        ("info.json", json.dumps({"title": "Dogs", "author": {"name": "Ann"}, "tags": []}), False),
        ("config.json", json.dumps({"model": "x", "steps": 3}), False),
        ("broken.json", "{", False),
        ("a.png.json", json.dumps({"title": "Dog", "filename": "a", "extension": "png"}), False),
        ("notes.txt", "a.png\ta dog", False),
    ],
)  # fmt: skip
def test_metadata_is_told_by_name_or_content(tmp_path: Path, name: str, data: str, metadata: bool):
    assert is_metadata(written(tmp_path / name, data)) is metadata


def test_lines_of_names_and_captions(tmp_path: Path):
    file = written(
        tmp_path / "captions.txt",
        "a b.png\ta dog, asleep\n\nc.jpg#1 a cat\nd.webp: a fox\ne.png | an owl\nf.png\n"
        'more words\n"g.png","a hen, ""red"""\n',
    )
    notes = ReadNotes()

    assert metadata_of(file, notes) == {
        "a b.png": ("a dog, asleep",), "c.jpg": ("a cat",), "d.webp": ("a fox",),
        "e.png": ("an owl",), "f.png": (), "g.png": ('a hen, "red"',),
    }  # fmt: skip
    assert notes.named["rows that cannot be read"] == [
        f"{file} line 7 (no name of an image at its start)"
    ]


def test_the_first_line_with_something_on_it_is_told_of_once_and_may_name_columns(tmp_path: Path):
    file = written(tmp_path / "captions.txt", b"caf\xe9.png\ta dog\nb.png\ta cat\n")
    notes = ReadNotes()
    assert metadata_of(file, notes) == {"b.png": ("a cat",)}
    (reason,) = notes.named
    assert notes.named[reason] == [f"{file} line 1 (byte 4 (0xe9) is not UTF-8 text)"]
    assert notes.left_out[reason] == 1

    notes = ReadNotes()
    assert metadata_of(written(file, "\nimage,caption\na.png,a dog\n"), notes) == {
        "a.png": ("a dog",)
    }
    assert not notes.left_out


# nothing is lost: captions in = captions used + captions named


TEXTS = st.text("ab ,;\t|\"'\n\u00e9\u72ac\\#{}[]", max_size=8)
TABLES = st.lists(st.tuples(st.booleans(), st.lists(TEXTS, max_size=3)), min_size=1, max_size=6)
SIGNS = st.sampled_from([b'"', b",", b"\t", b"\xe9", b"{", b"\\", b"]", b"\r"])
DAMAGE = st.lists(st.tuples(st.integers(1, 20), SIGNS), max_size=3)


def as_written(kind: str, name: str, texts: list[str]) -> list[str]:
    """The rows that say of one image what it shows, each as a library writes it."""
    if kind == "jsonl":
        return [json.dumps({"file_name": name, "text": texts}) + "\n"]
    rows = []
    for text in texts:
        out = io.StringIO()
        csv.writer(out, {"csv": "excel", "tsv": "excel-tab"}[kind]).writerow([name, text])
        rows.append(out.getvalue())
    return rows


@given(TABLES, st.sampled_from(["jsonl", "csv", "tsv"]), DAMAGE)
def test_no_caption_is_lost(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[tuple[bool, list[str]]],
    kind: str,
    damage: list[tuple[int, bytes]],
):
    head = {"jsonl": "", "csv": "file_name,text\r\n", "tsv": "file_name\ttext\r\n"}[kind]
    whole, spans = head, {}  # mark of a caption -> first and last line of its row
    for n, (is_named, texts) in enumerate(table):
        said = [f"{text}w{n}x{m}w" for m, text in enumerate(texts)]
        if kind == "tsv":  # a tab in a text of several lines may be one between columns
            said = [text.replace("\t", " ") for text in said]
        for row in as_written(kind, f"{n}.png" if is_named else "", said):
            first = whole.count("\n") + 1
            whole += row
            marks = [f"w{n}x{m}w" for m in range(len(texts)) if f"w{n}x{m}w" in row]
            spans |= dict.fromkeys(marks, (first, whole.count("\n")))
    lines = whole.encode().split(b"\n")
    for at, sign in damage:
        if at < len(lines) - 1:  # not the names of the columns
            lines[at] += sign
    file = written(tmp_path_factory.mktemp("t") / f"metadata.{kind}", b"\n".join(lines))
    notes = ReadNotes(most=None)
    try:
        # a line that damage parted may name an image: the folder says that there is none
        rows = read_metadata(file, True, notes)
        used = [text for row in rows for text in (*row.captions, row.file_name)]
    except InputError:
        used = []  # an error that names the file: nothing is silent
        assert damage or not spans
        return
    named = re.findall(r" line (\d+)", " ".join(n for names in notes.named.values() for n in names))
    for mark, (first, last) in spans.items():
        told = any(first <= int(number) <= last for number in named)
        assert told or any(mark in text for text in used), mark
        assert damage or told != any(mark in text for text in used)


@given(st.dictionaries(TEXTS.filter(str.strip), st.lists(TEXTS, max_size=3), min_size=1))
def test_no_caption_of_json_is_lost(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, list[str]]
):
    said = {name: [f"{t}w{n}" for n, t in enumerate(texts)] for name, texts in table.items()}
    file = written(tmp_path_factory.mktemp("t") / "metadata.json", json.dumps(said))
    notes = ReadNotes(most=None)
    rows = read_metadata(file, True, notes)

    assert [row.file_name for row in rows] == [name.strip() for name in said]
    assert [len(row.captions) for row in rows] == [len(texts) for texts in said.values()]
