import csv
import hashlib
import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.coverage import index, lexicon, prompts, records, verdicts
from curate.coverage.records import Described, Origin
from curate.dataset import Dataset
from curate.errors import InputError, UsageError
from curate.manifest import Manifest
from curate.sample import Caption, Sample, Verdict
from curate.shards import layout

WORDS = "dog dogs snow snowy Ice ice-dragon dragon dragons painting painted elf's the red".split()
caption = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
images = st.dictionaries(st.sampled_from("abcdefgh"), st.lists(caption, min_size=1, max_size=3))


def counted(said: Mapping[str, Sequence[str]] | Sequence[Described]) -> index.Index:
    rows = list(said.items()) if isinstance(said, Mapping) else list(said)
    if not any(text.strip() for _, texts in rows for text in texts):
        rows.append(("~", ["filler"]))

    def read(left_out: Counter[str]) -> Iterator[Described]:
        yield from rows

    return index.Index(index.build(Origin(Path("test"), "captions", read)))


def judged(lines: Sequence[str], found: index.Index, **settings: str) -> dict[str, verdicts.Item]:
    asked = [prompts.parse(line, number) for number, line in enumerate(lines, 1)]
    items = verdicts.judge(asked, found, verdicts.targets(), **settings)
    return {item.unit: item for item in items}


def test_counts_images_not_captions():
    found = counted({"a": ["a dog", "the dogs"], "b": ["two dogs"], "c": ["a cat"]})

    assert (found.images, found.captions) == (3, 4)
    assert found.counts("dog") == (1, 1)  # a as written, b inflected
    assert found.counts("bird") == (0, 0)


def test_captions_of_one_key_are_one_image():
    found = counted([("a", ["a dog"]), ("b", ["a cat"]), ("a", ["a dog"]), ("a", ["snow"])])

    assert (found.images, found.captions) == (2, 3)
    assert found.counts("dog") == (1, 0)
    assert [both for *_, both, _ in found.together([("dog", "snow")])] == [1]


def test_a_hyphenated_word_is_found_whole_or_side_by_side():
    found = counted(
        {
            "a": ["an ice-dragon"],
            "b": ["two Ice Dragons"],
            "c": ["a dragon on ice"],
            "d": ["a blue-ice-dragon lair"],
        }
    )

    assert found.counts("ice-dragon") == (1, 2)  # a as written; b and d side by side
    assert found.counts("dragon") == (3, 1)  # the parts count as well
    assert [e.key for e in found.evidence("ice-dragon")] == ["a", "b", "d"]
    assert [both for *_, both, _ in found.together([("ice-dragon", "dragon")])] == [3]


def test_evidence_is_exact_first_and_the_caption_that_shows_it():
    found = counted({"a": ["snow", "some dogs"], "b": ["a dog"], "c": ["cat"]})

    assert found.evidence("dog") == [
        index.Evidence("b", "a dog"),
        index.Evidence("a", "some dogs"),
    ]
    assert found.evidence("bird") == []


def test_odd_texts_are_counted():
    found = counted({"a\0": ["two\nlines \ud800 \0 吹雪"], "b": [""], "c": ["Straße"]})

    assert found.images == 3
    assert found.counts("lines") == found.counts("吹雪") == found.counts("strasse") == (1, 0)


@given(images, st.sampled_from(WORDS))
@settings(max_examples=60)
def test_counts_equal_a_scan_with_a_regular_expression(said: dict[str, list[str]], word: str):
    found = counted(said)
    whole = re.compile(rf"(?<![\w'-]){re.escape(word)}(?![\w'-])", re.IGNORECASE)
    in_part = re.compile(rf"(?<![\w'])-?{re.escape(word)}(?![\w'])", re.IGNORECASE)
    pattern = whole if "-" in word else in_part

    exact, _ = found.counts(word.lower())
    assert exact == sum(any(map(pattern.search, texts)) for texts in said.values())


@given(images, st.sampled_from(WORDS))
@settings(max_examples=60)
def test_an_inflection_is_a_word_that_shares_a_lemma(said: dict[str, list[str]], word: str):
    unit = lexicon.unit(lexicon.normal(word))
    if "-" in unit:
        return

    def shows(text: str) -> bool:
        forms = (form for surface in lexicon.surfaces(text) for form in lexicon.forms(surface))
        return any(lexicon.lemmas(form) & lexicon.lemmas(unit) for form in forms)

    assert sum(counted(said).counts(unit)) == sum(any(map(shows, t)) for t in said.values())


@given(images, st.sampled_from(["dog", "snow", "ice", "dragon", "ice-dragon", "red"]))
@settings(max_examples=40)
def test_pairs_equal_a_scan(said: dict[str, list[str]], word: str):
    found = counted(said)
    both = {a: n for a, _, n, _ in found.together([(a, word) for a in ("dog", "ice-dragon")])}

    shown = {
        unit: {key for key, texts in said.items() if any(map(_scan(unit), texts))}
        for unit in ("dog", "ice-dragon", word)
    }
    assert both == {a: len(shown[a] & shown[word]) for a in ("dog", "ice-dragon")}


