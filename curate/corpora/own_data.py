"""A dataset of ours is no source of images without their verdicts: its shards answer for them."""

import shlex
from pathlib import Path

from curate.corpora.huggingface import is_manifest
from curate.errors import InputError
from curate.formats.verdicts import MANIFEST_NAME, STORE_NAME

_INSIDE = (STORE_NAME, "shards", MANIFEST_NAME)


def refuse_stored_images(path: Path, without: Path | None) -> None:
    """Refuse a dataset folder, and the images, shards and manifest in it, as images of others.

    Args:
        path: what was named.
        without: the dataset that is fetched into, which may lie among the images themselves.

    Raises:
        InputError: it is one of these.
    """
    place = path.resolve()
    for folder in (place, *list(place.parents)[:3]):
        inside = place.relative_to(folder).parts[:1]
        if inside and inside[0] not in _INSIDE:
            continue
        if not inside and without is not None and without.resolve() == folder:
            continue
        if (folder / STORE_NAME).is_dir() and is_manifest(folder / MANIFEST_NAME):
            problem = "a dataset, whose images are taken with their verdicts from its shards"
            packed = any((folder / "shards").glob("*.tar"))
            words = ["fetch", "shards", str(folder / "shards")]
            words = words if packed else ["build", "--data", str(folder)]
            fix = shlex.join(["curate", *words])
            raise InputError(path, problem, fix=fix)
