"""Rows as columns of Arrow data, which is how they rest, and the objects a step works on.

A column becomes values, and values a column, whole: nothing is converted a row at a time. Only
the columns that are asked for become objects; the rows made of them have these fields and no
other, so that a step cannot read what it does not name.
"""

import typing
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields, is_dataclass, make_dataclass
from functools import cache
from itertools import accumulate, chain, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from curate.dataset.sample import DerivedFacts, Sample, arrow_schema, without_none

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = tuple(f.name for f in fields(Sample))
_HINTS = typing.get_type_hints(Sample)


@cache
def row_type(names: frozenset[str]) -> type[Sample]:
    """A class of rows with the fields `names` of `Sample` alone, and what follows from them.

    To read another field of such a row is an AttributeError.
    """
    if unknown := names - set(COLUMNS):
        raise AttributeError(f"no column {min(unknown)!r}")
    if names == set(COLUMNS):
        return Sample
    chosen = [(name, _HINTS[name]) for name in COLUMNS if name in names]
    bases = (DerivedFacts,)
    return cast(type[Sample], make_dataclass("Row", chosen, bases=bases, frozen=True, slots=True))


def to_rows(table: "pa.Table", names: Collection[str] = COLUMNS) -> list[Sample]:
    """The rows of a table, in its order, with the fields `names`."""
    of = row_type(frozenset(names))
    ordered = [name for name in COLUMNS if name in names]
    return list(map(of, *(column_values(table[name], _HINTS[name]) for name in ordered)))


def to_table(rows: Sequence[Sample], names: Collection[str] = COLUMNS) -> "pa.Table":
    """The fields `names` of rows as a table, in the order of `Sample`."""
    import pyarrow as pa

    schema = pa.schema([field for field in arrow_schema() if field.name in names])
    found = [build_column(list(map(attrgetter(n), rows)), _HINTS[n]) for n in schema.names]
    return pa.Table.from_arrays(found, schema=schema)


def field_column(name: str, values: Sequence[Any]) -> "pa.Array":
    """Values of the field `name` as a column."""
    return build_column(values, _HINTS[name])


def empty_column(name: str, length: int) -> "pa.Array":
    """The column `name` of rows that say nothing there."""
    default = () if typing.get_origin(_HINTS[name]) is tuple else None
    return build_column([default] * length, _HINTS[name])


def column_values(column: "pa.ChunkedArray", hint: Any) -> list[Any]:
    """The values of a column as `Sample` holds them: tuples for lists, our classes for structs."""
    return list(chain.from_iterable(_array_values(chunk, hint) for chunk in column.chunks))


def _array_values(array: "pa.Array", hint: Any) -> list[Any]:
    hint = without_none(hint)
    if typing.get_origin(hint) is tuple:
        offsets = array.offsets.to_pylist() or [0]
        first, last = offsets[0], offsets[-1]
        inner = _array_values(array.values.slice(first, last - first), typing.get_args(hint)[0])
        spans = pairwise(offsets)
        if len(inner) == 0:
            return [()] * len(array)
        found = [tuple(inner[start - first : end - first]) for start, end in spans]
        return _where_valid(array, found, ())
    if is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        parts = (_array_values(array.field(f.name), hints[f.name]) for f in fields(hint))
        known: dict[Any, Any] = {}  # equal ones are one object: most verdicts are
        make = cast(Any, hint)
        made = [known.get(v) or known.setdefault(v, make(*v)) for v in zip(*parts, strict=True)]
        return _where_valid(array, made, None)
    return cast(list[Any], array.to_pylist())


def _where_valid(array: "pa.Array", values: list[Any], otherwise: Any) -> list[Any]:
    if not array.null_count:
        return values
    there = array.is_valid().to_pylist()
    return [value if ok else otherwise for value, ok in zip(values, there, strict=True)]


def build_column(values: Sequence[Any], hint: Any) -> "pa.Array":
    """Values as a column of the type that a field of `Sample` with this annotation has."""
    import pyarrow as pa

    hint = without_none(hint)
    if typing.get_origin(hint) is tuple:
        offsets = pa.array(accumulate(map(len, values), initial=0), pa.int32())
        inner = build_column(list(chain.from_iterable(values)), typing.get_args(hint)[0])
        return pa.ListArray.from_arrays(offsets, inner)
    if is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        absent = [value is None for value in values]
        parts = [_part_of(values, f.name, hints[f.name]) for f in fields(hint)]
        kinds = [pa.field(f.name, part.type) for f, part in zip(fields(hint), parts, strict=True)]
        return pa.StructArray.from_arrays(parts, fields=kinds, mask=pa.array(absent, pa.bool_()))
    kind = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}[hint]
    return pa.array(values, kind)


def _part_of(values: Iterable[Any], name: str, hint: Any) -> "pa.Array":
    nothing = () if typing.get_origin(hint) is tuple else None
    get = attrgetter(name)
    return build_column([nothing if v is None else get(v) for v in values], hint)
