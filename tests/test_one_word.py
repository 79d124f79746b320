"""A word is the same to all who count it: shards, reports on data and on models, verification."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curate.commands.gaps import GapsSettings, vocab_gaps
from curate.coverage.checkpoint import CheckpointIndex
from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample, Verdict
from curate.formats.model import NO_FACTS, ModelRecord, SetRecord
from curate.formats.shards import read_index
from curate.shards.pack import pack
from curate.text import tokens
from train.verification.scorers import contains

CAPTIONS = """
1girl, solo
a 3D render
two mages
the mage's staff
a cosplayer of the 1980s
damage by an archmage
a man with medium-dark skin
don’t feed the ＹＥＴＩ
rock'n'roll on 3.5mm film
ice_dragon.png
a 🐉 over a castle
👍🏽 for the café
大吹雪の夜
""".strip().splitlines()
# word -> how many captions have it in any inflection; whether it is packed under this very name
WORDS = {
    "1girl": (1, True),
    "girl": (0, False),
    "3D": (1, True),
    "d": (0, False),
    "mage": (2, False),
    "mages": (2, True),
    "1980s": (1, True),
    "archmages": (1, False),
    "medium-dark": (1, True),
    "dark": (1, False),
    "don't": (1, True),
    "yeti": (1, True),
    "rock'n'roll": (1, True),
    "3.5mm": (1, True),
    "dragons": (1, False),
    "🐉": (1, True),
    "👍": (1, False),
    "👍🏽": (1, True),
    "cafe\u0301": (1, True),
    "cafe": (0, False),
    "吹雪": (1, False),
    "夜": (1, False),
    "大吹雪の夜": (1, True),
    "雪吹": (0, False),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed dataset with an image a caption."""
    dataset = Dataset(tmp_path_factory.mktemp("data"))
    with dataset.lock():
        rows = []
        for n, caption in enumerate(CAPTIONS):
            image = io.BytesIO()
            Image.new("RGB", (8, 8), (n, n, n)).save(image, "PNG")
            sha256, allow = dataset.store.put(image.getvalue()), Verdict("allow", ())
            said = (Caption(caption, "text"),)
            rows.append(Sample(f"t-{n}", "test", sha256=sha256, captions=said, train=allow))
        dataset.write(Manifest(rows, []))
    pack(dataset)
    return dataset.root


@pytest.fixture(scope="module")
def reported(data: Path) -> dict[str, int]:
    """Word -> images, as `curate vocab-gaps` reports on a prompt of this word alone."""
    (data / "prompts.txt").write_text("\n".join(WORDS), "utf-8")
    report = vocab_gaps(data / "prompts.txt", GapsSettings([data], pairs="off"))
    levels = [(m.line, item.levels) for item in report.items for m in item.mentions]
    images = {line: found.exact + found.inflection for line, found in levels}
    return {word: images[line] for line, word in enumerate(WORDS, 1)}


@pytest.mark.parametrize("word", WORDS)
def test_all_who_count_a_word_agree(data: Path, reported: dict[str, int], word: str):
    count, packed = WORDS[word]
    words = read_index(data).words
    facts = replace(NO_FACTS, sets=[SetRecord("ab", "new", len(CAPTIONS), words)])
    model = CheckpointIndex(ModelRecord(Path("m"), "e", "cd", [], facts))

    assert reported[word] == count
    assert sum(contains(caption, word) for caption in CAPTIONS) == count
    # of inflections, a model's own file gives the commonest alone
    assert sum(model.count(tokens.normalize(word))) == min(count, 1)
    assert (tokens.normalize(word) in words) is packed


@given(st.lists(st.sampled_from([*WORDS, "leaves", "wore", "ice-cream", "a"]), min_size=1))
def test_every_word_of_a_text_is_contained_in_it(words: list[str]):
    text = " ".join(words)
    assert all(contains(text, word) for word in words)
    assert contains(text, text)
