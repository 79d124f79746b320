"""Drawing with a cascade, and the sheets that people look at."""

import io
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curate.errors import InputError, UsageError
from tests import cascades, tiny_encoder
from tests.recorded_progress import RecordedProgress
from train.checkpoints import checkpoint
from train.cli import main
from train.model import diffusion
from train.sampling import sampler as sampling
from train.sampling import sheets
from train.sampling.sampler import CascadeSampler, SamplingConfig, describe_high_frequency
from train.sampling.sheets import Pipeline, Request
from train.sampling.upscalers import Upscaler
from train.size import Size
from train.verification import generate
from train.verification.generate import Sample
from train.verification.samplers import open_sampler

PROMPTS = ["a red circle", "a green square", "a blue triangle", ""]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory) -> str:
    return tiny_encoder.build(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def model(tmp_path_factory, encoder) -> Path:
    return cascades.write(tmp_path_factory.mktemp("model"), encoder)


@pytest.fixture(scope="session")
def oblong(tmp_path_factory, encoder) -> Path:
    folder = tmp_path_factory.mktemp("oblong")
    return cascades.write(folder, encoder, stages=("8x16", "16x32"), facts={}, seed=1)


def far(a: np.ndarray, b: np.ndarray) -> int:
    """The largest difference of two images."""
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_a_picture_depends_on_its_prompt_and_seed_alone(model):
    sampler = sampling.load_sampler(model, device="cpu")
    together = sampler.generate(PROMPTS, [1, 2, 3, 4])
    turned = sampler.generate(PROMPTS[::-1], [4, 3, 2, 1])
    alone = sampler.generate(PROMPTS[1:2], [2])
    other = sampler.generate([PROMPTS[1], PROMPTS[0]], [7, 2])

    assert far(together, turned[::-1]) <= 2
    assert far(together[1:2], alone) <= 2
    assert far(other[:1], alone) > 20  # another seed
    assert far(other[1:], alone) > 2  # another prompt


def test_letters_that_an_output_lacks_are_escaped(model, tmp_path, monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stdout)
    with pytest.raises(SystemExit) as stop:
        main(["sample", str(model), "", "--count", "1", "--out", str(tmp_path / "é.png")])
    assert stop.value.code == 0
    assert stdout.buffer.getvalue().endswith(b"\\xe9.png\n")


def test_many_pictures_are_made_in_parts_and_in_order(model):
    sampler = sampling.load_sampler(model, device="cpu")
    count = sampling.MAX_TOGETHER + 3
    prompts = [PROMPTS[n % 4] for n in range(count)]
    parts = list(sampler.sample(prompts, range(count)))

    assert [part.first for part in parts] == [0, sampling.MAX_TOGETHER]
    assert sum(len(part.noise_NHWC) for part in parts) == count
    assert far(parts[1].stages[-1], sampler.generate(prompts[-3:], range(count)[-3:])) <= 2


@given(st.integers(8, 2048), st.integers(8, 2048))
def test_large_pictures_are_made_fewer_at_a_time(width, height):
    together = sampling.count_at_once(Size(width, height))

    assert 1 <= together <= sampling.MAX_TOGETHER
    assert together == 1 or together * width * height <= sampling.MAX_PIXELS


def test_pictures_of_every_stage_have_its_shape(oblong):
    stages = sampling.load_sampler(oblong, device="cpu").generate_stages(PROMPTS[:2], [0, 1])

    assert [made.shape for made in stages] == [(2, 16, 8, 3), (2, 32, 16, 3)]
    assert all(made.dtype == np.uint8 for made in stages)


def test_a_later_stage_adds_details_and_changes_no_colours(model):
    base, made = sampling.load_sampler(model, device="cpu").generate_stages(PROMPTS, [0, 1, 2, 3])
    reduced = made.reshape(4, 8, 2, 8, 2, 3).mean((2, 4))

    assert np.abs(reduced.mean((0, 1, 2)) - base.mean((0, 1, 2))).max() < 1  # of 255
    assert np.abs(reduced - base).mean() < 3


def test_no_prompts_give_no_pictures(oblong):
    assert sampling.load_sampler(oblong, device="cpu").generate([], []).shape == (0, 32, 16, 3)


def test_weights_kept_in_short_give_the_same_pictures(model):
    device = torch.device("cpu")
    long = CascadeSampler(checkpoint.load(model), device).generate(PROMPTS, [1, 2, 3, 4])
    short = sampling.load_sampler(model, device="cpu").generate(PROMPTS, [1, 2, 3, 4])

    assert (long == short).all()


def asked(sampler: CascadeSampler, stage: int = 0) -> list[int]:
    """How many images the network of a stage is asked for at each step, while two are drawn."""
    seen: list[int] = []
    network = sampler.cascade.stages[stage].network
    handle = network.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    sampler.generate(PROMPTS[:2], [0, 1])
    handle.remove()
    return seen


def test_the_network_is_asked_without_the_prompt_only_where_guidance_acts(model):
    config = SamplingConfig(steps=9, guidance=2.0, guidance_sigma_min=0.5, guidance_sigma_max=10.0)
    sampler = sampling.load_sampler(model, device="cpu", config=config)
    within = [0.5 < float(sigma) < 10 for sigma in diffusion.karras_sigmas(9)[:-1]]

    assert asked(sampler) == [4 if guided else 2 for guided in within]
    assert set(asked(sampler, stage=1)) == {2}
    sampler.config = replace(config, guidance=1.0)
    assert asked(sampler) == [2] * 9


def test_guidance_changes_pictures_and_its_absence_needs_no_interval(model):
    def drawn(**changes) -> np.ndarray:
        config = SamplingConfig(**changes)
        return sampling.load_sampler(model, device="cpu", config=config).generate(PROMPTS[:1], [0])

    plain = drawn(guidance=1.0)
    assert (drawn(guidance=3.0, guidance_sigma_min=5.0, guidance_sigma_max=5.0) == plain).all()
    assert far(drawn(guidance=3.0), plain) > 0


def test_the_encoder_is_needed_only_while_prompts_are_read(tmp_path, encoder):
    shutil.copytree(encoder, tmp_path / "encoder")
    folder = cascades.write(tmp_path / "model", str(tmp_path / "encoder"))
    sampler = sampling.load_sampler(folder, device="cpu")
    sampler.encode_prompts(PROMPTS)
    shutil.rmtree(tmp_path / "encoder")

    assert len(sampler.generate(PROMPTS[:2], [0, 1])) == 2
    with pytest.raises(InputError, match="text encoder"):
        sampler.generate(["a yellow circle"], [0])


def test_prompts_that_are_too_long_are_named(model):
    progress = RecordedProgress()
    sampling.load_sampler(model, device="cpu").encode_prompts(
        ["a red circle " * 30, "a red circle"], progress
    )
    said = progress.said

    assert len(said) == 1
    assert said[0].startswith("'a red circle a red")
    assert "64 tokens; the rest is not read" in said[0]


def test_numbers_of_prompts_and_seeds_must_agree(model):
    with pytest.raises(ValueError, match="2 prompts for 1 seeds"):
        sampling.load_sampler(model, device="cpu").generate(PROMPTS[:2], [0])


@given(st.integers(2, 60), st.integers(0, 12))
def test_the_steps_shown_come_in_order_and_are_no_more_than_asked(steps, count):
    class OfSpread:
        sigma_data = 0.5

    shown = sampling.informative_steps(OfSpread, steps, count)  # type: ignore[arg-type]

    assert shown == sorted(set(shown))
    assert len(shown) <= count
    assert all(0 <= step < steps for step in shown)
    assert bool(shown) == bool(count)


def test_steps_go_from_the_noise_to_the_picture(model):
    sampler = sampling.load_sampler(model, device="cpu")
    (drawn,) = sampler.sample(PROMPTS[:2], [0, 1], shown=range(12))
    base = drawn.stages[0]
    distance = [np.abs(step.astype(int) - base.astype(int)).mean() for step in drawn.steps]

    assert len(drawn.steps) == 12
    assert far(drawn.steps[0], drawn.noise_NHWC) <= 2
    assert distance[-1] < 2 < distance[0]


def sample(model: Path, out: Path, prompts=PROMPTS, **options) -> list[str]:
    """Draws as `train sample` does; what it says."""
    progress = RecordedProgress()
    sheets.write_sheet(model, Request(prompts, out=out, device="cpu", **options), progress)
    return progress.said


def text(path: Path) -> dict[str, str]:
    with Image.open(path) as image:
        return image.text


def test_a_sheet_carries_what_it_was_drawn_with(model, tmp_path):
    said = sample(model, tmp_path / "a.png", ["a red circle", "雪"], count=3, seed=5)

    assert text(tmp_path / "a.png") == {
        "prompt": "a red circle\n雪",
        "seed": "5 to 7",
        "checkpoint": checkpoint.load(model).digest,
        "steps": "12",
        "guidance": "1.5",
    }
    assert not said or "no font here has 雪" in said[0]


def test_equal_in_equal_bytes(model, tmp_path):
    for name in ("a", "b"):
        folder = tmp_path / name
        sample(model, folder / "sheet.png", count=2, each=folder / "each", steps_shown=3)

    names = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.png"))
    assert len(names) == 1 + 2 * len(PROMPTS)
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_each_picture_has_a_file_with_its_prompt_and_seed(oblong, tmp_path):
    sample(oblong, tmp_path / "sheet.png", PROMPTS[:2], count=2, seed=3, each=tmp_path / "each")

    *files, listed = sorted((tmp_path / "each").iterdir())
    assert [f.name for f in files] == [
        "0001-a-red-circle-seed-3.png",
        "0002-a-red-circle-seed-4.png",
        "0003-a-green-square-seed-3.png",
        "0004-a-green-square-seed-4.png",
    ]
    assert text(files[3])["prompt"] == "a green square"
    assert text(files[3])["seed"] == "4"
    made = sampling.load_sampler(oblong, device="cpu").generate(["a green square"], [4])[0]
    with Image.open(files[3]) as image:
        assert far(np.asarray(image), made) <= 2
    assert listed.name == "generated.jsonl"
    again = open_sampler(tmp_path / "each")
    assert far(again.generate(["a green square"], [4])[0], made) <= 2


def test_a_sheet_shows_before_and_after_with_the_same_seeds(model, oblong, tmp_path):
    sample(model, tmp_path / "after.png", PROMPTS[:2], count=2)
    sample(model, tmp_path / "both.png", PROMPTS[:2], count=2, before=oblong)

    with Image.open(tmp_path / "after.png") as after, Image.open(tmp_path / "both.png") as both:
        assert both.width > after.width
    facts = text(tmp_path / "both.png")
    assert facts["before"] == checkpoint.load(oblong).digest
    assert facts["checkpoint"] == checkpoint.load(model).digest


def test_two_of_the_same_checkpoint_look_the_same(model, tmp_path):
    sample(model, tmp_path / "both.png", PROMPTS[:1], count=1, before=model)

    pixels = np.asarray(Image.open(tmp_path / "both.png"))
    side = 96  # 16 pixels, enlarged
    places = np.flatnonzero((pixels[60:120] < 250).any((0, 2)))
    left = places[places > 182].min()
    right = places[places > left + side].min()
    assert far(pixels[40:130, left : left + side], pixels[40:130, right : right + side]) == 0


def test_before_and_steps_do_not_go_together(model, tmp_path):
    with pytest.raises(UsageError, match="--before"):
        sample(model, tmp_path / "a.png", before=model, steps_shown=2)


def test_a_sheet_is_a_png_file(model, tmp_path):
    for name, meant in (("a.jpg", "a.png"), ("", "samples.png")):
        with pytest.raises(UsageError, match=rf"is not a PNG file\n  fix: --out .*/{meant}"):
            sample(tmp_path / "model.safetensors", tmp_path / name, ["a cat"])


def test_nothing_to_draw_is_refused(model, tmp_path):
    with pytest.raises(UsageError, match="nothing to sample"):
        sample(model, tmp_path / "a.png", [])
    with pytest.raises(UsageError, match="not UTF-8"):
        sample(model, tmp_path / "a.png", ["a \udcff circle"])
    assert not (tmp_path / "a.png").exists()


def test_prompts_come_from_the_command_line_and_a_file(model, tmp_path):
    (tmp_path / "prompts.txt").write_text("a red circle\n\na green square\n")
    named = ["--prompts", str(tmp_path / "prompts.txt"), "--out", str(tmp_path / "s.png")]

    with pytest.raises(SystemExit):
        main(["sample", str(model), "a (blue) triangle", "--count", "1", *named])
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.text["prompt"] == "a (blue) triangle\na red circle\na green square"


ASKED = """a red fox
# winter images
an owl, (snow:1.3) <lora:style:0.8>
Negative prompt: hat
Steps: 20, Sampler: Euler a
"""


@pytest.mark.parametrize("piped", [False, True])
def test_a_file_or_a_pipe_is_drawn_as_vocab_gaps_reads_it(
    model, tmp_path, monkeypatch, capsys, piped
):
    file = tmp_path / "prompts.list"
    file.write_text(ASKED)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ASKED.encode())))
    words = ["--count", "1", "--steps", "2", "--each", str(tmp_path / "each"), "--device", "cpu"]
    named = "-" if piped else str(file)
    with pytest.raises(SystemExit) as stopped:
        main(["sample", str(model), "--prompts", named, *words, "--out", str(tmp_path / "s.png")])
    assert stopped.value.code == 0

    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.text["prompt"] == "a red fox\nan owl, snow"
    assert len(list((tmp_path / "each").glob("*.png"))) == 2
    left_out = "negative prompts 1, settings 1, tags 1, weights 1"
    name = "standard input" if piped else file
    said = f"{name}: prompts to draw 2; not drawn as written: {left_out}\n"
    assert said in capsys.readouterr().err


