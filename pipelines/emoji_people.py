"""Teach a small model the word *mage*: the whole loop, with the commands a user types.

`python -m pipelines.emoji_people --out demo` fetches images of people (3D emoji, MIT), trains a
two-stage cascade that never saw a mage, lets `curate vocab-gaps` find the word that the prompts
ask for and the captions lack, fetches twelve mages, fine-tunes, and measures what changed. With
`--known`, `--new`, `--truth`, `--word` and `--prompts` the same recipe runs on any folders of
captioned images. Typing the command again goes on where it stopped.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from curate.errors import CurateError, InputError
from curate.system.terminal import TerminalProgress
from pipelines.stages import Command, Outcome, Stage, run

HERE = Path(__file__).parent
SIZE = 64  # pixels a side of what is trained on and drawn
IMAGES = {"base": (46_000, 22_000), "taught": (12_000, 4_000)}  # seen by each stage of the cascade
TRAINING = ("--stages", "16,64", "--seed", "0")
SAMPLES = 200  # images behind each figure

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Plan:
    """Which images teach which word, and where everything is written."""

    out: Path
    known: Path  # captioned images without the word
    new: Path  # captioned images with it
    truth: Path  # every true image: the reference of the measurement, never trained on
    word: str
    prompts: Path
    licence: str | None  # for folders that state none
    fraction: float  # of the training

    def data(self, name: str) -> Path:
        """The dataset folder of this name."""
        return self.out / f"{name}-data"


def recipe_stages(plan: Plan, *, own_pictures: bool) -> list[Stage]:
    """The recipe, in the order it runs."""
    known, new, truth = (plan.data(n) for n in ("people", "new", "truth"))
    base, taught = plan.out / "base", plan.out / "taught"
    first = [] if own_pictures else [_images_stage(plan)]
    needs = tuple(s.name for s in first)
    return [
        *first,
        _dataset_stage("known-data", "The images at hand", plan.known, known, plan, needs),
        _gaps_stage("gaps-before", plan, (known,), needs=("known-data",), exits=(1,)),
        _training_stage("base", "Train without the word", known, base, plan, needs=("known-data",)),
        _dataset_stage("new-data", f"Fetch what teaches {plan.word}", plan.new, new, plan, needs),
        _gaps_stage(
            "gaps-after",
            plan,
            (known, new),
            needs=("known-data", "new-data", "gaps-before"),
            exits=(0,),  # nothing is worse than before
            baseline=plan.out / "gaps-before.json",
        ),
        _training_stage(
            "taught",
            f"Teach the word {plan.word}",
            new,
            taught,
            plan,
            needs=("base", "new-data"),
            more=("--init", str(base), "--replay", str(known)),
        ),
        _dataset_stage("truth-data", "All true images", plan.truth, truth, plan, needs, whole=True),
        _verify_stage(plan, base, taught, truth, (known, new)),
        _page_stage(plan),
    ]


def _images_stage(plan: Plan) -> Stage:
    folder = plan.known.parent
    words = ("python", "-m", "pipelines.pictures_and_labels", "--out", str(folder))
    return Stage(
        name="pictures",
        title="Images and labels from npm",
        commands=(Command((*words, "--packages", str(plan.out / "packages"))),),
        outputs=(plan.known, plan.new, plan.truth),
        inputs=(HERE / "pictures_and_labels.py",),
    )


def _dataset_stage(
    name: str,
    title: str,
    folder: Path,
    data: Path,
    plan: Plan,
    needs: tuple[str, ...],
    *,
    whole: bool = False,
) -> Stage:
    """From a folder to shards.

    A `whole` set skips dedup: the reference of a measurement must hold every true image, and
    two of the emoji (a person and a man in a space suit, both dark) differ in their eyebrows only.
    """
    at = ("--data", str(data))
    licence = ("--license", plan.licence) if plan.licence else ()
    status = data / "status.json"
    lines = (
        ("fetch", "folder", str(folder), *licence, *at),
        ("check", *at),
        *([] if whole else [("dedup", *at)]),
        ("caption", *at, "--per-image", "1"),
        ("pack", *at, "--size", str(SIZE), "--format", "png"),
    )
    commands = [Command(("curate", *line)) for line in lines]
    return Stage(
        name=name,
        title=title,
        commands=(*commands, Command(("curate", "status", *at, "--json"), into=status)),
        outputs=(data,),
        needs=needs,
        inputs=() if needs else (folder,),
        check=lambda: nothing_lost(status, data),
    )


def nothing_lost(status: Path, data: Path) -> None:
    """Refuse a dataset that lost an image: people who differ in skin tone are no duplicates.

    Raises:
        InputError: a row was dropped.
    """
    report = json.loads(status.read_bytes())
    dropped = {reason: n for reason, n in report["dropped"].items() if n}
    if dropped:
        found = ", ".join(f"{n} as {reason}" for reason, n in sorted(dropped.items()))
        raise InputError(
            data,
            f"{sum(dropped.values())} of {report['rows']} images were dropped ({found})",
            fix=f"curate status --data {data}, then curate explain KEY; this recipe needs them all",
        )


def _gaps_stage(
    name: str,
    plan: Plan,
    data: tuple[Path, ...],
    *,
    needs: tuple[str, ...],
    exits: tuple[int, ...],
    baseline: Path | None = None,
) -> Stage:
    folders = [word for folder in data for word in ("--data", str(folder))]
    json_file, page = plan.out / f"{name}.json", plan.out / f"{name}.html"
    words = ["curate", "vocab-gaps", str(plan.prompts), *folders]
    words += ["--baseline", str(baseline)] if baseline else []
    moment = "before" if name.endswith("before") else "after"
    return Stage(
        name=name,
        title=f"What the prompts ask for, {moment}",
        commands=(Command((*words, "--json", str(json_file), "--html", str(page)), exits),),
        outputs=(json_file, page),
        needs=needs,
        inputs=(plan.prompts,),
        check=(lambda: word_is_missing(json_file, plan.word)) if moment == "before" else None,
    )


def word_is_missing(report: Path, word: str) -> None:
    """Refuse to go on if the captions at hand already teach the word.

    Raises:
        InputError: the report does not call the word missing.
    """
    items = json.loads(report.read_bytes())["items"]
    verdicts = [i["verdict"] for i in items if i["kind"] == "word" and i["unit"] == word]
    if verdicts not in (["missing"], ["unknown-word"]):
        said = verdicts[0] if verdicts else "asked for by no prompt"
        raise InputError(report, f"{word!r} is {said}, not missing", fix="choose another --word")


def _training_stage(
    name: str,
    title: str,
    data: Path,
    folder: Path,
    plan: Plan,
    *,
    needs: tuple[str, ...],
    more: tuple[str, ...] = (),
) -> Stage:
    images = ",".join(str(max(64, round(n * plan.fraction))) for n in IMAGES[name])
    words = ("train", "finetune", "--shards", str(data), *more, "--out", str(folder))
    return Stage(
        name=name,
        title=title,
        commands=(Command((*words, *TRAINING, "--images", images)),),
        outputs=(folder,),
        needs=needs,
    )


def _verify_stage(
    plan: Plan, base: Path, taught: Path, truth: Path, trained: tuple[Path, ...]
) -> Stage:
    folder = plan.out / "verify"
    seen = [word for data in trained for word in ("--trained", str(data))]
    words = ("train", "verify", str(taught), "--word", plan.word, "--before", str(base))
    rest = ("--shards", str(truth), *seen, "--samples", str(SAMPLES), "--out", str(folder))
    return Stage(
        name="verify",
        title=f"Does {plan.word} work now, and is nothing forgotten?",
        commands=(Command((*words, *rest), (0, 1)),),
        outputs=(folder / "verify.json", folder / "verify.png"),
        needs=("base", "taught", "truth-data"),
    )


def _page_stage(plan: Plan) -> Stage:
    words = ("python", "-m", "pipelines.page", "--out", str(plan.out), "--word", plan.word)
    return Stage(
        name="page",
        title="The page and the picture",
        commands=(Command((*words, "--prompts", str(plan.prompts))),),
        outputs=(plan.out / "index.html", plan.out / "before-after.png"),
        needs=("gaps-before", "gaps-after", "verify"),
        inputs=(HERE / "page.py", HERE / "page.html.j2", plan.prompts),
    )


def summary(outcomes: list[Outcome], seconds: float) -> list[str]:
    """The last lines: what ran now, what the whole recipe took."""
    ran = sum(o.ran for o in outcomes)
    total = sum(o.wall for o in outcomes)
    memory = max((c.memory for o in outcomes for c in o.costs), default=0.0)
    again = [o.stage.name for o in outcomes if o.attempts > 1]
    note = f" (last attempts only, of {', '.join(again)})" if again else ""
    return [
        f"{ran} of {len(outcomes)} stages ran, in {seconds:.1f} s; all stages together took "
        f"{total / 60:.1f} minutes{note}, {memory:.0f} MiB at the peak"
    ]


@app.command()
def recipe(
    out: Annotated[Path, typer.Option(help="Folder for everything that is written.")] = Path(
        "demo"
    ),
    known: Annotated[
        Path | None, typer.Option(help="Own captioned images, lacking the word.")
    ] = None,
    new: Annotated[Path | None, typer.Option(help="Own captioned images that show it.")] = None,
    truth: Annotated[Path | None, typer.Option(help="All true images, to measure by.")] = None,
    word: Annotated[str, typer.Option(help="The word to teach.")] = "mage",
    prompts: Annotated[Path, typer.Option(help="Prompts, one a line.")] = HERE / "prompts.txt",
    licence: Annotated[
        str | None, typer.Option("--license", help="SPDX id, where own images state none.")
    ] = None,
    fraction: Annotated[
        float, typer.Option(min=0.001, max=100.0, help="Train this many times as long.")
    ] = 1.0,
) -> None:
    """Find the word that the images lack, fetch images, teach it, measure; then show a page."""
    own = [f for f in (known, new, truth) if f is not None]
    if len(own) not in (0, 3):
        raise typer.BadParameter("name all three folders: --known, --new and --truth")
    pictures = out / "pictures"
    plan = Plan(
        out=out,
        known=known or pictures / "people",
        new=new or pictures / "mages",
        truth=truth or pictures / "truth",
        word=word,
        prompts=_relative_path(prompts),
        licence=licence,
        fraction=fraction,
    )
    started = time.monotonic()
    progress = TerminalProgress()
    outcomes = run(
        recipe_stages(plan, own_pictures=bool(own)), state=out / "stages", progress=progress
    )
    for line in summary(outcomes, time.monotonic() - started):
        progress.say(line)
    typer.echo(f"{out / 'index.html'}\n{out / 'before-after.png'}")


def _relative_path(path: Path) -> Path:
    """As a user types it from the folder the command runs in."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def main(argv: list[str] | None = None) -> None:
    """Run the recipe; what a user can act on becomes one message on stderr."""
    try:
        app(args=argv, prog_name="python -m pipelines.emoji_people")
    except CurateError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
