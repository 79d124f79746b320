"""Take pictures out for good, with all their copies: `curate remove`; and back in again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from curate.commands.keys import find_keys
from curate.dataset.folder import Dataset, command_line
from curate.dataset.sample import Sample, drop_samples, utc_now
from curate.errors import InputError, UsageError, disk_errors
from curate.formats.copies import group_copies
from curate.formats.shards import INDEX_NAME, list_tars, shard_error
from curate.images.dedup import DERIVED, SKETCHES
from curate.images.inspect import inspect_samples
from curate.images.proof import fill_pixel_hashes
from curate.images.removed import find_views, view_hashes
from curate.images.sketch import SketchStore
from curate.net.failure import FailureKind
from curate.rights import removals
from curate.rights.removals import REMOVED, Tombstone, find_like, make_tombstone
from curate.system.progress import SILENT

_REASON = ("--reason", "its author asked for it")  # an example
NAMED, COPY, ALIKE = "named", "copy", "looks like it"  # why a row was taken


@dataclass(frozen=True)
class RemovalSummary:
    """What `remove_images` took out, or what `restore_images` brought back."""

    rows: Mapping[str, str]  # key -> why, or what comes next
    files: int  # of bytes, deleted
    notes: tuple[str, ...]

    def as_rows(self) -> list[tuple[str, str]]:
        """A line for each row."""
        return list(self.rows.items())


@dataclass(frozen=True)
class Removals:
    """All tombstones of a dataset."""

    removed: tuple[Tombstone, ...]

    def as_rows(self) -> list[tuple[str, str, str]]:
        """A line for each: key, when, why."""
        return [(stone.key, stone.time, stone.reason) for stone in self.removed]


def list_removals(dataset: Dataset) -> Removals:
    """What was removed from a dataset; nothing is written.

    Raises:
        InputError: there is no dataset, or its list of removals cannot be read.
    """
    dataset.require_dataset()
    return Removals(tuple(removals.read(dataset.root)))


def remove_or_restore(
    dataset: Dataset, texts: Sequence[str], reason: str, *, undo: bool
) -> RemovalSummary:
    """The command `curate remove`.

    Raises:
        UsageError: nothing is named.
        InputError: as the two functions below.
    """
    if not texts:
        fix = command_line(dataset.root, "remove", "KEY", *(["--undo"] if undo else _REASON))
        raise UsageError("curate remove", "is given no image", fix=fix)
    if not undo:
        return remove_images(dataset, *texts, reason=reason)
    return restore_images(dataset, *texts)


def remove_images(dataset: Dataset, *texts: str, reason: str) -> RemovalSummary:
    """Take the images that are meant out of the dataset, with all their copies, for good.

    A tombstone is written for each, then the rows are marked `removed:REASON`, then their bytes are
    deleted, with all that was derived of them; killed in between, the same command ends in the same
    files. What only looks alike, by its hashes or as one of the group, goes, too, and is named as
    such; since it may be another picture, its bytes stay.

    Args:
        dataset: the folder.
        texts: keys, or parts of keys, file names or titles, each of one image.
        reason: in the user's words.

    Raises:
        UsageError: no reason is given, or another command is at work there.
        InputError: there is no dataset, a text fits no image or several, or the disk refuses.
    """
    reason = " ".join(reason.split())
    if not reason:
        fix = command_line(dataset.root, "remove", *texts, *_REASON)
        raise UsageError("--reason", "says nothing", fix=fix)
    with dataset.lock(existing=True):
        stored, samples = dataset.read_manifest(), dataset.read().samples
        keys = find_keys(samples, *texts)
        sketches = SketchStore(dataset.root / DERIVED / SKETCHES)
        samples = _measure(dataset, samples, keys, sketches)
        taken = find_copies(samples, keys, sketches)
        stones = removals.or_of_rows(removals.read(dataset.root), samples)
        known, now = {stone.key for stone in stones}, utc_now()
        views = view_hashes(sketches, (str(s.sha256) for s in samples if s.key in taken))
        new = [
            make_tombstone(s, reason, now, views.get(str(s.sha256)))
            for s in samples
            if taken.get(s.key, ALIKE) != ALIKE and s.key not in known
        ]
        if new:
            removals.write(dataset.root, [*stones, *new])
        open_to = [s.key for s in samples if s.key in taken and s.drop_reason != REMOVED]
        rows = drop_samples(samples, dict.fromkeys(open_to, f"{REMOVED}:{reason}"))
        if open_to:
            dataset.record_step(stored, "remove", {"reason": reason}, rows)
        files = _delete_bytes(dataset, rows, [*stones, *new], sketches)
    return RemovalSummary(taken, files, _notes_on_removal(dataset, taken))


def restore_images(dataset: Dataset, *texts: str) -> RemovalSummary:
    """Forget that images were removed, all copies of each; what they look like spares them.

    What was said of one copy counts for the others, so that none comes back without the rest.

    Raises:
        UsageError: another command is at work there.
        InputError: there is no dataset, a text fits no image or several, or one is not removed.
    """
    with dataset.lock(existing=True):
        stored, samples = dataset.read_manifest(), dataset.read().samples
        keys = set(find_keys(samples, *texts))
        named = [s for s in samples if s.key in keys]
        for row in named:
            if row.drop_reason != REMOVED:
                fix = command_line(dataset.root, "remove", "--list")
                raise InputError(row.key, "is not removed", fix=fix)
        before = left = removals.read(dataset.root)
        taken = {stone.key for stone in before}  # of one picture, else they were no more than alike
        kin = _copies_of(samples, keys, same=False)
        named += [s for s in kin if s.drop_reason == REMOVED and s.key in taken]
        for row in named:
            left = [stone for one in left if (stone := _without(one, row))]
        removals.write(dataset.root, left)
        back = _kept_out_no_more(dataset, samples, left)
        apart = keys - taken
        rows = [_restored(s, dataset, s.key in apart) if s.key in back else s for s in samples]
        dataset.record_step(stored, "restore", {"keys": sorted(keys)}, rows)
    told = {
        s.key: "its bytes are gone: fetch it again" if s.dropped else "in use again"
        for s in rows
        if s.key in back
    }
    check = command_line(dataset.root, "check")
    return RemovalSummary(told, 0, (f"its verdicts are open: {check}",))


def _kept_out_no_more(
    dataset: Dataset, samples: Sequence[Sample], left: Sequence[Tombstone]
) -> set[str]:
    """Keys of the removed rows that nothing keeps out: no tombstone, no likeness, no kin."""
    gone = [s for s in samples if s.drop_reason == REMOVED]
    sketches = SketchStore(dataset.root / DERIVED / SKETCHES)
    stones = {stone.key: stone for stone in left}
    kept = {*find_like(left, gone), *find_views(left, gone, sketches), *stones}
    for group in group_copies(gone):
        kin = [stones[s.key] for s in group if s.key in stones]
        kept |= {s.key for s in group if any(s.sha256 not in t.spared for t in kin)}
    return {s.key for s in gone} - kept


def find_copies(
    samples: Sequence[Sample], keys: Sequence[str], sketches: SketchStore
) -> dict[str, str]:
    """Those named and all that is taken with them, by key, with why: a copy, or a likeness."""
    taken = dict.fromkeys(keys, NAMED)
    taken |= {s.key: COPY for s in _copies_of(samples, keys)}
    views = view_hashes(sketches, (str(s.sha256) for s in samples if s.key in taken))
    stones = [
        make_tombstone(s, "", "", views.get(str(s.sha256))) for s in samples if s.key in taken
    ]
    others = [s for s in samples if s.key not in taken and s.drop_reason != REMOVED]
    alike = find_like(stones, others) | find_views(stones, others, sketches)
    kin = {s.key for s in _copies_of(samples, taken, same=False)} & {s.key for s in others}
    return taken | dict.fromkeys((s.key for s in others if s.key in alike or s.key in kin), ALIKE)


def _copies_of(
    samples: Sequence[Sample], keys: Iterable[str], *, same: bool = True
) -> list[Sample]:
    """The copies of the rows with these keys, without themselves; `same` off: all their kin."""
    named = set(keys)
    found = group_copies(samples, same=same)
    groups = (group for group in found if any(s.key in named for s in group))
    return [s for group in groups for s in group if s.key not in named]


def _measure(
    dataset: Dataset, samples: list[Sample], keys: Sequence[str], sketches: SketchStore
) -> list[Sample]:
    """The samples, those named and their copies measured, or else a changed copy would return."""
    taken = find_copies(samples, keys, sketches)
    due = [s for s in samples if s.key in taken]
    try:
        read = inspect_samples(dataset.store, SILENT, due, sketches=sketches)
        measured = {s.key: s for s in fill_pixel_hashes(dataset.store, read)}
    except InputError:  # their bytes are lost
        return samples
    return [measured.get(s.key, s) for s in samples]


def _delete_bytes(
    dataset: Dataset,
    samples: Sequence[Sample],
    tombstones: Sequence[Tombstone],
    sketches: SketchStore,
) -> int:
    """Delete the stored bytes of tombstones that no row in use names; how many files that were.

    With them goes what was made of their pixels.
    """
    needed = {s.sha256 for s in samples if s.drop_reason != REMOVED}
    gone, files = sorted({t.sha256 for t in tombstones if t.sha256} - needed), 0
    sketches.forget(gone)
    for sha256 in gone:
        for rendering in (dataset.root / DERIVED).glob(f"renders/*/{sha256[:2]}/{sha256}"):
            with disk_errors(rendering):
                rendering.unlink()
        path = dataset.store.path_of(sha256)
        if path.exists():
            with disk_errors(path):
                path.unlink()
            files += 1
    return files


def _notes_on_removal(dataset: Dataset, taken: Mapping[str, str]) -> tuple[str, ...]:
    notes = []
    if alike := [key for key, why in taken.items() if why == ALIKE]:
        undo = command_line(dataset.root, "remove", "--undo", *alike)
        delete = command_line(dataset.root, "remove", *alike, *_REASON)
        notes.append(f"{len(alike)} only look alike: out of use, their bytes kept. Other images?")
        notes += [f"  {undo}", "or the same picture, to be deleted, too:", f"  {delete}"]
    if list_tars(dataset.shards):
        notes.append("what was packed is withdrawn from the shards by:")
        notes.append(f"  {shard_error(dataset.shards / INDEX_NAME, '').fix}")
    return tuple(notes)


def _without(stone: Tombstone, row: Sample) -> Tombstone | None:
    """A tombstone that keeps `row` out no more; None where it was for the same picture."""
    same = {stone.sha256, stone.pixel_sha256} & {row.sha256, row.pixel_sha256} - {None}
    if stone.key == row.key or same:
        return None
    return removals.spare(stone, row.sha256) if row.sha256 else stone


def _restored(sample: Sample, dataset: Dataset, apart: bool) -> Sample:
    """A removed row in use again, its verdicts open; due to be fetched if its bytes are gone.

    One that is told `apart` from what was removed is of its group no more.
    """
    open_again = replace(sample, dropped=None, train=None, share_dataset=None, share_model=None)
    if apart:
        open_again = replace(open_again, group=None, likeness=None)
    if sample.sha256 is not None and dataset.store.path_of(sample.sha256).exists():
        return open_again
    due = f"{FailureKind.BROKEN}:its removal was undone"
    return replace(open_again, dropped=due, sha256=None)
