"""Hugging Face datasets on disk: folders that `datasets` saved, Parquet and Arrow files."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from curate.errors import InputError
from curate.sources.base import Listing, Source
from curate.sources.local import AuthorOption, CaptionsOption, LicenseOption, list_records


def listing(
    without: Path,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder, .parquet or .arrow file.")],
    *,
    license: LicenseOption = None,
    author: AuthorOption = None,
    captions: CaptionsOption = "lines",
) -> Listing:
    """List the images in the tables of a folder, or in one table.

    Raises:
        InputError: no such data; it holds no image, only addresses of them; or it is the manifest
            of a dataset of ours.
        UsageError: no such choice of `captions`.
    """
    from curate.corpora import corpus
    from curate.corpora.columns import is_whole
    from curate.corpora.huggingface import HuggingFace
    from curate.corpora.own_data import refuse_stored_images

    whole = is_whole(captions)
    if not path.exists():
        raise InputError(path, "no such file or folder", fix="curate fetch hf PATH")
    if path.is_file():
        refuse_stored_images(path, without)
    reader = corpus.open_reader(path, whole=whole, without=without)
    if not isinstance(reader, HuggingFace):
        problem = f"no Parquet or Arrow files with images here, it is read as {reader.kind}"
        source = corpus.SOURCE_OF_KIND.get(reader.kind, "folder")
        place = path.parent if reader.kind == "captions" else path
        fix = shlex.join(["curate", "fetch", source, str(place)])
        if place != path:  # a list, which is taken with the folder of its images
            fix += f", once the list there is called captions{path.suffix.lower()}"
        raise InputError(path, problem, fix=fix)
    if columns := reader.address_columns():
        raise _addresses_error(path, reader.files[0], *columns)
    return list_records(reader, license=license, author=author)


def _addresses_error(path: Path, file: Path, urls: str, captions: str | None) -> InputError:
    """The error for tables without images, of which `file` is one: how to download these.

    Of a folder img2dataset reads the files at its top, and Arrow files nowhere.
    """
    table, save = path if path.is_file() else file.parent, ""
    if file.suffix.lower() == ".arrow":
        table, save = Path("addresses.parquet"), "save it as addresses.parquet (to_parquet); "
    said = ["--caption_col", captions] if captions else []
    words = ["img2dataset", "--url_list", str(table), "--input_format", "parquet"]
    words += ["--url_col", urls, *said, "--output_format", "webdataset"]
    download = shlex.join([*words, "--output_folder", "images"])
    fix = f"{save}download them: {download}; then: curate fetch shards images"
    return InputError(path, f"holds no image, only addresses of them (column {urls})", fix=fix)


SOURCE = Source(
    name="hf",
    summary="Hugging Face datasets on disk, and Parquet with images",
    help="Take the images of a Hugging Face dataset on disk: saved folders, Parquet, Arrow.",
    listing=listing,
    terms=("You state the licence of what states none: --license ID.",),
)
