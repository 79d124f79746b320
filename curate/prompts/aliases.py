"""What the user says about words, in a committed `aliases.toml`.

phrases = ["moon elf"]            # counted as one unit
meta = ["best girl"]              # ask for quality, not for a thing
not-visual = ["eternal"]          # no picture shows them

[alias]
blizzard = ["snowstorm"]          # pictures of these count as pictures of the word

[typo]
blizard = "blizzard"              # read as the other word
"""

import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.errors import InputError
from curate.text import lemmas

_KEYS = ("alias", "typo", "phrases", "meta", "not-visual")
_EXAMPLES = {
    "alias": 'blizzard = ["snowstorm"]',
    "typo": 'blizard = "blizzard"',
    "phrases": 'phrases = ["moon elf"]',
    "meta": 'meta = ["masterwork"]',
    "not-visual": 'not-visual = ["eternal"]',
}


@dataclass(frozen=True)
class Aliases:
    """Normal forms; those of several words have one blank between.

    Units are named as items are (`lexicon.unit`, of the last word), so that *blizzards* in the
    file speaks of the item *blizzard*.
    """

    alias: dict[str, tuple[str, ...]] = field(default_factory=dict)  # unit -> words that count too
    typo: dict[str, str] = field(default_factory=dict)  # form -> the form that is meant
    phrases: frozenset[str] = frozenset()  # as written
    meta: frozenset[str] = frozenset()  # units
    not_visual: frozenset[str] = frozenset()  # units


NONE = Aliases()


def read(path: Path) -> Aliases:
    """Read the user's file.

    Raises:
        InputError: no such file, not TOML, an unknown key, or a value that names no word.
    """
    given = _toml(path)
    for key in given:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1, 0.5)
            fix = f"did you mean {near[0]}?" if near else f"one of {', '.join(_KEYS)}"
            raise InputError(path, f"no setting {key!r}", fix=fix)
    alias: dict[str, tuple[str, ...]] = {}
    for name, value in _table(path, "alias", given).items():
        unit = _unit(_word(path, "[alias]", name))
        alias[unit] = (*alias.get(unit, ()), *_words(path, f"[alias] {name}", "alias", value))
    typo = {
        _word(path, "[typo]", name): _meant(path, name, value)
        for name, value in _table(path, "typo", given).items()
    }
    lists = {key: frozenset(_words(path, key, key, given.get(key, []))) for key in _KEYS[2:]}
    short = next((phrase for phrase in sorted(lists["phrases"]) if " " not in phrase), None)
    if short is not None:
        fix = 'phrases have two words or more: "moon elf"'
        raise InputError(f"{path} phrases", f"{short!r} is a single word", fix=fix)
    units = {key: frozenset(map(_unit, words)) for key, words in lists.items()}
    return Aliases(alias, typo, lists["phrases"], units["meta"], units["not-visual"])


def _unit(words: str) -> str:
    *heads, last = words.split(" ")
    return " ".join([*heads, lemmas.unit(last)])


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        problem = "no such file" if not path.exists() else f"cannot be read ({error.strerror})"
        raise InputError(path, problem, fix="name a TOML file with a table [alias]") from None
    except UnicodeDecodeError:
        raise InputError(path, "not UTF-8 text", fix="save it as UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(path, f"not TOML: {error}", fix=_EXAMPLES["typo"]) from None


def _table(path: Path, key: str, given: dict[str, Any]) -> dict[str, Any]:
    found = given.get(key, {})
    if not isinstance(found, dict):
        fix = f"[{key}] on a line of its own, then lines such as {_EXAMPLES[key]}"
        raise InputError(f"{path} {key}", "not a table", fix=fix)
    return found


def _words(path: Path, where: str, key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InputError(f"{path} {where}", "not a list of words", fix=_EXAMPLES[key])
    return tuple(dict.fromkeys(_word(path, where, one) for one in value))


def _meant(path: Path, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(f"{path} [typo] {name}", "not a word", fix=_EXAMPLES["typo"])
    return _word(path, f"[typo] {name}", value)


def _word(path: Path, where: str, text: str) -> str:
    """The normal forms of the words in `text`, one blank between."""
    found = " ".join(map(lemmas.normal, lemmas.surfaces(text)))
    if not found:
        raise InputError(f"{path} {where}", f"{text!r} holds no word", fix="write a word there")
    return found
