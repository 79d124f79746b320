"""The weights half: from shards to a model that says the new words.

The names below are what the library declares; each is loaded when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "Models", "Recipe", "Rule", "SamplingConfig", "TrainConfig", "Truth", "WordTest",
    "export_model", "finetune", "finetune_runs", "load_sampler", "plan_run", "verify_words",
]  # fmt: skip

if TYPE_CHECKING:
    from train.config import TrainConfig
    from train.publish.export import export_model
    from train.sampling.sampler import SamplingConfig, load_sampler
    from train.training.plan import plan_run
    from train.training.run import Recipe, finetune, finetune_runs
    from train.verification.verdict import Rule
    from train.verification.verify import Models, Truth, WordTest, verify_words

_NAMES = {  # by module
    "config": "TrainConfig",
    "publish.export": "export_model",
    "sampling.sampler": "SamplingConfig load_sampler",
    "training.plan": "plan_run",
    "training.run": "Recipe finetune finetune_runs",
    "verification.verdict": "Rule",
    "verification.verify": "Models Truth WordTest verify_words",
}


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names.split():
            return getattr(import_module(f"train.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
