"""How often scorers are right, on real images that they have not seen.

A scorer is asked about true images what it will be asked about drawn ones: about the word, where it
is and where it is not, above all in images that look like those with it or hold the word that is
most often taken for it; about the rarest word of a caption, and of another; about whole captions,
and such as share most words with them. Answers come from images it has not learnt from, copies
left out with them. Where a caption has one image only, no other can stand for it: a scorer that
compares with all true images is then asked about that image, blurred and noised, and the figure is
called one of a closed world.

Where several scorers are asked, the one that counts is chosen on one half of the images, and what
is said of it, and of the others, was measured on the other half.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from curate.system.progress import SILENT, Progress
from curate.text import tokens
from curate.text.lemmas import is_function_word
from train.verification.looks import LookAlikes
from train.verification.metrics import COLUMNS, Trials
from train.verification.pixels import split_chunks
from train.verification.question import Question
from train.verification.rates import Rates
from train.verification.scorers import Reference, Scorer, degrade, hash_order, holds
from train.verification.verdict import ENTIRELY, OWN_WORD, WORD, Judge

MAX_SHOWN = 300  # true images that show the word, and
MAX_ABSENT = 600  # that do not, which a scorer is asked about
MAX_CAPTIONS = 400  # true images asked about their own words and captions
_MEASURES = (WORD, OWN_WORD, ENTIRELY)
MAX_ALIKE = 300  # true images that only look like it
MIN_NEIGHBOURS = 8  # images of a word that counts as often taken for it


@dataclass(frozen=True)
class Probe:
    """A question about a true image, and the right answer."""

    row: int
    question: Question
    measure: str  # WORD, OWN_WORD or ENTIRELY
    truth: bool
    near: bool = False  # asked because the image looks like one with the word


@dataclass
class Answered:
    """The probes that one scorer answered, and how."""

    scorer: Scorer
    probes: list[Probe] = field(default_factory=list)
    yes: list[bool] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)  # measures taken on altered copies


def ask_about_real_images(
    scorer: Scorer,
    trials: Trials,
    alike: LookAlikes,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Answered:
    """Put all questions whose answers are known to one scorer, of copies about one only.

    Args:
        scorer: who is asked.
        trials: what is asked for, beside the true images.
        alike: the images that only look like those with the word.
        seed: of which images are asked about, where there are many.
        progress: counts images.
    """
    reference, rows = trials.reference, np.flatnonzero(scorer.unseen_N)
    same = np.stack([reference.group_N[rows], reference.label_N[rows]])
    rows = rows[np.unique(same, axis=1, return_index=True)[1]]
    made = _make_probes(trials, rows, alike.alike_N, seed)
    probes = [p for p in made if not scorer.cannot(p.question)]
    found, by_row = Answered(scorer), defaultdict(list)
    altered = defaultdict(list)
    for probe in probes:
        alone = probe.question.whole and _is_alone(reference, probe.row)
        if not alone or not hasattr(scorer, "closed_world"):
            by_row[probe.row].append(probe)
        else:
            altered[probe.row].append(probe)
            found.closed.add(probe.measure)
    total, done, title = len(by_row) + len(altered), 0, f"measuring {scorer.name}"
    random = np.random.default_rng(seed)
    for asked, is_real in ((by_row, True), (altered, False)):
        for part in split_chunks(np.array(sorted(asked), np.int64)):
            if len(part):
                images = np.asarray(reference.pixels_NHWC[part])
                images = images if is_real else degrade(images, random)
                questions = [[p.question for p in asked[row]] for row in part]
                said = scorer.shows(images, questions, part if is_real else None)
                for row, answers in zip(part, said, strict=True):
                    found.probes += asked[row]
                    found.yes += answers.tolist()
            done += len(part)
            progress.count(title, done, total)
    return found


def choose_judges(
    answered: Sequence[Answered], trials: Trials, apart: str
) -> tuple[list[Judge], dict[str, str]]:
    """How far each scorer is relied upon, and which one counts for each measure.

    Args:
        answered: what each said of true images.
        trials: what is asked for: who can judge few prompts ranks lower.
        apart: how those with the word keep apart from others by their looks; "": they do not.

    Returns:
        A judge a scorer; measure -> the name of the scorer that has the say, where any has.
    """
    reference, several = trials.reference, len(answered) > 1
    half_N = np.array(
        [hash_order(reference.keys[g], 1)[0] & 1 for g in reference.group_N], dtype=np.int64
    )
    judges, ranks = [], []
    for one in answered:
        tally = _Tally(one, reference, half_N)
        ranks.append(
            {
                measure: max(0.0, tally.rates(measure, 0).youden.low)
                * _judged(one.scorer, trials, measure)
                for measure in _MEASURES
            }
        )
        half = 1 if several else None
        judges.append(
            Judge(
                one.scorer.name,
                {measure: tally.rates(measure, half) for measure in _MEASURES},
                apart,
                ", ".join(tally.confused(half)),
                tuple(sorted(one.closed)),
                str(getattr(one.scorer, "digest", "")),
                several,
            )
        )
    chosen: dict[str, str] = {}
    for measure in _MEASURES:
        best = max(range(len(judges)), key=lambda n: ranks[n][measure], default=None)
        if best is not None and judges[best].has_say(measure):
            chosen[measure] = judges[best].name
    return judges, chosen


def _judged(scorer: Scorer, trials: Trials, measure: str) -> float:
    """Share of the prompts about which it can answer that question."""
    prompts = dict(zip((s.prompt for s in trials.plan), trials.questions, strict=True))
    asked = [three[COLUMNS.index(measure)] for three in prompts.values()]
    return sum(q is not None and scorer.cannot(q) is None for q in asked) / max(1, len(asked))


def _make_probes(trials: Trials, rows: np.ndarray, alike_N: np.ndarray, seed: int) -> list[Probe]:
    """About the word; about own words, and captions, that the prompts ask for."""
    reference, word = trials.reference, trials.word
    order = sorted(rows.tolist(), key=lambda row: hash_order(reference.keys[row], seed))
    own = [reference.own_word(said[0]) for said in reference.labels]
    turns: Counter[str | None] = Counter()
    place = {}
    for row in order:  # every own word as often as another
        mine = own[reference.label_N[row]]
        place[row] = turns[mine]
        turns[mine] += 1
    even, has = sorted(order, key=lambda row: place[row]), reference.image_shows_word(word)
    with_word = [row for row in order if has[row]][:MAX_SHOWN]
    without = [row for row in even if not has[row]][:MAX_ABSENT]
    probes = [Probe(r, Question(word), WORD, bool(has[r])) for r in (*with_word, *without)]
    near = [row for row in even if alike_N[row]][:MAX_ALIKE]
    probes += [Probe(row, Question(word), WORD, False, near=True) for row in near]
    words = sorted({asked.text for _, asked, _ in trials.questions if asked is not None})
    for row in [row for row in even if own[reference.label_N[row]] in words][:MAX_CAPTIONS]:
        said = reference.labels[reference.label_N[row]]
        probes.append(Probe(row, Question(own[reference.label_N[row]] or ""), OWN_WORD, True))
        drawn = int.from_bytes(hash_order(reference.keys[row], seed + 2)[:4], "big")
        turned = (words[(drawn + n) % len(words)] for n in range(len(words)))
        if other := next((w for w in turned if not holds(said, w)), None):
            probes.append(Probe(row, Question(other), OWN_WORD, False))
    asked = {reference.find(prompt) for prompt in {sample.prompt for sample in trials.plan}}
    nearest = _nearest_captions(reference)
    for row in [row for row in even if reference.label_N[row] in asked][:MAX_CAPTIONS]:
        label = int(reference.label_N[row])
        probes.append(Probe(row, Question(reference.labels[label][0], True), ENTIRELY, True))
        if (alike := nearest(label)) is not None:
            probes.append(Probe(row, Question(alike, True), ENTIRELY, False))
    return probes


def _nearest_captions(reference: Reference) -> Callable[[int], str | None]:
    """Label -> the first caption of the label that shares most of its words, of those it is not;
    of equally near ones any."""
    sets = [frozenset(tokens.words(said[0])) for said in reference.labels]
    found: dict[int, str | None] = {}

    def nearest(label: int) -> str | None:
        if label not in found:
            mine = sets[label]
            shares = [len(mine & other) / max(1, len(mine | other)) for other in sets]
            shares[label] = -1.0
            most = max(shares)
            near = [n for n, share in enumerate(shares) if share == most]
            other = near[hash_order(reference.labels[label][0], 4)[0] % len(near)]
            found[label] = None if other == label else reference.labels[other][0]
        return found[label]

    return nearest


def _is_alone(reference: Reference, row: int) -> bool:
    """Whether all images of its caption are copies of one another."""
    same = reference.label_N == reference.label_N[row]
    return len(np.unique(reference.group_N[same])) == 1


@dataclass(frozen=True)
class _Tally:
    """Counts of what one scorer answered."""

    answered: Answered
    reference: Reference
    half_N: np.ndarray  # int64: half of the images that each belongs to

    def rates(self, measure: str, half: int | None) -> Rates:
        """Of one measure on one half of the images, or on all."""
        asked = [(p, yes) for p, yes in self._pairs(measure, half) if not p.near]
        shown = [yes for p, yes in asked if p.truth]
        absent = [yes for p, yes in asked if not p.truth]
        near = {p.row: yes for p, yes in self._pairs(measure, half) if p.near}
        for chosen_on, confused in self._confused(half).items() if measure == WORD else ():
            held_N = self.reference.image_shows_word(confused)
            on = 0 if half == 0 else 1 - chosen_on
            others = [(p.row, yes) for p, yes in asked if held_N[p.row] and not p.truth]
            near |= {row: yes for row, yes in others if self.half_N[row] == on}
        hits = (sum(shown), len(shown), sum(absent), len(absent))
        return Rates(*hits, sum(near.values()), len(near))

    def confused(self, half: int | None) -> list[str]:
        """The words that are most often taken for the word."""
        return sorted(set(self._confused(half).values()))

    def _confused(self, half: int | None) -> dict[int, str]:
        """Half that it was found on -> the word whose images are most often taken for it; what is
        measured on one half was found on the other."""
        found = {}
        for chosen_on in (0, 1) if half is None else (0,):
            counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
            for probe, yes in self._pairs(WORD, chosen_on):
                said = self.reference.labels[int(self.reference.label_N[probe.row])]
                words = {w for text in said for w in tokens.words(text)}
                for word in words if not (probe.truth or probe.near) else ():
                    counts[word][0] += yes
                    counts[word][1] += 1
            most = sum(not (p.truth or p.near) for p, _ in self._pairs(WORD, chosen_on)) / 2
            enough = [
                (hits / count, word)
                for word, (hits, count) in sorted(counts.items())
                if hits and MIN_NEIGHBOURS <= count <= most and not is_function_word(word)
            ]
            if enough:
                found[chosen_on] = max(enough)[1]
        return found

    def _pairs(self, measure: str, half: int | None) -> Iterator[tuple[Probe, bool]]:
        for probe, yes in zip(self.answered.probes, self.answered.yes, strict=True):
            if probe.measure == measure and half in (None, self.half_N[probe.row]):
                yield probe, yes
