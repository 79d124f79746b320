"""Small shards of coloured shapes, written in the documented layout."""

import hashlib
import io
import json
import tarfile
from collections import Counter
from pathlib import Path

from PIL import Image, ImageDraw

from curate.formats.shards import INDEX_NAME, Shard, ShardIndex, member_names, shard_name

COLOURS = {"red": "#d22", "green": "#2a2", "blue": "#23d", "yellow": "#dd2", "black": "#111"}
SHAPES = ("circle", "square", "triangle")


def drawing(colour: str, shape: str, side: int = 32, shift: int = 0) -> bytes:
    image = Image.new("RGB", (side, side), "white")
    pen, (a, b) = ImageDraw.Draw(image), (side // 5 + shift, side * 4 // 5 + shift)
    if shape == "circle":
        pen.ellipse((a, a, b, b), COLOURS[colour])
    elif shape == "square":
        pen.rectangle((a, a, b, b), COLOURS[colour])
    else:
        pen.polygon([(a, b), (b, b), ((a + b) // 2, a)], COLOURS[colour])
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def write_shards(
    folder: Path, items: list[tuple[str, bytes, list[str]]], *, size: int = 32
) -> Path:
    """Shards of (key, PNG bytes, captions), one tar, as `curate pack` lays them out."""
    folder.mkdir(parents=True, exist_ok=True)
    tar, words = folder / shard_name("train", 0), Counter()
    with tarfile.open(tar, "w") as archive:
        for key, picture, captions in sorted(items):
            words.update({w for c in captions for w in c.split()})
            record = {
                "key": key,
                "captions": [{"text": c, "origin": "text"} for c in captions],
                "license": "CC0-1.0",
                "train": {"decision": "allow", "reasons": ["licence:CC0-1.0"]},
                "width": size,
                "height": size,
            }
            parts = (picture, json.dumps(record).encode(), (captions or [""])[0].encode())
            for name, data in zip(member_names(key, "png"), parts, strict=True):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    data = tar.read_bytes()
    shard = Shard(tar.name, hashlib.sha256(data).hexdigest(), len(items), len(data))
    index = ShardIndex(
        size, "png", "train", len(items), (shard,), dict(words), {"CC0-1.0": len(items)}, {}
    )
    (folder / INDEX_NAME).write_bytes(index.to_json())
    return folder


def shapes(*colours: str, copies: int = 1, side: int = 32) -> list[tuple[str, bytes, list[str]]]:
    """One drawing a colour and shape, `copies` of each a pixel apart."""
    return [
        (f"{c}-{s}-{n}", drawing(c, s, side, n), [f"a {c} {s}"])
        for c in colours
        for s in SHAPES
        for n in range(copies)
    ]
