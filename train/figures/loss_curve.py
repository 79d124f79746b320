"""The loss of a run by images seen, as an image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from train.figures.grids import FONT_SIZE, GREY, INK, LINE, PAPER, save_png
from train.figures.lettering import Font, default_font

Curves = Mapping[str, Sequence[tuple[int, float]]]  # "loss", "held_out" -> (images, value)


COLOURS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df")  # one a stage


CHART = (760, 420)  # pixels


PLOT = (70, 40, 730, 360)  # left, top, right, bottom of the drawing area within CHART


def draw_loss_curve(points_by_stage: Mapping[str, Curves], path: Path) -> None:
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
    draw, font = ImageDraw.Draw(sheet), default_font(FONT_SIZE)
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
        left = _draw_legend(draw, (left, 12), stage, colour, bool(curves.get("held_out")), font)
    save_png(sheet, path, {})


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


def _draw_stage(draw: ImageDraw.ImageDraw, axes: _Axes, curves: Curves, colour: str) -> None:
    places = [axes.place(x, y) for x, y in curves.get("loss", [])]
    if len(places) > 1:
        draw.line(places, fill=colour, width=2, joint="curve")
    for x, y in places if len(places) == 1 else []:
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
    for x, y in [axes.place(x, y) for x, y in curves.get("held_out", [])]:
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=PAPER, outline=colour, width=2)


def _draw_legend(
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
