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
from PIL import Image, ImageDraw, PngImagePlugin

from curate.system.files import write_bytes
from train.figures.lettering import Font, Lettering, own

if TYPE_CHECKING:
    Curves = Mapping[str, Sequence[tuple[int, float]]]  # "loss", "held_out" -> (images, value)

MIN_CELL = 96  # pixels; smaller pictures are enlarged by a whole number, so that labels fit
MARGIN, GAP = 12, 4
LABEL, LABEL_LINES = 170, 12  # pixels wide, lines high at most
FONT_SIZE = 13
TEXT = Lettering(FONT_SIZE)
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


@dataclass(frozen=True)
class Row:
    """Pictures that belong together, each group of them under a head of its own."""

    label: str  # left of them
    groups: Sequence[Sequence[np.ndarray]]  # pictures, uint8 (H, W, 3)
    captions: Sequence[str] = ()  # beneath the pictures, all groups in turn; () for none


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
    lines = [TEXT.wrap(text, width) for text in captions or [""] * len(pictures)]
    starts = range(0, len(pictures), columns)
    depths = [max(map(len, lines[s : s + columns])) * TEXT.line_height for s in starts]
    total = MARGIN + sum(height + depth + MARGIN for depth in depths)
    sheet = Image.new("RGB", (MARGIN + columns * (width + MARGIN), total), PAPER)
    draw, top = ImageDraw.Draw(sheet), MARGIN
    for start, depth in zip(starts, depths, strict=True):
        for column, number in enumerate(range(start, min(start + columns, len(pictures)))):
            left = MARGIN + column * (width + MARGIN)
            sheet.paste(pictures[number], (left, top))
            _write(draw, (left, top + height + 2), lines[number])
        top += height + depth + MARGIN
    return sheet


def table(rows: Sequence[Row], heads: Sequence[str]) -> Image.Image:
    """A row of pictures beneath another, each with its label on the left.

    Pictures of several sizes are enlarged by whole numbers to the largest that fits the room of
    the largest picture, so that the stages of a cascade can be compared.

    Args:
        rows: what to show; groups of the same number stand beneath each other.
        heads: one a group, above it; "" for none.
    """
    if not rows:
        return Image.new("RGB", (2 * MARGIN, 2 * MARGIN), PAPER)
    cell = _cell([picture for row in rows for group in row.groups for picture in group])
    most = [max(len(row.groups[n]) for row in rows) for n in range(len(heads))]
    widths = [count * (cell[0] + GAP) - GAP for count in most]
    lefts = [LABEL + 2 * MARGIN]
    for width in widths[:-1]:
        lefts.append(lefts[-1] + width + (GAP if max(most) == 1 else 2 * MARGIN))
    titles = [
        TEXT.wrap(head, max(width, cell[0])) for head, width in zip(heads, widths, strict=True)
    ]
    top = MARGIN + max(map(len, titles)) * TEXT.line_height + (4 if any(heads) else 0)
    under = TEXT.line_height if any(row.captions for row in rows) else 0
    labels = [TEXT.wrap(row.label, LABEL, most=LABEL_LINES) for row in rows]
    heights = [max(cell[1] + under, len(lines) * TEXT.line_height) for lines in labels]
    total = (lefts[-1] + widths[-1] + MARGIN, top + sum(heights) + MARGIN * len(rows))
    sheet = Image.new("RGB", total, PAPER)
    draw = ImageDraw.Draw(sheet)
    for left, title in zip(lefts, titles, strict=True):
        _write(draw, (left, MARGIN), title, GREY)
    for row, lines, height in zip(rows, labels, heights, strict=True):
        _write(draw, (MARGIN, top + max(0, cell[1] - len(lines) * TEXT.line_height) // 2), lines)
        _draw_row(sheet, row, lefts, top, cell)
        top += height + MARGIN
    return sheet


def table_pixels(size: tuple[int, int], groups: Sequence[int]) -> int:
    """Pixels that a row of `table` takes, for pictures of `size` and so many in each group."""
    width, height = _room(size)
    side = LABEL + 4 * MARGIN + sum(groups) * (width + GAP) + len(groups) * 2 * MARGIN
    return side * (max(height, LABEL_LINES * TEXT.line_height) + TEXT.line_height + MARGIN)


def before_after(rows: Sequence[Comparison]) -> Image.Image:
    """A row a prompt: the prompt, its pictures before, its pictures after."""
    earlier = any(row.before_NHWC is not None for row in rows)
    heads = ["before", "after"] if earlier else ["after"]
    return table(
        [
            Row(row.prompt, [*([_none(row.before_NHWC)] if earlier else []), list(row.after_NHWC)])
            for row in rows
        ],
        heads,
    )


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
    draw, font = ImageDraw.Draw(sheet), own(FONT_SIZE)
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


def _draw_axes(draw: ImageDraw.ImageDraw, axes: _Axes, font: Font) -> None:
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
    font: Font,
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


def _draw_row(
    sheet: Image.Image, row: Row, lefts: Sequence[int], top: int, cell: tuple[int, int]
) -> None:
    """Paste a row's pictures, each with its caption."""
    draw, number = ImageDraw.Draw(sheet), 0
    for group, left in zip(row.groups, lefts, strict=True):
        for column, image in enumerate(group):
            picture = _enlarged(image, cell)
            x = left + column * (cell[0] + GAP)
            inset = (cell[0] - picture.width) // 2, (cell[1] - picture.height) // 2
            sheet.paste(picture, (x + inset[0], top + inset[1]))
            if row.captions:
                caption = TEXT.wrap(row.captions[number], cell[0], most=1)
                _write(draw, (x, top + cell[1] + 2), caption, GREY)
            number += 1


def _cell(images: Sequence[np.ndarray]) -> tuple[int, int]:
    """Width and height that the largest of the pictures is shown in."""
    height = max((image.shape[0] for image in images), default=1)
    width = max((image.shape[1] for image in images), default=1)
    return _room((width, height))


def _room(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height that pictures of `size` are shown in."""
    factor = max(1, math.ceil(MIN_CELL / max(size[0], 1)))
    return size[0] * factor, size[1] * factor


def _enlarged(image_HWC: np.ndarray, cell: tuple[int, int] | None = None) -> Image.Image:
    """The picture, larger by the greatest whole number that fits the cell."""
    picture = Image.fromarray(np.ascontiguousarray(image_HWC), "RGB")
    width, height = cell or _room(picture.size)
    factor = max(1, min(width // max(picture.width, 1), height // max(picture.height, 1)))
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST) if factor > 1 else picture


def _none(images: np.ndarray | None) -> Sequence[np.ndarray]:
    return [] if images is None else list(images)


def _write(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], lines: Sequence[str], fill: str = INK
) -> None:
    for number, line in enumerate(lines):
        TEXT.write(draw, (place[0], place[1] + number * TEXT.line_height), line, fill)
