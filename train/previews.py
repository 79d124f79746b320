"""Pictures drawn while training, always of the same prompts and seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from train import pictures, sampling
from train.checkpoint import Stage
from train.randomness import generator_at
from train.resizing import consistent, enlarge

FOLDER = "samples"  # within a run's folder
COUNT = 8  # pictures, where no prompts are named


@dataclass(frozen=True)
class Previews:
    """What is drawn each time."""

    prompts: Sequence[str]
    text: tuple[Tensor, Tensor]  # token states and mask of each

    def write(self, folder: Path, stages: Sequence[Stage], seen: int, device: torch.device) -> None:
        """Draw with these stages into samples/SIZE-IMAGES.png, the last as of `seen` images.

        Raises:
            InputError: the disk refuses.
        """
        if not self.prompts:
            return
        size = stages[-1].size
        sheet = pictures.grid(self._drawn(stages, device), self.prompts)
        facts = {"prompt": "\n".join(self.prompts), "seed": "0", "images": f"{size}: {seen}"}
        pictures.save_png(sheet, folder / FOLDER / f"{size}-{seen}.png", facts)

    @torch.inference_mode()
    def _drawn(self, stages: Sequence[Stage], device: torch.device) -> np.ndarray:
        """Pictures of the last stage, uint8 (N, H, W, 3); picture n has seed n."""
        text = (self.text[0].to(device), self.text[1].to(device))
        images, config = torch.zeros(0), sampling.SamplingConfig()
        for number, stage in enumerate(stages):
            home = next(stage.network.parameters()).device
            stage.network.to(device)
            shape = (6, stage.size.height, stage.size.width)
            seeds = range(len(self.prompts))
            noise = [torch.randn(shape, generator=generator_at(n, number)) for n in seeds]
            low = enlarge(images, stage.size) if number else None
            drawer = sampling.StageSampler(stage, device, config)
            drawn = drawer.draw(text, torch.stack(noise).to(device), low)
            images = consistent(drawn, images) if number else drawn
            stage.network.to(home)
        scaled = ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return np.asarray(scaled.permute(0, 2, 3, 1).cpu())
