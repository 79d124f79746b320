"""Teach a small model the word *mage*: the recipe of `pipelines.teach`, with fetched emoji.

`python -m pipelines.emoji_people --out demo` fetches images of people (3D emoji, MIT) and goes
through the recipe with those that show no mage, twelve mages, and all true images to measure by.
Typing the command again goes on where it stopped.
"""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from pipelines.inputs import Recipe
from pipelines.stages import Command, Stage
from pipelines.teach import HERE, relative_path, run_app, teach

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def images_stage(recipe: Recipe) -> Stage:
    """Fetch the folders that the recipe starts from."""
    assert recipe.truth is not None
    words = ("python", "-m", "pipelines.pictures_and_labels", "--out", str(recipe.truth.parent))
    return Stage(
        name="pictures",
        title="Images and labels from npm",
        commands=(Command((*words, "--packages", str(recipe.out / "packages"))),),
        outputs=(recipe.known, recipe.new, recipe.truth),
        inputs=(HERE / "pictures_and_labels.py",),
    )


def emoji_recipe(out: Path, fraction: float = 1.0, runs: int = 1) -> Recipe:
    """The recipe of the demo."""
    pictures = out / "pictures"
    return Recipe(
        known=pictures / "people",
        new=pictures / "mages",
        truth=pictures / "truth",
        word="mage",
        prompts=relative_path(HERE / "prompts.txt"),
        out=out,
        fraction=fraction,
        runs=runs,
    )


@app.command()
def command(
    out: Annotated[Path, Option(help="Folder for everything that is written.")] = Path("demo"),
    fraction: Annotated[
        float, Option(min=0.001, max=100.0, help="Train this many times as long.")
    ] = 1.0,
    runs: Annotated[int, Option(min=1, help="Models to train, each with its own seed.")] = 1,
) -> None:
    """Find the word that the images lack, fetch images, teach it, measure; then show a page."""
    recipe = emoji_recipe(out, fraction, runs)
    raise typer.Exit(teach(recipe, images_stage(recipe)))


if __name__ == "__main__":
    run_app(app, "pipelines.emoji_people")
