"""What a card would be asked to do, seen on a machine without one.

Fake tensors have a device, but no memory: where two devices meet, or a number is asked for that
only the card knows, they raise an error.
"""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from curate.errors import UsageError
from train.model import optimizers
from train.model.ema import EMA
from train.model.unet import UNet, unet_config
from train.size import Size
from train.training import distributed, loop, timing, tracing
from train.training.log import PendingMetrics
from train.training.tracing import Pass

CARD = torch.device("cuda", 0)
STAGES = (Size(16, 16), Size(64, 64))


class Operations(TorchDispatchMode):
    """Names of all operations; whether what convolutions are given lies channels last."""

    def __init__(self):
        super().__init__()
        self.names, self.channels_last = set(), []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name()
        self.names.add(name)
        if name == "aten::convolution" and args[0].shape[1] > 6:  # what is computed, not given
            laid = {"memory_format": torch.channels_last}
            self.channels_last += [tensor.is_contiguous(**laid) for tensor in args[:2]]
        return func(*args, **(kwargs or {}))


def on_card(shape):
    with torch.device(CARD):
        made = UNet(shape)
    for conv in (module for module in made.modules() if isinstance(module, nn.Conv2d)):
        laid = conv.weight.detach().contiguous(memory_format=torch.channels_last)
        conv.weight = nn.Parameter(laid)
    return made


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_step_stays_on_the_card_and_waits_for_nothing(number, optimizer):
    shape = unet_config("tiny", STAGES, number, 8)
    operations = Operations()
    with FakeTensorMode():
        own = on_card(shape)
        track = EMA(0.1, on_card(shape).requires_grad_(False))
        tools = optimizers.make(optimizer, {}, own, weight_decay=0.01)
        batch = tracing.random_batch(Pass(shape, STAGES[number], 2, tokens=3), CARD)
        unread = PendingMetrics(1)
        with operations:
            losses_B = loop.batch_loss(own, batch, 0.5, "fp32")
            for parameter in own.parameters():  # a backward pass needs a real card
                parameter.grad = torch.empty_like(parameter)
            norm = nn.utils.clip_grad_norm_(list(own.parameters()), 1.0)
            for tool in tools:
                tool.step()
            track.update(own, 2, 2)
            unread.add(2, norm, losses_B, batch.set_B)
    assert losses_B.device == CARD
    assert operations.channels_last
    assert all(operations.channels_last)
    assert "aten::_local_scalar_dense" not in operations.names
    moments = optimizers.states(tools, own).values()
    assert {value.device for value in moments} == {CARD}


def test_every_process_has_a_card_of_its_own(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1000")
    assert distributed.local_device(torch.device("cpu"), 2) == torch.device("cpu")
    assert distributed.local_device(torch.device("cuda", 1), 1) == torch.device("cuda", 1)
    with pytest.raises(UsageError, match="more processes than cards"):
        distributed.local_device(torch.device("cuda"), 2)


def test_processes_part_where_one_has_failed(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", "0")
    with pytest.raises(OSError, match="full"), distributed.process_group(torch.device("cpu"), 2):
        torch.distributed.barrier()
        raise OSError("full")
    assert not torch.distributed.is_initialized()


def test_a_card_without_bfloat16_is_told_of():
    told = timing.slow_precision("bf16", CARD, torch.float32)
    assert told and 'precision = "fp32"' in told
    assert timing.slow_precision("bf16", CARD, torch.bfloat16) is None
    assert timing.slow_precision("fp32", CARD, torch.float32) is None
    assert timing.slow_precision("bf16", torch.device("cpu"), torch.float32) is None
