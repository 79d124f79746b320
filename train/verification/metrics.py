"""From what scorers answer to figures, and to a table of prompts.

Letters in names: N samples (of several checkpoints, one after the other), Q questions a sample.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from train.verification import verdict
from train.verification.generate import Sample
from train.verification.intervals import Share
from train.verification.question import Question
from train.verification.rates import Rates, corrected_difference, corrected_share
from train.verification.scorers import Reference, Scorer
from train.verification.verdict import (
    ASKING,
    ENTIRELY,
    FALSE,
    OWN_WORD,
    STYLE,
    WITH,
    WITHOUT,
    WORD,
    Figure,
    Judge,
    Look,
    Pair,
    Row,
)

COLUMNS = (WORD, OWN_WORD, ENTIRELY)  # what is asked of every sample


@dataclass(frozen=True)
class Trials:
    """What was asked for, and what is asked about it."""

    plan: Sequence[Sample]
    word: str
    reference: Reference

    @cached_property
    def questions(self) -> list[tuple[Question | None, ...]]:
        """Of each sample, in the order of COLUMNS; None where there is nothing to ask."""
        found: dict[str, tuple[Question | None, ...]] = {}
        for prompt in dict.fromkeys(sample.prompt for sample in self.plan):
            own = self.reference.own_word(prompt)
            found[prompt] = (
                Question(self.word),
                Question(own) if own else None,
                Question(prompt, True),
            )
        return [found[sample.prompt] for sample in self.plan]

    @cached_property
    def prompt_N(self) -> np.ndarray:
        """Int64: number of each sample's prompt."""
        numbers = {p: n for n, p in enumerate(dict.fromkeys(s.prompt for s in self.plan))}
        return np.array([numbers[sample.prompt] for sample in self.plan], dtype=np.int64)

    @cached_property
    def group_N(self) -> np.ndarray:
        """Of each sample."""
        return np.array([sample.group for sample in self.plan])


@dataclass(frozen=True)
class Answers:
    """What one scorer said of some samples, in the order of COLUMNS."""

    yes_NQ: np.ndarray  # bool
    judged_NQ: np.ndarray  # bool: where it could say
    taken_for: list[str]

    @staticmethod
    def join(parts: Sequence["Answers"]) -> "Answers":
        """Several, one after the other."""
        yes, judged = ([getattr(p, n) for p in parts] for n in ("yes_NQ", "judged_NQ"))
        names = [name for part in parts for name in part.taken_for]
        return Answers(np.concatenate(yes), np.concatenate(judged), names)


def ask(scorer: Scorer, images_NHWC: np.ndarray, trials: Trials, start: int) -> Answers:
    """Put the questions of the samples from `start` on, as far as the scorer can answer them."""
    questions = trials.questions[start : start + len(images_NHWC)]
    distinct = {q for asked in questions for q in asked if q is not None}
    known = {q for q in distinct if scorer.cannot(q) is None}
    judged_NQ = np.array([[q in known for q in asked] for asked in questions], bool)
    asked_N = [[q for q in asked if q in known] for asked in questions]
    if hasattr(scorer, "best"):
        best_N, candidates = scorer.best(images_NHWC), trials.reference.candidates
        said_N = trials.reference.answers(best_N, asked_N)
        names = [candidates[best][0] for best in best_N]
    else:
        said_N, names = scorer.shows(images_NHWC, asked_N), [""] * len(images_NHWC)
    yes_NQ = np.zeros(judged_NQ.shape, bool)
    for row, said in enumerate(said_N):
        yes_NQ[row, judged_NQ[row]] = said
    return Answers(yes_NQ, judged_NQ, names)


