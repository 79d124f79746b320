"""Packing again: only what changed is decoded and written, and the bytes are those of a new set."""

import hashlib
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample
from curate.errors import InputError, UsageError
from curate.formats.shards import iterate_samples, pack_command, read_index
from curate.shards.pack import pack, renders_of
from curate.shards.write import write_shard
from tests.packable import change_rows, dataset_of, noise
from tests.pictures import encoded

SMALL: dict[str, Any] = {"size": 24, "format": "png", "shard_size": 0.02}  # some five images each


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


def times(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("*.tar")}


def rewritten(before: dict[str, int], folder: Path) -> set[str]:
    return {name for name, when in times(folder).items() if before.get(name) != when}


def remade(root: Path, rows: list[Sample], dataset: Dataset, **settings: Any) -> dict[str, bytes]:
    """The shards of these rows in a new dataset with the same images."""
    fresh = Dataset(root)
    with fresh.lock():
        for row in rows:
            fresh.store.put(dataset.store.get(str(row.sha256)))
        fresh.write(Manifest(rows, []))
    pack(fresh, **settings)
    return contents(fresh.shards)


@pytest.fixture
def packed(tmp_path: Path) -> Dataset:
    dataset = dataset_of(tmp_path / "data", 30)
    done = pack(dataset, **SMALL)
    assert done.rendered == 30 and done.shards_written == done.shards >= 5
    return dataset


def test_one_image_out_and_in_again_rewrites_one_shard_and_decodes_one(
    packed: Dataset, tmp_path: Path
) -> None:
    whole, before = contents(packed.shards), times(packed.shards)
    change_rows(packed, *[{}] * 7, {"dropped": "removed"})
    less = pack(packed, **SMALL)
    assert (less.rendered, less.shards_written, less.samples) == (0, 1, 29)
    assert len(rewritten(before, packed.shards)) == 1
    rows = packed.read().samples
    assert contents(packed.shards) == remade(tmp_path / "less", rows, packed, **SMALL)
    change_rows(packed, *[{}] * 7, {"dropped": None})
    more = pack(packed, **SMALL)
    assert (more.rendered, more.shards_written, more.samples) == (1, 1, 30)
    assert contents(packed.shards) == whole


def test_history_is_of_no_account(tmp_path: Path) -> None:
    """Twelve changes of rows, captions, groups and settings; each time as if packed for once."""
    dataset = dataset_of(tmp_path / "data", 24)
    chance = random.Random(7)
    for step in range(12):
        rows = dataset.read().samples
        changes: list[dict[str, Any]] = [{} for _ in rows]
        for n in chance.sample(range(len(rows)), 3):
            changes[n] = chance.choice(
                [
                    {"dropped": None if rows[n].dropped else "removed"},
                    {"captions": (Caption(f"said at step {step}", "title"),)},
                    {"group": chance.choice([None, "t-000", "t-001"])},
                    {"license": chance.choice(["CC0-1.0", "CC-BY-SA-4.0"])},
                    {"scene": chance.choice([None, "t-002"])},
                ]
            )
        change_rows(dataset, *changes)
        settings = SMALL | {"held_out": chance.choice([0.0, 0.3])}
        settings |= {"shard_size": chance.choice([0.01, 0.02, 0.5])}
        pack(dataset, **settings)
        fresh = remade(tmp_path / f"fresh{step}", dataset.read().samples, dataset, **settings)
        assert contents(dataset.shards) == fresh
        assert pack(dataset, **settings).unchanged


def test_what_is_there_is_a_source_only_as_the_index_names_it(
    packed: Dataset, tmp_path: Path
) -> None:
    whole = contents(packed.shards)
    names = sorted(times(packed.shards))
    data = bytearray(whole[names[0]])
    data[700] ^= 1
    (packed.shards / names[0]).write_bytes(data)
    (packed.shards / names[1]).unlink()
    done = pack(packed, **SMALL)
    lost = sum(s.samples for s in read_index(packed.root).shards if s.name in names[:2])
    assert (done.rendered, done.shards_written) == (lost, 2)
    assert contents(packed.shards) == whole
    (packed.shards / "index.json").unlink()
    assert pack(packed, **SMALL).rendered == 30, "nothing vouches for tars without an index"
    assert contents(packed.shards) == whole


def test_other_settings_take_nothing_over(packed: Dataset) -> None:
    assert pack(packed, **SMALL | {"size": 20}).rendered == 30
    black = SMALL | {"size": 20, "background": "black"}
    assert pack(packed, **black).rendered == 30
    assert pack(packed, **black | {"split": "x"}).rendered == 0
    assert pack(packed, **black | {"held_out": 0.5}).rendered == 0


def test_the_bytes_of_an_unchanged_image_are_not_asked_for(packed: Dataset) -> None:
    """Packed again without the store: what is packed already needs no original."""
    for path in packed.store.root.rglob("*"):
        if path.is_file():
            path.unlink()
    change_rows(packed, {"captions": (Caption("said otherwise", "title"),)})
    done = pack(packed, **SMALL)
    assert (done.rendered, done.shards_written) == (0, 1)
    with pytest.raises(InputError, match="cannot be read"):
        pack(packed, **SMALL | {"size": 20})


