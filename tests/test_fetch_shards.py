"""Tars taken into a dataset: what their JSON says, and that nothing becomes more permissive."""

import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from test_corpora_tars import write

from curate.cli import main
from curate.corpora.corpus import find_corpus
from curate.corpora.notes import ReadNotes
from curate.dataset.folder import Dataset
from curate.dataset.manifest import Manifest
from curate.dataset.sample import Caption, Sample, Signal, Statement, identifier_of
from curate.errors import InputError
from curate.fetch.run import fetch_images
from curate.formats.shards import iterate_records
from curate.formats.verdicts import DECISIONS, USES
from curate.images.decode import pixel_sha256
from curate.rights import removals
from curate.rights.check import check_samples
from curate.rights.policy import Policy, policy_names, read_policy
from curate.shards.pack import pack
from tests.packable import noise
from tests.pictures import encoded
from tests.recorded_progress import RecordedProgress


def fetched(root: Path, path: Path, **options: object) -> tuple[list[Sample], list[str]]:
    heard = RecordedProgress()
    fetch_images(Dataset(root), "shards", path, options=options, progress=heard)
    return Dataset(root).read().samples, heard.said


def img2dataset(folder: Path, shards: int = 2, images: int = 3) -> None:
    """As img2dataset lays it out (`img2dataset/writer.py`), one address of each shard failed."""
    for shard in range(shards):
        members: list[tuple[str, bytes | str]] = []
        for n in range(images):
            number = shard * 100 + n
            key, text = f"{shard:05}{n:04}", f"a fox number {number}"
            about = {
                "caption": text, "url": f"https://example.org/{n}.jpg", "key": key,
                "status": "success", "error_message": None, "width": 90, "height": 60,
                "original_width": 900, "original_height": 600, "exif": "{}",
                "sha256": f"{number:064}", "license": "CC BY 4.0", "creator": "A. Nyone",
                "tags": ["fox", "snow"],
            }  # fmt: skip
            image = encoded(noise(number), "JPEG")
            members += [(f"{key}.jpg", image), (f"{key}.json", json.dumps(about, indent=4))]
            members += [(f"{key}.txt", text)]
        write(folder / f"{shard:05}.tar", members)
        (folder / f"{shard:05}.parquet").write_bytes(b"PAR1")
        (folder / f"{shard:05}_stats.json").write_text("{}")


def test_everything_that_the_json_of_an_image_says_is_taken(tmp_path: Path):
    img2dataset(tmp_path / "s")

    rows, said = fetched(tmp_path / "d", tmp_path / "s", license="CC0-1.0")

    assert len(rows) == 6
    row = next(r for r in rows if r.texts == ("a fox number 101",))
    assert (row.file_name, row.page_url) == ("00001.tar/000010001", "https://example.org/1.jpg")
    assert (row.author, row.tags) == ("A. Nyone", ("fox", "snow"))
    assert (row.license_text, row.license_by, row.image_url) == ("CC BY 4.0", "source", None)
    assert (row.format, row.dropped) == ("JPEG", None)
    unused = "exif, height, original_height, original_width, width"
    made = "images with captions made of titles and tags (6)"
    assert sorted(said) == [f"fields of JSON not used: {unused}", made]
    again, _ = fetched(tmp_path / "d", tmp_path / "s", license="CC0-1.0")
    assert again == rows
    by_pattern, said = fetched(tmp_path / "d", tmp_path / "s" / "{00000..00003}.tar")
    assert {r.key for r in by_pattern} == {r.key for r in rows}
    assert [one for one in said if "missing" in one] == [
        f"{tmp_path / 's'}/0000{n}.tar: tar is missing" for n in (2, 3)
    ]
    assert not any("no longer" in one for one in said)


@pytest.mark.parametrize("captions", ["lines", "whole"])
def test_the_captions_that_are_fetched_are_those_that_are_counted(tmp_path: Path, captions: str):
    members: list[tuple[str, bytes | str]] = []
    for n in range(4):
        members += [
            (f"{n}.jpg", encoded(noise(n))),
            (f"{n}.txt", f"fox {n}\nin snow {n}" * (n > 0)),
        ]
    write(tmp_path / "s" / "0.tar", [*members, ("9.txt", "no image")])

    rows, said = fetched(tmp_path / "d", tmp_path / "s", captions=captions, license="own")
    parts = find_corpus(tmp_path / "s", whole=captions == "whole").partitions
    counted = dict(pair for part in parts for pair in part.read(ReadNotes()))

    assert {r.file_name: r.texts for r in rows} == counted
    assert sum(map(len, counted.values())) == (3 if captions == "whole" else 6)
    assert any("captions without an image (1): 0.tar/9.txt" in one for one in said)
    assert any("--captions whole" in one for one in said) == (captions == "lines")


