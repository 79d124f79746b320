"""What LoRA files say of their captions, written as their trainers write them."""

import json
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from curate.cli import main
from curate.coverage.checkpoint import LoraIndex, open_checkpoint
from curate.errors import InputError
from curate.formats.lora import LoraRecord, TagFolder, read_lora

CAPTIONS = {  # folder -> captions of its images, as a home trainer writes them
    "10_mage": [
        "1girl, mage, red hair, snow",
        "1girl, Mage, long red hair, ice dragon",
        "a mage walks through a snowy forest, looking back",
    ],
    "1_person": ["person", "person"],
}


def tag_frequency(captions: list[str]) -> dict[str, int]:
    """As sd-scripts' `set_tag_frequency` counts: cut at commas, stripped, lower case."""
    return dict(Counter(t.strip().lower() for c in captions for t in c.split(",") if t.strip()))


def kohya(captions: dict[str, list[str]] = CAPTIONS, **more: str) -> dict[str, str]:
    """The header's texts as `train_network.py` writes them."""
    dirs = {
        n: {"n_repeats": int(n.split("_")[0]), "img_count": len(c)} for n, c in captions.items()
    }
    regularizing = {n: told for n, told in dirs.items() if n == "1_person"}
    trained = {n: told for n, told in dirs.items() if n not in regularizing}
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": "16",
        "ss_tag_frequency": json.dumps({n: tag_frequency(c) for n, c in captions.items()}),
        "ss_dataset_dirs": json.dumps(trained),
        "ss_reg_dataset_dirs": json.dumps(regularizing),
        "ss_caption_dropout_rate": "0.05",
        "ss_caption_tag_dropout_rate": "None",
        "modelspec.architecture": "stable-diffusion-v1/lora",
    } | more


def lora(path: Path, texts: dict[str, str]) -> Path:
    """A file of the `safetensors` library."""
    save_file({"lora_unet.lora_down.weight": np.zeros((2, 3), np.float32)}, path, metadata=texts)
    return path


def test_folders_tags_and_dropouts_are_read(tmp_path: Path):
    found = read_lora(lora(tmp_path / "l.safetensors", kohya()))
    mage, person = found.folders
    assert (mage.images, mage.repeats, mage.regularizes) == (3, 10, False)
    assert (person.images, person.repeats, person.regularizes) == (2, 1, True)
    assert mage.tags["mage"] == 2 and mage.tags["looking back"] == 1
    assert found.is_complete and found.images == 5
    assert found.dropouts == {"whole captions": 0.05}


def test_words_and_phrases_are_counted_by_tag(tmp_path: Path):
    found = open_checkpoint(lora(tmp_path / "l.safetensors", kohya()))
    assert isinstance(found, LoraIndex)
    counts = {unit: len(found.images_with(unit)) for unit in ("mage", "red hair", "snow", "elf")}
    assert counts == {"mage": 3, "red hair": 2, "snow": 1, "elf": 0}
    assert len(found.images_with("mage red")) == 0  # no phrase reaches across a comma
    assert len(found.images_with("walk")) == 1 and len(found.images_with_form("walk")) == 0
    assert len(found.images_with("person")) == 2
    assert {near.unit for near in found.vocabulary.nearest("maga")} == {"mage"}


def report(lora_file: Path, prompts: str, capsys) -> tuple[dict[str, dict], str]:
    file = lora_file.with_name("prompts.txt")
    file.write_text(prompts, "utf-8")
    with pytest.raises(SystemExit):
        main(["vocab-gaps", str(file), "--checkpoint", str(lora_file), "--json"])
    out, said = capsys.readouterr()
    return {item["unit"]: item for item in json.loads(out)["items"]}, said


def test_the_command_judges_words_and_phrases_and_says_what_is_counted(tmp_path: Path, capsys):
    file = lora(tmp_path / "l.safetensors", kohya())
    items, said = report(file, "a red fox mage, polar bear in snow\n", capsys)
    assert items["mage"]["n_images"] == 3 and items["fox"]["verdict"] == "missing"
    assert items["polar bear"]["verdict"] == "phrase-missing"
    assert {item["kind"] for item in items.values()} == {"word", "phrase"}
    assert f"{file}: trained on 5 images" in said
    assert "10_mage: 3 images, repeats 10, 8 tags" in said
    assert "1_person: 2 images, repeats 1, regularization images, 1 tags" in said
    assert "whatever its repeats" in said and "the most that it can be" in said
    assert "whole captions were left out at a rate of 0.05" in said


