"""Shards: what is packed, that the bytes are the same each time, and who can read them."""

import hashlib
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

from curate import cli
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample, Verdict
from curate.errors import InputError, UsageError
from curate.formats.shards import (
    IMAGE_FORMATS,
    Record,
    Shard,
    find_shards,
    iterate_samples,
    read_index,
)
from curate.shards.pack import pack, reason_not_packed
from curate.text import tokens
from tests.packable import dataset_of, noise
from tests.pictures import encoded


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def image_of(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture))


# what is packed


def test_a_sample_holds_picture_record_and_caption(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 2)
    done = pack(dataset, size=30, format="png")
    assert (done.samples, done.shards, done.left_out, done.unchanged) == (2, 1, {}, False)
    (key, picture, record), _ = iterate_samples(tmp_path)
    assert key == record["key"] == "t-000"
    assert image_of(picture).size == (record["width"], record["height"]) == (45, 30)
    assert (record["original_width"], record["original_height"]) == (90, 60)
    assert record["captions"] == [
        {"text": "Snow number 0", "origin": "title"},
        {"text": "snow, ice", "origin": "tags"},
    ]
    assert record["train"] == {"decision": "allow", "reasons": ["licence:CC0-1.0"]}
    assert record["author"] == "A. Nyone" and record["license"] == "CC0-1.0"
    assert record["modified"][0] == "resized"
    assert record["sha256"] == hashlib.sha256(encoded(noise(0))).hexdigest()
    assert set(record) == set(Record.__annotations__)
    with tarfile.open(dataset.shards / "train-000000.tar") as tar:
        members = tar.getmembers()
        assert [m.name for m in members][:3] == ["t-000.json", "t-000.png", "t-000.txt"]
        assert {m.mtime for m in members} == {0}
        assert tar.extractfile("t-000.txt").read() == b"Snow number 0"  # type: ignore[union-attr]


def test_the_index_counts_shards_words_and_licences(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 3)
    pack(dataset)
    index = read_index(tmp_path)
    assert (index.size, index.format, index.samples) == (512, "jpg", 3)
    assert index.words == {"snow": 3, "number": 3, "ice": 3, "0": 1, "1": 1, "2": 1}
    assert index.licences == {"CC0-1.0": 3}
    (shard,) = index.shards
    file = dataset.shards / "train-000000.tar"
    assert shard == Shard(
        *(file.name, hashlib.sha256(file.read_bytes()).hexdigest(), 3, file.stat().st_size),
        *("train", {"CC0-1.0": 3}),
    )
    assert index.to_json() == (dataset.shards / "index.json").read_bytes()


def test_words_are_counted_over_distinct_pictures(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 2)
    with dataset.lock():
        rows = dataset.read().samples
        same = {"sha256": rows[0].sha256, "pixel_sha256": rows[0].pixel_sha256}
        dataset.write(Manifest([replace(s, **same) for s in rows], []))
    pack(dataset)
    index = read_index(tmp_path)
    assert (index.samples, index.words["snow"]) == (2, 1)
    assert set(tokens.words("Jack-o'-lantern, ICE 2 雪_é")) == {
        "jack-o'-lantern",
        "ice",
        "2",
        "雪",
        "é",
    }


def test_rows_that_stay_out_are_counted_by_reason(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 8)
    changes: list[dict[str, Any]] = [
        {},
        {"train": None},
        {"train": Verdict("hold", ())},
        {"train": Verdict("deny", ())},
        {"captions": (Caption(" ", "title"),)},
        {"dropped": "duplicate:t-000"},
        {"sha256": dataset.store.put(b"\x89PNG\r\n\x1a\n broken")},
        {"sha256": None},
    ]
    with dataset.lock():
        rows = [replace(s, **c) for s, c in zip(dataset.read().samples, changes, strict=True)]
        dataset.write(Manifest(rows, []))
    done = pack(dataset)
    assert [key for key, _, _ in iterate_samples(tmp_path)] == ["t-000"]
    assert done.left_out == {
        "deny": 1,
        "dropped:duplicate": 1,
        "hold": 1,
        "no-caption": 1,
        "no-image": 1,
        "no-verdict": 1,
        "unreadable": 1,
    }


