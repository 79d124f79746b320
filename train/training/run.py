"""A whole run: build the stages, train each in turn, write the model and its images."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from curate.errors import InputError, UsageError
from curate.formats.model import MODEL_FILE, ModelFacts, SetRecord, read_model
from curate.system.progress import SILENT, NamedProgress, Progress
from train import config
from train.checkpoints import checkpoint
from train.checkpoints.checkpoint import Cascade, Stage
from train.config import TrainConfig
from train.data.batches import Mixture
from train.device import compute_dtype, pick_device
from train.model.unet import UNet
from train.size import Size, join_sizes
from train.text_encoder.embeddings import TextScale
from train.training import convergence, distributed, loop, memory, plan, resume, timing
from train.training import log as run_log
from train.training.claim import SETTINGS_FILE, claim_folder, hold_folder, join_images
from train.training.log import RunLog
from train.training.loop import Run, TrainingData
from train.training.sets import ShardSet, build_training_data, load_shard_sets

MIN_SPREAD = 0.05  # least spread of images assumed, so that a set of one colour stays finite


@dataclass(frozen=True)
class Recipe:
    """What a model is made of: images, settings, and what it starts from."""

    shards: Path  # shards, the dataset folder that holds them, or what `curate.corpora` reads
    settings: TrainConfig  # with `init`, its stages and size must be the checkpoint's: `inherit`
    init: Path | None = None  # checkpoint to start from; None: from nothing
    replay: Path | None = None  # images that `init` was trained on, mixed into every batch
    regularization: Path | None = None  # images that `init` sampled, mixed in likewise,
    # so that it goes on showing such images (prior preservation: Ruiz et al., arXiv:2208.12242,
    # section 3.3)
    file: Path | None = None  # of settings, which commands to type name again

    @property
    def folders(self) -> dict[str, Path | None]:
        """Images by the part they have in a batch, which is the setting of their weight, too."""
        return {
            "new": self.shards,
            "replay": self.replay,
            "regularization": self.regularization,
        }

    def command(self, out: Path, images: Sequence[int], init: Path | None) -> str:
        """What is typed to train on these images and settings into `out`."""
        own, usual, words = self.settings, TrainConfig(), ["train", "finetune"]
        named = {"shards": self.shards, "replay": self.replay, "init": init, "out": out}
        named |= {"regularization": self.regularization, "config": self.file}
        typed: dict[str, object] = {k: v for k, v in named.items() if v is not None}
        if init is None and own.stages != usual.stages:
            typed["stages"] = join_sizes(own.stages)
        if init is None and own.model_size != usual.model_size:
            typed["model-size"] = own.model_size
        if own.seed != usual.seed:
            typed["seed"] = own.seed
        typed["images"] = join_images(images)
        return shlex.join([*words, *(w for k, v in typed.items() for w in (f"--{k}", str(v)))])


def finetune(
    recipe: Recipe, folder: Path, *, device: str = "auto", progress: Progress = SILENT
) -> Cascade:
    """Train a cascade, from nothing or from a checkpoint.

    A finished run is returned as it is; an unfinished one goes on where it was last saved, and on
    a CPU ends with the bytes an uninterrupted run would have written. Settings in `CHANGEABLE` may
    be others than before; the model's file then tells from when on.

    Args:
        recipe: what to train on, how, and from what.
        folder: where the run writes.
        device: `auto`, `cpu` or `cuda`.
        progress: counts what is prepared, then the images each stage has seen, with the latest
            loss; told what a user should know, such as images left out. Of several processes
            only the first one's hears anything.

    Raises:
        InputError: shards, checkpoint or folder cannot be used; each says why.
        UsageError: it cannot fit into memory, or batches cannot be split among the processes.
    """
    if recipe.settings.tensorboard:
        run_log.require_tensorboard()
    with _open_run(folder, recipe, pick_device(device)) as run:
        if run.rank == 0:
            run.progress = progress
        try:
            return _train(run, recipe)
        except KeyboardInterrupt:
            run.progress.say(resume.describe_kept(folder, recipe.settings))
            raise


def finetune_runs(
    recipe: Recipe, folder: Path, runs: int, *, device: str = "auto", progress: Progress = SILENT
) -> list[Path]:
    """Train several models by one recipe that differ in their seeds alone.

    Each is a run as `finetune` makes it: called again, those that are missing are made, those that
    are finished are left alone, and another recipe than before is refused.

    Args:
        recipe: of all; its seed is the first run's, the others follow.
        folder: holds a folder `seed-N` for each run.
        runs: how many.
        device: as for `finetune`.
        progress: as for `finetune`; each count and sentence begins with the run's name.

    Returns:
        The folders of the runs.

    Raises:
        InputError, UsageError: as `finetune`, or `folder` itself holds a run.
    """
    if (folder / SETTINGS_FILE).exists():
        raise InputError(folder, "holds a run itself", fix="name a new folder with --out")
    seeds = range(recipe.settings.seed, recipe.settings.seed + runs)
    if seeds and seeds[-1] > config.LARGEST_SEED:
        raise UsageError("--seed", f"{seeds[-1]} is too large", fix="a smaller one, such as 1")
    _, world = distributed.rank_and_world_size()
    folders = [folder / f"seed-{seed}" for seed in seeds]
    with distributed.process_group(distributed.local_device(pick_device(device), world), world):
        for seed, run in zip(seeds, folders, strict=True):
            own = replace(recipe, settings=replace(recipe.settings, seed=seed))
            finetune(own, run, device=device, progress=NamedProgress(run.name, progress))
    return folders


def _train(run: Run, recipe: Recipe) -> Cascade:
    settings, folder, init = run.config, run.folder, recipe.init
    start = checkpoint.load(init) if init else None
    if run.rank:
        run.barrier()  # the first process fills the caches
    shard_sets = load_shard_sets(run, recipe.folders)
    if start:
        _refuse_other_init(settings, start)
    changed = claim_folder(run, recipe, shard_sets, start)
    if (folder / MODEL_FILE).exists():
        run.progress.say(f"{folder}: already trained; nothing to do")
        if run.rank == 0:
            resume.remove_state(folder)
            run.barrier()
        return checkpoint.load(folder)
    data = build_training_data(run, shard_sets)
    if notice := timing.slow_precision(settings.precision, run.device, compute_dtype(run.device)):
        run.progress.say(notice)
    if run.rank == 0:
        _refuse_what_cannot_fit(run, start, data.mixture.text.width)
        own = [checkpoint.collect_credits(each.credited(run.progress)) for each in shard_sets]
        old = checkpoint.read_credits(init) if init else []
        run.credits = checkpoint.merge_credits([old, checkpoint.join_sets(own)])
        _begin_log(run, shard_sets)
        run.barrier()
    cascade = start or _new_cascade(settings, data.mixture)
    stages = cascade.stages
    cascade.facts = ModelFacts(
        settings=config.to_json(settings),
        changed=changed,
        init=start.digest if start else None,
        sets=_add_sets(start.facts.sets if start else [], shard_sets),
        licences=dict(Counter(credit["license"] or "unknown" for credit in run.credits)),
        convergence={},
        unjudged=sum("unjudged" in credit for credit in run.credits),
    )
    for number in range(resume.restore_finished_stages(folder, stages), len(stages)):
        loop.train_stage(run, data, cascade, number)
        if run.rank == 0 and number + 1 < len(stages):
            resume.finish_stage(folder, number, stages[number])
        run.barrier()
    if run.rank == 0:
        measured = _measure_stages(cascade, data, run.device)
        cascade.facts = replace(cascade.facts, convergence=measured)
        checkpoint.save(folder / MODEL_FILE, cascade, run.credits)
        resume.remove_state(folder)
    run.log.close()
    run.barrier()
    return cascade


def _refuse_what_cannot_fit(run: Run, start: Cascade | None, text_width: int) -> None:
    """Stop a run that would need too much memory; say what its snapshots will take."""
    shapes = [stage.network.config for stage in start.stages] if start else None
    where = (text_width, run.device, run.progress)
    plan.refuse_what_cannot_fit(run.config, *where, shapes=shapes, world=run.world)
    if notice := plan.describe_snapshots(run.config, text_width, shapes):
        run.progress.say(notice)


def inherit(init: Path, stated: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Settings stated in a file and typed, with stages, network and text encoder of `init`.

    Where no images are stated and it has other stages than a new cascade, its base sees as many
    as a new base, and each super-resolution stage as many as a new one.

    Raises:
        UsageError: another size was asked for; the network is the checkpoint's.
    """
    asked = {**stated, **{name: value for name, value in typed.items() if value is not None}}
    found = read_model(init)
    if asked.get("model_size", size := found.facts.settings.get("model_size")) != size:
        raise UsageError("--model-size", "the network is that of --init", fix="leave out the size")
    stages = tuple(Size.of(stage.size) for stage in found.stages)
    base, above = TrainConfig.images
    images = (base, *[above] * (len(stages) - 1))
    was = found.facts.settings
    own = {name: was[name] for name in ("model_size", "mid_blocks") if name in was}
    return {"stages": stages, "images": images, "text_encoder": found.encoder, **own, **asked}


