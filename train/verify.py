"""Does the word work now? Draw with and without it, before and after, and let scorers look.

Letters in names: N samples, H and W pixels, C candidate captions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from curate.errors import InputError, UsageError
from curate.files import write_bytes
from curate.shards import layout
from train import pictures
from train.drawing import Draw, Drawer, Progress, Sampler, on_bar
from train.findings import (
    ENTIRELY,
    FALSE,
    NEVER,
    OWN_WORD,
    SHOWN,
    WITH,
    WITHOUT,
    WORD,
    Figure,
    Judge,
    Report,
    Rule,
    show,
    verdict,
)
from train.intervals import difference, share
from train.learned import Learned, learn
from train.questions import Sample, captions_of, group_prompts, plan_samples, read_prompts
from train.scorers import (
    NAMES,
    OPEN_CLIP,
    Nearest,
    OpenClip,
    Reference,
    Said,
    Scorer,
    contains,
)

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Rule", "Sample", "on_bar", "run", "show", "verify"]

PICTURED = (4, 4)  # rows of verify.png: prompts with the word and without it
ABREAST = 4  # pictures a row, before and after

Say = Callable[[str], None]


def run(  # noqa: PLR0913 one a documented parameter
    checkpoint: Path,
    *,
    word: str,
    shards: Path,
    before: Path | None = None,
    trained: Path | Sequence[Path] | None = None,
    prompts: Path | None = None,
    samples: int = 200,
    scorer: str = "nearest,learned",
    out: Path | None = None,
    seed: int = 0,
    rule: Rule | None = None,
    device: str = "auto",
    load: Callable[[Path], Sampler] | None = None,
    progress: Progress = lambda what, done, total: None,
    say: Say = lambda sentence: None,
) -> Report:
    """Verify a checkpoint and write `verify.json` and `verify.png`.

    Pictures are kept in `out` as they are drawn and the learned scorer beside the shards, so the
    same command goes on where it was stopped.

    Args:
        checkpoint: run folder or model file after training.
        word: the word, or words in a row.
        shards: every true picture, the word's included: what scorers compare with.
        before: the checkpoint it was trained from.
        trained: shards it was trained on, which tell prompts shown from prompts never shown.
        prompts: file of prompts, one a line; None for the captions of `shards`.
        samples: pictures behind each figure, at least.
        scorer: names between commas; `open_clip:ARCHITECTURE:TAG_OR_FILE` chooses the model.
        out: folder; None for `verify` beside the checkpoint.
        seed: of the samples and of the resampling.
        rule: when the word works.
        device: for drawing.
        load: reads a checkpoint; None for `train.sampling.load`.
        progress: told as the work goes on.
        say: told in sentences what a user should know.

    Raises:
        InputError: a checkpoint, shards or prompts cannot be used, or hold no such word.
        UsageError: no such scorer.
    """
    chosen = _scorer_names(scorer)
    later, earlier = Drawer(checkpoint, load, device), None
    if before is not None:
        earlier = Drawer(before, load, device)
    reference = Reference.load(shards, later.sampler.size)
    shown = captions_of([trained] if isinstance(trained, Path) else trained) if trained else None
    asked = read_prompts(prompts) if prompts else None
    groups = group_prompts(reference, word, asked, shown, samples=samples, seed=seed)
    cache = layout.find(shards) / ".cache"
    notes: list[str] = []
    if reference.left_out:
        key, why = next(iter(reference.left_out.items()))
        notes.append(f"{len(reference.left_out)} true pictures left out, such as {key}: {why}")
    if before is None:
        notes.append("no earlier checkpoint (--before): that old words are kept was not checked")
    scorers = list(_scorers(chosen, reference, groups, cache, device, progress, notes))
    if not scorers:
        raise InputError(
            prompts or shards, "; ".join(notes), fix="--scorer open_clip, or other prompts"
        )
    for note in notes:
        say(note)
    folder = out or (checkpoint if checkpoint.is_dir() else checkpoint.parent) / "verify"
    report, drawn = verify(
        later.drawer(folder, "after", progress),
        earlier.drawer(folder, "before", progress) if earlier else None,
        word=word,
        groups=groups,
        reference=reference,
        scorers=scorers,
        samples=samples,
        seed=seed,
        rule=rule or Rule(),
    )
    report = replace(
        report, after=later.digest, before=earlier.digest if earlier else None, notes=notes
    )
    write_bytes(folder / "verify.json", report.to_json())
    facts = {"word": word, "seed": str(seed), "checkpoint": later.digest}
    pictures.save_png(_sheet(*drawn), folder / "verify.png", facts)
    return report


def verify(
    after: Draw,
    before: Draw | None,
    *,
    word: str,
    groups: Mapping[str, Sequence[str]],
    reference: Reference,
    scorers: Sequence[Scorer],
    samples: int = 200,
    seed: int = 0,
    rule: Rule,
) -> tuple[Report, tuple[list[Sample], np.ndarray, np.ndarray | None]]:
    """Draw, score and judge; returns the report and the samples with their pictures.

    Args:
        after, before: draw the samples they are given with one checkpoint.
        word: the word.
        groups: group -> prompts, as `group_prompts` makes them.
        reference: the true pictures.
        scorers: who looks; each weighs as its accuracy allows.
        samples: pictures a group, at least.
        seed: of the samples and of the resampling.
        rule: when the word works.
    """
    plan = plan_samples(groups, samples=samples, seed=seed)
    later = after(plan)
    earlier = before(plan) if before else None
    candidates, truth_N = _candidates(reference, [s.prompt for s in plan])
    figures: list[Figure] = []
    for scorer in scorers:
        best_N = scorer.scores(later, candidates).argmax(1)
        best_before_N = None if earlier is None else scorer.scores(earlier, candidates).argmax(1)
        marks = [
            None if best is None else _marks(best, truth_N, plan, candidates, reference, word)
            for best in (best_N, best_before_N)
        ]
        figures += _figures(scorer.name, plan, marks[0] or {}, marks[1], seed)
    judges = [
        Judge(s.name, s.accuracy, s.refit if isinstance(s, Learned) else None) for s in scorers
    ]
    works, reasons = verdict(figures, judges, rule)
    asked = {group: list(texts) for group, texts in groups.items()}
    report = Report(word, works, reasons, figures, judges, rule, samples, seed, asked)
    return report, (plan, later, earlier)


def _scorer_names(text: str) -> list[tuple[str, str, str]]:
    """(name, architecture, weights) of each scorer named."""
    chosen = []
    for part in text.split(","):
        name, _, rest = part.strip().partition(":")
        model, _, weights = rest.partition(":")
        if name not in NAMES or (rest and (name != "open_clip" or not weights)):
            fix = (
                f"one or more of {', '.join(NAMES)} between commas; open_clip:ARCHITECTURE:WEIGHTS"
            )
            raise UsageError("--scorer", f"no scorer {part.strip()!r}", fix=fix)
        chosen.append((name, model or OPEN_CLIP[0], weights or OPEN_CLIP[1]))
    return list(dict.fromkeys(chosen))


def _scorers(
    chosen: Sequence[tuple[str, str, str]],
    reference: Reference,
    groups: Mapping[str, Sequence[str]],
    cache: Path,
    device: str,
    progress: Progress,
    notes: list[str],
) -> Iterable[Scorer]:
    """The scorers that can judge these prompts; `notes` says which cannot, and why."""
    prompts = [prompt for texts in groups.values() for prompt in texts]
    strange = [prompt for prompt in prompts if reference.find(prompt) is None]
    for name, model, weights in chosen:
        if name == "nearest" and strange:
            notes.append(f"nearest is left out: the reference has no picture of {strange[0]!r}")
        elif name == "nearest":
            yield Nearest(reference)
        elif name == "open_clip":
            from train.sampling import pick_device

            place = str(pick_device(device))
            yield OpenClip(reference, model=model, pretrained=weights, device=place)
        else:
            scorer = learn(
                reference, cache=cache, progress=lambda n, of: progress("learning to score", n, of)
            )
            unknown = scorer.unknown([(prompt,) for prompt in strange])
            if not unknown:
                yield scorer
            else:
                notes.append(f"learned is left out: no true caption holds {unknown[0]!r}")


def _candidates(reference: Reference, prompts: Sequence[str]) -> tuple[list[Said], np.ndarray]:
    """All captions to choose from, and which of them each prompt means."""
    candidates, rows = list(reference.labels), []
    added: dict[str, int] = {}
    for prompt in prompts:
        label = reference.find(prompt)
        if label is None:
            label = added.setdefault(prompt, len(candidates))
            if label == len(candidates):
                candidates.append((prompt,))
        rows.append(label)
    return candidates, np.array(rows, dtype=np.int64)


def _marks(
    best_N: np.ndarray,
    truth_N: np.ndarray,
    plan: Sequence[Sample],
    candidates: Sequence[Said],
    reference: Reference,
    word: str,
) -> dict[str, np.ndarray]:
    """For each sample: does its best caption hold the word, hold the prompt's own, equal it?"""
    holds_C = np.array([any(contains(t, word) for t in said) for said in candidates])
    own = [
        all(any(contains(t, w) for t in candidates[b]) for w in reference.own_words(s.prompt))
        for b, s in zip(best_N, plan, strict=True)
    ]
    return {WORD: holds_C[best_N], OWN_WORD: np.array(own, bool), ENTIRELY: best_N == truth_N}


