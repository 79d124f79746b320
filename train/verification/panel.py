"""Who looks at what was drawn, and what they see.

Letters in names: N samples, H and W pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from train.verification import metrics
from train.verification.copies import CopyScorer
from train.verification.generate import Sample
from train.verification.metrics import Answers, Trials
from train.verification.pixels import to_shape
from train.verification.scorers import Scorer
from train.verification.style import StyleScorer
from train.verification.verdict import OWN_WORD, WITHOUT, WORD, Figure, Judge


@dataclass(frozen=True)
class Panel:
    """What was asked for, and who looks at it."""

    trials: Trials
    scorers: list[Scorer]
    judges: list[Judge]
    chosen: Mapping[str, str]
    copies: CopyScorer
    style: StyleScorer | None

    def look(self, images_NHWC: np.ndarray, start: int) -> "Seen":
        """What the scorers say of the samples from `start` on."""
        images_NHWC = to_shape(images_NHWC, self.trials.reference.pixels_NHWC.shape[1:3])
        answers = {s.name: metrics.ask(s, images_NHWC, self.trials, start) for s in self.scorers}
        old_N = self.style.shows_old(images_NHWC, start) if self.style else np.zeros(0, bool)
        return Seen(answers, self.copies.distances(images_NHWC), old_N)

    def figures(self, after: "Seen", before: "Seen | None") -> list[Figure]:
        """All shares; `after` is of one model or several, one after the other."""
        found: list[Figure] = []
        for judge in self.judges:
            says = {measure for measure, name in self.chosen.items() if name == judge.name}
            was = None if before is None else before.answers[judge.name]
            now = after.answers[judge.name]
            found += metrics.make_figures(judge, says, self.trials, now, was)
        was_N = None if before is None else before.distance_N
        found += self.copies.figures(self.trials, after.distance_N, was_N)
        if self.style:
            was_N = None if before is None else before.old_style_N
            found += self.style.figures(self.trials, after.old_style_N, was_N)
        return found


@dataclass(frozen=True)
class Seen:
    """Some samples, as scorers see them."""

    answers: dict[str, Answers]  # by scorer
    distance_N: np.ndarray  # to the nearest training image
    old_style_N: np.ndarray  # bool; empty where style is not judged

    @staticmethod
    def join(parts: Sequence["Seen"]) -> "Seen":
        """Several, one after the other."""
        names = parts[0].answers
        return Seen(
            {name: Answers.join([part.answers[name] for part in parts]) for name in names},
            np.concatenate([part.distance_N for part in parts]),
            np.concatenate([part.old_style_N for part in parts]),
        )

    def wrong(self, part: Sequence[Sample]) -> np.ndarray:
        """Bool (N): what some scorer does not see as it was asked for."""
        old_N = np.array([sample.group == WITHOUT for sample in part], bool)
        column_N = np.where(old_N, metrics.COLUMNS.index(OWN_WORD), metrics.COLUMNS.index(WORD))
        rows, wrong_N = np.arange(len(part)), np.zeros(len(part), bool)
        for answers in self.answers.values():
            wrong_N |= answers.judged_NQ[rows, column_N] & ~answers.yes_NQ[rows, column_N]
        return wrong_N
