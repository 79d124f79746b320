"""What a row of a table or a JSON object says of an image: one rule for all readers.

A record of ours, in whatever format it comes back, is taken at its word where that is strict
(`shards.record_facts`); all others state what their columns say (`columns.read_facts`).
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from curate.corpora.columns import (
    CAPTION_COLUMNS,
    LineCuts,
    cut_captions,
    join_facts,
    parse_written,
    plain_name,
    read_captions,
    read_facts,
)
from curate.corpora.notes import ReadNotes
from curate.corpora.records import DENIED
from curate.corpora.shards import record_captions, record_facts
from curate.formats.shards import ALLOW, carries_verdict, why_untrainable
from curate.formats.verdicts import DECISIONS, USES

# columns that hold a whole object of an image, as `datasets` and flat tables keep `KEY.json`
OBJECT_COLUMNS = ("json", "jsn", "record", "metadata", "meta", "__json__")
_STRICT = ("opt_outs", "ai_generated", "mature")  # facts that only forbid
# what else of a record is looked at (`shards.record_facts`), where a table has a column each
RECORD_COLUMNS = ("key", "source", "credits", "sha256", "pixel_sha256", "license", "restrictions")

_FLAT = re.compile(r"[._](decision|reasons)$")  # parts of a verdict as columns
_LISTS = ("captions", "credits", "restrictions")  # of a record


def find_record(stated: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The record of ours that a row or an object is, or holds, its verdicts as objects; or None.

    Verdicts may be objects, objects as JSON text (CSV), columns of their own (`train.decision`), or
    refusals alone (`train: deny`). Of several records one that does not allow training counts.
    """
    return _strictest_record([stated, *_objects(stated)])


def _strictest_record(objects: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    found = []
    for one in objects:
        record = {**one, **_verdicts(one)}
        if carries_verdict(record):
            lists = {name: _written(one[name], "[") for name in _LISTS if name in one}
            found.append(record | lists)
    return next((record for record in found if why_untrainable(record)), next(iter(found), None))


def read_statements(
    stated: Mapping[str, Any],
    notes: ReadNotes,
    where: str,
    *,
    whole: bool = False,
    cuts: LineCuts | None = None,
    wanted: Sequence[str] = CAPTION_COLUMNS,
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The captions, and what is stated beside them by the field that takes it.

    Of a record of ours `record` is among the facts. Arguments are those of `columns.read_captions`.
    """
    objects = [stated, *_objects(stated)]
    record = _strictest_record(objects)
    if record is not None and (texts := record_captions(record)):
        captions = cut_captions(texts, whole=whole)
    else:
        captions = read_captions(stated, notes, where, whole=whole, cuts=cuts, wanted=wanted)
    beside = [read_facts(one) for one in objects]
    if record is None:
        return captions, join_facts(beside)
    strict = [{n: v for n, v in facts.items() if n in _STRICT} for facts in beside]
    return captions, join_facts([record_facts(record), *strict])


def verdict_columns(names: Sequence[str]) -> list[str]:
    """The columns that may hold a record of ours, or a verdict of it."""
    objects, verdicts = _columns(tuple(names))
    return list(dict.fromkeys([*objects, *(name for name, *_ in verdicts)]))


def find_denial(facts: Mapping[str, Any]) -> str | None:
    """What forbids training among the facts of an image, as a reason; None: nothing does."""
    record = facts.get("record")
    said = None if record is None else why_untrainable(record)
    return f"{DENIED}:{said}" if said else None


@lru_cache(maxsize=4096)  # the rows of a table have the same names
def _columns(names: tuple[str, ...]) -> tuple[list[str], list[tuple[str, str, str]]]:
    """The columns that may hold whole objects; those of verdicts with their use and what of it."""
    plain = [(name, plain_name(name)) for name in names]
    parts = [(name, *_FLAT.sub(r".\1", one).partition(".")[::2]) for name, one in plain]
    objects = [name for name, one in plain if one in OBJECT_COLUMNS]
    return objects, [(name, use, part) for name, use, part in parts if use in USES]


def _objects(stated: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    values = (stated[name] for name in _columns(tuple(stated))[0])
    return [found for value in values if (found := _object(value)) is not None]


def _object(value: object) -> Mapping[str, Any] | None:
    """A value that is an object, or the text of one."""
    value = _written(value, "{")
    return value if isinstance(value, Mapping) else None


def _written(value: object, start: str) -> object:
    """The object or list that a text is, as JSON or Python write it (CSV); others as they are."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str) and value.lstrip().startswith(start):
        return parsed if (parsed := parse_written(value)) is not None else value
    return value


def _verdicts(stated: Mapping[str, Any]) -> dict[str, Any]:
    """The verdicts that are told, as objects, by use."""
    found: dict[str, Any] = {}
    for name, use, part in _columns(tuple(stated))[1]:
        value = _written(_written(stated[name], "["), "{")
        plain = value.strip().casefold() if isinstance(value, str) else None
        if part:
            found.setdefault(use, {})[part] = plain or value
        elif plain in DECISIONS and plain != ALLOW:
            found[use] = {"decision": plain}
        elif isinstance(value, Mapping):
            found[use] = value
    return found
