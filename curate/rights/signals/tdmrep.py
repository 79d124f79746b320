"""TDMRep: rights in text and data mining, reserved or not, by header or by a file of the host.

`tdm-reservation` is 1 (reserved), 0 (not reserved) or unset; a header overrides the file.

Source: TDM Reservation Protocol, Final Community Group Report, 10 May 2024,
https://www.w3.org/community/reports/tdmrep/CG-FINAL-tdmrep-20240510/ . What it calls protocol
errors ("unset") is kept apart here as not understood, so that nothing is taken for an allowance.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from curate.dataset.sample import Signal
from curate.rights.signals.robots import matches_path

FIELD = "tdm-reservation"
_NUMBER = re.compile(r"0*([01])(?![\d.])")


def reservation(value: object, where: str, scope: str) -> Signal:
    """What one value of `tdm-reservation` says; `where` begins the signal's name."""
    text = str(value).strip("\"' \t").lower()
    number = _NUMBER.match(text)
    if (number and number[1] == "1") or text == "true":
        return Signal(f"{where}:1", False, scope)
    if text == "0":
        return Signal(f"{where}:0", True, scope)
    return Signal(f"{where}:unread", None, scope)


def tdm_headers(values: Iterable[str]) -> list[Signal]:
    """What `TDM-Reservation` headers say of an image, each value once."""
    said = [part for value in values for part in value.split(",") if part.strip()]
    return list(dict.fromkeys(reservation(part, FIELD, "item") for part in said))


def tdm_file(text: str, url: str) -> list[Signal]:
    """What a `/.well-known/tdmrep.json` says of `url`.

    The report takes the first rule whose location matches; its readers, as for robots.txt, the
    one with the longest location. Where the two differ both are returned.
    """
    try:
        document: Any = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        speaks = FIELD in text.lower() and not text.lstrip().startswith("<")
        return [Signal("tdmrep.json:unread", None, "site")] if speaks else []
    rules = [document] if isinstance(document, dict) else document
    found: list[tuple[int, Signal]] = []
    for rule in rules if isinstance(rules, list) else []:
        entry = {str(k).lower(): v for k, v in rule.items()} if isinstance(rule, dict) else {}
        location = entry.get("location")
        if entry.get(FIELD) is None:
            continue
        if not isinstance(location, str):
            found.append((0, Signal("tdmrep.json:unread", None, "site")))
        elif matches_path(location if location[:1] in ("/", "*") else f"/{location}", url):
            found.append((len(location), reservation(entry[FIELD], "tdmrep.json", "site")))
    if not found:
        return []
    longest = max(found, key=lambda match: match[0])
    return list(dict.fromkeys([found[0][1], longest[1]]))
