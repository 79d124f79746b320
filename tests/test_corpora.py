"""Where captions come from: shards, manifests, Hugging Face datasets; whole and damaged."""

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from captioned_shards import THREE, write_shards
from opened_corpora import error_of, opened, shown

from curate.corpora.corpus import find_corpora, find_corpus
from curate.corpora.huggingface import find_data_files
from curate.corpora.tars import find_tars
from curate.corpora.walk import walk
from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample, Verdict
from curate.errors import InputError
from curate.formats.shards import shard_name
from curate.index import index


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


# datasets and manifests


def row(key: str, *said: str, **fields: object) -> Sample:
    return Sample(key, "test", captions=tuple(Caption(text, "text") for text in said), **fields)


def test_counts_the_rows_that_can_teach(tmp_path: Path):
    allow, hold = Verdict("allow", ()), Verdict("hold", ("licence:unknown",))
    samples = [
        row("t-1", "a dog", train=allow),
        row("t-2", "a dog", train=allow, dropped="duplicate:t-1"),
        row("t-3", "a dog", train=hold),
        row("t-4", "dogs"),
        row("t-5"),
        row("t-6", title="A dog", tags=("snow",)),
    ]
    Dataset(tmp_path).write(Manifest(samples, []))

    for found in (opened(tmp_path), opened(tmp_path / "manifest.parquet")):
        assert shown(found, "dog") == ["t-1", "t-4", "t-6"]
        assert shown(found, "snow") == ["t-6"]
        assert found.left_out == {
            "images not allowed for training (hold)": 1,
            "images without caption": 1,
        }
        assert found.remarks == ("counted, but not checked yet: 2",)


def test_says_nothing_of_rows_where_all_can_teach(tmp_path: Path):
    Dataset(tmp_path).write(Manifest([row("t-1", "a dog", train=Verdict("allow", ()))], []))

    assert opened(tmp_path).left_out == {}


def test_several_data_are_counted_together(tmp_path: Path):
    (tmp_path / "a.csv").write_text("image,caption\n1,a dog\n2,snow\n")
    (tmp_path / "b.csv").write_text("image,caption\n2,dogs\n3,a dog\n")
    origin = find_corpora([tmp_path / "a.csv", tmp_path / "b.csv"])
    found = index.open_index(origin)

    assert (origin.kind, [o.path.name for o in origin.members]) == ("several", ["a.csv", "b.csv"])
    assert (found.images, found.captions) == (3, 4)
    assert shown(found, "dog") == ["1", "2", "3"]
    both = index.open_index(find_corpora([tmp_path / "a.csv", tmp_path / "a.csv"]))
    assert (both.images, both.captions) == (2, 2)


def test_without_a_dataset_nothing_is_covered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    found = index.open_index(find_corpus())

    assert (found.images, found.captions, found.incomplete) == (0, 0, ())
    assert len(found.images_with("dog")) == len(found.bound_images("red", "dog")) == 0


def test_says_that_data_is_missing_or_holds_nothing(tmp_path: Path):
    assert error_of(tmp_path / "absent").endswith("absent: no such file or folder")
    assert error_of(tmp_path) == f"{tmp_path}: is empty"


# shards


def test_counts_the_captions_of_shards(tmp_path: Path):
    write_shards(tmp_path / "shards", THREE)

    for found in (opened(tmp_path), opened(tmp_path / "shards")):
        assert (found.images, found.captions, found.incomplete) == (5, 6, ())
        assert shown(found, "dog") == ["t-1", "t-3", "t-5"]
    kept = sorted(p.name for p in (tmp_path / "shards").iterdir())
    assert kept == ["index.json", *(shard_name("train", n) for n in range(3))]


