"""Write what may be trained on as WebDataset tars: the same rows and settings, the same bytes."""

import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from curate.dataset.folder import MANIFEST_NAME, Dataset, Store, command_line
from curate.dataset.manifest import FETCH_PREFIX, read_history
from curate.dataset.sample import DUPLICATE, Sample
from curate.errors import InputError, UsageError
from curate.formats.shards import IMAGE_FORMATS, list_tars
from curate.formats.verdicts import (
    NOT_JOINED,
    Standing,
    count_stale,
    find_stale,
    find_standings,
    is_indexed,
    verdicts_of,
)
from curate.shards.writer import ShardWriter, publish_shards, withdraw_shards
from curate.system import sandbox
from curate.system.progress import SILENT, Progress, track

SHARD_BYTES = 256 << 20  # bytes of members after which a new shard is begun
# what is wrong with the evidence of a row from an online source -> why it is left out
EVIDENCE = {"missing": "no-evidence", "changed": "evidence-changed"}
MAX_NAMED = 5  # withdrawn images that are named
_SPLIT_NAME = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class PackSummary:
    """What `pack` wrote, and what it left out."""

    folder: str
    samples: int
    shards: int
    bytes: int  # of all tars
    left_out: Mapping[str, int]  # reason -> rows
    withdrawn: Mapping[str, str]  # key of what was packed before and no longer may be -> why
    unchanged: bool  # the shards there were the same already

    def as_rows(self) -> list[tuple[str, int | str]]:
        """The summary as lines: what, how much."""
        left = [(f"left out: {reason}", count) for reason, count in self.left_out.items()]
        state = "unchanged" if self.unchanged else "written"
        counts = [("images", self.samples), ("shards", self.shards), ("bytes", self.bytes)]
        gone = [(f"withdrawn: {why}", n) for why, n in count_stale(self.withdrawn).items()]
        return [*counts, *left, *gone, (state, self.folder)]

    def notes(self) -> list[str]:
        """A sentence on each thing that a user should know of, or do."""
        root = Path(self.folder).parent
        gone = f"withdrawn from the shards: {name_some(self.withdrawn)}"
        return [gone] * bool(self.withdrawn) + [
            f"{self.left_out[reason]} images left out as {reason}: {fix}"
            for reason, fix in _fixes(root).items()
            if reason in (NOT_JOINED, *EVIDENCE.values()) and self.left_out.get(reason)
        ]


def pack(
    dataset: Dataset,
    *,
    size: int = 512,
    format: str = "jpg",
    background: str = "white",
    shard_size: int = SHARD_BYTES,
    split: str = "train",
    progress: Progress = SILENT,
) -> PackSummary:
    """Write the rows that may be trained on, and have captions, as shards; `curate pack`.

    Rows are taken by key. An image whose shorter side is longer than `size` is scaled down to it
    (Lanczos), never up; transparency is composed on `background`; metadata is left behind, since
    the record beside the image names author and licence, and those of its copies. The old shards
    stay until the new ones are complete; killed in between, the folder has no index and the same
    command completes it. What is there and may no longer be trained on is withdrawn, also where
    nothing is left to pack.

    A row of an online source is packed only with its evidence: the stored answers that it names,
    unchanged. Copies that were not judged together (`curate check`) are all left out, and where
    verdicts differ nothing is packed until all images were compared with each other.

    Args:
        dataset: where the rows and images lie, and the shards will.
        size: pixels of the shorter side.
        format: "jpg" (quality 95, 4:4:4), "png" or "webp" (lossless).
        background: a colour name or #rrggbb.
        shard_size: bytes of members after which a new shard is begun.
        split: first part of the shards' names.
        progress: counts images.

    Raises:
        UsageError: a setting cannot be used, or another command is at work there.
        InputError: no row can be packed, images were not compared that may be copies, a stored file
            is missing or changed, or the disk refuses.
    """
    settings = {"size": size, "format": format, "background": background}
    check_pack_settings(size, format, background, shard_size, split)
    with dataset.lock(existing=True):
        chosen, reasons, standings, by_key = choose_samples(dataset)
        stale = _find_stale_there(dataset.shards, standings, [s.key for s in chosen])
        left_out, keys = Counter(reasons.values()), set()
        if not chosen:
            raise _nothing_to_pack(dataset, left_out, _withdraw_stale(dataset.shards, stale))
        kin = {key: min((key, *standings[key].copies)) for key in (s.key for s in chosen)}
        related = Counter(kin.values())
        with ShardWriter(dataset.shards, split, shard_size) as writer:
            for sample, answer in _render_all(dataset.store, chosen, settings, progress):
                if isinstance(answer, str):
                    left_out[answer] += 1
                    continue
                standing = standings[sample.key]
                rows = [by_key[key] for key in standing.copies]
                writer.add(sample, standing, rows, answer, 1 / related[kin[sample.key]])
                keys.add(sample.key)
            if not writer.samples:
                raise _nothing_to_pack(dataset, left_out, _withdraw_stale(dataset.shards, stale))
            index = writer.index(settings | {"shard_size": shard_size})
            unchanged = publish_shards(dataset.shards, index)
    counts = index.samples, len(index.shards), sum(shard.bytes for shard in index.shards)
    withdrawn = {key: why for key, why in (stale or {}).items() if key not in keys}
    left = dict(sorted(left_out.items()))
    return PackSummary(str(dataset.shards), *counts, left, withdrawn, unchanged)


