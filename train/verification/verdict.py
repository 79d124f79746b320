"""What a verification found, and the rule that turns it into a verdict."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from curate.errors import ExitCode
from train.verification.decisions import Verdict, judge_at_least, judge_at_most, what_helps
from train.verification.intervals import FEW_GROUPS, Share
from train.verification.rates import Corrected, Rates

MIN_YOUDEN = 0.2  # least lower bound of sensitivity minus false positives: a scorer below it barely
# tells the word from its neighbours (our choice)
NOTHING_TO_FORGET = 0.2  # share below which old words surely stood before: they cannot be forgotten

WITH, SHOWN, NEVER, WITHOUT = "with the word", "shown", "never shown", "without the word"
STYLE = "in an old style"  # the word, in the style of the old images
ASKING = (WITH, SHOWN, NEVER)  # groups that ask for the word, in whichever style
WORD, OWN_WORD, ENTIRELY, FALSE = "word", "own word", "entirely right", "false positive"
OLD_STYLE, COPY = "old style", "copy"


@dataclass(frozen=True)
class Rule:
    """When a word works."""

    at_least: float = 0.9  # share of samples that must show the word
    at_most_loss: float = 0.05  # share of samples that old words may lose
    at_most_unasked: float = 0.05  # share of samples that may show the word where nobody asked
    at_least_style: float = 0.8  # share that must keep an old style they are asked for in
    at_most_copies: float = 0.1  # share that may be copies of training images


@dataclass(frozen=True)
class Figure:
    """One share, as one scorer sees it, corrected for what it errs on real images."""

    scorer: str
    group: str  # SHOWN, NEVER, WITH, STYLE or WITHOUT
    measure: str  # WORD, OWN_WORD, ENTIRELY, FALSE, OLD_STYLE or COPY
    prompts: int
    after: Corrected
    before: Corrected | None
    change: Corrected | None  # after minus before on the same prompts and seeds, corrected
    real: Share | None  # of real, unseen images, not corrected, as `after.raw` is of drawn ones
    counts: bool  # whether the verdict rests on it


@dataclass(frozen=True)
class Look:
    """What a scorer says of one image."""

    right: bool  # it shows what the group asks for: the word, or the prompt's own
    entirely: bool | None  # it shows all that the prompt says; None if that cannot be told
    taken_for: str = ""  # the caption it is taken for, where the scorer has one


@dataclass(frozen=True)
class Pair:
    """One sample, of the same seed after and before."""

    seed: int
    after: Look
    before: Look | None
    run: int = 0  # of several checkpoints, which


@dataclass(frozen=True)
class Row:
    """The samples of one prompt, as one scorer sees them."""

    scorer: str
    group: str
    prompt: str
    looks: list[Pair]


@dataclass(frozen=True)
class Judge:
    """A scorer and how far it is relied upon."""

    name: str
    rates: Mapping[str, Rates]  # by measure, on real images it has not seen
    apart: str = ""  # how true images with the word keep apart by their looks; "": they do not
    neighbours: str = ""  # the word whose images are most often taken to show the word
    closed: tuple[str, ...] = ()  # measures taken on altered copies of the images compared with
    digest: str = ""  # SHA-256 of its weights, where it has some that were given
    halved: bool = False  # measured on the half of the images that had no part in the choice

    def has_say(self, measure: str) -> bool:
        """Whether it surely tells images that show it from such as do not, and from look-alikes."""
        if measure == WORD and self.apart:
            return False
        good = measure in self.rates and self.rates[measure].youden.low > MIN_YOUDEN
        return good and (measure not in self.closed or self.has_say(WORD))


@dataclass(frozen=True)
class Finding:
    """One demand of the rule, and how it was met."""

    verdict: Verdict
    sentence: str
    helps: str = ""  # what would decide it, where it cannot be told


@dataclass(frozen=True)
class Report:
    """Everything that was found about one word."""

    word: str
    verdict: Verdict
    findings: list[Finding]  # what the verdict rests on, the decisive first
    figures: list[Figure]
    judges: list[Judge]
    chosen: Mapping[str, str]  # measure -> the scorer that counts
    rule: Rule
    samples: int  # asked for, behind each figure
    seed: int
    prompts: dict[str, list[str]]  # group -> prompts sampled
    after: list[dict[str, Any]]  # what drew: kind and hashes, a checkpoint each
    before: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)  # what else a reader should know
    rows: list[Row] = field(default_factory=list)  # every sample

    @property
    def exit_code(self) -> ExitCode:
        """0 if the word works, 1 if it does not, 6 if that cannot be told."""
        return {
            Verdict.WORKS: ExitCode.DONE,
            Verdict.FAILS: ExitCode.FOUND,
            Verdict.UNDECIDED: ExitCode.UNDECIDED,
        }[self.verdict]

    def to_json(self) -> bytes:
        """`verify.json`; equal reports give equal bytes."""
        plain = _null_for_nonfinite(asdict(self))
        for value, judge in zip(plain["judges"], self.judges, strict=True):
            value["has_say"] = {measure: judge.has_say(measure) for measure in judge.rates}
            value["sentence"] = describe_judge(judge, WORD)
        return json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def join_exit_codes(reports: Sequence[Report]) -> ExitCode:
    """1 if any word does not work, else 6 if any cannot be told, else 0."""
    codes = {report.exit_code for report in reports}
    order = (ExitCode.FOUND, ExitCode.UNDECIDED, ExitCode.DONE)
    return next(code for code in order if code in codes)


def decide(
    figures: Sequence[Figure], judges: Sequence[Judge], chosen: Mapping[str, str], rule: Rule
) -> tuple[Verdict, list[Finding]]:
    """Whether the word works, and a sentence for each thing that decides it.

    Of every demand the 95 % interval of the corrected share decides: met if all of it lies within
    the limit, failed if all of it lies beyond, else it cannot be told.

    1. The word shows in at least `rule.at_least` of the samples, of shown and of never shown
       prompts alike;
    2. that is more than before, unless the word already showed that often;
    3. old words lose at most `rule.at_most_loss` of their samples, unless they stood near nothing
       before; and so that a word is not kept at the price of the rest of its caption, whole
       captions do not surely lose more than that;
    4. in samples that do not ask for it the word shows in at most `rule.at_most_unasked` more than
       before, or in at most so many where there is nothing earlier;
    5. asked for in the style of the old images, at least `rule.at_least_style` have that style;
    6. at most `rule.at_most_copies` are copies of training images.

    It does not work if one demand failed, and works if all are met.
    """
    findings = [found for f in figures if f.counts for found in _judge_figure(f, rule)]
    if WORD not in chosen:
        best = max(judges, key=lambda judge: judge.rates[WORD].youden.value, default=None)
        why = f"; the best is {describe_judge(best, WORD)}" if best else ""
        sentence = f"no scorer surely tells the word from its neighbours on real images{why}"
        helps = "another --scorer, or more real images with the word and of its neighbours"
        if judges and judges[0].apart:
            helps = "add real images to --shards that look like those of the word and lack it"
        findings.insert(0, Finding(Verdict.UNDECIDED, sentence, helps))
    order = (Verdict.FAILS, Verdict.UNDECIDED, Verdict.WORKS)
    findings.sort(key=lambda found: order.index(found.verdict))
    return (findings[0].verdict if findings else Verdict.UNDECIDED), findings


def _judge_figure(figure: Figure, rule: Rule) -> Iterator[Finding]:
    after, before, change = figure.after, figure.before, figure.change
    asked, where = _which(figure.group), f"{figure.scorer}: "
    share = _percent(after.widest)
    if figure.measure == WORD:
        sentence = f"{where}the word shows in {share} of samples of prompts {asked}"
        yield _find(after, rule.at_least, f"{sentence} (asked: {rule.at_least:.0%})")
    if figure.measure == WORD and figure.group == WITH and before and change:
        sentence = f"{where}the change is {_percent(change.widest, '+')}"
        if before.share.low >= rule.at_least:
            yield Finding(Verdict.WORKS, f"{sentence}, and it worked before")
        else:
            yield _find(change, 0, sentence)
    if figure.measure in (OWN_WORD, ENTIRELY) and figure.group == WITHOUT and before and change:
        what = "old words" if figure.measure == OWN_WORD else "old captions"
        if before.share.high < NOTHING_TO_FORGET:
            stood = f"{what} stood at {_percent(before.share)} before: nothing to forget"
            yield Finding(Verdict.WORKS, where + stood)
        else:
            sentence = f"{where}{what} change by {_percent(change.widest, '+')}"
            found = _find(
                change, -rule.at_most_loss, f"{sentence} (allowed: -{rule.at_most_loss:.0%})"
            )
            if figure.measure == OWN_WORD or found.verdict != Verdict.UNDECIDED:
                yield found
    if figure.measure == FALSE:
        limit = rule.at_most_unasked
        sentence = f"{where}of samples that do not ask for the word {share} show it"
        if change:
            sentence += f", a change of {_percent(change.widest, '+')}"
        allowed = f" (allowed: {'+' if change else ''}{limit:.0%})"
        yield _find(change or after, limit, sentence + allowed, at_most=True)
    if figure.measure == COPY:
        limit, what = rule.at_most_copies, "are copies of training images"
        sentence = f"{where}{share} of samples {asked} {what} (allowed: {limit:.0%})"
        yield _find(after, limit, sentence, at_most=True)
    if figure.measure == OLD_STYLE:
        found = _find(after, rule.at_least_style, f"{where}{share} keep the old style asked for")
        leak = ": style leak" if found.verdict == Verdict.FAILS else ""
        asked_for = f" (asked: {rule.at_least_style:.0%}){leak}"
        yield replace(found, sentence=found.sentence + asked_for)


def _find(found: Corrected, limit: float, sentence: str, *, at_most: bool = False) -> Finding:
    """What the wider of its intervals says of a limit, and what would help if it says nothing."""
    verdict = (judge_at_most if at_most else judge_at_least)(found.widest, limit)
    helps = str(what_helps(found, limit)) if verdict == Verdict.UNDECIDED else ""
    return Finding(verdict, sentence, helps)


def list_cautions(figures: Sequence[Figure]) -> list[str]:
    """What the figures cannot tell: of few prompts."""
    found = []
    by_group = {f.group: f.prompts for f in figures if f.measure in (WORD, OWN_WORD)}
    for group in (WITH, WITHOUT):
        if (count := by_group.get(group, FEW_GROUPS)) < FEW_GROUPS:
            found.append(
                f"only {count} prompt{'s' * (count > 1)} {group}: the intervals tell of these, "
                "and little of others"
            )
    return found


def describe_judge(judge: Judge, measure: str) -> str:
    """How far a scorer is relied upon for a measure, as a clause."""
    rates = judge.rates[measure]
    what = {WORD: "the word", OWN_WORD: "its own word", ENTIRELY: "its whole caption"}[measure]
    line = (
        f"{judge.name}, which sees {what} in {_percent(rates.sensitivity)} of {rates.shown} real "
        f"images that show it and in {_percent(rates.false_positive)} of {rates.absent} others"
    )
    if rates.near and measure == WORD:
        also = f" or show {judge.neighbours}" if judge.neighbours else ""
        line += f" ({rates.hits_near} of {rates.near} that look like it{also})"
    if measure in judge.closed:
        line += ", a closed world: blurred and noised images of the set itself"
    if judge.has_say(measure):
        return line
    if measure == WORD and judge.apart:
        line += f"; {judge.apart}"
    return f"{line}: no say"


def _percent(share: Share, sign: str = "") -> str:
    if not math.isfinite(share.value):
        return f"an unknown share [{share.low:{sign}.1%}, {share.high:{sign}.1%}]"
    return f"{share.value:{sign}.1%} [{share.low:{sign}.1%}, {share.high:{sign}.1%}]"


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
