"""Licence strings and addresses -> SPDX ids or `LicenseRef-…`, and what such an id is.

Nothing is ever upgraded: every word of a text and every part of an address must be understood,
a family without a version stays a family, and of two statements the more restrictive counts.
Ids: https://spdx.org/licenses/; `scancode` names: https://scancode-licensedb.aboutcode.org/.
"""

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from curate.text.word_lists import read_sections

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
LICENCE_LISTS = read_sections("rights/licences.txt")
PERMISSIVE = LICENCE_LISTS["permissive"]
COPYLEFT = LICENCE_LISTS["copyleft"]
KNOWN_TO_HUBS = LICENCE_LISTS["known to model hubs"]
PORTED_CC_LICENCES = LICENCE_LISTS["ported CC licences"]
JURISDICTIONS = LICENCE_LISTS["jurisdictions"].keys()
RIGHTS_STATEMENTS = LICENCE_LISTS["rights statements"]
CC_VERSIONS = dict.fromkeys(("1.0", "2.0", "2.5"), "generic")
CC_VERSIONS |= {"3.0": "unported", "4.0": "international", "2.1": ""}  # 2.1 has ports only
HTML_TAGS = "a|abbr|b|bdi|br|div|em|font|i|li|p|small|span|strong|sup|table|tbody|td|tr|u|ul"
HTML_ATTRIBUTE = r"""\s+[a-z:-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+)"""
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
    ids -= {str(family_of(id)) for id in ids if not is_family(id)}
    ranks = {id: sorted(map(LICENCE_KINDS.index, kinds_of(id)), reverse=True) for id in ids}
    strictest = max(ids, key=lambda id: (ranks[id], id))
    if len(ids) > 1:
        return Licence(strictest, f"{how} disagree; the stricter counts", ("conflict",))
    if is_family(strictest):
        return Licence(strictest, f"{how}, which names no version", ("family",))
    return Licence(strictest, how)


def _quote_short(value: str) -> str:
    short = " ".join(value.split())
    return repr(short if len(short) <= 80 else short[:79] + "…")


def _statements(text: str, url: str) -> Iterator[tuple[str, str | None]]:
    """Each thing that is said, as it stands, and the id it names."""
    words, addresses = _split_addresses(text)
    if words:
        ours = re.fullmatch(r"\s*(LicenseRef-[A-Za-z0-9.-]+)\s*", text, re.IGNORECASE)
        named = _from_license_ref(ours[1]) if ours else _from_words(words)
        yield f"text {_quote_short(text)}", named
    for address in [*addresses, *filter(None, [url.strip()])]:
        yield f"address {_quote_short(address)}", _from_url(address)


def _split_addresses(text: str) -> tuple[str, list[str]]:
    """The plain words of a text, and the addresses in it (as links or spelled out)."""
    if len(text) > MAX_STATEMENT_CHARS:
        return text, []
    text = html.unescape(text)
    addresses = re.findall(r"""<a\b[^>]*?\bhref\s*=\s*["']?([^"'>\s]+)""", text, re.IGNORECASE)
    text = re.sub(rf"</?(?:{HTML_TAGS})(?:{HTML_ATTRIBUTE})*\s*/?>", " ", text, flags=re.IGNORECASE)
    spelled = re.compile(r"(?:https?:)?//\S+|\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}/\S*", re.I)
    addresses += [found.rstrip("),.;") for found in spelled.findall(text)]
    words = unicodedata.normalize("NFKC", spelled.sub(" ", text)).casefold()
    words = re.sub(r"[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]", "-", words)
    words = re.sub(r"[\u200b\u200c\u200d\u2060\ufeff\u00ad]", "", words)
    return words.strip(" \t\r\n()[].,;:-"), addresses


def _from_words(words: str) -> str | None:
    if len(words) > MAX_STATEMENT_CHARS:
        return None
    tokens = re.findall(r"\d+\.\d+(?!\.?\d)|[a-z]+|\d+|[^\s\-_/()\[\],.:;\"'’]", words)
    phrase = " ".join("license" if t in ("licence", "licensed") else t for t in tokens)
    phrase = re.sub(r"^the (?=.)", "", phrase)
    named = _LICENCES.get(phrase) or _LICENCES.get(phrase.removesuffix(" license"))
    return named or _parse_cc0(phrase) or _parse_cc(phrase)


def _from_license_ref(id: str) -> str | None:
    """An id of ours written out; a LicenseRef of the user's own making stays as it is."""
    folded = id.casefold()
    for known in _PHRASES:
        if known.casefold() == folded:
            return known
    if cc := re.fullmatch(r"licenseref-cc-(by[a-z-]*)-(\d\.\d)-([a-z]+)", folded):
        return _cc_id(cc[1].split("-"), cc[2], cc[3])
    return None if folded.startswith("licenseref-cc") else id


