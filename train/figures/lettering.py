"""Letters on images: Pillow's own font, and fonts of this machine for what it lacks.

Pillow's font knows English. A letter that it lacks is taken from the first of some common fonts
that is installed and has it; where none has, its number is written: [96EA].
"""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from itertools import accumulate, groupby

from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
FALLBACK_FONTS = (  # file names, as Linux, macOS and Windows have them; the first that has a letter
    *("NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf", "segoeui.ttf"),
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKjp-Regular.otf", "NotoSansJP-Regular.otf"),
    *("NotoSansJP-Regular.ttf", "ipaexg.ttf", "ipag.ttf", "YuGothM.ttc", "meiryo.ttc"),
    *("ヒラギノ角ゴシック W3.ttc", "Hiragino Sans GB.ttc", "msyh.ttc", "malgun.ttf"),
    *("DroidSansFallbackFull.ttf", "wqy-microhei.ttc", "NotoEmoji-Regular.ttf", "seguiemj.ttf"),
)
UNASSIGNED = "\uffff"  # no font has a letter here: what it draws stands for a lack
SIZE = 13  # pixels
DEFAULT_FONT: Font = ImageFont.load_default(SIZE)  # the same on every machine
LINE_HEIGHT = math.ceil(DEFAULT_FONT.getbbox("Ágjy")[3]) + 3  # from one line to the next, in pixels


def measure_width(text: str) -> float:
    """Of a line of text, in pixels."""
    return sum(font.getlength(part) for font, part in _runs(text))


def write_lines(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], lines: Sequence[str], fill: str
) -> None:
    """Lines of text beneath each other, `place` the top left of the first."""
    base = place[1] + math.ceil(DEFAULT_FONT.getbbox("A", anchor="la")[3])
    for number, line in enumerate(lines):
        left: float = place[0]
        for font, part in _runs(line):
            at = (left, base + number * LINE_HEIGHT)
            draw.text(at, part, fill=fill, font=font, anchor="ls")
            left += font.getlength(part)


def wrap(text: str, width: int, *, most: int = 100) -> list[str]:
    """At most `most` lines no wider than `width` pixels; a word that alone is wider is cut."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and measure_width(joined) <= width:
            lines[-1] = joined
            continue
        while measure_width(word) > width and len(word) > 1:
            ends = accumulate(map(measure_width, word))
            fits = max(1, sum(end <= width for end in ends))  # letters, at least one
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
        if len(lines) > most:
            return [*lines[: most - 1], f"{lines[most - 1][:-1]}…"]
    return lines


def missing_letters(text: str) -> str:
    """The letters of a text, each once, that no font here has."""
    return "".join(c for c in dict.fromkeys(_drawable(text)) if _font_of(c) is None)


def _runs(text: str) -> Iterator[tuple[Font, str]]:
    """Pieces of the text, each with the font that draws it."""
    for font, letters in groupby(_drawable(text), _font_of):
        if font is None:
            yield DEFAULT_FONT, "".join(f"[{ord(letter):04X}]" for letter in letters)
        else:
            yield font, "".join(letters)


def _drawable(text: str) -> str:
    """Without what only steers other letters: joiners, variation selectors, control characters."""
    spaced = (" " if c.isspace() else c for c in text)
    kept = (c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return "".join(c for c in kept if not "\ufe00" <= c <= "\ufe0f")


@cache
def _fonts() -> list[Font]:
    """Pillow's own, and those of `FALLBACK_FONTS` that are installed."""
    found = [DEFAULT_FONT]
    for name in FALLBACK_FONTS:
        with suppress(OSError):
            found.append(ImageFont.truetype(name, SIZE, layout_engine=ImageFont.Layout.BASIC))
    return found


@lru_cache(maxsize=4096)
def _font_of(letter: str) -> Font | None:
    """The first font that has a letter."""
    if letter == " ":
        return DEFAULT_FONT
    return next((f for f in _fonts() if _ink(f, letter) != _ink(f, UNASSIGNED)), None)


def _ink(font: Font, letter: str) -> tuple[tuple[int, int], bytes]:
    drawn = font.getmask(letter)
    return drawn.size, bytes(drawn)
