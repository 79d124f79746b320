"""Images for people: what they show, where, and with which facts."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from curate.errors import InputError
from train.figures.grids import (
    LABEL,
    LABEL_LINES,
    MARGIN,
    MIN_CELL,
    GridRow,
    draw_grid,
    draw_table,
    save_png,
    table_pixels,
)
from train.figures.lettering import LINE_HEIGHT, measure_width, missing_letters, wrap
from train.figures.loss_curve import _loss_ticks, draw_loss_curve, image_ticks


def flat(colour: tuple[int, int, int], side: int = 100) -> np.ndarray:
    return np.full((side, side, 3), colour, np.uint8)


RED, GREEN, BLUE = (200, 0, 0), (0, 160, 0), (0, 0, 220)


def test_a_grid_lays_pictures_row_by_row():
    sheet = draw_grid([flat(RED), flat(GREEN), flat(BLUE)])

    assert sheet.size == (MARGIN + 2 * (100 + MARGIN), MARGIN + 2 * (100 + MARGIN))
    assert sheet.getpixel((MARGIN + 50, MARGIN + 50)) == RED
    assert sheet.getpixel((MARGIN + 100 + MARGIN + 50, MARGIN + 50)) == GREEN
    assert sheet.getpixel((MARGIN + 50, MARGIN + 100 + MARGIN + 50)) == BLUE


def test_small_pictures_are_enlarged_by_a_whole_number_without_blending():
    checks = np.zeros((32, 32, 3), np.uint8)
    checks[::2, ::2] = 255
    sheet = draw_grid([checks])

    side = 32 * -(-MIN_CELL // 32)
    inside = np.asarray(sheet)[MARGIN : MARGIN + side, MARGIN : MARGIN + side]
    assert inside.shape == (side, side, 3)
    assert set(np.unique(inside)) == {0, 255}


def test_captions_are_written_under_their_pictures_and_long_ones_wrap():
    short = draw_grid([flat(RED)], ["a mage"])
    long = draw_grid([flat(RED)], ["a mage with a staff under a very blue sky in the evening"])

    def ink(sheet: Image.Image) -> int:
        return int((np.asarray(sheet.convert("L"))[MARGIN + 100 :] < 128).sum())

    assert ink(draw_grid([flat(RED)])) == 0
    assert 0 < ink(short) < ink(long)
    assert long.height > short.height
    assert long.width == short.width


def test_a_grid_needs_a_caption_for_each_picture():
    with pytest.raises(ValueError, match="1 captions for 2 images"):
        draw_grid([flat(RED), flat(RED)], ["one"])


def test_an_empty_grid_is_an_empty_page():
    assert draw_grid([]).size == (2 * MARGIN, 2 * MARGIN)
    assert draw_table([], []).size == (2 * MARGIN, 2 * MARGIN)


@settings(max_examples=30)
@given(
    st.lists(st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=30)),
    st.integers(40, 200),
)
def test_wrapping_keeps_every_letter_and_the_width(words: list[str], width: int):
    text = " ".join(words)
    lines = wrap(text, width, most=10_000)

    assert "".join(lines).replace(" ", "") == "".join(text.split())
    for line in lines:
        assert measure_width(line) <= width + 1 or len(line) == 1


def test_long_text_ends_in_dots():
    lines = wrap("word " * 500, 100, most=3)

    assert len(lines) == 3
    assert lines[2].endswith("…")


def test_a_letter_that_no_font_has_is_written_as_its_number():
    private = "\ue123"  # for private use: no font is asked for it
    assert missing_letters(f"abc {private}{private} def") == private
    assert measure_width(private) == measure_width("[E123]")


def test_what_only_steers_letters_is_not_drawn():
    assert missing_letters("a\u200db\ufe0f\n\x07") == ""
    assert measure_width("a\u200db\ufe0f\x07") == measure_width("ab")


def test_before_stands_left_of_after():
    row = GridRow("a mage", [np.stack([flat(RED)] * 2), np.stack([flat(GREEN)] * 2)])
    pixels = np.asarray(draw_table([row, row], ["before", "after"]))

    red, green = (np.argwhere((pixels == c).all(-1)) for c in (RED, GREEN))
    assert len(red) == len(green) == 4 * 100 * 100
    assert red[:, 1].max() < green[:, 1].min()


def test_without_an_earlier_checkpoint_only_after_is_shown():
    both = draw_table([GridRow("p", [[flat(RED)], [flat(GREEN)]])], ["before", "after"])
    alone = draw_table([GridRow("p", [[flat(GREEN)]])], ["after"])

    assert alone.width < both.width
    assert (np.asarray(alone) == GREEN).all(-1).sum() == 100 * 100


def test_a_png_carries_its_facts_and_has_the_same_bytes_every_time(tmp_path: Path):
    facts = {"prompt": "a mage, 雪", "seed": "7", "checkpoint": "ab" * 32}
    save_png(draw_grid([flat(RED)]), tmp_path / "a.png", facts)
    save_png(draw_grid([flat(RED)]), tmp_path / "b.png", dict(reversed(facts.items())))

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.text == facts


def test_a_folder_that_is_a_file_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/a.png: cannot be written"):
        save_png(draw_grid([flat(RED)]), tmp_path / "file" / "a.png", {})


def curve(path: Path, **stages: dict[str, list[tuple[int, float]]]) -> np.ndarray:
    draw_loss_curve(stages, path)
    with Image.open(path) as image:
        return np.asarray(image)


def blue(pixels: np.ndarray) -> np.ndarray:
    """Rows and columns of the first stage's colour, below the legend."""
    found = np.argwhere((pixels == (9, 105, 218)).all(-1))
    return found[found[:, 0] > 36]


