"""Exports: what each trainer is documented to read, whose rights hold, what a kill leaves."""

import csv
import hashlib
import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image, ImageCms

from curate import cli
from curate.corpora.corpus import Corpus, find_corpus
from curate.corpora.notes import ReadNotes
from curate.dataset.folder import Dataset, Store
from curate.dataset.sample import Caption, Verdict
from curate.errors import CurateError, InputError, LicenceError, UsageError
from curate.export.balance import STEPS, balance
from curate.export.buckets import bucket_sizes, sort_into_buckets
from curate.export.export import ExportSettings, ExportSummary, export
from curate.export.folder import open_folder
from curate.export.images import ANY_SIZE, render_original
from curate.export.trainers import TRAINERS, quote
from curate.images.decode import decode_image, flatten, pixel_sha256
from tests.packable import ALLOW, change_rows, dataset_of, noise
from tests.pictures import encoded, photograph

FORMATS = tuple(TRAINERS)
DENY, HOLD = Verdict("deny", ("licence:x",)), Verdict("hold", ("unknown",))
SMALL = ExportSettings("folder", resolution=64)


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def exported(dataset: Dataset, folder: Path, format: str, **changed: Any) -> ExportSummary:
    return export(dataset, folder, replace(SMALL, format=format, **changed))


def unbalanced(root: Path, common: int = 40, rare: int = 4, **known: Any) -> Dataset:
    """A dataset in which `rare` images of `common + rare` show a mage, with two captions each."""
    dataset = dataset_of(root, common + rare, **known)
    said = [("a knight", "knight, sword") for _ in range(common)]
    said += [("a mage", "mage, staff") for _ in range(rare)]
    change_rows(
        dataset, *({"captions": tuple(Caption(t, "text") for t in texts)} for texts in said)
    )
    return dataset


TEXTS = (".txt", ".md", ".csv", ".json", ".jsonl", ".toml", ".yaml")


def size_of(file: Path) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size


def images_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix in (".png", ".jpg", ".webp"))


# settings, field by field, as the programs document them

KOHYA = {  # docs/config_README-en.md; types as in library/config_util.py
    "general": {"caption_extension": str, "enable_wildcard": bool},
    "datasets": {
        "resolution": int,
        "batch_size": int,
        "enable_bucket": bool,
        "min_bucket_reso": int,
        "max_bucket_reso": int,
        "bucket_reso_steps": int,
        "bucket_no_upscale": bool,
        "subsets": list,
    },
    "subsets": {"image_dir": str, "num_repeats": int},
}
ONETRAINER = {  # modules/util/config/ConceptConfig.py, version 1
    "__version": int,
    "name": str,
    "path": str,
    "enabled": bool,
    "include_subdirectories": bool,
    "balancing": float,
    "balancing_strategy": str,  # modules/util/enum/BalancingStrategy.py: REPEATS, SAMPLES
    "loss_weight": float,
    "text": dict,
}
AI_TOOLKIT = {  # toolkit/config_modules.py, DatasetConfig
    "folder_path": str,
    "caption_ext": str,
    "caption_dropout_rate": float,
    "shuffle_tokens": bool,
    "cache_latents_to_disk": bool,
    "resolution": list,
    "num_repeats": int,
}
SIMPLETUNER = {  # documentation/DATALOADER.md
    "id": str,
    "type": str,
    "dataset_type": str,
    "instance_data_dir": str,
    "caption_strategy": str,
    "metadata_backend": str,
    "resolution": int,
    "resolution_type": str,
    "crop": bool,
    "cache_dir_vae": str,
    "repeats": int,
}
TEXT_EMBEDS = {  # the same
    "id": str,
    "type": str,
    "dataset_type": str,
    "default": bool,
    "cache_dir": str,
}


def assert_fields(value: Mapping[str, Any], documented: Mapping[str, type]) -> None:
    assert {name: type(one) for name, one in value.items()} == documented


def read_groups(format: str, folder: Path) -> dict[str, int]:
    """Folder of images -> showings an epoch, as the trainer's settings say; fields are checked."""
    if format == "kohya":
        told = tomllib.loads((folder / "dataset.toml").read_text())
        (data,) = told["datasets"]
        assert_fields(told["general"], KOHYA["general"])
        assert_fields(data, KOHYA["datasets"])
        for subset in data["subsets"]:
            assert_fields(subset, KOHYA["subsets"])
        assert told["general"]["caption_extension"] == ".txt"
        assert data["min_bucket_reso"] % 64 == 0 == data["max_bucket_reso"] % 64
        assert data["min_bucket_reso"] <= data["resolution"] <= data["max_bucket_reso"]
        return {one["image_dir"]: one["num_repeats"] for one in data["subsets"]}
    if format == "onetrainer":
        concepts = json.loads((folder / "concepts.json").read_text())
        for concept in concepts:
            assert_fields(concept, ONETRAINER)
            assert concept["text"] == {"prompt_source": "sample"}
            assert concept["balancing_strategy"] == "REPEATS"
        return {one["path"]: int(one["balancing"]) for one in concepts}
    if format == "ai-toolkit":
        told = yaml.safe_load((folder / "config.yaml").read_text())
        assert told["job"] == "extension" and set(told) == {"job", "config", "meta"}
        (process,) = told["config"]["process"]
        assert process["type"] == "sd_trainer" and process["sample"]["prompts"]
        for one in process["datasets"]:
            assert_fields(one, AI_TOOLKIT)
        return {one["folder_path"]: one["num_repeats"] for one in process["datasets"]}
    *backends, embeds = json.loads((folder / "multidatabackend.json").read_text())
    assert_fields(embeds, TEXT_EMBEDS)
    assert embeds["dataset_type"] == "text_embeds" and embeds["default"] is True
    for one in backends:
        assert_fields(one, SIMPLETUNER)
        assert one["caption_strategy"] == "textfile" and one["resolution_type"] == "pixel_area"
    assert len({one["id"] for one in (*backends, embeds)}) == len(backends) + 1
    return {one["instance_data_dir"]: one["repeats"] + 1 for one in backends}


