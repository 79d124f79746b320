"""A folder of images: captions from metadata files, files beside them, or names."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from curate.errors import InputError
from curate.sources.base import Listing, Source
from curate.sources.local import AuthorOption, CaptionsOption, LicenseOption, list_records


def listing(
    without: Path,
    path: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images.")],
    *,
    license: LicenseOption = None,
    author: AuthorOption = None,
    captions: CaptionsOption = "lines",
) -> Listing:
    """List a folder and all below it, except what is hidden and the folder `without`.

    Raises:
        InputError: there is no such folder, nothing in it, no image in it, or it is of a dataset of
            ours.
        UsageError: no such choice of `captions`.
    """
    from curate.corpora.columns import is_whole
    from curate.corpora.corpus import SOURCE_OF_KIND, open_reader
    from curate.corpora.folder import ImageFolder
    from curate.corpora.own_data import refuse_stored_images

    refuse_stored_images(path, without)
    reader = ImageFolder(path, is_whole(captions), without)
    try:
        total = reader.count_images()
    except InputError:
        other = open_reader(path, without=without).kind if path.exists() else "folder"
        if other == "folder" or other not in SOURCE_OF_KIND:
            raise
        fix = shlex.join(["curate", "fetch", SOURCE_OF_KIND[other], str(path)])
        raise InputError(path, f"holds no image, it is read as {other}", fix=fix) from None
    return list_records(reader, license=license, author=author, total=total)


SOURCE = Source(
    name="folder",
    summary="your own images, with captions beside them",
    help="Take the images of a folder, with captions from files beside them, metadata or names.",
    listing=listing,
    terms=("You state the licence of what states none: --license ID.",),
)
