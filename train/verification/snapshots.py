"""When to stop a run: the word, old words and copies along its snapshots.

Few images are drawn of every snapshot, then more of the best ones, with other seeds: what was best
by chance among many is not as good again. The curve shows where to stop; it is no verdict, which
`train verify` gives of one checkpoint, with other seeds again.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from curate.errors import InputError, UsageError
from curate.formats.model import MODEL_FILE, read_model
from curate.system import terminal
from curate.system.files import write_bytes
from curate.system.progress import SILENT, Progress
from train.checkpoints.snapshots import list_snapshots
from train.figures.share_curve import draw_share_curve
from train.size import Size
from train.verification import generate
from train.verification.generate import Sample
from train.verification.intervals import Share, format_share
from train.verification.panel import Panel, Seen
from train.verification.verdict import COPY, OWN_WORD, WITH, WITHOUT, WORD, Rule
from train.verification.verify import Models, Truth, Verification, WordTest, folder_name

FEW = 40  # images of each snapshot behind each figure, at least
BEST = 3  # snapshots of which more are drawn
HEADINGS = ("checkpoint", "images", "drawn", "word", "old words", "copies", "")
SHARES = {  # of a point, with the group and the measure that it is
    "word": (WITH, WORD),
    "old_words": (WITHOUT, OWN_WORD),
    "copies": (WITH, COPY),
}


@dataclass(frozen=True)
class Point:
    """What one checkpoint draws; a share is None where no scorer has a say."""

    checkpoint: str  # its file
    images: int  # that the run had seen in all its stages
    drawn: int  # images
    word: Share | None  # samples that show it, corrected, with the interval
    old_words: Share | None
    copies: Share | None  # samples with the word that are copies of training images

    def score(self, rule: Rule, old: float) -> float:
        """Share that shows the word, less what old words lose of the share `old`, and what copies
        there are, beyond what the rule lets pass (our choice)."""
        lost = old - self.old_words.value if self.old_words else 0.0
        copied = self.copies.value if self.copies else 0.0
        over = max(0.0, lost - rule.at_most_loss) + max(0.0, copied - rule.at_most_copies)
        return (self.word.value if self.word else 0.0) - over


@dataclass(frozen=True)
class Curve:
    """A word along a run."""

    word: str
    points: list[Point]  # of all snapshots, and of the finished model
    best: list[Point]  # of the best ones, with other and more images; the best first
    before: Point | None  # of what the run started from
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def verify_snapshots(
    test: WordTest,
    models: Models,
    truth: Truth,
    *,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> list[Curve]:
    """Draw a word's curve along the snapshots of a run, for each word asked about.

    Args:
        test: the question; `samples` are drawn of the best ones, `FEW` of the others.
        models: in `after`, the folder of one run with `snapshot_every`, finished or not; in
            `before`, what it started from.
        truth: who scores.
        out: folder for `snapshots.json` and `snapshots.png`, below a folder of the word where
            several are asked about; None for `verify` in the run's.
        progress: counts images; told what a user should know.

    Raises:
        UsageError: no run, or several.
        InputError: there are no snapshots, or as `verify_words`.
    """
    if len(models.after) != 1:
        raise UsageError("--snapshots", "takes one run", fix="name the folder of one run")
    run = models.after[0]
    stops = _stops(run)
    top, curves = out or run / "verify", []
    for word in test.words:
        folder = top / folder_name(word) if len(test.words) > 1 else top
        curve = _draw_curve(word, stops, test, models, truth, folder, progress)
        text = json.dumps(curve.to_json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        write_bytes(folder / "snapshots.json", text.encode())
        named = {name.replace("_", " "): name for name in SHARES}
        drawn = [*([curve.before] if curve.before else []), *curve.points]
        series = {
            title: [(p.images, s.value, s.low, s.high) for p in drawn if (s := _of(p, name))]
            for title, name in named.items()
        }
        draw_share_curve(series, folder / "snapshots.png")
        curves.append(curve)
    return curves


def print_curves(curves: Sequence[Curve], *, as_json: bool) -> None:
    """Print a line a checkpoint, those drawn again last; or JSON, a list."""
    if as_json:
        terminal.print_json([curve.to_json() for curve in curves])
        return
    for curve in curves:
        before = [(curve.before, "before")] if curve.before else []
        points = [(point, "") for point in curve.points]
        again = [(point, f"again, {n}. best") for n, point in enumerate(curve.best, 1)]
        rows = [
            (p.checkpoint, p.images, p.drawn, *(_cell(_of(p, n)) for n in SHARES), remark)
            for p, remark in (*before, *points, *again)
        ]
        terminal.print_table(HEADINGS, rows)


def _of(point: Point, name: str) -> Share | None:
    share: Share | None = getattr(point, name)
    return share


def _cell(share: Share | None) -> str:
    return " ".join(format_share(share) or "-")


def _stops(run: Path) -> list[tuple[Path, int]]:
    """Snapshots, and the model if it is finished: file, and images that the run had seen."""
    found: list[tuple[Path, int]] = []
    for one in list_snapshots(run):
        settings = read_model(one.path).facts.settings
        number = [Size.of(stage) for stage in settings["stages"]].index(one.stage)
        found.append((one.path, sum(settings["images"][:number]) + one.images))
    if not found:
        fix = "train with snapshot_every = 500, or so, in --config FILE"
        raise InputError(run, "keeps no snapshots", fix=fix)
    if (run / MODEL_FILE).exists():
        model = run / MODEL_FILE
        found.append((model, sum(read_model(model).facts.settings["images"])))
    return found


def _draw_curve(
    word: str,
    stops: Sequence[tuple[Path, int]],
    test: WordTest,
    models: Models,
    truth: Truth,
    folder: Path,
    progress: Progress,
) -> Curve:
    last = replace(models, after=[stops[-1][0]])
    at_work = Verification(word, test, last, truth, folder, progress)
    panel = at_work.seat()
    few = list(_fewer(panel.trials.plan, test.seed))

    def look(path: Path, images: int, plan: Sequence[Sample]) -> Point:
        return _look(path, images, plan, panel, at_work)

    earlier = look(models.before, 0, few) if models.before else None
    points = [look(path, images, few) for path, images in stops]
    old = [p.old_words.value for p in ([earlier] if earlier else points) if p.old_words]
    notes, best = list(at_work.notes), []

    def score(point: Point) -> float:
        return point.score(test.rule, max(old, default=0.0))

    if any(point.word for point in points):
        chosen = sorted(zip(points, stops, strict=True), key=lambda pair: -score(pair[0]))[:BEST]
        again = [look(path, images, panel.trials.plan) for _, (path, images) in chosen]
        best = sorted(again, key=lambda point: -score(point))
        notes.append(f"{best[0].checkpoint}: the best; train verify judges it, with another --seed")
        if best[0].images == points[-1].images:
            notes.append("it is the last of the run: more images may help")
    else:
        notes.append(f"no scorer has a say on {word!r}: which snapshot is best cannot be told")
    for note in notes:
        progress.say(note)
    return Curve(word, points, best, earlier, notes)


def _fewer(plan: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """About `FEW` samples of each group, of its prompts evenly, with other seeds than in `plan`."""
    groups: dict[str, list[str]] = {}
    for sample in plan:
        groups.setdefault(sample.group, []).append(sample.prompt)
    for group, texts in groups.items():
        prompts = list(dict.fromkeys(texts))
        some = {group: prompts[:: max(1, len(prompts) // FEW)][:FEW]}
        yield from generate.plan_samples(some, samples=FEW, seed=seed + 1)


def _look(
    path: Path, images: int, plan: Sequence[Sample], panel: Panel, at_work: Verification
) -> Point:
    """Draw what is planned with one checkpoint, and let the scorers look."""
    sampler = at_work.sampler(path, "before" if path == at_work.models.before else "after")
    asked = replace(panel, trials=replace(panel.trials, plan=plan))
    parts, start = [], 0
    for images_NHWC in sampler.sample(plan, at_work.folder, path.stem, at_work.progress):
        parts.append(asked.look(images_NHWC, start))
        start += len(images_NHWC)
    figures = asked.figures(Seen.join(parts), None)
    found = {(f.group, f.measure): f.after.share for f in figures if f.counts}
    shares = (found.get(key) for key in SHARES.values())
    return Point(str(path), images, len(plan), *shares)
