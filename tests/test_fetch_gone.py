"""What left a folder since it was fetched is found by the keys of its rows, and only that."""

import hashlib
import os
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import image_bytes

from curate.cli import main
from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample, make_key
from curate.fetch.gone import MOST_KEYS, REASON, describe_gone, find_gone
from curate.images import sniff
from curate.sources import folder
from curate.sources.local import image_id, is_from


def rows(root: Path) -> list[Sample]:
    """What a fetch makes of a folder."""
    made = []
    for item in folder.listing(root / "nowhere", root).found:
        dropped = item.dropped or sniff.refusal_reason(item.data or b"")
        sha256 = None if dropped else hashlib.sha256(item.data or b"").hexdigest()
        key = make_key("folder", item.id)
        made.append(Sample(key, "folder", file_name=item.file_name, sha256=sha256, dropped=dropped))
    return made


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    (root / "ice").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "ice/c.png")):
        (root / name).write_bytes(image_bytes(number))
    return root


def compare(root: Path, before: list[Sample]) -> tuple[list[str], list[str]]:
    found = find_gone("folder", root.name, before, rows(root))
    return [str(s.file_name) for s in found.gone], [str(s.file_name) for s in found.replaced]


def test_an_unchanged_folder_has_lost_nothing(pictures):
    before = rows(pictures)
    assert compare(pictures, before) == ([], [])
    moved = pictures.parent / "elsewhere" / "pictures"
    moved.parent.mkdir()
    assert compare(pictures.rename(moved), before) == ([], [])


def test_one_is_withdrawn_and_one_repainted(pictures):
    before = rows(pictures)
    (pictures / "a.png").unlink()
    (pictures / "ice/c.png").write_bytes(image_bytes(9))
    assert compare(pictures, before) == (["a.png"], ["ice/c.png"])
    found = find_gone("folder", "pictures", before, rows(pictures))
    said = describe_gone(found, "pictures", Path("d"))
    assert said[:2] == [
        "pictures: of the images that came from a folder of this name, 1 is gone (a.png), "
        "1 is replaced (ice/c.png)",
        "they stay in the dataset; if it was this same folder, take them out:",
    ]
    keys = [s.key for s in before if s.file_name != "b.png"]
    words = ["curate", "remove", *keys, "--reason", REASON, "--data", "d"]
    assert shlex.split(said[2]) == words


def test_what_was_taken_out_or_refused_is_not_told_again(pictures):
    before = rows(pictures)
    (pictures / "a.png").unlink()
    (a,) = [s for s in before if s.file_name == "a.png"]
    rest = [s for s in before if s != a]
    assert compare(pictures, [replace(a, dropped="removed:x"), *rest]) == ([], [])
    assert compare(pictures, [replace(a, dropped="opt-out:noai"), *rest]) == ([], [])
    assert compare(pictures, [replace(a, dropped="duplicate:b"), *rest]) == (["a.png"], [])


def test_an_image_that_was_moved_is_still_there(pictures):
    before = rows(pictures)
    (pictures / "a.png").rename(pictures / "ice/a.png")
    assert compare(pictures, before) == ([], [])


def test_a_file_that_is_no_image_now_replaces_one_that_cannot_be_read_does_not(pictures):
    before = rows(pictures)
    (pictures / "a.png").write_text("words")
    (pictures / "b.png").write_bytes(b"")
    assert compare(pictures, before) == ([], ["a.png", "b.png"])
    met = [replace(s, dropped="unreadable:denied") if s.file_name == "a.png" else s for s in before]
    met = [replace(s, key="other", sha256=None) if s.dropped else s for s in met]
    assert find_gone("folder", "pictures", before, met).replaced == ()


def test_a_name_in_metadata_alone_is_a_file_that_is_gone(pictures):
    (pictures / "metadata.csv").write_text("file_name,text\na.png,a cat\n")
    before = rows(pictures)
    (pictures / "a.png").unlink()
    assert compare(pictures, before) == (["a.png"], [])


def test_rows_of_other_folders_and_sources_are_none_of_its_own(pictures):
    before = rows(pictures)
    other = pictures.parent / "other"
    pictures.rename(other)
    others = rows(other)
    other.rename(pictures)
    foreign = [replace(s, key=f"openverse-{n}", source="openverse") for n, s in enumerate(before)]
    (pictures / "a.png").unlink()
    assert compare(pictures, [*others, *foreign]) == ([], [])
    assert compare(pictures, [*before, *others, *foreign]) == (["a.png"], [])


