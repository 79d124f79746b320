"""The answer cache, which is the evidence: what a server said, when, and about which request.

An answer is kept as a JSON record named by its SHA-256 and never changed. Beside it,
`latest/` says which record answers a request; for 24 hours the request is not made again.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from curate.dataset.evidence import StoredAnswer, read_answer, write_answer
from curate.dataset.folder import Store
from curate.dataset.sample import utc_now
from curate.errors import InputError
from curate.net.redact import Url
from curate.system.files import write_bytes

MAX_AGE = timedelta(hours=24)  # what Pixabay asks for, and fair to the others
# kept of an answer, in lower case: what bears on rights, and what a later request can refer to
KEPT_HEADERS = frozenset(
    {
        *("x-robots-tag", "tdm-reservation", "tdm-policy", "content-usage", "content-signal"),
        *("link", "etag", "last-modified", "content-type"),
    }
)


@dataclass(frozen=True)
class AnswerCache:
    """A folder of stored answers."""

    root: Path

    def get_fresh(self, url: Url) -> tuple[StoredAnswer, str] | None:
        """The answer and its SHA-256, if one younger than 24 hours is kept and whole."""
        try:
            sha256 = json.loads(self._latest_path(url).read_bytes())["answer"]
            answer = read_answer(Store(self.root), sha256)
            now, then = map(datetime.fromisoformat, (utc_now(), answer.retrieved))
            fresh = timedelta(0) <= now - then < MAX_AGE
        except (OSError, ValueError, KeyError, TypeError, InputError, RecursionError):
            return None  # none, or damaged: ask again
        return (answer, sha256) if fresh else None

    def keep(self, url: Url, status: int, headers: Sequence[str], body: str) -> str:
        """Store an answer, secrets taken out of `headers` and `body`; its SHA-256.

        Args:
            url: what was asked for.
            status: of the answer.
            headers: lines `Name: value`; those of `KEPT_HEADERS` are kept.
            body: as text.
        """
        answer = StoredAnswer(str(url), status, keep_headers(headers), utc_now(), body)
        sha256 = write_answer(Store(self.root), answer)
        latest = json.dumps({"url": str(url), "answer": sha256}, indent=1, sort_keys=True)
        write_bytes(self._latest_path(url), latest.encode())
        return sha256

    def forget(self, sha256: str) -> None:
        """Answer no request with this answer any more; the record of it stays."""
        with suppress(InputError):
            self._latest_path(read_answer(Store(self.root), sha256).url).unlink(missing_ok=True)

    def _latest_path(self, url: Url | str) -> Path:
        return self.root / "latest" / f"{hashlib.sha256(str(url).encode()).hexdigest()}.json"


def keep_headers(lines: Sequence[str]) -> tuple[str, ...]:
    """Those of the lines `Name: value` that are kept, as received and in their order."""
    return tuple(s for s in lines if s.partition(":")[0].strip().lower() in KEPT_HEADERS)
