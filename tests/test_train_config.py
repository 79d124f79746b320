# ruff: noqa: F401, F811 fixtures
import pytest

from curate.errors import CurateError
from tests.training import encoder, quick, shards, trained
from train import cascade, config


def test_unknown_settings_name_the_nearest(tmp_path):
    (tmp_path / "a.toml").write_text("learning_rat = 1.0")
    with pytest.raises(CurateError, match="did you mean learning_rate"):
        config.load(tmp_path / "a.toml", {})
    (tmp_path / "b.toml").write_text("batch = 'many'")
    with pytest.raises(CurateError, match="'many' is not a whole number"):
        config.load(tmp_path / "b.toml", {})
    (tmp_path / "c.toml").write_text("stages = [16, 64]\nlearning_rate = 1")
    assert config.load(tmp_path / "c.toml", {"seed": 3}).stages == ((16, 16), (64, 64))


@pytest.mark.parametrize(
    "setting, problem",
    [
        ({"save_every": 0}, "save_every in --config: 0 is below 1"),
        ({"learning_rate": 0.0}, "0.0 is not above 0"),
        ({"low_noise": -1.0}, "-1.0 is below 0"),
        ({"held_out": 1.0}, r"1.0 is not in \[0, 1\)"),
        ({"stages": (16, 24)}, "2 or 4 times"),
        ({"precision": "fp8"}, "no precision 'fp8'"),
        ({"stages": (32, 128), "crop": 60}, "60 does not fit"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, problem):
    with pytest.raises(CurateError, match=problem):
        config.load(None, setting)


def test_stages_come_from_the_checkpoint(trained, shards, tmp_path, quick, capsys):
    taken = cascade.taken_over(trained, {}, {"images": (5, 5), "size": None})
    assert config.load(None, taken).stages == ((8, 8), (16, 16))
    with pytest.raises(CurateError, match="network is that of --init"):
        cascade.taken_over(trained, {}, {"size": "small"})
