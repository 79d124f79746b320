"""Tars of images: img2dataset's, webdataset's, shards of ours that lie elsewhere.

What the JSON of an image says of its origin, author and licence is taken. A record of ours is taken
at its word where that is strict: what it does not allow for training is left out, and all that its
verdicts rest on stays with the image (`corpora.shards.record_facts`).
"""

from pathlib import Path
from typing import Annotated

import typer

from curate.sources.base import Listing, Source
from curate.sources.local import AuthorOption, CaptionsOption, LicenseOption, list_records


def listing(
    without: Path,
    path: Annotated[
        Path,
        typer.Argument(metavar="TARS", help="Folder of tars, a tar, or '{000..003}.tar'."),
    ],
    *,
    license: LicenseOption = None,
    author: AuthorOption = None,
    captions: CaptionsOption = "lines",
) -> Listing:
    """List the images in tars.

    Raises:
        InputError: no tars are there, or they are shards that say more than their dataset does now.
        UsageError: no such choice of `captions`.
    """
    from curate.corpora.columns import is_whole
    from curate.corpora.tars import open_tars

    reader = open_tars(path, whole=is_whole(captions), without=without)
    # one tar, a pattern and their folder name the same images
    return list_records(reader, license=license, author=author, name=reader.root.resolve().name)


SOURCE = Source(
    name="shards",
    summary="tars that img2dataset, webdataset or another dataset of yours wrote",
    help="Take the images of tars, with captions, origin and licence from their .txt and .json.",
    listing=listing,
    terms=("You state the licence of what states none: --license ID.",),
)
