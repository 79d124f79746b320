"""Are shards what they say? Every tar, record and image looked at, whoever wrote them."""

import base64
import json
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.corpora.notes import ReadNotes
from curate.corpora.tars import open_tars
from curate.dataset.engine import LOCAL, Engine, run_unordered
from curate.errors import InputError
from curate.formats.shards import (
    HELD_OUT,
    SHARDS_VERSION,
    Record,
    Shard,
    ShardIndex,
    StoredSample,
    list_tars,
    parse_index,
    read_tar,
    why_untrainable,
)
from curate.formats.verdicts import find_index, find_stale_beside
from curate.images.decode import decode_image
from curate.system.files import file_sha256
from curate.system.progress import SILENT, Progress, track
from curate.system.sandbox import JobResult, WorkerFailure

_DATA = "data:"
NAMED = 3  # of each fault, in a line
_AGAIN = re.compile(r"(.+)#\d+")  # key of a sample that came again, as `corpora.tars` has it


@dataclass(frozen=True)
class Verification:
    """What is wrong with shards."""

    path: str
    kind: str  # the version of an index of ours, or "tars"
    shards: int
    images: int  # looked at
    faults: Mapping[str, list[str]]  # what is wrong -> of what: shards, keys

    def as_rows(self) -> list[tuple[str, int, str]]:
        """A line for each count, then one for each fault with the first of its names."""
        counts = [("shards", self.shards, self.kind), ("images", self.images, "")]
        return counts + [
            (fault, len(names), ", ".join(names[:NAMED]) + ", …" * (len(names) > NAMED))
            for fault, names in sorted(self.faults.items())
        ]


@dataclass
class _Checks:
    """What was seen so far."""

    faults: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    keys: set[str] = field(default_factory=set)
    licences: Counter[str] = field(default_factory=Counter)
    splits: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # of
    # groups; of images without one by key
    weights: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))  # likewise


def verify_shards(
    path: Path, *, engine: Engine = LOCAL, progress: Progress = SILENT
) -> Verification:
    """Read every shard whole, and decode every image in it; `curate verify-shards`.

    Of shards of ours: each tar has the size and the SHA-256 that the index names; each sample has
    its three members, a record that allows training and describes it, and a caption; keys are there
    once; related images are in one split and their weights add up to 1; counts are those of the
    index; and what records say holds in the dataset beside them. Of tars that others wrote: each
    can be read to its end, keys are there once, and each image has a caption. Images of either are
    decoded, those of ours having the size of their record.

    Args:
        path: a dataset folder, its shards, or tars as `curate fetch shards` takes them.
        engine: where images are decoded.
        progress: counts images.

    Raises:
        InputError: no shards are there, or an index that cannot be read.
    """
    folder, checks = find_index(path), _Checks()
    if folder:
        index = parse_index(folder)
        jobs, kind, shards = _own_images(index, checks), index.version, len(index.shards)
    else:
        reader = open_tars(path)
        jobs, kind, shards = _foreign_images(path, checks), "tars", len(reader.tars)
    images = _decode(jobs, checks, engine, progress)
    if folder:
        if not {"shard-broken", "shard-missing"} & checks.faults.keys():  # else it follows
            _compare_totals(index, checks)
        _compare_with_dataset(index.root, checks)
    return Verification(str(path), kind, shards, images, dict(checks.faults))


def check_image(path: str, offset: int, size: int, width: int, height: int) -> JobResult:
    """Decode the image that some bytes of a file are; for `sandbox.run_jobs`.

    Args:
        path: of the file; "data:" and Base64 stands for the bytes themselves.
        offset: of the first byte.
        size: bytes.
        width: that it should have; 0: any.
        height: likewise.

    Returns:
        `fault`: why it is not the image it should be, else None.
    """
    if path.startswith(_DATA):
        content = base64.b64decode(path.removeprefix(_DATA))
    else:
        with Path(path).open("rb") as file:
            file.seek(offset)
            content = file.read(size)
    image = decode_image(content)
    differs = (width or height) and image.size != (width, height)
    return {"fault": "size-differs-from-record" if differs else None}, b""


def _decode(
    images: Iterator[tuple[str, dict[str, Any]]],
    checks: _Checks,
    engine: Engine,
    progress: Progress,
) -> int:
    """Decode images, named and as jobs of `check_image`; how many there were."""
    names = []

    def jobs() -> Iterator[dict[str, Any]]:
        for name, job in images:
            names.append(name)
            yield job

    function = "curate.shards.verify:check_image"
    answers = run_unordered(function, jobs(), engine=engine)
    for number, answer in track(answers, None, "images", progress):
        if isinstance(answer, WorkerFailure):
            checks.faults["undecodable"].append(f"{names[number]} ({answer.reason})")
        elif fault := answer[0]["fault"]:
            checks.faults[fault].append(names[number])
    return len(names)


