"""The part of the command line that brings images in: `curate fetch`, `curate sources`."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from curate.dataset.folder import DEFAULT_FOLDER, Dataset
from curate.net.guard import Endpoint
from curate.sources import SOURCES, contact, find_source, list_sources, terms
from curate.sources.base import Source
from curate.system import terminal
from curate.system.commands import Commands

fetch_app = Commands(no_args_is_help=True, help="Fetch images from a source.")
sources_app = Commands(no_args_is_help=True, help="Where images come from, and on what terms.")


def option(help: str, *names: str, **settings: Any) -> Any:
    """An option of a command, its help first."""
    return typer.Option(*names, help=help, **settings)


DataOption = Annotated[Path, option("Dataset folder.", "--data", show_default=True)]
JsonOption = Annotated[bool, option("Print JSON instead of a table.", "--json")]
LimitOption = Annotated[int, option("Images to take from the top of the results.", min=1)]
_RETRY = option("Also ask again for images that were gone, refused or no images.")
RetryOption = Annotated[Literal["gone"] | None, _RETRY]
EndpointOption = Annotated[
    Endpoint | None,
    typer.Option(parser=Endpoint.parse, help="Ask this server on 127.0.0.1 instead.", hidden=True),
]


def _fetch_command(source: Source) -> Callable[..., None]:
    """The command that fetches from a source, with the options which its function declares."""

    def fetch(
        *,
        limit: LimitOption = source.limit,
        allow_ai: Annotated[bool, option("Take AI-generated images, too.", "--allow-ai")] = False,
        retry: RetryOption = None,
        endpoint: EndpointOption = None,
        data: DataOption = DEFAULT_FOLDER,
        json: JsonOption = False,
        **declared: Any,
    ) -> None:
        from curate.fetch import run
        from curate.net.connection import NetOptions

        ask = _ask_for_basis if sys.stdin.isatty() and sys.stderr.isatty() else None
        with terminal.TerminalProgress() as progress:
            done = run.fetch_images(
                Dataset(data), source, declared.pop(what.name), limit=limit, options=declared,
                retry=run.Retry(gone=retry == "gone", ai_generated=allow_ai),
                fetch_options=run.FetchOptions(ask, NetOptions(endpoint)), progress=progress,
            )  # fmt: skip
        terminal.print_result(done, ("", "images"), json=json)
        raise typer.Exit(done.exit_code())

    function = source.search or source.listing
    assert function is not None, "a source has a search or a listing"
    _, what, *options = inspect.signature(function).parameters.values()
    limit, allow_ai, retry, endpoint, *common, _ = inspect.signature(fetch).parameters.values()
    if source.search:
        ai = [allow_ai] if source.states_ai else []
        shown = [what, limit, *options, *ai, retry, endpoint, *common]
    else:
        shown = [what, *options, *common]
    shown = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in shown]
    fetch.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    return fetch


for _source in SOURCES:
    fetch_app.command(_source.name, help=_source.help, kept="the images that came are kept")(
        _fetch_command(_source)
    )


@sources_app.command("list")
def sources_list_command(data: DataOption = DEFAULT_FOLDER, json: JsonOption = False) -> None:
    """List the sources, what they need and their terms."""
    known = list_sources(data)
    if json:
        terminal.print_json(known)
    else:
        columns = ("name", "summary", "needs", "terms_url")
        terminal.print_table(columns, [[source[name] for name in columns] for source in known])


@sources_app.command("accept")
def sources_accept_command(
    name: Annotated[str, typer.Argument(metavar="SOURCE", help="Name of the source.")],
    basis: Annotated[str, option("Why you may use its images, in your words.")],
    data: DataOption = DEFAULT_FOLDER,
) -> None:
    """Record that you accept a source's terms, and on what basis you use its images."""
    source = find_source(name)
    given = terms.accept_terms(data, source, basis)
    for point in source.terms:
        terminal.say(f"  - {point}")
    typer.echo(f"{name}: {given.who} accepts {given.terms_url} ({given.terms_version})")


@sources_app.command("contact")
def sources_contact_command(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="E-mail address or web page.")],
    data: DataOption = DEFAULT_FOLDER,
) -> None:
    """Record whom sources may write to, sent with each request; CURATE_CONTACT counts first."""
    typer.echo(f"requests from here name as contact: {contact.record_contact(data, text)}")


def _ask_for_basis(source: Source) -> str | None:
    terminal.say(f"{source.name}: terms at {source.terms_url}")
    for point in source.terms:
        terminal.say(f"  - {point}")
    question = "Your basis for using its images all the same (nothing: stop)"
    answer: str = typer.prompt(question, default="", show_default=False, err=True)
    return answer.strip() or None
