"""`train sample`: prompts sampled, laid out on one sheet, and each in a file of its own.

Letters in names: N images, H and W pixels.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from curate.errors import UsageError
from curate.prompts.reader import read_texts
from curate.system.progress import SILENT, Progress
from train.checkpoints.checkpoint import Cascade
from train.figures import grids, lettering
from train.figures.grids import GridRow
from train.sampling import sampler as sampling
from train.sampling import upscalers
from train.sampling.sampler import CascadeSampler, Samples, SamplingConfig
from train.sampling.upscalers import Upscaler
from train.size import Size

IMAGES_A_ROW = 8  # images side by side on a sheet
MAX_SHEET_PIXELS = 64_000_000  # pixels of a sheet at most; viewers refuse larger ones
SMALL_SIDE = 64  # pixels a side below which upscalers invent more than they see (our observation)
NAME_LETTERS = 40  # letters of a prompt in a file's name


@dataclass(frozen=True)
class Request:
    """What to sample: every prompt, with the same seeds for each."""

    prompts: Sequence[str]
    count: int = 4  # images a prompt
    seed: int = 0  # of the first of them

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """(prompt, seed) of every image, prompt by prompt."""
        return [(p, self.seed + n) for p in self.prompts for n in range(self.count)]


@dataclass(frozen=True)
class Pipeline:
    """A checkpoint that samples, and what enlarges its images."""

    sampler: CascadeSampler
    stages: int  # how many it goes through
    upscaler: Upscaler | None = None
    facts: dict[str, str] = field(default_factory=dict)  # that its images carry

    @property
    def size(self) -> Size:
        """Of the finished images."""
        drawn = self.sampler.cascade.stages[self.stages - 1].size
        if self.upscaler is None:
            return drawn
        whole = self.stages == len(self.sampler.cascade.stages)
        scale = self.upscaler.scale
        return Size(drawn.width * scale, drawn.height * scale) if whole else self.sampler.size

    def sample(self, request: Request, shown: Sequence[int] = ()) -> Iterator[Samples]:
        """The images wanted, some at a time; an enlarged image counts as one more stage."""
        prompts, seeds = zip(*request.pairs, strict=True)
        for drawn in self.sampler.sample(prompts, seeds, shown=shown, stages=self.stages):
            if self.upscaler is None:
                yield drawn
            else:
                large = self.upscaler.upscale_to(drawn.stages[-1], self.size)
                yield replace(drawn, stages=[*drawn.stages, large])


def write_sheet(  # noqa: PLR0913 one a documented option
    checkpoint: Path,
    prompts: Sequence[str],
    *,
    count: int = 4,
    seed: int = 0,
    config: SamplingConfig | None = None,
    before: Path | None = None,
    steps_shown: int | None = None,
    upscaler: str | None = None,
    out: Path = Path("samples.png"),
    each: Path | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> list[Path]:
    """Sample prompts and write one labelled sheet; returns the files written.

    Every PNG carries, as text, prompt, seed, hash of the checkpoint and how it was sampled; equal
    inputs give equal bytes, on one machine.

    Args:
        checkpoint: run folder, exported folder or model file.
        prompts: what to sample; "" asks for nothing in particular. Repeats are sampled once.
        count: images a prompt, with seeds `seed`, `seed` + 1, …
        seed: of each prompt's first image.
        config: how to sample.
        before: another checkpoint, sampled with the same prompts and seeds, beside the first.
        steps_shown: show how each image comes to be: its noise, so many steps of the base
            stage, and every stage. None for the finished images only.
        upscaler: `realesrgan` or a file: stands in for the stages from the first that has not
            converged, or enlarges the finished images where all have.
        out: the sheet. It holds as many prompts as fit; `progress` is told if that is not all.
        each: folder for one PNG an image of `checkpoint`, besides.
        device: `auto`, `cpu` or `cuda`.
        progress: counts images; told what a user should know of the checkpoint and the sheet.

    Raises:
        UsageError: no prompt, one that is not text, or options that do not go together.
        InputError: a checkpoint or upscaler cannot be used, or a file cannot be written.
    """
    request = Request(_check_prompts(prompts), count, seed)
    if before is not None and steps_shown is not None:
        raise UsageError("--before", "cannot be shown step by step", fix="leave out --steps-shown")
    if out.suffix.lower() != ".png" or out.is_dir():
        meant = out / "samples.png" if out.is_dir() else out.with_suffix(".png")
        raise UsageError("--out", f"{out} is not a PNG file", fix=f"--out {meant}")
    config = config or SamplingConfig()
    earlier: Sheet | None = None
    if before is not None:  # sampled first and let go of: one cascade at a time is in memory
        old = load_pipeline(before, config, upscaler, device, progress)
        earlier = _fill(old, request, None, None, "sampling before", progress)
        del old
    new = load_pipeline(checkpoint, config, upscaler, device, progress)
    new.sampler.encode_prompts(request.prompts, progress)
    what = "sampling" if earlier is None else "sampling after"
    made = _fill(new, request, steps_shown, each, what, progress)
    rows = made.rows if earlier is None else _join_before_after(earlier, made)
    heads = made.heads if earlier is None else ["before", "after"]
    facts = new.facts | {"prompt": "\n".join(request.prompts), "seed": _describe_seeds(request)}
    if earlier is not None:
        facts["before"] = earlier.checkpoint
    grids.save_png(grids.draw_table(rows, heads), out, facts)
    _say_what_is_missing(out, request, made.prompts, each, progress)
    return [out, *made.files]


def read_prompts(typed: Sequence[str], file: Path | None, progress: Progress = SILENT) -> list[str]:
    """The prompts as they were typed, then those of a file, as `read_texts` takes it.

    Raises:
        InputError: the file cannot be read or holds none.
    """
    return [*typed, *(read_texts(file, progress=progress) if file else [])]


def load_pipeline(
    checkpoint: Path, config: SamplingConfig, upscaler: str | None, device: str, progress: Progress
) -> Pipeline:
    """A checkpoint ready to sample; says which of its stages has not converged.

    Raises:
        InputError: it, or the upscaler, cannot be used.
        UsageError: no such device or upscaler.
    """
    sampler = sampling.load_sampler(checkpoint, device=device, config=config)
    cascade = sampler.cascade
    poor, total = first_unconverged_stage(cascade), len(cascade.stages)
    facts = {
        "checkpoint": cascade.digest,
        "steps": str(config.steps),
        "guidance": f"{config.guidance:g}",
    }
    if upscaler is None:
        if poor is not None:
            progress.say(_unconverged_warning(checkpoint, cascade, poor))
        return Pipeline(sampler, total, None, facts)
    found = upscalers.load_upscaler(upscaler, device=sampler.device)
    kept = total if poor is None else poor
    last = cascade.stages[kept - 1].size
    instead = f"stands in for the stages above {last} pixels, which have not converged"
    usual = f"enlarges the finished images of {last} pixels {found.scale} times"
    small = " (little to go by: it is made for larger ones)" if max(last) < SMALL_SIDE else ""
    progress.say(f"{upscaler}: {usual if poor is None else instead}{small}")
    return Pipeline(sampler, kept, found, facts | {"upscaler": f"{found.name} {found.digest}"})


def first_unconverged_stage(cascade: Cascade) -> int | None:
    """The first stage that was not found worth having when it was trained; None if all are."""
    measured = cascade.facts.convergence
    for number, stage in enumerate(cascade.stages):
        if number and measured.get(str(stage.size), {}).get("converged") is False:
            return number
    return None


def image_file_name(number: int, prompt: str, seed: int) -> str:
    """Of one image: `0001-a-woman-mage-seed-7.png`; letters and digits of the prompt only."""
    words = "-".join(re.findall(r"[^\W_]+", prompt))[:NAME_LETTERS].strip("-")
    while len(words.encode()) > 3 * NAME_LETTERS:
        words = words[:-1]
    return "-".join(filter(None, [f"{number:04d}", words, f"seed-{seed}"])) + ".png"


@dataclass
class Sheet:
    """What was sampled, as far as it fits."""

    checkpoint: str  # SHA-256
    rows: list[GridRow]
    heads: list[str]
    prompts: int  # how many of them are on the sheet
    files: list[Path]


def _fill(
    pipe: Pipeline,
    request: Request,
    steps_shown: int | None,
    each: Path | None,
    what: str,
    progress: Progress,
) -> Sheet:
    """Sample everything; keep what fits on a sheet, write each image if that is asked."""
    config = pipe.sampler.config
    base = pipe.sampler.cascade.stages[0]
    shown = sampling.informative_steps(base, config.steps, steps_shown or 0)
    heads = [""]
    if steps_shown is not None:
        heads = ["noise", *(f"after {s} of {config.steps} steps" for s in shown), *_heads(pipe)]
    groups = [1] * len(heads) if len(heads) > 1 else [min(request.count, IMAGES_A_ROW)]
    lines = request.count if len(heads) > 1 else -(-request.count // IMAGES_A_ROW)
    room = max(1, MAX_SHEET_PIXELS // (grids.table_pixels(pipe.size, groups) * lines))
    fitting = min(room, len(request.prompts))
    kept: list[list[np.ndarray]] = []  # of each image on the sheet, what is shown of it
    files: list[Path] = []
    progress.count(what, 0, len(request.pairs))
    for drawn in pipe.sample(request, shown):
        for n in range(len(drawn)):
            number = drawn.first + n
            finished = drawn.stages[-1][n]
            if each is not None:
                files.append(_write_image(each, pipe, request, number, finished))
            if number < fitting * request.count:
                whole = [drawn.noise_NHWC, *drawn.steps, *drawn.stages]
                kept.append([finished] if steps_shown is None else [part[n] for part in whole])
        progress.count(what, drawn.first + len(drawn), len(request.pairs))
    rows = list(_grid_rows(request, kept))
    return Sheet(pipe.sampler.cascade.digest, rows, heads, fitting, files)


def _grid_rows(request: Request, kept: Sequence[Sequence[np.ndarray]]) -> Iterator[GridRow]:
    """A row an image where its steps are shown, else `IMAGES_A_ROW` images a row."""
    for start in range(0, len(kept), request.count):
        prompt = request.prompts[start // request.count] or "(no prompt)"
        of_prompt = kept[start : start + request.count]
        if len(of_prompt[0]) > 1:
            for n, parts in enumerate(of_prompt):
                yield GridRow(f"{prompt} (seed {request.seed + n})", [[part] for part in parts])
            continue
        for first in range(0, request.count, IMAGES_A_ROW):
            part = [parts[0] for parts in of_prompt[first : first + IMAGES_A_ROW]]
            seeds = [f"seed {request.seed + first + n}" for n in range(len(part))]
            yield GridRow("" if first else prompt, [part], seeds)


def _join_before_after(before: Sheet, after: Sheet) -> list[GridRow]:
    """Rows of both, the same prompts and seeds side by side."""
    return [
        GridRow(new.label, [*old.groups, *new.groups], [*old.captions, *new.captions])
        for old, new in zip(before.rows, after.rows, strict=False)
    ]


def _heads(pipe: Pipeline) -> list[str]:
    """Names of the stages that are gone through."""
    named = [f"{stage.size} px" for stage in pipe.sampler.cascade.stages[: pipe.stages]]
    return [*named, f"{pipe.upscaler.name}, {pipe.size} px"] if pipe.upscaler else named


def _write_image(
    folder: Path, pipe: Pipeline, request: Request, number: int, image: np.ndarray
) -> Path:
    """One image as a file of its own."""
    prompt, seed = request.pairs[number]
    path = folder / image_file_name(number + 1, prompt, seed)
    grids.save_png(Image.fromarray(image), path, pipe.facts | {"prompt": prompt, "seed": f"{seed}"})
    return path


def _check_prompts(prompts: Sequence[str]) -> list[str]:
    """The prompts, each once and in one line.

    Raises:
        UsageError: none, or one that is not text.
    """
    if not prompts:
        raise UsageError(
            "PROMPTS", "nothing to sample", fix="type a prompt in quotes, or --prompts"
        )
    for prompt in prompts:
        if not prompt.isascii() and any("\ud800" <= letter <= "\udfff" for letter in prompt):
            raise UsageError(repr(prompt), "is not UTF-8 text", fix="type it again, or --prompts")
    return list(dict.fromkeys(" ".join(prompt.split()) for prompt in prompts))


def _describe_seeds(request: Request) -> str:
    last = request.seed + request.count - 1
    return str(last) if request.count == 1 else f"{request.seed} to {last}"


def _unconverged_warning(checkpoint: Path, cascade: Cascade, number: int) -> str:
    size = cascade.stages[number].size
    found = cascade.facts.convergence[str(size)]
    return (
        f"{checkpoint}: {sampling.describe_unconverged(size, found)}\n"
        f"  fix: --upscaler {upscalers.REALESRGAN} (for drawings), or train finetune --init "
        f"{checkpoint} --out NEW, with more images for that stage"
    )


def _say_what_is_missing(
    out: Path, request: Request, fitting: int, each: Path | None, progress: Progress
) -> None:
    """Say which prompts are not on the sheet, and which letters could not be drawn."""
    if fitting < len(request.prompts):
        where = f"all are in {each}" if each else "--each DIR writes every image to a file"
        progress.say(f"{out}: shows {fitting} of {len(request.prompts)} prompts; {where}")
    if lacking := lettering.missing_letters("".join(request.prompts[:fitting])):
        progress.say(
            f"{out}: no font here has {lacking[:20]}; their numbers are written instead (the PNG "
            "text has the prompts as they are)\n  fix: install a font such as Noto Sans CJK"
        )
