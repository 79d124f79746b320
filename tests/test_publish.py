"""Publications: what they hold, who reads them, what a kill leaves, what is refused."""

import json
import shlex
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
import yaml

from curate import cli
from curate.errors import InputError, LicenceError
from curate.publish.check import check_published
from curate.shards.pack import pack
from tests.packable import change_rows
from tests.publishable import NC, by_address, members, packed, published, rows_of, shareable


def test_what_may_be_shared_is_published_with_all_that_is_said_of_it(tmp_path: Path) -> None:
    alike = {"license": "CC-BY-SA-4.0", "title": "Alike"}
    dataset = packed(shareable(tmp_path / "data"), {}, by_address("nc"), alike)
    done = published(dataset, tmp_path / "out", name="Snow")
    assert (done.images, done.addresses, done.withheld) == ({"train": 4}, 1, {})
    listed = (tmp_path / "out/checksums.sha256").read_text().splitlines()
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert {line[66:] for line in listed} == files - {"checksums.sha256"}
    command = ["sha256sum", "-c", "--quiet", "checksums.sha256"]
    assert subprocess.run(command, cwd=tmp_path / "out", check=False).returncode == 0
    rows = {row["file_name"]: row for row in rows_of(tmp_path / "out/metadata.parquet")}
    there = [members(tar) for tar in sorted((tmp_path / "out/data").iterdir())]
    assert {n for tar in there for n in tar if n.endswith(".jpg")} == rows.keys()
    assert rows["t-002.jpg"]["shard"] == "data/train_sharealike-000000.tar"
    assert [len(tar) // 3 for tar in there] == [3, 1]
    (address,) = rows_of(tmp_path / "out/urls.parquet")
    assert address["url"] == "https://images.example.org/nc.png" and address["width"] is None
    assert address["license"] == "CC-BY-NC-4.0" and address["caption"] == "Snow number 1"
    card = (tmp_path / "out/README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license_link"] == "LICENSES/README.md" and "# Snow" in card
    (files,) = front["configs"][0]["data_files"]
    assert files["path"] == ["data/train-*.tar", "data/train_sharealike-*.tar"]


def test_nothing_to_share_is_a_matter_of_licences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = packed(shareable(tmp_path / "data", 2), by_address("a"), by_address("b"))
    words = ["publish", str(tmp_path / "out"), "--data", str(dataset.root)]
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 5 and not (tmp_path / "out").exists()
    assert "by address alone 2" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["data"], "nothing is left beside it"


def test_stale_verdicts_are_refused_with_what_mends_them(tmp_path: Path) -> None:
    dataset = packed(shareable(tmp_path / "data"))
    change_rows(dataset, {"dropped": "removed:2026"})
    with pytest.raises(LicenceError, match=r"dropped:removed 1\), such as t-000") as refused:
        published(dataset, tmp_path / "out")
    assert "curate pack" in refused.value.fix
    assert json.loads((dataset.shards / "index.json").read_text())["samples"] == 5


def state_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def test_typed_twice_it_touches_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, folder = packed(shareable(tmp_path / "data"), {"license": "MIT"}), tmp_path / "out"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    assert not published(dataset, folder).unchanged
    before = state_of(folder)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1799999999")
    assert published(dataset, folder).unchanged
    assert state_of(folder) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "out"]


def test_whole_shards_are_the_same_files_and_others_keep_theirs(tmp_path: Path) -> None:
    dataset, folder = shareable(tmp_path / "data", 12), tmp_path / "out"
    packed(dataset, shard_size=0.03)
    done = published(dataset, folder)
    tars = {tar.name: tar for tar in (folder / "data").iterdir()}
    assert len(tars) == done.shards > 2 and done.rewritten == 0
    assert all(tar.samefile(dataset.shards / name) for name, tar in tars.items())
    inodes = {name: tar.stat().st_ino for name, tar in tars.items()}
    change_rows(dataset, {"share_dataset": NC, "license": "CC-BY-NC-4.0"})
    pack(dataset, size=48, shard_size=0.03)
    again = published(dataset, folder)
    changed = [n for n, inode in inodes.items() if (folder / "data" / n).stat().st_ino != inode]
    assert again.rewritten == 1 >= len(changed) and again.withheld == {
        "t-000": "share_dataset:hold:no-address"
    }


