"""Peers of `train`: imagen-pytorch 2.1.0 and diffusers 0.42.1, as their users would build them.

    pip install imagen-pytorch==2.1.0 diffusers==0.42.1      # an environment of their own

Imported by the benchmarks; runs nothing itself. Letters in names: N images, L text tokens,
D text width, B batch, C channels, H and W pixels.
"""

import contextlib
import importlib
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Forward = Callable[[Tensor, tuple[Tensor, Tensor]], Tensor]  # image, text and mask

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
            states_NLD: token states of each image's caption; memory-mapped arrays will do.
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
        """The clean image it expects, thresholded as in its own sampler.

        Its process keeps the variance, ours lets it explode: x = x0 + sigma n is divided by
        sqrt(1 + sigma^2), and its time is the one whose noise-to-signal ratio is sigma.

        Args:
            noisy_BCHW: clean image in [-1, 1] plus sigma times standard normal noise, float32.
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
        """Mean squared error of `denoise` at one noise level; images in [-1, 1]."""
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
        """Images (N, H, W, 3), uint8, by its default sampler of 1,000 steps and guidance 1."""
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


def imagen_network(text_width: int, *, enlarging: bool = False) -> tuple[nn.Module, Forward]:
    """Its U-Net of about 8 M parameters and how to call it, with attention below full size.

    Attention at full size too, the constructor's default, takes five times as long. A
    super-resolution network (`enlarging`) is of its memory-efficient kind, with attention at the
    bottom alone, as its `SRUnet256`.
    """
    if enlarging:
        layers = {"layer_attns": (False, False, True), "layer_cross_attns": (False, False, True)}
        kind = {**layers, "memory_efficient": True, "lowres_cond": True}
    else:
        kind = {"layer_attns": (False, True, True), "layer_cross_attns": (False, True, True)}
    network = imagen_pytorch().Unet(text_embed_dim=text_width, **SMALL, **kind)

    def forward(x_BCHW: Tensor, text: tuple[Tensor, Tensor]) -> Tensor:
        noise = x_BCHW[:, 0, 0, 0]  # any numbers will do
        low = {"lowres_cond_img": x_BCHW[:, 3:], "lowres_noise_times": noise} if enlarging else {}
        return network(
            x_BCHW[:, :3],
            noise,
            text_embeds=text[0],
            text_mask=text[1].bool(),
            cond_drop_prob=0.1,
            **low,
        )

    return network, forward


def diffusers_network(text_width: int, *, enlarging: bool = False) -> tuple[nn.Module, Forward]:
    """The U-Net of its DeepFloyd IF pipeline, at 10 M parameters, and how to call it."""
    from diffusers import UNet2DConditionModel

    widths = (64, 96, 160)
    network = UNet2DConditionModel(
        in_channels=6 if enlarging else 3,
        out_channels=3,
        block_out_channels=widths,
        layers_per_block=2,
        down_block_types=("ResnetDownsampleBlock2D", *("SimpleCrossAttnDownBlock2D",) * 2),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=(*("SimpleCrossAttnUpBlock2D",) * 2, "ResnetUpsampleBlock2D"),
        cross_attention_dim=widths[-1],
        encoder_hid_dim=text_width,
        encoder_hid_dim_type="text_proj",
        addition_embed_type="text",
        addition_embed_type_num_heads=8,
        attention_head_dim=32,
        act_fn="gelu",
        resnet_time_scale_shift="scale_shift",
        resnet_out_scale_factor=math.sqrt(2),
        time_embedding_act_fn="gelu",
    )

    def forward(x_BCHW: Tensor, text: tuple[Tensor, Tensor]) -> Tensor:
        steps = torch.full((len(x_BCHW),), 500)
        return network(x_BCHW, steps, text[0], encoder_attention_mask=text[1]).sample

    return network, forward


def cosine_time(sigma: float, *, offset: float = 0.008) -> float:
    """The time in [0, 1] at which the cosine schedule has noise-to-signal ratio `sigma`.

    tan((t + s) / (1 + s) * pi / 2) = sigma. Source: Nichol and Dhariwal, arXiv:2102.09672,
    equation 17.
    """
    return min(1.0, max(0.0, math.atan(sigma) * 2 / math.pi * (1 + offset) - offset))


def _pictures(images_NHWC: np.ndarray) -> Tensor:
    """uint8 images as floats in [0, 1], as the library takes them."""
    return torch.from_numpy(np.ascontiguousarray(images_NHWC)).permute(0, 3, 1, 2).float() / 255
