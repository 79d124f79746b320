"""Thumbnails of every kind of data, and of images that cannot be shown."""

import base64
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from drawings import drawing, write_shards
from PIL import Image
from recorded_progress import RecordedProgress
from rows import row

from curate.corpora.arrow import key_prefix as row_key_prefix
from curate.corpora.corpus import find_corpora, find_corpus
from curate.corpora.notes import ReadNotes
from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption
from curate.report import thumbnails
from curate.report.thumbnails import Thumbnail

RIGHTS = {
    "license": "CC-BY-4.0",
    "page_url": "https://a.test/1",
    "author": "Ann",
}


def opened(thumbnail: Thumbnail) -> Image.Image:
    assert thumbnail.data_uri, thumbnail.reason
    head, _, data = thumbnail.data_uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def of(path: Path, *keys: str, **settings: object) -> dict[str, Thumbnail]:
    return thumbnails.make_thumbnails(find_corpus(path), keys, processes=1, **settings)  # type: ignore[arg-type]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = Dataset(tmp_path / "data")
    put = made.store.put
    said = {"captions": (Caption("a thing", "text"),)}
    rows = [
        row("red", sha256=put(drawing("red", "circle", 400)), **said, **RIGHTS),
        row("none", **said),
        row("broken", sha256=put(drawing("red", "circle")[:60]), **said),
        row("gone", sha256=put(b"gone"), **said),
        row("later", dropped="download:HTTP 503"),
    ]
    made.write(Manifest(rows, []))
    made.append_row(row("later", sha256=put(drawing("blue", "square")), **said))
    made.store.path_of(str(rows[3].sha256)).unlink()
    return made


def test_a_dataset_folder(dataset: Dataset):
    keys = [f"test-{name}" for name in ("later", "red", "none", "broken", "gone", "unknown")]
    found = of(dataset.root, *keys)
    assert list(found) == keys[:-1]
    red = found["test-red"]
    assert opened(red).size == (96, 96)
    assert (red.license, red.source, red.page_url, red.author) == (
        "CC-BY-4.0", "test", "https://a.test/1", "Ann",
    )  # fmt: skip
    assert opened(found["test-later"]).size == (32, 32), "small images stay as they are"
    reasons = {key: one.reason for key, one in found.items() if one.data_uri is None}
    assert reasons.keys() == {"test-none", "test-broken", "test-gone"}
    assert reasons["test-none"] == "no image was stored"
    assert "truncated" in str(reasons["test-broken"])
    assert reasons["test-gone"] == "stored image cannot be read (No such file or directory)"


def test_a_manifest_beside_its_store(dataset: Dataset):
    found = of(dataset.manifest, "test-red", "test-broken")
    assert opened(found["test-red"]).size == (96, 96)
    assert found["test-red"].license == "CC-BY-4.0"
    assert found["test-broken"].data_uri is None and found["test-broken"].reason


def test_shards_with_a_broken_picture(tmp_path: Path):
    items = [
        ("t-a", drawing("red", "square", 200), ["a"]),
        ("t-b", b"\x89PNG\r\n\x1a\n and no more", ["b"]),
        ("t-c", drawing("blue", "circle", 20), ["c"]),
    ]
    folder = write_shards(tmp_path / "shards", items)
    found = of(folder, "t-c", "t-b", "t-a")
    assert list(found) == ["t-c", "t-b", "t-a"]
    assert opened(found["t-a"]).size == (96, 96)
    assert found["t-a"].license == "CC0-1.0"
    assert found["t-b"].data_uri is None and found["t-b"].reason


def test_shards_that_are_cut_short_or_gone(tmp_path: Path):
    pictures = [(f"t-{c}", drawing("red", "square", 64), [c]) for c in "abc"]
    folder = write_shards(tmp_path / "shards", pictures)
    origin = find_corpus(folder)
    tar = folder / "train-000000.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    found = thumbnails.make_thumbnails(origin, ["t-a", "t-c"], processes=1)
    assert opened(found["t-a"]).size == (64, 64)
    assert "t-c" not in found
    tar.unlink()
    assert thumbnails.make_thumbnails(origin, ["t-a"], processes=1) == {}


