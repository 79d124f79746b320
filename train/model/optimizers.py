"""Optimisers by name, each with the options it knows; their states by the weights' names.

Muon is ours: momentum whose direction is orthogonal, for matrices and for kernels of convolutions.
A step moves a weight by the matrix that is nearest to its momentum among those whose singular
values are all 1, so that directions seldom asked for (a rare word's) learn as fast as frequent
ones. Letters in names: N weights of one shape, R rows, C columns.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from curate.errors import UsageError
from curate.system.settings import suggest

# Options and their defaults; rate and weight decay are settings of their own.
OPTIONS: dict[str, dict[str, Any]] = {
    "adamw": {"betas": (0.9, 0.99), "eps": 1e-8},
    "adafactor": {"beta2_decay": -0.8, "eps": (None, 1e-3), "d": 1.0},
    "muon": {"betas": (0.9, 0.99), "eps": 1e-8, "momentum": 0.95, "nesterov": True, "ns_steps": 5},
}

# Newton-Schulz coefficients: they trade exactness (singular values end in about 0.7 to 1.2) for
# speed. Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
A, B, C = 3.4445, -4.7750, 2.0315


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


class Muon(Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay.

    A kernel (out, in, height, width) is taken as a matrix of `out` rows. Steps are scaled by
    0.2 sqrt(max(rows, columns)), to the size of AdamW's, so that its rates serve.

    Source: Jordan et al. 2024 as above; scale and decay: Liu et al., arXiv:2502.16982, section 2.2.
    Weights of one shape are worked on at once (our choice).
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
    ) -> None:
        """Weights need two dimensions or more.

        Raises:
            ValueError: one has fewer, or a number cannot work.
        """
        if lr < 0 or weight_decay < 0 or not 0 <= momentum < 1 or ns_steps < 1:
            raise ValueError("rates and decay from 0, momentum in [0, 1), ns_steps from 1")
        own = list(weights)
        if any(weight.ndim < 2 for weight in own):
            raise ValueError("Muon is for weights of two dimensions or more")
        defaults: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(own, defaults | {"nesterov": nesterov, "ns_steps": ns_steps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.shape].append(weight)
            for weights in alike.values():
                self._move(weights, group)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        states = [self.state[weight] for weight in weights]
        for state, weight in zip(states, weights, strict=True):
            if not state:
                state["momentum_buffer"] = torch.zeros_like(weight)
        momenta = [state["momentum_buffer"] for state in states]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        wanted = momenta
        if group["nesterov"]:
            wanted = list(torch._foreach_lerp(gradients, momenta, group["momentum"]))
        turned_NRC = newton_schulz(torch.stack([_flatten(w) for w in wanted]), group["ns_steps"])
        scale = 0.2 * max(turned_NRC.shape[1:]) ** 0.5
        moves = [_unflatten(move, weights[0].shape) for move in turned_NRC.float()]
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, moves, alpha=-group["lr"] * scale)


def _flatten(weight: Tensor) -> Tensor:
    """A row for each output; for a kernel laid out channels-last, a view."""
    return weight.movedim(1, -1).flatten(1)


def _unflatten(matrix: Tensor, shape: torch.Size) -> Tensor:
    return matrix.reshape(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


def newton_schulz(matrices_NRC: Tensor, steps: int = 5) -> Tensor:
    """About the nearest matrices with all singular values 1, by Newton-Schulz iteration.

    X <- a X + (b S + c S^2) X with S = X X^T, in bfloat16.

    Args:
        matrices_NRC: any float dtype; a matrix of zeros stays zero.
        steps: iterations.

    Returns:
        Same shape, bfloat16; after five steps singular values in about 0.6 to 1.3, unless they
        were below a hundredth of the largest.

    Source: Jordan et al. 2024, as above.
    """
    x = matrices_NRC.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=B, alpha=C), x, beta=A)
    return x.mT if tall else x
