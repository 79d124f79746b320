"""The weights half: from shards to a model that says the new words.

The names below are what the library declares; each is loaded when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "Rule",
    "SamplingConfig",
    "TrainConfig",
    "Verification",
    "export_model",
    "finetune",
    "load_sampler",
    "plan_run",
    "verify_words",
]

if TYPE_CHECKING:
    from train.config import TrainConfig
    from train.publish.export import export_model
    from train.sampling.sampler import SamplingConfig, load_sampler
    from train.training.plan import plan_run
    from train.training.run import finetune
    from train.verification.verdict import Rule
    from train.verification.verify import Verification, verify_words

_ROOMS = {
    "Rule": "verification.verdict",
    "SamplingConfig": "sampling.sampler",
    "TrainConfig": "config",
    "Verification": "verification.verify",
    "export_model": "publish.export",
    "finetune": "training.run",
    "load_sampler": "sampling.sampler",
    "plan_run": "training.plan",
    "verify_words": "verification.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"train.{_ROOMS[name]}"), name)
