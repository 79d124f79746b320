"""Publications: what they hold, who reads them, what a kill leaves, what is refused."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from curate import cli
from curate.errors import LicenceError
from tests.packable import change_rows
from tests.publishable import by_address, members, packed, published, rows_of, shareable


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
