"""Indexes that are kept: read again, rebuilt in part, never believed when damaged."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from captioned_shards import THREE, write_shards

from curate.corpora import shards
from curate.corpora.corpus import find_corpora, find_corpus
from curate.corpora.notes import ReadNotes
from curate.corpora.partition import ImageCaptions
from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample
from curate.index import build, cache, index
from curate.index.index import CaptionIndex


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where indexes are kept."""
    base = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(base))
    return base / "fubuki" / "words"


def opened(path: Path, *, jobs: int = 1) -> CaptionIndex:
    return index.open_index(find_corpus(path), jobs=jobs)


def unread(path: Path) -> CaptionIndex:
    """Open the data without reading any of it."""

    def fail(reading: ReadNotes) -> Iterator[ImageCaptions]:
        raise AssertionError("read again")

    origin = find_corpus(path)
    return index.open_index(
        replace(origin, partitions=tuple(replace(p, read=fail) for p in origin.partitions))
    )


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def listed(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    lines = [f"{key},{caption}\n" for key, caption in rows]
    path.write_text("image,caption\n" + "".join(lines))
    return path


ROWS = [(f"{n:02d}", f"a dog number {n}") for n in range(20)]


def test_a_second_run_reads_nothing(tmp_path: Path, folder: Path):
    write_shards(tmp_path / "shards", THREE)
    file = listed(tmp_path / "c.csv", ROWS)
    for path in (tmp_path / "shards", file):
        first, again = opened(path), unread(path)
        assert again.images_with("dog").tolist() == first.images_with("dog").tolist() != []
        assert (again.images, again.captions, again.left_out, again.incomplete) == (
            first.images,
            first.captions,
            first.left_out,
            first.incomplete,
        )
    for tar in (tmp_path / "shards").glob("*.tar"):  # no byte of a shard is looked at
        tar.write_bytes(bytes(tar.stat().st_size))
    assert len(unread(tmp_path / "shards").images_with("dog")) == 3


def test_a_list_of_other_content_or_another_name_is_read_again(tmp_path: Path, folder: Path):
    opened(listed(tmp_path / "a.csv", ROWS))
    unread(listed(tmp_path / "a.csv", ROWS))  # written again, as it was
    assert len(list(folder.iterdir())) == 1

    for path, rows in ((tmp_path / "a.csv", ROWS[1:]), (tmp_path / "b.csv", ROWS)):
        with pytest.raises(AssertionError, match="read again"):  # what is said names the file
            unread(listed(path, rows))


def test_a_changed_shard_rebuilds_its_group_only(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shards, "IMAGES_A_PARTITION", 4)
    write_shards(tmp_path, [*THREE, {"t-6": ["a dog"]}, {"t-7": ["a cat"]}])
    assert [len(part.files) for part in find_corpus(tmp_path).partitions] == [2, 2, 1]
    opened(tmp_path)
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}

    write_shards(tmp_path, [*THREE, {"t-6": ["a fox"]}, {"t-7": ["a cat"]}])
    found = opened(tmp_path)
    after = {path.name: path.stat().st_ino for path in folder.iterdir()}

    assert len(before.items() & after.items()) == 3  # the old second group is still kept
    assert len(after) == 4
    assert (found.images, len(found.images_with("dog")), len(found.images_with("fox"))) == (7, 3, 1)


def test_rows_of_a_dataset_are_counted_again_when_they_change(tmp_path: Path):
    dataset = Dataset(tmp_path)
    rows = [Sample(f"t-{n}", "t", captions=(Caption("a dog", "text"),)) for n in range(3)]
    dataset.write(Manifest(rows[:1], []))
    opened(tmp_path)
    (first,) = (tmp_path / "index").iterdir()
    assert len(unread(tmp_path).images_with("dog")) == 1

    dataset.append_row(rows[1])
    assert len(opened(tmp_path).images_with("dog")) == 2
    (second,) = (tmp_path / "index").iterdir()  # the index of earlier rows is gone
    assert second.name != first.name


