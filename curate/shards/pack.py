"""Write what may be trained on as WebDataset tars: the same rows and settings, the same bytes."""

import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple

from curate.dataset.engine import LOCAL, Engine, require_shared, run_unordered
from curate.dataset.folder import MANIFEST_NAME, Dataset, Store, command_line
from curate.dataset.manifest import FETCH_PREFIX, read_history
from curate.dataset.sample import DUPLICATE, Sample
from curate.errors import InputError, UsageError, disk_errors
from curate.formats.shards import HELD_OUT, IMAGE_FORMATS, Shard
from curate.formats.verdicts import (
    NOT_JOINED,
    Standing,
    count_stale,
    find_standings,
    verdicts_of,
)
from curate.images.renders import Renders
from curate.shards.contents import Contents, render_all
from curate.shards.reuse import OldShards, read_old_shards
from curate.shards.withdraw import find_stale_there, name_some, withdraw_unless_standing
from curate.shards.write import part_path, publish_shards, write_shard
from curate.system.files import remove_leftovers
from curate.system.progress import SILENT, Progress, track
from curate.system.sandbox import WorkerFailure

SHARD_MEGABYTES = 256.0  # 10^6 bytes of members that a shard holds at most
# what is wrong with the evidence of a row from an online source -> why it is left out
EVIDENCE = {"missing": "no-evidence", "changed": "evidence-changed"}
_SPLIT_NAME = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class PackSummary:
    """What `pack` wrote, and what it left out."""

    folder: str
    samples: int
    shards: int
    bytes: int  # of all tars
    rendered: int  # images that were decoded for this; the others were known as they are packed
    shards_written: int  # the others were the same already
    left_out: Mapping[str, int]  # reason -> rows
    withdrawn: Mapping[str, str]  # key of what was packed before and no longer may be -> why
    unchanged: bool  # the shards there were the same already

    def as_rows(self) -> list[tuple[str, int | str]]:
        """The summary as lines: what, how much."""
        left = [(f"left out: {reason}", count) for reason, count in self.left_out.items()]
        state = "unchanged" if self.unchanged else "written"
        counts = [("images", self.samples), ("shards", self.shards), ("bytes", self.bytes)]
        counts += [("images rendered", self.rendered), ("shards written", self.shards_written)]
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
    shard_size: float = SHARD_MEGABYTES,
    held_out: float = 0.0,
    split: str = "train",
    engine: Engine = LOCAL,
    progress: Progress = SILENT,
) -> PackSummary:
    """Write the rows that may be trained on, and have captions, as shards; `curate pack`.

    An image whose shorter side is longer than `size` is scaled down to it (Lanczos), never up;
    transparency is composed on `background`; metadata is left behind, since the record beside the
    image names author and licence, and those of its copies. Images that are packed already in the
    same way, or were rendered while they were inspected, are not decoded again; a shard that would
    become what it is is not touched. The bytes are those of packing all anew. The old shards
    stay until the new ones are complete and were read back; killed in between, the folder has no
    index and the same command completes it. What is there and may no longer be trained on is
    withdrawn, also where nothing is left to pack.

    A row of an online source is packed only with its evidence: the stored answers that it names,
    unchanged. Copies that were not judged together (`curate check`) are all left out, and where
    verdicts differ nothing is packed until all images were compared with each other.

    Args:
        dataset: where the rows and images lie, and the shards will.
        size: pixels of the shorter side.
        format: "jpg" (quality 95, 4:4:4), "png" or "webp" (lossless).
        background: a colour name or #rrggbb.
        shard_size: 10^6 bytes of members that a shard holds at most; a group of related images
            stays together, however large. See `shards.plan`.
        held_out: about this share of the images goes into shards of its own, on which nobody
            trains; related images go there together.
        split: first part of the names of the others.
        engine: where images are rendered, and shards written.
        progress: counts images, then shards.

    Raises:
        UsageError: a setting cannot be used, or another command is at work there.
        InputError: no row can be packed, images were not compared that may be copies, a stored file
            is missing or changed, or the disk refuses.
    """
    check_pack_settings(size, format, background, shard_size, held_out, split)
    rendering = {"size": size, "format": format, "background": background}
    with dataset.lock(existing=True):
        require_shared(engine, dataset.root)
        choice = choose_samples(dataset)
        folder, renders = dataset.shards, renders_of(dataset, size, format, background)
        stale = find_stale_there(folder, choice.standings, [s.key for s in choice.chosen])
        settings = rendering | {"rendering": renders.folder.name, "split": split}
        settings |= {"shard_megabytes": float(shard_size), HELD_OUT: float(held_out)}
        left_out = Counter(choice.left_out.values())
        if not choice.chosen:
            raise _nothing_to_pack(dataset, left_out, withdraw_unless_standing(folder, stale))
        with _open_shards(folder):
            old = read_old_shards(folder, {**rendering, "rendering": renders.folder.name}, progress)
            images, refused, rendered = render_all(
                dataset.store, choice.chosen, old, renders, engine, progress
            )
            left_out.update(refused[s.sha256] for s in choice.chosen if s.sha256 in refused)
            keys = [s.key for s in choice.chosen if s.sha256 in images]
            if not keys:
                raise _nothing_to_pack(dataset, left_out, withdraw_unless_standing(folder, stale))
            contents = Contents(choice.rows, choice.standings, keys, images, settings)
            shards, written = _write_all(folder, contents, old, renders, engine, progress)
            unchanged = publish_shards(folder, contents.index(shards))
        rmtree(renders.folder.parent, ignore_errors=True)  # the tars hold them now
    packed, counts = {*keys}, (len(shards), sum(shard.bytes for shard in shards), rendered, written)
    withdrawn = {key: why for key, why in (stale or {}).items() if key not in packed}
    left = dict(sorted(left_out.items()))
    return PackSummary(str(folder), len(keys), *counts, left, withdrawn, unchanged)


