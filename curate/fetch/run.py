"""The fetch: from a source into the dataset, each image once, each one accounted for.

Stopped at any moment (Ctrl-C, a crash, a full disk), it has lost the image in flight and no other:
finished rows stand in the journal, and the same command goes on from there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.dataset.folder import Dataset
from curate.errors import UsageError
from curate.fetch.account import FetchAccount, FetchSummary
from curate.fetch.listing import fetch_listing
from curate.fetch.plan import Retry
from curate.fetch.search import FetchOptions, Search
from curate.sources import find_source
from curate.sources.base import Source
from curate.system.progress import SILENT, Progress

__all__ = ["FetchOptions", "FetchSummary", "Retry", "fetch_images"]


def fetch_images(
    dataset: Dataset,
    source: Source | str,
    what: str | Path,
    *,
    limit: int | None = None,
    options: Mapping[str, Any] | None = None,
    retry: Retry = Retry(),
    fetch_options: FetchOptions = FetchOptions(),
    progress: Progress = SILENT,
) -> FetchSummary:
    """Take what `source` finds for a query, or lists at a path, into the dataset.

    Images that may not be used or did not come become rows that say so. Done again, it takes what
    is new, tries again what failed for now, and takes over what is said anew: everything of a
    listing, of a query's results what bears on rights.

    Args:
        dataset: where to.
        source: whom to ask, or what lies at the path; or its name, as `curate fetch NAME` has it.
        what: a query, or a path.
        limit: the most images of a query, from the top of its results: those that are there and
            those that failed for now count, known ones included; those that are gone, forbidden
            or no images do not. None: the source's own.
        options: further arguments of the source's `search` or `listing`.
        retry: what else of a query is asked for again.
        fetch_options: who accepts terms, and how servers are asked.
        progress: counts images; told what is left out, of waits and of failures.

    Raises:
        InputError: nothing usable at the path.
        LicenceError: the source's terms are not accepted.
        UsageError: a key or a contact is missing, or no source has this name.
        SourceError: the source refused, failed or changed; finished rows are in the manifest.
    """
    source = find_source(source) if isinstance(source, str) else source
    chosen = {name: value for name, value in (options or {}).items() if value is not None}
    if source.listing is not None:
        listing = source.listing(dataset.root, Path(what), **chosen)
        settings = {source.name: Path(what).resolve().name, **chosen}  # where it lies stays here
        return fetch_listing(dataset, source.name, listing, settings, progress)
    query = str(what)
    if not query.strip() or len(query) > 100 or query != query.encode(errors="ignore").decode():
        raise UsageError("--query", "needs 1 to 100 characters of UTF-8", fix="--query WORD")
    with dataset.lock():
        settings = {"query": query, "limit": limit or source.limit, "allow_ai": retry.ai_generated}
        account = FetchAccount(dataset, source.name, {**settings, **chosen}, progress)
        search = Search(account, source, query, limit or source.limit, retry)
        search.run(chosen, fetch_options)
        search.tell()
        return account.write_manifest()
