"""The step that decides: each image for itself, then all copies of a picture together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any

from curate.dataset.evidence import StoredAnswer, read_answer
from curate.dataset.folder import Store
from curate.dataset.sample import Sample
from curate.dataset.sample_table import row_type
from curate.formats.copies import group_copies
from curate.formats.verdicts import USES
from curate.rights.copies import is_joined, join
from curate.rights.decide import decide
from curate.rights.policy import Policy, read_policy
from curate.rights.removals import REMOVED, Tombstone, mark_removed
from curate.rights.signals.collect import all_signals
from curate.rights.signals.embedded import read_embedded
from curate.system.progress import SILENT, Progress

# what the step looks at, and what it writes
READS = (
    *("source", "image_url", "final_url", "redirects", "retrieved", "evidence", "headers"),
    *("site_evidence", "license_text", "license_url", "license_by", "restated", "gone"),
    *("opt_outs", "ai_generated", "mature", "restrictions", "basis"),
    *("sha256", "pixel_sha256", "phash", "mirror_phash", "group"),
)
FILLS = (
    *("license", "license_how", "embedded", "embedded_by", "signals", "ai_embedded"),
    *("train", "share_dataset", "share_model", "policy", "dropped"),
)
# what a verdict follows from, and what is decided
DECIDING = (
    *("source", "license_text", "license_url", "license_by", "restated", "gone", "opt_outs"),
    *("signals", "ai_generated", "ai_embedded", "mature", "restrictions", "basis", "dropped"),
)
DECIDED = ("license", "license_how", "policy", *USES)


def check(
    rows: Sequence[Sample],
    *,
    policy: str = "personal",
    store: Store | None = None,
    evidence: Store | None = None,
    removed: Sequence[Tombstone] = (),
    only_copies: bool = False,
    progress: Progress = SILENT,
) -> list[Sample]:
    """Identify each image's licence and decide its three uses; copies have one verdict.

    Args:
        rows: samples; dropped ones are decided, too, for what is said of a copy counts.
        policy: "personal", "research", "commercial", or the path of a TOML file.
        store: where images lie. None: what their bytes say of training is not read.
        evidence: where the answers of servers lie. None: they are not looked at, and
            the rows' `signals` stay as they are.
        removed: what was taken out; images that are or look like it are dropped.
        only_copies: decide only what groups of copies or hashes may have changed since a check.
        progress: counts the images that are read.

    Raises:
        UsageError: there is no shipped policy of that name.
        InputError: the file cannot be read, or says something that is not understood.
    """
    rules = read_policy(policy)
    read = _read_bytes(rows, store, progress) if store else rows
    return check_samples(
        read, policy=rules, evidence=evidence, removed=removed, only_copies=only_copies
    )


def _read_bytes(samples: Sequence[Sample], store: Store, progress: Progress) -> list[Sample]:
    """The samples with what their own bytes say; those of removed ones are gone."""
    there = [s for s in samples if s.drop_reason != REMOVED]
    read = {s.key: s for s in read_embedded(there, store, progress)}
    return [read.get(s.key, s) for s in samples]


def check_samples(
    samples: Sequence[Sample],
    *,
    policy: Policy,
    evidence: Store | None,
    removed: Sequence[Tombstone],
    only_copies: bool = False,
) -> list[Sample]:
    """The samples with their verdicts; arguments as for `check`."""
    marked = mark_removed(samples, removed)
    due = {s.key for s in marked if not only_copies or _is_open(s, policy)}
    due |= {s.key for group in group_copies(marked) if len(group) > 1 for s in group}
    faults = find_faults(evidence, [s for s in marked if s.key in due]) if evidence else {}
    if evidence:  # many rows name the documents of one host
        read = lru_cache(maxsize=512)(partial(read_answer, evidence))
        marked = [_gather(s, read, faults.get(s.key, {})) if s.key in due else s for s in marked]
    decisions = _Decisions(policy)
    decided = [
        decisions.decide(s, sorted(set(faults.get(s.key, {}).values()))) if s.key in due else s
        for s in marked
    ]
    return join(decided, policy)


class _Decisions:
    """What a policy makes of rows; of those that say the same, once."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.known: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        self.facts_of = attrgetter(*DECIDING)
        self.row = row_type(frozenset({*DECIDING, *DECIDED}))  # no other field can have a say

    def decide(self, sample: Sample, faults: Sequence[str]) -> Sample:
        """As `decide.decide`."""
        facts = self.facts_of(sample)
        found = self.known.get(said := (facts, *faults))
        if found is None:
            made: Any = self.row
            row = made(**dict(zip(DECIDING, facts, strict=True)), **dict.fromkeys(DECIDED))
            decided = decide(row, self.policy, faults)
            found = self.known[said] = {name: getattr(decided, name) for name in DECIDED}
        return replace(sample, **found)


def find_faults(evidence: Store, samples: Sequence[Sample]) -> dict[str, dict[str, str]]:
    """By key of each image from a server: the stored answers that are not as they were stored.

    Every answer that a row names is compared with the SHA-256 that names it, once.

    Returns:
        Key -> SHA-256 -> "evidence-missing" or "evidence-changed"; intact rows are left out.
    """
    known: dict[str, str | None] = {}
    found = {}
    for sample in samples:
        if sample.image_url is None:
            continue
        later = (said.evidence for said in sample.restated)
        names = [n for n in (sample.evidence, *sample.site_evidence, *later) if n]
        for name in names:
            if name not in known:
                fault = evidence.fault_of(name)
                known[name] = fault and f"evidence-{fault}"
        if faults := {name: fault for name in names if (fault := known[name])}:
            found[sample.key] = faults
    return found


def _gather(
    sample: Sample, read: Callable[[str], StoredAnswer], faults: Mapping[str, str]
) -> Sample:
    """The sample with all that is said of training on it, in what is left of its evidence."""
    intact = [read(name) for name in sample.site_evidence if name not in faults]
    return replace(sample, signals=all_signals(sample, intact))


def _is_open(sample: Sample, policy: Policy) -> bool:
    """Whether a row without copies may get other verdicts than it has, its facts unchanged."""
    verdicts = [getattr(sample, use) for use in USES]
    if sample.policy != policy.sha256 or None in verdicts:
        return True
    was_removed = any(REMOVED in v.reasons for v in verdicts)
    return was_removed != (sample.drop_reason == REMOVED) or any(map(is_joined, verdicts))
