"""A file of rows with its history: read, write, replace atomically."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate import __version__
from curate.dataset.sample import Sample, arrow_schema
from curate.dataset.sample_table import COLUMNS, empty_column, to_rows, to_table
from curate.errors import InputError
from curate.system.files import atomic_write

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

MANIFEST_VERSION = "fubuki-manifest/3"
# they lacked fields; these are read as not known
OLDER_VERSIONS = ("fubuki-manifest/1", "fubuki-manifest/2")
GROUP_ROWS = 1 << 16  # rows of a row group: what is in memory at a time as it is written
FETCH_PREFIX = "fetch"  # how the names of those steps begin that bring new rows


@dataclass(frozen=True)
class Manifest:
    """Samples sorted by key, and the steps that made them what they are."""

    samples: list[Sample]
    history: list[dict[str, Any]]  # each {step, settings, counts, tool}


class ManifestFile:
    """A manifest of ours on disk, of which a few columns, or a few rows, can be read."""

    def __init__(self, path: Path) -> None:
        """Open it; only what it says of itself is read.

        Raises:
            InputError: there is none, it is not a manifest, or another version wrote it.
        """
        import pyarrow.parquet as parquet

        if not path.exists():
            raise InputError(path, "no such manifest", fix="curate fetch folder DIR")
        self.path = path
        self._file: parquet.ParquetFile = self._checked(lambda: parquet.ParquetFile(path))
        schema, wanted = self._file.schema_arrow, arrow_schema()
        facts = json.loads((schema.metadata or {}).get(b"fubuki", b"{}"))
        version, self._columns = facts.get("version"), set(schema.names)
        older = version in OLDER_VERSIONS and self._columns <= set(COLUMNS)
        if not older and (version != MANIFEST_VERSION or not schema.equals(wanted)):
            was = facts.get("version", "something else")
            problem = f"written as {was}, this is {MANIFEST_VERSION}"
            raise InputError(path, problem, fix="fetch into a new folder with --data DIR")
        self.history: list[dict[str, Any]] = facts["steps"]
        self.length: int = self._file.metadata.num_rows

    @cached_property
    def _ends(self) -> list[int]:
        """After which row each row group ends."""
        facts = self._file.metadata
        sizes = (facts.row_group(n).num_rows for n in range(facts.num_row_groups))
        return list(accumulate(sizes))

    def read(self, names: Collection[str]) -> "pa.Table":
        """The columns `names` of all rows; one that an older manifest lacks says nothing."""
        return self._read(names, range(self._file.metadata.num_row_groups))

    def take(self, numbers: "NDArray[Any]") -> list[Sample]:
        """The rows with these numbers, which ascend."""
        read, found = self.slices(COLUMNS), []
        for start in range(0, self.length, GROUP_ROWS):
            here = numbers[(numbers >= start) & (numbers < start + GROUP_ROWS)]
            if len(here):
                group = read(start, min(start + GROUP_ROWS, self.length))
                found += to_rows(group.take(here - start))
        return found

    def slices(self, names: Collection[str]) -> "Callable[[int, int], pa.Table]":
        """A function that reads the rows from one number to before another.

        It keeps the row groups that the last call needed, for whoever goes through all rows.
        """
        kept: tuple[range, pa.Table] | None = None

        def read(first: int, last: int) -> "pa.Table":
            nonlocal kept
            ends = self._ends
            needed = range(bisect_right(ends, first), bisect_left(ends, last) + 1)
            if kept is None or kept[0] != needed:
                kept = needed, self._read(names, needed)
            offset = ends[needed[0] - 1] if needed[0] else 0
            return kept[1].slice(first - offset, last - first)

        return read

    def _read(self, names: Collection[str], groups: Iterable[int]) -> "pa.Table":
        there = [name for name in COLUMNS if name in names and name in self._columns]
        # a table without columns would not know how long it is
        table = self._checked(lambda: self._file.read_row_groups(list(groups), there or ["key"]))
        for name in names:
            if name not in table.column_names:
                table = table.append_column(name, empty_column(name, table.num_rows))
        return table.select([name for name in COLUMNS if name in names]).replace_schema_metadata()

    def _checked(self, read: Callable[[], Any]) -> Any:
        import pyarrow as pa

        try:
            return read()
        except (pa.ArrowException, OSError) as error:
            problem = f"not a readable manifest ({str(error).splitlines()[0]})"
            fix = "put back a copy of it, or move it away and fetch again"
            raise InputError(self.path, problem, fix=fix) from None


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        InputError: there is none, it is not a manifest, or another version wrote it.
    """
    file = ManifestFile(path)
    return Manifest(to_rows(file.read(COLUMNS)), file.history)


