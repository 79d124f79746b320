"""Of a published folder: does every image have its record, its row, its credits and its rights?"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.dataset.sample import Sample
from curate.formats.shards import ALLOW, IMAGE_FORMATS, Record, why_untrainable
from curate.publish.choose import public_record, share_alike
from curate.publish.data import CREDITS_NAME, CREDITS_TABLE_NAME
from curate.publish.leaks import find_leak, is_public_address
from curate.publish.tables import METADATA_COLUMNS, METADATA_NAME, URLS_NAME, metadata_row
from curate.rights.credits import credits_csv, credits_markdown, record_credit
from curate.rights.licences import TERMS, kinds_of
from curate.shards.plan import SHARE_ALIKE_SUFFIX
from curate.system.progress import Progress, track

Finding = tuple[str, str]
# columns that say what no record says
_BEYOND_RECORDS = ("license_how", "retrieved", "ai_generated", "split")
_BROKEN = (OSError, tarfile.TarError, ValueError, LookupError, TypeError, AttributeError)


def check_data(
    folder: Path, tars: list[str], there: list[str], progress: Progress
) -> tuple[int, list[Finding]]:
    """How many images there are, and what is wrong with any of them."""
    found: list[Finding] = []
    credits = [_read_lines(folder, name, there) for name in (CREDITS_NAME, CREDITS_TABLE_NAME)]
    keys: set[str] = set()
    splits: dict[str, str] = {}  # group -> split
    images = 0
    for tar in track(tars, len(tars), "tars", progress):
        rows = _read_rows(folder, tar, METADATA_NAME in there, found)
        try:
            for key, kinds, record in _read_samples(folder / tar):
                images += bool({*kinds} & {*IMAGE_FORMATS})
                found += ((why, key) for why in _lacks(kinds, record))
                if key in keys:
                    found.append(("key-twice", key))
                keys.add(key)
                if record is None:
                    continue
                row = rows.pop(key, None)
                found += ((why, key) for why in _wrong_with(record, tar, row, credits))
                split = row["split"] if row else ""
                if row and record["group"] and splits.setdefault(record["group"], split) != split:
                    found.append(("group-in-two-splits", key))
        except (*_BROKEN, RecursionError):
            found.append(("broken-tar", tar))
        found += (("no-image", key) for key in rows)
    found += _rows_elsewhere(folder, tars, METADATA_NAME in there)
    return images, found


def _read_samples(file: Path) -> Iterator[tuple[str, list[str], Record | None]]:
    """Key, endings of the members, and the record, of each sample; images are not read."""
    key, record = "", None
    kinds: list[str] = []
    with tarfile.open(file, "r:") as tar:
        for member in tar:
            name, _, kind = member.name.partition(".")
            if name != key and key:
                yield key, kinds, record
                kinds, record = [], None
            key = name
            kinds.append(kind)
            if kind == "json" and (stream := tar.extractfile(member)):
                record = json.loads(stream.read())
    if key:
        yield key, kinds, record


def _lacks(kinds: list[str], record: Record | None) -> Iterator[str]:
    images = [kind for kind in kinds if kind in IMAGE_FORMATS]
    if record is None:
        yield "no-record"
    if len(images) != 1:
        yield "no-image" if not images else "images-twice"
    if "txt" not in kinds:
        yield "no-caption"
    if not {*kinds} <= {*IMAGE_FORMATS, "json", "txt"}:
        yield "strange-member"


def _wrong_with(
    record: Record, tar: str, row: dict[str, Any] | None, credits: list[set[str]]
) -> Iterator[str]:
    """What is wrong with one record, its row in the metadata and its credits."""
    shared = record["share_dataset"]
    if why_untrainable(record) or not shared or shared["decision"] != ALLOW:
        yield "not-shareable"
    if leak := find_leak(json.dumps(record, ensure_ascii=False)):
        yield f"leak:{leak}"
    if public_record(record) != record:
        yield "not-for-others"
    stated = record.get("credits") or []
    licences = [credit["license"] for credit in stated]
    if not stated or not all(licences) or not record["license"]:
        yield "no-licence"
    elif record["source"] in TERMS.values() or any(id in TERMS for id in licences):
        yield "terms-forbid"
    if share_alike(record) != (f"{SHARE_ALIKE_SUFFIX}-" in tar):
        yield "share-alike-mixed"
    credit = record_credit(record)
    lines = credits_markdown([credit]).splitlines(), credits_csv([credit]).splitlines()[1:]
    if any(not {*wanted} <= known for wanted, known in zip(lines, credits, strict=True)):
        yield "no-credits"
    if row is None:
        yield "no-row"
    else:
        format = row["file_name"].rpartition(".")[2]
        made = metadata_row(record, Sample(record["key"], ""), shard=tar, split="", format=format)
        if any(made[n] != row.get(n) for n in METADATA_COLUMNS if n not in _BEYOND_RECORDS):
            yield "row-differs"


def _read_lines(folder: Path, name: str, there: list[str]) -> set[str]:
    if name not in there:
        return set()
    return {*(folder / name).read_text("utf-8", "replace").splitlines()}


def _read_rows(
    folder: Path, tar: str, there: bool, found: list[Finding]
) -> dict[str, dict[str, Any]]:
    """The rows of the metadata that name a tar, by key."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    if not there:
        return {}
    try:
        table = parquet.read_table(folder / METADATA_NAME, filters=[("shard", "=", tar)])
        return {row["key"]: row for row in table.to_pylist()}
    except (pa.ArrowException, OSError, LookupError, ValueError):
        found.append(("broken-table", METADATA_NAME))
        return {}


def _rows_elsewhere(folder: Path, tars: list[str], there: bool) -> Iterator[Finding]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    if not there:
        return
    try:
        table = parquet.read_table(folder / METADATA_NAME, columns=["key", "shard"])
    except (pa.ArrowException, OSError, LookupError, ValueError):
        return  # told already, where there is a tar
    for row in table.to_pylist():
        if row["shard"] not in tars:
            yield "no-image", row["key"]


def check_urls(folder: Path) -> tuple[int, list[Finding]]:
    """How many addresses are offered, and what is wrong with any."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        rows = parquet.read_table(folder / URLS_NAME).to_pylist()
        return len(rows), [(why, row["url"]) for row in rows for why in _wrong_address(row)]
    except (pa.ArrowException, *_BROKEN):
        return 0, [("broken-table", URLS_NAME)]


def _wrong_address(row: dict[str, Any]) -> Iterator[str]:
    if not is_public_address(row["url"]):
        yield "leak:address"
    if leak := find_leak(json.dumps(row, ensure_ascii=False)):
        yield f"leak:{leak}"
    if not row["license"]:
        yield "no-licence"
    elif row["license"] in TERMS or row["source"] in TERMS.values():
        yield "terms-forbid"
    elif "reserved" in kinds_of(row["license"]):
        yield "licence-forbids"
