"""From what scorers take images for to figures, and to a table of prompts.

Letters in names: N samples, C candidate captions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from train.verification import verdict
from train.verification.generate import Sample
from train.verification.intervals import difference, share
from train.verification.scorers import Label, Reference, Scorer, holds
from train.verification.verdict import ENTIRELY, OWN_WORD, WITH, WITHOUT, WORD, Figure, Row

RIGHT = "right"  # what the sample's group asks for is shown: the word, or the prompt's own
Hits = Mapping[str, np.ndarray]  # WORD, OWN_WORD, ENTIRELY, RIGHT -> bool (N)


@dataclass(frozen=True)
class Trials:
    """What was asked for, and the captions that scorers choose from."""

    plan: list[Sample]
    word: str
    reference: Reference
    candidates: list[Label]  # those of the reference first
    truth_N: np.ndarray  # int64: which candidate each sample's prompt means

    @staticmethod
    def of(plan: Sequence[Sample], word: str, reference: Reference) -> "Trials":
        """Prompts that the reference does not know become candidates of their own."""
        candidates, rows = list(reference.labels), []
        added: dict[str, int] = {}
        for sample in plan:
            label = reference.find(sample.prompt)
            if label is None:
                label = added.setdefault(sample.prompt, len(candidates))
                if label == len(candidates):
                    candidates.append((sample.prompt,))
            rows.append(label)
        return Trials(list(plan), word, reference, candidates, np.array(rows, dtype=np.int64))

    def hits(self, best_N: np.ndarray, *, start: int = 0) -> Hits:
        """What the best captions of the samples from `start` on hold, and if they are right."""
        part = self.plan[start : start + len(best_N)]
        own = [
            self.reference.holds_own_words(self.candidates[best], sample.prompt)
            for best, sample in zip(best_N, part, strict=True)
        ]
        own_N = np.array(own, bool)
        word_N = np.array([holds(self.candidates[best], self.word) for best in best_N], bool)
        old_N = np.array([sample.group == WITHOUT for sample in part], bool)
        entirely_N = best_N == self.truth_N[start : start + len(best_N)]
        right_N = np.where(old_N, own_N, word_N)
        return {WORD: word_N, OWN_WORD: own_N, ENTIRELY: entirely_N, RIGHT: right_N}

    def judged_by(self, scorer: Scorer) -> np.ndarray:
        """Bool (N): the samples whose prompt the scorer can judge."""
        prompts = dict.fromkeys(sample.prompt for sample in self.plan)
        known = {prompt: scorer.cannot(prompt) is None for prompt in prompts}
        return np.array([known[sample.prompt] for sample in self.plan], bool)


def summarize(
    scorer: str,
    trials: Trials,
    judged_N: np.ndarray,
    after_N: np.ndarray,
    before_N: np.ndarray | None,
    *,
    seed: int,
) -> tuple[list[Figure], list[Row]]:
    """The shares of each group, and every sample of every prompt, that one scorer can judge.

    Args:
        scorer: its name.
        trials: what was asked for.
        judged_N: the samples that it can judge.
        after_N, before_N: the candidate it takes each sample for; None if there is no earlier
            checkpoint.
        seed: of the resampling.
    """
    after, before = trials.hits(after_N), None if before_N is None else trials.hits(before_N)
    figures = list(_make_figures(scorer, trials, judged_N, after, before, seed))
    later = _predictions(trials, after_N, after)
    earlier: Sequence[verdict.Prediction | None] = [None] * len(later)
    if before_N is not None and before is not None:
        earlier = _predictions(trials, before_N, before)
    rows: dict[str, Row] = {}
    for number, sample in enumerate(trials.plan):
        if judged_N[number]:
            row = rows.setdefault(sample.prompt, Row(scorer, sample.group, sample.prompt, []))
            row.looks.append(verdict.Pair(sample.seed, later[number], earlier[number]))
    return figures, list(rows.values())


def _make_figures(
    scorer: str, trials: Trials, judged_N: np.ndarray, after: Hits, before: Hits | None, seed: int
) -> Iterator[Figure]:
    numbers = {p: n for n, p in enumerate(dict.fromkeys(s.prompt for s in trials.plan))}
    prompts_N = np.array([numbers[s.prompt] for s in trials.plan], dtype=np.int64)
    group_N = np.array([s.group for s in trials.plan])
    chosen = {group: group_N == group for group in (verdict.SHOWN, verdict.NEVER)}
    chosen[WITH], chosen[WITHOUT] = group_N != WITHOUT, group_N == WITHOUT
    for group, members_N in chosen.items():
        rows = members_N & judged_N
        if not rows.any():
            continue
        of = prompts_N[rows].tolist()
        measures = (OWN_WORD, ENTIRELY, verdict.FALSE) if group == WITHOUT else (WORD, ENTIRELY)
        for measure in measures:
            mark = WORD if measure == verdict.FALSE else measure
            later, was, change = after[mark][rows], None, None
            if before is not None:
                earlier = before[mark][rows]
                was = share(earlier, of, seed=seed)
                change = difference(later, earlier, of, seed=seed)
            now = share(later, of, seed=seed)
            yield Figure(scorer, group, measure, len(set(of)), now, was, change)


def _predictions(trials: Trials, best_N: np.ndarray, marks: Hits) -> list[verdict.Prediction]:
    return [
        verdict.Prediction(trials.candidates[best][0], bool(right), bool(entirely))
        for best, right, entirely in zip(best_N, marks[RIGHT], marks[ENTIRELY], strict=True)
    ]