def damage() -> dict[str, Callable[[bytes], bytes]]:
    return {
        "cut short": lambda data: data[: len(data) // 2],
        "empty": lambda data: b"",
        "longer": lambda data: data + b"\0",
        "one bit": lambda data: data[:-5000] + bytes([data[-5000] ^ 1]) + data[-4999:],
        "another": lambda data: b"SQLite format 3\0" + data[16:-1] + b"x",
    }


@pytest.mark.parametrize("how", sorted(damage()))
def test_a_damaged_file_is_counted_anew(tmp_path: Path, folder: Path, how: str):
    file = listed(tmp_path / "c.csv", ROWS)
    opened(file)
    whole = kept(folder)
    (path,) = folder.iterdir()
    path.write_bytes(damage()[how](path.read_bytes()))

    assert len(opened(file).images_with("dog")) == 20
    assert kept(folder) == whole


def test_large_data_is_kept_in_several_files(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(build, "MAX_FILE_IMAGES", 6)
    file = listed(tmp_path / "c.csv", [*reversed(ROWS), *ROWS[:3]])
    found = opened(file)
    whole = kept(folder)

    assert (found.images, found.captions, len(whole)) == (20, 20, 4)
    assert found.images_with("dog").tolist() == list(range(20))
    assert [e.key for e in found.evidence(found.images_with("number"), (), 3)] == ["00", "01", "02"]
    assert unread(file).captions == 20
    for path in folder.iterdir():  # one of them is gone: none is believed
        path.unlink()
        assert opened(file).captions == 20
        assert kept(folder) == whole


def test_memory_is_bounded_by_text_too(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(build, "MAX_FILE_CHARS", 50)
    assert opened(listed(tmp_path / "c.csv", ROWS)).captions == 20
    assert len(kept(folder)) == 5


KILLED = """
import os, signal, sys
from pathlib import Path
from curate.corpora import corpus, delimited
from curate.index import index, segment

def killing(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)

setattr({"reading": delimited.csv, "filling": segment, "naming": Path}[sys.argv[2]],
        {"reading": "reader", "filling": "_write_forms", "naming": "replace"}[sys.argv[2]], killing)
index.open_index(corpus.find_corpus(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("moment", ["reading", "filling", "naming"])
def test_killed_at_any_moment_the_next_run_completes_the_work(
    tmp_path: Path, folder: Path, moment: str
):
    file = listed(tmp_path / "c.csv", ROWS)
    opened(file)
    whole = kept(folder)
    for path in folder.iterdir():
        path.unlink()
    died = subprocess.run([sys.executable, "-c", KILLED, str(file), moment], check=False)
    assert died.returncode == -signal.SIGKILL
    left = [path.name for path in folder.iterdir()]
    assert all(name.endswith(".part") for name in left)
    assert bool(left) == (moment != "reading")

    assert len(opened(file).images_with("dog")) == 20
    assert kept(folder) == whole  # and what was left behind is gone


def test_what_another_process_is_writing_stays(tmp_path: Path, folder: Path):
    with cache.temporary_file(folder) as theirs:
        opened(listed(tmp_path / "c.csv", ROWS))
        assert theirs.exists()
    assert not theirs.exists()


def test_where_nothing_can_be_kept_the_index_is_in_memory(tmp_path: Path, folder: Path):
    folder.parent.write_text("a file where the folder should be")
    found = opened(listed(tmp_path / "c.csv", ROWS))

    assert len(found.images_with("dog")) == 20
    assert not folder.exists()


def test_a_full_disk_is_no_obstacle(tmp_path: Path, folder: Path):
    file = listed(tmp_path / "c.csv", ROWS)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        found = opened(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert len(found.images_with("dog")) == 20
    assert kept(folder) == {}


def test_files_longest_unused_are_forgotten(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    files = [listed(tmp_path / f"{n}.csv", ROWS[n:]) for n in range(4)]
    names = []
    for age, file in enumerate(files):
        opened(file)
        (new,) = {path.name for path in folder.iterdir()} - set(names)
        names.append(new)
        os.utime(folder / new, ns=(age, age))
    size = (folder / names[0]).stat().st_size
    monkeypatch.setattr(cache, "MAX_CACHE_BYTES", 2 * size)

    unread(files[0])  # the oldest, in use
    assert sorted(path.name for path in folder.iterdir()) == sorted([names[0], names[2], names[3]])


def test_other_rules_are_another_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = listed(tmp_path / "c.csv", ROWS)
    opened(file)
    monkeypatch.setattr(cache, "_rules_hash", lambda: "0" * 8)

    with pytest.raises(AssertionError, match="read again"):
        unread(file)


def test_the_rules_name_every_module_that_cuts_words():
    code = "import sys, curate.index.segment; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    _, *modules = sorted(m for m in done.stdout.split() if m.startswith("curate.text"))
    assert "curate.text.tokens" in modules
    assert {f"{m.rpartition('.')[2]}.py" for m in modules} <= set(cache._HASHED_MODULES)


@pytest.mark.parametrize("writable", [True, False])
def test_two_processes_make_the_same_files_as_one(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, writable: bool
):
    monkeypatch.setattr(shards, "IMAGES_A_PARTITION", 2)
    write_shards(tmp_path, THREE)
    one = opened(tmp_path)
    alone = kept(folder)
    for path in folder.iterdir():
        path.unlink()
    if not writable:
        folder.rmdir()
        folder.parent.rmdir()
        folder.parent.write_text("")
    two = opened(tmp_path, jobs=2)

    assert len(alone) == 3
    assert kept(folder) == alone if writable else not folder.exists()
    assert two.images_with("dog").tolist() == one.images_with("dog").tolist() == [0, 2, 4]
    assert two.evidence(two.images_with("dog"), ["dog"]) == one.evidence(
        one.images_with("dog"), ["dog"]
    )


def test_an_error_in_another_process_is_the_same_sentence(tmp_path: Path):
    from curate.errors import InputError

    good = listed(tmp_path / "a.csv", ROWS)
    bad = tmp_path / "b.csv"
    bad.write_bytes(b"image,caption\na,\xff\n")
    for jobs in (1, 2):
        with pytest.raises(InputError, match=r"b\.csv line 2: byte 3 \(0xff\) is not UTF-8"):
            index.open_index(find_corpora([good, bad]), jobs=jobs)
