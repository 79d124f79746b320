"""What whole pixels tell of the files of one picture: which is the original, and how they differ.

Only files that show one picture are decoded for this, together, once: what was found is kept beside
the store until a file comes or goes.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curate.dataset.folder import Store
from curate.dataset.sample import Sample
from curate.images.decode import decode_image, flatten, pixel_sha256, read_quality
from curate.images.descent import Candidate, noise_of, rank_files
from curate.images.inspect import RunJobs
from curate.images.sketch import find_inside
from curate.images.sniff import sniff_format
from curate.system import sandbox
from curate.system.files import write_bytes
from curate.system.progress import SILENT, Progress, track

if TYPE_CHECKING:
    from PIL import Image

FILE_NAME = "proofs.jsonl"  # in the folder of what is derived
VERSION = 1  # of what follows
MOST_FILES = 12  # of one picture that are held against each other; the largest
WINDOW = 64  # pixels, side of what a spectrum is made of
MOST_WINDOWS = 10  # along each axis
BUSY = 3  # one window of so many, the busiest, counts: detail shows at edges
SHELLS = 32  # of a spectrum, each a 64th of a cycle a pixel
# A shell holds detail while its power is at least this share of that of coarse ones, noise taken
# off and weighed with the square of the frequency, with which that of natural images falls (Field,
# "Relations between the statistics of natural images", 1987)
LEAST_DETAIL = 0.01
SMALL = 256  # pixels, longer side of what a border is looked for in


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found of one file among those of its picture."""

    sha256: str  # of its bytes
    place: int  # 0 the original, or not to be told from it; then by detail
    alone: bool  # whether no other file is as good by what pixels tell
    how: str  # what tells the original from it: "saved as JPEG 75"; "" of the original
    pixel_sha256: str
    resolved: float  # as `Sample` has it
    noise: float


def prove_pictures(
    store: Store,
    pictures: Iterable[Sequence[Sample]],
    kept: Path,
    *,
    progress: Progress = SILENT,
    run_jobs: RunJobs = sandbox.run_unordered,
) -> dict[str, Proof]:
    """What was found of every file of some pictures, by the SHA-256 of its bytes.

    A file that cannot be decoded whole, a very large one, is left out.

    Args:
        store: where images lie.
        pictures: the rows that show one picture, for each of them; several of one file count once.
        kept: folder of what is derived.
        progress: counts pictures.
        run_jobs: as `sandbox.run_unordered`.

    Raises:
        InputError: a stored file is missing or has changed, or the disk refuses.
    """
    asked = sorted({files for rows in pictures if len(files := _chosen(rows)) > 1})
    before = _read(kept)
    due = [files for files in asked if files not in before]
    jobs = [{"root": str(store.root), "files": list(files)} for files in due]
    answers = run_jobs(f"{__name__}:proof_job", jobs) if jobs else ()
    found = {files: before[files] for files in asked if files in before}
    for number, answer in track(answers, len(jobs), "pictures compared", progress):
        if not isinstance(answer, sandbox.WorkerFailure):
            found[due[number]] = [Proof(**proof) for proof in answer[0]["proofs"]]
    if found != before:
        lines = (
            json.dumps([VERSION, files, [asdict(p) for p in found[files]]])
            for files in sorted(found)
        )
        write_bytes(kept / FILE_NAME, "".join(f"{line}\n" for line in lines).encode())
    return {proof.sha256: proof for proofs in found.values() for proof in proofs}


def read_proofs(kept: Path) -> dict[str, Proof]:
    """What was found last, by the SHA-256 of the bytes of each file."""
    return {proof.sha256: proof for proofs in _read(kept).values() for proof in proofs}


def _read(kept: Path) -> dict[tuple[str, ...], list[Proof]]:
    found = {}
    try:
        lines = (kept / FILE_NAME).read_text(encoding="utf-8").splitlines()
        for line in lines:
            version, files, proofs = json.loads(line)
            if version == VERSION:
                found[tuple(files)] = [Proof(**proof) for proof in proofs]
    except (OSError, ValueError, TypeError):  # derived: found again
        return {}
    return found


def _chosen(rows: Sequence[Sample]) -> tuple[str, ...]:
    """The files of a picture that are held against each other."""
    area = {str(s.sha256): (-s.area, -(s.quality or 0)) for s in rows if s.sha256}
    largest = sorted(area, key=lambda name: (area[name], name))[:MOST_FILES]
    return tuple(sorted(largest))


def proof_job(root: str, files: Sequence[str]) -> sandbox.JobResult:
    """Compare the stored files of one picture; for `sandbox.run_jobs`."""
    store = Store(Path(root))
    candidates, facts = [], []
    for name in files:
        data = store.get(name)
        image = decode_image(data)
        candidate, noise = make_candidate(image, data)
        candidates.append(candidate)
        known = {"pixel_sha256": pixel_sha256(image), "resolved": candidate.resolved}
        facts.append({"sha256": name, **known, "noise": noise})
    places = rank_files(candidates)
    alone = sum(place.tied for place in places) == 1
    proofs = [
        facts[place.number]
        | {"place": 0 if place.tied else n, "alone": alone and place.tied, "how": place.how}
        for n, place in enumerate(places)
    ]
    return {"proofs": proofs}, b""


