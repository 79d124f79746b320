"""From a source into the dataset: each picture fetched once, each one accounted for."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curate.dataset.folder import Dataset, command, failed
from curate.dataset.sample import Sample, make_key, utc_now
from curate.errors import SourceError, UsageError
from curate.fetch.account import STATED, Collection, Summary
from curate.images import sniff
from curate.net.answers import Answers
from curate.net.client import Client, EndOfResults, Limits
from curate.net.guard import Endpoint
from curate.net.redact import Secret
from curate.net.transport import Failed
from curate.rights.names import identify
from curate.rights.signals import robots_tag
from curate.sources import folder, terms
from curate.sources.base import Found, Source
from curate.system.progress import SILENT, Progress, track

FAILURES = 10  # downloads that may fail in a row before the fetch stops
AI = "ai-generated"
LEFT_OUT = {  # reason why a file of a folder is not used, in words
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

    ask: terms.Ask | None = None  # asks the user to accept terms; None: nobody is there
    endpoint: Endpoint | None = None  # a server on this machine that is asked instead
    limits: Limits = field(default_factory=Limits)


def fetch_folder(
    dataset: Dataset,
    path: Path,
    *,
    license: str | None = None,
    author: str | None = None,
    progress: Progress = SILENT,
) -> Summary:
    """Take the pictures of a folder, and what is said of them, into the dataset.

    Done again, it takes what is new and what is said anew; `license` and `author` fill only
    rows that state none.

    Raises:
        InputError: no folder, no picture in it, or a broken metadata file.
    """
    listing = folder.listed(path, without=dataset.root)
    for note in listing.notes:
        progress.say(note)
    settings = {"folder": path.resolve().name, "license": license, "author": author}
    stated = {name: value for name, value in settings.items() if value is not None}
    if license and identify(license, None).id is None:
        progress.say(
            f"--license {license}: names no licence known here; curate check will hold them"
        )
    left_out: dict[str, list[str]] = {}
    bare = 0
    with dataset.lock():
        work = Collection(dataset, "folder", "fetch folder", stated, progress)
        found = folder.read(listing, license=license, author=author)
        for item in track(found, len(listing.entries), "images", progress):
            fresh = _received(_row("folder", item), item.data or b"", dataset)
            if fresh.dropped:
                reason = fresh.dropped.partition(":")[0]
                left_out.setdefault(reason, []).append(str(item.file_name))
            bare += not item.texts
            known = work.old(fresh.key)
            if known:
                work.restate(known, fresh)
            else:
                work.add(fresh)
        for reason, names in sorted(left_out.items()):
            progress.say(f"{LEFT_OUT.get(reason, reason)} ({len(names)}): {_few(names)}")
        if bare:
            progress.say(
                f"{bare} of {len(listing.entries)} pictures have no caption: their names are used"
            )
        return work.finish()


def fetch(
    dataset: Dataset,
    source: Source,
    query: str,
    *,
    limit: int = 200,
    options: Mapping[str, Any] | None = None,
    allow_ai: bool = False,
    fetch_options: FetchOptions = FetchOptions(),
    progress: Progress = SILENT,
) -> Summary:
    """Take the first `limit` pictures that `source` finds for `query` into the dataset.

    Pictures that may not be used become rows that say so, and do not count towards the limit;
    known ones do, so that the same fetch again takes nothing further. Failed downloads are tried
    again.

    Args:
        dataset: where to.
        source: whom to ask.
        query: what for.
        limit: pictures to take, and the most that are downloaded.
        options: further arguments of the source's `search`.
        allow_ai: take pictures stated to be AI-made, too.
        fetch_options: who accepts terms, and how long to wait.
        progress: counts images; told what is left out, of waits and of failures.

    Raises:
        LicenceError: the source's terms are not accepted.
        UsageError: a key is missing.
        SourceError: the source refused, failed or changed; finished rows are kept.
    """
    if source.search is None:
        raise UsageError(
            source.name, "is not asked by words", fix=f"curate fetch {source.name} --help"
        )
    if not query.strip() or len(query) > 100:
        raise UsageError("--query", "needs 1 to 100 characters", fix="--query WORD")
    chosen = {name: value for name, value in (options or {}).items() if value is not None}
    settings = {"query": query, "limit": limit, "allow_ai": allow_ai, **chosen}
    with dataset.lock():
        basis = terms.basis_for(dataset.root, source, query, fetch_options.ask)
        way_out = _way_out(dataset, query)
        key = _key(source, way_out)
        answers = Answers(dataset.evidence)
        work = Collection(dataset, source.name, f"fetch {source.name}", settings, progress)
        limits, endpoint = fetch_options.limits, fetch_options.endpoint
        with Client(source, answers, key, endpoint, progress, limits) as client:
            found = _explained(source, client, source.search(client.get_json, query, **chosen))
            wanted = _wanted(found, limit, allow_ai=allow_ai)
            rows = (
                replace(_row(source.name, item), query=query, basis=basis, evidence=client.evidence)
                for item in track(wanted, limit, "images", progress)
            )
            try:
                met = _collect(work, rows, client, allow_ai=allow_ai)
            except SourceError as error:
                raise _with_way_out(error, source, way_out) from None
        if not met:
            progress.say(f"{source.name}: nothing found for {query!r}")
        return work.finish()


def _collect(work: Collection, rows: Iterable[Sample], client: Client, *, allow_ai: bool) -> int:
    """Download what is due, one after the other; how many rows there were.

    Raises:
        SourceError: too many downloads in a row failed.
    """
    met = in_a_row = 0
    for row in rows:
        met += 1
        if not _is_due(work, row, allow_ai=allow_ai):
            work.met_again(row)
            continue
        finished = row if row.dropped else _downloaded(row, client, work.dataset)
        work.add(finished)
        in_a_row = in_a_row + 1 if failed(finished) else 0
        if in_a_row == FAILURES:
            raise SourceError(
                work.source,
                f"{FAILURES} downloads in a row failed, the last one: {finished.dropped}",
                fix="type the same command again later; finished work is kept",
            )
    return met


def _wanted(found: Iterable[Found], limit: int, *, allow_ai: bool) -> Iterator[Found]:
    """What is found, marked where it may not be used, until `limit` pictures may be."""
    left = limit
    met: set[str] = set()
    for item in found:
        if item.id in met:
            continue  # results move between pages while we read them
        met.add(item.id)
        if item.opt_outs and not item.dropped:
            item = replace(item, dropped=f"opt-out:{item.opt_outs[0].partition(':')[2]}")
        elif item.ai_generated and not allow_ai and not item.dropped:
            item = replace(item, dropped=AI)
        left -= item.dropped is None
        yield item
        if not left:
            return  # before the next page is asked for


def _is_due(work: Collection, row: Sample, *, allow_ai: bool) -> bool:
    """Whether this row is new, has failed before, or was refused as AI-made and now is not."""
    known = work.old(row.key)
    return known is None or (known.dropped == AI and allow_ai)


def _row(source: str, item: Found) -> Sample:
    """The row of an image before its bytes are known."""
    said: dict[str, Any] = {name: getattr(item, name) for name in STATED}
    return Sample(
        key=make_key(source, item.id),
        source=source,
        image_url=item.image_url,
        retrieved=utc_now(),
        opt_outs=item.opt_outs,
        ai_generated=item.ai_generated,
        dropped=item.dropped,
        **said,
    )


def _downloaded(row: Sample, client: Client, dataset: Dataset) -> Sample:
    """The row with its picture in the store, or with the reason why there is none."""
    try:
        picture = client.get_picture(row.image_url or "", robots_tag)
    except Failed as error:
        return replace(row, dropped=str(error), retrieved=utc_now())
    row = replace(row, final_url=picture.final_url, retrieved=utc_now())
    if picture.opt_outs:
        found = tuple(dict.fromkeys(row.opt_outs + picture.opt_outs))
        return replace(row, opt_outs=found, dropped=f"opt-out:{picture.opt_outs[0]}")
    if sniff.kind(picture.data[:32]) in ("HTML", "text") or not picture.data:
        return replace(row, dropped="download:a text instead of a picture")
    return _received(row, picture.data, dataset)


def _received(row: Sample, data: bytes, dataset: Dataset) -> Sample:
    """The row with its bytes in the store, unless they are no picture that we store.

    Not synced here: 7 ms a picture, where once before the manifest is written does as well.
    """
    dropped = row.dropped or sniff.refusal(data)
    if dropped:
        return replace(row, dropped=dropped)
    return replace(
        row,
        sha256=dataset.store.put(data, sync=False),
        byte_count=len(data),
        format=sniff.kind(data[:32]),
    )


def _explained(source: Source, client: Client, found: Iterator[Found]) -> Iterator[Found]:
    """Turn a missing field of an answer into a sentence, and the end of the pages into the end."""
    try:
        yield from found
    except EndOfResults:
        return
    except KeyError as error:
        raise SourceError(
            source.name,
            f"its answer lacks the field {error} (answer {(client.evidence or '')[:12]})",
            fix="the source has changed its answers; report it with the file in evidence/",
        ) from None


def _key(source: Source, way_out: str) -> Secret | None:
    if source.key_env is None:
        return None
    fix = f"get a key at {source.key_url} and export {source.key_env}=…; {way_out}"
    value = os.environ.get(source.key_env, "").strip()
    if not value:
        raise UsageError(source.key_env, f"is not set; {source.name} needs a key", fix=fix)
    return Secret.read(source.key_env, value, fix=fix)


def _with_way_out(error: SourceError, source: Source, way_out: str) -> SourceError:
    """The error; where the source's terms bind, with the open way to the same pictures."""
    if not source.needs_acceptance:
        return error
    return SourceError(error.subject, error.problem, fix=f"{error.fix}; {way_out}")


def _way_out(dataset: Dataset, query: str) -> str:
    openverse = command(dataset.root, "fetch", "openverse", "--query", query)
    return f"or take open licences: {openverse}"


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
