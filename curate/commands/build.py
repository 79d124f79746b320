"""From fetched images to shards: check, dedup, caption and pack, alone and in a row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curate.captions.clean import caption
from curate.commands.status import reason_counts, verdict_counts
from curate.dataset.folder import Dataset
from curate.dataset.sample import live_samples
from curate.rights import policy as policies
from curate.system.progress import SILENT, Progress

if TYPE_CHECKING:
    from curate.images.dedup import DedupSummary as Deduplicated
    from curate.shards.pack import PackSummary as Packed


@dataclass(frozen=True)
class CheckSummary:
    """What `curate check` decided, over the rows in use."""

    policy: str  # path of its file
    policy_sha256: str
    rows: int
    verdicts: Mapping[str, Mapping[str, int]]  # use -> decision -> rows
    reasons: Mapping[str, int]  # code that holds or denies training -> rows

    def as_rows(self) -> list[tuple[object, ...]]:
        """A line for each use, then one for each reason."""
        counts = [
            (use, *(rows[decision] for decision in ("allow", "hold", "deny")))
            for use, rows in self.verdicts.items()
        ]
        return [*counts, *((f"not trained on: {c}", n, "", "") for c, n in self.reasons.items())]


@dataclass(frozen=True)
class CaptionSummary:
    """What `curate caption` wrote, over the rows in use."""

    rows: int
    captions: int
    without: int  # rows of which nothing was said in words

    def as_rows(self) -> list[tuple[object, ...]]:
        """A line for each count."""
        return [("rows", self.rows), ("captions", self.captions), ("rows without", self.without)]


@dataclass(frozen=True)
class BuildSummary:
    """What the four steps did."""

    check: CheckSummary
    dedup: "Deduplicated"
    caption: CaptionSummary
    pack: "Packed"

    def as_rows(self) -> list[tuple[object, ...]]:
        """A line for each count, in the order of the steps."""
        train = self.check.verdicts["train"].items()
        rows: list[tuple[object, ...]] = [("check", f"train: {d}", n) for d, n in train if n]
        for step in ("dedup", "caption", "pack"):
            rows += [(step, *row) for row in getattr(self, step).as_rows()]
        return rows


def check_dataset(dataset: Dataset, *, policy: str = "personal") -> CheckSummary:
    """Identify every licence and decide every use by a policy; the command `curate check`.

    Raises:
        InputError: there is no dataset, or the policy cannot be understood.
        UsageError: no such policy, or another command is at work there.
    """
    rules = policies.read_policy(policy)
    with dataset.lock(existing=True):
        samples = live_samples(dataset.run_step(policies.check, "check", {"policy": policy}))
    return CheckSummary(
        policy=str(rules.path),
        policy_sha256=rules.sha256,
        rows=len(samples),
        verdicts=verdict_counts(samples),
        reasons=reason_counts(samples),
    )


def caption_dataset(dataset: Dataset, *, per_image: int = 4) -> CaptionSummary:
    """Caption every image from what came with it; the command `curate caption`.

    Raises:
        InputError: there is no dataset.
        UsageError: `per_image` is below 1, or another command is at work there.
    """
    with dataset.lock(existing=True):
        samples = live_samples(dataset.run_step(caption, "caption", {"per_image": per_image}))
    counts = [len(s.captions) for s in samples]
    return CaptionSummary(len(counts), sum(counts), counts.count(0))


def build_dataset(
    dataset: Dataset,
    *,
    policy: str = "personal",
    size: int = 512,
    format: str = "jpg",
    progress: Progress = SILENT,
) -> BuildSummary:
    """Check, drop copies, caption and pack, in this order; the command `curate build`.

    Args:
        dataset: the folder.
        policy: as in `check_dataset`.
        size: pixels of the shorter side, as in `pack`.
        format: of the packed images, as in `pack`.
        progress: is told which step is at work, and counts images.

    Raises:
        InputError: as each of the four; what was finished before stays.
        UsageError: as each of the four.
    """
    from curate.images.dedup import find_duplicates
    from curate.shards.pack import check_pack_settings, pack

    dataset.require_dataset()
    check_pack_settings(size, format)  # before the three steps that take time
    progress.say(f"1 of 4: check by {policies.read_policy(policy).path}")
    checked = check_dataset(dataset, policy=policy)
    progress.say("2 of 4: dedup")
    deduplicated = find_duplicates(dataset, progress=progress)
    for note in deduplicated.notes():
        progress.say(note)
    progress.say("3 of 4: caption")
    captioned = caption_dataset(dataset)
    progress.say("4 of 4: pack")
    packed = pack(dataset, size=size, format=format, progress=progress)
    return BuildSummary(checked, deduplicated, captioned, packed)
