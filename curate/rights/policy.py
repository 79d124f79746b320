"""A TOML policy turns licences, terms and opt-outs into three verdicts an image.

This records and applies a policy; it is not legal advice.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.dataset.sample import Sample, Verdict
from curate.errors import InputError, UsageError
from curate.rights.licences import (
    COPYLEFT,
    LICENCE_KINDS,
    OWN,
    PERMISSIVE,
    TERMS,
    Licence,
    identify,
    is_family,
    kinds_of,
)
from curate.system.settings import check_settings, read_toml, suggest

if TYPE_CHECKING:
    import daft

POLICY_FOLDER = Path(__file__).with_name("policies")
USES = ("train", "share_dataset", "share_model")
SOURCE_RULES = ("licence", "basis", "permission", "hold", "deny")
DECISIONS = ("deny", "hold", "allow")  # strictest first
POLICY_COLUMNS = ("license", "license_how", *USES, "policy")
_ABBREVIATED = ("share-alike", "sa"), ("non-commercial", "nc"), ("no-derivatives", "nd")
CODES = {kind: f"licence-{letters}" for kind, letters in _ABBREVIATED}


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


def check(rows: "daft.DataFrame", *, policy: str = "personal") -> "daft.DataFrame":
    """Identify each image's licence and decide its three uses by a policy.

    Args:
        rows: a data frame of samples.
        policy: "personal", "research", "commercial", or the path of a TOML file.

    Raises:
        UsageError: there is no shipped policy of that name.
        InputError: the file cannot be read, or says something that is not understood.
    """
    from curate.dataset import engine

    rules = read_policy(policy)
    return engine.map_rows(rows, lambda sample: decide(sample, rules), fills=POLICY_COLUMNS)


def decide(sample: Sample, policy: Policy) -> Sample:
    """The sample with its licence identified and its three verdicts."""
    licence = identify(sample.license_text, sample.license_url)
    if licence.id == OWN and sample.license_by != "user":
        how = f"{licence.how} was not stated by you (--license own)"
        licence = Licence(None, how, ("unknown",))
    found: dict[str, Any] = {use: _verdict(sample, licence, policy, use) for use in USES}
    found |= {"license": licence.id, "license_how": licence.how, "policy": policy.sha256}
    return replace(sample, **found)


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
    return Policy(path, sha256, allow, deny, sources, permissions)


def _verdict(sample: Sample, licence: Licence, policy: Policy, use: str) -> Verdict:
    """The strictest of what opt-outs, source and licence say, with the codes that led to it."""
    if sample.opt_outs:
        return Verdict("deny", tuple(f"opt-out:{signal}" for signal in sample.opt_outs))
    said = [_verdict_by_source(sample, licence.id, policy, use)]
    if licence.id not in TERMS or "conflict" in licence.problems:
        said.append(_verdict_by_licence(licence, policy, use))
    strictest = min((v.decision for v in said if v), key=DECISIONS.index)
    codes = [code for v in said if v and v.decision == strictest for code in v.reasons]
    return Verdict(strictest, tuple(codes))


def _verdict_by_licence(licence: Licence, policy: Policy, use: str) -> Verdict:
    if licence.id is None:
        return Verdict("hold", ("licence-unknown",))
    kinds = set(kinds_of(licence.id))
    codes = [f"licence-{p}" for p in licence.problems]
    codes += [f"licence:{licence.id}", *(code for kind, code in CODES.items() if kind in kinds)]
    allow, deny = policy.allow[use], policy.deny[use]
    if licence.id in deny or (licence.id not in allow and kinds & deny):
        return Verdict("deny", tuple(codes))
    allowed = (licence.id in allow or kinds <= allow) and not licence.problems
    return Verdict("allow" if allowed else "hold", tuple(codes))


def _verdict_by_source(sample: Sample, id: str | None, policy: Policy, use: str) -> Verdict | None:
    """What the terms of the image's source say; None where only the licence counts."""
    name = TERMS.get(id or "", sample.source)
    rule = _source_rule(policy.sources, name, use)
    code = f"terms:{name}" if name in TERMS.values() else f"source-rule:{name}"
    if rule == "licence":
        return None
    if rule == "deny":
        return Verdict("deny", (code,))
    for permission in policy.permissions:
        if permission.source == name and use in permission.uses:
            return Verdict("allow", (code, f"permission:{permission.sha256[:12]}"))
    if rule == "basis" and (said := " ".join((sample.basis or "").split())):
        return Verdict("allow", (code, f"basis:{said}"))
    return Verdict("hold", (code,) if rule == "hold" else (code, f"no-{rule}"))


def _source_rule(sources: Mapping[str, Mapping[str, str]], name: str, use: str) -> str:
    """The policy's rule for a source, or else what its terms come to."""
    usual = "deny" if use == "share_dataset" else "permission"
    return sources.get(name, {}).get(use, usual if name in TERMS.values() else "licence")


_TABLES = {
    **dict.fromkeys(USES, dict),
    "sources": dict[str, dict[str, Any]],
    "permissions": tuple[dict[str, Any], ...],
}


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
        rules = {use: _source_rule(sources, entry["source"], use) for use in USES}
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