# names that stand for one licence, as words in lower case without marks
_PHRASES = {
    "Apache-2.0": ("apache license version 2.0", "apache license 2.0"),
    "BSD-2-Clause": ("bsd 2 clause simplified",),
    "BSD-3-Clause": ("bsd 3 clause new or revised",),
    "OFL-1.1": ("sil open font license 1.1", "sil ofl 1.1"),
    "LAL-1.3": ("free art license 1.3",),
    OWN: ("own", "own work"),
    "CC-PDM-1.0": (
        *("pdm", "pdm 1.0", "cc pdm", "cc pdm 1.0", "public domain mark", "public domain mark 1.0"),
        "creative commons public domain mark 1.0",
    ),
    "CC-PDDC": ("cc pddc", "creative commons public domain dedication and certification"),
    PUBLIC_DOMAIN: ("public domain", "publicdomain", "pd"),
    US_GOVERNMENT: ("united states government work", "us government work"),
    NO_KNOWN_COPYRIGHT: (
        *("no known copyright restrictions", "no known copyright"),
        *("no known restrictions", "no restrictions"),
    ),
    ALL_RIGHTS_RESERVED: ("all rights reserved",),
    "LicenseRef-RightsStatements-InC": ("in copyright",),
    **{id: (source, f"{source} content") for id, source in TERMS.items()},
}
# addresses without scheme, "www." and "/" at the end
_ADDRESSES = {
    PUBLIC_DOMAIN: ("web.resource.org/cc/PublicDomain",),
    "Apache-2.0": ("apache.org/licenses/LICENSE-2.0", "apache.org/licenses/LICENSE-2.0.html"),
    NO_KNOWN_COPYRIGHT: ("flickr.com/commons/usage",),
    US_GOVERNMENT: ("usa.gov/copyright.shtml", "usa.gov/government-works"),
    "LicenseRef-scancode-pixabay-content": (
        *("pixabay.com/service/license", "pixabay.com/service/license-summary"),
        "pixabay.com/service/terms",
    ),
    "LicenseRef-scancode-unsplash": ("unsplash.com/license",),
    "LicenseRef-Pexels": ("pexels.com/license",),
}


def _id_phrase(id: str) -> str:
    return " ".join(re.findall(r"\d+\.\d+|[a-z]+|\d+", id.casefold()))


_LICENCES = {phrase: id for id, phrases in _PHRASES.items() for phrase in phrases} | {
    _id_phrase(id): id for id in (*PERMISSIVE, *COPYLEFT)
}


def _parse_cc0(phrase: str) -> str | None:
    named = r"cc 0|cc zero|creative commons zero|creative commons cc 0"
    around = r"1\.0|universal|public domain dedication|public domain|license|waiver"
    whole = rf"(?:(?:{named}|{around})(?: |$))+"
    found = re.fullmatch(whole, phrase) and re.search(named, phrase)
    return "CC0-1.0" if found else None


def _parse_cc(phrase: str) -> str | None:
    """Read a CC licence with its elements in any order, long or short, said once or twice."""
    for pattern, short in (
        (r"\bcreative commons\b", "cc"),
        (r"\bnon ?commercial\b", "nc"),
        (r"\bno ?deriv(?:s|atives|ative works)\b", "nd"),
        (r"\bshare ?alike\b", "sa"),
    ):
        phrase = re.sub(pattern, short, phrase)
    words = [w for w in phrase.split() if w != "license"]
    if "attribution" in words and "cc" not in words and not CC_VERSIONS.keys() & set(words):
        return None  # "Attribution" alone is a custom licence on Wikimedia Commons
    words = ["by" if w == "attribution" else w for w in words]
    elements = [w for w in words if w in ("by", "nc", "sa", "nd")]
    rest = {w for w in words if w not in (*elements, "cc")}
    versions = rest & CC_VERSIONS.keys()
    rest -= versions
    spheres = rest & {"generic", "unported", "international"}
    ports = (rest - spheres) & JURISDICTIONS
    if rest - spheres - ports or len(versions) > 1 or len(ports) > 1 or len(spheres) > 1:
        return None
    version, port = "".join(versions), "".join(ports)
    if version and spheres and (port or {CC_VERSIONS[version]} != spheres):
        return None
    return _cc_id(elements, version, port)


