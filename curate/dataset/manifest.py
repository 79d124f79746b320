"""A file of rows with its history: read, write, replace atomically."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from curate import __version__
from curate.dataset.sample import Sample, arrow_schema, from_record, to_record
from curate.errors import InputError
from curate.system.files import atomic_write

MANIFEST_VERSION = "fubuki-manifest/3"
# they lacked fields; these are read as not known
OLDER_VERSIONS = ("fubuki-manifest/1", "fubuki-manifest/2")
FETCH_PREFIX = "fetch"  # how the names of those steps begin that bring new rows


@dataclass(frozen=True)
class Manifest:
    """Samples sorted by key, and the steps that made them what they are."""

    samples: list[Sample]
    history: list[dict[str, Any]]  # each {step, settings, counts, tool}


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        InputError: there is none, it is not a manifest, or another version wrote it.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    if not path.exists():
        raise InputError(path, "no such manifest", fix="curate fetch folder DIR")
    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        problem = f"not a readable manifest ({str(error).splitlines()[0]})"
        fix = "put back a copy of it, or move it away and fetch again"
        raise InputError(path, problem, fix=fix) from None
    history = json.loads((table.schema.metadata or {}).get(b"fubuki", b"{}"))
    schema, version = arrow_schema(), history.get("version")
    older = version in OLDER_VERSIONS and set(table.schema.names) <= set(schema.names)
    if not older and (version != MANIFEST_VERSION or not table.schema.equals(schema)):
        was = history.get("version", "something else")
        problem = f"written as {was}, this is {MANIFEST_VERSION}"
        raise InputError(path, problem, fix="fetch into a new folder with --data DIR")
    return Manifest([from_record(r) for r in table.to_pylist()], history["steps"])


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
    import pyarrow as pa
    import pyarrow.parquet as parquet

    samples = sorted(manifest.samples, key=lambda s: s.key)
    for a, b in pairwise(samples):
        if a.key == b.key:
            raise InputError(path, f"two rows share the key {a.key}", fix="report this as a bug")
    facts = json.dumps({"version": MANIFEST_VERSION, "steps": manifest.history}, sort_keys=True)
    schema = arrow_schema().with_metadata({"fubuki": facts})
    table = pa.Table.from_pylist(list(map(to_record, samples)), schema=schema)
    with atomic_write(path) as file:
        parquet.write_table(table, file, compression="zstd", store_schema=True)


def add_step(
    stored: Manifest, step: str, settings: dict[str, Any], samples: Sequence[Sample]
) -> Manifest:
    """The manifest after a step has made its rows `samples`, the step added to its history.

    It stays as it was where no row changed and the history names the step with these settings,
    since the last fetch unless it is one: so a command that is killed and typed again leaves the
    same bytes as one that ran through. The last step again takes the place of its own entry.
    """
    rows, history = sorted(samples, key=lambda s: s.key), stored.history
    same = [e["step"] == step and e["settings"] == settings for e in history]
    fetches = [n for n, e in enumerate(history) if e["step"].startswith(FETCH_PREFIX)]
    since = fetches[-1] if fetches and not step.startswith(FETCH_PREFIX) else 0
    if rows == stored.samples and any(same[since:]):
        return stored
    entry = {
        "step": step,
        "settings": settings,
        "counts": {"rows": len(rows), "dropped": sum(s.dropped is not None for s in rows)},
        "tool": f"fubuki {__version__}",
    }
    return Manifest(rows, [*(history[:-1] if same and same[-1] else history), entry])
