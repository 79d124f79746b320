"""Small cascades with random weights, as files: they draw, though nothing that means anything."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from curate.formats.model import MODEL_FILE, NO_FACTS, SetRecord
from train.checkpoints import checkpoint
from train.model.unet import UNet, unet_config
from train.size import Size
from train.text_encoder.embeddings import TextEncoder

FACTS: dict[str, Any] = {
    "sets": [SetRecord("ab" * 32, "new", 8, {"red": 5, "green": 3, "circle": 2})],
    "licences": {"CC0-1.0": 8},
    "convergence": {
        "16": {
            "psnr": 30.0,
            "bicubic": 25.0,
            "back_projected": 26.0,
            "high_frequency": 0.8,
            "converged": True,
            "held_out": True,
        }
    },
}


def write(
    folder: Path,
    encoder: str,
    *,
    stages: Sequence[int | str] = (8, 16),
    facts: Mapping[str, Any] = FACTS,
    credits: Sequence[Mapping[str, str]] = (),
    seed: int = 0,
) -> Path:
    """A run's folder with a finished model; returns it."""
    sizes = [Size.of(stage) for stage in stages]
    generator = torch.Generator().manual_seed(seed)
    reader, made = TextEncoder(encoder), []
    for number, size in enumerate(sizes):
        network = UNet(unet_config("tiny", sizes, number, reader.width))
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            with torch.no_grad():
                parameter.add_(0.05 * noise)
        low = sizes[number - 1] if number else None
        made.append(checkpoint.Stage(size, low, network.eval(), 0.5, 100))
    cascade = checkpoint.Cascade(made, encoder, reader.digest, replace(NO_FACTS, **facts))
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save(folder / MODEL_FILE, cascade, credits)
    return folder


def credit(key: str, **values: str) -> dict[str, str]:
    """What a model's file says of one image."""
    names = ("title", "creator", "creator_url", "license", "license_url", "page_url", "share_model")
    return {"key": key, **dict.fromkeys(names, ""), **values}
