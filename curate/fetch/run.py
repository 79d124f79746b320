"""The fetch: from a source into the dataset, each image once, each one accounted for.

Stopped at any moment (Ctrl-C, a crash, a full disk), it has lost the image in flight and no other:
finished rows stand in the journal, and the same command goes on from there.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curate.dataset.folder import Dataset, command_line, is_failed_download
from curate.dataset.sample import Sample, make_key, utc_now
from curate.errors import SourceError, UsageError
from curate.fetch.account import FetchAccount, FetchSummary
from curate.images import sniff
from curate.net.answers import AnswerCache
from curate.net.client import Client, EndOfResults, Limits
from curate.net.guard import Endpoint
from curate.net.old_transport import Guard, RateLimiter, Transport, UnavailableError
from curate.net.redact import KEY, Secret
from curate.rights.licences import identify
from curate.sources import find_source, terms
from curate.sources.base import FoundImage, Listing, Source
from curate.system.progress import SILENT, Progress, track

AI_GENERATED = "ai-generated"
SOURCE_FIELDS = (  # what a source says of an image
    "file_name", "page_url", "author", "author_url", "title", "tags", "language", "texts",
    "license_text", "license_url", "license_by",
)  # fmt: skip
MAX_FAILURES = 10  # downloads that may fail in a row before the fetch stops
LEFT_OUT_TEXTS = {  # reason why a file of a folder is not used, in words
    "missing": "named in the metadata, but not there",
    "outside": "named in the metadata, but outside of the folder",
    "empty": "empty files, 0 bytes",
    "not-an-image": "neither JPEG, PNG nor WebP by content",
    "too-large": "too large",
    "unreadable": "cannot be read",
}


@dataclass(frozen=True)
class FetchOptions:
    """How a fetch deals with the user and with the network; nothing here changes its result."""

    ask: terms.AskForBasis | None = None  # asks the user to accept terms; None: nobody is there
    endpoint: Endpoint | None = None  # a server on this machine that is asked instead
    limits: Limits = field(default_factory=Limits)


def fetch_images(
    dataset: Dataset,
    source: Source | str,
    what: str | Path,
    *,
    limit: int | None = None,
    options: Mapping[str, Any] | None = None,
    allow_ai: bool = False,
    fetch_options: FetchOptions = FetchOptions(),
    progress: Progress = SILENT,
) -> FetchSummary:
    """Take what `source` finds for a query, or lists at a path, into the dataset.

    Images that may not be used become rows that say so. Done again, it takes what is new, tries
    failed downloads again and takes over what is said anew: everything of a listing, of a query's
    results what is said against training.

    Args:
        dataset: where to.
        source: whom to ask, or what lies at the path; or its name, as `curate fetch NAME` has it.
        what: a query, or a path.
        limit: the most images of a query that are taken, known ones included, refused ones not;
            None: the source's own.
        options: further arguments of the source's `search` or `listing`.
        allow_ai: take images stated to be AI-made, too; of a query.
        fetch_options: who accepts terms, and how long to wait.
        progress: counts images; told what is left out, of waits and of failures.

    Raises:
        InputError: nothing usable at the path.
        LicenceError: the source's terms are not accepted.
        UsageError: a key is missing, or no source has this name.
        SourceError: the source refused, failed or changed; finished rows are kept.
    """
    source = find_source(source) if isinstance(source, str) else source
    chosen = {name: value for name, value in (options or {}).items() if value is not None}
    if source.listing is not None:
        listing = source.listing(dataset.root, Path(what), **chosen)
        settings = {source.name: Path(what).resolve().name, **chosen}  # where it lies stays here
        return _fetch_listing(dataset, source.name, listing, settings, progress)
    return _fetch_search(
        dataset, source, str(what), limit or source.limit, chosen, allow_ai, fetch_options, progress
    )


def _select_results(
    found: Iterable[FoundImage], limit: int, *, allow_ai: bool
) -> Iterator[FoundImage]:
    """What is found, marked where it may not be used, until `limit` images may be."""
    left = limit
    met: set[str] = set()
    for item in found:
        if item.id in met:
            continue  # results move between pages while we read them
        met.add(item.id)
        if item.opt_outs and not item.dropped:
            item = replace(item, dropped=f"opt-out:{item.opt_outs[0].partition(':')[2]}")
        elif item.ai_generated and not allow_ai and not item.dropped:
            item = replace(item, dropped=AI_GENERATED)
        left -= item.dropped is None
        yield item
        if not left:
            return  # before the next page is asked for


def _make_row(source: str, item: FoundImage) -> Sample:
    names = (*SOURCE_FIELDS, "image_url", "opt_outs", "ai_generated", "dropped")
    said: dict[str, Any] = {name: getattr(item, name) for name in names}
    return Sample(key=make_key(source, item.id), source=source, retrieved=utc_now(), **said)


def _fetch_search(
    dataset: Dataset,
    source: Source,
    query: str,
    limit: int,
    chosen: Mapping[str, Any],
    allow_ai: bool,
    fetch_options: FetchOptions,
    progress: Progress,
) -> FetchSummary:
    assert source.search is not None, "a source has a search or a listing"
    if not query.strip() or len(query) > 100:
        raise UsageError("--query", "needs 1 to 100 characters", fix="--query WORD")
    settings = {"query": query, "limit": limit, "allow_ai": allow_ai, **chosen}
    with dataset.lock():
        basis = terms.require_basis(dataset.root, source, query, fetch_options.ask)
        openverse = command_line(dataset.root, "fetch", "openverse", "--query", query)
        way_out = f"or take open licences: {openverse}"
        key = _read_key(source, way_out)
        account = FetchAccount(dataset, source.name, settings, progress)
        guard = Guard(fetch_options.endpoint)
        with Transport(guard, RateLimiter(progress), key) as transport:
            answers = AnswerCache(dataset.evidence)
            client = Client(source, answers, transport, fetch_options.limits)
            found = _explain_errors(source, client, source.search(client.get_json, query, **chosen))
            selected = _select_results(found, limit, allow_ai=allow_ai)
            tracked = track(selected, limit, "images", progress)
            made = (_make_row(source.name, item) for item in tracked)
            rows = (replace(r, query=query, basis=basis, evidence=client.evidence) for r in made)
            try:
                rows_met = _download_all(account, rows, client, allow_ai=allow_ai)
            except SourceError as error:
                if not source.needs_acceptance:
                    raise
                fix = f"{error.fix}; {way_out}"
                raise SourceError(error.subject, error.problem, fix=fix) from None
        if not rows_met:
            progress.say(f"{source.name}: nothing found for {query!r}")
        return account.write_manifest()


def _fetch_listing(
    dataset: Dataset, source: str, listing: Listing, settings: Mapping[str, Any], progress: Progress
) -> FetchSummary:
    for note in listing.notes:
        progress.say(note)
    license = settings.get("license")
    if license and identify(license, None).id is None:
        unknown = "names no licence known here; curate check will hold them"
        progress.say(f"--license {license}: {unknown}")
    with dataset.lock():
        account = FetchAccount(dataset, source, settings, progress)
        rows = (
            _store_image(_make_row(source, item), item.data or b"", dataset)
            for item in track(listing.found, listing.total, "images", progress)
        )
        rows_met = _download_all(account, rows)
        left_out: dict[str, list[str]] = defaultdict(list)
        for row in rows_met:
            if row.dropped:
                left_out[row.drop_reason].append(str(row.file_name))
        for reason, names in sorted(left_out.items()):
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            what = f"{LEFT_OUT_TEXTS.get(reason, reason)} ({len(names)})"
            progress.say(f"{what}: {', '.join(names[:5])}{more}")
        if without := sum(not row.texts for row in rows_met):
            count = f"{without} of {len(rows_met)} images"
            progress.say(f"{count} have no caption: their names are used")
        return account.write_manifest()


def _download_all(
    account: FetchAccount,
    rows: Iterable[Sample],
    client: Client | None = None,
    *,
    allow_ai: bool = False,
) -> list[Sample]:
    """Take what is due, one after the other, and update what is known; the rows as they came.

    A known row is due again if its image is lost, failed to come, or was refused as AI-made and now
    is not.

    Raises:
        SourceError: too many downloads in a row failed.
    """
    rows_met, in_a_row = [], 0
    for row in rows:
        rows_met.append(row)
        if known := account.rows.get(row.key):
            sha256 = known.sha256
            due = sha256 is not None and not account.dataset.store.path_of(sha256).exists()
            due |= is_failed_download(known) or (known.dropped == AI_GENERATED and allow_ai)
            if not due:
                account.update(known, row, () if client else SOURCE_FIELDS)
                continue
        finished = _download(row, client, account.dataset) if client and not row.dropped else row
        account.add_new(finished)
        in_a_row = in_a_row + 1 if is_failed_download(finished) else 0
        if in_a_row == MAX_FAILURES:
            problem = f"{MAX_FAILURES} downloads in a row failed, the last one: {finished.dropped}"
            fix = "type the same command again later; finished work is kept"
            raise SourceError(account.source, problem, fix=fix)
    return rows_met


def _download(row: Sample, client: Client, dataset: Dataset) -> Sample:
    """The row with its image in the store, or with the reason why there is none."""
    try:
        image = client.get_image(row.image_url or "")
    except UnavailableError as error:
        return replace(row, dropped=str(error), retrieved=utc_now())
    row = replace(row, final_url=image.url, retrieved=utc_now())
    if image.opt_outs:
        found = tuple(dict.fromkeys(row.opt_outs + image.opt_outs))
        return replace(row, opt_outs=found, dropped=f"opt-out:{image.opt_outs[0]}")
    if sniff.sniff_format(image.body[:32]) in ("HTML", "text") or not image.body:
        return replace(row, dropped="download:a text instead of a picture")
    return _store_image(row, image.body, dataset)


def _store_image(row: Sample, data: bytes, dataset: Dataset) -> Sample:
    """The row with its bytes in the store, unless they are no image that we store.

    Not synced here: 7 ms an image, where once before the manifest is written does as well.
    """
    dropped = row.dropped or sniff.refusal_reason(data)
    if dropped:
        return replace(row, dropped=dropped)
    sha256, format = dataset.store.put(data, sync=False), sniff.sniff_format(data[:32])
    return replace(row, sha256=sha256, byte_count=len(data), format=format)


def _explain_errors(
    source: Source, client: Client, found: Iterator[FoundImage]
) -> Iterator[FoundImage]:
    """Turn a missing field of an answer into a sentence, and the end of the pages into the end."""
    try:
        yield from found
    except EndOfResults:
        return
    except KeyError as error:
        problem = f"its answer lacks the field {error} (answer {(client.evidence or '')[:12]})"
        fix = "the source has changed its answers; report it with the file in evidence/"
        raise SourceError(source.name, problem, fix=fix) from None


def _read_key(source: Source, way_out: str) -> Secret | None:
    if source.key_env is None:
        return None
    fix = f"get a key at {source.key_url} and export {source.key_env}=…; {way_out}"
    value = os.environ.get(source.key_env, "").strip()
    if not value:
        raise UsageError(source.key_env, f"is not set; {source.name} needs a key", fix=fix)
    if not KEY.fullmatch(value):
        problem = "does not look like a key (8 to 200 letters, digits, '.', '_' or '-')"
        raise UsageError(source.key_env, problem, fix=fix)
    return Secret(value)