def _cc_id(elements: list[str], version: str, port: str) -> str | None:
    """The id of a CC licence, or None where there is no such licence."""
    said = set(elements)
    if not said <= {"by", "nc", "sa", "nd"} or "by" not in said or {"sa", "nd"} <= said:
        return None
    name = "-".join(e.upper() for e in ("by", "nc", "sa", "nd") if e in said)
    if not version:
        return None if port else f"LicenseRef-CC-{name}-family"
    possible = {"4.0": {""}, "2.1": {"jp", "es", "ca", "au"}}.get(version, JURISDICTIONS | {""})
    if version not in CC_VERSIONS or port not in possible or (port == "igo" and version != "3.0"):
        return None
    id = f"CC-{name}-{version}" + (f"-{port.upper()}" if port else "")
    return id if not port or id in PORTED_CC_LICENCES else f"LicenseRef-{id}"


def _from_url(url: str) -> str | None:
    """The licence at an address; the host must be the publisher's own."""
    if not url.isascii() or re.search(r"[\s%\\]", url) or len(url) > MAX_STATEMENT_CHARS:
        return None
    try:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="https")
    except ValueError:
        return None
    if parts.scheme not in ("http", "https"):
        return None
    host = parts.netloc.casefold().removeprefix("www.")
    path = [p for p in parts.path.split("/") if p]
    if host == "creativecommons.org":
        return _from_cc_path([p.casefold() for p in path])
    if host == "rightsstatements.org" and len(path) == 3 and path[0] in ("vocab", "page"):
        known = path[1] in RIGHTS_STATEMENTS and path[2] == "1.0"
        return f"LicenseRef-RightsStatements-{path[1]}" if known else None
    if host == "spdx.org" and len(path) == 2 and path[0] == "licenses":
        return _canonical_spdx_id(path[1].removesuffix(".html"))
    if host == "opensource.org" and len(path) == 2 and path[0] in ("licenses", "license"):
        return _canonical_spdx_id(path[1])
    address = "/".join([host, *path])
    return next((id for id, known in _ADDRESSES.items() if address in known), None)


def _canonical_spdx_id(id: str) -> str | None:
    for known in (*PERMISSIVE, *COPYLEFT, "CC0-1.0", "CC-PDM-1.0", "CC-PDDC"):
        if known.casefold() == id.casefold():
            return known
    is_cc = re.fullmatch(r"CC-BY[A-Z0-9.-]*", id, re.IGNORECASE)
    return _parse_cc(_id_phrase(id)) if is_cc else None


def _from_cc_path(path: list[str]) -> str | None:
    if path and re.fullmatch(r"(?:deed|legalcode)(?:[.-][a-z_-]{2,10})?(?:\.txt)?|rdf", path[-1]):
        path = path[:-1]
    fixed = {
        "publicdomain/zero/1.0": "CC0-1.0",
        "publicdomain/mark/1.0": "CC-PDM-1.0",
        "licenses/publicdomain": "CC-PDDC",
    }
    if "/".join(path) in fixed or path[:1] != ["licenses"] or not 2 <= len(path) <= 4:
        return fixed.get("/".join(path))
    elements, version, port = [*path[1:], "", ""][:3]
    if re.fullmatch(r"by(?:-(?:nc|nd|sa))*", elements) is None or (port and not version):
        return None
    return _cc_id(elements.split("-"), version, port)


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
    listed = (("permissive", PERMISSIVE), ("copyleft", COPYLEFT), ("terms", TERMS))
    return (single.get(id) or next((kind for kind, ids in listed if id in ids), "other"),)


def is_family(id: str) -> bool:
    """Whether the id stands for all versions of a licence, none of them named."""
    return id.endswith("-family")


def family_of(id: str) -> str | None:
    """The family that a Creative Commons licence belongs to."""
    parts = _parse_creative_commons(id)
    return parts and f"LicenseRef-CC-{'-'.join(parts[0])}-family"


def licence_url(id: str) -> str | None:
    """The address of a licence's text, where it has one."""
    parts = _parse_creative_commons(id)
    if parts is not None and parts[1] != "family":
        path = "/".join([*parts[1].lower().split("-"), ""])
        return f"https://creativecommons.org/licenses/{'-'.join(parts[0]).lower()}/{path}"
    fixed = {
        "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
        "CC-PDM-1.0": "https://creativecommons.org/publicdomain/mark/1.0/",
        "LicenseRef-scancode-pixabay-content": "https://pixabay.com/service/license-summary/",
        NO_KNOWN_COPYRIGHT: "https://www.flickr.com/commons/usage/",
    }
    if id in fixed or id.startswith("LicenseRef-"):
        return fixed.get(id)
    return f"https://spdx.org/licenses/{id}.html"


def _parse_creative_commons(id: str) -> tuple[list[str], str] | None:
    """The elements of a CC licence and its version with port, or "family"."""
    match = re.fullmatch(
        r"(?:LicenseRef-)?CC-(BY(?:-NC)?(?:-SA|-ND)?)-(family|\d\.\d(?:-[A-Z]+)?)", id
    )
    return (match[1].split("-"), match[2]) if match else None
