"""What the judge asks (`WordIndex`): which images show which words; and sets of their numbers."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Protocol

from curate.index.index import Evidence
from curate.text.spelling import Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int32]


class WordIndex(Protocol):
    """What is known of some images: an index of their captions, or a checkpoint's counts."""

    images: int

    @property
    def captions(self) -> int:
        """All of them."""
        ...

    @property
    def left_out(self) -> Mapping[str, int]:
        """Reason -> rows that were not counted."""
        ...

    @property
    def incomplete(self) -> tuple[str, ...]:
        """What could not be counted, in sentences."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """Every form of the captions."""
        ...

    def images_with(self, unit: str) -> "Numbers":
        """Images that show the unit in any inflection."""
        ...

    def images_with_form(self, unit: str) -> "Numbers":
        """Images that show it as written."""
        ...

    def cooccurrence(self, words: str, *, cohesion: float) -> int:
        """How many images show words side by side; 0 where they are not as close as that."""
        ...

    def bound_images(self, adjective: str, noun: str) -> "Numbers":
        """Images that say the adjective of the noun."""
        ...

    def prefetch(self, numbers: "Numbers") -> None:
        """Make ready for questions about the captions of these images."""
        ...

    def evidence(
        self, numbers: Sequence[int], units: Sequence[str] = (), limit: int = 6
    ) -> tuple[Evidence, ...]:
        """Captions of these images."""
        ...


def union(sets: Iterable["Numbers"]) -> "Numbers":
    """The numbers that are in any of the sets, ascending."""
    import numpy as np

    filled = [one for one in sets if len(one)]
    return reduce(np.union1d, filled) if filled else np.empty(0, dtype=np.int32)


def difference(numbers: "Numbers", others: "Numbers") -> "Numbers":
    """The numbers that are not among the others."""
    import numpy as np

    return np.setdiff1d(numbers, others, assume_unique=True) if len(numbers) else numbers
