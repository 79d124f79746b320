"""Copies of one image: equal bytes, equal pixels, or near; the best-documented one stays.

A perceptual hash proposes, pixels confirm. The limits below were chosen by measurement; the
figures are in docs/shards.md.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress, pairwise
from typing import TYPE_CHECKING, Any

from curate.dataset import engine
from curate.dataset.folder import Dataset, Store
from curate.dataset.sample import DUPLICATE, Sample, drop_samples, live_samples, reinstate_samples
from curate.formats.copies import Groups
from curate.images.inspect import UNREADABLE, measure, stored_thumbnails
from curate.rights import removals
from curate.system.progress import SILENT, Progress

if TYPE_CHECKING:
    import daft
    import numpy as np
    from numpy.typing import NDArray

    Thumbnail = NDArray[np.int16]

MAX_NOTES = 5  # unreadable images that are named
HASH_BITS = 64
LEAST_DISTANCE = 4  # hash bits up to which copies are known as such, whatever is dropped

# Two 16 x 16 thumbnails on a scale of 0 to 255 show one image if no colour drifts further than
MAX_SHIFT = 4.0  # on average, and if no cell differs by more than
SMALL_DIFFERENCE = 8  # or the cells differ by no more than
MAX_SPREAD = 3.4  # times (what three quarters of them stay within + 1), which is at most
MAX_NOISE = 10
# Recompression disturbs all of an image a little; another face, tool or tone disturbs one part.


@dataclass(frozen=True)
class DedupSummary:
    """What `find_duplicates` did to a dataset."""

    rows: int  # in the manifest
    in_use: int  # after it
    unreadable: int  # rows dropped because they cannot be decoded
    duplicates: Mapping[str, int]  # "bytes", "pixels", "near" -> rows dropped
    why: Mapping[str, str]  # key of an unreadable row -> why it cannot be decoded

    def as_rows(self) -> list[tuple[str, int]]:
        """The summary as lines: what, how many images."""
        copies = [(f"duplicates: {kind}", count) for kind, count in self.duplicates.items()]
        rows = ("rows in the dataset", self.rows), ("in use", self.in_use)
        return [*copies, ("unreadable", self.unreadable), *rows]

    def notes(self) -> list[str]:
        """A line for each unreadable image, the first few."""
        lines = [f"{key}: unreadable, {why}" for key, why in list(self.why.items())[:MAX_NOTES]]
        more = len(self.why) - MAX_NOTES
        return [*lines, f"and {more} more unreadable images"] if more > 0 else lines


def find_duplicates(
    dataset: Dataset, *, max_distance: int = 4, mirrors: bool = False, progress: Progress = SILENT
) -> DedupSummary:
    """Measure every image of a dataset and drop the copies; the command `curate dedup`.

    Raises:
        InputError: there is no dataset, or a stored file is missing or has changed.
        UsageError: another command is at work there.
    """
    store = dataset.store

    def step(rows: "daft.DataFrame", **settings: Any) -> "daft.DataFrame":
        measured = measure(rows, store=store, progress=progress)
        return dedup(measured, store=store, removed=removals.read(dataset.root), **settings)

    with dataset.lock(existing=True):
        settings = {"max_distance": max_distance, "mirrors": mirrors}
        samples = dataset.run_step(step, "dedup", settings)
    by_key = {s.key: s for s in samples}
    kinds, why = {"bytes": 0, "pixels": 0, "near": 0}, {}
    for sample in samples:
        if sample.drop_reason == DUPLICATE:
            twin = by_key[sample.drop_detail]
            same_pixels = sample.pixel_sha256 == twin.pixel_sha256
            near = "pixels" if same_pixels and sample.pixel_sha256 else "near"
            kinds["bytes" if sample.sha256 == twin.sha256 else near] += 1
        elif sample.drop_reason == UNREADABLE:
            why[sample.key] = sample.drop_detail
    return DedupSummary(len(samples), len(live_samples(samples)), len(why), kinds, why)


def dedup(
    rows: "daft.DataFrame",
    *,
    store: Store,
    max_distance: int = 4,
    mirrors: bool = False,
    removed: Sequence[removals.Tombstone] = (),
) -> "daft.DataFrame":
    """Drop every copy as `duplicate:KEY`, KEY being the image that stays.

    Args:
        rows: measured samples; unmeasured ones are only compared by their bytes.
        store: where the images lie.
        max_distance: hash bits up to which two images are proposed as near.
        mirrors: whether a mirror image is a copy. Off, since left and right hands, arrows and
            profiles are pairs of mirror images with different captions.
        removed: what was taken out; an image that is or looks like it is dropped as removed.
    """
    thumbs = partial(stored_thumbnails, store)
    drop = partial(drop_duplicates, thumbs=thumbs, max_distance=max_distance, mirrors=mirrors)
    return engine.apply_to_all_rows(rows, lambda all: drop(removals.mark_removed(all, removed)))


def drop_duplicates(
    samples: Sequence[Sample],
    thumbs: "Callable[[Sequence[Sample]], Mapping[str, Thumbnail]]",
    *,
    max_distance: int = 4,
    mirrors: bool = False,
) -> list[Sample]:
    """Mark as `duplicate:KEY` each image that is a copy of a better one that stays.

    Images are taken best first (see `preference_key`), so the order of the rows changes nothing;
    a copy names the image that stays, and chains are not followed. `group` follows them: whatever
    is a copy of a copy is in it, and rows that were dropped for another reason, too: by their bytes
    and pixels, and by the group they had, since those that only looked alike cannot be compared
    any more. So neither which copy stays nor what was dropped changes a group.

    Args:
        samples: rows, measured or not.
        thumbs: gives the thumbnails, by key, of those samples whose hashes are near another's;
            a sample it leaves out is near to none.
        max_distance: hash bits up to which two images are proposed as near.
        mirrors: whether a mirror image is a copy.
    """
    fresh = reinstate_samples(samples, DUPLICATE)
    ranked = sorted(live_samples(fresh), key=preference_key)
    groups = Groups()
    first: dict[str, str] = {}
    gone = {s.group for s in fresh if s.dropped}
    for sample in fresh:
        known = sample.group if sample.group in gone else None
        for name in filter(None, (sample.sha256, sample.pixel_sha256, known)):
            groups.join(first.setdefault(name, sample.key), sample.key)
    twins = _exact_twins(ranked)
    hashed = [s for s in ranked if s.key not in twins and s.phash]
    near = _near_twins(hashed, thumbs, max_distance, mirrors, groups)
    equal = {key: near.get(twin, twin) for key, twin in twins.items()}  # no chains
    reasons = {key: f"{DUPLICATE}:{twin}" for key, twin in (equal | near).items()}
    names = groups.names()
    return [replace(s, group=names.get(s.key)) for s in drop_samples(fresh, reasons)]


def preference_key(sample: Sample) -> tuple[int, int, float, str]:
    """Sorts the image to keep first: well documented, large, sharp, then by key.

    What a policy makes of it has no say: all copies have one verdict, whichever stays.
    """
    documents = (sample.license_text, sample.license_url, sample.author, sample.page_url)
    known = sum(fact is not None for fact in documents)
    return -known, -sample.area, -(sample.sharpness or 0.0), sample.key


def _exact_twins(ranked: Sequence[Sample]) -> dict[str, str]:
    """For each image whose bytes or pixels equal an earlier one's, the key of that one."""
    first: dict[str, str] = {}
    twins = {}
    for sample in ranked:
        names = [name for name in (sample.sha256, sample.pixel_sha256) if name]
        twin = next((first[name] for name in names if name in first), None)
        if twin is not None:
            twins[sample.key] = twin
        for name in names:
            first.setdefault(name, twin or sample.key)
    return twins


