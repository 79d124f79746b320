"""The command line: parse, make one call, print. Nothing is decided here."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate import cli_gaps
from curate.errors import CurateError
from curate.sources import pixabay
from curate.system import terminal

if TYPE_CHECKING:
    from curate.fetch.account import Summary
    from curate.sources.base import Source

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Find the words your pictures cannot teach, fetch pictures that may be used, prove it.",
)
fetch_app = typer.Typer(no_args_is_help=True, help="Fetch pictures from a source.")
app.add_typer(fetch_app, name="fetch")
sources_app = typer.Typer(no_args_is_help=True, help="Where pictures come from, and on what terms.")
app.add_typer(sources_app, name="sources")

Data = Annotated[Path, typer.Option("--data", help="Dataset folder.", show_default=True)]
DATA = Path("data")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

Policy = Annotated[
    str, typer.Option(help="personal, research, commercial, or a policy file.", show_default=True)
]
Query = Annotated[str, typer.Option("--query", help="What to look for, up to 100 characters.")]
Limit = Annotated[int, typer.Option(min=1, help="Pictures to take from the top of the results.")]
Stand = Annotated[
    str | None,
    typer.Option("--endpoint", help="Ask this server on 127.0.0.1 instead.", hidden=True),
]


@fetch_app.command("folder")
def fetch_folder(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of pictures.")],
    license: Annotated[
        str | None, typer.Option(help="Licence of what states none, e.g. CC0-1.0.")
    ] = None,
    author: Annotated[str | None, typer.Option(help="Author of what names none.")] = None,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Take the pictures of a folder, with captions from metadata.csv, .txt files or file names."""
    from curate.dataset.folder import Dataset
    from curate.fetch import run

    with terminal.TerminalProgress() as progress:
        done = run.fetch_folder(
            Dataset(data), folder, license=license, author=author, progress=progress
        )
    _show_fetch(done, json)


