"""The same captioned images in many layouts, by their own libraries where these write them."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
from PIL import Image, ImageDraw

THINGS = ["castle", "dragon", "lantern", "mage", "owl", "raven", "tower", "wolf"]
COLOURS = ["blue", "green", "orange", "purple", "red"]


@dataclass(frozen=True)
class Picture:
    """An image and what is said of it."""

    name: str  # without an ending
    data: bytes  # PNG
    captions: tuple[str, ...]


def forty_pictures(*, several: bool) -> list[Picture]:
    """Forty images, no two alike; with two captions each fourth, if there may be several."""
    made = []
    for n in range(40):
        colour, thing = COLOURS[n % 5], THINGS[n // 5]
        image = Image.new("RGB", (16, 16), colour)
        ImageDraw.Draw(image).rectangle([n % 8, n // 8, 9, 9], fill=(6 * n, 99, 255 - 6 * n))
        stored = io.BytesIO()
        image.save(stored, "PNG")
        captions = [f"a {colour} {thing}, picture {n}"]
        if several and n % 4 == 0:
            captions.append(f"drawn: {thing} number {n}")
        made.append(Picture(f"{thing}_{n:02}", stored.getvalue(), tuple(captions)))
    return made


@dataclass(frozen=True)
class Layout:
    """Who writes it so, how, and what it is called here."""

    name: str
    write: Callable[[Path, Sequence[Picture]], None]  # into an empty folder
    kind: str  # of its reader
    source: str  # of `curate fetch`
    several: bool = True  # whether it has place for several captions of an image


def _put(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def _lines(one: Picture) -> str:
    return "\n".join(one.captions) + "\n"


def text_sidecars(folder: Path, pictures: Sequence[Picture]) -> None:
    """As every home trainer reads them."""
    for one in pictures:
        _put(folder / f"{one.name}.png", one.data)
        _put(folder / f"{one.name}.txt", _lines(one))


def caption_sidecars(folder: Path, pictures: Sequence[Picture]) -> None:
    """As BLIP's script of sd-scripts writes them."""
    for one in pictures:
        _put(folder / f"{one.name}.png", one.data)
        _put(folder / f"{one.name}.caption", _lines(one))


def json_sidecars(folder: Path, pictures: Sequence[Picture]) -> None:
    """As gallery-dl writes metadata: NAME.EXT.json."""
    for one in pictures:
        _put(folder / f"{one.name}.png", one.data)
        _put(folder / f"{one.name}.png.json", json.dumps({"description": one.captions[0]}))


def kohya_folder(folder: Path, pictures: Sequence[Picture]) -> None:
    """As sd-scripts reads folders of repeats."""
    text_sidecars(folder / "10_mage", pictures[::2])
    text_sidecars(folder / "3_people", pictures[1::2])


def kohya_metadata(folder: Path, pictures: Sequence[Picture]) -> None:
    """As `merge_captions_to_metadata.py` of sd-scripts writes it."""
    for one in pictures:
        _put(folder / f"{one.name}.png", one.data)
    said = {str(folder / f"{one.name}.png"): {"caption": one.captions[0]} for one in pictures}
    _put(folder / "meta.json", json.dumps(said))


def metadata_csv(folder: Path, pictures: Sequence[Picture]) -> None:
    """As imagefolder of `datasets` reads it."""
    rows = io.StringIO()
    writer = csv.writer(rows)
    writer.writerow(["file_name", "text"])
    for one in pictures:
        _put(folder / "train" / f"{one.name}.png", one.data)
        writer.writerow([f"{one.name}.png", "\n".join(one.captions)])
    _put(folder / "train" / "metadata.csv", rows.getvalue())


