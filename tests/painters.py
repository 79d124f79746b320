"""Coloured shapes with captions, as shards, and painters that stand where a cascade would."""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from tests.drawings import write_shards
from train.size import Size
from train.verification.contrastive import Contrastive
from train.verification.generate import Sampler
from train.verification.scorers import Nearest, Reference
from train.verification.verdict import Figure, Report
from train.verification.verify import Models, Truth, WordTest, verify_words

COLOURS = {"red": "#d1242f", "green": "#1a7f37", "blue": "#0969da", "pink": "#ff7ab8"}
SHAPES = ("circle", "square", "triangle", "cross", "star")
SIZES = {"small": 0.28, "large": 0.42}
SIDE = 32  # pixels


def caption(size: str, colour: str, shape: str) -> str:
    return f"a {size} {colour} {shape}"


CAPTIONS = [caption(s, c, h) for h in SHAPES for c in COLOURS for s in SIZES]


@cache
def draw(text: str, seed: int = 0, side: int = SIDE) -> np.ndarray:
    """The image of a caption; the seed moves it by up to a fortieth of the side, and tints the
    paper by up to 40 levels, so that two seeds are no copies of each other."""
    _, size, colour, shape = text.split()
    big = side * 4
    rng = np.random.default_rng([seed, *text.encode()])
    x, y = big / 2 + rng.uniform(-1, 1, 2) * big / 40
    r = SIZES[size] * big
    picture = Image.new("RGB", (big, big), tuple(rng.integers(215, 256, 3).tolist()))
    pen, ink = ImageDraw.Draw(picture), COLOURS[colour]
    if shape == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=ink)
    elif shape == "square":
        pen.rectangle((x - 0.8 * r, y - 0.8 * r, x + 0.8 * r, y + 0.8 * r), fill=ink)
    elif shape == "cross":
        pen.rectangle((x - r, y - r / 4, x + r, y + r / 4), fill=ink)
        pen.rectangle((x - r / 4, y - r, x + r / 4, y + r), fill=ink)
    else:
        corners = 3 if shape == "triangle" else 10
        angles = [2 * np.pi * n / corners - np.pi / 2 for n in range(corners)]
        radii = [r if shape == "triangle" or n % 2 == 0 else 0.4 * r for n in range(corners)]
        pen.polygon(
            [(x + q * np.cos(a), y + q * np.sin(a)) for a, q in zip(angles, radii, strict=True)],
            fill=ink,
        )
    found = np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS))
    found.setflags(write=False)
    return found


def as_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def shapes(folder: Path, captions: Sequence[str] = CAPTIONS, copies: int = 1) -> Path:
    """Shards with `copies` images of each caption, each a little moved."""
    pictures = [
        (f"{text.replace(' ', '-')}-{n}", as_png(draw(text, n)), [text])
        for text in captions
        for n in range(copies)
    ]
    return write_shards(folder, pictures)


def reference(
    captions: Sequence[str] = CAPTIONS, copies: int = 1, paint: Callable[..., np.ndarray] = draw
) -> Reference:
    """`copies` images of each caption, no two of one seed."""
    texts = [text for text in captions for _ in range(copies)]
    pixels = np.stack([paint(text, n) for n, text in enumerate(texts)])
    return Reference.of(pixels, [f"k{n}" for n in range(len(texts))], [[t] for t in texts])


class Painter:
    """Paints what is asked, blurred and noised; says something else where `wrong` says so."""

    def __init__(self, wrong: Mapping[str, str] | None = None, noise: float = 12.0) -> None:
        self.size, self.wrong, self.noise, self.painted = Size(SIDE, SIDE), wrong or {}, noise, 0

    @property
    def digest(self) -> str:
        facts = f"{type(self).__name__} {sorted(self.wrong.items())} {self.noise}"
        return hashlib.sha256(facts.encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        return {"kind": "painter", "name": type(self).__name__, "size": str(self.size)}

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        self.painted += len(prompts)
        return np.stack([self._paint(p, s) for p, s in zip(prompts, seeds, strict=True)])

    def _paint(self, prompt: str, seed: int) -> np.ndarray:
        clean = draw(self.wrong.get(prompt, prompt), seed).astype(float)
        noise = np.random.default_rng(seed).normal(0, self.noise, clean.shape)
        return np.clip(clean + noise, 0, 255).astype(np.uint8)


def verify_painted(
    folder: Path,
    shards: Path,
    painters: Mapping[str, Sampler],
    word: str = "star",
    **options: Any,
) -> Report:
    """Verify one word of painters by name: `before`, if there is one, and those after training.

    `options` are fields of `WordTest` and `Truth`, `out` and `progress`.
    """
    kept = {name: options.pop(name) for name in ("out", "progress") if name in options}
    asked = {"samples": 160, "scorer": "nearest"} | options
    of: dict[type, dict[str, Any]] = {
        kind: {f.name: asked[f.name] for f in fields(kind) if f.name in asked}
        for kind in (WordTest, Truth)
    }
    assert asked.keys() == of[WordTest].keys() | of[Truth].keys()
    after = [folder / name for name in painters if name != "before"]
    before = folder / "before" if "before" in painters else None
    models = Models(after, before, load=lambda path: painters[path.name])
    test, truth = WordTest([word], **of[WordTest]), Truth(shards, **of[Truth])
    return verify_words(test, models, truth, **kept)[0]


def figure_of(report: Report, group: str, measure: str, scorer: str = "nearest") -> Figure:
    """The one of this group and measure."""
    wanted = (scorer, group, measure)
    (found,) = [f for f in report.figures if (f.scorer, f.group, f.measure) == wanted]
    return found


def taken_for(scorer: Nearest | Contrastive, true: Reference, images: np.ndarray) -> list[str]:
    """The caption that a scorer takes each image for."""
    return [true.candidates[best][0] for best in scorer.best(images)]
