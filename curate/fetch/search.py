"""A query put to a source: which results are asked for, in which order, and when it is enough."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from curate.dataset.sample import Sample
from curate.errors import SourceError
from curate.fetch.account import FetchAccount, make_row
from curate.fetch.download import Downloader
from curate.fetch.plan import Action, Retry, holds_place, plan
from curate.net.api import Answer, Api, EndOfResults
from curate.net.connection import NetOptions, connect
from curate.net.failure import FINAL, FailureKind, is_passing
from curate.rights import removals
from curate.sources import contact, terms
from curate.sources.base import FoundImage, Source


@dataclass(frozen=True)
class FetchOptions:
    """How a fetch deals with the user and with the network; nothing here changes its result."""

    ask: terms.AskForBasis | None = None  # asks the user to accept terms; None: nobody is there
    net: NetOptions = field(default_factory=NetOptions)


@dataclass
class Search:
    """A query put to a source, and what is done about its results."""

    account: FetchAccount
    source: Source
    query: str
    limit: int
    retry: Retry
    places: int = 0  # of the limit, that are taken
    met: int = 0  # results
    cleaned: Counter[str] = field(default_factory=Counter)  # fields of which a part was left out
    evidence: str | None = None  # SHA-256 of the answer that came last

    def run(self, chosen: Mapping[str, Any], fetch_options: FetchOptions) -> None:
        """Ask the source, and for the images that are due.

        Raises:
            SourceError: the source refused, failed or changed; what came is in the manifest.
        """
        source, dataset, progress = self.source, self.account.dataset, self.account.progress
        given = fetch_options.net.contact or contact.find_contact(dataset.root)
        basis = terms.require_basis(dataset.root, source, self.query, fetch_options.ask, given)
        ways_out = terms.ways_out(dataset.root, source, self.query)
        key = terms.read_key(source, ways_out)
        options = replace(fetch_options.net, contact=given)
        with (
            self.account.closing(),
            connect(source, dataset.evidence, key=key, options=options, progress=progress) as net,
        ):
            downloader = Downloader(dataset, net, source.media_hosts, removals.read(dataset.root))
            found = (
                replace(make_row(source.name, item), query=self.query, basis=basis)
                for item in self._found(net.api, chosen)
            )
            try:
                self._take_all(found, downloader)
            except SourceError as error:
                fixes = [*error.fixes, *ways_out]
                raise SourceError(error.subject, error.problem, fix=fixes) from None

    def _found(self, api: Api, chosen: Mapping[str, Any]) -> Iterator[FoundImage]:
        """The results; a page that cannot be read is a sentence, the end of the pages the end."""
        assert self.source.search is not None, "a source has a search or a listing"

        def get_json(url: str, query: Mapping[str, object]) -> Answer:
            answer = api.get_json(url, query)
            self.evidence = answer.evidence
            return answer

        try:
            for item in self.source.search(get_json, self.query, **chosen):
                self.met += 1
                self.cleaned.update(item.cleaned)
                yield item
        except EndOfResults:
            return
        except KeyError as error:
            api.answers.forget(self.evidence or "")  # else it would stand in the way for a day
            problem = f"its answer lacks the field {error} (answer {(self.evidence or '')[:12]})"
            fix = "the source has changed its answers; report it with the file in evidence/"
            raise SourceError(self.source.name, problem, fix=fix) from None

    def _take_all(self, found: Iterator[Sample], downloader: Downloader) -> None:
        """Take what is found until the limit is reached; last what failed for now before.

        So a host that fails at the same images each time cannot keep others from being tried: those
        that were not asked for, since it had failed too often, come before those that failed.
        """
        progress = self.account.progress
        progress.count("images", 0, self.limit)
        while self.places < self.limit:
            waiting: list[Sample] = []
            problem = None
            try:
                for row in found:
                    if (known := self.account.rows.get(row.key)) and is_passing(known):
                        waiting.append(row)
                        self.places += 1
                    else:
                        self._take(row, downloader)
                    if self.places >= self.limit:
                        break  # before the next page is asked for
            except SourceError as error:
                problem = error  # what waits has its turn all the same
            waiting.sort(key=lambda r: self.account.rows[r.key].drop_reason != FailureKind.BUSY)
            for row in waiting:
                self.places -= 1
                self._take(row, downloader)
            if problem:
                raise problem
            if not waiting:
                break
        progress.count("images", self.places, self.places)

    def _take(self, found: Sample, downloader: Downloader) -> None:
        """Do what is to be done about one result."""
        account = self.account
        known = account.rows.get(found.key)
        found = downloader.hear(found, known)
        planned = plan(known, found, self.retry, lost=account.is_lost(known))
        row = planned.row
        if planned.action is Action.DUE:
            row = row if row.dropped else downloader.download(row)
            account.add(row)
        elif planned.action is Action.DRIFTED:
            account.update(row)
        else:
            account.meet(row)
        self.places += holds_place(account.rows[found.key])
        if self.places < self.limit:
            account.progress.count("images", self.places, self.limit)

    def tell(self) -> None:
        """Say in words what the figures of the summary mean for the next fetch."""
        name, summary, say = self.source.name, self.account.summary, self.account.progress.say
        if not self.met:
            say(f"{name}: nothing found for {self.query!r}")
        if self.cleaned:
            which = ", ".join(f"{what} ({n})" for what, n in sorted(self.cleaned.items()))
            say(f"{name}: left out what is too long or not plain text: {which}")
        if summary.restated:
            say(f"{name}: states another licence than before of {summary.restated}; both are kept")
        if summary.failed:
            busy = summary.failures.get(FailureKind.BUSY, 0)
            alone = f", {busy} of them for their host is left alone for a while" if busy else ""
            again = "the same command tries them again"
            say(f"{name}: {summary.failed} images did not come for now{alone}; {again}")
        gone = Counter(summary.failures) + Counter(summary.left_out)
        if count := sum(gone[reason] for reason in FINAL):
            say(f"{name}: {count} images are not to be had; --retry gone asks for them again")
