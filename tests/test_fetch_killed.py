"""Whatever line a SIGKILL strikes, the same fetch again ends in the same bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path

from servers import KEY, Answer, Pixabay, image_bytes, run_server

from curate.dataset import manifest
from curate.dataset.folder import Dataset
from curate.fetch.run import fetch_images
from curate.sources.folder import SOURCE

PROGRAM = Path(__file__).with_name("killed_fetches.py")


def kill(work: Path, what: str) -> list[int]:
    """How many images were stored when each of ten kills struck."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "PIXABAY_API_KEY": KEY}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(work), "7", "10", what],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_killed_folder_fetch_completes_to_the_same_bytes(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines = ["file_name,text"]
    for number in range(150):
        (folder / f"{number}.png").write_bytes(image_bytes(number))
        lines.append(f"{number}.png,image {number}")
    (folder / "metadata.csv").write_text("\n".join([*lines, "gone.png,not there"]))
    stored = kill(tmp_path / "work", str(folder))
    assert len(stored) == 10
    assert sum(0 < n < 150 for n in stored) >= 3  # kills that struck in the middle


def test_a_killed_pixabay_fetch_completes_to_the_same_bytes(tmp_path):
    with run_server() as server:
        Pixabay(server, count=30, delay=0.01, changes={3: {"noAiTraining": True}})
        for number in (5, 15, 25):
            server.routes[f"/get/{number}_1280.png"] = lambda query: Answer(b"gone", 404)
        stored = kill(tmp_path / "work", server.url)
    assert len(stored) == 10
    assert sum(0 < n < 26 for n in stored) >= 3
    asked = [path for path in server.paths() if path.startswith("/get/")]
    assert len(asked) <= 11 * 29 + 10  # at most the request in flight is repeated, dead ones too


def interrupted(root: Path, folder: Path, rows: int) -> Dataset:
    """A dataset as a kill leaves it: some rows journaled, no manifest."""
    whole = Dataset(root / "whole")
    fetch_images(whole, SOURCE, folder)
    data = Dataset(root / "cut")
    data.root.mkdir()
    for sample in whole.read().samples[:rows]:
        data.append_row(sample)
        data.store.put(whole.store.get(sample.sha256))
    return data


def folder_of(tmp_path: Path, count: int) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.png").write_bytes(image_bytes(number))
    return folder


def test_a_journal_line_cut_short_is_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    folder = folder_of(tmp_path, 4)
    data = interrupted(tmp_path, folder, 3)
    journal = data.journal.read_bytes()
    data.journal.write_bytes(journal[:-40])
    done = fetch_images(data, SOURCE, folder)
    assert (done.new, done.known) == (2, 2)
    whole = (tmp_path / "whole" / "manifest.parquet").read_bytes()
    assert data.manifest.read_bytes() == whole


def test_an_empty_journal_is_no_obstacle(tmp_path):
    folder = folder_of(tmp_path, 2)
    data = interrupted(tmp_path, folder, 0)
    data.journal.touch()
    assert fetch_images(data, SOURCE, folder).new == 2


def test_bytes_lost_in_a_power_cut_are_fetched_again(tmp_path):
    folder = folder_of(tmp_path, 3)
    data = interrupted(tmp_path, folder, 3)
    first, second, _ = data.read().samples
    data.store.path_of(first.sha256).write_bytes(b"")  # what a power cut leaves of unsynced bytes
    data.store.path_of(second.sha256).unlink()
    done = fetch_images(data, SOURCE, folder)
    assert (done.new, done.known) == (2, 1)
    assert len({data.store.get(s.sha256) for s in data.read().samples}) == 3


def test_left_over_parts_are_removed(tmp_path):
    folder = folder_of(tmp_path, 1)
    data = interrupted(tmp_path, folder, 1)
    beside = data.store.path_of(data.read().samples[0].sha256).parent
    parts = [beside / ".abc.part", data.evidence / "latest" / ".a.json.x.part"]
    for part in parts:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"half")
    fetch_images(data, SOURCE, folder)
    assert not any(part.exists() for part in parts)


def test_the_history_does_not_tell_how_often_a_fetch_was_repeated(tmp_path):
    folder = folder_of(tmp_path, 2)
    data = Dataset(tmp_path / "data")
    fetch_images(data, SOURCE, folder)
    before = manifest.read_manifest(data.manifest)
    fetch_images(data, SOURCE, folder)
    assert manifest.read_manifest(data.manifest) == before
    assert [step["step"] for step in before.history] == ["fetch folder"]
