"""What licence statements name, one by one, without any dataset."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from curate.errors import UsageError
from curate.rights.licences import OWN, Licence, identify, identify_flickr, is_family

EXAMPLE = 'curate license "CC BY-SA 4.0"'
FAMILY = "family:"  # stands before a licence whose version is left open


@dataclass(frozen=True)
class Reading:
    """What was understood of one statement."""

    license: str | None  # an id, or `family:CC-BY`; None: unknown
    how: str
    text: str  # as given
    url: str | None

    @property
    def is_known(self) -> bool:
        """Whether one licence is named: a family is none, as `curate check` holds it."""
        return self.license is not None and not self.license.startswith(FAMILY)


def read_statements(texts: Sequence[str], *, url: str | None, flickr: bool) -> list[Reading]:
    """What each statement names.

    "Own work" is unknown: whose, only the owner of a dataset can say. So are statements that
    contradict each other.

    Args:
        texts: statements of rights as somebody wrote them; an address is one too.
        url: an address stated beside the text, of which there is then one, or none.
        flickr: numbers are those of Flickr's interface.

    Raises:
        UsageError: an address, and several texts.
    """
    if url is not None and len(texts) > 1:
        problem = f"stands beside one text, and there are {len(texts)}"
        raise UsageError("--url", problem, fix=f"{EXAMPLE} --url ADDRESS")
    read = [(text, _identify(text, url, flickr)) for text in texts or ([] if url is None else [""])]
    return [Reading(_shown_id(licence), _shown_how(licence), text, url) for text, licence in read]


def read_stdin() -> list[str]:
    """The lines of standard input; bytes that are no UTF-8 become escapes.

    Raises:
        UsageError: a person sits there.
    """
    if sys.stdin.isatty():
        raise UsageError("curate license", "no text is given", fix=EXAMPLE)
    text = sys.stdin.buffer.read().decode("utf-8-sig", "backslashreplace")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n") if text]


def _identify(text: str, url: str | None, flickr: bool) -> Licence:
    if flickr and not url and text.strip().isascii() and text.strip().isdigit():
        return identify_flickr(text)
    return identify(text, url)


def _shown_id(licence: Licence) -> str | None:
    if licence.id is None or licence.id == OWN or "conflict" in licence.problems:
        return None
    if is_family(licence.id):
        return FAMILY + licence.id.removeprefix("LicenseRef-").removesuffix("-family")
    return licence.id


def _shown_how(licence: Licence) -> str:
    if licence.id == OWN:
        return f"{licence.how} says whose it is, and nothing of what others may do"
    return licence.how.removesuffix("; the stricter counts")