@fetch_app.command("pixabay")
def fetch_pixabay(  # noqa: PLR0913 one a documented parameter
    query: Query,
    limit: Limit = 200,
    image_type: Annotated[pixabay.ImageType, typer.Option(help="Kind of picture.")] = "all",
    orientation: Annotated[pixabay.Orientation, typer.Option(help="Shape.")] = "all",
    category: Annotated[pixabay.Category | None, typer.Option(help="Subject.")] = None,
    colors: Annotated[pixabay.Colour | None, typer.Option(help="Main colour.")] = None,
    min_width: Annotated[int, typer.Option(min=0, help="Of the original, pixels.")] = 0,
    min_height: Annotated[int, typer.Option(min=0, help="Of the original, pixels.")] = 0,
    editors_choice: Annotated[
        bool, typer.Option("--editors-choice", help="Only Editor's Choice.")
    ] = False,
    order: Annotated[pixabay.Order, typer.Option(help="Which results come first.")] = "popular",
    lang: Annotated[pixabay.Language, typer.Option(help="Language of the query.")] = "en",
    allow_ai: Annotated[bool, typer.Option("--allow-ai", help="AI-made ones, too.")] = False,
    endpoint: Stand = None,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Take pictures from Pixabay: needs PIXABAY_API_KEY, and its terms accepted with a basis."""
    options = {
        "image_type": image_type, "orientation": orientation, "category": category,
        "colors": colors, "min_width": min_width, "min_height": min_height,
        "editors_choice": editors_choice, "order": order, "lang": lang,
    }  # fmt: skip
    _fetch("pixabay", query, limit, options, allow_ai, endpoint, data, json)


@fetch_app.command("openverse")
def fetch_openverse(
    query: Query,
    limit: Limit = 100,
    license: Annotated[
        str, typer.Option(help="Licences, by the API's names, separated by commas.")
    ] = "cc0,pdm,by",
    endpoint: Stand = None,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Take openly licensed pictures from Openverse; no account needed."""
    _fetch("openverse", query, limit, {"license": license}, False, endpoint, data, json)


@sources_app.command("list")
def sources_list(data: Data = DATA, json: AsJson = False) -> None:
    """List the sources, what they need and their terms."""
    from curate import sources

    known = sources.described(data)
    if json:
        terminal.as_json(known)
    else:
        columns = ("name", "summary", "needs", "terms_url")
        terminal.table(columns, [[source[name] for name in columns] for source in known])


@sources_app.command("accept")
def sources_accept(
    name: Annotated[str, typer.Argument(metavar="SOURCE", help="Name of the source.")],
    basis: Annotated[str, typer.Option(help="Why you may use its pictures, in your words.")],
    data: Data = DATA,
) -> None:
    """Record that you accept a source's terms, and on what basis you use its pictures."""
    from curate import sources
    from curate.sources import terms

    source = sources.named(name)
    given = terms.accept(data, source, basis)
    for point in source.terms:
        terminal.say(f"  - {point}")
    typer.echo(f"{name}: {given.who} accepts {given.terms_url} ({given.terms_version})")


def _fetch(
    name: str,
    query: str,
    limit: int,
    options: Mapping[str, object],
    allow_ai: bool,
    endpoint: str | None,
    data: Path,
    json: bool,
) -> None:
    from curate import sources
    from curate.dataset.folder import Dataset
    from curate.fetch import run
    from curate.net.guard import Endpoint

    ask = _ask_terms if sys.stdin.isatty() and sys.stderr.isatty() else None
    stand = Endpoint.parse(endpoint) if endpoint else None
    with terminal.TerminalProgress() as progress:
        done = run.fetch(
            Dataset(data),
            sources.named(name),
            query,
            limit=limit,
            options=options,
            allow_ai=allow_ai,
            fetch_options=run.FetchOptions(ask, stand),
            progress=progress,
        )
    _show_fetch(done, json)


def _ask_terms(source: "Source") -> str | None:
    typer.echo(f"{source.name}: terms at {source.terms_url}", err=True)
    for point in source.terms:
        typer.echo(f"  - {point}", err=True)
    answer: str = typer.prompt(
        "Your basis for using its pictures all the same (nothing: stop)",
        default="",
        show_default=False,
        err=True,
    )
    return answer.strip() or None


def _show_fetch(done: "Summary", json: bool) -> None:

    if json:
        terminal.as_json(done.as_json())
    else:
        terminal.table(("", "pictures"), done.as_rows())


app.command("vocab-gaps", cls=cli_gaps.JsonMayStandAlone)(cli_gaps.vocab_gaps)


@app.command("dedup")
def dedup(
    max_distance: Annotated[
        int, typer.Option(min=0, max=16, help="Hash bits up to which pixels are compared.")
    ] = 4,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Measure the pictures; drop the unreadable ones, and all copies of a picture but the best."""
    from curate.dataset.folder import Dataset
    from curate.images.dedup import find_duplicates

    with terminal.TerminalProgress() as progress:
        done = find_duplicates(Dataset(data), max_distance=max_distance, progress=progress)
    for note in done.notes():
        terminal.say(note)
    terminal.report(done, ("", "pictures"), json=json)


@app.command("pack")
def pack(
    size: Annotated[int, typer.Option(min=1, help="Shorter side at most, pixels.")] = 512,
    format: Annotated[str, typer.Option(help="jpg, png or webp; the last two lossless.")] = "jpg",
    background: Annotated[str, typer.Option(help="Colour under transparent pixels.")] = "white",
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Write the pictures that may be trained on, with their captions, as WebDataset shards."""
    from curate.dataset.folder import Dataset
    from curate.shards.pack import pack

    with terminal.TerminalProgress() as progress:
        done = pack(
            Dataset(data), size=size, format=format, background=background, progress=progress
        )
    terminal.report(done, ("", "count"), json=json)


@app.command("check")
def check_command(policy: Policy = "personal", data: Data = DATA, json: AsJson = False) -> None:
    """Decide by a policy what each picture may be used for: allow, hold or deny."""
    from curate.commands import build
    from curate.dataset.folder import Dataset

    done = build.check(Dataset(data), policy=policy)
    terminal.say(f"{done.rows} pictures in use, decided by {done.policy}")
    terminal.report(done, ("use", "allow", "hold", "deny"), json=json)


@app.command("caption")
def caption_command(
    per_image: Annotated[int, typer.Option(help="Captions a picture gets at most.")] = 4,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Write captions from the texts, titles, tags and file names that came with the pictures."""
    from curate.commands import build
    from curate.dataset.folder import Dataset

    done = build.describe(Dataset(data), per_image=per_image)
    terminal.report(done, ("", "count"), json=json)


@app.command("build")
def build_command(
    policy: Policy = "personal",
    size: Annotated[int, typer.Option(help="Shorter side at most, pixels.")] = 512,
    format: Annotated[str, typer.Option(help="Of packed pictures: jpg, png or webp.")] = "jpg",
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Check, dedup, caption and pack, one after the other."""
    from curate.commands import build
    from curate.dataset.folder import Dataset

    with terminal.TerminalProgress() as progress:
        done = build.build(
            Dataset(data), policy=policy, size=size, format=format, progress=progress
        )
    terminal.report(done, ("step", "", "count"), json=json)


@app.command("status")
def status_command(data: Data = DATA, json: AsJson = False) -> None:
    """Show what a dataset holds: rows, drops, verdicts, licences, words, captions, shards."""
    from curate.commands.status import status
    from curate.dataset.folder import Dataset

    terminal.report(status(Dataset(data)), ("", "pictures"), json=json)


@app.command("explain")
def explain_command(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key of the picture's row.")],
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Tell why a picture is in or out: where it is from, what was stated, what was decided."""
    from curate.commands.explain import explain
    from curate.dataset.folder import Dataset

    told = explain(Dataset(data), key)
    if json:
        terminal.as_json(told.as_json())
    else:
        terminal.table(("", key), told.facts)
        typer.echo(told.conclusion)


@app.command("credits")
def credits_command(data: Data = DATA, json: AsJson = False) -> None:
    """Say who made the pictures that may be trained on, and under which licence, in Markdown."""
    from dataclasses import asdict

    from curate.dataset.folder import Dataset
    from curate.rights import credits

    found = credits.of_dataset(Dataset(data))
    if json:
        terminal.as_json([asdict(credit) for credit in found])
    else:
        typer.echo("\n".join(credits.markdown(found)))


def main(argv: list[str] | None = None) -> None:
    """Run the command; a CurateError becomes one message on stderr and its exit code."""
    terminal.open_streams()
    try:
        app(args=argv, prog_name="curate")
    except CurateError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
