"""What a run tells: losses and gradients of its steps, its log, and in the end its result.

Figures stay on the device, are read now and then, and summed up. `log.jsonl` is always written,
TensorBoard's file where that is asked for.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import add
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curate.errors import InputError, disk_errors
from curate.formats.model import MODEL_FILE, read_model
from curate.system import terminal
from curate.system.files import write_bytes
from train.figures import loss_curve
from train.sampling import sampler

LOG_FILE = "log.jsonl"
TENSORBOARD_FOLDER = "tensorboard"  # folder within a run's, with one of its own for each stage


@dataclass
class Metrics:
    """Sums since the last line of the log."""

    loss: list[float]  # of each set's images
    images: list[float]  # of each set
    norm: float = 0.0  # of the gradients
    steps: int = 0

    @staticmethod
    def empty(sets: int) -> "Metrics":
        """Nothing seen yet."""
        return Metrics([0.0] * sets, [0.0] * sets)

    def add(self, norm: float, loss: Sequence[float], images: Sequence[float]) -> None:
        """Take in one step."""
        self.norm, self.steps = self.norm + norm, self.steps + 1
        self.loss = list(map(add, self.loss, loss))
        self.images = list(map(add, self.images, images))

    def means(self, names: Sequence[str]) -> dict[str, Any]:
        """Mean loss an image, of all and of each set that had any; mean norm of the gradient."""
        entry: dict[str, Any] = {"loss": round(sum(self.loss) / sum(self.images), 6)}
        if len(names) > 1:
            sets = zip(names, self.loss, self.images, strict=True)
            entry["losses"] = {name: round(loss / n, 6) for name, loss, n in sets if n}
        return entry | {"gradient_norm": round(self.norm / self.steps, 6)}


@dataclass
class PendingMetrics:
    """Figures of steps that are still on the device, so that no step waits for another."""

    sets: int
    rows: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)

    def add(self, seen: int, norm: Tensor, losses_B: Tensor, set_B: Tensor) -> None:
        """Keep the figures of the step after which `seen` images had been seen.

        Args:
            seen: images of this stage, this step's among them.
            norm: of the gradient, before it was clipped.
            losses_B: of this process's images.
            set_B: which set each came from.
        """
        sums_2S = torch.zeros(2, self.sets, device=losses_B.device)
        sums_2S[0].index_add_(0, set_B, losses_B.detach().float())
        sums_2S[1].index_add_(0, set_B, torch.ones_like(losses_B, dtype=torch.float32))
        self.rows.append((seen, norm.detach().float(), sums_2S))

    def read_into(self, metrics: Metrics, *, world: int = 1) -> tuple[float, int | None]:
        """Add all that waits to `metrics`, over all processes.

        Returns:
            The latest mean loss, and the images seen before the first step whose gradient is no
            finite number, None if there is none; nothing is added from that step on.
        """
        latest, rows, self.rows = math.nan, self.rows, []
        if not rows:
            return latest, None
        seen, norms, sums = zip(*rows, strict=True)
        sums_N2S = torch.stack(sums)
        if world > 1:
            torch.distributed.all_reduce(sums_N2S)
        read = (seen, torch.stack(norms).tolist(), sums_N2S.tolist())
        for at, norm, (loss, images) in zip(*read, strict=True):
            if not math.isfinite(norm + sum(loss)):
                return latest, at - round(sum(images))
            metrics.add(norm, loss, images)
            latest = sum(loss) / sum(images)
        return latest, None


@dataclass
class RunLog:
    """One line of JSON an entry: `stage` (its number), `images` it has seen, and what there is."""

    folder: Path  # of the run
    tensorboard: bool = False
    _board: Any = field(default=None, repr=False)

    def resume_at(self, stage: int, name: str, seen: int) -> None:
        """Get ready to go on with a stage, of this number and name, from `seen` images.

        Lines of what is about to be trained again are taken back, and any that was cut short when
        the process died.

        Raises:
            InputError: TensorBoard is asked for and not there, or the disk refuses.
        """
        path = self.folder / LOG_FILE
        if path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            kept = [line for line in lines if _is_before(line, stage, seen)]
            write_bytes(path, "".join(kept).encode())
        if self.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.close()
            make: Any = SummaryWriter
            self._board = make(str(self.folder / TENSORBOARD_FOLDER / name), purge_step=seen + 1)

    def clear(self) -> None:
        """Forget all lines: a run begins."""
        (self.folder / LOG_FILE).unlink(missing_ok=True)

    def write(self, entry: Mapping[str, Any]) -> None:
        """Add one entry, with `stage` and `images`.

        Raises:
            InputError: the disk refuses.
        """
        path = self.folder / LOG_FILE
        with disk_errors(path), path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry, ensure_ascii=False) + "\n")
        if self._board is not None:
            for name, value in _numbers(entry):
                self._board.add_scalar(name, value, entry["images"])
            self._board.flush()

    def close(self) -> None:
        """Let go of TensorBoard's file."""
        if self._board is not None:
            self._board.close()
        self._board = None


