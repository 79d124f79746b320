"""Small images for the page: what the captions of its evidence belong to, and whose it is.

Images come from anywhere, so they are decoded in processes of their own. One that cannot be
shown keeps its licence and credit and says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from curate.corpora.corpus import Corpus
from curate.corpora.pixels import ImageLocation, Spool, locate_images, refusal
from curate.dataset.folder import Store
from curate.errors import InputError
from curate.images.decode import UndecodableError, decode_image
from curate.images.render import make_thumbnail
from curate.index import cache
from curate.system import sandbox
from curate.system.progress import SILENT, Progress, track
from curate.system.web_page import data_uri

PAGE_THUMBNAIL_SIDE = 96  # pixels, longer side of a thumbnail; smaller images stay as they are
MAX_THUMBNAILS = 600  # images on a page
MAX_IMAGE_BYTES = 64 << 20  # larger files are not read
_TOO_MANY = "left out, the page holds enough images"


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """An image made small, and what is owed to those who made it."""

    data_uri: str | None = None  # image/webp; None where there is no image to show
    license: str | None = None  # SPDX id, LicenseRef-… or as stated; None: unknown
    source: str | None = None  # name of the source
    page_url: str | None = None  # page that shows it and its licence
    author: str | None = None
    reason: str | None = None  # why there is no image


def evidence_keys(report: Mapping[str, Any]) -> list[str]:
    """Keys of the evidence in a report, those first that a reader meets first.

    The first image of every item comes before the second of any, so that a limit on images
    leaves as few items as possible with none.
    """
    rows = [[one["key"] for one in item["evidence"]] for item in report["items"]]
    return list(
        dict.fromkeys(key for some in zip_longest(*rows) for key in some if key is not None)
    )


def make_thumbnails(
    corpus: Corpus,
    keys: Sequence[str],
    progress: Progress = SILENT,
    *,
    most: int = MAX_THUMBNAILS,
    processes: int | None = None,
) -> dict[str, Thumbnail]:
    """The thumbnails of `keys`, in their order; keys that the corpus does not hold are left out.

    Args:
        corpus: where the captions came from.
        keys: of images, the most important first.
        progress: counts thumbnails.
        most: images to decode; of the others only the rights are told.
        processes: workers side by side; the number of CPUs unless given.
    """
    wanted = list(dict.fromkeys(keys))
    with cache.scratch_file() as scratch:
        places = locate_images(corpus, wanted, Spool(scratch))
        held = [key for key in wanted if key in places and places[key].reason is None][:most]
        jobs = (places[key].as_job() for key in held)
        job = f"{__name__}:_thumbnail_job"
        answers = sandbox.run_jobs(job, jobs, processes=processes) if held else ()
        made = dict(zip(held, track(answers, len(held), "thumbnails", progress), strict=True))
    return {key: _make_thumbnail(places[key], made.get(key)) for key in wanted if key in places}


def _make_thumbnail(
    place: ImageLocation, answer: sandbox.JobResult | sandbox.WorkerFailure | None
) -> Thumbnail:
    uri, reason = None, place.reason
    if isinstance(answer, sandbox.WorkerFailure):
        reason = answer.reason
    elif answer is None:
        reason = reason or _TOO_MANY
    elif answer[1]:
        uri = data_uri(answer[1], "webp")
    else:
        reason = answer[0]["refused"]
    return Thumbnail(uri, place.license, place.source, place.page_url, place.author, reason)


def _thumbnail_job(
    file: str, sha256: str = "", offset: int = 0, size: int | None = None
) -> sandbox.JobResult:
    """A small image as WebP, from a store or a part of a file; or why there is none."""
    try:
        image = decode_image(_image_bytes(Path(file), sha256, offset, size))
    except (UndecodableError, InputError, OSError) as error:
        return refusal(error)
    return {}, make_thumbnail(image, PAGE_THUMBNAIL_SIDE)


def _image_bytes(file: Path, sha256: str, offset: int, size: int | None) -> bytes:
    if sha256:
        return Store(file).get(sha256)
    size = file.stat().st_size if size is None else size
    if size > MAX_IMAGE_BYTES:
        raise UndecodableError(f"{size >> 20} MiB, more than {MAX_IMAGE_BYTES >> 20}")
    with file.open("rb") as stream:
        stream.seek(offset)
        return stream.read(size)
