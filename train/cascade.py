"""A whole run: build the stages, train each in turn, write the model and its pictures."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from curate.errors import InputError
from curate.files import remove_leftovers, write_bytes
from curate.shards import layout
from train import checkpoint, config, data, loop, upscale
from train.checkpoint import MODEL, Cascade, Stage
from train.config import TrainConfig
from train.data import CACHE, Pictures
from train.loop import Corpus, Run
from train.sampling import pick_device
from train.text import Encoder, TextScale, encode_cached
from train.unet import UNet

SETTINGS = "settings.json"
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
    run = _open(folder, settings, pick_device(device), tuning=init is not None)
    run.progress = progress
    start = checkpoint.load(init) if init else None
    new = _pictures(shards, settings, say)
    old = _pictures(replay, settings, say) if replay else None
    _claim(run, settings, new, old, start)
    if (folder / MODEL).exists():
        say(f"{folder}: already trained; nothing to do")
        return checkpoint.load(folder)
    corpus, held = _corpora(new, old, shards, settings, run.device)
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
    cascade.facts = _facts(cascade, new, old, start, held or corpus, run)
    if run.rank == 0:
        checkpoint.save(folder / MODEL, cascade)
        run.state.unlink(missing_ok=True)
    run.meet()
    return cascade


def init_settings(init: Path, settings: TrainConfig) -> TrainConfig:
    """The settings with stages and encoder of the checkpoint to start from.

    Raises:
        InputError: `settings.images` names another number of stages.
    """
    cascade = checkpoint.load(init)
    stages = tuple(s.pixels for s in cascade.stages)
    return replace(settings, stages=stages, encoder=cascade.encoder)


def _open(folder: Path, settings: TrainConfig, device: torch.device, *, tuning: bool) -> Run:
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if world > 1 and not torch.distributed.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(folder, f"cannot be made ({error.strerror})", fix="--out DIR") from None
    if rank == 0:
        remove_leftovers(folder)
    return Run(folder, settings, device, tuning, rank, world)


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
        found = [s.pixels for s in start.stages]
        if found != list(settings.stages):
            raise InputError(
                "--init",
                f"the checkpoint has stages {found}, asked for {list(settings.stages)}",
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
    if path.exists() and path.read_text() != text:
        was = json.loads(path.read_text())
        changed = [k for k in facts["settings"] if was["settings"].get(k) != facts["settings"][k]]
        changed += [k for k in ("shards", "replay", "init") if was[k] != facts[k]]
        raise InputError(
            run.folder,
            f"holds another run (other {', '.join(changed)})",
            fix="name a new folder with --out, or remove this one",
        )
    run.meet()
    if run.rank == 0:
        write_bytes(path, text.encode())


def _corpora(
    new: Pictures, old: Pictures | None, shards: Path, settings: TrainConfig, device: torch.device
) -> tuple[Corpus, Corpus | None]:
    sets = [new] if old is None else [new, old]
    shares = [1.0] if old is None else [1 - settings.replay, settings.replay]
    captions = data.distinct_captions(sets)
    folder = layout.find(shards) / CACHE
    text = encode_cached(captions, settings.encoder, folder, device=device)
    rows = {caption: row for row, caption in enumerate(captions)}
    parts = [data.split(pictures, settings.held_out) for pictures in sets]
    held = max((h for _, h in parts), key=len)
    kept = Corpus([t for t, _ in parts], shares, rows, text)
    return kept, Corpus([held], [1.0], rows, text) if len(held) else None


def _new_cascade(settings: TrainConfig, corpus: Corpus, run: Run) -> Cascade:
    scale = TextScale.measure(corpus.text)
    stages = []
    for number, pixels in enumerate(settings.stages):
        torch.manual_seed(settings.seed + number)
        network = UNet(settings.unet(number, corpus.text.states_NLD.shape[2]))
        network.load_state_dict(scale.buffers(), strict=False)
        network.to(memory_format=torch.channels_last)
        batch = corpus.batch(settings, number, 0, 256)
        spread = batch.clean_BCHW if batch.low is None else batch.clean_BCHW - batch.low[0]
        low = settings.stages[number - 1] if number else None
        stages.append(Stage(pixels, low, network, round(float(spread.std()), 4)))
    digest = Encoder(settings.encoder).digest
    return Cascade(stages, settings.encoder, digest, {})


def _facts(
    cascade: Cascade,
    new: Pictures,
    old: Pictures | None,
    start: Cascade | None,
    measured: Corpus,
    run: Run,
) -> dict[str, Any]:
    """What the weights answer for: words, licences, credits, data, convergence."""
    before = start.facts if start else {}
    words, licences = dict(before.get("words", {})), dict(before.get("licences", {}))
    _add(words, new.index.words)
    _add(licences, new.index.licences)
    digests = {*before.get("shards", []), _shard_digest(new.index)}
    if old and _shard_digest(old.index) not in digests:
        _add(words, old.index.words)
        _add(licences, old.index.licences)
        digests.add(_shard_digest(old.index))
    return {
        "words": words,
        "licences": licences,
        "shards": sorted(digests),
        "convergence": {
            str(stage.pixels): upscale.convergence(stage, measured.sets[0], measured, run.device)
            for stage in cascade.stages[1:]
        },
    }


def _add(counts: dict[str, int], more: Any) -> None:
    for name, number in more.items():
        counts[name] = counts.get(name, 0) + number


def _shard_digest(index: layout.Index) -> str:
    return hashlib.sha256(json.dumps([s.sha256 for s in index.shards]).encode()).hexdigest()
