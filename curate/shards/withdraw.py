"""Shards that say more than their dataset does now, found and taken away."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from curate.dataset.folder import Dataset
from curate.errors import InputError
from curate.formats.shards import list_tars
from curate.formats.verdicts import (
    Standing,
    find_stale,
    find_standings,
    is_indexed,
    verdicts_of,
)
from curate.shards.write import withdraw_shards

MAX_NAMED = 5  # withdrawn images that are named


def find_stale_there(
    folder: Path, standings: Mapping[str, Standing], keys: Sequence[str]
) -> dict[str, str] | None:
    """As `find_stale`; None where the shards there cannot be read, so that nobody can tell."""
    try:
        return find_stale(folder, standings, keys)
    except InputError:
        return None


def withdraw_stale(dataset: Dataset) -> str:
    """Take the shards away if a sample of them is stale, nothing being packed in their place.

    Returns:
        A clause that says what became of them, from its semicolon on; empty where none are there.

    Raises:
        InputError: there is no dataset, or the disk refuses.
        UsageError: another command is at work there.
    """
    with dataset.lock(existing=True):
        standings = find_standings(map(verdicts_of, dataset.read().samples))
        return withdraw_unless_standing(
            dataset.shards, find_stale_there(dataset.shards, standings, ())
        )


def withdraw_unless_standing(folder: Path, stale: Mapping[str, str] | None) -> str:
    """Take shards away for which no others come, unless all they say still holds; tell it."""
    indexed = is_indexed(folder)
    if not indexed and not list_tars(folder):
        return ""
    if indexed and stale is not None and not stale:
        return "; the shards there stay as they are"
    withdraw_shards(folder)
    why = name_some(stale) if stale else "they were incomplete, or not to be read"
    return f"; the shards there were withdrawn ({why})"


def name_some(reasons: Mapping[str, str]) -> str:
    """The first few keys with their reasons, and how many more there are."""
    named = [f"{key} {why}" for key, why in sorted(reasons.items())[:MAX_NAMED]]
    more = len(reasons) - MAX_NAMED
    return ", ".join([*named, f"and {more} more"] if more > 0 else named)
