"""The answer cache, which is the evidence: what a source said, when, and about which request.

An answer is kept as a JSON record named by its SHA-256 and never changed. Beside it,
`latest/` says which record answers a request; for 24 hours the request is not made again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from curate.dataset.folder import Store
from curate.dataset.sample import utc_now
from curate.errors import InputError
from curate.net.redact import Url
from curate.system.files import write_bytes

MAX_AGE = timedelta(hours=24)  # what Pixabay asks for, and fair to the others
# kept with an answer: what bears on rights, and nothing that differs run to run
KEPT_HEADERS = (
    *("Content-Type", "Content-Usage", "ETag", "Last-Modified", "Link"),
    *("TDM-Policy", "TDM-Reservation", "X-Robots-Tag"),
)


@dataclass(frozen=True)
class AnswerCache:
    """A folder of stored answers."""

    root: Path

    def get_fresh(self, url: Url) -> tuple[str, str] | None:
        """The record's SHA-256 and the answer, if one younger than 24 hours is kept and whole."""
        try:
            latest = json.loads(self._latest_path(url).read_bytes())
            record = json.loads(Store(self.root).get(latest["answer"]))
            now, then = map(datetime.fromisoformat, (utc_now(), record["retrieved"]))
            answer = latest["answer"], record["body"]
        except (OSError, ValueError, KeyError, TypeError, InputError):
            return None  # none, or damaged: ask again
        return answer if timedelta(0) <= now - then < MAX_AGE else None

    def keep(self, url: Url, status: int, headers: Mapping[str, str], body: str) -> str:
        """Store an answer, secrets taken out of `headers` and `body`; the record's SHA-256."""
        record = {
            "url": str(url),
            "status": status,
            "headers": {name: headers[name] for name in KEPT_HEADERS if name in headers},
            "retrieved": utc_now(),
            "body": body,
        }
        text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False)
        sha256 = Store(self.root).put(text.encode())
        latest = json.dumps({"url": str(url), "answer": sha256}, indent=1, sort_keys=True)
        write_bytes(self._latest_path(url), latest.encode())
        return sha256

    def _latest_path(self, url: Url) -> Path:
        return self.root / "latest" / f"{hashlib.sha256(str(url).encode()).hexdigest()}.json"
