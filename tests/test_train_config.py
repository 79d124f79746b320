# ruff: noqa: F401, F811 fixtures
from dataclasses import replace

import pytest

from curate.errors import CurateError, InputError
from tests.training import encoder, quick, shards, trained
from train import cli, config
from train.config import TrainConfig
from train.training import run


def test_unknown_settings_name_the_nearest(tmp_path):
    (tmp_path / "a.toml").write_text("learning_rat = 1.0")
    with pytest.raises(CurateError, match="did you mean learning_rate"):
        config.load_config(tmp_path / "a.toml", {})
    (tmp_path / "b.toml").write_text("batch_size = 'many'")
    with pytest.raises(CurateError, match="'many' is not a whole number"):
        config.load_config(tmp_path / "b.toml", {})
    (tmp_path / "c.toml").write_text("stages = [16, 64]\nlearning_rate = 1")
    assert config.load_config(tmp_path / "c.toml", {"seed": 3}).stages == ((16, 16), (64, 64))


@pytest.mark.parametrize(
    "setting, problem",
    [
        ({"save_every": 0}, "save_every in --config: 0 is below 1"),
        ({"learning_rate": 0.0}, "0.0 is not above 0"),
        ({"noise_augmentation": -1.0}, "-1.0 is below 0"),
        ({"held_out": 1.0}, r"1.0 is not in \[0, 1\)"),
        ({"stages": (16, 24)}, "2 or 4 times"),
        ({"precision": "fp8"}, "no precision 'fp8'"),
        ({"precision": "fp23"}, "did you mean fp32"),
        ({"optimizer": "adamv"}, "did you mean adamw"),
        ({"optimizer_options": {"beta": [0.9, 0.99]}}, "did you mean betas"),
        ({"optimizer_options": {"betas": [2.0, 0.99]}}, "Invalid beta parameter"),
        ({"ema_sigma_rel": (0.1, 0.5)}, "not different shares of a run"),
        ({"ema_sigma_rel": ()}, "not different shares of a run"),
        ({"gradient_accumulation": 0}, "0 is below 1"),
        ({"gradient_accumulation": 17}, "17 microbatches of 16 images"),
        ({"fit": "squeeze"}, "one of crop, pad"),
        ({"learning_rate": float("nan")}, "nan is not above 0"),
        ({"seed": -1}, "--seed: -1 is not between 0 and"),
        ({"seed": 2**63}, "is not between 0 and"),
        ({"stages": (32, 128), "crop": 60}, "60 does not fit"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, problem):
    with pytest.raises(CurateError, match=problem):
        config.load_config(None, setting)


def test_a_missing_file_and_one_that_is_no_toml_say_so(tmp_path):
    with pytest.raises(CurateError, match=r"none.toml: no such file"):
        config.load_config(tmp_path / "none.toml", {})
    (tmp_path / "a.toml").write_text("a b c")
    with pytest.raises(CurateError, match=r"a.toml: not TOML \(Expected"):
        config.load_config(tmp_path / "a.toml", {})


@pytest.mark.parametrize("old, new", config.RENAMED_SETTINGS.items())
def test_a_setting_under_its_old_name_is_refused_with_the_new_one(tmp_path, old, new):
    assert hasattr(TrainConfig, new) and not hasattr(TrainConfig, old)
    (tmp_path / "a.toml").write_text(f"{old} = 1")
    with pytest.raises(InputError) as caught:
        config.load_config(tmp_path / "a.toml", {})
    message = f"{tmp_path / 'a.toml'}: no setting '{old}'\n  fix: it is called {new} now"
    assert str(caught.value) == message


@pytest.mark.parametrize("command, old", cli.RENAMED_OPTIONS)
@pytest.mark.parametrize("value", [["small"], []])
def test_an_option_under_its_old_name_is_refused_with_the_new_one(capsys, command, old, value):
    typed = [old, *value] if value else [f"{old}=small"]
    with pytest.raises(SystemExit) as stop:
        cli.main([command, *typed])
    new = cli.RENAMED_OPTIONS[command, old]
    assert stop.value.code == 2
    said = f"error: {old}: no such option\n  fix: it is called {new} now\n"
    assert capsys.readouterr().err == said
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert new in capsys.readouterr().out


def test_stages_come_from_the_checkpoint(trained, shards, tmp_path, quick, capsys):
    taken = run.inherit(trained, {}, {"images": (5, 5), "model_size": None})
    assert config.load_config(None, taken).stages == ((8, 8), (16, 16))
    with pytest.raises(CurateError, match="network is that of --init"):
        run.inherit(trained, {}, {"model_size": "small"})


@pytest.mark.parametrize(
    "line, problem",
    [
        ("betas = [0.9, 0.99]", r"fix: optimizer_options = \{ betas = ... \}"),
        ("optimizer_options = 3", "3 is not a table .*\n  fix: a table such as"),
        ("stages = [1.5]", r"\[1.5\] is not a list of sizes\n  fix: such as \[16, 64\]"),
        ("ema_sigma_rel = ['long']", "is not a list of numbers"),
        ("sample_prompts = 'a cat'", "is not a list of texts in quotes"),
        ("tensorboard = 1", "1 is not true or false"),
    ],
)
def test_a_file_with_the_wrong_kind_of_value_says_which_it_should_be(tmp_path, line, problem):
    (tmp_path / "a.toml").write_text(line)
    with pytest.raises(CurateError, match=problem):
        config.load_config(tmp_path / "a.toml", {})


def test_a_checkpoint_of_three_stages_takes_images_for_each(tmp_path, shards, quick):
    three = replace(quick, stages=(8, 16, 32), images=(0, 0, 0))
    run.finetune(run.Recipe(shards, three), tmp_path, device="cpu")
    taken = run.inherit(tmp_path, {}, {})
    chosen = config.load_config(None, taken)
    assert (chosen.images, chosen.model_size) == ((48_000, 18_000, 18_000), "tiny")
    stated = run.inherit(tmp_path, {"images": (1, 2, 3)}, {})
    assert config.load_config(None, stated).images == (1, 2, 3)
