"""What a person sees of training and drawing: progress, tables, pictures."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.formats.model import MODEL
from curate.system import terminal
from train.checkpoints.checkpoint import Cascade
from train.config import TrainConfig
from train.figures import loss_curve
from train.sampling import sampler
from train.training import run as cascade
from train.training.log import LOG
from train.training.loop import Working

FIRST = os.environ.get("RANK", "0") == "0"  # of several processes, the one that speaks


def finetune(
    shards: Path,
    run: Path,
    settings: TrainConfig,
    *,
    init: Path | None,
    replay: Path | None,
    regularization: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Train with a progress bar, then draw the loss curve and print what came out."""
    with progress_bar() as bar:
        tasks = [
            bar.add_task(f"{size} px", total=total, loss=0.0)
            for size, total in zip(settings.stages, settings.images, strict=True)
        ]
        done = cascade.finetune(
            shards,
            run,
            settings,
            init=init,
            replay=replay,
            regularization=regularization,
            device=device,
            progress=lambda stage, seen, loss: bar.update(tasks[stage], completed=seen, loss=loss),
            working=on_bar(bar),
            say=say,
        )
    if not FIRST:
        return
    points = log_points(run / LOG)
    loss_curve.loss_curve(points, run / "loss.png")
    _print_result(run, done, points, as_json)


def _print_result(run: Path, done: Cascade, points: Mapping[str, Any], as_json: bool) -> None:
    facts: dict[str, Any] = {
        "model": str(run / MODEL),
        "stages": [s.size.to_json() for s in done.stages],
        "loss": {name: values["loss"][-1][1] for name, values in points.items() if values["loss"]},
        "convergence": done.facts.convergence,
        "words": len(done.facts.words),
        "licences": done.facts.licences,
    }
    if as_json:
        terminal.as_json(facts)
        return
    lines = [f"model\t{facts['model']}"]
    lines += [f"loss {name}\t{loss:.4f}" for name, loss in facts["loss"].items()]
    for size, c in facts["convergence"].items():
        on = "held-out" if c["held_out"] else "training"
        lines.append(f"PSNR {size} px\t{c['psnr']} dB, bicubic {c['bicubic']} dB, on {on} pictures")
        if not c["converged"]:
            say(
                f"{run}: {sampler.poor(size, c)}\n"
                f"  fix: train finetune --init {run} --out NEW, with more images for that stage"
            )
    terminal.result("".join(f"{line}\n" for line in lines))


def log_points(path: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Loss and held-out loss by images seen, a stage each, from a run's log."""
    points: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        entry = json.loads(line)
        stage = points.setdefault(f"{entry['size']} px", {"loss": [], "held_out": []})
        for kind in stage:
            if kind in entry:
                stage[kind].append((entry["images"], entry[kind]))
    return points


def say(sentence: str) -> None:
    """Tell the user about the work, on stderr."""
    if FIRST:
        print(sentence, file=sys.stderr)


def progress_bar() -> Any:
    """Rate and remaining time on stderr; silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Images a second."""

        def render(self, task: Any) -> Text:
            """Blank until the first is done."""
            return Text(f"{task.speed:.1f}/s" if task.speed else "")

    class Loss(ProgressColumn):
        """Latest loss, where there is one."""

        def render(self, task: Any) -> Text:
            """Blank where nothing is learnt."""
            loss = task.fields.get("loss")
            return Text(f"loss {loss:.3f}" if loss else "")

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        Loss(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not (FIRST and console.is_terminal),
    )


def on_bar(bar: Any) -> Working:
    """Shows each kind of work as a line of its own on a rich progress bar."""
    tasks: dict[str, Any] = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=min(done, total), total=total)

    return tell