@pytest.mark.parametrize(
    ("known", "fix"),
    [
        ({"train": None}, "curate check"),
        ({"captions": ()}, "curate caption"),
        ({"train": Verdict("hold", ())}, "--license states a licence"),
        ({"train": Verdict("deny", ())}, "curate explain KEY"),
        ({"dropped": "duplicate:x"}, "curate status"),
    ],
)
def test_nothing_to_pack_names_the_command_that_comes_first(
    tmp_path: Path, known: dict[str, Any], fix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = dataset_of(tmp_path / "data", 2, **known)
    with pytest.raises(SystemExit) as ended:
        cli.main(["pack", "--data", str(dataset.root)])
    told = capsys.readouterr().err
    assert ended.value.code == 3
    assert "nothing to pack" in told and fix in told
    assert not (dataset.shards / "index.json").exists()


@given(
    st.sampled_from([None, Verdict("allow", ()), Verdict("hold", ()), Verdict("deny", ())]),
    st.sampled_from([None, "duplicate:k"]),
    st.booleans(),
)
@examples(max_examples=30)
def test_only_what_a_policy_allows_is_packed(
    verdict: Verdict | None, dropped: str | None, captioned: bool
) -> None:
    captions = (Caption("snow", "title"),) if captioned else ()
    row = Sample("k", "t", sha256="h", train=verdict, dropped=dropped, captions=captions)
    packed = reason_not_packed(row) is None
    allowed = verdict is not None and verdict.decision == "allow"
    assert packed == (allowed and dropped is None and captioned)


# the pixels


def test_metadata_of_the_original_is_not_packed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    dataset = dataset_of(tmp_path, 1)
    sha256 = dataset.store.put(encoded(noise(1), "JPEG", exif=exif, comment=b"a secret place"))
    with dataset.lock():
        dataset.write(Manifest([replace(s, sha256=sha256) for s in dataset.read().samples], []))
    pack(dataset)
    assert b"secret" not in (dataset.shards / "train-000000.tar").read_bytes()


def test_a_picture_too_long_for_a_format_stays_out(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 2)
    sha256 = dataset.store.put(encoded(Image.new("RGB", (16_400, 2))))
    with dataset.lock():
        first, second = dataset.read().samples
        dataset.write(Manifest([first, replace(second, sha256=sha256)], []))
    done = pack(dataset, format="webp")
    assert (done.samples, done.left_out) == (1, {"not-encodable:webp": 1})


# the same bytes


@pytest.mark.parametrize("form", IMAGE_FORMATS)
def test_packing_twice_gives_the_same_bytes(tmp_path: Path, form: str) -> None:
    one, other = dataset_of(tmp_path / "a"), dataset_of(tmp_path / "b")
    for dataset in (one, other):
        pack(dataset, size=40, format=form, shard_size=0.02)
    assert contents(one.shards) == contents(other.shards)


def test_what_is_the_same_already_is_not_touched(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path)
    pack(dataset)
    before = {p: p.stat().st_mtime_ns for p in dataset.shards.iterdir()}
    assert pack(dataset).unchanged
    assert {p: p.stat().st_mtime_ns for p in dataset.shards.iterdir()} == before
    tar = dataset.shards / "train-000000.tar"
    tar.write_bytes(tar.read_bytes()[:-1] + b"x")
    assert not pack(dataset).unchanged
    assert list(iterate_samples(tmp_path))


def test_many_shards_and_fewer_the_next_time(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path)
    done = pack(dataset, format="png", shard_size=0.04)
    assert done.shards == len(read_index(tmp_path).shards) >= 3
    assert sorted(key for key, _, _ in iterate_samples(tmp_path)) == [f"t-00{n}" for n in range(5)]
    pack(dataset, format="png")
    assert sorted(contents(dataset.shards)) == ["index.json", "train-000000.tar"]


def test_a_long_key_is_no_trouble(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 1, key="t-" + "x" * 180)
    pack(dataset)
    ((key, _, _),) = iterate_samples(tmp_path)
    assert len(key) == 182


def test_killed_at_any_moment_the_same_command_completes(tmp_path: Path) -> None:
    whole, killed = dataset_of(tmp_path / "whole", 40), dataset_of(tmp_path / "killed", 40)
    pack(killed, size=20)  # older shards are there
    older = contents(killed.shards)
    started = time.monotonic()
    subprocess.run(command(whole.root), check=True, stdout=subprocess.DEVNULL)
    needs = time.monotonic() - started
    chance = random.Random(11)
    ends = []
    for _ in range(7):
        process = subprocess.Popen(command(killed.root), stdout=subprocess.DEVNULL)
        try:
            ends.append(process.wait(timeout=chance.uniform(0.2, 0.9) * needs))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            ends.append(process.wait())
        present = {k: v for k, v in contents(killed.shards).items() if k in older}
        if "index.json" in present:
            assert present in (older, contents(whole.shards)), "the old ones, or the new ones"
            assert len(list(iterate_samples(killed.root))) == 40
        else:
            with pytest.raises(InputError, match="curate pack"):
                read_index(killed.root)
    assert ends.count(-signal.SIGKILL) >= 3, "runs were cut short"
    pack(killed, size=50)
    assert contents(killed.shards) == contents(whole.shards)


def command(data: Path) -> list[str]:
    """`curate pack` as in an installation without torch, which webdataset would import."""
    script = "import sys; sys.modules['torch'] = None; from curate import cli; cli.main()"
    return [sys.executable, "-c", script, "pack", "--size", "50", "--data", str(data)]


def test_stopped_between_old_and_new_the_same_command_completes(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path)
    pack(dataset)
    wanted = contents(dataset.shards)
    (dataset.shards / "index.json").unlink()
    (dataset.shards / "train-000000.tar").rename(dataset.shards / ".train-000000.tar.part")
    (dataset.shards / "train-000007.tar").write_bytes(b"of an older set")
    with pytest.raises(InputError, match="no shards here"):
        read_index(tmp_path)
    pack(dataset)
    assert contents(dataset.shards) == wanted


def test_a_full_disk_is_a_sentence_and_the_old_shards_stay(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: writing fails half-way, as there."""
    dataset = dataset_of(tmp_path, 9)
    pack(dataset, size=10)
    before = contents(dataset.shards)
    limit = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY)); "
    script = limit + "sys.modules['torch'] = None; from curate import cli; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "pack", "--format", "png", "--data", str(tmp_path)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert f"error: {dataset.shards}: cannot be written (File too large)" in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(dataset.shards) == before
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


# settings and messages


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--format", "gif"], "no format 'gif'\n  fix: one of jpg, png, webp"),
        (["--background", "whit"], "'whit' is not a plain colour"),
        (["--background", "#ffffff00"], "is not a plain colour"),
        (["--size", "0"], "greater than or equal to 1"),
    ],
)
def test_a_setting_that_cannot_be_is_wrong_usage(
    tmp_path: Path, options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset_of(tmp_path, 1)
    with pytest.raises(SystemExit) as ended:
        cli.main(["pack", "--data", str(tmp_path), *options])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_library_user_is_told_too(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 1)
    for settings in ({"size": 0}, {"shard_size": 0}, {"split": "a/b"}, {"format": "bmp"}):
        with pytest.raises(UsageError):
            pack(dataset, **settings)  # type: ignore[arg-type]


def test_pack_prints_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = dataset_of(tmp_path, 3)
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            cli.main(["pack", "--json", "--data", str(tmp_path)])
        assert ended.value.code == 0
    first, second = capsys.readouterr().out.split("}\n{", 1)
    told = json.loads("{" + second)
    assert '"unchanged": false' in first and '"rendered": 3' in first
    assert told == {
        "folder": str(dataset.shards),
        "samples": 3,
        "shards": 1,
        "bytes": (dataset.shards / "train-000000.tar").stat().st_size,
        "rendered": 0,
        "shards_written": 0,
        "left_out": {},
        "withdrawn": {},
        "unchanged": True,
    }


# reading


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    dataset = dataset_of(tmp_path)
    pack(dataset, format="png", shard_size=0.04)
    return dataset.shards


def test_both_the_dataset_and_its_shards_can_be_named(shards: Path) -> None:
    assert find_shards(shards) == find_shards(shards.parent) == shards
    assert read_index(shards) == read_index(shards.parent)
    with pytest.raises(InputError, match="no such folder"):
        find_shards(shards / "nowhere")


def rewrite_index(shards: Path, change: Callable[[dict[str, Any]], object]) -> None:
    index = json.loads((shards / "index.json").read_bytes())
    change(index)
    (shards / "index.json").write_text(json.dumps(index))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-512])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[1000] ^= 1
    file.write_bytes(data)


def last(shards: Path) -> Path:
    return max(shards.glob("*.tar"))


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a missing shard": (lambda s: last(s).unlink(), ".tar: shard is missing"),
    "a short shard": (lambda s: cut(last(s)), ".tar: shard has"),
    "a changed bit": (lambda s: flip(last(s)), ".tar: broken shard"),
    "another version": (
        lambda s: rewrite_index(s, lambda i: i.update(version="fubuki-shards/9")),
        "shards of version 'fubuki-shards/9', this reads 'fubuki-shards/4'",
    ),
    "the version whose words had no digits": (
        lambda s: rewrite_index(s, lambda i: i.update(version="fubuki-shards/1")),
        "'fubuki-shards/1', this reads 'fubuki-shards/4': pack them again",
    ),
    "no JSON": (lambda s: (s / "index.json").write_text("{"), "not a readable index"),
    "a list": (lambda s: (s / "index.json").write_text("[]"), "not a readable index"),
    "a field less": (lambda s: rewrite_index(s, lambda i: i.pop("words")), "not an index of ours"),
}


@pytest.mark.parametrize("name", sorted(BREAKS))
def test_what_is_broken_is_named_with_the_command_that_mends_it(shards: Path, name: str) -> None:
    break_it, told = BREAKS[name]
    break_it(shards)
    with pytest.raises(InputError) as caught:
        list(iterate_samples(shards))
    assert told in str(caught.value)
    settings = " --size 512 --format png --background white --shard-size 0.04"
    if name in ("no JSON", "a list"):
        settings = ""
    assert caught.value.fix == f"curate pack --data {shards.parent}{settings}"


def test_members_that_are_no_sample_are_named(shards: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in ("a.png", "a.json", "b.txt"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    min(shards.glob("*.tar")).write_bytes(file.getvalue())
    size, sha256 = len(file.getvalue()), hashlib.sha256(file.getvalue()).hexdigest()
    rewrite_index(shards, lambda i: i["shards"][0].update(bytes=size, sha256=sha256))
    with pytest.raises(InputError, match=r"no a\.txt beside a\.png"):
        list(iterate_samples(shards))


def test_the_layout_needs_the_standard_library_only(shards: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from curate.formats import shards; "
        "print(len(list(shards.iterate_samples(Path(sys.argv[1])))), "
        "[m for m in ('numpy', 'PIL', 'daft', 'pyarrow', 'webdataset') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(shards)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "5 []\n"


def test_webdataset_reads_them(shards: Path) -> None:
    script = """
import sys, webdataset
from pathlib import Path
files = [str(p) for p in sorted(Path(sys.argv[1]).glob("*.tar"))]
read = list(webdataset.WebDataset(files, shardshuffle=False).decode("pil"))
read.sort(key=lambda s: s["__key__"])
print(*(s["__key__"] for s in read))
print(read[0]["png"].size, read[0]["txt"], read[0]["json"]["license"])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(shards)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "t-000 t-001 t-002 t-003 t-004",
        "(90, 60) Snow number 0 CC0-1.0",
    ]


def test_datasets_reads_them(shards: Path, tmp_path: Path) -> None:
    script = """
import sys, datasets
files = {"train": sys.argv[1] + "/train-*.tar"}
read = datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=sys.argv[2])
read = read.sort("__key__")
print(len(read), sorted(read.features), read[0]["__key__"], read[0]["png"].size, read[0]["txt"])
print(read[4]["json"]["author"])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(shards), str(tmp_path / "cache")],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "5 ['__key__', '__url__', 'json', 'png', 'txt'] t-000 (90, 60) Snow number 0",
        "A. Nyone",
    ]
