"""Stored answers: what a server said, when, and about which request; never changed once written."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from curate.dataset.folder import Store
from curate.errors import InputError


@dataclass(frozen=True)
class StoredAnswer:
    """One answer of a server, secrets taken out."""

    url: str
    status: int
    headers: tuple[str, ...]  # those that are kept, "Name: value", as received
    retrieved: str  # UTC, ISO 8601, seconds
    body: str


def write_answer(store: Store, answer: StoredAnswer) -> str:
    """Keep an answer as JSON; the SHA-256 that names it."""
    text = json.dumps(asdict(answer), indent=1, sort_keys=True, ensure_ascii=False)
    return store.put(text.encode("utf-8", "backslashreplace"))


def read_answer(store: Store, sha256: str) -> StoredAnswer:
    """The answer with this SHA-256, checked against it.

    Raises:
        InputError: it is missing, has changed, or is no answer of ours.
    """
    path = store.path_of(sha256)
    try:
        record: Any = json.loads(store.get(sha256))
        return StoredAnswer(
            url=record["url"],
            status=record["status"],
            headers=_header_lines(record["headers"]),
            retrieved=record["retrieved"],
            body=record["body"],
        )
    except (ValueError, KeyError, TypeError):
        fix = "the row that names it was not fetched by this program"
        raise InputError(path, "not a stored answer", fix=fix) from None


def read_intact(store: Store, names: Iterable[str]) -> dict[str, StoredAnswer]:
    """Those of the answers with these SHA-256 that are there and as they were stored, by SHA-256.

    That others are missing or have changed is for `curate check` to say.
    """
    found = {}
    for sha256 in names:
        with suppress(InputError):
            found[sha256] = read_answer(store, sha256)
    return found


def _header_lines(headers: Any) -> tuple[str, ...]:
    if isinstance(headers, Mapping):  # as they were once written
        return tuple(f"{name}: {value}" for name, value in sorted(headers.items()))
    return tuple(map(str, headers))
