"""What is written down while training: `log.jsonl` always, TensorBoard where asked for."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.errors import InputError, disk_errors
from curate.system.files import write_bytes

LOG_FILE = "log.jsonl"
TENSORBOARD_FOLDER = "tensorboard"  # folder within a run's, with one of its own for each stage


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
    """Whether a line tells of something before this point; not so if it was cut short."""
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
