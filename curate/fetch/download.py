"""One image: may it be asked for, does it come, is it one, may it be kept?"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from curate.dataset.evidence import read_answer, read_intact
from curate.dataset.folder import Dataset, Store
from curate.dataset.sample import Sample, utc_now
from curate.images import sniff
from curate.net.connection import Net
from curate.net.failure import Failure, FailureKind
from curate.net.media import Want
from curate.net.site import DOCUMENTS
from curate.rights import removals
from curate.rights.signals.collect import refuse_before_asking, refuse_before_reading

_TEXTS = ("HTML", "text")  # what a server sends with status 200 to say that there is no image


@dataclass(frozen=True)
class Downloader:
    """Brings images into the store of a dataset, one at a time."""

    dataset: Dataset
    net: Net
    hosts: tuple[str, ...] | None  # they may come from; None: any public one
    tombstones: Sequence[removals.Tombstone] = ()  # of images that must not return

    def download(self, row: Sample) -> Sample:
        """The row with its image in the store, or with the reason why there is none."""
        url, heard = row.image_url or "", dict.fromkeys(row.site_evidence)

        def refuses(url: str) -> Failure | None:
            documents, failure = ask_site(self.net, Store(self.dataset.evidence), url)
            heard.update(dict.fromkeys(documents))
            return failure

        want = Want(url, self.hosts, refuse_before_reading, refuses=refuses)
        got = refuses(url) or self.net.media.get(want)
        row = replace(row, site_evidence=tuple(heard))
        if isinstance(got, Failure):
            return _failed(row, got)
        row = replace(row, final_url=got.url, retrieved=utc_now())
        row = replace(row, headers=got.headers, redirects=got.redirects)
        if not got.body or sniff.sniff_format(got.body[:32]) in _TEXTS:
            return _failed(row, Failure(FailureKind.UNUSABLE, "a text instead of an image"))
        return store_image(row, got.body, self.dataset, self.tombstones)

    def hear(self, found: Sample, known: Sample | None) -> Sample:
        """`found` with what hosts of the known image can say now, and could not when it came."""
        if known is None or known.sha256 is None:
            return found
        urls = [u for u in (known.image_url, *known.redirects, known.final_url) if u]
        hosts = {urlsplit(url).netloc: url for url in urls}
        if len(known.site_evidence) >= len(DOCUMENTS) * len(hosts):
            return found
        evidence = Store(self.dataset.evidence)
        heard = {a.url for a in read_intact(evidence, known.site_evidence).values()}
        said = [s for url in hosts.values() for s in ask_site(self.net, evidence, url)[0]]
        new = tuple(s for s in said if read_answer(evidence, s).url not in heard)
        return replace(found, site_evidence=new)


def ask_site(net: Net, evidence: Store, url: str) -> tuple[tuple[str, ...], Failure | None]:
    """What the host of an image says of all it holds, and why that is not to be asked for.

    Returns:
        SHA-256 of the stored answers, and a failure where they forbid it or cannot be had.
    """
    documents = net.sites.documents(url)
    if isinstance(documents, Failure):
        return (), documents
    refusal = refuse_before_asking(url, [read_answer(evidence, sha) for sha in documents])
    kind, _, detail = (refusal or "").partition(":")
    return documents, Failure(FailureKind(kind), detail) if refusal else None


def store_image(
    row: Sample, data: bytes, dataset: Dataset, tombstones: Iterable[removals.Tombstone]
) -> Sample:
    """The row with its bytes in the store, unless they are no image of ours or were removed.

    Not synced here: 7 ms an image, where once before the manifest is written does as well.
    """
    if dropped := row.dropped or sniff.refusal_reason(data):
        return replace(row, dropped=dropped)
    if reason := removals.find(tombstones, hashlib.sha256(data).hexdigest()):
        return replace(row, dropped=f"{removals.REMOVED}:{reason}")
    sha256, format = dataset.store.put(data, sync=False), sniff.sniff_format(data[:32])
    return replace(row, sha256=sha256, byte_count=len(data), format=format)


def _failed(row: Sample, failure: Failure) -> Sample:
    row = replace(row, headers=failure.headers or row.headers, redirects=failure.redirects)
    return replace(row, dropped=failure.dropped, retrieved=utc_now())
