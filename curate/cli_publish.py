"""The part of the command line that gives data on: `curate publish`."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from curate.cli_fetch import JsonOption, option
from curate.dataset.folder import DEFAULT_FOLDER, Dataset
from curate.system import terminal

_DIR = typer.Argument(metavar="DIR", help="Folder to write: new, or published before.")
_DATA = option("Dataset folder; with --check: compare with what it says now.  [default: data]")
_NAME = option("What it is called, for people; default: the name of the folder.")
_CREATOR = option("Who publishes it, as programs are told.")
_URL = option("Page where it will be found, as programs are told.")
_CHECK = option("Write nothing; exit with 1 if anything in DIR is not as it says.", "--check")


def publish_command(
    folder: Annotated[Path, _DIR],
    name: Annotated[str | None, _NAME] = None,
    creator: Annotated[str | None, _CREATOR] = None,
    url: Annotated[str | None, _URL] = None,
    check: Annotated[bool, _CHECK] = False,
    data: Annotated[Path | None, _DATA] = None,
    json: JsonOption = False,
) -> None:
    """Write what may be shared, with its credits, for a hub or any web server; or check that."""
    if check:
        _check(folder, data, json=json)
    from curate.publish.publish import PublishSettings, publish

    with terminal.TerminalProgress() as progress:
        settings = PublishSettings(name, creator, url)
        done = publish(Dataset(data or DEFAULT_FOLDER), folder, settings, progress=progress)
    for note in done.notes():
        terminal.say(note)
    terminal.print_result(done, ("", "count"), json=json)


def _check(folder: Path, data: Path | None, *, json: bool) -> NoReturn:
    from curate.publish.check import check_published

    with terminal.TerminalProgress() as progress:
        found = check_published(folder, Dataset(data) if data else None, progress=progress)
    for note in found.notes():
        terminal.say(note)
    terminal.print_result(found, ("", "count"), json=json)
    raise typer.Exit(found.exit_code())
