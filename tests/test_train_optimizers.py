import pytest
import torch
from torch import nn

from curate.errors import UsageError
from train.model import optimizers


def network() -> nn.Module:
    torch.manual_seed(0)
    parts = nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(16, 3)
    return nn.Sequential(*parts).to(memory_format=torch.channels_last)


def walked(own: nn.Module, tools: list[torch.optim.Optimizer], steps: range) -> None:
    for n in steps:
        x = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(n))
        own.zero_grad()
        own(x).square().mean().backward()
        optimizers.set_learning_rate(tools, 0.01)
        for tool in tools:
            tool.step()


@pytest.mark.parametrize("name", optimizers.OPTIONS)
def test_stopped_and_restored_steps_as_if_never_stopped(name):
    own = network()
    tools = optimizers.make(name, {}, own, weight_decay=0.01)
    walked(own, tools, range(3))
    weights = {k: v.clone() for k, v in own.state_dict().items()}
    states = {k: v.clone() for k, v in optimizers.states(tools, own).items()}
    walked(own, tools, range(3, 6))

    again = network()
    again.load_state_dict(weights)
    fresh = optimizers.make(name, {}, again, weight_decay=0.01)
    optimizers.restore_state(fresh, again, {k: v.contiguous() for k, v in states.items()})
    walked(again, fresh, range(3, 6))
    for key, value in own.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


@pytest.mark.parametrize("name", optimizers.OPTIONS)
def test_every_weight_is_trained_by_one_optimiser(name):
    own = network()
    tools = optimizers.make(name, {}, own, weight_decay=0.0)
    before = [p.clone() for p in own.parameters()]
    walked(own, tools, range(2))
    held = [p for tool in tools for group in tool.param_groups for p in group["params"]]
    assert len(held) == len({id(p) for p in held}) == len(before)
    assert all((a != b).any() for a, b in zip(before, own.parameters(), strict=True))


@pytest.mark.parametrize(
    "name, options, sentence",
    [
        ("adamv", {}, "no optimiser 'adamv'\n  fix: did you mean adamw?"),
        ("sgd", {}, "no optimiser 'sgd'\n  fix: one of adamw, adafactor, muon"),
        ("adamw", {"beta": [0.9, 0.99]}, "no option of adamw 'beta'\n  fix: did you mean betas?"),
        ("adafactor", {"betas": [0.9, 0.99]}, "no option of adafactor 'betas'"),
        ("adamw", {"betas": [2, 0.99]}, "Invalid beta parameter"),
        ("adamw", {"eps": "small"}, "values such as betas = [0.9, 0.99], eps = 1e-08"),
        ("muon", {"ns_steps": 0}, "ns_steps = 5"),
    ],
)
def test_unknown_optimisers_and_options_are_refused_by_name(name, options, sentence):
    with pytest.raises(UsageError) as error:
        optimizers.check_options(name, options)
    assert sentence in str(error.value)


def test_options_reach_the_optimiser():
    (tool,) = optimizers.make("adamw", {"betas": [0.5, 0.6]}, network(), weight_decay=0.25)
    group = tool.param_groups[0]
    assert (group["betas"], group["weight_decay"], group["fused"]) == ((0.5, 0.6), 0.25, True)
