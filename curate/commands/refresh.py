"""Ask sources again, then say what drifted, what vanished and what was opted out since."""

from collections.abc import Mapping

from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample
from curate.fetch.refresh import refresh
from curate.net.connection import NetOptions
from curate.rights.policy import read_policy
from curate.system.progress import SILENT, Progress

MOST_NAMED = 5  # images in a line
CHANGES = {  # fields of a row -> what it means that they changed
    ("restated",): "state another licence",
    ("gone",): "are gone at their source",
    ("opt_outs", "headers", "site_evidence"): "have something new said about training",
}


def refresh_dataset(
    dataset: Dataset,
    *,
    policy: str = "personal",
    net: NetOptions = NetOptions(),
    progress: Progress = SILENT,
) -> list[str]:
    """Ask about all that can be asked about: the first half of `curate check --refresh`.

    Returns:
        Lines to show: how many were asked about, and the keys of those of which something is new.

    Raises:
        InputError: there is no dataset, or the policy of the check to come is not understood.
        UsageError: no such policy, or another command is at work there.
    """
    dataset.require_dataset()
    read_policy(policy)  # before anything is asked
    before = {s.key: s for s in dataset.read().samples}
    counts = refresh(dataset, progress, net).as_rows()
    told = [", ".join(f"{name} {count}" for name, count in counts if count)]
    after = dataset.read().samples
    for fields, meaning in CHANGES.items():
        keys = [s.key for s in after if any(_differ(before, s, name) for name in fields)]
        if keys:
            more = f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else ""
            told.append(f"{len(keys)} {meaning}: {', '.join(keys[:MOST_NAMED])}{more}")
    return told


def _differ(before: Mapping[str, Sample], now: Sample, name: str) -> bool:
    old = before.get(now.key)
    return old is not None and getattr(old, name) != getattr(now, name)
