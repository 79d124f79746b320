"""The rows of a dataset while pictures are added to it, and the account of what was done."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from curate.dataset.folder import Dataset, command, failed, merge
from curate.dataset.sample import Sample
from curate.system.files import remove_leftovers
from curate.system.progress import SILENT, Progress

STATED = (  # what a source says of an image
    "file_name", "page_url", "author", "author_url", "title", "tags", "language", "texts",
    "license_text", "license_url", "license_by",
)  # fmt: skip
DECIDED = ("license", "license_how", "train", "share_dataset", "share_model", "policy")


@dataclass
class Summary:
    """What a fetch did, and what the dataset holds after it."""

    new: int = 0
    updated: int = 0  # known ones of which the source now says something else
    known: int = 0
    failed: int = 0  # downloads that the next fetch tries again
    refused: Counter[str] = field(default_factory=Counter)  # new and not in use, by reason
    rows: int = 0  # in the dataset
    dropped: Counter[str] = field(default_factory=Counter)  # in the dataset, by reason

    def as_json(self) -> dict[str, Any]:
        """The summary as plain values."""
        return {
            "new": self.new,
            "updated": self.updated,
            "known": self.known,
            "failed": self.failed,
            "refused": dict(sorted(self.refused.items())),
            "rows": self.rows,
            "dropped": dict(sorted(self.dropped.items())),
        }

    def as_rows(self) -> list[tuple[str, int]]:
        """The summary as lines: what, how many."""
        counts = [("new", self.new), ("updated", self.updated), ("known", self.known)]
        counts += [("failed, tried again next time", self.failed)]
        counts += [(f"refused: {reason}", n) for reason, n in sorted(self.refused.items())]
        return [*counts, ("rows in the dataset", self.rows)]


@dataclass
class Collection:
    """The rows of a dataset while pictures are added to it; the caller holds the lock."""

    dataset: Dataset
    source: str
    step: str
    settings: Mapping[str, Any]
    progress: Progress = SILENT
    summary: Summary = field(default_factory=Summary)

    def __post_init__(self) -> None:
        """Read what is known; forget rows whose bytes a power cut has taken."""
        store = self.dataset.store
        for part in [*store.root.glob("*"), *self.dataset.evidence.glob("*")]:
            remove_leftovers(part)
        self.stored, fetched = self.dataset.stored(), self.dataset.journal_rows()
        self.rows = {s.key: s for s in merge(self.stored.samples, fetched)}
        for sample in fetched:
            if sample.sha256 and not store.repair(sample.sha256):
                self.rows.pop(sample.key, None)

    def old(self, key: str) -> Sample | None:
        """What is known under this key, unless it is to be tried again or its picture is lost."""
        row = self.rows.get(key)
        if row is None or failed(row):
            return None
        lost = row.sha256 and not self.dataset.store.path(row.sha256).exists()
        return None if lost else row

    def add(self, sample: Sample) -> None:
        """Journal a new row and count it."""
        known = self.rows.get(sample.key)
        if known and known.sha256 and known.sha256 == sample.sha256:
            self.summary.known += 1  # its picture was lost and is back
            return
        self.dataset.append(sample)
        self.rows[sample.key] = sample
        if failed(sample):
            self.summary.failed += 1
            reason = (sample.dropped or "").partition(":")[2]
            self.progress.say(f"{sample.key}: {reason}; the next fetch tries again")
        elif sample.dropped:
            self.summary.refused[sample.dropped.split(":")[0]] += 1
        else:
            self.summary.new += 1

    def restate(self, known: Sample, fresh: Sample) -> None:
        """Take over what the source now says of a known image.

        A changed licence takes the verdicts with it. Nothing is journaled: the same fetch finds
        the same again.
        """
        said: dict[str, Any] = {name: getattr(fresh, name) for name in STATED}
        if all(getattr(known, name) == value for name, value in said.items()):
            self.summary.known += 1
            return
        undecided: dict[str, Any] = dict.fromkeys(DECIDED)
        self.rows[known.key] = replace(known, **said, **undecided)
        self.summary.updated += 1

    def met_again(self, fresh: Sample) -> None:
        """Count a known image; take over what its source has said against training since."""
        known = self.rows[fresh.key]
        signals = tuple(dict.fromkeys(known.opt_outs + fresh.opt_outs))
        if signals == known.opt_outs:
            self.summary.known += 1
            return
        undecided: dict[str, Any] = dict.fromkeys(DECIDED)
        self.rows[known.key] = replace(known, opt_outs=signals, **undecided)
        self.summary.updated += 1
        said = ", ".join(fresh.opt_outs)
        build = command(self.dataset.root, "build")
        self.progress.say(f"{known.key}: its source now says {said}; {build} takes it out")

    def finish(self) -> Summary:
        """Write the manifest and close the account."""
        samples = [self.rows[key] for key in sorted(self.rows)]
        self.dataset.store.sync()
        self.dataset.record(self.stored, self.step, dict(self.settings), samples)
        self.summary.rows = len(samples)
        self.summary.dropped = Counter(s.dropped.split(":")[0] for s in samples if s.dropped)
        return self.summary
