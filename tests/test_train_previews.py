"""Images drawn while training: the same however many are drawn at a time, and without traces."""

import numpy as np
import pytest
import torch
from PIL import Image

from train.checkpoints.checkpoint import Stage
from train.model.unet import UNet, UNetConfig
from train.sampling import sampler
from train.size import Size
from train.training.loop import Previews

CPU = torch.device("cpu")
SHAPE = {"widths": (8, 16), "blocks": (1, 1), "mid_blocks": 1, "text_width": 4, "heads": 2}


class Moving(UNet):
    """Notes whether it is moved in inference mode."""

    def to(self, *args, **kwargs):
        self.in_inference_mode = torch.is_inference_mode_enabled()
        return super().to(*args, **kwargs)


@pytest.fixture
def stages():
    torch.manual_seed(0)
    base = Moving(UNetConfig(**SHAPE)).requires_grad_(False)
    later = Moving(UNetConfig(in_channels=6, noise_levels=2, **SHAPE)).requires_grad_(False)
    for network in (base, later):
        torch.nn.init.normal_(network.out.weight, std=0.1)
    return [Stage(Size(8, 8), None, base, 0.5), Stage(Size(16, 16), Size(8, 8), later, 0.2)]


@pytest.fixture
def previews():
    text = (torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0)), torch.ones(5, 3))
    return Previews([f"prompt {n}" for n in range(5)], text)


def sheet(folder):
    with Image.open(folder / "samples" / "16-7.png") as image:
        return np.asarray(image).astype(int)


def test_many_are_drawn_some_at_a_time(tmp_path, stages, previews, monkeypatch):
    previews.write(tmp_path / "all", stages, 7, CPU)
    monkeypatch.setattr(sampler, "MAX_TOGETHER", 2)
    previews.write(tmp_path / "two", stages, 7, CPU)
    assert sheet(tmp_path / "all").std() > 10
    assert np.abs(sheet(tmp_path / "all") - sheet(tmp_path / "two")).max() <= 2


def test_a_stage_that_was_brought_to_a_card_can_learn_afterwards(tmp_path, stages, previews):
    """Weights moved in inference mode would stay inference tensors, which know no gradient."""
    previews.write(tmp_path, stages, 7, CPU)
    assert [stage.network.in_inference_mode for stage in stages] == [False, False]
