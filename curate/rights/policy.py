"""A TOML policy turns licences, terms and opt-outs into three verdicts an image.

This records and applies a policy; it is not legal advice.
"""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.dataset.sample import Sample, Verdict
from curate.errors import InputError, UsageError
from curate.rights.kinds import COPYLEFT, KINDS, OWN, PERMISSIVE, TERMS, is_family, kinds_of
from curate.rights.names import Licence, identify

if TYPE_CHECKING:
    import daft

FOLDER = Path(__file__).with_name("policies")
USES = ("train", "share_dataset", "share_model")
RULES = ("licence", "basis", "permission", "hold", "deny")
DECISIONS = ("deny", "hold", "allow")  # strictest first
FILLS = ("license", "license_how", *USES, "policy")
CODES = {
    "share-alike": "licence-sa",
    "non-commercial": "licence-nc",
    "no-derivatives": "licence-nd",
}


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
    sources: Mapping[str, Mapping[str, str]]  # source -> use -> one of RULES
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

    rules = read(policy)
    return engine.each(rows, lambda sample: judged(sample, rules), fills=FILLS)


def judged(sample: Sample, policy: Policy) -> Sample:
    """The sample with its licence identified and its three verdicts."""
    licence = identify(sample.license_text, sample.license_url)
    if licence.id == OWN and sample.license_by != "user":
        how = f"{licence.how} was not stated by you (--license own)"
        licence = Licence(None, how, ("unknown",))
    train, share_dataset, share_model = (_verdict(sample, licence, policy, use) for use in USES)
    return replace(
        sample,
        license=licence.id,
        license_how=licence.how,
        train=train,
        share_dataset=share_dataset,
        share_model=share_model,
        policy=policy.sha256,
    )


def shipped() -> list[str]:
    """The names of the policies that come with this package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read(policy: str) -> Policy:
    """Read a shipped policy by name, or a policy file by path."""
    path = FOLDER / f"{policy}.toml" if policy in shipped() else Path(policy)
    try:
        data = path.read_bytes()
        document = tomllib.loads(data.decode())
    except FileNotFoundError:
        near = get_close_matches(policy, shipped(), 1)
        fix = f"did you mean {near[0]}?" if near else f"choose {', '.join(shipped())} or a file"
        raise UsageError(f"--policy {policy}", "no such policy", fix=fix) from None
    except OSError as error:
        fix = f"choose {', '.join(shipped())} or a readable file"
        raise InputError(path, f"cannot be read ({error.strerror})", fix=fix) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        fix = f"correct it; {FOLDER / 'personal.toml'} is an example"
        raise InputError(path, f"not a TOML file ({error})", fix=fix) from None
    _only(path, document, (*USES, "sources", "permissions"))
    lists = {use: _table(path, document, use, ("allow", "deny")) for use in USES}
    tables = _table(path, document, "sources")
    sources = {name: _rules(path, name, tables) for name in tables}
    return Policy(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        allow={use: _licences(f"{path} {use}.allow", lists[use].get("allow", [])) for use in USES},
        deny={use: _licences(f"{path} {use}.deny", lists[use].get("deny", [])) for use in USES},
        sources=sources,
        permissions=tuple(_permissions(path, document.get("permissions", []), sources)),
    )


def _verdict(sample: Sample, licence: Licence, policy: Policy, use: str) -> Verdict:
    """The strictest of what opt-outs, source and licence say, with the codes that led to it."""
    if sample.opt_outs:
        return Verdict("deny", tuple(f"opt-out:{signal}" for signal in sample.opt_outs))
    parts = [_by_source(sample, licence.id, policy, use)]
    if licence.id not in TERMS or "conflict" in licence.problems:
        parts.append(_by_licence(licence, policy, use))
    said = [part for part in parts if part is not None]
    strictest = min((p.decision for p in said), key=DECISIONS.index)
    codes = [code for p in said if p.decision == strictest for code in p.reasons]
    return Verdict(strictest, tuple(codes))


def _by_licence(licence: Licence, policy: Policy, use: str) -> Verdict:
    if licence.id is None:
        return Verdict("hold", ("licence-unknown",))
    kinds = set(kinds_of(licence.id))
    codes = [f"licence-{p}" for p in licence.problems]
    codes += [f"licence:{licence.id}", *(code for kind, code in CODES.items() if kind in kinds)]
    if licence.id in policy.deny[use]:
        return Verdict("deny", tuple(codes))
    if licence.id in policy.allow[use]:
        return Verdict("hold" if licence.problems else "allow", tuple(codes))
    if kinds & policy.deny[use]:
        return Verdict("deny", tuple(codes))
    allowed = kinds <= policy.allow[use] and not licence.problems
    return Verdict("allow" if allowed else "hold", tuple(codes))


def _by_source(sample: Sample, id: str | None, policy: Policy, use: str) -> Verdict | None:
    """What the terms of the image's source say; None where only the licence counts."""
    name = TERMS.get(id or "", sample.source)
    rule = _rule(policy.sources, name, use)
    code = f"terms:{name}" if name in TERMS.values() else f"source-rule:{name}"
    if rule == "licence":
        return None
    if rule == "deny":
        return Verdict("deny", (code,))
    for permission in policy.permissions:
        if permission.source == name and use in permission.uses:
            return Verdict("allow", (code, f"permission:{permission.sha256[:12]}"))
    if rule == "basis":
        said = " ".join((sample.basis or "").split())
        return Verdict("allow", (code, f"basis:{said}")) if said else _held(code, "no-basis")
    return _held(code, "no-permission") if rule == "permission" else _held(code)


