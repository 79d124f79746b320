"""How many images a word needs: profiles, and numbers in their place."""

import pytest

from curate.coverage import verdicts
from curate.errors import UsageError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"profile": "best"},
            "--profile: no profile 'best'\n  fix: one of scratch, finetune, lora",
        ),
        ({"minimum": 0}, "--min: 0 is not a number of images\n  fix: --min 1 or more"),
        ({"target": -1}, "--target: -1 is not a number of images\n  fix: --target 1 or more"),
        ({"minimum": 9, "target": 3}, "--min: 9 is above the target 3\n  fix: --target 9 or more"),
    ],
)
def test_says_which_threshold_is_wrong(settings: dict, message: str):
    with pytest.raises(UsageError) as caught:
        verdicts.resolve_targets(**settings)
    assert str(caught.value) == message


def test_a_threshold_makes_the_other_give_way():
    assert verdicts.resolve_targets("lora") == verdicts.Targets("lora", 1, 5)
    assert verdicts.resolve_targets(minimum=50) == verdicts.Targets("finetune", 50, 50)
    assert verdicts.resolve_targets(target=3) == verdicts.Targets("finetune", 3, 3)
