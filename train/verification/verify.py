"""Does the word work now? Sample with and without it, before and after, and let scorers look.

Letters in names: N samples, H and W pixels.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from curate.errors import InputError, UsageError
from curate.formats.model import find_model
from curate.prompts.reader import read_texts
from curate.system.files import write_bytes
from curate.system.progress import SILENT, Progress
from train.data import dataset
from train.figures import grids
from train.verification import choose_scorers, page
from train.verification.contrastive import Contrastive
from train.verification.gallery import Gallery
from train.verification.generate import SAMPLE_CHUNK, CachedSampler, Generate, Sampler
from train.verification.metrics import Trials, make_figures, make_rows
from train.verification.prompts import Sample, group_prompts, plan_samples, read_captions
from train.verification.scorers import Reference, Scorer, contains
from train.verification.text import print_reports
from train.verification.verdict import WITHOUT, Judge, Report, Rule, decide, list_cautions

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Rule", "Sample", "evaluate", "print_reports", "verify_word", "verify_words"]

SHEET_ROWS = (4, 4)  # rows of verify.png: prompts with the word and without it
SHEET_COLUMNS = 4  # images a row, before and after


def verify_words(
    checkpoint: Path,
    *,
    words: Sequence[str],
    out: Path | None = None,
    prompts: Path | None = None,
    progress: Progress = SILENT,
    **options: object,
) -> list[Report]:
    """Verify several words, each as `verify_word` does, each in a folder of its own below `out`.

    What is drawn for them is read from the file `prompts`, as `read_texts` takes it.

    A word that is verified beside others does not count among their old words. One word alone is
    written into `out` itself.

    Raises:
        UsageError: no word, or one word twice.
        InputError: as `verify_word`.
    """
    folders = [_folder_name(word) for word in words]
    if not words or len(set(folders)) < len(folders):
        raise UsageError("--word", "name each word once", fix="--word mage --word elf")
    top = out or _default_folder(checkpoint)
    texts = read_texts(prompts, progress=progress) if prompts else None  # once: it may be a pipe
    options |= {"prompts": texts, "progress": progress}
    reports = []
    for word, name in zip(words, folders, strict=True):
        folder = top if len(words) == 1 else top / name
        apart = [other for other in words if other != word]
        reports.append(verify_word(checkpoint, word=word, others=apart, out=folder, **options))  # type: ignore[arg-type]
    return reports


def verify_word(  # noqa: PLR0913 one a documented parameter
    checkpoint: Path,
    *,
    word: str,
    shards: Path,
    before: Path | None = None,
    trained: Path | Sequence[Path] | None = None,
    prompts: Sequence[str] | None = None,
    samples: int = 200,
    scorer: str = "nearest,contrastive",
    out: Path | None = None,
    seed: int = 0,
    rule: Rule | None = None,
    others: Sequence[str] = (),
    device: str = "auto",
    load: Callable[[Path], Sampler] | None = None,
    progress: Progress = SILENT,
) -> Report:
    """Verify a checkpoint and write `verify.json`, `verify.html` and `verify.png`.

    Images are kept in `out` as they are sampled and the contrastive scorer beside the shards, so
    the same command goes on where it was stopped (in `out` where the shards' folder is not ours to
    write). One checkpoint and `train.verification.generate.SAMPLE_CHUNK` images are in memory at
    a time, besides what scorers keep of the true images.

    Args:
        checkpoint: run folder or model file after training.
        word: the word, or words in a row.
        shards: every true image, the word's included: what scorers compare with.
        before: the checkpoint it was trained from.
        trained: shards it was trained on, which tell prompts shown from prompts never shown.
        prompts: what to draw; None for the captions of `shards`. If none of them is without the
            word, the captions of `shards` are asked for as old words.
        samples: images behind each figure, at least.
        scorer: names between commas, as `train.verification.choose_scorers.parse_scorers` reads
            them.
        out: folder; None for a folder `verify` beside the checkpoint.
        seed: of the samples and of the resampling.
        rule: when the word works.
        others: other new words, which are no old words.
        device: for sampling.
        load: reads a checkpoint; None for `train.sampling.sampler.load_sampler`.
        progress: counts images; told what a user should know, such as prompts left out.

    Raises:
        InputError: a checkpoint, shards or prompts cannot be used, or hold no such word.
        UsageError: no such scorer.
    """
    chosen = choose_scorers.parse_scorers(scorer)
    if before is not None:
        find_model(before)
    folder = out or _default_folder(checkpoint)
    samplers, own_cache = _Samplers(folder, load, device), folder / dataset.CACHE
    size = samplers.open(checkpoint, "after").sampler.size
    reference = Reference.load(shards, size, cache=own_cache)
    shown = read_captions([trained] if isinstance(trained, Path) else trained) if trained else None
    groups = group_prompts(
        reference, word, prompts, shown, samples=samples, seed=seed, others=others
    )
    samplers.prompts = [prompt for texts in groups.values() for prompt in texts]
    notes = _collect_notes(reference, groups, prompts, before)
    scorers = choose_scorers.select_scorers(
        chosen,
        _check_reference(reference, word, shards),
        groups,
        cache=dataset.cache_folder(shards, own_cache),
        device=device,
        progress=progress,
        notes=notes,
    )
    if not scorers:
        raise InputError(
            shards if prompts is None else "--prompts",
            "; ".join(notes),
            fix="--scorer open_clip, or other prompts",
        )
    for note in notes:
        progress.say(note)
    report, gallery = evaluate(
        samplers.sample_with(checkpoint, "after"),
        samplers.sample_with(before, "before") if before else None,
        word=word,
        groups=groups,
        reference=reference,
        scorers=scorers,
        samples=samples,
        seed=seed,
        rule=rule or Rule(),
        progress=progress,
    )
    after, earlier = samplers.digests["after"], samplers.digests.get("before")
    found = list(report.notes)
    if after == earlier:
        found.append("--before is the same checkpoint: nothing can have changed")
    for note in found:
        progress.say(note)
    report = replace(report, after=after, before=earlier, notes=notes + found)
    _write_report(folder, report, gallery)
    return report


def evaluate(  # noqa: PLR0913 one a documented parameter
    after: Generate,
    before: Generate | None,
    *,
    word: str,
    groups: Mapping[str, Sequence[str]],
    reference: Reference,
    scorers: Sequence[Scorer],
    samples: int = 200,
    seed: int = 0,
    rule: Rule,
    progress: Progress = SILENT,
) -> tuple[Report, Gallery]:
    """Sample, score and judge; returns the report and some of the images.

    Args:
        after, before: sample what they are given with one checkpoint; `before` is not called
            until `after` has sampled everything.
        word: the word.
        groups: group -> prompts, as `group_prompts` makes them.
        reference: the true images.
        scorers: who looks; each weighs as its accuracy allows.
        samples: images a group, at least.
        seed: of the samples and of the resampling.
        rule: when the word works.
        progress: counts images.
    """
    plan = plan_samples(groups, samples=samples, seed=seed)
    gallery = Gallery.of(plan, reference)
    evaluator = _Evaluator(Trials.of(plan, word, reference), list(scorers), gallery, progress)
    later = evaluator.evaluate(after, "after")
    earlier = evaluator.evaluate(before, "before") if before else None
    figures, rows = [], []
    for scorer in scorers:
        trials, judged_N = evaluator.trials, evaluator.judged[scorer.name]
        best, was = [
            None if found is None else (found[scorer.name], trials.hits(found[scorer.name]))
            for found in (later, earlier)
        ]
        assert best is not None
        figures += make_figures(scorer.name, trials, judged_N, best[1], was and was[1], seed=seed)
        rows += make_rows(scorer.name, trials, judged_N, best, was)
    judges = [
        Judge(s.name, s.accuracy, s.refit if isinstance(s, Contrastive) else None) for s in scorers
    ]
    works, reasons = decide(figures, judges, rule)
    prompts = {group: list(texts) for group, texts in groups.items()}
    report = Report(word, works, reasons, figures, judges, rule, samples, seed, prompts)
    return replace(report, rows=rows, notes=evaluator.notes + list_cautions(figures, rule)), gallery


@dataclass
class _Evaluator:
    """Shows samples to all scorers, chunk by chunk."""

    trials: Trials
    scorers: list[Scorer]
    gallery: Gallery
    progress: Progress
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.judged = {scorer.name: self.trials.judged_by(scorer) for scorer in self.scorers}

    def evaluate(self, draw: Generate, when: str) -> dict[str, np.ndarray]:
        """Scorer -> the candidate that it takes each sample for, int64 (N)."""
        plan, flat = self.trials.plan, 0
        best: dict[str, list[np.ndarray]] = {scorer.name: [] for scorer in self.scorers}
        self.progress.count(f"sampling {when}", 0, len(plan))
        for start in range(0, len(plan), SAMPLE_CHUNK):
            part = plan[start : start + SAMPLE_CHUNK]
            images_NHWC = draw(part)
            flat += int((np.ptp(images_NHWC.reshape(len(part), -1), axis=1) == 0).sum())
            wrong_N = np.zeros(len(part), bool)
            for scorer in self.scorers:
                best_N = _best_candidates(scorer, images_NHWC, self.trials)
                best[scorer.name].append(best_N)
                right_N = self.trials.correct(self.trials.hits(best_N, start=start), start=start)
                wrong_N |= ~right_N & self.judged[scorer.name][start : start + len(part)]
            if when == "after":
                self.gallery.keep_after(part, images_NHWC, wrong_N)
            else:
                self.gallery.keep_before(part, images_NHWC)
            self.progress.count(f"sampling {when}", start + len(part), len(plan))
        if flat:
            self.notes.append(
                f"{flat} of {len(plan)} images sampled {when} training are one flat shade: "
                "is the checkpoint whole?"
            )
        return {name: np.concatenate(parts) for name, parts in best.items()}


@dataclass
class _Samplers:
    """Checkpoints that sample in turn: only the last one opened is in memory."""

    folder: Path
    load: Callable[[Path], Sampler] | None
    device: str
    prompts: list[str] = field(default_factory=list)  # all that will be sampled
    digests: dict[str, str] = field(default_factory=dict)
    _open: tuple[Path, CachedSampler] | None = None

    def open(self, path: Path, when: str) -> CachedSampler:
        """Read the checkpoint, unless it is the one in memory."""
        if self._open is None or self._open[0] != path:
            self._open = None  # before the next is read
            self._open = path, CachedSampler(path, self.load, self.device)
        self.digests[when] = self._open[1].digest
        return self._open[1]

    def sample_with(self, path: Path, when: str) -> Generate:
        """Samples with this checkpoint, read when it is first needed."""

        def draw(samples: Sequence[Sample]) -> np.ndarray:
            drawer = self.open(path, when)
            return drawer.generator(self.folder, when, prompts=self.prompts)(samples)

        return draw


def _best_candidates(scorer: Scorer, images_NHWC: np.ndarray, trials: Trials) -> np.ndarray:
    scores = scorer.scores(images_NHWC, trials.candidates)
    if scores.shape != (len(images_NHWC), len(trials.candidates)) or np.isnan(scores).any():
        problem = f"gave scores of shape {scores.shape}, or some that are no numbers"
        raise InputError(f"--scorer {scorer.name}", problem, fix="another scorer")
    best: np.ndarray = scores.argmax(1)
    return best


def _check_reference(reference: Reference, word: str, shards: Path) -> Reference:
    """The reference, if it shows anything without the word: else every scorer must say yes."""
    if all(any(contains(text, word) for text in said) for said in reference.labels):
        raise InputError(
            shards,
            f"every true image shows {word!r}, so that no scorer could miss it",
            fix="name shards that hold other images too",
        )
    return reference


def _collect_notes(
    reference: Reference,
    groups: Mapping[str, Sequence[str]],
    asked: Sequence[str] | None,
    before: Path | None,
) -> list[str]:
    notes = []
    if reference.left_out:
        key, why = next(iter(reference.left_out.items()))
        notes.append(f"{len(reference.left_out)} true images left out, such as {key}: {why}")
    old = groups.get(WITHOUT, ())
    if not old:
        notes.append(
            "nothing was asked for without the word: that old words are kept was not checked"
        )
    elif asked is not None and not set(old) & set(asked):
        notes.append("no prompt is without the word: old words are those of the true captions")
    if before is None:
        notes.append("no earlier checkpoint (--before): that old words are kept was not checked")
    return notes


def _write_report(folder: Path, report: Report, gallery: Gallery) -> None:
    """The report as JSON, as a page, and its first images as a sheet."""
    write_bytes(folder / "verify.json", report.to_json())
    facts = {"word": report.word, "seed": str(report.seed), "checkpoint": report.after}
    grids.save_png(_before_after_sheet(report, gallery), folder / "verify.png", facts)
    write_bytes(folder / "verify.html", page.render_page(report, gallery).encode())


def _default_folder(checkpoint: Path) -> Path:
    return (checkpoint if checkpoint.is_dir() else checkpoint.parent) / "verify"


def _folder_name(word: str) -> str:
    """The word itself where that is a plain file name, else with a hash of it."""
    plain = "".join(c if c.isalnum() else "-" for c in word.casefold())[:40]
    if plain == word:
        return plain
    return f"{plain}-{hashlib.sha256(word.encode('utf-8', 'replace')).hexdigest()[:8]}"


def _before_after_sheet(report: Report, gallery: Gallery) -> "Image":
    """Before and after of a few prompts with the word and a few without, evenly spread."""
    kept: dict[bool, dict[str, list[int]]] = {True: {}, False: {}}
    old = set(report.prompts.get(WITHOUT, ()))
    for prompt, seed in gallery.after:
        kept[prompt in old].setdefault(prompt, []).append(seed)
    rows = []
    for is_old, count in zip((False, True), SHEET_ROWS, strict=True):
        prompts = sorted(kept[is_old])
        for prompt in prompts[:: max(1, len(prompts) // count)][:count]:
            keys = [(prompt, seed) for seed in kept[is_old][prompt][:SHEET_COLUMNS]]
            before = np.stack([gallery.before[key] for key in keys]) if gallery.before else None
            after = np.stack([gallery.after[key] for key in keys])
            rows.append(grids.Comparison(prompt, before, after))
    return grids.draw_before_after(rows)
