"""Keys: taken out of whatever is kept or shown."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode

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