def test_a_licence_that_nobody_states_is_the_users_word(tmp_path: Path):
    write(tmp_path / "s.tar", [("0.jpg", encoded(noise(0))), ("0.txt", "a fox")])

    [row] = fetched(tmp_path / "d", tmp_path / "s.tar", license="CC0-1.0", author="Me")[0]

    assert (row.license_text, row.license_by, row.author) == ("CC0-1.0", "user", "Me")


@pytest.mark.parametrize("what", ["nowhere", "empty", "notes.txt", "{0..3}.tar"])
def test_where_no_tars_are_what_to_type_is_said_and_nothing_is_left(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no tar")

    with pytest.raises(SystemExit) as ended:
        main(["fetch", "shards", str(tmp_path / what), "--data", str(tmp_path / "d")])

    assert ended.value.code == 3
    assert "\n  fix: " in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


# what shards of ours say


LENIENT = """
[train]
allow = ["own", "cc0", "attribution", "share-alike", "non-commercial", "no-derivatives", "reserved"]
[share_dataset]
allow = ["cc0", "non-commercial", "no-derivatives"]
[share_model]
allow = ["cc0", "no-derivatives"]
[sources.museum]
share_dataset = "deny"
[sources.pixabay]
train = "basis"
[signals]
site-opt-out = "record"
signals-contradict = "record"
signal-unclear = "record"
ai-made = "record"
mature = "record"
people = "record"
trademarks = "record"
restrictions = "record"
drift = "record"
gone-at-source = "record"
[copies]
believe = ["folder"]
"""
SOURCES_ONLY = LENIENT.replace('"deny"', '"licence"') + '\n[sources.openverse]\ntrain = "deny"\n'
KINDS: dict[str, dict[str, object]] = {  # every way in which a row may be less than free
    "free": {"license_text": "CC0"},
    "by": {"license_text": "CC BY 4.0", "author": "A. Nyone"},
    "nd": {"license_text": "CC BY-ND 4.0"},
    "nc-url": {"license_url": "https://creativecommons.org/licenses/by-nc/4.0/"},
    "reserved": {"license_text": "All rights reserved"},
    "own": {"license_text": "own", "license_by": "user"},
    "museum": {"license_text": "CC0", "source": "museum"},
    "pixabay": {"license_text": "Pixabay", "source": "pixabay", "basis": "at home"},
    "opt-out": {"license_text": "CC0", "opt_outs": ("api:noai",)},
    "site-opt-out": {"license_text": "CC0", "signals": (Signal("robots.txt", False, "site"),)},
    "unclear": {"license_text": "CC0", "signals": (Signal("c2pa:unread", None, "item"),)},
    "contradicts": {
        "license_text": "CC0",
        "signals": (Signal("ai.txt:allow", True, "site"), Signal("robots.txt", False, "site")),
    },
    "ai": {"license_text": "CC0", "ai_generated": True},
    "ai-bytes": {"license_text": "CC0", "ai_embedded": True},
    "mature": {"license_text": "CC0", "mature": True},
    "people": {"license_text": "CC0", "restrictions": ("personality", "trademarked", "insignia")},
    "drift": {"license_text": "CC0", "restated": (Statement("CC BY 4.0", None),)},
    "gone": {"license_text": "CC0", "gone": "2026-01-01T00:00:00Z"},
    "removed": {"license_text": "CC0", "dropped": "removed:asked"},
    "unknown": {"license_text": None},
}


def stored(dataset: Dataset, key: str, seed: int, **known: object) -> Sample:
    row = Sample(key, "openverse", texts=(f"picture {key}",), captions=(Caption("a fox", "text"),))
    sha256 = dataset.store.put(encoded(noise(seed)))
    return replace(row, sha256=sha256, pixel_sha256=pixel_sha256(noise(seed)), **known)  # type: ignore[arg-type]


def judged(samples: list[Sample], policy: Policy) -> dict[str, Sample]:
    found = check_samples(samples, policy=policy, evidence=None, removed=())
    return {sample.key: sample for sample in found}


def policies(root: Path) -> Iterator[Policy]:
    for name, text in (("lenient", LENIENT), ("sources", SOURCES_ONLY)):
        (root / f"{name}.toml").write_text(text)
        yield read_policy(str(root / f"{name}.toml"))
    yield from map(read_policy, policy_names())


def more_permissive(
    root: Path, rows: list[Sample], after: list[Sample], names: Mapping[str, str]
) -> list[str]:
    """What some policy allows more of now; names: key before -> key now."""
    wrong = []
    for policy in policies(root):
        before, now = judged(rows, policy), judged(after, policy)
        for key, row in names.items():
            for use in USES:
                was, is_now = getattr(before[key], use), getattr(now[row], use)
                if DECISIONS.index(is_now.decision) > DECISIONS.index(was.decision):
                    wrong.append(f"{policy.path.stem} {key} {use}: {was} -> {is_now}")
    return wrong


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Dataset, list[Sample]]:
    """Rows of every kind, and pairs of copies of each with each, packed by a lenient policy."""
    dataset = Dataset(tmp_path / "ours")
    with dataset.lock():
        rows = [
            stored(dataset, f"k-{name}", n, **known)
            for n, (name, known) in enumerate(KINDS.items())
        ]
        pairs = product(("free", "nd", "reserved", "pixabay", "by"), repeat=2)
        for number, names in enumerate(pairs, 100):
            first, second = (
                stored(dataset, f"c-{number}-{letter}", number, **KINDS[name])
                for letter, name in zip("ab", names, strict=True)
            )
            # the copy that stays is the one that is believed
            second = replace(second, dropped=f"duplicate:{first.key}")
            rows += [
                replace(first, source="folder", group=first.key),
                replace(second, group=first.key),
            ]
        lenient = next(policies(tmp_path))
        rows = list(judged(rows, lenient).values())
        dataset.write(Manifest(rows, []))
    pack(dataset, size=64, format="png")
    return dataset, rows


