"""Folders of images: every caption is used or named, by `vocab-gaps` as by `fetch folder`."""

import json
import os
import pickle
import shlex
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from odd_folders import OddFolder, odd_folder
from recorded_progress import RecordedProgress
from servers import image_bytes

from curate.captions.clean import captions_for
from curate.corpora.corpus import find_corpus, open_reader
from curate.corpora.folder import ImageFolder
from curate.corpora.notes import ReadNotes
from curate.corpora.records import ImageRecord
from curate.corpora.sidecars import SILENT_JSON
from curate.dataset.folder import Dataset
from curate.errors import InputError
from curate.fetch.run import fetch_images
from curate.index.index import open_index

SEEDS = range(100)


def read(reader: ImageFolder) -> tuple[dict[str, ImageRecord], ReadNotes]:
    notes = ReadNotes(most=None)
    return {record.key: record for record in reader.records(notes)}, notes


def count(reader: ImageFolder) -> dict[str, tuple[str, ...]]:
    (part,) = reader.partitions()
    return {key: tuple(said) for key, said in part.read(ReadNotes())}


def lost_captions(made: OddFolder, used: set[str], notes: ReadNotes) -> list[tuple[str, str]]:
    """Captions that are neither used nor named, with the files that hold them."""
    named = [name.replace(f"{made.root}/", "") for names in notes.named.values() for name in names]
    lost = []
    for file in set(made.captions.values()):
        absent = [c for c, place in made.captions.items() if place == file and c not in used]
        if any(_is_of_file(name, file) for name in named):
            continue
        rows = sum(name.startswith((f"{file} ", f"{file}, ")) for name in named)
        lost += [(caption, file) for caption in absent[rows:]]
    return lost


def _is_of_file(name: str, file: str) -> bool:
    """Whether all of a file is named: itself, or a folder that it lies in."""
    place = name.partition(" (")[0] if name.endswith(")") else name
    return place == file or file.startswith(f"{place}/") or name == file