def _scan(unit: str):
    forms = {
        "dog": r"dogs?",
        "snow": r"snow",
        "ice": r"ice",
        "dragon": r"dragons?",
        "red": r"red",
        "ice-dragon": r"ice[- ]dragons?",
    }
    return re.compile(rf"(?<![\w']){forms[unit]}(?![\w'])", re.IGNORECASE).search


@given(images, st.randoms())
@settings(max_examples=30)
def test_order_and_repetition_of_images_change_nothing(said: dict[str, list[str]], chance):
    rows = [(key, [text]) for key, texts in said.items() for text in texts]
    shuffled = rows + rows[:2]
    chance.shuffle(shuffled)
    lines = ["a dog and an ice-dragon", "red snow painting"]

    assert judged(lines, counted(rows)) == judged(lines, counted(shuffled))


@given(images, st.sampled_from(WORDS))
@settings(max_examples=30)
def test_one_more_image_never_worsens_a_verdict(said: dict[str, list[str]], word: str):
    line = ["dog snow ice dragon painting red ice-dragon"]
    before = judged(line, counted(said), pairs="off")
    after = judged(line, counted({**said, "new": [f"one {word} more"]}), pairs="off")

    order = ["missing", "thin", "low", "covered"]
    for unit in before:
        assert order.index(after[unit].verdict) >= order.index(before[unit].verdict)
    asked = lexicon.unit(lexicon.normal(word))
    if asked in before:
        assert after[asked].images == before[asked].images + 1


@pytest.mark.parametrize(
    "line",
    [
        "two DRAGONS, red dogs in the snow",
        "(two:1.3) ((dragons)), [red] dogs in the (snow)",
        "two dragon, red dog's in the snow",
        "{two|dragons} <lora:x:1> RED dogs in the __x__ snow --ar 1:1",
    ],
)
def test_capitals_number_and_weights_change_no_verdict(line: str):
    found = counted({"a": ["a red dragon"] * 2, "b": ["dogs"], "c": ["a dog in snow"]})
    plain = judged(["two dragons, red dogs in the snow"], found)
    other = {u: i for u, i in judged([line], found).items() if i.kind != "token"}

    def said(items: dict[str, verdicts.Item]) -> dict[str, verdicts.Item]:
        return {unit: replace(item, mentions=()) for unit, item in items.items()}

    assert said(other) == said(plain)


def test_verdicts_follow_the_thresholds():
    found = counted({f"{n:02d}": [" ".join(w for w, most in
        [("one", 1), ("four", 4), ("five", 5), ("fog", 29), ("sun", 30)] if n < most)]
        for n in range(40)})  # fmt: skip
    items = judged(["one four five fog sun none the --no fog"], found)

    assert {unit: item.verdict for unit, item in items.items() if item.kind == "word"} == {
        "one": "thin", "four": "thin", "five": "low", "fog": "negated", "sun": "covered",
        "none": "function-word", "the": "function-word",
    }  # fmt: skip
    assert items["one"].need == 29
    assert items["five"].fetch == ("curate fetch openverse --query five",)
    assert (items["sun"].need, items["sun"].fetch) == (0, ())


def test_a_word_that_is_wanted_and_negated_is_two_items():
    found = counted({"a": ["a dog"]})
    asked = [prompts.parse("a dog", 1), prompts.parse("a cat --no dog", 2)]
    items = verdicts.judge(asked, found, verdicts.targets(), pairs="off")

    dogs = {item.verdict: item.mentions for item in items if item.unit == "dog"}
    assert dogs == {
        "thin": (verdicts.Mention(1, 2, 5, "dog"),),
        "negated": (verdicts.Mention(2, 11, 14, "dog"),),
    }


def test_pairs_tell_what_was_expected():
    said = {f"{n:02d}": ["red"] if n < 20 else ["car"] for n in range(40)}
    said |= {f"x{n}": ["red dog"] for n in range(4)} | {f"y{n}": ["car dog"] for n in range(5)}
    items = judged(["a red car, a dog, a ghost"], counted(said))

    red, both, seen = items["car + red"], items["dog + red"], items["car + dog"]
    assert (red.verdict, red.images, red.need) == ("unseen-pair", 0, 5)
    assert red.expected == round(24 * 25 / 49, 2)
    assert red.mentions == (verdicts.Mention(1, 2, 9, "red car"),)
    assert (both.verdict, both.images, len(both.evidence)) == ("rare-pair", 4, 4)
    assert both.fetch == ("curate fetch openverse --query 'dog red'",)
    assert (seen.verdict, seen.images, seen.severity) == ("seen-pair", 5, "info")
    assert "ghost + red" not in items  # a missing word says enough by itself


