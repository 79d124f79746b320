"""From pairs of files that look alike to rows: what is dropped, what stays, who is kin of whom."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from curate.dataset.sample import (
    DUPLICATE,
    Likeness,
    Sample,
    drop_samples,
    live_samples,
    reinstate_samples,
)
from curate.formats.copies import Groups

SAME = "same"  # kind of a likeness where no difference is seen
DIGITS = 4  # of a score that is kept

Rank = Callable[[Sequence[Sample]], list[Sample]]  # rows that show one picture, best first


@dataclass(frozen=True, slots=True)
class Pair:
    """Two files that look alike."""

    one: str  # SHA-256 of its bytes
    other: str
    score: float  # 0 to 1
    kind: str  # as in `Likeness`
    same: bool  # one picture: one of the two may be dropped


def mark_copies(samples: Sequence[Sample], pairs: Sequence[Pair], rank: Rank) -> list[Sample]:
    """Mark as `duplicate:KEY` each row that shows the picture of a better one; fill in `group`.

    A copy names a row in use that it is the same as itself: chains are not followed. `group`
    follows them, whatever the kind of likeness, and holds rows that were dropped for another
    reason, too: by their bytes, pixels and likenesses, and by the group they had, since what was
    removed cannot be compared any more. So neither which copy stays nor what was dropped changes
    a group.

    Args:
        samples: rows; their order changes nothing.
        pairs: of files that look alike, each pair once; equal bytes and pixels need none.
        rank: sorts rows that show one picture, in whatever order they come.
    """
    fresh = reinstate_samples(samples, DUPLICATE)
    rows_of: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(fresh, key=lambda s: s.key):
        if sample.sha256:
            rows_of[sample.sha256].append(sample)
    pairs = [pair for pair in pairs if pair.one in rows_of and pair.other in rows_of]
    names = _join_groups(fresh, pairs, rows_of)
    nearest = _nearest(fresh, pairs, rows_of)
    reasons = _find_twins(live_samples(fresh), [pair for pair in pairs if pair.same], rank)
    kept = {s.key: s.likeness for s in fresh if s.likeness}
    result = []
    for sample in drop_samples(fresh, reasons):
        group = names.get(sample.key)
        like = nearest.get(sample.key) or kept.get(sample.key)  # its kin may be gone by now
        known = like if like and group and names.get(like.key) == group else None
        result.append(replace(sample, group=group, likeness=known))
    return result


def _join_groups(
    samples: Sequence[Sample], pairs: Iterable[Pair], rows_of: Mapping[str, Sequence[Sample]]
) -> dict[str, str]:
    """The smallest key of its group for each row that has kin."""
    groups = Groups()
    first: dict[str, str] = {}
    gone = {s.group for s in samples if s.dropped}
    for sample in samples:
        known = sample.group if sample.group in gone else None
        for name in filter(None, (*_contents(sample), known and f"group {known}")):
            groups.join(first.setdefault(name, sample.key), sample.key)
    for pair in pairs:
        groups.join(rows_of[pair.one][0].key, rows_of[pair.other][0].key)
    return groups.names()


def _contents(sample: Sample) -> list[str]:
    """Names that rows of equal bytes or equal pixels share."""
    names = ("bytes", sample.sha256), ("pixels", sample.pixel_sha256)
    return [f"{kind} {name}" for kind, name in names if name]


def _nearest(
    samples: Iterable[Sample], pairs: Iterable[Pair], rows_of: Mapping[str, Sequence[Sample]]
) -> dict[str, Likeness]:
    """By key of each row the row it is most like; the smallest key of several."""
    found: dict[str, Likeness] = {}

    def add(key: str, other: str, kind: str, score: float) -> None:
        had = found.get(key)
        if had is None or (-score, other) < (-had.score, had.key):
            found[key] = Likeness(other, kind, score)

    for pair in pairs:
        for one, other in ((pair.one, pair.other), (pair.other, pair.one)):
            for row in rows_of[one]:
                add(row.key, rows_of[other][0].key, pair.kind, round(pair.score, DIGITS))
    equal: dict[str, list[str]] = defaultdict(list)
    for sample in sorted(samples, key=lambda s: s.key):
        for name in _contents(sample):
            equal[name].append(sample.key)
    for keys in equal.values():
        for key in keys[1:]:
            add(key, keys[0], SAME, 1.0)
        if len(keys) > 1:
            add(keys[0], keys[1], SAME, 1.0)
    return found


def _find_twins(live: Sequence[Sample], pairs: Iterable[Pair], rank: Rank) -> dict[str, str]:
    """Why each row that is not needed is dropped: the best row that stays and is the same."""
    contents = Groups()
    for sample in live:
        for name in _contents(sample):
            contents.join(sample.key, name)
    root = {s.key: contents.root(s.key) for s in live}
    near: dict[str, set[str]] = defaultdict(set)
    pictures = Groups()
    for pair in pairs:
        one, other = (contents.root(f"bytes {name}") for name in (pair.one, pair.other))
        near[one].add(other)
        near[other].add(one)
        pictures.join(one, other)
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in live:
        members[pictures.root(root[sample.key])].append(sample)
    reasons: dict[str, str] = {}
    for rows in members.values():
        if len(rows) > 1:
            stays: dict[str, tuple[int, str]] = {}  # contents -> place and key of its row
            for place, row in enumerate(rank(sorted(rows, key=lambda s: s.key))):
                own = root[row.key]
                found = [stays[c] for c in (own, *near[own]) if c in stays]
                if found:
                    reasons[row.key] = f"{DUPLICATE}:{min(found)[1]}"
                else:
                    stays[own] = place, row.key
    return reasons
