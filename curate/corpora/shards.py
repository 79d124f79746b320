"""Captions in shards (`formats.shards`), read without the images and despite damage."""

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from curate.corpora.notes import ReadNotes
from curate.corpora.partition import ImageCaptions, Partition
from curate.errors import InputError
from curate.formats.shards import (
    ALLOW,
    INDEX_NAME,
    READABLE_VERSIONS,
    Shard,
    find_shards,
    read_index,
    why_untrainable,
)
from curate.formats.verdicts import DECISIONS, USES

# codes of a verdict (`rights.decide`) that name what is known of an image beside its licence
RECORDED = (
    *("site-opt-out", "signals-contradict", "signal-unclear", "ai-made", "mature"),
    *("drift", "gone-at-source"),
)
IMAGES_A_PARTITION = 100_000  # images that consecutive shards are counted together for


def shard_partitions(folder: Path) -> tuple[list[Partition], list[str]]:
    """Groups of consecutive shards, and a sentence for each shard that is not there in full.

    Raises:
        InputError: no index, an index of another version, or no listed shard is there.
    """
    shards = listed_shards(folder)
    root = find_shards(folder)
    missing, there = [], set()
    for shard in shards:
        if problem := _missing_shard(root / shard.name, shard):
            missing.append(f"{problem}; images not counted: {shard.samples:,}")
        else:
            there.add(shard)
    if shards and not there:
        read_index(folder)  # says so
    # by place in the index, so that a changed shard moves no other into another group
    largest = max((shard.samples for shard in shards), default=1)
    step = max(1, IMAGES_A_PARTITION >> max(0, largest - 1).bit_length())
    found = []
    for start in range(0, len(shards), step):
        if chosen := tuple(shard for shard in shards[start : start + step] if shard in there):
            files = tuple(root / shard.name for shard in chosen)
            read = partial(_read_partition, root, chosen)
            digest = " ".join(f"{shard.name} {shard.sha256}" for shard in chosen)
            found.append(Partition(read, files, "shards", digest))
    return found, missing


def listed_shards(folder: Path) -> tuple[Shard, ...]:
    """The shards that the index names, whether they are there or not.

    Raises:
        InputError: no index, or one of another version.
    """
    try:
        return read_index(folder).shards
    except InputError:
        with suppress(OSError, ValueError, TypeError, KeyError):
            values: Any = json.loads((find_shards(folder) / INDEX_NAME).read_bytes())
            if values["version"] in READABLE_VERSIONS:
                return tuple(Shard(**shard) for shard in values["shards"])
        raise


def record_captions(record: Mapping[str, Any]) -> list[str]:
    """The captions in the record of a sample, as far as they are texts."""
    said = record.get("captions")
    texts = (
        (c.get("text") for c in said if isinstance(c, Mapping)) if isinstance(said, list) else ()
    )
    return [text for text in texts if isinstance(text, str)]


def record_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the record of a sample says beside its captions, by the field that takes it.

    Nothing of it becomes more permissive on the way: what was decided, the first source, licences
    of copies, and what the verdict rests on are kept as `restrictions`, of which `rights.decide`
    makes what it made of the facts themselves. Authors of copies are named with the image's own.
    `record` holds all that was said.
    """
    found: dict[str, Any] = {
        name: record[name]
        for name in ("title", "author", "author_url", "page_url", "license_text", "license_url")
        if record.get(name) is not None
    }
    if "license_text" not in found and record.get("license"):
        found["license_text"] = record["license"]
    if authors := dict.fromkeys(str(c["author"]) for c in _credits(record) if c.get("author")):
        found["author"] = "; ".join(authors)
    found["restrictions"] = tuple(_restrictions(record))
    hashes = (record.get("sha256"), record.get("pixel_sha256"))
    found["made_of"] = tuple(sha256 for sha256 in hashes if isinstance(sha256, str))
    return {**found, "record": record}


def _credits(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the record of a sample says of its authors, and of those of its copies."""
    said = record.get("credits")
    if said is None and isinstance(copies := record.get("copies"), list):  # of an export
        said = [record, *copies]
    return [c for c in said if isinstance(c, Mapping)] if isinstance(said, list) else []


def _restrictions(record: Mapping[str, Any]) -> Iterator[str]:
    """What bears on the uses of an image in its record, beside its licence.

    Its reasons name all that a policy only recorded (`rights.decide`), each as a restriction.
    """
    codes: dict[str, None] = {}
    for use in USES:
        verdict = record.get(use)
        decision = verdict.get("decision") if isinstance(verdict, Mapping) else None
        if decision != ALLOW:
            yield f"{use}:{decision if decision in DECISIONS else 'hold'}"
        reasons = verdict.get("reasons") if isinstance(verdict, Mapping) else None
        if not isinstance(reasons, list | None):
            yield f"unread:{reasons}"  # a restriction that no policy names
            reasons = None
        codes |= dict.fromkeys(map(str, reasons or ()))
    limits = record.get("restrictions")  # of a row of a manifest
    yield from (one for one in limits if isinstance(one, str)) if isinstance(limits, list) else ()
    if isinstance(source := record.get("source"), str):
        yield f"source:{source}"
    if not isinstance(record.get("credits"), list | None):
        yield "licence:unknown"  # that of a copy, perhaps
    for id in dict.fromkeys(str(c.get("license") or "unknown") for c in _credits(record)):
        if id != (record.get("license") or "unknown"):
            yield f"licence:{id}"
    for code in codes:
        name, _, detail = code.partition(":")
        if name == "restriction":
            yield detail
        elif name in RECORDED:
            yield name


def _missing_shard(file: Path, shard: Shard) -> str:
    if not file.is_file():
        return f"{file}: shard is missing"
    size = file.stat().st_size
    if size != shard.bytes:
        return f"{file}: shard has {size} bytes, its index says {shard.bytes}"
    return ""


def _read_partition(
    root: Path, shards: tuple[Shard, ...], reading: ReadNotes
) -> Iterator[ImageCaptions]:
    """The images of each shard; of a broken one none, and a sentence."""
    for shard in shards:
        file = root / shard.name
        try:
            found = list(_read_shard_captions(file, shard))
        except (OSError, tarfile.TarError, ValueError, LookupError, TypeError) as error:
            problem = f"broken shard ({error or type(error).__name__})"
            lost = f"images not counted: {shard.samples:,}"
            reading.broken.append(f"{file}: {problem}; {lost}")
            continue
        if found and not any(text.strip() for _, said in found for text in said):
            lost = f"images not counted: {len(found):,}"
            reading.silent.append(f"{shard.name}: shard holds no caption; {lost}")
        yield from found


def _read_shard_captions(file: Path, shard: Shard) -> Iterator[ImageCaptions]:
    """Key and captions of each sample, once the shard is known to be what the index says."""
    with file.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != shard.sha256:
            raise ValueError("its SHA-256 is not the one in the index")
        opened.seek(0)
        with tarfile.open(fileobj=opened, mode="r:") as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                if kind == "json":
                    stream = tar.extractfile(member)
                    if stream is None:
                        raise ValueError(f"member {member.name!r} is not a file")
                    record = json.loads(stream.read())
                    if said := why_untrainable(record):
                        raise ValueError(f"the record of {key} says {said}")
                    yield key, [c["text"] for c in record["captions"]]