def test_worst_comes_first():
    said = {f"{n:02d}": ["red"] if n < 6 else ["car"] for n in range(40)}
    asked = [prompts.parse("the red car, a ghost", 1), prompts.parse("<x> a fog, a ghost", 2)]
    items = verdicts.judge(asked, counted(said), verdicts.targets())

    assert [item.unit for item in items] == [
        "ghost", "fog", "red", "car + red", "car", "a", "the", "<x>",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"profile": "best"},
            "--profile: no profile 'best'\n  fix: one of scratch, finetune, lora",
        ),
        ({"minimum": 0}, "--min: 0 is not a number of images\n  fix: --min 1 or more"),
        ({"target": -1}, "--target: -1 is not a number of images\n  fix: --target 1 or more"),
        ({"minimum": 9, "target": 3}, "--min: 9 is above the target 3\n  fix: --target 9 or more"),
    ],
)
def test_says_which_threshold_is_wrong(settings: dict, message: str):
    with pytest.raises(UsageError) as caught:
        verdicts.targets(**settings)
    assert str(caught.value) == message


def test_a_threshold_makes_the_other_give_way():
    assert verdicts.targets("lora") == verdicts.Targets("lora", 1, 5)
    assert verdicts.targets(minimum=50) == verdicts.Targets("finetune", 50, 50)
    assert verdicts.targets(target=3) == verdicts.Targets("finetune", 3, 3)


def row(key: str, *said: str, **fields: object) -> Sample:
    return Sample(key, "test", captions=tuple(Caption(text, "text") for text in said), **fields)


def test_counts_the_rows_that_can_teach(tmp_path: Path):
    allow, hold = Verdict("allow", ()), Verdict("hold", ("licence:unknown",))
    samples = [
        row("t-1", "a dog", train=allow),
        row("t-2", "a dog", train=allow, dropped="duplicate:t-1"),
        row("t-3", "a dog", train=hold),
        row("t-4", "dogs"),
        row("t-5"),
        row("t-6", title="A dog", tags=("snow",)),
    ]
    Dataset(tmp_path).write(Manifest(samples, []))

    found = index.open_index(records.find(tmp_path))

    assert found.counts("dog") == (2, 1)  # t-1, t-6; t-4
    assert found.counts("snow") == (1, 0)
    assert found.left_out == {
        "counted, but not checked yet": 2,
        "not allowed for training (hold)": 1,
        "without words": 1,
    }


def test_says_nothing_of_rows_where_all_can_teach(tmp_path: Path):
    Dataset(tmp_path).write(Manifest([row("t-1", "a dog", train=Verdict("allow", ()))], []))

    assert index.open_index(records.find(tmp_path)).left_out == {}


def test_keeps_the_index_while_the_rows_are_the_same(tmp_path: Path):
    dataset = Dataset(tmp_path)
    dataset.write(Manifest([row("t-1", "a dog")], []))
    index.open_index(records.find(tmp_path))
    (kept,) = (tmp_path / "index").iterdir()
    first = kept.read_bytes()

    def fail(left_out: Counter[str]) -> Iterator[Described]:
        raise AssertionError("read again")

    again = index.open_index(replace(records.find(tmp_path), read=fail))
    assert again.counts("dog") == (1, 0)

    kept.write_bytes(first[: len(first) // 2])  # cut short: counted anew, to the same bytes
    assert index.open_index(records.find(tmp_path)).counts("dog") == (1, 0)
    assert kept.read_bytes() == first

    dataset.append(row("t-2", "a dog"))
    assert index.open_index(records.find(tmp_path)).counts("dog") == (2, 0)
    assert kept.name not in [path.name for path in (tmp_path / "index").iterdir()]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "c.jsonl",
            '{"image": "a", "captions": ["a dog", "dogs"]}\n\n{"image": "b", "caption": "dog"}',
        ),
        ("c.csv", 'image,caption\na,"a dog, asleep"\na,dogs\nb,the dog\n'),
        ("c.tsv", "\ufeffimage\tcaption\tmore\na\ta dog\tx\nb\tdog\ty\n"),
    ],
)
def test_reads_plain_lists_of_captions(tmp_path: Path, name: str, text: str):
    file = tmp_path / name
    file.write_text(text, "utf-8")

    assert index.open_index(records.find(file)).counts("dog") == (2, 0)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("c.jsonl", b'{"image": "a", "captions": ["x"]}\n{broken', "{file} line 2: not JSON"),
        ("c.jsonl", b'{"image": "a"}', "{file} line 1: no captions in it"),
        ("c.jsonl", b'{"image": "a", "captions": [1]}', "{file} line 1: no captions in it"),
        ("c.jsonl", b'["a"]', "{file} line 1: no captions in it"),
        ("c.jsonl", b'{"captions": ["x"]}', "{file} line 1: no image in it"),
        ("c.jsonl", b"", "{file}: no caption to count words in"),
        ("c.csv", b"image,caption\n", "{file}: no caption to count words in"),
        ("c.csv", b"file,text\na,b\n", "{file}: the first line does not name the columns"),
        ("c.csv", b"image,caption\na\n", "{file} line 2: a column is missing"),
        ("c.csv", b"image,caption\na,b\xff\n", "{file} line 2: not UTF-8 text"),
        ("c.xml", b"<x/>", "{file}: neither a dataset folder, shards, a manifest nor a list"),
        ("c.parquet", b"PAR", "{file}: not a readable manifest"),
    ],
)
def test_says_what_is_wrong_with_the_data(tmp_path: Path, name: str, data: bytes, message: str):
    file = tmp_path / name
    file.write_bytes(data)

    with pytest.raises(InputError) as caught:
        index.open_index(records.find(file))
    assert str(caught.value).startswith(message.format(file=file))
    assert "\n  fix: " in str(caught.value)


