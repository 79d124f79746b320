"""What a pass through a network costs, counted on tensors that have a shape but no memory.

The training step's own code runs on PyTorch's meta device: each storage is counted when it is made
and when the last reference to it goes. So the figures follow the code, recomputation included,
rather than a formula kept beside it. They are those of a CPU; on a card, whose attention never
holds all scores, it is a little less.

Letters in names: B batch, C channels, H and W pixels.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from train.data.batches import Batch
from train.model import optimizers
from train.model.unet import ConvBlock, TransformerBlock, UNet, UNetConfig
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

    return _trace(work, step, layer_dtype=_dtype(work.precision))


@lru_cache(maxsize=64)
def moments(shape: UNetConfig, optimizer: str) -> int:
    """Bytes that the optimisers of a network remember, once they have stepped."""
    return sum(4 * optimizers.count_moments(optimizer, p) for p in _network(shape).parameters())


@lru_cache(maxsize=64)
def count_parameters(shape: UNetConfig) -> int:
    """How many numbers the network learns."""
    return sum(p.numel() for p in _network(shape).parameters())


@lru_cache(maxsize=64)
def sampling_weight_bytes(shape: UNetConfig, precision: str = "bf16") -> int:
    """Bytes of the weights as sampling keeps them: layers in the precision they multiply in."""
    return sum(p.nbytes for p in _network(shape, _dtype(precision)).parameters())


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


def _network(shape: UNetConfig, layer_dtype: torch.dtype = torch.float32) -> UNet:
    """Without memory, its layers in a precision."""
    with torch.device("meta"):
        network = UNet(shape).to(memory_format=torch.channels_last)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(layer_dtype)
    return network


def _dtype(precision: str) -> torch.dtype:
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _trace(
    work: Pass,
    step: Callable[[UNet, Batch], None],
    *,
    again: bool = False,
    layer_dtype: torch.dtype = torch.float32,
) -> Cost:
    network, batch = _network(work.shape, layer_dtype), random_batch(work, "meta")
    watch, flops = _StorageCounter(_dtype(work.precision)), FlopCounterMode(display=False)
    images = (batch.clean_BCHW, batch.noise_BCHW, batch.sigma_B, batch.set_B)
    for tensor in (*images, *batch.text, *(batch.conditioning or ())):
        watch.count(tensor, "inputs")
    for tensor in (*network.parameters(), *network.buffers()):
        watch.count(tensor, "weights")
    for parameter in network.parameters():
        parameter.register_post_accumulate_grad_hook(watch.count_gradient)  # type: ignore[no-untyped-call]
        if again:
            parameter.grad = watch.count(torch.empty_like(parameter), "gradients")
    for block in network.modules():  # may be computed again in `backward`, where no mode is on
        if isinstance(block, ConvBlock | TransformerBlock):
            block.forward = watch.entered(block.forward)  # type: ignore[method-assign]
    with watch, flops, saved_tensors_hooks(watch.count, lambda tensor: tensor):
        step(network, batch)
    kinds = ("inputs", "casts", "gradients", "activations")
    return Cost(**{kind: watch.at_peak[kind] for kind in kinds}, flops=flops.get_total_flops())


class _StorageCounter(TorchFunctionMode):
    """Counts the storages that operations make, while they live.

    Autocast knows no meta device, so layers are given here what it would give them. Of a backward
    pass the gradients are seen that it hands on, and blocks computed again, not its work space.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype
        self._kinds: dict[int, str] = {}
        self._now, self.at_peak = Counter[str](), Counter[str]()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Run the operation and count what it made."""
        if func in (F.linear, F.conv2d):
            cast = partial(self.__torch_function__, Tensor.to, ())
            args = [cast((v, self._dtype)) if isinstance(v, Tensor) else v for v in args]
        out = func(*args, **(kwargs or {}))
        kind = "activations"
        if func == Tensor.to and isinstance(args[0], nn.Parameter):
            kind = "casts"
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, Tensor):
                self.count(value, kind)
                if value.requires_grad and not value.is_leaf:
                    value.register_hook(self.count)  # type: ignore[no-untyped-call]
        return out

    def count(self, tensor: Tensor, kind: str = "activations") -> Tensor:
        """The tensor, whose storage is counted, if it was not yet, until it goes."""
        storage = tensor.untyped_storage()
        if id(storage) not in self._kinds:
            self._kinds[id(storage)] = kind
            self._now[kind] += storage.nbytes()
            weakref.finalize(storage, self._forget, id(storage), storage.nbytes())
            if self._now.total() > self.at_peak.total():
                self.at_peak = self._now.copy()
        return tensor

    def _forget(self, name: int, number: int) -> None:
        self._now[self._kinds.pop(name)] -= number

    def count_gradient(self, parameter: Tensor) -> None:
        """Count the gradient that a weight is left with."""
        assert parameter.grad is not None
        self.count(parameter.grad, "gradients")

    def entered(self, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The same function, counted wherever it is called."""

        def run(*given: Tensor) -> Tensor:
            with self:
                return forward(*given)

        return run
