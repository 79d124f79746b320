"""Teach a small model a word from two folders of images: the whole loop, as a user types it.

    python -m pipelines.teach --known DIR --new DIR --word sunflower --prompts FILE --license own

makes datasets of both folders, lets `curate vocab-gaps` find that the prompts ask for the word
and the known captions lack it, trains a cascade on the known images, fine-tunes it on the new ones
with the known mixed in, measures what changed, and ends with a page. Typing the command again goes
on where it stopped. The exit code is that of `train verify`.
"""

import time
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from curate.errors import UsageError
from curate.system import terminal
from curate.system.progress import Progress
from curate.system.terminal import TerminalProgress
from pipelines import inputs
from pipelines.inputs import Recipe
from pipelines.stages import Command, Outcome, Stage, run

HERE = Path(__file__).parent
IMAGES = {"base": (46_000, 22_000), "taught": (12_000, 4_000)}  # seen by the first stage, by others
VERDICTS = (0, 1, 6)  # exit codes of `train verify`: works, does not work, cannot tell

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def recipe_stages(recipe: Recipe, first: Stage | None = None) -> list[Stage]:
    """The recipe, in the order it runs; `first` makes its folders of images.

    All that can be wrong with images, captions and prompts is found before anything is trained.
    """
    before = (first.name,) if first else ()
    datasets = [_dataset_stage(name, recipe, before) for name in ("known", "new", "truth")]
    known, new = recipe.data("known"), recipe.data("new")
    return [
        *([first] if first else []),
        *datasets,
        _gaps_stage("before", recipe, (known,)),
        _gaps_stage("after", recipe, (known, new)),
        _training_stage("base", "Train without the word", recipe),
        _training_stage("taught", f"Teach the word {recipe.word}", recipe),
        _verify_stage(recipe),
        _page_stage(recipe),
    ]


TITLES = {"known": "The images at hand", "new": "Images that show the word", "truth": "True images"}


def _dataset_stage(name: str, recipe: Recipe, before: tuple[str, ...]) -> Stage:
    """From folders to shards.

    A folder of true images skips dedup: what others are compared with must hold every true image,
    and two of the emoji (a person and a man in a space suit, both dark) differ in their eyebrows
    only. The true images of both folders do not, so that an image in both counts once.
    """
    at = ("--data", str(recipe.data(name)))
    status = recipe.data(name) / "status.json"
    licence = ("--license", recipe.licence) if recipe.licence else ()
    folders, both = recipe.folders(name), name == "truth" and recipe.truth is None
    steps = [
        *(("fetch", "folder", str(folder), *licence, *at) for folder in folders),
        ("check", *at),
        *([] if name == "truth" and not both else [("dedup", *at)]),
        ("caption", *at, "--per-image", "4" if both else "1"),
    ]

    def look(progress: Progress) -> None:
        if both:
            inputs.tell_shared(recipe, progress)
        elif name != "truth":
            inputs.refuse_unusable(name, recipe, progress)

    pack = ("pack", *at, "--size", str(recipe.sides[-1]), "--format", "png")
    commands = [Command(("curate", *step)) for step in steps]
    return Stage(
        name=f"{name}-data",
        title=TITLES[name],
        commands=(
            *commands,
            Command(("curate", "status", *at, "--json"), into=status, check=look),
            Command(("curate", *pack)),
        ),
        outputs=(recipe.data(name),),
        needs=before or (("known-data", "new-data") if both else ()),
        inputs=() if before else folders,
    )


def _gaps_stage(when: str, recipe: Recipe, data: tuple[Path, ...]) -> Stage:
    """What the prompts lack; afterwards, what they lack still, and nothing that they had."""
    folders = [word for folder in data for word in ("--data", str(folder))]
    report, page = recipe.out / f"gaps-{when}.json", recipe.out / f"gaps-{when}.html"
    words = ["curate", "vocab-gaps", str(recipe.prompts), *folders]
    needs: tuple[str, ...] = ("known-data",)
    if when == "after":
        words += ["--baseline", str(recipe.out / "gaps-before.json")]
        needs = ("known-data", "new-data", "gaps-before")
    return Stage(
        name=f"gaps-{when}",
        title=f"What the prompts ask for, {when}",
        commands=(
            Command(
                (*words, "--json", str(report), "--html", str(page)),
                exits=(0, 1),
                check=lambda _: inputs.refuse_gap(report, when, recipe),
            ),
        ),
        outputs=(report, page),
        needs=needs,
        inputs=(recipe.prompts,),
    )


def _training_stage(name: str, title: str, recipe: Recipe) -> Stage:
    """One training a run; a model is taught from the base of the same seed."""
    known, new = recipe.data("known"), recipe.data("new")
    first, *rest = IMAGES[name]
    seen = (first, *(rest * (len(recipe.sides) - 1)))
    images = ",".join(str(max(64, round(n * recipe.fraction))) for n in seen)
    commands = []
    for seed, (base, folder) in enumerate(
        zip(recipe.models("base"), recipe.models(name), strict=True)
    ):
        shards, words = known, ["--stages", ",".join(map(str, recipe.sides))]
        words += ["--model-size", recipe.model_size]
        if name == "taught":
            shards, words = new, ["--init", str(base), "--replay", str(known)]
        words += ["--out", str(folder), "--images", images]
        words += ["--seed", str(seed)] if recipe.runs > 1 else []
        words += ["--config", str(recipe.config)] if recipe.config else []
        commands.append(Command(("train", "finetune", "--shards", str(shards), *words)))
    return Stage(
        name=name,
        title=title,
        commands=tuple(commands),
        outputs=(recipe.out / name,),
        needs=("known-data", "new-data", "base") if name == "taught" else ("known-data",),
        inputs=(recipe.config,) if recipe.config else (),
    )


