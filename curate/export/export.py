"""Write the images that may be trained on, with captions, as another trainer reads them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from curate.dataset.folder import Dataset, command_line
from curate.dataset.sample import Sample
from curate.errors import CurateError, InputError, LicenceError, UsageError
from curate.export.balance import STEPS, balance
from curate.export.buckets import check_resolution, sort_into_buckets
from curate.export.documents import Contents, ExportedImage, write_documents
from curate.export.folder import ExportFolder, Staged, open_folder
from curate.export.images import ANY_SIZE
from curate.export.trainers import MOST_SAMPLE_PROMPTS, TRAINERS, Plan, Trainer
from curate.formats.exports import exported_record
from curate.formats.shards import ALLOW, Record, credit_of
from curate.formats.verdicts import NOT_JOINED, count_stale
from curate.publish.choose import SHARING, find_sharing
from curate.rights.credits import record_credit
from curate.shards.pack import (
    EVIDENCE,
    Choice,
    check_pack_settings,
    choose_samples,
    what_mends,
)
from curate.shards.withdraw import name_some
from curate.system import sandbox
from curate.system.progress import SILENT, Progress, track
from curate.text import tokens

RESOLUTION = 1024  # pixels
MOST_REPEATS = 10
WORDS_SHOWN = 3  # that gain most
# reasons, or the first parts of them, that have to do with what an image may be used for
_RIGHTS = ("deny", "hold", "no-verdict", NOT_JOINED, *EVIDENCE.values())

RenderedImages = Mapping[str, tuple[Mapping[str, Any], Staged]]  # key -> its facts, its file


@dataclass(frozen=True)
class ExportSettings:
    """How to export, as a user says it."""

    format: str  # one of TRAINERS
    publish: bool = False  # only what may be given on
    size: int | None = None  # pixels of the shorter side at most; None: as received
    resolution: int = RESOLUTION  # pixels; what buckets and settings are for
    repeats: int = MOST_REPEATS  # showings of one image an epoch, at most; 1: all once
    background: str = "white"  # under transparent pixels

    def check(self) -> None:
        """Refuse what cannot be used.

        Raises:
            UsageError: one of them.
        """
        if self.format not in TRAINERS:
            fix = f"one of {', '.join(TRAINERS)}"
            raise UsageError("FORMAT", f"no format {self.format!r}", fix=fix)
        check_pack_settings(1 if self.size is None else self.size, "png", self.background)
        check_resolution(self.resolution)
        if not 1 <= self.repeats <= max(STEPS):
            raise UsageError("--repeats", f"must be 1 to {max(STEPS)}", fix="--repeats 1")

    def command(self, dataset: Dataset, folder: Path) -> str:
        """The command that exports so into a folder."""
        words = ["export", self.format, str(folder), *["--publish"] * self.publish]
        words += [] if self.size is None else ["--size", str(self.size)]
        for name in ("resolution", "repeats", "background"):
            if getattr(self, name) != getattr(ExportSettings, name):
                words += [f"--{name}", str(getattr(self, name))]
        return command_line(dataset.root, *words)


@dataclass(frozen=True)
class ExportSummary:
    """What `export` wrote, and what it left out."""

    folder: str
    format: str
    images: int
    captions: int
    buckets: Mapping[str, int]  # WIDTHxHEIGHT -> images
    too_small: Sequence[str]  # files of images that are smaller than their bucket
    repeats: Mapping[int, int]  # showings an epoch -> images; empty: this format cannot tell
    raised: Mapping[str, tuple[float, float]]  # rare word -> its share of an epoch before and now
    left_out: Mapping[str, str]  # key -> why
    not_shared: int  # of the images: may be trained on, but not given on
    taken_out: Sequence[str]  # files of an earlier export that are none of this
    others: Sequence[str]  # files there that no export wrote
    unchanged: bool  # all of it was there already
    start: str  # how the trainer is started

    def as_rows(self) -> list[tuple[str, int | str]]:
        """The summary as lines: what, how much."""
        rows: list[tuple[str, int | str]] = [("images", self.images), ("captions", self.captions)]
        rows += [(f"bucket {size}", count) for size, count in self.buckets.items()]
        rows += [(f"shown {n} times an epoch", count) for n, count in self.repeats.items()]
        rows += [(f"left out: {why}", count) for why, count in count_stale(self.left_out).items()]
        return [*rows, ("unchanged" if self.unchanged else "written", self.folder)]

    def notes(self) -> list[str]:
        """A sentence on each thing that a user should know of."""
        withheld = {key: why for key, why in self.left_out.items() if is_of_rights(why)}
        said = [f"not exported: {name_some(withheld)}"] * bool(withheld)
        if self.too_small:
            shown = name_some(dict.fromkeys(self.too_small, "would be enlarged"))
            said.append(f"{len(self.too_small)} images are smaller than their bucket: {shown}")
        for word, (before, now) in list(self.raised.items())[:WORDS_SHOWN]:
            said.append(f"{word}: {100 * before:.1f} % of an epoch, now {100 * now:.1f} %")
        if self.not_shared:
            said.append(f"{self.not_shared} images may not be given on; --publish leaves them out")
        if self.taken_out:
            gone = f"{len(self.taken_out)} files of an earlier export"
            said.append(f"taken out: {gone}, such as {min(self.taken_out)}")
        if self.others:
            cache = "a trainer's cache may still hold images that were taken out"
            count = f"{len(self.others)} other files there"
            said.append(f"{count}, such as {self.others[0]}, stay as they are; {cache}")
        return [*said, f"to train: {self.start}"]


def is_of_rights(reason: str) -> bool:
    """Whether it is for what an image may be used for that it is left out."""
    return reason in _RIGHTS or reason.startswith(SHARING) or reason == "dropped:removed"


def export(
    dataset: Dataset, folder: Path, settings: ExportSettings, *, progress: Progress = SILENT
) -> ExportSummary:
    """Export what `pack` would take, or with `publish` what of it may be given on; `curate export`.

    The folder holds just that afterwards: images that may no longer be trained on are taken out.
    Killed at any moment, the same command completes it; typed again, it changes nothing.

    Raises:
        UsageError: a setting cannot be used, or another command is at work there.
        LicenceError: nothing may be exported; what an earlier export wrote there is taken out.
        InputError: there is no dataset, nothing to export, the folder holds something else, or the
            disk refuses.
    """
    settings.check()
    trainer = TRAINERS[settings.format]
    _check_name(folder)
    plain = folder.name not in ("", "..")
    other = folder.with_name(f"{folder.name}-{trainer.name}") if plain else folder / trainer.name
    elsewhere = settings.command(dataset, other)
    with dataset.lock(existing=True):
        choice = choose_samples(dataset)
        shared = find_sharing(choice.rows.values()).decisions
        chosen, left_out = choice.chosen, dict(choice.left_out)
        if settings.publish:
            chosen = [s for s in chosen if shared[s.key] == ALLOW]
            held = (s.key for s in choice.chosen if shared[s.key] != ALLOW)
            left_out |= {key: f"{SHARING}:{shared[key]}" for key in held}
        with open_folder(folder, trainer.name, elsewhere) as place:
            rendered: dict[str, tuple[Mapping[str, Any], Staged]] = {}
            for key, answer in _render_all(dataset, chosen, settings, progress):
                if isinstance(answer, str):
                    left_out[key] = answer
                else:
                    rendered[key] = answer[0], place.stage(answer[1])
            if not rendered:
                raise _nothing_left(dataset, folder, settings, left_out, place.withdraw())
            contents = _describe(trainer, settings, choice, rendered, shared)
            return _write(trainer, settings, place, contents, rendered, left_out)


def _check_name(folder: Path) -> None:
    """Refuse a name that no settings file can hold."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        problem = "is not UTF-8, so that no settings file can name it"
        raise UsageError(folder, problem, fix="name another folder") from None


