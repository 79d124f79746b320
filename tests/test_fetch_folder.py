"""`curate fetch folder`: captions from metadata, side-cars or names; every bad file is a row."""

import json
import os
import pty
import re
import shutil
import string
import subprocess
import sys
import tarfile
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_progress import RecordedProgress
from servers import image_bytes

from curate.cli import main
from curate.corpora.endings import IMAGE_ENDINGS
from curate.dataset import manifest
from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample, Verdict
from curate.fetch.run import FetchSummary, fetch_images
from curate.sources import folder
from curate.sources.local import image_id


@pytest.fixture
def data(tmp_path):
    return Dataset(tmp_path / "data")


@pytest.fixture
def pictures(tmp_path):
    """A folder of two images, snow.png and ice/storm.jpg."""
    root = tmp_path / "pictures"
    (root / "ice").mkdir(parents=True)
    (root / "snow.png").write_bytes(image_bytes(1))
    (root / "ice" / "storm.jpg").write_bytes(image_bytes(2, kind="JPEG"))
    return root


def rows(data: Dataset) -> dict[str, Sample]:
    return {s.file_name: s for s in data.read().samples}


def take(data: Dataset, root: Path, **more) -> tuple[FetchSummary, list[str]]:
    progress = RecordedProgress()
    done = fetch_images(data, folder.SOURCE, root, options=more, progress=progress)
    return done, progress.said


def test_file_names_stand_in_for_captions(data, pictures):
    done, said = take(data, pictures)
    assert done.new == 2
    assert said == [
        'images without a written caption, whose file\'s name is one: 2 (ice/storm.jpg: "storm")',
        "images that state no licence, and are not packed: 2; type the same again with "
        "--license ID, or with --license own if you made them",
    ]
    row = rows(data)["ice/storm.jpg"]
    assert row.title == "storm" and row.texts == () and row.format == "JPEG"
    assert row.license_text is None and row.license_by is None
    assert data.store.get(row.sha256) == image_bytes(2, kind="JPEG")
    assert row.key.startswith("folder-storm-") and row.byte_count == len(
        image_bytes(2, kind="JPEG")
    )


def test_side_car_files_hold_a_caption_a_line(data, pictures):
    (pictures / "snow.txt").write_text("\ufeffsnow falling\n\n  a white field \n", "utf-8")
    take(data, pictures)
    assert rows(data)["snow.png"].texts == ("snow falling", "a white field")


CELLS = {
    "file_name": "snow.png",
    "text": "snow falling",
    "license": "CC-BY-4.0",
    "license_url": "https://creativecommons.org/licenses/by/4.0/",
    "author": "Ida",
    "author_url": "https://example.org/ida",
    "page_url": "https://example.org/1",
    "title": "First snow",
    "language": "en",
}


def write_csv(root: Path) -> None:
    head, cells = ",".join([*CELLS, "texts", "tags"]), ",".join(CELLS.values())
    (root / "metadata.csv").write_text(f'{head}\n{cells},"a field\nsnow falling","snow, white"\n')


def write_jsonl(root: Path) -> None:
    record = {**CELLS, "texts": ["a field"], "tags": ["snow", "white"]}
    (root / "metadata.jsonl").write_text(json.dumps(record) + "\n\n")


def write_parquet(root: Path) -> None:
    record = {**CELLS, "texts": ["a field"], "tags": ["snow", "white"]}
    parquet.write_table(pa.Table.from_pylist([record]), root / "metadata.parquet")


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_metadata_files_say_what_is_known(data, pictures, write):
    write(pictures)
    take(data, pictures, license="MIT", author="me")
    row = rows(data)["snow.png"]
    assert row.texts == ("snow falling", "a field") and row.tags == ("snow", "white")
    assert (row.license_text, row.license_by) == ("CC-BY-4.0", "source")
    assert row.license_url == CELLS["license_url"] and row.author == "Ida"
    assert row.title == "First snow" and row.language == "en"
    assert row.page_url == CELLS["page_url"] and row.author_url == CELLS["author_url"]
    other = rows(data)["ice/storm.jpg"]  # not in the metadata: the user's word counts
    assert (other.license_text, other.license_by, other.author) == ("MIT", "user", "me")


def test_a_licence_url_alone_is_a_statement(data, pictures):
    (pictures / "metadata.csv").write_text("file_name,license_url\nsnow.png,https://x.example/\n")
    take(data, pictures, license="MIT")
    row = rows(data)["snow.png"]
    assert (row.license_text, row.license_url, row.license_by) == (
        None,
        "https://x.example/",
        "source",
    )


