"""What the words and the addresses of statements of rights name: ids of licences, one by one.

Every word must be understood, in its place: words that lead up to a name, a name, its version and
its port, words that close it, and so on. What is known stands in `licences.txt`.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from urllib.parse import urlsplit

from curate.text.word_lists import read_sections

LISTS = read_sections("rights/licences.txt")
JURISDICTIONS = LISTS["jurisdictions"].keys()
# A whole number names the one version that begins with it; 2 could be 2.0, 2.1 or 2.5.
CC_VERSIONS = {v: v for v in ("1.0", "2.0", "2.1", "2.5", "3.0", "4.0")}
CC_VERSIONS |= {"1": "1.0", "3": "3.0", "4": "4.0"}
CC_PAGE = r"(?:deed|legalcode)(?:[.-][a-z_-]{2,10})?(?:\.txt)?|rdf"
CC_BADGE_HOSTS, CC_BADGES = (
    ("i.creativecommons.org", "licensebuttons.net"),
    ("88x31.png", "80x15.png"),
)
MAX_ADDRESS_CHARS = 1000
Table = dict[tuple[str, ...], str]  # words -> what they mean


def split_words(text: str) -> list[str]:
    """Words and numbers in lower case; every mark that could mean something is a word as well."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]", "-", text)
    text = re.sub(r"[\u200b\u200c\u200d\u2060\ufeff\u00ad]", "", text)
    text = re.sub(r"(?<=\d)_(?=\d)", ".", text)  # GBIF's CC_BY_4_0
    text = re.sub(r"(?<=[^\W\d_])v(?=\d)", " v", text)  # GPLv3
    # "3.0 no" and "3.0-no" name Norway, where nothing follows; "3.0: no" and "3.0, no" deny.
    text = re.sub(r"(?<=\d)(?![-_]?no\b|\s+no\b)[\W_]{1,6}(?=no\b)", " ? ", text)
    pattern = r"\d+\.\d+(?!\.?\d)|[^\W\d_]+|\d+|[^\s\-_/()\[\]{}|,.:;\"'“”‘’]"
    return ["license" if word == "licence" else word for word in re.findall(pattern, text)]


def names_in(words: Sequence[str]) -> set[str] | None:
    """The ids that words name, one after the other; None if a word is not understood.

    Empty if they only lead up to a name ("licensed under").
    """
    named: set[str] = set()
    firm = False
    at = 0
    while at < len(words):
        if found := max(_names_at(words, at), key=lambda name: name[1], default=None):
            # "Attribution" alone is a custom licence on Wikimedia Commons.
            said = words[at] in ("cc", "creative") or list(words) == ["by"]
            firm |= said or found[0] != "LicenseRef-CC-BY-family"
            named.add(found[0])
            at = _skip(words, found[1], "closings of CC0" if found[0] == "CC0-1.0" else "closings")
        elif not named and (opening := _read(words, at, "openings")):
            at = opening[1]
        else:
            return None
    return named if firm or not named else None


@cache
def _table(section: str) -> Table:
    """The entries of a list, which are words, or what words mean and then the words."""
    if section in ("openings", "closings", "or later"):
        return {tuple(split_words(entry)): entry for entry in LISTS[section]}
    if section == "closings of CC0":
        return _table("closings") | {tuple(split_words(e)): e for e in LISTS[section]}
    pairs = [entry.split(" ", 1) for entry in LISTS[section]]
    table = {tuple(split_words(words)): meaning for meaning, words in pairs}
    if section == "names":
        table |= {tuple(split_words(id)): id for id in _listed_ids()}
    return table


def _listed_ids() -> tuple[str, ...]:
    return (*LISTS["permissive"], *LISTS["copyleft"], *LISTS["of databases alone"])


@cache
def _addresses() -> dict[str, str]:
    """Addresses without scheme and "www." -> ids."""
    pairs = [entry.split(" ", 1) for entry in LISTS["addresses"]]
    return {address.removeprefix("www.").rstrip("/"): id for id, address in pairs}


