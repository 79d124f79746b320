"""Which run a folder holds: noted when it begins, compared when the same command comes again.

A folder that holds another run is refused, with the command that goes on from there. One in which
nothing came of the first command is left as it was found.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.errors import CurateError, InputError
from curate.formats.model import MODEL_FILE, STATE_FILE
from curate.formats.shards import CACHE
from curate.system.files import lock_folder, write_bytes
from train import config
from train.checkpoints.checkpoint import Cascade
from train.training import resume
from train.training.log import LOG_FILE
from train.training.loop import Run
from train.training.sets import ShardSet

if TYPE_CHECKING:
    from train.training.run import Recipe

SETTINGS_FILE = "settings.json"
LOCK_FILE = ".lock"  # of `lock_folder`
DATA = ("shards", "replay", "regularization")  # digests of sets, by the option that names them
CHANGEABLE = {  # settings that may be changed while a run is under way
    *("learning_rate", "finetune_rate", "max_grad_norm", "cache_gigabytes"),
    *("gradient_accumulation", "gradient_checkpointing"),
    *("log_every", "save_every", "save_seconds", "sample_every", "sample_prompts"),
    *("snapshot_every", "tensorboard"),
}


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold a run's folder; where nothing comes of it, leave no trace.

    Raises:
        UsageError: another command is at work there.
        InputError: the folder cannot be made or written.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    ours = [folder / name for name in (LOCK_FILE, CACHE) if not (folder / name).exists()]
    with lock_folder(folder):
        try:
            yield
        except CurateError:
            if not any((folder / n).exists() for n in (MODEL_FILE, STATE_FILE, LOG_FILE)):
                _remove_traces(folder, made, ours)
            raise


def _remove_traces(folder: Path, made: Sequence[Path], ours: Sequence[Path]) -> None:
    if not made:
        for place in ours:
            shutil.rmtree(place, ignore_errors=True)
            place.unlink(missing_ok=True)
        return
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # somebody put something there meanwhile
        for place in made[1:]:
            place.rmdir()


def claim_folder(
    run: Run, recipe: "Recipe", sources: Sequence[ShardSet], start: Cascade | None
) -> list[dict[str, Any]]:
    """Note in the folder what the run is; refuse a folder that holds another run.

    Returns:
        Settings that were changed while the run was under way: where it was, old and new values.

    Raises:
        InputError: it holds another run.
    """
    digests = {source.name: source.digest for source in sources}
    facts: dict[str, Any] = {
        "settings": config.to_json(run.config),
        "shards": digests["new"],
        "replay": digests.get("replay"),
        "regularization": digests.get("regularization"),
        "init": start and start.digest,
        "changed": [],
    }
    path, finished = run.folder / SETTINGS_FILE, (run.folder / MODEL_FILE).exists()
    at = resume.read_position(run.folder)
    if path.exists() and (finished or at):
        was = json.loads(path.read_text(encoding="utf-8"))
        gone = [k for k in was["settings"] if k not in facts["settings"]]
        other = [k for k, v in facts["settings"].items() if was["settings"].get(k) != v]
        others = [k for k in facts if k not in ("settings", "changed") and was.get(k) != facts[k]]
        if gone or others or not set(other) <= CHANGEABLE or (other and finished):
            raise _other_run_error(run.folder, recipe, was, gone, [*other, *others])
        facts["changed"] = was.get("changed", [])
        if other and at:
            values = {k: [was["settings"].get(k), facts["settings"][k]] for k in other}
            facts["changed"] += [{"stage": at[0], "images": at[1], "settings": values}]
            changes = ", ".join(f"{k} = {new} (it was {old})" for k, (old, new) in values.items())
            stage = run.config.stages[at[0]]
            where = f"{at[1]} images of stage {stage}"
            run.progress.say(f"{run.folder}: goes on from {where} with {changes}")
    if run.rank == 0:
        write_bytes(path, (json.dumps(facts, indent=1, sort_keys=True) + "\n").encode())
    return list(facts["changed"])


def _other_run_error(
    folder: Path,
    recipe: "Recipe",
    was: Mapping[str, Any],
    gone: Sequence[str],
    other: Sequence[str],
) -> InputError:
    """What is other, and the way on."""
    finished = (folder / MODEL_FILE).exists()
    problem = f"holds another run (other {', '.join(other)})"
    fix = "name a new folder with --out, or remove this one"
    if gone:
        problem = f"holds a run of another version, with other settings ({', '.join(gone)})"
    elif other == ["images"]:
        return _other_length_error(folder, recipe, was["settings"]["images"], finished)
    elif set(other) <= {*DATA}:
        named = ", ".join(f"--{name} {getattr(recipe, name) or '(none)'}" for name in other)
        problem += ": images or captions are not those that it "
        problem += f"{'was trained' if finished else 'began'} with: {named}"
        fix = "put back what was there, or name a new folder with --out"
        if finished and recipe.init is None:
            again = recipe.command(_next_folder(folder), recipe.settings.images, folder)
            fix = f"put back what was there, or train the model on with what is there now: {again}"
    return InputError(folder, problem, fix=fix)


def _other_length_error(
    folder: Path, recipe: "Recipe", old: Sequence[int], finished: bool
) -> InputError:
    new, state = recipe.settings.images, "is finished" if finished else "is under way"
    problem = f"holds a run that {state} with --images {join_images(old)}, not {join_images(new)}"
    more = [after - before for before, after in zip(old, new, strict=True)]
    steps = [] if finished else [recipe.command(folder, old, recipe.init)]
    if min(more) < 0:
        return InputError(
            folder, problem, fix=", or ".join([*steps, "name a new folder with --out"])
        )
    further = recipe.command(_next_folder(folder), more, folder)
    return InputError(folder, problem, fix=[*steps, further])


def join_images(images: Sequence[int]) -> str:
    """Numbers of images as `--images` takes them."""
    return ",".join(map(str, images))


def _next_folder(folder: Path) -> Path:
    """A folder beside it that is not there yet: run2 beside run."""
    stem = f"{folder.name}-" if folder.name[-1:].isdigit() else folder.name
    names = (folder.with_name(f"{stem}{number}") for number in count(2))
    return next(path for path in names if not path.exists())
