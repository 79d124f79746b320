"""Whom a source may write to: given once for a dataset folder, or in CURATE_CONTACT."""

import json
import os
from contextlib import suppress
from pathlib import Path

from curate.dataset.folder import command_line, write_json
from curate.errors import InputError
from curate.net.transport import check_contact

CONTACT_FILE = "contact.json"  # in a dataset folder
VARIABLE = "CURATE_CONTACT"  # counts before the file


def record_contact(root: Path, text: str) -> str:
    """Keep a contact in `root`/contact.json; it, as it is sent.

    Raises:
        UsageError: it is nothing that can stand in a user agent.
    """
    contact = check_contact(text)
    write_json(root / CONTACT_FILE, {"contact": contact})
    return contact


def find_contact(root: Path) -> str | None:
    """The contact that is sent with requests, if one was given.

    Raises:
        UsageError: it is nothing that can stand in a user agent.
        InputError: contact.json is not readable.
    """
    if text := os.environ.get(VARIABLE, "").strip():
        return check_contact(text)
    path = root / CONTACT_FILE
    if not path.exists():
        return None
    with suppress(OSError, ValueError, TypeError, KeyError):
        text = json.loads(path.read_bytes())["contact"]
        if isinstance(text, str):
            return check_contact(text)
    fix = command_line(root, "sources", "contact", "you@example.org")
    raise InputError(path, "is not readable", fix=fix)
