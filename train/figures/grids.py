"""Images for people: labelled grids, before and after. Pillow only.

Letters in names: N images, H and W pixels.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from curate.system.files import write_bytes
from train.figures.lettering import LINE_HEIGHT, wrap, write_lines

MIN_CELL = 96  # pixels; smaller images are enlarged by a whole number, so that labels fit
MARGIN, GAP = 12, 4
LABEL, LABEL_LINES = 170, 12  # pixels wide, lines high at most
PAPER, INK, GREY, LINE = "#ffffff", "#1f2328", "#6e7781", "#e6e8eb"


@dataclass(frozen=True)
class GridRow:
    """Images that belong together, each group of them under a head of its own."""

    label: str  # left of them
    groups: Sequence[Sequence[np.ndarray] | np.ndarray]  # images, uint8 (H, W, 3)
    captions: Sequence[str] = ()  # beneath the images, all groups in turn; () for none


def draw_grid(
    images_NHWC: Sequence[np.ndarray] | np.ndarray, captions: Sequence[str] | None = None
) -> Image.Image:
    """Images side by side, about as many across as down, each over its caption.

    Args:
        images_NHWC: uint8, all of one size; small ones are enlarged by a whole number.
        captions: one an image, wrapped to its width; None for none.
    """
    pictures = [_magnify(image) for image in images_NHWC]
    if captions is not None and len(captions) != len(pictures):
        raise ValueError(f"{len(captions)} captions for {len(pictures)} images")
    if not pictures:
        return Image.new("RGB", (2 * MARGIN, 2 * MARGIN), PAPER)
    columns = math.ceil(math.sqrt(len(pictures)))
    width, height = pictures[0].size
    lines = [wrap(text, width) for text in captions or [""] * len(pictures)]
    starts = range(0, len(pictures), columns)
    depths = [max(map(len, lines[s : s + columns])) * LINE_HEIGHT for s in starts]
    total = MARGIN + sum(height + depth + MARGIN for depth in depths)
    sheet = Image.new("RGB", (MARGIN + columns * (width + MARGIN), total), PAPER)
    draw, top = ImageDraw.Draw(sheet), MARGIN
    for start, depth in zip(starts, depths, strict=True):
        for column, number in enumerate(range(start, min(start + columns, len(pictures)))):
            left = MARGIN + column * (width + MARGIN)
            sheet.paste(pictures[number], (left, top))
            write_lines(draw, (left, top + height + 2), lines[number], INK)
        top += height + depth + MARGIN
    return sheet


def draw_table(rows: Sequence[GridRow], heads: Sequence[str]) -> Image.Image:
    """A row of images beneath another, each with its label on the left.

    Images of several sizes are enlarged by whole numbers to the largest that fits the room of
    the largest image, so that the stages of a cascade can be compared.

    Args:
        rows: what to show; groups of the same number stand beneath each other.
        heads: one a group, above it; "" for none.
    """
    if not rows:
        return Image.new("RGB", (2 * MARGIN, 2 * MARGIN), PAPER)
    shapes = [image.shape for row in rows for group in row.groups for image in group]
    height, width = (max((shape[side] for shape in shapes), default=1) for side in (0, 1))
    cell = _shown_size((width, height))
    most = [max(len(row.groups[n]) for row in rows) for n in range(len(heads))]
    widths = [count * (cell[0] + GAP) - GAP for count in most]
    lefts = [LABEL + 2 * MARGIN]
    for width in widths[:-1]:
        lefts.append(lefts[-1] + width + (GAP if max(most) == 1 else 2 * MARGIN))
    titles = [wrap(head, max(width, cell[0])) for head, width in zip(heads, widths, strict=True)]
    top = MARGIN + max(map(len, titles)) * LINE_HEIGHT + (4 if any(heads) else 0)
    under = LINE_HEIGHT if any(row.captions for row in rows) else 0
    labels = [wrap(row.label, LABEL, most=LABEL_LINES) for row in rows]
    heights = [max(cell[1] + under, len(lines) * LINE_HEIGHT) for lines in labels]
    total = (lefts[-1] + widths[-1] + MARGIN, top + sum(heights) + MARGIN * len(rows))
    sheet = Image.new("RGB", total, PAPER)
    draw = ImageDraw.Draw(sheet)
    for left, title in zip(lefts, titles, strict=True):
        write_lines(draw, (left, MARGIN), title, GREY)
    for row, lines, height in zip(rows, labels, heights, strict=True):
        middle = top + max(0, cell[1] - len(lines) * LINE_HEIGHT) // 2
        write_lines(draw, (MARGIN, middle), lines, INK)
        _draw_row(sheet, row, lefts, top, cell)
        top += height + MARGIN
    return sheet


def table_pixels(size: tuple[int, int], groups: Sequence[int]) -> int:
    """Pixels that a row of `draw_table` takes, for images of `size` and so many in each group."""
    width, height = _shown_size(size)
    side = LABEL + 4 * MARGIN + sum(groups) * (width + GAP) + len(groups) * 2 * MARGIN
    return side * (max(height, LABEL_LINES * LINE_HEIGHT) + LINE_HEIGHT + MARGIN)


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


def _draw_row(
    sheet: Image.Image, row: GridRow, lefts: Sequence[int], top: int, cell: tuple[int, int]
) -> None:
    draw, captions = ImageDraw.Draw(sheet), iter(row.captions)
    for group, left in zip(row.groups, lefts, strict=True):
        for column, image in enumerate(group):
            picture = _magnify(image, cell)
            x = left + column * (cell[0] + GAP)
            inset = (cell[0] - picture.width) // 2, (cell[1] - picture.height) // 2
            sheet.paste(picture, (x + inset[0], top + inset[1]))
            caption = wrap(next(captions, ""), cell[0], most=1)
            write_lines(draw, (x, top + cell[1] + 2), caption, GREY)


def _shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height that images of `size` are shown in."""
    factor = max(1, math.ceil(MIN_CELL / max(size[0], 1)))
    return size[0] * factor, size[1] * factor


def _magnify(image_HWC: np.ndarray, cell: tuple[int, int] | None = None) -> Image.Image:
    """The image, larger by the greatest whole number that fits the cell."""
    picture = Image.fromarray(np.ascontiguousarray(image_HWC), "RGB")
    width, height = cell or _shown_size(picture.size)
    factor = max(1, min(width // max(picture.width, 1), height // max(picture.height, 1)))
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST) if factor > 1 else picture
