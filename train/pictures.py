"""Pictures for people: labelled grids, before and after, loss curves. Pillow only.

Letters in names: N pictures, H and W pixels.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from curate.files import write_bytes

if TYPE_CHECKING:
    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
    Curves = Mapping[str, Sequence[tuple[int, float]]]  # "loss", "held_out" -> (images, value)

MIN_CELL = 96  # pixels; smaller pictures are enlarged by a whole number, so that labels fit
MARGIN = 12
FONT_SIZE = 13
PAPER, INK, GREY, LINE = "#ffffff", "#1f2328", "#6e7781", "#e6e8eb"
COLOURS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df")  # one a stage
CHART = (760, 420)  # pixels
PLOT = (70, 40, 730, 360)  # left, top, right, bottom of the drawing area within CHART


@dataclass(frozen=True)
class Comparison:
    """One prompt with its pictures from two checkpoints."""

    prompt: str
    before_NHWC: np.ndarray | None  # uint8; None where there is no earlier checkpoint
    after_NHWC: np.ndarray  # uint8


def grid(
    images_NHWC: Sequence[np.ndarray] | np.ndarray,
    captions: Sequence[str] | None = None,
    *,
    columns: int | None = None,
) -> Image.Image:
    """Pictures side by side, each over its caption.

    Args:
        images_NHWC: uint8, all of one size; small ones are enlarged by a whole number.
        captions: one a picture, wrapped to its width; None for none.
        columns: pictures a row; None for about a square.
    """
    pictures = [_enlarged(image) for image in images_NHWC]
    if captions is not None and len(captions) != len(pictures):
        raise ValueError(f"{len(captions)} captions for {len(pictures)} pictures")
    if not pictures:
        return Image.new("RGB", (2 * MARGIN, 2 * MARGIN), PAPER)
    columns = max(1, min(columns or math.ceil(math.sqrt(len(pictures))), len(pictures)))
    width, height = pictures[0].size
    font = _font(FONT_SIZE)
    lines = [_wrap(text, font, width) for text in captions or [""] * len(pictures)]
    starts = range(0, len(pictures), columns)
    depths = [max(map(len, lines[s : s + columns])) * _line_height(font) for s in starts]
    total = MARGIN + sum(height + depth + MARGIN for depth in depths)
    sheet = Image.new("RGB", (MARGIN + columns * (width + MARGIN), total), PAPER)
    draw, top = ImageDraw.Draw(sheet), MARGIN
    for start, depth in zip(starts, depths, strict=True):
        for column, number in enumerate(range(start, min(start + columns, len(pictures)))):
            left = MARGIN + column * (width + MARGIN)
            sheet.paste(pictures[number], (left, top))
            _write(draw, (left, top + height), lines[number], font)
        top += height + depth + MARGIN
    return sheet


def before_after(rows: Sequence[Comparison]) -> Image.Image:
    """A row a prompt: the prompt, its pictures before, its pictures after."""
    if not rows:
        return Image.new("RGB", (2 * MARGIN, 2 * MARGIN), PAPER)
    font, head, label = _font(FONT_SIZE), _font(FONT_SIZE + 3), 170
    drawn = [
        (
            row,
            [_enlarged(i) for i in _none(row.before_NHWC)],
            [_enlarged(i) for i in row.after_NHWC],
        )
        for row in rows
    ]
    width, height = drawn[0][2][0].size
    before = max(len(d[1]) for d in drawn) * (width + 4)
    after = max(len(d[2]) for d in drawn) * (width + 4)
    lefts = (MARGIN, 2 * MARGIN + label, 2 * MARGIN + label + (before + MARGIN if before else 0))
    top = MARGIN + _line_height(head) + 4
    sheet = Image.new(
        "RGB", (lefts[2] + after - 4 + MARGIN, top + len(rows) * (height + MARGIN)), PAPER
    )
    draw = ImageDraw.Draw(sheet)
    for left, title in zip(lefts, ("prompt", "before" if before else "", "after"), strict=True):
        if title:
            draw.text((left, MARGIN), title, fill=GREY, font=head)
    for row, earlier, later in drawn:
        lines = _wrap(row.prompt, font, label)
        _write(draw, (lefts[0], top + (height - len(lines) * _line_height(font)) // 2), lines, font)
        for left, pictures in ((lefts[1], earlier), (lefts[2], later)):
            for number, picture in enumerate(pictures):
                sheet.paste(picture, (left + number * (width + 4), top))
        top += height + MARGIN
    return sheet


def loss_curve(points_by_stage: "Mapping[str, Curves]", path: Path) -> None:
    """Write a PNG of the loss by images seen, a colour a stage, on a logarithmic axis.

    Args:
        points_by_stage: stage -> {"loss": [(images seen, loss)], "held_out": [...]}; values that
            are not positive and finite have no place on the axis and are left out.
        path: the PNG.
    """
    kept = {
        stage: {
            kind: [(x, y) for x, y in points if y > 0 and math.isfinite(y)]
            for kind, points in curves.items()
        }
        for stage, curves in points_by_stage.items()
    }
    every = [p for curves in kept.values() for points in curves.values() for p in points]
    sheet = Image.new("RGB", CHART, PAPER)
    draw, font = ImageDraw.Draw(sheet), _font(FONT_SIZE)
    if not every:
        draw.text((PLOT[0], PLOT[1]), "nothing has been logged yet", fill=GREY, font=font)
        save_png(sheet, path, {})
        return
    last = max(x for x, _ in every)
    lows, highs = min(y for _, y in every), max(y for _, y in every)
    axis = _Axes(max(last, 1), math.log10(lows) - 0.05, math.log10(highs) + 0.05)
    _draw_axes(draw, axis, font)
    left = PLOT[0]
    for number, (stage, curves) in enumerate(kept.items()):
        colour = COLOURS[number % len(COLOURS)]
        _draw_stage(draw, axis, curves, colour)
        left = _legend(draw, (left, 12), stage, colour, bool(curves.get("held_out")), font)
    save_png(sheet, path, {})


def save_png(image: Image.Image, path: Path, facts: Mapping[str, str]) -> None:
    """Write a PNG with `facts` (such as prompt, seed, checkpoint) as text; equal in, equal bytes.

    Raises:
        InputError: the disk is full or not ours; the old file stays.
    """
    text = PngImagePlugin.PngInfo()
    for name in sorted(facts):
        text.add_itxt(name, facts[name])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=text, optimize=False, compress_level=6)
    write_bytes(path, buffer.getvalue())


@dataclass(frozen=True)
class _Axes:
    """Where a value lies on the chart."""

    last: int  # images seen at the right edge
    low: float  # log10 of the loss at the bottom
    high: float

    def place(self, images: float, loss: float) -> tuple[float, float]:
        """Pixels of a point."""
        left, top, right, bottom = PLOT
        share = (math.log10(loss) - self.low) / (self.high - self.low)
        return left + (right - left) * images / self.last, bottom - (bottom - top) * share


def _draw_axes(draw: ImageDraw.ImageDraw, axes: _Axes, font: "Font") -> None:
    left, top, right, bottom = PLOT
    for value in _loss_ticks(axes.low, axes.high):
        y = axes.place(0, value)[1]
        draw.line((left, y, right, y), fill=LINE)
        draw.text((left - 8, y), f"{value:g}", fill=GREY, font=font, anchor="rm")
    for value in _image_ticks(axes.last):
        x = axes.place(value, 10**axes.low)[0]
        draw.line((x, bottom, x, bottom + 4), fill=GREY)
        draw.text((x, bottom + 8), f"{value:,}", fill=GREY, font=font, anchor="ma")
    draw.line((left, bottom, right, bottom), fill=GREY)
    draw.text(((left + right) / 2, CHART[1] - 8), "images seen", fill=INK, font=font, anchor="ms")
    draw.text((8, top - 6), "loss", fill=INK, font=font, anchor="ls")


def _draw_stage(draw: ImageDraw.ImageDraw, axes: _Axes, curves: "Curves", colour: str) -> None:
    places = [axes.place(x, y) for x, y in curves.get("loss", [])]
    if len(places) > 1:
        draw.line(places, fill=colour, width=2, joint="curve")
    for x, y in places if len(places) == 1 else []:
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
    for x, y in [axes.place(x, y) for x, y in curves.get("held_out", [])]:
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=PAPER, outline=colour, width=2)


def _legend(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    stage: str,
    colour: str,
    held_out: bool,
    font: "Font",
) -> int:
    """Draw one stage's entries and return where the next may begin."""
    left, top = place
    draw.line((left, top + 8, left + 18, top + 8), fill=colour, width=2)
    draw.text((left + 24, top), stage, fill=INK, font=font)
    left += 24 + int(draw.textlength(stage, font=font)) + 16
    if held_out:
        draw.ellipse((left, top + 4, left + 8, top + 12), fill=PAPER, outline=colour, width=2)
        draw.text((left + 14, top), "held out", fill=INK, font=font)
        left += 14 + int(draw.textlength("held out", font=font)) + 20
    return left