def test_a_version_says_what_became_of_the_data(tmp_path: Path) -> None:
    dataset, folder = packed(shareable(tmp_path / "data", 3)), tmp_path / "out"
    assert published(dataset, folder).version == "1.0.0"
    kept = {
        p: p.stat().st_ino for p in (folder / "metadata.parquet", folder / "LICENSES/README.md")
    }
    assert published(dataset, folder, name="Snow").version == "1.0.1"
    assert {p: p.stat().st_ino for p in kept} == kept, "what did not change is the same file"
    assert published(dataset, folder, name="Snow").version == "1.0.1"
    packed(dataset, {"license": "CC-BY-SA-4.0"})  # taken out of one tar
    assert published(dataset, folder, name="Snow").version == "2.0.0"
    value = json.loads((folder / "croissant.json").read_text())
    assert value["version"] == "2.0.0" and value["name"] == "Snow"
    published(dataset, folder, creator="A. Nyone", url="https://example.org/snow")
    value = json.loads((folder / "croissant.json").read_text())
    assert value["creator"]["name"] == "A. Nyone" and value["url"] == "https://example.org/snow"


def test_what_is_held_out_is_a_split_of_its_own(tmp_path: Path) -> None:
    dataset = packed(shareable(tmp_path / "data", 12), held_out=0.4)
    done = published(dataset, tmp_path / "out")
    assert list(done.images) == ["train", "held_out"] and sum(done.images.values()) == 12
    front = yaml.safe_load((tmp_path / "out/README.md").read_text().split("---\n")[1])
    files = {f["split"]: f["path"] for f in front["configs"][0]["data_files"]}
    assert files == {"train": ["data/train-*.tar"], "held_out": ["data/held_out-*.tar"]}
    splits = [row["split"] for row in rows_of(tmp_path / "out/metadata.parquet")]
    assert {n: splits.count(n) for n in done.images} == done.images
    assert not check_published(tmp_path / "out", dataset).found


@pytest.mark.parametrize(
    "there", ["notes.txt", "data/more.tar", "checksums.sha256", "a file", "a link"]
)
def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path, there: str) -> None:
    dataset, folder = packed(shareable(tmp_path / "data", 1)), tmp_path / "out"
    if there == "a file":
        folder.write_text("mine")
    elif there == "a link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to("elsewhere")
    else:
        if there == "data/more.tar":
            published(dataset, folder)
        (folder / there).parent.mkdir(parents=True, exist_ok=True)
        (folder / there).write_text("mine")
        (folder / "mine.png").write_text("mine")
    before = state_of(tmp_path)
    with pytest.raises(InputError) as refused:
        published(dataset, folder)
    assert state_of(tmp_path) == before
    with pytest.raises(SystemExit) as ended:
        cli.main(shlex.split(refused.value.fix)[1:])
    assert ended.value.code == 0 and (tmp_path / "out-2/README.md").is_file()


def test_what_a_hub_left_there_stays(tmp_path: Path) -> None:
    dataset, folder = packed(shareable(tmp_path / "data", 2)), tmp_path / "out"
    published(dataset, folder)
    (folder / ".git").mkdir()
    (folder / ".git/HEAD").write_text("ref: main")
    (folder / ".gitattributes").write_text("*.tar lfs")
    published(dataset, folder, name="Another")
    assert (folder / ".git/HEAD").read_text() == "ref: main"
    assert (folder / ".gitattributes").is_file() and "# Another" in (
        folder / "README.md"
    ).read_text()
    assert not check_published(folder).found


KILLED = """
import os, sys
from pathlib import Path
import curate.publish.folder as folder
from curate.dataset.folder import Dataset
from curate.publish.publish import PublishSettings, publish
left = int(sys.argv[3])
def counted(name):
    real = getattr(os, name)
    def call(*words, **settings):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return real(*words, **settings)
    setattr(os, name, call)
for name in ("rename", "link", "unlink", "mkdir", "rmdir", "sync", "fsync"):
    counted(name)
publish(Dataset(Path(sys.argv[1])), Path(sys.argv[2]), PublishSettings("After"))
"""


def test_killed_at_any_moment_it_is_the_old_or_the_new_and_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    dataset, folder = packed(shareable(tmp_path / "data", 2)), tmp_path / "there/out"
    published(dataset, folder, name="Before")
    kept = shutil.copytree(tmp_path / "there", tmp_path / "kept")
    (kept / "out/.gitattributes").write_text("a hub's")
    for after in count():
        shutil.rmtree(tmp_path / "there")
        shutil.copytree(kept, tmp_path / "there")
        words = [sys.executable, "-c", KILLED, str(dataset.root), str(folder), str(after)]
        ended = subprocess.run(words, check=False).returncode
        if folder.exists():
            found = check_published(folder)
            assert not found.found, (after, found.found)
        else:
            assert (folder.parent / ".out.old").is_dir() and (folder.parent / ".out.part").is_dir()
        published(dataset, folder, name="After")
        assert "# After" in (folder / "README.md").read_text()
        assert (folder / ".gitattributes").is_file()
        assert not check_published(folder).found
        assert [p.name for p in folder.parent.iterdir()] == ["out"]
        if ended == 0:
            break
    assert after > 8, "it was killed at many moments"
