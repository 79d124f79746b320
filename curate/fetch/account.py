"""The rows of a dataset while images are added to it, and the account of what was done."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from curate.dataset.folder import Dataset, command_line, is_failed_download, merge_rows
from curate.dataset.sample import Sample
from curate.errors import InputError
from curate.system.files import remove_leftovers
from curate.system.progress import SILENT, Progress

VERDICT_FIELDS = ("license", "license_how", "train", "share_dataset", "share_model", "policy")


@dataclass
class FetchSummary:
    """What a fetch did, and what the dataset holds after it."""

    new: int = 0
    updated: int = 0  # known ones of which the source now says something else
    known: int = 0
    failed: int = 0  # downloads that the next fetch tries again
    refused: dict[str, int] = field(default_factory=dict)  # new and not in use, by reason
    rows: int = 0  # in the dataset
    dropped: dict[str, int] = field(default_factory=dict)  # in the dataset, by reason

    def as_rows(self) -> list[tuple[str, int]]:
        """The summary as lines: what, how many."""
        counts = [("new", self.new), ("updated", self.updated), ("known", self.known)]
        refused = [(f"refused: {reason}", n) for reason, n in sorted(self.refused.items())]
        failed = ("failed, tried again next time", self.failed)
        return [*counts, failed, *refused, ("rows in the dataset", self.rows)]


@dataclass
class FetchAccount:
    """The rows of a dataset while images are added to it; the caller holds the lock."""

    dataset: Dataset
    source: str
    settings: Mapping[str, Any]
    progress: Progress = SILENT
    summary: FetchSummary = field(default_factory=FetchSummary)

    def __post_init__(self) -> None:
        """Read what is known; forget rows whose bytes a power cut has taken."""
        store = self.dataset.store
        for part in [*store.root.glob("*"), *self.dataset.evidence.glob("*")]:
            remove_leftovers(part)
        self.manifest, fetched = self.dataset.read_manifest(), self.dataset.read_journal()
        self.rows = {s.key: s for s in merge_rows(self.manifest.samples, fetched)}
        for key, sha256 in [(s.key, s.sha256) for s in fetched if s.sha256]:
            try:
                store.get(sha256)
            except InputError:  # what is left of them is of no use
                store.path_of(sha256).unlink(missing_ok=True)
                self.rows.pop(key, None)

    def add_new(self, sample: Sample) -> None:
        """Journal a new row and count it."""
        known = self.rows.get(sample.key)
        if known and known.sha256 and known.sha256 == sample.sha256:
            self.summary.known += 1  # its image was lost and is back
            return
        self.dataset.append_row(sample)
        self.rows[sample.key] = sample
        if is_failed_download(sample):
            self.summary.failed += 1
            reason = (sample.dropped or "").partition(":")[2]
            self.progress.say(f"{sample.key}: {reason}; the next fetch tries again")
        elif sample.dropped:
            reason = sample.drop_reason
            self.summary.refused[reason] = self.summary.refused.get(reason, 0) + 1
        else:
            self.summary.new += 1

    def update(self, known: Sample, fresh: Sample, names: Sequence[str]) -> None:
        """Count a known image; take over what is now said against training, and the fields `names`.

        If any of it is new, its verdicts are open again. Nothing is journaled: the same fetch finds
        the same again.
        """
        said: dict[str, Any] = {name: getattr(fresh, name) for name in names}
        said["opt_outs"] = tuple(dict.fromkeys(known.opt_outs + fresh.opt_outs))
        changed = replace(known, **said)
        if changed == known:
            self.summary.known += 1
            return
        undecided: dict[str, Any] = dict.fromkeys(VERDICT_FIELDS)
        self.rows[known.key] = replace(changed, **undecided)
        self.summary.updated += 1
        if new := ", ".join(s for s in changed.opt_outs if s not in known.opt_outs):
            build = command_line(self.dataset.root, "build")
            self.progress.say(f"{known.key}: its source now says {new}; {build} takes it out")

    def write_manifest(self) -> FetchSummary:
        """Write the manifest and close the account."""
        samples = [self.rows[key] for key in sorted(self.rows)]
        os.sync()  # far cheaper than once an image
        step = f"fetch {self.source}"
        self.dataset.record_step(self.manifest, step, dict(self.settings), samples)
        self.summary.rows = len(samples)
        self.summary.dropped = dict(Counter(s.drop_reason for s in samples if s.dropped))
        return self.summary