def test_metadata_counts_from_its_own_folder(data, pictures):
    (pictures / "ice" / "metadata.csv").write_text("file_name,text\nstorm.jpg,ice storm\n")
    (pictures / "metadata.csv").write_text("file_name,text\n./ice/storm.jpg,storm\nsnow.png,snow\n")
    _, said = take(data, pictures)
    assert set(rows(data)["ice/storm.jpg"].texts) == {"ice storm", "storm"}
    assert any(s.startswith("rows that name an image again, of which all") for s in said)


def test_columns_that_nothing_uses_are_named(data, pictures):
    (pictures / "metadata.csv").write_text("file_name,caption,score\nsnow.png,snow,3\n")
    _, said = take(data, pictures)
    assert any(line.endswith("columns not used: score") for line in said)


def test_every_bad_file_is_a_row_that_says_why(data, pictures):
    (pictures / "words.png").write_text("these are words")
    (pictures / "none.jpg").touch()
    (pictures / "move.gif").write_bytes(image_bytes(3, kind="GIF"))
    (pictures / "fork.png").write_bytes(b"\x00\x05\x16\x07\x00\x02" + bytes(20))
    (pictures / "cut.png").write_bytes(image_bytes(4)[:20])
    (pictures / "shelf.png").mkdir()
    names = ["gone.png", "shelf.png", "../outside.png", "/etc/passwd", "nul\0.png"]
    lines = [json.dumps({"file_name": n, "text": "x"}) for n in names]
    (pictures / "metadata.jsonl").write_text("\n".join(lines))
    done, said = take(data, pictures)
    assert {n: s.dropped for n, s in rows(data).items() if s.dropped} == {
        "words.png": "not-an-image:text",
        "none.jpg": "empty:0 bytes",
        "move.gif": "not-an-image:GIF",
        "fork.png": "not-an-image:AppleDouble",
        "cut.png": "not-an-image:PNG with an unreadable header",
        "gone.png": "missing:gone.png",
        "shelf.png": "not-an-image:not a file",
        "../outside.png": "outside:../outside.png",
        "/etc/passwd": "outside:/etc/passwd",
        "nul\0.png": "unreadable:not a usable name",
    }
    assert done.new == 2 and done.rows == 12
    assert done.refused == {
        "not-an-image": 5,
        "empty": 1,
        "missing": 1,
        "outside": 2,
        "unreadable": 1,
    }
    assert "named in the metadata, but not there (1): gone.png" in said
    assert "empty files, 0 bytes (1): none.jpg" in said
    assert any(s.startswith("neither JPEG, PNG nor WebP by content (5): ") for s in said)


@pytest.mark.parametrize(
    ("licence", "known"), [("Frobnicate", False), ("CC0-1.0", True), ("own", True), (None, True)]
)
def test_a_licence_that_nobody_knows_is_said(data, tmp_path, licence, known):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "1.png").write_bytes(image_bytes(1))
    _, said = take(data, tmp_path / "odd", license=licence)
    assert known != ("--license Frobnicate: names no licence" in "\n".join(said))
    _, said = take(data, tmp_path / "odd", license="CC BY")
    assert said[0].startswith("--license CC BY: leaves open which version")


def test_pictures_are_told_by_content_whatever_their_name(data, tmp_path):
    root = tmp_path / "odd"
    root.mkdir()
    (root / "no-suffix").write_bytes(image_bytes(1))
    (root / "wrong.gif").write_bytes(image_bytes(2, kind="WEBP"))
    (root / "notes.md").write_text("notes")
    (root / "._wrong.gif").write_bytes(b"\x00\x05\x16\x07")
    (root / ".git").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "a.png").write_bytes(image_bytes(3))
    done, said = take(data, root)
    assert done.new == 2
    assert {s.format for s in rows(data).values()} == {"PNG", "WEBP"}
    assert "hidden files and folders (3): ._wrong.gif, .git, __MACOSX" in said
    assert "other files (1): notes.md" in said


def test_names_that_are_not_utf8_are_shown_escaped(data, tmp_path):
    root = tmp_path / "old"
    root.mkdir()
    (root / os.fsdecode(b"schn\xe9e.png")).write_bytes(image_bytes(1))
    take(data, root)
    assert list(rows(data)) == ["schn\\xe9e.png"]


def test_the_dataset_inside_the_folder_is_left_out(pictures):
    data = Dataset(pictures / "data")
    assert take(data, pictures)[0].new == 2
    assert take(data, pictures)[0].known == 2
    assert data.read().samples[0].file_name in ("snow.png", "ice/storm.jpg")


