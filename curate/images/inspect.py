"""Decode each image once and write down what needs its pixels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.dataset import engine
from curate.dataset.folder import Store
from curate.dataset.sample import Sample, drop_samples, live_samples, reinstate_samples
from curate.images.decode import decode_image, flatten, pixel_sha256
from curate.system import sandbox
from curate.system.progress import SILENT, Progress, track

if TYPE_CHECKING:
    import daft
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

UNREADABLE = "unreadable"
HASH_SIDE = 32  # pixels; the perceptual hash sees no more of an image than this
THUMBNAIL_SIDE = 16  # pixels, side of a thumbnail


def measure(
    rows: "daft.DataFrame", *, store: Store, progress: Progress = SILENT
) -> "daft.DataFrame":
    """Fill in size, pixel hash, perceptual hashes and sharpness of every image not yet measured.

    An image that cannot be decoded is dropped as `unreadable:WHY`; those are tried again each
    time, all others are decoded once. Equal bytes are decoded once.

    Raises:
        InputError: a stored file is missing or has changed.
    """
    return engine.apply_to_all_rows(rows, partial(measure_samples, store, progress))


def measure_samples(store: Store, progress: Progress, samples: Sequence[Sample]) -> list[Sample]:
    """The samples measured; see `measure`."""
    fresh = reinstate_samples(samples, UNREADABLE)
    samples = [new if new.sha256 else old for old, new in zip(samples, fresh, strict=True)]
    live = live_samples(samples)
    todo = {s.key: s.sha256 for s in live if s.sha256 and s.pixel_sha256 is None}
    hashes = sorted(set(todo.values()))
    jobs = [{"root": str(store.root), "sha256": h} for h in hashes]
    answers = sandbox.run_jobs(f"{__name__}:_measure_job", jobs)
    shown = track(answers, len(hashes), "images measured", progress)
    found = dict(zip(hashes, shown, strict=True))
    filled, reasons = [], {}
    for sample in samples:
        answer = found[todo[sample.key]] if sample.key in todo else ({}, b"")
        if isinstance(answer, sandbox.WorkerFailure):
            reasons[sample.key] = f"{UNREADABLE}:{answer.reason}"
            filled.append(sample)
        else:
            filled.append(replace(sample, **answer[0]))
    return drop_samples(filled, reasons)


def _measure_job(root: str, sha256: str) -> sandbox.JobResult:
    return pixel_facts(decode_image(Store(Path(root)).get(sha256))), b""


def pixel_facts(image: "Image.Image") -> dict[str, Any]:
    """What `Sample` keeps of the pixels, by field name; hashes are of the image on white."""
    luma = flatten(image, "white").convert("L")
    phash, mirror_phash = phashes(luma)
    return {
        "width": image.width,
        "height": image.height,
        "pixel_sha256": pixel_sha256(image),
        "phash": phash,
        "mirror_phash": mirror_phash,
        "sharpness": sharpness(luma),
    }


def phashes(luma: "Image.Image") -> tuple[str, str]:
    """The perceptual hash of a luma image and of its mirror image, 16 hexadecimal digits each.

    `imagehash.phash` defines the hash. It scales an image to 32 x 32 before anything else, so
    here that is done once; mirroring turns the sign of the odd horizontal DCT terms.
    """
    import imagehash
    from PIL import Image, ImageOps

    small = luma.resize((HASH_SIDE, HASH_SIDE), Image.Resampling.LANCZOS)
    return str(imagehash.phash(small)), str(imagehash.phash(ImageOps.mirror(small)))


def sharpness(luma: "Image.Image") -> float:
    """Variance of the Laplacian (4 neighbours) of 8-bit luminance; 0 below 3 x 3 pixels.

    Source: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000,
    the measure LAPV. Sums are of whole numbers, so the result is the same on every machine.
    """
    import numpy as np

    count = max(luma.width - 2, 0) * max(luma.height - 2, 0)
    if count == 0:
        return 0.0
    total = squares = 0
    for top in range(0, luma.height - 2, 256):  # in strips, for the memory's sake
        box = (0, top, luma.width, min(top + 258, luma.height))
        p = np.asarray(luma.crop(box)).astype(np.int32)
        inner = 4 * p[1:-1, 1:-1]
        laplacian = inner - p[:-2, 1:-1] - p[2:, 1:-1] - p[1:-1, :-2] - p[1:-1, 2:]
        total += int(laplacian.sum(dtype=np.int64))
        squares += int((laplacian * laplacian).sum(dtype=np.int64))
    return squares / count - (total / count) ** 2


def stored_thumbnails(store: Store, samples: Iterable[Sample]) -> "Mapping[str, NDArray[np.int16]]":
    """Key -> thumbnail of each sample that can be decoded: see `comparison_thumbnail`."""
    import numpy as np

    asked = [s for s in samples if s.sha256]
    jobs = [{"root": str(store.root), "sha256": s.sha256} for s in asked]
    answers = sandbox.run_jobs(f"{__name__}:_comparison_job", jobs)
    found: dict[str, NDArray[np.int16]] = {}
    for sample, answer in zip(asked, answers, strict=True):
        if not isinstance(answer, sandbox.WorkerFailure):
            values = np.frombuffer(answer[1], dtype=np.uint8).astype(np.int16)
            found[sample.key] = values.reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE, 4)
    return found


def _comparison_job(root: str, sha256: str) -> sandbox.JobResult:
    image = decode_image(Store(Path(root)).get(sha256))
    return {}, comparison_thumbnail(image).tobytes()


def comparison_thumbnail(image: "Image.Image") -> "NDArray[np.uint8]":
    """16 x 16 pixels of red, green, blue on white, and alpha; each the mean of its surroundings."""
    import numpy as np
    from PIL import Image

    side = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    if image.mode == "RGB":
        rgb = np.asarray(image.resize(side, Image.Resampling.BILINEAR))
        return np.dstack([rgb, np.full(side, 255, dtype=np.uint8)])
    premultiplied = image.convert("RGBA").convert("RGBa")
    small = np.asarray(premultiplied.resize(side, Image.Resampling.BILINEAR)).astype(np.int16)
    on_white = (small[..., :3] + 255 - small[..., 3:]).clip(0, 255)
    return np.dstack([on_white, small[..., 3:]]).astype(np.uint8)
