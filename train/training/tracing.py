"""What a pass through a network costs, counted on tensors that have a shape but no memory.

The training step's own code runs on fake tensors (`torch._subclasses.fake_tensor`): each storage
is counted when it is made and when the last reference to it goes. So the figures follow the code,
autocast and recomputation included, rather than a formula kept beside it. They are those of a CPU;
on a card, whose attention never holds all scores, it is a little less.

Letters in names: B batch, C channels, H and W pixels.
"""

import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from train.data.batches import Batch
from train.model import optimizers
from train.model.unet import UNet, UNetConfig
from train.size import Size
from train.training import loop


@dataclass(frozen=True)
class Pass:
    """What is run: which network, on how many images of which size at a time."""

    shape: UNetConfig
    size: Size  # pixels of what the network sees: a crop, where it is trained on crops
    images: int
    tokens: int = 64  # of each caption
    precision: str = "bf16"  # as in the settings


@dataclass(frozen=True)
class Cost:
    """Bytes at the fullest moment of a pass, by what they hold, and the arithmetic of all of it.

    The weights themselves, their averages and moments are not among them.
    """

    inputs: int  # images, noise, text
    casts: int  # copies of the weights in the precision of the arithmetic
    gradients: int  # those that exist at that moment
    activations: int  # everything else
    flops: int  # multiplications and additions

    @property
    def total(self) -> int:
        """Bytes."""
        return self.inputs + self.casts + self.gradients + self.activations


@lru_cache(maxsize=256)
def training_cost(work: Pass, *, again: bool = False) -> Cost:
    """One forward and backward pass; `again` where it adds to the gradients of another."""

    def step(network: UNet, batch: Batch) -> None:
        loop.batch_loss(network, batch, 0.5, work.precision).sum().backward()  # type: ignore[no-untyped-call]

    return _trace(work, step, again=again)


@lru_cache(maxsize=256)
def sampling_cost(work: Pass) -> Cost:
    """One call of the denoiser: one step of the sampler, or half of one with guidance."""

    @torch.no_grad()
    def step(network: UNet, batch: Batch) -> None:
        loop.batch_loss(network, batch, 0.5, work.precision)

    return _trace(work, step, layer_dtype=_sampling_dtype(work.precision))


@lru_cache(maxsize=64)
def moments(shape: UNetConfig, optimizer: str, options: tuple[tuple[str, Any], ...] = ()) -> int:
    """Bytes that the optimisers of a network remember, once they have stepped."""
    with FakeTensorMode():
        network = UNet(shape)
        for parameter in network.parameters():
            parameter.grad = torch.empty_like(parameter)
        steppers = optimizers.make(optimizer, dict(options), network, weight_decay=0.0)
        for stepper in steppers:
            # Adafactor asks for a number after it has made what it remembers
            with suppress(DataDependentOutputException):
                stepper.step()
        return sum(value.nbytes for value in optimizers.states(steppers, network).values())


@lru_cache(maxsize=64)
def count_parameters(shape: UNetConfig) -> int:
    """How many numbers the network learns."""
    with torch.device("meta"):
        return sum(p.numel() for p in UNet(shape).parameters())


@lru_cache(maxsize=64)
def sampling_weight_bytes(shape: UNetConfig, precision: str = "bf16") -> int:
    """Bytes of the weights as sampling keeps them: layers in the precision they multiply in."""
    with FakeTensorMode():
        network = _fake_network(shape, _sampling_dtype(precision))
        return sum(p.nbytes for p in network.parameters())


def random_batch(work: Pass, device: torch.device | str = "cpu") -> Batch:
    """Random images and text such as training sees, to run a step on."""
    count, (width, height) = work.images, work.size
    clean, noise, low = torch.randn(3, count, 3, height, width, device=device).clone().unbind()
    ones = torch.ones(count, device=device)
    text = torch.randn(count, work.tokens, work.shape.text_width, device=device)
    return Batch(
        clean.clone(),
        noise.clone(),
        ones,
        (text, torch.ones(count, work.tokens, device=device)),
        (low.clone(), ones / 4) if work.shape.noise_levels > 1 else None,
        torch.zeros(count, dtype=torch.long, device=device),
    )


