"""`train sample`: prompts sampled, laid out on one sheet, and each in a file of its own.

Letters in names: N images, H and W pixels.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from curate.errors import UsageError
from curate.system.files import write_bytes
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
IMAGE_LIST = "generated.jsonl"  # beside images: `file`, `prompt` and `seed` of each, as JSON lines


@dataclass(frozen=True)
class Request:
    """What to sample, every prompt with the same seeds, and what becomes of the images."""

    prompts: Sequence[str]  # "" asks for nothing in particular; repeats are sampled once
    count: int = 4  # images a prompt, with seeds `seed`, `seed` + 1, …
    seed: int = 0  # of each prompt's first image
    config: SamplingConfig = field(default_factory=SamplingConfig)
    before: Path | None = None  # another checkpoint, sampled alike, shown beside the first
    steps_shown: int | None = None  # show how each image comes to be: its noise, so many steps of
    # the base stage, and every stage; None for the finished images only
    upscaler: str | None = None  # `realesrgan` or a file: stands in for the stages from the first
    # that has not converged, or enlarges the finished images where all have
    out: Path = Path("samples.png")  # the sheet, which holds as many prompts as fit
    each: Path | None = None  # folder for one PNG an image, and a list of them, besides
    device: str = "auto"  # or `cpu`, `cuda`

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
        stages, scale = self.sampler.cascade.stages, self.upscaler.scale if self.upscaler else 1
        if self.upscaler and self.stages < len(stages):
            return self.sampler.size
        return Size(*(side * scale for side in stages[self.stages - 1].size))

    def sample(self, request: Request, shown: Sequence[int] = ()) -> Iterator[Samples]:
        """The images wanted, some at a time; an enlarged image counts as one more stage."""
        prompts, seeds = zip(*request.pairs, strict=True)
        for drawn in self.sampler.sample(prompts, seeds, shown=shown, stages=self.stages):
            if self.upscaler is None:
                yield drawn
            else:
                large = self.upscaler.upscale_to(drawn.stages[-1], self.size)
                yield replace(drawn, stages=[*drawn.stages, large])


def write_sheet(checkpoint: Path, request: Request, progress: Progress = SILENT) -> list[Path]:
    """Sample prompts and write one labelled sheet; returns the files written.

    Every PNG carries, as text, prompt, seed, hash of the checkpoint and how it was sampled; equal
    inputs give equal bytes, on one machine.

    Args:
        checkpoint: run folder, exported folder or model file.
        request: what to sample, how, and where to.
        progress: counts images; told what a user should know of the checkpoint and the sheet, such
            as prompts that do not fit it.

    Raises:
        UsageError: no prompt, one that is not text, or options that do not go together.
        InputError: a checkpoint or upscaler cannot be used, or a file cannot be written.
    """
    request = replace(request, prompts=_check_prompts(request.prompts))
    out, last = request.out, request.seed + request.count - 1
    if request.before is not None and request.steps_shown is not None:
        raise UsageError("--before", "cannot be shown step by step", fix="leave out --steps-shown")
    if out.suffix.lower() != ".png" or out.is_dir():
        meant = out / "samples.png" if out.is_dir() else out.with_suffix(".png")
        raise UsageError("--out", f"{out} is not a PNG file", fix=f"--out {meant}")
    earlier: Sheet | None = None
    if request.before is not None:  # first, and let go of: one cascade at a time is in memory
        alone = replace(request, each=None)
        earlier = _sample_sheet(request.before, alone, "sampling before", progress)
    what = "sampling" if earlier is None else "sampling after"
    made = _sample_sheet(checkpoint, request, what, progress)
    rows, heads = made.rows, made.heads
    seeds = str(last) if request.count == 1 else f"{request.seed} to {last}"
    facts = made.facts | {"prompt": "\n".join(request.prompts), "seed": seeds}
    if earlier is not None:
        facts["before"], heads = earlier.facts["checkpoint"], ["before", "after"]
        rows = [
            GridRow(new.label, [*old.groups, *new.groups], [*old.captions, *new.captions])
            for old, new in zip(earlier.rows, rows, strict=False)
        ]
    grids.save_png(grids.draw_table(rows, heads), out, facts)
    _say_what_is_missing(request, made.prompts, progress)
    return [out, *made.files]


def load_pipeline(checkpoint: Path, request: Request, progress: Progress) -> Pipeline:
    """A checkpoint ready to sample; says which of its stages has not converged.

    Raises:
        InputError: it, or the upscaler, cannot be used.
        UsageError: no such device or upscaler.
    """
    config, upscaler = request.config, request.upscaler
    sampler = sampling.load_sampler(checkpoint, device=request.device, config=config)
    cascade = sampler.cascade
    poor, total = first_unconverged_stage(cascade), len(cascade.stages)
    facts = {
        "checkpoint": cascade.digest,
        "steps": str(config.steps),
        "guidance": f"{config.guidance:g}",
    }
    if upscaler is None:
        if poor is not None:
            size = cascade.stages[poor].size
            measured = cascade.facts.convergence[str(size)]
            also = f"--upscaler {upscalers.REALESRGAN} (for drawings), or "
            progress.say(sampling.describe_unconverged(checkpoint, size, measured, also))
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
    later = enumerate(cascade.stages[1:], 1)
    poor = (n for n, s in later if measured.get(str(s.size), {}).get("converged") is False)
    return next(poor, None)


def image_file_name(number: int, prompt: str, seed: int) -> str:
    """Of one image: `0001-a-woman-mage-seed-7.png`; letters and digits of the prompt only."""
    words = "-".join(re.findall(r"[^\W_]+", prompt))[:NAME_LETTERS].strip("-")
    words = words.encode()[: 3 * NAME_LETTERS].decode(errors="ignore")
    return "-".join(filter(None, [f"{number:04d}", words, f"seed-{seed}"])) + ".png"


def write_lines(values: Sequence[Mapping[str, Any]]) -> bytes:
    """JSON lines, in UTF-8."""
    return "".join(json.dumps(v, ensure_ascii=False) + "\n" for v in values).encode()


def _write_list(folder: Path, files: Sequence[Path], pairs: Sequence[tuple[str, int]]) -> Path:
    """Which image shows what: with it, the folder can be verified as if the model drew again."""
    named = zip(files, pairs, strict=True)
    lines = [{"file": f.name, "prompt": prompt, "seed": seed} for f, (prompt, seed) in named]
    write_bytes(folder / IMAGE_LIST, write_lines(lines))
    return folder / IMAGE_LIST


@dataclass
class Sheet:
    """What was sampled, as far as it fits."""

    facts: dict[str, str]  # how
    rows: list[GridRow]
    heads: list[str]
    prompts: int  # how many of them are on the sheet
    files: list[Path]


def _sample_sheet(checkpoint: Path, request: Request, what: str, progress: Progress) -> Sheet:
    """Sample everything; keep what fits on a sheet, write each image if that is asked."""
    pipe = load_pipeline(checkpoint, request, progress)
    if what != "sampling before":  # of two, one says which prompts are cut
        pipe.sampler.encode_prompts(request.prompts, progress)
    stages, steps, pairs = pipe.sampler.cascade.stages, request.config.steps, request.pairs
    shown = sampling.informative_steps(stages[0], steps, request.steps_shown or 0)
    heads, groups = [""], [min(request.count, IMAGES_A_ROW)]
    lines = -(-request.count // IMAGES_A_ROW)
    if request.steps_shown is not None:
        heads = ["noise", *(f"after {s} of {steps} steps" for s in shown)]
        heads += [f"{stage.size} px" for stage in stages[: pipe.stages]]
        heads += [f"{pipe.upscaler.name}, {pipe.size} px"] if pipe.upscaler else []
        groups, lines = [1] * len(heads), request.count
    room = max(1, MAX_SHEET_PIXELS // (grids.table_pixels(pipe.size, groups) * lines))
    fitting = min(room, len(request.prompts))
    kept: list[list[np.ndarray]] = []  # of each image on the sheet, what is shown of it
    files: list[Path] = []
    progress.count(what, 0, len(pairs))
    for drawn in pipe.sample(request, shown):
        for n, finished in enumerate(drawn.stages[-1]):
            number = drawn.first + n
            if request.each is not None:
                prompt, seed = pairs[number]
                files.append(request.each / image_file_name(number + 1, prompt, seed))
                facts = pipe.facts | {"prompt": prompt, "seed": f"{seed}"}
                grids.save_png(Image.fromarray(finished), files[-1], facts)
            if number < fitting * request.count:
                whole = [drawn.noise_NHWC, *drawn.steps, *drawn.stages]
                alone = request.steps_shown is None
                kept.append([finished] if alone else [part[n] for part in whole])
        progress.count(what, drawn.first + len(drawn.noise_NHWC), len(pairs))
    if request.each is not None:
        files.append(_write_list(request.each, files, pairs))
    return Sheet(pipe.facts, list(_grid_rows(request, kept)), heads, fitting, files)


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


def _check_prompts(prompts: Sequence[str]) -> list[str]:
    """The prompts, each once and in one line."""
    if not prompts:
        raise UsageError(
            "PROMPTS", "nothing to sample", fix="type a prompt in quotes, or --prompts"
        )
    for prompt in prompts:
        if not prompt.isascii() and any("\ud800" <= letter <= "\udfff" for letter in prompt):
            raise UsageError(repr(prompt), "is not UTF-8 text", fix="type it again, or --prompts")
    return list(dict.fromkeys(" ".join(prompt.split()) for prompt in prompts))


def _say_what_is_missing(request: Request, fitting: int, progress: Progress) -> None:
    """Say which prompts are not on the sheet, and which letters could not be drawn."""
    out, each = request.out, request.each
    if fitting < len(request.prompts):
        where = f"all are in {each}" if each else "--each DIR writes every image to a file"
        progress.say(f"{out}: shows {fitting} of {len(request.prompts)} prompts; {where}")
    if lacking := lettering.missing_letters("".join(request.prompts[:fitting])):
        progress.say(
            f"{out}: no font here has {lacking[:20]}; their numbers are written instead (the PNG "
            "text has the prompts as they are)"
        )
        progress.say("  fix: install a font such as Noto Sans CJK")
