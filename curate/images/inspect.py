"""Decode each image once: what is measured of it, its sketch, and how it is to be packed.

Everything is measured from small pixels. The rendering that `curate pack` will ask for is made from
the same decode.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.dataset.folder import Store
from curate.dataset.sample import (
    DUPLICATE,
    Sample,
    drop_samples,
    reinstate_samples,
)
from curate.errors import disk_errors
from curate.images.decode import decode, flatten
from curate.images.render import pixels_needed, render_image, scale_to_small
from curate.images.renders import Renders
from curate.images.sketch import SKETCH_BYTES, Sketches, SketchStore, sketch_image
from curate.system import sandbox
from curate.system.progress import Progress, track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

UNREADABLE = "unreadable"
INSPECTION = "1"  # version of what follows; what another one measured is measured again
HASH_SIDE = 32  # pixels; the perceptual hash sees no more of an image than this
HASH_TERMS = 8  # cosine terms along each axis
FACTS = (  # fields of a row that an inspection fills in
    *("width", "height", "inspected_by", "phash", "mirror_phash"),
    *("sharpness", "alpha", "flat", "border", "quality"),
)
BATCH = 512  # images; what is made of so many is written at a time
KEPT_FACTS = "facts.jsonl"  # beside the sketches: facts that are in no manifest yet

RunJobs = Callable[..., Iterator[tuple[int, sandbox.Answer]]]  # as `sandbox.run_unordered`


def inspect_samples(
    store: Store,
    progress: Progress,
    samples: Sequence[Sample],
    *,
    sketches: SketchStore,
    renders: Renders | None = None,
    run_jobs: RunJobs = sandbox.run_unordered,
) -> list[Sample]:
    """Fill in `FACTS` of every image in use, and of copies, that lacks them or its sketch.

    Equal bytes are decoded once. An image that cannot be decoded is dropped as `unreadable:WHY`;
    those are tried again each time. What a killed run had finished is not done again.

    Args:
        store: where the images lie.
        progress: counts the images that are decoded.
        samples: the rows.
        sketches: where the sketch of each image is kept.
        renders: if given, each image that is decoded and not denied to training is rendered, too.
        run_jobs: what runs the jobs, as `sandbox.run_unordered`.

    Returns:
        The rows in their order.

    Raises:
        InputError: a stored file is missing or has changed, or the disk refuses.
    """
    fresh = reinstate_samples(samples, UNREADABLE)
    samples = [new if new.sha256 else old for old, new in zip(samples, fresh, strict=True)]
    kept, names = sketches.root / KEPT_FACTS, sketches.known()
    found = {s.sha256: _facts_of(s) for s in samples if s.sha256 in names and _is_inspected(s)}
    due = [s for s in samples if s.drop_reason in ("", DUPLICATE) and s.sha256]
    due = [s for s in due if s.sha256 not in names or not _is_inspected(s)]
    if not due:
        kept.unlink(missing_ok=True)  # what a manifest has by now
        return list(samples)
    found |= {name: facts for name, facts in _read_facts(kept) if name in names}
    todo: dict[str, Any] = dict.fromkeys(sorted({str(s.sha256) for s in due} - found.keys()))
    if renders:
        allowed = (s for s in due if s.train is None or s.train.decision != "deny")
        todo |= {str(s.sha256): renders.settings for s in allowed if s.sha256 in todo}
    jobs = ({"root": str(store.root), "sha256": n, "render": todo[n]} for n in todo)
    answers = run_jobs(f"{__name__}:inspect_stored", jobs)
    shown, order = track(answers, len(todo), "images inspected", progress), list(todo)
    named = ((order[number], answer) for number, answer in shown)
    reasons: dict[str | None, str] = {}
    for name, answer in _keep_finished(named, kept, sketches, renders):
        if isinstance(answer, sandbox.WorkerFailure):
            reasons[name] = f"{UNREADABLE}:{answer.reason}"
        else:
            found[name] = answer
    changed = {s.key: found[s.sha256] for s in due if s.sha256 in found}
    filled = [replace(s, **changed[s.key]) if s.key in changed else s for s in samples]
    return drop_samples(filled, {s.key: reasons[s.sha256] for s in due if s.sha256 in reasons})


def _is_inspected(sample: Sample) -> bool:
    return sample.inspected_by == INSPECTION


def _facts_of(sample: Sample) -> dict[str, Any]:
    return {name: getattr(sample, name) for name in FACTS}


def inspect_stored(root: str, sha256: str, render: Mapping[str, Any] | None) -> sandbox.JobResult:
    """Inspect the image with this hash in the store at `root`; for `sandbox.run_jobs`.

    Args:
        root: folder of the store.
        sha256: of the image's bytes.
        render: settings of `render_image` but for `original`; None: it is not rendered.

    Returns:
        `FACTS` by name, with `rendered`, what `render_image` states, if it was asked for;
        the sketch, and the rendering after it.
    """
    data = Store(Path(root)).get(sha256)
    decoded = decode(data, at_least=pixels_needed(render["size"] if render else 0))
    image, original = decoded.image, decoded.size
    small = scale_to_small(image)
    sketch = sketch_image(small)
    facts: dict[str, Any] = {
        "width": original[0],
        "height": original[1],
        "inspected_by": INSPECTION,
        **measure_small(small),
        "alpha": alpha_share(image),
        "border": border_share(sketch),
        "quality": decoded.quality,
    }
    if render is None:
        return facts, sketch
    facts["rendered"], rendering = render_image(image, **render, original=original)
    return facts, sketch + rendering


def _keep_finished(
    answers: Iterable[tuple[str, sandbox.Answer]],
    kept: Path,
    sketches: SketchStore,
    renders: Renders | None,
) -> Iterator[tuple[str, dict[str, Any] | sandbox.WorkerFailure]]:
    """Pass on the facts of each image, and write down all that was made of it, in batches."""
    batch: list[tuple[str, dict[str, Any], bytes]] = []

    def write() -> None:
        sketches.add((name, sketch) for name, _, sketch in batch)
        lines = (json.dumps([name, facts]) + "\n" for name, facts, _ in batch)
        with disk_errors(kept), kept.open("a", encoding="utf-8") as file:
            file.write("\n" + "".join(lines))  # after what a killed run may have torn
        batch.clear()

    try:
        for name, answer in answers:
            if isinstance(answer, sandbox.WorkerFailure):
                yield name, answer
                continue
            facts, body = answer
            rendered = facts.pop("rendered", None)
            if renders is not None and rendered is not None:
                renders.put(name, rendered, body[SKETCH_BYTES:])
            batch.append((name, facts, body[:SKETCH_BYTES]))
            if len(batch) == BATCH:
                write()
            yield name, facts
    finally:
        if batch:
            write()


def _read_facts(kept: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """What `_keep_finished` wrote, as far as it is whole and of this version."""
    try:
        lines = kept.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        with suppress(ValueError, TypeError):
            name, facts = json.loads(line)
            if facts.keys() == set(FACTS) and facts["inspected_by"] == INSPECTION:
                yield name, facts


def measure_small(small: "Image.Image") -> dict[str, Any]:
    """`phash`, `mirror_phash`, `sharpness`, all of the image on white, and `flat`."""
    luma = flatten(small, "white").convert("L")
    phash, mirror_phash = perceptual_hashes(luma)
    hashes = {"phash": phash, "mirror_phash": mirror_phash}
    return {**hashes, "sharpness": sharpness(luma), "flat": is_flat(small)}


def perceptual_hashes(luma: "Image.Image") -> tuple[str, str]:
    """The perceptual hash of a luma image and of its mirror image, 16 hexadecimal digits each.

    As `imagehash.phash` defines it: 32 x 32 pixels (Lanczos), the lowest 8 x 8 terms of their
    cosine transform, a bit for each that is above the median. Terms are rounded before they are
    compared, so that those that only noise of the arithmetic tells from the median are not above
    it. Mirroring turns the sign of the odd horizontal terms.
    """
    import numpy as np
    from PIL import Image

    small = luma.resize((HASH_SIDE, HASH_SIDE), Image.Resampling.LANCZOS)
    basis = _cosines()
    terms = basis @ np.asarray(small, dtype=np.float64) @ basis.T
    mirrored = terms * np.where(np.arange(HASH_TERMS) % 2, -1, 1)
    found = []
    for each in (terms, mirrored):
        above = each.round(6) > np.median(each).round(6)
        found.append(np.packbits(above.ravel()).tobytes().hex())
    return found[0], found[1]


@cache
def _cosines() -> "NDArray[np.float64]":
    """The lowest terms of the cosine transform (DCT-II, as scipy has it): terms x pixels."""
    import numpy as np

    places = (2 * np.arange(HASH_SIDE) + 1) / (2 * HASH_SIDE)
    return 2 * np.cos(np.pi * np.arange(HASH_TERMS)[:, None] * places)


def is_flat(image: "Image.Image") -> bool:
    """Whether all pixels are of one colour and one opacity, but for rounding."""
    seen = image if image.mode == "RGB" else image.convert("RGBA").convert("RGBa")
    extrema: Any = seen.getextrema()
    return all(high - low <= 1 for low, high in extrema)


def alpha_share(image: "Image.Image") -> float:
    """Share of the pixels that are not opaque."""
    if image.mode != "RGBA":
        return 0.0
    clear: int = sum(image.getchannel("A").histogram()[:255])
    return clear / (image.width * image.height)


def border_share(sketch: bytes) -> float:
    """Share of the area of an image that is a plain border, as its sketch has it."""
    left, top, right, bottom = Sketches.from_bytes([sketch]).boxes()[0].tolist()
    return float(round(1 - (right - left) * (bottom - top), 4))


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
