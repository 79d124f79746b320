"""The programs that read a publication read the same images, captions and keys."""

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from curate.dataset.sample import Caption
from curate.formats.shards import iterate_samples
from tests.publishable import by_address, members, packed, published, rows_of, shareable

Read = Mapping[str, list[str]]  # key -> first caption, SHA-256 of the RGB pixels
# another Python in which mlcroissant, pyarrow and Pillow are installed; 370 MB, so not here
CROISSANT_PYTHON = os.environ.get("MLCROISSANT_PYTHON", sys.executable)
PIXELS = """
import hashlib, json, sys
def pixels(image):
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()
folder, cache, image = sys.argv[1:]
"""


@pytest.fixture(scope="module", params=["jpg", "webp"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine images to share, of which the first say less than the later; one by address."""
    root = tmp_path_factory.mktemp(request.param)
    dataset = shareable(root / "data", 10, author=None, retrieved="2026-03-01T10:00:00Z")
    late = {"author": "Élise “O'Hara” 画家", "license": "CC-BY-SA-4.0", "language": "fr"}
    said = {"captions": (Caption('a line,\n"another"\tand 雪', "text"),)}
    packed(dataset, *[{}] * 7, late, said, by_address("nc"), format=request.param)
    published(dataset, root / "out", name="Snow & ice")
    return root


@pytest.fixture(scope="module")
def expected(place: Path) -> Read:
    found = {
        key: [record["captions"][0]["text"], pixels_of(data)]
        for key, data, record in iterate_samples(place / "data")
    }
    return {key: value for key, value in found.items() if key != "t-009"}


def pixels_of(image: bytes) -> str:
    with Image.open(io.BytesIO(image)) as opened:
        return hashlib.sha256(opened.convert("RGB").tobytes()).hexdigest()


def read_by(script: str, place: Path, *, python: str = sys.executable, **more: str) -> Any:
    """What a script prints as JSON in a process of its own, which asks no network."""
    cache = place / "cache"
    told = {**os.environ, "HF_HUB_OFFLINE": "1", "CROISSANT_CACHE": str(cache), **more}
    suffix = next(place.glob("out/data/*.tar"))
    (image,) = {name.rpartition(".")[2] for name in members(suffix)} - {"json", "txt"}
    command = [python, "-c", PIXELS + script, str(place / "out"), str(cache), image]
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_tars_and_table_hold_what_was_packed(place: Path, expected: Read) -> None:
    tars = {f"data/{p.name}": members(p) for p in (place / "out/data").iterdir()}
    rows = rows_of(place / "out/metadata.parquet")
    images = {row["key"]: tars[row["shard"]][row["file_name"]] for row in rows}
    assert {r["key"]: [r["caption"], pixels_of(images[r["key"]])] for r in rows} == expected
    assert all((row["width"], row["height"]) == (72, 48) for row in rows)
    texts = (tars[r["shard"]][f"{r['key']}.txt"].decode() == r["caption"] for r in rows)
    assert all(texts) and sum(map(len, tars.values())) == 3 * len(rows)


def test_hugging_face_loads_the_folder(place: Path, expected: Read) -> None:
    script = """
import datasets
def read(loaded):
    return {row["__key__"]: [row["txt"], pixels(row[image])] for row in loaded}
whole = datasets.load_dataset(folder, cache_dir=cache)
urls = {"train": folder + "/urls.parquet"}
urls = datasets.load_dataset("parquet", data_files=urls, cache_dir=cache)["train"]["url"][:]
features = datasets.load_dataset_builder(folder, cache_dir=cache).info.features
tars = {"train": folder + "/data/*.tar"}
again = datasets.load_dataset("webdataset", data_files=tars, features=features, cache_dir=cache)
authors = {row["__key__"]: row["json"]["author"] for row in whole["train"]}
print(json.dumps([read(whole["train"]), read(again["train"]), list(whole), urls, authors]))
"""
    whole, again, splits, urls, authors = read_by(script, place)
    assert whole == again == expected and splits == ["train"]
    assert urls == ["https://images.example.org/nc.png"]
    assert authors["t-000"] is None and authors["t-007"].startswith("Élise")


def test_webdataset_reads_the_tars(place: Path, expected: Read) -> None:
    script = """
import glob, webdataset
tars = sorted(glob.glob(folder + "/data/*.tar"))
read = webdataset.WebDataset(tars, shardshuffle=False).decode("pil")
print(json.dumps({one["__key__"]: [one["txt"], pixels(one[image])] for one in read}))
"""
    assert read_by(script, place) == expected


def test_daft_reads_the_table_and_the_images_it_names(place: Path, expected: Read) -> None:
    script = """
import daft, io, tarfile
from PIL import Image
read = {}
for row in daft.read_parquet(folder + "/metadata.parquet").to_pylist():
    with tarfile.open(folder + "/" + row["shard"]) as tar:
        opened = Image.open(io.BytesIO(tar.extractfile(row["file_name"]).read()))
        read[row["key"]] = [row["caption"], pixels(opened)]
print(json.dumps(read))
"""
    assert read_by(script, place) == expected


def test_mlcroissant_reads_the_records(place: Path, expected: Read) -> None:
    has = [CROISSANT_PYTHON, "-c", "import mlcroissant, pyarrow, PIL"]
    if subprocess.run(has, capture_output=True, check=False).returncode:
        pytest.skip("mlcroissant is not installed; MLCROISSANT_PYTHON names a Python that has it")
    script = """
import mlcroissant
dataset = mlcroissant.Dataset(folder + "/croissant.json")
read = {}
for record in dataset.records("samples"):
    key, text = (record["samples/" + name].decode() for name in ("key", "caption"))
    read[key] = [text, pixels(record["samples/image"])]
    assert record["samples/image"].size == (record["samples/width"], record["samples/height"])
addresses = [record["addresses/url"].decode() for record in dataset.records("addresses")]
splits = [record["splits/name"] for record in dataset.records("splits")]
issues = dataset.metadata.ctx.issues
print(json.dumps([read, addresses, splits, dataset.metadata.data_limitations,
                  sorted(issues.errors), sorted(issues.warnings)]))
"""
    read, addresses, splits, limits, errors, warnings = read_by(
        script, place, python=CROISSANT_PYTHON
    )
    assert read == expected and splits == ["train"]
    assert addresses == ["https://images.example.org/nc.png"]
    assert "Of 8 images no author is stated." in limits
    assert errors == [] and all("citeAs" in str(one) for one in warnings), warnings


def test_croissant_says_what_is_there_and_refers_to_nothing_else(place: Path) -> None:
    value = json.loads((place / "out/croissant.json").read_text())
    assert value["conformsTo"] == [
        "http://mlcommons.org/croissant/1.1",
        "http://mlcommons.org/croissant/RAI/1.0",
    ]
    ids: list[str] = []
    named: list[str] = []

    def walk(node: Any) -> None:
        for one in node if isinstance(node, list) else [node]:
            if isinstance(one, dict):
                (named if one.keys() == {"@id"} else ids).extend(filter(None, [one.get("@id")]))
                for name, inner in one.items():
                    if name not in ("@context", "data"):
                        walk(inner)

    walk(value)
    assert len(ids) == len({*ids}) and {*named} <= {*ids}
    assert value["rai:dataCollectionTimeframe"] == ["2026-03-01T10:00:00Z"] * 2
    assert value["inLanguage"] == ["fr"] and value["name"] == "Snow & ice"
    assert "creator" not in value and "url" not in value, "nobody said so"
    samples = next(r for r in value["recordSet"] if r["@id"] == "samples")
    fields = {field["name"] for field in samples["field"]}
    assert {"image", "caption", "license", "author", "credits", "split", "sha256"} <= fields
