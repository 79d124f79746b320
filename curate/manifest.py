"""A file of rows with its history: read, write, replace atomically."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from curate import __version__
from curate.errors import InputError
from curate.files import replacing
from curate.sample import Sample, arrow_schema, from_record, to_record

VERSION = "fubuki-manifest/1"


@dataclass(frozen=True)
class Manifest:
    """Samples sorted by key, and the steps that made them what they are."""

    samples: list[Sample]
    history: list[dict[str, Any]]  # each {step, settings, counts, tool}


def read(path: Path) -> Manifest:
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
        raise InputError(
            path, f"not a readable manifest ({str(error).splitlines()[0]})", fix="restore the file"
        ) from None
    stored = (table.schema.metadata or {}).get(b"fubuki", b"{}")
    history = json.loads(stored)
    if history.get("version") != VERSION or not table.schema.equals(arrow_schema()):
        raise InputError(
            path,
            f"written as {history.get('version', 'something else')}, this is {VERSION}",
            fix="fetch into a new folder with --data DIR",
        )
    return Manifest([from_record(r) for r in table.to_pylist()], history["steps"])


def write(path: Path, manifest: Manifest) -> None:
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
    facts = json.dumps({"version": VERSION, "steps": manifest.history}, sort_keys=True)
    schema = arrow_schema().with_metadata({"fubuki": facts})
    table = pa.Table.from_pylist([to_record(s) for s in samples], schema=schema)
    with replacing(path) as file:
        parquet.write_table(table, file, compression="zstd", store_schema=True)


def recorded(
    history: Sequence[dict[str, Any]],
    step: str,
    settings: dict[str, Any],
    samples: Sequence[Sample],
) -> list[dict[str, Any]]:
    """The history with one more step; the last one again with the same settings adds nothing."""
    entry = {
        "step": step,
        "settings": settings,
        "counts": {"rows": len(samples), "dropped": sum(s.dropped is not None for s in samples)},
        "tool": f"fubuki {__version__}",
    }
    last = history[-1] if history else {}
    same = last.get("step") == step and last.get("settings") == settings
    return [*(history[:-1] if same else history), entry]