def test_of_simpletuner_only_what_is_named_is_judged(tmp_path: Path, capsys):
    frequency = {"my-backend": {"mage": 7}}
    texts = {"modelspec.implementation": "diffusers", "ss_tag_frequency": json.dumps(frequency)}
    items, said = report(
        lora(tmp_path / "l.safetensors", texts), "a mage and a fox, polar bear\n", capsys
    )
    judged = {unit for unit, item in items.items() if item["verdict"] != "function-word"}
    assert judged == {"mage"} and items["mage"]["n_images"] == 7
    assert "tags of more than half of all captions alone" in said


ONE_TRIGGER = {"1_sks": {"sks": 1}}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (
            {
                "ss_tag_frequency": json.dumps(ONE_TRIGGER),
                "software": '{"name": "ai-toolkit", "version": "0.7.20"}',
            },
            "ai-toolkit wrote its trigger word into it",
        ),
        ({"ot_branch": "master", "modelspec.title": "x"}, "OneTrainer writes no more"),
        ({"ss_v2": "False", "ss_network_module": "networks.lora"}, "with --no_metadata"),
        ({"format": "pt"}, "says nothing of the captions that it was trained on"),
        ({"ss_tag_frequency": "{"}, "ss_tag_frequency in its header is not JSON"),
        ({"ss_tag_frequency": "[" * 50_000}, "is not JSON"),
        ({"ss_tag_frequency": "[1]"}, "is no JSON object"),
        ({"ss_tag_frequency": '{"a": 3}'}, "'a' is no folder with tags"),
        ({"ss_tag_frequency": '{"a": {"b": -1}}'}, "-1 is no count of images"),
        ({"ss_tag_frequency": '{"a": {"b": true}}'}, "True is no count of images"),
        ({"ss_tag_frequency": '{"a": {"b": 1e400}}'}, "inf is no count of images"),
        ({"ss_tag_frequency": '{"a": {"b": 10000000000}}'}, "is no count of images"),
        (kohya(ss_dataset_dirs="7"), "ss_dataset_dirs in its header is no JSON object"),
        (kohya(ss_dataset_dirs='{"10_mage": 5}'), "'10_mage' is no folder with tags"),
        (kohya(ss_dataset_dirs='{"10_mage": {"img_count": "3"}}'), "3 is no count of images"),
        (kohya(ss_datasets='[{"subsets": 3}]'), "ss_datasets in its header cannot be understood"),
    ],
)
def test_a_file_that_cannot_answer_says_what_to_type_instead(
    tmp_path: Path, capsys, texts: dict[str, str], said: str
):
    file = lora(tmp_path / "l.safetensors", texts)
    (tmp_path / "p.txt").write_text("a mage")
    with pytest.raises(SystemExit) as ended:
        main(["vocab-gaps", str(tmp_path / "p.txt"), "--checkpoint", str(file)])
    told = capsys.readouterr().err
    assert ended.value.code == 3 and said in told
    assert "curate vocab-gaps PROMPTS --data DIR" in told


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(tmp_path_factory, data: bytes):
    path = lora(tmp_path_factory.mktemp("bytes") / "l.safetensors", kohya())
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + data + whole[40 + len(data) :])
    try:
        open_checkpoint(path)
    except InputError as error:
        assert error.fix


def test_a_header_longer_than_its_file_is_refused(tmp_path: Path):
    (tmp_path / "l.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{}")
    with pytest.raises(InputError, match="cut short"):
        open_checkpoint(tmp_path / "l.safetensors")


words = st.sampled_from("red blue hair eyes mage dragon".split())
tag = st.lists(words, min_size=1, max_size=3).map(" ".join)
caption = st.lists(tag, min_size=1, max_size=4, unique=True).map(", ".join)


@given(st.lists(st.lists(caption, min_size=1, max_size=5), min_size=1, max_size=3))
def test_numbers_are_never_below_the_truth_and_none_means_none(folders: list[list[str]]):
    found = LoraIndex(
        LoraRecord(
            Path("l"),
            tuple(
                TagFolder(str(n), len(captions), 1, False, tag_frequency(captions))
                for n, captions in enumerate(folders)
            ),
            True,
            {},
        )
    )
    images = [caption.split(", ") for captions in folders for caption in captions]
    for unit in ("red", "mage", "red hair", "blue eyes"):
        truth = sum(any(f" {unit} " in f" {tag} " for tag in image) for image in images)
        count = len(found.images_with_form(unit))
        assert truth <= count <= found.images and (count > 0) == (truth > 0)


def test_an_image_folder_without_captions_counts_nothing():
    found = LoraIndex(LoraRecord(Path("l"), (TagFolder("1_x", 4, 1, False, {}),), True, {}))
    assert len(found.images_with("fox")) == 0 and found.images == 4