def _render_all(
    dataset: Dataset, samples: Sequence[Sample], settings: ExportSettings, progress: Progress
) -> Iterator[tuple[str, sandbox.JobResult | str]]:
    """Each key with the facts and bytes of its image, or with why there are none."""
    size = settings.size or ANY_SIZE
    shared = {"root": str(dataset.store.root), "size": size, "background": settings.background}
    jobs = ({**shared, "sha256": s.sha256} for s in samples)
    answers = sandbox.run_jobs("curate.export.images:render_original", jobs)
    both = zip(samples, answers, strict=True)
    for sample, answer in track(both, len(samples), "images", progress):
        if isinstance(answer, sandbox.WorkerFailure):
            yield sample.key, "unreadable"
        else:
            yield sample.key, answer[0].get("refused") or answer


def _nothing_left(
    dataset: Dataset, folder: Path, settings: ExportSettings, left_out: Mapping[str, str], gone: int
) -> CurateError:
    """Nothing can be exported: say why, what became of an earlier export, what to type first."""
    causes = ", ".join(f"{why} {count}" for why, count in count_stale(left_out).items())
    old = f"; {gone} files of an earlier export were taken out of {folder}" if gone else ""
    reasons = set(left_out.values())
    fix = what_mends(dataset.root, reasons)
    sharing = {why for why in reasons if why.startswith(SHARING)}
    if sharing and not reasons & {"no-verdict", NOT_JOINED}:
        own = replace(settings, publish=False).command(dataset, folder)
        fix = f"for a folder that you keep to yourself: {own}"
    asked = "to publish" if settings.publish else "to export"
    kind = LicenceError if any(map(is_of_rights, reasons)) else InputError
    return kind(dataset.root, f"nothing {asked} ({causes or 'no rows'}){old}", fix=fix)


