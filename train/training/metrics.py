"""Losses and gradients of a run as it goes: kept on the device, read now and then, summed up."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import add
from typing import Any

import torch
from torch import Tensor


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
