"""The part of the command line that writes data for other trainers: `curate export`."""

from pathlib import Path
from typing import Annotated

import typer

from curate.cli_fetch import DataOption, JsonOption, option
from curate.dataset.folder import DEFAULT_FOLDER, Dataset
from curate.system import terminal

_FORMAT = typer.Argument(
    metavar="FORMAT", help="folder, kohya, onetrainer, ai-toolkit, simpletuner or hf."
)
_DIR = typer.Argument(metavar="DIR", help="Folder to write: new, or of an earlier export.")
_PUBLISH = option("Only what may be given on; for hf and any other upload.", "--publish")
_SIZE = option("Shorter side at most, pixels; default: as received.", min=1, show_default=False)
_RESOLUTION = option("Pixels at which the trainer works: for its settings and the buckets.")
_REPEATS = option("Showings of one image an epoch at most, for rare words; 1: none repeated.")
_BACKGROUND = option("Colour under transparent pixels.")


def export_command(
    format: Annotated[str, _FORMAT],
    folder: Annotated[Path, _DIR],
    publish: Annotated[bool, _PUBLISH] = False,
    size: Annotated[int | None, _SIZE] = None,
    resolution: Annotated[int, _RESOLUTION] = 1024,
    repeats: Annotated[int, _REPEATS] = 10,
    background: Annotated[str, _BACKGROUND] = "white",
    data: DataOption = DEFAULT_FOLDER,
    json: JsonOption = False,
) -> None:
    """Write the images that may be trained on as another trainer reads them, with their credits."""
    from curate.export.export import ExportSettings, export

    settings = ExportSettings(format, publish, size, resolution, repeats, background)
    with terminal.TerminalProgress() as progress:
        done = export(Dataset(data), folder, settings, progress=progress)
    for note in done.notes():
        terminal.say(note)
    terminal.print_result(done, ("", "count"), json=json)
