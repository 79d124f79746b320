"""A whole run: build the stages, train each in turn, write the model and its pictures."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from curate.errors import InputError, UsageError
from curate.formats.model import MODEL_FILE, NO_FACTS, ModelFacts, read_model
from curate.system.files import lock_folder, write_bytes
from curate.system.progress import SILENT, Progress
from train import config
from train.checkpoints import checkpoint, credits
from train.checkpoints.checkpoint import Cascade, Stage
from train.config import TrainConfig
from train.data import dataset
from train.data.batches import Corpus
from train.device import pick_device, precision
from train.model.unet import UNet
from train.size import Size, listed
from train.text_encoder.embeddings import TextScale
from train.training import convergence, distributed, loop, memory, plan, resume, timing
from train.training import log as journal
from train.training.log import Journal
from train.training.loop import Lesson, Run
from train.training.sets import Source, lesson_of, sources_of

SETTINGS = "settings.json"
FLAT = 0.05  # least spread of pictures assumed, so that a set of one colour stays finite
FREE = {  # settings that may be changed while a run is under way
    *("learning_rate", "finetune_rate", "max_grad_norm", "cache_gigabytes"),
    *("gradient_accumulation", "gradient_checkpointing"),
    *("log_every", "save_every", "save_seconds", "sample_every", "sample_prompts", "tensorboard"),
}


def finetune(
    shards: Path,
    folder: Path,
    settings: TrainConfig,
    *,
    init: Path | None = None,
    replay: Path | None = None,
    regularization: Path | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Cascade:
    """Train a cascade on `shards`, from nothing or from the checkpoint `init`.

    A finished run is returned as it is; an unfinished one goes on where it was last saved, and on
    a CPU ends with the bytes an uninterrupted run would have written. Settings in `FREE` may be
    others than before; the model's file then tells from when on.

    Args:
        shards: folder of shards, or the dataset folder that holds them.
        folder: where the run writes.
        settings: how to train; with `init`, its stages and size are taken from there.
        init: checkpoint to start from.
        replay: shards of what `init` was trained on, mixed into every batch.
        regularization: shards of images that `init` drew, mixed in likewise, so that it goes on
            drawing such images (prior preservation: Ruiz et al., arXiv:2208.12242, section 3.3).
        device: `auto`, `cpu` or `cuda`.
        progress: counts what is prepared, then the images each stage has seen, with the latest
            loss; told what a user should know, such as images left out. Of several processes
            only the first one's hears anything.

    Raises:
        InputError: shards, checkpoint or folder cannot be used; each says why.
        UsageError: it cannot fit into memory, or batches cannot be split among the processes.
    """
    if settings.tensorboard:
        journal.needs_tensorboard()
    folders = {"new": shards, "replay": replay, "regularization": regularization}
    with _opened(folder, settings, pick_device(device), tuning=init is not None) as run:
        if run.rank == 0:
            run.progress = progress
        return _train(run, folders, init)


def _train(run: Run, folders: Mapping[str, Path | None], init: Path | None) -> Cascade:
    settings, folder = run.config, run.folder
    start = checkpoint.load(init) if init else None
    if run.rank:
        run.meet()  # the first process fills the caches
    sources = sources_of(run, folders)
    changed = _claim(run, sources, start)
    if (folder / MODEL_FILE).exists():
        run.progress.say(f"{folder}: already trained; nothing to do")
        if run.rank == 0:
            resume.remove(folder)
            run.meet()
        return checkpoint.load(folder)
    lesson = lesson_of(run, sources)
    if told := timing.slow_precision(settings.precision, run.device, precision(run.device)):
        run.progress.say(told)
    owed: list[dict[str, str]] = []
    if run.rank == 0:
        _refuse_too_large(run, lesson, start)
        owed = _credits(sources, init)
        _begin_journal(run, sources)
        run.meet()
    cascade = start or _new_cascade(settings, lesson.corpus)
    stages = cascade.stages
    for number in range(resume.restore_finished(folder, stages), len(stages)):
        loop.train_stage(run, lesson, stages[number], number, stages[:number])
        if run.rank == 0 and number + 1 < len(stages):
            resume.finish(folder, number, stages[number])
        run.meet()
    if run.rank == 0:
        words, digests = _shown(sources, start.facts if start else NO_FACTS)
        cascade.facts = ModelFacts(
            settings=config.to_json(settings),
            changed=changed,
            init=start.digest if start else None,
            words=words,
            licences=dict(Counter(credit["license"] or "unknown" for credit in owed)),
            shards=digests,
            convergence=_convergence(cascade, lesson, run.device),
        )
        checkpoint.save(folder / MODEL_FILE, cascade, owed)
        resume.remove(folder)
    run.journal.close()
    run.meet()
    return cascade


def taken_over(init: Path, stated: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Settings stated in a file and typed, with stages, network and text encoder of `init`.

    Where no images are stated and it has other stages than a new cascade, its base sees as many
    as a new base, and each super-resolution stage as many as a new one.

    Raises:
        UsageError: a size was asked for; the network is the checkpoint's.
    """
    asked = {**stated, **{name: value for name, value in typed.items() if value is not None}}
    if "model_size" in asked:
        raise UsageError("--model-size", "the network is that of --init", fix="leave out the size")
    found = read_model(init)
    stages = tuple(Size.of(stage.size) for stage in found.stages)
    base, above = TrainConfig.images
    images = (base, *[above] * (len(stages) - 1))
    was = found.facts.settings
    own = {name: was[name] for name in ("model_size", "mid_blocks") if name in was}
    return {"stages": stages, "images": images, "text_encoder": found.encoder, **own, **asked}


