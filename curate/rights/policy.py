"""A policy as a TOML file states it: which licences, terms and signals mean what for each use.

This records and applies a policy; it is not legal advice.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import InputError, UsageError
from curate.formats.verdicts import USES
from curate.rights.licences import (
    COPYLEFT,
    LICENCE_KINDS,
    PERMISSIVE,
    TERMS,
    identify,
    is_family,
)
from curate.system.settings import check_settings, read_toml, suggest

POLICY_FOLDER = Path(__file__).with_name("policies")
SOURCE_RULES = ("licence", "basis", "permission", "hold", "deny")
SIGNALS = (  # what [signals] decides, beside licence and terms
    "site-opt-out",  # a host's word about all it holds, against an author's open licence
    "signals-contradict",  # one signal allows training, another does not
    "signal-unclear",  # a signal speaks of training, but cannot be read
    "ai-made",  # as its source or its own bytes state
    "mature",  # as its source states
    "people",  # rights of people who are shown, as its source states
    "trademarks",  # as its source states
    "restrictions",  # any other right beside copyright, as its source states
    "drift",  # its source states another licence later
    "gone-at-source",  # its source has it no more
)
SIGNAL_RULES = {"record": "allow", "hold": "hold", "deny": "deny"}  # rule -> decision at best
UNNAMED = "hold"  # the rule of a signal that a policy does not name


@dataclass(frozen=True, slots=True)
class Permission:
    """A document by which a source's owner allows more than its terms do."""

    source: str
    sha256: str
    uses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What is allowed for each use; what is in neither list is held."""

    path: Path
    sha256: str  # of the file
    allow: Mapping[str, frozenset[str]]  # use -> kinds and ids
    deny: Mapping[str, frozenset[str]]  # use -> kinds and ids
    sources: Mapping[str, Mapping[str, str]]  # source -> use -> one of SOURCE_RULES
    permissions: tuple[Permission, ...]
    signals: Mapping[str, Mapping[str, str]]  # one of SIGNALS -> use -> one of SIGNAL_RULES
    believe: frozenset[str]  # sources whose statement counts alone among copies


def policy_names() -> list[str]:
    """The names of the policies that come with this package."""
    return sorted(path.stem for path in POLICY_FOLDER.glob("*.toml"))


def read_policy(policy: str) -> Policy:
    """Read a shipped policy by name, or a policy file by path."""
    path = POLICY_FOLDER / f"{policy}.toml" if policy in policy_names() else Path(policy)
    example = POLICY_FOLDER / "personal.toml"
    choices = f"choose {', '.join(policy_names())} or a file such as {example}"
    if not path.exists():
        fix = suggest(policy, policy_names(), choices)
        raise UsageError(f"--policy {policy}", "no such policy", fix=fix)
    document = check_settings(path, read_toml(path, fix=choices), _TABLES)
    lists = {use: _lists(path, use, document.get(use, {})) for use in USES}
    tables = document.get("sources", {})
    sources = {name: _parse_source_rules(path, name, rules) for name, rules in tables.items()}
    allow, deny = ({use: lists[use][key] for use in USES} for key in ("allow", "deny"))
    permissions = tuple(_permissions(path, document.get("permissions", ()), sources))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    signals = _parse_signals(path, document.get("signals", {}))
    copies = check_settings(f"{path} [copies]", document.get("copies", {}), _COPIES)
    believe = frozenset(copies.get("believe", ()))
    return Policy(path, sha256, allow, deny, sources, permissions, signals, believe)


def source_rule(sources: Mapping[str, Mapping[str, str]], name: str, use: str) -> str:
    """The policy's rule for a source, or else what its terms come to."""
    usual = "deny" if use == "share_dataset" else "permission"
    return sources.get(name, {}).get(use, usual if name in TERMS.values() else "licence")


_TABLES = {
    **dict.fromkeys(USES, dict),
    "sources": dict[str, dict[str, Any]],
    "permissions": tuple[dict[str, Any], ...],
    **dict.fromkeys(("signals", "copies"), dict),
}
_COPIES = {"believe": tuple[str, ...]}


