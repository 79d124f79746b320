"""Peers of `train`: imagen-pytorch 2.1.0 and diffusers 0.42.1, as their users would build them.

    pip install imagen-pytorch==2.1.0 diffusers==0.42.1      # an environment of their own

Imported by the benchmarks; runs nothing itself. Letters in names: N pictures, L text tokens,
D text width, B batch, C channels, H and W pixels.
"""

import contextlib
import importlib
import math
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

SMALL = {"dim": 48, "dim_mults": (1, 2, 4)}  # about 9 M parameters; all else is the default
BATCH = 16  # images a step, as ours; the library names none


def imagen_pytorch() -> Any:
    """The library, imported without asking a hub for the width of T5's states.

    Its module calls `T5Config.from_pretrained` while it is imported, for a default value that
    nothing here uses.
    """
    if "imagen_pytorch" not in sys.modules:
        from transformers import T5Config

        asked = T5Config.from_pretrained
        T5Config.from_pretrained = classmethod(lambda cls, name, **rest: cls(d_model=768))
        try:
            importlib.import_module("imagen_pytorch")
        finally:
            T5Config.from_pretrained = asked
    return sys.modules["imagen_pytorch"]


class ImagenPeer:
    """imagen-pytorch's base stage with its defaults: noise predicted, cosine schedule, 1,000 steps.

    Training is `ImagenTrainer`'s default too: fp32, Adam at 1e-4, no clipping, averaged weights
    from ema-pytorch.
    """

    def __init__(self, pixels: int, text_width: int, seed: int = 0, **unet: Any) -> None:
        """`pixels` a side; `unet` changes the keyword arguments of its `Unet` (default SMALL)."""
        library = imagen_pytorch()
        torch.manual_seed(seed)
        network = library.Unet(text_embed_dim=text_width, **{**SMALL, **unet})
        self.imagen = library.Imagen(network, image_sizes=(pixels,), text_embed_dim=text_width)
        self.trainer = library.ImagenTrainer(self.imagen, verbose=False)
        self.parameters = sum(p.numel() for p in network.parameters())
        self.images_seen, self.cpu_seconds = 0, 0.0
        self._draws = torch.Generator().manual_seed(seed)

    def train(
        self,
        images_NHWC: np.ndarray,
        states_NLD: np.ndarray,
        mask_NL: np.ndarray,
        cpu_seconds: float,
        *,
        batch: int = BATCH,
    ) -> int:
        """Train for so many CPU-seconds of this process; may be called again to go on.

        Args:
            images_NHWC: uint8, at the size given to the constructor.
            states_NLD: token states of each picture's caption; memory-mapped arrays will do.
            mask_NL: 1 for tokens, 0 for padding.
            cpu_seconds: by `time.process_time`; the step under way is finished.
            batch: images a step.

        Returns:
            Images seen in this call.
        """
        started, seen = time.process_time(), 0
        self.trainer.train()
        while time.process_time() - started < cpu_seconds:
            rows = torch.randint(len(images_NHWC), (batch,), generator=self._draws).numpy()
            self.trainer(
                _pictures(images_NHWC[rows]),
                text_embeds=torch.from_numpy(states_NLD[rows]).float(),
                text_masks=torch.from_numpy(mask_NL[rows]).bool(),
                unet_number=1,
            )
            self.trainer.update(unet_number=1)
            seen += batch
        self.images_seen += seen
        self.cpu_seconds += time.process_time() - started
        return seen

    @torch.no_grad()
    def denoise(
        self,
        noisy_BCHW: Tensor,
        sigma: float,
        states_BLD: Tensor,
        mask_BL: Tensor,
        *,
        averaged: bool = True,
    ) -> Tensor:
        """The clean picture it expects, thresholded as in its own sampler.

        Its process keeps the variance, ours lets it explode: x = x0 + sigma n is divided by
        sqrt(1 + sigma^2), and its time is the one whose noise-to-signal ratio is sigma.

        Args:
            noisy_BCHW: clean picture in [-1, 1] plus sigma times standard normal noise, float32.
            sigma: noise level, above 0.
            states_BLD: token states.
            mask_BL: 1 for tokens.
            averaged: with the averaged weights, which its sampler uses.

        Returns:
            Same shape, in [-1, 1].
        """
        scheduler = self.imagen.noise_schedulers[0]
        time_B = torch.full((len(noisy_BCHW),), cosine_time(sigma))
        with self._weights(averaged) as network:
            _, x0 = self.imagen.p_mean_variance(
                network,
                noisy_BCHW / math.sqrt(1 + sigma**2),
                time_B,
                t_next=(time_B - 1e-3).clamp(min=0),
                noise_scheduler=scheduler,
                text_embeds=states_BLD.float(),
                text_mask=mask_BL.bool(),
            )
        return x0

    def error(
        self,
        images_NHWC: np.ndarray,
        states_NLD: np.ndarray,
        mask_NL: np.ndarray,
        sigma: float,
        *,
        seed: int = 0,
        averaged: bool = True,
    ) -> float:
        """Mean squared error of `denoise` at one noise level; pictures in [-1, 1]."""
        total, draws = 0.0, torch.Generator().manual_seed(seed)
        for start in range(0, len(images_NHWC), 64):
            part = slice(start, start + 64)
            clean = _pictures(images_NHWC[part]) * 2 - 1
            noise = torch.randn(clean.shape, generator=draws)
            text = torch.from_numpy(states_NLD[part]), torch.from_numpy(mask_NL[part])
            found = self.denoise(clean + sigma * noise, sigma, *text, averaged=averaged)
            total += float((found - clean).square().flatten(1).mean(1).sum())
        return total / len(images_NHWC)

    def sample(
        self,
        states_NLD: np.ndarray,
        mask_NL: np.ndarray,
        seed: int = 0,
        *,
        averaged: bool = True,
        cond_scale: float = 1.0,
    ) -> np.ndarray:
        """Pictures (N, H, W, 3), uint8, by its default sampler of 1,000 steps and guidance 1."""
        torch.manual_seed(seed)
        images = self.trainer.sample(
            text_embeds=torch.from_numpy(states_NLD).float(),
            text_masks=torch.from_numpy(mask_NL).bool(),
            cond_scale=cond_scale,
            use_tqdm=False,
            use_non_ema=not averaged,
        )
        return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()

    @contextlib.contextmanager
    def _weights(self, averaged: bool) -> Any:
        """Its network for evaluation."""
        with self.trainer.use_ema_unets() if averaged else contextlib.nullcontext():
            network = self.imagen.get_unet(1)
            network.eval()
            yield network


def cosine_time(sigma: float, *, offset: float = 0.008) -> float:
    """The time in [0, 1] at which the cosine schedule has noise-to-signal ratio `sigma`.

    tan((t + s) / (1 + s) * pi / 2) = sigma. Source: Nichol and Dhariwal, arXiv:2102.09672,
    equation 17.
    """
    return min(1.0, max(0.0, math.atan(sigma) * 2 / math.pi * (1 + offset) - offset))


def _pictures(images_NHWC: np.ndarray) -> Tensor:
    """uint8 pictures as floats in [0, 1], as the library takes them."""
    return torch.from_numpy(np.ascontiguousarray(images_NHWC)).permute(0, 3, 1, 2).float() / 255
