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
_ORIGIN = re.compile(r"https?://[^/]*", re.IGNORECASE)
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
    speaks = FIELD in text.lower() and not text.lstrip("\ufeff \r\n\t").startswith("<")
    unread = Signal("tdmrep.json:unread", None, "site")
    try:
        document: Any = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return [unread] if speaks else []
    rules = document if isinstance(document, list) else [document]
    entries = [_entry(rule) for rule in rules if isinstance(rule, dict)]
    stated = [entry for entry in entries if entry.get(FIELD) is not None]
    if not stated:
        return [unread] if speaks and not any(FIELD in entry for entry in entries) else []
    found: list[tuple[int, Signal]] = []
    for entry in stated:
        if not isinstance(entry.get("location"), str):
            found.append((0, unread))
            continue
        location = _ORIGIN.sub("", entry["location"].strip())
        if matches_path(location if location[:1] in ("/", "*") else f"/{location}", url):
            found.append((len(location), reservation(entry[FIELD], "tdmrep.json", "site")))
    if not found:
        return []
    longest = max(found, key=lambda match: match[0])
    return list(dict.fromkeys([found[0][1], longest[1]]))


def _entry(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule with its names in lower case and with hyphens."""
    return {name.lower().replace("_", "-"): value for name, value in rule.items()}