@dataclass(frozen=True)
class Selected:
    """Some of the samples, of each of several checkpoints."""

    one_N: np.ndarray  # bool: which of the plan
    rows_N: np.ndarray  # bool: which of all, one checkpoint after the other
    prompt_N: np.ndarray  # int64: prompts of these
    run_N: np.ndarray | None  # int64: checkpoints of these; None of a single one

    @staticmethod
    def of(trials: Trials, chosen_N: np.ndarray, total: int) -> "Selected":
        """`chosen_N`: which samples of the plan; `total`: samples of all checkpoints together."""
        runs = total // max(1, len(chosen_N))
        rows_N, prompt_N = np.tile(chosen_N, runs), np.tile(trials.prompt_N, runs)
        run_N = np.repeat(np.arange(runs), len(chosen_N))[rows_N] if runs > 1 else None
        return Selected(chosen_N, rows_N, prompt_N[rows_N], run_N)

    def figure(
        self,
        names: tuple[str, str, str],
        after_N: np.ndarray,
        before_N: np.ndarray | None,
        rates: Rates,
        *,
        real: Share,
        counts: bool,
    ) -> Figure:
        """The share of hits among them, corrected for a scorer's errors.

        Args:
            names: scorer, group and measure.
            after_N: hits among all samples, of all checkpoints.
            before_N: hits among those of the earlier one.
            rates: how often the scorer errs.
            real: the share of hits among real images.
            counts: whether the verdict rests on it.
        """
        later, was, change = after_N[self.rows_N], None, None
        if before_N is not None:
            earlier = before_N[self.one_N]
            runs, one = len(later) // len(earlier), self.prompt_N[: len(earlier)]
            was = corrected_share(earlier, one, rates)
            pairs, of = np.tile(earlier, runs), self.prompt_N
            change = corrected_difference(later, pairs, of, rates, runs_N=self.run_N)
        now = corrected_share(later, self.prompt_N, rates, runs_N=self.run_N)
        return Figure(*names, len(set(self.prompt_N.tolist())), now, was, change, real, counts)


def make_figures(
    judge: Judge,
    says: set[str],
    trials: Trials,
    after: Answers,
    before: Answers | None,
) -> Iterator[Figure]:
    """The shares of each group, as one scorer sees them, corrected for its errors.

    Args:
        judge: the scorer, and how often it errs.
        says: measures on which it has the say.
        trials: what was asked for.
        after: of one checkpoint or several, one after the other.
        before: of the earlier checkpoint.
    """
    members = {group: trials.group_N == group for group in (verdict.SHOWN, verdict.NEVER)}
    members |= {WITH: np.isin(trials.group_N, ASKING), WITHOUT: trials.group_N == WITHOUT}
    for group, in_group_N in members.items():
        for measure in (OWN_WORD, ENTIRELY, FALSE) if group == WITHOUT else (WORD, ENTIRELY):
            about = WORD if measure == FALSE else measure
            column, rates = COLUMNS.index(about), judge.rates[about]
            one_N = in_group_N & after.judged_NQ[: len(trials.plan), column]
            if one_N.any():
                asked = Selected.of(trials, one_N, len(after.yes_NQ))
                yield asked.figure(
                    (judge.name, group, measure),
                    after.yes_NQ[:, column],
                    None if before is None else before.yes_NQ[:, column],
                    rates,
                    real=rates.false_positive if measure == FALSE else rates.sensitivity,
                    counts=about in says and (measure != ENTIRELY or group == WITHOUT),
                )


def make_rows(scorer: str, trials: Trials, after: Answers, before: Answers | None) -> list[Row]:
    """Every sample of every prompt that the scorer can judge."""
    count = len(trials.plan)
    rows: dict[str, Row] = {}
    for number in range(len(after.yes_NQ)):
        run, place = divmod(number, count)
        sample = trials.plan[place]
        if sample.group == STYLE or (later := _look(after, number, sample)) is None:
            continue
        row = rows.setdefault(sample.prompt, Row(scorer, sample.group, sample.prompt, []))
        earlier = None if before is None else _look(before, place, sample)
        row.looks.append(Pair(sample.seed, later, earlier, run))
    return list(rows.values())


def _look(answers: Answers, number: int, sample: Sample) -> Look | None:
    column = COLUMNS.index(OWN_WORD if sample.group == WITHOUT else WORD)
    if not answers.judged_NQ[number, column]:
        return None
    whole = COLUMNS.index(ENTIRELY)
    right, entirely = (bool(answers.yes_NQ[number, c]) for c in (column, whole))
    known = bool(answers.judged_NQ[number, whole])
    return Look(right, entirely if known else None, answers.taken_for[number])