def metadata_jsonl(folder: Path, pictures: Sequence[Picture]) -> None:
    """As imagefolder of `datasets` reads it, with lists of captions."""
    for one in pictures:
        _put(folder / f"{one.name}.png", one.data)
    rows = ({"file_name": f"{one.name}.png", "text": list(one.captions)} for one in pictures)
    _put(folder / "metadata.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))


def captions_jsonl(folder: Path, pictures: Sequence[Picture]) -> None:
    """A list of captions beside the images."""
    for one in pictures:
        _put(folder / "images" / f"{one.name}.png", one.data)
    rows = [{"image": f"images/{p.name}.png", "captions": list(p.captions)} for p in pictures]
    _put(folder / "captions.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))


def coco(folder: Path, pictures: Sequence[Picture]) -> None:
    """As COCO's annotations of captions are: images by number, an annotation a caption."""
    for one in pictures:
        _put(folder / "val2017" / f"{one.name}.png", one.data)
    images = [{"id": n, "file_name": f"{p.name}.png"} for n, p in enumerate(pictures)]
    said = [{"image_id": n, "caption": c} for n, p in enumerate(pictures) for c in p.captions]
    annotations = [{"id": n, **one} for n, one in enumerate(said)]
    told = {"images": images, "annotations": annotations}
    _put(folder / "annotations" / "captions_val2017.json", json.dumps(told))


def webdataset_tars(folder: Path, pictures: Sequence[Picture]) -> None:
    """By the library's own writer."""
    import webdataset

    pattern = str(folder / "%06d.tar")
    with webdataset.ShardWriter(pattern, maxcount=16, verbose=0) as writer:
        for one in pictures:
            writer.write({"__key__": one.name, "png": one.data, "txt": _lines(one)})


def _img2dataset_rows(pictures: Sequence[Picture]) -> list[dict[str, object]]:
    """A row an address: every fifth could not be downloaded."""
    rows: list[dict[str, object]] = []
    for n, one in enumerate(pictures):
        for failed in (False, True)[: 2 if n % 5 == 0 else 1]:
            rows.append({
                "url": f"https://a.test/{one.name}{failed}.png",
                "caption": "a wyvern that nobody downloaded" if failed else "\n".join(one.captions),
                "key": f"{len(rows):09d}",
                "status": "failed_to_download" if failed else "success",
                "error_message": "HTTP Error 404" if failed else None,
                "width": None if failed else 16,
                "data": None if failed else one.data,
            })  # fmt: skip
    return rows


def _img2dataset_table(folder: Path, rows: Sequence[dict[str, object]], held: bool) -> None:
    columns = [{k: v for k, v in row.items() if k != "data"} for row in rows]
    made = pa.Table.from_pylist(columns)
    if held:
        made = made.append_column("jpg", pa.array([row["data"] for row in rows], pa.binary()))
    folder.mkdir(exist_ok=True)
    parquet.write_table(made, folder / "00000.parquet")
    stats = {"count": len(rows), "successes": sum(r["status"] == "success" for r in rows)}
    _put(folder / "00000_stats.json", json.dumps(stats))


def img2dataset_files(folder: Path, pictures: Sequence[Picture]) -> None:
    """Its `--output_format files`."""
    rows = _img2dataset_rows(pictures)
    for row in rows:
        if row["status"] == "success":
            stem = folder / "00000" / str(row["key"])
            _put(stem.with_suffix(".jpg"), _jpeg_name(row["data"]))
            _put(stem.with_suffix(".txt"), str(row["caption"]))
            _put(stem.with_suffix(".json"), _img2dataset_json(row))
    _img2dataset_table(folder, rows, held=False)


def img2dataset_tars(folder: Path, pictures: Sequence[Picture]) -> None:
    """Its `--output_format webdataset`, by webdataset's writer as it does."""
    import webdataset

    rows = _img2dataset_rows(pictures)
    with webdataset.TarWriter(str(folder / "00000.tar")) as writer:
        for row in rows:
            if row["status"] == "success":
                sample = {"__key__": row["key"], "jpg": _jpeg_name(row["data"])}
                sample |= {"txt": row["caption"], "json": _img2dataset_json(row).encode()}
                writer.write(sample)
    _img2dataset_table(folder, rows, held=False)


def img2dataset_parquet(folder: Path, pictures: Sequence[Picture]) -> None:
    """Its `--output_format parquet`."""
    _img2dataset_table(folder, _img2dataset_rows(pictures), held=True)


def _img2dataset_json(row: dict[str, object]) -> str:
    return json.dumps({key: value for key, value in row.items() if key != "data"}, indent=4)


def _jpeg_name(data: object) -> bytes:
    """What img2dataset stores as .jpg; our PNG, since what an image is its content tells."""
    assert isinstance(data, bytes)
    return data


def _dataset(pictures: Sequence[Picture]):  # type: ignore[no-untyped-def]
    import datasets

    images = [Image.open(io.BytesIO(one.data)) for one in pictures]
    columns = {"image": images, "caption": [list(one.captions) for one in pictures]}
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())


def saved_dataset(folder: Path, pictures: Sequence[Picture]) -> None:
    """`Dataset.save_to_disk`."""
    _dataset(pictures).save_to_disk(folder, num_shards=2)


def saved_splits(folder: Path, pictures: Sequence[Picture]) -> None:
    """`DatasetDict.save_to_disk`."""
    import datasets

    parts = {"train": _dataset(pictures[:30]), "test": _dataset(pictures[30:])}
    datasets.DatasetDict(parts).save_to_disk(folder)


def hub_parquet(folder: Path, pictures: Sequence[Picture]) -> None:
    """`Dataset.to_parquet` as the hub keeps it: data/SPLIT-N-of-N.parquet, with a README."""
    (folder / "data").mkdir()
    _dataset(pictures[:30]).to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    _dataset(pictures[30:]).to_parquet(folder / "data" / "test-00000-of-00001.parquet")
    _put(folder / "README.md", "---\nlicense: cc0-1.0\n---\n")


def pandas_parquet(folder: Path, pictures: Sequence[Picture]) -> None:
    """A frame with bytes, by pandas."""
    import pandas

    rows = [(one.name, one.data, "\n".join(one.captions)) for one in pictures]
    frame = pandas.DataFrame(rows, columns=["file_name", "image", "text"])
    frame.to_parquet(folder / "images.parquet")


LAYOUTS = (
    Layout("text beside images (.txt)", text_sidecars, "folder", "folder"),
    Layout("captions beside images (.caption)", caption_sidecars, "folder", "folder"),
    Layout("gallery-dl (.png.json)", json_sidecars, "folder", "folder", several=False),
    Layout("kohya's folders (10_mage)", kohya_folder, "folder", "folder"),
    Layout("kohya's meta.json", kohya_metadata, "folder", "folder", several=False),
    Layout("imagefolder (metadata.csv)", metadata_csv, "folder", "folder"),
    Layout("imagefolder (metadata.jsonl)", metadata_jsonl, "folder", "folder"),
    Layout("captions.jsonl", captions_jsonl, "folder", "folder"),
    Layout("COCO's captions", coco, "folder", "folder"),
    Layout("webdataset's writer", webdataset_tars, "tars", "shards"),
    Layout("img2dataset, files", img2dataset_files, "folder", "folder"),
    Layout("img2dataset, tars", img2dataset_tars, "tars", "shards"),
    Layout("img2dataset, Parquet", img2dataset_parquet, "hugging-face", "hf"),
    Layout("save_to_disk, a dataset", saved_dataset, "hugging-face", "hf"),
    Layout("save_to_disk, splits", saved_splits, "hugging-face", "hf"),
    Layout("Parquet as on the hub", hub_parquet, "hugging-face", "hf"),
    Layout("Parquet of pandas", pandas_parquet, "hugging-face", "hf"),
)