def _require_compared(dataset: Dataset, samples: Sequence[Sample]) -> None:
    """Refuse to pack while an image may be an unknown copy of one of which less is allowed."""
    there = [s for s in samples if s.sha256 and s.drop_reason in ("", DUPLICATE)]
    unknown = sum(s.inspected_by is None and s.pixel_sha256 is None for s in there)
    decided = [(s.train, s.share_dataset, s.share_model) for s in there]
    kinds = {tuple(v and v.decision for v in verdicts) for verdicts in decided}
    if unknown and (len(kinds) > 1 or any(s.drop_reason == "removed" for s in samples)):
        dedup, check = (command_line(dataset.root, word) for word in ("dedup", "check"))
        problem = f"{unknown} images were not compared with others, of which less is allowed"
        raise InputError(dataset.root, problem, fix=f"{dedup}, then {check}")


class Choice(NamedTuple):
    """What of a dataset may be written for a trainer, and what may not."""

    chosen: list[Sample]  # by key
    left_out: dict[str, str]  # key -> why
    standings: dict[str, Standing]  # of every row by key, with what is wrong with its evidence
    rows: dict[str, Sample]  # every row by key


def choose_samples(dataset: Dataset) -> Choice:
    """Which rows may be written for a trainer: trained on, by verdicts and evidence that stand.

    The caller holds the dataset's lock.

    Raises:
        InputError: there is no dataset, or images were not compared that may be copies.
    """
    samples = sorted(dataset.read().samples, key=lambda s: s.key)
    _require_compared(dataset, samples)
    standings = find_standings(map(verdicts_of, samples))
    evidence = Store(dataset.evidence)
    known: dict[str, str | None] = {}  # evidence -> what is wrong with it; each is read once
    chosen, left_out = [], {}
    for sample in samples:
        reason = reason_not_packed(sample) or standings[sample.key].problem
        if reason is None and sample.image_url is not None:  # from an online source
            later = (said.evidence for said in sample.restated if said.evidence)
            for named in (sample.evidence or "", *sample.site_evidence, *later):
                if named not in known:
                    fault = evidence.fault_of(named) if named else "missing"
                    known[named] = fault and EVIDENCE[fault]
                reason = reason or known[named]
            standings[sample.key] = standings[sample.key]._replace(problem=reason)
        if reason is None:
            chosen.append(sample)
        else:
            left_out[sample.key] = reason
    return Choice(chosen, left_out, standings, {s.key: s for s in samples})


def _find_stale_there(
    folder: Path, standings: Mapping[str, Standing], keys: Sequence[str]
) -> dict[str, str] | None:
    """As `find_stale`; None where the shards there cannot be read, so that nobody can tell."""
    try:
        return find_stale(folder, standings, keys)
    except InputError:
        return None


def reason_not_packed(sample: Sample) -> str | None:
    """Why this row is not packed; None if it is."""
    if sample.dropped is not None:
        return f"dropped:{sample.drop_reason}"
    if sample.sha256 is None:
        return "no-image"
    if sample.train is None:
        return "no-verdict"
    if not sample.may_train:
        return sample.train.decision
    return None if any(c.text.strip() for c in sample.captions) else "no-caption"


def check_pack_settings(
    size: int,
    format: str,
    background: str = "white",
    shard_size: int = SHARD_BYTES,
    split: str = "train",
) -> None:
    """Refuse settings that `pack` cannot use.

    Raises:
        UsageError: one of them.
    """
    from PIL import ImageColor

    if size < 1 or shard_size < 1:
        raise UsageError("--size", "must be 1 pixel or more", fix="--size 512")
    if format not in IMAGE_FORMATS:
        fix = f"one of {', '.join(IMAGE_FORMATS)}"
        raise UsageError("--format", f"no format {format!r}", fix=fix)
    if not _SPLIT_NAME.fullmatch(split):
        raise UsageError("split", f"{split!r} is not letters and digits", fix="train")
    try:
        opaque = len(ImageColor.getrgb(background)) == 3
    except ValueError:
        opaque = False
    if not opaque:
        problem = f"{background!r} is not a plain colour"
        raise UsageError("--background", problem, fix="a name such as white, or #rrggbb")


