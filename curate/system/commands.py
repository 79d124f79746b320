"""Commands as both command lines have them: what each takes, and what it says after Ctrl-C."""

import shlex
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from curate import __version__
from curate.errors import UsageError
from curate.system.terminal import Interrupted

_TYPED, _KEPT = "curate.typed", "curate.kept"  # in what a command is told of itself


class OnceCommand(TyperCommand):
    """A command that refuses an option given twice, where only the last one would count."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Look for options that are there more than once, then parse as ever."""
        ctx.meta[_TYPED] = list(args)
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        once = [p for p in given if p.param_type_name == "option" and not p.multiple]
        for option, times in Counter(once).items():
            if times > 1 and not (getattr(option, "count", False) or ctx.resilient_parsing):
                name = max(option.opts, key=len)
                problem = f"is given {times} times, and only one can count"
                raise UsageError(name, problem, fix=f"give {name} once, or type several commands")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run it; after Ctrl-C, say what is kept and what to type.

        Raises:
            Interrupted: after Ctrl-C.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typed = shlex.join([*ctx.command_path.split(), *ctx.meta[_TYPED]])
            kept = (self.context_settings.get("obj") or {}).get(_KEPT, "nothing was written")
            raise Interrupted(f"stopped: {kept}; to go on: {typed}") from None


class Commands(typer.Typer):
    """Commands of which each is a `OnceCommand`."""

    def command(
        self, name: str | None = None, *, kept: str | None = None, **settings: Any
    ) -> Callable[..., Any]:
        """As typer's; `cls` is a kind of `OnceCommand`.

        Args:
            name: what is typed.
            kept: a clause, what is there after Ctrl-C; None: what it does takes no time, or writes
                nothing before its end.
            settings: as typer's.
        """
        told = {"context_settings": {"obj": {_KEPT: kept}}} if kept else {}
        return super().command(name, **{"cls": OnceCommand, **told, **settings})


def program(help: str) -> Commands:
    """A command line with -h, --version and the completion of shells, and no command yet."""
    app = Commands(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=help)(_answer_version)
    return app


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


def _answer_version(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Nothing is left to do: the option has been answered."""
