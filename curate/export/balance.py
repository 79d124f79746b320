"""How often an epoch shows each image, so that rare words are not drowned by frequent ones.

Repeat factor sampling: an image is as needy as its rarest word, and is shown the more often the
rarer that word is than the rarest word of a typical image, by the root of how much rarer. So in a
set where all words are equally rare nothing is repeated, and at most half of any set is. The root
stands between no help and as many showings for every word, which would teach few images by heart.

Source: Gupta, Dollar, Girshick, "LVIS", arXiv:1908.03195, "repeat factor sampling": the largest
max(1, sqrt(t / f)) of an image's words. Our choice: t is the median over images, not a number; the
steps; the cap; and that a word of one image counts for nothing.
"""

import math
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass
from statistics import median_low

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
        words: key of an image -> the words that its captions hold; of at least one image.
        most: showings of one image an epoch, at most; 1: all are shown once.
    """
    images_of = Counter(word for said in words.values() for word in said)
    known = {word: count for word, count in images_of.items() if count >= FEWEST}
    rarest = {
        key: min((known[word] for word in said if word in known), default=len(words))
        for key, said in words.items()
    }
    typical = median_low(rarest.values())
    repeats = {key: _nearest_step(typical / count, most) for key, count in rarest.items()}
    epoch, after = sum(repeats.values()), Counter[str]()
    for key, said in words.items():
        after.update(dict.fromkeys(said, repeats[key]))
    rare = [word for word, count in known.items() if count < typical]
    shares = {word: (known[word] / len(words), after[word] / epoch) for word in rare}
    gains = {word: share for word, share in shares.items() if share[1] > share[0]}
    return Balance(repeats, dict(sorted(gains.items(), key=lambda p: (p[1][0] - p[1][1], p[0]))))


def _nearest_step(rarer: float, most: int) -> int:
    """The step nearest in ratio to the root of how many times rarer a word is; at least 1."""
    factor = max(1.0, math.sqrt(rarer))
    return min((s for s in STEPS if s <= most), key=lambda s: (abs(math.log(factor / s)), s))
