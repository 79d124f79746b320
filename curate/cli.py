"""The command line: parse, make one call, print. Nothing is decided here."""

from pathlib import Path
from typing import Annotated

import typer

from curate.errors import CurateError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Find the words your pictures cannot teach, fetch pictures that may be used, prove it.",
)
fetch_app = typer.Typer(no_args_is_help=True, help="Fetch pictures from a source.")
app.add_typer(fetch_app, name="fetch")

Data = Annotated[Path, typer.Option("--data", help="Dataset folder.", show_default=True)]
DATA = Path("data")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def main(argv: list[str] | None = None) -> None:
    """Run the command; a CurateError becomes one message on stderr and its exit code."""
    try:
        app(args=argv, prog_name="curate")
    except CurateError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
