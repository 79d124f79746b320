"""One shard written, and read back before it counts; and shards put in the place of old ones."""

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from curate.errors import InputError, disk_errors
from curate.formats.shards import (
    CACHE,
    INDEX_NAME,
    ShardIndex,
    list_tars,
    member_names,
    read_tar,
)
from curate.images.renders import Renders
from curate.system.files import file_sha256, write_bytes
from curate.system.sandbox import JobResult


def write_shard(
    target: str,
    format: str,
    samples: Iterable[Sequence[Any]],
    renders: str,
    rendering: Mapping[str, Any],
) -> JobResult:
    """Write a tar of samples, and read it back; a job for `engine.run_jobs`.

    The bytes depend on the samples alone: times, owners and modes are fixed.

    Args:
        target: path of the file; what stands there is replaced.
        format: of the images, one of `IMAGE_FORMATS`.
        samples: (key, JSON of the record, caption, path, offset, bytes) each: an image is those
            bytes of the file at that path, or, where the path is "", what `Renders` holds of the
            image whose SHA-256 stands in place of the offset.
        renders: folder of `Renders`.
        rendering: its settings.

    Returns:
        The `sha256` and the `bytes` of the file.

    Raises:
        InputError: an image is gone, the disk refuses, or holds something else than was written.
    """
    path, kept = Path(target), Renders(Path(renders), rendering)
    written: list[tuple[str, bytes]] = []
    with disk_errors(path.parent):
        with path.open("wb") as file:
            hashed = _HashedFile(file)
            # PAX, since USTAR refuses names of more than 100 characters
            with tarfile.open(fileobj=hashed, mode="w", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
                for key, record, caption, *place in samples:
                    image = _read_image(kept, key, *place)
                    parts = image, record.encode(), caption.encode()
                    for name, data in sorted(zip(member_names(key, format), parts, strict=True)):
                        _add_member(tar, name, data)
                    written.append((key, digest_of(*parts[1:])))
            file.flush()
            os.fsync(file.fileno())
        sha256, size = hashed.digest.hexdigest(), path.stat().st_size
        if file_sha256(path) != sha256 or not _holds(path, format, written):
            fix = "check the disk, then type the same command again"
            raise InputError(path, "reads back otherwise than it was written", fix=fix)
    return {"sha256": sha256, "bytes": size}, b""


def digest_of(record: bytes, caption: bytes) -> bytes:
    """Tells apart what is said of two samples."""
    return hashlib.sha256(b"%d %b%b" % (len(record), record, caption)).digest()[:16]


def _holds(path: Path, format: str, samples: Sequence[tuple[str, bytes]]) -> bool:
    """Whether a tar holds these samples, each with its image, record and caption, and no other."""
    try:
        with path.open("rb") as file:
            read = ((s.key, digest_of(s.record, s.caption)) for s in read_tar(file, format))
            return all(one == other for one, other in zip(read, samples, strict=True))
    except (tarfile.TarError, ValueError, LookupError):
        return False


def _read_image(renders: Renders, key: str, path: str, offset: int | str, size: int) -> bytes:
    if path:
        with Path(path).open("rb") as file:
            file.seek(int(offset))
            data = file.read(size)
    else:
        data = (renders.get(str(offset)) or ({}, b""))[1]
    if len(data) != size:
        problem = f"the rendering of {key} has gone while the shards were written"
        raise InputError(path or renders.folder, problem, fix="type the same command again")
    return data


class _HashedFile:
    """A file that is written from end to end, with the SHA-256 of what was."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.file.write(data)

    def tell(self) -> int:
        return self.file.tell()


def _add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
    tar.members.clear()  # type: ignore[attr-defined]  # or memory grows with every member


def publish_shards(folder: Path, index: ShardIndex) -> bool:
    """Put the finished shards in the place of the old ones; True if nothing was to be done.

    A shard that was written is `part_path` of its name; all others that the index lists are there.
    """
    path, text = folder / INDEX_NAME, index.to_json()
    with disk_errors(folder):
        every = {shard.name: part_path(folder, shard.name) for shard in index.shards}
        parts = {name: part for name, part in every.items() if part.exists()}
        surplus = {*list_tars(folder)} - {folder / shard.name for shard in index.shards}
        if not parts and not surplus and path.exists() and path.read_bytes() == text:
            return True
        _forget_index(folder)  # from here the folder is no set of shards, until the end
        for name, part in parts.items():
            part.replace(folder / name)
        for tar in surplus:
            tar.unlink()
    write_bytes(path, text)
    return False


def withdraw_shards(folder: Path) -> None:
    """Take all shards away, the index first: killed in between, what is left is no set of shards.

    Raises:
        InputError: the disk refuses.
    """
    with disk_errors(folder):
        _forget_index(folder)
        for tar in list_tars(folder):
            tar.unlink()


def _forget_index(folder: Path) -> None:
    """Remove the index, and what a trainer keeps of the images that it lists."""
    (folder / INDEX_NAME).unlink(missing_ok=True)
    for kept in (folder / CACHE).glob("pictures-*"):
        kept.unlink(missing_ok=True)


def part_path(folder: Path, name: str) -> Path:
    """Where a shard is while it is written; whatever a killed process left there is no shard."""
    return folder / f".{name}.part"