def _loss_ticks(low: float, high: float) -> list[float]:
    """Round values within 10**low to 10**high: 1, 2, 5 of each decade; finer if under two fit."""
    finest = (1, 1.2, 1.4, 1.7, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9)
    for digits in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), finest):
        ticks = [
            digit * 10.0**decade
            for decade in range(math.floor(low), math.ceil(high) + 1)
            for digit in digits
            if low <= math.log10(digit * 10.0**decade) <= high
        ]
        if len(ticks) > 1:
            return ticks
    return ticks or [10**low, 10**high]


def _image_ticks(last: int) -> list[int]:
    """0 and up to six round counts, at most `last`."""
    raw = last / 5
    decade = 10 ** math.floor(math.log10(max(raw, 1)))
    step = next(int(m * decade) for m in (1, 2, 5, 10) if m * decade >= raw)
    return list(range(0, last + 1, max(step, 1)))


def _enlarged(image_HWC: np.ndarray) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(image_HWC), "RGB")
    factor = max(1, math.ceil(MIN_CELL / max(picture.width, 1)))
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST) if factor > 1 else picture


def _none(images: np.ndarray | None) -> Sequence[np.ndarray]:
    return [] if images is None else list(images)


def _font(size: int) -> "Font":
    """The font that Pillow carries, so that pictures are the same on every machine."""
    return ImageFont.load_default(size=size)


def _line_height(font: "Font") -> int:
    return math.ceil(font.getbbox("Ágjy")[3]) + 3


def _wrap(text: str, font: "Font", width: int) -> list[str]:
    """Lines no wider than `width` pixels; a word that alone is wider is cut."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        while font.getlength(word) > width and len(word) > 1:
            fits = next(
                (n for n in range(len(word), 1, -1) if font.getlength(word[:n]) <= width), 1
            )
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
    return lines


def _write(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], lines: Sequence[str], font: "Font"
) -> None:
    for number, line in enumerate(lines):
        draw.text((place[0], place[1] + 2 + number * _line_height(font)), line, fill=INK, font=font)
