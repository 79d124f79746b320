"""The rows of a dataset as columns: the manifest's, with those of the journal merged in.

They are read a group at a time and only in the columns that are asked for, so that what nobody
looks at costs neither memory nor a conversion; a group is written as it was read, save for the
columns that a step filled.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.dataset.journal import merge_rows
from curate.dataset.manifest import GROUP_ROWS, ManifestFile
from curate.dataset.sample import Sample
from curate.dataset.sample_table import COLUMNS, field_column, to_rows, to_table

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True)
class StoredRows:
    """Rows sorted by key, of which nothing is read yet but what the journal changes."""

    file: ManifestFile | None  # None: no manifest was written yet
    history: list[dict[str, Any]]  # each {step, settings, counts, tool}
    late: list[Sample]  # rows of the journal, merged; those that change something
    # numbers of the rows in the manifest and then in `late`, sorted by key; None: the manifest's
    order: "NDArray[Any] | None"

    @property
    def length(self) -> int:
        """How many rows there are."""
        if self.order is not None:
            return len(self.order)
        return self.file.length if self.file else 0

    def rows(self, names: Collection[str] = COLUMNS) -> list[Sample]:
        """The rows with `key` and the fields `names` alone."""
        names = {"key", *names}
        return [row for group in self.groups(names) for row in to_rows(group, names)]

    def named(self, keys: Collection[str]) -> list[Sample]:
        """The whole rows with these keys."""
        import pyarrow as pa
        import pyarrow.compute as arrow

        wanted = pa.array(keys, pa.string())
        found = (g.filter(arrow.is_in(g["key"], value_set=wanted)) for g in self.groups())
        return [row for group in found for row in to_rows(group)]

    def groups(
        self,
        names: Collection[str] = COLUMNS,
        filled: Mapping[str, Sequence[Any]] = {},
    ) -> "Iterator[pa.Table]":
        """The columns `names`, at most `GROUP_ROWS` rows at a time.

        Args:
            names: of columns; they come in the order of `Sample`.
            filled: values of all rows that take the place of a column's.
        """
        ordered = [name for name in COLUMNS if name in names]
        kept = [name for name in ordered if name not in filled]
        for start, table in self._groups(kept):
            stop = start + table.num_rows
            for name in ordered:
                if name in filled:
                    column = field_column(name, filled[name][start:stop])
                    table = table.append_column(name, column)
            yield table.select(ordered)

    def _groups(self, names: list[str]) -> "Iterator[tuple[int, pa.Table]]":
        import numpy as np
        import pyarrow as pa

        known = self.file.length if self.file else 0
        order = np.arange(known) if self.order is None else self.order
        late, read = to_table(self.late, names), self.file and self.file.slices(names)
        for start in range(0, len(order), GROUP_ROWS):
            chosen = order[start : start + GROUP_ROWS]
            old, new = chosen[chosen < known], chosen[chosen >= known]
            parts, places = [], np.empty(len(chosen), dtype=np.int64)
            if len(old) and read:  # both ascend: what is between the first and the last is near
                first, last = int(old[0]), int(old[-1]) + 1
                parts.append(read(first, last))
                places[chosen < known] = old - first
            if len(new):
                first, last = int(new[0]), int(new[-1]) + 1
                places[chosen >= known] = new - first + sum(p.num_rows for p in parts)
                parts.append(late.slice(first - known, last - first))
            table = pa.concat_tables(parts).combine_chunks()
            is_whole = len(parts) == 1 and len(chosen) == table.num_rows
            yield start, (table if is_whole else table.take(pa.array(places)))


def open_rows(path: Path, fetched: Sequence[Sample]) -> StoredRows:
    """The rows of the manifest at `path`, if there is one, and those `fetched` since."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as arrow

    file = ManifestFile(path) if path.exists() else None
    history = file.history if file else []
    if not fetched:
        return StoredRows(file, history, [], None)
    keys = file.read(["key"])["key"] if file else pa.chunked_array([], pa.string())
    names = pa.array(sorted({s.key for s in fetched}))
    known = arrow.index_in(names, value_set=keys).drop_null().to_numpy()
    before = file.take(np.sort(known)) if file and len(known) else []
    merged = merge_rows(before, fetched)
    if merged == before:
        return StoredRows(file, history, [], None)
    order = arrow.sort_indices(pa.chunked_array([*keys.chunks, pa.array([s.key for s in merged])]))
    kept = np.asarray(order)
    return StoredRows(file, history, merged, kept[~np.isin(kept, known)])
