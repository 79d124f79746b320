"""Licence strings and addresses -> SPDX ids or `LicenseRef-…`, and what such an id is.

Nothing is ever upgraded: every word of a text must be understood, in its place, and every part of
an address; a family without a version stays a family, and of two statements the more restrictive
counts.
Ids: https://spdx.org/licenses/; `scancode` names: https://scancode-licensedb.aboutcode.org/.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from curate.rights.licence_names import (
    LISTS,
    names_in,
    read_address,
    read_license_ref,
    split_words,
)

OWN = "LicenseRef-Own"
PUBLIC_DOMAIN = "LicenseRef-scancode-public-domain"
NO_KNOWN_COPYRIGHT = "LicenseRef-NoKnownCopyright"
US_GOVERNMENT = "LicenseRef-scancode-us-govt-public-domain"
ALL_RIGHTS_RESERVED = "LicenseRef-AllRightsReserved"
# licence id -> the source whose terms it stands for
TERMS = {
    "LicenseRef-scancode-pixabay-content": "pixabay",
    "LicenseRef-scancode-unsplash": "unsplash",
    "LicenseRef-Pexels": "pexels",
}
# What a policy can name, least restrictive first.
LICENCE_KINDS = tuple(
    "own cc0 public-domain-mark permissive attribution share-alike copyleft public-domain "
    "no-known-copyright non-commercial no-derivatives terms reserved other".split()
)
PERMISSIVE = LISTS["permissive"]
COPYLEFT = LISTS["copyleft"]
KNOWN_TO_HUBS = LISTS["known to model hubs"]
HTML_TAGS = "a|abbr|b|bdi|br|div|em|font|i|img|li|p|small|span|strong|sup|table|tbody|td|tr|u|ul"
HTML_ATTRIBUTE = r"""\s+[a-z:-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+)"""
HTML_TAG = re.compile(rf"</?(?:{HTML_TAGS})(?:{HTML_ATTRIBUTE})*\s*/?>", re.IGNORECASE)
LINK = re.compile(r"""<(?:a|img)\b[^>]*?\b(?:href|src)\s*=\s*["']?([^"'>\s]+)""", re.IGNORECASE)
SPELLED_ADDRESS = re.compile(
    r"""<?((?:(?<![\w.-])https?:)?//[^\s<>"]+|"""
    r"""(?<![\w.-])[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}/[^\s<>"]*)>?""",
    re.IGNORECASE,
)
MAX_STATEMENT_CHARS = 1000  # characters of a statement; a longer one is a contract, not a name


@dataclass(frozen=True, slots=True)
class Licence:
    """What was understood of a statement of rights."""

    id: str | None  # SPDX id or LicenseRef-…; None: unknown
    how: str  # how the id was derived, as a sentence part
    problems: tuple[str, ...] = ()  # of "none-stated", "unknown", "family", "conflict"


def identify(text: str | None, url: str | None) -> Licence:
    """The licence that a text and an address state together.

    A statement that is not understood completely makes the whole unknown. Two understood ones
    that disagree give the more restrictive id and the problem "conflict".
    """
    stated = list(_statements(text or "", url or ""))
    if not stated:
        return Licence(None, "nothing is stated", ("none-stated",))
    how = " and ".join(said for said, _ in stated)
    if unread := " and ".join(said for said, id in stated if id is None):
        return Licence(None, f"{unread} names no licence known here", ("unknown",))
    ids = {id for _, id in stated if id is not None}
    ids -= {family for id in ids for family in _families_of(id)}
    ranks = {id: sorted(map(LICENCE_KINDS.index, kinds_of(id)), reverse=True) for id in ids}
    strictest = max(ids, key=lambda id: (ranks[id], id))
    if len(ids) > 1:
        return Licence(strictest, f"{how} disagree; the stricter counts", ("conflict",))
    if is_family(strictest):
        return Licence(strictest, f"{how}, which leaves open which version", ("family",))
    return Licence(strictest, how)


def identify_flickr(number: str) -> Licence:
    """The licence that one of the numbers of Flickr's interface stands for, 0 to 16."""
    ids = dict(entry.split(" ") for entry in LISTS["Flickr's numbers"])
    how = f"Flickr's number {_quote_short(number)}"
    if id := ids.get(number.strip()):
        return Licence(id, how)
    return Licence(None, f"{how} names no licence known here", ("unknown",))


def _quote_short(value: str) -> str:
    short = " ".join(value.split())
    return repr(short if len(short) <= 80 else short[:79] + "…")


def _statements(text: str, url: str) -> Iterator[tuple[str, str | None]]:
    """Each thing that is said, as it stands, and the id it names."""
    words, addresses = _split_addresses(text)
    if words is None or (named := _named_by(text, words)) is None:
        yield f"text {_quote_short(text)}", None
    elif named or (words and not addresses and not url.strip()):
        yield f"text {_quote_short(text)}", named or None
    for address in [*addresses, *filter(None, [url.strip()])]:
        yield f"address {_quote_short(address)}", read_address(address)


def _named_by(text: str, words: list[str]) -> str | None:
    """The one licence that a text names; None if it names none, "" if it only leads up to one."""
    if ours := re.fullmatch(r"\s*(LicenseRef-[A-Z0-9.-]+)\s*", text, re.IGNORECASE | re.ASCII):
        return read_license_ref(ours[1])
    ids = names_in(words)
    if ids is None:
        return None
    ids -= {family for id in ids for family in _families_of(id)}
    return "".join(ids) if len(ids) < 2 else None


def _split_addresses(text: str) -> tuple[list[str] | None, list[str]]:
    """The words of a text, None where it is too long; the addresses in it, of links and badges."""
    if len(text) > MAX_STATEMENT_CHARS:
        return None, []
    text = html.unescape(text)
    addresses = LINK.findall(text)
    text = HTML_TAG.sub(_words_of_tag, text)
    addresses += [found.rstrip("),.;]'") for found in SPELLED_ADDRESS.findall(text)]
    return split_words(SPELLED_ADDRESS.sub(" ", text)), addresses


def _words_of_tag(tag: re.Match[str]) -> str:
    """What a tag says to people."""
    said = re.findall(r"""\s(?:alt|title)\s*=\s*(?:"([^"]*)"|'([^']*)')""", tag[0], re.IGNORECASE)
    return " ".join(["", *("".join(pair) for pair in said), ""])


def kinds_of(id: str) -> tuple[str, ...]:
    """What sort of licence an id is, as a policy names it; each kind must be allowed."""
    parts = _parse_creative_commons(id)
    if parts is not None:
        elements = parts[0]
        names = {"ND": "no-derivatives", "NC": "non-commercial", "SA": "share-alike"}
        return tuple(names[e] for e in names if e in elements) or ("attribution",)
    single = {
        "CC0-1.0": "cc0",
        "CC-PDM-1.0": "public-domain-mark",
        "CC-PDDC": "public-domain",
        PUBLIC_DOMAIN: "public-domain",
        US_GOVERNMENT: "public-domain",
        NO_KNOWN_COPYRIGHT: "no-known-copyright",
        OWN: "own",
        ALL_RIGHTS_RESERVED: "reserved",
        "LicenseRef-RightsStatements-InC": "reserved",
    }
    for kind, ids in (("permissive", PERMISSIVE), ("copyleft", COPYLEFT), ("terms", TERMS)):
        if id in ids or (is_family(id) and any(id in _families_of(one) for one in ids)):
            return (kind,)
    return (single.get(id, "other"),)


def is_family(id: str) -> bool:
    """Whether the id stands for all versions of a licence, none of them named."""
    return id.endswith("-family")


def family_of(id: str) -> str | None:
    """The family that a Creative Commons licence belongs to."""
    parts = _parse_creative_commons(id)
    return parts and f"LicenseRef-CC-{'-'.join(parts[0])}-family"


def _families_of(id: str) -> set[str]:
    """All families that a licence, or a smaller family, belongs to."""
    if _parse_creative_commons(id) is not None:
        return {str(family_of(id))} - {id}
    parts = id.removeprefix("LicenseRef-").removesuffix("-family").split("-")
    return {f"LicenseRef-{'-'.join(parts[:n])}-family" for n in range(1, len(parts))}


def licence_url(id: str) -> str | None:
    """The address of a licence's text, where it has one."""
    parts = _parse_creative_commons(id)
    if parts is not None and parts[1] != "family":
        path = "/".join([*parts[1].lower().split("-"), ""])
        return f"https://creativecommons.org/licenses/{'-'.join(parts[0]).lower()}/{path}"
    if id not in (PUBLIC_DOMAIN, US_GOVERNMENT, ALL_RIGHTS_RESERVED) and not is_family(id):
        for entry in LISTS["addresses"]:
            if entry.startswith(f"{id} "):
                return f"https://{entry.removeprefix(f'{id} ')}"
    return None if id.startswith("LicenseRef-") else f"https://spdx.org/licenses/{id}.html"


def _parse_creative_commons(id: str) -> tuple[list[str], str] | None:
    """The elements of a CC licence and its version with port, or "family"."""
    match = re.fullmatch(
        r"(?:LicenseRef-)?CC-(BY(?:-NC)?(?:-SA|-ND)?)-(family|\d\.\d(?:-[A-Z]+)?)", id
    )
    return (match[1].split("-"), match[2]) if match else None
