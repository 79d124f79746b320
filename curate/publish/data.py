"""The data of a publication: its tars, its tables and the credits, written a shard at a time."""

import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from curate.errors import disk_errors
from curate.formats.shards import (
    ALLOW,
    HELD_OUT,
    Record,
    Shard,
    ShardIndex,
    iterate_records,
    read_tar,
    shard_error,
    shard_name,
)
from curate.publish.choose import (
    NOT_ADDRESSED,
    SHARING,
    Sharing,
    find_sharing,
    public_record,
    share_alike,
)
from curate.publish.contents import DATA, Contents, PublishedShard
from curate.publish.folder import PublishedFolder
from curate.publish.leaks import find_leak
from curate.publish.tables import (
    METADATA_COLUMNS,
    METADATA_NAME,
    URL_COLUMNS,
    URLS_NAME,
    TableWriter,
    metadata_row,
    url_row,
)
from curate.rights.credits import credits_csv, credits_markdown, record_credit
from curate.shards.pack import Choice
from curate.shards.plan import SHARE_ALIKE_SUFFIX
from curate.shards.write import write_shard
from curate.system.files import file_sha256
from curate.system.progress import Progress, track
from curate.system.strangers import markdown

CREDITS_NAME, CREDITS_TABLE_NAME = "CREDITS.md", "CREDITS.csv"
PACKED = f"{SHARING}-when-packed"  # shared now, but the shards say otherwise


@dataclass
class KeptBack:
    """What becomes of the packed images that are not given on."""

    addresses: dict[str, str] = field(default_factory=dict)  # key -> first caption
    withheld: dict[str, str] = field(default_factory=dict)  # key -> why nothing is said of it
    linked: int = 0  # shards that are given on as they are


def write_data(
    place: PublishedFolder,
    index: ShardIndex,
    choice: Choice,
    contents: Contents,
    progress: Progress,
) -> KeptBack:
    """Write what may be given on, and count it in `contents`; all else is kept back.

    Raises:
        InputError: a shard is not what its index says, or the disk refuses.
    """
    sharing, kept = find_sharing(choice.rows.values()), KeptBack()
    with disk_errors(place.path), ExitStack() as stack:
        metadata = stack.enter_context(TableWriter(place.place(METADATA_NAME), METADATA_COLUMNS))
        names = (CREDITS_NAME, CREDITS_TABLE_NAME)
        files = [stack.enter_context(_open_text(place, name)) for name in names]
        files[0].write(f"# Credits of {markdown(contents.name)}\n\n")
        files[1].write(credits_csv(()))
        for shard in track(index.shards, len(index.shards), "shards", progress):
            source = index.root / shard.name
            if file_sha256(source) != shard.sha256:
                raise shard_error(source, "its SHA-256 is not the one in the index")
            found, whole = _divide(index, shard, sharing, kept)
            for alike, records in sorted(found.items()):
                published = _write_tar(place, index, shard, alike, records, whole)
                kept.linked += whole
                contents.shards.append(published)
                _describe(published, records, choice, contents, metadata)
                _write_credits(files, records.values())
    _write_urls(place, choice, kept, contents)
    return kept


def _open_text(place: PublishedFolder, name: str) -> IO[str]:
    return place.place(name).open("w", encoding="utf-8", errors="replace", newline="\n")


def _divide(
    index: ShardIndex, shard: Shard, sharing: Sharing, kept: KeptBack
) -> tuple[dict[bool, dict[str, Record]], bool]:
    """Read every record of a shard, and decide where it goes.

    Returns:
        Whether images ask for share-alike -> their records as published by key; and whether the
        tar can be given on as it is.
    """
    found: dict[bool, dict[str, Record]] = {}
    whole = True
    for key, record in iterate_records(index.root / shard.name):
        public = public_record(record)
        why = _why_not_shared(record, sharing.decisions[key])
        unnamed = sharing.unnamed[key]
        leak = find_leak(json.dumps(public, ensure_ascii=False))
        if leak:
            kept.withheld[key] = f"leak:{leak}"
        elif why is None:
            whole = whole and public == record
            found.setdefault(share_alike(record), {})[key] = public
        elif unnamed is None and why != PACKED:
            kept.addresses[key] = record["captions"][0]["text"]
        elif unnamed in NOT_ADDRESSED and why != PACKED:
            kept.withheld[key] = f"{why}:{unnamed}"
        else:
            kept.withheld[key] = PACKED if why == PACKED else unnamed or why
    return found, whole and [len(records) for records in found.values()] == [shard.samples]


def _why_not_shared(record: Record, decision: str) -> str | None:
    if decision != ALLOW:
        return f"{SHARING}:{decision}"
    packed = record["share_dataset"]
    return None if packed and packed["decision"] == ALLOW else PACKED


def _write_tar(
    place: PublishedFolder,
    index: ShardIndex,
    shard: Shard,
    alike: bool,
    records: dict[str, Record],
    whole: bool,
) -> PublishedShard:
    """One tar; it keeps the number of the shard it is made of, so that others keep theirs."""
    number = int(shard.name.removesuffix(".tar").rpartition("-")[2])
    split = index.split if shard.split != HELD_OUT else HELD_OUT
    path = f"{DATA}/{shard_name(split + SHARE_ALIKE_SUFFIX * alike, number)}"
    source, target = index.root / shard.name, place.place(path)
    if whole:
        _link_or_copy(source, target)
        sha256 = shard.sha256
    else:
        sha256 = _write_subset(source, target, index.format, records)
    place.hashes[path] = sha256
    return PublishedShard(path, split, len(records), target.stat().st_size, sha256, alike)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # the disk cannot, or it is another one
        shutil.copyfile(source, target)


def _write_subset(source: Path, target: Path, format: str, records: Mapping[str, Record]) -> str:
    """Write a tar of some samples of another, with these records; its SHA-256."""
    with source.open("rb") as stream:
        samples = (
            (
                one.key,
                json.dumps(records[one.key], sort_keys=True, ensure_ascii=False),
                one.caption.decode(),
                *(str(source), one.offset, len(one.image)),
            )
            for one in read_tar(stream, format)
            if one.key in records
        )
        try:
            facts, _ = write_shard(str(target), format, samples, "", {})
        except (tarfile.TarError, ValueError, LookupError) as error:
            raise shard_error(source, f"broken shard ({error or type(error).__name__})") from None
    return str(facts["sha256"])


def _describe(
    shard: PublishedShard,
    records: dict[str, Record],
    choice: Choice,
    contents: Contents,
    metadata: TableWriter,
) -> None:
    rows = []
    for key, record in records.items():
        sample = choice.rows[key]
        row = metadata_row(
            record, sample, shard=shard.path, split=shard.split, format=contents.format
        )
        contents.add(row, record_credit(record), sample)
        rows.append(row)
    metadata.write(rows)


def _write_credits(files: Sequence[IO[str]], records: Iterable[Record]) -> None:
    credits = [record_credit(record) for record in records]
    files[0].write(credits_markdown(credits))
    files[1].write(credits_csv(credits).partition("\n")[2])  # its headings are there


def _write_urls(place: PublishedFolder, choice: Choice, kept: KeptBack, contents: Contents) -> None:
    if not kept.addresses:
        return
    rows = [url_row(choice.rows[key], said) for key, said in sorted(kept.addresses.items())]
    with disk_errors(place.path), TableWriter(place.place(URLS_NAME), URL_COLUMNS) as table:
        table.write(rows)
    contents.addresses = len(rows)