def test_prompts_that_do_not_fit_the_sheet_are_counted(model, tmp_path, monkeypatch):
    monkeypatch.setattr(sheets, "MAX_SHEET_PIXELS", 300_000)
    said = sample(model, tmp_path / "a.png", [f"a red circle {n}" for n in range(9)], count=1)

    assert len(said) == 1
    assert "of 9 prompts; --each DIR writes every image to a file" in said[0]
    with Image.open(tmp_path / "a.png") as image:
        assert image.width * image.height <= 300_000


@given(st.integers(1, 99999), st.text(max_size=200), st.integers(0, 2**31))
def test_names_of_files_are_safe(number, prompt, seed):
    name = sheets.image_file_name(number, prompt, seed)

    assert Path(name).name == name
    assert name.startswith(f"{number:04d}-") and name.endswith(f"seed-{seed}.png")
    assert len(name.encode()) < 200
    assert all(c.isalnum() or c in "-." for c in name)


def poor(folder: Path, encoder: str) -> Path:
    """A model whose last stage has not converged."""
    told = {"psnr": 20.1, "back_projected": 20.9, "high_frequency": 0.31, "held_out": True}
    return cascades.write(
        folder, encoder, facts={"convergence": {"16": told | {"converged": False}}}
    )


def test_a_stage_that_has_not_converged_is_said_with_the_offer(tmp_path, encoder):
    folder = poor(tmp_path / "model", encoder)
    (said,) = sample(folder, tmp_path / "a.png", PROMPTS[:1], count=1)

    assert "the 16 px stage has not converged: 20.1 dB, where" in said
    assert "20.9 dB; high frequencies 0.31 times those of real images; what" in said
    assert "what helps: --upscaler realesrgan" in said and "\n" not in said


