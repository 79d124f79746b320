"""Images as they are to be packed, kept from the decode that inspected them until they are packed.

`DATA/derived/renders/SETTINGS/ab/abcdef…`, by the hash of the settings and of the image's bytes. A
file is the SHA-256 of the rest (32 bytes), a line of JSON with the facts, and the rendering. It may
be deleted at any moment: what is not there, or is torn, is rendered anew.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from curate.errors import disk_errors

VERSION = 1  # of what `render_image` makes of the same image and settings
_DIGEST = hashlib.sha256().digest_size  # bytes


class Renders:
    """The renderings of images with the same settings."""

    def __init__(self, root: Path, settings: Mapping[str, Any]) -> None:
        """Name what lies in `root` for `settings`, the keyword arguments of `render_image`.

        `original` is not one of them. Nothing is read or made.
        """
        import PIL  # another release may encode otherwise

        self.settings = dict(settings)
        said = {"version": VERSION, "pillow": PIL.__version__, **self.settings}
        name = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        self._root, self.folder = root, root / name[:16]

    def path_of(self, sha256: str) -> Path:
        """Where the rendering of the image with these bytes lies, or would lie."""
        return self.folder / sha256[:2] / sha256

    def put(self, sha256: str, facts: Mapping[str, Any], data: bytes) -> None:
        """Keep what `render_image` answered for the image with these bytes.

        Raises:
            InputError: the disk is full, read-only or not ours.
        """
        rest = json.dumps(facts, sort_keys=True).encode() + b"\n" + data
        path = self.path_of(sha256)
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(hashlib.sha256(rest).digest() + rest)  # torn, it is no rendering

    def get(self, sha256: str) -> tuple[dict[str, Any], bytes] | None:
        """What was put for the image with these bytes; None if it is not there, or torn."""
        try:
            content = self.path_of(sha256).read_bytes()
        except OSError:
            return None
        digest, rest = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(rest).digest() != digest:
            return None
        line, _, data = rest.partition(b"\n")
        facts: dict[str, Any] = json.loads(line)
        return facts, data

    def clear(self) -> None:
        """Forget all of them, and those with other settings."""
        with suppress(OSError):
            shutil.rmtree(self._root)