@contextmanager
def _opened(
    folder: Path, settings: TrainConfig, device: torch.device, *, tuning: bool
) -> Iterator[Run]:
    """The run's folder, held by this run alone, and the processes that share the work."""
    rank, world = distributed.share()
    batch = settings.batch_size
    last = min((n % batch or batch for n in settings.images if n), default=world)
    if last < world:
        raise UsageError(
            "--images",
            f"the last batch has {last} images for {world} processes",
            fix=f"multiples of the batch of {batch}",
        )
    device = distributed.own(device, world)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with distributed.together(device, world), lock_folder(folder) if rank == 0 else nullcontext():
        log = Journal(folder, settings.tensorboard)
        yield Run(folder, settings, device, tuning, log, rank, world)


def _claim(run: Run, sources: Sequence[Source], start: Cascade | None) -> list[dict[str, Any]]:
    """Note in the folder what the run is; refuse a folder that holds another run.

    Returns:
        Settings that were changed while the run was under way: where it was, old and new values.
    """
    if start:
        _refuse_other_init(run.config, start)
    digests = {source.name: source.digest for source in sources}
    facts: dict[str, Any] = {
        "settings": config.to_json(run.config),
        "shards": digests["new"],
        "replay": digests.get("replay"),
        "regularization": digests.get("regularization"),
        "init": start and start.digest,
        "changed": [],
    }
    path, finished = run.folder / SETTINGS, (run.folder / MODEL_FILE).exists()
    at = resume.position(run.folder)
    if path.exists() and (finished or at):
        was = json.loads(path.read_text(encoding="utf-8"))
        gone = [k for k in was["settings"] if k not in facts["settings"]]
        other = [k for k, v in facts["settings"].items() if was["settings"].get(k) != v]
        others = [k for k in facts if k not in ("settings", "changed") and was.get(k) != facts[k]]
        if gone or others or not set(other) <= FREE or (other and finished):
            which = f"another run (other {', '.join([*other, *others])})"
            if gone:
                which = f"a run of another version, with other settings ({', '.join(gone)})"
            fix = "name a new folder with --out, or remove this one"
            raise InputError(run.folder, f"holds {which}", fix=fix)
        facts["changed"] = was.get("changed", [])
        if other and at:
            values = {k: [was["settings"].get(k), facts["settings"][k]] for k in other}
            facts["changed"] += [{"stage": at[0], "images": at[1], "settings": values}]
            told = ", ".join(f"{k} = {new} (it was {old})" for k, (old, new) in values.items())
            stage = run.config.stages[at[0]]
            where = f"{at[1]} images of stage {stage}"
            run.progress.say(f"{run.folder}: goes on from {where} with {told}")
    if run.rank == 0:
        write_bytes(path, (json.dumps(facts, indent=1, sort_keys=True) + "\n").encode())
    return list(facts["changed"])


