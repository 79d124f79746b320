"""What `curate publish --check` finds: every way in which a folder can be other than it says."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from curate import cli
from curate.errors import InputError
from curate.publish.check import check_published
from curate.publish.folder import format_checksums
from curate.system.files import file_sha256
from tests.packable import change_rows
from tests.publishable import DENY, NC, by_address, packed, published, shareable

TAR, TABLE, URLS = "data/train-000000.tar", "metadata.parquet", "urls.parquet"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    alike = {"license": "CC-BY-SA-4.0"}
    dataset = packed(shareable(root / "data"), {}, by_address("nc"), alike, {"group": "t-003"})
    published(dataset, root / "out")
    return root


def rewrite_records(tar: Path, change: Callable[[str, bytes], dict[str, bytes]]) -> None:
    """Write a tar anew, each member given as what `change` makes of it."""
    with tarfile.open(tar) as old:
        parts = [(m.name, old.extractfile(m).read()) for m in old]  # type: ignore[union-attr]
    tar.unlink()
    with tarfile.open(tar, "w") as new:
        for name, data in (pair for part in parts for pair in change(*part).items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))


def change_record(**changes: Any) -> Callable[[Path], None]:
    """Change the record of t-000."""

    def change(name: str, data: bytes) -> dict[str, bytes]:
        if name != "t-000.json":
            return {name: data}
        return {name: json.dumps(json.loads(data) | changes).encode()}

    return lambda folder: rewrite_records(folder / TAR, change)


def drop_member(gone: str) -> Callable[[Path], None]:
    return lambda folder: rewrite_records(
        folder / TAR, lambda name, data: {} if name == gone else {name: data}
    )


def twice(folder: Path) -> None:
    def change(name: str, data: bytes) -> dict[str, bytes]:
        return {name: data, name.replace("t-000", "t-0001"): data.replace(b"t-000", b"t-0001")}

    rewrite_records(folder / TAR, change)


def change_table(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        table = parquet.read_table(folder / name)
        rows = table.to_pylist()
        rows[0] |= changes
        parquet.write_table(pa.Table.from_pylist(rows, table.schema), folder / name)

    return change


def replace_text(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def write_text(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).write_text(text), None][1]


def new_checksums(folder: Path) -> None:
    """What somebody who tampers would do, too."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "checksums.sha256")
    hashes = {p.relative_to(folder).as_posix(): file_sha256(p) for p in files}
    (folder / "checksums.sha256").write_text(format_checksums(hashes))


BASIS = {"decision": "allow", "reasons": ["basis:said Bob"]}
TAMPERED: list[tuple[Callable[[Path], None], str]] = [
    (change_record(share_dataset={"decision": "hold", "reasons": []}), "not-shareable"),
    (change_record(share_dataset=None), "not-shareable"),
    (change_record(train={"decision": "deny", "reasons": []}), "not-shareable"),
    (change_record(train=BASIS), "not-for-others"),
    (change_record(image_url="http://localhost/a.png"), "leak:address"),
    (change_record(title="/mnt/anna/a.png"), "leak:local-path"),
    (change_record(license=None), "no-licence"),
    (change_record(credits=[]), "no-licence"),
    (change_record(source="pixabay"), "terms-forbid"),
    (change_record(license="CC-BY-SA-4.0"), "share-alike-mixed"),
    (change_record(width=7), "row-differs"),
    (change_record(captions=[{"text": "an orc", "origin": "text"}]), "row-differs"),
    (drop_member("t-000.json"), "no-record"),
    (drop_member("t-000.jpg"), "no-image"),
    (drop_member("t-000.txt"), "no-caption"),
    (twice, "no-row"),
    (write_text(TAR, "no tar"), "broken-tar"),
    (change_table(TABLE, author="Somebody else"), "row-differs"),
    (change_table(TABLE, key="t-999"), "no-image"),
    (change_table(TABLE, shard="data/train-000009.tar"), "no-image"),
    (write_text(TABLE, "no table"), "broken-table"),
    (change_table(URLS, url="http://10.0.0.1/a.png"), "leak:address"),
    (change_table(URLS, license=None), "no-licence"),
    (change_table(URLS, source="pixabay"), "terms-forbid"),
    (change_table(URLS, license="LicenseRef-AllRightsReserved"), "licence-forbids"),
    (write_text(URLS, "no table"), "broken-table"),
    (replace_text("CREDITS.md", "A. Nyone", "Somebody"), "no-credits"),
    (replace_text("CREDITS.csv", "A. Nyone", "Somebody"), "no-credits"),
    (replace_text("README.md", "# ", "# /mnt/anna/ "), "leak:local-path"),
    (replace_text("README.md", "license: other", "license: [other"), "card-unreadable"),
    (replace_text("README.md", "---\n", "\n---\n"), "card-unreadable"),
    (replace_text("README.md", "data/train-*.tar", "data/train-1*.tar"), "card-differs"),
    (replace_text("README.md", "LICENSES/README.md", "LICENSE"), "card-differs"),
    (replace_text("croissant.json", '"sha256": "', '"sha256": "0'), "croissant-differs"),
    (replace_text("croissant.json", TAR, "data/train-000001.tar"), "croissant-differs"),
    (
        replace_text("croissant.json", '"column": "author"', '"column": "x"'),
        "croissant-differs",
    ),
    (replace_text("croissant.json", "croissant/1.1", "croissant/1.0"), "croissant-differs"),
    (write_text("croissant.json", "[" * 100_000), "croissant-unreadable"),
    (write_text("notes.txt", "from /mnt/anna"), "leak:local-path"),
]