def _lists(path: Path, use: str, table: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """What a use allows and denies: kinds and ids, each of them known."""
    label = f"{path} [{use}]"
    lists = check_settings(label, table, dict.fromkeys(("allow", "deny"), tuple[str, ...]))
    for key, name in [(key, name) for key, names in lists.items() for name in names]:
        if name == "terms" or name in TERMS:
            problem = f"{name!r} cannot be decided by licence"
            raise InputError(f"{label} {key}", problem, fix="write a [sources.NAME] table instead")
        if name not in LICENCE_KINDS and (identify(name, None).id != name or is_family(name)):
            known = [*LICENCE_KINDS, *PERMISSIVE, *COPYLEFT, "CC0-1.0", "CC-BY-4.0"]
            fix = suggest(name, known, f"use {', '.join(LICENCE_KINDS)}, or an SPDX id")
            problem = f"{name!r} is neither a kind of licence nor an id"
            raise InputError(f"{label} {key}", problem, fix=fix)
    return {key: frozenset(lists.get(key, ())) for key in ("allow", "deny")}


def _parse_source_rules(path: Path, name: str, table: Mapping[str, Any]) -> Mapping[str, str]:
    label = f"{path} [sources.{name}]"
    rules = check_settings(label, table, dict.fromkeys(USES, str))
    for use, rule in rules.items():
        subject = f"{label} {use}"
        if rule not in SOURCE_RULES:
            raise InputError(subject, f"no rule {rule!r}", fix=suggest(rule, SOURCE_RULES))
        if name in TERMS.values() and use == "share_dataset" and rule != "deny":
            problem = f"the terms of {name} forbid giving its images on"
            raise InputError(subject, problem, fix='write "deny"')
        if name in TERMS.values() and rule == "licence":
            problem = f"the terms of {name} are its licence, and ask for more"
            raise InputError(subject, problem, fix='write "permission"')
    return rules


def _parse_signals(path: Path, table: Mapping[str, Any]) -> dict[str, Mapping[str, str]]:
    """The rule of every signal for each use: a word for all three, or a table by use."""
    label = f"{path} [signals]"
    if "opt-out" in table:
        fix = "leave it out; site-opt-out is what its host says of all it holds"
        raise InputError(
            f"{label} opt-out", "is no choice: what is said of an image counts", fix=fix
        )
    by_use = {name for name in SIGNALS if isinstance(table.get(name), dict)}
    check_settings(label, table, {name: dict if name in by_use else str for name in SIGNALS})
    signals: dict[str, Mapping[str, str]] = {}
    for name in SIGNALS:
        said = table.get(name, UNNAMED)
        if name in by_use:
            said = check_settings(f"{label} {name}", said, dict.fromkeys(USES, str))
            rules = {use: said.get(use, UNNAMED) for use in USES}
        else:
            rules = dict.fromkeys(USES, said)
        for rule in rules.values():
            if rule not in SIGNAL_RULES:
                fix = suggest(rule, SIGNAL_RULES)
                raise InputError(f"{label} {name}", f"no rule {rule!r}", fix=fix)
        signals[name] = rules
    return signals


def _permissions(
    path: Path, entries: Sequence[Mapping[str, Any]], sources: Mapping[str, Mapping[str, str]]
) -> list[Permission]:
    """The permissions, after comparing each document with the hash that is stated for it."""
    found = []
    for number, entry in enumerate(entries, 1):
        subject = f"{path} permissions entry {number}"
        hints = dict.fromkeys(("source", "path", "sha256"), str)
        check_settings(subject, entry, {**hints, "uses": tuple[str, ...]})
        for name in hints:
            if name not in entry:
                raise InputError(subject, f"names no {name}", fix=f'add {name} = "…"')
        uses = entry.get("uses", ["train"])
        rules = {use: source_rule(sources, entry["source"], use) for use in USES}
        possible = [use for use, rule in rules.items() if rule not in ("licence", "deny")]
        if not uses or not set(uses) <= set(possible):
            problem = f"permits {uses!r}, for which [sources.{entry['source']}] asks for none"
            some = f"name some of {', '.join(possible)}"
            fix = some if possible else 'write train = "permission" there'
            raise InputError(subject, problem, fix=fix)
        document = path.parent / entry["path"]
        try:
            actual = hashlib.sha256(document.read_bytes()).hexdigest()
        except OSError as error:
            problem = f"its document {document} cannot be read ({error.strerror})"
            fix = "put the permission there, or remove the entry"
            raise InputError(subject, problem, fix=fix) from None
        if actual != entry["sha256"]:
            problem = f"{document} is not the document that was named"
            raise InputError(subject, problem, fix=f'read it, then write sha256 = "{actual}"')
        found.append(Permission(entry["source"], entry["sha256"], tuple(uses)))
    return found
