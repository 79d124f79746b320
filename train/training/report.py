"""What a person sees of a finished run: its loss curve and its figures."""

from pathlib import Path
from typing import Any

from curate.formats.model import MODEL_FILE
from curate.system import terminal
from train.checkpoints.checkpoint import Cascade
from train.figures import loss_curve
from train.sampling import sampler
from train.training.log import read_loss_points


def show(run: Path, done: Cascade, *, as_json: bool) -> None:
    """Draw the loss curve of a finished run into its folder, and print what came out.

    Raises:
        InputError: the disk refuses.
    """
    points = read_loss_points(run)
    loss_curve.draw_loss_curve(points, run / "loss.png")
    facts: dict[str, Any] = {
        "model": str(run / MODEL_FILE),
        "stages": [s.size.to_json() for s in done.stages],
        "loss": {name: values["loss"][-1][1] for name, values in points.items() if values["loss"]},
        "convergence": done.facts.convergence,
        "words": len(done.facts.words),
        "licences": done.facts.licences,
    }
    if as_json:
        terminal.print_json(facts)
        return
    lines = [f"model\t{facts['model']}"]
    lines += [f"loss {name}\t{loss:.4f}" for name, loss in facts["loss"].items()]
    for size, c in facts["convergence"].items():
        on = "held-out" if c["held_out"] else "training"
        lines.append(f"PSNR {size} px\t{c['psnr']} dB, bicubic {c['bicubic']} dB, on {on} images")
        if not c["converged"]:
            terminal.say(
                f"{run}: {sampler.describe_unconverged(size, c)}\n"
                f"  fix: train finetune --init {run} --out NEW, with more images for that stage"
            )
    terminal.write_stdout("".join(f"{line}\n" for line in lines))
