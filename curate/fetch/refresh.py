"""Asks sources again about images that are there: what is said of them, and whether they still are.

What is new is added to the rows, beside what was said first; no image is fetched, and none leaves.
Stopped at any moment, the same command goes on: what was answered in the last 24 hours is not asked
for again, and those that were asked longest ago come first.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from curate.dataset.evidence import StoredAnswer, read_answer, read_intact
from curate.dataset.folder import Dataset, Store, write_json
from curate.dataset.sample import DUPLICATE, Sample, Signal, identifier_of, utc_now
from curate.dataset.statements import join_statements
from curate.errors import SourceError
from curate.fetch.account import FetchAccount, make_row
from curate.fetch.download import ask_site
from curate.fetch.plan import plan
from curate.net.answers import MAX_AGE
from curate.net.connection import Net, NetOptions, connect
from curate.net.failure import PASSING, Failure, FailureKind
from curate.net.media import Want, conditions_of
from curate.net.redact import Url
from curate.rights.signals.collect import refuse_before_asking, signals_of
from curate.sources import SOURCES, contact, terms
from curate.sources.base import Source
from curate.system.progress import SILENT, Progress, track

TIMES_FILE = "refreshed.json"  # in a dataset folder: when each image was last asked about
NO_RIGHTS = ("etag", "last-modified", "content-type")  # kept headers that say nothing of them


@dataclass
class RefreshSummary:
    """What sources say now of images that are there."""

    asked: int = 0
    unchanged: int = 0
    restated: int = 0  # another licence than before
    opted_out: int = 0  # something new is said against training, by source, headers or host
    gone: int = 0  # found to be there no more
    failed: int = 0  # could not be asked about for now
    recent: int = 0  # asked about in the last 24 hours
    not_asked: int = 0  # of a folder, or of a source that cannot be asked

    def as_rows(self) -> list[tuple[str, int]]:
        """The summary as lines: what, how many."""
        named = {"opted_out": "said against training", "gone": "gone at their source"}
        named |= {"failed": "failed, asked next time", "recent": "asked less than 24 hours ago"}
        named |= {"not_asked": "not asked about"}
        return [(named.get(name, name), n) for name, n in vars(self).items()]


def refresh(
    dataset: Dataset, progress: Progress = SILENT, net: NetOptions = NetOptions()
) -> RefreshSummary:
    """Ask about every image in the store whose source can be asked.

    Its source's own record, where it can be looked up, its host's documents, and the headers of the
    image itself. Another licence becomes a further statement (`restated`), opt-outs and documents
    are added, and an image that is there no more gets the time in `gone`; verdicts of such rows
    are open until `curate check`. A host that fails costs nothing but the next try.

    Raises:
        InputError: no dataset here.
    """
    with dataset.lock(existing=True):
        account = FetchAccount(dataset, "refresh", {}, progress)
        summary = RefreshSummary()
        with _times(dataset) as times:
            rows = [s for s in account.rows.values() if s.sha256]
            rows = [s for s in rows if s.drop_reason in ("", DUPLICATE)]
            rows.sort(key=lambda s: (times.get(s.key, ""), s.key))
            due = [s for s in rows if not _is_recent(times.get(s.key))]
            summary.recent = len(rows) - len(due)
            for source in SOURCES:
                if source.search and (mine := [s for s in due if s.source == source.name]):
                    due = [s for s in due if s.source != source.name]
                    _refresh_source(account, source, mine, summary, times, net)
            summary.not_asked += len(due)
        if dataset.journal.exists():
            samples = [account.rows[key] for key in sorted(account.rows)]
            dataset.record_step(account.manifest, "refresh", {}, samples)
        return summary


def _refresh_source(
    account: FetchAccount,
    source: Source,
    rows: list[Sample],
    summary: RefreshSummary,
    times: dict[str, str],
    net: NetOptions,
) -> None:
    """Ask about the images of one source, until it fails."""
    root, progress = account.dataset.root, account.progress
    net = replace(net, contact=net.contact or contact.find_contact(root))
    if lacking := terms.missing(root, source, net.contact):
        progress.say(f"{source.name}: not asked: {lacking[0].what}; {lacking[0].command}")
        summary.not_asked += len(rows)
        return
    unread = replace(net.limits.image, max_bytes=0, cuts=True)  # headers are all we want
    net = replace(net, limits=replace(net.limits, image=unread))
    evidence, key = account.dataset.evidence, terms.read_key(source)
    with connect(source, evidence, key=key, options=net, progress=progress) as opened:
        asker = _Asker(source, opened)
        for number, row in enumerate(track(rows, len(rows), "images", progress)):
            try:
                now = asker.ask(row)
            except _NotNowError as error:
                summary.failed += 1
                progress.say(f"{row.key}: {error}")
                continue
            except SourceError as error:
                summary.failed += len(rows) - number
                progress.say(f"{error.subject}: {error.problem}; the same command goes on later")
                return
            times[row.key] = utc_now()
            _count(summary, row, now, Store(evidence))
            if now != row:
                account.update(now)


def _count(summary: RefreshSummary, before: Sample, now: Sample, evidence: Store) -> None:
    summary.asked += 1
    summary.unchanged += now == before
    summary.restated += now.restated != before.restated
    summary.opted_out += bool(_said_against(now, evidence) - _said_against(before, evidence))
    summary.gone += now.gone != before.gone


def _said_against(row: Sample, evidence: Store) -> set[Signal]:
    """What is said against training, as far as the stored answers are there that say it."""
    row = replace(row, site_evidence=tuple(read_intact(evidence, row.site_evidence)))
    return {signal for signal in signals_of(row, evidence) if signal.allows is False}


class _NotNowError(Exception):
    """An image that cannot be asked about for now; the text is a clause."""


@dataclass
class _Asker:
    """Asks about the images of one source."""

    source: Source
    net: Net

    def ask(self, row: Sample) -> Sample:
        """The row with what is said now.

        Raises:
            _NotNowError: the image, its host or its record cannot be had for now.
            SourceError: the source's API cannot.
        """
        row = self._ask_source(row)
        row, refused = self._ask_site(row)
        return row if refused or row.gone else self._ask_image(row)

    def _ask_source(self, row: Sample) -> Sample:
        if self.source.lookup is None or row.gone:
            return row
        try:
            found = self.source.lookup(self.net.api.get_json, identifier_of(row))
        except KeyError as error:
            raise _NotNowError(f"its source's record lacks the field {error}") from None
        if found is None:
            return _gone(row)
        return plan(row, make_row(self.source.name, found)).row

    def _ask_site(self, row: Sample) -> tuple[Sample, bool]:
        """The row with what its host says of all it holds, and whether that forbids asking."""
        url, store = row.image_url or "", Store(self.net.api.answers.root)
        documents = self.net.sites.documents(url)
        if isinstance(documents, Failure):
            raise _NotNowError(documents.detail)
        answers = {sha256: read_answer(store, sha256) for sha256 in documents}
        heard = {_content(a) for a in read_intact(store, row.site_evidence).values()}
        new = tuple(s for s, answer in answers.items() if _content(answer) not in heard)
        refused = refuse_before_asking(url, list(answers.values())) is not None
        return join_statements(row, replace(row, site_evidence=new)), refused

    def _ask_image(self, row: Sample) -> Sample:
        """The row with what the headers of its image say now."""
        url = row.image_url or ""
        answers = self.net.api.answers
        if kept := answers.get_fresh(Url(url)):
            headers = kept[0].headers
        else:
            want = Want(
                url, self.source.media_hosts, conditions=conditions_of(row.headers),
                refuses=lambda url: ask_site(self.net, Store(answers.root), url)[1],
            )  # fmt: skip
            got = self.net.media.get(want)
            if isinstance(got, Failure):
                if got.kind is FailureKind.GONE:
                    return _gone(row)
                if got.kind in PASSING:
                    raise _NotNowError(got.detail)
                return row  # refused: nothing is said of its rights
            headers = got.headers
            answers.keep(Url(url), 200, headers, "")
        said = tuple(h for h in headers if h.partition(":")[0].lower() not in NO_RIGHTS)
        return join_statements(row, replace(row, headers=said))


def _gone(row: Sample) -> Sample:
    return join_statements(row, replace(row, gone=utc_now()))


def _content(answer: StoredAnswer) -> tuple[str, int, str]:
    return answer.url, answer.status, answer.body


def _is_recent(time: str | None) -> bool:
    with suppress(TypeError, ValueError):
        age = datetime.fromisoformat(utc_now()) - datetime.fromisoformat(str(time))
        return timedelta(0) <= age < MAX_AGE
    return False


@contextmanager
def _times(dataset: Dataset) -> Iterator[dict[str, str]]:
    """When each image was last asked about, by key; kept also if the block ends early."""
    path, times = dataset.root / TIMES_FILE, {}
    with suppress(OSError, ValueError):  # none, or of no use: all are asked about
        read: Any = json.loads(path.read_bytes())
        times = read if isinstance(read, dict) else {}
    before = dict(times)
    try:
        yield times
    finally:
        if times != before:
            write_json(path, times)