def test_a_folder_as_it_was_written_is_as_it_says(whole: Path) -> None:
    found = check_published(whole / "out")
    assert (found.images, found.addresses, found.found) == (4, 1, {})
    assert found.files == sum(p.is_file() for p in (whole / "out").rglob("*"))


@pytest.mark.parametrize(("tamper", "why"), TAMPERED)
def test_what_was_changed_is_found_even_under_new_checksums(
    whole: Path, tmp_path: Path, tamper: Callable[[Path], None], why: str
) -> None:
    folder = shutil.copytree(whole / "out", tmp_path / "out")
    tamper(folder)
    assert {"checksum", "not-listed"} & check_published(folder).found.keys()
    new_checksums(folder)
    assert why in check_published(folder).found


def test_files_that_are_gone_others_and_links_are_found(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole / "out", tmp_path / "out")
    (folder / "CREDITS.md").unlink()
    (folder / "data/more.tar").write_bytes(b"x")
    (folder / "LICENSES/README.md").unlink()
    (folder / "LICENSES/README.md").symlink_to("../README.md")
    (folder / ".git").mkdir()
    (folder / ".git/config").write_text("a hub's tools are theirs")
    found = check_published(folder).found
    assert found["missing"] == ["CREDITS.md"] and found["not-listed"] == ["data/more.tar"]
    assert found["link"] == ["LICENSES/README.md"]


@pytest.mark.parametrize("listed", ["", "nonsense", f"{'0' * 64}  ../secret\n"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, listed: str) -> None:
    (tmp_path / "checksums.sha256").write_text(listed)
    if not listed:
        assert "missing" in check_published(tmp_path).found
        return
    with pytest.raises(InputError, match="not known as published"):
        check_published(tmp_path)


def test_a_dataset_that_became_stricter_is_heard(tmp_path: Path) -> None:
    dataset = packed(shareable(tmp_path / "data"), {}, {}, {}, by_address("nc"))
    published(dataset, tmp_path / "out")
    assert not check_published(tmp_path / "out", dataset).found
    removed = {"dropped": "removed:2026"}
    change_rows(dataset, {"share_dataset": DENY}, {"train": NC}, removed, {"share_dataset": DENY})
    assert check_published(tmp_path / "out", dataset).found == {
        "stale:dropped:removed": ["t-002"],
        "stale:hold": ["t-001"],
        "stale:share_dataset:deny": ["https://images.example.org/nc.png", "t-000", "t-002"],
    }


def test_the_command_prints_counts_and_ends_with_1(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(whole / "out", tmp_path / "out")
    ends = []
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            cli.main(["publish", "--check", str(folder), "--json"])
        ends.append((ended.value.code, json.loads(capsys.readouterr().out)["found"]))
        (folder / "more.txt").write_text("x")
    assert ends == [(0, {}), (1, {"not-listed": ["more.txt"]})]
