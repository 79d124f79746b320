"""`curate build`: one decode an image, none where nothing changed, every option of its steps."""

import shutil
from pathlib import Path

import pytest

from curate.commands import build
from curate.dataset.folder import Dataset, command_line
from curate.dataset.manifest import read_history
from curate.formats.shards import iterate_samples, read_index
from curate.shards.verify import verify_shards
from tests.packable import fetch_pictures, run

OPTIONS = [
    *("--false-matches", "0.001", "--per-image", "1", "--size", "32", "--format", "png"),
    *("--background", "black", "--shard-size", "0.02", "--held-out", "0.4", "--split", "mine"),
]


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    fetch_pictures(tmp_path, monkeypatch)
    return Dataset(Path("data"))


def test_an_image_is_decoded_once_for_all_steps_and_not_again(fetched: Dataset) -> None:
    first = build.build_dataset(fetched, size=32, format="png")
    assert first.pack.samples > 0
    assert first.pack.rendered == 0, "what was inspected was rendered from the same decode"
    assert not list(fetched.root.glob("derived/renders/**/*")), "the tars hold it now"
    before = {p.name: p.read_bytes() for p in fetched.shards.iterdir()}
    for path in fetched.store.root.rglob("*"):
        if path.is_file():
            path.write_bytes(b"nobody reads this")
    again = build.build_dataset(fetched, size=32, format="png")
    assert again.pack.unchanged and (again.pack.rendered, again.pack.shards_written) == (0, 0)
    assert {p.name: p.read_bytes() for p in fetched.shards.iterdir()} == before


def test_shards_by_build_are_those_by_its_steps(fetched: Dataset) -> None:
    shutil.copytree("data", "other")
    build.build_dataset(fetched, size=32, format="png")
    for step in ("check", "dedup", "check", "caption"):
        run(step, "--data", "other")
    run("pack", "--data", "other", "--size", "32", "--format", "png")
    one, other = (
        {p.name: p.read_bytes() for p in Path(d, "shards").iterdir()} for d in ("data", "other")
    )
    assert one == other


def test_build_takes_every_option_of_its_steps_and_names_them_again(fetched: Dataset) -> None:
    run("build", *OPTIONS)
    index = read_index(fetched.root)
    said = {name: index.settings[name] for name in ("size", "format", "background", "split")}
    assert said == {"size": 32, "format": "png", "background": "black", "split": "mine"}
    assert (index.settings["held_out"], index.settings["shard_megabytes"]) == (0.4, 0.02)
    assert {shard.split for shard in index.shards} <= {"mine", "held_out"}
    steps = {step["step"]: step["settings"] for step in read_history(fetched.manifest)}
    assert steps["dedup"] == {"false_matches": 0.001} and steps["caption"] == {"per_image": 1}
    assert {len(record["captions"]) for _, _, record in iterate_samples(fetched.root)} == {1}
    assert verify_shards(fetched.root).faults == {}
    typed = command_line(fetched.root, "build").split()
    assert sorted(typed[2:]) == sorted(OPTIONS)
    before = {p.name: p.read_bytes() for p in fetched.shards.iterdir()}
    run(*typed[1:])
    assert {p.name: p.read_bytes() for p in fetched.shards.iterdir()} == before
