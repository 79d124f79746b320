"""What a licence allows, and the most that a text can be said to allow, without the code's lists.

The order is set inclusion over six permissions. It knows nothing of `curate.rights`: a licence's
permissions follow from its name, and a text's bound from the words in it that take a permission
away, wherever they stand. What a text names must also be seen in it.
"""

import html
import re
import unicodedata

ALL = frozenset({"train", "share", "modify", "commercial", "uncredited", "under other terms"})
NOTHING: frozenset[str] = frozenset()
CREDITED = ALL - {"uncredited"}
COPYLEFT = CREDITED - {"under other terms"}
FREE = {"CC0-1.0", "CC-PDM-1.0", "CC-PDDC", "0BSD", "Unlicense", "PDDL-1.0", "DL-DE-ZERO-2.0"}
FREE |= {"LicenseRef-scancode-public-domain", "LicenseRef-scancode-us-govt-public-domain"}
FREE |= {"LicenseRef-PDDL-family"}
# MIT-0 and MIT are one here: "-0" behind MIT is the name of a licence that asks for less.
ASK_CREDIT = r"MIT(-0)?$|X11|Apache|BSD-|BSL|ISC|Zlib|OFL|OGL|etalab|NLOD|IODL|KOGL|DL-DE-BY"
ASK_SAME = r"A?GPL|LGPL|GFDL|LAL|MPL|EUPL|ODbL"

# Words that take permissions away, wherever they stand.
TAKEN = (
    (r"<nc>|non\W*comm?erc|nicht\W*kommerz|nocomercial|d\W*utilisation\W*commerc", {"commercial"}),
    (r"<nd>|no\W*deriv|keine\W*bearbeitung|de\W*modification|sinderiv", {"modify", "train"}),
    (
        r"<sa>|share\W*alike|compartirigual|m[eê]mes\W*condi|gleichen\W*beding",
        {"under other terms"},
    ),
    (r"<byv?>|attribution|atribuci|namensnennung|<mit>|apache|bsd\W*\d|<isc>|zlib", {"uncredited"}),
    (
        r"<ogl>|open\W*government|ouverte|etalab|nlod|iodl|kogl|open\W*(font|lic|data\W*lic)",
        {"uncredited"},
    ),
    (r"g?fdl|gpl|free\W*(doc|art)|general\W*public|<[fl]al>|art\W*libre", ALL - COPYLEFT),
    (r"mozilla|<mpl>|eupl|european\W*union|odbl|open\W*database", ALL - COPYLEFT),
    (r"rights\W*reserved|in\W*copyright|<inc>|<noc>|pixabay|unsplash|pexels|licenseref", ALL),
    (r"copyright\W*(not|und)|no\W*(known|restrictions|copyright)|odc\W*by|<own>", ALL),
    (
        r"rightsstatements|europeana|commons/usage|(data\W*commons\W*attr)|licenses/by/1.0.*data",
        ALL,
    ),
)
# Words after which nothing is granted, where they are no part of a name.
DENIED = (
    "not no non none never neither nor without except unless excluding but formerly if until only "
    "kein keine nicht ohne pas sans sauf sin salvo nao não senza inte ikke niet geen nie brak "
    "revoked expired prohibited forbidden doubtful unknown question"
).split()
NAMES_WITH_DENIALS = (
    r"non\W*comm?erc\w*|no\W*deriv\w*|nicht\W*kommerz\w*|keine\W*bearbeitung|pas\W*de\W*modification"
    r"|pas\W*d\W*utilisation\W*commerc\w*|no\W*(known|restrictions|copyright)|\d\W*only"
    r"|not\W*evaluated|<no>(?=[./])|(?<=\d-)<no>|(?<=\d )<no>(?=\W*$|\W*https?:|\W*<)|(?<=/)<no>"
)
# What must be seen in a statement for a licence to be named by it.
SEEN = {
    "CC0-1.0": r"cc\W*(0|zero|ø)|commons\W*(cc)?zero|domain/zero",
    "CC-PDM-1.0": r"pdm|domain\W*mark|publicdomain/mark",
    "CC-PDDC": r"pddc|and\W*certification|licenses/publicdomain",
    "LicenseRef-scancode-public-domain": r"public\W*domain|<pd>",
    "LicenseRef-scancode-us-govt-public-domain": r"government\W*work|usa\.gov",
    "LicenseRef-NoKnownCopyright": r"no\W*(known|restrictions)|commons/usage|nkc|nokn",
    "LicenseRef-AllRightsReserved": r"rights\W*reserved|rights/rr|allrights",
    "LicenseRef-Own": r"<own>|licenseref",
    # whose pages name no version
    "LAL-1.3": r"1\.3|artlibre\.org/licence/lal/en",
    "OGL-Canada-2.0": r"(<ogl>|licen[cs]e).*2|canada\.ca/",
    "LicenseRef-KOGL-Type-1": r"(kogl|korea).*1|kogl\.or\.kr",
    "etalab-2.0": r"2|open-licence\.(pdf|md)",
}
NAMED = {  # other names of licences, by the letters their ids begin with
    "AGPL": r"<agpl|affero",
    "DL": r"<dl\W*de|datenlizenz",
    "EUPL": r"<eupl|european\W*union",
    "GFDL": r"<gfdl|<fdl|gnu\W*free",
    "GPL": r"<gpl|general\W*public",
    "IODL": r"<iodl|italian\W*open",
    "LAL": r"<[fl]al|art\W*libre|free\W*art",
    "LGPL": r"<lgpl|lesser",
    "MPL": r"<mpl|mozilla",
    "NLOD": r"<nlod|norwegian",
    "ODC": r"<odc|data\W*commons",
    "ODbL": r"odbl|open\W*database",
    "OFL": r"<ofl|open\W*font",
    "OGL": r"<ogl|open\W*government",
    "PDDL": r"pddl|dedication\W*and\W*license",
    "RightsStatements": r"copyright|rightsstatements|<inc",
    "BSD": r"bsd",
    "etalab": r"etalab|ouverte|open\W*licen",
}
PLACES = {
    "nz": r"new\W*zealand",
    "us": r"united\W*states",
    "de": "germany|deutschland",
    "jp": "japan",
}


