"""Images that show the same scene, as an image encoder has it: `curate dedup --scenes MODEL`.

Two photographs of one church are no copies. They are told for whoever splits or weighs: nothing is
dropped, and no group is made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curate.dataset.folder import Dataset, Store
from curate.dataset.sample import Sample
from curate.formats.copies import Groups
from curate.images.calibrate import tail_score
from curate.images.decode import decode_image, flatten
from curate.system import sandbox
from curate.system.progress import SILENT, Progress, track

if TYPE_CHECKING:
    from curate.vision.encoders import ImageEncoder

USAGE = "--scenes MODEL, such as --scenes efficientnet"
SIDE = 224  # pixels, of the squares that are encoded
BATCH = 64  # images encoded at a time
ROWS_A_STEP = 2048  # images compared at a time
RANDOM_PAIRS = 20000  # whose likeness gives the threshold
FEWEST = 32  # images of which a threshold can be learnt
FALSE_PAIRS = 1e-5  # share of the pairs of different scenes that may be taken for one
NEIGHBOURS = 4  # nearest images of each that count, if each is among those of the other

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class ScenesSummary:
    """What `find_scenes` found."""

    images: int  # that were looked at
    scenes: int  # of two images or more
    in_scenes: int  # images in them
    threshold: float  # cosine from which two images show one scene

    def lines(self) -> list[str]:
        """A sentence."""
        return [
            f"scenes: {self.in_scenes} of {self.images} images in use are in {self.scenes} scenes "
            f"(cosine {self.threshold:.3f} or more, as the set itself gives)"
        ]


def tell_scenes(dataset: Dataset, model: str, progress: Progress) -> None:
    """`find_scenes` with the encoder that a name means, and what it found, said.

    Raises:
        UsageError: a package is missing, or as `find_scenes`.
        InputError: the weights cannot be had, or as `find_scenes`.
    """
    from curate.vision.encoders import load_image_encoder

    encoder = load_image_encoder(model, usage=USAGE)
    for line in find_scenes(dataset, encoder, progress=progress).lines():
        progress.say(line)


def find_scenes(
    dataset: Dataset, encoder: "ImageEncoder", *, progress: Progress = SILENT
) -> ScenesSummary:
    """Fill in `scene` of the images in use: the smallest key of those that show the same.

    Two images show one scene if their vectors are nearer than all but a share of `FALSE_PAIRS` of
    random pairs of the set, and each is among the `NEIGHBOURS` nearest of the other. Every two
    images are compared: the time grows with the square of their number.

    Raises:
        InputError: there is no dataset, or a stored file is missing or has changed.
        UsageError: another command is at work there.
    """
    found: list[ScenesSummary] = []

    def step(rows: Sequence[Sample], *, encoder: str) -> list[Sample]:
        del encoder  # told in the history
        scenes, summary = _scenes_of(dataset.store, rows, given, progress)
        found.append(summary)
        return [replace(s, scene=scenes.get(s.key)) for s in rows]

    given = encoder
    settings = {"encoder": f"{encoder.name} {encoder.digest[:12]}"}
    with dataset.lock(existing=True):
        dataset.run_step(step, "scenes", settings, reads=("sha256",), fills=("scene",))
    return found[0]


def _scenes_of(
    store: Store, rows: Sequence[Sample], encoder: "ImageEncoder", progress: Progress
) -> tuple[Mapping[str, str], ScenesSummary]:
    by_file: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda s: s.key):
        if row.dropped is None and row.sha256:
            by_file.setdefault(row.sha256, []).append(row.key)
    files, vectors = _encode(store, sorted(by_file), encoder, progress)
    groups = Groups()
    near = find_neighbours(vectors)
    threshold = scene_threshold(vectors, near)
    for (one, other), cosine in near.items():
        if cosine >= threshold:
            groups.join(by_file[files[one]][0], by_file[files[other]][0])
    for keys in by_file.values():
        for key in keys[1:]:
            groups.join(keys[0], key)
    names = groups.names()
    return names, ScenesSummary(len(files), len({*names.values()}), len(names), threshold)


def _encode(
    store: Store, files: Sequence[str], encoder: "ImageEncoder", progress: Progress
) -> tuple[list[str], Vectors]:
    """The files that can be decoded, and a vector of length 1 of each."""
    jobs = ({"root": str(store.root), "sha256": name} for name in files)
    answers = sandbox.run_jobs(f"{__name__}:square_job", jobs) if files else ()
    seen, waiting, vectors = [], [], []
    for name, answer in zip(files, track(answers, len(files), "images", progress), strict=True):
        if isinstance(answer, sandbox.WorkerFailure):
            continue
        seen.append(name)
        waiting.append(np.frombuffer(answer[1], dtype=np.uint8).reshape(SIDE, SIDE, 3))
        if len(waiting) == BATCH:
            vectors.append(encoder.encode_images(np.stack(waiting)))
            waiting = []
    if waiting:
        vectors.append(encoder.encode_images(np.stack(waiting)))
    if not vectors:
        return [], np.zeros((0, 1), dtype=np.float32)
    stacked = np.concatenate(vectors).astype(np.float32)
    stacked -= stacked.mean(axis=0)  # what all of the set have in common tells nothing apart
    norms = np.linalg.norm(stacked, axis=1, keepdims=True)
    return seen, stacked / np.maximum(norms, 1e-6)


def square_job(root: str, sha256: str) -> sandbox.JobResult:
    """A stored image in a white square, as RGB."""
    from PIL import Image, ImageOps

    image = flatten(decode_image(Store(Path(root)).get(sha256), at_least=SIDE), "white")
    square = ImageOps.pad(image, (SIDE, SIDE), Image.Resampling.BICUBIC, color="white")
    return {}, square.tobytes()


def scene_threshold(vectors: Vectors, near: Mapping[tuple[int, int], float]) -> float:
    """The cosine that hardly a random pair of the set reaches; 1 of a few, which tell nothing.

    Of `near`, those that are each other's nearest are left out: they may show one scene.
    """
    count = len(vectors)
    if count < FEWEST:
        return 1.0
    chance = np.random.default_rng(0)
    one, step = chance.integers(0, count, RANDOM_PAIRS), chance.integers(1, count, RANDOM_PAIRS)
    other = (one + step) % count
    best = np.full(count, -2.0)
    for (i, j), cosine in near.items():
        best[i], best[j] = max(best[i], cosine), max(best[j], cosine)
    closest = [(i, j) for (i, j), cosine in near.items() if cosine == best[i] == best[j]]
    linked = {i * count + j for i, j in closest} | {j * count + i for i, j in closest}
    apart = ~np.isin(one * count + other, list(linked))
    one, other = one[apart], other[apart]
    cosines = np.concatenate(
        [
            np.einsum("nd,nd->n", vectors[one[part]], vectors[other[part]])
            for part in np.array_split(np.arange(len(one)), 40)
        ]
    )
    return min(tail_score(cosines.astype(np.float32), FALSE_PAIRS), 1.0)


def find_neighbours(vectors: Vectors) -> dict[tuple[int, int], float]:
    """The cosine of each pair (i, j), i < j, of images that are among each other's nearest."""
    near: list[dict[int, float]] = []
    most = min(NEIGHBOURS, len(vectors) - 1)
    for start in range(0, len(vectors), ROWS_A_STEP):
        cosines = vectors[start : start + ROWS_A_STEP] @ vectors.T
        own = np.arange(len(cosines))
        cosines[own, own + start] = -2
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :most]
        for row, numbers in zip(cosines, best, strict=True):
            near.append({int(n): float(row[n]) for n in numbers})
    return {
        (i, j): cosine
        for i, found in enumerate(near)
        for j, cosine in sorted(found.items())
        if i < j and i in near[j]
    }
