"""Are drawn images copies of training images?

How near an image must be to a training image to count as its copy is told by real ones: nearer
than all but one in a hundred of them are to the nearest other. Distances are root mean squares of
pixels at 16 pixels a side: copies that were moved, mirrored or cut are not found.

Letters in names: N images, D numbers an image.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch

from train.verification.metrics import Selected, Trials
from train.verification.pixels import (
    COPY_SIDE,
    distances,
    flatten,
    split_chunks,
    spread,
    to_shape,
)
from train.verification.rates import Rates
from train.verification.scorers import (
    Reference,
    degrade,
    hash_order,
    join_small,
    normalize_text,
)
from train.verification.verdict import ASKING, COPY, WITH, Figure, Judge

QUANTILE = 0.01  # of real images are as near to another
CHECKED = 400  # training images that are blurred and noised, to see whether they are found


class CopyScorer:
    """Compares images with training images. On one half of these the threshold is chosen, on the
    other it is measured how many real images are taken for copies."""

    name = "copies"

    def __init__(self, training: Sequence[Reference]) -> None:
        """`training`: the images that a model was trained on, of one size."""
        joint = self._training = join_small(training)
        self._flat_ND = flatten(joint.pixels_NHWC, COPY_SIDE)
        halves = [hash_order(joint.keys[g], 3)[0] & 1 for g in joint.group_N]
        once_N = joint.group_N == np.arange(len(halves))  # copies count once
        self._half_N = np.where(once_N, np.array(halves, np.int64), -1)
        real_N = self._real_N
        first = real_N[(self._half_N == 0) & np.isfinite(real_N)]
        self.threshold = float(np.quantile(first, QUANTILE)) if len(first) else 0.0

    @cached_property
    def _real_N(self) -> np.ndarray:
        """Distance of each training image to the nearest that is no copy of it; inf for none."""
        found, group_N = [], self._training.group_N
        for rows in split_chunks(np.arange(len(self._flat_ND))):
            apart = distances(self._flat_ND[rows], self._flat_ND)
            same = torch.from_numpy(group_N[rows][:, None] == group_N)
            found.append(apart.masked_fill(same, torch.inf).amin(1).numpy())
        return np.concatenate(found)

    def distances(self, images_NHWC: np.ndarray) -> np.ndarray:
        """Float (N): root mean square to the nearest training image, in [0, 1]."""
        fitted = to_shape(images_NHWC, self._training.pixels_NHWC.shape[1:3])
        parts = [
            distances(flatten(fitted[part], COPY_SIDE), self._flat_ND).amin(1).numpy()
            for part in split_chunks(np.arange(len(fitted)))
        ]
        return np.concatenate([np.zeros(0, np.float32), *parts])

    @cached_property
    def judge(self) -> Judge:
        """How often altered copies are found, and real images taken for copies."""
        rows = spread(len(self._flat_ND), CHECKED)
        images = degrade(np.asarray(self._training.pixels_NHWC[rows]), np.random.default_rng(0))
        found = int((self.distances(images) < self.threshold).sum())
        other = self._real_N[(self._half_N == 1) & np.isfinite(self._real_N)]
        taken = int((other < self.threshold).sum())
        return Judge(self.name, {COPY: Rates(found, len(rows), taken, len(other), 0, 0)})

    @cached_property
    def _groups_by_text(self) -> dict[str, set[int]]:
        """Caption -> the images it was shown with, copies counted as one."""
        training = self._training
        of_label: dict[int, set[int]] = {}
        for label, group in zip(training.label_N.tolist(), training.group_N.tolist(), strict=True):
            of_label.setdefault(label, set()).add(group)
        found: dict[str, set[int]] = {}
        for label, said in enumerate(training.labels):
            for text in said:
                found.setdefault(normalize_text(text), set()).update(of_label[label])
        return found

    def judges_prompt(self, prompt: str) -> bool:
        """Whether there is more than one way to draw it: of a caption that was shown with a single
        image, that image is the right answer, and no copy to be blamed."""
        return len(self._groups_by_text.get(normalize_text(prompt), ())) != 1

    def figures(
        self, trials: Trials, after_N: np.ndarray, before_N: np.ndarray | None
    ) -> Iterator[Figure]:
        """The share of copies among samples that ask for the word.

        Args:
            trials: what was asked for.
            after_N: distances; of several checkpoints one after the other.
            before_N: distances; None if there is no earlier checkpoint.
        """
        one_N = np.array([self.judges_prompt(s.prompt) for s in trials.plan], bool)
        one_N &= np.isin(trials.group_N, ASKING)
        if one_N.any():
            rates = self.judge.rates[COPY]
            yield Selected.of(trials, one_N, len(after_N)).figure(
                (self.name, WITH, COPY),
                after_N < self.threshold,
                None if before_N is None else before_N < self.threshold,
                rates,
                real=rates.false_positive,
                counts=self.judge.has_say(COPY),
            )

    def notes(self, trials: Trials, after_N: np.ndarray) -> Sequence[str]:
        """How far drawn images lie from training images, beside real ones; what is not judged."""
        asking_N = np.tile(np.isin(trials.group_N, ASKING), len(after_N) // len(trials.plan))
        real = self._real_N[np.isfinite(self._real_N)]
        if not asking_N.any() or not len(real):
            return []
        drawn, other = (float(np.median(d)) for d in (after_N[asking_N], real))
        found = [
            f"distance to the nearest training image, by the median: {drawn:.3f} of drawn ones, "
            f"{other:.3f} of real images to the nearest other"
        ]
        far = int((after_N[asking_N] > real.max()).sum())
        if far:
            found.append(
                f"{far} of {int(asking_N.sum())} images drawn with the word lie farther from every "
                "training image than any of these from the nearest other: look at them"
            )
        prompts = {s.prompt for s in trials.plan if s.group in ASKING}
        alone = sum(not self.judges_prompt(prompt) for prompt in prompts)
        if alone:
            found.append(
                f"copying is not judged for {alone} of {len(prompts)} prompts: each was shown with "
                "a single image, which is the right answer"
            )
        return found