@contextmanager
def _open_run(folder: Path, recipe: Recipe, device: torch.device) -> Iterator[Run]:
    """The run's folder, held by this run alone, and the processes that share the work."""
    settings, finetuning = recipe.settings, recipe.init is not None
    rank, world = distributed.rank_and_world_size()
    batch = settings.batch_size
    last = min((n % batch or batch for n in settings.images if n), default=world)
    if last < world:
        raise UsageError(
            "--images",
            f"the last batch has {last} images for {world} processes",
            fix=f"multiples of the batch of {batch}",
        )
    device = distributed.local_device(device, world)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with (
        distributed.process_group(device, world),
        hold_folder(folder) if rank == 0 else nullcontext(),
    ):
        log = RunLog(folder, settings.tensorboard)
        yield Run(folder, settings, device, finetuning, log, rank, world)


def _refuse_other_init(settings: TrainConfig, start: Cascade) -> None:
    if start.encoder != settings.text_encoder:
        was, asked = f"was trained with the text encoder {start.encoder}", settings.text_encoder
        fix = f'in --config FILE, text_encoder = "{start.encoder}"'
        raise InputError("--init", f"the checkpoint {was}, asked for {asked}", fix=fix)
    found = tuple(stage.size for stage in start.stages)
    if found != settings.stages:
        was, asked = f"has stages {join_sizes(found)}", join_sizes(settings.stages)
        fix = "leave out --stages, or train from nothing without --init"
        raise InputError("--init", f"the checkpoint {was}, asked for {asked}", fix=fix)