def test_counts_the_captions_of_shards(tmp_path: Path):
    texts = {"t-1": ["a dog", "two dogs"], "t-2": ["a cat"]}
    with tarfile.open(tmp_path / "train-000000.tar", "w") as tar:
        for key, said in texts.items():
            record = {"captions": [{"text": text, "origin": "text"} for text in said]}
            contents = (b"picture", json.dumps(record).encode(), said[0].encode())
            for name, data in zip(layout.member_names(key, "png"), contents, strict=True):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    tar_bytes = (tmp_path / "train-000000.tar").read_bytes()
    sha256 = hashlib.sha256(tar_bytes).hexdigest()
    shard = layout.Shard("train-000000.tar", sha256, 2, len(tar_bytes))
    listed = layout.Index(64, "png", "train", 2, (shard,), {}, {}, {})
    (tmp_path / "index.json").write_bytes(listed.to_json())

    found = index.open_index(records.find(tmp_path))
    assert (found.images, found.captions) == (2, 3)
    assert found.counts("dog") == (1, 0)
    assert not (tmp_path / "index").exists()  # shards stay as they are

    (tmp_path / "train-000000.tar").write_bytes(tar_bytes[:-512])
    with pytest.raises(InputError, match=r"shard has \d+ bytes, its index says"):
        index.open_index(records.find(tmp_path))


def test_says_that_data_is_missing_or_holds_nothing(tmp_path: Path):
    with pytest.raises(InputError, match=r"absent: no such file or folder"):
        records.find(tmp_path / "absent")
    with pytest.raises(InputError, match=r"neither a dataset nor shards here"):
        records.find(tmp_path)


@pytest.mark.corpora
def test_the_tiles_know_a_blizzard_only_as_a_demon(corpora: Path, tmp_path: Path):
    with (corpora / "captions" / "crawl_nov2015_captions.tsv").open(encoding="utf-8") as file:
        rows = [(r["path"], [r["caption"]]) for r in csv.DictReader(file, delimiter="\t")]
    found = counted(rows)
    items = judged(["Eternal Force Blizzard", "Dragon Elf Knight"], found)

    assert items["blizzard"].verdict == "thin"
    assert [e.caption for e in items["blizzard"].evidence] == ["blizzard demon"]
    assert items["dragon + elf"].verdict == "unseen-pair"
    assert items["elf + knight"].evidence[0].caption == "deep elf knight"
    for word in ("dragon", "ice", "sword", "of", "demon"):
        scan = re.compile(rf"(?<![^\W_]){word}(?![^\W_])", re.IGNORECASE)
        assert found.counts(word)[0] == sum(bool(scan.search(c[0])) for _, c in rows)


@pytest.mark.corpora
@pytest.mark.parametrize("name", ["card_names.txt", "t2i-compbench/complex_val.txt"])
def test_real_prompts_get_a_verdict_for_every_word(corpora: Path, name: str):
    found = counted(_clipart(corpora))
    asked = prompts.read(corpora / "prompts" / name)
    items = verdicts.judge(asked, found, verdicts.targets(), pairs="off")

    tokens = Counter((p.line, t.start) for p in asked for t in p.tokens)
    assert Counter((m.line, m.start) for item in items for m in item.mentions) == tokens
    assert {item.verdict for item in items} >= {"missing", "thin", "low", "covered"}


def _clipart(corpora: Path) -> list[Described]:
    lines = (corpora / "captions" / "openclipart_rdf.jsonl").read_text("utf-8").splitlines()
    found = map(json.loads, lines)
    return [(r["path"], [r["title"] or "", r["desc"] or "", *r["tags"]]) for r in found]
