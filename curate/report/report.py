"""The report: prompts judged against data, as values and as JSON (`vocab-gaps/1`)."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from curate.corpora import corpus
from curate.coverage import checkpoint as trained
from curate.coverage import verdicts
from curate.coverage.judge import Judge, lines_of
from curate.coverage.known import Known
from curate.coverage.verdicts import RELATIONS, SEVERITIES, Item, Targets, Via
from curate.errors import Exit, UsageError
from curate.index import cache
from curate.index.index import Tracked, open_index, untracked
from curate.prompts import aliases as declared
from curate.prompts import queries, reader, units
from curate.report import baseline as earlier
from curate.text import phrases

FAIL_ON = ("error", "warning", "never")
CHECKED = 10  # times a verdict must have been given before its share of right ones is told


@dataclass(frozen=True)
class Report:
    """What a file of prompts asks for, judged against data."""

    path: Path  # of the prompts
    prompts: list[reader.Prompt]
    items: list[Item]  # worst first
    targets: Targets
    origin: corpus.Origin
    images: int  # distinct, with words
    captions: int
    left_out: Mapping[str, int]  # reason -> rows
    incomplete: tuple[str, ...] = ()  # what of the data could not be counted
    notes: tuple[str, ...] = ()  # what a reader must know of the numbers
    crowded: tuple[int, ...] = ()  # lines with too many words for all their pairs
    typed: tuple[str, ...] = ()  # options that lead to this report
    before: Mapping[str, Any] | None = None  # an earlier report as JSON

    @cached_property
    def values(self) -> dict[str, Any]:
        """The report as plain values, in a stable order, without what changed."""
        return _values(self)

    @cached_property
    def old(self) -> earlier.Changes | None:
        """What changed since the earlier report."""
        return None if self.before is None else earlier.compare(self.before, self.values)

    def exit_code(self, fail_on: str = "error") -> Exit:
        """INPUT when data could not be counted, FOUND when an item is as bad as `fail_on`.

        With an earlier report, only what is new since then counts.

        Raises:
            UsageError: `fail_on` is not one of FAIL_ON.
        """
        check_fail_on(fail_on)
        if self.incomplete:
            return Exit.INPUT
        if fail_on == "never":
            return Exit.DONE
        if self.old is not None:
            return Exit.FOUND if self.old.fails(fail_on) else Exit.DONE
        bad = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
        return Exit.FOUND if any(item.severity in bad for item in self.items) else Exit.DONE


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
    tracked: Tracked = untracked,
) -> Report:
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
        images: MODEL:WEIGHTS of open_clip, to look into pictures for words no caption says.
        baseline: an earlier report as JSON; the result says what changed since.
        jobs: processes that index the data.
        tracked: shows how far the reading of captions is.

    Raises:
        UsageError: a setting that does not exist, or that does not go with another.
        InputError: the prompts or the data cannot be read.
    """
    wanted = verdicts.targets(profile, minimum=minimum, target=target)
    if pairs not in units.PAIRS:
        raise UsageError("--pairs", f"no choice {pairs!r}", fix=f"one of {', '.join(units.PAIRS)}")
    if checkpoint and images:
        problem = "a checkpoint holds no pictures to look into"
        raise UsageError("--images", problem, fix="leave out --images or --checkpoint")
    before = earlier.read(baseline) if baseline else None
    agreed = declared.read(aliases) if aliases else declared.NONE
    asked = reader.read(path, syntax=syntax)
    origin, index, notes = _opened(data, checkpoint, jobs, tracked)
    taken = units.asked(
        asked,
        pairs=pairs,
        agreed=agreed,
        together=lambda unit: index.beside(unit, cohesion=phrases.COHESION),
    )
    if checkpoint:
        taken = taken.words_alone()
    searched = queries.chosen(taken.votes)
    judge = Judge(index, wanted, origin.options, agreed, lines_of(asked), searched)
    items = judge.items(taken)
    if images:
        items, said = _looked_into_pictures(items, judge, origin, images, tracked)
        notes += said
    notes += _of_scripts(asked)
    typed = _typed(
        data=data, checkpoint=checkpoint, profile=profile, min=minimum, target=target,
        syntax=syntax, pairs=pairs, aliases=aliases, images=images,
    )  # fmt: skip
    return Report(
        path, asked, items, wanted, origin, index.images, index.captions, index.left_out,
        index.incomplete, tuple(notes), tuple(taken.crowded), typed, before,
    )  # fmt: skip


def _opened(
    data: Sequence[Path], checkpoint: Path | None, jobs: int, tracked: Tracked
) -> tuple[corpus.Origin, Known, list[str]]:
    """What prompts are judged against, the index of it, and what a reader must know of that."""
    if checkpoint is None:
        origin = corpus.find_all(data)
        return origin, open_index(origin, tracked, jobs=jobs), []
    if data:
        problem = "data and a checkpoint cannot be judged together"
        raise UsageError("--checkpoint", problem, fix="leave out --data or --checkpoint")
    known = trained.CheckpointIndex(trained.read(checkpoint))
    origin = corpus.Origin(checkpoint, "checkpoint", ())
    return origin, known, list(known.notes)


