"""The answer cache, which is the evidence: what a source said, when, and about which request.

An answer is kept as a JSON record named by its SHA-256 and never changed. Beside it,
`latest/` says which record answers a request; for 24 hours the request is not made again. Keys are
taken out of whatever is kept or shown.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote_plus, urlencode

from curate.dataset.folder import Store
from curate.dataset.sample import utc_now
from curate.errors import InputError
from curate.system.files import write_bytes

MAX_AGE = timedelta(hours=24)  # what Pixabay asks for, and fair to the others
# kept with an answer: what bears on rights, and nothing that differs run to run
KEPT_HEADERS = (
    *("Content-Type", "Content-Usage", "ETag", "Last-Modified", "Link"),
    *("TDM-Policy", "TDM-Reservation", "X-Robots-Tag"),
)
REDACTED = "REDACTED"
KEY = re.compile(r"[A-Za-z0-9._-]{8,200}")


@dataclass(frozen=True)
class Secret:
    """A key: shown as REDACTED wherever it is printed, revealed only to the connection.

    A key is a `KEY`: it holds only characters that no URL and no JSON encoder changes, so that
    taking its letters out of a text takes out every spelling of it.
    """

    value: str = field(repr=False)

    def __str__(self) -> str:
        """The word that stands for the key."""
        return REDACTED

    def scrub(self, text: str) -> str:
        """`text` without the key, in whatever case it is echoed."""
        return re.sub(re.escape(self.value), REDACTED, text, flags=re.IGNORECASE)


@dataclass(frozen=True)
class Url:
    """An address with its query; `str` and `repr` never show the secret."""

    base: str
    query: Mapping[str, str] = field(default_factory=dict)
    secret_name: str | None = None  # query parameter that carries the secret
    secret: Secret | None = None

    def __str__(self) -> str:
        """The address as it may be shown and stored."""
        return self._with(REDACTED)

    def reveal(self) -> str:
        """The address as it is asked for. Only the connection may call this."""
        return self._with(self.secret.value if self.secret else "")

    def _with(self, secret: str) -> str:
        query = urlencode(sorted(self.query.items()))
        if self.secret and self.secret_name:
            query += ("&" if query else "") + f"{self.secret_name}={quote_plus(secret)}"
        return f"{self.base}?{query}" if query else self.base


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
