"""The tars of a publication: whole ones as they are, others without what may not be shared."""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

from curate.errors import disk_errors
from curate.formats.shards import Record, shard_error


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file another name; where the disk cannot, copy it.

    Raises:
        InputError: the disk refuses.
    """
    with disk_errors(target):
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


def write_subset(source: Path, target: Path, records: Mapping[str, Record]) -> None:
    """Write a tar of some samples of another, in their order, members as they are but the records.

    Args:
        source: a tar in WebDataset form.
        target: the file to write.
        records: of each sample that is to be in it, by key.

    Raises:
        InputError: the source is no such tar, or the disk refuses.
    """
    with disk_errors(target), target.open("wb") as stream:
        try:
            # PAX, as shards are written: USTAR refuses names of more than 100 characters
            with (
                tarfile.open(source, "r:") as old,
                tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as new,
            ):
                for member in old:
                    key, _, kind = member.name.partition(".")
                    if key not in records:
                        continue
                    if kind == "json":
                        text = json.dumps(records[key], sort_keys=True, ensure_ascii=False).encode()
                        member.size = len(text)
                        new.addfile(member, io.BytesIO(text))
                    else:
                        new.addfile(member, old.extractfile(member))
        except tarfile.TarError as error:
            raise shard_error(source, f"broken shard ({error})") from None
