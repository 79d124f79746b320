"""The rows fetched since the manifest was last written: JSON lines, append only."""

import json
import os
import re
import shlex
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from curate.dataset.sample import Sample, from_record, to_record
from curate.dataset.statements import join_statements
from curate.errors import InputError, disk_errors

_NAMES = {"key": re.compile(r"[\w-]+", re.ASCII), "sha256": re.compile("[0-9a-f]+")}
_INT64 = range(-(2**63), 2**63)


def append_row(journal: Path, sample: Sample) -> None:
    """Add one row; it survives the death of the process."""
    line = json.dumps(to_record(sample), ensure_ascii=False, sort_keys=True) + "\n"
    with disk_errors(journal), journal.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # a line cut short by a crash stays one of its own
                file.write(b"\n")
        file.write(line.encode())


def read_rows(journal: Path) -> list[Sample]:
    """The rows in their order; a line that a crash cut short is passed over.

    Raises:
        InputError: a line is JSON, but no row of ours; with its number. Or it cannot be read.
    """
    rows = []
    try:
        lines = journal.read_bytes().split(b"\n")
    except FileNotFoundError:
        lines = []
    except OSError as error:
        fix = f"mv {shlex.quote(str(journal))} elsewhere, and type the same command again"
        raise InputError(journal, f"cannot be read ({error.strerror})", fix=fix) from None
    for number, line in enumerate(lines, 1):
        try:
            record: Any = json.loads(line)
        except ValueError:
            continue  # empty, or cut short: the item in flight, fetched again
        except RecursionError:
            record = None
        if problem := _problem(record):
            fix = f"take that line out: sed -i {number}d {shlex.quote(str(journal))}"
            raise InputError(f"{journal} line {number}", f"not a row of ours ({problem})", fix=fix)
        rows.append(from_record(record))
    return rows


def merge_rows(known: Iterable[Sample], fetched: Iterable[Sample]) -> list[Sample]:
    """Known rows and those of a journal, sorted by key; no row is lost.

    Of a row whose image is already there, or failed to come for the same reason, what was worked
    out stays, and what its source says later is added. Any other row is replaced. Merged again, as
    after a kill between the writing of the manifest and the end of the journal, nothing changes.
    """
    rows = {s.key: s for s in known}
    for sample in fetched:
        old = rows.get(sample.key)
        same = old is not None and old.sha256 == sample.sha256
        same &= sample.sha256 is not None or (old is not None and old.dropped == sample.dropped)
        rows[sample.key] = join_statements(old, sample) if old and same else sample
    return [rows[key] for key in sorted(rows)]


def _problem(record: Any) -> str | None:
    """Why a JSON value is no row, as a clause; None if it is one."""
    if not isinstance(record, Mapping):
        return "no JSON object"
    hints = _hints(Sample)
    if unknown := sorted(record.keys() - hints.keys()):
        return f"unknown field {unknown[0]!r}"
    for name, hint in hints.items():
        if name not in record and name not in ("key", "source"):
            continue
        value, pattern = record.get(name), _NAMES.get(name)
        if not _fits(value, hint) or (pattern and value and not pattern.fullmatch(value)):
            return f"{name} is not what that field holds"
    return None


def _fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value is one of the type that a field of a row has."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        return isinstance(value, list) and all(_fits(one, inner) for one in value)
    if is_dataclass(hint) and isinstance(hint, type):
        needed = {f.name for f in fields(hint) if f.default is MISSING}
        hints = _hints(hint)
        named = isinstance(value, Mapping) and needed <= value.keys() <= hints.keys()
        return named and all(_fits(value[name], hints[name]) for name in value)
    if hint is str:
        return isinstance(value, str) and value.encode("utf-8", "ignore").decode() == value
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and value in _INT64
    return isinstance(value, hint) or (hint is float and _fits(value, int))


@cache
def _hints(of: Any) -> dict[str, Any]:
    return typing.get_type_hints(of)
