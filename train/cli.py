"""The command line: parse, make one call, print. Nothing is decided here."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer import Argument, Option

from curate.errors import UsageError
from curate.system import terminal
from curate.system.commands import program

if TYPE_CHECKING:
    from train.config import TrainConfig
    from train.verification.verify import Models

Part = TypeVar("Part")

app = program("Train a pixel cascade on your shards, sample from it, and verify its words.")

Shards = Annotated[
    Path,
    Option(
        "--shards",
        help="Shards or their dataset folder; or a folder of images, tars, a Hugging Face folder.",
    ),
]
Init = Annotated[Path | None, Option("--init", help="Checkpoint to start from; else from scratch.")]
Stages = Annotated[
    str | None, Option("--stages", help="Pixels, base first: 16,64 or 16x32,64x128.")
]
Images = Annotated[str | None, Option("--images", help="Images seen by each stage: 48000,18000.")]
ModelSize = Annotated[
    str | None, Option("--model-size", help="Network: tiny, small, base or large.")
]
Config = Annotated[Path | None, Option("--config", help="TOML file with any other setting.")]
Device = Annotated[str, Option("--device", help="auto, cpu or cuda.")]
AsJson = Annotated[bool, Option("--json", help="Print JSON instead of a table.")]


@app.command()
def plan(
    stages: Stages = None,
    images: Images = None,
    model_size: ModelSize = None,
    init: Init = None,
    settings: Config = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Say what a run will cost in memory and time, before it starts; exit 2 if it cannot fit."""
    from train.training import plan as planning

    chosen = _resolve_settings(init, settings, stages=stages, images=images, model_size=model_size)
    every = model_size is None and init is None and settings is None
    with terminal.TerminalProgress() as progress:
        found = planning.plan_run(
            chosen, every_size=every, init=init, device=device, progress=progress
        )
    planning.print_plan(found, as_json=as_json)