def copied_tars(dataset: Dataset, where: Path) -> Path:
    """The tars without their index, somewhere else."""
    where.mkdir()
    for tar in dataset.shards.glob("*.tar"):
        shutil.copy(tar, where / f"copy-{tar.name}")
    return where


def test_nothing_becomes_more_permissive_on_the_way_through_shards(
    tmp_path: Path, packed: tuple[Dataset, list[Sample]]
):
    dataset, rows = packed
    records = {k: r for tar in dataset.shards.glob("*.tar") for k, r in iterate_records(tar)}

    after, _ = fetched(tmp_path / "d", copied_tars(dataset, tmp_path / "s"), license="CC0-1.0")

    not_packed = {f"k-{n}" for n in KINDS} - records.keys()
    assert not_packed == {"k-opt-out", "k-removed", "k-unknown"}
    assert len(after) == len(records) > 25
    names = {str(r.file_name).rpartition("/")[2]: r.key for r in after}
    assert more_permissive(tmp_path, rows, after, names) == []
    lenient = judged(after, next(policies(tmp_path)))
    still = {key for key, row in names.items() if lenient[row].train.decision == "allow"}  # type: ignore[union-attr]
    assert still >= {f"k-{n}" for n in ("free", "by", "nd", "nc-url", "reserved", "mature", "ai")}


def test_credits_of_copies_are_kept_as_far_as_a_row_can(
    tmp_path: Path, packed: tuple[Dataset, list[Sample]]
):
    after, _ = fetched(tmp_path / "d", copied_tars(packed[0], tmp_path / "s"))

    authors = {r.author for r in after if "licence:CC-BY-4.0" in r.restrictions}
    assert authors == {"A. Nyone"}


