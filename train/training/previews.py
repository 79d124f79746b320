"""Images sampled while training, always of the same prompts and seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from train.checkpoints.checkpoint import Stage
from train.figures import grids
from train.sampling import sampler

SAMPLES_FOLDER = "samples"  # within a run's folder
PREVIEW_COUNT = 8  # images, where no prompts are named


@dataclass(frozen=True)
class Previews:
    """What is sampled each time."""

    prompts: Sequence[str]
    text: tuple[Tensor, Tensor]  # token states and mask of each

    def write(self, folder: Path, stages: Sequence[Stage], seen: int, device: torch.device) -> None:
        """Sample with these stages into samples/SIZE-IMAGES.png, the last as of `seen` images.

        Raises:
            InputError: the disk refuses.
        """
        if not self.prompts:
            return
        size = stages[-1].size
        sheet = grids.draw_grid(self._sample(stages, device), self.prompts)
        facts = {"prompt": "\n".join(self.prompts), "seed": "0", "images": f"{size}: {seen}"}
        grids.save_png(sheet, folder / SAMPLES_FOLDER / f"{size}-{seen}.png", facts)

    def _sample(self, stages: Sequence[Stage], device: torch.device) -> np.ndarray:
        """Images of the last stage, uint8 (N, H, W, 3); image n has seed n."""
        networks = [stage.network for stage in stages]
        homes = [next(network.parameters()).device for network in networks]
        for network in networks:  # not in inference mode: what moves there can never learn again
            network.to(device)
        together = sampler.count_at_once(stages[-1].size)
        parts, config = [], sampler.SamplingConfig()
        for part in (slice(n, n + together) for n in range(0, len(self.prompts), together)):
            text = (self.text[0][part].to(device), self.text[1][part].to(device))
            seeds = range(len(self.prompts))[part]
            with torch.inference_mode():
                *_, last = sampler.run_stages(stages, text, seeds, config=config)
                parts.append(sampler.to_uint8(last))
        for network, home in zip(networks, homes, strict=True):
            network.to(home)
        return np.concatenate(parts)
