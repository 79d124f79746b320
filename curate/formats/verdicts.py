"""Do shards still say what their dataset says? Verdicts as packed beside verdicts as they are now.

Shards carry the verdicts under which they were packed: each sample in its record, and all of them
as one digest in the index. A policy, an opt-out, a removal or another copy may have changed them
since. While shards lie in the folder of their dataset, its manifest is asked; moved away from it,
they stand by their records.

The manifest is read with pyarrow, imported where that happens, and with it the journal of rows
fetched since, for what a source says later takes verdicts back.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import InputError
from curate.formats.copies import group_copies
from curate.formats.shards import (
    ALLOW,
    INDEX_NAME,
    CreditRecord,
    ShardIndex,
    credit_of,
    find_shards,
    iterate_records,
    list_tars,
    read_index,
    shard_error,
)

MANIFEST_NAME = "manifest.parquet"  # beside the folder of shards
JOURNAL_NAME = "journal.jsonl"  # of rows fetched since, beside the manifest
STORE_NAME = "store"  # folder of a dataset's images: where it is, a manifest has to be
USES = ("train", "share_dataset", "share_model")
DECISIONS = ("deny", "hold", ALLOW)  # strictest first
NOT_JOINED = "copies-not-joined"
COPIES_CHANGED = "copies-changed"
CREDITS_CHANGED = "credits-changed"


class RowVerdicts(NamedTuple):
    """What a row of a manifest says of one image; a decision is None where there is none yet."""

    key: str
    dropped: str | None
    train: str | None
    share_dataset: str | None
    share_model: str | None
    group: str | None
    sha256: str | None
    pixel_sha256: str | None
    credit: tuple[str | None, ...]  # the fields of `CreditRecord` but its key


_PLAIN = (
    *(name for name in RowVerdicts._fields if name not in (*USES, "credit")),
    *(name for name in CreditRecord.__annotations__ if name != "key"),
    "file_name",
)
STANDING_FIELDS = (*_PLAIN, *USES)  # of a row: all that `verdicts_of` looks at


def verdicts_of(sample: Any) -> RowVerdicts:
    """What a row says that shards must agree with; `sample` is a `curate.dataset.sample.Sample`."""
    verdicts = (getattr(sample, use) for use in USES)
    train, dataset, model = (verdict and verdict.decision for verdict in verdicts)
    copied = sample.group, sample.sha256, sample.pixel_sha256
    credit = _credit_of(credit_of(sample))
    return RowVerdicts(sample.key, sample.dropped, train, dataset, model, *copied, credit)


def _credit_of(record: Mapping[str, Any]) -> tuple[str | None, ...]:
    return tuple(record[name] for name in CreditRecord.__annotations__ if name != "key")


class Standing(NamedTuple):
    """What holds of one image now, its copies taken into account."""

    key: str
    problem: str | None  # why it may not be trained on; None: it may
    decisions: tuple[str | None, ...]  # for each of `USES`
    copies: tuple[str, ...]  # keys of the other rows of its group, sorted; () with a problem
    credits: tuple[tuple[str | None, ...], ...]  # its own, then those of its copies


def find_standings(rows: Iterable[RowVerdicts]) -> dict[str, Standing]:
    """What holds of each row, by key.

    Copies that differ in their decision on training have not been judged together: none of them
    may be trained on.
    """
    found = {}
    for group in group_copies(rows):
        ordered = sorted(group, key=lambda row: row.key)
        joined = all(row.train == ALLOW for row in group)
        for row in group:
            problem = None
            if row.dropped is not None:
                problem = f"dropped:{row.dropped.partition(':')[0]}"
            elif not joined:
                problem = (row.train or "no-verdict") if row.train != ALLOW else NOT_JOINED
            others = () if problem else tuple(other for other in ordered if other.key != row.key)
            copies = tuple(other.key for other in others)
            credits = (row.credit, *(other.credit for other in others))
            decisions = (row.train, row.share_dataset, row.share_model)
            found[row.key] = Standing(row.key, problem, decisions, copies, credits)
    return found


def digest(standings: Iterable[Standing]) -> str:
    """SHA-256 over keys, decisions, copies and credits, in the order of keys."""
    ordered = sorted(standings, key=lambda s: s.key)
    values = [(s.key, s.decisions, s.copies, s.credits) for s in ordered]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def find_stale(
    folder: Path, now: Mapping[str, Standing], keys: Collection[str] | None = None
) -> dict[str, str]:
    """Which samples of a folder of shards say more than holds now, and why: key -> reason.

    The reasons: `no-row` (the dataset does not know it), `dropped:REASON`, `hold`, `deny`,
    `no-verdict`, `copies-not-joined`, `USE:DECISION` (a use whose verdict has become stricter),
    `copies-changed` (it credits other copies than it has), `credits-changed` (its author, licence,
    page or title is stated otherwise, or that of a copy), `not-allowed-when-packed`.
    Without an index every tar there counts. A more lenient verdict makes no sample stale.

    Args:
        folder: of shards.
        now: what holds, by key.
        keys: of all its samples, if known. With them nothing is read where the digest in the index
            is that of what holds now; without, the record of every sample is read.

    Raises:
        InputError: a tar, or the index, cannot be read.
    """
    index = read_index(folder) if is_indexed(folder) else None
    if keys is not None and index is not None and _digest_of(index, now, keys):
        return {}
    tars = [folder / s.name for s in index.shards] if index else list_tars(folder)
    records = ((key, record) for tar in tars for key, record in iterate_records(tar))
    found = {key: _why_stale(record, now.get(key)) for key, record in records}
    return {key: why for key, why in found.items() if why}


def find_index(path: Path) -> Path | None:
    """The index of the shards of ours that `path` means, itself or within; None: none is there."""
    for folder in (path, path / "shards"):
        file = folder / INDEX_NAME
        if file.is_file() and (list_tars(folder) or b"fubuki-shards/" in file.read_bytes()):
            return file
    return None


def is_indexed(folder: Path) -> bool:
    """Whether a folder of shards has its index."""
    return (folder / INDEX_NAME).is_file()


def _digest_of(index: ShardIndex, now: Mapping[str, Standing], keys: Collection[str]) -> bool:
    """Whether the index was written under what holds now of these keys, its samples."""
    standings = [now[key] for key in keys if key in now and now[key].problem is None]
    return len(standings) == len(keys) == index.samples and digest(standings) == index.verdicts


def _why_stale(record: Any, now: Standing | None) -> str | None:
    try:
        packed = [(record[use] or {}).get("decision") for use in USES]
        said = {c["key"]: _credit_of(c) for c in record.get("credits") or ()}
        copies = tuple(sorted(said.keys() - {record["key"]}))
    except (KeyError, TypeError, AttributeError):
        return "not-allowed-when-packed"
    if packed[0] != ALLOW:
        return "not-allowed-when-packed"
    if now is None:
        return "no-row"
    if now.problem:
        return now.problem
    for use, was, decision in zip(USES, packed, now.decisions, strict=True):
        if _rank(decision) < _rank(was):
            return f"{use}:{decision or 'no-verdict'}"
    if copies != now.copies:
        return COPIES_CHANGED
    keys = (now.key, *copies)
    return CREDITS_CHANGED if said and tuple(map(said.get, keys)) != now.credits else None


def _rank(decision: str | None) -> int:
    return DECISIONS.index(decision) if decision in DECISIONS else 0


def refuse_stale(path: Path, keys: Collection[str] | None = None) -> None:
    """Be sure that shards may still be trained on, as the manifest beside them says.

    Args:
        path: folder of shards, or the dataset folder that holds it.
        keys: of all its samples, if known, as `find_stale` takes them.

    Raises:
        InputError: they may not, are no shards, or the manifest beside them cannot be read.
    """
    if error := stale_beside(path, keys):
        raise error


def stale_beside(path: Path, keys: Collection[str] | None = None) -> InputError | None:
    """As `refuse_stale`, but what it would say is returned; None where nothing is stale."""
    return stale_in(find_shards(path), keys)


def stale_in(folder: Path, keys: Collection[str] | None = None) -> InputError | None:
    """As `stale_beside`, of a folder of tars of ours, which may lack their index."""
    return stale_error(*_find_stale_in(folder, keys))


def find_stale_beside(folder: Path) -> dict[str, str]:
    """As `find_stale`, by the dataset beside a folder of shards; {} where there is none."""
    return _find_stale_in(folder, None)[1]


def _find_stale_in(folder: Path, keys: Collection[str] | None) -> tuple[Path, dict[str, str]]:
    """The folder whose parent is a dataset, and what is stale in it."""
    for place in (folder, folder.resolve()):  # it may be a link to shards that lie elsewhere
        root = place.absolute().parent
        manifest = root / MANIFEST_NAME
        if manifest.exists() or (root / STORE_NAME).is_dir():
            now = find_standings(read_manifest_verdicts(manifest))
            return place, find_stale(place, now, keys)
    return folder, {}


def stale_error(folder: Path, stale: Mapping[str, str]) -> InputError | None:
    """How many samples of a folder of shards are stale, why, and what mends it; None if none is."""
    if not stale:
        return None
    of = f" of {read_index(folder).samples}" if is_indexed(folder) else ""
    causes = ", ".join(f"{why} {count}" for why, count in count_stale(stale).items())
    problem = f"{len(stale)}{of} samples are stale ({causes}), such as {min(stale)}"
    problem = f"{problem}: they say more than their dataset allows now"
    return shard_error(folder, problem, folder=folder)


def count_stale(stale: Mapping[str, str]) -> dict[str, int]:
    """Reason -> samples, the most frequent first."""
    return dict(sorted(Counter(stale.values()).items(), key=lambda pair: (-pair[1], pair[0])))


def read_manifest_verdicts(path: Path) -> list[RowVerdicts]:
    """What a manifest and the journal beside it say of each image; of a lacking column, nothing.

    Raises:
        InputError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.compute as arrow
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(path) as file:
            plain = {*_PLAIN} & {*file.schema_arrow.names}
            table = file.read(columns=[*plain, *(f"{use}.decision" for use in USES)])
        columns = {name: table[name] for name in plain}
        columns |= {use: arrow.struct_field(table[use], "decision") for use in USES}
    except (pa.ArrowException, OSError, LookupError) as error:
        problem = f"not a readable manifest ({str(error).splitlines()[0]})"
        fix = "put back a copy of it, or move the shards to a folder of their own"
        raise InputError(path, problem, fix=fix) from None
    nothing = [None] * table.num_rows
    names = (*_PLAIN, *USES)
    values = zip(*(columns[n].to_pylist() if n in columns else nothing for n in names), strict=True)
    rows = [_row_of(dict(zip(names, row, strict=True))) for row in values]
    later = {row.key: row for row in _journal_verdicts(path.with_name(JOURNAL_NAME))}
    return [*(row for row in rows if row.key not in later), *later.values()]


def _row_of(values: Mapping[str, Any]) -> RowVerdicts:
    """A row of which USES are given as decisions."""
    credit = {**values, "title": values.get("title") or values.get("file_name")}
    plain = (values.get(name) for name in RowVerdicts._fields[:-1])
    return RowVerdicts._make([*plain, _credit_of(credit)])


def _journal_verdicts(path: Path) -> Iterator[RowVerdicts]:
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        with suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError):
            row = json.loads(line)  # of which a crash may have cut the last
            yield _row_of(row | {use: (row.get(use) or {}).get("decision") for use in USES})
