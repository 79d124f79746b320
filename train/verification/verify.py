"""Does the word work now? Draw with and without it, before and after, and let scorers look.

Letters in names: N samples, H and W pixels.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from curate.errors import InputError, UsageError
from curate.formats.shards import CACHE
from curate.prompts.reader import read_texts
from curate.system.files import write_bytes
from curate.system.progress import SILENT, Progress
from train.data.stored import StoredImages, open_images, with_subject
from train.figures import grids
from train.figures.grids import GridRow
from train.size import Size
from train.verification import calibrate, choose_scorers, generate, metrics, page, verdict
from train.verification.choose_scorers import AUTO
from train.verification.copies import CopyScorer
from train.verification.generate import CachedSampler, Sample, Sampler
from train.verification.looks import look_alikes
from train.verification.metrics import Trials
from train.verification.panel import Panel, Seen
from train.verification.pixels import fit_within
from train.verification.samplers import is_ours, open_sampler
from train.verification.scorers import Reference
from train.verification.style import StyleScorer, split_by_style, split_sets
from train.verification.verdict import STYLE, WITHOUT, Report, Rule

MAX_SIDE = 256  # pixels of the longer side that images are judged at
SHEET_ROWS = 4  # rows of verify.png with the word, and as many without it
SHEET_COLUMNS = 4  # images a row, before and after


@dataclass(frozen=True)
class WordTest:
    """The question: which words, asked for how, and when they work."""

    words: Sequence[str]  # each a word, or words in a row
    prompts: Sequence[str] | Path | None = None  # what to draw, or a file of it; None for the
    # captions of the true images, which are asked for as old words, too, if none of the prompts is
    # without the word
    samples: int = 200  # images behind each figure, at least
    seed: int = 0  # of the samples
    rule: Rule = field(default_factory=Rule)  # when a word works


@dataclass(frozen=True)
class Models:
    """What draws: run folders, model files, diffusers folders, or folders of generated images."""

    after: Sequence[Path]  # one; or several of one recipe, trained from different seeds
    before: Path | None = None  # what they were trained from
    lora: Path | None = None  # for a diffusers folder, after training
    size: Size | None = None  # of the images that a diffusers folder draws
    device: str = "auto"
    load: Callable[[Path], Sampler] | None = None  # reads a model; None for `open_sampler`


@dataclass(frozen=True)
class Truth:
    """Who scores, and by what."""

    shards: Path  # every true image, the word's included: what drawn ones are compared with
    trained: Sequence[Path] = ()  # shards of the training: prompts shown and never shown, copies,
    # and the style of sets that lack the word
    scorer: str = AUTO  # as `choose_scorers.parse_scorers` reads them


def verify_words(
    test: WordTest,
    models: Models,
    truth: Truth,
    *,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> list[Report]:
    """Verify words, and write `verify.json`, `verify.html` and `verify.png` for each.

    Images are kept in `out` as they are drawn and the contrastive scorer beside the shards, so the
    same command goes on where it was stopped (in `out` where the shards' folder is not ours to
    write). One model and `train.verification.generate.SAMPLE_CHUNK` images are in memory at a
    time, besides what scorers keep of the true images.

    Args:
        test: the question. A word that is verified beside others is none of their old words.
        models: what draws.
        truth: who scores.
        out: folder; None for a folder `verify` beside the first model. One word alone is written
            into it, several each into a folder of its own below it.
        progress: counts images; told what a user should know, such as prompts left out.

    Raises:
        UsageError: no word, one word twice, or no such scorer.
        InputError: a model, shards or prompts cannot be used, or hold no such word.
    """
    folders = [folder_name(word) for word in test.words]
    if not folders or len(set(folders)) < len(folders):
        raise UsageError("--word", "name each word once", fix="--word mage --word elf")
    if not models.after:
        raise UsageError("train verify", "nothing to verify", fix="name a checkpoint")
    if len({path.resolve() for path in models.after}) < len(models.after):
        fix = "name each once; several are of one recipe, trained from different seeds"
        raise UsageError("train verify", "the same checkpoint is named twice", fix=fix)
    first = models.after[0]
    top = out or (first if first.is_dir() else first.parent) / "verify"
    if isinstance(test.prompts, Path):  # read once: it may be a pipe
        test = replace(test, prompts=read_texts(test.prompts, progress=progress))
    return [
        Verification(
            word, test, models, truth, top if len(folders) == 1 else top / name, progress
        ).run()
        for word, name in zip(test.words, folders, strict=True)
    ]


def write_prompts(
    file: Path, test: WordTest, models: Models, truth: Truth, *, progress: Progress = SILENT
) -> None:
    """Write what is to be drawn elsewhere, as `generate.write_prompts` does.

    Args:
        file: JSON lines to write.
        test: the question; of several words, what each asks for.
        models: their size counts, and the first of what draws where no size is named.
        truth: its captions are asked for where no prompts are named.
        progress: told what a user should know.

    Raises:
        UsageError: no size is known.
        InputError: shards or prompts cannot be used.
    """
    size = models.size
    if size is None and models.after:
        size = open_sampler(models.after[0], device=models.device).size
    if size is None:
        problem = "how large the images are to be is not known"
        raise UsageError("--write-prompts", problem, fix="add --size 512")
    if isinstance(test.prompts, Path):
        test = replace(test, prompts=read_texts(test.prompts, progress=progress))
    plan: list[Sample] = []
    for word in test.words:
        nothing = replace(models, after=(), before=None)
        one = Verification(word, test, nothing, truth, file.parent, progress)
        plan += one.plan(*one.load(size)).plan
        for note in one.notes:
            progress.say(note)
    generate.write_prompts(list(dict.fromkeys(plan)), file, size)


@dataclass
class Verification:
    """One word on its way to a report."""

    word: str
    test: WordTest
    models: Models
    truth: Truth
    folder: Path
    progress: Progress
    notes: list[str] = field(default_factory=list)
    opened: dict[Path, StoredImages] = field(default_factory=dict)  # true images, of the training
    samplers: dict[tuple[Path, Path | None], CachedSampler] = field(default_factory=dict)  # with
    # its LoRA; one: what is in memory
    drew: dict[tuple[Path, str], dict[str, Any]] = field(default_factory=dict)  # and when
    size: Size | None = None  # of the images drawn after training
    gallery: page.Gallery = field(init=False)

    def run(self) -> Report:
        """Draw, look, judge, write."""
        panel = self.seat()
        for note in self.notes:
            self.progress.say(note)
        told, trials, seed = len(self.notes), panel.trials, self.test.seed
        self.gallery = page.Gallery.of(trials.plan, trials.reference)
        after = Seen.join([self._draw(path, "after", panel) for path in self.models.after])
        earlier = self.models.before
        before = self._draw(earlier, "before", panel) if earlier else None
        drew = [self.drew[path, "after"] for path in self.models.after]
        if earlier and self.drew[earlier, "before"]["digest"] in [one["digest"] for one in drew]:
            self.notes.append("--before drew the same as after: nothing can have changed")
        figures = panel.figures(after, before)
        outcome, findings = verdict.decide(figures, panel.judges, panel.chosen, self.test.rule)
        self.notes += panel.copies.notes(trials, after.distance_N)
        self.notes += verdict.list_cautions(figures)
        for note in self.notes[told:]:
            self.progress.say(note)
        rows = []
        for name, answers in after.answers.items():
            was = None if before is None else before.answers[name]
            rows += metrics.make_rows(name, trials, answers, was)
        prompts: dict[str, list[str]] = {}
        for sample in trials.plan:
            prompts.setdefault(sample.group, []).append(sample.prompt)
        report = Report(
            *(self.word, outcome, findings, figures, panel.judges, panel.chosen, self.test.rule),
            *(self.test.samples, seed, {g: list(dict.fromkeys(p)) for g, p in prompts.items()}),
            after=drew,
            before=self.drew[earlier, "before"] if earlier else None,
            notes=self.notes,
            rows=rows,
        )
        _write_report(self.folder, report, self.gallery)
        return report

    def load(self, size: Size) -> tuple[Reference, list[Reference]]:
        """The true images and those of the training, at this size or their own if smaller."""
        folders = (self.truth.shards, *self.truth.trained)
        stored = [self._open(folder) for folder in folders]
        most = min(MAX_SIDE, *(images.side for images in stored))
        height, width = fit_within((size.height, size.width), most)
        cache, fitted = self.folder / CACHE, Size(width, height)
        found = [Reference.load(images, fitted, cache=cache) for images in stored]
        return found[0], found[1:]

    def _open(self, path: Path) -> StoredImages:
        """The images that a path means, told once what of them is not used."""
        if path not in self.opened:
            self.opened[path] = open_images(path, without=self.folder, progress=self.progress)
            self.notes += [with_subject(path, note) for note in self.opened[path].notes]
        return self.opened[path]

    def sampler(self, path: Path, when: str = "after") -> CachedSampler:
        """What draws there, the only one in memory; `when`, after or before the training, tells
        whether it has the LoRA."""
        models, lora = self.models, self.models.lora if when == "after" else None
        if (path, lora) not in self.samplers:
            self.samplers.clear()  # before the next is read
            drawn, size = models.load(path) if models.load else None, models.size
            if when == "before" and not is_ours(path):
                size = size or self.size  # a pipeline, or a folder of images, of another size
            self.samplers[path, lora] = CachedSampler(
                drawn or open_sampler(path, lora=lora, size=size, device=models.device)
            )
        return self.samplers[path, lora]

    def seat(self) -> Panel:
        """Read the true images, plan what to draw, and measure the scorers."""
        chosen = choose_scorers.parse_scorers(self.truth.scorer)
        before = self.models.before
        if before and is_ours(before):
            self.sampler(before, "before")  # a missing one is told at once
        self.size = self.sampler(self.models.after[0]).sampler.size
        if before and not is_ours(before):
            self.sampler(before, "before")
        reference, sets = self.load(self.size)
        if reference.image_shows_word(self.word).all():
            problem = f"every true image shows {self.word!r}, so that no scorer could miss it"
            fix = "name shards that hold other images too"
            raise InputError(self.truth.shards, problem, fix=fix)
        style, trials = None, self.plan(reference, sets)
        scorers = choose_scorers.select_scorers(
            chosen,
            trials,
            cache=self._open(self.truth.shards).cache_folder(self.folder / CACHE),
            device=self.models.device,
            progress=self.progress,
            notes=self.notes,
        )
        if self.models.before is None:
            self.notes.append(
                "no earlier checkpoint (--before): that old words are kept is unknown"
            )
        if not scorers:
            fix = "--scorer open_clip, or other shards"
            raise InputError(self.truth.shards, "; ".join(self.notes), fix=fix)
        alike = look_alikes(trials.reference, self.word)
        answered = [
            calibrate.ask_about_real_images(scorer, trials, alike, progress=self.progress)
            for scorer in scorers
        ]
        judges, chosen_scorers = calibrate.choose_judges(answered, trials, alike.apart)
        if any(sample.group == STYLE for sample in trials.plan):
            style = StyleScorer(*split_sets(sets, self.word))
            self.notes += [style.cannot] if style.cannot else []
        copies = CopyScorer(sets or [reference])
        judges.sort(key=lambda judge: judge.name not in chosen_scorers.values())
        return Panel(trials, scorers, judges, chosen_scorers, copies, style)

    def plan(self, reference: Reference, sets: Sequence[Reference]) -> Trials:
        """What is drawn: what the prompts ask for, or what a list says was drawn."""
        shown = generate.read_captions(map(self._open, self.truth.trained)) if sets else None
        others = [word for word in self.test.words if word != self.word]
        samples, seed, prompts = self.test.samples, self.test.seed, self.test.prompts
        assert not isinstance(prompts, Path)
        listed = [found for path in self.models.after if (found := self._listed(path)) is not None]
        asked = prompts if not listed else list(dict.fromkeys(prompt for prompt, _ in listed[0]))
        most = max(samples, len(listed[0])) if listed else samples
        groups = generate.group_prompts(
            reference, self.word, asked, shown, samples=most, seed=seed, others=others
        )
        if listed:
            before = self._listed(self.models.before, "before") if self.models.before else None
            drawn = generate.plan_listed(listed[0], groups, asked=prompts, before=before)
            groups, plan = drawn.groups, drawn.samples
            self.notes += drawn.notes
        groups, notes = split_by_style(groups, sets, self.word)
        self.notes += _collect_notes(reference, groups, prompts) + notes
        if listed:
            of = {prompt: group for group, texts in groups.items() for prompt in texts}
            plan = [replace(sample, group=of[sample.prompt]) for sample in plan]
        else:
            plan = generate.plan_samples(groups, samples=samples, seed=seed)
        every = [prompt for texts in groups.values() for prompt in texts]
        return Trials(plan, self.word, reference.with_prompts(every))

    def _listed(self, path: Path, when: str = "after") -> list[generate.Listed] | None:
        """Of a folder of images, what each is of; None for what draws."""
        if is_ours(path):
            return None
        found: list[generate.Listed] | None = getattr(
            self.sampler(path, when).sampler, "listed", None
        )
        return found

    def _draw(self, path: Path, when: str, panel: Panel) -> Seen:
        plan, flat, start, parts = panel.trials.plan, 0, 0, []
        sampler = self.sampler(path, when)
        facts = sampler.sampler.describe()
        self.drew[path, when] = {"digest": sampler.digest, **facts}
        if fitted := facts.get("other_sizes"):
            self.notes.append(f"{path}: {facts['fit']} ({fitted} of {facts['count']})")
        if unlisted := facts.get("unlisted"):
            self.notes.append(
                f"{path}: {len(unlisted)} images that no line of the list names are not judged, "
                f"such as {unlisted[0]}"
            )
        for images_NHWC in sampler.sample(plan, self.folder, when, self.progress):
            part = plan[start : start + len(images_NHWC)]
            flat += int((np.ptp(images_NHWC.reshape(len(part), -1), axis=1) == 0).sum())
            seen = panel.look(images_NHWC, start)
            parts.append(seen)
            if when == "after":
                self.gallery.keep_after(part, images_NHWC, seen.wrong(part))
            else:
                self.gallery.keep_before(part, images_NHWC)
            start += len(part)
        self.notes += sampler.notes
        if flat:
            self.notes.append(
                f"{flat} of {len(plan)} images sampled {when} training are one flat shade: "
                "is the checkpoint whole?"
            )
        self.notes += sampler.notes
        return Seen.join(parts)


def _collect_notes(
    reference: Reference, groups: Mapping[str, Sequence[str]], prompts: Sequence[str] | None
) -> list[str]:
    notes = []
    if reference.left_out:
        key, why = next(iter(reference.left_out.items()))
        notes.append(f"{len(reference.left_out)} true images left out, such as {key}: {why}")
    old = groups.get(WITHOUT, ())
    if not old:
        notes.append("nothing was asked for without the word: that old words are kept is unknown")
    elif prompts is not None and not set(old) & set(prompts):
        notes.append("no prompt is without the word: old words are those of the true captions")
    return notes


def _write_report(folder: Path, report: Report, gallery: page.Gallery) -> None:
    write_bytes(folder / "verify.json", report.to_json())
    facts = {"word": report.word, "seed": str(report.seed), "model": report.after[0]["digest"]}
    grids.save_png(_before_after_sheet(report, gallery), folder / "verify.png", facts)
    write_bytes(folder / "verify.html", page.render_page(report, gallery).encode())


def folder_name(word: str) -> str:
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
