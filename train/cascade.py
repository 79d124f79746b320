"""A whole run: build the stages, train each in turn, write the model and its pictures."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from curate.errors import InputError, UsageError
from curate.files import locked, write_bytes
from curate.shards import layout
from train import checkpoint, config, data, loop, upscale
from train.batches import Corpus
from train.checkpoint import MODEL, Cascade, Stage
from train.config import TrainConfig
from train.data import CACHE, Pictures
from train.loop import Run
from train.networks import network
from train.sampling import pick_device
from train.size import Size
from train.text import TextScale, encode_cached
from train.unet import UNet, UNetConfig

SETTINGS = "settings.json"
FLAT = 0.05  # least spread of pictures assumed, so that a set of one colour stays finite
Progress = Callable[[int, int, float], None]  # stage number, images seen, loss
Say = Callable[[str], None]


def finetune(
    shards: Path,
    folder: Path,
    settings: TrainConfig,
    *,
    init: Path | None = None,
    replay: Path | None = None,
    device: str = "auto",
    progress: Progress = lambda stage, seen, loss: None,
    say: Say = lambda sentence: None,
) -> Cascade:
    """Train a cascade on `shards`, from nothing or from the checkpoint `init`.

    A finished run is returned as it is; an unfinished one goes on where it was last saved, and on
    a CPU ends with the bytes an uninterrupted run would have written.

    Args:
        shards: folder of shards, or the dataset folder that holds them.
        folder: where the run writes.
        settings: how to train; with `init`, its stages and size are taken from there.
        init: checkpoint to start from.
        replay: shards of what `init` was trained on, mixed into every batch.
        device: `auto`, `cpu` or `cuda`.
        progress: told after every step.
        say: told in sentences what a user should know, such as pictures left out.

    Raises:
        InputError: shards, checkpoint or folder cannot be used; each says why.
    """
    with _opened(folder, settings, pick_device(device), tuning=init is not None) as run:
        run.progress = progress if run.rank == 0 else run.progress
        start = checkpoint.load(init) if init else None
        return _train(run, shards, replay, start, say if run.rank == 0 else lambda sentence: None)


def _train(run: Run, shards: Path, replay: Path | None, start: Cascade | None, say: Say) -> Cascade:
    settings, folder = run.config, run.folder
    if run.rank:
        run.meet()  # the first process fills the caches
    new = _pictures(shards, settings, say)
    old = _pictures(replay, settings, say) if replay else None
    _claim(run, settings, new, old, start)
    if (folder / MODEL).exists():
        say(f"{folder}: already trained; nothing to do")
        if run.rank == 0:
            run.state.unlink(missing_ok=True)
            run.meet()
        return checkpoint.load(folder)
    corpus, held = _corpora(new, old, shards, settings, run.device, say)
    if run.rank == 0:
        run.meet()
    cascade = start or _new_cascade(settings, corpus, run)
    first = loop.restore_finished(run, cascade.stages)
    for number, stage in enumerate(cascade.stages):
        if number < first:
            continue
        loop.train_stage(run, corpus, held, stage, number, cascade.stages[:number])
        if number + 1 < len(cascade.stages):
            if run.rank == 0:
                loop.save_state(run, number + 1, cascade.stages[: number + 1])
            run.meet()
    cascade.facts = _facts(cascade, new, old, start, (corpus, held), run)
    if run.rank == 0:
        checkpoint.save(folder / MODEL, cascade)
        run.state.unlink(missing_ok=True)
    run.meet()
    return cascade


def taken_over(init: Path, stated: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Settings stated in a file and typed, with stages and text encoder of the checkpoint `init`.

    Raises:
        UsageError: a size was asked for; the network is the checkpoint's.
    """
    asked = {**stated, **{name: value for name, value in typed.items() if value is not None}}
    if "size" in asked:
        raise UsageError("--size", "the network is that of --init", fix="leave out the size")
    start = checkpoint.load(init)
    return {"stages": tuple(s.size for s in start.stages), "encoder": start.encoder, **asked}


@contextmanager
def _opened(
    folder: Path, settings: TrainConfig, device: torch.device, *, tuning: bool
) -> Iterator[Run]:
    """The run's folder, held by this run alone, and the processes that share the work."""
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    last = min((n % settings.batch or settings.batch for n in settings.images if n), default=world)
    if last < world:
        raise UsageError(
            "--images",
            f"the last batch has {last} images for {world} processes",
            fix=f"multiples of the batch of {settings.batch}",
        )
    if device.type == "cuda" and (world > 1 or device.index is None):
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1:
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        with locked(folder) if rank == 0 else nullcontext():
            yield Run(folder, settings, device, tuning, rank, world)
    finally:
        if world > 1:
            torch.distributed.destroy_process_group()


def _pictures(shards: Path, settings: TrainConfig, say: Say) -> Pictures:
    pictures = data.load(shards, settings.stages[-1])
    if pictures.skipped:
        key, why = next(iter(pictures.skipped.items()))
        say(f"{shards}: {len(pictures.skipped)} pictures left out, such as {key}: {why}")
    return pictures


