"""Bytes by SHA-256: `STORE/ab/abcdef…`. A file that exists is whole."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from curate.errors import InputError
from curate.system.files import write_bytes


@dataclass(frozen=True)
class Store:
    """A folder of content-addressed bytes."""

    root: Path

    def path_of(self, sha256: str) -> Path:
        """Where the bytes with this hash lie, or would lie."""
        return self.root / sha256[:2] / sha256

    def put(self, data: bytes, *, sync: bool = True) -> str:
        """Keep `data`, once; return its SHA-256. Without `sync`, call `os.sync` when all is put."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.path_of(sha256).exists():
            write_bytes(self.path_of(sha256), data, sync=sync)
        return sha256

    def get(self, sha256: str) -> bytes:
        """The bytes, checked against their name.

        Raises:
            InputError: they are missing or have changed on disk.
        """
        path = self.path_of(sha256)
        try:
            data = path.read_bytes()
        except OSError as error:
            problem = f"stored image cannot be read ({error.strerror})"
            raise InputError(path, problem, fix="fetch it again") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            fix = f"rm {path}, then fetch it again"
            raise InputError(path, "stored image has changed on disk", fix=fix)
        return data