def test_files_named_by_a_list(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/wide.png").write_bytes(drawing("red", "square", 200))
    Image.open(tmp_path / "sub/wide.png").resize((300, 100)).save(tmp_path / "sub/wide.jpg")
    (tmp_path / "text.png").write_text("no image at all")
    Image.new("L", (9, 9)).save(tmp_path / "move.gif")
    names = ["sub/wide.jpg", "text.png", "move.gif", "absent.png", "sub", "a\0b", "x" * 5000]
    names.append("https://a.test/sub/wide.png")
    (tmp_path / "list.jsonl").write_text(
        "\n".join(json.dumps({"image": n, "captions": ["a"]}) for n in names)
    )
    found = of(tmp_path / "list.jsonl", *names)
    assert list(found) == names
    assert opened(found[names[0]]).size == (96, 32)
    assert [one.license for one in found.values()] == [None] * len(names)
    assert found["text.png"].reason == "text is not decoded"
    assert found["move.gif"].reason == "GIF is not decoded"
    for name in names[3:]:
        assert found[name].data_uri is None
        assert found[name].reason == "the image itself is not here"


def test_a_file_too_large_is_not_read(tmp_path: Path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(thumbnails.MAX_IMAGE_BYTES + (1 << 20))
    (tmp_path / "list.csv").write_text("image,caption\na.png,a\n")
    assert of(tmp_path / "list.csv", "a.png")["a.png"].reason == "65 MiB, more than 64"


def table() -> pa.Table:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pictures = [
        {"bytes": drawing("red", "circle", 120), "path": None},
        {"bytes": b"broken", "path": None},
        {"bytes": None, "path": "x.png"},
        {"bytes": drawing("blue", "square"), "path": None},
    ]
    return pa.table({
        "image": pa.array(pictures, image),
        "caption": ["a", "b", "c", "d"],
        "license": ["MIT", None, "MIT", ""],
    })  # fmt: skip


def as_parquet(folder: Path) -> None:
    folder.mkdir()
    parquet.write_table(table(), folder / "train.parquet", row_group_size=2)


def as_arrow(folder: Path) -> None:
    folder.mkdir()
    (folder / "dataset_info.json").write_text("{}")
    with pa.ipc.new_stream(folder / "train.arrow", table().schema) as file:
        file.write_table(table(), max_chunksize=2)


@pytest.mark.parametrize("write", [as_parquet, as_arrow])
def test_a_hugging_face_dataset(tmp_path: Path, write: Callable[[Path], None]):
    write(tmp_path / "set")
    (file,) = (tmp_path / "set").glob("train.*")
    (file.with_stem("another")).write_bytes(b"cut")  # cannot be read, and holds no images
    keys = [f"{row_key_prefix(file, file.name)}{n}" for n in (3, 0, 1, 2, 9)]
    found = of(tmp_path / "set", *keys)
    assert list(found) == keys[:-1]
    assert opened(found[keys[0]]).size == (32, 32)
    assert opened(found[keys[1]]).size == (96, 96)
    assert [one.license for one in found.values()] == [None, "MIT", None, "MIT"]
    assert found[keys[2]].reason == "text is not decoded"
    assert found[keys[3]].reason == "the image itself is not here"


def test_an_image_folder_with_metadata(tmp_path: Path):
    (tmp_path / "set/train").mkdir(parents=True)
    (tmp_path / "set/train/a.png").write_bytes(drawing("red", "circle"))
    (tmp_path / "set/train/metadata.csv").write_text("file_name,text\na.png,a\nb.png,b\n")
    found = of(tmp_path / "set", "train/a.png", "train/b.png")
    assert opened(found["train/a.png"]).size == (32, 32)
    assert found["train/b.png"].data_uri is None, "only named"


def test_several_kinds_together(tmp_path: Path, dataset: Dataset):
    (tmp_path / "a.png").write_bytes(drawing("red", "circle"))
    (tmp_path / "list.csv").write_text("image,caption\na.png,a\ntest-red,b\n")
    origin = find_corpora([tmp_path / "list.csv", dataset.root])
    found = thumbnails.make_thumbnails(origin, ["a.png", "test-later"], processes=1)
    assert all(one.data_uri for one in found.values()) and len(found) == 2


def test_equal_names_in_several_places_are_told_apart(tmp_path: Path):
    """Folders, tars and tables of the same names: each key leads to its own image."""
    shapes = {"a": "red", "b": "blue"}
    for name, colour in shapes.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(drawing(colour, "circle"))
        (tmp_path / name / "1.txt").write_text(colour)
        with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz") as tar:
            for path in sorted((tmp_path / name).iterdir()):
                tar.add(path, path.name)
        made = {"id": [1], "png": [drawing(colour, "circle")], "text": [colour]}
        parquet.write_table(pa.table(made), tmp_path / f"{name}.parquet")
    places = [tmp_path / f"{name}{end}" for name in shapes for end in ("", ".tar.gz", ".parquet")]
    corpus = find_corpora(places)
    said = {k: c[0] for p in corpus.partitions for k, c in p.read(ReadNotes())}
    assert len(said) == 6
    found = thumbnails.make_thumbnails(corpus, list(said), processes=1)
    middle = {key: opened(one).convert("RGB").getpixel((16, 16)) for key, one in found.items()}
    assert {key: "red" if rgb[0] > rgb[2] else "blue" for key, rgb in middle.items()} == said


def test_only_so_many_are_decoded_and_the_rest_say_why(dataset: Dataset):
    found = of(dataset.root, "test-none", "test-red", "test-later", most=1)
    assert found["test-red"].data_uri
    assert found["test-later"].reason == "left out, the page holds enough images"
    assert found["test-none"].reason == "no image was stored"


def test_the_same_bytes_each_time_and_no_more_than_needed(dataset: Dataset, tmp_path: Path):
    first = of(dataset.root, "test-red", "test-later")
    assert of(dataset.root, "test-later", "test-red") == first
    photo = Image.effect_noise((900, 700), 60)
    photo.save(tmp_path / "noise.png")
    (tmp_path / "list.csv").write_text("image,caption\nnoise.png,a\n")
    noise = of(tmp_path / "list.csv", "noise.png")["noise.png"]
    assert opened(noise).size == (96, 75)
    assert len(str(noise.data_uri)) < 8000


def test_transparent_pixels_are_shown_on_white(tmp_path: Path):
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    (tmp_path / "list.csv").write_text("image,caption\nclear.png,a\n")
    made = opened(of(tmp_path / "list.csv", "clear.png")["clear.png"])
    assert made.convert("RGB").getextrema() == ((255, 255), (255, 255), (255, 255))


def test_progress_is_told(dataset: Dataset):
    progress = RecordedProgress()
    thumbnails.make_thumbnails(
        find_corpus(dataset.root), ["test-red", "test-none"], progress, processes=1
    )
    assert progress.counts == [("thumbnails", 0, 1), ("thumbnails", 1, 1)]


def test_without_data_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert thumbnails.make_thumbnails(find_corpus(), ["test-a"]) == {}


def test_data_that_went_away_holds_none(dataset: Dataset):
    origin = find_corpus(dataset.root)
    shutil.rmtree(dataset.root)
    assert thumbnails.make_thumbnails(origin, ["test-red"]) == {}


def test_the_first_pictures_of_all_items_come_first():
    items = [{"evidence": [{"key": k} for k in keys]} for keys in ("abc", "", "ad", "e")]
    assert thumbnails.evidence_keys({"items": items}) == ["a", "e", "b", "d", "c"]
