"""Letters on images: Pillow's own font, and fonts of this machine for what it lacks.

Pillow's font knows English. A letter that it lacks is taken from the first of some common fonts
that is installed and has it; where none has, its number is written: [96EA].
"""

import math
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

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


@dataclass(frozen=True)
class Lettering:
    """Letters of one size in pixels."""

    size: int

    @property
    def line_height(self) -> int:
        """From one line to the next, in pixels."""
        return math.ceil(default_font(self.size).getbbox("Ágjy")[3]) + 3

    def width(self, text: str) -> float:
        """Of a line of text, in pixels."""
        return sum(font.getlength(part) for font, part in self._runs(text))

    def write(
        self, draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, fill: str
    ) -> None:
        """One line of text, `place` its top left."""
        left, top = place
        base = top + math.ceil(default_font(self.size).getbbox("A", anchor="la")[3])
        for font, part in self._runs(text):
            draw.text((left, base), part, fill=fill, font=font, anchor="ls")
            left += font.getlength(part)

    def wrap(self, text: str, width: int, *, most: int = 100) -> list[str]:
        """At most `most` lines no wider than `width` pixels; a word that alone is wider is cut."""
        lines: list[str] = []
        for word in text.split():
            joined = f"{lines[-1]} {word}" if lines else word
            if lines and self.width(joined) <= width:
                lines[-1] = joined
                continue
            while self.width(word) > width and len(word) > 1:
                fits = self._count_fitting(word, width)
                lines.append(word[:fits])
                word = word[fits:]
            lines.append(word)
            if len(lines) > most:
                return [*lines[: most - 1], f"{lines[most - 1][:-1]}…"]
        return lines

    def _count_fitting(self, word: str, width: int) -> int:
        """How many letters of a word fit, at least one."""
        used = 0.0
        for count, letter in enumerate(word):
            used += self.width(letter)
            if used > width:
                return max(1, count)
        return len(word)

    def _runs(self, text: str) -> Iterator[tuple[Font, str]]:
        """Pieces of the text, each with the font that draws it."""
        for font, letters in groupby(_drawable(text), lambda letter: _font_of(letter, self.size)):
            if font is None:
                yield default_font(self.size), "".join(f"[{ord(letter):04X}]" for letter in letters)
            else:
                yield font, "".join(letters)


def missing_letters(text: str) -> str:
    """The letters of a text, each once, that no font here has."""
    return "".join(c for c in dict.fromkeys(_drawable(text)) if _font_of(c, 13) is None)


def _drawable(text: str) -> str:
    """Without what only steers other letters: joiners, variation selectors, control characters."""
    spaced = (" " if c.isspace() else c for c in text)
    kept = (c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return "".join(c for c in kept if not "\ufe00" <= c <= "\ufe0f")


@lru_cache(maxsize=8)
def default_font(size: int) -> Font:
    """The font that Pillow carries, the same on every machine."""
    return ImageFont.load_default(size=size)


@lru_cache(maxsize=8)
def _installed_fonts(size: int) -> tuple[Font, ...]:
    found = []
    for name in FALLBACK_FONTS:
        try:
            found.append(ImageFont.truetype(name, size, layout_engine=ImageFont.Layout.BASIC))
        except OSError:
            continue  # not installed
    return tuple(found)


@lru_cache(maxsize=4096)
def _font_of(letter: str, size: int) -> Font | None:
    """The first font that has a letter."""
    if letter == " " or _font_has(default_font(size), letter):
        return default_font(size)
    return next((font for font in _installed_fonts(size) if _font_has(font, letter)), None)


def _font_has(font: Font, letter: str) -> bool:
    lack = font.getmask(UNASSIGNED)
    drawn = font.getmask(letter)
    return (drawn.size, bytes(drawn)) != (lack.size, bytes(lack))
