"""XMP inside an image: what it says of data mining, and whether AI made it.

Read are `plus:DataMining` (PLUS License Data Format 2.0.1, in the IPTC Photo Metadata Standard
since 2023.1), `tdm:reservation` (TDMRep, 10 May 2024), and as signs of AI
`Iptc4xmpExt:DigitalSourceType` (IPTC NewsCodes "Digital Source Type") and
`Iptc4xmpExt:AISystemUsed` (IPTC Photo Metadata Standard 2025.1).

The XML is a stranger's: a document type, and so every entity, is refused. What is no XML is
searched for a refusal only.
"""

import re
from collections.abc import Iterable
from xml.parsers import expat

from curate.dataset.sample import Signal
from curate.rights.signals.tdmrep import reservation

PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
TDM = (
    "http://www.w3.org/ns/tdmrep/",
    "http://www.w3.org/ns/tdmrep#",
    "http://www.w3.org/ns/tdmrep",
)
PROVENANCE = "provenance"  # dcterms: where Content Credentials lie that are not in the file
_MINING, _SOURCE_TYPE, _AI_SYSTEM = "DataMining", "DigitalSourceType", "AISystemUsed"
_READ = frozenset((_MINING, _SOURCE_TYPE, _AI_SYSTEM, "reservation", PROVENANCE))
_VALUE = re.compile(r"DMI-[A-Z-]{1,60}", re.IGNORECASE)
# last parts of addresses of IPTC's source types (and one of C2PA's), in lower case
MADE_BY_AI = frozenset(
    "trainedalgorithmicmedia compositewithtrainedalgorithmicmedia trainedalgorithmicdata".split()
)
MADE_OTHERWISE = frozenset(
    "digitalcapture computationalcapture negativefilm positivefilm print humanedits "
    "minorhumanedits algorithmicallyenhanced digitalcreation digitalart datadrivenmedia "
    "algorithmicmedia screencapture virtualrecording compositecapture".split()
)


def is_made_by_ai(source_type: object) -> bool | None:
    """What a digital source type says of AI; None where it is not known, or says neither."""
    name = re.split(r"[/#:]", str(source_type).strip().rstrip("/").lower())[-1]
    return True if name in MADE_BY_AI else False if name in MADE_OTHERWISE else None


def read_xmp(packet: bytes) -> tuple[list[Signal], bool | None]:
    """What one packet says of training, and whether it says that AI made the image."""
    try:
        properties = _read_properties(packet.strip(b"\0 \t\r\n"))
    except (expat.ExpatError, ValueError):
        return _search_refusal(packet), None
    return weigh_properties(properties)


def weigh_properties(
    properties: Iterable[tuple[str, str, str]],
) -> tuple[list[Signal], bool | None]:
    """The same of properties: namespace, name, value; also those of a manifest's metadata."""
    signals: dict[Signal, None] = {}
    made: set[bool | None] = set()
    for namespace, name, value in properties:
        if name == _MINING and (signal := _data_mining(value, namespace == PLUS)):
            signals[signal] = None
        elif name == "reservation" and namespace in TDM and value:
            signals[reservation(value, "xmp:tdm-reservation", "item")] = None
        elif name == _SOURCE_TYPE:
            made.add(is_made_by_ai(value))
        elif name == _AI_SYSTEM and namespace == IPTC and value:
            made.add(True)
        elif name == PROVENANCE and re.match(r"https?://", value, re.IGNORECASE):
            signals[Signal("c2pa:remote", None, "item")] = None
    return list(signals), True if True in made else False if False in made else None


def _data_mining(value: str, in_plus: bool) -> Signal | None:
    if not value:
        return None
    term = (_VALUE.findall(value) or [""])[-1].upper()
    if term.startswith("DMI-PROHIBITED"):
        return Signal(f"xmp:{term}", False, "item")
    if term == "DMI-UNSPECIFIED":
        return None
    if term == "DMI-ALLOWED" and in_plus:
        return Signal(f"xmp:{term}", True, "item")
    return Signal("xmp:unread", None, "item")


def _search_refusal(packet: bytes) -> list[Signal]:
    """What can be told of a packet that is no XML: a refusal, or that something is said."""
    text = packet.replace(b"\0", b"").decode("latin-1")  # UTF-16 as well
    if _MINING not in text:
        return []
    terms = [term.upper() for term in _VALUE.findall(text)]
    refusals = sorted({term for term in terms if term.startswith("DMI-PROHIBITED")})
    if refusals:
        return [Signal(f"xmp:{term}", False, "item") for term in refusals]
    return [Signal("xmp:unread", None, "item")]


def _read_properties(packet: bytes) -> list[tuple[str, str, str]]:
    """Namespace, name and value of each property that is read, wherever it stands.

    Raises:
        ExpatError: it is no XML.
        ValueError: it has a document type.
    """
    found: list[tuple[str, str, str]] = []
    inside: list[tuple[str, str]] = []  # properties being read
    text: list[str] = []

    def start(element: str, attributes: dict[str, str]) -> None:
        namespace, _, name = element.rpartition(" ")
        for attribute, value in attributes.items():
            space, _, local = attribute.rpartition(" ")
            if local in _READ:
                found.append((space, local, value.strip()))
            elif local == "resource" and (name in _READ or inside):
                found.append((*(inside[-1] if inside else (namespace, name)), value.strip()))
        if name in _READ:
            inside.append((namespace, name))
            text.clear()

    def end(element: str) -> None:
        namespace, _, name = element.rpartition(" ")
        if inside and inside[-1] == (namespace, name):
            found.append((namespace, name, "".join(text).strip()))
            inside.pop()
            text.clear()

    def refuse(*_: object) -> None:
        raise ValueError("a document type")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = lambda data: text.append(data) if inside else None
    if packet:
        parser.Parse(packet, True)
    return found
