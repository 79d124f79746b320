"""`curate verify-shards`: whole shards pass, and every kind of damage is named."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import cli
from curate.dataset.folder import Dataset
from curate.dataset.sample import Verdict
from curate.errors import InputError
from curate.formats.shards import read_index
from curate.shards.pack import pack
from curate.shards.verify import Verification, verify_shards
from tests.packable import change_rows, dataset_of, noise
from tests.pictures import encoded


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = dataset_of(tmp_path / "data", 12)
    change_rows(made, {"group": "t-000"}, {"group": "t-000"})
    pack(made, size=24, format="png", shard_size=0.02, held_out=0.3)
    return made


def members(tar: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(tar) as opened:
        return [(m.name, opened.extractfile(m).read()) for m in opened]  # type: ignore[union-attr]


def write_tar(path: Path, parts: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in parts:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def index_again(shards: Path) -> None:
    """Make the index vouch for the tars as they are."""
    index = json.loads((shards / "index.json").read_bytes())
    for shard in index["shards"]:
        data = (shards / shard["name"]).read_bytes()
        shard |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (shards / "index.json").write_text(json.dumps(index))


def edit_first(shards: Path, change: Callable[[list[tuple[str, bytes]]], object]) -> None:
    """Change the members of the first shard, and the index with it."""
    tar = shards / read_index(shards).shards[0].name
    parts = members(tar)
    change(parts)
    write_tar(tar, parts)
    index_again(shards)


def edit_record(**said: Any) -> Callable[[list[tuple[str, bytes]]], object]:
    def change(parts: list[tuple[str, bytes]]) -> None:
        for n, (name, data) in enumerate(parts):
            if name.endswith(".json") and not json.loads(data)["group"]:
                parts[n] = name, json.dumps(json.loads(data) | said).encode()
                break

    return change


def replace_part(ending: str, data: bytes) -> Callable[[list[tuple[str, bytes]]], object]:
    def change(parts: list[tuple[str, bytes]]) -> None:
        place = next(n for n, (name, _) in enumerate(parts) if name.endswith(ending))
        parts[place] = parts[place][0], data

    return change


def double_first(parts: list[tuple[str, bytes]]) -> None:
    parts[0:0] = parts[:3]


def test_whole_shards_pass(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    found = verify_shards(dataset.root)
    assert found.faults == {} and found.images == 12
    assert found == Verification(str(dataset.root), "fubuki-shards/4", found.shards, 12, {})
    assert verify_shards(dataset.shards).faults == {}
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify-shards", str(dataset.root)])
    assert ended.value.code == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["images\t12\t"]


WRONG = {
    "shard-broken": lambda parts: parts.pop(),
    "key-not-unique": double_first,
    "record-broken": replace_part(".json", b"[]"),
    "record-incomplete": edit_record(more=1),
    "not-allowed-to-train": edit_record(train={"decision": "hold", "reasons": []}),
    "no-caption": replace_part(".txt", b" "),
    "caption-differs-from-record": replace_part(".txt", b"other words"),
    "undecodable": replace_part(".png", b"\x89PNG\r\n\x1a\n broken"),
    "size-differs-from-record": replace_part(".png", encoded(noise(3, 20, 20))),
    "weights-of-group": edit_record(weight=0.5),
    "licences-miscounted": edit_record(license="MIT"),
}


@pytest.mark.parametrize("fault", sorted(WRONG))
def test_what_is_wrong_is_named_even_where_hashes_agree(dataset: Dataset, fault: str) -> None:
    edit_first(dataset.shards, WRONG[fault])
    assert fault in verify_shards(dataset.root).faults


def test_changed_missing_and_surplus_tars_are_named(dataset: Dataset) -> None:
    first, second, *_ = (dataset.shards / s.name for s in read_index(dataset.root).shards)
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    second.unlink()
    write_tar(dataset.shards / "train-999999.tar", [])
    faults = verify_shards(dataset.root).faults
    assert faults["shard-changed"] == [first.name] and faults["shard-missing"] == [second.name]
    assert faults["shard-not-in-index"] == ["train-999999.tar"]
    pack(dataset, size=24, format="png", shard_size=0.02, held_out=0.3)
    assert verify_shards(dataset.root).faults == {}


def test_what_the_dataset_no_longer_allows_is_named(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    change_rows(dataset, *[{}] * 5, {"train": Verdict("hold", ())})
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify-shards", str(dataset.root), "--json"])
    assert ended.value.code == 1
    told = json.loads(capsys.readouterr().out)
    assert told["faults"] == {"stale: hold": ["t-005"]} and told["images"] == 12


def test_a_group_on_both_sides_is_named(dataset: Dataset) -> None:
    split_of = {
        name.partition(".")[0]: shard.split
        for shard in read_index(dataset.root).shards
        for name, _ in members(dataset.shards / shard.name)
    }
    shards = read_index(dataset.root).shards
    other = next(s for s in shards if s.split != split_of["t-000"])
    parts = members(dataset.shards / other.name)
    edit_record(group="t-000")(parts)
    write_tar(dataset.shards / other.name, parts)
    index_again(dataset.shards)
    found = verify_shards(dataset.root).faults
    assert found["group-trained-on-and-held-out"] == found["weights-of-group"] == ["t-000"]


# tars of others


def test_tars_of_others_pass_where_they_are_whole(tmp_path: Path) -> None:
    parts = [("a.png", encoded(noise(1))), ("a.txt", b"a cat"), ("b.png", encoded(noise(2)))]
    write_tar(tmp_path / "00000.tar", [*parts, ("b.json", b'{"caption": "a dog"}')])
    found = verify_shards(tmp_path)
    assert (found.kind, found.shards, found.images, found.faults) == ("tars", 1, 2, {})
    (tmp_path / "00001.tar.gz").write_bytes(gzip.compress((tmp_path / "00000.tar").read_bytes()))
    assert verify_shards(tmp_path / "00001.tar.gz").faults == {}


def test_damage_in_tars_of_others_is_named_by_reason(tmp_path: Path) -> None:
    png = encoded(noise(1))
    parts = [
        *(("a.png", png), ("a.txt", b"a cat"), ("alone.txt", b"no image")),
        *(("mute.png", png), ("cut.png", png[:-200]), ("cut.txt", b"cut off")),
        *(("a.png", png), ("a.txt", b"a cat again")),
        *(("odd.png", b"no image at all"), ("odd.txt", b"odd")),
    ]
    whole = write_tar(tmp_path / "00000.tar", parts).read_bytes()
    (tmp_path / "00001.tar").write_bytes(whole[: len(png) + 1024])
    faults = verify_shards(tmp_path).faults
    assert faults["key-not-unique"] == ["00000.tar/a"]
    assert faults["no-caption"] == ["00000.tar/mute", "00001.tar/a"], "cut off before its text"
    assert [name.partition(" (")[0] for name in faults["undecodable"]] == ["00000.tar/cut"]
    assert faults["not-an-image:text"] == ["00000.tar/odd"]
    assert faults["captions without an image"] == ["00000.tar/alone.txt"]
    assert len(faults["tar-broken"]) == 1 and "00001.tar" in faults["tar-broken"][0]


def test_where_nothing_is_a_sentence_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        verify_shards(tmp_path)
    with pytest.raises(InputError):
        verify_shards(tmp_path / "nowhere")
