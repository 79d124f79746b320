"""The report on real prompts and the captions of real pictures."""

import csv
import json
from pathlib import Path

import pytest

from curate.commands.gaps import GapsSettings, vocab_gaps
from curate.report.report import CoverageReport

pytestmark = pytest.mark.corpora


@pytest.fixture(scope="module")
def tiles(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The names of the tiles, as a list of captions."""
    path = tmp_path_factory.mktemp("tiles") / "tiles.jsonl"
    with (corpora / "captions" / "crawl_nov2015_captions.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    said = ({"image": row["path"], "captions": [row["caption"]]} for row in rows)
    path.write_text("".join(json.dumps(one) + "\n" for one in said), "utf-8")
    return path


def judged(prompts: list[str], tiles: Path) -> CoverageReport:
    path = tiles.parent / "prompts.txt"
    path.write_text("\n".join(prompts) + "\n", "utf-8")
    return vocab_gaps(path, GapsSettings([tiles]))


def test_the_tiles_are_counted_as_their_table_lists_them(corpora: Path, tiles: Path):
    prompts = tiles.parent / "prompts.txt"
    prompts.write_text("Dragon Elf Knight\n", "utf-8")
    table = corpora / "captions" / "crawl_nov2015_captions.tsv"
    found = [vocab_gaps(prompts, GapsSettings([path])) for path in (table, tiles)]

    assert found[0].items == found[1].items
    assert found[0].index.captions == found[1].index.captions > 1000


def test_one_monster_is_no_blizzard(tiles: Path):
    report = judged(["Eternal Force Blizzard", "Dragon Elf Knight"], tiles)
    items = {item.unit: item for item in report.items}
    blizzard = items["blizzard"]
    assert (blizzard.verdict, blizzard.images) == ("thin", 1)
    assert [one.caption for one in blizzard.evidence] == ["blizzard demon"]
    pairs = {item.unit: item for item in report.items if item.kind == "pair"}
    assert {"dragon + elf", "dragon + knight", "elf + knight"} <= pairs.keys()
    assert pairs["dragon + elf"].verdict == "unseen-pair"
    assert pairs["dragon + elf"].expected == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("name", ["PartiPrompts.tsv", "drawbench.csv"])
def test_every_word_of_real_prompts_is_an_item(corpora: Path, tiles: Path, name: str):
    report = vocab_gaps(corpora / "prompts" / name, GapsSettings([tiles]))
    wanted = {(p.line, token.start) for p in report.prompts for token in p.tokens}
    single = [item for item in report.items if item.kind in ("word", "token")]
    assert {(m.line, m.start) for item in single for m in item.mentions} == wanted
    texts = {prompt.line: prompt.text for prompt in report.prompts}
    for item in report.items:
        assert all(texts[m.line][m.start : m.end] == m.text for m in item.mentions)
    assert len(report.prompts) > 150