def _trace(
    work: Pass,
    step: Callable[[UNet, Batch], None],
    *,
    again: bool = False,
    layer_dtype: torch.dtype = torch.float32,
) -> Cost:
    with FakeTensorMode():
        network, batch = _fake_network(work.shape, layer_dtype), random_batch(work)
        watch = _StorageCounter(network, batch)
        if again:
            for parameter in network.parameters():
                parameter.grad = torch.empty_like(parameter)
        count = FlopCounterMode(display=False)
        with watch, count:
            step(network, batch)
    kept = 4 * count_parameters(work.shape) if again else 0
    at_peak = watch.at_peak
    return Cost(
        watch.inputs,
        at_peak.casts,
        kept or at_peak.gradients,
        at_peak.rest,
        count.get_total_flops(),
    )


def _fake_network(shape: UNetConfig, layer_dtype: torch.dtype = torch.float32) -> UNet:
    """Channels last, its layers in a precision, which `Module.to` cannot do to fake tensors."""
    network = UNet(shape)
    for module in network.modules():
        dtype = layer_dtype if isinstance(module, nn.Conv2d | nn.Linear) else torch.float32
        for name, value in list(module.named_parameters(recurse=False)):
            laid = torch.channels_last if value.ndim == 4 else torch.contiguous_format
            made = value.detach().to(dtype).contiguous(memory_format=laid)
            setattr(module, name, nn.Parameter(made))
    return network


def _sampling_dtype(precision: str) -> torch.dtype:
    return torch.bfloat16 if precision == "bf16" else torch.float32


@dataclass(frozen=True)
class _LiveBytes:
    casts: int = 0
    gradients: int = 0
    rest: int = 0

    def plus(self, kind: str, number: int) -> "_LiveBytes":
        return replace(self, **{kind: getattr(self, kind) + number})

    @property
    def total(self) -> int:
        return self.casts + self.gradients + self.rest


class _StorageCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operations make, while they live."""

    def __init__(self, network: UNet, given: Batch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        known = [*network.parameters(), *network.buffers()]
        self._weights = {id(t.untyped_storage()) for t in known}
        inputs = [t for t in tree_leaves(list(vars(given).values())) if isinstance(t, Tensor)]
        sizes = {id(s): s.nbytes() for s in (t.untyped_storage() for t in inputs)}
        self.inputs = sum(sizes.values())
        self._kinds: dict[int, str] = dict.fromkeys((*self._weights, *sizes), "")
        self.now = self.at_peak = _LiveBytes()
        for parameter in network.parameters():
            hook = parameter.register_post_accumulate_grad_hook
            hook(self._is_gradient)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what it made."""
        out = func(*args, **(kwargs or {}))
        cast = func is torch.ops.aten._to_copy.default
        kind = "casts" if cast and self._is_weight(args[0]) else "rest"
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._count_storage(leaf, kind)
        if self.now.total > self.at_peak.total:
            self.at_peak = self.now
        return out

    def _is_weight(self, tensor: Tensor) -> bool:
        return id(tensor.untyped_storage()) in self._weights

    def _count_storage(self, tensor: Tensor, kind: str) -> None:
        storage = tensor.untyped_storage()
        if id(storage) in self._kinds:
            return
        self._kinds[id(storage)] = kind
        self.now = self.now.plus(kind, storage.nbytes())
        weakref.finalize(storage, partial(self._forget_storage, id(storage), storage.nbytes()))

    def _forget_storage(self, name: int, number: int) -> None:
        self.now = self.now.plus(self._kinds.pop(name), -number)

    def _is_gradient(self, parameter: Tensor) -> None:
        storage = parameter.grad.untyped_storage() if parameter.grad is not None else None
        if storage is not None and self._kinds.get(id(storage)) == "rest":
            self._kinds[id(storage)] = "gradients"
            moved = storage.nbytes()
            self.now = self.now.plus("rest", -moved).plus("gradients", moved)