def _claim(
    run: Run, settings: TrainConfig, new: Pictures, old: Pictures | None, start: Cascade | None
) -> None:
    """Note in the folder what the run is; refuse a folder that holds another run."""
    if start:
        if start.encoder != settings.encoder:
            raise InputError(
                "--init",
                f"the checkpoint was taught with the text encoder {start.encoder}, asked for "
                f"{settings.encoder}",
                fix=f'in --config FILE, encoder = "{start.encoder}"',
            )
        found = tuple(s.size for s in start.stages)
        if found != settings.stages:
            raise InputError(
                "--init",
                f"the checkpoint has stages {_named(found)}, asked for {_named(settings.stages)}",
                fix="leave out --stages, or train from nothing without --init",
            )
    facts: dict[str, Any] = {
        "settings": config.to_json(settings),
        "shards": _shard_digest(new.index),
        "replay": old and _shard_digest(old.index),
        "init": start and start.digest,
    }
    text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
    path = run.folder / SETTINGS
    begun = (run.folder / MODEL).exists() or run.state.exists()
    if begun and path.exists() and path.read_text(encoding="utf-8") != text:
        was = json.loads(path.read_text(encoding="utf-8"))
        changed = [k for k in facts["settings"] if was["settings"].get(k) != facts["settings"][k]]
        changed += [k for k in ("shards", "replay", "init") if was[k] != facts[k]]
        raise InputError(
            run.folder,
            f"holds another run (other {', '.join(changed)})",
            fix="name a new folder with --out, or remove this one",
        )
    if run.rank == 0:
        write_bytes(path, text.encode())


def _corpora(
    new: Pictures,
    old: Pictures | None,
    shards: Path,
    settings: TrainConfig,
    device: torch.device,
    say: Say,
) -> tuple[Corpus, Corpus | None]:
    sets = [new] if old is None else [new, old]
    weights = [settings.new, settings.replay][: len(sets)]
    shares = [weight / sum(weights) for weight in weights]
    captions = data.distinct_captions(sets)
    folder = layout.find(shards) / CACHE
    text = encode_cached(captions, settings.encoder, folder, device=device, say=say)
    rows = {caption: row for row, caption in enumerate(captions)}
    parts = [data.split(pictures, settings.held_out) for pictures in sets]
    held = max((h for _, h in parts), key=len)
    kept = Corpus([t for t, _ in parts], shares, rows, text)
    return kept, Corpus([held], [1.0], rows, text) if len(held) else None


def _new_cascade(settings: TrainConfig, corpus: Corpus, run: Run) -> Cascade:
    scale = TextScale.measure(corpus.text)
    stages = []
    for number, size in enumerate(settings.stages):
        torch.manual_seed(settings.seed + number)
        unet = UNet(_shape(settings, number, corpus.text.states_NLD.shape[2]))
        unet.load_state_dict(scale.buffers(), strict=False)
        unet.to(memory_format=torch.channels_last)
        batch = corpus.batch(settings, number, 0, 256)
        spread = batch.clean_BCHW if batch.low is None else batch.clean_BCHW - batch.low[0]
        low = settings.stages[number - 1] if number else None
        stages.append(Stage(size, low, unet, max(FLAT, round(float(spread.std()), 4))))
    return Cascade(stages, settings.encoder, corpus.text.encoder_digest, {})


def _facts(
    cascade: Cascade,
    new: Pictures,
    old: Pictures | None,
    start: Cascade | None,
    corpora: tuple[Corpus, Corpus | None],
    run: Run,
) -> dict[str, Any]:
    """What the weights answer for: words, licences, hashes of the shards, convergence."""
    corpus, held = corpora
    measured = held or corpus
    before = start.facts if start else {}
    words, licences = dict(before.get("words", {})), dict(before.get("licences", {}))
    digests = set(before.get("shards", []))
    for pictures in filter(None, (new, old)):
        if (digest := _shard_digest(pictures.index)) not in digests:
            _add(words, pictures.index.words)
            _add(licences, pictures.index.licences)
            digests.add(digest)
    return {
        "words": words,
        "licences": licences,
        "shards": sorted(digests),
        "convergence": {
            str(stage.size): {
                **upscale.convergence(stage, measured.sets[0], measured, run.device),
                "held_out": held is not None,
            }
            for stage in cascade.stages[1:]
        },
    }


def _shape(settings: TrainConfig, number: int, text_width: int) -> UNetConfig:
    blocks = None if settings.mid_blocks < 0 else settings.mid_blocks
    return network(settings.size, settings.stages, number, text_width, mid_blocks=blocks)


def _named(stages: tuple[Size, ...]) -> str:
    return ",".join(map(str, stages))


def _add(counts: dict[str, int], more: Any) -> None:
    for name, number in more.items():
        counts[name] = counts.get(name, 0) + number


def _shard_digest(index: layout.Index) -> str:
    return hashlib.sha256(json.dumps([s.sha256 for s in index.shards]).encode()).hexdigest()