def _near_twins(
    ranked: Sequence[Sample],
    thumbs: "Callable[[Sequence[Sample]], Mapping[str, Thumbnail]]",
    max_distance: int,
    mirrors: bool,
    groups: Groups,
) -> dict[str, str]:
    """For each image that looks like an earlier one that stays, the key of that one.

    Whatever looks alike is joined in `groups`, also where neither stays; images that are connected
    already are not compared for that.
    """
    reached = _reachable(ranked, max_distance, mirrors)
    is_wide = max_distance >= LEAST_DISTANCE
    wider = reached if is_wide else _reachable(ranked, LEAST_DISTANCE, mirrors)
    images = thumbs(_needing_thumbnails(ranked, wider))
    place = {s.key: n for n, s in enumerate(ranked)}
    kept: dict[str, list[str]] = defaultdict(list)  # hash -> keys
    dropped: dict[str, list[str]] = defaultdict(list)
    near: dict[str, str] = {}
    for sample in ranked:
        if sample.key not in images:
            continue
        twins = _alike(sample.key, reached[sample.key], kept, images)
        for twin in twins:
            groups.join(sample.key, twin)
        for others in (dropped,) if is_wide else (dropped, kept):
            for twin in _alike(sample.key, wider[sample.key], others, images, groups):
                groups.join(sample.key, twin)
        if twins:
            near[sample.key] = min(twins, key=lambda key: place[key])
        (dropped if twins else kept)[str(sample.phash)].append(sample.key)
    return near


