"""The pages that are looked at: reports by the real command, with every field, and large ones; a
verification."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from html import escape
from pathlib import Path

import test_verification_page as verification
from coverage_reports import HOSTILE, complete_report, large_report
from drawings import COLOURS, SHAPES, drawing

from curate.corpora.corpus import find_corpus
from curate.report import page, thumbnails
from train.verification import page as verify_page

ROOT = Path(__file__).parent.parent.parent
PROMPTS = f"""a red circle beside a blue square
Eternal Force Blizzard
a green triangle, (masterpiece:1.2) --no hat
🐉 dragon elf knight {HOSTILE}
two black squares and a yellow circle
the blizzard over the castle
"""


def write_all(folder: Path) -> dict[str, Path]:
    """Name -> file of each page."""
    return {
        "real": real(folder),
        "complete": full(folder),
        "large": many(folder),
        "verification": verified(folder),
    }


def verified(folder: Path) -> Path:
    """A verification with two scorers, each with an opinion of its own."""
    made = verification.report()
    file = folder / "verification.html"
    file.write_text(verify_page.render_page(made, verification.filled(made)), "utf-8")
    return file


def real(folder: Path) -> Path:
    """What the command writes for a list of drawings, named by shape and colour."""
    (folder / "prompts.txt").write_text(PROMPTS, "utf-8")
    with (folder / "captions.jsonl").open("w") as file:
        for colour in COLOURS:
            for n, shape in enumerate(SHAPES * 3):
                name = f"{colour}-{n}.png"
                (folder / name).write_bytes(drawing(colour, shape, 64 + n))
                # as entities, since markup itself is no part of a caption
                line = {"image": name, "captions": [f"a {colour} {shape} {escape(HOSTILE)}"]}
                file.write(json.dumps(line) + "\n")
        file.write(json.dumps({"image": "x.png", "captions": ["blizzard demon"]}) + "\n")
    command = [sys.executable, "-m", "curate.cli", "vocab-gaps", "prompts.txt"]
    command += ["--data", "captions.jsonl", "--html", "real.html"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    return folder / "real.html"


def full(folder: Path) -> Path:
    """Every field of a report, with images: whole ones, a broken one, one of unknown rights."""
    report, prompts = complete_report()
    (folder / "t-1").write_bytes(drawing("red", "circle", 300))
    (folder / "t-2").write_bytes(drawing("red", "circle", 300)[:99])
    (folder / "t.csv").write_text("image,caption\nt-1,a dog\nt-2,a blizzard demon\nt-3,a demon\n")
    origin = find_corpus(folder / "t.csv")
    images = thumbnails.make_thumbnails(origin, thumbnails.evidence_keys(report), processes=1)
    known = {"license": "CC-BY-4.0", "source": "openverse", "page_url": "https://a.test/1"}
    images["t-1"] = replace(images["t-1"], **known)
    images["t-2"] = replace(images["t-2"], license="CC0-1.0")
    images["t-3"] = replace(images["t-3"], page_url="javascript:alert(1)")
    file = folder / "complete.html"
    file.write_text(page.render_report_page(report, prompts, thumbnails=images), "utf-8")
    return file


def many(folder: Path) -> Path:
    """2,000 prompts, 30,000 items, 600 images."""
    report, prompts = large_report()
    keys = thumbnails.evidence_keys(report)
    (folder / "shape.png").write_bytes(drawing("blue", "circle", 96))
    (folder / "l.csv").write_text("image,caption\nshape.png,a\n")
    (one,) = thumbnails.make_thumbnails(
        find_corpus(folder / "l.csv"), ["shape.png"], processes=1
    ).values()
    file = folder / "large.html"
    images = dict.fromkeys(keys[: thumbnails.MAX_THUMBNAILS], one)
    file.write_text(page.render_report_page(report, prompts, thumbnails=images), "utf-8")
    return file