def _refuse_other_init(settings: TrainConfig, start: Cascade) -> None:
    """Refuse stages and text encoders other than those of the checkpoint to start from.

    Raises:
        InputError: with both named.
    """
    if start.encoder != settings.text_encoder:
        raise InputError(
            "--init",
            f"the checkpoint was taught with the text encoder {start.encoder}, asked for "
            f"{settings.text_encoder}",
            fix=f'in --config FILE, text_encoder = "{start.encoder}"',
        )
    found = tuple(s.size for s in start.stages)
    if found != settings.stages:
        raise InputError(
            "--init",
            f"the checkpoint has stages {listed(found)}, asked for {listed(settings.stages)}",
            fix="leave out --stages, or train from nothing without --init",
        )


def _refuse_too_large(run: Run, lesson: Lesson, start: Cascade | None) -> None:
    shapes = [stage.network.config for stage in start.stages] if start else None
    width = lesson.corpus.text.width
    plan.refuse_what_cannot_fit(
        run.config, width, run.device, run.progress, shapes=shapes, world=run.world
    )


def _begin_journal(run: Run, sources: Sequence[Source]) -> None:
    """Where a run begins, note which pictures it leaves out and why."""
    if resume.position(run.folder):
        return
    run.journal.restart()
    size = str(run.config.stages[0])
    for source in sources:
        if skipped := source.pictures.skipped:
            entry = {"stage": 0, "size": size, "images": 0, "set": source.name}
            counts = dataset.reasons(skipped)
            run.journal.write(entry | {"left_out": counts, "skipped": dict(skipped)})


def _new_cascade(settings: TrainConfig, corpus: Corpus) -> Cascade:
    scale = TextScale.measure(corpus.text)
    stages = []
    shapes = memory.shapes_of(settings, corpus.text.width)
    for number, (size, shape) in enumerate(zip(settings.stages, shapes, strict=True)):
        torch.manual_seed(settings.seed + number)
        unet = UNet(shape)
        unet.load_state_dict(scale.buffers(), strict=False)
        unet.to(memory_format=torch.channels_last)
        batch = corpus.batch(settings, number, 0, 256)
        spread = batch.clean_BCHW if batch.low is None else batch.clean_BCHW - batch.low[0]
        low = settings.stages[number - 1] if number else None
        stages.append(Stage(size, low, unet, max(FLAT, round(float(spread.std()), 4))))
    return Cascade(stages, settings.text_encoder, corpus.text.encoder_digest)


def _credits(sources: Sequence[Source], init: Path | None) -> list[dict[str, str]]:
    """Whom to credit for the pictures of these sets, and for those that `init` was taught with."""
    before = [checkpoint.credits(init)] if init else []
    own = [credits.of_shards(source.shards, source.pictures.keys) for source in sources]
    return credits.merged([*before, *own])


def _shown(sources: Sequence[Source], before: ModelFacts) -> tuple[dict[str, int], list[str]]:
    """Words, with their images, and hashes of the shards that the weights answer for.

    Args:
        sources: of this run; one that is among those of `before` is not counted again.
        before: facts of the checkpoint it started from.
    """
    words, digests = dict(before.words), set(before.shards)
    for source in sources:
        if source.digest not in digests:
            digests.add(source.digest)
            for word, count in source.pictures.index.words.items():
                words[word] = words.get(word, 0) + count
    return words, sorted(digests)


def _convergence(cascade: Cascade, lesson: Lesson, device: torch.device) -> dict[str, Any]:
    """How well each super-resolution stage, by size, restores images, held-out ones if any are."""
    held = max(lesson.held.values(), key=lambda corpus: len(corpus.sets[0]), default=None)
    measured, found = held or lesson.corpus, {}
    for stage in cascade.stages[1:]:
        stage.network.to(device)
        told = convergence.convergence(stage, measured.sets[0], measured, device)
        found[str(stage.size)] = {**told, "held_out": held is not None}
        stage.network.to("cpu")
    return found
