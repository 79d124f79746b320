"""Tombstones: what was removed is known again, by its bytes, its pixels and its looks."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dataset.sample import Sample
from curate.errors import InputError
from curate.rights import removals
from curate.rights.removals import Tombstone, find, find_like, mark_removed

TIME = "2026-01-01T00:00:00Z"
STONE = Tombstone("a", "asked for", TIME, "s", "p", f"{0b1111:016x}", f"{0b1111 << 40:016x}")


def row(key: str, **known: object) -> Sample:
    return replace(Sample(key, "test"), **known)  # type: ignore[arg-type]


hashes = st.none() | st.integers(0, 2**64 - 1).map(lambda n: f"{n:016x}")
stones = st.builds(
    Tombstone,
    key=st.text(min_size=1, max_size=3).map(lambda t: t.encode("utf-8", "replace").decode()),
    reason=st.sampled_from(["asked for", "wrong: 雪"]),
    time=st.just(TIME),
    sha256=st.none() | st.sampled_from(["s", "t"]),
    pixel_sha256=st.none() | st.sampled_from(["p", "q"]),
    phash=hashes,
    mirror_phash=hashes,
    spared=st.lists(st.sampled_from(["u", "v"]), max_size=2).map(tuple),
)


@given(st.lists(stones, max_size=4, unique_by=lambda t: t.key))
@settings(max_examples=25)  # each is synced to the disk
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, kept: list) -> None:
    root = tmp_path_factory.mktemp("data")
    removals.write(root, kept)
    assert removals.read(root) == sorted(kept, key=lambda t: t.key)


def test_nothing_removed(tmp_path: Path) -> None:
    assert removals.read(tmp_path) == []
    assert mark_removed([row("a", sha256="s")], []) == [row("a", sha256="s")]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"removed": 1}', '{"removed": [1]}', '{"removed": [{"key": "a"}]}',
     '{"removed": [{"key": "a", "reason": "r", "time": "t", "phash": "xyz"}]}',
     '{"removed": [{"key": "a", "reason": "r", "time": "t", "sha256": 5}]}'],
)  # fmt: skip
def test_a_list_that_is_none_of_ours_stops_the_command(tmp_path: Path, text: str) -> None:
    """Read as empty, it would let every removed picture in again."""
    (tmp_path / removals.FILE_NAME).write_text(text)
    with pytest.raises(InputError, match="not a list of removals of ours"):
        removals.read(tmp_path)


def test_known_by_bytes_pixels_and_looks() -> None:
    assert find([STONE], "s") == "asked for"
    assert find([STONE], "t") is None
    for known in (
        {"sha256": "s"},
        {"pixel_sha256": "p"},
        {"phash": f"{0b1110:016x}"},
        {"phash": f"{0b0111 << 40:016x}"},
    ):
        assert find_like([STONE], [row("b", **known)], max_distance=1) == {"b": STONE}, known
    for known in ({}, {"sha256": "t", "pixel_sha256": "q"}, {"phash": f"{0b1100:016x}"}):
        assert find_like([STONE], [row("b", **known)], max_distance=1) == {}, known


def test_a_picture_said_to_be_another_one_is_spared() -> None:
    spared = removals.spare(STONE, "t")
    looks = row("b", sha256="t", phash=STONE.phash)
    assert find_like([spared], [looks]) == {}
    assert find_like([spared], [replace(looks, sha256="u")]) == {"b": spared}
    assert find_like([spared, replace(STONE, key="c")], [looks])["b"].key == "c"
    assert find_like([spared], [replace(looks, pixel_sha256="p")]) == {"b": spared}


def test_the_nearest_tombstone_is_named() -> None:
    far = Tombstone("far", "r", TIME, phash=f"{0b1:016x}")
    near = Tombstone("near", "r", TIME, phash=f"{0b0:016x}")
    assert find_like([far, near], [row("b", phash=f"{0:016x}")]) == {"b": near}


def test_what_is_in_use_or_a_copy_is_dropped_and_no_other() -> None:
    rows = [
        row("b", sha256="s"),
        row("c", sha256="s", dropped="duplicate:b"),
        row("d", sha256="s", dropped="opt-out:noai"),
        row("e", sha256="s", dropped="removed:before"),
        row("f", sha256="t"),
    ]
    assert [s.dropped for s in mark_removed(rows, [STONE])] == [
        "removed:asked for",
        "removed:asked for",
        "opt-out:noai",
        "removed:before",
        None,
    ]
