"""Images of ours that leave and come back by another door: nothing becomes more permissive."""

import gzip
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from test_corpora_tars import write
from test_fetch_shards import judged, more_permissive, packed, policies

from curate.corpora.corpus import find_corpus, open_reader
from curate.corpora.notes import ReadNotes
from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample
from curate.errors import InputError
from curate.export.export import ExportSettings, export
from curate.export.trainers import TRAINERS
from curate.fetch.run import fetch_images
from curate.rights.policy import read_policy
from curate.shards.pack import pack
from tests.packable import dataset_of, noise
from tests.pictures import encoded
from tests.recorded_progress import RecordedProgress
from train.data.stored import COPY, open_images

__all__ = ["packed"]  # a fixture
Members = Mapping[str, tuple[bytes, Any, str]]  # key -> image, JSON, caption


def beside(where: Path, members: Members) -> None:
    for key, (image, record, text) in members.items():
        (where / f"{key}.png").write_bytes(image)
        (where / f"{key}.json").write_text(json.dumps(record))
        (where / f"{key}.txt").write_text(text)


def renamed(where: Path, members: Members) -> None:
    """Other names, other captions, and the JSON named as gallery-dl does."""
    for number, (image, record, _) in enumerate(members.values()):
        (where / f"{number:03}.webp").write_bytes(image)
        (where / f"{number:03}.webp.JSON").write_text(json.dumps(record))
        (where / f"{number:03}.caption").write_text("another caption")


def named_rows(members: Members) -> list[dict[str, Any]]:
    """A row an image: its record, its name in a folder, its caption."""
    return [
        {**record, "file_name": f"{key}.png", "text": text}
        for key, (_, record, text) in members.items()
    ]


def write_images(where: Path, members: Members) -> None:
    for key, (image, _, _) in members.items():
        (where / f"{key}.png").write_bytes(image)


def lines(where: Path, members: Members) -> None:
    (where / "metadata.jsonl").write_text("\n".join(map(json.dumps, named_rows(members))))
    write_images(where, members)


def parquet_beside(where: Path, members: Members) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    parquet.write_table(pa.Table.from_pylist(named_rows(members)), where / "metadata.parquet")
    write_images(where, members)


def comma_separated(where: Path, members: Members) -> None:
    import pandas

    table = pandas.DataFrame(named_rows(members))
    for column in ("train", "share_dataset", "share_model", "credits", "captions"):
        table[column] = table[column].map(json.dumps)
    table.to_csv(where / "metadata.csv", index=False)
    write_images(where, members)


def zipped_tar(where: Path, members: Members) -> None:
    parts: list[tuple[str, bytes | str]] = []
    for key, (image, record, text) in members.items():
        parts += [(f"x/{key}.png", image), (f"x/{key}.json", json.dumps(record))]
        parts += [(f"x/{key}.txt", text)]
    tar = write(where / "0.tar", parts)
    (where / "0.tar.gz").write_bytes(gzip.compress(tar.read_bytes()))
    tar.unlink()


