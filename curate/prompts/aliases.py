"""What the user says about words, in a committed `aliases.toml`.

phrases = ["moon elf"]            # counted as one unit
meta = ["best girl"]              # ask for quality, not for a thing
not-visual = ["eternal"]          # no image shows them

[alias]
blizzard = ["snowstorm"]          # images of these count as images of the word

[typo]
blizard = "blizzard"              # read as the other word
"""

from dataclasses import dataclass, field
from pathlib import Path

from curate.errors import InputError
from curate.system.settings import check_settings, read_toml
from curate.text import tokens
from curate.text.lemmas import unit_of

_LISTS = ("phrases", "meta", "not-visual")
_TYPES = {
    "alias": dict[str, tuple[str, ...]],
    "typo": dict[str, str],
    **dict.fromkeys(_LISTS, tuple[str, ...]),
}


@dataclass(frozen=True)
class Aliases:
    """Normal forms; those of several words have one blank between.

    Units are named as items are (`lemmas.unit_of`, of the last word), so that *blizzards* in the
    file speaks of the item *blizzard*.
    """

    alias: dict[str, tuple[str, ...]] = field(default_factory=dict)  # unit -> words that count too
    typo: dict[str, str] = field(default_factory=dict)  # form -> the form that is meant
    phrases: frozenset[str] = frozenset()  # as written
    quality_tags: frozenset[str] = frozenset()  # units
    abstract: frozenset[str] = frozenset()  # units


NO_ALIASES = Aliases()


def read_aliases(path: Path) -> Aliases:
    """Read the user's file.

    Raises:
        InputError: no such file, not TOML, an unknown key, or a value that names no word.
    """
    given = read_toml(path, fix="name a TOML file with a table [alias]")
    given = check_settings(path, given, _TYPES)
    alias: dict[str, tuple[str, ...]] = {}
    for name, words in given.get("alias", {}).items():
        unit = unit_of(_words_of_entry(path, "[alias]", name))
        own = (_words_of_entry(path, f"alias.{name}", word) for word in words)
        alias[unit] = tuple(dict.fromkeys((*alias.get(unit, ()), *own)))
    typo = {
        _words_of_entry(path, "[typo]", name): _words_of_entry(path, f"typo.{name}", meant)
        for name, meant in given.get("typo", {}).items()
    }
    lists = {
        key: frozenset(_words_of_entry(path, key, w) for w in given.get(key, ())) for key in _LISTS
    }
    if short := sorted(phrase for phrase in lists["phrases"] if " " not in phrase):
        fix = 'phrases have two words or more: "moon elf"'
        raise InputError(f"{path} phrases", f"{short[0]!r} is a single word", fix=fix)
    units = {key: frozenset(map(unit_of, words)) for key, words in lists.items()}
    return Aliases(alias, typo, lists["phrases"], units["meta"], units["not-visual"])


def _words_of_entry(path: Path, where: str, text: str) -> str:
    """The normal forms of the words in `text`, one blank between."""
    found = " ".join(tokens.words(text))
    if not found:
        raise InputError(f"{path} {where}", f"{text!r} holds no word", fix="write a word there")
    return found
