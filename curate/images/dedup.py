"""Copies of one image: which are dropped, which stay, and what else was made of one another.

Two decisions. An image is *dropped* where another one is the same picture: equal bytes, equal
pixels, or recompressed, resized, bordered, slightly cropped. Images are *grouped* where one may
have been made of the other: mirrored, turned, recoloured and cropped ones, too. A group has one
verdict and one place in a split; what is only grouped stays in use.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from curate.dataset.folder import Dataset, Store, write_json
from curate.dataset.sample import DUPLICATE, Sample, live_samples
from curate.errors import UsageError
from curate.formats.copies import Groups
from curate.images.confirm import find_likenesses
from curate.images.groups import SAME, Pair, mark_copies
from curate.images.inspect import FACTS, KEPT_FACTS, UNREADABLE, RunJobs, inspect_samples
from curate.images.proof import Proof, prove_pictures
from curate.images.removed import mark_views
from curate.images.renders import Renders
from curate.images.sketch import SketchStore
from curate.rights import removals
from curate.system import sandbox
from curate.system.progress import SILENT, Progress

MAX_NOTES = 5  # unreadable images that are named
FALSE_MATCHES = 1e-5  # share of pairs of different pictures that may be taken for copies
MISTAKEN = 0.02  # links of an image that may be mistakes, on average; more would chain groups
DERIVED = "derived"  # folder of what is made of a dataset's images, beside its store
SKETCHES = "sketches"  # folder in it
THRESHOLDS = "copies.json"  # file in it: from what score on images were taken for kin, and why
# fields of a row that are read, and those that are filled in
FILLS = (*FACTS, "pixel_sha256", "resolved", "noise", "group", "likeness", "dropped")
READS = (
    *("sha256", "license_text", "license_url", "author", "page_url"),
    *("texts", "title", "tags", "train", "retrieved"),
)


@dataclass(frozen=True)
class DedupSummary:
    """What `find_duplicates` did to a dataset."""

    rows: int  # in the manifest
    in_use: int  # after it
    unreadable: int  # rows dropped because they cannot be decoded
    duplicates: Mapping[str, int]  # "bytes", "pixels", "near" -> rows dropped
    related: Mapping[str, int]  # kind of likeness -> rows that are grouped and in use
    groups: int  # of two rows or more
    why: Mapping[str, str]  # key of an unreadable row -> why it cannot be decoded

    def as_rows(self) -> list[tuple[str, int]]:
        """The summary as lines: what, how many images."""
        copies = [(f"duplicates: {kind}", count) for kind, count in self.duplicates.items()]
        kin = [(f"in use, related: {kind}", count) for kind, count in self.related.items()]
        rows = ("rows in the dataset", self.rows), ("in use", self.in_use)
        return [*copies, *kin, ("groups", self.groups), ("unreadable", self.unreadable), *rows]

    def notes(self) -> list[str]:
        """A line for each unreadable image, the first few."""
        lines = [f"{key}: unreadable, {why}" for key, why in list(self.why.items())[:MAX_NOTES]]
        more = len(self.why) - MAX_NOTES
        return [*lines, f"and {more} more unreadable images"] if more > 0 else lines


def find_duplicates(
    dataset: Dataset,
    *,
    false_matches: float = FALSE_MATCHES,
    renders: Renders | None = None,
    run_jobs: RunJobs = sandbox.run_unordered,
    progress: Progress = SILENT,
) -> DedupSummary:
    """Inspect every image of a dataset, drop the copies and group what is related.

    Args:
        dataset: the folder.
        false_matches: as in `dedup`.
        renders: if given, images that are read are rendered, too, as they are to be packed.
        run_jobs: what decodes, as `sandbox.run_unordered`.
        progress: counts the images that are read.

    Raises:
        InputError: there is no dataset, or a stored file is missing or has changed.
        UsageError: another command is at work there, or `false_matches` is no share.
    """
    if not 0 < false_matches < 1:
        problem = f"{false_matches:g} is not between 0 and 1"
        raise UsageError("--false-matches", problem, fix=f"--false-matches {FALSE_MATCHES:g}")
    with dataset.lock(existing=True):
        step = partial(
            dedup,
            store=dataset.store,
            removed=removals.read(dataset.root),
            renders=renders,
            run_jobs=run_jobs,
            progress=progress,
        )
        settings = {"false_matches": false_matches}
        samples = dataset.run_step(step, "dedup", settings, reads=READS, fills=FILLS)
        kept = derived_beside(dataset.store) / SKETCHES / KEPT_FACTS
        kept.unlink(missing_ok=True)  # the manifest has them
    return summary_of(samples)


def summary_of(samples: Sequence[Sample]) -> DedupSummary:
    """What rows say of copies after `dedup`."""
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
    live = live_samples(samples)
    size = Counter(s.group for s in live if s.group)
    related = Counter(s.likeness.kind for s in live if s.likeness and size[s.group or ""] > 1)
    groups = len({s.group for s in samples if s.group})
    kin = dict(sorted(related.items()))
    return DedupSummary(len(samples), len(live), len(why), kinds, kin, groups, why)


def dedup(
    rows: Sequence[Sample],
    *,
    store: Store,
    false_matches: float = FALSE_MATCHES,
    removed: Sequence[removals.Tombstone] = (),
    renders: Renders | None = None,
    run_jobs: RunJobs = sandbox.run_unordered,
    progress: Progress = SILENT,
) -> list[Sample]:
    """Drop every copy as `duplicate:KEY`, KEY being the image that stays, and fill in `group`.

    What was not inspected yet is inspected; images that another looks like are decoded once more,
    whole, for what tells an original from what was made of it.

    Args:
        rows: samples.
        store: where the images lie; what is derived of them is kept beside it.
        false_matches: share of the pairs of different pictures that may be taken for copies; less
            in a large set, so that no more than `MISTAKEN` links of an image are mistakes.
        removed: what was taken out; an image that is or looks like it is dropped as removed.
        renders: if given, images that are read are rendered, too.
        run_jobs: what decodes, as `sandbox.run_unordered`.
        progress: counts the images that are read.
    """
    kept = derived_beside(store)
    sketches = SketchStore(kept / SKETCHES)
    read = inspect_samples(
        store, progress, rows, sketches=sketches, renders=renders, run_jobs=run_jobs
    )
    marked = mark_views(removals.mark_removed(read, removed), removed, sketches)
    pairs = find_pairs(marked, kept, false_matches=false_matches, progress=progress)
    pictures = _pictures(marked, pairs)
    proofs = prove_pictures(store, pictures, kept, progress=progress, run_jobs=run_jobs)
    proven = [_with_proof(s, proofs.get(str(s.sha256))) for s in marked]
    return mark_copies(proven, pairs, partial(rank_rows, proofs=proofs))


def derived_beside(store: Store) -> Path:
    """The folder of what is made of the images in a store; it may be deleted at any moment."""
    return store.root.parent / DERIVED


def read_thresholds(kept: Path) -> dict[str, object]:
    """From what score on images were last taken for kin, and for what rate of false matches."""
    unknown: dict[str, object] = {"threshold": "unknown", "false_matches": "unknown"}
    with suppress(OSError, ValueError):
        said: dict[str, object] = json.loads((kept / THRESHOLDS).read_bytes())
        return unknown | said
    return unknown


def find_pairs(
    samples: Sequence[Sample],
    kept: Path,
    *,
    false_matches: float = FALSE_MATCHES,
    progress: Progress = SILENT,
) -> list[Pair]:
    """All pairs of files that look alike, of rows in use or not, as far as they are sketched."""
    sketches = SketchStore(kept / SKETCHES)
    known = sketches.known()
    files = sorted({str(s.sha256) for s in samples if s.sha256 in known})
    if len(files) < 2:
        return []
    rate = min(false_matches, MISTAKEN / len(files))
    found = find_likenesses(sketches.load(files), false_match_rate=rate, progress=progress)
    said = {"threshold": round(float(found.threshold), 4), "false_matches": rate}
    write_json(kept / THRESHOLDS, said)
    columns = found.i, found.j, found.score, found.kind, found.same
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [Pair(files[i], files[j], score, kind, same) for i, j, score, kind, same in rows]


def _pictures(samples: Sequence[Sample], pairs: Sequence[Pair]) -> list[list[Sample]]:
    """The rows in use, and copies, that show one picture, where these are several files.

    Those that look equal count, too, even where they show too little to be told apart by it: their
    pixels may be equal.
    """
    groups = Groups()
    there: dict[str, Sample] = {}
    for sample in sorted(samples, key=lambda s: s.key):
        if sample.sha256 and sample.drop_reason in ("", DUPLICATE):
            there.setdefault(sample.sha256, sample)
    for pair in pairs:
        if (pair.same or pair.kind == SAME) and pair.one in there and pair.other in there:
            groups.join(pair.one, pair.other)
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    for name, root in groups.names().items():
        found[root].append(there[name])
    return list(found.values())


def _with_proof(sample: Sample, proof: Proof | None) -> Sample:
    if proof is None:
        return sample
    return replace(
        sample,
        pixel_sha256=proof.pixel_sha256,
        resolved=proof.resolved,
        noise=proof.noise,
    )


def rank_rows(samples: Sequence[Sample], *, proofs: Mapping[str, Proof]) -> list[Sample]:
    """Rows that show one picture, the one to keep first.

    1. The original: what the others were made of, as far as pixels tell (`images.descent`). It
       comes first since nothing brings back what a copy has lost, and what is said of copies is
       not lost: their captions and credits go to the image that stays, and all have one verdict.
    2. Where pixels cannot tell (equal ones, above all): the row with more of licence, licence page,
       author and page, for that is what is shown when somebody asks.
    3. The one that came with more words of its own: texts, title, tags.
    4. The larger file of pixels, then the smaller key.

    What a policy makes of a row has no say. A mirror image is never the same picture, since it
    cannot be told which of the two was turned.
    """

    def order(sample: Sample) -> tuple[int, int, int, int, str]:
        proof = proofs.get(str(sample.sha256))
        documents = sample.license_text, sample.license_url, sample.author, sample.page_url
        said = sum(fact is not None for fact in documents)
        words = sum(map(bool, (sample.texts, sample.title, sample.tags)))
        place = proof.place if proof else len(proofs)
        return place, -said, -words, -sample.area, sample.key

    return sorted(samples, key=order)