@pytest.mark.parametrize("format", [f for f in FORMATS if TRAINERS[f].repeats])
@pytest.mark.parametrize("name", ['a "b" \\ c: {d} # é 雪 \x7f\u0085\u2028'])
def test_a_trainer_finds_every_image_with_its_caption(
    tmp_path: Path, format: str, name: str
) -> None:
    dataset, folder = unbalanced(tmp_path / "data"), tmp_path / name
    done = exported(dataset, folder, format)
    groups = read_groups(format, folder)
    shown = {Path(path): times for path, times in groups.items()}
    assert {path.parent for path in shown} == {folder} and set(shown.values()) == {1, 3}
    assert all(path.name == f"{times}_images" for path, times in shown.items())
    found = {p: shown[p.parent] for p in images_in(folder)}  # directly in a folder that is named
    assert len(found) == done.images == 44
    for image in found:
        lines = image.with_suffix(".txt").read_text("utf-8").splitlines()
        word = "mage" if int(image.stem.removeprefix("t-")) >= 40 else "knight"
        every = [f"a {word}", f"{word}, {'staff' if word == 'mage' else 'sword'}"]
        assert lines == (every[:1] if format == "ai-toolkit" else every)
        assert size_of(image) == (90, 60)


@pytest.mark.parametrize("format", FORMATS)
def test_how_a_trainer_is_started_names_a_folder_whatever_it_is_called(
    tmp_path: Path, format: str
) -> None:
    folder = tmp_path / 'a mage\'s "own"'
    start = exported(dataset_of(tmp_path / "data", 1), folder, format).start
    typed = format in ("folder", "kohya", "ai-toolkit")  # others: text in JSON, or in Python
    strings = re.findall(r'"(?:[^"\\]|\\.)*"', start)
    words = shlex.split(start) if typed else [json.loads(text) for text in strings]
    settings = TRAINERS[format].settings and TRAINERS[format].settings_name
    assert str(folder / (settings or "")) in words


def test_braces_are_no_wildcards_for_kohya(tmp_path: Path) -> None:
    texts = (Caption("a {b|c} d", "text"), Caption("e", "text"))
    exported(dataset_of(tmp_path / "data", 1, captions=texts), tmp_path / "k", "kohya")
    (text,) = (tmp_path / "k").rglob("*.txt")
    assert text.read_text() == "a {{b|c}} d\ne\n"
    assert tomllib.loads((tmp_path / "k/dataset.toml").read_text())["general"]["enable_wildcard"]
    exported(dataset_of(tmp_path / "one", 1, captions=texts[:1]), tmp_path / "k1", "kohya")
    (text,) = (tmp_path / "k1").rglob("*.txt")
    assert text.read_text() == "a {b|c} d\n"
    assert "enable_wildcard" not in (tmp_path / "k1/dataset.toml").read_text()


