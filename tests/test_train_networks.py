import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.model.unet import SIZES, UNet, unet_config
from train.size import Size

sides = st.integers(1, 40).map(lambda n: 8 * n)


def millions(size: str, *stages: str, number: int = 0) -> float:
    with torch.device("meta"):
        made = UNet(unet_config(size, [Size.of(s) for s in stages], number, 384))
    return sum(p.numel() for p in made.parameters()) / 1e6


def test_the_dial_turns_from_tests_to_a_card_of_24_gigabytes():
    found = [millions(size, "64") for size in SIZES]
    assert found == pytest.approx([0.39, 2.6, 48, 295], rel=0.02)
    later = [millions(size, "16", "64", number=1) for size in SIZES]
    assert later == pytest.approx([0.48, 1.6, 20.5, 103], rel=0.02)


@pytest.mark.parametrize("size", SIZES)
@given(width=sides, height=sides, factor=st.sampled_from([2, 4]))
def test_every_size_of_picture_fits(size, width, height, factor):
    stages = [Size(width, height), Size(factor * width, factor * height)]
    for number, stage in enumerate(stages):
        made = unet_config(size, stages, number, 8)
        assert all(side % made.side_multiple == 0 for side in stage)
        assert min(stage) // made.side_multiple >= 2
        assert made.widths[-1] == SIZES[size]["widths"][-1]  # the bottom is always there
        assert made.widths[-1] % made.heads == 0


@pytest.mark.parametrize(
    ("size", "stages", "patches", "levels"),
    [
        ("small", "16,64", [1, 4], [2, 2]),
        ("small", "32,128", [2, 4], [2, 2]),
        ("small", "8,32", [1, 2], [2, 2]),
        ("small", "64x128,128x256", [4, 4], [2, 2]),
        ("large", "64,256", [2, 4], [3, 3]),
        ("large", "32,128", [1, 4], [3, 3]),
        ("large", "8,32", [1, 2], [2, 3]),
    ],
)
def test_patch_and_levels_follow_from_the_size_of_the_stage(size, stages, patches, levels):
    parsed = [Size.of(s) for s in stages.split(",")]
    made = [unet_config(size, parsed, number, 8) for number in range(2)]
    assert [m.patch for m in made] == patches
    assert [len(m.widths) for m in made] == levels


def test_blocks_in_the_middle_are_of_the_base_alone():
    stages = [Size.of(16), Size.of(64)]
    assert unet_config("small", stages, 0, 8, mid_blocks=7).mid_blocks == 7
    assert unet_config("small", stages, 0, 8, mid_blocks=0).mid_blocks == 0
    assert unet_config("small", stages, 1, 8, mid_blocks=7) == unet_config("small", stages, 1, 8)


def test_a_later_stage_sees_the_low_resolution_picture_and_attends_to_the_text_alone():
    stages = [Size.of(16), Size.of(64)]
    base, later = (unet_config("base", stages, number, 8) for number in range(2))
    assert (base.in_channels, base.noise_levels, base.self_attention) == (3, 1, True)
    assert (later.in_channels, later.noise_levels, later.self_attention) == (6, 2, False)
    assert later.mid_blocks >= 1