@app.command(kept="what was last saved of the run is kept")
def finetune(  # noqa: PLR0913 one a documented option
    shards: Shards,
    run: Annotated[Path, Option("--out", help="Folder of this run.")] = Path("run"),
    init: Init = None,
    replay: Annotated[
        Path | None, Option(help="Old shards, mixed in so nothing is forgotten.")
    ] = None,
    regularization: Annotated[
        Path | None, Option(help="Shards of images that --init sampled, mixed in.")
    ] = None,
    stages: Stages = None,
    images: Images = None,
    model_size: ModelSize = None,
    seed: Annotated[int | None, Option(help="Seed of everything random.")] = None,
    runs: Annotated[
        int | None,
        Option(min=1, help="Train N models, each with a seed of its own, in OUT/seed-0 and so on."),
    ] = None,
    settings: Config = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train on shards; the same command again finishes what was interrupted."""
    from train.training import distributed, log
    from train.training import run as training_run

    chosen = _resolve_settings(
        init, settings, stages=stages, images=images, model_size=model_size, seed=seed
    )
    recipe, made = training_run.Recipe(shards, chosen, init, replay, regularization, settings), []
    with terminal.TerminalProgress() as progress:
        if runs is None:
            training_run.finetune(recipe, run, device=device, progress=progress)
        else:
            made = training_run.finetune_runs(recipe, run, runs, device=device, progress=progress)
    if distributed.rank_and_world_size()[0] == 0:  # of several processes, the one that speaks
        log.show_results(made, as_json=as_json) if made else log.show_result(run, as_json=as_json)


@app.command(kept="what --each wrote is kept")
def sample(  # noqa: PLR0913 one a documented option
    checkpoint: Annotated[Path, Argument(help="Run folder, exported folder or model file.")],
    prompts: Annotated[list[str] | None, Argument(help="Prompts, each in quotes.")] = None,
    file: Annotated[
        Path | None, Option("--prompts", help="File of more prompts, one a line; - for a pipe.")
    ] = None,
    count: Annotated[int, Option(min=1, help="Images a prompt.")] = 4,
    seed: Annotated[
        int, Option(min=0, help="Seed of each prompt's first image; the others follow.")
    ] = 0,
    guidance: Annotated[float, Option(min=0.0, help="Guidance scale; 1 is off.")] = 1.5,
    steps: Annotated[int, Option(min=2, help="Sampling steps of the base stage.")] = 12,
    before: Annotated[
        Path | None, Option(help="Checkpoint to sample beside it, same seeds.")
    ] = None,
    steps_shown: Annotated[
        int | None,
        Option(min=0, help="Show noise, N denoising steps and every stage of each image."),
    ] = None,
    upscaler: Annotated[
        str | None, Option(help="realesrgan (illustrations) or a file that spandrel reads.")
    ] = None,
    out: Annotated[Path, Option(help="PNG file to write.")] = Path("samples.png"),
    each: Annotated[
        Path | None, Option(help="Write every image to a PNG of its own here, too.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Sample prompts onto one labelled sheet."""
    from curate.prompts.reader import read_texts
    from train.sampling import sheets
    from train.sampling.sampler import SamplingConfig

    with terminal.TerminalProgress() as progress:
        asked = [*(prompts or []), *(read_texts(file, progress=progress) if file else [])]
        config = SamplingConfig(steps=steps, guidance=guidance)
        request = sheets.Request(
            asked, count, seed, config, before, steps_shown, upscaler, out, each, device
        )
        files = sheets.write_sheet(checkpoint, request, progress)
    terminal.write_stdout("".join(f"{path}\n" for path in files))


Words = Annotated[list[str], Option("--word", help="Word to verify; again for more words.")]
TrueShards = Annotated[
    Path, Option("--shards", help="Real images, the word's among them, to compare with.")
]
Drawers = Annotated[
    list[Path] | None,
    Argument(
        metavar="MODEL",
        help="What draws, after training: run folder, model file, diffusers folder; several "
        "of one recipe, trained from different seeds.",
    ),
]
Generated = Annotated[
    Path | None, Option(help="Instead, images drawn elsewhere, with generated.jsonl.")
]
BeforeGenerated = Annotated[
    Path | None, Option(help="Instead, images drawn elsewhere before training.")
]
Along = Annotated[
    bool, Option("--snapshots", help="Only draw the word's curve along the snapshots of one run.")
]
WritePrompts = Annotated[
    Path | None, Option(help="Only write what is to be drawn elsewhere, as JSON lines.")
]
DrawnSize = Annotated[
    str | None,
    Option("--size", help="Pixels of images drawn elsewhere or by diffusers: 512, 512x768."),
]
Trained = Annotated[
    list[Path] | None,
    Option(help="Shards it was trained on: tells seen from unseen prompts, copies, style."),
]
PromptFile = Annotated[
    Path | None, Option(help="File of prompts, - for a pipe; else the captions of --shards.")
]
Scorers = Annotated[
    str,
    Option(
        "--scorer",
        help="auto; nearest, contrastive, examples:ENCODER, neighbours:ENCODER, "
        "open_clip:MODEL:WEIGHTS, vlm:FOLDER, MODULE:FUNCTION, between commas.",
    ),
]


@app.command(kept="the images that were drawn are kept")
def verify(  # noqa: PLR0913 one a documented option
    words: Words,
    shards: TrueShards,
    models: Drawers = None,
    generated: Generated = None,
    before: Annotated[Path | None, Option(help="What draws, before training.")] = None,
    before_generated: BeforeGenerated = None,
    lora: Annotated[Path | None, Option(help="LoRA for a diffusers folder.")] = None,
    snapshots: Along = False,
    write_prompts: WritePrompts = None,
    size: DrawnSize = None,
    trained: Trained = None,
    prompts: PromptFile = None,
    samples: Annotated[int, Option(min=1, help="Images behind each number, at least.")] = 200,
    seed: Annotated[int, Option(min=0, help="Seed of the images.")] = 0,
    scorer: Scorers = "auto",
    at_least: Annotated[float, Option(min=0, max=1, help="Share that must show the word.")] = 0.9,
    at_most_loss: Annotated[float, Option(min=0, max=1, help="Share old words may lose.")] = 0.05,
    out: Annotated[Path | None, Option(help="Folder for page, images and JSON.")] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Draw with and without the word, before and after, and judge.

    Exit code 0: each word works; 1: one does not; 6: that cannot be told of one.
    """
    from train.verification import snapshots as curve
    from train.verification import tables
    from train.verification import verify as checking
    from train.verification.verdict import Rule, join_exit_codes

    test = checking.WordTest(words, prompts, samples, seed, Rule(at_least, at_most_loss))
    truth = checking.Truth(shards, trained or [], scorer)
    drawn = _drawn_by(models, generated, before, before_generated, lora, size, device)
    with terminal.TerminalProgress() as progress:
        if write_prompts:
            checking.write_prompts(write_prompts, test, drawn, truth, progress=progress)
            return
        if snapshots:
            curves = curve.verify_snapshots(test, drawn, truth, out=out, progress=progress)
            curve.print_curves(curves, as_json=as_json)
            return
        found = checking.verify_words(test, drawn, truth, out=out, progress=progress)
    tables.print_reports(*found, as_json=as_json)
    raise typer.Exit(join_exit_codes(found))


def _drawn_by(
    models: list[Path] | None,
    generated: Path | None,
    before: Path | None,
    before_generated: Path | None,
    lora: Path | None,
    size: str | None,
    device: str,
) -> "Models":
    """What draws, after and before, each named in one way."""
    from train.size import Size
    from train.verification.verify import Models

    if models and generated:
        problem = f"{models[0]} is named as well: which of them is to be verified?"
        raise UsageError("--generated", problem, fix="leave one of the two out")
    if before and before_generated:
        problem = f"{before} is named as well (--before)"
        raise UsageError("--before-generated", problem, fix="leave one of the two out")
    try:
        side = None if size is None else Size.of(size)
    except ValueError:
        fix = "such as --size 512 or 512x768"
        raise UsageError("--size", f"{size!r} is no size", fix=fix) from None
    after = [generated] if generated else models or []
    return Models(after, before or before_generated, lora, side, device)


@app.command()
def export(
    checkpoint: Annotated[Path, Argument(help="Run folder or model file.")],
    out: Annotated[Path, Option(help="Folder to write; new or empty.")],
    verified: Annotated[
        list[Path] | None, Option("--verify", help="Report of train verify, one a word.")
    ] = None,
    gaps: Annotated[Path | None, Option(help="JSON report of curate vocab-gaps.")] = None,
    rights_basis: Annotated[
        str | None, Option(help="Why images that no policy judged may be used; the card says it.")
    ] = None,
) -> None:
    """Write a folder to publish: weights, settings, model card with credits and figures."""
    from train.publish import export as publishing

    with terminal.TerminalProgress() as progress:
        files = publishing.export_model(
            checkpoint,
            out,
            verify=verified or [],
            gaps=gaps,
            rights_basis=rights_basis,
            progress=progress,
        )
    terminal.write_stdout("".join(f"{path}\n" for path in files))


def _resolve_settings(init: Path | None, file: Path | None, **typed: Any) -> "TrainConfig":
    """What was typed over what the file says over what the checkpoint is."""
    from train import config
    from train.size import Size
    from train.training import run as training_run

    typed["stages"] = parse_list("--stages", typed["stages"], Size.of, "sizes", "16,64")
    typed["images"] = parse_list("--images", typed["images"], int, "whole numbers", "32,64")
    if init is not None:
        typed = training_run.inherit(init, config.read(file), typed)
    return config.load_config(file, typed)


def parse_list(
    option: str, text: str | None, parse: Callable[[str], Part], kind: str, example: str
) -> tuple[Part, ...] | None:
    """What stands between commas, such as sizes (16,64 or 16x32,64x128); None for None.

    Raises:
        UsageError: `parse` refuses a part.
    """
    if text is None:
        return None
    try:
        return tuple(parse(part.strip()) for part in text.split(","))
    except ValueError:
        problem = f"{text!r} is not {kind} between commas"
        raise UsageError(option, problem, fix=f"such as {option} {example}") from None


RENAMED_OPTIONS = {  # options, by their command and the name they had
    ("plan", "--size"): "--model-size",
    ("finetune", "--size"): "--model-size",
    ("finetune", "--prior"): "--regularization",
}


def _refuse_renamed(words: Sequence[str]) -> None:
    for word in words:
        old = word.partition("=")[0]
        if new := RENAMED_OPTIONS.get((words[0], old)):
            raise UsageError(old, "no such option", fix=f"it is called {new} now")


def main(argv: list[str] | None = None) -> None:
    """Run the command; a CurateError becomes one message on stderr and its exit code."""
    with terminal.command_line():
        _refuse_renamed(sys.argv[1:] if argv is None else argv)
        app(args=argv, prog_name="train")


if __name__ == "__main__":
    main()
