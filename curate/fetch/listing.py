"""The fetch of what lies at a path: everything is there, nothing is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from curate.corpora.notes import ReadNotes
from curate.corpora.records import describe_reason
from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample
from curate.fetch.account import FetchAccount, FetchSummary, make_row
from curate.fetch.download import store_image
from curate.fetch.gone import describe_gone, find_gone
from curate.fetch.plan import Action, plan
from curate.rights import removals
from curate.rights.licences import identify, is_family
from curate.sources.base import Listing
from curate.system.progress import Progress, track

SOURCE_FIELDS = (  # what a listing says of an image; its user corrects it
    "file_name", "page_url", "author", "author_url", "title", "tags", "language", "texts",
    "license_text", "license_url", "license_by", "restrictions",
)  # fmt: skip


def fetch_listing(
    dataset: Dataset, source: str, listing: Listing, settings: Mapping[str, Any], progress: Progress
) -> FetchSummary:
    """Take all that a listing holds into the dataset; known rows say what it now says of them."""
    license = settings.get("license")
    if license and (problem := _problem_with(license)):
        progress.say(f"--license {license}: {problem}; curate check will hold them")
    with dataset.lock():
        account = FetchAccount(dataset, source, settings, progress)
        tombstones = removals.read(dataset.root)
        before = list(account.rows.values())
        rows_met = []
        with account.closing():
            for item in track(listing.found, listing.total, "images", progress):
                row = make_row(source, item)
                if row.dropped is None and (why := removals.find(tombstones, *item.made_of)):
                    row = replace(row, dropped=f"{removals.REMOVED}:{why}")
                row = store_image(row, item.data or b"", dataset, tombstones)
                rows_met.append(row)
                _take(account, row)
        for note in listing.notes.sentences():
            progress.say(note)
        _tell_left_out(rows_met, progress)
        folder = str(settings.get(source))
        for line in describe_gone(
            find_gone(source, folder, before, rows_met), folder, dataset.root
        ):
            progress.say(line)
        return account.write_manifest()


def _problem_with(license: str) -> str | None:
    """Why a licence that a user states decides nothing; None where it is one."""
    id = identify(license, None).id
    if id is None:
        return "names no licence known here"
    return "leaves open which version, such as 4.0" if is_family(id) else None


def _take(account: FetchAccount, row: Sample) -> None:
    known = account.rows.get(row.key)
    planned = plan(known, row, lost=account.is_lost(known), replaces=SOURCE_FIELDS)
    if planned.action is Action.DUE:
        account.add(planned.row)
    elif planned.action is Action.DRIFTED:
        account.update(planned.row, journal=False)
    else:
        account.meet(planned.row)


def _tell_left_out(rows_met: Sequence[Sample], progress: Progress) -> None:
    notes = ReadNotes()
    for row in rows_met:
        if row.dropped:
            notes.leave_out(describe_reason(row.dropped), str(row.file_name))
    for sentence in notes.sentences():
        progress.say(sentence)
