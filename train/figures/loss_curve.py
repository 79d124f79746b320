"""The loss of a run by images seen, as an image."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from train.figures.grids import GREY, INK, LINE, PAPER, save_png
from train.figures.lettering import DEFAULT_FONT

Curves = Mapping[str, Sequence[tuple[int, float]]]  # "loss", "held_out" -> (images, value)
PlacePoint = Callable[[float, float], tuple[float, float]]  # images, loss -> pixels of the point

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
    draw = ImageDraw.Draw(sheet)
    draw.font = DEFAULT_FONT
    if not every:
        draw.text(PLOT[:2], "nothing has been logged yet", fill=GREY)
    else:
        place = _draw_axes(draw, every)
        legend = PLOT[0]
        for number, (stage, curves) in enumerate(kept.items()):
            colour = COLOURS[number % len(COLOURS)]
            _draw_stage(draw, place, curves, colour)
            legend = _draw_legend(draw, legend, stage, colour, bool(curves.get("held_out")))
    save_png(sheet, path, {})


def _draw_axes(draw: ImageDraw.ImageDraw, every: Sequence[tuple[int, float]]) -> PlacePoint:
    """Draw axes that hold every point; returns where a point lies."""
    left, top, right, bottom = PLOT
    last, logs = max(1, *(x for x, _ in every)), [math.log10(y) for _, y in every]
    low, high = min(logs) - 0.05, max(logs) + 0.05

    def place(images: float, loss: float) -> tuple[float, float]:
        share = (math.log10(loss) - low) / (high - low)
        return left + (right - left) * images / last, bottom - (bottom - top) * share

    for value in _loss_ticks(low, high):
        y = place(0, value)[1]
        draw.line((left, y, right, y), fill=LINE)
        draw.text((left - 8, y), f"{value:g}", fill=GREY, anchor="rm")
    for seen in image_ticks(last):
        x = place(seen, 1)[0]
        draw.line((x, bottom, x, bottom + 4), fill=GREY)
        draw.text((x, bottom + 8), f"{seen:,}", fill=GREY, anchor="ma")
    draw.line((left, bottom, right, bottom), fill=GREY)
    draw.text(((left + right) / 2, CHART[1] - 8), "images seen", fill=INK, anchor="ms")
    draw.text((8, top - 6), "loss", fill=INK, anchor="ls")
    return place


def _draw_stage(draw: ImageDraw.ImageDraw, place: PlacePoint, curves: Curves, colour: str) -> None:
    points = [place(*point) for point in curves.get("loss", [])]
    if len(points) > 1:
        draw.line(points, fill=colour, width=2, joint="curve")
    elif points:
        draw.circle(points[0], 2, fill=colour)
    for point in curves.get("held_out", []):
        draw.circle(place(*point), 4, fill=PAPER, outline=colour, width=2)


def _draw_legend(
    draw: ImageDraw.ImageDraw, left: int, stage: str, colour: str, held_out: bool
) -> int:
    """Draw one stage's entries and return where the next may begin."""
    draw.line((left, 20, left + 18, 20), fill=colour, width=2)
    draw.text((left + 24, 12), stage, fill=INK)
    left += 24 + int(draw.textlength(stage)) + 16
    if held_out:
        draw.circle((left + 4, 20), 4, fill=PAPER, outline=colour, width=2)
        draw.text((left + 14, 12), "held out", fill=INK)
        left += 14 + int(draw.textlength("held out")) + 20
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


def image_ticks(last: int) -> list[int]:
    """0 and up to six round counts, at most `last`."""
    raw = last / 5
    decade = 10 ** math.floor(math.log10(max(raw, 1)))
    step = next(int(m * decade) for m in (1, 2, 5, 10) if m * decade >= raw)
    return list(range(0, last + 1, max(step, 1)))