def test_where_the_folder_lies_does_not_matter(data, pictures, tmp_path):
    take(data, pictures)
    before = [s.key for s in data.read().samples]
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.move(pictures, tmp_path / "elsewhere"))
    done, _ = take(data, moved)
    assert (done.new, done.known) == (0, 2)
    assert [s.key for s in data.read().samples] == before


def test_equal_paths_in_two_folders_do_not_collide(data, tmp_path):
    for number, parent in enumerate(("a/images", "b/images", "c")):
        root = tmp_path / parent
        root.mkdir(parents=True)
        (root / "1.png").write_bytes(image_bytes(number))
        assert take(data, root)[0].new == 1
    assert len(data.read().samples) == 3


def test_a_licence_stated_later_is_taken_over_and_verdicts_are_open_again(data, pictures):
    take(data, pictures)
    held = Verdict("hold", ("licence:none-stated",))
    samples = [
        Sample(**{**{f: getattr(s, f) for f in s.__slots__}, "train": held, "width": 8})
        for s in data.read().samples
    ]
    manifest.write_manifest(data.manifest, manifest.Manifest(samples, []))
    done, _ = take(data, pictures, license="CC0-1.0")
    assert (done.new, done.updated, done.known) == (0, 2, 0)
    for row in data.read().samples:
        assert row.license_text == "CC0-1.0" and row.train is None and row.width == 8
    assert take(data, pictures, license="CC0-1.0")[0].known == 2


def test_an_edited_picture_is_a_new_one(data, pictures):
    take(data, pictures)
    (pictures / "snow.png").write_bytes(image_bytes(9))
    done, _ = take(data, pictures)
    assert (done.new, done.known, done.rows) == (1, 1, 3)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("metadata.csv", b"", "metadata.csv (empty, no rows to read"),
        ("metadata.csv", b"name,text\nsnow.png,x\n", "metadata.csv (no column with names"),
        ("metadata.csv", b"file_name,text\nsnow.png,x\n,y\n", "metadata.csv line 3"),
        ("metadata.csv", b"file_name,text\nsnow.png,a, b\n", "metadata.csv line 2 (columns: 3"),
        ("metadata.csv", b'file_name,text\nsnow.png,"no end\n', "metadata.csv line 2 (not CSV"),
        ("metadata.csv", b"file_name,text\nsnow.png,\xe9\n", "iconv -f CP1252 -t UTF-8 "),
        ("metadata.jsonl", b'{"file_name": "snow.png"}\n{"fi', "metadata.jsonl line 2 (not JSON"),
        ("metadata.jsonl", b'{"text": "x"}\n', "metadata.jsonl line 1"),
        ("metadata.parquet", b"PAR1 not really", "metadata.parquet (not Parquet"),
        ("snow.txt", "caf\u00e9".encode("cp1252"), "iconv -f CP1252 -t UTF-8 "),
        ("snow.json", b"{", "snow.json (not JSON)"),
    ],
)
def test_what_is_broken_in_metadata_is_named_and_the_rest_is_taken(
    data, pictures, name, content, problem
):
    (pictures / name).write_bytes(content)
    done, said = take(data, pictures)
    assert done.new == 2
    assert any(problem in sentence for sentence in said)


def test_the_command_that_converts_a_text_works_when_typed(data, pictures, monkeypatch):
    monkeypatch.chdir(pictures.parent)
    root = Path(pictures.name)
    (root / "it's snow.txt").write_bytes("un caf\u00e9 sous la neige".encode("cp1252"))
    (root / "snow.png").rename(root / "it's snow.png")
    _, said = take(data, root)
    (sentence,) = [s for s in said if "not UTF-8" in s]
    subprocess.run(sentence.partition("in: ")[2][:-1], shell=True, check=True)
    take(data, root)
    assert rows(data)["it's snow.png"].texts == ("un caf\u00e9 sous la neige",)
    assert not any("not UTF-8" in s for s in take(data, root)[1])


def test_metadata_files_side_by_side_are_all_read(data, pictures):
    (pictures / "metadata.csv").write_text("file_name,text\nsnow.png,snow falling\n")
    (pictures / "metadata.jsonl").write_text('{"file_name": "snow.png", "text": "a field"}')
    _, said = take(data, pictures)
    assert rows(data)["snow.png"].texts == ("snow falling", "a field")
    assert any("several metadata files, all read (1): " in s for s in said)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.write_text("x"), "neither a folder of images"),
        (lambda path: path.mkdir(), "the folder is empty"),
        (lambda path: (path.mkdir(), (path / "a.md").write_text("x")), "holds no image"),
    ],
)
def test_what_is_no_folder_of_pictures_is_told_and_nothing_is_made(tmp_path, capsys, make, problem):
    path, data = tmp_path / "given", tmp_path / "data"
    make(path)
    with pytest.raises(SystemExit) as ended:
        main(["fetch", "folder", str(path), "--data", str(data)])
    assert ended.value.code == 3
    assert f"error: {path}: {problem}" in capsys.readouterr().err
    assert not data.exists()


