"""`curate dedup --scenes`: what shows the same, as an encoder has it, is told and not dropped."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import encoded, photograph

from curate.commands.scenes import find_neighbours, find_scenes, scene_threshold
from curate.dataset.folder import Dataset
from curate.dataset.sample import Sample


class Blur:
    """An encoder that sees sixteen patches of colour."""

    name, digest = "blur", "0" * 64

    def encode_images(self, images_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(images_NHWC)
        patches = images_NHWC.reshape(count, 4, 56, 4, 56, 3).mean(axis=(2, 4))
        return patches.reshape(count, -1).astype(np.float32)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Forty photographs, one of them in another light, too; and one that was removed."""
    dataset = Dataset(tmp_path / "data")
    with dataset.lock():
        for n in range(40):
            content = encoded(photograph(n, (96, 96)))
            dataset.append_row(Sample(f"p-{n:02}", "t", sha256=dataset.store.put(content)))
        darker = photograph(3, (96, 96)).point(lambda v: round(0.9 * v))
        dataset.append_row(Sample("q-3", "t", sha256=dataset.store.put(encoded(darker))))
        gone = Sample("q-4", "t", sha256="0" * 64, dropped="removed:asked for")
        dataset.append_row(gone)
    return dataset


def test_what_shows_the_same_has_one_scene_and_nothing_is_dropped(data: Dataset) -> None:
    before = data.read().samples
    done = find_scenes(data, Blur())
    after = data.read().samples
    scenes = {s.key: s.scene for s in after if s.scene}
    assert scenes["p-03"] == scenes["q-3"] == "p-03"
    assert len(scenes) <= 6, "hardly two others are alike by chance"
    assert [replace(s, scene=None) for s in after] == before
    assert (done.images, done.in_scenes) == (41, len(scenes))
    stored = data.manifest.read_bytes()
    find_scenes(data, Blur())
    assert data.manifest.read_bytes() == stored, "twice is once"


def test_too_few_images_tell_nothing() -> None:
    vectors = np.eye(4, dtype=np.float32)
    assert scene_threshold(vectors, find_neighbours(vectors)) == 1.0


def test_neighbours_are_mutual() -> None:
    """A hub that is near to all is a neighbour of few."""
    rng = np.random.default_rng(1)
    spokes = np.eye(32, dtype=np.float32)[:20]
    hub = spokes.sum(axis=0, keepdims=True) / 20**0.5
    vectors = np.concatenate([spokes, hub, spokes[:1] + rng.normal(0, 0.01, (1, 32))])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    near = find_neighbours(vectors)
    assert near[0, 21] > 0.9
    assert sum(20 in pair for pair in near) <= 4
