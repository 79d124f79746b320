"""What draws, told by content: a checkpoint, a pipeline of diffusers, images drawn elsewhere."""

import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from curate.errors import InputError, UsageError
from tests import cascades, tiny_encoder, tiny_pipeline
from tests.drawings import shapes, write_shards
from tests.recorded_progress import RecordedProgress
from train.size import Size
from train.verification import generate
from train.verification.diffusers_pipeline import PipelineSettings
from train.verification.generate import CachedSampler, Sample, Sampler
from train.verification.samplers import open_sampler
from train.verification.verify import Models, Truth, WordTest, verify_words

PROMPTS = ["a red circle", "a green square", "a blue triangle", "the red square"]
PLAN = [Sample(p, 10 * n + k, "with the word") for n, p in enumerate(PROMPTS) for k in range(2)]
QUICK = PipelineSettings(steps=2)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return tiny_pipeline.build(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def lora(pipeline, tmp_path_factory):
    return tiny_pipeline.lora(pipeline, tmp_path_factory.mktemp("lora"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    encoder = tiny_encoder.build(tmp_path_factory.mktemp("encoder"))
    return cascades.write(tmp_path_factory.mktemp("model"), encoder)


def draw(sampler: Sampler, plan: Sequence[Sample] = PLAN) -> np.ndarray:
    return sampler.generate([s.prompt for s in plan], [s.seed for s in plan])


def write_list(folder: Path, *lines: object) -> Path:
    text = "".join(f"{e if isinstance(e, str) else json.dumps(e)}\n" for e in lines)
    (folder / "generated.jsonl").write_text(text)
    return folder


def picture(side: int | tuple[int, int] = 16, colour: str = "red") -> Image.Image:
    size = (side, side) if isinstance(side, int) else side
    return Image.new("RGB", size, colour)


def album(folder: Path, *pictures: Image.Image, lines: Sequence[object] = ()) -> Path:
    """Images with a list; `lines` are written behind those of the images."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, one in enumerate(pictures):
        one.save(folder / f"{n}.png")
    own = [{"file": f"{n}.png", "prompt": "a fox", "seed": n} for n in range(len(pictures))]
    return write_list(folder, *own, *lines)


def fill(folder: Path, images_NHWC: np.ndarray) -> Path:
    """Save images under the names that the list in the folder gives them."""
    text = (folder / "generated.jsonl").read_text()
    for line, image in zip(text.splitlines(), images_NHWC, strict=True):
        Image.fromarray(image).save(folder / json.loads(line)["file"])
    return folder


# --- a pipeline -------------------------------------------------------------------------------


def test_a_pipeline_draws_as_when_called_directly(pipeline):
    from diffusers import DiffusionPipeline

    direct = DiffusionPipeline.from_pretrained(pipeline)
    direct.set_progress_bar_config(disable=True)
    wanted = [
        direct(
            s.prompt,
            num_inference_steps=2,
            guidance_scale=3.0,
            generator=torch.Generator().manual_seed(s.seed),
        ).images[0]
        for s in PLAN
    ]
    settings = replace(QUICK, guidance=3.0)
    sampler = open_sampler(pipeline, device="cpu", settings=settings)

    assert sampler.size == Size(16, 16)
    assert (draw(sampler) == np.stack(wanted)).all()
    assert (draw(sampler, PLAN[::-1]) == np.stack(wanted[::-1])).all()
    together = open_sampler(pipeline, device="cpu", settings=replace(settings, together=3))
    assert np.abs(draw(together).astype(int) - np.stack(wanted)).max() <= 1


def test_a_pipeline_draws_at_the_size_that_is_asked_for(pipeline):
    sampler = open_sampler(pipeline, size=Size(24, 16), device="cpu", settings=QUICK)

    assert sampler.size == Size(24, 16)
    assert draw(sampler, PLAN[:1]).shape == (1, 16, 24, 3)
    with pytest.raises(InputError, match=r"cannot draw .*divisible by 8"):
        _ = open_sampler(pipeline, size=Size(20, 20), device="cpu", settings=QUICK).size


def test_a_lora_changes_the_images_and_is_told_of(pipeline, lora):
    plain, taught = (
        open_sampler(pipeline, lora=file, device="cpu", settings=QUICK) for file in (None, lora)
    )

    assert np.abs(draw(plain).astype(int) - draw(taught)).mean() > 1
    assert plain.digest != taught.digest
    facts = taught.describe()
    assert facts["lora"]["name"] == "pytorch_lora_weights.safetensors"
    assert facts["model"] == plain.describe()["model"] == plain.digest
    assert (facts["kind"], facts["pipeline"]) == ("pipeline", "StableDiffusionPipeline")
    assert json.loads(json.dumps(facts)) == facts


def test_a_lora_is_of_the_model_after_and_not_of_the_same_one_before(pipeline, lora, tmp_path):
    """What it was trained from is the same folder without it."""
    truth = write_shards(tmp_path / "truth", shapes("red", "green"))
    (report,) = verify_words(
        WordTest(["circle"], ["a red circle", "a red square"], samples=1),
        Models([pipeline], pipeline, lora, device="cpu"),
        Truth(truth, scorer="nearest"),
        out=tmp_path / "out",
    )

    assert report.before is not None and report.before["digest"] != report.after[0]["digest"]
    assert [bool(one.get("lora")) for one in (report.before, *report.after)] == [False, True]
    assert not any("nothing can have changed" in note for note in report.notes)


def test_the_digest_of_a_pipeline_is_that_of_its_files(pipeline, tmp_path):
    digest = open_sampler(pipeline, device="cpu").digest
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    (copy / "README.md").write_text("beside the model")
    assert open_sampler(copy, device="cpu").digest == digest
    scheduler = copy / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("0.02", "0.03"))
    assert open_sampler(copy, device="cpu").digest != digest


def changed(lora: Path, folder: Path, rename: str, to: str, count: int = 99) -> Path:
    """The LoRA with some of its weights named otherwise."""
    weights = load_file(lora)
    chosen = [name for name in weights if rename in name][:count]
    renamed = {n.replace(rename, to) if n in chosen else n: w for n, w in weights.items()}
    save_file(renamed, folder / "other.safetensors")
    return folder / "other.safetensors"


def test_a_lora_for_another_model_is_a_sentence(pipeline, lora, tmp_path, capfd):
    wider = tiny_pipeline.build(tmp_path / "wider", width=16)
    of_wider = tiny_pipeline.lora(wider, tmp_path)
    capfd.readouterr()
    with pytest.raises(InputError, match=r"to_q.* is \[2, 32\] where the model has \[2, 16\]"):
        open_sampler(pipeline, lora=of_wider, device="cpu")
    part = changed(lora, tmp_path, "unet.mid_block", "unet.mid_block.9", 2)
    with pytest.raises(InputError, match=r"2 of its \d+ weights fit nothing in StableDiffusion"):
        open_sampler(pipeline, lora=part, device="cpu")
    for start in ("transformer", "text_encoder_2"):
        with pytest.raises(InputError, match=r"weights fit nothing .* another model\?"):
            open_sampler(pipeline, lora=changed(lora, tmp_path, "unet", start), device="cpu")
    assert capfd.readouterr() == ("", "")


def as_kohya(lora: Path, layers: Sequence[int]) -> dict[str, torch.Tensor]:
    """The LoRA named as kohya's scripts do, with one for layers of the text encoder."""
    made: dict[str, torch.Tensor] = {}
    random = torch.Generator().manual_seed(0)
    for name, weight in load_file(lora).items():
        place, part = name.removeprefix("unet.").rsplit(".lora_", 1)
        place = f"lora_unet_{place.replace('.', '_')}"
        made[f"{place}.lora_{'down' if part[0] == 'A' else 'up'}.weight"] = weight.half()
        made[f"{place}.alpha"] = torch.tensor(1.0)
    for layer in layers:
        for part in ("q_proj", "out_proj"):
            place = f"lora_te_text_model_encoder_layers_{layer}_self_attn_{part}"
            made[f"{place}.lora_down.weight"] = torch.randn(2, 32, generator=random)
            made[f"{place}.lora_up.weight"] = 3 * torch.randn(32, 2, generator=random)
            made[f"{place}.alpha"] = torch.tensor(2.0)
    return made


def test_a_lora_of_other_scripts_is_applied_to_text_encoders_too(pipeline, lora, tmp_path):
    drawn = []
    for layers in ([], [0]):
        save_file(as_kohya(lora, layers), tmp_path / "kohya.safetensors")
        file = tmp_path / "kohya.safetensors"
        drawn.append(draw(open_sampler(pipeline, lora=file, device="cpu", settings=QUICK)))
    plain = draw(open_sampler(pipeline, device="cpu", settings=QUICK))

    assert len({images.tobytes() for images in (plain, *drawn)}) == 3
    save_file(as_kohya(lora, [0, 7]), tmp_path / "deeper.safetensors")
    with pytest.raises(InputError, match=r"4 of its 40 weights fit nothing .*text_encoder.*layers"):
        open_sampler(pipeline, lora=tmp_path / "deeper.safetensors", device="cpu")


def test_what_is_no_lora_is_a_sentence(pipeline, tmp_path):
    save_file({"weight": torch.ones(2, 2)}, tmp_path / "plain.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    for name, problem in [
        ("plain", "cannot be used as a LoRA"),
        ("broken", "cannot be used as a LoRA"),
        ("none", "no such file"),
    ]:
        with pytest.raises(InputError, match=problem):
            open_sampler(pipeline, lora=tmp_path / f"{name}.safetensors", device="cpu")


def test_a_lora_needs_a_pipeline(checkpoint, lora, tmp_path):
    for path in (checkpoint, album(tmp_path / "drawn", picture()), tmp_path):
        with pytest.raises(UsageError, match="takes no LoRA"):
            open_sampler(path, lora=lora)


def test_a_pipeline_that_lacks_something_is_a_sentence(pipeline, tmp_path):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    index = copy / "model_index.json"
    whole = json.loads(index.read_text())

    def refused(described: object, problem: str) -> None:
        index.write_text(described if isinstance(described, str) else json.dumps(described))
        with pytest.raises(InputError, match=problem):
            open_sampler(copy, device="cpu")

    refused("{", "cannot be read")
    refused([], "names no pipeline")
    refused(whole | {"tokenizer": [None, None]}, "lacks its tokenizer")
    refused(whole | {"_class_name": "NoSuchPipeline"}, "diffusers cannot load it")
    ddpm = {"_class_name": "DDPMPipeline"} | {name: whole[name] for name in ("unet", "scheduler")}
    refused(ddpm, "DDPMPipeline does not draw images from prompts alone")
    for described in ({"_class_name": ["own", "Own"]}, {"unet": ["own", "Own"]}):
        code = f"open({str(tmp_path / 'run')!r}, 'w')\nclass Own: pass\n"
        for place in (copy, copy / "unet"):
            (place / "own.py").write_text(code)
        refused(whole | described, "contains custom code")
        assert not (tmp_path / "run").exists()
    shutil.rmtree(copy / "vae")
    refused(whole, "names vae, and there is no such folder")
    shutil.copytree(pipeline / "vae", copy / "vae")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    refused(whole, "diffusers cannot load it")


def test_weights_in_half_precision_alone_are_read(pipeline, tmp_path):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    for name in ("unet/diffusion_pytorch_model", "text_encoder/model"):
        (copy / f"{name}.safetensors").rename(copy / f"{name}.fp16.safetensors")
    found = (open_sampler(folder, device="cpu", settings=QUICK) for folder in (pipeline, copy))
    assert len({draw(sampler).tobytes() for sampler in found}) == 1


def test_prompts_longer_than_a_pipeline_reads_are_told(pipeline, tmp_path):
    long = [Sample(" ".join(["red"] * words), 0, "with the word") for words in (16, 17, 17)]
    cached = CachedSampler(open_sampler(pipeline, device="cpu", settings=QUICK))
    list(cached.sample(long, tmp_path, "after"))
    (note,) = cached.notes
    assert note.startswith("1 prompts, such as 'red red")
    assert note.endswith("have more than 16 tokens; StableDiffusionPipeline does not read the rest")


def test_a_setting_that_a_pipeline_does_not_take_is_a_sentence(pipeline, tmp_path):
    with pytest.raises(InputError, match="cannot draw"):
        _ = open_sampler(pipeline, device="cpu", settings=PipelineSettings(steps=5000)).size


def test_blacked_out_images_are_counted_and_kept(tmp_path):
    folder = tiny_pipeline.build(tmp_path / "pipeline", blanking=True)
    sampler = open_sampler(folder, device="cpu", settings=QUICK)
    for _ in range(2):  # drawn, and read again
        cached = CachedSampler(sampler)
        images = np.concatenate(list(cached.sample(PLAN, tmp_path, "after")))
        assert images.max() == 0
        assert cached.notes == [
            "8 of 8 images sampled after were blacked out by the pipeline's safety checker; they "
            "are judged as they are"
        ]


def test_images_of_a_pipeline_are_kept_by_all_that_decides_them(pipeline, lora, tmp_path):
    def sampled(**options: object) -> int:
        sampler = open_sampler(pipeline, device="cpu", **options)
        list(CachedSampler(sampler).sample(PLAN, tmp_path, "after"))
        return len(list((tmp_path / "samples").iterdir()))

    assert [sampled(settings=QUICK), sampled(settings=QUICK)] == [1, 1]
    assert sampled(settings=PipelineSettings(steps=3)) == 2
    assert sampled(settings=QUICK, lora=lora) == 3
    assert sampled(settings=QUICK, size=Size(24, 24)) == 4


# --- a folder of images -----------------------------------------------------------------------


def test_pictures_that_a_checkpoint_drew_are_judged_as_its_own(checkpoint, tmp_path):
    sampler = open_sampler(checkpoint, device="cpu")
    folder = tmp_path / "drawn"
    generate.write_prompts(PLAN, folder / "generated.jsonl", sampler.size)
    fill(folder, draw(sampler))
    found = open_sampler(folder)

    assert found.size == sampler.size
    assert found.listed == [(s.prompt, s.seed) for s in PLAN]
    drawn = np.concatenate(list(CachedSampler(found).sample(PLAN, tmp_path / "out", "after")))
    assert (drawn == draw(sampler)).all()
    assert (draw(found, PLAN[::-1]) == drawn[::-1]).all()
    assert not (tmp_path / "out").exists()
    assert sampler.describe()["model"] == sampler.digest
    with pytest.raises(InputError, match="draws at 16 pixels, not at 32"):
        open_sampler(checkpoint, size=Size(32, 32), device="cpu")


def test_images_of_other_sizes_are_brought_to_the_commonest(tmp_path):
    wide = picture((32, 16), "blue")
    wide.paste(picture(16, "red"), (8, 0))
    folder = album(tmp_path, picture(8), picture(), wide, picture((8, 4)), picture())
    heard = RecordedProgress()
    sampler = open_sampler(folder, progress=heard)
    images = sampler.generate(["a fox"] * 5, range(5))

    assert images.shape == (5, 16, 16, 3)
    assert (images == (255, 0, 0)).all()
    assert sampler.describe()["other_sizes"] == 3
    assert heard.counted("images read") == 5
    asked = open_sampler(folder, size=Size(4, 8))
    assert asked.generate(["a fox"], [2]).shape == (1, 8, 4, 3)


def test_images_are_shown_upright_and_on_white(tmp_path):
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    turned = picture(16, "white")
    turned.paste(picture((16, 8), "blue"), (0, 0))
    album(tmp_path, clear)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=100)
    first = {"file": "0.png", "prompt": "a fox", "seed": 0}
    write_list(tmp_path, first, {"file": "turned.jpg", "prompt": "a fox", "seed": 1})
    white, blue = open_sampler(tmp_path).generate(["a fox"] * 2, [0, 1])

    assert (white == 255).all()
    assert blue[:, :4].min() > 200 and blue[:, 12:, 0].max() < 60


def test_what_the_list_does_not_name_is_told(tmp_path):
    folder = album(tmp_path, picture(), picture())
    picture().save(folder / "other.png")
    (folder / "._0.png").write_bytes(b"of a file system")
    assert open_sampler(folder).describe()["unlisted"] == ["other.png"]
    with pytest.raises(InputError, match="lists no image of 'a dog' with seed 1"):
        open_sampler(folder).generate(["a dog"], [1])


def test_the_digest_of_a_folder_is_that_of_list_and_images(tmp_path):
    folder = album(tmp_path, picture(), picture())
    found = {open_sampler(folder).digest}
    picture(16, "blue").save(folder / "1.png")
    found.add(open_sampler(folder).digest)
    write_list(folder, {"file": "1.png", "prompt": "a fox", "seed": 0})
    found.add(open_sampler(folder).digest)
    assert len(found) == 3


def as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


NOISE, HUGE = as_png(Image.effect_noise((64, 64), 50)), as_png(Image.new("1", (10_000, 10_000)))
BAD_LINES = [
    ("{", "line 2: not JSON"),
    ([], "line 2: not a JSON object"),
    ({"file": "0.png", "prompt": "a dog"}, "line 2: no 'seed'"),
    ({"file": "0.png", "prompt": 3, "seed": 1}, "line 2: 'prompt' is no text"),
    ({"file": "0.png", "prompt": "a dog", "seed": True}, "line 2: 'seed' is no whole number"),
    ({"file": "0.png", "prompt": "a dog", "seed": -1}, "line 2: the seed -1 is not between"),
    ({"file": "1.png", "prompt": "a fox", "seed": 0}, "line 2: prompt and seed of line 1 again"),
    ({"file": "0.png", "prompt": "a dog", "seed": 1}, "line 2: the file of line 1 again"),
    ({"file": "9.png", "prompt": "a dog", "seed": 1}, "line 2: there is no image 9.png"),
    ({"file": "../0.png", "prompt": "a dog", "seed": 1}, "line 2: '../0.png' is no path within"),
    ({"file": "/0.png", "prompt": "a dog", "seed": 1}, "line 2: '/0.png' is no path within"),
    ({"file": "a\\0.png", "prompt": "a dog", "seed": 1}, "is no path within the folder, with /"),
    ({"file": "a" * 300, "prompt": "a dog", "seed": 1}, "line 2: a{80} cannot be looked at"),
    ({"file": "out.png", "prompt": "a dog", "seed": 1}, "line 2: out.png is a link out of"),
    (
        {"file": "text.png", "prompt": "a dog", "seed": 1},
        r"line 2: text.png cannot be shown \(text",
    ),
    ({"file": "cut.png", "prompt": "a dog", "seed": 1}, "line 2: cut.png cannot be shown"),
    ({"file": "huge.png", "prompt": "a dog", "seed": 1}, "huge.png cannot be shown .*pixels"),
    ('{"file": "0.png", "prompt": "\\ud800", "seed": 1}', "half a letter"),
]


@pytest.mark.parametrize(("line", "problem"), BAD_LINES)
def test_a_line_that_cannot_be_used_is_a_sentence(tmp_path, line, problem):
    folder = album(tmp_path / "drawn", picture(), lines=[line])
    picture().save(tmp_path / "away.png")
    (folder / "out.png").symlink_to(tmp_path / "away.png")
    (folder / "text.png").write_text("no image")
    (folder / "cut.png").write_bytes(NOISE[:900])
    (folder / "huge.png").write_bytes(HUGE)
    with pytest.raises(InputError, match=problem) as error:
        open_sampler(folder)
    assert "generated.jsonl line 2" in str(error.value)


def test_lists_that_cannot_be_read_are_a_sentence(tmp_path):
    write_list(tmp_path, "", "")
    with pytest.raises(InputError, match="lists no image"):
        open_sampler(tmp_path)
    (tmp_path / "generated.jsonl").write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError, match="cannot be read"):
        open_sampler(tmp_path)
    bad = [{"file": f"{n}.png", "prompt": "a fox", "seed": n} for n in range(9)]
    write_list(tmp_path, *bad)
    with pytest.raises(InputError, match=r"line 1: there is no image 0.png; 8 more lines"):
        open_sampler(tmp_path)


def test_a_folder_where_nothing_draws_is_a_sentence(tmp_path, pipeline):
    with pytest.raises(InputError, match="nothing here draws") as error:
        open_sampler(tmp_path)
    assert "generated.jsonl" in error.value.fix and "model_index.json" in error.value.fix
    with pytest.raises(InputError, match="no such file or folder"):
        open_sampler(tmp_path / "none")
    album(tmp_path, picture())
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds a diffusers pipeline .* and a list of generated"):
        open_sampler(tmp_path)


# --- lists ------------------------------------------------------------------------------------

GROUPS = {"with the word": ["a red fox", "a fox"], "without the word": ["a dog"]}
LISTED = [("a fox", 1), ("a dog", 1), ("a fox", 2), ("a dog", 2), ("a red fox", 1)]


def test_listed_images_are_planned_in_their_order():
    found = generate.plan_listed(LISTED, GROUPS)

    assert [(s.prompt, s.seed) for s in found.samples] == LISTED
    assert [s.group for s in found.samples[:2]] == ["with the word", "without the word"]
    assert found.groups == {"with the word": ["a fox", "a red fox"], "without the word": ["a dog"]}
    assert found.notes == [
        "1 prompts drawn with one seed only: of chance from seed to seed little is known"
    ]


def test_what_lists_and_prompts_do_not_share_is_told():
    found = generate.plan_listed(LISTED, GROUPS, asked=["A  fox", "an owl"], before=LISTED[:1])

    assert [(s.prompt, s.seed) for s in found.samples] == [("a fox", 1)]
    assert found.groups == {"with the word": ["a fox"]}
    assert found.notes == [
        "3 of 5 listed images left out whose prompt was not asked for, such as 'a dog'",
        "1 of 5 listed images left out whose prompt and seed the images before do not have, such "
        "as 'a fox'",
        "1 of 2 prompts asked for have no listed image, such as 'an owl'",
        "every prompt drawn with one seed only: of chance from seed to seed little is known",
    ]
    found = generate.plan_listed(LISTED[:2], GROUPS, before=LISTED)
    assert found.notes[0] == "3 images drawn before left out that were not drawn after"


def test_lists_that_share_nothing_are_a_sentence():
    with pytest.raises(InputError, match="5 of 5 listed images left out whose prompt and seed"):
        generate.plan_listed(LISTED, GROUPS, before=[("a fox", 3)])
    with pytest.raises(InputError, match="whose prompt was not asked for"):
        generate.plan_listed(LISTED, GROUPS, asked=["an owl"])


def test_what_is_to_be_drawn_elsewhere_is_written(tmp_path):
    file = tmp_path / "drawn" / "generated.jsonl"
    odd = [*PLAN[:1], Sample('con: a "fox"/雪?', 2**31 - 1, "without the word")]
    generate.write_prompts(odd, file, Size(64, 32))
    lines = [json.loads(line) for line in file.read_text().splitlines()]

    assert lines[0] == {
        "file": "0001-a-red-circle-seed-0.png",
        "group": "with the word",
        "prompt": "a red circle",
        "seed": 0,
        "width": 64,
        "height": 32,
    }
    assert lines[1]["file"] == "0002-con-a-fox-雪-seed-2147483647.png"
    assert lines[1]["prompt"] == 'con: a "fox"/雪?'
    fill(file.parent, np.zeros((2, 32, 64, 3), np.uint8))
    assert open_sampler(file.parent).size == Size(64, 32)
