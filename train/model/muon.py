"""Muon: momentum whose direction is orthogonal, for matrices and for kernels of convolutions.

A step moves a weight by the matrix that is nearest to its momentum among those whose singular
values are all 1, so that directions seldom asked for (a rare word's) learn as fast as frequent
ones. Letters in names: N weights of one shape, R rows, C columns.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

# Newton-Schulz coefficients: they trade exactness (singular values end in about 0.7 to 1.2) for
# speed. Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
A, B, C = 3.4445, -4.7750, 2.0315


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
