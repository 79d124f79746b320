"""Keys: taken out of whatever is kept or shown."""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import quote_plus, urlencode

REDACTED = "REDACTED"
KEY = re.compile(r"[A-Za-z0-9._-]{8,200}")


@dataclass(frozen=True)
class Secret:
    """A key: shown as REDACTED wherever it is printed, revealed only to the connection.

    A key is a `KEY`: it holds only characters that no URL and no JSON encoder changes of its own
    accord; a server that means to can still write them in other ways, and `scrub` finds those.
    """

    value: str = field(repr=False)

    def __str__(self) -> str:
        """The word that stands for the key."""
        return REDACTED

    def scrub(self, text: str) -> str:
        """`text` without the key, in whatever case and encoding it is echoed.

        Found letter by letter as itself, percent-encoded, as a JSON, JavaScript, Python or CSS
        escape, as an HTML character reference, each once or several times over and in any mixture;
        and as a whole in hexadecimal digits and in base64, at any offset.
        """
        return _spellings(self.value).sub(REDACTED, text)


@cache
def _spellings(key: str) -> re.Pattern[str]:
    whole = "|".join(_encoded(key.encode()))
    return re.compile("".join(map(_letter, key)) + f"|(?-i:{whole})|{key.encode().hex()}", re.I)


def _letter(letter: str) -> str:
    """A pattern for every spelling of one letter; a run of backslashes is tried once."""
    cases = {ord(letter.lower()), ord(letter.upper())}
    code, number = ("|".join(form.format(c) for c in cases) for form in ("{:02x}", "{}"))
    return (
        rf"(?:{re.escape(letter)}"
        rf"|%(?:25)*(?:u00)?(?:{code})"  # %41, %2541, %u0041
        rf"|(?<!\\)\\++(?:u\{{?0*|x|0*)(?:{code})\}}?"  # \u0041, \\u0041, \u{{41}}, \41
        rf"|&(?:amp;)*\#(?:0*(?:{number})|x0*(?:{code}));?)"  # &#65;, &#x41;, &amp;#65;
    )


def _encoded(key: bytes) -> Iterator[str]:
    """What of the key's base64 does not depend on what stands around it, at each offset."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + key).decode()
        after = (before + len(key)) % 3
        kept = text[(0, 2, 3)[before] : len(text) - (0, 3, 2)[after]]
        yield re.escape(kept)
        yield re.escape(kept.replace("+", "-").replace("/", "_"))


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
