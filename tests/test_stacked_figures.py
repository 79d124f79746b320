"""The figures of the benchmarks: every word is seen, hidden pairs never, all can be told apart."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from curate.errors import InputError

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import stacked_figures  # noqa: E402


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Layers as in the archive: a bar for each slot, in a colour of its own for each word."""
    root = tmp_path_factory.mktemp("tiles")
    for number, slot in enumerate(stacked_figures.SLOTS):
        for n, name in enumerate(slot.values()):
            image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
            box = (0, 8 * number, 31, 8 * number + 7)
            ImageDraw.Draw(image).rectangle(box, fill=(255 - 30 * n, 30 * n, 90 * number, 255))
            file = root / "player" / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            image.save(file)
    return root


@pytest.fixture(scope="module")
def figures(tiles):
    return stacked_figures.compose(tiles, 16)


def test_every_combination_is_there_once_with_its_words(figures):
    assert len(figures) == 4 * 8 * 8 * 6 == len(set(figures.captions))
    assert figures.captions[0] == "a human in a red robe with a golden crown and a staff"
    assert figures.images_NHWC.shape == (1536, 16, 16, 3)


def test_a_hidden_pair_is_hidden_with_every_body_and_weapon(figures):
    pairs = {tuple(row) for row in figures.attributes_N4[:, 1:3]}
    hidden = {tuple(row) for row in figures.attributes_N4[~figures.seen_N, 1:3]}
    shown = {tuple(row) for row in figures.attributes_N4[figures.seen_N, 1:3]}
    assert hidden | shown == pairs and not hidden & shown
    assert 0.1 < len(hidden) / len(pairs) < 0.2


def test_no_word_and_no_other_pair_is_missing_from_what_is_seen(figures):
    seen = figures.attributes_N4[figures.seen_N]
    for slot in range(4):
        assert set(seen[:, slot]) == set(figures.attributes_N4[:, slot])
    for one, other in [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)]:
        wanted = {tuple(row) for row in figures.attributes_N4[:, [one, other]]}
        assert {tuple(row) for row in seen[:, [one, other]]} == wanted
    # and each armour is seen with most headgear, each headgear with most armour
    for slot in (1, 2):
        for word in set(seen[:, slot]):
            assert len({tuple(r) for r in seen[seen[:, slot] == word][:, 1:3]}) >= 6


def test_the_nearest_true_figure_survives_noise(figures):
    assert stacked_figures.right_share(figures, 10) == 1.0


def test_packed_figures_are_the_figures(figures, tmp_path):
    from curate.formats.shards import iterate_samples, read_index

    some = figures.select(np.arange(0, len(figures), 300))
    folder = stacked_figures.write_shards(some, tmp_path / "data")
    packed = {r["captions"][0]["text"]: data for _, data, r in iterate_samples(folder)}
    assert sorted(packed) == sorted(some.captions)
    (tmp_path / "one.png").write_bytes(packed[some.captions[2]])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "one.png")), some.images_NHWC[2])
    assert dict(read_index(folder).licences) == {"CC0-1.0": len(some)}


def test_an_archive_without_a_layer_is_refused_by_its_name(tmp_path):
    with pytest.raises(InputError, match=r"lacks player/base/demonspawn_black_m.png"):
        stacked_figures.compose(tmp_path)
