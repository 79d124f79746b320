"""Small pictures for the page: what the captions of its evidence belong to, and whose it is.

Pictures come from anywhere, so they are decoded in processes of their own. One that cannot be
shown keeps its licence and credit and says why.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.corpora import locate
from curate.corpora.corpus import Origin
from curate.corpora.locate import Place
from curate.dataset.store import Store
from curate.errors import InputError
from curate.images.decode import RefusedError, decode, over
from curate.system import sandbox
from curate.system.progress import SILENT, Progress, track
from curate.system.web_page import data_uri

SIDE = 96  # pixels, longer side of a thumbnail; smaller pictures stay as they are
QUALITY = 75  # of WebP
MOST = 600  # pictures on a page
FILE_BYTES = 64 << 20  # larger files are not read
_ENOUGH = "left out, the page holds enough pictures"


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture made small, and what is owed to those who made it."""

    data_uri: str | None = None  # image/webp; None where there is no picture to show
    license: str | None = None  # SPDX id, LicenseRef-… or as stated; None: unknown
    source: str | None = None  # name of the source
    page_url: str | None = None  # page that shows it and its licence
    author: str | None = None
    reason: str | None = None  # why there is no picture


def keys_of(report: Mapping[str, Any]) -> list[str]:
    """Keys of the evidence in a report, those first that a reader meets first.

    The first picture of every item comes before the second of any, so that a limit on pictures
    leaves as few items as possible with none.
    """
    rows = [[one["key"] for one in item["evidence"]] for item in report["items"]]
    longest = max(map(len, rows), default=0)
    return list(dict.fromkeys(row[n] for n in range(longest) for row in rows if n < len(row)))


def of(
    origin: Origin,
    keys: Sequence[str],
    progress: Progress = SILENT,
    *,
    most: int = MOST,
    processes: int | None = None,
) -> dict[str, Thumbnail]:
    """The thumbnails of `keys`, in their order; keys that the origin does not hold are left out.

    Args:
        origin: where the captions came from.
        keys: of images, the most important first.
        progress: counts thumbnails.
        most: pictures to decode; of the others only the rights are told.
        processes: workers side by side; the number of CPUs unless given.
    """
    wanted = list(dict.fromkeys(keys))
    places = locate.find(origin, wanted)
    held = [key for key in wanted if key in places and places[key].reason is None]
    jobs = (places[key].job() for key in held[:most])
    answers = sandbox.run(f"{__name__}:_small", jobs, processes=processes) if held[:most] else ()
    shown = track(answers, len(held[:most]), "thumbnails", progress)
    made = dict(zip(held[:most], shown, strict=True))
    return {key: _finished(places[key], made.get(key)) for key in wanted if key in places}


def _finished(place: Place, answer: sandbox.Answer | sandbox.Died | None) -> Thumbnail:
    uri, reason = None, place.reason
    if isinstance(answer, sandbox.Died):
        reason = answer.reason
    elif answer is None:
        reason = reason or _ENOUGH
    elif answer[1]:
        uri = data_uri(answer[1], "webp")
    else:
        reason = answer[0]["refused"]
    return Thumbnail(uri, place.license, place.source, place.page_url, place.author, reason)


def _small(file: str = "", data: str | None = None, sha256: str = "") -> sandbox.Answer:
    """A small picture as WebP, from base64, a store or a file; or why there is none."""
    from PIL import Image

    try:
        image = over(decode(_content(Path(file), data, sha256)), "white")
    except RefusedError as error:
        return {"refused": str(error)}, b""
    except InputError as error:
        return {"refused": error.problem}, b""
    except OSError as error:
        return {"refused": f"cannot be read ({error.strerror})"}, b""
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    result = io.BytesIO()
    image.save(result, "WEBP", quality=QUALITY, method=4)
    return {}, result.getvalue()


def _content(file: Path, data: str | None, sha256: str) -> bytes:
    if data is not None:
        return base64.b64decode(data)
    if sha256:
        return Store(file).get(sha256)
    size = file.stat().st_size
    if size > FILE_BYTES:
        raise RefusedError(f"{size >> 20} MiB, more than {FILE_BYTES >> 20}")
    return file.read_bytes()
