"""Aspect-ratio buckets: in which size each image is trained, as kohya's sd-scripts choose it.

Others choose in much the same way: sizes of at most the area of the resolution, sides in steps of
64, the one whose shape is nearest. Source: kohya-ss/sd-scripts, `library/model_util.py`
(`make_bucket_resolutions`) and `library/train_util.py` (`BucketManager.select_bucket` without
`bucket_no_upscale`).
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from curate.errors import UsageError

STEPS = 64  # pixels; sides of buckets are multiples
MAX_RESOLUTION = 4096  # pixels
Size = tuple[int, int]  # width and height, pixels


def check_resolution(resolution: int) -> None:
    """Refuse a resolution that has no square bucket of its own.

    Raises:
        UsageError: it is no multiple of `STEPS`, or out of range.
    """
    if resolution % STEPS or not STEPS <= resolution <= MAX_RESOLUTION:
        nearest = min(max(round(resolution / STEPS) * STEPS, STEPS), MAX_RESOLUTION)
        problem = f"{resolution} is not a multiple of {STEPS} up to {MAX_RESOLUTION}"
        raise UsageError("--resolution", problem, fix=f"--resolution {nearest}")


def bucket_limits(resolution: int) -> Size:
    """The shortest and the longest side of a bucket, pixels: half and twice the resolution."""
    return max(STEPS, resolution // 2 // STEPS * STEPS), 2 * resolution


def bucket_sizes(resolution: int) -> list[Size]:
    """All buckets of a resolution, by width and height."""
    shortest, longest = bucket_limits(resolution)
    area = resolution * resolution
    square = math.isqrt(area) // STEPS * STEPS
    found = {(square, square)}
    for width in range(shortest, longest + 1, STEPS):
        height = min(longest, area // width // STEPS * STEPS)
        if height >= shortest:
            found |= {(width, height), (height, width)}
    return sorted(found)


@dataclass(frozen=True)
class Buckets:
    """Which image falls in which bucket."""

    of: Mapping[str, Size]  # key of an image -> its bucket
    too_small: tuple[str, ...]  # keys of images that have to be enlarged to fill theirs

    def counts(self) -> dict[str, int]:
        """Images in each bucket that has any, as WIDTHxHEIGHT, the fullest first."""
        found = Counter(self.of.values())
        ordered = sorted(found, key=lambda bucket: (-found[bucket], bucket))
        return {f"{width}x{height}": found[width, height] for width, height in ordered}


def sort_into_buckets(sizes: Mapping[str, Size], resolution: int) -> Buckets:
    """The bucket of each image by its size, keys in their order."""
    buckets = bucket_sizes(resolution)
    chosen = {key: _choose_bucket(size, buckets) for key, size in sizes.items()}
    small = [key for key, size in sizes.items() if _is_enlarged(size, chosen[key])]
    return Buckets(chosen, tuple(small))


def _choose_bucket(size: Size, buckets: list[Size]) -> Size:
    """The first of those nearest in width by height; no two buckets have the same shape."""
    aspect = size[0] / size[1]
    return min(buckets, key=lambda bucket: abs(bucket[0] / bucket[1] - aspect))


def _is_enlarged(size: Size, bucket: Size) -> bool:
    """Whether an image has to grow to fill its bucket; what then stands out is cropped."""
    return size[0] < bucket[0] or size[1] < bucket[1]