def _is_before(line: str, stage: int, seen: int) -> bool:
    try:
        entry = json.loads(line)
        return (entry["stage"], entry["images"]) <= (stage, seen)
    except (ValueError, LookupError, TypeError):
        return False


def _numbers(entry: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Every number of an entry, inner ones as OUTER/INNER."""
    for name, value in entry.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{before}{name}/")
        elif isinstance(value, int | float) and name not in ("stage", "images"):
            yield before + name, value


def read_loss_points(run: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Loss and held-out loss by images seen, a stage each, from the log in a run's folder."""
    path = run / LOG_FILE
    points: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for entry in map(json.loads, path.read_text().splitlines() if path.exists() else []):
        stage = points.setdefault(f"{entry['size']} px", {"loss": [], "held_out": []})
        for kind in stage.keys() & entry.keys():
            stage[kind].append((entry["images"], entry[kind]))
    return points


def require_tensorboard() -> None:
    """Refuse early what could not be written later.

    Raises:
        InputError: TensorBoard is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise InputError(
            "tensorboard = true",
            "TensorBoard is not installed",
            fix="pip install tensorboard, or leave the setting out; log.jsonl holds the same",
        ) from None


def show_result(run: Path, *, as_json: bool) -> None:
    """Draw the loss curve of a finished run into its folder, and print what came out.

    Raises:
        InputError: the disk refuses.
    """
    facts = _result_facts(run)
    if as_json:
        terminal.print_json(facts)
        return
    lines = [f"model\t{facts['model']}"]
    lines += [f"loss {name}\t{loss:.4f}" for name, loss in facts["loss"].items()]
    for size, c in facts["convergence"].items():
        on = "held-out" if c["held_out"] else "training"
        lines.append(f"PSNR {size} px\t{c['psnr']} dB, bicubic {c['bicubic']} dB, on {on} images")
        lines.append(f"detail {size} px\t{sampler.describe_high_frequency(c)}")
    terminal.print_lines([line.split("\t") for line in lines])


def show_results(runs: Sequence[Path], *, as_json: bool) -> None:
    """As `show_result` of several runs by one recipe: a list, or a line each.

    Raises:
        InputError: the disk refuses.
    """
    found = [_result_facts(run) for run in runs]
    if as_json:
        terminal.print_json(found)
        return
    tables = [
        {"model": facts["model"]}
        | {f"loss {name}": f"{loss:.4f}" for name, loss in facts["loss"].items()}
        | {f"PSNR {size} px": f"{c['psnr']} dB" for size, c in facts["convergence"].items()}
        for facts in found
    ]
    terminal.print_table(list(tables[0]), [list(row.values()) for row in tables])


def _result_facts(run: Path) -> dict[str, Any]:
    """What came out, as plain values; the loss curve is drawn, and what is amiss is said."""
    points, done = read_loss_points(run), read_model(run)
    loss_curve.draw_loss_curve(points, run / "loss.png")
    for size, measured in done.facts.convergence.items():
        if not measured["converged"]:
            terminal.say(sampler.describe_unconverged(run, size, measured))
    return {
        "model": str(run / MODEL_FILE),
        "seed": done.facts.settings["seed"],
        "stages": [stage.size for stage in done.stages],
        "loss": {name: values["loss"][-1][1] for name, values in points.items() if values["loss"]},
        "convergence": done.facts.convergence,
        "words": len(done.facts.words),
        "licences": done.facts.licences,
    }