def test_a_record_that_denies_training_is_left_out_by_name(tmp_path: Path):
    def record(decision: object) -> str:
        return json.dumps({"train": decision, "share_dataset": None, "captions": []})

    allow = {"decision": "allow", "reasons": []}
    said = [allow, {"decision": "deny"}, {"decision": "hold"}, None, "allow", {"decision": ["x"]}]
    members: list[tuple[str, bytes | str]] = [
        ("8.jpg", encoded(noise(8))),
        ("8.json", '{"train": {"deci'),
    ]
    members += [("9.jpg", encoded(noise(9))), ("9.txt", "a fox")]
    for n, one in enumerate(said):
        members += [
            (f"{n}.jpg", encoded(noise(n))),
            (f"{n}.json", record(one)),
            (f"{n}.txt", "fox"),
        ]
    write(tmp_path / "x.tar", members)

    rows, told = fetched(tmp_path / "d", tmp_path / "x.tar", license="CC0-1.0")

    rows.sort(key=lambda row: str(row.file_name))
    assert [(r.file_name, r.license_by) for r in rows] == [("x.tar/0", "user"), ("x.tar/9", "user")]
    whose = "images whose record says"
    assert [one for one in told if one.startswith(whose)] == [
        f"{whose} no verdict on training (3): x.tar/3.jpg, x.tar/4.jpg, x.tar/5.jpg",
        f"{whose} nothing that can be read, beside records of ours (1): x.tar/8.jpg",
        f"{whose} train: deny (1): x.tar/1.jpg",
        f"{whose} train: hold (1): x.tar/2.jpg",
    ]
    assert rows[0].restrictions[:2] == ("share_dataset:hold", "share_model:hold")


def test_what_was_removed_here_does_not_return_through_shards(tmp_path: Path):
    dataset = Dataset(tmp_path / "ours")
    with dataset.lock():
        rows = [stored(dataset, f"k-{n}", n, license_text="CC0") for n in range(3)]
        dataset.write(Manifest(list(judged(rows, read_policy("personal")).values()), []))
    pack(dataset, size=32, format="jpg")
    tars = copied_tars(dataset, tmp_path / "s")
    stones = [removals.make_tombstone(row, "its author asked", "2026-01-01") for row in rows]
    # one is known by its bytes, the other by its pixels
    stones = [replace(stones[0], pixel_sha256=None), replace(stones[1], sha256="0" * 64)]
    removals.write(dataset.root, stones)

    after, _ = fetched(dataset.root, tars)

    new = {str(r.file_name).rpartition("/")[2]: r.dropped for r in after if r.source == "shards"}
    gone = "removed:its author asked"
    assert new == {"k-0": gone, "k-1": gone, "k-2": None}


def test_shards_in_their_dataset_are_taken_by_their_index_while_it_allows_them(
    tmp_path: Path, packed: tuple[Dataset, list[Sample]]
):
    dataset, rows = packed
    for place in (dataset.root, dataset.shards):
        found = fetched(tmp_path / f"from-{place.name}", place)[0]
        assert len(found) == len(fetched(tmp_path / "again", dataset.shards)[0])
    with dataset.lock():
        changed = [replace(r, train=None) if r.key == "k-free" else r for r in rows]
        dataset.write(Manifest(changed, []))
    [tar] = dataset.shards.glob("*.tar")
    for place in (dataset.root, dataset.shards, tar):
        with pytest.raises(InputError, match="stale") as caught:
            fetched(tmp_path / "no", place)
        assert "curate pack" in str(caught.value)


def test_a_stricter_word_on_a_known_image_counts(tmp_path: Path):
    def tar_with(decision: str) -> Path:
        share = {"decision": decision, "reasons": ["licence:CC0-1.0"]}
        said = {"train": {"decision": "allow", "reasons": []}, "license_text": "CC0"}
        record = {**said, "share_dataset": share, "share_model": share, "captions": []}
        image = encoded(noise(1))
        return write(tmp_path / "s" / "0.tar", [("0.png", image), ("0.json", json.dumps(record))])

    [row] = fetched(tmp_path / "d", tar_with("allow").parent)[0]
    [again] = fetched(tmp_path / "d", tar_with("deny").parent)[0]

    policy = read_policy("personal")
    decisions = [judged([r], policy)[r.key].share_dataset for r in (row, again)]
    assert [d and d.decision for d in decisions] == ["allow", "deny"]
    assert row.key == again.key and identifier_of(row)


def test_tars_are_never_written_to(tmp_path: Path):
    img2dataset(tmp_path / "s", 1)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "s").iterdir()}
    (tmp_path / "s").chmod(0o555)

    fetched(tmp_path / "d", tmp_path / "s")

    (tmp_path / "s").chmod(0o755)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "s").iterdir()} == before
    with tarfile.open(tmp_path / "s" / "00000.tar") as tar:
        assert len(tar.getnames()) == 9