@cache
def _longest(section: str) -> int:
    return max(map(len, _table(section)), default=0)


def _read(words: Sequence[str], at: int, section: str) -> tuple[str, int] | None:
    """What the longest entry of a list that stands at a place means, and the place behind it."""
    table = _table(section)
    for end in range(min(len(words), at + _longest(section)), at, -1):
        if (meaning := table.get(tuple(words[at:end]))) is not None:
            return meaning, end
    return None


def _skip(words: Sequence[str], at: int, section: str) -> int:
    while found := _read(words, at, section):
        at = found[1]
    return at


def _after(words: Sequence[str], at: int, *said: str) -> int:
    """The place behind some words, if they stand there."""
    return at + len(said) if tuple(words[at : at + len(said)]) == said else at


def _names_at(words: Sequence[str], at: int) -> Iterator[tuple[str, int]]:
    """The licences whose names begin at a place, each with the place behind its name."""
    if found := _read(words, at, "names"):
        yield found
    if found := _read(words, at, "names before a version"):
        yield from _read_versioned(words, found[1], found[0])
    yield from _read_cc(words, at)


def _read_versioned(words: Sequence[str], at: int, base: str) -> Iterator[tuple[str, int]]:
    """A licence that says its version behind its name; without "only" or "or later", a family."""
    at = _after(words, at, "license")
    yield f"LicenseRef-{base.removeprefix('LicenseRef-')}-family", at
    at = _after(words, _after(words, at, "version"), "v")
    number = words[at] if at < len(words) and re.fullmatch(r"[0-9.]+", words[at]) else None
    for id in (f"{base}-{n}" for n in (number, f"{number}.0") if number):
        if id in _listed_ids():
            yield id, at + 1
        elif f"{id}-only" in _listed_ids():
            yield f"LicenseRef-{id}-family", at + 1
            if words[at + 1 : at + 2] == ["only"]:
                yield f"{id}-only", at + 2
            if later := _read(words, at + 1, "or later"):
                yield f"{id}-or-later", later[1]


def _read_cc(words: Sequence[str], at: int) -> Iterator[tuple[str, int]]:
    """A Creative Commons licence: its elements in any order, its version, then its port."""
    at = _after(words, _after(words, at, "creative", "commons"), "cc")
    version, at = _read_cc_version(words, at)  # "Creative Commons 4.0 Attribution"
    said: list[str] = []
    while found := _read(words, at, "elements"):
        said.append(found[0])
        at = found[1]
    at = _after(words, at, "license")
    port = ""
    if not version:
        version, at = _read_cc_version(words, at)
        port, at = _read_place(words, at, version) if version else ("", at)
    if (id := _cc_id(said, version, port)) is not None:
        yield id, at


def _read_cc_version(words: Sequence[str], at: int) -> tuple[str, int]:
    number = _after(words, _after(words, at, "version"), "v")
    if number < len(words) and words[number] in CC_VERSIONS:
        return CC_VERSIONS[words[number]], number + 1
    return "", at


def _read_place(words: Sequence[str], at: int, version: str) -> tuple[str, int]:
    """The jurisdiction a licence was ported to, "" where none stands behind its version."""
    word = words[at] if at < len(words) else ""
    if f"{version} {word}" in LISTS["spheres"]:
        return "", at + 1
    if word in JURISDICTIONS and (word != "no" or at + 1 == len(words)):
        return word, at + 1
    return _read(words, at, "names of jurisdictions") or ("", at)