def _nothing_to_pack(dataset: Dataset, left_out: Mapping[str, int], old: str) -> InputError:
    """Nothing can be packed: say why, what became of the old shards, and what to type first."""
    causes = ", ".join(f"{reason} {count}" for reason, count in sorted(left_out.items()))
    fix = what_mends(dataset.root, left_out)
    return InputError(dataset.root, f"nothing to pack ({causes or 'no rows'}){old}", fix=fix)


def _is_captioned(root: Path) -> bool:
    """Whether captions were made since the last fetch, so that to make them again is in vain."""
    steps = [entry["step"] for entry in read_history(root / MANIFEST_NAME)]
    fetches = [n for n, step in enumerate(steps) if step.startswith(FETCH_PREFIX)]
    return "caption" in steps[max(fetches, default=0) :]


def _write_captions(root: Path) -> Sequence[str]:
    """What to do where nothing says in words what the images of a folder show."""
    history = reversed(read_history(root / MANIFEST_NAME))
    fetches = (entry for entry in history if entry["step"] == "fetch folder")
    stated = (last := next(fetches, None)) and last["settings"].get("license")
    words = ("fetch", "folder", "DIR", *(("--license", str(stated)) if stated else ()))
    beside = "write what each image shows beside it: NAME.txt beside NAME.png, or metadata.csv"
    return [beside, command_line(root, *words), "type the same command again"]


def withdraw_stale(dataset: Dataset) -> str:
    """Take the shards away if a sample of them is stale, nothing being packed in their place.

    Returns:
        A clause that says what became of them, from its semicolon on; empty where none are there.

    Raises:
        InputError: there is no dataset, or the disk refuses.
        UsageError: another command is at work there.
    """
    with dataset.lock(existing=True):
        standings = find_standings(map(verdicts_of, dataset.read().samples))
        return _withdraw_stale(dataset.shards, _find_stale_there(dataset.shards, standings, ()))


def _withdraw_stale(folder: Path, stale: Mapping[str, str] | None) -> str:
    """Take shards away for which no others come, unless all they say still holds; tell it."""
    indexed = is_indexed(folder)
    if not indexed and not list_tars(folder):
        return ""
    if indexed and stale is not None and not stale:
        return "; the shards there stay as they are"
    withdraw_shards(folder)
    why = name_some(stale) if stale else "they were incomplete, or not to be read"
    return f"; the shards there were withdrawn ({why})"


def what_mends(root: Path, reasons: Container[str]) -> str | Sequence[str]:
    """What to type first where rows are left out for these reasons."""
    usual = command_line(root, "status")
    return next((fix for reason, fix in _fixes(root).items() if reason in reasons), usual)


def _fixes(root: Path) -> dict[str, str | Sequence[str]]:
    """What to type where rows are left out for a reason, what comes first first."""
    words = ("status",), ("explain", "KEY"), ("check",), ("caption",)
    status, explain, check, caption = (command_line(root, *w) for w in words)
    evidence = f"put back {root / 'evidence'} as the fetch wrote it, or fetch into a new folder"
    return {
        "no-verdict": check,
        NOT_JOINED: check,
        "no-caption": _write_captions(root) if _is_captioned(root) else caption,
        **dict.fromkeys(EVIDENCE.values(), evidence),
        "hold": f"{status}, then {explain}; a fetch with --license states a licence",
        "deny": f"{status}, then {explain}",
    }


def name_some(reasons: Mapping[str, str]) -> str:
    """The first few keys with their reasons, and how many more there are."""
    named = [f"{key} {why}" for key, why in sorted(reasons.items())[:MAX_NAMED]]
    more = len(reasons) - MAX_NAMED
    return ", ".join([*named, f"and {more} more"] if more > 0 else named)


def _render_all(
    store: Store, samples: Sequence[Sample], settings: Mapping[str, Any], progress: Progress
) -> Iterator[tuple[Sample, sandbox.JobResult | str]]:
    """Each sample with its facts and bytes as packed, or with why it cannot be."""
    shared = {"root": str(store.root), **settings}
    jobs = [{**shared, "sha256": s.sha256} for s in samples]
    both = zip(samples, sandbox.run_jobs("curate.images.render:render_stored", jobs), strict=True)
    for sample, answer in track(both, len(samples), "images", progress):
        if isinstance(answer, sandbox.WorkerFailure):
            yield sample, "unreadable"
        else:
            facts = {**answer[0], "pixel_sha256": sample.pixel_sha256}
            yield sample, facts.get("refused") or (facts, answer[1])
