"""From fetched images to shards: check, dedup, caption, pack; `build` is all of them in a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from curate.captions.clean import FILLS as CAPTION_FILLS
from curate.captions.clean import READS as CAPTION_READS
from curate.captions.clean import caption
from curate.commands.status import reason_counts, verdict_counts
from curate.dataset.engine import LOCAL, Engine, require_shared, run_unordered
from curate.dataset.folder import Dataset, Store, command_line
from curate.dataset.sample import Sample, live_samples
from curate.errors import InputError
from curate.rights import removals
from curate.rights.check import FILLS as CHECK_FILLS
from curate.rights.check import READS as CHECK_READS
from curate.rights.check import check
from curate.rights.licences import TERMS
from curate.rights.policy import Policy, read_policy
from curate.sources import SOURCES
from curate.system.progress import SILENT, Progress
from curate.system.settings import suggest

if TYPE_CHECKING:
    from curate.images.dedup import DedupSummary as Deduplicated
    from curate.shards.pack import PackSummary as Packed

_PLACES = {"folder": "DIR", "shards": "TARS", "hf": "PATH"}  # sources on this computer, and of what


@dataclass(frozen=True)
class CheckSummary:
    """What `curate check` decided, over the rows in use."""

    policy: str  # path of its file
    policy_sha256: str
    rows: int
    verdicts: Mapping[str, Mapping[str, int]]  # use -> decision -> rows
    reasons: Mapping[str, int]  # code that holds or denies training -> rows
    unlicensed: int  # rows from this computer of which no licence was ever stated

    def as_rows(self) -> list[tuple[object, ...]]:
        """A line for each use, then one for each reason."""
        counts = [
            (use, *(rows[decision] for decision in ("allow", "hold", "deny")))
            for use, rows in self.verdicts.items()
        ]
        return [*counts, *((f"not trained on: {c}", n, "", "") for c, n in self.reasons.items())]


@dataclass(frozen=True)
class CaptionSummary:
    """What `curate caption` wrote, over the rows in use."""

    rows: int
    captions: int
    without: int  # rows of which nothing was said in words

    def as_rows(self) -> list[tuple[object, ...]]:
        """A line for each count."""
        return [("rows", self.rows), ("captions", self.captions), ("rows without", self.without)]


@dataclass(frozen=True)
class BuildSummary:
    """What the steps did; `check` is the second one, which knows the copies."""

    check: CheckSummary
    dedup: "Deduplicated"
    caption: CaptionSummary
    pack: "Packed"

    def as_rows(self) -> list[tuple[object, ...]]:
        """A line for each count, in the order of the steps."""
        train = self.check.verdicts["train"].items()
        rows: list[tuple[object, ...]] = [("check", f"train: {d}", n) for d, n in train if n]
        for step in ("dedup", "caption", "pack"):
            rows += [(step, *row) for row in getattr(self, step).as_rows()]
        return rows


def check_dataset(
    dataset: Dataset, *, policy: str = "personal", progress: Progress = SILENT
) -> CheckSummary:
    """Identify every licence and decide every use by a policy; the command `curate check`.

    Raises:
        InputError: there is no dataset, or the policy cannot be understood.
        UsageError: no such policy, or another command is at work there.
    """
    return _run_check(dataset, policy, progress)


def check_copies(
    dataset: Dataset, *, policy: str = "personal", progress: Progress = SILENT
) -> CheckSummary:
    """What `check_dataset` gives after it ran before; only copies are decided again."""
    return _run_check(dataset, policy, progress, only_copies=True)


def _run_check(
    dataset: Dataset, policy: str, progress: Progress, *, only_copies: bool = False
) -> CheckSummary:
    rules = read_policy(policy)
    _check_source_names(rules, dataset)
    with dataset.lock(existing=True):
        step = partial(
            check,
            store=dataset.store,
            evidence=Store(dataset.evidence),
            removed=removals.read(dataset.root),
            only_copies=only_copies,
            progress=progress,
        )
        checked = dataset.run_step(
            step, "check", {"policy": policy}, reads=CHECK_READS, fills=CHECK_FILLS
        )
    samples = live_samples(checked)
    silent = _unlicensed(samples)
    return CheckSummary(
        policy=str(rules.path),
        policy_sha256=rules.sha256,
        rows=len(samples),
        verdicts=verdict_counts(samples),
        reasons=reason_counts(samples),
        unlicensed=len(silent),
    )


def _check_source_names(policy: Policy, dataset: Dataset) -> None:
    """Refuse a policy that names a source which nobody knows: what it says would never count."""
    named = {name: f"[sources.{name}]" for name in policy.sources}
    named |= dict.fromkeys(policy.believe, "[copies] believe")
    known = {source.name for source in SOURCES} | set(TERMS.values())
    if odd := sorted(set(named) - known):
        known |= {sample.source for sample in dataset.read_rows("source")}
        for name in (name for name in odd if name not in known):
            subject, fix = f"{policy.path} {named[name]}", suggest(name, sorted(known))
            raise InputError(subject, f"no source {name!r}", fix=fix)


def _unlicensed(samples: Sequence[Sample]) -> list[Sample]:
    """The images from this computer of which no licence was ever stated."""
    return [s for s in samples if s.source in _PLACES and not (s.license_text or s.license_url)]


def own_licence_command(dataset: Dataset) -> str:
    """What to type where images from this computer state no licence and the user made them."""
    source = _unlicensed(
        live_samples(dataset.read_rows("source", "license_text", "license_url", "dropped"))
    )[0].source
    return command_line(dataset.root, "fetch", source, _PLACES[source], "--license", "own")


def caption_dataset(
    dataset: Dataset, *, per_image: int = 4, engine: Engine = LOCAL
) -> CaptionSummary:
    """Caption every image from what came with it; the command `curate caption`.

    Args:
        dataset: the folder.
        per_image: captions an image gets at most.
        engine: where texts are cleaned.

    Raises:
        InputError: there is no dataset.
        UsageError: `per_image` is below 1, or another command is at work there.
    """
    with dataset.lock(existing=True):
        step = partial(caption, engine=engine)
        captioned = dataset.run_step(
            step, "caption", {"per_image": per_image}, reads=CAPTION_READS, fills=CAPTION_FILLS
        )
    samples = live_samples(captioned)
    counts = [len(s.captions) for s in samples]
    return CaptionSummary(len(counts), sum(counts), counts.count(0))


def build_dataset(  # noqa: PLR0913 every option of its steps
    dataset: Dataset,
    *,
    policy: str = "personal",
    false_matches: float = 1e-5,
    per_image: int = 4,
    size: int = 512,
    format: str = "jpg",
    background: str = "white",
    shard_size: float = 256.0,
    held_out: float = 0.0,
    split: str = "train",
    engine: Engine = LOCAL,
    progress: Progress = SILENT,
) -> BuildSummary:
    """Check, drop copies, check the copies, caption and pack; the command `curate build`.

    It ends after a check that allows nothing: no later step could change that. An image is decoded
    once for all steps (one that another looks like is looked at again), and not again where nothing
    changed.

    Args:
        dataset: the folder.
        policy: as in `check_dataset`.
        false_matches: as in `find_duplicates`.
        per_image: as in `caption_dataset`.
        size: pixels of the shorter side, as in `pack`.
        format: of the packed images, as in `pack`.
        background: under transparent pixels, as in `pack`.
        shard_size: as in `pack`.
        held_out: as in `pack`.
        split: as in `pack`.
        engine: where images are decoded, texts cleaned and shards written.
        progress: is told which step is at work, and counts images.

    Raises:
        InputError: nothing may be trained on, or as each of the steps; what was finished before
            stays.
        UsageError: as each of the steps.
    """
    from curate.images.dedup import find_duplicates
    from curate.shards.pack import check_pack_settings, pack, renders_of

    dataset.require_dataset()
    # before the steps that take time
    check_pack_settings(size, format, background, shard_size, held_out, split)
    require_shared(engine, dataset.root)
    progress.say(f"1 of 5: check by {read_policy(policy).path}")
    _require_allowed(dataset, check_dataset(dataset, policy=policy, progress=progress))
    progress.say("2 of 5: dedup")
    deduplicated = find_duplicates(
        dataset,
        false_matches=false_matches,
        renders=renders_of(dataset, size, format, background),
        run_jobs=partial(run_unordered, engine=engine),
        progress=progress,
    )
    for note in deduplicated.notes():
        progress.say(note)
    progress.say("3 of 5: check of copies, the strictest of each group counts")
    checked = check_copies(dataset, policy=policy, progress=progress)
    _require_allowed(dataset, checked)
    progress.say("4 of 5: caption")
    captioned = caption_dataset(dataset, per_image=per_image, engine=engine)
    progress.say("5 of 5: pack")
    packed = pack(
        dataset, size=size, format=format, background=background, shard_size=shard_size,
        held_out=held_out, split=split, engine=engine, progress=progress,
    )  # fmt: skip
    for note in packed.notes():
        progress.say(note)
    return BuildSummary(checked, deduplicated, captioned, packed)


def _require_allowed(dataset: Dataset, checked: CheckSummary) -> None:
    """Stop where no image may be trained on, with the reasons and what to type."""
    from curate.shards.withdraw import withdraw_stale

    train = checked.verdicts["train"]
    if train["allow"]:
        return
    decided = ", ".join(f"{decision} {n}" for decision, n in train.items() if n)
    reasons = ", ".join(f"{code} {n}" for code, n in list(checked.reasons.items())[:3])
    why = f"{decided}: {reasons}" if decided else "no image is in use"
    fix = command_line(dataset.root, "status")
    if held := live_samples(dataset.read().samples):
        fix = command_line(dataset.root, "explain", held[0].key)
    if checked.unlicensed:
        fix = own_licence_command(dataset)
        why += f"; if you made these {checked.unlicensed}, say so"
    problem = f"nothing to pack: no image may be trained on ({why}){withdraw_stale(dataset)}"
    raise InputError(dataset.root, problem, fix=fix)
