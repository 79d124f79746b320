"""What a licence id is: its kinds, as a policy names them, its family and its address."""

import re

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
    if id in single:
        return (single[id],)
    for kind, ids in (("permissive", PERMISSIVE), ("copyleft", COPYLEFT), ("terms", TERMS)):
        if id in ids:
            return (kind,)
    return ("other",)


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
