"""What a source asks for before it is asked: accepted terms with a basis, a key, a contact."""

import json
import os
import pwd
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from curate.dataset.folder import command_line, write_json
from curate.dataset.sample import utc_now
from curate.errors import InputError, LicenceError, UsageError
from curate.net.redact import KEY, Secret
from curate.sources.base import Source

TERMS_FILE = "terms.json"  # in a dataset folder
AskForBasis = Callable[[Source], str | None]  # shows the points; returns the basis, None for no


@dataclass(frozen=True)
class Missing:
    """What a source cannot be asked without, and what to type for it."""

    what: str  # a clause
    command: str


@dataclass(frozen=True)
class Acceptance:
    """Who accepted which terms, when and on what basis."""

    terms_url: str
    terms_version: str
    accepted: str  # UTC, ISO 8601, seconds
    who: str  # user of this system
    basis: str  # in the user's words


def accept_terms(root: Path, source: Source, basis: str) -> Acceptance:
    """Record in `root`/terms.json that the user accepts a source's terms.

    Raises:
        UsageError: the source asks for none, or the basis is empty.
    """
    if source.terms_version is None or source.terms_url is None:
        fix = f"curate fetch {source.name} --help"
        raise UsageError(source.name, "asks for no acceptance of terms", fix=fix)
    if not basis.strip():
        raise UsageError("--basis", "is empty", fix="say in a sentence why you may use the images")
    who = str(os.getuid())
    with suppress(KeyError):  # no entry, as in some containers
        who = pwd.getpwuid(os.getuid()).pw_name
    given = Acceptance(source.terms_url, source.terms_version, utc_now(), who, basis.strip())
    write_json(root / TERMS_FILE, {**_read_terms(root), source.name: asdict(given)})
    return given


def find_acceptance(root: Path, source: Source) -> Acceptance | None:
    """The acceptance of the source's present terms, if there is one."""
    record = _read_terms(root).get(source.name)
    if record is None:
        return None
    try:
        given = Acceptance(**record)
        if not all(isinstance(value, str) for value in asdict(given).values()):
            raise TypeError
    except TypeError:
        raise _unreadable_terms(root) from None
    return given if given.terms_version == source.terms_version else None


def missing(root: Path, source: Source, contact: str | None) -> list[Missing]:
    """All that `source` asks for and does not have yet.

    Args:
        root: dataset folder, where accepted terms are recorded.
        source: what is to be fetched from.
        contact: whom the operators of the source may write to, if that is known.
    """
    found = []
    if source.needs_acceptance and find_acceptance(root, source) is None:
        what = f"its terms of {source.terms_version} are not accepted: {source.terms_url}"
        command = command_line(root, "sources", "accept", source.name, "--basis", "TEXT")
        found.append(Missing(what, command))
    if source.key_env and not os.environ.get(source.key_env, "").strip():
        what = f"{source.key_env} is not set: keys are given at {source.key_url}"
        found.append(Missing(what, f"export {source.key_env}=KEY"))
    if source.needs_contact and not contact:
        what = "it asks for a contact: an e-mail address or a page of yours"
        found.append(Missing(what, command_line(root, "sources", "contact", "ADDRESS")))
    return found


def require_basis(
    root: Path,
    source: Source,
    query: str,
    ask: AskForBasis | None,
    contact: str | None,
) -> str | None:
    """The user's basis for fetching from `source`; None if it needs none.

    Args:
        root: dataset folder.
        source: what is to be fetched from.
        query: named in the message.
        ask: asks the user now, if terms are all that is missing; None where nobody can be asked.
        contact: whom the operators of the source may write to, if that is known.

    Raises:
        LicenceError: the terms are not accepted; the message names all that is missing.
        UsageError: a key or a contact is missing.
    """
    lacking, given = missing(root, source, contact), None
    if source.needs_acceptance:
        given = find_acceptance(root, source)
        if given is None and ask is not None and len(lacking) == 1 and (basis := ask(source)):
            given, lacking = accept_terms(root, source, basis), []
    if lacking:
        raise _cannot_ask(root, source, query, lacking)
    return given.basis if given else None


def ways_out(root: Path, source: Source, query: str) -> list[str]:
    """What to type instead, where a source asks for more than most users have."""
    openverse = command_line(root, "fetch", "openverse", "--query", query)
    return [f"or, for open licences instead: {openverse}"] if source.needs_acceptance else []


def read_key(source: Source, ways_out: Sequence[str] = ()) -> Secret | None:
    """The key of a source from the environment, where `missing` has looked for it.

    Raises:
        UsageError: it is nothing like a key.
    """
    if source.key_env is None:
        return None
    value = os.environ.get(source.key_env, "").strip()
    if not KEY.fullmatch(value):
        problem = "does not look like a key (8 to 200 letters, digits, '.', '_' or '-')"
        fix = f"get a key at {source.key_url} and export {source.key_env}=…"
        raise UsageError(source.key_env, problem, fix=[fix, *ways_out])
    return Secret(value)


def _cannot_ask(
    root: Path, source: Source, query: str, lacking: Sequence[Missing]
) -> LicenceError | UsageError:
    """All that is missing in one message: a line for each, and a line for what to type."""
    points, fixes = [one.what for one in lacking], [one.command for one in lacking]
    fixes += ways_out(root, source, query)
    kind: type[LicenceError | UsageError] = UsageError
    if source.needs_acceptance and find_acceptance(root, source) is None:
        kind, points = LicenceError, [*points, *source.terms]
    return kind(source.name, "cannot be asked yet", fix=fixes, points=points)


def _read_terms(root: Path) -> dict[str, dict[str, str]]:
    if not (root / TERMS_FILE).exists():
        return {}
    with suppress(OSError, ValueError):
        value = json.loads((root / TERMS_FILE).read_bytes())
        if isinstance(value, dict):
            return value
    raise _unreadable_terms(root)


def _unreadable_terms(root: Path) -> InputError:
    fix = f"{shlex.join(['rm', str(root / TERMS_FILE)])}, then accept the terms again"
    return InputError(root / TERMS_FILE, "is not readable", fix=fix)