def read_history(path: Path) -> list[dict[str, Any]]:
    """The steps that a manifest names, without reading its rows; none where it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    with suppress(pa.ArrowException, OSError, ValueError, LookupError, TypeError):
        facts = json.loads((parquet.read_schema(path).metadata or {})[b"fubuki"])
        return [dict(step) for step in facts["steps"]]
    return []


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Replace the manifest at `path`; the same rows and history give the same bytes.

    Raises:
        InputError: two rows share a key, or the disk refuses.
    """
    samples = sorted(manifest.samples, key=lambda s: s.key)
    starts = range(0, len(samples), GROUP_ROWS)
    groups = (to_table(samples[start : start + GROUP_ROWS]) for start in starts)
    write_groups(path, groups, manifest.history)


def write_groups(
    path: Path, groups: "Iterable[pa.Table]", history: Sequence[dict[str, Any]]
) -> None:
    """Replace the manifest at `path` by rows sorted by key, `GROUP_ROWS` at a time.

    Raises:
        InputError: two rows share a key, or the disk refuses.
    """
    import pyarrow.parquet as parquet

    facts = json.dumps({"version": MANIFEST_VERSION, "steps": history}, sort_keys=True)
    schema = arrow_schema().with_metadata({"fubuki": facts})
    last = ""
    with (
        atomic_write(path) as file,
        parquet.ParquetWriter(file, schema, compression="zstd", store_schema=True) as writer,
    ):
        for group in groups:
            keys = [last, *group["key"].to_pylist()]
            if twice := next((b for a, b in pairwise(keys) if a >= b), None):
                problem = f"two rows share the key {twice}"
                raise InputError(path, problem, fix="report this as a bug")
            last = keys[-1]
            writer.write_table(group.combine_chunks().cast(schema), row_group_size=GROUP_ROWS)


def add_step(
    stored: Manifest, step: str, settings: dict[str, Any], samples: Sequence[Sample]
) -> Manifest:
    """The manifest after a step has made its rows `samples`, noted as `note_step` does."""
    rows = sorted(samples, key=lambda s: s.key)
    history = note_step(stored.history, step, settings, rows, is_new=rows != stored.samples)
    return stored if history is stored.history else Manifest(rows, history)


def note_step(
    history: list[dict[str, Any]],
    step: str,
    settings: dict[str, Any],
    rows: Sequence[Sample],
    *,
    is_new: bool,
) -> list[dict[str, Any]]:
    """The history after a step that left `rows`, of which something `is_new` or nothing.

    It stays as it was where no row changed and the history names the step with these settings,
    since the last fetch unless it is one: so a command that is killed and typed again leaves the
    same bytes as one that ran through. The last step again takes the place of its own entry.
    """
    same = [e["step"] == step and e["settings"] == settings for e in history]
    fetches = [n for n, e in enumerate(history) if e["step"].startswith(FETCH_PREFIX)]
    since = fetches[-1] if fetches and not step.startswith(FETCH_PREFIX) else 0
    if not is_new and any(same[since:]):
        return history
    entry = {
        "step": step,
        "settings": settings,
        "counts": {"rows": len(rows), "dropped": sum(s.dropped is not None for s in rows)},
        "tool": f"fubuki {__version__}",
    }
    return [*(history[:-1] if same and same[-1] else history), entry]
