import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from recorded_progress import RecordedProgress
from torch.profiler import ProfilerActivity, profile

from curate.errors import UsageError
from curate.formats.model import MODEL_FILE
from train import config
from train.checkpoints import checkpoint
from train.checkpoints.checkpoint import Cascade, Stage
from train.model import optimizers
from train.model.unet import UNet, unet_config
from train.size import Size
from train.training import loop, memory, plan, timing, tracing
from train.training.tracing import Pass

STAGES = (Size(16, 16), Size(64, 64))
TEXT = 32  # width
CPU = torch.device("cpu")
ASKED = {"model_size": "tiny", "stages": STAGES, "images": (3000, 1000), "batch_size": 8}
RUN = config.load_config(None, ASKED)
ONE = replace(RUN, stages=STAGES[:1], images=(3000,), batch_size=4)


def shape(number=0, size="tiny"):
    return unet_config(size, STAGES, number, TEXT)


def work(number=0, **more):
    return Pass(**{"shape": shape(number), "size": STAGES[0], "images": 8, "tokens": 8, **more})


def counted(chosen, *, cuda=False):
    return memory.plan_memory(chosen, memory.unet_configs(chosen, TEXT), cuda=cuda)


def free(monkeypatch, tmp_path, number):
    """A machine with so many bytes to spare."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 99 kB\nMemAvailable: {number // 1024} kB\n")
    monkeypatch.setattr(timing, "MEMINFO", meminfo)
    monkeypatch.setattr(timing, "CGROUP_ROOT", tmp_path / "none")


@pytest.mark.parametrize("number", [0, 1])
def test_parameters_are_those_of_the_network(number):
    assert tracing.count_parameters(shape(number)) == sum(
        p.numel() for p in UNet(shape(number)).parameters()
    )


@pytest.mark.parametrize("number", [0, 1])
def test_the_count_is_what_the_allocator_gives_out(number):
    given = work(number, images=32)
    made, batch = (
        UNet(given.shape).to(memory_format=torch.channels_last),
        tracing.random_batch(given),
    )

    def step():
        loop.batch_loss(made, batch, 0.5, "bf16").sum().backward()

    step()
    made.zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    found = tracing.training_cost(given)
    assert 0.85 < peak / (found.total - found.inputs) < 1.05


def test_a_backward_pass_does_twice_the_arithmetic_of_a_forward_pass():
    assert tracing.training_cost(work()).flops / tracing.sampling_cost(
        work()
    ).flops == pytest.approx(3, 0.05)


@pytest.mark.parametrize("number", [0, 1])
def test_activations_grow_with_images_and_weights_do_not(number):
    few, many = tracing.training_cost(work(number)), tracing.training_cost(work(number, images=32))
    assert many.flops == 4 * few.flops and many.inputs == 4 * few.inputs
    assert many.casts + many.gradients <= 6 * tracing.count_parameters(shape(number))
    assert many.activations > 3.5 * few.activations


def test_inputs_are_counted_by_hand():
    pictures, text = 8 * 3 * 16 * 16 * 4, 8 * 8 * TEXT * 4
    found = tracing.training_cost(work()).inputs
    assert found == 2 * pictures + text + 8 * (8 * 4 + 4 + 8)  # mask, sigma, set


def test_full_precision_casts_nothing():
    assert tracing.training_cost(work(precision="fp32")).casts == 0
    assert tracing.sampling_weight_bytes(shape(), "fp32") == 4 * tracing.count_parameters(shape())
    assert 2 < tracing.sampling_weight_bytes(shape()) / tracing.count_parameters(shape()) < 2.1


def test_recomputing_takes_less_memory_and_more_time():
    chosen = replace(RUN, gradient_checkpointing=True, batch_size=32)
    usual, less = (
        tracing.training_cost(memory.one_pass(c, shape(size="small"), 0))
        for c in (replace(chosen, gradient_checkpointing=False), chosen)
    )
    assert less.activations < 0.8 * usual.activations
    assert 1.2 < less.flops / usual.flops < 1.34


@pytest.mark.parametrize("optimizer", optimizers.OPTIONS)
def test_moments_are_what_the_optimiser_keeps(optimizer):
    network = UNet(shape())
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    steppers = optimizers.make(optimizer, {}, network, weight_decay=0.0)
    for stepper in steppers:
        stepper.step()
    kept = optimizers.states(steppers, network).items()
    found = sum(value.nbytes for name, value in kept if not name.endswith("/step"))
    assert tracing.moments(shape(), optimizer) == found


def test_a_plan_adds_up():
    made = counted(RUN)
    weights = [4 * tracing.count_parameters(shape(n)) for n in (0, 1)]
    for stage, own, other in zip(made.stages, weights, weights[::-1], strict=True):
        needs = stage.training
        assert (needs.weights, needs.averages, needs.other_stages) == (own, 2 * own, other)
        assert needs.moments == pytest.approx(2 * own, rel=0.001)
        rest = needs.casts + needs.activations + needs.gradients + needs.inputs
        assert needs.total == own + 2 * own + needs.moments + other + rest
        assert needs.gradients + needs.casts + needs.activations + needs.inputs >= own
    assert [s.images for s in made.stages] == [3000, 1000] and made.duration is None
    assert made.training == max(s.training.needed for s in made.stages)
    assert replace(made, encoder=10**12).training == 10**12


def test_later_stages_are_counted_on_crops_and_drawn_whole():
    large = replace(RUN, stages=(Size(64, 64), Size(256, 128)), images=(1, 1))
    nets = memory.unet_configs(large, TEXT)
    assert memory.one_pass(large, nets[1], 1).size == Size(64, 64)
    assert memory.one_pass(large, nets[0], 0).size == Size(64, 64)
    stage = counted(large, cuda=True).stages[1]
    assert stage.together == 2**20 // (256 * 128)
    assert stage.training.other_stages == 0  # a finished stage leaves the card


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 4))
@examples(max_examples=50, deadline=None)
def test_a_pass_is_the_largest_microbatch_of_the_largest_share(batch, microbatches, world):
    if microbatches > batch or world > batch:
        return
    chosen = replace(RUN, batch_size=batch, gradient_accumulation=microbatches)
    images = memory.one_pass(chosen, shape(), 0, world=world).images
    share = max(len(part) for part in torch.arange(batch).tensor_split(world))
    parts = torch.arange(share).tensor_split(min(microbatches, share))
    assert images == max(map(len, parts))


def test_what_fits_is_let_through_and_what_is_tight_is_said(monkeypatch, tmp_path):
    needed = counted(ONE).training
    progress = RecordedProgress()
    free(monkeypatch, tmp_path, 2 * needed)
    plan.refuse_what_cannot_fit(ONE, TEXT, CPU, progress)
    assert progress.said == []
    free(monkeypatch, tmp_path, round(1.05 * needed) + 2048)
    plan.refuse_what_cannot_fit(ONE, TEXT, CPU, progress)
    (said,) = progress.said
    assert said.startswith("training will need about 0.")


def test_what_cannot_fit_is_refused_with_what_would(monkeypatch, tmp_path):
    chosen = replace(ONE, model_size="small", batch_size=32)
    less = counted(replace(chosen, gradient_accumulation=4)).training
    assert less < counted(chosen).training
    free(monkeypatch, tmp_path, less + 2048)
    with pytest.raises(
        UsageError, match="--model-size small --stages 16: training needs"
    ) as caught:
        plan.refuse_what_cannot_fit(chosen, TEXT, CPU)
    assert caught.value.fix.startswith("in --config FILE, gradient_accumulation = 4 (0.")
    assert "gradient_accumulation = 2 (" not in caught.value.fix
    assert "gradient_checkpointing = true (0." in caught.value.fix
    assert "--model-size tiny (0." in caught.value.fix


def test_two_processes_on_a_cpu_need_twice_as_much(monkeypatch, tmp_path):
    one = counted(ONE).training
    free(monkeypatch, tmp_path, round(1.2 * one))
    plan.refuse_what_cannot_fit(ONE, TEXT, CPU)
    with pytest.raises(UsageError):
        plan.refuse_what_cannot_fit(ONE, TEXT, CPU, world=2)


def test_nothing_fits_into_nothing(monkeypatch, tmp_path):
    free(monkeypatch, tmp_path, 4096)
    with pytest.raises(UsageError, match=r"fix: smaller --stages, or a machine"):
        plan.refuse_what_cannot_fit(ONE, TEXT, CPU)
    with pytest.raises(UsageError, match=r"--init with stages 16: training needs"):
        nets = memory.unet_configs(ONE, TEXT)
        plan.refuse_what_cannot_fit(ONE, TEXT, CPU, shapes=nets)


@pytest.mark.parametrize("version", [1, 2])
def test_a_control_groups_limit_counts(monkeypatch, tmp_path, version):
    free(monkeypatch, tmp_path, 10**9)
    top = tmp_path / "groups" if version == 2 else tmp_path / "groups" / "memory"
    own = top / "service" / "run"
    own.mkdir(parents=True)
    limit, used, stat = timing.CGROUP_LIMITS[2 - version]
    for folder, allowed in ((own, "max"), (own.parent, str(3 * 10**8))):
        (folder / limit).write_text(allowed)
        (folder / used).write_text(str(2 * 10**8))
        (folder / stat).write_text(f"anon 1\ninactive_file {5 * 10**7}\n")
    (tmp_path / "cgroup").write_text(
        "0::/service/run\n" if version == 2 else "4:memory:/service/run\n"
    )
    monkeypatch.setattr(timing, "CGROUP_ROOT", tmp_path / "groups")
    monkeypatch.setattr(timing, "MEMBERSHIP", tmp_path / "cgroup")
    assert timing.free_memory(CPU) == 15 * 10**7


def test_this_machine_has_memory_and_time():
    assert timing.free_memory(CPU) > 10**7
    assert 1e-5 < timing.seconds_per_image(RUN, work(), CPU, patience=0.01) < 10


def test_a_report_names_every_stage_and_its_time(tmp_path, capsys):
    from tests import tiny_encoder

    chosen = replace(RUN, text_encoder=tiny_encoder.build(tmp_path))
    capsys.readouterr()
    progress = RecordedProgress()
    report = plan.plan_run(chosen, device="cpu", progress=progress)
    plan.print_plan(report, as_json=False)
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows] == [["tiny", "16"], ["tiny", "64"], ["tiny", "all"]]
    assert rows[0][2] == f"{tracing.count_parameters(shape()) / 1e6:.1f} M" and rows[0][7] == "3000"
    assert float(rows[0][6]) > 0 and rows[2][7] == "4000" and rows[2][8]
    assert len(progress.said) == 1 and "estimate" in progress.said[0]
    plan.print_plan(report, as_json=True)
    found = json.loads(capsys.readouterr().out)
    stage = found["sizes"][0]["stages"][0]
    assert found["fits"] and stage["parameters"] == tracing.count_parameters(shape())
    seconds = [s["seconds"] * s["images"] for s in found["sizes"][0]["stages"]]
    assert found["sizes"][0]["seconds"] == pytest.approx(sum(seconds))


def test_a_plan_that_cannot_fit_is_printed_then_refused(monkeypatch, tmp_path, capsys):
    from tests import tiny_encoder

    chosen = replace(RUN, text_encoder=tiny_encoder.build(tmp_path))
    free(monkeypatch, tmp_path, 4096)
    capsys.readouterr()
    report = plan.plan_run(chosen, device="cpu")
    with pytest.raises(UsageError, match="training needs"):
        plan.print_plan(report, as_json=False)
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3 and rows[2].endswith("\t4000\t")  # no time: it was not tried


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (12.4, "12 s"), (90, "2 min"), (3600, "1 h 0 min"), (5399, "1 h 30 min")],
)
def test_durations_read_as_a_person_says_them(seconds, words):
    assert plan.duration(seconds) == words


def test_sizes_that_cannot_make_the_stages_are_left_out(tmp_path, monkeypatch):
    from tests import tiny_encoder

    encoder = tiny_encoder.build(tmp_path)
    sides = [
        s for s in range(2, 66, 2) if s % unet_config("large", [Size(s, s)], 0, TEXT).side_multiple
    ]
    free(monkeypatch, tmp_path, 4096)  # nothing is tried
    chosen = replace(ONE, stages=(Size(sides[0], sides[0]),), text_encoder=encoder)
    progress = RecordedProgress()
    report = plan.plan_run(chosen, every_size=True, device="cpu", progress=progress)
    assert "large" not in [p.size for p in report.plans] and report.plans
    assert any("--model-size large cannot make" in sentence for sentence in progress.said)


def test_from_a_checkpoint_the_plan_is_that_of_its_networks(tmp_path):
    from tests import tiny_encoder

    own = replace(shape(), widths=(32, 96), text_width=TEXT)
    made = Stage(STAGES[0], None, UNet(own), 0.5)
    encoder = tiny_encoder.build(tmp_path / "encoder")
    checkpoint.save(tmp_path / MODEL_FILE, Cascade([made], encoder, "00"))
    chosen = replace(ONE, text_encoder=encoder)
    report = plan.plan_run(chosen, init=tmp_path, every_size=True, device="cpu")
    assert [p.stages[0].parameters for p in report.plans] == [tracing.count_parameters(own)]


def test_the_command_prints_the_plan_and_exits_with_2_where_it_cannot_fit(
    tmp_path, monkeypatch, capsys
):
    from tests import tiny_encoder
    from train.cli import main

    encoder = tiny_encoder.build(tmp_path / "encoder")
    (tmp_path / "run.toml").write_text(f'text_encoder = "{encoder}"\nbatch_size = 4\n')
    free(monkeypatch, tmp_path, 4096)  # nothing is tried
    capsys.readouterr()
    typed = ["plan", "--stages", "16", "--images", "100", "--device", "cpu"]
    with pytest.raises(SystemExit) as caught:
        main([*typed, "--model-size", "tiny", "--config", str(tmp_path / "run.toml")])
    out, err = capsys.readouterr()
    assert caught.value.code == 2 and "error: --model-size tiny --stages 16: training needs" in err
    assert [line.split("\t")[:2] for line in out.splitlines()] == [["tiny", "16"], ["tiny", "all"]]
