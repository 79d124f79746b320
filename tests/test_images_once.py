"""Each image is decoded once on its way into shards: counted where Pillow decodes, everywhere."""

import os
import subprocess
import sys
from pathlib import Path

from tests.pictures import encoded, photograph

# read at its start by every Python that finds it on its path, the sandbox's workers included
COUNTER = """
import hashlib, os
from PIL import ImageFile
load = ImageFile.ImageFile.load
def counted(image):
    if image.tile and image.fp:
        at = image.fp.tell()
        image.fp.seek(0)
        name = hashlib.sha256(image.fp.read()).hexdigest()
        image.fp.seek(at)
        with open(os.environ["DECODES"], "a") as file:
            file.write(name + "\\n")
    return load(image)
ImageFile.ImageFile.load = counted
"""


def decodes(tmp_path: Path, *words: str) -> int:
    """How many images a command decodes; none of them twice."""
    there = os.environ | {"PYTHONPATH": str(tmp_path), "DECODES": str(tmp_path / "decodes")}
    (tmp_path / "sitecustomize.py").write_text(COUNTER, encoding="utf-8")
    (tmp_path / "decodes").write_text("", encoding="utf-8")
    command = [sys.executable, "-m", "curate", *words, "--data", str(tmp_path / "data")]
    subprocess.run(command, check=True, env=there, capture_output=True)
    names = (tmp_path / "decodes").read_text(encoding="utf-8").splitlines()
    assert len(names) == len(set(names))
    return len(names)


def test_through_build_an_image_is_decoded_once_and_then_no_more(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for n in range(5):
        form = ("JPEG", "PNG", "WEBP")[n % 3]
        size = (1700, 1300) if n == 0 else (320, 240)  # one that is decoded scaled
        (folder / f"{n}.{form.lower()}").write_bytes(encoded(photograph(n, size), form))
        (folder / f"{n}.txt").write_text(f"photograph {n}", encoding="utf-8")
    (folder / "again.jpeg").write_bytes((folder / "0.jpeg").read_bytes())
    (folder / "again.txt").write_text("the same", encoding="utf-8")
    decodes(tmp_path, "fetch", "folder", str(folder), "--license", "CC0-1.0")
    assert decodes(tmp_path, "build", "--size", "128") == 5
    assert decodes(tmp_path, "build", "--size", "128") == 0
    assert decodes(tmp_path, "pack", "--size", "128") == 0
    assert decodes(tmp_path, "dedup") == 0
    assert decodes(tmp_path, "pack", "--size", "100") == 5