def _begin_log(run: Run, sources: Sequence[ShardSet]) -> None:
    if resume.read_position(run.folder):
        return
    run.log.clear()
    start = {"stage": 0, "size": str(run.config.stages[0]), "images": 0}
    for source in sources:
        if said := source.log_entry:
            run.log.write({**start, "set": source.name, **said})


def _new_cascade(settings: TrainConfig, mixture: Mixture) -> Cascade:
    scale = TextScale.measure(mixture.text)
    stages = []
    shapes = memory.unet_configs(settings, mixture.text.width)
    for number, (size, shape) in enumerate(zip(settings.stages, shapes, strict=True)):
        torch.manual_seed(settings.seed + number)
        unet = UNet(shape)
        unet.load_state_dict(scale.buffers(), strict=False)
        unet.to(memory_format=torch.channels_last)
        noiseless = replace(settings, noise_augmentation=0.0)  # the loss adds the noise's variance
        batch = mixture.batch(noiseless, number, 0, 256)
        spread = batch.clean_BCHW - (batch.conditioning[0] if batch.conditioning else 0.0)
        low = settings.stages[number - 1] if number else None
        stages.append(Stage(size, low, unet, max(MIN_SPREAD, round(float(spread.std()), 4))))
    return Cascade(stages, settings.text_encoder, mixture.text.encoder_digest)


def _add_sets(before: Sequence[SetRecord], sources: Sequence[ShardSet]) -> list[SetRecord]:
    """The sets of shards that the weights answer for, each once, those of the start first."""
    found = {each.digest: each for each in before}
    for source in sources:
        if source.digest not in found:
            found[source.digest] = source.record
    return list(found.values())


def _measure_stages(cascade: Cascade, data: TrainingData, device: torch.device) -> dict[str, Any]:
    """How well each super-resolution stage, by size, restores images, held-out ones if any are."""
    held = max(data.held_out.values(), key=lambda corpus: len(corpus.sets[0]), default=None)
    measured, found = held or data.mixture, {}
    for stage in cascade.stages[1:]:
        stage.network.to(device)
        figures = convergence.measure(stage, measured.sets[0], measured, device)
        found[str(stage.size)] = {**figures, "held_out": held is not None}
        stage.network.to("cpu")
    return found
