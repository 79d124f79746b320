"""Optimisers by name, each with the options it knows; their states by the weights' names."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from curate.errors import UsageError
from curate.system.settings import suggest
from train.model.muon import Muon

# Options and their defaults; rate and weight decay are settings of their own.
OPTIONS: dict[str, dict[str, Any]] = {
    "adamw": {"betas": (0.9, 0.99), "eps": 1e-8},
    "adafactor": {"beta2_decay": -0.8, "eps": (None, 1e-3), "d": 1.0},
    "muon": {"betas": (0.9, 0.99), "eps": 1e-8, "momentum": 0.95, "nesterov": True, "ns_steps": 5},
}


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse an optimiser, or an option of it, that is not known or cannot work.

    Raises:
        UsageError: with the nearest name, or with what is wrong with the value.
    """
    if name not in OPTIONS:
        fix = suggest(name, OPTIONS)
        raise UsageError("optimizer in --config", f"no optimiser {name!r}", fix=fix)
    subject = "optimizer_options in --config"
    for option in options:
        if option not in OPTIONS[name]:
            fix = suggest(option, OPTIONS[name])
            raise UsageError(subject, f"no option of {name} {option!r}", fix=fix)
    try:  # a step with them
        layer = nn.Linear(2, 2)
        layer(torch.ones(1, 2)).sum().backward()
        for optimizer in make(name, options, layer, weight_decay=0.0):
            optimizer.step()
    except (ValueError, TypeError, RuntimeError) as error:
        values = ", ".join(f"{k} = {_toml_value(v)}" for k, v in OPTIONS[name].items())
        problem = f"{name} cannot use {dict(options)} ({error})"
        raise UsageError(subject, problem, fix=f"values such as {values}") from None


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def make(
    name: str, options: Mapping[str, Any], network: nn.Module, *, weight_decay: float
) -> list[Optimizer]:
    """The optimisers that together train every weight of `network`.

    `muon` is for matrices and kernels; norms, biases and other vectors are left to AdamW. Its steps
    are scaled to AdamW's size, so that one rate serves both.
    """
    chosen = {**OPTIONS[name], **options}
    chosen = {k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items()}
    own = [p for p in network.parameters() if p.requires_grad]
    if name == "adafactor":
        return [torch.optim.Adafactor(own, lr=0.0, weight_decay=weight_decay, **chosen)]
    adam = {"betas": chosen.pop("betas"), "eps": chosen.pop("eps")}
    made: list[Optimizer] = []
    if name == "muon":
        matrices = [p for p in own if p.ndim >= 2]
        made.append(Muon(matrices, lr=0.0, weight_decay=weight_decay, **chosen))
        own = [p for p in own if p.ndim < 2]
    made.append(torch.optim.AdamW(own, lr=0.0, weight_decay=weight_decay, fused=True, **adam))
    return made


def count_moments(name: str, weight: Tensor) -> int:
    """How many numbers `make(name, ...)` remembers of a weight, its count of steps apart."""
    if name == "adafactor" and weight.ndim >= 2:  # of each row, of each column
        return weight.numel() // weight.shape[-1] + weight.numel() // weight.shape[-2]
    once = name == "adafactor" or (name == "muon" and weight.ndim >= 2)
    return weight.numel() if once else 2 * weight.numel()


def set_learning_rate(optimizers: Sequence[Optimizer], rate: float) -> None:
    """The learning rate of the next step."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def states(optimizers: Sequence[Optimizer], network: nn.Module) -> dict[str, Tensor]:
    """What the optimisers remember, as WEIGHT/NAME."""
    return {
        f"{weight}/{name}": value
        for weight, parameter in network.named_parameters()
        for optimizer in optimizers
        if parameter in optimizer.state
        for name, value in optimizer.state[parameter].items()
    }


def restore_state(
    optimizers: Sequence[Optimizer], network: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Give back what `states` returned, each tensor laid out in memory as a run would have it."""
    owners = {p: o for o in optimizers for group in o.param_groups for p in group["params"]}
    weights = dict(network.named_parameters())
    for key, value in tensors.items():
        weight, _, name = key.rpartition("/")
        parameter = weights[weight]
        # the fused step walks memory, so its moments must be laid out as the weights are
        like = parameter if value.shape == parameter.shape else value
        fused = bool(owners[parameter].param_groups[0].get("fused"))
        place = parameter.device if fused or name != "step" else "cpu"  # counts of steps often stay
        own = torch.empty_like(like, dtype=value.dtype, device=place).copy_(value)
        owners[parameter].state[parameter][name] = own