def test_images_without_detail_have_no_high_frequencies_to_tell():
    said = describe_high_frequency({"high_frequency": None})
    assert said == "real images have no high frequencies to draw"


def test_a_sheet_says_which_prompts_are_cut(model, tmp_path):
    (said,) = sample(model, tmp_path / "a.png", ["a red circle " * 30, "a red circle"], count=1)

    assert "64 tokens; the rest is not read" in said


def test_a_converged_cascade_says_nothing(model, tmp_path):
    assert sample(model, tmp_path / "a.png", PROMPTS[:1], count=1) == []


def repeating(scale: int = 4) -> Upscaler:
    """Enlarges by repeating pixels."""

    def network(x_BCHW: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(x_BCHW, scale_factor=scale)

    return Upscaler("repeating", scale, "00", network, torch.device("cpu"), torch.float32)


def test_an_upscaler_stands_in_for_stages_that_have_not_converged(tmp_path, encoder):
    sampler = sampling.load_sampler(poor(tmp_path / "model", encoder), device="cpu")
    kept = sheets.first_unconverged_stage(sampler.cascade)
    artist = Pipeline(sampler, kept or 0, repeating())
    (drawn,) = artist.sample(Request(PROMPTS[:1], 2))

    assert kept == 1
    assert artist.size == Size(16, 16)
    assert [made.shape for made in drawn.stages] == [(2, 8, 8, 3), (2, 16, 16, 3)]


def test_an_upscaler_enlarges_what_has_converged(model):
    sampler = sampling.load_sampler(model, device="cpu")
    assert sheets.first_unconverged_stage(sampler.cascade) is None

    artist = Pipeline(sampler, 2, repeating())
    (drawn,) = artist.sample(Request(PROMPTS[:1], 1))
    assert artist.size == Size(64, 64)
    assert far(drawn.stages[-1][:, ::4, ::4], drawn.stages[-2]) == 0


def test_an_unknown_upscaler_is_refused(model, tmp_path):
    with pytest.raises(UsageError, match="no upscaler and no file 'nothing'"):
        sample(model, tmp_path / "a.png", upscaler="nothing")


def test_a_full_folder_is_a_sentence(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        sample(model, tmp_path / "file" / "a.png", PROMPTS[:1], count=1)


def test_samples_of_a_verification_are_kept_and_the_encoder_is_loaded_once(tmp_path, encoder):
    shutil.copytree(encoder, tmp_path / "encoder")
    folder = cascades.write(tmp_path / "model", str(tmp_path / "encoder"))
    count = generate.SAMPLE_CHUNK + 2
    prompts = [PROMPTS[n % 2] if n < generate.SAMPLE_CHUNK else PROMPTS[2] for n in range(count)]
    plan = [Sample(prompt, n, "with the word") for n, prompt in enumerate(prompts)]

    class Gone(RecordedProgress):  # the encoder, after the first chunk
        def count(self, what: str, done: int, total: int | None, **shown: float) -> None:
            if done:
                shutil.rmtree(tmp_path / "encoder", ignore_errors=True)

    first, again = (
        list(generate.CachedSampler(drawer).sample(plan, tmp_path, "after", Gone()))
        for drawer in (open_sampler(folder, device="cpu") for _ in range(2))
    )

    assert [len(part) for part in first] == [generate.SAMPLE_CHUNK, 2]
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