def _figures(
    scorer: str,
    plan: Sequence[Sample],
    after: Mapping[str, np.ndarray],
    before: Mapping[str, np.ndarray] | None,
    seed: int,
) -> list[Figure]:
    numbers = {prompt: n for n, prompt in enumerate(dict.fromkeys(s.prompt for s in plan))}
    prompts_N = np.array([numbers[s.prompt] for s in plan], dtype=np.int64)
    group_N = np.array([s.group for s in plan])
    chosen = {group: group_N == group for group in (SHOWN, NEVER)}
    chosen[WITH], chosen[WITHOUT] = group_N != WITHOUT, group_N == WITHOUT
    figures = []
    for group, rows in chosen.items():
        if not rows.any():
            continue
        for measure in (OWN_WORD, ENTIRELY, FALSE) if group == WITHOUT else (WORD, ENTIRELY):
            mark, of = (WORD if measure == FALSE else measure), prompts_N[rows].tolist()
            later = after[mark][rows]
            earlier = None if before is None else before[mark][rows]
            figures.append(
                Figure(
                    scorer,
                    group,
                    measure,
                    len(set(of)),
                    share(later, of, seed=seed),
                    None if earlier is None else share(earlier, of, seed=seed),
                    None if earlier is None else difference(later, earlier, of, seed=seed),
                )
            )
    return figures


def _sheet(plan: Sequence[Sample], later: np.ndarray, earlier: np.ndarray | None) -> "Image":
    """Before and after of a few prompts with the word and a few without, evenly spread."""
    with_word = list(dict.fromkeys(s.prompt for s in plan if s.group != WITHOUT))
    without = list(dict.fromkeys(s.prompt for s in plan if s.group == WITHOUT))
    rows = []
    for prompts, count in zip((with_word, without), PICTURED, strict=True):
        step = max(1, len(prompts) // count)
        for prompt in prompts[::step][:count]:
            of = [n for n, s in enumerate(plan) if s.prompt == prompt][:ABREAST]
            before = None if earlier is None else earlier[of]
            rows.append(pictures.Comparison(prompt, before, later[of]))
    return pictures.before_after(rows)
