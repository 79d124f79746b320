"""The same forty questions, drawn in five ways: the same report where the pictures are the same."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import cascades, drawings, tiny_encoder, tiny_pipeline
from train.cli import main
from train.size import Size
from train.verification import generate, verify
from train.verification.diffusers_pipeline import PipelineSettings
from train.verification.generate import Sample, Sampler
from train.verification.samplers import open_sampler
from train.verification.scorers import Reference

WORD, SIDE, QUESTIONS = "triangle", 16, 40
QUICK = PipelineSettings(steps=2)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five colours of three shapes, each twice, a little moved: five captions hold the word."""
    pictures = [
        (f"{c}-{s}-{n}", drawings.drawing(c, s, SIDE, n), [f"a {c} {s}"])
        for c in drawings.COLOURS
        for s in drawings.SHAPES
        for n in range(2)
    ]
    return drawings.write_shards(tmp_path_factory.mktemp("truth"), pictures, size=SIDE)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint, a pipeline and a LoRA for it, all of random weights."""
    root = tmp_path_factory.mktemp("models")
    encoder = tiny_encoder.build(root / "encoder")
    pipeline = tiny_pipeline.build(root / "pipeline")
    lora = tiny_pipeline.lora(pipeline, root / "lora", scale=30.0)
    return {"model": cascades.write(root / "model", encoder), "pipeline": pipeline, "lora": lora}


@pytest.fixture(scope="module")
def plan(truth: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    cache = tmp_path_factory.mktemp("cache")
    reference = Reference.load(truth, Size(SIDE, SIDE), cache=cache)
    half = QUESTIONS // 2
    groups = generate.group_prompts(reference, WORD, None, None, samples=half, seed=0)
    found = generate.plan_samples(groups, samples=half, seed=0)
    assert len(found) == QUESTIONS
    return found


def written(folder: Path, sampler: Sampler, plan: Sequence[Sample]) -> Path:
    """A folder of what the sampler draws for this plan."""
    generate.write_prompts(plan, folder / "generated.jsonl", sampler.size)
    return draw_listed(folder, sampler)


def draw_listed(folder: Path, sampler: Sampler) -> Path:
    """Draw what the list in the folder asks for, as somebody else's program would."""
    file = folder / "generated.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    images = sampler.generate([e["prompt"] for e in lines], [e["seed"] for e in lines])
    for line, image in zip(lines, images, strict=True):
        Image.fromarray(image).save(folder / line["file"])
    return folder


def judge(
    folder: Path, truth: Path, after: Sampler, before: Sampler
) -> tuple[dict[str, Any], np.ndarray]:
    """The report, without what names the models, and the images that it shows."""
    samplers = {"after": after, "before": before}
    (found,) = verify.verify_words(
        verify.WordTest([WORD], samples=QUESTIONS // 2),
        verify.Models([Path("after")], Path("before"), load=lambda path: samplers[path.name]),
        verify.Truth(truth, scorer="nearest"),
        out=folder,
    )
    report = json.loads(found.to_json())
    assert report.pop("after")[0]["digest"] == after.digest
    assert report.pop("before")["digest"] == before.digest
    with Image.open(folder / "verify.png") as sheet:
        return report, np.asarray(sheet.convert("RGB"))


def test_five_ways_of_drawing_are_judged_alike(
    tmp_path: Path, truth: Path, places: dict[str, Path], plan: list[Sample]
):
    model = open_sampler(places["model"], device="cpu")
    plain = open_sampler(places["pipeline"], device="cpu", settings=QUICK)
    taught = open_sampler(places["pipeline"], lora=places["lora"], device="cpu", settings=QUICK)
    ways = {
        "checkpoint": model,
        "its pictures": open_sampler(written(tmp_path / "drawn", model, plan)),
        "pipeline": plain,
        "pipeline with LoRA": taught,
        "list and folder": open_sampler(written(tmp_path / "elsewhere", taught, plan)),
    }
    reports = {
        name: judge(tmp_path / name, truth, sampler, plain) for name, sampler in ways.items()
    }

    for one, other in [("checkpoint", "its pictures"), ("pipeline with LoRA", "list and folder")]:
        assert reports[one][0] == reports[other][0]
        assert (reports[one][1] == reports[other][1]).all()
    differing = [reports[name][0] for name in ("checkpoint", "pipeline", "pipeline with LoRA")]
    assert len({json.dumps(report["rows"]) for report in differing}) == 3


def test_what_is_drawn_elsewhere_by_the_list_is_judged_without_a_model(
    tmp_path: Path, truth: Path, places: dict[str, Path], capsys: pytest.CaptureFixture[str]
):
    """As typed: a list is written, images are drawn by it before and after, and judged."""
    words = ["--word", WORD, "--shards", str(truth), "--samples", "20", "--scorer", "nearest"]
    models = {
        "after": open_sampler(places["model"], device="cpu"),
        "before": open_sampler(places["pipeline"], device="cpu", settings=QUICK),
    }
    for name, model in models.items():
        file = tmp_path / name / "generated.jsonl"
        with pytest.raises(SystemExit) as ended:
            main(["verify", "--write-prompts", str(file), "--size", str(SIDE), *words])
        assert ended.value.code == 0
        draw_listed(file.parent, model)
    folders = ["--generated", str(tmp_path / "after"), "--before-generated"]
    out = ["--out", str(tmp_path / "verify"), "--json"]
    with pytest.raises(SystemExit) as ended:
        main(["verify", *folders, str(tmp_path / "before"), *words, *out])

    report = json.loads(capsys.readouterr().out)
    assert ended.value.code in (1, 6)
    assert report["after"][0]["kind"] == report["before"]["kind"] == "images"
    assert sum(len(row["looks"]) for row in report["rows"]) == QUESTIONS
    whole, _ = judge(tmp_path / "whole", truth, models["after"], models["before"])
    assert report["rows"] == whole["rows"]