def test_a_falling_loss_falls_to_the_right(tmp_path: Path):
    points = [(n * 100, 10.0 ** (-n / 5)) for n in range(1, 11)]
    line = blue(curve(tmp_path / "loss.png", base={"loss": points}))

    left, right = line[line[:, 1] < 200][:, 0].mean(), line[line[:, 1] > 600][:, 0].mean()
    assert left < right - 100  # rows count downwards


def test_a_power_law_in_decades_is_a_straight_line(tmp_path: Path):
    points = [(n, 10.0 ** (-n / 10)) for n in range(1, 21)]
    line = blue(curve(tmp_path / "loss.png", base={"loss": points}))

    fit = np.polyfit(line[:, 1], line[:, 0], 1)
    assert np.abs(np.polyval(fit, line[:, 1]) - line[:, 0]).max() < 4


def test_held_out_points_are_drawn_and_explained(tmp_path: Path):
    loss = {"loss": [(10, 1.0), (100, 0.1)]}
    without = curve(tmp_path / "a.png", base={**loss, "held_out": []})
    with_points = curve(tmp_path / "b.png", base={**loss, "held_out": [(50, 0.9)]})

    assert len(blue(with_points)) > len(blue(without))
    assert (with_points[:36] != without[:36]).any()


def test_a_stage_that_has_nothing_yet_is_no_error(tmp_path: Path):
    empty = curve(tmp_path / "a.png", base={"loss": [], "held_out": []})
    nan = curve(tmp_path / "b.png", base={"loss": [(1, float("nan")), (2, 0.0)]})
    single = curve(tmp_path / "c.png", base={"loss": [(0, 0.5)]})

    assert (empty == nan).all()
    assert len(blue(single)) > 0


@given(st.floats(-6, 6), st.floats(0.05, 6))
@example(0.1875, 0.25)  # 1.54 to 2.74
def test_the_loss_axis_has_at_least_two_marks_inside(low: float, height: float):
    ticks = _loss_ticks(low, low + height)

    assert ticks == sorted(ticks)
    if height > 0.2:
        assert len(ticks) >= 2
    assert all(low - 1e-9 <= np.log10(t) <= low + height + 1e-9 for t in ticks)


@given(st.integers(1, 10**9))
def test_the_image_axis_has_few_round_marks(last: int):
    ticks = image_ticks(last)

    assert ticks[0] == 0 and ticks[-1] <= last
    assert 2 <= len(ticks) <= 7


def test_a_table_shows_groups_beneath_their_heads_and_captions_beneath_pictures():
    row = GridRow("a mage", [[flat(RED)], [flat(GREEN), flat(BLUE)]], ["1", "2", "3"])
    pixels = np.asarray(draw_table([row, row], ["before", "after"]))

    red, green, blue_ = (np.argwhere((pixels == c).all(-1)) for c in (RED, GREEN, BLUE))
    assert len(red) == len(green) == len(blue_) == 2 * 100 * 100
    assert red[:, 1].max() < green[:, 1].min() < green[:, 1].max() < blue_[:, 1].min()
    assert red[:, 0].min() == green[:, 0].min() > MARGIN  # heads above
    under = pixels[red[:, 0].max() + 1 :]
    assert (under < 200).any()  # the captions of the last row


def test_stages_of_a_cascade_are_shown_in_one_size():
    small, large = flat(RED, 16), flat(GREEN, 128)
    pixels = np.asarray(draw_table([GridRow("p", [[small], [large]])], ["16 px", "128 px"]))

    assert (pixels == RED).all(-1).sum() == (pixels == GREEN).all(-1).sum() == 128 * 128


def test_oblong_pictures_keep_their_shape():
    tall = np.full((64, 32, 3), RED, np.uint8)
    shown = np.argwhere((np.asarray(draw_table([GridRow("p", [[tall]])], [""])) == RED).all(-1))

    height, width = np.ptp(shown, axis=0) + 1
    assert height == 2 * width >= MIN_CELL


def test_a_row_is_as_tall_as_its_label_and_no_taller_than_a_dozen_lines():
    picture = [[flat(RED, 96)]]
    short, long = (
        draw_table([GridRow("p", picture)], [""]),
        draw_table([GridRow("p " * 2000, picture)], [""]),
    )

    assert short.width == long.width
    assert short.height < long.height <= LABEL_LINES * LINE_HEIGHT + 2 * MARGIN
    assert long.width >= LABEL


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=10)
def test_the_size_of_a_row_is_not_underestimated(width, height, count, groups):
    picture = np.zeros((height, width, 3), np.uint8)
    row = GridRow("p " * 2000, [[picture] * count] * groups, ["c"] * count * groups)
    one, two = draw_table([row], ["h"] * groups), draw_table([row, row], ["h"] * groups)

    bound = table_pixels((width, height), [count] * groups)
    assert (two.height - one.height) * two.width <= bound
