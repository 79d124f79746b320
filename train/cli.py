"""The command line: parse, make one call, print. Nothing is decided here."""

from pathlib import Path
from typing import Annotated, Any

import typer

from curate.errors import CurateError, UsageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Teach a pixel cascade the words of your shards, draw with it, and check the words.",
)

Shards = Annotated[Path, typer.Option("--shards", help="Shards, or the dataset folder with them.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def finetune(
    shards: Shards,
    run: Annotated[Path, typer.Option("--out", help="Folder of this run.")] = Path("run"),
    init: Annotated[
        Path | None, typer.Option("--init", help="Checkpoint to start from; else from nothing.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option("--replay", help="Old shards, mixed in so nothing is forgotten.")
    ] = None,
    stages: Annotated[
        str | None, typer.Option("--stages", help="Pixels a side, base first: 32,64.")
    ] = None,
    images: Annotated[
        str | None, typer.Option("--images", help="Images seen by each stage: 30000,12000.")
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", help="Network: tiny, small, base or large.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")] = None,
    settings: Annotated[
        Path | None, typer.Option("--config", help="TOML file with any other setting.")
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train on shards; the same command again finishes what was interrupted."""
    from train import config, report

    typed = {
        "stages": numbers("--stages", stages),
        "images": numbers("--images", images),
        "size": size,
        "seed": seed,
    }
    chosen = config.load(settings, typed)
    report.finetune(
        shards, run, chosen, typed, init=init, replay=replay, device=device, as_json=as_json
    )


@app.command()
def sample(
    checkpoint: Annotated[Path, typer.Argument(help="Run folder or model file.")],
    prompts: Annotated[list[str], typer.Argument(help="What to draw, each in quotes.")],
    count: Annotated[int, typer.Option("--count", min=1, help="Pictures a prompt.")] = 4,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the first picture.")] = 0,
    guidance: Annotated[
        float, typer.Option("--guidance", min=0.0, help="How strictly to follow the prompt; 1 is off.")
    ] = 1.5,
    steps: Annotated[int, typer.Option("--steps", min=2, help="Steps of the base stage.")] = 14,
    out: Annotated[Path, typer.Option("--out", help="PNG file to write.")] = Path("samples.png"),
    device: Device = "auto",
) -> None:
    """Draw prompts into one labelled picture."""
    from train import report, sampling

    drawing = sampling.SamplingConfig(steps=steps, guidance=guidance)
    sampler = sampling.load(checkpoint, device=device, config=drawing)
    report.sample(sampler, prompts, count=count, seed=seed, out=out)
    typer.echo(str(out))


def numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    """Whole numbers between commas.

    Raises:
        UsageError: anything else.
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(option, f"{text!r} is not whole numbers between commas",
                         fix=f"such as {option} 32,64") from None


def main(argv: list[str] | None = None) -> None:
    """Run the command; a CurateError becomes one message on stderr and its exit code."""
    options: dict[str, Any] = {"args": argv, "prog_name": "train"}
    try:
        app(**options)
    except CurateError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
