"""A page of all groups: which images were taken for copies or kin, what stays, and why."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.dataset.folder import Dataset, Store
from curate.dataset.sample import DUPLICATE, Sample
from curate.errors import InputError
from curate.images.decode import UndecodableError, decode_image
from curate.images.dedup import derived_beside, read_thresholds
from curate.images.proof import Proof, read_proofs
from curate.images.render import make_thumbnail
from curate.system import sandbox
from curate.system.files import write_bytes
from curate.system.progress import SILENT, Progress, track
from curate.system.web_page import data_uri, render_page

MOST_GROUPS = 200  # that are shown
MOST_MEMBERS = 16  # of a group that are shown
LARGE = 8  # images of a group above which it is looked at first: chains hide in large ones
SIDE = 128  # pixels, longer side of what is shown
STYLE = """
.group .images figure, .group .images img { width: auto; max-width: 128px; }
.group .images figure { max-width: 15rem; min-width: 8rem; }
.group .images figcaption b { display: block; }
.group .stays img { outline: 3px solid var(--fine-fill); outline-offset: 1px; }
.group .dropped img { opacity: .55; }
.none { width: 128px; padding: 1rem .5rem; background: var(--panel); }
"""


def write_groups_page(dataset: Dataset, path: Path, *, progress: Progress = SILENT) -> None:
    """Write the page of what `dedup` found; large groups and doubtful likenesses come first.

    Args:
        dataset: the folder.
        path: of the page.
        progress: counts the images that are read.

    Raises:
        InputError: there is no dataset, or the page cannot be written.
    """
    samples, kept = dataset.read().samples, derived_beside(dataset.store)
    groups = order_groups(samples)
    shown = [members[:MOST_MEMBERS] for members in groups[:MOST_GROUPS]]
    images = _small_images(dataset.store, shown, progress)
    proofs = read_proofs(kept)
    kinds = Counter(s.likeness.kind for group in groups for s in group if s.likeness)
    page = render_page(
        "curate.images/groups.html.j2",
        style=STYLE,
        found=read_thresholds(kept),
        name=str(dataset.root),
        images=len(samples),
        grouped=sum(map(len, groups)),
        dropped=sum(s.drop_reason == DUPLICATE for s in samples),
        total=len(groups),
        kinds=sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0])),
        groups=[
            _group_facts(group, len(whole), images, proofs)
            for group, whole in zip(shown, groups, strict=False)
        ],
    )
    write_bytes(path, page.encode())
    progress.say(f"wrote {path}")


def order_groups(samples: Sequence[Sample]) -> list[list[Sample]]:
    """All groups of two rows or more, the doubtful first; of each what stays, then by key."""
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.group is not None:
            found[sample.group].append(sample)
    groups = [
        sorted(rows, key=lambda s: (s.dropped is not None, s.key))
        for rows in found.values()
        if len(rows) > 1
    ]

    def doubt(rows: Sequence[Sample]) -> tuple[int, float, str]:
        scores = [s.likeness.score for s in rows if s.likeness]
        return -len(rows) if len(rows) > LARGE else 0, min(scores, default=1.0), str(rows[0].group)

    return sorted(groups, key=doubt)


def _group_facts(
    rows: Sequence[Sample],
    size: int,
    images: Mapping[str, str],
    proofs: Mapping[str, Proof],
) -> dict[str, Any]:
    copied = {s.drop_detail for s in rows if s.drop_reason == DUPLICATE}
    scores = [s.likeness.score for s in rows if s.likeness]
    return {
        "name": rows[0].group,
        "size": size,
        "more": size - len(rows),
        "score": f"{min(scores):.3f}" if scores else "not known",
        "members": [
            {
                "key": sample.key,
                "image": images.get(str(sample.sha256)),
                "facts": _facts(sample),
                "what": tell_place(sample, sample.key in copied, proofs),
                "state": _state(sample, copied),
                "like": sample.likeness,
            }
            for sample in rows
        ],
    }


def _state(sample: Sample, copied: set[str]) -> str:
    if sample.dropped is not None:
        return "dropped"
    return "stays" if sample.key in copied else "kin"


def _facts(sample: Sample) -> str:
    size = f"{sample.width} x {sample.height}" if sample.width else None
    quality = f"quality {sample.quality}" if sample.quality else None
    detail = f"{sample.resolved:.0%} detail" if sample.resolved is not None else None
    noise = f"noise {sample.noise:.1f}" if sample.noise is not None else None
    licence = sample.license or sample.license_text
    facts = (size, sample.format, quality, detail, noise, licence, sample.author)
    return ", ".join(fact for fact in facts if fact)


def tell_place(sample: Sample, has_copies: bool, proofs: Mapping[str, Proof]) -> str:
    """What became of a row of a group, and why, in words.

    Args:
        sample: the row.
        has_copies: whether others were dropped as copies of it.
        proofs: what was found of files, by the SHA-256 of their bytes.
    """
    proof = proofs.get(str(sample.sha256))
    if sample.drop_reason == DUPLICATE:
        as_good = "as good by its pixels, less is documented or said"
        why = as_good if proof and not proof.place else proof.how if proof else "fewer pixels"
        return f"dropped as a copy of {sample.drop_detail}: {why}"
    if sample.dropped is not None:
        return f"out of use: {sample.dropped}"
    if not has_copies:
        return "in use, only of the group"
    if proof is None or not proof.alone:
        return "stays: its pixels are as good as any, then what is documented, then its words"
    return "stays: the original, as far as pixels tell"


def _small_images(
    store: Store, groups: Sequence[Sequence[Sample]], progress: Progress
) -> dict[str, str]:
    """By the SHA-256 of an image's bytes a small one as a data address."""
    files = sorted({str(s.sha256) for rows in groups for s in rows if s.sha256})
    files = [name for name in files if store.path_of(name).exists()]
    jobs = [{"root": str(store.root), "sha256": name} for name in files]
    answers = sandbox.run_jobs(f"{__name__}:small_image_job", jobs) if jobs else ()
    shown = zip(files, track(answers, len(files), "thumbnails", progress), strict=True)
    return {
        name: data_uri(answer[1], "webp")
        for name, answer in shown
        if not isinstance(answer, sandbox.WorkerFailure) and answer[1]
    }


def small_image_job(root: str, sha256: str) -> sandbox.JobResult:
    """A stored image made small, as WebP; nothing where it cannot be shown."""
    try:
        image = decode_image(Store(Path(root)).get(sha256), at_least=SIDE)
    except (UndecodableError, InputError):
        return {}, b""
    return {}, make_thumbnail(image, SIDE)
