"""Commands as both command lines have them: an option that counts once may be given once."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand

from curate.errors import UsageError


class OnceCommand(TyperCommand):
    """A command that refuses an option given twice, where only the last one would count."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Look for options that are there more than once, then parse as ever."""
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        once = [p for p in given if p.param_type_name == "option" and not p.multiple]
        for option, times in Counter(once).items():
            if times > 1 and not getattr(option, "count", False):
                name = max(option.opts, key=len)
                problem = f"is given {times} times, and only one can count"
                raise UsageError(name, problem, fix=f"give {name} once, or type several commands")
        return super().parse_args(ctx, args)


class Commands(typer.Typer):
    """Commands of which each is a `OnceCommand`."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[..., Any]:
        """As typer's; `cls` is a kind of `OnceCommand`."""
        return super().command(name, **{"cls": OnceCommand, **settings})
