"""Settings from TOML files: what is not understood is refused, with what was probably meant."""

import reprlib
import tomllib
import typing
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from curate.errors import InputError

_KINDS: dict[Any, tuple[str, str]] = {  # one, several
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text in quotes", "texts in quotes"),
    bool: ("true or false", "true or false"),
    dict: ("a table [{}]", "tables [[{}]]"),
    list: ("a list", "lists"),
}


def read_toml(path: Path, *, fix: str) -> dict[str, Any]:
    """What a TOML file says; a byte order mark is passed over.

    Args:
        path: the file.
        fix: what to type if it is not there or cannot be read.

    Raises:
        InputError: it is not there, cannot be read, or is not UTF-8 or not TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise InputError(path, "no such file", fix=fix) from None
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", fix=fix) from None
    except UnicodeDecodeError:
        raise InputError(path, "not UTF-8 text", fix="save it as UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(path, f"not TOML ({error})", fix="correct it there") from None


def check_settings(
    subject: object,
    values: Mapping[str, Any],
    hints: Mapping[str, Any],
    fixes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The settings of a file, or of a table in it, each of a name and type that are known.

    Args:
        subject: the file, or the table.
        values: as they came from TOML.
        hints: what may stand there, and its type: int, float (a whole number passes), str, bool,
            list, dict, a dict of values of such a type under any name, or a tuple of any number
            of them, which a list becomes.
        fixes: what to do about a name that is not known, or a value of the wrong type; by
            default, take the nearest name, or write a value of that type.

    Raises:
        InputError: the first name that is not known, else the first value of another type.
    """
    fixes = fixes or {}
    for name in values:
        if name not in hints:
            fix = fixes.get(name) or suggest(name, hints)
            raise InputError(subject, f"no setting {name!r}", fix=fix)
    return {n: _check_type(subject, n, v, hints[n], fixes.get(n)) for n, v in values.items()}


def _check_type(subject: object, name: str, value: Any, hint: Any, fix: str | None) -> Any:
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind is tuple:
        one = typing.get_origin(inner[0]) or inner[0]
        words = f"a list of {_KINDS[one][1].format(name)}"
        fits = isinstance(value, list) and all(_is(v, one) for v in value)
    else:
        words, fits = _KINDS[kind][0].format(name), _is(value, kind)
    if not fits:
        problem = f"{reprlib.repr(value)} is not {words}"
        raise InputError(f"{subject} {name}", problem, fix=fix or f"write {words}")
    if kind is dict and inner and inner[1] is not Any:
        return {n: _check_type(subject, f"{name}.{n}", v, inner[1], fix) for n, v in value.items()}
    return tuple(value) if kind is tuple else value


def _is(value: object, kind: type) -> bool:
    return type(value) is kind or (kind is float and type(value) is int)


def suggest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """The fix for a name that is not known: the nearest, else `otherwise` or all that are."""
    near = get_close_matches(name, names := [*known], 1)
    return f"did you mean {near[0]}?" if near else otherwise or f"one of {', '.join(names)}"
