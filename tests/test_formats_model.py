"""What a model's file says of itself, and how files that are none are refused."""

import json
import re
import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import InputError
from curate.formats.model import NO_FACTS, ModelRecord, SetRecord, StageRecord, read_model
from train.checkpoints import checkpoint


def file(described: Any, **tensors: Any) -> bytes:
    text = described if isinstance(described, str) else json.dumps(described)
    header = json.dumps({"__metadata__": {"fubuki": text}, **tensors}).encode()
    return struct.pack("<Q", len(header)) + header + b"\0" * 8


SET = SetRecord("ab", "new", 3, {"fox": 3})
FACTS = replace(NO_FACTS, sets=[SET], licences={"MIT": 3})
STAGE = StageRecord(8, None, 0.5, 16, {}, {})
MODEL = ModelRecord(Path("m.safetensors"), "e", "cd", [STAGE], FACTS).to_json()


def test_what_is_written_is_read(tmp_path: Path):
    (tmp_path / "m.safetensors").write_bytes(file(MODEL))
    found = read_model(tmp_path / "m.safetensors")
    assert (found.stages, found.facts, found.facts.images) == ([STAGE], FACTS, 3)
    assert found.to_json() == MODEL


def changed(**facts: Any) -> dict[str, Any]:
    return MODEL | {"facts": asdict(FACTS) | facts}


def counted(words: Any) -> dict[str, Any]:
    return changed(sets=[asdict(SET) | {"words": words}])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a safetensors file, or one that is cut short"),
        (b"PK\x03\x04 a zip", "not a safetensors file"),
        (struct.pack("<Q", 2**63) + b"{}", "not a safetensors file"),
        (file(MODEL)[:60], "cut short"),
        (struct.pack("<Q", 8) + b"no json!", "its header is not JSON"),
        (struct.pack("<Q", 60000) + b"[" * 60000, "its header is not JSON"),
        (struct.pack("<Q", 2) + b"{}", "says nothing of its training"),
        (struct.pack("<Q", 2) + b"[]", "its header is none of safetensors"),
        (file("not json"), "its header is not JSON"),
        (file([1]), "its header is not one of ours"),
        (file(MODEL, w={"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}), "cut short"),
        (file({"version": "fubuki-model/9"}), "written as 'fubuki-model/9', this reads"),
        (file({}), "no model of train finetune"),
        (file(MODEL | {"facts": {}}), "its description cannot be understood (no 'settings')"),
        (file(counted({"fox": -1})), "(its words are not numbers of images)"),
        (file(counted({"fox": True})), "words are not numbers of images"),
        (file(counted({"fox": 1.5})), "words are not numbers of images"),
        (file(changed(licences=None)), "('licences' is NoneType)"),
        (file(changed(sets=None)), "('sets' is NoneType)"),
        (file(changed(sets=[{"digest": "ab"}])), "(no 'name')"),
        (file(changed(sets=[3])), "its description cannot be understood"),
        (file(MODEL | {"stages": [{"size": 8}]}), "(no 'conditioning_size')"),
        (file(MODEL | {"stages": [8]}), "its description cannot be understood"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, content: bytes, said: str):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=re.escape(said)) as error:
        read_model(tmp_path)
    assert error.value.fix
    with pytest.raises(InputError, match=re.escape(str(error.value))):  # to whoever wants weights
        checkpoint.load(tmp_path)


@given(st.binary(max_size=40))
def test_no_bytes_break_the_reader(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bytes") / "m.safetensors"
    whole = file(MODEL)
    path.write_bytes(whole[:8] + data + whole[8 + len(data) :])
    try:
        read_model(path)
    except InputError as error:
        assert error.fix


def test_a_folder_without_a_model_says_why(tmp_path: Path):
    with pytest.raises(InputError, match="no such file or folder"):
        read_model(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no checkpoint here"):
        read_model(tmp_path)
    (tmp_path / "state.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="not finished") as error:
        read_model(tmp_path)
    assert "train finetune" in error.value.fix


def test_an_older_file_is_refused_with_what_to_type(tmp_path: Path):
    (tmp_path / "m.safetensors").write_bytes(file(MODEL | {"version": "fubuki-model/4"}))
    with pytest.raises(InputError) as error:
        read_model(tmp_path / "m.safetensors")
    said = "written as 'fubuki-model/4', this reads 'fubuki-model/5'\n  fix: train it again: train "
    assert said in str(error.value)