def _of_scripts(asked: Sequence[reader.Prompt]) -> list[str]:
    """What words are where no blanks stand between them."""
    found = len(reader.unspaced(asked))
    sentence = (
        f"prompts without blanks between words: {found:,}; what stands between blanks or signs "
        "counts as one word there, and is found only where a caption says just that"
    )
    return [sentence] if found else []


def _looked_into_pictures(
    items: list[Item], judge: Judge, origin: corpus.Origin, model: str, tracked: Tracked
) -> tuple[list[Item], list[str]]:
    """Words that pictures show though captions do not say so, and how far to believe it."""
    from curate.corpora import pixels
    from curate.vision import clip

    search = clip.search(model, cache=_vectors(origin), track=tracked)
    short = [i.unit for i in items if i.kind == "word" and i.severity == "error"]
    pictures = pixels.pictures(origin)
    findings = search.shown(short, pictures)
    said = {picture.key: "; ".join(picture.captions) for picture in pictures}
    found = [judge.uncaptioned(item, findings.found.get(item.unit), said) for item in items]
    return sorted(found, key=verdicts.worst_first), findings.sentences()


def _vectors(origin: corpus.Origin) -> Path:
    """The folder in which vectors of pictures are kept."""
    return origin.path / "index" if origin.kind == "dataset" else cache.folder()


def _typed(**settings: object) -> tuple[str, ...]:
    """Options that lead to these settings, defaults left out."""
    usual = {"profile": "finetune", "syntax": "auto", "pairs": "nouns"}
    found: list[str] = []
    for name, value in settings.items():
        for one in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
            if one is not None and usual.get(name) != one:
                found += [f"--{name}", str(one)]
    return tuple(found)


def check_fail_on(fail_on: str) -> None:
    """Refuse an unknown severity before any work is done."""
    if fail_on not in FAIL_ON:
        fix = f"one of {', '.join(FAIL_ON)}"
        raise UsageError("--fail-on", f"no severity {fail_on!r}", fix=fix)


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain values, in a stable order."""
    if report.old is None:
        return report.values
    return report.values | {"baseline": report.old.as_json()}


def _values(report: Report) -> dict[str, Any]:
    return {
        "schema": earlier.SCHEMA,
        "prompts": {"path": str(report.path), "count": len(report.prompts)},
        "data": {
            "path": str(report.origin.path),
            "kind": report.origin.kind,
            "images": report.images,
            "captions": report.captions,
            "rows": dict(report.left_out),
            "incomplete": list(report.incomplete),
            "notes": list(report.notes),
        },
        "profile": {
            "name": report.targets.profile,
            "min": report.targets.warn,
            "target": report.targets.target,
        },
        "summary": dict(sorted(Counter(item.verdict for item in report.items).items())),
        "items": [item_json(item) for item in report.items],
    }


def item_json(item: Item) -> dict[str, Any]:
    """One item; what cannot be known is null, zero or empty."""
    return {
        "unit": item.unit,
        "kind": item.kind,
        "verdict": item.verdict,
        "severity": item.severity,
        "p_correct": p_correct(item.verdict),
        "n_images": item.images,
        "levels": {
            "exact": item.levels.exact,
            "inflection": item.levels.inflection,
            "variant": item.levels.variant,
            **{name: _via(item.levels.related.get(name, Via())) for name in RELATIONS},
        },
        "expected": item.expected,
        "pmi": item.pmi,
        "related_not_counted": [
            {
                "unit": one.related.unit,
                "relation": one.related.relation,
                "similarity": one.related.similarity,
                "n_images": one.n_images,
            }
            for one in item.not_counted
        ],
        "upper_bound_visible_95": item.upper_bound,
        "prompts": [
            {"line": m.line, "span": [m.start, m.end], "text": m.text} for m in item.mentions
        ],
        "evidence": [{"key": e.key, "caption": e.caption} for e in item.evidence],
        "nearest": [{"unit": n.unit, "n_images": n.n_images} for n in item.nearest],
        "did_you_mean": [{"unit": n.unit, "n_images": n.n_images} for n in item.did_you_mean],
        "badges": ["sense-risk"] if item.senses else [],
        "senses": item.senses and {"asked": item.senses.asked, "shown": item.senses.shown},
        "fix": {"fetch": list(item.fetch), "need": item.need},
    }


def p_correct(verdict: str) -> float | None:
    """How often a verdict was right where it could be checked; None where too few were.

    The share of right verdicts on the half of the gold set that nothing was tuned on, with one
    right and one wrong added (Laplace's rule of succession).
    """
    right, given = _checked().get(verdict, (0, 0))
    return round((right + 1) / (given + 2), 2) if given >= CHECKED else None


def _via(via: Via) -> dict[str, Any]:
    return {"n": via.images, "via": list(via.units)}


@lru_cache
def _checked() -> dict[str, tuple[int, int]]:
    """Verdict -> how often it was right, how often it was given."""
    text = resources.files("curate.report").joinpath("checked.json").read_text("utf-8")
    verdicts: dict[str, tuple[int, int]] = json.loads(text)["verdicts"]
    return verdicts
