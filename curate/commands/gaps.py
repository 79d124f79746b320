"""`curate vocab-gaps`: prompts read, data indexed, a verdict for each unit."""

from collections.abc import Sequence
from pathlib import Path

from curate.corpora.corpus import Corpus, find_corpora
from curate.coverage import verdicts
from curate.coverage.checkpoint import CheckpointIndex
from curate.coverage.judge import Judge, WordIndex, lines_by_number
from curate.coverage.verdicts import Item
from curate.errors import UsageError
from curate.formats.model import read_model
from curate.index import cache
from curate.index.index import open_index
from curate.prompts import queries, reader, units
from curate.prompts.aliases import NO_ALIASES, read_aliases
from curate.report.baseline import read_baseline
from curate.report.report import CoverageReport
from curate.system.progress import SILENT, Progress
from curate.text import phrases


def vocab_gaps(  # noqa: PLR0913 one a documented setting
    path: Path,
    *,
    data: Sequence[Path] = (),
    checkpoint: Path | None = None,
    profile: str = "finetune",
    minimum: int | None = None,
    target: int | None = None,
    syntax: str = "auto",
    pairs: str = "nouns",
    aliases: Path | None = None,
    images: str | None = None,
    baseline: Path | None = None,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> CoverageReport:
    """Judge everything the prompts in `path` ask for by the captions in `data`.

    Args:
        path: text file, one prompt a line.
        data: dataset folders, shards, manifests, Hugging Face datasets or lists of captions, taken
            together; none for `./data`, which may not exist yet: then nothing is covered.
        checkpoint: a run or checkpoint of `train finetune`, judged in place of data by the words it
            was trained on.
        profile: "scratch", "finetune" or "lora"; how many images a word needs.
        minimum: images below which a word is thin, in place of the profile's.
        target: images that are enough, in place of the profile's.
        syntax: how prompts are written: "auto", "plain", "a1111" or "compel".
        pairs: of "nouns", of "all" words within a prompt, or "off".
        aliases: a file of aliases, typos, phrases and words that steer style only.
        images: MODEL:WEIGHTS of open_clip, to look into images for words no caption says.
        baseline: an earlier report as JSON; the result says what changed since.
        jobs: processes that index the data.
        progress: counts captions, and images that are looked into.

    Raises:
        UsageError: a setting that does not exist, or that does not go with another.
        InputError: the prompts or the data cannot be read.
    """
    resolved = verdicts.resolve_targets(profile, minimum=minimum, target=target)
    if pairs not in units.PAIR_CHOICES:
        raise UsageError(
            "--pairs", f"no choice {pairs!r}", fix=f"one of {', '.join(units.PAIR_CHOICES)}"
        )
    if checkpoint and images:
        problem = "a checkpoint holds no images to look into"
        raise UsageError("--images", problem, fix="leave out --images or --checkpoint")
    before = read_baseline(baseline) if baseline else None
    user_aliases = read_aliases(aliases) if aliases else NO_ALIASES
    prompts = reader.read_prompts(path, syntax=syntax)
    corpus, index, notes = _open_data(data, checkpoint, jobs, progress)
    found = units.find_units(
        prompts,
        pairs=pairs,
        agreed=user_aliases,
        together=lambda unit: index.cooccurrence(unit, cohesion=phrases.MIN_COHESION),
    )
    if checkpoint:
        found = found.only_words()
    searched = queries.choose(found.votes)
    judge = Judge(index, resolved, corpus.options, user_aliases, lines_by_number(prompts), searched)
    items = judge.judge_units(found)
    if images:
        items, said = _search_images(items, judge, corpus, images, progress)
        notes += said
    notes += _unspaced_note(prompts)
    typed = _typed_options(
        data=data, checkpoint=checkpoint, profile=profile, min=minimum, target=target,
        syntax=syntax, pairs=pairs, aliases=aliases, images=images,
    )  # fmt: skip
    return CoverageReport(
        path, prompts, items, resolved, corpus, index.images, index.captions, index.left_out,
        index.incomplete, tuple(notes), tuple(found.crowded), typed, before,
    )  # fmt: skip


def _open_data(
    data: Sequence[Path], checkpoint: Path | None, jobs: int, progress: Progress
) -> tuple[Corpus, WordIndex, list[str]]:
    """What prompts are judged against, the index of it, and what a reader must know of that."""
    if checkpoint is None:
        corpus = find_corpora(data)
        return corpus, open_index(corpus, progress, jobs=jobs), []
    if data:
        problem = "data and a checkpoint cannot be judged together"
        raise UsageError("--checkpoint", problem, fix="leave out --data or --checkpoint")
    known = CheckpointIndex(read_model(checkpoint))
    corpus = Corpus(checkpoint, "checkpoint", ())
    return corpus, known, list(known.notes)


def _unspaced_note(asked: Sequence[reader.Prompt]) -> list[str]:
    """What words are where no blanks stand between them."""
    found = len(reader.lines_without_spaces(asked))
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
    from curate.vision.search import open_search

    search = open_search(model, cache=_vector_cache(corpus), progress=progress)
    short = [i.unit for i in items if i.kind == "word" and i.severity == "error"]
    images = pixels.captioned_images(corpus)
    findings = search.find(short, images)
    said = {image.key: "; ".join(image.captions) for image in images}
    found = [judge.look_again(item, findings.found.get(item.unit), said) for item in items]
    return sorted(found, key=verdicts.worst_first), findings.sentences()


def _vector_cache(corpus: Corpus) -> Path:
    """The folder in which vectors of images are kept."""
    return corpus.path / "index" if corpus.kind == "dataset" else cache.cache_folder()


def _typed_options(**settings: object) -> tuple[str, ...]:
    """Options that lead to these settings, defaults left out."""
    usual = {"profile": "finetune", "syntax": "auto", "pairs": "nouns"}
    found: list[str] = []
    for name, value in settings.items():
        for one in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
            if one is not None and usual.get(name) != one:
                found += [f"--{name}", str(one)]
    return tuple(found)