@pytest.mark.parametrize("name", ["a.png", "new.png"])
def test_of_two_folders_of_one_name_it_never_says_that_they_are_one(pictures, tmp_path, name):
    """Also where both were fetched before, in whatever order, since nobody knows where they lay."""
    other = tmp_path / "other" / "pictures"
    other.mkdir(parents=True)
    (other / name).write_bytes(image_bytes(7))
    every = [*rows(pictures), *rows(other)]
    for before, met in (
        (rows(pictures), rows(other)),
        (every, rows(pictures)),
        (every, rows(other)),
    ):
        found = find_gone("folder", "pictures", before, met)
        assert {s.key for s in (*found.gone, *found.replaced)} == {
            s.key for s in before if s not in met
        }
        said = describe_gone(found, "pictures", Path("data"))
        assert "from a folder of this name" in said[0] and "if it was this same folder" in said[1]


def test_many_keys_are_a_command_that_can_be_typed_again(pictures):
    before = rows(pictures)
    many = tuple(replace(before[0], key=f"folder-{n}") for n in range(1234))
    found = replace(find_gone("folder", "pictures", before, before), gone=many)
    said = describe_gone(found, "pictures", Path("data"))
    assert "1,234 are gone (a.png, a.png, a.png and 1,231 more)" in said[0]
    assert said[1].endswith(f"(the first {MOST_KEYS} of 1,234):")
    assert len(shlex.split(said[2])) == 2 + MOST_KEYS + 2


def test_names_that_are_not_text_are_known_again(tmp_path):
    root = tmp_path / "odd"
    root.mkdir()
    for number, name in enumerate((b"\xff\xfe.png", rb"back\xffslash.png", "ü.png".encode())):
        (root / os.fsdecode(name)).write_bytes(image_bytes(number))
    (root / "stays.png").write_bytes(image_bytes(5))
    before = rows(root)
    assert all(is_from("folder", "odd", s) for s in before) and len(before) == 4
    for file in root.glob("*"):
        if file.name != "stays.png":
            file.unlink()
    assert sorted(compare(root, before)[0]) == ["\\xff\\xfe.png", "back\\xffslash.png", "ü.png"]


@given(st.permutations(range(6)), st.integers(0, 6), st.integers(0, 6), st.integers(0, 3))
def test_each_file_is_there_gone_or_replaced(order, first, second, new):
    def row(number: int, version: int) -> Sample:
        name, data = f"{number}.png", f"{number} {version}".encode()
        sha256 = hashlib.sha256(data)
        id = image_id("in", name, sha256.digest())
        return Sample(make_key("folder", id), "folder", file_name=name, sha256=sha256.hexdigest())

    gone, replaced = order[: min(first, second)], order[min(first, second) : max(first, second)]
    before = [row(number, 0) for number in order]
    met = [row(n, int(n in replaced)) for n in order if n not in gone]
    found = find_gone("folder", "in", before, [*met, *(row(10 + n, 0) for n in range(new))])
    assert {s.file_name for s in found.gone} == {f"{n}.png" for n in gone}
    assert {s.file_name for s in found.replaced} == {f"{n}.png" for n in replaced}


def test_a_folder_fetched_again_names_what_left_it_and_the_command_that_takes_it_out(
    pictures, monkeypatch, capsys
):
    def typed(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        assert ended.value.code == 0
        return capsys.readouterr().err

    monkeypatch.chdir(pictures.parent)
    fetch = ("fetch", "folder", "pictures", "--license", "CC0-1.0")
    assert "gone" not in typed(*fetch) + typed(*fetch)
    (pictures / "a.png").unlink()
    (pictures / "b.png").write_bytes(image_bytes(8))
    said = typed(*fetch)
    assert "from a folder of this name, 1 is gone (a.png), 1 is replaced (b.png)" in said
    assert said == typed(*fetch), "until it is taken out"
    (command,) = [line for line in said.splitlines() if "curate remove" in line]
    typed(*shlex.split(command)[1:])
    dropped = {
        s.file_name: s.drop_reason for s in Dataset(Path("data")).read().samples if s.dropped
    }
    assert dropped == {"a.png": "removed", "b.png": "removed"}
    assert "remove" not in typed(*fetch)