def _describe(
    trainer: Trainer,
    settings: ExportSettings,
    choice: Choice,
    rendered: RenderedImages,
    shared: Mapping[str, str],
) -> Contents:
    """Where each image belongs, what is said of it, and how often it is shown."""
    captions = {key: _captions_of(choice.rows[key]) for key in rendered}
    words = {key: _words_of(said) for key, said in captions.items()}
    balanced = balance(words, settings.repeats if trainer.repeats else 1)
    names = _file_names(rendered)
    images = {}
    for key, (facts, _) in rendered.items():
        rows = [choice.rows[k] for k in (key, *choice.standings[key].copies)]
        record = {"modified": facts["modified"], "credits": [credit_of(row) for row in rows]}
        images[key] = ExportedImage(
            file=f"{trainer.place(balanced.repeats[key])}{names[key]}.{facts['format']}",
            captions=captions[key],
            credit=record_credit(cast(Record, record)),
            width=facts["width"],
            height=facts["height"],
            shared=shared[key] == ALLOW,
            record=exported_record(choice.rows[key]),
        )
    sizes = {key: (image.width, image.height) for key, image in images.items()}
    buckets = sort_into_buckets(sizes, settings.resolution)
    return Contents(images, balanced, buckets, settings.publish)


def _captions_of(sample: Sample) -> tuple[str, ...]:
    """Each caption as one line, as it is read back; equal ones once."""
    lines = (" ".join(caption.text.split()) for caption in sample.captions)
    return tuple(dict.fromkeys(filter(None, lines)))


def _words_of(captions: Sequence[str]) -> frozenset[str]:
    from curate.text.lemmas import is_function_word

    found = {word for text in captions for word in tokens.words(text)}
    return frozenset(word for word in found if not is_function_word(word))


def _file_names(keys: Mapping[str, object]) -> dict[str, str]:
    """A name for each key, without ending: the key, which is safe on every system.

    Keys that differ in case alone would be one file on some systems, and are told apart.
    """
    import hashlib

    same = Counter(key.lower() for key in keys)
    marks = {key: hashlib.sha256(key.encode()).hexdigest()[:8] for key in keys}
    return {key: key if same[key.lower()] == 1 else f"{key}-{marks[key]}" for key in keys}


def _write(
    trainer: Trainer,
    settings: ExportSettings,
    place: ExportFolder,
    contents: Contents,
    rendered: RenderedImages,
    left_out: Mapping[str, str],
) -> ExportSummary:
    """Put everything in its place, and say what was done."""
    images, balanced = contents.images, contents.balance
    several = trainer.every_caption and any(len(i.captions) > 1 for i in images.values())
    folders = {n: trainer.place(n) for n in balanced.counts()}
    often = sorted(images, key=lambda key: (-balanced.repeats[key], key))[:MOST_SAMPLE_PROMPTS]
    prompts = [images[key].captions[0] for key in often]
    plan = Plan(place.root, settings.resolution, folders, several, prompts)
    files = {image.file: rendered[key][1] for key, image in images.items()}
    if trainer.name != "hf":
        for image in images.values():
            name = f"{image.file.rpartition('.')[0]}.txt"
            files[name] = place.stage(trainer.caption_file(image.captions, several))
    documents = write_documents(trainer, plan, contents)
    files |= {name: place.stage(text) for name, text in documents.items()}
    before = set(place.names)
    small = [images[key].file for key in contents.buckets.too_small]
    index = {"format": trainer.name, "images": len(images), "too_small": small}
    unchanged = place.publish(files, index)
    used = sum(len(i.captions) if trainer.every_caption else 1 for i in images.values())
    return ExportSummary(
        folder=str(place.path),
        format=trainer.name,
        images=len(images),
        captions=used,
        buckets=contents.buckets.counts(),
        too_small=small,
        repeats=balanced.counts() if trainer.repeats else {},
        raised=balanced.raised,
        left_out=dict(sorted(left_out.items())),
        not_shared=sum(not image.shared for image in images.values()),
        taken_out=sorted(before - files.keys()),
        others=[name for name in place.others() if name not in files],
        unchanged=unchanged,
        start=trainer.start_in(str(place.root)),
    )
