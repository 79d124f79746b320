"""Shares by images seen, with their intervals, as an image."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from train.figures.grids import GREY, INK, LINE, PAPER, save_png
from train.figures.lettering import DEFAULT_FONT
from train.figures.loss_curve import CHART, COLOURS, PLOT, image_ticks

SharePoint = tuple[int, float, float, float]  # images seen; share, low and high, in [0, 1]


def draw_share_curve(series: Mapping[str, Sequence[SharePoint]], path: Path) -> None:
    """Write a PNG with a line a series, its intervals as bars; a series without points is left out.

    Args:
        series: name -> points, in the order of images.
        path: the PNG.
    """
    sheet = Image.new("RGB", CHART, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.font = DEFAULT_FONT
    left, top, right, bottom = PLOT
    last = max((point[0] for points in series.values() for point in points), default=1)

    def place(images: float, share: float) -> tuple[float, float]:
        return left + (right - left) * images / max(1, last), bottom - (bottom - top) * share

    for tenths in range(0, 11, 2):
        y = place(0, tenths / 10)[1]
        draw.line((left, y, right, y), fill=LINE)
        draw.text((left - 8, y), f"{tenths * 10} %", fill=GREY, anchor="rm")
    for seen in image_ticks(last):
        draw.text((place(seen, 0)[0], bottom + 8), f"{seen:,}", fill=GREY, anchor="ma")
    draw.line((left, bottom, right, bottom), fill=GREY)
    draw.text(((left + right) / 2, CHART[1] - 8), "images seen", fill=INK, anchor="ms")
    legend = left
    for number, (name, points) in enumerate(series.items()):
        if not points:
            continue
        colour, aside = COLOURS[number % len(COLOURS)], 2 * number - 2  # bars beside each other
        for images, share, low, high in points:
            x, y = place(images, share)
            draw.line((x + aside, place(images, low)[1], x + aside, place(images, high)[1]), colour)
            draw.circle((x, y), 3, fill=colour)
        draw.line([place(images, share) for images, share, *_ in points], colour, 2, joint="curve")
        draw.line((legend, 20, legend + 18, 20), fill=colour, width=2)
        draw.text((legend + 24, 12), name, fill=INK)
        legend += 40 + int(draw.textlength(name))
    save_png(sheet, path, {})