def test_renderings_that_are_kept_are_used_once_and_then_gone(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 3)
    renders = renders_of(dataset, 24, "png", "white")
    facts = {"original_width": 90, "original_height": 60, "width": 36, "height": 24}
    facts |= {"modified": ["resized"], "format": "png"}
    kept = encoded(noise(99, 36, 24))
    sha256 = str(dataset.read().samples[1].sha256)
    renders.put(sha256, facts, kept)
    done = pack(dataset, **SMALL)
    assert done.rendered == 2
    images = {key: image for key, image, _ in iterate_samples(tmp_path)}
    assert images["t-001"] == kept
    assert renders.get(sha256) is None


def test_a_rendering_that_goes_while_shards_are_written_is_a_sentence(tmp_path: Path) -> None:
    sample = ("k", "{}", "words", "", "0" * 64, 10)
    rendering = {"size": 1, "format": "png", "background": "white"}
    with pytest.raises(InputError, match="rendering of k has gone"):
        write_shard(str(tmp_path / "x"), "png", [sample], str(tmp_path / "renders"), rendering)


# what is related


def test_related_images_weigh_as_one_lie_together_and_are_held_out_together(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 40)
    kin = [f"t-{n // 4 * 4:03}" if n < 20 else None for n in range(40)]
    change_rows(dataset, *({"group": group} for group in kin))
    pack(dataset, **SMALL | {"held_out": 0.3})
    place: dict[str, set[str]] = {}
    for shard in read_index(tmp_path).shards:
        assert shard.name.startswith(f"{shard.split}-")
    for split in ("train", "held_out"):
        for _, _, record in iterate_samples(tmp_path, split=split):
            place.setdefault(record["group"] or record["key"], set()).add(split)
            assert record["weight"] == (0.25 if record["group"] else 1.0)
    assert len(place) == 25 and all(len(splits) == 1 for splits in place.values())
    assert {"train"} in place.values() and {"held_out"} in place.values()


def test_images_of_one_scene_are_held_out_together(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 30)
    change_rows(dataset, *({"scene": f"t-{n // 3 * 3:03}"} for n in range(30)))
    pack(dataset, held_out=0.4, **SMALL)
    held = {key for key, _, _ in iterate_samples(tmp_path, split="held_out")}
    assert 0 < len(held) < 30
    assert all(len(held & {f"t-{n + i:03}" for i in range(3)}) in (0, 3) for n in range(0, 30, 3))


def test_an_image_with_a_share_alike_copy_lies_with_the_share_alike(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 4)
    alike = {"license": "CC-BY-SA-4.0", "group": "t-001"}
    change_rows(dataset, {}, {"group": "t-001"}, alike, {"license": "CC-BY-4.0"})
    pack(dataset)
    shards = {s.name: dict(s.licences) for s in read_index(tmp_path).shards}
    assert shards == {
        "train-000000.tar": {"CC0-1.0": 1, "CC-BY-4.0": 1},
        "train_sharealike-000000.tar": {"CC0-1.0": 1, "CC-BY-SA-4.0": 1},
    }


# settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"shard_size": 0},
        {"shard_size": float("nan")},
        {"shard_size": float("inf")},
        {"held_out": 1.0},
        {"held_out": -0.1},
        {"held_out": float("nan")},
        {"split": "held_out"},
        {"split": "held_out_too"},
        {"split": "a-b"},
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        pack(dataset_of(tmp_path, 1), **wrong)


def test_the_command_that_mends_repeats_every_setting(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 3)
    pack(dataset, size=24, shard_size=0.5, held_out=0.25, split="mine")
    typed = pack_command(dataset.shards).split()
    usual = ["--size", "24", "--format", "jpg", "--background", "white"]
    rest = ["--shard-size", "0.5", "--held-out", "0.25", "--split", "mine"]
    assert typed == ["curate", "pack", "--data", str(tmp_path), *usual, *rest]
    before = contents(dataset.shards)
    subprocess.run([sys.executable, "-m", *typed], check=True, stdout=subprocess.DEVNULL)
    assert contents(dataset.shards) == before


def test_packing_imports_no_torch_and_no_webdataset(tmp_path: Path) -> None:
    dataset_of(tmp_path, 2)
    script = (
        "import sys; from curate import cli\n"
        "try: cli.main(['pack', '--data', sys.argv[1]])\n"
        "except SystemExit as e: print(e.code, {'torch', 'webdataset'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "0 set()", done.stderr


def test_rows_of_equal_bytes_are_rendered_once(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 3)
    rows = dataset.read().samples
    same = {"sha256": rows[0].sha256, "pixel_sha256": rows[0].pixel_sha256}
    with dataset.lock():
        dataset.write(Manifest([rows[0], replace(rows[1], **same), rows[2]], []))
    done = pack(dataset)
    assert (done.rendered, done.samples) == (2, 3)
    images = {hashlib.sha256(image).hexdigest() for _, image, _ in iterate_samples(tmp_path)}
    assert len(images) == 2
