"""Whose is what lies at a path: shards or a dataset of ours, or something that others wrote."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from curate.corpora.huggingface import is_manifest
from curate.corpora.layout import first_archive, unpack_command
from curate.errors import InputError
from curate.formats.shards import INDEX_NAME, find_shards, list_tars
from curate.formats.verdicts import JOURNAL_NAME, MANIFEST_NAME, STORE_NAME

SHARDS = "shards"  # folder of shards within a dataset folder
READABLE = (
    "read where they lie: images with text files beside them, tars of other programs, Hugging Face "
    "folders, lists that name images"
)


def is_ours(path: Path) -> bool:
    """Whether a path means shards of ours: a folder of them, or the dataset folder around it."""
    return any(_has_index(folder) for folder in (path, path / SHARDS))


def _has_index(folder: Path) -> bool:
    """Whether a folder has an index of ours; one that cannot be read beside tars of ours is one."""
    file = folder / INDEX_NAME
    if not file.is_file():
        return False
    try:
        values = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return bool(list_tars(folder))
    version = values.get("version") if isinstance(values, dict) else None
    return isinstance(version, str) and version.startswith("fubuki")


def _is_dataset(folder: Path) -> bool:
    manifest = folder / MANIFEST_NAME
    if manifest.is_file():
        return is_manifest(manifest)
    return (folder / JOURNAL_NAME).is_file() and (folder / STORE_NAME).is_dir()


def refuse_part_of_dataset(path: Path) -> None:
    """Refuse a dataset of ours without shards, and what belongs to one: its shards answer for it.

    Raises:
        InputError: it is one of these, or nothing lies there.
    """
    if not path.exists() and "{" not in path.name:
        raise nothing_here_error(path)
    if _is_dataset(path):
        if any(map(list_tars, (path, path / SHARDS))):
            find_shards(path)  # says what is wrong with them
        raise InputError(path, "a dataset folder without shards", fix=_build(path))
    for place in (path.absolute(), path.resolve()):
        if place.is_file() and _has_index(place.parent):
            problem = "a part of shards, which are read by their index"
            raise InputError(path, problem, fix=shlex.join(["--shards", str(place.parent)]))
        for folder in place.parents[:3]:
            inside = place.relative_to(folder).parts[0]
            if inside in (SHARDS, STORE_NAME, MANIFEST_NAME) and _is_dataset(folder):
                problem = f"a part of the dataset folder {folder}, whose shards answer for it"
                named = shlex.join(["--shards", str(folder)])
                raise InputError(path, problem, fix=f"{named}, after {_build(folder)}")


def nothing_here_error(path: Path, notes: Sequence[str] = ()) -> InputError:
    """The error for a path that holds no image: both ways to have some, at once."""
    problem = "no image to train on here" if path.exists() else "no such file or folder"
    if path.is_dir() and (archive := first_archive(path)):
        fix = unpack_command(archive) or ""
        return InputError(path, problem, fix=fix, points=(*notes, READABLE))
    folder = path if path.is_dir() or not path.suffix else path.with_suffix("")
    if folder.is_dir() and not _is_dataset(folder) and any(folder.iterdir()):
        folder = Path(f"{folder}-data")  # nothing is written where something else lies
    words = ["curate", "fetch", "folder", "DIR", "--license", "LICENCE", "--data", str(folder)]
    fixes = (shlex.join(words), _build(folder))
    return InputError(path, problem, fix=fixes, points=(*notes, READABLE))


def _build(folder: Path) -> str:
    return shlex.join(["curate", "build", "--data", str(folder)])