@given(st.text())
def test_a_quoted_text_is_the_same_in_json_toml_and_yaml(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return  # a folder of such a name is refused
    quoted = quote(text)
    assert json.loads(quoted) == text
    assert tomllib.loads(f"a = {quoted}")["a"] == text
    assert yaml.safe_load(f"a: {quoted}")["a"] == text


def test_hugging_face_loads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that hold the word of another split, such as "test", are no other split."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    dataset = unbalanced(tmp_path / "data", 3, 2, share_dataset=ALLOW)
    keys = ("folder-test-1", "folder-train-2", "folder-validation-3")
    change_rows(dataset, *({"key": key} for key in keys))
    exported(dataset, tmp_path / "hf", "hf", publish=True)
    for loaded in (
        datasets.load_dataset(
            "imagefolder", data_dir=str(tmp_path / "hf"), cache_dir=str(tmp_path / "c")
        ),
        datasets.load_dataset(str(tmp_path / "hf"), cache_dir=str(tmp_path / "d")),
    ):
        assert list(loaded) == ["train"]
        rows = {row["key"]: row for row in loaded["train"]}
        assert sorted(rows) == [*keys, "t-003", "t-004"]
        assert rows["t-004"]["text"] == "a mage"
        assert rows["t-004"]["texts"] == ["a mage", "mage, staff"]
        assert rows["t-004"]["license"] == "CC0-1.0" and rows["t-004"]["author"] == "A. Nyone"
        assert np.array_equal(np.asarray(rows["t-004"]["image"]), np.asarray(noise(4)))


def front_matter(folder: Path) -> dict[str, Any]:
    _, front, _ = (folder / "README.md").read_text().split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(front)
    return found


def test_a_dataset_card_states_the_licence_of_all_or_sends_to_the_credits(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", 2, share_dataset=ALLOW)
    exported(dataset, tmp_path / "hf", "hf", publish=True)
    assert front_matter(tmp_path / "hf")["license"] == "cc0-1.0"
    assert str(tmp_path) not in (tmp_path / "hf/README.md").read_text(), "it is for others to read"
    change_rows(dataset, {"license": "CC-BY-4.0"})
    exported(dataset, tmp_path / "hf", "hf", publish=True)
    front = front_matter(tmp_path / "hf")
    assert front["license"] == "other" and front["license_name"] == "mixed-image-by-image"
    assert "CC-BY-4.0" in (tmp_path / "hf" / front["license_link"]).read_text()
    assert front["size_categories"] == ["n<1K"] and front["task_categories"] == ["text-to-image"]
    change_rows(dataset, *[{"license": "LicenseRef-Own"}] * 2)
    exported(dataset, tmp_path / "hf", "hf", publish=True)
    assert front_matter(tmp_path / "hf")["license_name"] == "licenseref-own"
    card = pytest.importorskip("huggingface_hub").DatasetCard.load(tmp_path / "hf/README.md")
    assert (card.data.license, card.data.size_categories) == ("other", ["n<1K"])


@pytest.mark.parametrize("format", ["folder", "kohya"])
def test_any_loader_of_a_folder_finds_images_and_texts(
    tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    exported(unbalanced(tmp_path / "data", 5, 2), tmp_path / "out", format)
    words = {"data_dir": str(tmp_path / "out"), "drop_labels": True, "split": "train"}
    loaded = datasets.load_dataset("imagefolder", cache_dir=str(tmp_path / "c"), **words)
    paths = [
        Path(row["image"]["path"])
        for row in loaded.cast_column("image", datasets.Image(decode=False))
    ]
    assert sorted(p.with_suffix(".txt").read_text().split("\n")[0] for p in paths) == [
        *["a knight"] * 5,
        *["a mage"] * 2,
    ]


# read back


def read_back(corpus: Corpus) -> list[tuple[str, ...]]:
    """The captions of every image, as `vocab-gaps` counts them."""
    notes = ReadNotes()
    return sorted(tuple(said) for part in corpus.partitions for _, said in part.read(notes))


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_exported_is_read_back_with_the_same_captions(
    tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = dataset_of(tmp_path / "data", 3)
    said = ("雪, “quoted”; a, b | c", "two\u2028lines\n of it", "ünïcode \U0001f9d9\u200d♀️")
    both = [(Caption(text, "text"), Caption(f"{n}", "text")) for n, text in enumerate(said)]
    change_rows(dataset, *({"captions": c, "author": "A.\u2028Nyone"} for c in both))
    done = exported(dataset, Path("out"), format)
    wanted = sorted((" ".join(text.split()), str(n)) for n, text in enumerate(said))
    if format == "ai-toolkit":
        wanted = [(first,) for first, _ in wanted]
    assert read_back(find_corpus(Path("out"))) == wanted
    assert done.captions == sum(map(len, wanted))
    with pytest.raises(SystemExit) as ended:
        cli.main(["fetch", "folder", "out", "--data", "again", "--license", "CC0-1.0"])
    assert ended.value.code == 0
    rows = Dataset(Path("again")).read().samples
    assert sorted(row.texts for row in rows) == wanted
    store = Store(Path("again/store"))
    pixels = {pixel_sha256(decode_image(store.get(str(row.sha256)))) for row in rows}
    assert pixels == {pixel_sha256(noise(n)) for n in range(3)}
    if format == "hf":
        assert {(r.license_by, r.license_text, r.author) for r in rows} == {
            ("source", "CC0-1.0", "A.\u2028Nyone")
        }


def test_a_title_that_was_no_caption_is_one_when_it_is_read_back_and_that_is_said(tmp_path: Path):
    dataset = dataset_of(tmp_path / "data", 2)
    fox, owl = Caption("a fox", "text"), Caption("an owl", "text")
    titled = {"captions": (owl,), "title": "Night in the woods"}
    change_rows(dataset, {"captions": (fox,), "title": None}, titled)
    exported(dataset, tmp_path / "out", "hf")
    corpus, notes = find_corpus(tmp_path / "out"), ReadNotes()
    (part,) = corpus.partitions

    found = sorted(tuple(said) for _, said in part.read(notes))

    assert found == [("a fox",), ("an owl", "Night in the woods")]
    assert notes.counted["images with captions made of titles and tags"] == 1


# images


def turned(image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", exif=exif, quality=90)


def swapped_profile() -> bytes:
    """A profile in which red and green are exchanged, as far as a reader that ignores it sees."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    at = profile.index(b"desc", 128)
    start = int.from_bytes(profile[at + 4 : at + 8])
    profile[start + 12 : start + 60] = bytes(48)
    return bytes(profile)


PHOTO = photograph(1, (80, 60))
SIXTEEN = np.linspace(0, 65535, 1200, dtype=np.uint16).reshape(30, 40)
CLEAR = noise(3, 40, 30).convert("RGBA")
CLEAR.putalpha(Image.linear_gradient("L").resize((40, 30)))
FILES: dict[str, tuple[bytes, str, bool]] = {  # name -> file, suffix as exported, bits kept
    "jpeg": (encoded(PHOTO, "JPEG"), "jpg", True),
    "progressive": (encoded(PHOTO, "JPEG", progressive=True, subsampling=2), "jpg", True),
    "restart": (encoded(PHOTO, "JPEG", restart_marker_rows=1), "jpg", True),
    "grey": (encoded(PHOTO.convert("L"), "JPEG"), "jpg", True),
    "commented": (encoded(PHOTO, "JPEG", comment=b"by me", exif=b"Exif\0\0MM\0*"), "jpg", True),
    "trailing": (encoded(PHOTO, "JPEG") + encoded(noise(1), "JPEG"), "jpg", True),
    "upright": (turned(PHOTO, 1), "jpg", True),
    "turned": (turned(PHOTO, 6), "jpg", False),
    "profile": (encoded(PHOTO, "JPEG", icc_profile=swapped_profile()), "jpg", False),
    "srgb": (
        encoded(
            PHOTO,
            "PNG",
            icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        ),
        "png",
        True,
    ),
    "cmyk": (encoded(PHOTO.convert("CMYK"), "JPEG"), "jpg", False),
    "png": (encoded(noise(2)), "png", True),
    "palette": (encoded(noise(2).quantize(16)), "png", False),
    "clear": (encoded(CLEAR), "png", False),
    "sixteen": (encoded(Image.fromarray(SIXTEEN)), "png", False),
    "webp": (encoded(PHOTO, "WEBP", exif=b"Exif\0\0MM\0*", xmp=b"<x/>"), "webp", True),
    "lossless": (encoded(noise(2), "WEBP", lossless=True), "webp", True),
    "clear webp": (encoded(CLEAR, "WEBP", lossless=True), "png", False),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_naive_reader_sees_what_was_meant_and_nothing_else_is_in_the_file(
    tmp_path: Path, name: str
) -> None:
    data, suffix, kept = FILES[name]
    store = Store(tmp_path)
    facts, written = render_original(str(tmp_path), store.put(data), ANY_SIZE, "white")
    meant = flatten(decode_image(data), "white")
    assert facts["format"] == suffix and (facts["width"], facts["height"]) == meant.size
    with Image.open(io.BytesIO(written)) as image:
        seen = image.convert("RGB")
        assert image.mode in ("RGB", "L")
        assert not {"exif", "icc_profile", "xmp", "comment", "transparency"} & set(image.info)
    if kept:
        assert np.array_equal(np.asarray(seen), np.asarray(meant))
        assert len(written) <= len(data) and facts["modified"] in ([], ["metadata removed"])
    else:
        difference = np.abs(np.asarray(seen, int) - np.asarray(meant, int))
        assert difference.mean() < (4 if suffix == "jpg" else 1e-9)
    _, twice = render_original(str(tmp_path), store.put(written), ANY_SIZE, "white")
    assert twice == written or suffix == "jpg"


def test_only_what_is_larger_is_scaled(tmp_path: Path) -> None:
    exported(dataset_of(tmp_path / "data", 1), tmp_path / "a", "folder", size=30)
    exported(dataset_of(tmp_path / "other", 1), tmp_path / "b", "folder", size=60)
    assert [size_of(images_in(tmp_path / n)[0]) for n in "ab"] == [(45, 30), (90, 60)]
    assert images_in(tmp_path / "b")[0].read_bytes() == encoded(noise(0)), "as received"
    said = json.loads((tmp_path / "a/licences.json").read_text())["images"]["t-000.png"]
    assert said["modified"].startswith("resized")


def test_what_cannot_be_decoded_is_left_out(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", 2)
    broken = dataset.store.put(b"\x89PNG\r\n\x1a\n and no more")
    change_rows(dataset, {"sha256": broken})
    done = exported(dataset, tmp_path / "out", "folder")
    assert done.images == 1 and done.left_out == {"t-000": "unreadable"}
    assert "t-000" not in (tmp_path / "out/CREDITS.csv").read_text()


# buckets: kohya's own functions, written down once more from its source, decide


def kohya_bucket(size: tuple[int, int], resolution: int) -> tuple[tuple[int, int], bool]:
    """`make_bucket_resolutions` and `select_bucket`, and whether it enlarges the image."""
    low, high = max(64, resolution // 2 - resolution // 2 % 64), 2 * resolution
    area = resolution**2
    resos = {(int(area**0.5 // 64) * 64,) * 2}
    width = low
    while width <= high:
        height = min(high, int((area // width) // 64) * 64)
        if height >= low:
            resos |= {(width, height), (height, width)}
        width += 64
    ordered = sorted(resos)
    if size not in resos:
        errors = np.abs(np.array([w / h for w, h in ordered]) - size[0] / size[1])
        reso = ordered[int(errors.argmin())]
    else:
        reso = size
    tall = size[0] / size[1] > reso[0] / reso[1]
    scale = reso[1] / size[1] if tall else reso[0] / size[0]
    return reso, scale > 1


SIDES = st.integers(1, 4000)


@given(st.tuples(SIDES, SIDES), st.integers(1, 24).map(lambda n: 64 * n))
@examples(max_examples=300)
def test_a_bucket_is_the_one_that_kohya_chooses(size: tuple[int, int], resolution: int) -> None:
    found = sort_into_buckets({"a": size}, resolution)
    bucket, enlarged = kohya_bucket(size, resolution)
    assert found.of == {"a": bucket} and bool(found.too_small) == enlarged
    assert found.counts() == {f"{bucket[0]}x{bucket[1]}": 1}
    assert all(
        w * h <= resolution**2 and w % 64 == 0 == h % 64 for w, h in bucket_sizes(resolution)
    )


def test_buckets_are_stated_and_images_too_small_named(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", 3)
    for n, shape in enumerate([(64, 64), (200, 64)]):
        picture = encoded(noise(9, *shape))
        changed = {"sha256": dataset.store.put(picture), "pixel_sha256": None}
        change_rows(dataset, *[{}] * n, changed)
    done = exported(dataset, tmp_path / "out", "kohya", resolution=128)
    assert done.buckets == {"128x128": 2, "192x64": 1}
    assert [Path(file).stem for file in done.too_small] == ["t-000", "t-002"]
    readme = (tmp_path / "out/README.md").read_text()
    assert "| 192x64 | 1 |" in readme and "t-002.png" in readme
    assert any("2 images are smaller than their bucket" in note for note in done.notes())


# repeats


def test_a_rare_word_has_a_larger_share_of_an_epoch_and_no_image_more_than_its_cap(
    tmp_path: Path,
) -> None:
    rng = random.Random(7)
    dataset = dataset_of(tmp_path / "data", 200)
    objects = ["knight"] * 120 + ["elf"] * 60 + ["orc"] * 14 + ["mage"] * 5 + ["lich"]
    colours = ("red", "blue", "green", "grey")
    rows = [{"captions": (Caption(f"a {rng.choice(colours)} {o}", "text"),)} for o in objects]
    change_rows(dataset, *rows)
    done = exported(dataset, tmp_path / "out", "onetrainer")
    groups = read_groups("onetrainer", tmp_path / "out")
    shown = {p.stem: groups[str(p.parent)] for p in images_in(tmp_path / "out")}
    share = {o: [0.0, 0.0] for o in objects}
    for key, times in shown.items():
        share[objects[int(key[2:])]][1] += times / sum(shown.values())
    for o in objects:
        share[o][0] += 1 / 200
    assert max(shown.values()) == 3 and done.repeats == {1: 181, 2: 14, 3: 5}
    assert [round(100 * s, 1) for s in share["mage"]] == [2.5, 6.7]
    assert [round(100 * s, 1) for s in share["orc"]] == [7.0, 12.5]
    assert all(done.raised[w] == pytest.approx(share[w]) for w in ("mage", "orc"))
    assert shown["t-199"] == 1, "of one image alone, a word says nothing"
    level = exported(dataset, tmp_path / "level", "onetrainer", repeats=1)
    assert level.repeats == {1: 200} and not level.raised


WORDS = st.frozensets(st.sampled_from("abcdefgh"), max_size=4)


@given(st.lists(WORDS, min_size=1, max_size=60), st.integers(1, 10))
def test_balance_obeys_its_cap_and_never_more_for_a_commoner_word(
    said: list[frozenset[str]], most: int
) -> None:
    words = {str(n): one for n, one in enumerate(said)}
    found = balance(words, most)
    assert found.repeats.keys() == words.keys()
    assert set(found.repeats.values()) <= {s for s in STEPS if s <= most}
    images = {w: sum(w in one for one in said) for w in "abcdefgh"}
    rarest = {
        k: min((images[w] for w in one if images[w] >= 2), default=len(said))
        for k, one in words.items()
    }
    for a in words:
        for b in words:
            assert rarest[a] < rarest[b] or found.repeats[a] <= found.repeats[b]
    epoch = sum(found.repeats.values())
    assert sum(times > 1 for times in found.repeats.values()) <= len(said) / 2
    for word, (before, after) in found.raised.items():
        assert before == images[word] / len(said)
        shown = sum(found.repeats[k] for k, one in words.items() if word in one)
        assert after == shown / epoch > before


# rights


def rights_dataset(root: Path) -> Dataset:
    """One to share, one for training alone, one held, one denied, one without a verdict."""
    dataset = dataset_of(root, 6, share_dataset=ALLOW)
    change_rows(
        dataset,
        {},
        {"share_dataset": DENY},
        {"train": HOLD},
        {"train": DENY},
        {"train": None},
        {"dropped": "removed:2026"},
    )
    return dataset


@pytest.mark.parametrize("format", FORMATS)
def test_only_what_is_allowed_is_exported_and_all_of_it_credited(
    tmp_path: Path, format: str
) -> None:
    dataset, folder = rights_dataset(tmp_path / "data"), tmp_path / "out"
    own = exported(dataset, folder, format)
    assert [p.stem for p in images_in(folder)] == ["t-000", "t-001"]
    assert own.left_out == {
        "t-002": "hold",
        "t-003": "deny",
        "t-004": "no-verdict",
        "t-005": "dropped:removed",
    }
    assert own.not_shared == 1 and "Not to be given on: 1" in (folder / "README.md").read_text()
    given_on = exported(dataset, folder, format, publish=True)
    assert [p.stem for p in images_in(folder)] == ["t-000"]
    assert given_on.left_out["t-001"] == "share_dataset:deny" and given_on.taken_out
    named = json.loads((folder / "licences.json").read_text())["images"]
    assert {folder / name for name in named} == set(images_in(folder))
    rows = list(csv.DictReader((folder / "CREDITS.csv").read_text().splitlines()))
    assert [row["key"] for row in rows] == ["t-000"]
    text = "".join(p.read_text() for p in folder.rglob("*") if p.suffix in TEXTS)
    assert "t-001" not in text and "t-003" not in text


def test_copies_are_credited_and_their_verdicts_obeyed(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", 3, share_dataset=ALLOW)
    copied = {"group": "t-000", "dropped": "duplicate:t-000", "author": "B. Other"}
    change_rows(dataset, {"group": "t-000"}, copied)
    done = exported(dataset, tmp_path / "out", "folder", publish=True)
    assert done.images == 2
    assert "B. Other" in (tmp_path / "out/CREDITS.md").read_text()
    assert "B. Other" in (tmp_path / "out/CREDITS.csv").read_text()
    change_rows(dataset, {}, {"share_dataset": HOLD})  # before another check
    done = exported(dataset, tmp_path / "out", "folder", publish=True)
    assert done.images == 1 and done.left_out["t-000"] == "share_dataset:hold"


def test_nothing_left_is_a_matter_of_licences_and_takes_the_old_images_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, folder = dataset_of(tmp_path / "data", 2, share_dataset=HOLD), tmp_path / "out"
    exported(dataset, folder, "hf")
    words = ["export", "hf", str(folder), "--data", str(dataset.root), "--resolution", "64"]
    words += ["--size", "40", "--background", "#123456"]
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--publish"])
    said = capsys.readouterr().err
    assert ended.value.code == 5 and "share_dataset:hold 2" in said and not folder.exists()
    assert "8 files of an earlier export were taken out" in said
    fix = said.split("yourself: ")[1].split("\n")[0]
    with pytest.raises(SystemExit) as ended:
        cli.main(shlex.split(fix)[1:])
    assert ended.value.code == 0 and [size_of(p) for p in images_in(folder)] == [(60, 40)] * 2


def test_nothing_left_for_want_of_captions_is_no_matter_of_licences(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", 1, captions=())
    with pytest.raises(InputError, match="nothing to export") as caught:
        exported(dataset, tmp_path / "out", "folder")
    assert "curate caption" in caught.value.fix and not (tmp_path / "out").exists()
    change_rows(dataset, {"train": None})
    with pytest.raises(LicenceError, match="no-verdict 1") as refused:
        exported(dataset, tmp_path / "out", "folder", publish=True)
    assert "curate check" in refused.value.fix


def test_evidence_is_asked_as_pack_asks(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", 2)
    change_rows(dataset, {"image_url": "https://example.org/a.png", "evidence": "0" * 64})
    assert exported(dataset, tmp_path / "out", "folder").left_out == {"t-000": "no-evidence"}


def test_images_that_may_be_copies_of_what_is_denied_must_be_compared_first(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", 3)
    change_rows(dataset, {"train": DENY}, {"pixel_sha256": None})
    with pytest.raises(InputError, match="not compared"):
        exported(dataset, tmp_path / "out", "folder")


# the folder


@pytest.mark.parametrize("format", ["kohya", "hf"])
def test_typed_twice_it_changes_no_byte_and_no_file(tmp_path: Path, format: str) -> None:
    dataset, folder = unbalanced(tmp_path / "data", 6, 2), tmp_path / "out"
    assert not exported(dataset, folder, format).unchanged
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    said = contents(folder)
    assert exported(dataset, folder, format).unchanged
    assert contents(folder) == said
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p != folder} == {
        p: t for p, t in before.items() if p != folder
    }


def test_what_was_withdrawn_is_taken_out_and_other_images_stay_as_they_are(tmp_path: Path) -> None:
    dataset, folder = unbalanced(tmp_path / "data", 40, 4), tmp_path / "out"
    exported(dataset, folder, "kohya")
    (stays,) = folder.glob("*/t-000.png")
    when = stays.stat().st_mtime_ns
    (folder / stays.parent.name / "t-001_0512x0512_sd.npz").write_bytes(b"latents")
    rows = [{}] * 40 + [{"dropped": "removed:2026"}] * 4
    change_rows(dataset, {}, {"dropped": "removed:2026"}, *rows[2:])
    done = exported(dataset, folder, "kohya")
    assert len(images_in(folder)) == done.images == 39
    assert len(done.taken_out) == 10 and stays.stat().st_mtime_ns == when
    assert not any(p.name == "2_images" for p in folder.iterdir()), "no empty folder stays"
    assert done.others == ["1_images/t-001_0512x0512_sd.npz"]
    assert any("may still hold images" in note for note in done.notes())
    shutil.rmtree(folder / "1_images")
    assert exported(dataset, folder, "kohya").images == len(images_in(folder)) == 39


def test_a_folder_that_holds_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset_of(Path("data"), 1)
    Path("mine").mkdir()
    Path("mine/a.png").write_bytes(b"mine")
    Path("file").write_bytes(b"mine")
    Path("empty").mkdir()
    for name, other in {"mine": "", "file": "", "data": "", ".": "kohya"}.items():
        other = other or f"{name}-kohya"
        with pytest.raises(SystemExit) as ended:
            cli.main(["export", "kohya", name, "--size", "40", "--resolution", "64"])
        fix = capsys.readouterr().err.rpartition("fix: ")[2].strip()
        assert ended.value.code == 3
        with pytest.raises(SystemExit) as ended:
            cli.main(shlex.split(fix)[1:])
        assert ended.value.code == 0 and size_of(images_in(Path(other))[0]) == (60, 40)
    assert contents(Path("mine")) == {"a.png": b"mine"} and Path("file").read_bytes() == b"mine"
    exported(Dataset(Path("data")), Path("empty"), "folder")
    with pytest.raises(InputError, match="holds an export as folder"):
        exported(Dataset(Path("data")), Path("empty"), "hf")
    Path("empty/other.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="not of this export"):
        exported(Dataset(Path("data")), Path("empty"), "folder")
    assert Path("empty/other.png").read_bytes() == b"mine"


def test_a_folder_that_is_new_to_an_export_holds_nothing_else(tmp_path: Path) -> None:
    publish(tmp_path / "out", {"1_images/a.png": b"a"})
    (tmp_path / "out/3_images").mkdir()
    (tmp_path / "out/3_images/mine.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="is not of this export"):
        publish(tmp_path / "out", {"3_images/a.png": b"a"})
    (tmp_path / "out/3_images/mine.png").unlink()
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "out/3_images/a.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(InputError, match="is not of this export"):
        publish(tmp_path / "out", {"1_images/a.png": b"a", "3_images/b.png": b"b"})
    (tmp_path / "out/3_images/a.png").rename(tmp_path / "out/1_images/a.png")
    publish(tmp_path / "out", {"1_images/a.png": b"a"})
    assert not (tmp_path / "out/1_images/a.png").is_symlink()
    assert (tmp_path / "a.png").read_bytes() == b"a"


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/outside.txt", "a/../../outside.txt", "link/x"]
)
def test_a_list_of_files_that_somebody_wrote_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    """An export that was downloaded says which files are its own; none of them is elsewhere."""
    dataset, folder = dataset_of(tmp_path / "data", 1), tmp_path / "out"
    exported(dataset, folder, "folder")
    (tmp_path / "outside.txt").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x").write_text("mine")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    index = json.loads((folder / "export.json").read_text())
    index["files"][name] = hashlib.sha256(b"mine").hexdigest()
    (folder / "export.json").write_text(json.dumps(index))
    try:
        exported(dataset, folder, "folder")
    except CurateError as error:
        assert "link" in str(error)
    assert (tmp_path / "outside.txt").read_text() == "mine"
    assert (tmp_path / "elsewhere/x").read_text() == "mine"


@pytest.mark.parametrize("files", [5, None, "a.png", [1, ["a"]], {"a.png": ["a"]}])
def test_an_index_that_somebody_damaged_names_no_files(tmp_path: Path, files: object) -> None:
    dataset, folder = dataset_of(tmp_path / "data", 1), tmp_path / "out"
    exported(dataset, folder, "folder")
    captions = read_back(find_corpus(folder))
    index = json.loads((folder / "export.json").read_text())
    (folder / "export.json").write_text(json.dumps({**index, "files": files}))
    assert read_back(find_corpus(folder)) == captions
    with pytest.raises(InputError, match="is not of this export"):
        exported(dataset, folder, "folder")


def test_one_process_at_a_time_writes_there(tmp_path: Path) -> None:
    with open_folder(tmp_path / "out", "kohya", "elsewhere") as place:
        staged = place.stage(b"a")
        with pytest.raises(UsageError, match="another command"):
            publish(tmp_path / "out", {"b": b"b"})
        assert staged.path.read_bytes() == b"a"
        place.publish({"a": staged}, {"format": "kohya"})
    assert contents(tmp_path / "out").keys() == {"a", "export.json"}


def test_names_are_told_apart_where_case_is_not(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", 3)
    change_rows(dataset, {"key": "folder-IMG"}, {"key": "folder-img"})
    exported(dataset, tmp_path / "out", "folder")
    names = [p.stem for p in images_in(tmp_path / "out")]
    assert len({name.lower() for name in names}) == 3 and "t-002" in names
    assert all(name.startswith(("folder-IMG-", "folder-img-", "t-002")) for name in names)


def publish_and_die(folder: Path, files: Mapping[str, bytes], calls: int) -> bool:
    """Publish in a process that dies at its n-th call which changes the disk; whether it died."""
    changes = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")
    left = [calls]

    def watch(event: str, _: object) -> None:
        left[0] -= event in changes
        if not left[0]:
            os._exit(9)

    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    sys.addaudithook(watch)
    publish(folder, files)
    os._exit(0)


def publish(folder: Path, files: Mapping[str, bytes]) -> bool:
    with open_folder(folder, "kohya", "elsewhere") as place:
        staged = {name: place.stage(data) for name, data in files.items()}
        return place.publish(staged, {"format": "kohya"})


@pytest.mark.parametrize(
    "earlier", [{}, {"1_images/a.png": b"a", "2_images/b.png": b"b", "c": b"c"}]
)
def test_killed_at_any_moment_the_same_command_completes_it(
    tmp_path: Path, earlier: Mapping[str, bytes]
) -> None:
    files = {"1_images/a.png": b"a", "3_images/b.png": b"b", "c": b"d", "e": b"e"}
    publish(tmp_path / "wanted", files)
    for calls in count(1):
        folder = tmp_path / str(calls)
        if earlier:
            publish(folder, earlier)
        died = publish_and_die(folder, files, calls)
        index = folder / "export.json"
        if died and index.exists():  # it says what is there
            for name, sha256 in json.loads(index.read_bytes())["files"].items():
                assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256
        assert publish(folder, files) is not died or died  # the last has nothing to do
        assert contents(folder) == contents(tmp_path / "wanted"), calls
        assert sorted(p.name for p in folder.iterdir()) == sorted(
            ["1_images", "3_images", "c", "e", "export.json"]
        )
        if not died:
            break
    assert calls > 8


EXPORT = """
import sys
from pathlib import Path
from curate.dataset.folder import Dataset
from curate.export.export import ExportSettings, export
export(Dataset(Path(sys.argv[1])), Path(sys.argv[2]), ExportSettings("folder", resolution=64))
"""


def test_killed_from_outside_while_it_renders(tmp_path: Path) -> None:
    dataset, folder = dataset_of(tmp_path / "data", 30), tmp_path / "out"
    words = [sys.executable, "-c", EXPORT, str(dataset.root), str(folder)]
    process = subprocess.Popen(words)
    deadline = time.monotonic() + 30
    while not list(folder.glob(".export-parts/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "export.json").exists(), "it is no finished export"
    exported(dataset, folder, "folder")
    exported(dataset, tmp_path / "wanted", "folder")
    named = {"README.md", "export.json"}  # the heading is the folder's name
    wanted, found = contents(tmp_path / "wanted"), contents(folder)
    assert wanted.keys() == found.keys()
    assert {n for n in wanted if wanted[n] != found[n]} <= named


def test_after_ctrl_c_nothing_half_made_is_left(tmp_path: Path) -> None:
    dataset, folder = dataset_of(tmp_path / "data", 30), tmp_path / "out"
    words = ["-m", "curate", "export", "folder", str(folder), "--data", str(dataset.root)]
    process = subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not list(folder.glob(".export-parts/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130 and "an earlier export stays" in said, said
    assert not folder.exists()


def test_a_full_disk_is_a_sentence_and_the_old_export_stays(tmp_path: Path) -> None:
    dataset, folder = dataset_of(tmp_path / "data", 3), tmp_path / "out"
    exported(dataset, folder, "folder")
    before = contents(folder)
    change_rows(dataset, {"captions": (Caption("other", "text"),)})
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
from curate.cli import main
main(["export", "folder", {str(folder)!r}, "--data", {str(dataset.root)!r}, "--resolution", "64"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "cannot be written" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and contents(folder) == before


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["export", "lora", "out"], "FORMAT"),
        (["export", "kohya", "out", "--resolution", "1000"], "--resolution"),
        (["export", "kohya", "out", "--resolution", "0"], "--resolution"),
        (["export", "kohya", "out", "--repeats", "11"], "--repeats"),
        (["export", "kohya", "out", "--background", "nice"], "--background"),
        (["export", "kohya", "out\udcff"], "out"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    option: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2 and capsys.readouterr().err.startswith(f"error: {option}")
    assert list(tmp_path.iterdir()) == []


def test_the_command_has_the_defaults_of_its_settings() -> None:
    import typer.main

    command = typer.main.get_command(cli.app).commands["export"]  # type: ignore[attr-defined]
    given = {p.name: p.default for p in command.params}
    for name in ("publish", "size", "resolution", "repeats", "background"):
        assert given[name] == getattr(ExportSettings, name)
    (formats,) = (p.help for p in command.params if p.name == "format")
    assert all(name in formats for name in FORMATS)
