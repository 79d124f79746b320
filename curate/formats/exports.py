"""What an export of images says of itself: `curate export` writes it, every reader knows it."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from curate.formats.verdicts import USES

INDEX_NAME = "export.json"  # names all files of the export with their SHA-256
VERSION = "fubuki-export/1"
LICENCES_NAME = "licences.json"  # says of each image whose it is, and what was decided
# codes of a verdict that are somebody's word, or name other images: they stay at home
_PRIVATE = ("basis", "permission", "copy-conflict")


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object that a file of an export holds; nothing where there is none, or another's."""
    with suppress(OSError, ValueError, RecursionError):
        value = json.loads(file.read_bytes())
        return value if isinstance(value, dict) else {}
    return {}


def exported_record(sample: Any) -> dict[str, Any]:
    """What was decided of an image, as a record of it; a `curate.dataset.sample.Sample`."""
    found: dict[str, Any] = {"source": sample.source}
    for use in USES:
        verdict = getattr(sample, use)
        reasons = public_reasons(verdict.reasons if verdict else ())
        found[use] = {"decision": verdict.decision, "reasons": reasons} if verdict else None
    return found


def public_reasons(reasons: Iterable[str]) -> list[str]:
    """The codes of a verdict that others may read."""
    return [code for code in reasons if code.partition(":")[0] not in _PRIVATE]