def permissions(id: str) -> frozenset[str]:
    """What a licence allows; nothing where its name does not say."""
    if id in FREE:
        return ALL
    if cc := re.match(r"(?:LicenseRef-)?CC-(BY(?:-NC)?(?:-SA|-ND)?)-(?:family|\d\.\d)", id):
        taken = {"NC": {"commercial"}, "ND": {"modify", "train"}, "SA": {"under other terms"}}
        return CREDITED - {p for part in cc[1].split("-")[1:] for p in taken[part]}
    name = id.removeprefix("LicenseRef-")
    if re.match(ASK_CREDIT, name):
        return CREDITED
    return COPYLEFT if re.match(ASK_SAME, name) else NOTHING


def bound(statement: str) -> frozenset[str]:
    """The most that a text or an address can allow, by the words in it."""
    text = _fold(statement)
    left = ALL
    for pattern, taken in TAKEN:
        if _search(pattern, text):
            left -= taken
    text = re.sub(_words(NAMES_WITH_DENIALS), " ", text)
    return NOTHING if _search("|".join(f"<{word}>" for word in DENIED), text) else left


def is_seen(id: str, statement: str) -> bool:
    """Whether what an id says stands in a statement: its elements, its version, its port."""
    text = _fold(statement)
    if id in SEEN:
        return _search(SEEN[id], text)
    parts = re.match(r"(?:LicenseRef-)?CC-(BY[A-Z-]*?)-(family|\d\.\d)(?:-([A-Z]+))?$", id)
    if parts is None:
        name = re.match("[A-Za-z]+", id.removeprefix("LicenseRef-").removeprefix("scancode-"))
        called = NAMED.get(name[0], f"<{name[0].lower()}>") if name else id.lower()
        number = re.search(r"\d+\.\d+", id)
        stated = number is None or _search(
            rf"(?<!\d){number[0].removesuffix('.0')}(?!\d)", re.sub(r"(?<=\d)[_-](?=\d)", ".", text)
        )
        return stated and _search(called, text)
    marks = {"BY": TAKEN[3][0], "NC": TAKEN[0][0], "ND": TAKEN[1][0], "SA": TAKEN[2][0]}
    seen = all(_search(marks[part], text) for part in parts[1].split("-"))
    if parts[2] != "family":
        number = re.sub(r"\\\.0$", r"([._]0)?", re.escape(parts[2]))
        number = number.replace(r"\.", "[._]")
        port = (parts[3] or "").lower()
        # a port stands behind its version, as two letters or by name
        place = rf".*(<{port}>|{PLACES.get(port, '[a-z]{5,}')})" if port else ""
        seen = seen and _search(rf"(?<!\d){number}(?!\d){place}", text)
    return seen


def _words(pattern: str) -> str:
    """`<nc>` in a pattern is a word of its own; figures and underscores end one."""
    pattern = re.sub(r"<(?=[a-z\[])(?![\w?]+>)", r"(?<![^\\W\\d_])", pattern)
    pattern = re.sub(r"<([\w?]+)>", r"(?<![^\\W\\d_])\1(?![^\\W\\d_])", pattern)
    return pattern.replace(r"\W*", r"[\W_]*")


def _search(pattern: str, text: str) -> bool:
    return re.search(_words(pattern), text, re.DOTALL) is not None


def _fold(statement: str) -> str:
    text = unicodedata.normalize("NFKC", html.unescape(statement)).casefold()
    text = re.sub(r"(?<!:)/+", "/", re.sub(r"\s+", " ", text))
    text = re.sub(r"/deed\.[a-z_-]+", "/deed", text)
    text = re.sub(r"[\u200b-\u200d\u2060\ufeff\u00ad]", "", text)
    return re.sub(r"[\u2010-\u2015\u2212]", "-", text)