def renders_of(dataset: Dataset, size: int, format: str, background: str) -> Renders:
    """Where images of a dataset are kept as they are packed, until they are."""
    settings = {"size": size, "format": format, "background": background}
    return Renders(dataset.root / "derived" / "renders", settings)


@contextmanager
def _open_shards(folder: Path) -> Iterator[None]:
    """Make the folder; remove what a killed process left there, and what was not published."""
    with disk_errors(folder):
        folder.mkdir(exist_ok=True)
        remove_leftovers(folder)
    try:
        yield
    finally:
        remove_leftovers(folder)


def _write_all(
    folder: Path,
    contents: Contents,
    old: OldShards,
    renders: Renders,
    engine: Engine,
    progress: Progress,
) -> tuple[list[Shard], int]:
    """The shards, those that change written beside the old ones; and how many these are."""
    plan = contents.plan()
    todo = [name for name, keys in plan.items() if not contents.is_in(old, name, plan[name])]
    jobs = (
        {
            "target": str(part_path(folder, name)),
            "format": contents.settings["format"],
            "samples": contents.members(plan[name]),
            "renders": str(renders.folder.parent),
            "rendering": renders.settings,
        }
        for name in todo
    )
    answers: Iterator[Any] = enumerate(write_shard(**job) for job in jobs)
    if engine.name != "local":  # a task a shard
        sent = ({**job, "samples": [*job["samples"]]} for job in jobs)
        write = "curate.shards.write:write_shard"
        answers = run_unordered(write, sent, engine=engine)
    written = {}
    for number, answer in track(answers, len(todo), "shards", progress):
        name = todo[number]
        if isinstance(answer, WorkerFailure):
            fix = "a smaller --shard-size, or without --engine"
            raise InputError(folder / name, f"was not written ({answer.reason})", fix=fix)
        written[name] = answer[0]
    shards = []
    for name, keys in plan.items():
        known = old.shards.get(name)
        made = written.get(name) or (known and {"sha256": known.sha256, "bytes": known.bytes})
        assert made, "what was not written is there"
        shards.append(contents.shard(name, keys, made["sha256"], made["bytes"]))
    return sorted(shards, key=lambda shard: shard.name), len(todo)


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
    shard_size: float = SHARD_MEGABYTES,
    held_out: float = 0.0,
    split: str = "train",
) -> None:
    """Refuse settings that `pack` cannot use.

    Raises:
        UsageError: one of them.
    """
    from PIL import ImageColor

    if size < 1:
        raise UsageError("--size", "must be 1 pixel or more", fix="--size 512")
    if not 0 < shard_size < float("inf"):
        fix = f"--shard-size {SHARD_MEGABYTES:g}"
        raise UsageError("--shard-size", "is no number of megabytes above 0", fix=fix)
    if not 0 <= held_out < 1:
        raise UsageError("--held-out", f"{held_out} is not in [0, 1)", fix="--held-out 0.05")
    if format not in IMAGE_FORMATS:
        fix = f"one of {', '.join(IMAGE_FORMATS)}"
        raise UsageError("--format", f"no format {format!r}", fix=fix)
    if not _SPLIT_NAME.fullmatch(split):
        raise UsageError("--split", f"{split!r} is not letters and digits", fix="--split train")
    if split.startswith(HELD_OUT):
        problem = f"{split!r} is the name of what nobody trains on"
        raise UsageError("--split", problem, fix="--split train --held-out 0.05")
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
