"""How often an epoch shows each image, so that rare words are not drowned by frequent ones.

Repeat factor sampling: a word that `SHARE` of the images show, or more, needs no help; a rarer one
is raised by the root of what it lacks, and an image is shown as often as its neediest word asks.
The root is between no help and as many showings for every word, by which few images would be
learnt by heart. Source: Gupta, Dollar, Girshick, "LVIS", arXiv:1908.03195, "repeat factor
sampling". Our choice: `SHARE`, the steps, the cap, and that a word of one image raises nothing.
"""

import math
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass

SHARE = 0.1  # of the images
FEWEST = 2  # images that show a word; of a single one it cannot be told from the rest of the image
STEPS = (1, 2, 3, 5, 10)  # showings of an image an epoch: one folder and one setting each


@dataclass(frozen=True)
class Balance:
    """How often each image is shown, and what that does to the words."""

    repeats: Mapping[str, int]  # key of an image -> showings an epoch
    raised: Mapping[str, tuple[float, float]]  # rare word -> share of an epoch's showings with it,
    # if all images were shown once, and now; what gains most first

    def counts(self) -> dict[int, int]:
        """Showings an epoch -> images."""
        return dict(sorted(Counter(self.repeats.values()).items()))


def balance(words: Mapping[str, Set[str]], most: int) -> Balance:
    """How often to show each image.

    Args:
        words: key of an image -> the words that its captions hold.
        most: showings of one image an epoch, at most; 1: all are shown once.
    """
    images_of = Counter(word for said in words.values() for word in said)
    lacks = {
        word: math.sqrt(SHARE * len(words) / count)
        for word, count in images_of.items()
        if count >= FEWEST
    }
    factors = {key: max([1.0, *(lacks.get(w, 1.0) for w in said)]) for key, said in words.items()}
    least = min(factors.values(), default=1.0)  # where all are raised, only differences help
    repeats = {key: _nearest_step(factor / least, most) for key, factor in factors.items()}
    epoch, after = sum(repeats.values()), Counter[str]()
    for key, said in words.items():
        after.update(dict.fromkeys(said, repeats[key]))
    shares = {w: (images_of[w] / len(words), after[w] / epoch) for w in lacks}
    gains = {w: s for w, s in shares.items() if s[0] < SHARE and s[1] > s[0]}
    return Balance(repeats, dict(sorted(gains.items(), key=lambda p: (p[1][0] - p[1][1], p[0]))))


def _nearest_step(factor: float, most: int) -> int:
    """The step nearest in ratio, the smaller of two."""
    return min((s for s in STEPS if s <= most), key=lambda s: (abs(math.log(factor / s)), s))
