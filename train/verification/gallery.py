"""The images that the page shows: some of each prompt, and more of those that are wrong.

Letters in names: N samples, H and W pixels, C channels.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from train.verification.prompts import Sample
from train.verification.scorers import Reference, fit_within, spread

THUMBNAIL_SIDE = 96  # pixels of the longer side at most
PER_PROMPT = 4  # images of a prompt; more where fewer of them are wrong than could be
MAX_IMAGES = 400  # images of one checkpoint

Key = tuple[str, int]  # prompt, seed


@dataclass
class Gallery:
    """Small images by prompt and seed, and a true image of each prompt that has one."""

    allowed: frozenset[str]  # prompts that are shown
    each: int
    after: dict[Key, np.ndarray] = field(default_factory=dict)  # uint8 HWC
    before: dict[Key, np.ndarray] = field(default_factory=dict)
    true: dict[str, np.ndarray] = field(default_factory=dict)
    _kept: Counter[str] = field(default_factory=Counter)
    _wrong: Counter[str] = field(default_factory=Counter)

    @staticmethod
    def of(plan: Sequence[Sample], reference: Reference) -> "Gallery":
        """An empty album for these samples, with the true images."""
        prompts = list(dict.fromkeys(sample.prompt for sample in plan))
        kept = [prompts[place] for place in spread(len(prompts), MAX_IMAGES)]
        album = Gallery(frozenset(kept), max(1, min(PER_PROMPT, MAX_IMAGES // max(1, len(kept)))))
        for prompt in kept:
            label = reference.find(prompt)
            if label is not None:
                row = int(np.flatnonzero(reference.label_N == label)[0])
                album.true[prompt] = make_thumbnail(reference.pixels_NHWC[row])
        return album

    def keep_after(
        self, samples: Sequence[Sample], images_NHWC: np.ndarray, wrong_N: np.ndarray
    ) -> None:
        """Keep the first images of each prompt, and the first that are wrong."""
        for sample, image, wrong in zip(samples, images_NHWC, wrong_N.tolist(), strict=True):
            prompt = sample.prompt
            early = self._kept[prompt] < self.each
            more = wrong and self._wrong[prompt] < self.each
            if prompt in self.allowed and (early or more) and len(self.after) < MAX_IMAGES:
                self._kept[prompt] += 1
                self._wrong[prompt] += wrong
                self.after[prompt, sample.seed] = make_thumbnail(image)

    def keep_before(self, samples: Sequence[Sample], images_NHWC: np.ndarray) -> None:
        """Keep what an earlier checkpoint sampled where the later one's image is kept."""
        for sample, image in zip(samples, images_NHWC, strict=True):
            if (sample.prompt, sample.seed) in self.after:
                self.before[sample.prompt, sample.seed] = make_thumbnail(image)


def make_thumbnail(image_HWC: np.ndarray) -> np.ndarray:
    """At most `THUMBNAIL_SIDE` pixels on the longer side."""
    size = fit_within(image_HWC.shape[:2], THUMBNAIL_SIDE)
    if size == image_HWC.shape[:2]:
        return np.array(image_HWC)
    picture = Image.fromarray(np.array(image_HWC))
    return np.asarray(picture.resize(size[::-1], Image.Resampling.LANCZOS))