def test_counts_what_is_left_of_damaged_shards(tmp_path: Path):
    write_shards(tmp_path, THREE)
    first, second, third = (tmp_path / shard_name("train", n) for n in range(3))
    whole = second.read_bytes()

    second.write_bytes(whole[:-512])
    found = opened(tmp_path)
    assert shown(found, "dog") == ["t-1", "t-5"]
    assert found.incomplete == (
        f"{second}: shard has {len(whole) - 512} bytes, its index says {len(whole)}; "
        "images not counted: 1",
    )

    second.unlink()
    assert opened(tmp_path).incomplete == (f"{second}: shard is missing; images not counted: 1",)

    second.write_bytes(whole.replace(b"a dog", b"a fox"))  # as long as before
    found = opened(tmp_path)
    assert shown(found, "dog") == ["t-1", "t-5"]
    broken = "broken shard (its SHA-256 is not the one in the index)"
    assert found.incomplete == (f"{second}: {broken}; images not counted: 1",)

    second.write_bytes(whole)  # put right: nothing of before is believed
    found = opened(tmp_path)
    assert (shown(found, "dog"), found.incomplete) == (["t-1", "t-3", "t-5"], ())

    for file in (first, second, third):
        file.unlink()
    assert error_of(tmp_path) == f"{first}: shard is missing"


def test_a_damaged_shard_is_told_of_though_it_was_counted_before(tmp_path: Path):
    write_shards(tmp_path, THREE)
    assert opened(tmp_path).incomplete == ()
    second = tmp_path / shard_name("train", 1)
    second.write_bytes(second.read_bytes()[:-512])

    assert len(opened(tmp_path).incomplete) == 1


def test_a_tar_that_is_not_as_it_should_be_is_told_of(tmp_path: Path):
    write_shards(tmp_path, THREE)
    values = json.loads((tmp_path / "index.json").read_text())
    first = tmp_path / shard_name("train", 0)
    first.write_bytes(b"no tar" * 1000)
    sha256 = hashlib.sha256(first.read_bytes()).hexdigest()
    values["shards"][0] |= {"bytes": 6000, "sha256": sha256}
    (tmp_path / "index.json").write_text(json.dumps(values))

    (sentence,) = opened(tmp_path).incomplete
    assert sentence.startswith(f"{first}: broken shard (")


def test_a_shard_without_captions_is_told_of(tmp_path: Path):
    write_shards(tmp_path, [{"t-1": ["a dog"]}, {"t-2": [], "t-3": [" "]}])
    for _ in range(2):  # counted, and kept
        found = opened(tmp_path)
        silent = "train-000001.tar: shard holds no caption; images not counted: 2"
        assert found.incomplete == (silent,)
        assert (found.images, found.left_out) == (1, {"images without caption": 2})

    write_shards(tmp_path, [{"t-2": []}])
    assert error_of(tmp_path) == (
        f"{tmp_path}: no caption to count words in (train-000000.tar: "
        "shard holds no caption; images not counted: 1)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a readable index ("),
        ('{"version": "fubuki-shards/9"}', "shards of version 'fubuki-shards/9', this reads"),
        ('{"version": "fubuki-shards/2", "shards": 3}', "not an index of ours ("),
    ],
)
def test_an_index_that_cannot_be_read_is_an_error(tmp_path: Path, text: str, message: str):
    (tmp_path / "index.json").write_text(text)

    assert error_of(tmp_path).startswith(f"{tmp_path / 'index.json'}: {message}")


@pytest.mark.parametrize("read", [walk, find_data_files, find_tars])
def test_a_folder_that_cannot_be_listed_is_named_with_what_opens_it(read: Callable[[Path], object]):
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        closed = Path(name) / "it's closed"
        closed.mkdir()
        closed.chmod(0)
        user = os.geteuid()
        os.seteuid(user or 65534)  # root may list anything
        try:
            with pytest.raises(InputError, match="cannot be listed") as caught:
                read(Path(name))
        finally:
            os.seteuid(user)
        subprocess.run(caught.value.fix, shell=True, check=True)
        assert closed.stat().st_mode & 0o500 == 0o500
        read(Path(name))
