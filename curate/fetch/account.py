"""The rows of a dataset while images are added to it, and the account of what was done."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from curate.dataset.folder import Dataset, command_line
from curate.dataset.journal import merge_rows
from curate.dataset.sample import Sample, make_key, utc_now
from curate.dataset.statements import join_statements
from curate.errors import ExitCode, InputError, SourceError
from curate.net.failure import is_final, is_passing
from curate.rights.removals import REMOVED
from curate.sources.base import FoundImage
from curate.system.files import remove_leftovers
from curate.system.progress import SILENT, Progress

_SAID = {f.name for f in fields(FoundImage)} & {f.name for f in fields(Sample)}


@dataclass
class FetchSummary:
    """What a fetch did, and what the dataset holds after it."""

    new: int = 0
    updated: int = 0  # known ones of which the source now says something else …
    restated: int = 0  # … and among these: another licence
    known: int = 0
    failed: int = 0  # images that did not come for now: the next fetch tries them again
    failures: dict[str, int] = field(default_factory=dict)  # that did not come now, by reason
    refused: dict[str, int] = field(default_factory=dict)  # new and not in use, by reason
    left_out: dict[str, int] = field(default_factory=dict)  # known, and without image, by reason
    rows: int = 0  # in the dataset
    dropped: dict[str, int] = field(default_factory=dict)  # in the dataset, by reason

    def as_rows(self) -> list[tuple[str, int]]:
        """The summary as lines: what, how many."""
        counts = [("new", self.new), ("updated", self.updated)]
        counts += [("restated", self.restated)] if self.restated else []
        counts += [("known", self.known), ("failed, tried again next time", self.failed)]
        kinds = {"failed": self.failures, "not used": self.refused, "left out": self.left_out}
        for name, by_reason in kinds.items():
            counts += [(f"{name}: {reason}", n) for reason, n in sorted(by_reason.items())]
        return [*counts, ("rows in the dataset", self.rows)]

    def exit_code(self) -> ExitCode:
        """A failed source where images were asked for and none came, and some may yet come."""
        return ExitCode.SOURCE if self.failed and not self.new else ExitCode.DONE


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
        written = {s.key for s in self.manifest.samples}
        for key, sha256 in [(s.key, s.sha256) for s in fetched if s.sha256]:
            try:
                store.get(sha256)
            except InputError:  # what is left of them is of no use
                store.path_of(sha256).unlink(missing_ok=True)
                if key not in written:
                    self.rows.pop(key, None)

    def is_lost(self, known: Sample | None) -> bool:
        """Whether a row names bytes that are in the store no more, or not all of them."""
        if known is None or known.sha256 is None:
            return False
        path = self.dataset.store.path_of(known.sha256)
        return not path.exists() or path.stat().st_size != known.byte_count

    def add(self, row: Sample) -> None:
        """Journal the row of an image that was due, and count it."""
        known = self.rows.get(row.key)
        if known and known.sha256 and known.sha256 == row.sha256:
            self.summary.known += 1  # its image is back; what was worked out of it holds
            self._keep(join_statements(known, row))
            return
        self._keep(row)
        passing, final = is_passing(row), is_final(row)
        if passing or final:
            self.summary.failed += passing
            _count(self.summary.failures, row)
            again = "the next fetch tries again" if passing else "--retry gone tries again"
            self.progress.say(f"{row.key}: {row.drop_detail}; {again}")
        elif row.dropped:
            _count(self.summary.refused, row)
        else:
            self.summary.new += 1

    def meet(self, known: Sample) -> None:
        """Count a row of which nothing new is said."""
        if known.sha256 and known.drop_reason != REMOVED:
            self.summary.known += 1
        else:
            _count(self.summary.left_out, known)

    def update(self, changed: Sample, *, journal: bool = True) -> None:
        """Take over what is now said of a known image."""
        known = self.rows[changed.key]
        self.summary.updated += 1
        self.summary.restated += changed.restated != known.restated
        build = command_line(self.dataset.root, "build")
        if new := ", ".join(s for s in changed.opt_outs if s not in known.opt_outs):
            self.progress.say(f"{known.key}: its source now says {new}; {build} takes it out")
        if journal:
            self._keep(changed)
        else:
            self.rows[changed.key] = changed

    def write_manifest(self) -> FetchSummary:
        """Write the manifest and close the account."""
        samples = [self.rows[key] for key in sorted(self.rows)]
        os.sync()  # far cheaper than once an image
        step = f"fetch {self.source}"
        self.dataset.record_step(self.manifest, step, dict(self.settings), samples)
        self.summary.rows = len(samples)
        self.summary.dropped = dict(Counter(s.drop_reason for s in samples if s.dropped))
        return self.summary

    @contextmanager
    def closing(self) -> Iterator[None]:
        """If the block ends early, write the manifest with what it has brought, and say what."""
        try:
            yield
        except (SourceError, KeyboardInterrupt) as error:
            if self.dataset.journal.exists():
                done = self.write_manifest()
                if isinstance(error, SourceError):
                    counts = ", ".join(f"{what} {n}" for what, n in done.as_rows())
                    self.progress.say(f"{self.source}: kept so far: {counts}")
            raise

    def _keep(self, row: Sample) -> None:
        if self.rows.get(row.key) != row:
            self.dataset.append_row(row)
            self.rows[row.key] = row


def _count(counts: dict[str, int], row: Sample) -> None:
    counts[row.drop_reason] = counts.get(row.drop_reason, 0) + 1


def make_row(source: str, item: FoundImage) -> Sample:
    """The row of an image as its source describes it."""
    said: dict[str, Any] = {name: getattr(item, name) for name in _SAID}
    return Sample(key=make_key(source, item.id), source=source, retrieved=utc_now(), **said)
