"""Scorers that learn a word from the true images that show it, and from those that do not.

They see features of a network that somebody trained (`curate.vision.encoders`). What they say of a
true image was learnt neither from it nor from a copy (`train.verification.cross_fitting`).

Letters in names: N images of the reference, D width of the features.
"""

from collections.abc import Callable, Sequence

import numpy as np

from curate.vision.encoders import ImageEncoder
from train.verification.cross_fitting import MIN_EXAMPLES, Judge, count_examples, fit_logistic
from train.verification.neighbours import fit_neighbours
from train.verification.pixels import split_chunks
from train.verification.question import Question
from train.verification.scorers import Reference

WORDS_AT_ONCE = 8  # more take longer each, for the hardest decides when all are done

Fit = Callable[..., Judge]  # (features_ND, targets_NW, group_N, device=) -> Judge

FITS: dict[str, Fit] = {"examples": fit_logistic, "neighbours": fit_neighbours}


class FromExamples:
    """Answers by judges that learnt each question from the true images."""

    def __init__(
        self,
        reference: Reference,
        encoder: ImageEncoder,
        kind: str,
        *,
        device: str = "cpu",
    ) -> None:
        """Look at every true image once; a word is learnt when it is first asked for.

        Args:
            reference: the true images.
            encoder: what sees them.
            kind: `examples` for logistic regression, `neighbours` for the nearest ones.
            device: torch device to learn on.
        """
        self.name = f"{kind}:{encoder.name}"
        self.digest = encoder.digest  # of the encoder's weights
        self.unseen_N = np.ones(len(reference.keys), bool)
        self._reference, self._encoder, self._device = reference, encoder, device
        self._fit = FITS[kind]
        self.features_ND = self._encode(reference.pixels_NHWC)  # of the true images
        self._judges: dict[Question, tuple[Judge, int]] = {}  # with the column of the question

    def cannot(self, question: Question) -> str | None:
        """It takes a few images with and without; a whole prompt must be a caption of several."""
        target_N = self._target(question)
        if target_N is None:
            return "no true image has this caption, or not alone, so nothing is there to learn from"
        shown, others = count_examples(target_N, self._reference.group_N)
        if min(shown, others) >= MIN_EXAMPLES:
            return None
        which = f"only {shown} true images show" if shown < others else f"all but {others} show"
        return f"{which} it, and it takes {MIN_EXAMPLES} with and without to learn it"

    def shows(
        self,
        images_NHWC: np.ndarray,
        asked_N: Sequence[Sequence[Question]],
        rows_N: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        """See `train.verification.scorers.Scorer`; drawn images are dealt to the judges in turn."""
        if not len(images_NHWC):
            return []
        self._learn(list(dict.fromkeys(q for asked in asked_N for q in asked)))
        features, judged = self._encode_again(images_NHWC, rows_N), {}
        for judge in dict.fromkeys(self._judges[q][0] for asked in asked_N for q in asked):
            if rows_N is None:
                judged[judge] = judge.answers(features, np.arange(len(features)))
            else:
                judged[judge] = judge.unseen(rows_N, features)
        found = []
        for row, asked in enumerate(asked_N):
            answers = [judged[judge][row, c] for judge, c in map(self._judges.__getitem__, asked)]
            found.append(np.array(answers, bool))
        return found

    def _target(self, question: Question) -> np.ndarray | None:
        """Bool (N,): which true images show it; None where no caption is the whole prompt."""
        reference = self._reference
        if not question.whole:
            return reference.image_shows_word(question.text)
        label = reference.find(question.text)  # or a prompt that is the caption of none
        known = label is not None and label < len(reference.labels)
        return reference.label_N == label if known else None

    def _learn(self, questions: Sequence[Question]) -> None:
        new = [q for q in questions if q not in self._judges]
        for start in range(0, len(new), WORDS_AT_ONCE):
            some = new[start : start + WORDS_AT_ONCE]
            targets = [t for q in some if (t := self._target(q)) is not None]
            group_N = self._reference.group_N
            judge = self._fit(self.features_ND, np.stack(targets, 1), group_N, device=self._device)
            self._judges |= {q: (judge, column) for column, q in enumerate(some)}

    def _encode(self, images_NHWC: np.ndarray) -> np.ndarray:
        parts = split_chunks(images_NHWC)
        return np.concatenate([self._encoder.encode_images(np.array(part)) for part in parts])

    def _encode_again(self, images_NHWC: np.ndarray, rows_N: np.ndarray | None) -> np.ndarray:
        """Not again where they are the true images as they are."""
        true = self._reference.pixels_NHWC
        if rows_N is not None and np.array_equal(images_NHWC, true[rows_N]):
            known: np.ndarray = self.features_ND[rows_N]
            return known
        return self._encode(images_NHWC)