def _own_images(index: ShardIndex, checks: _Checks) -> Iterator[tuple[str, dict[str, Any]]]:
    """Check every shard of ours but for its images; give these."""
    surplus = {*list_tars(index.root)} - {index.root / shard.name for shard in index.shards}
    checks.faults["shard-not-in-index"] += sorted(tar.name for tar in surplus)
    for shard in index.shards:
        path, samples = index.root / shard.name, 0
        try:
            if path.stat().st_size != shard.bytes or file_sha256(path) != shard.sha256:
                checks.faults["shard-changed"].append(shard.name)
            with path.open("rb") as file:
                for sample in read_tar(file, index.format):
                    samples += 1
                    record = _check_sample(sample, shard, index.version, checks)
                    sides = {side: record.get(side, 0) for side in ("width", "height")}
                    place = {"path": str(path), "offset": sample.offset, "size": len(sample.image)}
                    yield sample.key, {**sides, **place}
        except FileNotFoundError:
            checks.faults["shard-missing"].append(shard.name)
            continue
        except (OSError, tarfile.TarError, ValueError, LookupError) as error:
            checks.faults["shard-broken"].append(f"{shard.name} ({error or type(error).__name__})")
            continue
        if samples != shard.samples:
            checks.faults["shard-samples-miscounted"].append(shard.name)
    for name in [name for name, found in checks.faults.items() if not found]:
        del checks.faults[name]


def _check_sample(
    sample: StoredSample, shard: Shard, version: str, checks: _Checks
) -> Mapping[str, Any]:
    """Note what is wrong with a sample but for its image; its record."""
    key, faults = sample.key, checks.faults
    if key in checks.keys:
        faults["key-not-unique"].append(key)
    checks.keys.add(key)
    try:
        record: Any = json.loads(sample.record)
    except ValueError:
        record = None
    if not isinstance(record, dict) or record.get("key") != key:
        faults["record-broken"].append(key)
        return {}
    if version == SHARDS_VERSION and set(record) != set(Record.__annotations__):
        faults["record-incomplete"].append(key)
    if why_untrainable(record):
        faults["not-allowed-to-train"].append(key)
    captions = record.get("captions") or [{}]
    if not sample.caption.strip():
        faults["no-caption"].append(key)
    elif captions[0].get("text", "").encode() != sample.caption:
        faults["caption-differs-from-record"].append(key)
    group = record.get("group") or key
    checks.splits[group].add(shard.split)
    checks.weights[group] += record.get("weight", 0.0)
    checks.licences[record.get("license") or "none"] += 1
    return record


def _compare_totals(index: ShardIndex, checks: _Checks) -> None:
    """Note where the samples together are not what the index says."""
    faults = checks.faults
    for group, splits in checks.splits.items():
        if HELD_OUT in splits and len(splits) > 1:
            faults["group-trained-on-and-held-out"].append(group)
    if index.version == SHARDS_VERSION:
        for group, total in checks.weights.items():
            if abs(total - 1) > 1e-6:
                faults["weights-of-group"].append(group)
    if len(checks.keys) != index.samples:
        faults["samples-miscounted"].append(f"{len(checks.keys)} of {index.samples}")
    if dict(checks.licences) != dict(index.licences):
        faults["licences-miscounted"].append("index.json")


def _compare_with_dataset(folder: Path, checks: _Checks) -> None:
    """Note what records say that no longer holds in the dataset beside them."""
    try:
        stale = find_stale_beside(folder)
    except InputError as error:
        if not any(fault.startswith("shard-") for fault in checks.faults):
            checks.faults["not-comparable-with-dataset"].append(f"{error.subject}: {error.problem}")
        return
    for key, why in stale.items():
        checks.faults[f"stale: {why}"].append(key)


def _foreign_images(path: Path, checks: _Checks) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read every tar of others as any reader of ours does, and note what it has to say."""
    reader, notes, faults = open_tars(path), ReadNotes(most=None), checks.faults
    for record in reader.records(notes):
        again = _AGAIN.fullmatch(record.key)
        if again and again[1] in checks.keys:
            faults["key-not-unique"].append(again[1])
        checks.keys.add(record.key)
        if record.reason:
            faults[record.reason].append(record.key)
            continue
        if len(record.captions) == record.made:
            faults["no-caption"].append(record.key)
        data = base64.b64encode(record.data or b"").decode()
        file = f"{_DATA}{data}" if record.file is None else str(record.file)
        place = {"path": file, "offset": record.offset, "size": record.size}
        yield record.key, {**place, "width": 0, "height": 0}
    for sentence in (*reader.missing, *notes.broken):
        faults["tar-broken"].append(sentence)
    for reason in notes.left_out:
        faults[reason] += notes.named.get(reason) or [""] * notes.left_out[reason]