def state(root: Path) -> list[tuple[str, int, int]]:
    """All that lies there and when it was changed."""
    return sorted(
        (os.path.join(folder, name), status.st_mtime_ns, status.st_size)  # noqa: PTH118
        for folder, folders, names in os.walk(root)
        for name in (*folders, *names, ".")
        for status in [os.lstat(os.path.join(folder, name))]  # noqa: PTH118
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_no_caption_of_an_odd_folder_is_lost(tmp_path: Path, seed: int):
    check_odd_folder(tmp_path, seed)


def check_odd_folder(tmp_path: Path, seed: int) -> None:
    """The laws, on one folder."""
    made = odd_folder(tmp_path / "odd", seed)
    before = state(tmp_path)
    reader = ImageFolder(made.root)
    records, notes = read(reader)
    usable = {key: record.captions for key, record in records.items() if record.reason is None}
    assert count(ImageFolder(made.root)) == usable
    used = {caption for captions in usable.values() for caption in captions}
    assert lost_captions(made, used, notes) == []
    assert made.images <= usable.keys(), "an image is lost"
    for caption, owners in made.owners.items():
        assert {key for key, said in usable.items() if caption in said} == owners, caption
    for image in made.unnamed:
        assert usable[image] == usable[image][len(usable[image]) - records[image].made :]
    assert state(tmp_path) == before, "written into what is read"


@pytest.mark.parametrize("seed", SEEDS[:30])
def test_fetch_takes_the_captions_that_are_counted(tmp_path: Path, seed: int):
    """And `curate caption` makes those of names that were counted."""
    made = odd_folder(tmp_path / "odd", seed)
    usable = {
        key: record for key, record in read(ImageFolder(made.root))[0].items() if not record.reason
    }
    data, progress = Dataset(tmp_path / "data"), RecordedProgress()
    fetch_images(data, "folder", made.root, progress=progress)
    rows = {row.file_name: row for row in data.read().samples if row.dropped is None}
    assert rows.keys() == usable.keys()
    for key, row in rows.items():
        record = usable[key]
        written = record.captions[: len(record.captions) - record.made]
        assert row.texts == written
        told = tuple(one.text for one in captions_for(row, per_image=max(4, len(written))))
        assert record.captions[len(written) :] == told[len(written) :]


def folder_of(root: Path, files: dict[str, bytes | str | dict[str, object] | None]) -> ImageFolder:
    """A folder with these files; None stands for an image, an object for JSON."""
    for number, (name, data) in enumerate(files.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            data = image_bytes(number, kind="JPEG" if name.lower().endswith("jpg") else "PNG")
        data = json.dumps(data) if isinstance(data, dict) else data
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return ImageFolder(root)


@pytest.mark.parametrize(
    ("image", "caption"),
    [
        ("10_sks dog/0.png", "sks dog"),
        ("10_sks dog/ice_dragon.png", "sks dog"),  # as kohya's scripts have it
        ("dogs/IMG_2041.png", "dogs"),
        ("dogs/ice_dragon.png", "ice dragon"),  # its own name says more
        ("dogs/images/0.png", "dogs"),
        ("train/001/0.png", None),
        ("ice_dragon.png", "ice dragon"),
        ("0.png", None),
    ],
)
def test_a_name_is_a_caption_where_none_is_written(tmp_path: Path, image: str, caption: str | None):
    reader = folder_of(tmp_path / "in", {image: None})
    records, notes = read(reader)
    assert records[image].captions == ((caption,) if caption else ())
    assert count(reader) == {image: records[image].captions}
    said = [s for s in notes.sentences() if "without a written caption" in s]
    assert bool(said) == bool(caption)
    assert caption is None or caption in said[0]


@pytest.mark.parametrize(
    ("name", "captions"), [("10_mage", ("mage",)), ("mages", ()), ("10_images", ())]
)
def test_the_folder_that_is_named_counts_if_its_name_has_repeats(tmp_path, name, captions):
    reader = folder_of(tmp_path / name, {"0.png": None})
    assert read(reader)[0]["0.png"].captions == captions


def test_a_written_caption_comes_before_every_name(tmp_path: Path):
    files = {"10_sks dog/a.png": None, "10_sks dog/a.txt": "a dog", "10_sks dog/b.png": None}
    records, _ = read(folder_of(tmp_path, {**files, "10_sks dog/b.txt": "\n"}))
    assert records["10_sks dog/a.png"].captions == ("a dog",)
    assert records["10_sks dog/a.png"].facts == {}
    assert records["10_sks dog/b.png"].captions == ("sks dog",)
    assert records["10_sks dog/b.png"].facts == {"title": "sks dog"}


def test_json_beside_an_image_says_what_downloaders_write(tmp_path: Path):
    told = {
        "title": "First snow",
        "tags": ["snow", "white field"],
        "author": {"id": 3, "name": "Ida"},
        "license": "CC-BY-4.0",
    }
    (record,) = read(folder_of(tmp_path, {"17.png": None, "17.png.json": told}))[0].values()
    assert record.facts["author"] == "Ida" and record.facts["license_text"] == "CC-BY-4.0"
    assert record.facts["title"] == "First snow"
    assert record.facts["tags"] == ("snow", "white field")
    assert record.captions[0] == "First snow"
    assert record.made == len(record.captions), "what is made of titles is not written"
    assert "white field" in record.captions[1]


def test_all_that_stands_beside_an_image_is_used_in_one_order(tmp_path: Path):
    files = {
        "a.png": None,
        "a.json": {"caption": "four"},
        "a.caption": "three",
        "a.png.txt": "two",
        "a.txt": "one",
        "metadata.csv": "file_name,text\na.png,zero\n",
    }
    (record,) = read(folder_of(tmp_path, files))[0].values()
    assert record.captions == ("zero", "two", "one", "three", "four")


def test_letters_composed_otherwise_and_other_case_are_the_same_name(tmp_path: Path):
    nfd = unicodedata.normalize("NFD", "schn\u00e9e")
    files = {"schn\u00e9e.png": None, f"{nfd}.txt": "snow", "A.PNG": None, "a.Txt": "a boat"}
    records, notes = read(folder_of(tmp_path, files))
    assert records["schn\u00e9e.png"].captions == ("snow",)
    assert records["A.PNG"].captions == ("a boat",)
    assert notes.sentences() == []


def test_files_that_differ_by_case_alone_are_two(tmp_path: Path):
    files = {"a.png": None, "A.png": None, "a.txt": "small", "A.txt": "large"}
    records, _ = read(folder_of(tmp_path, files))
    assert records["a.png"].captions == ("small",) and records["A.png"].captions == ("large",)


def test_a_text_of_two_images_is_of_both_and_that_is_said(tmp_path: Path):
    reader = folder_of(tmp_path, {"a.png": None, "a.jpg": None, "a.txt": "a boat"})
    records, notes = read(reader)
    assert {record.captions for record in records.values()} == {("a boat",)}
    assert notes.sentences() == [
        "texts beside several images, used for each (1): a.txt (a.jpg, a.png)"
    ]


def test_other_formats_are_named_with_the_command_that_converts_them(tmp_path: Path):
    gif = image_bytes(1, kind="GIF")
    root = tmp_path / "my images"
    reader = folder_of(root, {"a.gif": gif, "a.txt": "a boat", "sub/b.GIF": gif, "c.png": None})
    records, notes = read(reader)
    assert records["a.gif"].reason == "not-an-image:GIF" and records["a.gif"].captions == ()
    assert notes.named["captions of what is no image that can be taken"] == ["a.txt"]
    (command, other) = [s.partition(": ")[2] for s in notes.remarks if "magick" in s]
    words = shlex.split(command)
    assert words[:4] == ["find", str(root), "-name", "*.GIF"]
    convert = ["-exec", "magick", "mogrify", "-format", "png", "{}", "+"]
    assert words[4:] == convert and shlex.split(other)[3] == "*.gif"
    found = subprocess.run([*words[:4]], capture_output=True, text=True, check=True).stdout
    assert found.splitlines() == [f"{root}/sub/b.GIF"]


@pytest.mark.parametrize("name", ["my set.zip", "set.7z", "set.rar", "set.csv.gz"])
def test_an_archive_is_named_with_the_command_that_unpacks_it(tmp_path: Path, name: str):
    root = tmp_path / "my images"
    archive = root / name
    alone = folder_of(root, {name: b"any"})
    fixes = [find_corpus(root).no_captions_error().fix]
    for refuse in (alone.count_images, lambda: open_reader(archive)):
        with pytest.raises(InputError) as error:
            refuse()
        fixes.append(error.value.fix.partition(";")[0])
    assert all(str(archive) in shlex.split(fix) for fix in fixes)
    _, notes = read(folder_of(root, {"a_boat.png": None}))
    (named,) = notes.named["archives, to be unpacked"]
    assert named.startswith(f"{name} (") and shlex.quote(str(archive)) in named


def test_a_zip_is_unpacked_by_the_command_that_is_printed(tmp_path: Path):
    if not shutil.which("unzip"):
        pytest.skip("no unzip here")
    folder_of(tmp_path / "set", {"a.png": None, "a.txt": "a boat"})
    (tmp_path / "in").mkdir()
    shutil.make_archive(str(tmp_path / "in" / "my set"), "zip", tmp_path / "set")
    with pytest.raises(InputError) as error:
        ImageFolder(tmp_path / "in").count_images()
    subprocess.run(shlex.split(error.value.fix), check=True, capture_output=True)
    assert count(ImageFolder(tmp_path / "in")) == {"my set/a.png": ("a boat",)}
    _, notes = read(ImageFolder(tmp_path / "in"))
    assert notes.named == {"archives, unpacked beside": ["my set.zip"]}


def test_texts_in_one_other_encoding_become_utf8_by_one_command(tmp_path: Path):
    root = tmp_path / "my images"
    french = [f"un caf\u00e9 tr\u00e8s chaud {n}" for n in range(3)]
    files = {f"{n}.png": None for n in range(5)}
    files |= {f"{n}.TXT": text.encode("cp1252") for n, text in enumerate(french)}
    files |= {"3.txt": "\u0444".encode("utf-16"), "4.txt": "na\u00efve"}
    reader = folder_of(root, files)
    _, notes = read(reader)
    (command,) = [s.partition(": ")[2] for s in notes.remarks if "become so at once" in s]
    for _ in range(2):  # typed again it does no more
        subprocess.run(["sh", "-c", command], check=False)
        said = count(ImageFolder(root))
        assert [said[f"{n}.png"] for n in range(3)] == [(text,) for text in french]
        assert (said["3.png"], said["4.png"]) == (("\u0444",), ("na\u00efve",))
    assert sorted(path.name for path in root.glob("*.orig")) == [f"{n}.TXT.orig" for n in range(3)]
    folder_of(
        tmp_path / "all",
        {f"{n}.png": None for n in range(2)}
        | {f"{n}.txt": text.encode("cp1252") for n, text in enumerate(french[:2])},
    )
    with pytest.raises(InputError) as error:
        open_index(find_corpus(tmp_path / "all"))
    subprocess.run(["sh", "-c", error.value.fix], check=False)
    assert open_index(find_corpus(tmp_path / "all")).images == 2


def test_a_folder_does_not_stand_in_for_captions_that_cannot_be_read(tmp_path: Path):
    files = {"10_fox/1.png": None, "10_fox/1.txt": "caf\u00e9".encode("cp1252")}
    reader = folder_of(tmp_path, {**files, "10_fox/2.png": None, "10_fox/2.txt": ""})
    records, notes = read(reader)
    assert records["10_fox/1.png"].captions == ()
    assert records["10_fox/2.png"].captions == ("fox",)
    assert list(notes.left_out) == ["caption files that are not UTF-8"]


def test_descriptions_that_boorus_and_galleries_write_are_read_as_text(tmp_path: Path):
    art = {
        "title": "Fox",
        "description": "<p>A <b>red</b> fox &amp;<br/>a hen</p>",
        "tags": ["snow"],
    }
    booru = {"tag_string": "1girl solo animal_ears", "tags": ["1girl", "solo", "animal_ears"]}
    name = "danbooru_700_cfcd208495d565ef66e7dff9f98764da.jpg"
    files = {"a.png": None, "a.png.json": json.dumps(art), name: None}
    records, _ = read(folder_of(tmp_path, {**files, f"{name}.json": json.dumps(booru)}))
    assert records["a.png"].captions == ("A red fox & a hen", "a picture of Fox and snow")
    assert records[name].captions == ("a picture of 1girl, solo and animal ears",)


def test_an_image_converted_to_png_takes_the_text_of_its_original(tmp_path: Path):
    gif = image_bytes(1, kind="GIF")
    records, notes = read(folder_of(tmp_path, {"a.gif": gif, "a.txt": "a boat", "a.png": None}))
    assert records["a.png"].captions == ("a boat",)
    assert notes.left_out == {} and notes.remarks == []


def test_data_of_another_kind_is_named_with_the_command_that_takes_it(tmp_path: Path):
    files: dict[str, bytes | str | dict[str, object] | None] = {
        "a_boat.png": None,
        "set/dataset_info.json": "{}",
        "set/data.arrow": b"any",
        "tars/000.tar": b"any",
        "tars/001.tar": b"any",
        "ours/manifest.parquet": b"any",
        "ours/store/ab/abc": b"any",
    }
    _, notes = read(folder_of(tmp_path, files))
    assert notes.named["datasets in the folder, each to be taken by itself"] == [
        f"tars/000.tar (curate fetch shards {tmp_path}/tars)",
        f"tars/001.tar (curate fetch shards {tmp_path}/tars)",
        f"ours (--data {tmp_path}/ours)",
        f"set (curate fetch hf {tmp_path}/set)",
    ]


def test_a_linked_folder_is_entered_once_and_loops_are_cut(tmp_path: Path):
    folder_of(tmp_path / "elsewhere", {"a.png": None, "a.txt": "a red boat"})
    reader = folder_of(tmp_path / "in", {"b.png": None, "b.txt": "a blue boat"})
    (reader.path / "more").symlink_to("../elsewhere")
    (reader.path / "again").symlink_to("../elsewhere")
    for name, target in (("loop", "."), ("up", ".."), ("all", "/")):
        (reader.path / name).symlink_to(target)
    (reader.path / "gone.png").symlink_to("nowhere")
    records, notes = read(reader)
    assert {k: r.captions for k, r in records.items() if not r.reason} == {
        "again/a.png": ("a red boat",),
        "b.png": ("a blue boat",),
    }
    assert records["gone.png"].reason == "missing:a link to nothing"
    (cut,) = (names for reason, names in notes.named.items() if reason.startswith("linked folders"))
    assert cut == ["all", "loop", "more", "up"]


def change(root: Path, how: str) -> None:
    if how == "text":
        (root / "a.txt").write_text("a cat")
    elif how == "name":
        (root / "a.txt").rename(root / "b.txt")
    elif how == "hidden":
        (root / ".b").write_text("any")
    elif how == "link":
        (root / "more").symlink_to(".")
    elif how == "image":
        (root / "a.png").write_text("words")
    else:
        (root / "sub").mkdir()


@pytest.mark.parametrize("how", ["text", "name", "hidden", "link", "image", "folder"])
def test_an_index_is_kept_until_anything_changes(tmp_path: Path, how: str):
    reader = folder_of(tmp_path, {"a.png": None, "a.txt": "a dog"})
    (before,) = reader.partitions()
    (same,) = ImageFolder(tmp_path).partitions()
    assert same.content_name() == before.content_name()
    change(tmp_path, how)
    (after,) = ImageFolder(tmp_path).partitions()
    assert after.content_name() != before.content_name()


def test_a_part_is_read_in_another_process_without_what_was_found_here(tmp_path: Path):
    reader = folder_of(tmp_path, {"a.png": None, "a.txt": "a dog"})
    (part,) = reader.partitions()
    sent = pickle.dumps(part)
    assert len(sent) < 1000
    assert list(pickle.loads(sent).read(ReadNotes())) == [("a.png", ("a dog",))]


def test_only_the_asked_for_images_are_given(tmp_path: Path):
    reader = folder_of(tmp_path, {"a.png": None, "b.png": None, "b.txt": "b"})
    assert [record.key for record in reader.records(ReadNotes(), ["b.png"])] == ["b.png"]


@pytest.mark.parametrize(
    ("written", "image"),
    [
        ("sub/a.png", "sub/a.png"),
        ("./sub/../sub/a.png", "sub/a.png"),
        ("sub\\a.png", "sub/a.png"),
        ("SUB/A.PNG", "sub/a.png"),
        ("sub/a", "sub/a.png"),
        ("/any/where/sub/a.png", "sub/a.png"),
        ("C:\\images\\sub\\a.png", "sub/a.png"),
        ("/any/where/b.png", "b.png"),
        ("a.png", None),  # beside it lies b.png: it is not there
        ("../sub/a.png", None),
        ("/any/where/c.png", None),
    ],
)
def test_metadata_name_images_in_any_way(tmp_path: Path, written: str, image: str | None):
    row = json.dumps({"file_name": written, "text": "a boat"})
    reader = folder_of(tmp_path / "in", {"sub/a.png": None, "b.png": None, "metadata.jsonl": row})
    records, notes = read(reader)
    assert {k for k, r in records.items() if "a boat" in r.captions} == ({image} - {None})
    assert bool(image) != ("captions of what is no image that can be taken" in notes.left_out)


def test_annotations_in_a_folder_of_their_own_name_images_beside_it(tmp_path: Path):
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [
            {"image_id": 1, "id": 1, "caption": "a boat"},
            {"image_id": 2, "id": 2, "caption": "which?"},
        ],
    }
    files = {"annotations/captions.json": coco, "v/a.png": None, "v/b.png": None, "w/b.png": None}
    records, notes = read(folder_of(tmp_path, files))
    assert records["v/a.png"].captions == ("a boat",)
    assert notes.left_out["captions of a name that several images have"] == 1
    assert notes.counted["rows whose image lies in another folder than they say"] == 1


def test_half_characters_in_names_cost_nothing_else(tmp_path: Path):
    image, odd = image_bytes(1), os.fsdecode(b"\xff.png")
    for name in ("a.png", odd):
        (tmp_path / name).write_bytes(image)
    rows = [{"file_name": name, "text": name[:1]} for name in ("a.png", "b\ud800.png", odd)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))

    found, _ = read(ImageFolder(tmp_path))

    assert [found[name].captions for name in ("a.png", odd)] == [("a",), ("\udcff",)]
    assert found["b\ufffd.png"].reason == "missing:b\ufffd.png"