def read_license_ref(id: str) -> str | None:
    """An id of ours written out; a LicenseRef of the user's own making stays as it is."""
    folded = id.casefold()
    if folded == "licenseref-rightsstatements-nkc":
        return "LicenseRef-NoKnownCopyright"
    for known in (*_table("names").values(), *_addresses().values()):
        if known.casefold() == folded:
            return known
    if cc := re.fullmatch(r"licenseref-cc-(by[a-z-]*)-family", folded):
        return _cc_id(cc[1].split("-"), "", "")
    if cc := re.fullmatch(r"licenseref-cc-(by[a-z-]*)-(\d\.\d)-([a-z]+)", folded):
        return _cc_id(cc[1].split("-"), cc[2], cc[3])
    return None if folded.startswith("licenseref-cc") else id


def _cc_id(elements: list[str], version: str, port: str) -> str | None:
    """The id of a CC licence, or None where there is no such licence."""
    said = set(elements)
    if not said <= {"by", "nc", "sa", "nd"} or "by" not in said or {"sa", "nd"} <= said:
        return None
    name = "-".join(e.upper() for e in ("by", "nc", "sa", "nd") if e in said)
    if not version:
        return None if port else f"LicenseRef-CC-{name}-family"
    possible = {"4.0": {""}, "2.1": {"jp", "es", "ca", "au"}}.get(version, JURISDICTIONS | {""})
    if (
        version not in CC_VERSIONS.values()
        or port not in possible
        or (port == "igo" and version != "3.0")
    ):
        return None
    id = f"CC-{name}-{version}" + (f"-{port.upper()}" if port else "")
    return id if not port or id in LISTS["ported CC licences"] else f"LicenseRef-{id}"


def read_address(url: str) -> str | None:
    """The licence at an address; the host must be the publisher's own."""
    if not url.isascii() or re.search(r"[\s%\\]", url) or len(url) > MAX_ADDRESS_CHARS:
        return None
    try:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="https")
    except ValueError:
        return None
    if parts.scheme not in ("http", "https"):
        return None
    host = parts.netloc.casefold().removeprefix("www.")
    path = [p for p in parts.path.split("/") if p]
    if host in ("creativecommons.org", *CC_BADGE_HOSTS):
        return _read_cc_path(host, [p.casefold() for p in path])
    if known := _addresses().get("/".join([host, *path])):
        return known
    if host == "rightsstatements.org" and len(path) == 3 and path[0] in ("vocab", "page"):
        stated = path[1] in LISTS["rights statements"] and path[2] == "1.0"
        return f"LicenseRef-RightsStatements-{path[1]}" if stated else None
    if host == "spdx.org" and len(path) == 2 and path[0] == "licenses":
        return _canonical_spdx_id(re.sub(r"\.(?:html|json)$", "", path[1]))
    if host == "opensource.org" and len(path) == 2 and path[0] in ("licenses", "license"):
        return _canonical_spdx_id(path[1])
    return None


def _read_cc_path(host: str, path: list[str]) -> str | None:
    """The licence of a page, or of a badge, of Creative Commons."""
    if host != "creativecommons.org":
        if path[:1] not in (["l"], ["p"]) or path[-1] not in CC_BADGES:
            return None
        path = ["licenses" if path[0] == "l" else "publicdomain", *path[1:-1]]
    elif path and re.fullmatch(CC_PAGE, path[-1]):
        path = path[:-1]
    if known := _addresses().get("/".join(["creativecommons.org", *path])):
        return known
    if path[:1] != ["licenses"] or not 2 <= len(path) <= 4:
        return None
    elements, version, port = [*path[1:], "", ""][:3]
    if not re.fullmatch(r"by(?:-(?:nc|nd|sa))*", elements):
        return None
    return _cc_id(elements.split("-"), version, port)


def _canonical_spdx_id(id: str) -> str | None:
    for known in (*_listed_ids(), "CC0-1.0", "CC-PDM-1.0", "CC-PDDC"):
        if known.casefold() == id.casefold():
            return known
    if cc := re.fullmatch(r"cc-(by[a-z-]*)-(\d\.\d)(?:-([a-z]+))?", id.casefold()):
        return _cc_id(cc[1].split("-"), cc[2], cc[3] or "")
    return None