def _alike(
    key: str,
    reached: Sequence[tuple[Sequence[str], bool]],
    others: Mapping[str, Sequence[str]],
    images: "Mapping[str, Thumbnail]",
    apart: Groups | None = None,
) -> set[str]:
    """Those of `others` (hash -> keys) within reach that the image `key` looks like.

    With `apart`, those that are in its group already are left out.
    """
    import numpy as np

    twins: set[str] = set()
    for hashes, mirrored in reached:
        found = [other for name in hashes for other in others.get(name, ())]
        if apart and found:
            own = apart.root(key)
            found = [other for other in found if apart.root(other) != own]
        if found:
            shown = images[key][:, ::-1] if mirrored else images[key]
            same = is_same_image(shown, np.stack([images[other] for other in found]))
            twins.update(compress(found, same.tolist()))
    return twins


def _reachable(
    ranked: Sequence[Sample], max_distance: int, mirrors: bool
) -> dict[str, list[tuple[list[str], bool]]]:
    """By the key of each sample the hashes within reach of its own and of its mirror image's.

    Each answer is (hashes, whether they are reached through the mirror).
    """
    import numpy as np

    mirrored = {s.key: s.mirror_phash for s in ranked if mirrors and s.mirror_phash}
    listed = sorted({str(s.phash) for s in ranked} | set(mirrored.values()))
    hashes = np.array([int(name, 16) for name in listed], dtype=np.uint64)
    near = {name: [name] for name in listed}
    for i, j in zip(*(side.tolist() for side in near_pairs(hashes, max_distance)), strict=True):
        near[listed[i]].append(listed[j])
        near[listed[j]].append(listed[i])
    reached = {s.key: [(near[str(s.phash)], False)] for s in ranked}
    for key, name in mirrored.items():
        reached[key].append((near[name], True))
    return reached


def near_pairs(
    hashes: "NDArray[np.uint64]", max_distance: int
) -> "tuple[NDArray[np.intp], NDArray[np.intp]]":
    """All pairs (i, j), i < j, of `hashes` that differ in at most `max_distance` bits.

    Exact: two hashes that differ in at most d bits agree in at least one of d + 1 bands, so only
    hashes that share a band are compared. Hashes should be distinct: n equal ones make n²/2 pairs.

    Returns:
        The i and the j, sorted by (i, j).
    """
    import numpy as np

    total = len(hashes)
    if max_distance >= HASH_BITS:  # opposite hashes share no band
        return np.triu_indices(total, 1)
    found = [np.empty(0, dtype=np.int64)]
    edges = [HASH_BITS * n // (max_distance + 1) for n in range(max_distance + 2)]
    for low, high in pairwise(edges):  # bands that together cover all bits, as even as can be
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        sorted_band, sorted_hashes = band[order], hashes[order]
        left = np.arange(total)
        for gap in range(1, total):
            left = left[left + gap < total]
            left = left[sorted_band[left] == sorted_band[left + gap]]
            if not len(left):
                break
            bits = np.bitwise_count(sorted_hashes[left] ^ sorted_hashes[left + gap])
            near = left[bits <= max_distance]
            a, b = order[near], order[near + gap]
            found.append(np.minimum(a, b).astype(np.int64) * total + np.maximum(a, b))
    pairs = np.unique(np.concatenate(found))
    return pairs // max(total, 1), pairs % max(total, 1)


def _needing_thumbnails(
    ranked: Sequence[Sample], reached: Mapping[str, list[tuple[list[str], bool]]]
) -> list[Sample]:
    """The samples that another one may look like; only their images are needed."""
    size = Counter(str(s.phash) for s in ranked)
    busy: set[str] = set()
    for sample in ranked:
        near = [name for names, _ in reached[sample.key] for name in names if name in size]
        if sum(size[name] for name in near) > 1:
            busy.update(near)
    return [s for s in ranked if str(s.phash) in busy]


def is_same_image(one: "Thumbnail", many: "Thumbnail") -> "NDArray[np.bool_]":
    """Whether `one` thumbnail shows the same image as each of `many`, up to recompression.

    The rule is ours; its limits stand at the top of this module.

    Args:
        one: 16 x 16 x 4, as `inspect.comparison_thumbnail` gives it, signed.
        many: n x 16 x 16 x 4.
    """
    import numpy as np

    difference = many - one
    opaque = (many[..., 3].min(axis=(1, 2)) == 255) | (one[..., 3].min() == 255)
    difference[opaque, ..., 3] = 0  # one of them may be the other, laid on white
    shift = np.abs(difference.mean(axis=(1, 2))).max(axis=1)
    cells = np.sort(np.abs(difference).max(axis=3).reshape(len(many), -1), axis=1)
    worst, most = cells[:, -1], cells[:, cells.shape[1] * 3 // 4 - 1]
    spread = (worst <= MAX_SPREAD * (most + 1)) & (most <= MAX_NOISE)
    result: NDArray[np.bool_] = (shift <= MAX_SHIFT) & ((worst <= SMALL_DIFFERENCE) | spread)
    return result
