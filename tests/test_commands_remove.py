"""`curate remove`: a picture goes with its copies, and none of them returns under any name."""

import json
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pictures import encoded, photograph
from PIL import Image

from curate.cli import main
from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample
from curate.rights import removals

FIRST = photograph(1, (96, 96))
PICTURES = {
    "asher.png": encoded(FIRST),
    "asher-again.png": encoded(FIRST),
    "asher-webp.webp": encoded(FIRST, "WEBP", lossless=True),
    "asher-small.jpg": encoded(FIRST.resize((64, 64)), "JPEG", quality=90),
    "other.png": encoded(photograph(2, (96, 96))),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pictures, and in `data` what is built of them."""
    root = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("SOURCE_DATE_EPOCH", "1790000000")
        fetch(PICTURES)
        run("build", "--size", "32")
    return root


@pytest.fixture
def data(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    return Dataset(Path("data"))


def fetch(pictures: dict[str, bytes], folder: str = "pictures") -> None:
    Path(folder).mkdir(exist_ok=True)
    for name, content in pictures.items():
        (Path(folder) / name).write_bytes(content)
    run("fetch", "folder", folder, "--license", "own")


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def by_name(dataset: Dataset) -> dict[str, Sample]:
    return {str(s.file_name): s for s in dataset.read().samples}


def contents(root: Path) -> dict[str, bytes]:
    """Every file but what is derived, which comes and goes."""
    files = (p for p in root.rglob("*") if p.is_file() and p.parts[len(root.parts)] != "derived")
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


def test_a_picture_goes_with_all_its_copies(
    data: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    before = by_name(data)
    capsys.readouterr()
    assert run("remove", before["asher.png"].key, "--reason", "its author\nasked for it") == 0
    told = capsys.readouterr()
    assert dict(line.split("\t") for line in told.out.splitlines()) == {
        before[name].key: "named" if name == "asher.png" else "copy"
        for name in PICTURES
        if name.startswith("asher")
    }
    assert told.err.splitlines()[-1] == (
        "  curate pack --data data --size 32 --format jpg --background white"
    )
    rows = by_name(data)
    for name, row in rows.items():
        gone = name.startswith("asher")
        assert row.dropped == ("removed:its author asked for it" if gone else None)
        assert data.store.path_of(str(row.sha256)).exists() is not gone
    state = contents(data.root)
    assert run("remove", "asher.png", "--reason", "again") == 0
    assert contents(data.root) == state, "a second time changes nothing"


def test_a_kill_before_the_rows_are_marked_is_made_good(data: Dataset) -> None:
    whole = Dataset(Path("whole"))
    state = contents(data.root)
    for name, content in state.items():
        (whole.root / name).parent.mkdir(parents=True, exist_ok=True)
        (whole.root / name).write_bytes(content)
    run("remove", "asher.png", "--reason", "r", "--data", "whole")
    kept = (whole.root / removals.FILE_NAME).read_bytes()
    (data.root / removals.FILE_NAME).write_bytes(kept)
    run("remove", "asher.png", "--reason", "r")
    assert contents(data.root) == contents(whole.root)


def test_dedup_alone_knows_a_resized_copy(data: Dataset) -> None:
    run("remove", "asher.png", "--reason", "asked for")
    fetch({"stranger.png": encoded(FIRST.resize((160, 160)))}, "elsewhere")
    run("check")
    assert by_name(data)["stranger.png"].dropped is None, "not measured yet"
    run("dedup")
    assert by_name(data)["stranger.png"].dropped == "removed:asked for"


@pytest.mark.parametrize("form", ["bytes", "pixels", "larger", "smaller", "mirrored", "recoded"])
def test_it_never_returns_under_any_name(data: Dataset, form: str) -> None:
    run("remove", "asher.png", "--reason", "asked for")
    image = {
        "bytes": PICTURES["asher.png"],
        "pixels": encoded(FIRST, compress_level=1),
        "larger": encoded(FIRST.resize((160, 160), Image.Resampling.BICUBIC)),
        "smaller": encoded(FIRST.resize((48, 48), Image.Resampling.LANCZOS)),
        "mirrored": encoded(FIRST.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        "recoded": encoded(FIRST, "JPEG", quality=70),
    }[form]
    fetch({f"stranger{'.png' if form != 'recoded' else '.jpg'}": image}, "elsewhere")
    run("build", "--size", "32")
    (row,) = (s for name, s in by_name(data).items() if name.startswith("stranger"))
    assert row.dropped == "removed:asked for"
    with Path("data/shards/index.json").open() as file:
        assert json.load(file)["samples"] == 1
    state = contents(data.root)
    run("build", "--size", "32")
    assert contents(data.root) == state


@pytest.mark.parametrize("form", ["recoded", "larger"])
def test_what_is_removed_before_it_was_measured_is_known_again(data: Dataset, form: str) -> None:
    fetch({"second.png": encoded(photograph(3))}, "second")
    assert run("remove", "second.png", "--reason", "asked for") == 0
    assert by_name(data)["second.png"].phash
    image = {
        "recoded": encoded(photograph(3), "JPEG", quality=70),
        "larger": encoded(photograph(3).resize((160, 160))),
    }[form]
    fetch({"stranger.img": image}, "elsewhere")
    run("build", "--size", "32")
    assert by_name(data)["stranger.img"].dropped == "removed:asked for"


def test_what_is_removed_without_its_bytes_stays_removed(data: Dataset) -> None:
    row = by_name(data)["other.png"]
    fetch({"second.png": encoded(photograph(3))}, "second")
    for name in ("other.png", "second.png"):
        data.store.path_of(str(by_name(data)[name].sha256)).unlink()
        assert run("remove", name, "--reason", "r") == 0
    fetch({"second.png": encoded(photograph(3))}, "second")
    fetch({"again.png": PICTURES["other.png"]}, "elsewhere")
    rows = by_name(data)
    assert [rows[n].dropped for n in ("second.png", "again.png")] == ["removed:r"] * 2
    assert not data.store.path_of(str(row.sha256)).exists()


def test_a_list_that_is_lost_is_made_good_by_the_rows(data: Dataset) -> None:
    run("remove", "asher.png", "--reason", "asked for")
    (data.root / removals.FILE_NAME).unlink()
    fetch({"stranger.png": encoded(FIRST.resize((160, 160)))}, "elsewhere")
    run("build", "--size", "32")
    assert by_name(data)["stranger.png"].dropped == "removed:asked for"
    run("remove", "other.png", "--reason", "r")
    listed = {stone.key for stone in removals.read(data.root)}
    assert {by_name(data)[n].key for n in ("asher.png", "other.png")} <= listed


def test_what_was_removed_can_be_taken_back(
    data: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    before = by_name(data)
    run("remove", "other.png", "--reason", "r")
    capsys.readouterr()
    assert run("remove", "--undo", "other.png") == 0
    told = capsys.readouterr()
    assert told.out == f"{before['other.png'].key}\tits bytes are gone: fetch it again\n"
    assert by_name(data)["other.png"].drop_reason == "download"
    fetch({})
    run("build", "--size", "32")
    after = by_name(data)
    names = ("asher.png", "other.png")
    assert {n: after[n].dropped for n in names} == {n: before[n].dropped for n in names}
    assert removals.read(data.root) == []
    assert run("remove", "--undo", "other.png") == 3
    assert "is not removed\n  fix: curate remove --list" in capsys.readouterr().err


def test_a_picture_that_only_looks_alike_is_named_and_can_be_spared(
    data: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = by_name(data)
    phash = rows["asher.png"].phash
    alike = [replace(s, phash=phash) if s.file_name == "other.png" else s for s in rows.values()]
    with data.lock():
        data.record_step(data.read_manifest(), "test", {}, alike)
    capsys.readouterr()
    run("remove", "asher.png", "--reason", "r")
    told = capsys.readouterr()
    other = rows["other.png"].key
    assert f"{other}\tlooks like it" in told.out
    assert f"  curate remove --undo {other}\n" in told.err
    assert f"  curate remove {other} --reason" in told.err
    assert data.store.path_of(str(rows["other.png"].sha256)).exists(), "it may be another image"
    assert run("remove", "--undo", other) == 0
    assert run("check") == 0
    assert by_name(data)["other.png"].dropped is None, "its hash no longer counts against it"
    assert by_name(data)["asher.png"].dropped == "removed:r"


def test_what_only_looks_alike_is_deleted_once_it_is_named(data: Dataset) -> None:
    rows = by_name(data)
    alike = [replace(s, phash=rows["asher.png"].phash) for s in rows.values()]
    with data.lock():
        data.record_step(data.read_manifest(), "test", {}, alike)
    run("remove", "asher.png", "--reason", "r")
    stored = data.store.path_of(str(rows["other.png"].sha256))
    assert stored.exists()
    assert run("remove", "other.png", "--reason", "the same picture") == 0
    assert not stored.exists()
    assert rows["other.png"].key in {stone.key for stone in removals.read(data.root)}


def test_several_are_taken_back_at_once(data: Dataset) -> None:
    names = ("other.png", "asher.png")
    for name in names:
        run("remove", name, "--reason", "r")
    assert run("remove", "--undo", *names) == 0
    assert {by_name(data)[n].drop_reason for n in names} == {"download"}
    assert removals.read(data.root) == [], "their copies are back, too"


def test_what_was_said_of_a_copy_counts_after_a_removal_was_undone(data: Dataset) -> None:
    """One copy is stated strictly; its bytes are gone, what it says of the others is not."""
    strict = PICTURES["asher-small.jpg"]
    (Path("elsewhere")).mkdir()
    (Path("elsewhere") / "strict.webp").write_bytes(encoded(Image.open(BytesIO(strict)), "WEBP"))
    run("fetch", "folder", "elsewhere", "--license", "CC BY-ND 4.0")
    run("build", "--size", "32")
    assert {str(by_name(data)["asher.png"].train)} == {str(by_name(data)["strict.webp"].train)}
    run("remove", "strict.webp", "--reason", "r")
    run("remove", "--undo", "asher.png")
    run("fetch", "folder", "pictures", "--license", "own")
    run("dedup")
    run("check")
    rows = by_name(data)
    assert rows["strict.webp"].drop_reason == "download"
    copies = [row for name, row in rows.items() if name.startswith("asher")]
    assert {row.train.decision for row in copies if row.train} == {"deny"}


def test_the_list(data: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("remove", "--list") == 0
    assert capsys.readouterr() == ("", "data: nothing was removed\n")
    run("remove", "other.png", "--reason", "asked for")
    capsys.readouterr()
    assert run("remove", "--list") == 0
    key = by_name(data)["other.png"].key
    assert capsys.readouterr().out == f"{key}\t2026-09-21T14:13:20Z\tasked for\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["remove"],
            2,
            "curate remove: is given no image\n  fix: curate remove KEY --reason 'its author",
        ),
        (
            ["remove", "other.png"],
            2,
            "--reason: says nothing\n  fix: curate remove other.png --reason 'its",
        ),
        (["remove", "other.png", "--reason", " "], 2, "--reason: says nothing"),
        (["remove", "ash", "--reason", "r"], 3, "4 images fit"),
        (["remove", "zzz", "--reason", "r"], 3, "no image has this key"),
        (["remove", "--list", "--data", "gone"], 3, "gone: no dataset here"),
        (["remove", "x", "--reason", "r", "--data", "gone"], 3, "gone: no dataset here"),
    ],
)
def test_messages(
    data: Dataset, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    state = contents(data.root)
    assert run(*words) == code
    assert message in capsys.readouterr().err
    assert contents(data.root) == state