def _verify_stage(recipe: Recipe) -> Stage:
    folder = recipe.out / "verify"
    words = ["train", "verify", *map(str, recipe.models("taught")), "--word", recipe.word]
    words += ["--before", str(recipe.models("base")[0]), "--shards", str(recipe.data("truth"))]
    words += [word for name in ("known", "new") for word in ("--trained", str(recipe.data(name)))]
    words += ["--samples", str(recipe.samples), "--out", str(folder)]
    return Stage(
        name="verify",
        title=f"Does {recipe.word} work now, and is nothing forgotten?",
        commands=(Command(tuple(words), VERDICTS),),
        outputs=(folder / "verify.json", folder / "verify.png"),
        needs=("base", "taught", "truth-data"),
    )


def _page_stage(recipe: Recipe) -> Stage:
    words = ["python", "-m", "pipelines.page", "--out", str(recipe.out), "--word", recipe.word]
    words += ["--models", *(str(recipe.models(name)[0]) for name in ("base", "taught"))]
    words += ["--prompts", str(recipe.prompts), "--credits", str(recipe.known / "CREDITS.txt")]
    return Stage(
        name="page",
        title="The page and the picture",
        commands=(Command(tuple(words)),),
        outputs=(recipe.out / "index.html", recipe.out / "before-after.png"),
        needs=("gaps-before", "gaps-after", "verify"),
        inputs=(HERE / "page.py", HERE / "page.html.j2", recipe.prompts),
    )


def teach(recipe: Recipe, first: Stage | None = None) -> int:
    """Run the recipe and print where its page and picture lie.

    Returns:
        The exit code of `train verify`: 0 the word works, 1 it does not, 6 nobody can tell.

    Raises:
        CurateError: folders, images, captions or prompts cannot be used, or a command failed.
    """
    if first is None:
        inputs.refuse_folders(recipe)
    started = time.monotonic()
    with TerminalProgress() as progress:
        outcomes = run(recipe_stages(recipe, first), state=recipe.out / "stages", progress=progress)
        progress.say(summary(outcomes, time.monotonic() - started))
    typer.echo(f"{recipe.out / 'index.html'}\n{recipe.out / 'before-after.png'}")
    (verified,) = (outcome for outcome in outcomes if outcome.stage.name == "verify")
    return verified.costs[-1].exit


def summary(outcomes: list[Outcome], seconds: float) -> str:
    """The last line: what ran now, what the whole recipe took."""
    ran = sum(outcome.ran for outcome in outcomes)
    wall = sum(outcome.wall for outcome in outcomes) / 60
    cpu = sum(outcome.cpu for outcome in outcomes) / 60
    memory = max((c.memory for o in outcomes for c in o.costs), default=0.0)
    again = [o.stage.name for o in outcomes if o.attempts > 1]
    note = f" (last attempts only, of {', '.join(again)})" if again else ""
    return (
        f"{ran} of {len(outcomes)} stages ran, in {seconds:.1f} s; all stages together took "
        f"{wall:.1f} minutes, {cpu:.1f} CPU-minutes{note}, {memory:.0f} MiB at the peak"
    )


@app.command()
def command(  # noqa: PLR0913 one a documented option
    known: Annotated[Path, Option(help="Folder of captioned images that lack the word.")],
    new: Annotated[Path, Option(help="Folder of captioned images that show it.")],
    word: Annotated[str, Option(help="The word to teach, or words in a row.")],
    prompts: Annotated[Path, Option(help="Prompts, one a line.")],
    out: Annotated[Path, Option(help="Folder for everything that is written.")] = Path("lesson"),
    truth: Annotated[
        Path | None, Option(help="All true images, to measure by; else those of both folders.")
    ] = None,
    licence: Annotated[
        str | None, Option("--license", help="SPDX id where images state none; own: you made them.")
    ] = None,
    stages: Annotated[str, Option(help="Pixels of the model's stages, first to last.")] = "16,64",
    fraction: Annotated[
        float, Option(min=0.001, max=100.0, help="Train this many times as long.")
    ] = 1.0,
    model_size: Annotated[str, Option(help="Network: tiny, small, base or large.")] = "small",
    config: Annotated[Path | None, Option(help="TOML file for train finetune.")] = None,
    samples: Annotated[int, Option(min=1, help="Images behind each figure, at least.")] = 200,
    runs: Annotated[int, Option(min=1, help="Models to train, each with its own seed.")] = 1,
) -> None:
    """Teach a word from two folders of images, measure it, and show a page."""
    try:
        sides = tuple(int(side) for side in stages.split(","))
    except ValueError:
        problem = f"{stages!r} is not whole numbers between commas"
        raise UsageError("--stages", problem, fix="such as --stages 16,64") from None
    recipe = Recipe(
        *(known, new, word.casefold().strip(), relative_path(prompts), out, truth, licence),
        *(sides, fraction, model_size, config, samples, runs),
    )
    raise typer.Exit(teach(recipe))


def relative_path(path: Path) -> Path:
    """As a user types it from the folder the command runs in."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def run_app(app: typer.Typer, module: str, argv: list[str] | None = None) -> None:
    """Run a recipe's command; what a user can act on becomes one message on stderr."""
    with terminal.command_line():
        app(args=argv, prog_name=f"python -m {module}")


if __name__ == "__main__":
    run_app(app, "pipelines.teach")