def webdataset_rows(where: Path, members: Members) -> None:
    """As `datasets` saves what its loader of WebDatasets gives: a column an ending."""
    import datasets

    datasets.disable_progress_bars()
    rows = [
        {"__key__": key, "png": {"bytes": image, "path": None}, "json": record, "txt": text}
        for key, (image, record, text) in members.items()
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    found = datasets.Dataset.from_dict(columns).cast_column("png", datasets.Image())
    found.save_to_disk(str(where / "saved"))


def python_text(where: Path, members: Members) -> None:
    """As pandas writes objects and lists."""
    import pandas

    pandas.DataFrame(named_rows(members)).to_csv(where / "metadata.csv", index=False)
    write_images(where, members)


def flat_columns(where: Path, members: Members) -> None:
    """As `pandas.json_normalize` makes columns of objects."""
    import pandas

    rows = [{**record, "image": f"{key}.png"} for key, (_, record, _) in members.items()]
    table = pandas.json_normalize(rows).rename(columns={"image": "file_name"})
    table.to_csv(where / "metadata.csv", index=False)
    write_images(where, members)


def json_text_rows(where: Path, members: Members) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    rows = [
        {"image": {"bytes": image, "path": key}, "metadata": json.dumps(record), "text": text}
        for key, (image, record, text) in members.items()
    ]
    parquet.write_table(pa.Table.from_pylist(rows), where / "train.parquet")


def record_rows(where: Path, members: Members) -> None:
    """A column for each field of the record."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    rows = [
        {"image": {"bytes": image, "path": key}, "text": text, **record}
        for key, (image, record, text) in members.items()
    ]
    parquet.write_table(pa.Table.from_pylist(rows), where / "train.parquet")


DOORS: dict[str, tuple[str, Callable[[Path, Members], None]]] = {
    "taken apart": ("folder", beside),
    "renamed": ("folder", renamed),
    "metadata.jsonl": ("folder", lines),
    "metadata.parquet": ("folder", parquet_beside),
    "metadata.csv": ("folder", comma_separated),
    "objects as pandas writes them": ("folder", python_text),
    "flat columns": ("folder", flat_columns),
    "tar.gz": ("shards", zipped_tar),
    "webdataset saved": ("hf", webdataset_rows),
    "JSON in Parquet": ("hf", json_text_rows),
    "columns in Parquet": ("hf", record_rows),
}


def members_of(dataset: Dataset) -> dict[str, tuple[bytes, Any, str]]:
    found: dict[str, tuple[bytes, Any, str]] = {}
    for file in dataset.shards.glob("*.tar"):
        with tarfile.open(file) as tar:
            read = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
        for name in read:
            key, _, ending = name.partition(".")
            if ending == "png":
                record = json.loads(read[f"{key}.json"])
                found[key] = read[name], record, read[f"{key}.txt"].decode()
    return found


def taken(root: Path, source: str, path: Path, **options: Any) -> tuple[list[Sample], list[str]]:
    heard = RecordedProgress()
    fetch_images(Dataset(root), source, path, options=options, progress=heard)
    return Dataset(root).read().samples, heard.said


@pytest.mark.parametrize("door", DOORS)
def test_nothing_becomes_more_permissive_by_any_door(
    door: str, tmp_path: Path, packed: tuple[Dataset, list[Sample]]
):
    dataset, rows = packed
    source, leave = DOORS[door]
    members = members_of(dataset)
    (tmp_path / "out").mkdir()
    leave(tmp_path / "out", members)

    after, _ = taken(tmp_path / "d", source, tmp_path / "out", license="CC0-1.0")

    assert len(after) == len(members) > 25
    images = {data: key for key, (data, _, _) in members.items()}
    store = Dataset(tmp_path / "d").store
    names = {images[store.get(str(row.sha256))]: row.key for row in after}
    assert more_permissive(tmp_path, rows, after, names) == []
    assert judged(after, next(policies(tmp_path)))[names["k-free"]].train.decision == "allow"  # type: ignore[union-attr]


@pytest.mark.parametrize("door", DOORS)
def test_a_record_that_forbids_training_is_obeyed_by_any_door(door: str, tmp_path: Path):
    source, leave = DOORS[door]
    said = {"allow": "allow", "deny": "deny", "hold": "hold"}
    members = {
        key: (encoded(noise(n)), record(key, decision), f"a fox {key}")
        for n, (key, decision) in enumerate(said.items())
    }
    (tmp_path / "out").mkdir()
    leave(tmp_path / "out", members)

    after, told = taken(tmp_path / "d", source, tmp_path / "out", license="CC0-1.0")
    counted = [
        pair for p in find_corpus(tmp_path / "out").partitions for pair in p.read(ReadNotes())
    ]
    trained = list(open_images(tmp_path / "out").images())

    allowed = members["allow"][0]
    assert [Dataset(tmp_path / "d").store.get(str(row.sha256)) for row in after] == [allowed]
    assert [one.data for one in trained] == [allowed]
    assert len(counted) == 1
    for decision in ("deny", "hold"):
        assert any(f"images whose record says train: {decision} (1)" in one for one in told)
        assert any(f"train: {decision} (1)" in one for one in open_images(tmp_path / "out").notes)


def record(key: str, decision: str) -> dict[str, Any]:
    verdict = {"decision": decision, "reasons": ["licence:CC0-1.0"]}
    return {
        "key": key, "captions": [{"text": f"a fox {key}", "origin": "text"}], "credits": [],
        "source": "openverse", "license": "CC0-1.0", "license_text": "CC0", "title": key,
        "train": verdict, "share_dataset": verdict, "share_model": verdict,
        "sha256": None, "pixel_sha256": None,
    }  # fmt: skip


def test_records_of_a_list_of_captions_are_obeyed(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(encoded(noise(1)))
    (tmp_path / "b.png").write_bytes(encoded(noise(2)))
    rows = [{**record(k, d), "file_name": f"{k}.png"} for k, d in (("a", "deny"), ("b", "allow"))]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))

    reader = open_reader(tmp_path / "list.jsonl")

    assert [r.key for r in reader.records(ReadNotes()) if not r.denied] == ["b.png"]
    assert [one.name for one in open_images(tmp_path / "list.jsonl").images()] == ["b.png"]


WAYS: dict[str, tuple[str, bool]] = {  # a format of exports, and whether names are changed
    **{name: (name, False) for name in TRAINERS},
    "renamed": ("folder", True),
    "renamed in a folder of it": ("kohya", True),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_becomes_more_permissive_by_an_export_that_is_read_again(
    way: str, tmp_path: Path, packed: tuple[Dataset, list[Sample]]
):
    dataset, rows = packed
    format, rename = WAYS[way]
    out = tmp_path / "out"
    export(dataset, out, ExportSettings(format, repeats=1))
    keys = {p.read_bytes(): p.stem for p in out.rglob("*.png")}
    for number, file in enumerate(sorted(out.rglob("*.png")) if rename else []):
        file.with_suffix(".txt").rename(file.with_name(f"{number}.txt"))
        file.rename(file.with_name(f"{number}.png"))
    [inner] = {p.parent for p in out.rglob("*.png")}

    after, told = taken(tmp_path / "d", "folder", inner if rename else out, license="CC0-1.0")

    assert len(after) == len(keys) > 25
    store = Dataset(tmp_path / "d").store
    names = {keys[store.get(str(row.sha256))]: row.key for row in after}
    assert more_permissive(tmp_path, rows, after, names) == []
    assert judged(after, next(policies(tmp_path)))[names["k-free"]].train.decision == "allow"  # type: ignore[union-attr]
    assert any("of an export of ours" in one for one in told)
    assert not any(one.startswith("JSON files") and "licences.json" in one for one in told)
    assert {row.author for row in after if row.license_text == "CC-BY-4.0"} == {"A. Nyone"}
    text = "".join(p.read_text() for p in out.rglob("*.json*"))
    assert "at home" not in text, "a basis is nobody else's"


def test_what_is_beside_an_export_is_said_and_is_none_of_it(tmp_path: Path):
    export(dataset_of(tmp_path / "ours", 2), tmp_path / "out", ExportSettings("folder"))
    (tmp_path / "out" / "new.png").write_bytes(encoded(noise(9)))

    rows, told = taken(tmp_path / "d", "folder", tmp_path / "out", license="MIT")

    assert {str(r.file_name): r.license_by for r in rows}["new.png"] == "user"
    assert any("none of it (1): new.png" in one for one in told)


@pytest.mark.parametrize("stated", [{"noai": True}, {"opt_outs": ["x"]}, {"tdm-reservation": 1}])
@pytest.mark.parametrize("first", [True, False])
def test_a_stated_opt_out_denies_an_image_and_its_copies(
    stated: dict[str, object], first: bool, tmp_path: Path
):
    where = tmp_path / "in"
    where.mkdir()
    names = ("a", "b") if first else ("b", "a")
    for name in (*names, "free"):
        (where / f"{name}.png").write_bytes(encoded(noise(2 if name == "free" else 1)))
        (where / f"{name}.txt").write_text(f"a fox {name}")
    (where / f"{names[0]}.json").write_text(json.dumps({"license": "CC0", **stated}))

    rows, _ = taken(tmp_path / "d", "folder", where, license="CC0-1.0")
    by_name = {str(r.file_name): r for r in judged(rows, read_policy("personal")).values()}
    read = open_images(where)

    assert by_name[f"{names[0]}.png"].train.decision == "deny"  # type: ignore[union-attr]
    assert [one.name for one in read.images() if not one.problem] == ["free.png"]
    assert any("an opt-out is stated (1)" in one for one in read.notes)
    assert [key for key, _ in read.records()] and len(list(read.records())) == 1


def test_copies_of_what_a_record_forbids_are_not_trained_on(tmp_path: Path):
    parts: list[tuple[str, bytes | str]] = [("a.png", encoded(noise(1))), ("a.txt", "a fox")]
    parts += [("b.png", encoded(noise(1))), ("b.json", json.dumps(record("b", "deny")))]
    write(tmp_path / "s.tar", [*parts, ("c.png", encoded(noise(2))), ("c.txt", "an owl")])

    read = [(one.name, one.problem) for one in open_images(tmp_path / "s.tar").images()]

    assert read == [("s.tar/a", COPY), ("s.tar/c", None)]


SEVERAL: dict[str, tuple[dict[str, object], str]] = {  # what a JSON states -> train, by "personal"
    "nothing": ({}, "allow"),
    "a sign": ({"license": "?"}, "allow"),
    "signs": ({"license": " - ", "rights": "..."}, "allow"),
    "unknown": ({"license": "unknown"}, "hold"),
    "reserved": ({"license": "All rights reserved"}, "deny"),
    "the same twice": ({"license": "CC0", "license_name": "CC0"}, "allow"),
    "rights beside": ({"license": "CC0", "rights": "All rights reserved"}, "deny"),
    "a number beside": ({"license": 4, "license_name": "CC BY 4.0"}, "allow"),
    "in an object": ({"json": {"license": "CC BY-ND 4.0"}}, "deny"),
    "own, of another": ({"license": "own"}, "hold"),
}


@pytest.mark.parametrize("what", SEVERAL)
@pytest.mark.parametrize("given", ["own", "CC0-1.0"])
def test_the_users_word_counts_only_where_nothing_is_stated(what: str, given: str, tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded(noise(1)))
    (tmp_path / "in" / "a.json").write_text(json.dumps({"caption": "fox", **SEVERAL[what][0]}))

    rows, _ = taken(tmp_path / "d", "folder", tmp_path / "in", license=given)

    [row] = judged(rows, read_policy("personal")).values()
    assert row.train is not None and row.train.decision == SEVERAL[what][1], row.train


def test_the_strictest_of_metadata_and_what_lies_beside_counts(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded(noise(1)))
    (tmp_path / "in" / "a.json").write_text('{"license": "CC BY-ND 4.0", "ai_generated": true}')
    (tmp_path / "in" / "metadata.csv").write_text("file_name,text,license\na.png,a fox,CC0-1.0\n")

    rows, _ = taken(tmp_path / "d", "folder", tmp_path / "in")

    [row] = judged(rows, read_policy("personal")).values()
    assert row.train is not None and row.train.decision == "deny"
    assert row.ai_generated is True


@pytest.mark.parametrize("said", ["allow", "hold", "deny", "DENIED", None, 1, [], {}])
def test_a_record_that_does_not_allow_to_give_on_a_model_holds_it(said: object, tmp_path: Path):
    about = {"train": {"decision": "allow"}, "share_model": {"decision": said}, "caption": "fox"}
    write(tmp_path / "s.tar", [("a.png", encoded(noise(1))), ("a.json", json.dumps(about))])

    [(_, found)] = open_images(tmp_path / "s.tar").records()

    assert found["share_model"] == {"decision": said if said in ("allow", "deny") else "hold"}


@pytest.mark.parametrize("part", [".", "store", "store/??", "shards"])
def test_a_dataset_is_no_folder_of_images(part: str, tmp_path: Path):
    root = dataset_of(tmp_path / "ours", 1, license=None).root
    (root / "shards").mkdir()
    named = next(root.glob(part)) if "?" in part else root / part

    with pytest.raises(InputError, match="with their verdicts") as refused:
        taken(tmp_path / "d", "folder", named, license="CC0-1.0")

    assert "curate build" in str(refused.value.fix)
    pack(Dataset(root), size=32, format="png")
    with pytest.raises(InputError, match="with their verdicts") as refused:
        taken(tmp_path / "d", "folder", named, license="CC0-1.0")
    assert str(refused.value.fix) == f"curate fetch shards {root / 'shards'}"
    rows, _ = taken(tmp_path / "d", "shards", root / "shards", license="CC0-1.0")
    assert len(rows) == 1 and "share_dataset:hold" in rows[0].restrictions


def test_a_manifest_is_no_list_of_addresses_to_download_anew(tmp_path: Path):
    root = dataset_of(tmp_path / "ours", 1, license=None).root
    for into in (tmp_path / "d", root):
        with pytest.raises(InputError, match="with their verdicts") as refused:
            taken(into, "hf", root / "manifest.parquet", license="CC0-1.0")
        assert str(refused.value.fix) == f"curate build --data {root}"