def _rule(sources: Mapping[str, Mapping[str, str]], name: str, use: str) -> str:
    """The policy's rule for a source, or else what its terms come to."""
    usual = "deny" if use == "share_dataset" else "permission"
    return sources.get(name, {}).get(use, usual if name in TERMS.values() else "licence")


def _held(*codes: str) -> Verdict:
    return Verdict("hold", codes)


def _only(subject: object, table: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse a key that is not among `names`, with the nearest that is."""
    for key in table:
        if key not in names:
            near = get_close_matches(key, names, 1)
            fix = f"did you mean {near[0]}?" if near else f"use {', '.join(names)}"
            raise InputError(subject, f"no setting {key!r}", fix=fix)


def _table(
    path: Path, document: Mapping[str, Any], name: str, keys: Sequence[str] = ()
) -> Mapping[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise InputError(f"{path} {name}", "is not a table", fix=f"write it as [{name}]")
    if keys:
        _only(f"{path} [{name}]", table, keys)
    return table


def _licences(subject: str, names: object) -> frozenset[str]:
    """The kinds and ids of a list, each of them known."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(subject, "is not a list of names", fix='write it as ["cc0", "MIT"]')
    for name in names:
        if name == "terms" or name in TERMS:
            fix = "write a [sources.NAME] table instead"
            raise InputError(subject, f"{name!r} cannot be decided by licence", fix=fix)
        if name in KINDS or (identify(name, None).id == name and not is_family(name)):
            continue
        near = get_close_matches(name, [*KINDS, *PERMISSIVE, *COPYLEFT, "CC0-1.0", "CC-BY-4.0"], 1)
        fix = f"did you mean {near[0]}?" if near else f"use {', '.join(KINDS)}, or an SPDX id"
        raise InputError(subject, f"{name!r} is neither a kind of licence nor an id", fix=fix)
    return frozenset(names)


def _rules(path: Path, name: str, sources: Mapping[str, Any]) -> Mapping[str, str]:
    label = f"sources.{name}"
    rules = _table(path, {label: sources[name]}, label, USES)
    for use, rule in rules.items():
        subject = f"{path} [{label}] {use}"
        if rule not in RULES:
            near = get_close_matches(str(rule), RULES, 1)
            fix = f"did you mean {near[0]}?" if near else f"use {', '.join(RULES)}"
            raise InputError(subject, f"no rule {rule!r}", fix=fix)
        if name in TERMS.values() and use == "share_dataset" and rule != "deny":
            problem = f"the terms of {name} forbid giving its pictures on"
            raise InputError(subject, problem, fix='write "deny"')
        if name in TERMS.values() and rule == "licence":
            problem = f"the terms of {name} are its licence, and ask for more"
            raise InputError(subject, problem, fix='write "permission"')
    return rules


def _permissions(
    path: Path, entries: object, sources: Mapping[str, Mapping[str, str]]
) -> list[Permission]:
    """The permissions, after comparing each document with the hash that is stated for it."""
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise InputError(
            f"{path} permissions", "is not a list of tables", fix="write [[permissions]]"
        )
    found = []
    for number, entry in enumerate(entries, 1):
        subject = f"{path} permissions entry {number}"
        _only(subject, entry, ("source", "path", "sha256", "uses"))
        for name in ("source", "path", "sha256"):
            if not isinstance(entry.get(name), str):
                raise InputError(subject, f"names no {name}", fix=f'add {name} = "…"')
        uses = entry.get("uses", ["train"])
        rules = {use: _rule(sources, entry["source"], use) for use in USES}
        possible = [use for use, rule in rules.items() if rule not in ("licence", "deny")]
        if not isinstance(uses, list) or not uses or not set(map(str, uses)) <= set(possible):
            asked = f"[sources.{entry['source']}] asks for none"
            fix = (
                f"name some of {', '.join(possible)}"
                if possible
                else 'write train = "permission" there'
            )
            raise InputError(subject, f"permits {uses!r}, for which {asked}", fix=fix)
        document = path.parent / entry["path"]
        _compare(subject, document, entry["sha256"])
        found.append(Permission(entry["source"], entry["sha256"], tuple(uses)))
    return found


def _compare(subject: str, document: Path, sha256: str) -> None:
    try:
        actual = hashlib.sha256(document.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            subject,
            f"its document {document} cannot be read ({error.strerror})",
            fix="put the permission there, or remove the entry",
        ) from None
    if actual != sha256:
        raise InputError(
            subject,
            f"{document} is not the document that was named",
            fix=f'read it, then write sha256 = "{actual}"',
        )
