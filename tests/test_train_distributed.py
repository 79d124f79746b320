# ruff: noqa: F401, F811 fixtures
from dataclasses import replace

import pytest
import torch

from tests.training import command, encoder, losses, quick, settings_file, shards, torchrun
from train.checkpoints import checkpoint
from train.training import run as training_run
from train.training.run import Recipe


@pytest.mark.parametrize("batch, microbatches", [(8, 1), (7, 2)])  # even and uneven parts
def test_two_processes_equal_one(tmp_path, shards, quick, batch, microbatches):
    exact = replace(quick, precision="fp32", batch_size=batch, gradient_accumulation=microbatches)
    exact = replace(exact, images=(4 * batch, 2 * batch))
    file = settings_file(tmp_path, exact)
    one = training_run.finetune(Recipe(shards, exact), tmp_path / "one", device="cpu")
    done = torchrun(2, command(shards, tmp_path / "two", file))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("model\t") == done.stderr.count("has not converged") == 1
    for a, b in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert a == pytest.approx(b, abs=1e-5)
    # Adam divides by the size of a gradient, so where it vanishes rounding becomes a small step
    two = checkpoint.load(tmp_path / "two")
    for a, b in zip(one.stages, two.stages, strict=True):
        for name, value in a.network.state_dict().items():
            assert torch.allclose(value, b.network.state_dict()[name], atol=5e-5), name


def test_processes_that_see_different_folders_do_not_wait_for_each_other(tmp_path):
    script = tmp_path / "apart.py"
    script.write_text(
        "from pathlib import Path\n"
        "import torch\n"
        "from curate.errors import InputError\n"
        "from train.training import distributed\n"
        "rank, world = distributed.rank_and_world_size()\n"
        "with distributed.process_group(torch.device('cpu'), world):\n"
        "    distributed.refuse_other_folder(Path('run'), 8, world)\n"
        "    try:\n"
        "        distributed.refuse_other_folder(Path('run'), 8 * rank, world)\n"
        "    except InputError as error:\n"
        "        print(error)\n"
    )
    done = torchrun(2, ["python", str(script)])
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("run: the processes found different states here (0 to 8 images)") == 2
