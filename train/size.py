"""How large an image is: width before height, as in `64x128`."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        """`64` where square, else `64x128`."""
        return f"{self.width}" if self.width == self.height else f"{self.width}x{self.height}"

    @staticmethod
    def of(value: "int | str | Sequence[int]") -> "Size":
        """A size from a number (square), from `64` or `64x128`, or from two numbers.

        Raises:
            ValueError: anything else.
        """
        if isinstance(value, str):
            if not re.fullmatch(r"\d{1,6}(x\d{1,6})?", value):
                raise ValueError(f"{value!r} is no size")
            value = [int(part) for part in value.split("x")]
        sides = [value] if isinstance(value, int) else list(value)
        if not 1 <= len(sides) <= 2 or any(type(side) is not int for side in sides):
            raise ValueError(f"{value!r} is no size")
        return Size(sides[0], sides[-1])

    @property
    def side(self) -> float:
        """Side of the square of the same area."""
        return float((self.width * self.height) ** 0.5)

    def factor_over(self, smaller: "Size") -> int | None:
        """How many times `smaller`, if that is one whole number for both directions."""
        factor, rest = divmod(self.width, smaller.width)
        same = factor * smaller.height == self.height
        return factor if same and not rest else None

    def to_json(self) -> int | str:
        """As it is written in settings: a number where square."""
        return self.width if self.width == self.height else str(self)


def join_sizes(sizes: Iterable[Size]) -> str:
    """Sizes as they are typed: `16,64`."""
    return ",".join(map(str, sizes))
