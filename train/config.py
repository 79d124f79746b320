"""The settings of a run: one frozen dataclass, from one TOML file and the command line."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from curate.errors import InputError, UsageError
from curate.system import settings
from train.model import optimizers
from train.model.ema import LARGEST_SIGMA_REL
from train.model.unet import SIZES, unet_config
from train.size import Size, join_sizes
from train.text_encoder.embeddings import DEFAULT_ENCODER

LARGEST_SEED = 2**62  # torch takes 64 bits, and each stage adds its number


@dataclass(frozen=True)
class TrainConfig:
    """How a run trains. Lengths are counted in images seen, so batch size drops out."""

    stages: tuple[Size, ...] = (Size(16, 16), Size(64, 64))  # pixels; the first is the base
    images: tuple[int, ...] = (48_000, 18_000)  # images seen by each stage
    model_size: str = "small"  # a key of unet.SIZES
    mid_blocks: int = -1  # transformer blocks in the middle of the base; -1: as model_size has it
    text_encoder: str = DEFAULT_ENCODER
    seed: int = 0
    batch_size: int = 16  # images a step, over all processes; steps are what is scarce on a CPU
    gradient_accumulation: int = 1  # microbatches a batch is worked on in, to save memory
    gradient_checkpointing: bool = False  # compute activations again backwards, to save memory
    optimizer: str = "adamw"  # a key of optimizers.OPTIONS
    optimizer_options: dict[str, Any] = field(default_factory=dict)  # such as betas
    learning_rate: float = 2e-3  # from nothing; fine-tuning multiplies it by `finetune_rate`
    finetune_rate: float = 0.3
    warmup: int = 2_000  # images over which the rate rises, at most a tenth of the run
    decay: float = 0.3  # last part of the run over which the rate falls to zero
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0  # largest norm of the gradient
    caption_dropout: float = 0.1  # share of images trained without their caption
    new: float = 1.0  # weights of the sets of shards in a batch, as far as they are given:
    replay: float = 1.0  # what is new, what was trained on before,
    regularization: float = 1.0  # and what the model should go on showing as it did
    ema_sigma_rel: tuple[float, ...] = (0.05, 0.10)  # widths, as shares of the run, of the EMAs of
    # the weights; the one with the lower held-out loss becomes the model
    noise_augmentation: float = 0.5  # largest noise on what a super-resolution stage is given
    held_out: float = 0.05  # share of images, chosen by group or key, kept for the held-out loss;
    # of shards that hold some out themselves, those
    fit: str = "crop"  # to the stages' shape: "crop" the middle, or "pad" to the whole image
    flip: bool = False  # mirror half of the images; captions that say left or right become wrong
    crop: int = 64  # pixels; larger stages train on random crops of this side
    cache_gigabytes: float = 8.0  # 10^9 bytes; larger sets are decoded anew whenever they are drawn
    precision: str = "bf16"  # "bf16" autocast with fp32 weights, or "fp32"
    log_every: int = 800  # images
    save_every: int = 4_000  # images after which a run may be saved,
    save_seconds: float = 30.0  # if that long passed since it last was
    sample_every: int = 12_000  # images after which images are sampled into `samples`; 0: never
    sample_prompts: tuple[str, ...] = ()  # what they show; by default captions, held-out ones first
    snapshot_every: int = 0  # images after which the model so far is kept in `snapshots`; 0: never
    tensorboard: bool = False  # write what log.jsonl holds for TensorBoard, too

    def __post_init__(self) -> None:
        """Stages may be given as numbers, as text or as pairs."""
        object.__setattr__(self, "stages", tuple(Size.of(stage) for stage in self.stages))


def load_config(path: Path | None, changes: Mapping[str, Any]) -> TrainConfig:
    """The defaults, changed by the TOML file, changed by what was typed (None: not typed).

    Raises:
        InputError: the file is not TOML, or has an unknown key or a value of another type.
        UsageError: values that cannot work.
    """
    values = read(path) | {name: value for name, value in changes.items() if value is not None}
    config = replace(TrainConfig(), **values)
    _check_config(config)
    return config


def read(path: Path | None) -> dict[str, Any]:
    """The settings that a TOML file changes.

    Raises:
        InputError: the file is not TOML, or has an unknown key or a value of another type.
    """
    if path is None:
        return {}
    values = settings.read_toml(path, fix="name a TOML file, or leave out --config")
    hints = typing.get_type_hints(TrainConfig) | {"stages": list}
    values = settings.check_settings(path, values, hints, _FIXES)
    if "stages" in values:
        try:
            values["stages"] = tuple(map(Size.of, values["stages"]))
        except (TypeError, ValueError):
            problem = f"{values['stages']} is not a list of sizes"
            raise InputError(f"{path} stages", problem, fix=_FIXES["stages"]) from None
    return values


RENAMED_SETTINGS = {  # settings, by the names they had
    "size": "model_size",
    "encoder": "text_encoder",
    "batch": "batch_size",
    "accumulate": "gradient_accumulation",
    "recompute": "gradient_checkpointing",
    "clip": "max_grad_norm",
    "prior": "regularization",
    "averages": "ema_sigma_rel",
    "low_noise": "noise_augmentation",
}
_FIXES = {
    **{old: f"it is called {new} now" for old, new in RENAMED_SETTINGS.items()},
    "stages": 'such as [16, 64] or ["16x32", "64x128"]',
    "optimizer_options": "a table such as { betas = [0.9, 0.99] }",
    **{  # options of optimisers are no settings of a run
        option: f"optimizer_options = {{ {option} = ... }}"
        for options in optimizers.OPTIONS.values()
        for option in options
    },
}


def _check_config(config: TrainConfig) -> None:
    """Refuse the first value that cannot work, by its name."""
    _check_choices(config)
    _check_stages(config)
    for name, (least, above) in _MINIMA.items():
        value = getattr(config, name)
        if not (value > least if above else value >= least):
            wanted = f"a number above {least}" if above else f"{least} or more"
            _refuse(name, f"{value} is {'not above' if above else 'below'} {least}", wanted)
    for name in ("caption_dropout", "held_out", "decay"):
        if not 0 <= getattr(config, name) < 1:
            _refuse(name, f"{getattr(config, name)} is not in [0, 1)", "a share such as 0.1")
    if config.gradient_accumulation > config.batch_size:
        problem = f"{config.gradient_accumulation} microbatches of {config.batch_size} images"
        _refuse("gradient_accumulation", problem, f"at most the batch_size, {config.batch_size}")
    if not 0 <= config.seed <= LARGEST_SEED:
        problem = f"{config.seed} is not between 0 and {LARGEST_SEED}"
        _refuse("seed", problem, "a smaller number, such as --seed 1")
    widths = config.ema_sigma_rel
    possible = all(0 < width <= LARGEST_SIGMA_REL for width in widths)
    if not widths or not possible or len({*widths}) < len(widths):
        problem = f"{list(widths)} are not different shares of a run"
        fix = f"numbers above 0, at most {LARGEST_SIGMA_REL:.3f}: [0.05, 0.1]"
        _refuse("ema_sigma_rel", problem, fix)


_MINIMA: dict[str, tuple[int, bool]] = {  # least value; whether it must be above that
    **dict.fromkeys(("batch_size", "gradient_accumulation", "crop"), (1, False)),
    **dict.fromkeys(("log_every", "save_every"), (1, False)),
    **dict.fromkeys(("learning_rate", "finetune_rate", "max_grad_norm", "new"), (0, True)),
    **dict.fromkeys(("warmup", "weight_decay", "noise_augmentation"), (0, False)),
    **dict.fromkeys(("replay", "regularization"), (0, False)),
    **dict.fromkeys(("cache_gigabytes", "save_seconds"), (0, False)),
    **dict.fromkeys(("sample_every", "snapshot_every"), (0, False)),
    "mid_blocks": (-1, False),
}


def _check_choices(config: TrainConfig) -> None:
    choices = {"model_size": tuple(SIZES), "precision": ("bf16", "fp32"), "fit": ("crop", "pad")}
    for name, known in choices.items():
        if (value := getattr(config, name)) not in known:
            _refuse(name, f"no {name.replace('_', ' ')} {value!r}", settings.suggest(value, known))
    optimizers.check_options(config.optimizer, config.optimizer_options)


def _check_stages(config: TrainConfig) -> None:
    if not config.stages or any(side < 8 or side % 8 for size in config.stages for side in size):
        problem = f"{join_sizes(config.stages)} are not multiples of 8 pixels"
        _refuse("stages", problem, "such as 16,64")
    if any(later.factor_over(earlier) not in (2, 4) for earlier, later in pairwise(config.stages)):
        _refuse("stages", "each stage must be 2 or 4 times the one before", "such as 16,64")
    if len(config.images) != len(config.stages):
        counts = f"{len(config.images)} numbers for {len(config.stages)} stages"
        _refuse("images", counts, "one number of images a stage, such as 48000,18000")
    if min(config.images) < 0 or not any(config.images):
        problem = f"{', '.join(map(str, config.images))} is no number of images to train on"
        _refuse("images", problem, "such as 48000,18000; 0 leaves a stage of --init as it is")
    for number, size in enumerate(config.stages):
        multiple = unet_config(config.model_size, config.stages, number, 1).side_multiple
        if any(side % multiple for side in size):
            problem = f"{size} does not fit --model-size {config.model_size}"
            _refuse("stages", problem, f"multiples of {multiple}")
        if number and max(size) > config.crop and config.crop % multiple:
            _refuse("crop", f"{config.crop} does not fit the stages", f"multiples of {multiple}")


def _refuse(name: str, problem: str, fix: str) -> NoReturn:
    typed = name in ("model_size", "stages", "images", "seed")
    option = f"--{name.replace('_', '-')}"
    raise UsageError(option if typed else f"{name} in --config", problem, fix=fix)


def to_json(config: TrainConfig) -> dict[str, Any]:
    """Plain values, for the file beside the result."""
    return {f.name: _json_value(getattr(config, f.name)) for f in fields(config)}


def _json_value(value: Any) -> Any:
    if isinstance(value, Size):
        return value.to_json()
    if isinstance(value, Mapping):
        return {name: _json_value(inner) for name, inner in value.items()}
    return [_json_value(v) for v in value] if isinstance(value, tuple | list) else value