def test_what_another_command_takes_is_named_with_it(tmp_path, capsys):
    with tarfile.open(tmp_path / "images.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a.png"))
    (tmp_path / "set.zip").write_bytes(b"PK")
    for name, fix in (
        (".", f"curate fetch shards {tmp_path}"),
        ("images.tar", f"curate fetch shards {tmp_path}/images.tar"),
        ("set.zip", f"unzip {tmp_path}/set.zip -d {tmp_path}/set"),
    ):
        with pytest.raises(SystemExit):
            main(["fetch", "folder", str(tmp_path / name), "--data", str(tmp_path / "data")])
        assert f"  fix: {fix}" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_the_command_prints_its_account(pictures, tmp_path, capsys):
    (pictures / "words.png").write_text("words")
    where = ["--data", str(tmp_path / "data")]
    words = ["fetch", "folder", str(pictures), "--license", "CC0-1.0", "--author", "me", *where]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        "new\t2", "updated\t0", "known\t0", "failed, tried again next time\t0",
        "not used: not-an-image\t1", "rows in the dataset\t3",
    ]  # fmt: skip
    assert "whose file's name is one: 2" in output.err
    with pytest.raises(SystemExit):
        main([*words, "--json"])
    assert json.loads(capsys.readouterr().out) == {
        "new": 0, "updated": 0, "restated": 0, "known": 2, "failed": 0, "failures": {},
        "refused": {}, "left_out": {"not-an-image": 1},
        "rows": 3, "dropped": {"not-an-image": 1},
    }  # fmt: skip


def test_on_a_terminal_there_is_a_bar_and_a_table(pictures, tmp_path):
    screen, terminal = pty.openpty()
    words = ["fetch", "folder", str(pictures), "--data", str(tmp_path / "data")]
    program = [sys.executable, "-m", "curate.cli", *words]
    running = subprocess.Popen(program, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    with open(screen, "rb", buffering=0) as file, suppress(OSError):  # noqa: PTH123 a descriptor
        while chunk := file.read(4096):
            shown += chunk
    assert running.wait(60) == 0
    assert b"images" in shown and b"0 of 2" in shown
    assert re.search(rb"rows in the dataset +2", shown)


def test_sources_are_listed_with_what_they_need(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("PIXABAY_API_KEY", raising=False)
    with pytest.raises(SystemExit):
        main(["sources", "list", "--json", "--data", str(tmp_path)])
    listed = {source["name"]: source for source in json.loads(capsys.readouterr().out)}
    assert {"folder", "shards", "openverse", "pixabay"} <= set(listed)
    assert listed["openverse"]["needs"] == "nothing"
    assert "PIXABAY_API_KEY" in listed["pixabay"]["needs"]
    assert "sources accept" in listed["pixabay"]["needs"]


@given(st.text(min_size=1, max_size=300), st.binary(max_size=9))
def test_ids_make_short_keys(name, content):
    made = image_id("images", name.replace("\0", "").encode("utf-8", "replace").decode(), content)
    assert set(made) <= set(string.ascii_letters + string.digits + "-") and len(made) <= 57


def test_many_images_are_synced_together(data, tmp_path, monkeypatch):
    """One by one it was 7 ms an image on a fast disk."""
    synced, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(file) or sync(file))
    root = tmp_path / "many"
    root.mkdir()
    for number in range(200):
        (root / f"{number}.png").write_bytes(image_bytes(number))
    assert take(data, root)[0].new == 200
    assert len(synced) < 20


@pytest.mark.corpora
def test_broken_pictures_of_other_projects_all_become_rows(data, corpora: Path):
    done, _ = take(data, corpora / "malformed")
    files = [p for p in (corpora / "malformed").rglob("*") if p.suffix in IMAGE_ENDINGS]
    visible = [p for p in files if not p.name.startswith(".")]
    assert done.rows >= len(visible) > 200
    assert all(s.dropped is None or ":" in s.dropped for s in data.read().samples)


@pytest.mark.corpora
def test_the_tiles_are_taken_whole(data, corpora: Path, tmp_path):
    subprocess.run(["tar", "xf", corpora / "tiles-cc0.tar.gz", "-C", tmp_path], check=True)
    (root,) = (p for p in tmp_path.iterdir() if p.is_dir() and p.name != "data")
    done, _ = take(data, root, license="CC0-1.0")
    assert done.new == 4357 and len(done.refused) == 0
