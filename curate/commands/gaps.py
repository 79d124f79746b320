"""`curate vocab-gaps`: prompts read, data indexed, a verdict for each unit."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from curate.corpora.columns import is_whole
from curate.corpora.corpus import Corpus, find_corpora
from curate.corpora.notes import ReadNotes
from curate.coverage import verdicts
from curate.coverage.checkpoint import open_checkpoint
from curate.coverage.judge import Judge, WordIndex
from curate.coverage.verdicts import Item
from curate.errors import UsageError
from curate.index import cache
from curate.index.index import CaptionIndex, open_index
from curate.prompts import reader, units
from curate.prompts.aliases import NO_ALIASES, read_aliases
from curate.report.baseline import read_baseline
from curate.report.report import CoverageReport
from curate.system.progress import SILENT, Progress
from curate.text import phrases


@dataclass(frozen=True)
class GapsSettings:
    """What `curate vocab-gaps` is told besides its prompts; each is the option of its name."""

    # dataset folders, manifests, folders of images, tars, Hugging Face datasets or lists of
    # captions, taken together; none for `./data`, which may not exist yet: nothing is covered then
    data: Sequence[Path] = ()
    captions: str = "lines"  # a text of several lines is as many captions; "whole": one
    # of `train finetune`, or a LoRA's file: the words it was shown, in place of data
    checkpoint: Path | None = None
    profile: str = "finetune"  # or "scratch" or "lora": how many images a word needs
    min: int | None = None  # images below which a word is thin, in place of the profile's
    target: int | None = None  # images that are enough, in place of the profile's
    syntax: str = "auto"  # how prompts are written; or "plain", "a1111" or "compel"
    pairs: str = "nouns"  # of these, of "all" words within a prompt, or "off"
    aliases: Path | None = None  # file of aliases, typos, phrases and words that steer style only
    images: str | None = None  # MODEL:WEIGHTS of open_clip, to look for words no caption says
    baseline: Path | None = None  # an earlier report as JSON, to say what changed since

    def as_typed(self) -> tuple[str, ...]:
        """The options that lead to these settings, defaults and the baseline left out."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "baseline"}
        usual = GapsSettings()
        return tuple(
            word
            for name, value in named.items()
            if value != getattr(usual, name)
            for one in (value if name == "data" else [value])
            for word in (f"--{name}", str(one))
        )


def vocab_gaps(
    path: Path,
    settings: GapsSettings = GapsSettings(),
    *,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> CoverageReport:
    """Judge everything the prompts in `path` ask for by the captions in the data.

    Args:
        path: text file, one prompt a line.
        settings: what to judge by, and how.
        jobs: processes that index the data.
        progress: counts captions, and images that are looked into.

    Raises:
        UsageError: a setting that does not exist, or that does not go with another.
        InputError: the prompts or the data cannot be read.
    """
    resolved = verdicts.resolve_targets(
        settings.profile, minimum=settings.min, target=settings.target
    )
    if settings.pairs not in units.PAIR_CHOICES:
        fix = f"one of {', '.join(units.PAIR_CHOICES)}"
        raise UsageError("--pairs", f"no choice {settings.pairs!r}", fix=fix)
    if settings.checkpoint and settings.images:
        problem = "a checkpoint holds no images to look into"
        raise UsageError("--images", problem, fix="leave out --images or --checkpoint")
    before = read_baseline(settings.baseline) if settings.baseline else None
    aliases = read_aliases(settings.aliases) if settings.aliases else NO_ALIASES
    prompts = reader.read_prompts(path, syntax=settings.syntax, progress=progress)
    corpus, index, notes = _open_data(settings, jobs, progress)
    found = units.find_units(
        prompts,
        pairs=settings.pairs,
        agreed=aliases,
        together=lambda unit: index.cooccurrence(unit, cohesion=phrases.MIN_COHESION),
    )
    found = found if isinstance(index, CaptionIndex) else index.judged(found)
    lines, searched = {p.line: p.text for p in prompts}, units.choose_queries(found.votes)
    judge = Judge(index, resolved, corpus.options, aliases, lines, searched)
    items = judge.judge_units(found)
    if settings.images:
        items, said = _search_images(items, judge, corpus, settings.images, progress)
        notes += said
    notes += _unspaced_note(prompts)
    return CoverageReport(
        path, prompts, items, resolved, corpus, index, tuple(notes), tuple(found.crowded),
        settings.as_typed(), before,
    )  # fmt: skip


def _open_data(
    settings: GapsSettings, jobs: int, progress: Progress
) -> tuple[Corpus, WordIndex, list[str]]:
    """What prompts are judged against, the index of it, and what a reader must know of that."""
    if settings.checkpoint is None:
        corpus = find_corpora(settings.data, whole=is_whole(settings.captions))
        return corpus, open_index(corpus, progress, jobs=jobs), []
    if settings.data:
        problem = "data and a checkpoint cannot be judged together"
        raise UsageError("--checkpoint", problem, fix="leave out --data or --checkpoint")
    known = open_checkpoint(settings.checkpoint)
    return Corpus(settings.checkpoint, "checkpoint"), known, known.notes


def _unspaced_note(prompts: Sequence[reader.Prompt]) -> list[str]:
    found = len(reader.lines_without_spaces(prompts))
    sentence = (
        f"prompts without blanks between words: {found:,}; what stands between blanks or signs "
        "counts as one word there, and is found only where a caption says just that"
    )
    return [sentence] if found else []


def _search_images(
    items: list[Item], judge: Judge, corpus: Corpus, model: str, progress: Progress
) -> tuple[list[Item], list[str]]:
    """Words that images show though captions do not say so, and how far to believe it."""
    from curate.corpora import pixels
    from curate.vision.clip import ClipEmbedder, OpenClip
    from curate.vision.search import USAGE, search_images

    kept = corpus.path / "index" if corpus.kind == "dataset" else cache.cache_folder()
    embedder = ClipEmbedder(OpenClip(model, usage=USAGE), cache=kept, progress=progress)
    short = [i.unit for i in items if i.kind == "word" and i.severity == "error"]
    notes = ReadNotes()
    with cache.scratch_file() as scratch:
        images = pixels.captioned_images(corpus, pixels.Spool(scratch), notes)
        findings = search_images(embedder, short, images)
    said = {image.key: "; ".join(image.captions) for image in images}
    found = [judge.look_again(item, findings.found.get(item.unit), said) for item in items]
    return sorted(found, key=verdicts.worst_first), [
        *findings.sentences(),
        *(f"image search: {sentence}" for sentence in notes.sentences()),
    ]
