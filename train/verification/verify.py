"""Does the word work now? Sample with and without it, before and after, and let scorers look.

Letters in names: N samples, H and W pixels.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from curate.errors import InputError, UsageError
from curate.formats.model import find_model
from curate.prompts.reader import read_texts
from curate.system import terminal
from curate.system.files import write_bytes
from curate.system.progress import SILENT, Progress
from train.data import dataset
from train.figures import grids
from train.figures.grids import GridRow
from train.verification import choose_scorers, generate, page, verdict
from train.verification.contrastive import Contrastive
from train.verification.generate import CachedSampler, Sample, Sampler
from train.verification.intervals import format_share
from train.verification.metrics import RIGHT, Trials, summarize
from train.verification.scorers import Reference, Scorer, holds
from train.verification.verdict import WITHOUT, Figure, Judge, Report, Rule

__all__ = ["Rule", "Sample", "Verification", "print_reports", "verify_word", "verify_words"]

SHEET_ROWS = 4  # rows of verify.png with the word, and as many without it
SHEET_COLUMNS = 4  # images a row, before and after
COLUMNS = ("scorer", "group", "measure", "n", "prompts", "before", "after", "change")


@dataclass(frozen=True)
class Verification:
    """What a checkpoint is compared with, and how."""

    shards: Path  # every true image, the word's included: what scorers compare with
    before: Path | None = None  # the checkpoint it was trained from
    trained: Sequence[Path] = ()  # shards it was trained on: prompts shown, and never shown
    prompts: Sequence[str] | None = None  # what to draw; None for the captions of `shards`, which
    # are asked for as old words, too, if none of the prompts is without the word
    samples: int = 200  # images behind each figure, at least
    scorer: str = "nearest,contrastive"  # as `choose_scorers.parse_scorers` reads them
    rule: Rule = field(default_factory=Rule)  # when the word works
    out: Path | None = None  # folder; None for a folder `verify` beside the checkpoint
    device: str = "auto"  # for sampling
    seed: int = 0  # of the samples and of the resampling
    others: Sequence[str] = ()  # other new words, which are no old words
    load: Callable[[Path], Sampler] | None = None  # reads a checkpoint; None for `load_sampler`


def verify_words(
    checkpoint: Path,
    words: Sequence[str],
    asked: Verification,
    progress: Progress = SILENT,
    *,
    prompts: Path | None = None,
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
    top = asked.out or _default_folder(checkpoint)
    if prompts:  # read once: it may be a pipe
        asked = replace(asked, prompts=read_texts(prompts, progress=progress))
    reports = []
    for word, name in zip(words, folders, strict=True):
        folder = top if len(words) == 1 else top / name
        alone = replace(asked, out=folder, others=[other for other in words if other != word])
        reports.append(verify_word(checkpoint, word, alone, progress))
    return reports


def verify_word(
    checkpoint: Path, word: str, asked: Verification, progress: Progress = SILENT
) -> Report:
    """Verify a checkpoint and write `verify.json`, `verify.html` and `verify.png`.

    Images are kept in `out` as they are sampled and the contrastive scorer beside the shards, so
    the same command goes on where it was stopped (in `out` where the shards' folder is not ours to
    write). One checkpoint and `train.verification.generate.SAMPLE_CHUNK` images are in memory at
    a time, besides what scorers keep of the true images.

    Args:
        checkpoint: run folder or model file after training.
        word: the word, or words in a row.
        asked: what it is compared with, and how.
        progress: counts images; told what a user should know, such as prompts left out.

    Raises:
        InputError: a checkpoint, shards or prompts cannot be used, or hold no such word.
        UsageError: no such scorer.
    """
    chosen = choose_scorers.parse_scorers(asked.scorer)
    if asked.before is not None:
        find_model(asked.before)
    folder = asked.out or _default_folder(checkpoint)
    samplers = {checkpoint: CachedSampler(checkpoint, asked.load, asked.device)}
    size, cache = samplers[checkpoint].sampler.size, folder / dataset.CACHE
    reference = Reference.load(asked.shards, size, cache=cache)
    shown = generate.read_captions(asked.trained) if asked.trained else None
    samples, seed, others = asked.samples, asked.seed, asked.others
    groups = generate.group_prompts(
        reference, word, asked.prompts, shown, samples=samples, seed=seed, others=others
    )
    notes = _collect_notes(reference, groups, asked)
    if all(holds(label, word) for label in reference.labels):
        problem = f"every true image shows {word!r}, so that no scorer could miss it"
        raise InputError(asked.shards, problem, fix="name shards that hold other images too")
    cache, device = dataset.cache_folder(asked.shards, cache), asked.device
    scorers = choose_scorers.select_scorers(
        chosen, reference, groups, cache=cache, device=device, progress=progress, notes=notes
    )
    if not scorers:
        subject = asked.shards if asked.prompts is None else "--prompts"
        raise InputError(subject, "; ".join(notes), fix="--scorer open_clip, or other prompts")
    for note in notes:
        progress.say(note)
    trials = Trials.of(generate.plan_samples(groups, samples=samples, seed=seed), word, reference)
    evaluator = _Evaluator(asked, folder, trials, scorers, samplers, progress)
    report = _judge(evaluator, checkpoint, groups, notes)
    _write_report(folder, report, evaluator.gallery)
    return report


def _judge(
    evaluator: "_Evaluator", checkpoint: Path, groups: dict[str, list[str]], notes: list[str]
) -> Report:
    trials, scorers, asked = evaluator.trials, evaluator.scorers, evaluator.asked
    rule = asked.rule
    after = evaluator.evaluate(checkpoint, "after")
    before = evaluator.evaluate(asked.before, "before") if asked.before else None
    figures, rows = [], []
    for name, judged_N in evaluator.judged.items():
        was = None if before is None else before[name]
        found = summarize(name, trials, judged_N, after[name], was, seed=asked.seed)
        figures += found[0]
        rows += found[1]
    judges = [
        Judge(s.name, s.accuracy, s.refit if isinstance(s, Contrastive) else None) for s in scorers
    ]
    works, reasons = verdict.decide(figures, judges, rule)
    cautions = evaluator.notes + verdict.list_cautions(figures, rule)
    digest, earlier = evaluator.digests["after"], evaluator.digests.get("before")
    if digest == earlier:
        cautions.append("--before is the same checkpoint: nothing can have changed")
    for caution in cautions:
        evaluator.progress.say(caution)
    settings = (rule, asked.samples, asked.seed)
    return Report(
        *(trials.word, works, reasons, figures, judges, *settings, groups, digest, earlier),
        notes=notes + cautions,
        rows=rows,
    )


@dataclass
class _Evaluator:
    asked: Verification
    folder: Path  # where samples are kept
    trials: Trials
    scorers: list[Scorer]
    samplers: dict[Path, CachedSampler]  # one at a time: the checkpoint that is in memory
    progress: Progress
    notes: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)  # of the checkpoints before and after

    def __post_init__(self) -> None:
        self.gallery = page.Gallery.of(self.trials.plan, self.trials.reference)
        self.judged = {scorer.name: self.trials.judged_by(scorer) for scorer in self.scorers}

    def evaluate(self, path: Path, when: str) -> dict[str, np.ndarray]:
        """Scorer -> the candidate that it takes each sample of a checkpoint for, int64 (N)."""
        plan, flat, start = self.trials.plan, 0, 0
        best: dict[str, list[np.ndarray]] = {scorer.name: [] for scorer in self.scorers}
        if path not in self.samplers:
            self.samplers.clear()  # before the next is read
            self.samplers[path] = CachedSampler(path, self.asked.load, self.asked.device)
        self.digests[when] = self.samplers[path].digest
        for images_NHWC in self.samplers[path].sample(plan, self.folder, when, self.progress):
            part = plan[start : start + len(images_NHWC)]
            flat += int((np.ptp(images_NHWC.reshape(len(part), -1), axis=1) == 0).sum())
            wrong_N = np.zeros(len(part), bool)
            for scorer in self.scorers:
                best_N = _best_candidates(scorer, images_NHWC, self.trials)
                best[scorer.name].append(best_N)
                right_N = self.trials.hits(best_N, start=start)[RIGHT]
                wrong_N |= ~right_N & self.judged[scorer.name][start : start + len(part)]
            if when == "after":
                self.gallery.keep_after(part, images_NHWC, wrong_N)
            else:
                self.gallery.keep_before(part, images_NHWC)
            start += len(part)
        if flat:
            self.notes.append(
                f"{flat} of {len(plan)} images sampled {when} training are one flat shade: "
                "is the checkpoint whole?"
            )
        return {name: np.concatenate(parts) for name, parts in best.items()}


def _best_candidates(scorer: Scorer, images_NHWC: np.ndarray, trials: Trials) -> np.ndarray:
    scores = scorer.scores(images_NHWC, trials.candidates)
    if scores.shape != (len(images_NHWC), len(trials.candidates)) or np.isnan(scores).any():
        problem = f"gave scores of shape {scores.shape}, or some that are no numbers"
        raise InputError(f"--scorer {scorer.name}", problem, fix="another scorer")
    best: np.ndarray = scores.argmax(1)
    return best


def _collect_notes(
    reference: Reference, groups: Mapping[str, Sequence[str]], asked: Verification
) -> list[str]:
    notes, unchecked = [], "that old words are kept was not checked"
    if reference.left_out:
        key, why = next(iter(reference.left_out.items()))
        notes.append(f"{len(reference.left_out)} true images left out, such as {key}: {why}")
    old = groups.get(WITHOUT, ())
    if not old:
        notes.append(f"nothing was asked for without the word: {unchecked}")
    elif asked.prompts is not None and not set(old) & set(asked.prompts):
        notes.append("no prompt is without the word: old words are those of the true captions")
    if asked.before is None:
        notes.append(f"no earlier checkpoint (--before): {unchecked}")
    return notes


def _write_report(folder: Path, report: Report, gallery: page.Gallery) -> None:
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


def _before_after_sheet(report: Report, gallery: page.Gallery) -> Image:
    """Before and after of a few prompts with the word and a few without, evenly spread."""
    albums = {"before": gallery.before} if gallery.before else {}
    albums["after"] = gallery.after
    seeds: dict[str, list[int]] = {}
    for prompt, seed in sorted(gallery.after, key=lambda key: key[0]):
        seeds.setdefault(prompt, []).append(seed)
    old = seeds.keys() & set(report.prompts.get(WITHOUT, ()))
    rows = []
    for prompts in ([p for p in seeds if p not in old], [p for p in seeds if p in old]):
        for prompt in prompts[:: max(1, len(prompts) // SHEET_ROWS)][:SHEET_ROWS]:
            keys = [(prompt, seed) for seed in seeds[prompt][:SHEET_COLUMNS]]
            groups = [[album[key] for key in keys] for album in albums.values()]
            rows.append(GridRow(prompt, groups))
    return grids.draw_table(rows, list(albums))


def print_reports(*reports: Report, as_json: bool) -> None:
    """Print reports: tables on a terminal, one figure a line when piped, JSON if asked.

    JSON of one report is that of `verify.json`; of several words, a list of them.

    Raises:
        InputError: output is led into a file, and the disk is full.
    """
    if as_json:
        values: list[Any] = [json.loads(report.to_json()) for report in reports]
        terminal.print_json(values[0] if len(values) == 1 else values)
        return
    for report in reports:
        (_print_table if sys.stdout.isatty() else _print_lines)(report)


def _print_lines(report: Report) -> None:
    lines: list[tuple[str, ...]] = [COLUMNS]
    for f in report.figures:
        cells = _cells(f, factor=1, digits=3)
        lines.append((f.scorer, f.group, f.measure, str(f.after.n), str(f.prompts), *cells))
    lines.append((report.word, "works" if report.works else "does not work"))
    for line in (*map(verdict.describe_accuracy, report.judges), *report.reasons):
        terminal.say(line)
    terminal.write_stdout("".join("\t".join(line) + "\n" for line in lines))


def _print_table(report: Report) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    title = Text(f"{report.word}: percent of samples, with 95 % intervals")
    table = Table("scorer", "prompts", "what is right", title=title, title_justify="left")
    for name in ("n", "before", "after", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    for scorer, figures in groupby(report.figures, lambda f: f.scorer):
        table.add_section()
        for n, f in enumerate(figures):
            texts = (f"{f.group} ({f.prompts})", f.measure, str(f.after.n))
            table.add_row("" if n else escape(scorer), *texts, *map(escape, _cells(f)))
    Console().print(table)
    for line in map(verdict.describe_accuracy, report.judges):
        terminal.say(line)
    reasons = "".join(f"  {reason}\n" for reason in report.reasons)
    outcome = "works" if report.works else "does not work"
    terminal.write_stdout(f"{reasons}{report.word} {outcome}\n")


def _cells(figure: Figure, **style: int) -> list[str]:
    shares = (figure.before, figure.after, figure.change)
    found = [format_share(s, signed=s is figure.change, **style) for s in shares]
    return [" ".join(cell or "-") for cell in found]
