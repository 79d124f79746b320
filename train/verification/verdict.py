"""What a verification found, and the rule that turns it into a verdict."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from curate.errors import ExitCode
from train.verification.intervals import FEW_GROUPS, Share
from train.verification.scorers import Accuracy

TRUST = 0.9  # share of real images a scorer must have right before it is relied upon

WITH, SHOWN, NEVER, WITHOUT = "with the word", "shown", "never shown", "without the word"
WORD, OWN_WORD, ENTIRELY, FALSE = "word", "own word", "entirely right", "false positive"


@dataclass(frozen=True)
class Rule:
    """When a word works."""

    at_least: float = 0.9  # share of samples that must show the word
    at_most_loss: float = 0.02  # share of samples that old words may lose


@dataclass(frozen=True)
class Figure:
    """One share, as one scorer sees it."""

    scorer: str
    group: str  # SHOWN, NEVER, WITH or WITHOUT
    measure: str  # WORD, OWN_WORD, ENTIRELY or FALSE
    prompts: int
    after: Share
    before: Share | None
    change: Share | None  # after minus before on the same prompts and seeds


@dataclass(frozen=True)
class Prediction:
    """What a scorer takes one image for."""

    caption: str
    right: bool  # the caption holds what the group asks for: the word, or the prompt's own
    entirely: bool  # the caption is the prompt


@dataclass(frozen=True)
class Pair:
    """One sample, of the same seed after and before."""

    seed: int
    after: Prediction
    before: Prediction | None


@dataclass(frozen=True)
class Row:
    """The samples of one prompt, as one scorer sees them."""

    scorer: str
    group: str  # SHOWN, NEVER, WITH or WITHOUT
    prompt: str
    looks: list[Pair]


@dataclass(frozen=True)
class Judge:
    """A scorer and how far it is relied upon."""

    name: str
    accuracy: Accuracy
    refit: Accuracy | None = None  # after it learnt from the held-out images too

    @property
    def knows_words(self) -> bool:
        """Right often enough about the rarest word of a real image."""
        return self.accuracy.own_word >= TRUST

    @property
    def knows_captions(self) -> bool:
        """Right often enough about whole captions of real images."""
        return self.accuracy.entirely >= TRUST


@dataclass(frozen=True)
class Report:
    """Everything that was found about one word."""

    word: str
    works: bool
    reasons: list[str]  # why it does or does not
    figures: list[Figure]
    judges: list[Judge]
    rule: Rule
    samples: int  # asked for, behind each figure
    seed: int
    prompts: dict[str, list[str]]  # group -> prompts sampled
    after: str = ""  # SHA-256 of the checkpoint
    before: str | None = None
    notes: list[str] = field(default_factory=list)  # what else a reader should know
    rows: list[Row] = field(default_factory=list)  # every sample

    @property
    def exit_code(self) -> ExitCode:
        """0 if the word works, else 1."""
        return ExitCode.DONE if self.works else ExitCode.FOUND

    def to_json(self) -> bytes:
        """`verify.json`; equal reports give equal bytes."""
        values = asdict(self)
        for value, judge in zip(values["judges"], self.judges, strict=True):
            value |= {"knows_words": judge.knows_words, "knows_captions": judge.knows_captions}
        plain = _null_for_nonfinite(values)
        return json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def decide(
    figures: Sequence[Figure], judges: Sequence[Judge], rule: Rule
) -> tuple[bool, list[str]]:
    """Whether the word works, and a sentence for each thing that decides it.

    Every scorer that is right about the words of real images must agree that

    1. the word shows in at least `rule.at_least` of the samples, of shown and of never shown
       prompts alike;
    2. that is more than before: the whole interval of the change is above zero, unless the word
       already showed that often;
    3. old words lose at most `rule.at_most_loss` of their samples; and so that a word is not kept
       at the price of the rest of its caption, a scorer that is right about whole captions must
       not show a loss of more than that with all of its interval.

    Shares in 1 and 3 are point estimates; their intervals are reported. Our choice.
    """
    trusted = [judge for judge in judges if judge.knows_words]
    if not trusted:
        return False, ["no scorer is right often enough on real images to be relied upon"]
    failed: list[str] = []
    met: list[str] = []
    for judge in trusted:
        for figure in (f for f in figures if f.scorer == judge.name):
            for holds, sentence in _judge_figure(figure, judge, rule):
                (met if holds else failed).append(f"{judge.name}: {sentence}")
    return not failed, failed or met


def _judge_figure(figure: Figure, judge: Judge, rule: Rule) -> Iterator[tuple[bool, str]]:
    after, before, change, loss = figure.after, figure.before, figure.change, rule.at_most_loss
    if figure.measure == WORD:
        where = f"the word shows in {after.value:.1%} of samples of prompts {_which(figure.group)}"
        yield after.value >= rule.at_least, f"{where} (asked: {rule.at_least:.0%})"
        if before and change and figure.group == WITH:
            worked = before.value >= rule.at_least
            also = " and it worked before" if worked else ""
            yield worked or change.low > 0, f"the change is {_change(change)}{also}"
    if figure.measure == OWN_WORD and change:
        sentence = f"old words change by {_change(change)} (allowed: -{loss:.0%})"
        yield -change.value <= loss + 1e-9, sentence
    if (figure.measure, figure.group) == (ENTIRELY, WITHOUT) and change and judge.knows_captions:
        sentence = f"old captions change by {_change(change)} (allowed: not surely over the limit)"
        yield change.high >= -loss, sentence


def list_cautions(figures: Sequence[Figure], rule: Rule) -> list[str]:
    """What the figures cannot tell: of few prompts, and of shares too close to a limit."""
    found = []
    by_group = {f.group: f for f in figures if f.measure in (WORD, OWN_WORD)}
    for group in (WITH, WITHOUT):
        if group in by_group and by_group[group].prompts < FEW_GROUPS:
            count = by_group[group].prompts
            found.append(
                f"only {count} prompt{'s' * (count > 1)} {group}: the intervals tell of these, "
                "and little of others"
            )
    decided = {WORD: rule.at_least, OWN_WORD: -rule.at_most_loss}
    close = [
        f"{f.scorer} on prompts {_which(f.group)}"
        for f in figures
        if f.measure in decided
        and (one := f.after if f.measure == WORD else f.change)
        and one.low < decided[f.measure] < one.high
    ]
    if close:
        found.append(
            f"too close to the limit to be sure, more samples would tell: {', '.join(close)}"
        )
    return found


def describe_accuracy(judge: Judge) -> str:
    """How far a scorer is relied upon, as a sentence."""
    seen = judge.accuracy
    line = (
        f"{judge.name}: right on {seen.entirely:.1%} of {seen.n} {seen.on}, "
        f"on their rarest word {seen.own_word:.1%}"
    )
    if judge.refit:
        line += f"; on {judge.refit.n} {judge.refit.on}, {judge.refit.entirely:.1%}"
    if not judge.knows_words:
        line += f"; under {TRUST:.0%} on words, so it has no say in the verdict"
    elif not judge.knows_captions:
        line += f"; under {TRUST:.0%} on captions, so only its words count in the verdict"
    return line


def _change(change: Share) -> str:
    return f"{change.value:+.1%} [{change.low:+.1%}, {change.high:+.1%}]"


def _which(group: str) -> str:
    return group if group in (WITH, WITHOUT) else f"{WITH} that were {group}"


def _null_for_nonfinite(value: Any) -> Any:
    """Floats that JSON does not know become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _null_for_nonfinite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_null_for_nonfinite(v) for v in value]
    return value