def fill_pixel_hashes(store: Store, samples: Sequence[Sample]) -> list[Sample]:
    """The samples with `pixel_sha256` of each that can be decoded whole, where it lacks.

    Raises:
        InputError: a stored file is missing or has changed.
    """
    due = sorted({str(s.sha256) for s in samples if s.sha256 and not s.pixel_sha256})
    jobs = [{"root": str(store.root), "sha256": name} for name in due]
    answers = sandbox.run_jobs(f"{__name__}:pixels_job", jobs) if jobs else ()
    found = {
        name: answer[0]["pixel_sha256"]
        for name, answer in zip(due, answers, strict=True)
        if not isinstance(answer, sandbox.WorkerFailure)
    }
    return [replace(s, pixel_sha256=s.pixel_sha256 or found.get(str(s.sha256))) for s in samples]


def pixels_job(root: str, sha256: str) -> sandbox.JobResult:
    """`pixel_sha256` of a stored image; for `sandbox.run_jobs`."""
    return {"pixel_sha256": pixel_sha256(decode_image(Store(Path(root)).get(sha256)))}, b""


def make_candidate(image: "Image.Image", data: bytes) -> tuple[Candidate, float]:
    """A decoded image as it is compared with others of its picture, and its noise in levels.

    Args:
        image: as `decode_image` gives it.
        data: its file.
    """
    from PIL import Image
    from PIL.JpegImagePlugin import get_sampling

    opaque = flatten(image, "white")
    small = opaque.copy()
    small.thumbnail((SMALL, SMALL), Image.Resampling.BOX)
    scale = image.width / small.width, image.height / small.height
    box = [round(edge * scale[n % 2]) for n, edge in enumerate(find_inside(np.asarray(small)))]
    luma = opaque.convert("L")
    inside = luma.crop((box[0], box[1], box[2], box[3]))
    values = np.asarray(inside).astype(np.float32)
    noise = noise_of(values)
    known: dict[str, Any] = {"resolved": round(resolved_share(values, noise), 4)}
    if sniff_format(data[:32]) == "JPEG":
        file = Image.open(io.BytesIO(data))
        tables: Mapping[int, list[int]] = getattr(file, "quantization", {})
        known |= {"tables": [list(t) for _, t in sorted(tables.items())] or None}
        known |= {"sampling": max(0, get_sampling(file)), "quality": read_quality(data)}
    known["lossy"] = data[8:12] == b"WEBP" and b"VP8 " in data[12:64]
    return Candidate(luma, inside.size, rgb=opaque, **known), round(noise, 3)


def resolved_share(luma: NDArray[np.float32], noise: float) -> float:
    """Share of a side, 0 to 1, that is detail: of an image enlarged twice, about a half.

    The shells of its spectrum that hold something; see `LEAST_DETAIL`, which is our choice. Of less
    than 16 pixels nothing can be said: 1.
    """
    side = min(WINDOW, *luma.shape)
    if side < 16:
        return 1.0
    frequency = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    steepness = frequency[0] ** 2 + frequency[1] ** 2
    shell = np.ceil(np.maximum(np.abs(frequency[0]), frequency[1]) * 2 * SHELLS - 1e-6)
    power = _busy_power(luma, side)
    weighed, quiet = [], []
    for number in range(1, SHELLS + 1):
        here = shell == number
        if here.any():
            weighed.append(float((power * steepness)[here].mean()))
            quiet.append(float(steepness[here].mean()) * 1.5 * (noise**2 + 1 / 12))
    values, floor = np.array(weighed), np.array(quiet)
    coarse = float(np.median(values[1 : max(2, len(values) // 4)]))
    held = float((values - floor > LEAST_DETAIL * coarse).mean())
    return max(held, 1 / SHELLS)


def _busy_power(luma: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """The power spectrum of the windows that hold most of what is fine, a pixel."""
    taper = np.hanning(side + 2)[1:-1]
    taper = np.outer(taper, taper)
    taper /= np.sqrt((taper**2).mean())
    places = [
        np.unique(np.linspace(0, length - side, min(MOST_WINDOWS, 2 * length // side)).astype(int))
        for length in luma.shape
    ]
    spectra, busy = [], []
    for top in places[0].tolist():
        for left in places[1].tolist():
            part = luma[top : top + side, left : left + side]
            terms = np.fft.rfft2((part - part.mean()) * taper)
            spectra.append(np.abs(terms) ** 2 / side**2)
            busy.append(float(np.abs(np.diff(part, axis=0)).mean()))
    chosen = np.argsort(-np.array(busy), kind="stable")[: max(1, len(spectra) // BUSY)]
    mean: NDArray[np.float32] = np.mean([spectra[n] for n in chosen], axis=0)
    return mean