def test_json_beside_an_image_that_says_nothing_known_is_named(tmp_path: Path):
    (tmp_path / "train.jpg").write_bytes(image_bytes(1, kind="JPEG"))
    (tmp_path / "train.json").write_text('{"rows": [{"image": "a.png", "words": "a fox"}]}')

    found, notes = read(ImageFolder(tmp_path))

    assert found["train.jpg"].facts == {} and notes.named[SILENT_JSON] == ["train.json"]


def test_of_a_field_that_json_has_twice_the_last_counts_and_the_other_is_named(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(image_bytes(1))
    (tmp_path / "a.json").write_text('{"caption": "one", "caption": "two"}')

    found, notes = read(ImageFolder(tmp_path))

    assert found["a.png"].captions == ("two",)
    assert notes.named["values whose key is there again"] == ["a.json, caption"]


def test_a_command_with_long_paths_is_said_whole(tmp_path: Path):
    place = tmp_path / ("folder " * 10).strip() / ("deeper " * 10).strip()
    place.mkdir(parents=True)
    (place / "a.png").write_bytes(image_bytes(1))
    (place / "a.txt").write_bytes("caf\xe9".encode("cp1252"))

    _, notes = read(ImageFolder(tmp_path))

    ((said,),) = (v for k, v in notes.named.items() if "UTF-8" in k)
    subprocess.run(said.partition("in: ")[2][:-1], shell=True, check=True)
    assert (place / "a.txt").read_text("utf-8") == "caf\xe9"
